//! Everything that is open while frames flow: programs, sockets, memory. Made in one piece, and made anew in
//! one piece when an interface was replaced: all sockets share one memory.

use std::io;
use std::num::NonZeroU16;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::attached::Attached;
use crate::config::XdpConfig;
use crate::error::{OpenError, is_taken, refused};
use crate::group::{Shared, queues_of};
use crate::ledger::Ledger;
use crate::mode::Mode;
use crate::port::{AROUND_PACKET, Port};
use crate::queue::{Copying, Queue, Seat, Sizes};
use crate::sys::bpf::Place;
use crate::sys::{region, xsk};
use crate::umem::{HEADROOM, Umem};
use crate::warning::Warning;
use crate::{heard, sys};

/// What is open. The order of the fields is the order in which they are closed: no socket outlives its memory.
pub(crate) struct Engine {
    pub(crate) gates: Vec<Gate>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) ledger: Ledger,
    pub(crate) umem: Umem,
}

/// What is open for one port.
pub(crate) struct Gate {
    /// With the last of these the kernel gets everything again.
    _program: Arc<Attached>,
    /// The packet socket that hears what stays with the kernel: the first worker's, or every frame would be heard by each.
    pub(crate) heard: Option<OwnedFd>,
    /// Its queues among those of the engine, and how many of them send, from the first.
    pub(crate) queues: Range<usize>,
    pub(crate) sending: usize,
    pub(crate) mode: Mode,
}

/// Which worker of how many an engine is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) worker: u16,
    pub(crate) workers: NonZeroU16,
}

impl Engine {
    /// Opens a worker's sockets of all ports. The programs are attached where that has not happened yet.
    pub(crate) fn open(
        config: &XdpConfig,
        ports: &[Port],
        shared: &Shared,
        worker: u16,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, OpenError> {
        let frame_size = frame_size(ports)?;
        let opened = Opened { worker, workers: shared.workers };
        let mut programs = Vec::new();
        for (at, port) in ports.iter().enumerate() {
            programs.push(shared.program(at, port, config, warnings)?);
        }
        let sizes = Sizes { receive: config.receive_entries, transmit: config.transmit_entries };
        let count = programs.iter().map(|one| queues_of(opened, one.queues).count()).sum();
        if count > MOST_QUEUES {
            return Err(OpenError::TooManyQueues(count));
        }
        let bytes = count * sizes.frames() as usize * frame_size;
        let first = &ports[0].name;
        let memory = region::map_fresh(bytes).map_err(kernel(first, "taking memory for frames"))?;
        let umem = Umem::new(memory, frame_size);
        let queues = open_queues(ports, &programs, opened, &umem, sizes)?;
        let mut gates = Vec::new();
        let mut start = 0;
        for (port, program) in ports.iter().zip(programs) {
            let mine = start..start + queues_of(opened, program.queues).count();
            start = mine.end;
            gates.push(gate(port, program, opened, mine, &queues)?);
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

/// Opens a worker's sockets over one memory: without copies by the kernel if the drivers can.
fn open_queues(
    ports: &[Port],
    programs: &[Arc<Attached>],
    opened: Opened,
    umem: &Umem,
    sizes: Sizes,
) -> Result<Vec<Queue>, OpenError> {
    let open = |copying| try_queues(ports, programs, opened, umem, sizes, copying);
    if programs.iter().any(|one| one.place == Place::Generic) {
        return open(Copying::Always);
    }
    // Sockets that share a memory follow the first one. Where its driver can do without copies and that of
    // another cannot, all have to do with them.
    match open(Copying::UnlessDriverCan) {
        Err(OpenError::Kernel { .. }) => open(Copying::Always),
        result => result,
    }
}

fn try_queues(
    ports: &[Port],
    programs: &[Arc<Attached>],
    opened: Opened,
    umem: &Umem,
    sizes: Sizes,
    copying: Copying,
) -> Result<Vec<Queue>, OpenError> {
    let mut queues: Vec<Queue> = Vec::new();
    for (at, (port, one)) in ports.iter().zip(programs).enumerate() {
        let name = port.name.as_str();
        for (place, queue) in queues_of(opened, one.queues).enumerate() {
            let socket = xsk::open().map_err(|error| refused(name, "AF_XDP sockets", error))?;
            if queues.is_empty() {
                register(&socket, umem, name)?;
            }
            // Below `MOST_QUEUES`.
            let number = queues.len() as u16;
            let seat = Seat { interface: port.link.index(), port: at, place, queue, number };
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

/// Tells the program of a port about a worker's sockets, and opens its ears.
fn gate(
    port: &Port,
    program: Arc<Attached>,
    opened: Opened,
    mine: Range<usize>,
    queues: &[Queue],
) -> Result<Gate, OpenError> {
    let name = port.name.as_str();
    for queue in &queues[mine.clone()] {
        let entered = program.enter(queue.number, queue.socket());
        entered.map_err(kernel(name, "entering a socket in its map"))?;
    }
    let mut heard = None;
    if opened.worker == 0 {
        let index = port.link.index();
        let socket = heard::open(index).map_err(|error| refused(name, "a packet socket", error))?;
        for group in &port.groups {
            heard::join(&socket, index, *group).map_err(kernel(name, "joining a group"))?;
        }
        heard = Some(socket);
    }
    let zero_copy = xsk::is_zero_copy(queues[mine.start].socket()).unwrap_or(false);
    let mode = Mode {
        native: program.place == Place::Driver,
        zero_copy,
        queues: u16::try_from(program.queues).unwrap_or(u16::MAX),
    };
    // The queues of an interface that send are the first ones, and so are those of a worker.
    let sending = queues_of(opened, program.sending).count().max(1);
    Ok(Gate { _program: program, heard, queues: mine, sending, mode })
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
