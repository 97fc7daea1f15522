//! How long a batch takes at most while a million connections expire.
//!
//! The connections are half-open ones, all made within a moment; then time is skipped until they are due, and batches of a
//! thousand established flows are timed one by one until all that is due is gone. What the director does by the clock every
//! 16 batches counts as a batch of its own: a frame would have to wait for it all the same.

use std::time::{Duration, Instant};

use lvs_core::io::MAX_BATCH;

use super::{Options, ROOM, random_order};
use crate::report::{Figure, median, tenths};
use crate::ring::Ring;
use crate::subject::Subject;
use crate::traffic::{Family, Flow, Kind, Traffic};

const EXPIRING: u32 = 1_000_000;
const ESTABLISHED: u32 = 1000;
/// Longer than a half-open connection is remembered, shorter than an established one.
const SKIPPED: Duration = Duration::from_secs(70);
/// More batches than this, and nothing is gone: something is broken.
const MOST_BATCHES: usize = 1_000_000;

/// Measures.
///
/// # Panics
/// If connections do not expire.
pub(super) fn run(options: &Options, ring: &mut Ring, family: Family) -> Figure {
    let expiring = EXPIRING.min(options.max_flows);
    let (mut longest, mut quiet, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds.max(1) {
        let mut subject = Subject::new(family, ROOM);
        subject.establish(ring, family, ESTABLISHED);
        let numbers = (ESTABLISHED..ESTABLISHED + expiring).map(Flow::number);
        subject.send(ring, &Traffic::new(family, Kind::Syn), numbers);
        let mut times = Vec::with_capacity(MOST_BATCHES);
        subject.skip(SKIPPED);
        batches(&mut subject, ring, family, &mut times, |subject, _| subject.connections() > ESTABLISHED);
        longest.push(largest(&times));
        let count = times.len();
        all.append(&mut times);
        batches(&mut subject, ring, family, &mut times, |_, done| done < count);
        quiet.push(largest(&times));
        assert_eq!(subject.connections(), ESTABLISHED, "all others are gone");
    }
    all.sort_unstable();
    let p9999 = all.get(all.len() - 1 - all.len() / 10_000).copied().unwrap_or_default();
    Figure::Expiry {
        family,
        connections: expiring,
        longest_us: tenths(median(&longest)),
        p9999_us: tenths(micros(p9999)),
        quiet_us: tenths(median(&quiet)),
    }
}

/// Times batches of established frames while `goes_on` says so.
fn batches(
    subject: &mut Subject,
    ring: &mut Ring,
    family: Family,
    times: &mut Vec<Duration>,
    goes_on: impl Fn(&Subject, usize) -> bool,
) {
    let traffic = Traffic::new(family, Kind::Ack);
    let mut pick = random_order(ESTABLISHED, 1);
    while goes_on(subject, times.len()) {
        assert!(times.len() < MOST_BATCHES, "{} connections do not expire", subject.connections());
        ring.batch(&traffic, MAX_BATCH, &mut pick, |frames| {
            let start = Instant::now();
            subject.handle(frames);
            times.push(start.elapsed());
        });
        if times.len().is_multiple_of(17) {
            let start = Instant::now();
            subject.tick();
            times.push(start.elapsed());
        }
    }
}

fn largest(times: &[Duration]) -> f64 {
    times.iter().max().map_or(0.0, |longest| micros(*longest))
}

const fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}
