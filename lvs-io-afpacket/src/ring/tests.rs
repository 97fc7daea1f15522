use super::*;
use crate::walk::tests::{Packet, body};

const BLOCK: usize = 4096;

/// Ordinary memory, exactly as long as the ring: the sanitizer sees every access beyond it.
fn region(blocks: usize) -> Region {
    let layout = layout(blocks * BLOCK);
    // SAFETY: the layout is not empty.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) };
    let memory = NonNull::new(memory).unwrap();
    // SAFETY: that many zeroed bytes, known to nobody else; `free` undoes this allocation.
    unsafe { Region::new(memory, blocks * BLOCK, free) }
}

/// # Safety
/// As `Region::new` demands of the function that frees.
unsafe fn free(base: NonNull<u8>, len: usize) {
    // SAFETY: allocated by `region` with this layout.
    unsafe { std::alloc::dealloc(base.as_ptr(), layout(len)) }
}

fn layout(len: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(len, 8).unwrap()
}

/// Does what the kernel does: fills block `block` and hands it over.
fn fill(ring: &mut Ring, block: usize, packets: &[Packet], count: u32, first: u32) {
    let bytes = body(packets);
    assert!(BLOCK_DESCRIPTOR + bytes.len() <= BLOCK);
    // SAFETY: in the region, like everything up to the end of the block.
    let start = unsafe { ring.region.base.add(block * BLOCK + BLOCK_DESCRIPTOR) };
    // SAFETY: the bytes fit into the block, and nobody holds a slice of it: the ring is borrowed mutably.
    unsafe { start.copy_from_nonoverlapping(NonNull::from(&bytes[..]).cast(), bytes.len()) };
    let current = std::mem::replace(&mut ring.current, block);
    ring.word(PACKETS).store(count, Ordering::Relaxed);
    ring.word(FIRST_PACKET).store(first, Ordering::Relaxed);
    ring.word(STATUS).store(libc::TP_STATUS_USER | libc::TP_STATUS_BLK_TMO, Ordering::Release);
    ring.current = current;
}

fn status(ring: &mut Ring, block: usize) -> u32 {
    let current = std::mem::replace(&mut ring.current, block);
    let status = ring.word(STATUS).load(Ordering::Relaxed);
    ring.current = current;
    status
}

/// One batch: the first byte of each frame, and how many were lost.
fn batch(ring: &mut Ring) -> (Vec<u8>, u64) {
    let mut frames = Batch::new();
    let lost = ring.frames(PortId(0), &mut frames);
    let bytes = frames.iter().map(|frame| frame.bytes()[0]).collect();
    drop(frames);
    ring.release();
    (bytes, lost)
}

fn packets(first: u8, count: u8) -> Vec<Packet> {
    (first..first + count).map(|i| Packet::new(&[i; 14])).collect()
}

#[test]
fn words_lie_where_the_kernel_has_them() {
    assert_eq!((STATUS, PACKETS, FIRST_PACKET), (8, 12, 16));
}

#[test]
fn blocks_are_taken_in_turn_and_given_back_when_done() {
    let mut ring = Ring::new(region(3), BLOCK);
    assert!(!ring.is_ready());
    assert_eq!(batch(&mut ring), (vec![], 0));
    for round in 0..5u8 {
        let block = usize::from(round) % 3;
        fill(&mut ring, block, &packets(round, 2), 2, 48);
        assert!(ring.is_ready());
        assert_eq!(batch(&mut ring), (vec![round, round + 1], 0));
        assert_eq!(status(&mut ring, block), libc::TP_STATUS_KERNEL);
        assert!(!ring.is_ready());
    }
}

#[test]
fn a_block_of_two_batches_is_kept_until_the_second() {
    let mut ring = Ring::new(region(4), 4 * BLOCK);
    let many = packets(0, 100);
    let bytes = body(&many);
    // SAFETY: in the region.
    let start = unsafe { ring.region.base.add(BLOCK_DESCRIPTOR) };
    assert!(bytes.len() <= 4 * BLOCK - BLOCK_DESCRIPTOR);
    // SAFETY: they fit, and no slice of the ring exists.
    unsafe { start.copy_from_nonoverlapping(NonNull::from(&bytes[..]).cast(), bytes.len()) };
    ring.word(PACKETS).store(100, Ordering::Relaxed);
    ring.word(FIRST_PACKET).store(48, Ordering::Relaxed);
    ring.word(STATUS).store(libc::TP_STATUS_USER, Ordering::Release);
    assert_eq!(batch(&mut ring), ((0..64).collect(), 0));
    assert_eq!(status(&mut ring, 0), libc::TP_STATUS_USER);
    assert!(ring.is_ready());
    assert_eq!(batch(&mut ring), ((64..100).collect(), 0));
    assert_eq!(status(&mut ring, 0), libc::TP_STATUS_KERNEL);
}

#[test]
fn an_unreadable_or_empty_block_is_given_back() {
    let mut ring = Ring::new(region(2), BLOCK);
    fill(&mut ring, 0, &packets(0, 3), 3, u32::MAX);
    fill(&mut ring, 1, &packets(0, 3), 0, 48);
    assert_eq!(batch(&mut ring), (vec![], 3));
    assert_eq!(batch(&mut ring), (vec![], 0));
    assert_eq!(
        (status(&mut ring, 0), status(&mut ring, 1)),
        (libc::TP_STATUS_KERNEL, libc::TP_STATUS_KERNEL)
    );
    assert!(!ring.is_ready());
    fill(&mut ring, 0, &packets(9, 1), 1, 48);
    assert_eq!(batch(&mut ring), (vec![9], 0));
}

#[test]
fn frames_up_to_the_last_byte_of_the_ring() {
    let mut ring = Ring::new(region(1), BLOCK);
    let len = BLOCK - BLOCK_DESCRIPTOR - 92;
    fill(&mut ring, 0, &[Packet::new(&vec![5; len])], 1, 48);
    let mut frames = Batch::new();
    assert_eq!(ring.frames(PortId(0), &mut frames), 0);
    assert_eq!((frames[0].len(), frames[0].tailroom()), (len, 0));
    frames[0].bytes_mut().fill(6);
    drop(frames);
    ring.release();

    let mut beyond = Packet::new(&vec![5; len]);
    (beyond.captured, beyond.length) = (len as u32 + 1, len as u32 + 1);
    fill(&mut ring, 0, &[beyond], 1, 48);
    assert_eq!(batch(&mut ring), (vec![], 1));
}
