//! The system calls, each behind a safe function. The only module with `unsafe`.
//!
//! No policy: what an error means is decided by the callers. Frames are read and written by `std::fs::File`, which needs
//! none of this.

use std::ffi::{c_char, c_int, c_short, c_ulong};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::ptr;
use std::time::Duration;

use libc::Ioctl;

/// Where TAP devices come from.
pub(crate) const TUN: &str = "/dev/net/tun";

/// A descriptor that no device belongs to yet; never waits, and is not handed to programs that this one starts.
pub(crate) fn open_tun() -> io::Result<File> {
    // The standard library opens everything with O_CLOEXEC.
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(TUN)
}

/// Makes an adopted descriptor like one of [`open_tun`].
pub(crate) fn make_alike(queue: &File) -> io::Result<()> {
    // SAFETY: the call touches no memory.
    let flags = check(unsafe { libc::fcntl(queue.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: the call touches no memory.
    check(unsafe { libc::fcntl(queue.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    // SAFETY: the call touches no memory.
    check(unsafe { libc::fcntl(queue.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) }).map(|_| ())
}

/// What the kernel says of the device that a queue belongs to (TUNGETIFF).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The name, which may have changed.
    pub(crate) name: String,
    /// IFF_TAP, IFF_VNET_HDR and the like.
    pub(crate) flags: c_int,
}

/// Makes the device or opens it, and attaches the queue to it (TUNSETIFF). Answers the name, which differs from `name` if
/// that has a `%d` in it.
pub(crate) fn attach(queue: &File, name: &str, flags: c_int) -> io::Result<String> {
    let mut request = Request::new(name)?;
    request.set_flags(flags);
    request.call(queue, libc::TUNSETIFF)?;
    Ok(request.name())
}

/// The device that a queue belongs to.
pub(crate) fn identity(queue: &File) -> io::Result<Identity> {
    let mut request = Request::new("")?;
    request.call(queue, libc::TUNGETIFF)?;
    Ok(Identity { name: request.name(), flags: request.flags() })
}

/// What the kernel may leave undone in frames that it hands to us, TUN_F_*.
pub(crate) fn set_offloads(queue: &File, offloads: u32) -> io::Result<()> {
    call_with_value(queue, libc::TUNSETOFFLOAD, c_ulong::from(offloads))
}

/// Whether the device outlives its last descriptor.
pub(crate) fn set_persistent(queue: &File, persistent: bool) -> io::Result<()> {
    call_with_value(queue, libc::TUNSETPERSIST, c_ulong::from(persistent))
}

/// The user who may open the device without further rights.
pub(crate) fn set_owner(queue: &File, user: u32) -> io::Result<()> {
    call_with_value(queue, libc::TUNSETOWNER, c_ulong::from(user))
}

/// Bytes of the offload header in front of each frame.
pub(crate) fn header_size(queue: &File) -> io::Result<c_int> {
    call_with_number(queue, libc::TUNGETVNETHDRSZ, 0)
}

pub(crate) fn set_header_size(queue: &File, size: c_int) -> io::Result<()> {
    call_with_number(queue, libc::TUNSETVNETHDRSZ, size).map(|_| ())
}

/// Offload headers in the byte order of the host, whatever somebody chose for the device before.
pub(crate) fn set_host_byte_order(queue: &File) -> io::Result<()> {
    call_with_number(queue, libc::TUNSETVNETLE, 0).map(|_| ())
}

/// The Ethernet address of the kernel's end, which a queue tells whatever namespace the device is in.
pub(crate) fn kernel_mac(queue: &File) -> io::Result<[u8; 6]> {
    let mut request = Request::new("")?;
    request.call(queue, libc::SIOCGIFHWADDR)?;
    Ok(request.hardware_address())
}

/// Sets an interface's flags, IFF_UP among them.
pub(crate) fn set_flags(socket: &UnixDatagram, name: &str, flags: c_int) -> io::Result<()> {
    let mut request = Request::new(name)?;
    request.set_flags(flags);
    request.call(socket, libc::SIOCSIFFLAGS as Ioctl)
}

/// Sets an interface's MTU.
pub(crate) fn set_mtu(socket: &UnixDatagram, name: &str, mtu: c_int) -> io::Result<()> {
    let mut request = Request::new(name)?;
    request.0.ifr_ifru.ifru_mtu = mtu;
    request.call(socket, libc::SIOCSIFMTU as Ioctl)
}

/// Sets how many frames wait for a TAP's reader.
pub(crate) fn set_queue_length(socket: &UnixDatagram, name: &str, frames: c_int) -> io::Result<()> {
    let mut request = Request::new(name)?;
    // `ifr_qlen` is an int at the same place.
    request.0.ifr_ifru.ifru_mtu = frames;
    request.call(socket, SIOCSIFTXQLEN)
}

/// Makes the interface of that number a port of a bridge, or takes it out.
pub(crate) fn set_port(
    socket: &UnixDatagram,
    bridge: &str,
    interface: c_int,
    joined: bool,
) -> io::Result<()> {
    let mut request = Request::new(bridge)?;
    request.0.ifr_ifru.ifru_ifindex = interface;
    request.call(socket, if joined { SIOCBRADDIF } else { SIOCBRDELIF })
}

/// The numbers of the interfaces that are ports of a bridge.
pub(crate) fn ports(socket: &UnixDatagram, bridge: &str) -> io::Result<Vec<c_int>> {
    let mut numbers = vec![0; MOST_BRIDGE_PORTS];
    let address = numbers.as_mut_ptr().expose_provenance() as c_ulong;
    let mut arguments: [c_ulong; 4] = [BRCTL_GET_PORT_LIST, address, MOST_BRIDGE_PORTS as c_ulong, 0];
    let mut request = Request::new(bridge)?;
    request.0.ifr_ifru.ifru_data = arguments.as_mut_ptr().cast::<c_char>();
    request.call(socket, SIOCDEVPRIVATE)?;
    numbers.retain(|number| *number != 0);
    Ok(numbers)
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

/// An entry for [`poll`]: is there something to read?
pub(crate) fn poll_entry(descriptor: RawFd) -> libc::pollfd {
    libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 }
}

/// What interface requests are made of.
struct Request(libc::ifreq);

impl Request {
    fn new(name: &str) -> io::Result<Self> {
        // SAFETY: zero is valid for every member of this structure of numbers.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() || name.contains('\0') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = c_char::from_ne_bytes([from]);
        }
        Ok(Self(request))
    }

    fn name(&self) -> String {
        let bytes = self.0.ifr_name.iter().map(|byte| byte.to_ne_bytes()[0]);
        String::from_utf8_lossy(&bytes.take_while(|byte| *byte != 0).collect::<Vec<_>>()).into_owned()
    }

    fn set_flags(&mut self, flags: c_int) {
        // The kernel's field has 16 bits; IFF_VNET_HDR and all else that is used here lie within.
        self.0.ifr_ifru.ifru_flags = flags as c_short;
    }

    fn flags(&self) -> c_int {
        // SAFETY: the structure was zeroed when it was made, and all bit patterns of the member are valid.
        c_int::from(unsafe { self.0.ifr_ifru.ifru_flags } as u16)
    }

    fn hardware_address(&self) -> [u8; 6] {
        // SAFETY: the structure was zeroed when it was made, and all bit patterns of the member are valid.
        let address = unsafe { self.0.ifr_ifru.ifru_hwaddr };
        let mut bytes = [0; 6];
        for (byte, &from) in bytes.iter_mut().zip(&address.sa_data) {
            [*byte] = from.to_ne_bytes();
        }
        bytes
    }

    /// `number` is that of a call that takes a whole `ifreq`.
    fn call(&mut self, descriptor: &impl AsRawFd, number: Ioctl) -> io::Result<()> {
        // SAFETY: the calls made in this module read the name, which is terminated, and read and write within the
        // structure; where it holds an address, that is of memory that lives through the call and is as long as it says.
        check(unsafe { libc::ioctl(descriptor.as_raw_fd(), number, &raw mut self.0) }).map(|_| ())
    }
}

/// `number` is that of a call that takes its argument by value.
fn call_with_value(queue: &File, number: Ioctl, value: c_ulong) -> io::Result<()> {
    // SAFETY: the calls made in this module take a number and touch no memory.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), number, value) }).map(|_| ())
}

/// `number` is that of a call that takes the address of an int, which it may change. Answers what it is then.
fn call_with_number(queue: &File, number: Ioctl, mut value: c_int) -> io::Result<c_int> {
    // SAFETY: the calls made in this module read or write one int, which lives through the call.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), number, &raw mut value) })?;
    Ok(value)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

// Not in the libc crate for every Linux; values from linux/sockios.h and linux/if_bridge.h.
const SIOCSIFTXQLEN: Ioctl = 0x8943;
const SIOCBRADDIF: Ioctl = 0x89a2;
const SIOCBRDELIF: Ioctl = 0x89a3;
const SIOCDEVPRIVATE: Ioctl = 0x89f0;
const BRCTL_GET_PORT_LIST: c_ulong = 7;
/// The kernel numbers no more (BR_MAX_PORTS).
const MOST_BRIDGE_PORTS: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::OwnedFd;

    #[test]
    fn a_request_carries_names_and_flags_and_nothing_beyond() {
        let mut request = Request::new("fifteen-bytes-x").unwrap();
        assert_eq!(request.name(), "fifteen-bytes-x");
        request.set_flags(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL);
        // The highest bit is no sign.
        assert_eq!(request.flags(), 0xd002);
        assert_eq!(request.name(), "fifteen-bytes-x");
        assert!(Request::new("sixteen-bytes-xx").is_err() && Request::new("a\0b").is_err());
        // A name without an end, as no kernel answers, is read no further than its field.
        request.0.ifr_name = [b'x' as c_char; libc::IFNAMSIZ];
        assert_eq!(request.name(), "x".repeat(16));
    }

    #[test]
    fn calls_on_what_is_no_tap_fail_and_touch_nothing() {
        let file = File::open("/dev/null").unwrap();
        assert_eq!(identity(&file).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert!(attach(&file, "lo", libc::IFF_TAP).is_err());
        assert!(header_size(&file).is_err() && set_header_size(&file, 10).is_err());
        assert!(set_offloads(&file, 0).is_err() && set_host_byte_order(&file).is_err());
        assert!(kernel_mac(&file).is_err());
        let socket = UnixDatagram::unbound().unwrap();
        assert!(ports(&socket, "lo").is_err() && set_port(&socket, "lo", 1, true).is_err());
        assert!(set_mtu(&socket, "no-such-if", 1500).is_err());
    }

    #[test]
    fn waiting_ends_with_something_to_read_or_with_its_time() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut entries = [poll_entry(reader.as_raw_fd())];
        poll(&mut entries, Some(Duration::from_millis(1))).unwrap();
        assert_eq!(entries[0].revents, 0);
        writer.write_all(&[1]).unwrap();
        poll(&mut entries, None).unwrap();
        assert_eq!(entries[0].revents, libc::POLLIN);
    }

    #[test]
    fn an_adopted_descriptor_never_waits() {
        let (reader, _writer) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(reader));
        make_alike(&file).unwrap();
        let error = io::Read::read(&mut &file, &mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
