//! One check: when to ask, and what the answers of late mean.
//!
//! ```text
//!           due            result
//!  Waiting ─────► Probing ────────► Waiting (interval, or retry_delay while failures are being counted)
//! ```

use std::time::Duration;

use lvs_core::Instant;

use crate::config::{Assume, Timing};
use crate::random::Random;

/// What a check holds its server to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// No result yet; this is assumed.
    Assumed(Assume),
    /// Up.
    Up,
    /// Down.
    Down,
}

impl CheckState {
    /// Whether the server may get connections as far as this check goes.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Assumed(Assume::Up))
    }
}

/// What a check is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The next probe starts then.
    Waiting {
        /// When.
        due: Instant,
    },
    /// A probe is under way since then.
    Probing {
        /// Since when.
        started: Instant,
    },
}

/// The state machine of one check, without probes: it is told when a probe starts and how it ends.
#[derive(Debug, Clone)]
pub struct Checker {
    timing: Timing,
    state: CheckState,
    phase: Phase,
    /// Results in a row that speak against the state.
    contrary: u32,
}

impl Checker {
    /// A check whose first probe is due then.
    #[must_use]
    pub const fn new(timing: Timing, first: Instant) -> Self {
        let state = CheckState::Assumed(timing.assume);
        Self { timing, state, phase: Phase::Waiting { due: first }, contrary: 0 }
    }

    /// What it holds its server to be.
    #[must_use]
    pub const fn state(&self) -> CheckState {
        self.state
    }

    /// What it is about to do.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Its times.
    #[must_use]
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Results in a row that speak against the state, and how many it takes to change it.
    #[must_use]
    pub const fn progress(&self) -> (u32, u32) {
        let needed = match self.state {
            CheckState::Up | CheckState::Assumed(Assume::Up) => self.timing.fall,
            CheckState::Down => self.timing.rise,
            CheckState::Assumed(Assume::Down) => 1,
        };
        (self.contrary, needed)
    }

    /// Other times from now on. State and counts stay; a wait is cut to the new interval.
    pub fn set_timing(&mut self, now: Instant, timing: Timing) {
        self.timing = timing;
        if let Phase::Waiting { due } = &mut self.phase {
            *due = (*due).min(now + timing.interval);
        }
    }

    /// What is assumed before the first result. Nothing, once there was one.
    pub const fn assume(&mut self, assume: Assume) {
        if let CheckState::Assumed(assumed) = &mut self.state {
            *assumed = assume;
        }
    }

    /// A probe has started.
    pub const fn handle_start(&mut self, now: Instant) {
        self.phase = Phase::Probing { started: now };
    }

    /// The next probe is wanted now. Nothing if one is under way.
    pub fn hasten(&mut self, now: Instant) {
        if let Phase::Waiting { due } = &mut self.phase {
            *due = (*due).min(now);
        }
    }

    /// The probe has ended. Answers whether the state says something else now.
    pub(crate) fn handle_result(&mut self, now: Instant, success: bool, random: &mut Random) -> bool {
        let was_up = self.state.is_up();
        if success == was_up {
            self.contrary = 0;
            // The first success confirms an assumption. The first failure of what is assumed down does, too.
            self.state = if success { CheckState::Up } else { CheckState::Down };
        } else {
            self.contrary += 1;
            let (contrary, needed) = self.progress();
            if contrary >= needed {
                self.contrary = 0;
                self.state = if success { CheckState::Up } else { CheckState::Down };
            }
        }
        self.wait(now, random);
        self.state.is_up() != was_up
    }

    /// The probe has ended without saying anything.
    pub(crate) fn handle_no_result(&mut self, now: Instant, random: &mut Random) {
        self.wait(now, random);
    }

    fn wait(&mut self, now: Instant, random: &mut Random) {
        let started = match self.phase {
            Phase::Probing { started } => started,
            Phase::Waiting { .. } => now,
        };
        let falling = self.contrary > 0 && self.state.is_up();
        let due = if falling {
            now + self.timing.retry_delay
        } else {
            (started + self.timing.interval.saturating_sub(self.jitter(random))).max(now)
        };
        self.phase = Phase::Waiting { due };
    }

    /// By how much this interval is shorter.
    fn jitter(&self, random: &mut Random) -> Duration {
        let micros = u64::try_from(self.timing.interval.as_micros()).unwrap_or(u64::MAX);
        let most = micros / 100 * u64::from(self.timing.jitter_percent);
        Duration::from_micros(random.below(most + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The naive opinion: looks at the whole history, newest first, every time.
    fn naive(timing: &Timing, history: &[bool]) -> bool {
        let mut up = timing.assume == Assume::Up;
        let mut seen = false;
        let mut row = Vec::new();
        for &ok in history {
            row.push(ok);
            let needed = match (up, seen) {
                (true, _) => timing.fall,
                (false, true) => timing.rise,
                (false, false) => 1,
            };
            let against = row.iter().rev().take_while(|&&result| result != up).count();
            if against >= needed as usize {
                up = !up;
                seen = true;
                row.clear();
            }
            seen |= ok == up;
        }
        up
    }

    proptest! {
        #[test]
        fn a_checker_agrees_with_a_look_at_the_whole_history(
            fall in 1u32..5, rise in 1u32..5, down in any::<bool>(),
            history in proptest::collection::vec(any::<bool>(), 0..60),
        ) {
            let assume = if down { Assume::Down } else { Assume::Up };
            let timing = Timing { fall, rise, assume, ..Timing::default() };
            let mut random = Random::new(1);
            let mut checker = Checker::new(timing, Instant::ZERO);
            let mut now = Instant::ZERO;
            for (n, &ok) in history.iter().enumerate() {
                let Phase::Waiting { due } = checker.phase() else { panic!("waits") };
                prop_assert!(due.saturating_duration_since(now) <= timing.interval);
                now = due.max(now);
                checker.handle_start(now);
                let before = checker.state().is_up();
                let changed = checker.handle_result(now, ok, &mut random);
                prop_assert_eq!(changed, before != checker.state().is_up());
                prop_assert_eq!(checker.state().is_up(), naive(&timing, &history[..=n]));
            }
        }
    }

    #[test]
    fn no_result_changes_nothing_but_the_time() {
        let mut random = Random::new(1);
        let mut checker = Checker::new(Timing::default(), Instant::ZERO);
        checker.handle_start(Instant::ZERO);
        checker.handle_no_result(Instant::from_millis(10), &mut random);
        assert_eq!(checker.state(), CheckState::Assumed(Assume::Up));
        let Phase::Waiting { due } = checker.phase() else { panic!("waits") };
        assert!(due > Instant::from_millis(1700) && due <= Instant::from_secs(2));
    }
}
