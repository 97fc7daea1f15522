//! Round robin: each server in turn, weights counting only as zero or not.

use super::{Cursor, ListChange, Request, Scheduler, SchedulerState, Server};

/// The scheduler `rr`. As in IPVS it begins with the server that was added last, adding a server does not move it, and
/// removing the one it stands on steps back by one.
#[derive(Debug, Clone, Default)]
pub struct RoundRobin {
    last: Cursor,
    start: Option<u64>,
}

impl RoundRobin {
    /// Before its first pick.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: Cursor(None), start: None }
    }

    /// The same, beginning behind a place that this seed gives; with `None` at the head of the list.
    #[must_use]
    pub const fn starting_at(mut self, seed: Option<u64>) -> Self {
        self.start = seed;
        self
    }
}

impl Scheduler for RoundRobin {
    fn list_changed(&mut self, change: ListChange, _servers: &[Server]) {
        self.last.follow(change);
    }

    fn pick(&mut self, _request: &Request<'_>, servers: &[Server]) -> Option<usize> {
        if let (Cursor(None), Some(seed), false) = (self.last, self.start, servers.is_empty()) {
            self.last = Cursor(Some(super::seeded_place(seed, servers.len())));
        }
        let next = self.last.next().min(servers.len());
        let (before, behind) = servers.split_at(next);
        let place = behind
            .iter()
            .position(Server::is_available)
            .map(|n| next + n)
            .or_else(|| before.iter().position(Server::is_available))?;
        self.last = Cursor(Some(place));
        Some(place)
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::RoundRobin { last: self.last.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, flow};
    use super::*;

    #[test]
    fn begins_with_the_last_added_and_goes_round() {
        let mut bench = Bench::new(RoundRobin::new());
        for rip in [1, 2, 3, 4] {
            bench.add(rip, 1);
        }
        assert_eq!(bench.picks(9), [4, 3, 2, 1, 4, 3, 2, 1, 4]);
    }

    #[test]
    fn adding_does_not_move_it_and_removing_steps_back() {
        let mut bench = Bench::new(RoundRobin::new());
        for rip in [1, 2, 3] {
            bench.add(rip, 1);
        }
        assert_eq!(bench.picks(2), [3, 2]);
        bench.add(4, 1);
        assert_eq!(bench.picks(2), [1, 4]);
        bench.remove(4);
        assert_eq!(bench.picks(2), [3, 2]);
        bench.remove(3);
        assert_eq!(bench.picks(3), [1, 2, 1]);
    }

    #[test]
    fn weight_zero_is_passed_over() {
        let mut bench = Bench::new(RoundRobin::new());
        for (rip, weight) in [(1, 1), (2, 0), (3, 5)] {
            bench.add(rip, weight);
        }
        assert_eq!(bench.picks(4), [3, 1, 3, 1]);
        bench.reweigh(3, 0);
        assert_eq!(bench.picks(2), [1, 1]);
        bench.reweigh(1, 0);
        assert_eq!(bench.pick(&flow(0)), None);
    }

    #[test]
    fn a_seed_says_where_to_begin() {
        let mut firsts = [0; 4];
        for seed in 0..40 {
            let mut bench = Bench::new(RoundRobin::new().starting_at(Some(seed)));
            for rip in 1..=4 {
                bench.add(rip, 1);
            }
            let picks = bench.picks(8);
            firsts[usize::from(picks[0]) - 1] += 1;
            assert_eq!(picks[..4], picks[4..]);
        }
        assert!(firsts.iter().all(|count| *count > 0), "{firsts:?}");
    }

    #[test]
    fn an_empty_list_has_nobody() {
        assert_eq!(Bench::new(RoundRobin::new()).pick(&flow(0)), None);
    }
}
