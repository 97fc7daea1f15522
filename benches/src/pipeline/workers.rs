//! How many frames two workers carry, each on a processor of its own, by those that one carries alone.

use std::hint::black_box;
use std::num::NonZeroU16;
use std::sync::Barrier;
use std::thread;

use lvs_core::Instant;
use lvs_core::classify::owner_of;
use lvs_core::director::{DirectorGroup, GroupMember};
use lvs_core::io::MAX_BATCH;
use lvs_hugepages::HugePages;

use super::frames::per_frame;
use super::{Options, ROOM};
use crate::machine;
use crate::report::{Figure, median};
use crate::ring::Ring;
use crate::subject::{SEED, changes, config};
use crate::traffic::{Family, Flow, Kind, Random, Traffic};

const FLOWS: u32 = 100_000;
const TWO: NonZeroU16 = NonZeroU16::new(2).unwrap();

/// Measures; `None` where there is one processor only.
pub(super) fn run(options: &Options) -> Option<Figure> {
    if machine::processors().len() < usize::from(TWO.get()) {
        return None;
    }
    let flows = FLOWS.min(options.max_flows);
    let ratios: Vec<f64> = (0..options.rounds.max(1))
        .map(|_| rate(options, TWO, flows) / rate(options, NonZeroU16::MIN, flows))
        .collect();
    Some(Figure::Workers { workers: TWO.get(), ratio: (median(&ratios) * 100.0).round() / 100.0 })
}

/// Frames a nanosecond that so many workers carry together.
fn rate(options: &Options, workers: NonZeroU16, flows: u32) -> f64 {
    let memory = HugePages::new().prefault(true);
    let config = config(Family::Ipv4, ROOM, SEED);
    let (group, members) = DirectorGroup::new(&config, Instant::ZERO, workers, &memory).expect("a director");
    group.apply(Instant::ZERO, &changes()).expect("changes that fit");
    let barrier = Barrier::new(members.len());
    thread::scope(|scope| {
        let threads: Vec<_> = members
            .into_iter()
            .map(|member| {
                let own: Vec<Flow> = (0..flows)
                    .map(Flow::number)
                    .filter(|flow| owner_of(flow.client(Family::Ipv4), workers) == member.place())
                    .collect();
                let barrier = &barrier;
                scope.spawn(move || work(options, &member, &own, barrier))
            })
            .collect();
        threads.into_iter().map(|thread| 1.0 / thread.join().expect("a worker")).sum()
    })
}

/// What a frame costs one worker, in nanoseconds, while the others work too.
fn work(options: &Options, member: &GroupMember<HugePages>, own: &[Flow], barrier: &Barrier) -> f64 {
    machine::pin(usize::from(member.place()));
    let mut ring = Ring::new();
    let start = std::time::Instant::now();
    let now = || Instant::from_micros(start.elapsed().as_micros() as u64);
    for kind in [Kind::Syn, Kind::Ack] {
        let traffic = Traffic::new(Family::Ipv4, kind);
        for flows in own.chunks(MAX_BATCH) {
            let mut flows = flows.iter().copied();
            ring.batch(
                &traffic,
                flows.len(),
                || flows.next().expect("counted"),
                |frames| {
                    black_box(member.handle_batch(now(), frames));
                },
            );
        }
    }
    let traffic = Traffic::new(Family::Ipv4, Kind::Ack);
    let pick = |seed| {
        let mut random = Random::new(seed);
        move || own[random.below(own.len() as u32) as usize]
    };
    barrier.wait();
    let nothing = ring.run(&traffic, options.batches(), pick(1), |_| {});
    barrier.wait();
    let with = ring.run(&traffic, options.batches(), pick(1), |frames| {
        black_box(member.handle_batch(now(), frames));
    });
    barrier.wait();
    per_frame(with, nothing, options.batches() * MAX_BATCH as u64)
}
