//! The three system calls that no safe wrapper offers: binding a packet socket to an interface, asking
//! for VLAN tags beside the frames, and reading how many frames were lost.
#![expect(unsafe_code, reason = "AF_PACKET options are in no safe crate")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// A packet socket that hears everything on one interface of the calling thread's namespace, and nothing
/// from any other: it is opened deaf and bound then.
pub(super) fn packet_socket(interface: u32) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    enable_auxiliary_data(&socket)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: i32::try_from(interface).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` is a whole sockaddr_ll that outlives the call, and `length` is its size.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// What the kernel knows of a frame besides its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Auxiliary {
    /// The tag that was taken out: protocol and control information.
    pub(super) vlan: Option<(u16, u16)>,
    /// The transport checksum is not finished.
    pub(super) unfinished: bool,
}

/// Reads the bytes of a PACKET_AUXDATA control message (`struct tpacket_auxdata`: four words, four
/// halves). `None` if it is shorter.
pub(super) fn read_auxiliary(data: &[u8]) -> Option<Auxiliary> {
    let status = u32::from_ne_bytes(*data.first_chunk()?);
    let half = |at: usize| data.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
    let (tci, tpid) = (half(16)?, half(18)?);
    let tpid = if status & libc::TP_STATUS_VLAN_TPID_VALID == 0 { 0x8100 } else { tpid };
    Some(Auxiliary {
        vlan: (status & libc::TP_STATUS_VLAN_VALID != 0).then_some((tpid, tci)),
        unfinished: status & libc::TP_STATUS_CSUMNOTREADY != 0,
    })
}

/// Frames that the socket lost for want of room since this was last asked.
pub(super) fn lost_frames(socket: &impl AsFd) -> io::Result<u64> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: `statistics` has room for `length` bytes, any of which make a valid tpacket_stats, and both
    // outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(u64::from(statistics.tp_drops)) }
}

fn enable_auxiliary_data(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `on` is an int that outlives the call, and `length` is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_AUXDATA,
            (&raw const on).cast(),
            length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
