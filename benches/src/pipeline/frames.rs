//! What a frame costs that changes no table: of an established connection, not for a service, an ARP question.

use std::hint::black_box;
use std::time::Duration;

use lvs_core::Instant;

use super::{Options, ROOM, random_order};
use crate::baseline::Baseline;
use crate::counting;
use crate::report::{FrameCost, median, tenths};
use crate::ring::Ring;
use crate::subject::Subject;
use crate::traffic::{Family, Kind, Traffic};

/// Measures frames of one kind in so many established flows.
///
/// # Panics
/// If a frame got another verdict than it should have.
pub(super) fn run(options: &Options, ring: &mut Ring, family: Family, kind: Kind, flows: u32) -> FrameCost {
    let mut subject = Subject::new(family, flows.max(ROOM));
    let mut baseline = Baseline::new(family, flows.max(ROOM));
    if kind == Kind::Ack {
        subject.establish(ring, family, flows);
        establish(&mut baseline, ring, family, flows);
    }
    let traffic = Traffic::new(family, kind);
    let (mut costs, mut baseline_costs, mut allocations) = (Vec::new(), Vec::new(), 0);
    // The first round warms up.
    for round in 0..=options.rounds {
        let before = (subject.director.statistics(), counting::allocations());
        let nothing = ring.run(&traffic, options.batches(), random_order(flows, round), |_| {});
        let with = ring.run(&traffic, options.batches(), random_order(flows, round), |frames| {
            black_box(subject.handle(frames));
        });
        let after = (subject.director.statistics(), counting::allocations());
        let with_baseline = ring.run(&traffic, options.batches(), random_order(flows, round), |frames| {
            decide(&mut baseline, frames);
        });
        let frames = options.batches() * lvs_core::io::MAX_BATCH as u64;
        let decided = match kind {
            Kind::NotOurs => after.0.passed - before.0.passed,
            _ => after.0.transmitted - before.0.transmitted,
        };
        assert_eq!(decided, frames, "every frame has the verdict that it should have");
        subject.settle();
        if round > 0 {
            allocations += after.1 - before.1;
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
        pages: subject.memory.pages().to_string(),
    }
}

/// Nanoseconds a frame that `with` took longer than `nothing`.
pub(super) fn per_frame(with: Duration, nothing: Duration, frames: u64) -> f64 {
    (with.as_nanos() as f64 - nothing.as_nanos() as f64) / frames as f64
}

/// The baseline's part of a loop. It reads no clock: the caller's would do.
#[inline]
pub(super) fn decide(baseline: &mut Baseline, frames: &mut [lvs_core::Frame<'_>]) {
    for frame in frames {
        let _ = black_box(baseline.handle(Instant::from_secs(1), frame));
    }
}

/// Makes numbered flows known to the baseline.
pub(super) fn establish(baseline: &mut Baseline, ring: &mut Ring, family: Family, flows: u32) {
    for kind in [Kind::Syn, Kind::Ack] {
        let traffic = Traffic::new(family, kind);
        let mut numbers = (0..flows).map(crate::traffic::Flow::number);
        while numbers.len() > 0 {
            let count = numbers.len().min(lvs_core::io::MAX_BATCH);
            ring.batch(
                &traffic,
                count,
                || numbers.next().expect("counted"),
                |frames| decide(baseline, frames),
            );
        }
    }
    assert_eq!(baseline.connections(), flows as usize);
}
