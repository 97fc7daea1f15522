//! The memory of one table as a mapping of its own.
//!
//! The only module with `unsafe`: bytes of the mapping are shown as lines. Mapping and unmapping are `memmap2`'s.

use std::hint::black_box;
use std::ops::{Deref, DerefMut};

use lvs_core::connection::Line;
use memmap2::{Advice, MmapMut, MmapOptions};

use crate::{HUGE_PAGE, HugePages, Registration};

/// log2 of [`HUGE_PAGE`], as MAP_HUGETLB wants it.
const HUGE_PAGE_BITS: u8 = HUGE_PAGE.trailing_zeros() as u8;
/// The least distance at which every page is touched, whatever the system's page size.
const SMALLEST_PAGE: usize = 4096;

/// The memory of one table: zeroed lines, aligned to 2 MiB if there are 2 MiB or more. Unmapped when dropped.
#[derive(Debug)]
pub struct Region {
    // Dropped before the mapping: nobody may ask the kernel about addresses that belong to others by then.
    _registration: Registration,
    map: MmapMut,
    /// Where the lines begin in `map`, in bytes.
    start: usize,
    count: usize,
}

impl Region {
    pub(crate) fn new(count: usize, options: &HugePages) -> Option<Self> {
        let bytes = count.checked_mul(size_of::<Line>())?;
        let (map, start, len) = if bytes >= HUGE_PAGE {
            let len = bytes.checked_next_multiple_of(HUGE_PAGE)?;
            let explicit = if options.explicit { explicit(len) } else { None };
            match explicit {
                Some(map) => (map, 0, len),
                None => transparent(len)?,
            }
        } else {
            let len = bytes.next_multiple_of(SMALLEST_PAGE).max(SMALLEST_PAGE);
            (MmapMut::map_anon(len).ok()?, 0, len)
        };
        let address = map.as_ptr().addr() + start;
        let registration = options.live.register(address..address + len);
        let mut region = Self { _registration: registration, map, start, count };
        // Without the option the first page only: it is what the kernel is asked about.
        let touched = if options.prefault { count } else { count.min(1) };
        for line in region[..touched].iter_mut().step_by(SMALLEST_PAGE / size_of::<Line>()) {
            *line = black_box(Line::default());
        }
        Some(region)
    }
}

/// Pages that were set aside; `None` if there are not enough.
fn explicit(len: usize) -> Option<MmapMut> {
    MmapOptions::new().len(len).huge(Some(HUGE_PAGE_BITS)).map_anon().ok()
}

/// A mapping with room for `len` aligned bytes, and where they begin. What lies around them is never touched and takes
/// no memory.
fn transparent(len: usize) -> Option<(MmapMut, usize, usize)> {
    let map = MmapMut::map_anon(len.checked_add(HUGE_PAGE)?).ok()?;
    let start = map.as_ptr().addr().next_multiple_of(HUGE_PAGE) - map.as_ptr().addr();
    // A kernel without transparent huge pages refuses: then it is ordinary pages.
    let _ = map.advise_range(Advice::HugePage, start, len);
    Some((map, start, len))
}

impl Deref for Region {
    type Target = [Line];

    #[inline]
    fn deref(&self) -> &[Line] {
        let lines = self.map.as_ptr().wrapping_add(self.start).cast::<Line>();
        // SAFETY: `new` made the mapping at least `start` + `count` lines long; it is initialised (anonymous mappings are
        // zero), writable, aligned to a page and so to a line, and lives as long as `self`. A line is an array of
        // integers, for which every bit pattern is a value. `&self` keeps writers away.
        #[expect(unsafe_code, reason = "bytes of a mapping as lines")]
        unsafe {
            std::slice::from_raw_parts(lines, self.count)
        }
    }
}

impl DerefMut for Region {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Line] {
        let lines = self.map.as_mut_ptr().wrapping_add(self.start).cast::<Line>();
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        #[expect(unsafe_code, reason = "bytes of a mapping as lines")]
        unsafe {
            std::slice::from_raw_parts_mut(lines, self.count)
        }
    }
}
