//! Two servers drawn by lot, weighted; the less loaded one is taken. Few look-ups, and no herd.

use super::{Grounds, ListChange, Request, Scheduler, SchedulerState, Server};

/// The scheduler `twos` (the power of two choices).
#[derive(Debug, Clone)]
pub struct TwoChoices {
    random: u64,
    /// The places that the last lots gave.
    lots: Option<(usize, usize)>,
}

impl TwoChoices {
    /// For an empty list; `seed` makes the draws repeatable.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { random: seed | 1, lots: None }
    }

    /// A number below `end`, which is not 0 (Lemire's scaling of xorshift64*).
    const fn draw(&mut self, end: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let number = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((number as u128 * end as u128) >> 64) as u64
    }
}

/// The server in whose share of the summed weights `ticket` falls.
fn holder(servers: &[Server], ticket: u64) -> Option<usize> {
    let mut left = ticket;
    servers.iter().position(|server| {
        let weight = if server.is_available() { u64::from(server.weight) } else { 0 };
        let found = left < weight;
        left = left.wrapping_sub(weight);
        found
    })
}

impl Scheduler for TwoChoices {
    fn list_changed(&mut self, _change: ListChange, _servers: &[Server]) {}

    fn wants_loads(&self) -> bool {
        true
    }

    fn pick(&mut self, _request: &Request<'_>, servers: &[Server]) -> Option<usize> {
        let available = servers.iter().filter(|server| server.is_available());
        let total: u64 = available.map(|server| u64::from(server.weight)).sum();
        self.lots = None;
        if total == 0 {
            return None;
        }
        let first = holder(servers, self.draw(total))?;
        let second = holder(servers, self.draw(total))?;
        self.lots = Some((first, second));
        let (a, b) = (&servers[first], &servers[second]);
        let second_is_better =
            u128::from(b.weight) * u128::from(a.overhead()) > u128::from(a.weight) * u128::from(b.overhead());
        Some(if second_is_better { second } else { first })
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::TwoChoices
    }

    fn grounds(&self) -> Grounds {
        self.lots.map_or(Grounds::List, |(first, second)| Grounds::Lots { first, second })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::tests::{Bench, flow};
    use super::*;

    #[test]
    fn draws_by_weight_and_prefers_the_idle() {
        let mut bench = Bench::new(TwoChoices::new(42));
        for (rip, weight) in [(1, 1), (2, 3), (3, 0)] {
            bench.add(rip, weight);
        }
        let picks = bench.picks(4000);
        let share = picks.iter().filter(|rip| **rip == 2).count();
        assert!((2800..3200).contains(&share), "{share} of 4000 for three quarters of the weight");
        assert!(!picks.contains(&3));
        // Loaded, it is taken only if it is drawn twice.
        bench.load(2, 1000, 0);
        let share = bench.picks(4000).iter().filter(|rip| **rip == 2).count();
        assert!((2050..2450).contains(&share), "{share} of 4000 for nine sixteenths");
    }

    #[test]
    fn nobody_to_draw() {
        let mut bench = Bench::new(TwoChoices::new(0));
        assert_eq!(bench.pick(&flow(0)), None);
        bench.add(1, 0);
        assert_eq!(bench.pick(&flow(0)), None);
    }
}
