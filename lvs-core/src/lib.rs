//! An LVS director as pure computation: Ethernet frames in, Ethernet frames out.
//!
//! Clients send to a virtual address (VIP). The director picks a real server, rewrites the two Ethernet addresses and
//! sends the untouched IP packet on; the real server, which holds the VIP on `lo` and keeps quiet about it in ARP, answers
//! the client directly. This is the direct-routing method of Linux IPVS, as a library without I/O, clock or threads.
//!
//! # The smallest director
//!
//! ```
//! use lvs_core::config::{Change, DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
//! use lvs_core::director::TurnBuffers;
//! use lvs_core::{Director, DirectorConfig, FrameIo, Instant, InterfaceConfig, MacAddr, PortId};
//!
//! fn balance<I: FrameIo>(io: &mut I, mac: MacAddr, seed: [u8; 32]) -> Result<(), Box<dyn std::error::Error>>
//! where
//!     I::Error: std::error::Error + 'static,
//! {
//!     let started = std::time::Instant::now();
//!     let clock = || Instant::from_micros(started.elapsed().as_micros() as u64);
//!
//!     // 1. One interface with the director's own address (DIP), and a director on it.
//!     let eth0 = InterfaceConfig::new(PortId(0), mac, "192.168.0.208/24".parse()?);
//!     let mut director = Director::new(DirectorConfig::new(vec![eth0], seed), clock())?;
//!
//!     // 2. One service with two real servers.
//!     let http = ServiceKey::tcp("192.168.0.250".parse()?, 80);
//!     director.apply(clock(), &[
//!         Change::AddService(ServiceConfig::new(http, SchedulerKind::RoundRobin)),
//!         Change::AddDestination(http, DestinationConfig::new("192.168.0.188".parse()?, 80)),
//!         Change::AddDestination(http, DestinationConfig::new("192.168.0.111".parse()?, 80)),
//!     ])?;
//!
//!     // 3. Take in what has arrived, do what is due, send; wait when there was nothing.
//!     let mut buffers = TurnBuffers::new();
//!     loop {
//!         if director.turn(io, &mut buffers, clock)? == 0 {
//!             let wait = director.poll_timeout().map(|due| due.saturating_duration_since(clock()));
//! #           if wait.is_none_or(|wait| wait.as_millis() > 0) { return Ok(()); }
//!             io.wait(wait)?;
//!         }
//!     }
//! }
//! # let mut io = lvs_testkit::memory::MemoryIo::new(1);
//! # balance(&mut io, "02:00:00:00:00:02".parse().unwrap(), [7; 32]).unwrap();
//! # // It has announced the VIP and asked for both real servers.
//! # assert!(io.take_sent().len() >= 3);
//! ```
//!
//! `lvs-io-afpacket` and `lvs-io-xdp` give a [`FrameIo`] on Linux interfaces, `lvs-io-tap` one on TAP devices, `lvs-testkit` one in
//! memory, with which the same director runs inside a unit test. Without a `FrameIo` at all, hand frames to [`Director::handle_batch`] or
//! [`Director::handle_frame`] and do what the [`Verdict`]s say.
//!
//! # Where to look
//!
//! | module | what |
//! | --- | --- |
//! | [`io`] | [`Frame`], its metadata, and [`FrameIo`], the edge to whatever moves frames |
//! | [`config`] | what a director is told: [`DirectorConfig`], and [`Change`]s while it runs |
//! | [`director`] | the [`Director`] |
//! | [`classify`] | what a frame is |
//! | [`scheduler`] | who gets the next connection |
//! | [`connection`] | connections as plain values; memory for their table |
//! | [`observe`] | watching decisions as they are made |
//! | [`listing`], [`statistics`], [`event`] | what a director shows and reports |
//!
//! # What it does not do
//!
//! No NAT and no tunnels yet, no health checks, no I/O. It never allocates and never locks because of a frame, and no
//! input makes it panic or grow.
//!
//! # Features
//!
//! `std` (default) adds nothing but error sources of dependencies. Without it the crate needs `alloc` only.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod addr;
pub mod classify;
pub mod config;
pub mod connection;
pub mod director;
pub mod event;
mod forward;
pub mod io;
pub mod listing;
mod neighbour;
pub mod observe;
mod pool;
mod quick_hash;
pub mod scheduler;
mod service;
pub mod statistics;
pub mod time;
pub mod verdict;
mod wire;

pub use addr::{MacAddr, Subnet};
pub use config::{Change, DirectorConfig, InterfaceConfig};
pub use director::Director;
pub use event::Event;
pub use io::{Frame, FrameIo, PortId};
pub use time::Instant;
pub use verdict::{DropReason, Verdict};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
