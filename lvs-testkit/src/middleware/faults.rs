//! A bad network: loss, duplication, reordering, corruption and delay, the same for the same seed.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use lvs_core::io::{
    BatchHandler, Capabilities, Frame, FrameIo, IoEvent, IoStatistics, MAX_BATCH, Meta, PortId, Verdicts,
};
use lvs_core::{Instant, MacAddr, Verdict};

/// Frames that are under way at most, in each direction; what comes beyond that is lost and counted.
const UNDER_WAY: usize = 65_536;

/// How bad one direction is. Shares go from 0 to 1; the default is a perfect wire.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// The share of frames that are lost.
    pub loss: f64,
    /// The share of frames that come twice.
    pub duplication: f64,
    /// The share of frames that the next one overtakes. If there is no next one they come when nothing else is waiting.
    pub reordering: f64,
    /// The share of frames of which one bit is turned over.
    pub corruption: f64,
    /// How long each frame takes at least.
    pub delay: Duration,
    /// What is added to that at most, drawn anew for each frame: frames overtake each other by it.
    pub jitter: Duration,
}

/// What the faults have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts {
    /// Frames lost.
    pub lost: u64,
    /// Frames that came twice.
    pub duplicated: u64,
    /// Frames that were overtaken.
    pub reordered: u64,
    /// Frames with a bit turned over.
    pub corrupted: u64,
}

/// Does to frames what a bad network would, on the way in and on the way out.
///
/// Received frames are taken off the device, with the verdict `Hold`, and handed on when their time has come; so a verdict
/// `Pass` does not reach the device any more: such a frame goes no further. Needs a clock for delays.
pub struct Faulty<I> {
    inner: I,
    receive: Lane,
    transmit: Lane,
    clock: Box<dyn Fn() -> Instant>,
}

impl<I: fmt::Debug> fmt::Debug for Faulty<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<I: FrameIo> Faulty<I> {
    /// A perfect network. Print the seed when a test fails.
    pub fn new(inner: I, seed: u64, clock: impl Fn() -> Instant + 'static) -> Self {
        let lane = |seed| Lane { faults: Faults::default(), dice: Dice(seed), ..Lane::default() };
        Self { inner, receive: lane(seed), transmit: lane(!seed), clock: Box::new(clock) }
    }

    /// Faults of frames that come in.
    #[must_use]
    pub const fn receiving(mut self, faults: Faults) -> Self {
        self.receive.faults = faults;
        self
    }

    /// Faults of frames that leave.
    #[must_use]
    pub const fn transmitting(mut self, faults: Faults) -> Self {
        self.transmit.faults = faults;
        self
    }

    /// What was done to frames that came in, and to frames that left.
    pub const fn counts(&self) -> (FaultCounts, FaultCounts) {
        (self.receive.counts, self.transmit.counts)
    }

    /// What it is wrapped around.
    pub const fn inner_mut(&mut self) -> &mut I {
        &mut self.inner
    }

    /// When the next frame that is under way arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        Instant::earliest(self.receive.next(), self.transmit.next())
    }

    /// Takes what waits at the device, a batch at most. Answers how many frames that were.
    fn take_in(&mut self) -> Result<usize, I::Error> {
        let (now, lane) = ((self.clock)(), &mut self.receive);
        self.inner.receive(&mut |batch| {
            let take = |frame: &Frame<'_>| {
                lane.enter(
                    now,
                    Moving { port: frame.port(), meta: *frame.meta(), bytes: frame.bytes().to_vec() },
                );
                Verdict::Hold
            };
            batch.iter().map(take).collect::<Verdicts>()
        })
    }

    /// Sends what has come to the end of its way.
    fn send_due(&mut self, idle: bool) -> Result<(), I::Error> {
        let now = (self.clock)();
        while let Some(frame) = self.transmit.leave(now, idle) {
            self.inner.transmit(frame.port, &frame.meta, &frame.bytes)?;
        }
        Ok(())
    }
}

impl<I: FrameIo> FrameIo for Faulty<I> {
    type Error = I::Error;

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, I::Error> {
        let idle = self.take_in()? == 0;
        self.send_due(false)?;
        let now = (self.clock)();
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH
            && let Some(frame) = self.receive.leave(now, idle)
        {
            batch.push(frame);
        }
        if batch.is_empty() {
            return Ok(0);
        }
        let room: Vec<usize> =
            batch.iter().map(|moving| self.inner.capabilities(moving.port).headroom).collect();
        let mut buffers: Vec<Vec<u8>> = batch
            .iter()
            .zip(&room)
            .map(|(moving, room)| [&vec![0; *room][..], &moving.bytes, &[0; TAILROOM]].concat())
            .collect();
        let frames = buffers.iter_mut().zip(&batch).zip(&room).filter_map(|((buffer, moving), room)| {
            Frame::within(buffer, *room, moving.bytes.len(), moving.port, moving.meta).ok()
        });
        let mut frames: Vec<Frame<'_>> = frames.collect();
        let verdicts = handler(&mut frames);
        for (verdict, frame) in verdicts.into_iter().zip(&frames) {
            if let Verdict::Transmit(port) = verdict {
                let moving = Moving { port, meta: *frame.meta(), bytes: frame.bytes().to_vec() };
                self.transmit.enter(now, moving);
            }
        }
        let count = frames.len();
        self.send_due(false)?;
        Ok(count)
    }

    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), I::Error> {
        let now = (self.clock)();
        self.transmit.enter(now, Moving { port, meta: *meta, bytes: frame.to_vec() });
        self.send_due(false)
    }

    fn flush(&mut self) -> Result<(), I::Error> {
        self.send_due(true)?;
        self.inner.flush()
    }

    /// Waits no longer than until a frame arrives that is under way.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), I::Error> {
        self.send_due(true)?;
        let now = (self.clock)();
        let arrival = self.next_arrival().map(|at| at.saturating_duration_since(now));
        let until = match (timeout, arrival) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        self.inner.wait(until)
    }

    fn ports(&self) -> u16 {
        self.inner.ports()
    }

    fn capabilities(&self, port: PortId) -> Capabilities {
        self.inner.capabilities(port)
    }

    fn join_multicast(&mut self, port: PortId, group: MacAddr) -> Result<(), I::Error> {
        self.inner.join_multicast(port, group)
    }

    fn poll_event(&mut self) -> Option<IoEvent> {
        self.inner.poll_event()
    }

    fn statistics(&self) -> IoStatistics {
        self.inner.statistics()
    }
}

const TAILROOM: usize = 64;

/// A frame under way.
#[derive(Debug, Clone)]
struct Moving {
    port: PortId,
    meta: Meta,
    bytes: Vec<u8>,
}

/// One direction.
#[derive(Default)]
struct Lane {
    faults: Faults,
    dice: Dice,
    /// By arrival, and by order of entering.
    under_way: BTreeMap<(Instant, u64), Moving>,
    /// Frames that wait for the next one to overtake them.
    overtaken: VecDeque<Moving>,
    entered: u64,
    counts: FaultCounts,
}

impl Lane {
    fn enter(&mut self, now: Instant, mut frame: Moving) {
        if self.under_way.len() + self.overtaken.len() >= UNDER_WAY || self.dice.hits(self.faults.loss) {
            self.counts.lost += 1;
            return;
        }
        if self.dice.hits(self.faults.corruption) && !frame.bytes.is_empty() {
            let bit = self.dice.below(frame.bytes.len() as u64 * 8) as usize;
            frame.bytes[bit / 8] ^= 1 << (bit % 8);
            self.counts.corrupted += 1;
        }
        if self.dice.hits(self.faults.duplication) {
            self.counts.duplicated += 1;
            self.send_off(now, frame.clone());
        }
        if self.dice.hits(self.faults.reordering) {
            self.counts.reordered += 1;
            self.overtaken.push_back(frame);
            return;
        }
        self.send_off(now, frame);
        self.let_go(now);
    }

    /// Those that were overtaken follow.
    fn let_go(&mut self, now: Instant) {
        while let Some(frame) = self.overtaken.pop_front() {
            self.send_off(now, frame);
        }
    }

    fn send_off(&mut self, now: Instant, frame: Moving) {
        let jitter = self.dice.below(self.faults.jitter.as_micros() as u64 + 1);
        let arrival = now + self.faults.delay + Duration::from_micros(jitter);
        self.under_way.insert((arrival, self.entered), frame);
        self.entered += 1;
    }

    /// The next frame that has arrived. When nothing else comes (`idle`), nobody is overtaken any more.
    fn leave(&mut self, now: Instant, idle: bool) -> Option<Moving> {
        if idle {
            self.let_go(now);
        }
        let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    fn next(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((arrival, _), _)| *arrival)
    }
}

/// Numbers that a seed decides (splitmix64).
#[derive(Debug, Default)]
struct Dice(u64);

impl Dice {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    const fn below(&mut self, end: u64) -> u64 {
        ((self.next() as u128 * end as u128) >> 64) as u64
    }

    fn hits(&mut self, share: f64) -> bool {
        // 53 bits are what such a number holds.
        share > 0.0 && ((self.next() >> 11) as f64) < share * (1u64 << 53) as f64
    }
}
