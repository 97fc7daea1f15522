//! AF_XDP sockets: their memory, their rings, binding, waking (Documentation/networking/af_xdp.rst).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use libc::{c_int, socklen_t};

use super::region::{self, Region};
use super::{bind, get_option, set_option, socket};

/// A new socket.
pub(crate) fn open() -> io::Result<OwnedFd> {
    socket(libc::AF_XDP, libc::SOCK_RAW, 0)
}

/// Registers memory of frames of `frame_size` bytes (XDP_UMEM_REG). The memory must stay mapped as long as
/// the socket and those that share it are open; the kernel keeps its pages in any case.
pub(crate) fn register_memory(socket: &impl AsRawFd, memory: &Region, frame_size: u32) -> io::Result<()> {
    // The first form of the structure, which all kernels know.
    let request = libc::xdp_umem_reg_v1 {
        addr: memory.base().as_ptr() as u64,
        len: memory.len() as u64,
        chunk_size: frame_size,
        headroom: 0,
    };
    set_option(socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &request)
}

/// One of a socket's four rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RingKind {
    Receive,
    Transmit,
    Fill,
    Completion,
}

impl RingKind {
    const fn option(self) -> c_int {
        match self {
            Self::Receive => libc::XDP_RX_RING,
            Self::Transmit => libc::XDP_TX_RING,
            Self::Fill => libc::XDP_UMEM_FILL_RING,
            Self::Completion => libc::XDP_UMEM_COMPLETION_RING,
        }
    }

    /// Where the ring is found in what the socket offers for mapping.
    const fn page_offset(self) -> u64 {
        match self {
            Self::Receive => libc::XDP_PGOFF_RX_RING as u64,
            Self::Transmit => libc::XDP_PGOFF_TX_RING as u64,
            Self::Fill => libc::XDP_UMEM_PGOFF_FILL_RING,
            Self::Completion => libc::XDP_UMEM_PGOFF_COMPLETION_RING,
        }
    }

    const fn entry_size(self) -> usize {
        match self {
            Self::Receive | Self::Transmit => size_of::<libc::xdp_desc>(),
            Self::Fill | Self::Completion => size_of::<u64>(),
        }
    }
}

/// Where in a ring's mapping its parts lie, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingOffsets {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
    pub(crate) flags: usize,
    pub(crate) entries: usize,
}

/// Makes a ring of `entries`, a power of two.
pub(crate) fn make_ring(socket: &impl AsRawFd, kind: RingKind, entries: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_XDP, kind.option(), &entries)
}

/// Maps a ring that was made.
pub(crate) fn map_ring(
    socket: &impl AsRawFd,
    kind: RingKind,
    entries: u32,
) -> io::Result<(Region, RingOffsets)> {
    const NONE: libc::xdp_ring_offset = libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
    let none = libc::xdp_mmap_offsets { rx: NONE, tx: NONE, fr: NONE, cr: NONE };
    let (offsets, filled) = get_option(socket, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, none)?;
    if filled != size_of_val(&none) {
        // Before Linux 5.4 the structure was shorter and rings had no flags.
        return Err(io::ErrorKind::Unsupported.into());
    }
    let offset = match kind {
        RingKind::Receive => offsets.rx,
        RingKind::Transmit => offsets.tx,
        RingKind::Fill => offsets.fr,
        RingKind::Completion => offsets.cr,
    };
    let offsets = RingOffsets {
        producer: offset.producer as usize,
        consumer: offset.consumer as usize,
        flags: offset.flags as usize,
        entries: offset.desc as usize,
    };
    let len = offsets.entries + entries as usize * kind.entry_size();
    let at = libc::off_t::try_from(kind.page_offset()).map_err(|_| io::ErrorKind::Unsupported)?;
    Ok((region::map_shared(socket, at, len)?, offsets))
}

/// How a socket is bound.
pub(crate) enum Binding<'s> {
    /// The first socket of its memory, with these flags (XDP_COPY, XDP_USE_NEED_WAKEUP).
    First(u16),
    /// One that shares the memory of a bound socket, and its flags.
    Sharing(BorrowedFd<'s>),
}

/// Binds a socket to a queue of an interface.
pub(crate) fn bind_queue(
    socket: &impl AsRawFd,
    interface: u32,
    queue: u32,
    binding: &Binding<'_>,
) -> io::Result<()> {
    let (flags, shared) = match binding {
        Binding::First(flags) => (*flags, 0),
        Binding::Sharing(other) => (libc::XDP_SHARED_UMEM, other.as_raw_fd().cast_unsigned()),
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: shared,
    };
    bind(socket, &address)
}

/// Whether frames of a bound socket go between memory and device without a copy by the kernel.
pub(crate) fn is_zero_copy(socket: &impl AsRawFd) -> io::Result<bool> {
    let none = libc::xdp_options { flags: 0 };
    let (options, _) = get_option(socket, libc::SOL_XDP, libc::XDP_OPTIONS, none)?;
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// Lets one call of [`send`] transmit so many frames in copy mode instead of 32 (Linux 6.18).
pub(crate) fn set_transmit_budget(socket: &impl AsRawFd, frames: u32) -> io::Result<()> {
    /// Not in libc yet.
    const XDP_MAX_TX_SKB_BUDGET: c_int = 9;
    set_option(socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &frames)
}

/// What a socket has lost, as the kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Losses {
    /// Frames that were too long, or found no free memory.
    pub(crate) receive_dropped: u64,
    /// Frames that found the receive ring full.
    pub(crate) receive_ring_full: u64,
    /// Descriptors for transmission that the kernel did not accept.
    pub(crate) transmit_refused: u64,
}

/// Asks for a socket's losses (XDP_STATISTICS).
pub(crate) fn losses(socket: &impl AsRawFd) -> io::Result<Losses> {
    let none = libc::xdp_statistics {
        rx_dropped: 0,
        rx_invalid_descs: 0,
        tx_invalid_descs: 0,
        rx_ring_full: 0,
        rx_fill_ring_empty_descs: 0,
        tx_ring_empty_descs: 0,
    };
    let (counted, _) = get_option(socket, libc::SOL_XDP, libc::XDP_STATISTICS, none)?;
    Ok(Losses {
        receive_dropped: counted.rx_dropped,
        receive_ring_full: counted.rx_ring_full,
        transmit_refused: counted.tx_invalid_descs,
    })
}

/// Makes the kernel look at the transmit ring.
pub(crate) fn send(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: nothing is passed but a descriptor; null and zero are what this call is made with.
    let result = unsafe {
        libc::sendto(socket.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0 as socklen_t)
    };
    // A count of 0 is the answer to success.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the kernel look at the fill ring.
pub(crate) fn wake_receive(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: nothing is passed but a descriptor; null and zero are what this call is made with.
    let result = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The error that waits at the socket, if one does; it is taken away.
pub(crate) fn take_error(socket: &impl AsFd) -> io::Result<Option<io::Error>> {
    let (code, _) = get_option(&socket.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR, 0 as c_int)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}
