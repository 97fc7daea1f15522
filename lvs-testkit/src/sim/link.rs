//! Cables between two ports, and what can go wrong on them.

use std::time::Duration;

use lvs_core::Instant;

use super::random::Random;
use crate::frames::{SERVICE_VLAN, VLAN};

/// How a link treats frames. Both directions are alike and independent of each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkOptions {
    /// How long a frame is under way. Default: 10 µs.
    pub delay: Duration,
    /// How long a frame may be under way besides, at most; the time is drawn for each frame, and frames keep
    /// their order all the same. Default: 0.
    pub jitter: Duration,
    /// The share of frames that are lost, 0 to 1. Default: 0.
    pub loss: f64,
    /// The share of frames that arrive twice, 0 to 1. Default: 0.
    pub duplication: f64,
    /// The share of frames that later ones may overtake, 0 to 1: such a frame is under way for
    /// [`reordering_delay`](Self::reordering_delay) besides. Default: 0.
    pub reordering: f64,
    /// How long a frame that is overtaken is late. Default: 1 ms.
    pub reordering_delay: Duration,
    /// Bits a second, Ethernet header included; `None` is as fast as can be. Default: `None`.
    pub rate: Option<u64>,
    /// How many frames wait for their turn where there is a rate; more are lost. Default: 1000.
    pub queue: usize,
    /// The longest packet inside a frame, in bytes, not counting the Ethernet header and tags. Longer ones are
    /// lost. Default: 65,535.
    pub mtu: usize,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            reordering_delay: Duration::from_millis(1),
            rate: None,
            queue: 1000,
            mtu: 65_535,
        }
    }
}

impl LinkOptions {
    /// # Panics
    /// If a share is not one.
    #[track_caller]
    pub(super) fn check(&self) {
        for (name, share) in
            [("loss", self.loss), ("duplication", self.duplication), ("reordering", self.reordering)]
        {
            assert!((0.0..=1.0).contains(&share), "{name}: {share} is no share; allowed are 0 to 1");
        }
        assert!(self.rate != Some(0), "rate: a link of 0 bit/s carries nothing; take it down instead");
    }
}

/// What became of the frames of a link, both directions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStatistics {
    /// Frames handed to the link.
    pub sent: u64,
    /// Frames that came out of it, second copies included.
    pub delivered: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Frames that arrived twice.
    pub duplicated: u64,
    /// Frames that were held back so that others could overtake.
    pub reordered: u64,
    /// Frames longer than the MTU.
    pub too_long: u64,
    /// Frames for which the queue had no room.
    pub queue_full: u64,
    /// Frames lost because the link was down when they were sent or arrived.
    pub down: u64,
}

/// A link with what it has in mind about each direction.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) options: LinkOptions,
    pub(super) statistics: LinkStatistics,
    pub(super) up: bool,
    /// The nodes and ports at its two ends.
    pub(super) ends: [(usize, u16); 2],
    /// By direction: until when the sender is busy, and when the last frame in order arrives.
    busy_until: [Instant; 2],
    last_arrival: [Instant; 2],
}

impl Link {
    pub(super) const fn new(options: LinkOptions, ends: [(usize, u16); 2]) -> Self {
        Self {
            options,
            statistics: LinkStatistics {
                sent: 0,
                delivered: 0,
                lost: 0,
                duplicated: 0,
                reordered: 0,
                too_long: 0,
                queue_full: 0,
                down: 0,
            },
            up: true,
            ends,
            busy_until: [Instant::ZERO; 2],
            last_arrival: [Instant::ZERO; 2],
        }
    }

    /// When a frame that is sent now from end `from` arrives: never, once or twice.
    pub(super) fn arrivals(
        &mut self,
        now: Instant,
        from: usize,
        frame: &[u8],
        random: &mut Random,
    ) -> [Option<Instant>; 2] {
        self.statistics.sent += 1;
        if !self.up {
            self.statistics.down += 1;
            return [None; 2];
        }
        if packet_len(frame) > self.options.mtu {
            self.statistics.too_long += 1;
            return [None; 2];
        }
        let Some(leaves) = self.leave(now, from, frame.len()) else {
            self.statistics.queue_full += 1;
            return [None; 2];
        };
        if random.chance(self.options.loss) {
            self.statistics.lost += 1;
            return [None; 2];
        }
        let first = self.arrival(leaves, from, random);
        let second = random.chance(self.options.duplication).then(|| {
            self.statistics.duplicated += 1;
            self.arrival(leaves, from, random)
        });
        [Some(first), second]
    }

    /// When the last bit of a frame leaves; `None` if it finds no room in the queue.
    fn leave(&mut self, now: Instant, from: usize, len: usize) -> Option<Instant> {
        let Some(rate) = self.options.rate else { return Some(now) };
        let start = self.busy_until[from].max(now);
        let bits = |bytes: u64| Duration::from_nanos((bytes * 8).saturating_mul(1_000_000_000) / rate);
        let waiting = start.saturating_duration_since(now);
        // A queue is counted in frames of full length: what waits is known by its time alone.
        if waiting > bits(1514).saturating_mul(u32::try_from(self.options.queue).unwrap_or(u32::MAX)) {
            return None;
        }
        self.busy_until[from] = start + bits(len as u64);
        Some(self.busy_until[from])
    }

    fn arrival(&mut self, leaves: Instant, from: usize, random: &mut Random) -> Instant {
        let mut at = leaves + self.options.delay;
        if !self.options.jitter.is_zero() {
            let most = u64::try_from(self.options.jitter.as_micros()).unwrap_or(u64::MAX);
            at = at + Duration::from_micros(random.up_to(most));
        }
        if random.chance(self.options.reordering) {
            self.statistics.reordered += 1;
            return at + self.options.reordering_delay;
        }
        at = at.max(self.last_arrival[from]);
        self.last_arrival[from] = at;
        at
    }
}

/// Bytes behind the Ethernet header and its tags.
fn packet_len(frame: &[u8]) -> usize {
    let mut header = 14;
    while let Some(&[a, b]) = frame.get(header - 2..).and_then(<[u8]>::first_chunk)
        && matches!(u16::from_be_bytes([a, b]), VLAN | SERVICE_VLAN)
    {
        header += 4;
    }
    frame.len().saturating_sub(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(options: LinkOptions) -> Link {
        Link::new(options, [(0, 0), (1, 0)])
    }

    #[test]
    fn a_rate_spaces_frames_and_a_full_queue_loses_them() {
        let options = LinkOptions {
            rate: Some(1_000_000),
            queue: 2,
            delay: Duration::from_millis(5),
            ..LinkOptions::default()
        };
        let (mut link, mut random) = (link(options), Random::new(1));
        let frame = [0; 1514];
        let at: Vec<_> = (0..5).map(|_| link.arrivals(Instant::ZERO, 0, &frame, &mut random)[0]).collect();
        let micros = |n: u64| Some(Instant::from_micros(5_000 + n * 12_112));
        assert_eq!(at, [micros(1), micros(2), micros(3), None, None]);
        assert_eq!(link.statistics.queue_full, 2);
        // The other direction is free.
        assert_eq!(link.arrivals(Instant::ZERO, 1, &frame, &mut random)[0], micros(1));
    }

    #[test]
    fn tags_do_not_count_for_the_mtu() {
        let (mut link, mut random) =
            (link(LinkOptions { mtu: 46, ..LinkOptions::default() }), Random::new(1));
        let mut tagged = vec![0; 64];
        tagged[12..14].copy_from_slice(&[0x81, 0]);
        assert!(link.arrivals(Instant::ZERO, 0, &tagged, &mut random)[0].is_some());
        assert!(link.arrivals(Instant::ZERO, 0, &[0; 60], &mut random)[0].is_some());
        assert!(link.arrivals(Instant::ZERO, 0, &[0; 61], &mut random)[0].is_none());
        assert_eq!(link.statistics.too_long, 1);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let options = LinkOptions { jitter: Duration::from_millis(9), ..LinkOptions::default() };
        let mut random = Random::new(3);
        let mut arrivals = |options| {
            let mut link = link(options);
            let at = |n| link.arrivals(Instant::from_micros(n), 0, &[0; 60], &mut random)[0].unwrap();
            (0..500).map(at).collect::<Vec<_>>()
        };
        assert!(arrivals(options).is_sorted());
        assert!(!arrivals(LinkOptions { reordering: 0.1, ..options }).is_sorted());
    }
}
