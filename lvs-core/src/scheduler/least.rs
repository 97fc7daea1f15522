//! Schedulers that pick the server that is best by some measure: lc, wlc, sed, nq, fo and ovf.
//!
//! All answer what a scan of the list would, first of equals (last added) first, but keep a tree of winners: a pick costs
//! nothing, and a connection that comes or goes costs one match a level.

use super::tournament::{Form, Tournament};
use super::{ListChange, Request, Scheduler, SchedulerState, Server};

/// By what servers are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// `lc`: the fewest connections, an active one counting as 256 others.
    Connections,
    /// `wlc`: the same, relative to the weight.
    WeightedConnections,
    /// `sed`: the fewest active connections, the new one included, relative to the weight.
    ExpectedDelay,
    /// `nq`: the first server without an active connection; if there is none, as `sed`.
    NeverQueue,
    /// `fo`: the largest weight.
    Failover,
    /// `ovf`: the largest weight among those with no more active connections than their weight. UDP connections are never
    /// active: it does not suit them.
    Overflow,
}

impl Measure {
    /// How a server stands by this measure.
    pub(super) const fn of(self, server: &Server) -> Form {
        if !server.is_available() {
            return Form::OUT;
        }
        let (weight, active) = (server.weight, server.active as u64);
        match self {
            Self::Connections => Form { load: server.overhead(), weight: 1 },
            Self::WeightedConnections => Form { load: server.overhead(), weight },
            Self::NeverQueue if active == 0 => Form { load: 0, weight: 1 },
            Self::ExpectedDelay | Self::NeverQueue => Form { load: active + 1, weight },
            Self::Overflow if active > weight as u64 => Form::OUT,
            Self::Failover | Self::Overflow => Form { load: 1, weight },
        }
    }
}

/// One of the schedulers above.
#[derive(Debug, Clone)]
pub struct Least {
    measure: Measure,
    tournament: Tournament,
    start: Option<u64>,
    /// How far the list is turned: its first place stands here in the tournament.
    turned: usize,
    count: usize,
}

impl Least {
    /// For an empty list.
    #[must_use]
    pub const fn new(measure: Measure) -> Self {
        Self { measure, tournament: Tournament::new(), start: None, turned: 0, count: 0 }
    }

    /// The same, ties going first to a place that this seed gives; with `None` to the head of the list.
    #[must_use]
    pub const fn starting_at(mut self, seed: Option<u64>) -> Self {
        self.start = seed;
        self
    }

    /// Where a server of the list stands in the tournament.
    const fn turn(&self, place: usize) -> usize {
        let at = place + self.turned;
        if at >= self.count { at - self.count } else { at }
    }

    /// The place of the best.
    pub(super) fn best(&self) -> Option<usize> {
        let at = self.tournament.winner()?;
        Some(if at >= self.turned { at - self.turned } else { at + self.count - self.turned })
    }
}

impl Scheduler for Least {
    fn list_changed(&mut self, change: ListChange, servers: &[Server]) {
        match change {
            ListChange::Edited(place) => self.load_changed(place, servers),
            _ => {
                self.count = servers.len();
                self.turned = match self.start {
                    Some(seed) if self.count > 0 => super::seeded_place(seed, self.count),
                    _ => 0,
                };
                let (head, tail) = servers.split_at(self.count - self.turned);
                let forms = tail.iter().chain(head).map(|server| self.measure.of(server));
                self.tournament.rebuild(self.count, forms);
            }
        }
    }

    fn load_changed(&mut self, place: usize, servers: &[Server]) {
        if let Some(server) = servers.get(place) {
            self.tournament.update(self.turn(place), self.measure.of(server));
        }
    }

    fn wants_loads(&self) -> bool {
        self.measure != Measure::Failover
    }

    fn pick(&mut self, _request: &Request<'_>, _servers: &[Server]) -> Option<usize> {
        self.best()
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::Least { measure: self.measure }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, flow};
    use super::*;
    use proptest::prelude::*;

    fn bench(measure: Measure, weights: &[u32]) -> Bench<Least> {
        let mut bench = Bench::new(Least::new(measure));
        for (n, weight) in weights.iter().enumerate() {
            bench.add(n as u8 + 1, *weight);
        }
        bench
    }

    /// Picks `count` times, each pick becoming an active connection.
    fn connect(bench: &mut Bench<Least>, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| {
                let Some(place) = bench.pick(&flow(0)) else { return 0 };
                let rip = bench.rip(place);
                let active = bench.servers[place].active + 1;
                bench.load(rip, active, 0);
                rip
            })
            .collect()
    }

    extern crate std;
    use std::vec::Vec;

    /// As recorded from a kernel.
    #[test]
    fn sequences_of_new_connections() {
        let wlc = connect(&mut bench(Measure::WeightedConnections, &[1, 2, 3, 4]), 20);
        assert_eq!(wlc, [4, 3, 2, 1, 4, 3, 4, 2, 3, 4, 4, 3, 2, 1, 4, 3, 4, 2, 3, 4]);
        let ovf = connect(&mut bench(Measure::Overflow, &[1, 1, 1, 1]), 9);
        assert_eq!(ovf, [4, 4, 3, 3, 2, 2, 1, 1, 0]);
        let nq = connect(&mut bench(Measure::NeverQueue, &[1, 9, 1]), 4);
        assert_eq!(nq, [3, 2, 1, 2]);
        let fo = connect(&mut bench(Measure::Failover, &[1, 3, 3, 2]), 3);
        assert_eq!(fo, [3, 3, 3]);
    }

    #[test]
    fn a_seed_turns_the_ties_and_nothing_else() {
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let mut bench = Bench::new(Least::new(Measure::Connections).starting_at(Some(seed)));
            for rip in 1..=4 {
                bench.add(rip, 1);
            }
            let picks = connect(&mut bench, 8);
            firsts.insert(picks[0]);
            let mut once: Vec<u8> = picks[..4].to_vec();
            once.sort_unstable();
            assert_eq!((once.as_slice(), &picks[4..]), (&[1, 2, 3, 4][..], &picks[..4]));
        }
        assert_eq!(firsts.len(), 4, "directors begin with different servers");
    }

    proptest! {
        /// Against the definition: the first server in the list for which no other is strictly better.
        #[test]
        fn picks_like_the_definition(
            measure in prop::sample::select(&[
                Measure::Connections, Measure::WeightedConnections, Measure::ExpectedDelay, Measure::NeverQueue,
                Measure::Failover, Measure::Overflow,
            ][..]),
            loads in proptest::collection::vec((0u32..4, 0u32..5, 0u32..600), 1..12),
        ) {
            let weights: Vec<u32> = loads.iter().map(|load| load.0).collect();
            let mut bench = bench(measure, &weights);
            for (n, (_, active, inactive)) in loads.iter().enumerate() {
                bench.load(n as u8 + 1, *active, *inactive);
            }
            let key = |s: &Server| -> Option<(u64, u64)> {
                let (a, w) = (u64::from(s.active), u64::from(s.weight));
                let ratio = match measure {
                    Measure::Connections => (s.overhead(), 1),
                    Measure::WeightedConnections => (s.overhead(), w),
                    Measure::NeverQueue if a == 0 => (0, 1),
                    Measure::ExpectedDelay | Measure::NeverQueue => (a + 1, w),
                    Measure::Failover => (1, w),
                    Measure::Overflow => (1, if a <= w { w } else { return None }),
                };
                (s.weight > 0).then_some(ratio)
            };
            let better = |a: (u64, u64), b: (u64, u64)| a.0 * b.1 < b.0 * a.1;
            let expected = bench.servers.iter().enumerate().filter_map(|(n, s)| Some((n, key(s)?)))
                .reduce(|best, one| if better(one.1, best.1) { one } else { best });
            prop_assert_eq!(bench.pick(&flow(0)), expected.map(|(place, _)| place));
        }
    }
}
