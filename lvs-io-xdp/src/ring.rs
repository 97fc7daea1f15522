//! A ring shared with the kernel: one side puts entries in, the other takes them out. One of three rooms
//! with `unsafe`.
//!
//! ```text
//!   producer ──► next free place        entries   | . | A | B | C | . | . | . | . |
//!   consumer ──► next to be taken                       ^ consumer  ^ producer
//! ```
//! Both positions count up for ever and wrap at 2^32; the ring's size is a power of two. The producer makes
//! its entries visible by storing its position (release), the consumer sees them by loading it (acquire),
//! and the other way round for places that are free again.
//!
//! What the kernel stores is input: positions that cannot be are taken for "nothing there" or "no room", and
//! entries are accessed as atomic words. What an entry means is its reader's matter.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::sys::region::Region;
use crate::sys::xsk::RingOffsets;

/// A ring whose entries have `N` words of 64 bits.
struct Ring<const N: usize> {
    region: Region,
    offsets: RingOffsets,
    /// Entries, a power of two.
    size: u32,
}

impl<const N: usize> Ring<N> {
    /// `None` if the parts do not lie in the region, or not aligned.
    fn new(region: Region, offsets: RingOffsets, size: u32) -> Option<Self> {
        let fits = |at: usize, len: usize, align: usize| {
            at.is_multiple_of(align) && at.checked_add(len).is_some_and(|end| end <= region.len())
        };
        let words = [offsets.producer, offsets.consumer, offsets.flags];
        let entries = (size as usize).checked_mul(N * 8)?;
        let sound = size.is_power_of_two()
            && words.into_iter().all(|at| fits(at, 4, 4))
            && fits(offsets.entries, entries, 8);
        sound.then_some(Self { region, offsets, size })
    }

    fn producer(&self) -> &AtomicU32 {
        self.word(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.word(self.offsets.consumer)
    }

    fn flags(&self) -> &AtomicU32 {
        self.word(self.offsets.flags)
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: `new` has checked that the word lies in the region.
        let word: NonNull<u32> = unsafe { self.region.base().add(offset) }.cast();
        // SAFETY: aligned, as checked; the region lives as long as `self`, and these words are accessed by
        // atomic operations only.
        unsafe { AtomicU32::from_ptr(word.as_ptr()) }
    }

    /// The words of the entry in the place that a position has.
    fn entry(&self, position: u32) -> [&AtomicU64; N] {
        let place = (position & (self.size - 1)) as usize;
        std::array::from_fn(|at| {
            let offset = self.offsets.entries + (place * N + at) * 8;
            // SAFETY: `place < size` and `at < N`, for which `new` has checked that they lie in the region.
            let word: NonNull<u64> = unsafe { self.region.base().add(offset) }.cast();
            // SAFETY: aligned, as checked; the region lives as long as `self`, and entries are accessed by
            // atomic operations only.
            unsafe { AtomicU64::from_ptr(word.as_ptr()) }
        })
    }
}

/// The side of a ring that puts entries in: fill and transmit.
pub(crate) struct Producer<const N: usize> {
    ring: Ring<N>,
    /// Where the next entry goes.
    next: u32,
    /// The consumer's position when it was last looked at.
    consumed: u32,
}

impl<const N: usize> Producer<N> {
    /// Takes over a ring as it is. `None` if the offsets cannot be.
    pub(crate) fn new(region: Region, offsets: RingOffsets, size: u32) -> Option<Self> {
        let ring = Ring::new(region, offsets, size)?;
        let next = ring.producer().load(Ordering::Relaxed);
        let consumed = ring.consumer().load(Ordering::Acquire);
        Some(Self { ring, next, consumed })
    }

    /// Puts an entry in, to be seen after [`publish`](Self::publish). `false` if the ring is full.
    pub(crate) fn push(&mut self, entry: [u64; N]) -> bool {
        if self.room() == 0 {
            self.consumed = self.ring.consumer().load(Ordering::Acquire);
            if self.room() == 0 {
                return false;
            }
        }
        for (word, value) in self.ring.entry(self.next).into_iter().zip(entry) {
            word.store(value, Ordering::Relaxed);
        }
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Places that were free when the consumer was last looked at. A consumer ahead of the producer is a lie.
    const fn room(&self) -> u32 {
        self.ring.size.saturating_sub(self.next.wrapping_sub(self.consumed))
    }

    /// Shows the kernel what was put in.
    pub(crate) fn publish(&self) {
        // Release: the entries, and the frames they name, come before the position.
        self.ring.producer().store(self.next, Ordering::Release);
    }

    /// Entries that the kernel has not taken yet.
    pub(crate) fn pending(&self) -> u32 {
        let consumed = self.ring.consumer().load(Ordering::Acquire);
        self.next.wrapping_sub(consumed).min(self.ring.size)
    }

    /// Whether the kernel wants to be called after something was put in.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.ring.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// The side of a ring that takes entries out: receive and completion.
pub(crate) struct Consumer<const N: usize> {
    ring: Ring<N>,
    /// The next entry to be taken.
    next: u32,
    /// The producer's position when it was last looked at.
    produced: u32,
}

impl<const N: usize> Consumer<N> {
    /// Takes over a ring as it is. `None` if the offsets cannot be.
    pub(crate) fn new(region: Region, offsets: RingOffsets, size: u32) -> Option<Self> {
        let ring = Ring::new(region, offsets, size)?;
        let next = ring.consumer().load(Ordering::Relaxed);
        let produced = ring.producer().load(Ordering::Acquire);
        Some(Self { ring, next, produced })
    }

    /// Whether there is an entry.
    pub(crate) fn is_ready(&self) -> bool {
        self.ring.producer().load(Ordering::Relaxed) != self.next
    }

    /// Takes the next entry. The place is the kernel's again after [`release`](Self::release).
    pub(crate) fn pop(&mut self) -> Option<[u64; N]> {
        if self.produced == self.next {
            // Acquire: what the kernel wrote into entries and frames is visible once the position is.
            let produced = self.ring.producer().load(Ordering::Acquire);
            // More than the ring holds is a lie: take nothing.
            if produced.wrapping_sub(self.next) > self.ring.size || produced == self.next {
                return None;
            }
            self.produced = produced;
        }
        let entry = self.ring.entry(self.next).map(|word| word.load(Ordering::Relaxed));
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Gives the places of what was taken back to the kernel.
    pub(crate) fn release(&self) {
        // Release: the entries were read before the kernel writes there again.
        self.ring.consumer().store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
pub(crate) mod tests;
