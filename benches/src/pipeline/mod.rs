//! The cases of the program `pipeline`: what the director costs in memory, without any device.
//!
//! | file | cases |
//! | --- | --- |
//! | `frames.rs` | `established`, `not_ours`, `arp_reply` |
//! | `fresh.rs` | `new_connection` |
//! | `memory.rs` | `memory` |
//! | `flood.rs` | `flood` |
//! | `expiry.rs` | `expiry` |
//! | `workers.rs` | `workers` |
//!
//! A cost is the time of a loop with the director less that of the same loop without, in turns within one run; the median of
//! some rounds counts. Checks that every frame got the verdict it should have.

mod expiry;
mod flood;
mod frames;
mod fresh;
mod memory;
mod workers;

use crate::machine;
use crate::report::{Figure, thousands};
use crate::ring::Ring;
use crate::traffic::{Family, Flow, Kind, Random};

/// What to measure and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The most flows there are at one time.
    pub max_flows: u32,
    /// How many rounds of each case; the median counts.
    pub rounds: u32,
    /// How many frames a round, rounded up to whole batches.
    pub frames: u64,
    /// Only these; all if there are none.
    pub only: Vec<Case>,
}

/// A kind of case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the figures of the same names say what they are")]
pub enum Case {
    Established,
    NewConnection,
    NotOurs,
    ArpReply,
    Memory,
    Flood,
    Expiry,
    Workers,
}

/// How many flows there are in the established cases.
const SIZES: [u32; 4] = [1000, 100_000, 1_000_000, 10_000_000];
/// Room in the tables at least: the director's default.
const ROOM: u32 = 1 << 20;
/// Bytes that director and baseline take for a flow, with room to spare.
const BYTES_A_FLOW: u64 = 250;

impl Options {
    fn batches(&self) -> u64 {
        self.frames.div_ceil(lvs_core::io::MAX_BATCH as u64)
    }

    fn has(&self, case: Case) -> bool {
        self.only.is_empty() || self.only.contains(&case)
    }
}

/// Runs the cases. Each figure goes to `figure` as soon as it is known; `note` hears what is left out and why.
pub fn run(options: &Options, mut figure: impl FnMut(&Figure), mut note: impl FnMut(&str)) {
    let mut ring = Ring::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        // An IPv6 connection takes two entries: a tenth of the flows shows the same.
        let sizes = if family == Family::Ipv4 { &SIZES[..] } else { &SIZES[..3] };
        for flows in sizes.iter().filter(|_| options.has(Case::Established)) {
            match why_not(options, *flows) {
                Some(why) => note(&format!("{} established flows were not run: {why}", thousands(*flows))),
                None => {
                    figure(&Figure::Established(frames::run(options, &mut ring, family, Kind::Ack, *flows)));
                }
            }
        }
        if options.has(Case::NewConnection) {
            figure(&Figure::NewConnection(fresh::run(options, &mut ring, family)));
        }
        if options.has(Case::NotOurs) {
            figure(&Figure::NotOurs(frames::run(options, &mut ring, family, Kind::NotOurs, 1000)));
        }
    }
    if options.has(Case::ArpReply) {
        figure(&Figure::ArpReply(frames::run(options, &mut ring, Family::Ipv4, Kind::ArpRequest, 1000)));
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        if options.has(Case::Memory) {
            figure(&memory::run(options, &mut ring, family));
        }
    }
    if options.has(Case::Flood) {
        figure(&flood::random(options, &mut ring));
        figure(&flood::colliding(options, &mut ring));
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        if options.has(Case::Expiry) {
            figure(&expiry::run(options, &mut ring, family));
        }
    }
    if options.has(Case::Workers) {
        match workers::run(options) {
            Some(measured) => figure(&measured),
            None => note("workers were not run: they need two processors"),
        }
    }
}

/// Why so many flows cannot be run.
fn why_not(options: &Options, flows: u32) -> Option<String> {
    if flows > options.max_flows {
        return Some(format!("--max-flows {flows} runs them"));
    }
    let needed = u64::from(flows) * BYTES_A_FLOW;
    let available = machine::memory_available()?;
    (needed > available)
        .then(|| format!("{} MiB of memory are needed and {} MiB available", needed >> 20, available >> 20))
}

/// Numbered flows in random order, the same for every loop that is given the same `round`.
fn random_order(flows: u32, round: u32) -> impl FnMut() -> Flow {
    let mut random = Random::new(u64::from(round) + 1);
    move || Flow::number(random.below(flows))
}
