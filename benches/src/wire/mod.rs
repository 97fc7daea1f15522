//! The cases of the program `wire`: frames through real kernels, in network namespaces of this process.
//!
//! | file | what |
//! | --- | --- |
//! | `net.rs` | the network: generator, director, sink |
//! | `generator.rs` | sends frames, as fast as it can or at a rate |
//! | `forwarder.rs` | the director, and a plain forwarder to compare with |
//! | `forward.rs` | case `forward`: frames a second |
//! | `upload.rs` | case `upload`: TCP through the director |
//! | `sys.rs` | system calls |
//!
//! Linux only. Makes nothing outside of this process: when it ends, all is gone.

mod forward;
mod forwarder;
mod generator;
mod net;
mod sys;
mod upload;

use std::fmt;
use std::time::Duration;

pub use forward::{Accounted, account};
pub use generator::Source;
use serde::Serialize;

use crate::report;

/// How frames come in and go out. A backend is added here and in `forwarder.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Io {
    /// `lvs-io-afpacket`: packet sockets.
    Afpacket,
    /// `lvs-io-xdp`: AF_XDP sockets.
    Xdp,
    /// `lvs-io-tap`: TAP devices on bridges.
    Tap,
}

impl Io {
    const fn name(self) -> &'static str {
        match self {
            Self::Afpacket => "afpacket",
            Self::Xdp => "xdp",
            Self::Tap => "tap",
        }
    }

    /// Goals on the machine that they were set on: millions of frames a second, Gbit/s.
    const fn goals(self) -> (f64, f64) {
        match self {
            Self::Afpacket => (1.2, 8.0),
            Self::Xdp => (1.6, 4.0),
            Self::Tap => (0.8, 7.0),
        }
    }
}

/// A kind of case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the figures of the same names say what they are")]
pub enum Case {
    Forward,
    Upload,
}

/// What to measure and how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The backend.
    pub io: Io,
    /// Rounds of director and plain forwarder in turns; the median counts.
    pub rounds: u32,
    /// How long each measurement takes.
    pub time: Duration,
    /// Length of the frames in bytes, 60 to 1514.
    pub frame_bytes: usize,
    /// Only these; all if there are none.
    pub only: Vec<Case>,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "case", rename_all = "lowercase")]
pub enum Figure {
    /// Frames a second.
    Forward {
        /// The backend.
        io: Io,
        /// Length of the frames.
        frame_bytes: usize,
        /// Millions of frames a second, when more are offered.
        mpps: f64,
        /// How much of what was offered then got lost, in percent.
        lost_percent: f64,
        /// Millions of frames a second at the highest rate tried at which fewer than one in 1000 got lost.
        lossless_mpps: f64,
        /// Millions of frames a second of the plain forwarder, when more are offered.
        baseline_mpps: f64,
    },
    /// TCP through the director.
    Upload {
        /// The backend.
        io: Io,
        /// Gigabits of payload a second.
        gbit_s: f64,
        /// Segments that the client sent again.
        retransmits: u64,
    },
}

type Error = Box<dyn std::error::Error>;

/// Runs the cases. Each figure goes to `figure` as soon as it is known; `note` hears what people should know.
///
/// # Errors
/// If the network cannot be built, or the director fails.
pub fn run(
    options: &Options,
    mut figure: impl FnMut(&Figure),
    mut note: impl FnMut(&str),
) -> Result<(), Error> {
    let has = |case| options.only.is_empty() || options.only.contains(&case);
    if has(Case::Forward) {
        let source = Source::best()?;
        note(&format!("frames come from {}", source.name()));
        figure(&forward::run(options, source)?);
    }
    if has(Case::Upload) {
        figure(&upload::run(options)?);
    }
    Ok(())
}

impl Figure {
    /// One line of JSON.
    ///
    /// # Panics
    /// Never: all figures can be written.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("plain values")
    }
}

fn met(value: f64, goal: f64) -> &'static str {
    if value >= goal { "met" } else { "missed" }
}

/// As people read it. A cell of a bar is a twentieth of a million frames a second, or half a Gbit/s.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |mpps: f64| report::bar(mpps * 20.0);
        match self {
            Self::Forward { io, frame_bytes, mpps, lost_percent, lossless_mpps, baseline_mpps } => {
                let goal = io.goals().0;
                let met = met(*mpps, goal);
                let name = io.name();
                writeln!(f, "frames of {frame_bytes} bytes, millions a second, one core")?;
                writeln!(
                    f,
                    "  director, {name:9} {mpps:6.2}  {}   goal {goal}: {met}; {lost_percent:.1} % of the offered lost",
                    rate(*mpps)
                )?;
                writeln!(f, "    without loss      {lossless_mpps:6.2}  {}", rate(*lossless_mpps))?;
                writeln!(f, "  plain read, write   {baseline_mpps:6.2}  {}", rate(*baseline_mpps))
            }
            Self::Upload { io, gbit_s, retransmits } => {
                let goal = io.goals().1;
                writeln!(f, "TCP upload through the director, Gbit/s")?;
                writeln!(
                    f,
                    "  director, {:9} {gbit_s:6.2}  {}   goal {goal}: {}; {retransmits} segments sent again",
                    io.name(),
                    report::bar(gbit_s * 2.0),
                    met(*gbit_s, goal)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_documented() {
        let forward = Figure::Forward {
            io: Io::Afpacket,
            frame_bytes: 60,
            mpps: 1.25,
            lost_percent: 33.1,
            lossless_mpps: 1.0,
            baseline_mpps: 0.5,
        };
        assert_eq!(
            forward.json(),
            "{\"case\":\"forward\",\"io\":\"afpacket\",\"frame_bytes\":60,\"mpps\":1.25,\"lost_percent\":33.1,\
             \"lossless_mpps\":1.0,\"baseline_mpps\":0.5}"
        );
        let text = forward.to_string();
        assert!(
            text.contains("director, afpacket    1.25  █████████████████████████   goal 1.2: met"),
            "{text}"
        );
        assert!(text.contains("plain read, write     0.50  ██████████\n"), "{text}");
        let upload = Figure::Upload { io: Io::Afpacket, gbit_s: 7.9, retransmits: 3 };
        assert_eq!(
            upload.json(),
            "{\"case\":\"upload\",\"io\":\"afpacket\",\"gbit_s\":7.9,\"retransmits\":3}"
        );
        assert!(upload.to_string().contains("goal 8: missed; 3 segments sent again"), "{upload}");
    }
}
