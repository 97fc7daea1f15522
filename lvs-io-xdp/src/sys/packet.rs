//! The packet socket that hears what the kernel keeps: a filter, an interface, one frame a call.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use libc::c_int;
use lvs_core::io::VlanTag;

use super::{bind, set_option, socket};

/// An instruction of a socket filter (classic BPF).
pub(crate) type FilterInstruction = libc::sock_filter;

/// A packet socket that hears nothing until it is bound.
pub(crate) fn open() -> io::Result<OwnedFd> {
    socket(libc::AF_PACKET, libc::SOCK_RAW, 0)
}

/// Lets only those frames in that `filter` accepts.
pub(crate) fn set_filter(socket: &impl AsRawFd, filter: &[FilterInstruction]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel only reads it.
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Binds to an interface: all protocols, frames that come in.
pub(crate) fn bind_interface(socket: &impl AsRawFd, interface: u32) -> io::Result<()> {
    let index = c_int::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?;
    set_option(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1)?;
    set_option(socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1)?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    bind(socket, &address)
}

/// Asks the interface to let frames to a group address in.
pub(crate) fn add_group(socket: &impl AsRawFd, interface: u32, group: [u8; 6]) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&group);
    let request = libc::packet_mreq {
        mr_ifindex: c_int::try_from(interface).map_err(|_| io::ErrorKind::InvalidInput)?,
        mr_type: libc::PACKET_MR_MULTICAST as u16,
        mr_alen: 6,
        mr_address: address,
    };
    set_option(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// A frame as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Its length; more than the buffer's if it did not fit.
    pub(crate) len: usize,
    /// The outer tag, which the kernel has taken out of the bytes.
    pub(crate) vlan: Option<VlanTag>,
}

/// Bytes of ancillary data: one `tpacket_auxdata` behind its header, and some to spare.
const ANCILLARY: usize = 64;

/// Memory for ancillary data, aligned for its headers.
#[repr(C, align(8))]
struct Ancillary([u8; ANCILLARY]);

/// Takes the next frame into `buffer`. An error of kind `WouldBlock` says that there is none.
pub(crate) fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<Heard> {
    let mut ancillary = Ancillary([0; ANCILLARY]);
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: null pointers and zero lengths are what an empty message consists of.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut ancillary).cast();
    // The field's type differs between C libraries.
    message.msg_controllen = ANCILLARY as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: the message describes memory of the lengths given, which lives through the call.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Heard { len: len.unsigned_abs(), vlan: vlan_of(&message) })
}

/// The tag in a message's ancillary data.
fn vlan_of(message: &libc::msghdr) -> Option<VlanTag> {
    // SAFETY: the kernel has filled the ancillary data and its length.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    if header.is_null() {
        return None;
    }
    // SAFETY: not null, so it points into the ancillary data, which is aligned.
    let found = unsafe { header.read() };
    if (found.cmsg_level, found.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: the data lie behind a header that exists.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: of this level and type they are this structure, for which there is room behind the header.
    let data: libc::tpacket_auxdata = unsafe { ptr::read_unaligned(data.cast()) };
    (data.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(VlanTag {
        tpid: if data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { data.tp_vlan_tpid } else { 0x8100 },
        tci: data.tp_vlan_tci,
    })
}
