//! An LVS director as pure computation: Ethernet frames in, Ethernet frames out.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod addr;
pub mod config;
pub mod connection;
pub mod event;
pub mod io;
pub mod listing;
pub mod time;
pub mod verdict;

pub use addr::{MacAddr, Subnet};
pub use config::{Change, DirectorConfig, InterfaceConfig};
pub use event::Event;
pub use io::{Frame, FrameIo, PortId};
pub use time::Instant;
pub use verdict::{DropReason, Verdict};
