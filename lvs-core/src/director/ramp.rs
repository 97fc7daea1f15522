//! What changes a server's standing by the clock: slow starts and drains.

use alloc::vec::Vec;
use core::time::Duration;

use super::common::Common;
use crate::config::ServiceKey;
use crate::connection::TableMemory;
use crate::service::{Reach, Serves};
use crate::time::Instant;

/// Steps of a slow start.
const STEPS: u32 = 20;

/// A server that starts slowly.
#[derive(Debug, Clone, Copy)]
struct Ramp {
    destination: u32,
    began: Instant,
    length: Duration,
    /// When it is looked at next.
    due: Instant,
}

/// Servers whose standing changes by the clock. Room for them is taken by edits.
#[derive(Debug, Default)]
pub(super) struct Ramps {
    starting: Vec<Ramp>,
    draining: Vec<(u32, Instant)>,
    due: Option<Instant>,
}

impl Ramps {
    /// When something is due.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    fn set_due(&mut self) {
        let starting = self.starting.iter().map(|ramp| ramp.due).min();
        let draining = self.draining.iter().map(|(_, at)| *at).min();
        self.due = Instant::earliest(starting, draining);
    }

    /// A server starts slowly from now on.
    pub(super) fn start(&mut self, now: Instant, destination: u32, length: Duration) {
        self.forget(destination);
        self.starting.push(Ramp { destination, began: now, length, due: now + length / STEPS });
        self.set_due();
    }

    /// A server has to be free of connections at a time.
    pub(super) fn drain(&mut self, destination: u32, at: Instant) {
        self.forget(destination);
        self.draining.push((destination, at));
        self.set_due();
    }

    /// A server stands as it is configured from now on.
    pub(super) fn forget(&mut self, destination: u32) {
        self.starting.retain(|ramp| ramp.destination != destination);
        self.draining.retain(|(other, _)| *other != destination);
        self.set_due();
    }
}

/// The part of a weight that counts after `passed` of `length`: 1 at least.
pub(super) fn part_of(weight: u32, passed: Duration, length: Duration) -> u32 {
    if weight == 0 || passed >= length {
        return weight;
    }
    let part = u128::from(weight) * passed.as_micros() / length.as_micros().max(1);
    (part as u32).max(1)
}

impl<M: TableMemory> Common<M> {
    /// The weight with which a server of this service begins, and how long it takes to get all of it.
    pub(super) fn first_weight(&self, key: ServiceKey, weight: u32) -> (u32, Option<Duration>) {
        let service = self.services.id(key).and_then(|id| self.services.get(id));
        match service.and_then(|service| service.config.slow_start) {
            Some(length) if weight > 0 => (part_of(weight, Duration::ZERO, length), Some(length)),
            _ => (weight, None),
        }
    }

    /// Does what is due.
    pub(super) fn follow_ramps(&mut self) {
        if self.ramps.due.is_none_or(|due| due > self.now) {
            return;
        }
        let now = self.now;
        let drained = |(_, at): &(u32, Instant)| *at <= now;
        for (destination, _) in self.ramps.draining.iter().filter(|one| drained(one)) {
            let lane = self.destinations.lane_mut(*destination);
            if lane.reach() != Reach::Gone {
                lane.set_reach(Reach::Drained);
                self.edition += 1;
                self.whole_edition = self.edition;
            }
        }
        self.ramps.draining.retain(|one| !drained(one));
        for ramp in self.ramps.starting.iter_mut().filter(|ramp| ramp.due <= now) {
            let passed = now.saturating_duration_since(ramp.began);
            let weight = part_of(self.destinations.get(ramp.destination).config.weight, passed, ramp.length);
            let Serves { service, place } = self.destinations.load(ramp.destination).serves;
            if let Some(service) = self.services.get_mut(service) {
                service.reweigh(place as usize, weight);
            }
            ramp.due = now + ramp.length / STEPS;
        }
        self.ramps.starting.retain(|ramp| now.saturating_duration_since(ramp.began) < ramp.length);
        self.ramps.set_due();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_grows_from_one_to_all_of_it() {
        let length = Duration::from_secs(100);
        let at = |secs| part_of(50, Duration::from_secs(secs), length);
        assert_eq!([at(0), at(1), at(10), at(50), at(99), at(100), at(500)], [1, 1, 5, 25, 49, 50, 50]);
        assert_eq!(part_of(0, Duration::ZERO, length), 0);
        assert_eq!(part_of(7, Duration::ZERO, Duration::ZERO), 7);
    }
}
