//! Points in time as the caller gives them.
//!
//! The core owns no clock: everything that ages takes `now` as an argument, so that a test can let a
//! day pass in a millisecond. Any monotonic clock will do; only differences count.

use core::ops::Add;
use core::time::Duration;

/// A point in time: microseconds since a start that the caller chooses.
///
/// The caller promises that it does not go backwards; if it does, nothing breaks, but what would have
/// been due in the gap comes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The caller's start.
    pub const ZERO: Self = Self(0);

    /// The point `micros` microseconds after the start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// The point `secs` seconds after the start.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long `earlier` lies back; zero if it lies ahead.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The earlier of two deadlines, where `None` is "never".
    ///
    /// `Option::min` would answer `None` as soon as one side is `None` and swallow the other.
    #[must_use]
    pub fn earliest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        }
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the end of time instead of wrapping.
    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_does_not_swallow_a_deadline() {
        let t = Some(Instant::from_secs(3));
        assert_eq!(Instant::earliest(None, t), t);
        assert_eq!(Instant::earliest(t, None), t);
        assert_eq!(Instant::earliest(t, Some(Instant::from_secs(2))), Some(Instant::from_secs(2)));
        assert_eq!(Instant::earliest(None, None), None);
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Instant::from_micros(u64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Instant::ZERO.saturating_duration_since(end), Duration::ZERO);
    }
}
