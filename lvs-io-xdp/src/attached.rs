//! The redirect program of an interface, attached, with its map of sockets.

use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsRawFd, OwnedFd};

use lvs_netdev::Queues;

use crate::addresses::Addresses;
use crate::config::Attachment;
use crate::error::{OpenError, is_taken, refused};
use crate::port::Port;
use crate::program::{XDP_PASS, redirect_program};
use crate::sys::bpf::{self, MapDescription, MapKind, Place};
use crate::warning::Warning;

/// A program on an interface. The kernel gets everything again when this is dropped, or the process ends.
pub(crate) struct Attached {
    /// The interface's number in the kernel.
    pub(crate) index: u32,
    /// Keeps the program attached, as long as this process lives at the most.
    _link: OwnedFd,
    sockets: OwnedFd,
    /// In the driver or behind it.
    pub(crate) place: Place,
    /// How many queues the interface receives by, and how many of them send, too.
    pub(crate) queues: u32,
    pub(crate) sending: u32,
}

impl Attached {
    /// Loads the program and attaches it.
    pub(crate) fn new(
        port: &Port,
        attachment: Attachment,
        workers: NonZeroU16,
        addresses: &Addresses,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, OpenError> {
        let name = port.name.as_str();
        let said = port.device().queues()?;
        let said = said.unwrap_or(Queues { used: 1, sending: 1, most: 1, combined: false });
        check_queues(name, said, workers)?;
        let (queues, sending) = (said.used, said.sending);
        let description = MapDescription {
            kind: MapKind::Sockets,
            key_size: 4,
            value_size: 4,
            max_entries: queues,
            name: "lvs_sockets",
        };
        let sockets =
            bpf::create_map(&description).map_err(|error| refused(name, "a map of sockets", error))?;
        let instructions = redirect_program(addresses.maps(&sockets), XDP_PASS);
        let program = bpf::load_program(&instructions, "lvs_redirect")
            .map_err(|error| refused(name, "loading the redirect program", error))?;
        let index = port.link.index();
        let (link, place) = attach(name, index, &program, attachment, warnings)?;
        warn_of_offloads(port, place, warnings);
        Ok(Self { index, _link: link, sockets, place, queues, sending: sending.clamp(1, queues) })
    }

    /// Tells the program about the socket of a queue.
    pub(crate) fn enter(&self, queue: u32, socket: &impl AsRawFd) -> io::Result<()> {
        bpf::update(&self.sockets, &queue.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes())
    }
}

/// Each worker needs a queue that receives and sends, or it could not forward what it owns.
fn check_queues(name: &str, queues: Queues, workers: NonZeroU16) -> Result<(), OpenError> {
    let Queues { used, sending, most, combined } = queues;
    let usable = used.min(sending);
    if usable >= u32::from(workers.get()) {
        return Ok(());
    }
    let (name, workers) = (name.to_owned(), workers.get());
    Err(OpenError::TooFewQueues { name, queues: usable, workers, most, combined })
}

fn attach(
    name: &str,
    index: u32,
    program: &OwnedFd,
    attachment: Attachment,
    warnings: &mut Vec<Warning>,
) -> Result<(OwnedFd, Place), OpenError> {
    let place = |place| bpf::attach(program, index, place);
    Ok(match attachment {
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
    })
}

/// Why a driver cannot, in words that lead somewhere.
fn reason(source: &io::Error) -> String {
    match source.raw_os_error() {
        Some(libc::ERANGE) => {
            "the MTU of this interface, or of the other end of a veth pair, is too large for it".to_owned()
        }
        Some(libc::ENOSPC) => {
            "the other end of a veth pair sends by more queues than this end receives by".to_owned()
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

fn in_use(name: &str, source: io::Error) -> OpenError {
    if is_taken(&source) {
        return OpenError::InUse { name: name.to_owned(), source };
    }
    refused(name, "attaching the redirect program", source)
}
