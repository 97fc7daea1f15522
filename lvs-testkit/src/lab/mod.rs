//! Networks of real kernels: hosts, switches and cables in network namespaces of this process.
//!
//! ```text
//!   process, after enter()
//!   ├── Host "client"   own namespace, own TCP/IP stack    eth0 ─┐ cable
//!   ├── Host "router"                                 eth0 ──────┘ eth1 ─┐
//!   ├── Switch "lan"    a bridge in a namespace of its own      ─────────┘ ...
//!   └── threads: Host::run, Host::spawn, Capture, servers
//! ```
//!
//! Root is not needed where the system lets users make user namespaces; [`enter`] says exactly what is
//! missing where it does not. The `ip` program is not needed. A namespace is held by descriptors and
//! threads of this process and by nothing else: however the process ends, it leaves nothing behind.
//!
//! [`Topology`] builds the reference networks; the pieces ([`Host`], [`Switch`], [`Nic`], [`cable`]) build
//! others. [`Capture`] records frames; [`http`], [`bulk`] and [`udp`] are small peers on the kernel's
//! sockets.
//!
//! ```no_run
//! use std::time::Duration;
//! use lvs_testkit::lab::{self, Host, Nic, cable, http};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     lab::enter()?; // first of all: no other thread may exist yet
//!     let (a, b) = (Host::new("a")?, Host::new("b")?);
//!     cable(
//!         Nic::new(&a, "eth0").address("10.0.0.1/24".parse()?),
//!         Nic::new(&b, "eth0").address("10.0.0.2/24".parse()?),
//!     )?;
//!     let address = "10.0.0.2:80".parse()?;
//!     let _server = http::Server::start(&b, address, "<h1>b</h1>")?;
//!     let page = http::get(&a, address, "/", Duration::from_secs(2))?;
//!     assert_eq!(page.body, "<h1>b</h1>");
//!     Ok(())
//! }
//! ```
//!
//! It is no simulator: time is real, and nothing is delayed or lost on purpose. It does not touch the
//! namespace the process was started in.

mod arp_filter;
pub mod bulk;
mod capture;
mod enter;
mod error;
mod ethtool;
mod host;
pub mod http;
mod interrupt;
mod link;
mod neighbour;
mod netlink;
mod route;
mod server;
mod switch;
mod sys;
mod task;
mod topology;
pub mod udp;

pub use crate::reference::Addresses;
pub use capture::{Capture, CaptureOptions, CapturedFrame, Direction, Recording, send_frame};
pub use enter::{Refused, enter};
pub use error::LabError;
pub use host::Host;
pub use interrupt::Interrupt;
pub use link::{Interface, Nic, cable};
pub use neighbour::{Neighbour, NeighbourState};
pub use switch::{LearnedAddress, Switch, SwitchOptions};
pub use task::{Stop, Task};
pub use topology::{RealServer, Topology, TopologyOptions};
