//! Opens, makes and adopts devices, and puts each into the state that it is to have, whatever it had before.
//!
//! A device that was kept remembers what its last program chose: offloads, the size and byte order of headers. All of it is set
//! anew, and what came in meanwhile is thrown away, since nobody can tell which rules it was made by.

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use lvs_netdev::{Device, check_name, offload};

use crate::arena::Shape;
use crate::config::{QUEUE_FRAMES, Source, TapConfig, TapPort};
use crate::error::OpenError;
use crate::port::Opened;
use crate::sys;

/// The queues of each device of a configuration, `workers` each.
pub(crate) fn devices(config: TapConfig, workers: NonZeroU16) -> Result<Vec<Vec<Opened>>, OpenError> {
    check(&config)?;
    let mut devices: Vec<Vec<Opened>> = Vec::new();
    for port in config.ports {
        let queues = device(port, workers.get())?;
        let name = queues.first().map(|queue| queue.name.clone()).unwrap_or_default();
        if devices.iter().flatten().any(|other| other.name == name) {
            return Err(OpenError::DuplicateDevice(name));
        }
        devices.push(queues);
    }
    Ok(devices)
}

fn check(config: &TapConfig) -> Result<(), OpenError> {
    let count = config.ports.len();
    if count == 0 {
        return Err(OpenError::NoPort);
    }
    if count > usize::from(u16::MAX) {
        return Err(OpenError::TooManyPorts(count));
    }
    let mut names: Vec<&str> = Vec::new();
    for (at, port) in config.ports.iter().enumerate() {
        if !QUEUE_FRAMES.contains(&port.queue_frames) {
            return Err(OpenError::QueueFrames(port.queue_frames));
        }
        if let Some(to) = port.pass_to
            && (usize::from(to.0) >= count || usize::from(to.0) == at)
        {
            return Err(OpenError::PassTo { port: to, last: (count - 1) as u16 });
        }
        if let Source::Name(name) = &port.source {
            check_name(name)?;
            // A pattern stands for another name each time.
            if !name.contains('%') && names.contains(&name.as_str()) {
                return Err(OpenError::DuplicateDevice(name.clone()));
            }
            names.push(name);
        }
    }
    Ok(())
}

/// All queues of one device, configured.
fn device(port: TapPort, workers: u16) -> Result<Vec<Opened>, OpenError> {
    let TapPort { source, offloads, keep, owner, queue_frames, pass_to } = port;
    let (name, queues, made) = match source {
        Source::Name(name) => attach(&name, offloads, workers)?,
        Source::Descriptors(descriptors) => adopt(descriptors, workers)?,
    };
    let kernel = |operation| {
        let name = name.clone();
        move |source| OpenError::Kernel { name, operation, source }
    };
    let Some(first) = queues.first() else {
        return Err(OpenError::Descriptors { given: 0, workers });
    };
    let header = configure(first, &name, offloads, made.is_some())?;
    if let Some(owner) = owner {
        sys::set_owner(first, owner).map_err(kernel("TUNSETOWNER"))?;
    }
    if keep {
        sys::set_persistent(first, true).map_err(kernel("TUNSETPERSIST"))?;
    }
    if made == Some(true) {
        let socket = UnixDatagram::unbound().map_err(kernel("opening a socket"))?;
        sys::set_queue_length(&socket, &name, queue_frames as c_int).map_err(kernel("SIOCSIFTXQLEN"))?;
    }
    queues.iter().for_each(drain);
    let found = || Device::find(&name).ok().filter(|device| is_of(device, first));
    let shape = Shape { header, longest: longest(header, found().and_then(|device| device.mtu().ok())) };
    let devices: Vec<_> = queues.iter().map(|_| found()).collect();
    let opened = queues.into_iter().zip(devices).enumerate().map(|(at, (queue, device))| Opened {
        name: name.clone(),
        queue,
        shape,
        device,
        pass_to,
        first: at == 0,
    });
    Ok(opened.collect())
}

/// Name, queues, and whether the device was made; that is not known of adopted ones.
type Attached = (String, Vec<File>, Option<bool>);

/// Opens the device of that name, or makes it.
fn attach(name: &str, offloads: bool, workers: u16) -> Result<Attached, OpenError> {
    let there = Device::find(name).is_ok();
    let plain = libc::IFF_TAP | libc::IFF_NO_PI | if offloads { libc::IFF_VNET_HDR } else { 0 };
    let several = plain | libc::IFF_MULTI_QUEUE;
    let wanted = if workers > 1 { several } else { plain };
    let refused = |source| attach_failed(name, workers, source);
    let mut queues = vec![open_tun()?];
    let (made, flags) = match sys::attach(&queues[0], name, wanted) {
        Ok(made) => (made, wanted),
        // The device has the other kind of queues, or is no TAP device.
        Err(error) if there && error.raw_os_error() == Some(libc::EINVAL) => {
            let other = wanted ^ libc::IFF_MULTI_QUEUE;
            let made = sys::attach(&queues[0], name, other).map_err(refused)?;
            if workers > 1 {
                return Err(OpenError::SingleQueue { name: name.to_owned(), queues: workers });
            }
            (made, other)
        }
        Err(error) => return Err(refused(error)),
    };
    for _ in 1..workers {
        let queue = open_tun()?;
        sys::attach(&queue, &made, flags).map_err(refused)?;
        queues.push(queue);
    }
    Ok((made, queues, Some(!there)))
}

fn open_tun() -> Result<File, OpenError> {
    sys::open_tun().map_err(|source| match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => OpenError::TunDenied,
        _ => OpenError::NoTun { source },
    })
}

fn attach_failed(name: &str, queues: u16, source: io::Error) -> OpenError {
    let name = name.to_owned();
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => OpenError::MissingRights { name, queues },
        Some(libc::EBUSY) => OpenError::Busy { name },
        Some(libc::EINVAL) => OpenError::NotTap { name },
        Some(libc::E2BIG) => OpenError::TooManyQueues { name, queues },
        _ => OpenError::Kernel { name, operation: "TUNSETIFF", source },
    }
}

/// Takes descriptors over that somebody else has opened.
fn adopt(descriptors: Vec<OwnedFd>, workers: u16) -> Result<Attached, OpenError> {
    if descriptors.len() != usize::from(workers) {
        return Err(OpenError::Descriptors { given: descriptors.len(), workers });
    }
    let none = |reason: String| OpenError::NotTapDescriptor { reason };
    let queues: Vec<File> = descriptors.into_iter().map(File::from).collect();
    let mut name = String::new();
    for queue in &queues {
        let identity = sys::identity(queue).map_err(|error| match error.raw_os_error() {
            Some(libc::EBADFD) => none("it is attached to no device".to_owned()),
            _ => none(format!("TUNGETIFF: {error}")),
        })?;
        if identity.flags & libc::IFF_TAP == 0 {
            return Err(none(format!("{} is a TUN device", identity.name)));
        }
        // Whether IFF_NO_PI is set cannot be asked: the kernel says with the same bit that there is no filter.
        if !name.is_empty() && name != identity.name {
            return Err(none(format!("one belongs to {name}, another to {}", identity.name)));
        }
        name = identity.name;
        sys::make_alike(queue).map_err(|error| none(format!("fcntl: {error}")))?;
    }
    Ok((name, queues, None))
}

/// Sets what a device remembers. Answers how long the headers are.
fn configure(queue: &File, name: &str, offloads: bool, ours: bool) -> Result<usize, OpenError> {
    let kernel = |operation| move |source| OpenError::Kernel { name: name.to_owned(), operation, source };
    let flags = sys::identity(queue).map_err(kernel("TUNGETIFF"))?.flags;
    if flags & libc::IFF_VNET_HDR == 0 {
        sys::set_offloads(queue, 0).map_err(kernel("TUNSETOFFLOAD"))?;
        return Ok(0);
    }
    if ours {
        sys::set_header_size(queue, offload::HEADER as c_int).map_err(kernel("TUNSETVNETHDRSZ"))?;
    }
    sys::set_host_byte_order(queue).map_err(kernel("TUNSETVNETLE"))?;
    // Whoever handed the descriptor in has chosen the size, and may have others with it.
    let size = sys::header_size(queue).map_err(kernel("TUNGETVNETHDRSZ"))?;
    let header = usize::try_from(size).ok().filter(|size| HEADER_SIZES.contains(size));
    let Some(header) = header else {
        return Err(OpenError::HeaderSize { name: name.to_owned(), size });
    };
    if !offloads {
        sys::set_offloads(queue, 0).map_err(kernel("TUNSETOFFLOAD"))?;
    } else if sys::set_offloads(queue, OFFLOADS | libc::TUN_F_USO4 | libc::TUN_F_USO6).is_err() {
        // Before Linux 6.2 there was no segmentation of UDP.
        sys::set_offloads(queue, OFFLOADS).map_err(kernel("TUNSETOFFLOAD"))?;
    }
    Ok(header)
}

/// Throws away what is there to be read, but does not do so for ever.
fn drain(queue: &File) {
    let mut frame = [0; 1];
    let mut queue = queue;
    for _ in 0..*QUEUE_FRAMES.end() {
        if queue.read(&mut frame).is_err() {
            break;
        }
    }
}

/// Whether the interface is the one that the queue belongs to, and not one of the same name in another namespace.
fn is_of(device: &Device, queue: &File) -> bool {
    match (device.mac(), sys::kernel_mac(queue)) {
        (Ok(device), Ok(queue)) => device.0 == queue,
        _ => false,
    }
}

/// The longest frame that can come: with offloads one of 64 KiB, else as the MTU has it (and not less than usual: it may be
/// raised again).
fn longest(header: usize, mtu: Option<u32>) -> usize {
    match mtu {
        Some(mtu) if header == 0 => (mtu as usize).max(1500) + FRONT,
        _ => usize::from(u16::MAX) + FRONT,
    }
}

/// Bytes of an Ethernet header and two VLAN tags.
const FRONT: usize = 14 + 2 * 4;

/// What the kernel may leave to us at any rate.
const OFFLOADS: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;

/// Sizes of headers: without and with the number of buffers, with a hash, with what tunnels need.
const HEADER_SIZES: std::ops::RangeInclusive<usize> = offload::HEADER..=offload::LONGEST_HEADER;

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::io::PortId;

    fn refused(config: TapConfig) -> OpenError {
        devices(config, NonZeroU16::MIN).err().expect("this must not open")
    }

    fn port(edit: impl FnOnce(&mut TapPort)) -> TapConfig {
        let mut port = TapPort::new("tap-test");
        edit(&mut port);
        TapConfig::of([port, TapPort::new("tap-other")])
    }

    #[test]
    fn what_is_out_of_range_is_refused_before_the_kernel_is_asked() {
        assert!(matches!(refused(TapConfig::of([])), OpenError::NoPort));
        let names = (0..=u16::MAX).map(|i| format!("t{i}"));
        assert!(matches!(refused(TapConfig::new(names)), OpenError::TooManyPorts(65_536)));
        assert!(
            matches!(refused(TapConfig::new(["a", "a"])), OpenError::DuplicateDevice(name) if name == "a")
        );
        assert!(matches!(refused(port(|port| port.queue_frames = 0)), OpenError::QueueFrames(0)));
        for to in [0, 2] {
            let error = refused(port(|port| port.pass_to = Some(PortId(to))));
            assert!(matches!(error, OpenError::PassTo { last: 1, .. }), "{error:?}");
        }
        let long = refused(TapConfig::new(["sixteen-bytes-xx"]));
        assert!(long.to_string().contains("16 bytes; the kernel allows 15"), "{long}");
        assert!(matches!(refused(TapConfig::new(["a/b"])), OpenError::Device(_)));
    }

    #[test]
    fn a_descriptor_of_something_else_is_refused() {
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        let error = refused(TapConfig::of([TapPort::adopt(null())]));
        assert!(matches!(&error, OpenError::NotTapDescriptor { .. }), "{error:?}");
        let error = refused(TapConfig::of([TapPort::adopt_queues([null(), null()])]));
        assert!(matches!(error, OpenError::Descriptors { given: 2, workers: 1 }), "{error:?}");
    }

    #[test]
    fn without_offloads_buffers_are_as_long_as_frames_can_be() {
        assert_eq!(longest(0, Some(1500)), 1522);
        assert_eq!(longest(0, Some(576)), 1522);
        assert_eq!(longest(0, Some(9000)), 9022);
        assert_eq!(longest(10, Some(1500)), 65_557);
        assert_eq!(longest(0, None), 65_557);
    }
}
