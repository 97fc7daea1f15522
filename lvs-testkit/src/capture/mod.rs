//! Capture files: reading and writing pcap and pcapng, and a `FrameIo` that plays one to a director.
//!
//! ```text
//!   capture file ─► CaptureReader ─► CaptureIo ─► receive(handler) ─► verdicts ─► CaptureWriter ─► capture file
//!                                     └ clock ─► the times of the file
//! ```
//! Both formats, both byte orders, microseconds and nanoseconds; the interfaces of a pcapng file are ports. Files are
//! hostile input: nothing panics, nothing grows beyond one packet, and everything before a fault is delivered. A fault
//! names the byte and the packet.
//!
//! ```
//! use lvs_core::io::{FrameIo, Verdicts};
//! use lvs_core::Verdict;
//! use lvs_testkit::capture::{CaptureFormat, CaptureIo, CaptureReader, CaptureWriter};
//! use lvs_testkit::frames::{self, socket};
//! use std::time::Duration;
//!
//! // A capture of two frames, one second apart.
//! let mut file = Vec::new();
//! let mut writer = CaptureWriter::new(&mut file, CaptureFormat::Pcapng, 1)?;
//! for n in 0..2 {
//!     let frame = frames::udp(socket("110.0.0.1:4000"), socket("192.168.0.250:53")).build();
//!     writer.write(Duration::from_secs(1_700_000_000 + n), 0, &frame, Some("a question"))?;
//! }
//! writer.finish()?;
//!
//! // Played to something that sends everything back; what leaves goes into another capture.
//! let mut left = Vec::new();
//! let mut io = CaptureIo::new(CaptureReader::new(&file[..])?)
//!     .with_output(CaptureWriter::new(&mut left, CaptureFormat::Pcap, 1)?);
//! let clock = io.clock();
//! let mut times = Vec::new();
//! while !io.is_finished() {
//!     let count = io.receive(&mut |batch| {
//!         batch.iter().map(|frame| Verdict::Transmit(frame.port())).collect::<Verdicts>()
//!     })?;
//!     times.extend((0..count).map(|_| clock.now().as_micros()));
//!     io.wait(None)?; // moves the clock on to the next frame; nobody sleeps
//! }
//! assert_eq!(times, [0, 1_000_000]);
//! drop(io);
//! assert_eq!(CaptureReader::new(&left[..])?.count(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it refuses: link types other than Ethernet (a capture on `any` is one), and compressed files. Reading is our own,
//! since pcap-file 2.0 refuses packets that a snap length cut off, takes every pcapng time stamp for nanoseconds, and
//! does not say where in the file something is wrong; writing is pcap-file's, and its reader checks ours in the tests.

mod error;
mod input;
mod io;
mod pcapng;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{CaptureError, CaptureProblem};
pub use io::{CaptureClock, CaptureIo};
pub use reader::{CaptureReader, CapturedPacket};
pub use writer::{CaptureFormat, CaptureWriter};

/// The longest packet that is taken, in bytes: what tcpdump takes at most.
pub const LONGEST_PACKET: usize = 262_144;
