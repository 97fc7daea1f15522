//! Connections: what the director remembers of a flow.

mod record;

pub use record::{ConnectionRecord, ConnectionState};
