//! Counting.

use std::collections::BTreeMap;

use lvs_core::io::{BatchHandler, FrameIo, Meta, PortId};
use lvs_core::{DropReason, Verdict};

use super::hand_on;

/// Frames and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// How many.
    pub frames: u64,
    /// Their lengths together.
    pub bytes: u64,
}

impl Count {
    const fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

/// What has been counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// What came in, with the lengths it came with.
    pub received: Count,
    /// What left with the verdict `Transmit`, with the lengths it left with.
    pub forwarded: Count,
    /// What the director sent of its own.
    pub sent: Count,
    /// `Pass`.
    pub passed: u64,
    /// `Hold`.
    pub held: u64,
    /// `Drop`, by slug.
    pub drops: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// How many were dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(reason.slug()).copied().unwrap_or(0)
    }

    /// How many verdicts there were; as many as frames came in.
    #[must_use]
    pub fn verdicts(&self) -> u64 {
        self.forwarded.frames + self.passed + self.held + self.drops.values().sum::<u64>()
    }
}

/// Counts frames, bytes and verdicts.
#[derive(Debug)]
pub struct Counter<I> {
    inner: I,
    counts: Counts,
}

impl<I: FrameIo> Counter<I> {
    /// From nothing on.
    pub fn new(inner: I) -> Self {
        Self { inner, counts: Counts::default() }
    }

    /// What has been counted so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What it is wrapped around.
    pub const fn inner_mut(&mut self) -> &mut I {
        &mut self.inner
    }
}

impl<I: FrameIo> FrameIo for Counter<I> {
    type Error = I::Error;

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, Self::Error> {
        let counts = &mut self.counts;
        self.inner.receive(&mut |batch| {
            batch.iter().for_each(|frame| counts.received.add(frame.len()));
            let verdicts = handler(batch);
            for (frame, verdict) in batch.iter().zip(&verdicts) {
                match verdict {
                    Verdict::Transmit(_) => counts.forwarded.add(frame.len()),
                    Verdict::Pass => counts.passed += 1,
                    Verdict::Hold => counts.held += 1,
                    Verdict::Drop(reason) => *counts.drops.entry(reason.slug()).or_default() += 1,
                }
            }
            verdicts
        })
    }

    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), Self::Error> {
        self.counts.sent.add(frame.len());
        self.inner.transmit(port, meta, frame)
    }

    hand_on!(ports capabilities flush wait join_multicast poll_event statistics);
}
