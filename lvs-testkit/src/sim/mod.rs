//! A network inside the process, in virtual time: links, switches, routers, hosts that behave as Linux does, directors.
//!
//! ```text
//!   Network ── events in order of their time ──► step() / run_until(..) / run_for(..)
//!   ├── nodes   Host (client, router, real server) · DirectorNode · Switch · Station · whatever implements Node
//!   └── links   delay, jitter, loss, duplication, reordering, rate, MTU; captures and a tap at both ends
//! ```
//!
//! No thread, no clock, no rights, any operating system: a day passes in a second, and the same seed gives the same run
//! frame for frame. What is under test is met as on a wire: it is given Ethernet frames and the time.
//!
//! ```
//! use lvs_core::config::{SchedulerKind, ServiceKey};
//! use lvs_testkit::sim::{Topology, TopologyOptions};
//!
//! // A client behind a router, a director, two real servers: topology B of the reference networks.
//! let mut net = Topology::b(TopologyOptions::default());
//! net.serve_pages(80);
//! let vip = std::net::SocketAddr::new(net.vips.v4, 80);
//! net.add_service(ServiceKey::tcp(vip.ip(), vip.port()), SchedulerKind::RoundRobin);
//! net.settle();
//!
//! let first = net.fetch(vip, "/").expect("a page");
//! let second = net.fetch(vip, "/").expect("a page");
//! assert_ne!(first, second, "another server each time");
//!
//! // One server dies; half a minute later the director knows, and the router's cache is what it was.
//! let link = net.net.link_of(net.servers[0].host, 0).unwrap();
//! net.net.set_link(link, false);
//! net.net.run_for(std::time::Duration::from_secs(30));
//! let router = net.router.unwrap();
//! let known = net.net[router].neighbour(net.net.now(), "eth1", vip.ip()).unwrap();
//! assert_eq!(known.mac, Some(net.director_macs[0]));
//! ```
//!
//! # Building a network
//!
//! [`Network::add`] gives a [`NodeId`], which indexes the network: `net[client]` is the [`Host`] again, to be looked at
//! and changed between steps. [`Network::connect`] puts a link between two ports, with the [`LinkOptions`] that are to go
//! wrong. [`Topology`] has the three reference networks ready. What is yours joins by the [`Node`] trait.
//!
//! # Letting it run
//!
//! Nothing happens by itself. [`run_for`](Network::run_for) lets time pass; [`run_until`](Network::run_until),
//! [`run_until_idle`](Network::run_until_idle) and [`run_until_quiet`](Network::run_until_quiet) run until something holds,
//! each with a limit beyond which they panic and show all state; [`step`](Network::step) is one event.
//! [`captures`](Network::capture) and the [tap](Network::set_tap) see each frame at each port.
//!
//! # What it does not do
//!
//! No spanning tree, no link aggregation, no multicast routing; hosts do what [`Host`] says. Frames are whole and right
//! when they arrive: nothing flips bits. It is made for tests; thousands of hosts are fine, millions of frames a second
//! are not to be had.

mod capture;
mod director;
pub mod host;
mod link;
mod network;
mod node;
mod random;
mod station;
mod switch;
mod topology;

pub use capture::{CaptureId, CapturedFrame, Direction, Sighting};
pub use director::DirectorNode;
#[doc(inline)]
pub use host::{
    Address, Answer, ArpRule, Connection, ConnectionId, Conversation, Datagram, Host, HostStatistics,
    IcmpMessage, Interface, InterfaceConf, Neighbour, NeighbourState, Phase, Scope,
};
pub use link::{LinkOptions, LinkStatistics};
pub use network::{LinkId, Network};
pub use node::{Node, NodeId};
pub use station::Station;
pub use switch::{PortMode, Switch};
pub use topology::{Addresses, RealServer, Topology, TopologyOptions};
