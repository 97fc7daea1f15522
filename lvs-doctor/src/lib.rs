//! Finds out what is wrong with an LVS/DR network, from the director's place in it.
//!
//! ```text
//!   wire ──► handle_frame ──► what was seen ──┐
//!                                             ├─► Finding { fault, whose, evidence, cure }
//!   wire ◄── poll_transmit ◄── questions ─────┘
//! ```
//!
//! The examination asks by ARP and neighbour discovery who has which address, and sends each real server what a director would
//! send: a SYN with the real server's Ethernet address and the VIP as destination. It does no I/O and owns no clock: it runs
//! on a network card, inside an appliance, or in a simulated network.
//!
//! ```
//! use lvs_core::config::Protocol;
//! use lvs_core::io::{FrameIo, Meta, Verdicts};
//! use lvs_core::{Instant, MacAddr, PortId, Verdict};
//! use lvs_doctor::{Examination, ExaminationConfig, Interface, Service, ServicePort};
//!
//! fn examine<I: FrameIo>(io: &mut I, mac: MacAddr, seed: u64) -> Result<bool, Box<dyn std::error::Error>>
//! where
//!     I::Error: std::error::Error + 'static,
//! {
//!     // 1. What there should be.
//!     let eth0 = Interface::new(PortId(0), mac, "192.168.0.208/24".parse()?);
//!     let http = Service {
//!         protocol: Protocol::Tcp,
//!         vip: "192.168.0.250".parse()?,
//!         port: ServicePort::Exact(80),
//!         servers: vec!["192.168.0.188".parse()?, "192.168.0.111".parse()?],
//!     };
//!     let started = std::time::Instant::now();
//!     let clock = || Instant::from_micros(started.elapsed().as_micros() as u64);
//!     let mut examination = Examination::new(ExaminationConfig::new(eth0, vec![http], seed), clock())?;
//!
//!     // 2. Send what is to be sent, take in what comes, wait.
//!     while !examination.is_finished() {
//!         while let Some(frame) = examination.poll_transmit(clock()) {
//!             io.transmit(frame.port, &Meta::default(), frame.bytes)?;
//!         }
//!         io.flush()?;
//!         let received = io.receive(&mut |frames| {
//!             frames.iter().for_each(|frame| examination.handle_frame(clock(), frame));
//!             frames.iter().map(|_| Verdict::Pass).collect::<Verdicts>()
//!         })?;
//!         // What happens to ports does not matter here; but a wait is over at once until it has been fetched.
//!         while io.poll_event().is_some() {}
//!         if received == 0 {
//!             io.wait(examination.poll_timeout().map(|due| due.saturating_duration_since(clock())))?;
//!         }
//!     }
//!
//!     // 3. Say what was found.
//!     for finding in examination.findings() {
//!         println!("{}: {}\n{}", finding.fault, finding.evidence, finding.cure.join("\n"));
//!     }
//!     Ok(examination.findings().is_empty())
//! }
//! # let mut io = lvs_testkit::memory::MemoryIo::new(1);
//! # // Nobody is there.
//! # assert!(!examine(&mut io, "02:00:00:00:00:d0".parse().unwrap(), 1).unwrap());
//! ```
//!
//! # What it sends
//!
//! A bounded number of small frames ([`Limits`]), most of them to single machines: questions, one SYN each real server and
//! service (ended by RST when it is accepted), datagrams without data to UDP services, pings. Each real server also gets one
//! SYN from an address of the subnet that nobody has (which is made sure of before), so that it looks for that address and
//! shows whether it does so under the VIP's name. No question has a VIP as sender, and no cache learns anything untrue.
//!
//! # What it does not do
//!
//! It does not look at hosts from inside, changes nothing, and takes silence of a UDP service for no fault. It looks at no
//! network beyond the director's segments.
#![forbid(unsafe_code)]

mod config;
mod cure;
mod diagnose;
mod examination;
mod finding;
mod hear;
mod spare;
mod state;
mod write;

pub use config::{ConfigError, ExaminationConfig, Interface, Limits, Service, ServicePort, services};
pub use examination::{Examination, Outgoing};
pub use finding::{Check, Fault, Finding, Outcome, Severity};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
