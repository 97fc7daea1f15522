//! An LVS director as pure computation: Ethernet frames in, Ethernet frames out.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

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
