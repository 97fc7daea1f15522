//! The receive ring that the kernel fills: whose block is whose. One of two modules with `unsafe`.
//!
//! A block belongs to the kernel or to the program, as its status word says. The kernel hands it over
//! (status USER) when it is full or a millisecond old; [`Ring::release`] hands it back when all of its
//! frames were handled. What lies in a block is read by [`walk`](crate::walk).

use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use lvs_core::io::PortId;

use crate::walk::{BLOCK_DESCRIPTOR, Batch, Cursor};

/// Memory with an owner who frees it.
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
    free: unsafe fn(NonNull<u8>, usize),
}

impl Region {
    /// # Safety
    /// `base` points to `len` bytes, aligned to 8, that may be read and written until `free(base, len)`, and
    /// that no other code of this program touches. The kernel may, as the ring's protocol allows.
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize, free: unsafe fn(NonNull<u8>, usize)) -> Self {
        Self { base, len, free }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that this is how the memory is freed; nothing outlives the region.
        unsafe { (self.free)(self.base, self.len) }
    }
}

// SAFETY: the region is the only owner of its memory, and memory can be freed by any thread.
unsafe impl Send for Region {}

/// A TPACKET_V3 receive ring.
pub(crate) struct Ring {
    region: Region,
    block_size: usize,
    blocks: usize,
    current: usize,
    /// Set while the current block is the program's.
    cursor: Option<Cursor>,
}

impl Ring {
    /// A ring of blocks of `block_size` bytes, a multiple of 8, over all of `region`.
    pub(crate) fn new(region: Region, block_size: usize) -> Self {
        assert!(block_size > BLOCK_DESCRIPTOR && block_size.is_multiple_of(8) && region.len >= block_size);
        let blocks = region.len / block_size;
        Self { region, block_size, blocks, current: 0, cursor: None }
    }

    /// Whether frames are there, or a block that held only lost ones.
    pub(crate) fn is_ready(&self) -> bool {
        self.cursor.is_some() || self.word(STATUS).load(Ordering::Relaxed) & libc::TP_STATUS_USER != 0
    }

    /// Puts the next frames, all of one block, into `frames`; answers how many were lost. Call
    /// [`release`](Self::release) when they are done with.
    pub(crate) fn frames<'r>(&'r mut self, port: PortId, frames: &mut Batch<'r>) -> u64 {
        let Some(mut cursor) = self.cursor.or_else(|| self.open_block()) else {
            return 0;
        };
        let offset = self.current * self.block_size + BLOCK_DESCRIPTOR;
        // SAFETY: `current < blocks`, so the offset lies in the region.
        let start = unsafe { self.region.base.add(offset) };
        // SAFETY: from there to the end of the block is memory of the region. The block is the program's (a
        // cursor exists), so the kernel does not touch it until `release`, which needs `&mut self` and so
        // cannot be called while the slice is alive; the descriptor, which is accessed otherwise, is not in it.
        let body = unsafe { slice::from_raw_parts_mut(start.as_ptr(), self.block_size - BLOCK_DESCRIPTOR) };
        let lost = cursor.walk(body, port, frames);
        self.cursor = Some(cursor);
        lost
    }

    /// Gives the current block back to the kernel, if all of its frames were handed out.
    pub(crate) fn release(&mut self) {
        if self.cursor.is_some_and(|cursor| cursor.is_finished()) {
            self.cursor = None;
            // Release: what the program wrote into the block comes before the kernel writes there again.
            self.word(STATUS).store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.current = (self.current + 1) % self.blocks;
        }
    }

    fn open_block(&self) -> Option<Cursor> {
        // Acquire: what the kernel wrote into the block is visible once the status is.
        if self.word(STATUS).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let packets = self.word(PACKETS).load(Ordering::Relaxed);
        let first = self.word(FIRST_PACKET).load(Ordering::Relaxed);
        Some(Cursor::new(packets, first))
    }

    /// A word of the current block's descriptor.
    fn word(&self, offset: usize) -> &AtomicU32 {
        debug_assert!(offset + 4 <= BLOCK_DESCRIPTOR);
        let offset = self.current * self.block_size + offset;
        // SAFETY: `current < blocks` and a block is longer than its descriptor, so this lies in the region.
        let word = unsafe { self.region.base.add(offset) };
        // SAFETY: aligned, because region, block size and the offsets of the words are; descriptors are
        // accessed by atomic operations only.
        unsafe { AtomicU32::from_ptr(word.cast().as_ptr()) }
    }
}

const HEADER: usize = std::mem::offset_of!(libc::tpacket_block_desc, hdr);
const STATUS: usize = HEADER + std::mem::offset_of!(libc::tpacket_hdr_v1, block_status);
const PACKETS: usize = HEADER + std::mem::offset_of!(libc::tpacket_hdr_v1, num_pkts);
const FIRST_PACKET: usize = HEADER + std::mem::offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt);

#[cfg(test)]
mod tests;
