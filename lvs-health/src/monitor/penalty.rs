//! Flap damping: a penalty that runs off as time passes.

use std::time::Duration;

use lvs_core::Instant;

use crate::config::Damping;

/// A server's penalty, kept as the moment at which it will have run off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Penalty {
    zero_at: Instant,
}

impl Penalty {
    /// What is left of it.
    pub(super) fn left(self, now: Instant) -> Duration {
        self.zero_at.saturating_duration_since(now)
    }

    /// The server went down. Answers whether it is to be held.
    pub(super) fn add(&mut self, now: Instant, damping: &Damping) -> bool {
        let penalty = (self.left(now) + damping.cost).min(damping.max);
        self.zero_at = now + penalty;
        penalty > damping.suppress
    }

    /// When a held server is let go.
    pub(super) fn release_at(self, damping: &Damping) -> Instant {
        let reuse = u64::try_from(damping.reuse.as_micros()).unwrap_or(u64::MAX);
        Instant::from_micros(self.zero_at.as_micros().saturating_sub(reuse))
    }
}
