//! What a director counts of all it does. Each frame is counted once, by its verdict.

use crate::io::MAX_BATCH;
use crate::verdict::{DropReason, Verdict};

/// Batches of frames by their sizes, since a director was made: much work at a time is little work a frame, and batches of
/// [`MAX_BATCH`] say that a worker does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchSizes([u64; Self::MOST.len()]);

impl BatchSizes {
    /// The most frames in a batch of each class.
    pub const MOST: [usize; 7] = [1, 2, 4, 8, 16, 32, MAX_BATCH];

    /// How many batches there were of each class: as many frames as [`MOST`](Self::MOST) says at most, and more than in the class
    /// before.
    #[must_use]
    pub const fn counts(&self) -> &[u64; Self::MOST.len()] {
        &self.0
    }

    #[inline(always)]
    pub(crate) const fn count(&mut self, frames: usize) {
        let class = (usize::BITS - frames.saturating_sub(1).leading_zeros()) as usize;
        if frames > 0 && class < self.0.len() {
            self.0[class] += 1;
        }
    }

    /// Adds what another worker has counted.
    #[cfg(feature = "std")]
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            *sum += more;
        }
    }
}

/// Counters since a director was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectorStatistics {
    /// Frames that were to be transmitted, the director's in-place answers included.
    pub transmitted: u64,
    /// Frames that were not the director's business.
    pub passed: u64,
    /// Frames that were put aside.
    pub held: u64,
    /// Held frames that left after all.
    pub released: u64,
    /// Held frames that were given up.
    pub given_up: u64,
    /// Flows served by the hash of the client, without a connection: packets.
    pub hashed: u64,
    /// RST and ICMP errors sent.
    pub answers: u64,
    /// Answers that were not sent because of the limit.
    pub answers_suppressed: u64,
    /// Connections made.
    pub connections_made: u64,
    /// Connections that could not be made because the table was full.
    pub table_full: u64,
    /// Clients served without persistence because there were as many templates as there may be.
    pub templates_full: u64,
    /// Connections whose client has repeated its SYN, where health checks want to know
    /// ([`DirectorConfig::probes`](crate::DirectorConfig::probes)).
    pub repeated_syns: u64,
    /// ARP and NDP answers that were not sent because too many were asked for at once.
    pub neighbour_answers_lost: u64,
    dropped: [u64; DropReason::COUNT],
}

impl DirectorStatistics {
    pub(crate) const fn new() -> Self {
        Self {
            transmitted: 0,
            passed: 0,
            held: 0,
            released: 0,
            given_up: 0,
            hashed: 0,
            answers: 0,
            answers_suppressed: 0,
            connections_made: 0,
            table_full: 0,
            templates_full: 0,
            repeated_syns: 0,
            neighbour_answers_lost: 0,
            dropped: [0; DropReason::COUNT],
        }
    }

    /// Adds what another worker has counted.
    #[cfg(feature = "std")]
    pub(crate) fn add(&mut self, other: &Self) {
        self.transmitted += other.transmitted;
        self.passed += other.passed;
        self.held += other.held;
        self.released += other.released;
        self.given_up += other.given_up;
        self.hashed += other.hashed;
        self.answers += other.answers;
        self.answers_suppressed += other.answers_suppressed;
        self.connections_made += other.connections_made;
        self.table_full += other.table_full;
        self.templates_full += other.templates_full;
        self.repeated_syns += other.repeated_syns;
        self.neighbour_answers_lost += other.neighbour_answers_lost;
        for (sum, more) in self.dropped.iter_mut().zip(&other.dropped) {
            *sum += more;
        }
    }

    #[inline]
    pub(crate) const fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Transmit(_) => self.transmitted += 1,
            Verdict::Pass => self.passed += 1,
            Verdict::Hold => self.held += 1,
            Verdict::Drop(reason) => self.dropped[reason as usize] += 1,
        }
    }

    /// Frames dropped for this reason.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Frames dropped for any reason.
    #[must_use]
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// All frames that ever got a verdict.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.transmitted + self.passed + self.held + self.dropped_in_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_batch_is_in_the_first_class_that_holds_it() {
        for size in 0..=MAX_BATCH {
            let mut sizes = BatchSizes::default();
            sizes.count(size);
            let mut expected = [0; BatchSizes::MOST.len()];
            if size > 0 {
                expected[BatchSizes::MOST.iter().position(|most| size <= *most).unwrap()] = 1;
            }
            assert_eq!(*sizes.counts(), expected, "{size}");
        }
    }

    #[test]
    fn drops_are_found_by_the_slug_of_their_reason() {
        let mut statistics = DirectorStatistics::new();
        statistics.count(Verdict::Drop(DropReason::ProbeQueueFull));
        let by_slug = |slug| {
            let reason = DropReason::ALL.iter().find(|reason| reason.slug() == slug).unwrap();
            statistics.dropped(*reason)
        };
        assert_eq!((by_slug("probe_queue_full"), by_slug("probe_reply")), (1, 0));
    }
}
