//! What Linux says of network interfaces, for everything that moves frames through them.
//!
//! ```text
//!  "eth0" ──► Device ──┬─► index, MAC, MTU, flags        (netdevice(7) requests, no rights needed)
//!                      ├─► queues, receive offloads      (ethtool requests)
//!                      └─► LinkWatch ──► up, down, replaced by another of its name
//! ```
//!
//! And what two kinds of sockets have in common that carry frames with work left to the hardware: the header that says so
//! ([`offload`]), and messages made of it and a frame ([`compose`]).
//!
//! What it does not do: it changes nothing about an interface, opens none for frames, starts no thread and never waits. It
//! asks about the network namespace of the thread that made the [`Device`].
//!
//! ```
//! use lvs_netdev::Device;
//!
//! let lo = Device::find("lo")?;
//! println!("{}: MTU {}, running: {}", lo.name(), lo.mtu()?, lo.is_running());
//! # Ok::<(), lvs_netdev::DeviceError>(())
//! ```

#![deny(unsafe_code)]
#![cfg(target_os = "linux")]

pub mod compose;
mod device;
mod error;
mod link;
mod name;
pub mod offload;
#[expect(unsafe_code, reason = "the system calls")]
mod sys;
mod watch;

pub use device::{
    Device, Queues, ReceiveOffloads, interface_mac, interface_mtu, interface_names, lookup_failed,
};
pub use error::DeviceError;
pub use link::Link;
pub use name::{LONGEST_NAME, check_name};
pub use watch::{LinkWatch, Look};

/// The example in the README is compiled like the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
