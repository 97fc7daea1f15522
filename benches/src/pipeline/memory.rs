//! What a connection takes: all memory of a director with a full table, less that of the smallest director there can be.

use super::{Options, ROOM};
use crate::counting;
use crate::report::{Figure, tenths};
use crate::ring::Ring;
use crate::subject::Subject;
use crate::traffic::{Family, Flow, Kind, Random, Traffic};

/// The smallest table there can be.
const SMALLEST: u32 = 64;

/// Measures.
pub(super) fn run(options: &Options, ring: &mut Ring, family: Family) -> Figure {
    let (smallest, fixed) = made(family, SMALLEST);
    drop(smallest);
    let room = ROOM.min(options.max_flows.next_power_of_two()).max(1 << 15);
    let (mut subject, bytes) = made(family, room);
    fill(&mut subject, ring, family);
    let bytes = bytes as f64 - fixed as f64;
    let bytes_per_connection = tenths(bytes / f64::from(subject.connections() - SMALLEST));
    Figure::Memory { family, bytes_per_connection }
}

/// A director and the bytes it takes: the allocator's and those of its tables.
fn made(family: Family, connections: u32) -> (Subject, u64) {
    let before = counting::live_bytes();
    let subject = Subject::new(family, connections);
    let bytes = counting::live_bytes() - before + subject.memory.bytes() as u64;
    (subject, bytes)
}

/// Makes connections until one finds no place.
pub(super) fn fill(subject: &mut Subject, ring: &mut Ring, family: Family) {
    let traffic = Traffic::new(family, Kind::Syn);
    let mut random = Random::new(77);
    while subject.director.statistics().table_full == 0 {
        subject.send(ring, &traffic, (0..4096).map(|_| Flow::random(random.bits())));
    }
}
