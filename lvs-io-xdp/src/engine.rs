//! Everything that is open while frames flow: programs, sockets, memory. Made in one piece, and made anew in
//! one piece when an interface was replaced: all sockets share one memory.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::addresses::Addresses;
use crate::config::{Attachment, XdpConfig};
use crate::error::OpenError;
use crate::ledger::Ledger;
use crate::mode::Mode;
use crate::port::{AROUND_PACKET, Port};
use crate::program::{XDP_PASS, redirect_program};
use crate::queue::{Copying, Queue, Seat, Sizes};
use crate::sys::bpf::{self, MapDescription, MapKind, Place};
use crate::sys::{region, xsk};
use crate::umem::{HEADROOM, Umem};
use crate::warning::Warning;
use crate::{heard, rights, sys};

/// What is open. The order of the fields is the order in which they are closed: no program redirects to a
/// socket that is gone, no socket outlives its memory.
pub(crate) struct Engine {
    pub(crate) gates: Vec<Gate>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) ledger: Ledger,
    pub(crate) umem: Umem,
}

/// What is open for one port.
pub(crate) struct Gate {
    /// Keeps the program attached, as long as this process lives at the most.
    _link: OwnedFd,
    _sockets: OwnedFd,
    /// The packet socket that hears what stays with the kernel.
    pub(crate) heard: OwnedFd,
    /// Its queues among those of the engine.
    pub(crate) queues: Range<usize>,
    pub(crate) mode: Mode,
}

/// A program attached to an interface, before there are sockets.
struct Attached {
    link: OwnedFd,
    sockets: OwnedFd,
    place: Place,
    queues: u32,
}

impl Engine {
    /// Attaches the programs and opens the sockets of all ports.
    pub(crate) fn open(
        config: &XdpConfig,
        ports: &[Port],
        addresses: &Addresses,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, OpenError> {
        let frame_size = frame_size(ports)?;
        let mut attached = Vec::new();
        for port in ports {
            attached.push(attach(port, config.attachment, addresses, warnings)?);
        }
        let sizes = Sizes { receive: config.receive_entries, transmit: config.transmit_entries };
        let count: usize = attached.iter().map(|one| one.queues as usize).sum();
        if count > MOST_QUEUES {
            return Err(OpenError::TooManyQueues(count));
        }
        let bytes = count * sizes.frames() as usize * frame_size;
        let first = &ports[0].name;
        let memory = region::map_fresh(bytes).map_err(kernel(first, "taking memory for frames"))?;
        let umem = Umem::new(memory, frame_size);
        let queues = open_queues(ports, &attached, &umem, sizes)?;
        let mut gates = Vec::new();
        let mut start = 0;
        for (port, one) in ports.iter().zip(attached) {
            let mine = start..start + one.queues as usize;
            start = mine.end;
            gates.push(gate(port, one, mine, &queues)?);
        }
        let ledger = Ledger::new(umem.count());
        let mut engine = Self { gates, queues, ledger, umem };
        for queue in &mut engine.queues {
            queue.refill(&engine.umem, &mut engine.ledger);
        }
        Ok(engine)
    }
}

/// The most sockets of one memory. Far more than machines have queues.
const MOST_QUEUES: usize = 4096;

/// The frame size that the largest MTU needs.
fn frame_size(ports: &[Port]) -> Result<usize, OpenError> {
    const LARGEST: usize = 4096;
    for port in ports {
        if port.longest > LARGEST - HEADROOM {
            return Err(OpenError::MtuTooLarge {
                name: port.name.clone(),
                mtu: (port.longest - AROUND_PACKET) as u32,
                most: (LARGEST - HEADROOM - AROUND_PACKET) as u32,
            });
        }
    }
    let small = ports.iter().all(|port| port.longest <= LARGEST / 2 - HEADROOM);
    Ok(if small { LARGEST / 2 } else { LARGEST })
}

/// Loads the program and attaches it.
fn attach(
    port: &Port,
    attachment: Attachment,
    addresses: &Addresses,
    warnings: &mut Vec<Warning>,
) -> Result<Attached, OpenError> {
    let name = port.name.as_str();
    let queues = port.device().queues()?.map_or(1, |queues| queues.used);
    let description = MapDescription {
        kind: MapKind::Sockets,
        key_size: 4,
        value_size: 4,
        max_entries: queues,
        name: "lvs_sockets",
    };
    let sockets = bpf::create_map(&description).map_err(|error| refused(name, "a map of sockets", error))?;
    let instructions = redirect_program(addresses.maps(&sockets), XDP_PASS);
    let program = bpf::load_program(&instructions, "lvs_redirect")
        .map_err(|error| refused(name, "loading the redirect program", error))?;
    let place = |place| bpf::attach(&program, port.link.index(), place);
    let (link, place) = match attachment {
        Attachment::Generic => (place(Place::Generic).map_err(|error| in_use(name, error))?, Place::Generic),
        Attachment::Native => match place(Place::Driver) {
            Ok(link) => (link, Place::Driver),
            Err(source) if is_taken(&source) => return Err(in_use(name, source)),
            Err(source) => return Err(OpenError::NotNative { name: name.to_owned(), source }),
        },
        Attachment::NativeOrGeneric => match place(Place::Driver) {
            Ok(link) => (link, Place::Driver),
            Err(source) if is_taken(&source) => return Err(in_use(name, source)),
            Err(source) => {
                let link = place(Place::Generic).map_err(|error| in_use(name, error))?;
                warnings.push(Warning::Generic { interface: name.to_owned(), reason: reason(&source) });
                (link, Place::Generic)
            }
        },
    };
    warn_of_offloads(port, place, warnings);
    Ok(Attached { link, sockets, place, queues })
}

/// Why a driver cannot, in words that lead somewhere.
fn reason(source: &io::Error) -> String {
    match source.raw_os_error() {
        Some(libc::ERANGE) => {
            "the MTU of this interface, or of the other end of a veth pair, is too large for it".to_owned()
        }
        Some(libc::EOPNOTSUPP) => "it does not support them".to_owned(),
        _ => source.to_string(),
    }
}

fn warn_of_offloads(port: &Port, place: Place, warnings: &mut Vec<Warning>) {
    let offloads = port.device().receive_offloads();
    let interface = || port.name.clone();
    if offloads.lro {
        warnings.push(Warning::Lro { interface: interface() });
    }
    if offloads.gro && place == Place::Generic {
        warnings.push(Warning::Gro { interface: interface() });
    }
    if offloads.vlan {
        warnings.push(Warning::VlanOffload { interface: interface() });
    }
}

/// Opens all sockets over one memory: without copies by the kernel if the drivers can.
fn open_queues(
    ports: &[Port],
    attached: &[Attached],
    umem: &Umem,
    sizes: Sizes,
) -> Result<Vec<Queue>, OpenError> {
    if attached.iter().any(|one| one.place == Place::Generic) {
        return try_queues(ports, attached, umem, sizes, Copying::Always);
    }
    // Sockets that share a memory follow the first one. Where its driver can do without copies and that of
    // another cannot, all have to do with them.
    match try_queues(ports, attached, umem, sizes, Copying::UnlessDriverCan) {
        Err(OpenError::Kernel { .. }) => try_queues(ports, attached, umem, sizes, Copying::Always),
        result => result,
    }
}

fn try_queues(
    ports: &[Port],
    attached: &[Attached],
    umem: &Umem,
    sizes: Sizes,
    copying: Copying,
) -> Result<Vec<Queue>, OpenError> {
    let mut queues: Vec<Queue> = Vec::new();
    for (at, (port, one)) in ports.iter().zip(attached).enumerate() {
        let name = port.name.as_str();
        for place in 0..one.queues as usize {
            let socket = xsk::open().map_err(|error| refused(name, "AF_XDP sockets", error))?;
            if queues.is_empty() {
                register(&socket, umem, name)?;
            }
            // Below `MOST_QUEUES`.
            let number = queues.len() as u16;
            let seat = Seat { interface: port.link.index(), port: at, place, number };
            let queue = Queue::open(socket, queues.first(), copying, sizes, seat);
            queues.push(queue.map_err(|error| refused_queue(name, error))?);
        }
    }
    Ok(queues)
}

/// Registers the memory. It is locked, for which there is a limit.
fn register(socket: &OwnedFd, umem: &Umem, name: &str) -> Result<(), OpenError> {
    let bytes = umem.region().len() as u64;
    let limit = sys::raise_memory_limit(bytes).unwrap_or(0);
    xsk::register_memory(socket, umem.region(), umem.frame_size()).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::ENOBUFS) => OpenError::MemoryLimit { bytes, limit },
            _ => refused(name, "registering memory", error),
        }
    })
}

/// Tells the program of a port about its sockets, and opens its ears.
fn gate(port: &Port, attached: Attached, mine: Range<usize>, queues: &[Queue]) -> Result<Gate, OpenError> {
    let name = port.name.as_str();
    for queue in &queues[mine.clone()] {
        let (key, value) = ((queue.place as u32).to_ne_bytes(), queue.socket().as_raw_fd().to_ne_bytes());
        bpf::update(&attached.sockets, &key, &value).map_err(kernel(name, "entering a socket in its map"))?;
    }
    let heard = heard::open(port.link.index()).map_err(|error| refused(name, "a packet socket", error))?;
    for group in &port.groups {
        heard::join(&heard, port.link.index(), *group).map_err(kernel(name, "joining a group"))?;
    }
    let zero_copy = xsk::is_zero_copy(queues[mine.start].socket()).unwrap_or(false);
    let mode = Mode {
        native: attached.place == Place::Driver,
        zero_copy,
        queues: u16::try_from(mine.len()).unwrap_or(u16::MAX),
    };
    Ok(Gate { _link: attached.link, _sockets: attached.sockets, heard, queues: mine, mode })
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

fn in_use(name: &str, source: io::Error) -> OpenError {
    if is_taken(&source) {
        return OpenError::InUse { name: name.to_owned(), source };
    }
    refused(name, "attaching the redirect program", source)
}

fn refused_queue(name: &str, source: io::Error) -> OpenError {
    if is_taken(&source) {
        return OpenError::InUse { name: name.to_owned(), source };
    }
    refused(name, "opening an AF_XDP socket", source)
}

fn kernel<'n>(name: &'n str, operation: &'static str) -> impl FnOnce(io::Error) -> OpenError + 'n {
    move |source| OpenError::Kernel { name: name.to_owned(), operation, source }
}

/// The error for a step that takes rights, or a part of the kernel that may be missing.
pub(crate) fn refused(name: &str, operation: &'static str, source: io::Error) -> OpenError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => rights::missing(),
        Some(libc::ENOSYS | libc::EAFNOSUPPORT | libc::ENOPROTOOPT) => {
            OpenError::Unsupported { what: operation, source }
        }
        _ => OpenError::Kernel { name: name.to_owned(), operation, source },
    }
}
