//! What an interface says of itself: ioctl requests by name. `socket` is any socket in its network namespace. The only
//! module with `unsafe`.
//!
//! No policy: what an error means is decided by the callers.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;

use libc::{Ioctl, c_int};

/// What can be asked about an interface's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HardwareAddress {
    /// ARPHRD number.
    pub(crate) kind: u16,
    /// The first six bytes of the address.
    pub(crate) bytes: [u8; 6],
}

/// The interface's hardware address (SIOCGIFHWADDR).
pub(crate) fn hardware_address(socket: &impl AsRawFd, name: &str) -> io::Result<HardwareAddress> {
    let request = ask(socket, name, libc::SIOCGIFHWADDR)?;
    // SAFETY: SIOCGIFHWADDR has filled this member; all bit patterns of it are valid.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let mut bytes = [0; 6];
    for (byte, &from) in bytes.iter_mut().zip(&address.sa_data) {
        [*byte] = from.to_ne_bytes();
    }
    Ok(HardwareAddress { kind: address.sa_family, bytes })
}

/// The interface's MTU (SIOCGIFMTU).
pub(crate) fn mtu(socket: &impl AsRawFd, name: &str) -> io::Result<u32> {
    let request = ask(socket, name, libc::SIOCGIFMTU)?;
    // SAFETY: SIOCGIFMTU has filled this member; all bit patterns of it are valid.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    Ok(mtu.unsigned_abs())
}

/// The interface's number (SIOCGIFINDEX).
pub(crate) fn index(socket: &impl AsRawFd, name: &str) -> io::Result<u32> {
    let request = ask(socket, name, libc::SIOCGIFINDEX)?;
    // SAFETY: SIOCGIFINDEX has filled this member; all bit patterns of it are valid.
    let index = unsafe { request.ifr_ifru.ifru_ifindex };
    Ok(index.unsigned_abs())
}

/// The interface's flags, IFF_* (SIOCGIFFLAGS).
pub(crate) fn flags(socket: &impl AsRawFd, name: &str) -> io::Result<c_int> {
    let request = ask(socket, name, libc::SIOCGIFFLAGS)?;
    // SAFETY: SIOCGIFFLAGS has filled this member; all bit patterns of it are valid.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(c_int::from(flags))
}

/// Numbers of include/uapi/linux/ethtool.h, which libc lacks.
const SIOCETHTOOL: Ioctl = 0x8946;
const ETHTOOL_GET_FLAGS: u32 = 0x25;
const ETHTOOL_GET_GRO: u32 = 0x2b;
const ETHTOOL_GET_CHANNELS: u32 = 0x3c;

/// Numbers of queues (`struct ethtool_channels`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Channels {
    /// Queues that only receive.
    pub(crate) receive: u32,
    pub(crate) most_receive: u32,
    /// Queues that only send.
    pub(crate) send: u32,
    pub(crate) most_send: u32,
    /// Queues that receive and send.
    pub(crate) combined: u32,
    pub(crate) most_combined: u32,
}

/// The interface's queues (ETHTOOL_GCHANNELS).
pub(crate) fn channels(socket: &impl AsRawFd, name: &str) -> io::Result<Channels> {
    // Command; the most receive, transmit, other, combined; the same as they are.
    let mut words = [0u32; 9];
    words[0] = ETHTOOL_GET_CHANNELS;
    ethtool(socket, name, &mut words)?;
    let [_, most_receive, most_send, _, most_combined, receive, send, _, combined] = words;
    Ok(Channels { receive, most_receive, send, most_send, combined, most_combined })
}

/// The offloads of ETHTOOL_GFLAGS, as bits.
pub(crate) fn offload_flags(socket: &impl AsRawFd, name: &str) -> io::Result<u32> {
    value(socket, name, ETHTOOL_GET_FLAGS)
}

/// Whether the kernel merges received segments (ETHTOOL_GGRO).
pub(crate) fn gro(socket: &impl AsRawFd, name: &str) -> io::Result<bool> {
    value(socket, name, ETHTOOL_GET_GRO).map(|value| value != 0)
}

/// A request answered by one number (`struct ethtool_value`: command, data).
fn value(socket: &impl AsRawFd, name: &str, command: u32) -> io::Result<u32> {
    let mut words = [command, 0];
    ethtool(socket, name, &mut words).map(|()| words[1])
}

/// An ethtool request whose structure consists of words and ends with the last of `words`.
fn ethtool(socket: &impl AsRawFd, name: &str, words: &mut [u32]) -> io::Result<()> {
    let mut request = named(name)?;
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the commands of this module fill as many words as their callers pass; those live through the
    // call. The name is terminated.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) }).map(|_| ())
}

fn ask(socket: &impl AsRawFd, name: &str, call: Ioctl) -> io::Result<libc::ifreq> {
    let mut request = named(name)?;
    // SAFETY: the calls made here read the name, which is terminated, and write within the structure.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), call, &raw mut request) })?;
    Ok(request)
}

fn named(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: zero is valid for every member of this structure of numbers and a pointer.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// The names of all interfaces of this network namespace. Not from sysfs, which shows the interfaces of the
/// namespace that mounted it.
pub(crate) fn interface_names() -> io::Result<Vec<String>> {
    // SAFETY: the call takes nothing and answers null or a list.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut names = Vec::new();
    let mut entry = list;
    loop {
        // SAFETY: the list ends with an entry without a name, and no earlier entry was that one.
        let interface = unsafe { *entry };
        if interface.if_name.is_null() {
            break;
        }
        // SAFETY: a name in the list is a terminated string that lives until the list is freed.
        let name = unsafe { CStr::from_ptr(interface.if_name) };
        names.push(name.to_string_lossy().into_owned());
        // SAFETY: this was not the last entry.
        entry = unsafe { entry.add(1) };
    }
    // SAFETY: the list came from `if_nameindex` and is not used again.
    unsafe { libc::if_freenameindex(list) };
    Ok(names)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
