//! An allocator over one array of fixed size. It hands out memory from the front, takes none back, and refuses everything
//! once it is sealed: whoever allocates then ends the program.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const SIZE: usize = 4 << 20;

#[repr(align(4096))]
struct Arena(UnsafeCell<[u8; SIZE]>);

// SAFETY: `alloc` hands out every byte at most once, so no two users share one.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; SIZE]));

/// See the top of this file.
pub struct Fixed {
    used: AtomicUsize,
    sealed: AtomicBool,
}

impl Fixed {
    /// With all of its memory free.
    pub const fn new() -> Self {
        Self { used: AtomicUsize::new(0), sealed: AtomicBool::new(false) }
    }

    /// From now on there is no more memory.
    pub fn seal(&self) {
        self.sealed.store(true, Ordering::Relaxed);
    }
}

// SAFETY: the pieces lie within the arena, are aligned, and never overlap, since `used` only grows.
unsafe impl GlobalAlloc for Fixed {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.sealed.load(Ordering::Relaxed) {
            return null_mut();
        }
        let base = ARENA.0.get().cast::<u8>();
        let place = |used: usize| {
            let start = (base.addr() + used).next_multiple_of(layout.align()) - base.addr();
            start.checked_add(layout.size()).filter(|end| *end <= SIZE).map(|end| (start, end))
        };
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(place(used)?.1));
        match taken.ok().and_then(place) {
            Some((start, _)) => base.wrapping_add(start),
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
