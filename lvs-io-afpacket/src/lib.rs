//! Frames in and out of Linux network interfaces through packet sockets (AF_PACKET), as a
//! [`FrameIo`](lvs_core::io::FrameIo).
//!
//! ```text
//!            kernel                  │            this crate                    │  your handler
//!  NIC ──► TPACKET_V3 ring (mmap) ───┼─► walk: 64 frames, bounds checked ───────┼─► &mut [Frame]
//!                 ▲                  │                                          │       │
//!                 └── block given ◄──┼── all frames of the block handled        │       ▼
//!                     back           │                                          │   one Verdict each
//!  NIC ◄── sendmmsg, one a port ◄────┼── 10-byte offload header put in front ◄──┼───────┘
//! ```
//!
//! A forwarded frame is changed and sent where the kernel put it; nothing copies it in between. Unfinished
//! checksums, merged frames of up to 64 KiB and VLAN tags travel in [`Meta`](lvs_core::io::Meta), because
//! that is how Linux hands frames to a packet socket: a program that ignores them breaks every TCP
//! connection from the same host.
//!
//! What it does not do: it never takes a frame away from the host's kernel, which sees its own copy of
//! everything received (so the host must neither own the addresses being balanced nor forward IP); it does
//! not configure interfaces; it reads no file; it uses one thread, and one socket per interface.
//!
//! ```no_run
//! use lvs_core::io::{FrameIo, PortId, Verdicts};
//! use lvs_core::verdict::Verdict;
//! use lvs_io_afpacket::{PacketConfig, PacketIo};
//!
//! // A wire between two interfaces.
//! let mut io = PacketIo::open(&PacketConfig::new(["eth0", "eth1"]))?;
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

mod config;
mod error;
mod outbox;
mod packet_io;
mod port;
#[expect(unsafe_code, reason = "the memory shared with the kernel")]
mod ring;
mod send;
mod steer;
#[expect(unsafe_code, reason = "the system calls")]
mod sys;
mod walk;

pub use config::PacketConfig;
pub use error::{IoError, OpenError};
pub use lvs_netdev::{DeviceError, interface_mac, interface_mtu, interface_names};
pub use packet_io::PacketIo;

/// The example in the README is compiled like the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
