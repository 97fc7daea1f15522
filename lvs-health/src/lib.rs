//! Health checks for an LVS director: who gets connections, and why not.
//!
//! State machines without I/O and without a clock, and probes to feed them. The default probe goes the way that clients' packets go: to
//! the real server's Ethernet address, for the VIP. So a server that runs, but has lost its VIP, is found; a check of its own address
//! would never notice.
//!
//! ```text
//!             configure, force                        what to ask                 ┌─► path     frames, through the DR path
//!   operator ──────────────────► Monitor ───────────────────────────► the caller ─┤
//!                                   ▲ │ ▲       result                            └─► sockets  kernel sockets, commands
//!             repeated SYN ─────────┘ │ └───────────────────────────────────────────── outcomes
//!                                     └─► Decision: an edit for Director::apply
//! ```
//!
//! # Run loop
//!
//! ```
//! use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
//! use lvs_core::Instant;
//! use lvs_health::config::{CheckConfig, MonitorConfig, PathMethod, PathProbe, Probe, ServerHealth, ServiceHealth};
//! use lvs_health::path::{PathConfig, PathProber, Route};
//! use lvs_health::{Monitor, ProbeOrder};
//!
//! # fn route(_: &ProbeOrder) -> Route { Route {
//! #     port: lvs_core::PortId(0), vlan: lvs_core::config::VlanPath::UNTAGGED, mac: lvs_core::MacAddr([2, 0, 0, 0, 0, 1]),
//! #     mtu: 1500, source: "192.168.0.208".parse().unwrap(), owned: true,
//! #     server_mac: Some(lvs_core::MacAddr([2, 0, 0, 0, 0, 0x11])) } }
//! # let mut now = Instant::ZERO;
//! # let mut answers = false;
//! # let mut edits = Vec::new();
//! // One service, one real server, one half-open probe every 2 s.
//! let http = ServiceKey::tcp("192.168.0.250".parse()?, 80);
//! let check = CheckConfig::new(Probe::Path(PathProbe::new(PathMethod::HalfOpen)));
//! let server = ServerHealth::new(DestinationConfig::new("192.168.0.188".parse()?, 80), vec![check]);
//! let service = ServiceHealth::new(ServiceConfig::new(http, SchedulerKind::RoundRobin), vec![server]);
//! let mut monitor = Monitor::new(MonitorConfig::new(1));
//! let mut prober = PathProber::new(&PathConfig::new(2));
//! monitor.configure(now, &[service])?;
//! let mut buffer = [0; lvs_core::director::TRANSMIT_BUFFER];
//!
//! # for _ in 0..100 {
//! // 1. Frames for the probe address that the director hands over: prober.handle_frame(now, meta, bytes).
//! // 2. What is due. Probers first, so that the monitor hears of a time-out from them.
//! prober.handle_timeout(now);
//! while let Some((id, outcome)) = prober.poll_outcome() {
//!     monitor.handle_result(now, id, outcome);
//! }
//! monitor.handle_timeout(now);
//! // 3. Probes to start, and frames to send.
//! while let Some(order) = monitor.poll_probe(now) {
//!     prober.start(now, &order, &route(&order));
//! }
//! while let Some(frame) = prober.poll_transmit(now, &mut buffer) {
//!     let _bytes = &buffer[..frame.len]; // io.transmit(frame.port, &frame.meta, bytes)
//! }
//! // 4. Edits for the director, in one list: director.apply(now, &edits).
//! while let Some(decision) = monitor.poll_decision() {
//!     edits.push(decision.change);
//! }
//! // 5. Lines for the log.
//! while let Some(event) = monitor.poll_event() {
//!     println!("{event:?}");
//! }
//! // 6. Wait until the earlier of both deadlines.
//! let due = Instant::earliest(monitor.poll_timeout(), prober.poll_timeout());
//! # now = due.unwrap().max(now);
//! # }
//! # // Nobody answered: it was added, and then it lost its weight.
//! # use lvs_core::config::Change;
//! # assert!(matches!(edits[..], [Change::AddDestination(..), Change::EditDestination(_, one)] if one.weight == 0));
//! # let status = monitor.servers(&http).next().unwrap();
//! # assert_eq!(status.reason.unwrap().text(),
//! #     "no answer from 02:00:00:00:00:11: the VIP 192.168.0.250 is not on lo, or a filter drops it");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it does not do
//!
//! No configuration files, no listings for people, no slow start (the core's), no SMTP, BFD or file checks.
//! The monitor does not look up Ethernet addresses; the director knows them.
//!
//! # Features
//!
//! `sockets` (default) adds the module `sockets` on Linux. `https` (default) adds HTTPS to it; without it, such a probe says that it cannot
//! be carried out, and decides nothing. `regex` (default) adds `config::BodyMatch::Pattern`, regular expressions
//! that pages are searched for.
#![deny(unsafe_code)]

pub mod config;
mod deadlines;
mod decision;
mod dns;
mod http;
pub mod monitor;
pub mod outcome;
pub mod path;
mod random;
#[cfg(all(target_os = "linux", feature = "sockets"))]
pub mod sockets;

pub use decision::Decision;
pub use monitor::{Monitor, ProbeId, ProbeOrder};
pub use outcome::{Failure, FailureKind, Outcome};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
