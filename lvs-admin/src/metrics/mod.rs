//! What can be seen of a director from outside: one plain value with everything, as JSON, as metrics for Prometheus, and as a page for
//! people, served over HTTP.
//!
//! ```text
//!   DirectorGroup ── Figures ─┐
//!   health, neighbours,       │                 ┌─► Watch: what is wrong, and where to look
//!   devices, batches ─ Report ┼─► Snapshot ─────┤
//!   log lines ────── Journal ─┘   (a value)     ├─► /stats.json, which the page at / shows
//!                                               └─► /metrics
//! ```
//!
//! A snapshot is taken when somebody asks, and not more often than every 250 ms, however many ask: nobody who looks can slow down the
//! director. The server reads nothing but the first line and the headers of requests, has bounds for everything, and changes nothing.
//!
//! ```
//! use std::num::NonZeroU16;
//! use std::time::SystemTime;
//!
//! use lvs_admin::metrics::{self, About, Journal, Report, Server, ServerOptions, Severity, Snapshot};
//! use lvs_core::connection::HeapMemory;
//! use lvs_core::director::DirectorGroup;
//! use lvs_core::{DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId};
//!
//! # let eth0 = InterfaceConfig::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 2]), "192.168.0.208/24".parse()?);
//! # let config = DirectorConfig::new(vec![eth0], [7; 32]);
//! # let listen = "0";
//! // 1. The socket, before rights are given up. A port alone is one on 127.0.0.1.
//! let listener = std::net::TcpListener::bind(metrics::listen_address(listen)?)?;
//!
//! // 2. The director, and a journal that log lines are copied to.
//! let (group, members) = DirectorGroup::new(&config, Instant::ZERO, NonZeroU16::MIN, &HeapMemory)?;
//! let about = About { name: "lb1".into(), version: "0.1.0".into(), started: SystemTime::now() };
//! let journal = Journal::new(200);
//! journal.note(SystemTime::now(), Severity::Info, "ready");
//!
//! // 3. The server, on a thread of its own until it is dropped. The closure runs there, when somebody looks.
//! let server = Server::start(listener, ServerOptions::default(), move || {
//!     let report = Report::default(); // health, neighbours, devices, batches: what is known of them now
//!     Snapshot::of_group(SystemTime::now(), &about, &group, &report, &journal)
//! })?;
//! println!("http://{}/", server.address());
//! # use std::io::{Read, Write};
//! # let mut client = std::net::TcpStream::connect(server.address())?;
//! # client.write_all(b"GET /stats.json HTTP/1.0\r\n\r\n")?;
//! # let mut answer = String::new();
//! # client.read_to_string(&mut answer)?;
//! # assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains(r#""name":"lb1""#), "{answer}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It does not keep history (the page does, as long as it is open), has no users, no encryption and no way to change anything. Whoever
//! lets it listen on another address than loopback should put a proxy with those in front.

mod http;
mod journal;
mod report;
mod snapshot;
mod text;
mod warning;

pub use http::{ListenAddressError, PAGE, Server, ServerOptions, listen_address};
pub use journal::{Conflict, Journal, Line, Severity};
pub use report::{
    DeviceReport, HealthReport, HealthState, NeighbourReport, NeighbourState, Probes, Report, ServerReport,
    ServiceReport,
};
pub use snapshot::{
    About, BatchSize, Batches, Device, Dropped, Figures, Frames, Neighbour, RealServer, Service, Snapshot,
    Table,
};
pub use text::{CONTENT_TYPE, prometheus};
pub use warning::{Warning, Watch};
