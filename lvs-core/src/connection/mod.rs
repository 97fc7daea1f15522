//! Connections: what the director remembers of a flow.
//!
//! ```text
//!   FlowKey ─ hash ─► index (a bucket of 8 tags) ─► line (64 bytes; IPv6: two) ◄─ wheel (when to look again)
//! ```
//! 80 bytes an IPv4 connection and 144 to 160 an IPv6 connection, all taken when the director is made. A lookup reads two
//! cache lines. This module knows no service and no scheduler: a destination is a number to it.

mod entry;
mod hash;
mod index;
mod memory;
mod processor;
mod record;
mod slab;
pub(crate) mod state;
mod table;
mod wheel;

pub(crate) use entry::Head;
pub(crate) use hash::{FlowHash, FlowHasher};
pub(crate) use index::Bucket;
pub use memory::{HeapMemory, Line, TableMemory};
pub use record::{ConnectionRecord, ConnectionState};
pub(crate) use table::{ConnectionId, ConnectionTable, Full, Guess, NewConnection};
pub(crate) use wheel::{duration_ticks, ticks, ticks_duration};
