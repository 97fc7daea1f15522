//! Buffers as a network card has them, and the loop that is timed.
//!
//! Before each batch the headers of its frames are written, as a card would have; then a handler gets them. What the
//! writing and the loop cost is found by a handler that does nothing, and is taken off.

use std::hint::black_box;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use lvs_core::io::{MAX_BATCH, Meta};
use lvs_core::{Frame, PortId};

use crate::traffic::{Flow, Traffic};

/// How many frames there are.
pub const FRAMES: usize = 4096;
/// Bytes of a buffer.
pub const BUFFER: usize = 2048;
/// Bytes in front of a frame.
const HEADROOM: usize = 64;

/// A ring of 4096 buffers of 2 KiB.
#[derive(Debug)]
pub struct Ring {
    buffers: Vec<u8>,
    /// The batch that is next.
    next: usize,
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    /// A ring, all of it touched.
    #[must_use]
    pub fn new() -> Self {
        Self { buffers: vec![0xee; FRAMES * BUFFER], next: 0 }
    }

    /// Hands `batches` batches of 64 frames to `handle`: frames of the flows that `pick` answers. Answers how long all of
    /// it took.
    #[inline]
    pub fn run(
        &mut self,
        traffic: &Traffic,
        batches: u64,
        mut pick: impl FnMut() -> Flow,
        mut handle: impl FnMut(&mut [Frame<'_>]),
    ) -> Duration {
        let start = Instant::now();
        for _ in 0..batches {
            self.batch(traffic, MAX_BATCH, &mut pick, &mut handle);
        }
        start.elapsed()
    }

    /// One batch of `count` frames.
    ///
    /// # Panics
    /// If there are more than [`MAX_BATCH`].
    #[inline]
    pub fn batch(
        &mut self,
        traffic: &Traffic,
        count: usize,
        mut pick: impl FnMut() -> Flow,
        mut handle: impl FnMut(&mut [Frame<'_>]),
    ) {
        let at = self.next * MAX_BATCH * BUFFER;
        self.next = (self.next + 1) % (FRAMES / MAX_BATCH);
        let buffers = &mut self.buffers[at..at + count * BUFFER];
        let mut frames: ArrayVec<Frame<'_>, MAX_BATCH> = ArrayVec::new();
        for buffer in buffers.chunks_exact_mut(BUFFER) {
            traffic.write(pick(), &mut buffer[HEADROOM..]);
            let frame = Frame::within(buffer, HEADROOM, traffic.frame_len(), PortId(0), Meta::default());
            frames.push(frame.expect("a frame fits its buffer"));
        }
        handle(black_box(&mut frames));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Family, Kind};

    #[test]
    fn every_buffer_is_used_in_turn() {
        let mut ring = Ring::new();
        let traffic = Traffic::new(Family::Ipv6, Kind::Ack);
        let mut number = 0;
        let mut seen = std::collections::HashMap::<*const u8, u32>::new();
        let batches = (FRAMES / MAX_BATCH) as u64 * 2;
        let pick = || {
            number += 1;
            Flow::number(number)
        };
        ring.run(&traffic, batches, pick, |frames| {
            assert_eq!(frames.len(), MAX_BATCH);
            for frame in frames {
                *seen.entry(frame.bytes().as_ptr()).or_default() += 1;
                assert_eq!((frame.headroom(), frame.len()), (64, 74));
            }
        });
        assert_eq!((number, seen.len()), (2 * FRAMES as u32, FRAMES));
        assert!(seen.values().all(|count| *count == 2));
    }
}
