//! Frames in and out of Linux network interfaces through AF_XDP sockets, as a
//! [`FrameIo`](lvs_core::io::FrameIo).
//!
//! ```text
//!                 kernel                         │           this crate              │  your handler
//!  NIC ─► redirect program ─┬─ taken ─► RX ring ─┼─► up to 64 frames, checked ───────┼─► &mut [Frame]
//!                           │             ▲      │      one memory for all sockets   │       │
//!                           │             └ fill ┼◄─ free frames ◄─┬─ Drop, Hold ─────┼───────┤
//!                           │                    │                 └─ completion ring │       │
//!                           └─ the rest ─► the   │                          ▲        │       ▼
//!  NIC ◄──────────────────────── host's kernel   │ TX ring ─► sent ─────────┘ ◄──────┼── Transmit
//!                                       │        │                                   │
//!                        a copy of ARP, NDP, MLD ┼─► packet socket ──────────────────┼─► &mut [Frame]
//! ```
//!
//! A forwarded frame is changed and sent where the kernel put it: all sockets of all ports share one piece of
//! memory, so it may come in by one and leave by another without a copy in this program.
//!
//! The redirect program takes frames for given addresses, and ARP and neighbour discovery that asks for them;
//! everything else stays with the host's kernel, which stays reachable by its own addresses. What both need to
//! hear (answers of neighbours, announcements, group queries) stays with the kernel, and a packet socket beside
//! hears a copy of it.
//!
//! What it does not do: it does not configure interfaces, queues or offloads; it reads no file but those of
//! `/proc` that tell which rights are missing; it uses one thread, or one for each member of a
//! group; it carries no checksum, segmentation or VLAN metadata, since AF_XDP has none.
//!
//! ```no_run
//! use lvs_core::io::{FrameIo, PortId, Verdicts};
//! use lvs_core::verdict::Verdict;
//! use lvs_io_xdp::{XdpConfig, XdpIo};
//!
//! // A wire between two interfaces for all of IPv4.
//! let mut io = XdpIo::open(&XdpConfig::new(["eth0", "eth1"]))?;
//! io.set_addresses(&["0.0.0.0/0".parse()?], &[])?;
//! loop {
//!     let count = io.receive(&mut |frames| {
//!         frames.iter().map(|frame| Verdict::Transmit(PortId(1 - frame.port().0))).collect::<Verdicts>()
//!     })?;
//!     // Before every wait, which is over at once while there is something to tell.
//!     while let Some(event) = io.poll_event() {
//!         println!("{event:?}");
//!     }
//!     if count == 0 {
//!         io.wait(None)?;
//!     }
//! }
//! # #[expect(unreachable_code)]
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]
#![cfg(target_os = "linux")]

mod addresses;
mod alarm;
mod assembler;
mod attached;
mod config;
mod engine;
mod error;
mod exchange;
mod group;
mod heard;
mod kick;
mod ledger;
mod mode;
mod opening;
mod outbound;
mod port;
mod program;
mod queue;
mod rights;
#[expect(unsafe_code, reason = "the rings shared with the kernel")]
mod ring;
#[expect(unsafe_code, reason = "the system calls")]
mod sys;
mod tag;
#[expect(unsafe_code, reason = "the memory shared with the kernel")]
mod umem;
mod unfinished;
mod warning;
mod xdp_io;

pub use addresses::AddressError;
pub use config::{Attachment, XdpConfig};
pub use error::{IoError, OpenError};
pub use group::AddressControl;
pub use lvs_netdev::{DeviceError, interface_mac, interface_mtu};
pub use mode::Mode;
pub use warning::Warning;
pub use xdp_io::{XdpIo, XdpStatistics};

/// The example in the README is compiled like the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
