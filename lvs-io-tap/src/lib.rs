//! Frames in and out of Linux TAP devices, as a [`FrameIo`](lvs_core::io::FrameIo): a director as a machine of its own, on a
//! bridge between containers and virtual machines, without a network card.
//!
//! ```text
//!   containers, VMs ─┐           kernel            │            this crate                  │  your handler
//!   network card ────┼─ bridge ─ tap0 ─ queue ─────┼─► read, header checked ────────────────┼─► &mut [Frame]
//!                    │                    ▲        │                                        │       ▼
//!   host's own stack ┘                    └────────┼── write, header put in front ◄─────────┼── one Verdict each
//! ```
//!
//! A TAP device is a cable: the kernel has one end (the interface that `ip link` shows), the program the other. What the kernel
//! sends there, and nothing else, comes in; what is sent from here arrives there as from any neighbour. Unlike with packet
//! sockets, the host's kernel sees no copy, and the host and the director are two stations with two Ethernet addresses
//! ([`stable_mac`]).
//!
//! With offloads (the default) unfinished checksums and merged frames of up to 64 KiB travel in [`Meta`](lvs_core::io::Meta), as
//! containers and virtual machines on the same host send them. Without, the kernel finishes and cuts every frame before.
//!
//! What it does not do: it makes no bridges and gives no addresses to interfaces; [`KernelEnd`] sets a device up and joins it to a
//! bridge that is there, no more. It reads no file but a machine id. TUN devices, which carry packets without Ethernet, are
//! refused.
//!
//! ```no_run
//! use lvs_core::io::{FrameIo, PortId, Verdicts};
//! use lvs_core::verdict::Verdict;
//! use lvs_io_tap::{KernelEnd, KernelEndConfig, TapConfig, TapIo};
//!
//! // A wire between two devices, each of which may be joined to a bridge.
//! let mut io = TapIo::open(TapConfig::new(["tap0", "tap1"]))?;
//! let up = KernelEndConfig::default();
//! let _ends = [KernelEnd::set_up("tap0", &up)?, KernelEnd::set_up("tap1", &up)?];
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

mod arena;
mod config;
mod counters;
mod error;
mod kernel_end;
mod mac;
mod open;
mod port;
#[expect(unsafe_code, reason = "the system calls")]
mod sys;
mod tap_io;

pub use config::{TapConfig, TapPort};
pub use error::{IoError, OpenError};
pub use kernel_end::{KernelEnd, KernelEndConfig, Step};
pub use mac::stable_mac;
pub use tap_io::{Passed, TapIo};

/// The example in the README is compiled like the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
