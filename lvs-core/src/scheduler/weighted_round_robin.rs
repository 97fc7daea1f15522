//! Weighted round robin in the order of IPVS: in rounds of falling weight, so that heavy servers are served in
//! bursts at the beginning of a cycle.

use super::{Cursor, ListChange, Request, Scheduler, SchedulerState, Server};

/// The scheduler `wrr`.
///
/// A cycle begins with the current weight at the largest weight (less the step plus one) and lowers it by the
/// step, the greatest common divisor of all weights, each time the list has been walked through; each walk picks the
/// servers of at least that weight. Where IPVS walks the list again and again until a round finds somebody, the
/// current weight here goes straight to the next round that does: the same picks, in one walk.
#[derive(Debug, Clone, Default)]
pub struct WeightedRoundRobin {
    last: Cursor,
    current: u32,
    max: u32,
    step: u32,
    start: Option<u64>,
}

impl WeightedRoundRobin {
    /// For an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: Cursor(None), current: 0, max: 0, step: 1, start: None }
    }

    /// The same, beginning behind a place that this seed gives whenever the list changes; with `None` at its head.
    #[must_use]
    pub const fn starting_at(mut self, seed: Option<u64>) -> Self {
        self.start = seed;
        self
    }

    /// The largest weight of a coming round that is not above `most`, which is at least 1. A round at or below
    /// 0 starts the next cycle.
    const fn next_round_within(&self, most: u32) -> u32 {
        let next = if self.current > self.step { self.current - self.step } else { self.max };
        if next <= most {
            return next;
        }
        // Rounds are at max, max - step, ... down to max % step or step: `next` is one of them, and so is this.
        let rounds_down = (next - most).div_ceil(self.step);
        let lower = next.saturating_sub(rounds_down.saturating_mul(self.step));
        if lower == 0 { self.lowest_round() } else { lower }
    }

    /// Nobody is to be had. As in IPVS the walk that found nobody has gone through the whole cycle, and the next pick
    /// begins a new one; but from the last round of a cycle the walk comes back to where it began.
    const fn give_up(&mut self) {
        if self.max > 0 && (self.current > self.step || self.last.0.is_none()) {
            self.current = self.max;
            self.last = Cursor(None);
        }
    }

    const fn lowest_round(&self) -> u32 {
        let rest = self.max % self.step;
        if rest == 0 { self.step } else { rest }
    }
}

impl Scheduler for WeightedRoundRobin {
    fn list_changed(&mut self, _change: ListChange, servers: &[Server]) {
        let weights = servers.iter().map(|server| server.weight).filter(|weight| *weight > 0);
        self.step = weights.clone().reduce(greatest_common_divisor).unwrap_or(1);
        // 0 if nobody has a weight.
        self.max = weights.max().map_or(0, |most| most - (self.step - 1));
        self.last = Cursor(match self.start {
            Some(seed) if !servers.is_empty() => Some(super::seeded_place(seed, servers.len())),
            _ => None,
        });
        if self.current > self.max || self.current == 0 {
            self.current = self.max;
        } else if self.step > 1 {
            self.current = self.current / self.step * self.step + 1;
        }
    }

    fn pick(&mut self, _request: &Request<'_>, servers: &[Server]) -> Option<usize> {
        let next = self.last.next().min(servers.len());
        let fits = |weight: u32| move |server: &Server| server.is_available() && server.weight >= weight;
        let (_, behind) = servers.split_at(next);
        let place = if let Some(n) = behind.iter().position(fits(self.current)) {
            next + n
        } else {
            let Some(most) = servers.iter().filter(|s| s.is_available()).map(|s| s.weight).max() else {
                self.give_up();
                return None;
            };
            self.current = self.next_round_within(most);
            servers.iter().position(fits(self.current))?
        };
        self.last = Cursor(Some(place));
        Some(place)
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::WeightedRoundRobin {
            last: self.last.0,
            current_weight: self.current,
            max_weight: self.max,
            step: self.step,
        }
    }
}

pub(super) const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, flow};
    use super::*;
    use proptest::prelude::*;

    fn bench(weights: &[u32]) -> Bench<WeightedRoundRobin> {
        let mut bench = Bench::new(WeightedRoundRobin::new());
        for (n, weight) in weights.iter().enumerate() {
            bench.add(n as u8 + 1, *weight);
        }
        bench
    }

    /// As recorded from a kernel: adding servers one by one leaves the current weight at 1 for the first round.
    #[test]
    fn serves_in_bursts() {
        assert_eq!(bench(&[1, 2, 3, 4]).picks(12), [4, 3, 2, 1, 4, 4, 3, 4, 3, 2, 4, 3]);
    }

    #[test]
    fn nobody_if_nobody_has_a_weight() {
        let mut bench = bench(&[0, 0]);
        assert_eq!(bench.pick(&flow(0)), None);
        assert_eq!(Bench::new(WeightedRoundRobin::new()).pick(&flow(0)), None);
    }

    /// A walk that finds nobody ends where the kernel's does: at the beginning of a cycle, or in its last round where it
    /// was.
    #[test]
    fn when_all_were_overloaded_the_cycle_begins_anew() {
        let overload = |bench: &mut Bench<WeightedRoundRobin>, yes| {
            bench.servers.iter_mut().for_each(|server| server.overloaded = yes);
        };
        for (picks, next) in [(5, [4, 4, 3, 4, 3, 2]), (6, [4, 4, 3, 4, 3, 2]), (3, [1, 4, 4, 3, 4, 3])] {
            let mut bench = bench(&[1, 2, 3, 4]);
            bench.picks(picks);
            overload(&mut bench, true);
            assert_eq!(bench.picks(1), [0]);
            overload(&mut bench, false);
            assert_eq!(bench.picks(6), next, "after {picks}");
        }
    }

    proptest! {
        /// Each cycle gives every server as many picks as its weight over the common divisor.
        #[test]
        fn a_cycle_is_fair(weights in proptest::collection::vec(0u32..12, 1..8)) {
            let step = weights.iter().copied().filter(|w| *w > 0).reduce(greatest_common_divisor);
            prop_assume!(step.is_some());
            let step = step.unwrap();
            let cycle: u32 = weights.iter().map(|w| w / step).sum();
            let mut bench = bench(&weights);
            for _ in 0..3 {
                let picks = bench.picks(cycle as usize);
                for (n, weight) in weights.iter().enumerate() {
                    let got = picks.iter().filter(|rip| usize::from(**rip) == n + 1).count();
                    prop_assert_eq!(got as u32, weight / step);
                }
            }
        }
    }
}
