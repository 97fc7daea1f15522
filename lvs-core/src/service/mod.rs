//! Virtual services and their real servers while a director runs, apart from any connection.
//!
//! ```text
//!   (protocol, VIP, port) ─► Service { scheduler, servers in list order } ─► Destination { counts, forwarding }
//! ```
//! A removed server that connections still remember stays as a destination without a service, so that its old
//! flows find it again if it is added anew.

mod destination;
mod table;

pub(crate) use destination::{Destinations, Lane, Reach, Serves};
pub(crate) use table::{FTP, FTP_DATA, Service, ServiceId, Services};
