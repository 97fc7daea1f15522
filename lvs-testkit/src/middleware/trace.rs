//! One readable line a frame.

use std::fmt;

use lvs_core::io::{BatchHandler, FrameIo, Meta, PortId};
use lvs_core::{Instant, Verdict};

use super::{hand_on, verdict_words};
use crate::frames::describe;

/// Prints every frame in the style of `tcpdump -e`, with its verdict behind it:
/// `in 0: 02:.. > 02:.., ethertype IPv4 ...: transmit by port 0, to 02:...`. Frames of the director's own say `out`.
pub struct Trace<I, F> {
    inner: I,
    clock: Option<Box<dyn Fn() -> Instant>>,
    tell: F,
}

impl<I: fmt::Debug, F> fmt::Debug for Trace<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<I: FrameIo, F: FnMut(&str)> Trace<I, F> {
    /// Hands every line to `tell`.
    pub const fn new(inner: I, tell: F) -> Self {
        Self { inner, clock: None, tell }
    }

    /// Begins every line with the time, in seconds.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Instant + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// What it is wrapped around.
    pub const fn inner_mut(&mut self) -> &mut I {
        &mut self.inner
    }
}

/// The time in front of a line.
fn stamp(clock: Option<&dyn Fn() -> Instant>) -> String {
    clock.map_or_else(String::new, |clock| {
        let micros = clock().as_micros();
        format!("{}.{:06} ", micros / 1_000_000, micros % 1_000_000)
    })
}

impl<I: FrameIo, F: FnMut(&str)> FrameIo for Trace<I, F> {
    type Error = I::Error;

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, Self::Error> {
        let (clock, tell) = (self.clock.as_deref(), &mut self.tell);
        self.inner.receive(&mut |batch| {
            let before: Vec<String> = batch.iter().map(|frame| describe(frame.bytes())).collect();
            let verdicts = handler(batch);
            for ((frame, before), verdict) in batch.iter().zip(before).zip(&verdicts) {
                let mut line =
                    format!("{}in {}: {before}: {}", stamp(clock), frame.port().0, verdict_words(*verdict));
                if let (Verdict::Transmit(_), Some(to)) = (verdict, frame.bytes().first_chunk().copied()) {
                    line += &format!(", to {}", lvs_core::MacAddr(to));
                }
                tell(&line);
            }
            verdicts
        })
    }

    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), Self::Error> {
        let stamp = stamp(self.clock.as_deref());
        (self.tell)(&format!("{stamp}out {}: {}", port.0, describe(frame)));
        self.inner.transmit(port, meta, frame)
    }

    hand_on!(ports capabilities flush wait join_multicast poll_event statistics);
}
