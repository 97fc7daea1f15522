//! What a frame costs that makes a connection: service, scheduler (rr), entry, index, timer. Each round fills an empty
//! table of a million; making the empty table is not counted.

use std::hint::black_box;

use super::frames::{decide, establish, per_frame};
use super::{Options, ROOM};
use crate::baseline::Baseline;
use crate::counting;
use crate::report::{FrameCost, median, tenths};
use crate::ring::Ring;
use crate::subject::Subject;
use crate::traffic::{Family, Flow, Kind, Traffic};

/// How many connections a round makes.
const CONNECTIONS: u32 = 1_000_000;

/// Measures.
///
/// # Panics
/// If a frame made no connection.
pub(super) fn run(options: &Options, ring: &mut Ring, family: Family) -> FrameCost {
    let flows = CONNECTIONS.min(options.max_flows);
    let batches = u64::from(flows).div_ceil(lvs_core::io::MAX_BATCH as u64);
    let frames = batches * lvs_core::io::MAX_BATCH as u64;
    let traffic = Traffic::new(family, Kind::Syn);
    let mut baseline = Baseline::new(family, ROOM);
    // Touches its memory, as the director's is.
    establish(&mut baseline, ring, family, flows);
    let (mut costs, mut baseline_costs, mut allocations, mut pages) =
        (Vec::new(), Vec::new(), 0, String::new());
    for round in 0..=options.rounds {
        let in_order = |mut next: u32| {
            move || {
                next += 1;
                Flow::number(next)
            }
        };
        let mut subject = Subject::new(family, ROOM);
        let nothing = ring.run(&traffic, batches, in_order(0), |_| {});
        let before = counting::allocations();
        let with = ring.run(&traffic, batches, in_order(0), |frames| {
            black_box(subject.handle(frames));
        });
        let made = counting::allocations() - before;
        baseline.clear();
        let with_baseline = ring.run(&traffic, batches, in_order(0), |frames| decide(&mut baseline, frames));
        assert_eq!(u64::from(subject.connections()), frames, "every frame makes a connection");
        assert_eq!(baseline.connections() as u64, frames, "every frame makes a connection");
        pages = subject.memory.pages().to_string();
        if round > 0 {
            allocations += made;
            costs.push(per_frame(with, nothing, frames));
            baseline_costs.push(per_frame(with_baseline, nothing, frames));
        }
    }
    FrameCost {
        family,
        flows,
        ns_per_frame: tenths(median(&costs)),
        baseline_ns: tenths(median(&baseline_costs)),
        allocations,
        pages,
    }
}
