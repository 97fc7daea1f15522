//! What `ipvsadm -L` prints, byte for byte as version 1.31 does with `-n`, trailing spaces included.
//!
//! The values come from the core as plain data; nothing here asks a director. Everything is written to a
//! [`std::fmt::Write`], so a listing can grow in a `String` or go straight to where it is wanted. Addresses
//! and ports are always numbers.

mod connections;
mod number;
mod services;

pub(crate) use connections::protocol_name;
pub use connections::{connection, connection_header, connections};
pub use services::{Columns, Order, Style, service, services};

use std::fmt::{self, Write};

use lvs_core::config::Timeouts;

/// `ipvsadm -L --timeout`, in whole seconds.
///
/// # Errors
/// Those of `out`.
pub fn timeouts(out: &mut impl Write, timeouts: &Timeouts) -> fmt::Result {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    writeln!(out, "Timeout (tcp tcpfin udp): {} {} {}", tcp.as_secs(), tcp_fin.as_secs(), udp.as_secs())
}
