//! What established connections feel of an attack.
//!
//! Two directors with the same 10,000 established flows, one of them under attack: before each batch of established frames
//! comes a batch of the attacker's. Only the batches of established frames are timed, each by itself.

use std::time::{Duration, Instant};

use lvs_core::Verdict;
use lvs_core::io::MAX_BATCH;

use super::frames::per_frame;
use super::{Options, ROOM, memory, random_order};
use crate::attack::Guess;
use crate::report::{Figure, median, tenths};
use crate::ring::Ring;
use crate::subject::Subject;
use crate::traffic::{Family, Flow, Kind, Random, Traffic};

/// How many flows are established.
const ESTABLISHED: u32 = 10_000;
/// How many colliding flows the attacker has.
const COLLIDING: usize = 1 << 16;

/// SYNs from random addresses against a full table.
pub(super) fn random(options: &Options, ring: &mut Ring) -> Figure {
    let mut attacked = victim(options, ring);
    memory::fill(&mut attacked, ring, Family::Ipv4);
    let mut random = Random::new(99);
    measure(options, ring, "random", &mut attacked, || Flow::random(random.bits()))
}

/// SYNs that collide under a key of the attacker's.
pub(super) fn colliding(options: &Options, ring: &mut Ring) -> Figure {
    let mut attacked = victim(options, ring);
    let count = COLLIDING.min(options.max_flows as usize);
    let flows: Vec<Flow> = Guess::new(&[0x6b; 32]).collisions().take(count).collect();
    let mut flows = flows.iter().cycle();
    measure(options, ring, "colliding", &mut attacked, || *flows.next().expect("they go round"))
}

fn victim(options: &Options, ring: &mut Ring) -> Subject {
    let established = ESTABLISHED.min(options.max_flows);
    let room = ROOM.min(options.max_flows.next_power_of_two() * 2);
    let mut subject = Subject::new(Family::Ipv4, room.max(1 << 14));
    subject.establish(ring, Family::Ipv4, established);
    subject
}

fn measure(
    options: &Options,
    ring: &mut Ring,
    attack: &'static str,
    attacked: &mut Subject,
    mut attacker: impl FnMut() -> Flow,
) -> Figure {
    let mut quiet = victim(options, ring);
    let (ack, syn) = (Traffic::new(Family::Ipv4, Kind::Ack), Traffic::new(Family::Ipv4, Kind::Syn));
    let (mut without, mut during, mut lost) = (Vec::new(), Vec::new(), 0);
    // Half of the frames are the attacker's.
    let batches = options.batches().div_ceil(2);
    for round in 0..=options.rounds {
        let mut times = [Duration::ZERO; 3];
        let flows = ESTABLISHED.min(options.max_flows);
        for (at, time) in times.iter_mut().enumerate() {
            let mut pick = random_order(flows, round);
            for _ in 0..batches {
                if at == 2 {
                    ring.batch(&syn, MAX_BATCH, &mut attacker, |frames| drop(attacked.handle(frames)));
                }
                let hashed = attacked.director.statistics().hashed;
                let mut sent = MAX_BATCH;
                let start = Instant::now();
                ring.batch(&ack, MAX_BATCH, &mut pick, |frames| match at {
                    0 => {}
                    1 => sent = count_sent(&quiet.handle(frames)),
                    _ => sent = count_sent(&attacked.handle(frames)),
                });
                *time += start.elapsed();
                // A frame that went to whichever server the hash gave is as good as lost: its connection was forgotten.
                lost += (MAX_BATCH - sent) as u64 + attacked.director.statistics().hashed - hashed;
            }
        }
        quiet.settle();
        attacked.settle();
        if round > 0 {
            let frames = batches * MAX_BATCH as u64;
            without.push(per_frame(times[1], times[0], frames));
            during.push(per_frame(times[2], times[0], frames));
        }
    }
    let (without, during) = (median(&without), median(&during));
    let ratio = (during / without * 100.0).round() / 100.0;
    Figure::Flood { attack, ns_per_frame: tenths(during), ratio, lost }
}

fn count_sent(verdicts: &[Verdict]) -> usize {
    verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Transmit(_))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_established_flows_lose_nothing() {
        let options = Options { max_flows: 16_000, rounds: 1, frames: 1 << 17, only: Vec::new() };
        for attack in [random, colliding] {
            let Figure::Flood { lost, attack, .. } = attack(&options, &mut Ring::new()) else {
                panic!("another figure");
            };
            assert_eq!(lost, 0, "{attack}");
        }
    }

    #[test]
    fn a_full_table_is_under_attack() {
        let options = Options { max_flows: 16_000, rounds: 1, frames: 64, only: Vec::new() };
        let mut ring = Ring::new();
        let mut attacked = victim(&options, &mut ring);
        memory::fill(&mut attacked, &mut ring, Family::Ipv4);
        let usage = attacked.director.connection_usage();
        assert_eq!((usage.used, usage.capacity), (1 << 15, 1 << 15));
        assert!(attacked.director.statistics().hashed > 0);
    }
}
