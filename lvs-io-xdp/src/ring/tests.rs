use super::*;
use crate::sys::region::heap;

/// Where the parts of a ring over ordinary memory lie: positions in lines of their own, as the kernel has them.
pub(crate) const OFFSETS: RingOffsets = RingOffsets { producer: 0, consumer: 64, flags: 128, entries: 192 };

pub(crate) fn region<const N: usize>(size: u32) -> Region {
    heap::region(OFFSETS.entries + size as usize * N * 8)
}

/// The kernel's end of a ring over the same memory. The memory must outlive it.
pub(crate) struct Other<const N: usize> {
    ring: Ring<N>,
}

/// # Safety
/// Never called: the region is the ring's.
unsafe fn keep(_: NonNull<u8>, _: usize) {}

impl<const N: usize> Other<N> {
    pub(crate) fn of_producer(near: &Producer<N>) -> Self {
        Self::of(&near.ring)
    }

    pub(crate) fn of_consumer(near: &Consumer<N>) -> Self {
        Self::of(&near.ring)
    }

    fn of(ring: &Ring<N>) -> Self {
        // SAFETY: the same memory, accessed by atomic operations only, as a kernel would; the tests drop the
        // owner last.
        let region = unsafe { Region::new(ring.region.base(), ring.region.len(), keep) };
        Self { ring: Ring::new(region, OFFSETS, ring.size).unwrap() }
    }

    /// What the kernel takes out of fill and transmit rings.
    pub(crate) fn take(&self) -> Option<[u64; N]> {
        let (produced, consumed) =
            (self.ring.producer().load(Ordering::Acquire), self.ring.consumer().load(Ordering::Relaxed));
        if produced == consumed {
            return None;
        }
        let entry = self.ring.entry(consumed).map(|word| word.load(Ordering::Relaxed));
        self.ring.consumer().store(consumed.wrapping_add(1), Ordering::Release);
        Some(entry)
    }

    /// What the kernel puts into receive and completion rings; `false` if there is no room.
    pub(crate) fn put(&self, entry: [u64; N]) -> bool {
        let (produced, consumed) =
            (self.ring.producer().load(Ordering::Relaxed), self.ring.consumer().load(Ordering::Acquire));
        if produced.wrapping_sub(consumed) >= self.ring.size {
            return false;
        }
        for (word, value) in self.ring.entry(produced).into_iter().zip(entry) {
            word.store(value, Ordering::Relaxed);
        }
        self.ring.producer().store(produced.wrapping_add(1), Ordering::Release);
        true
    }

    pub(crate) fn set_positions(&self, producer: u32, consumer: u32) {
        self.ring.producer().store(producer, Ordering::Release);
        self.ring.consumer().store(consumer, Ordering::Release);
    }

    pub(crate) fn set_flags(&self, flags: u32) {
        self.ring.flags().store(flags, Ordering::Release);
    }
}

#[test]
fn entries_come_out_as_they_went_in_across_the_wrap_of_the_positions() {
    // A ring that is taken over shortly before its positions wrap.
    let fresh = Ring::<2>::new(region::<2>(8), OFFSETS, 8).unwrap();
    fresh.producer().store(u32::MAX - 4, Ordering::Relaxed);
    fresh.consumer().store(u32::MAX - 4, Ordering::Relaxed);
    let mut producer = Producer::<2>::new(fresh.region, OFFSETS, 8).unwrap();
    let kernel = Other::of_producer(&producer);
    for round in 0..10u64 {
        for i in 0..8 {
            assert!(producer.push([round, i]));
        }
        assert!(!producer.push([round, 8]), "full");
        assert_eq!(kernel.take(), None, "nothing is seen before it is published");
        producer.publish();
        assert_eq!(producer.pending(), 8);
        for i in 0..8 {
            assert_eq!(kernel.take(), Some([round, i]));
        }
        assert_eq!((kernel.take(), producer.pending()), (None, 0));
    }
}

#[test]
fn places_are_the_kernels_again_only_after_release() {
    let mut consumer = Consumer::<1>::new(region::<1>(4), OFFSETS, 4).unwrap();
    let kernel = Other::of_consumer(&consumer);
    assert!(!consumer.is_ready());
    assert_eq!(consumer.pop(), None);
    for i in 0..4 {
        assert!(kernel.put([i]));
    }
    assert!(!kernel.put([4]) && consumer.is_ready());
    assert_eq!((consumer.pop(), consumer.pop()), (Some([0]), Some([1])));
    assert!(!kernel.put([4]), "not released yet");
    consumer.release();
    assert!(kernel.put([4]) && kernel.put([5]) && !kernel.put([6]));
    let rest: Vec<_> = std::iter::from_fn(|| consumer.pop()).collect();
    assert_eq!(rest, [[2], [3], [4], [5]]);
}

#[test]
fn positions_that_cannot_be_are_not_followed() {
    let mut consumer = Consumer::<1>::new(region::<1>(4), OFFSETS, 4).unwrap();
    let kernel = Other::of_consumer(&consumer);
    for produced in [5, 100, u32::MAX, 1 << 31] {
        kernel.set_positions(produced, 0);
        assert_eq!(consumer.pop(), None, "{produced}");
    }
    kernel.set_positions(4, 0);
    assert_eq!(std::iter::from_fn(|| consumer.pop()).count(), 4);

    let mut producer = Producer::<1>::new(region::<1>(4), OFFSETS, 4).unwrap();
    let kernel = Other::of_producer(&producer);
    for _ in 0..4 {
        assert!(producer.push([7]));
    }
    producer.publish();
    for consumed in [5, 100, u32::MAX] {
        kernel.set_positions(4, consumed);
        assert!(!producer.push([8]), "{consumed}");
        assert!(producer.pending() <= 4);
    }
    kernel.set_positions(4, 4);
    assert!(producer.push([9]));
}

#[test]
fn rings_that_do_not_lie_in_their_memory_are_refused() {
    let make = |offsets, size| Ring::<2>::new(region::<2>(8), offsets, size).is_some();
    assert!(make(OFFSETS, 8));
    assert!(!make(OFFSETS, 16) && !make(OFFSETS, 7) && !make(OFFSETS, 0));
    for bad in [usize::MAX, usize::MAX - 3, 4096, 2, 63] {
        assert!(!make(RingOffsets { producer: bad, ..OFFSETS }, 8), "{bad}");
        assert!(!make(RingOffsets { consumer: bad, ..OFFSETS }, 8), "{bad}");
        assert!(!make(RingOffsets { flags: bad, ..OFFSETS }, 8), "{bad}");
    }
    for bad in [usize::MAX, usize::MAX - 7, 196, 200, 4096] {
        assert!(!make(RingOffsets { entries: bad, ..OFFSETS }, 8), "{bad}");
    }
}

#[test]
fn the_wakeup_flag_is_read_afresh() {
    let producer = Producer::<1>::new(region::<1>(4), OFFSETS, 4).unwrap();
    let kernel = Other::of_producer(&producer);
    assert!(!producer.needs_wakeup());
    kernel.set_flags(libc::XDP_RING_NEED_WAKEUP);
    assert!(producer.needs_wakeup());
    kernel.set_flags(0);
    assert!(!producer.needs_wakeup());
}

#[test]
fn two_threads_pass_a_hundred_thousand_entries_in_order() {
    const COUNT: u64 = 100_000;
    let mut producer = Producer::<2>::new(region::<2>(64), OFFSETS, 64).unwrap();
    let kernel = Other::of_producer(&producer);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut expected = 0;
            while expected < COUNT {
                match kernel.take() {
                    Some(entry) => {
                        assert_eq!(entry, [expected, !expected]);
                        expected += 1;
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
        let mut next = 0;
        while next < COUNT {
            if producer.push([next, !next]) {
                next += 1;
            } else {
                producer.publish();
                std::thread::yield_now();
            }
        }
        producer.publish();
    });
}
