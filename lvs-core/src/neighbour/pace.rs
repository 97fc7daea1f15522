//! How fast own frames may leave, and the small random numbers that spread them.

use core::time::Duration;

use crate::time::Instant;

/// Limits own frames to [`Pace::BURST`] per [`Pace::WINDOW`], so that thousands of neighbours that become due
/// at once overrun neither the device nor the receivers.
#[derive(Debug, Default)]
pub(super) struct Pace {
    window: Instant,
    sent: u32,
}

impl Pace {
    /// Frames per window: 6400 a second.
    pub(super) const BURST: u32 = 64;
    /// Length of a window.
    pub(super) const WINDOW: Duration = Duration::from_millis(10);

    /// Whether another frame may leave now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if now >= self.window + Self::WINDOW {
            self.window = now;
            self.sent = 0;
        }
        self.sent < Self::BURST
    }

    /// Counts a frame that left.
    pub(super) const fn count(&mut self) {
        self.sent = self.sent.saturating_add(1);
    }

    /// When something that is due at `deadline` may leave.
    pub(super) fn earliest(&self, deadline: Instant) -> Instant {
        if self.sent < Self::BURST { deadline } else { deadline.max(self.window + Self::WINDOW) }
    }
}

/// SplitMix64: spreads deadlines. Nothing depends on its being hard to guess.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A duration from zero to less than `limit` (zero if `limit` is), in microseconds.
    pub(super) fn below(&mut self, limit: Duration) -> Duration {
        let micros = (u128::from(self.next()) * limit.as_micros()) >> 64;
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// `base` and up to an eighth more.
    pub(super) fn stretch(&mut self, base: Duration) -> Duration {
        base + self.below(base / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_its_burst_through_and_no_more() {
        let mut pace = Pace::default();
        let start = Instant::from_secs(5);
        for _ in 0..Pace::BURST {
            assert!(pace.allows(start));
            assert_eq!(pace.earliest(start), start);
            pace.count();
        }
        assert!(!pace.allows(start));
        assert_eq!(pace.earliest(start), start + Pace::WINDOW);
        assert!(pace.allows(start + Pace::WINDOW));
    }

    #[test]
    fn random_durations_stay_below_their_limit_and_differ() {
        let mut random = Random::new(7);
        let limit = Duration::from_secs(1);
        let drawn: [Duration; 100] = core::array::from_fn(|_| random.below(limit));
        assert!(drawn.iter().all(|d| *d < limit));
        assert!(drawn.iter().any(|d| *d < limit / 4));
        assert!(drawn.iter().any(|d| *d > limit / 4 * 3));
        assert_eq!(random.below(Duration::ZERO), Duration::ZERO);
        let stretched = random.stretch(limit);
        assert!(stretched >= limit && stretched < limit + limit / 8);
    }
}
