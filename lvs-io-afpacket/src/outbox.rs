//! Messages that were copied because their frames do not lie in a ring, until they are sent together.

use std::io::IoSlice;

use arrayvec::ArrayVec;
use lvs_core::io::{MAX_BATCH, Meta};

use crate::walk::{COMPOSER, LONGEST_FRAME};

/// A queue of at most [`MAX_BATCH`] messages in one piece of memory that never grows.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    /// Where in `bytes` each message ends.
    ends: ArrayVec<usize, MAX_BATCH>,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(CAPACITY), ends: ArrayVec::new() }
    }

    /// One that stands in for another while that is being sent; holds nothing.
    pub(crate) fn unallocated() -> Self {
        Self { bytes: Vec::new(), ends: ArrayVec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether a frame of `len` bytes may be pushed. One that is not too long may always be pushed to an
    /// empty outbox.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        let needed = len.saturating_add(COMPOSER.most_added());
        !self.ends.is_full() && needed <= CAPACITY - self.bytes.len()
    }

    /// Adds a frame that there is room for; `false` if no message can be made of it.
    pub(crate) fn push(&mut self, meta: &Meta, frame: &[u8]) -> bool {
        let pushed = COMPOSER.append(meta, frame, &mut self.bytes);
        if pushed {
            self.ends.push(self.bytes.len());
        }
        pushed
    }

    /// The messages, in the order they were pushed.
    pub(crate) fn messages(&self) -> ArrayVec<IoSlice<'_>, MAX_BATCH> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| IoSlice::new(&self.bytes[start..end])).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// A full batch of ordinary frames, or three of the longest.
const CAPACITY: usize = 3 * (LONGEST_FRAME + COMPOSER.most_added());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_order_and_memory_does_not_grow() {
        let mut outbox = Outbox::new();
        let memory = outbox.bytes.capacity();
        for round in 0..3 {
            for i in 0..MAX_BATCH as u8 {
                assert!(outbox.has_room(1514));
                assert!(outbox.push(&Meta::default(), &[i ^ round; 1514]));
            }
            assert!(!outbox.has_room(60));
            for (i, message) in (0u8..).zip(outbox.messages()) {
                assert_eq!(message[10..], [i ^ round; 1514]);
            }
            outbox.clear();
        }
        assert!(outbox.is_empty() && outbox.messages().is_empty());
        for _ in 0..3 {
            assert!(outbox.has_room(LONGEST_FRAME));
            assert!(outbox.push(&Meta::default(), &[0; LONGEST_FRAME]));
        }
        assert!(!outbox.has_room(LONGEST_FRAME) && !outbox.has_room(usize::MAX));
        assert_eq!(outbox.bytes.capacity(), memory);
    }

    #[test]
    fn what_cannot_be_sent_leaves_no_trace() {
        let mut outbox = Outbox::new();
        assert!(!outbox.push(&Meta::default(), &[0; 13]));
        assert!(outbox.is_empty() && outbox.bytes.is_empty());
    }
}
