//! Memory with an owner who frees it.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

/// A piece of memory. What may be done with it is its users' matter; it is freed when this is dropped.
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
    free: unsafe fn(NonNull<u8>, usize),
}

impl Region {
    /// # Safety
    /// `base` points to `len` bytes, aligned to 8, that may be read and written until `free(base, len)`, and
    /// that no other code of this program touches. The kernel may, as the protocol on them allows.
    pub(crate) unsafe fn new(base: NonNull<u8>, len: usize, free: unsafe fn(NonNull<u8>, usize)) -> Self {
        Self { base, len, free }
    }

    /// Where it begins.
    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.len
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

/// Maps `len` bytes of what the socket offers at `offset` (a ring).
pub(crate) fn map_shared(socket: &impl AsRawFd, offset: libc::off_t, len: usize) -> io::Result<Region> {
    map(len, libc::MAP_SHARED | libc::MAP_POPULATE, socket.as_raw_fd(), offset)
}

/// Fresh memory, zeroed and page aligned.
pub(crate) fn map_fresh(len: usize) -> io::Result<Region> {
    let region = map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
    // Fewer entries in the processor's address caches, where the system has huge pages to give: a hint.
    // SAFETY: the range is the mapping just made.
    unsafe { libc::madvise(region.base.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
    Ok(region)
}

fn map(len: usize, flags: libc::c_int, descriptor: libc::c_int, offset: libc::off_t) -> io::Result<Region> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses changes no memory in use.
    let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, descriptor, offset) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
    // SAFETY: the mapping is `len` bytes long, page aligned, readable, writable, and known to nobody else.
    Ok(unsafe { Region::new(base, len, unmap) })
}

/// # Safety
/// `base` and `len` are those of a mapping that is not used any more.
unsafe fn unmap(base: NonNull<u8>, len: usize) {
    // SAFETY: the caller's promise. It cannot fail for a mapping that exists.
    unsafe { libc::munmap(base.as_ptr().cast(), len) };
}

#[cfg(test)]
pub(crate) mod heap {
    //! Ordinary memory in place of a mapping.

    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

    use super::*;

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, 64).expect("a length")
    }

    /// Zeroed memory.
    pub(crate) fn region(len: usize) -> Region {
        assert!(len > 0);
        // SAFETY: the length is not zero.
        let base = unsafe { alloc_zeroed(layout(len)) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout(len)) };
        // SAFETY: fresh, `len` bytes, aligned to 64, freed by the function that belongs to it.
        unsafe { Region::new(base, len, free) }
    }

    /// # Safety
    /// `base` and `len` are those of a region made by [`region`].
    unsafe fn free(base: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise; the layout is the one it was allocated with.
        unsafe { dealloc(base.as_ptr(), layout(len)) }
    }
}
