//! Huge pages for the connection tables of `lvs-core`.
//!
//! A table of a million connections is 80 MiB. With pages of 4 KiB nearly every frame needs address translations that
//! the processor does not remember; with pages of 2 MiB it remembers most of them. [`HugePages`] is a
//! [`TableMemory`] that asks Linux for such pages and tells what it got.
//!
//! ```
//! use lvs_core::{Director, DirectorConfig, Instant, InterfaceConfig, PortId};
//! use lvs_hugepages::HugePages;
//!
//! let eth0 = InterfaceConfig::new(PortId(0), "02:00:00:00:00:02".parse()?, "192.168.0.208/24".parse()?);
//! let memory = HugePages::new();
//! let director = Director::with_memory(DirectorConfig::new(vec![eth0], [7; 32]), Instant::ZERO, &memory)?;
//! println!("{} MiB of tables in {} pages", memory.bytes() >> 20, memory.pages());
//! # drop(director);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!   2 MiB and more   own mapping, aligned to 2 MiB, MADV_HUGEPAGE (or MAP_HUGETLB, if asked for)
//!   less             own mapping, ordinary pages: a huge page would be mostly waste
//!   not Linux        the global allocator
//! ```
//!
//! Where huge pages are refused (switched off, none left), the memory is there all the same, in ordinary pages. This
//! crate does not change settings of the system, does not pin memory, and promises no particular page size: ask
//! [`HugePages::pages`].
//!
//! # Settings of the system
//!
//! `/sys/kernel/mm/transparent_hugepage/enabled` must be `madvise` or `always`. [`HugePages::explicit`] needs pages set
//! aside in `/proc/sys/vm/nr_hugepages`.
#![deny(unsafe_code)]

#[cfg(target_os = "linux")]
mod smaps;

#[cfg(not(target_os = "linux"))]
#[path = "heap.rs"]
mod region;
#[cfg(target_os = "linux")]
mod region;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use lvs_core::connection::TableMemory;
pub use region::Region;

/// Size and alignment of a huge page in bytes: 2 MiB, the size on x86-64 and on arm64 with 4 KiB pages.
pub const HUGE_PAGE: usize = 2 << 20;

/// Gives a director tables in huge pages. Clones share what they know about the memory given out.
#[derive(Debug, Clone, Default)]
pub struct HugePages {
    prefault: bool,
    explicit: bool,
    live: Live,
}

/// Which pages memory is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// 2 MiB.
    Huge,
    /// The system's ordinary size, 4 KiB on most machines; also when it is not known.
    Ordinary,
}

/// What the kernel says about the tables of 2 MiB and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backing {
    /// Bytes that have been touched and take memory.
    pub resident: u64,
    /// Those of them that lie in huge pages.
    pub huge: u64,
}

impl HugePages {
    /// Transparent huge pages, given when the memory is first touched.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether to touch all memory at once. Then no frame meets a page for the first time, and a system that has not that
    /// much memory shows it at the start; but a table that stays half empty takes its full size. Default: no.
    #[must_use]
    pub const fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    /// Whether to try pages that the administrator has set aside (MAP_HUGETLB) before transparent ones. They cannot be
    /// refused later and never move. Default: no.
    #[must_use]
    pub const fn explicit(mut self, explicit: bool) -> Self {
        self.explicit = explicit;
        self
    }

    /// Bytes of all tables that are alive, touched or not, rounded up to whole pages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.live.ranges().iter().map(|range| range.end - range.start).sum()
    }

    /// Which pages the tables of 2 MiB and more are in: [`Pages::Huge`] if the kernel says so of nine tenths of what
    /// has been touched. The first page of each is touched when it is made, so there is an answer from the start.
    ///
    /// Reads `/proc/self/smaps`, which takes a millisecond or so: not for every frame.
    #[must_use]
    pub fn pages(&self) -> Pages {
        let Backing { resident, huge } = self.backing();
        if huge > 0 && huge * 10 >= resident * 9 { Pages::Huge } else { Pages::Ordinary }
    }

    /// How much of the tables of 2 MiB and more takes memory, and how much of that is in huge pages. Nothing where the
    /// system does not tell.
    #[must_use]
    pub fn backing(&self) -> Backing {
        let big: Vec<Range<usize>> =
            self.live.ranges().into_iter().filter(|range| range.len() >= HUGE_PAGE).collect();
        backing_of(&big)
    }
}

#[cfg(target_os = "linux")]
fn backing_of(ranges: &[Range<usize>]) -> Backing {
    std::fs::read_to_string("/proc/self/smaps").map(|text| smaps::backing(&text, ranges)).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn backing_of(_ranges: &[Range<usize>]) -> Backing {
    Backing::default()
}

impl TableMemory for HugePages {
    type Lines = Region;

    fn lines(&self, count: usize) -> Option<Region> {
        Region::new(count, self)
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Huge => "huge",
            Self::Ordinary => "4k",
        })
    }
}

/// The address ranges of the tables that are alive.
#[derive(Debug, Clone, Default)]
struct Live(Arc<Mutex<Vec<Range<usize>>>>);

impl Live {
    fn ranges(&self) -> Vec<Range<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of a table until what is returned is dropped.
    fn register(&self, range: Range<usize>) -> Registration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(range.clone());
        Registration { live: self.clone(), range }
    }
}

/// A table's entry in [`Live`].
#[derive(Debug)]
struct Registration {
    live: Live,
    range: Range<usize>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut ranges = self.live.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = ranges.iter().position(|range| *range == self.range) {
            ranges.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
