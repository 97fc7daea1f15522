//! Test tools for lvs-core, and for programs that embed it.
//!
//! - [`frames`] builds Ethernet frames, right ones and broken ones, and says in a line what a frame is;
//! - [`memory`] is a `FrameIo` without a device: a test pushes frames in and looks at what came out;
//! - [`capture`] reads and writes pcap and pcapng files, and plays them to a director;
//! - [`middleware`] wraps any `FrameIo`: trace, recording, faults, counts;
//! - [`model`] is what a director has to decide, in the plainest words;
//! - [`fuzz`] holds the bodies of the fuzz targets, which property tests use too;
//! - `sim` (feature `sim`) is a network inside the process, in virtual time: links that lose and reorder, switches,
//!   routers, hosts that behave as Linux does, directors;
//! - `lab` (Linux, feature `lab`) builds networks out of real kernels in network namespaces, without
//!   root where the system allows that, and leaves nothing behind.
//!
//! `frames` and `memory` run everywhere; switch the default features off if they are all you need.
//! Everything here is made for tests: wrong arguments panic with a sentence, nothing is tuned for speed.
#![deny(unsafe_code)]

pub mod capture;
pub mod frames;
pub mod fuzz;
#[cfg(all(target_os = "linux", feature = "lab"))]
pub mod lab;
pub mod memory;
pub mod middleware;
pub mod model;
#[cfg(any(all(target_os = "linux", feature = "lab"), feature = "sim"))]
mod reference;
#[cfg(feature = "sim")]
pub mod sim;

#[cfg(all(doctest, target_os = "linux", feature = "lab", feature = "sim"))]
#[doc = include_str!("../README.md")]
struct Readme;
