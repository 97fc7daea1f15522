//! The system calls, each behind a safe function. One of three rooms with `unsafe`.
//!
//! | file | what |
//! | --- | --- |
//! | `bpf.rs` | maps, programs and links through bpf(2) |
//! | `packet.rs` | the packet socket that hears what the kernel keeps |
//! | `region.rs` | memory with an owner |
//! | `xsk.rs` | AF_XDP sockets: memory, rings, binding, waking |
//!
//! No policy: what an error means is decided by the callers.

pub(crate) mod bpf;
pub(crate) mod packet;
pub(crate) mod region;
pub(crate) mod xsk;

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, socklen_t};

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

/// `getsockopt`; the kernel may fill less than the whole of `T`, the rest is as it was in `value`. Answers
/// how many bytes it filled, too.
fn get_option<T: Copy>(
    socket: &impl AsRawFd,
    level: c_int,
    name: c_int,
    mut value: T,
) -> io::Result<(T, usize)> {
    let mut len = size_of::<T>() as socklen_t;
    let pointer = ptr::from_mut(&mut value).cast();
    // SAFETY: the kernel writes at most `len` bytes, the size of what `pointer` points to. The callers are in
    // this room and use types for which all bit patterns are valid.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, pointer, &raw mut len) };
    check(result).map(|_| (value, len as usize))
}

/// A socket that is closed on exec and never waits.
pub(crate) fn socket(family: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call touches no memory.
    let descriptor = check(unsafe { libc::socket(family, kind, protocol) })?;
    Ok(own(descriptor))
}

/// A counter that is readable while it is not 0 (eventfd(2)); it never waits.
pub(crate) fn event_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: the call touches no memory.
    let descriptor = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    Ok(own(descriptor))
}

/// Takes a descriptor that a call has just made.
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the callers pass what the kernel answered a moment ago; nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// `bind` with an address of a plain C type.
fn bind<T: Copy>(socket: &impl AsRawFd, address: &T) -> io::Result<()> {
    let address = ptr::from_ref(address).cast();
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a reference that lives through the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), address, size_of::<T>() as socklen_t) }).map(|_| ())
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
pub(crate) fn poll_entry(descriptor: &impl AsRawFd) -> libc::pollfd {
    libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 }
}

/// The limit on memory that may not be swapped out, raised as far as is allowed if it is below `bytes`.
/// Answers what it is now, in bytes.
pub(crate) fn raise_memory_limit(bytes: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the structure behind a reference that lives through the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) })?;
    let is_enough = limit.rlim_cur >= bytes;
    // What others of the same user have locked counts, too: so to the end, where more is needed at all. Above
    // the hard limit that takes CAP_SYS_RESOURCE.
    for most in [libc::RLIM_INFINITY, limit.rlim_max] {
        let raised = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the kernel reads the structure behind a reference that lives through the call.
        if !is_enough && unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const raised) } == 0 {
            return Ok(raised.rlim_cur);
        }
    }
    Ok(limit.rlim_cur)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
