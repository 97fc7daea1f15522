//! The system calls, each behind a safe function. One of two modules with `unsafe`.
//!
//! No policy: what an error means is decided by the callers.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::{self, NonNull};
use std::time::Duration;

use arrayvec::ArrayVec;
use libc::{c_int, socklen_t};
use lvs_core::io::MAX_BATCH;

use crate::ring::Region;

/// `setsockopt` with a value of a plain C type.
pub(crate) fn set_option<T: Copy>(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    let value = ptr::from_ref(value).cast();
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a reference that lives through the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, size_of::<T>() as socklen_t) };
    check(result).map(|_| ())
}

/// `setsockopt` with a classic BPF program.
pub(crate) fn set_program(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel only reads through the pointer, whatever its type says, and does not keep it.
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    set_option(socket, level, name, &program)
}

/// The number and kind of the group that a socket is in.
pub(crate) fn fanout(socket: &impl AsRawFd) -> io::Result<c_int> {
    get_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, 0)
}

/// `getsockopt`; the kernel may fill less than the whole of `T`, the rest is as it was in `value`.
fn get_option<T: Copy>(socket: &impl AsRawFd, level: c_int, name: c_int, mut value: T) -> io::Result<T> {
    let mut len = size_of::<T>() as socklen_t;
    let pointer = ptr::from_mut(&mut value).cast();
    // SAFETY: the kernel writes at most `len` bytes, the size of what `pointer` points to. The callers are in
    // this module and use types for which all bit patterns are valid.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, pointer, &raw mut len) };
    check(result).map(|_| value)
}

/// The error that waits at the socket, if one does; it is taken away.
pub(crate) fn take_error(socket: &impl AsRawFd) -> io::Result<Option<io::Error>> {
    let code: c_int = get_option(socket, libc::SOL_SOCKET, libc::SO_ERROR, 0)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

/// Frames that a ring had no room for since the last call: PACKET_STATISTICS counts from zero after each.
pub(crate) fn take_ring_drops(socket: &impl AsRawFd) -> io::Result<u64> {
    let zero = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let statistics = get_option(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS, zero)?;
    Ok(u64::from(statistics.tp_drops))
}

/// Keeps the socket from programs that this one starts.
pub(crate) fn set_close_on_exec(socket: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the call touches no memory.
    check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) }).map(|_| ())
}

/// Maps the first `len` bytes of what the socket offers (its ring).
pub(crate) fn map(socket: &impl AsRawFd, len: usize) -> io::Result<Region> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
    // SAFETY: a new mapping at an address that the kernel chooses changes no memory in use.
    let base = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, socket.as_raw_fd(), 0) };
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

/// Sends one message for each of `frames` (64 at most), without waiting. Answers how many were taken; an
/// error is about the first.
pub(crate) fn send_batch(socket: &impl AsRawFd, frames: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: null pointers and zero lengths are what an empty message consists of.
    const EMPTY: libc::mmsghdr = unsafe { std::mem::zeroed() };
    let mut messages: ArrayVec<libc::mmsghdr, MAX_BATCH> = frames
        .iter()
        .take(MAX_BATCH)
        .map(|frame| {
            let mut message = EMPTY;
            // `IoSlice` promises to be an `iovec` in memory. The kernel reads it only.
            message.msg_hdr.msg_iov = ptr::from_ref(frame).cast_mut().cast();
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = messages.len() as libc::c_uint;
    // Signed with one C library, unsigned with another.
    let flags = libc::MSG_DONTWAIT as _;
    // SAFETY: `count` initialised headers, whose vectors and bytes are borrowed through the call.
    let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, flags) };
    check(result).map(|sent| sent.unsigned_abs() as usize)
}

/// Waits until a descriptor is ready, a signal came (an error of kind `Interrupted`), or the time is over.
pub(crate) fn poll(descriptors: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        // Less than a thousand million: fits every form of the field.
        tv_nsec: timeout.subsec_nanos() as _,
    });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    let count = descriptors.len() as libc::nfds_t;
    // SAFETY: `count` entries that may be written; the time-out is null or lives through the call.
    check(unsafe { libc::ppoll(descriptors.as_mut_ptr(), count, timeout, ptr::null()) }).map(|_| ())
}

/// An entry for [`poll`].
pub(crate) fn poll_entry(descriptor: RawFd, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: descriptor, events, revents: 0 }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
