//! Two sockets over ordinary memory, with the test in the place of the kernel.

use std::collections::VecDeque;

use super::*;
use crate::ring::tests::{OFFSETS, Other, region};
use crate::sys::region::heap;
use crate::umem::HEADROOM;

const SIZE: u32 = 16;
const FRAMES: u32 = 48;

/// The kernel's end of a socket.
struct Kernel {
    receive: Other<2>,
    fill: Other<1>,
    transmit: Other<2>,
    completion: Other<1>,
    /// Frames taken from the fill ring and the transmit ring.
    empty: VecDeque<u64>,
    sent: VecDeque<u64>,
}

fn socket(number: u16) -> (Exchange, Kernel) {
    let rings = Rings {
        receive: Consumer::new(region::<2>(SIZE), OFFSETS, SIZE).unwrap(),
        fill: Producer::new(region::<1>(SIZE), OFFSETS, SIZE).unwrap(),
        transmit: Producer::new(region::<2>(SIZE), OFFSETS, SIZE).unwrap(),
        completion: Consumer::new(region::<1>(SIZE), OFFSETS, SIZE).unwrap(),
    };
    let kernel = Kernel {
        receive: Other::of_consumer(&rings.receive),
        fill: Other::of_producer(&rings.fill),
        transmit: Other::of_producer(&rings.transmit),
        completion: Other::of_consumer(&rings.completion),
        empty: VecDeque::new(),
        sent: VecDeque::new(),
    };
    (Exchange::new(rings, number, SIZE), kernel)
}

impl Kernel {
    /// Takes up to `count` empty frames and hands them back filled.
    fn deliver(&mut self, count: usize, len: u32) {
        while let Some([address]) = self.fill.take() {
            self.empty.push_back(address);
        }
        for _ in 0..count {
            let Some(address) = self.empty.pop_front() else { return };
            assert!(self.receive.put([address + HEADROOM as u64, join(len, 0)]), "the ring has room for all");
        }
    }

    /// Takes up to `take` frames to transmit and completes up to `complete` of those taken.
    fn transmit(&mut self, take: usize, complete: usize) {
        for _ in 0..take {
            let Some([address, rest]) = self.transmit.take() else { break };
            assert!(split(rest).0 > 0);
            self.sent.push_back(address);
        }
        for _ in 0..complete {
            let Some(&address) = self.sent.front() else { return };
            // Completions wait for room, as in the kernel.
            if !self.completion.put([address]) {
                return;
            }
            self.sent.pop_front();
        }
    }
}

fn memory() -> (Umem, Ledger) {
    let umem = Umem::new(heap::region(FRAMES as usize * 2048), 2048);
    let ledger = Ledger::new(umem.count());
    (umem, ledger)
}

/// A small generator of numbers below `below`; the seed is in the test.
fn next(state: &mut u64, below: u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below) as usize
}

#[test]
fn no_frame_is_leaked_or_owned_twice_whatever_happens_in_which_order() {
    let (umem, mut ledger) = memory();
    let (mut a, mut kernel_a) = socket(0);
    let (mut b, mut kernel_b) = socket(1);
    let mut state = 0x2545_f491_4f6c_dd1d;
    let (mut forwarded, mut refused) = (0, 0);
    for _ in 0..20_000 {
        a.refill(&umem, &mut ledger);
        b.refill(&umem, &mut ledger);
        kernel_a.deliver(next(&mut state, 20), 60);
        let mut batch = Batch::new();
        assert_eq!(a.receive(&umem, &mut ledger, &mut batch), 0);
        for mut received in batch {
            // Exclusive: whoever else had this frame would see the mark.
            umem.bytes(&mut received.frame).fill(next(&mut state, 256) as u8);
            if next(&mut state, 4) == 0 {
                ledger.put_back(received.frame);
                continue;
            }
            match b.send(&umem, &mut ledger, received.frame, received.start, received.len) {
                Ok(()) => forwarded += 1,
                Err(frame) => {
                    refused += 1;
                    ledger.put_back(frame);
                }
            }
        }
        b.publish();
        kernel_b.transmit(next(&mut state, 20), next(&mut state, 20));
        assert_eq!(b.reap(&umem, &mut ledger), 0);
        let (free, program, lent) = ledger.census();
        assert_eq!((program, free + lent), (0, FRAMES as usize));
    }
    assert!(forwarded > 50_000 && refused > 1_000, "{forwarded} {refused}");
    // Everything comes back: what is with the kernel now is what it is known to have.
    for _ in 0..FRAMES {
        kernel_b.transmit(1, 1);
        b.reap(&umem, &mut ledger);
    }
    let (free, _, lent) = ledger.census();
    assert_eq!((lent, free), ((a.lent + b.lent) as usize, FRAMES as usize - (a.lent + b.lent) as usize));
}

#[test]
fn the_receive_ring_is_never_offered_more_than_it_holds() {
    let (umem, mut ledger) = memory();
    let (mut a, mut kernel) = socket(0);
    for _ in 0..5 {
        a.refill(&umem, &mut ledger);
        // Fills all frames it has; nobody fetches them.
        kernel.deliver(usize::MAX, 60);
    }
    assert_eq!(ledger.census(), ((FRAMES - SIZE) as usize, 0, SIZE as usize));
    let mut batch = Batch::new();
    a.receive(&umem, &mut ledger, &mut batch);
    assert_eq!(batch.len(), SIZE as usize);
}

#[test]
fn frames_travel_without_a_copy_and_with_their_place() {
    let (umem, mut ledger) = memory();
    let (mut a, mut kernel_a) = socket(0);
    let (mut b, kernel_b) = socket(1);
    a.refill(&umem, &mut ledger);
    kernel_a.deliver(1, 1514);
    let mut batch = Batch::new();
    a.receive(&umem, &mut ledger, &mut batch);
    let received = batch.pop().unwrap();
    assert_eq!((received.start, received.len), (HEADROOM, 1514));
    let number = received.frame.number();
    // Four bytes longer at the front, as with a tag.
    b.send(&umem, &mut ledger, received.frame, HEADROOM - 4, 1518).unwrap();
    assert_eq!(kernel_b.transmit.take(), None, "not published");
    b.publish();
    let [address, rest] = kernel_b.transmit.take().unwrap();
    assert_eq!((umem.locate(address), split(rest)), (Some((number, HEADROOM - 4)), (1518, 0)));
}

#[test]
fn descriptors_that_make_no_sense_cost_nobody_a_frame() {
    let (umem, mut ledger) = memory();
    let (mut a, mut kernel) = socket(0);
    let (mut b, _) = socket(1);
    a.refill(&umem, &mut ledger);
    b.refill(&umem, &mut ledger);
    while let Some([address]) = kernel.fill.take() {
        kernel.empty.push_back(address);
    }
    let mine: Vec<u64> = kernel.empty.iter().copied().collect();
    let foreign = (0..FRAMES).map(|number| umem.address(number, 0)).find(|at| !mine.contains(at)).unwrap();
    let nonsense = [
        [u64::MAX, join(60, 0)],
        [umem.address(FRAMES, 0), join(60, 0)],
        [foreign, join(60, 0)],
        [mine[0] + 256, join(1793, 0)],
        [mine[1] + 256, join(u32::MAX, 0)],
        [mine[2] + 256, join(0, 0)],
        [mine[3] + 256, join(60, libc::XDP_PKT_CONTD)],
        // The same frame a second time.
        [mine[3] + 256, join(60, 0)],
    ];
    for entry in nonsense {
        assert!(kernel.receive.put(entry));
    }
    assert!(kernel.receive.put([mine[4] + 256, join(1792, 0)]));
    let mut batch = Batch::new();
    assert_eq!(a.receive(&umem, &mut ledger, &mut batch), nonsense.len() as u64);
    assert_eq!(batch.len(), 1);
    for received in batch {
        ledger.put_back(received.frame);
    }
    // Completions of frames that were never sent.
    for address in [u64::MAX, mine[0], mine[5], foreign] {
        assert!(kernel.completion.put([address]));
    }
    assert_eq!(a.reap(&umem, &mut ledger), 4);
    let (_, program, lent) = ledger.census();
    assert_eq!((program, lent), (0, (a.lent + b.lent) as usize));
    assert_eq!(a.lent, SIZE - 5);
}

#[test]
fn a_wakeup_is_asked_for_only_where_the_kernel_wants_one_and_something_is_new() {
    let (umem, mut ledger) = memory();
    let (mut a, kernel) = socket(0);
    kernel.fill.set_flags(libc::XDP_RING_NEED_WAKEUP);
    assert!(a.refill(&umem, &mut ledger));
    assert!(!a.refill(&umem, &mut ledger), "nothing new");
    assert!(!a.wants_send());
    kernel.transmit.set_flags(libc::XDP_RING_NEED_WAKEUP);
    assert!(a.wants_send());
}
