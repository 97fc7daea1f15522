//! The memory of frames that program and kernel share (UMEM). One of three rooms with `unsafe`.
//!
//! ```text
//!   | frame 0                                  | frame 1            | ...
//!   | headroom, 256 | bytes ........ | unused  |
//!   ^ number * size ^ address in a descriptor
//! ```
//! Whose a frame is, is known by the [ledger](crate::ledger); a [`FrameIndex`] says that it is the program's.

use std::slice;

use crate::ledger::FrameIndex;
use crate::sys::region::Region;

/// Bytes in front of a received frame: XDP_PACKET_HEADROOM, which the kernel leaves free in every frame.
pub(crate) const HEADROOM: usize = 256;

/// Frames of equal size, one behind the other.
pub(crate) struct Umem {
    region: Region,
    frame_size: usize,
    count: u32,
}

impl Umem {
    /// Frames of `frame_size` bytes, a power of two, over all of `region`.
    ///
    /// # Panics
    /// If the size is no power of two above the headroom, or there are more than 2^32 - 1 frames.
    pub(crate) fn new(region: Region, frame_size: usize) -> Self {
        assert!(frame_size.is_power_of_two() && frame_size > HEADROOM);
        let count = u32::try_from(region.len() / frame_size).expect("frames can be numbered");
        Self { region, frame_size, count }
    }

    /// How many frames there are.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// The memory itself, to be registered.
    pub(crate) const fn region(&self) -> &Region {
        &self.region
    }

    /// Bytes of a frame with its headroom.
    pub(crate) const fn frame_size(&self) -> u32 {
        self.frame_size as u32
    }

    /// The longest frame that fits behind the headroom.
    pub(crate) const fn longest_frame(&self) -> usize {
        self.frame_size - HEADROOM
    }

    /// The bytes of a frame that is the program's.
    pub(crate) fn bytes<'f>(&'f self, frame: &'f mut FrameIndex) -> &'f mut [u8] {
        assert!(frame.number() < self.count);
        let offset = frame.number() as usize * self.frame_size;
        // SAFETY: the number is below the count, so the frame lies in the region.
        let start = unsafe { self.region.base().add(offset) };
        // SAFETY: `frame_size` bytes from there lie in the region. The ledger hands out an index only while
        // the frame is the program's, each once, and takes it when the frame goes to the kernel; here it is
        // borrowed exclusively, so nobody else has these bytes while the slice is alive.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), self.frame_size) }
    }

    /// The address of byte `offset` of a frame, as descriptors have it.
    pub(crate) const fn address(&self, number: u32, offset: usize) -> u64 {
        (number as usize * self.frame_size + offset) as u64
    }

    /// The number of the frame an address lies in and the offset in it; `None` outside of the memory.
    pub(crate) fn locate(&self, address: u64) -> Option<(u32, usize)> {
        let address = usize::try_from(address).ok()?;
        let number = u32::try_from(address / self.frame_size).ok().filter(|number| *number < self.count)?;
        Some((number, address % self.frame_size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::sys::region::heap;

    #[test]
    fn frames_do_not_overlap_and_addresses_lead_back() {
        let umem = Umem::new(heap::region(4 * 2048 + 100), 2048);
        assert_eq!((umem.count(), umem.longest_frame()), (4, 1792));
        let mut ledger = Ledger::new(umem.count());
        let mut frames: Vec<_> = std::iter::from_fn(|| ledger.take()).collect();
        assert_eq!(frames.len(), 4);
        for (at, frame) in (0..).zip(&mut frames) {
            umem.bytes(frame).fill(at);
        }
        for (at, frame) in (0..).zip(&mut frames) {
            assert!(umem.bytes(frame).iter().all(|byte| *byte == at));
            let address = umem.address(frame.number(), 300);
            assert_eq!(umem.locate(address), Some((frame.number(), 300)));
        }
        assert_eq!(umem.locate(4 * 2048), None);
        assert_eq!(umem.locate(u64::MAX), None);
    }
}
