//! What can be wrong with a capture, and where.

use std::fmt;

use super::LONGEST_PACKET;

/// A capture that cannot be read on, or written.
#[derive(Debug)]
pub struct CaptureError {
    /// Where in the file the thing begins that cannot be used, in bytes from its start; 0 when writing.
    pub offset: u64,
    /// How many packets came before it.
    pub packets: u64,
    /// What is wrong.
    pub problem: CaptureProblem,
}

/// What is wrong with a capture.
#[derive(Debug)]
#[non_exhaustive]
pub enum CaptureProblem {
    /// It has no bytes.
    Empty,
    /// It begins like neither a pcap nor a pcapng file.
    NoCapture {
        /// Its first bytes, the rest of them 0.
        first: [u8; 4],
    },
    /// It ends in the middle of something.
    CutOff {
        /// What that is.
        within: &'static str,
    },
    /// Its packets do not begin with an Ethernet header.
    LinkType(u32),
    /// A length that cannot be.
    Length {
        /// What has it.
        of: &'static str,
        /// What it is.
        length: u64,
    },
    /// A packet of an interface that was not described.
    NoSuchInterface(u32),
    /// More interfaces than are kept in mind.
    TooManyInterfaces,
    /// The operating system refused.
    Io(std::io::Error),
    /// What is to be written does not fit the format.
    Unwritable(String),
}

impl CaptureError {
    pub(super) const fn new(offset: u64, packets: u64, problem: CaptureProblem) -> Self {
        Self { offset, packets, problem }
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, packets, .. } = self;
        match &self.problem {
            CaptureProblem::Io(error) => return write!(f, "byte {offset}, after packet {packets}: {error}"),
            CaptureProblem::Unwritable(what) => return f.write_str(what),
            _ => write!(f, "byte {offset}, after packet {packets}: ")?,
        }
        match &self.problem {
            CaptureProblem::Empty => f.write_str("the file is empty; expected a pcap or pcapng capture"),
            CaptureProblem::NoCapture { first: [0x1f, 0x8b, ..] } => {
                f.write_str("the file is compressed; expected a pcap or pcapng capture (gunzip it first)")
            }
            CaptureProblem::NoCapture { first } => {
                let [a, b, c, d] = first;
                write!(f, "this is no capture: it begins with {a:02x} {b:02x} {c:02x} {d:02x}; ")?;
                f.write_str("expected a pcap or pcapng file, as tcpdump -w writes it")
            }
            CaptureProblem::CutOff { within } => write!(f, "the file is cut off in the middle of {within}"),
            CaptureProblem::LinkType(kind) => write!(
                f,
                "link type {kind} is not Ethernet (1); capture on one interface, not on `any` or a tunnel"
            ),
            CaptureProblem::Length { of, length } => {
                write!(f, "{of} of {length} bytes cannot be (a packet has at most {LONGEST_PACKET}); ")?;
                f.write_str("the file is damaged from here on")
            }
            CaptureProblem::NoSuchInterface(number) => {
                write!(f, "a packet of interface {number}, which the file does not describe")
            }
            CaptureProblem::TooManyInterfaces => f.write_str("more than 4096 interfaces"),
            CaptureProblem::Io(_) | CaptureProblem::Unwritable(_) => Ok(()),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            CaptureProblem::Io(error) => Some(error),
            _ => None,
        }
    }
}
