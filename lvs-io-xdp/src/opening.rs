//! Opening: everything is checked, then the programs are attached and the sockets of each worker opened.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addresses::Addresses;
use crate::config::{ADDRESSES, ENTRIES, XdpConfig};
use crate::engine::Engine;
use crate::error::{OpenError, refused};
use crate::group::Shared;
use crate::port::Port;
use crate::warning::Warning;
use crate::xdp_io::XdpIo;

/// What was opened for a worker.
pub(crate) struct Opening {
    pub(crate) engine: Engine,
    pub(crate) ports: Vec<Port>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) worker: u16,
    pub(crate) config: XdpConfig,
    pub(crate) warnings: Vec<Warning>,
}

impl XdpIo {
    /// Opens the interfaces: attaches the redirect program to each and takes the memory of all sockets. Waits up
    /// to half a second for an interface that is in use: the kernel lets go of what a process had a moment after
    /// its end.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing stays open then.
    pub fn open(config: &XdpConfig) -> Result<Self, OpenError> {
        let mut group = Self::open_group(config, NonZeroU16::MIN)?;
        group.pop().ok_or(OpenError::NoInterface)
    }

    /// Opens the interfaces for so many workers, one for each thread. Each has queues of every interface to itself, with
    /// sockets and memory of its own: the queues whose number, divided by the number of workers, leaves its own number. Programs
    /// and addresses are one for all.
    ///
    /// The card chooses the queue of a frame, by a hash of its flow (RSS) as a rule, and AF_XDP knows no way from a queue to a
    /// socket of another: a worker gets frames of all clients. In a [`DirectorGroup`](lvs_core::director::DirectorGroup) it
    /// hands those of flows that are not its own to the worker that owns the client; give that one's [`waker`](Self::waker) to
    /// [`set_waker`](lvs_core::director::GroupMember::set_waker).
    ///
    /// The first one hears what stays with the kernel, and has the warnings. Keep all open until all have ended:
    /// frames of a queue without socket go to the kernel, which answers them in its own way.
    ///
    /// # Errors
    /// See [`OpenError`], [`TooFewQueues`](OpenError::TooFewQueues) in particular; nothing stays open then.
    pub fn open_group(config: &XdpConfig, workers: NonZeroU16) -> Result<Vec<Self>, OpenError> {
        check(config)?;
        let now = Instant::now();
        let addresses = Addresses::new(config.max_addresses);
        let ports = open_ports(config, now)?;
        let addresses =
            addresses.map_err(|error| refused(&config.interfaces[0], "maps of prefixes", error))?;
        let shared = Arc::new(Shared::new(addresses, ports.len(), workers));
        let mut group = Vec::new();
        let mut first = Some(ports);
        for worker in 0..workers.get() {
            let ports = match first.take() {
                Some(ports) => ports,
                None => open_ports(config, now)?,
            };
            let (engine, warnings) = open_patiently(config, &ports, &shared, worker, now + LETTING_GO)?;
            let shared = Arc::clone(&shared);
            let opening = Opening { engine, ports, shared, worker, config: config.clone(), warnings };
            group.push(Self::of(opening)?);
        }
        Ok(group)
    }
}

fn open_ports(config: &XdpConfig, now: Instant) -> Result<Vec<Port>, OpenError> {
    let mut ports = Vec::new();
    for (i, name) in config.interfaces.iter().enumerate() {
        if config.interfaces[..i].contains(name) {
            return Err(OpenError::DuplicateInterface(name.clone()));
        }
        ports.push(Port::new(name, now)?);
    }
    Ok(ports)
}

/// Opens everything of a worker; tries again until `end` where something is in use.
fn open_patiently(
    config: &XdpConfig,
    ports: &[Port],
    shared: &Shared,
    worker: u16,
    end: Instant,
) -> Result<(Engine, Vec<Warning>), OpenError> {
    loop {
        let mut warnings = Vec::new();
        match Engine::open(config, ports, shared, worker, &mut warnings) {
            Err(OpenError::InUse { .. }) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result.map(|engine| (engine, warnings)),
        }
    }
}

fn check(config: &XdpConfig) -> Result<(), OpenError> {
    if config.interfaces.is_empty() {
        return Err(OpenError::NoInterface);
    }
    let entries =
        [("receive_entries", config.receive_entries), ("transmit_entries", config.transmit_entries)];
    for (field, value) in entries {
        if !ENTRIES.contains(&value) || !value.is_power_of_two() {
            let (least, most) = (*ENTRIES.start(), *ENTRIES.end());
            return Err(OpenError::OutOfRange { field, value, least, most, more: ", powers of two" });
        }
    }
    if !ADDRESSES.contains(&config.max_addresses) {
        return Err(OpenError::OutOfRange {
            field: "max_addresses",
            value: config.max_addresses,
            least: *ADDRESSES.start(),
            most: *ADDRESSES.end(),
            more: "",
        });
    }
    Ok(())
}

/// How long the kernel may take to let go of what an ended process had.
const LETTING_GO: Duration = Duration::from_millis(500);
