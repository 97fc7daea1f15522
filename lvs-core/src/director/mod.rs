//! The director: everything put together.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the [`Director`] itself and how it is made |
//! | `validate.rs` | checks of a [`DirectorConfig`] |
//! | `control.rs` | [`Director::apply`]: edits, whole or not at all |
//! | `pipeline.rs` | batches and single frames, from classification to verdict |
//! | `steady.rs` | usual frames of connections that go on as they are |
//! | `flow.rs` | known connections, and flows that have none |
//! | `choose.rs` | persistence, then the scheduler |
//! | `outbound.rs` | forwarding, frames that wait, answers, `poll_transmit` |
//! | `timers.rs` | what is due when |
//! | `fragments.rs` | pieces of packets follow their first piece |
//! | `ramp.rs` | slow starts and drains |
//! | `sweep.rs` | looking through the table a piece at a time |
//! | `listing.rs` | what it shows of itself |
//! | `locals.rs` | the addresses it answers for |
//! | `records.rs` | connections as plain values, read and written |
//! | `turn.rs` | one turn of a run loop over a [`FrameIo`](crate::FrameIo) |

mod choose;
mod control;
mod flow;
mod fragments;
mod listing;
mod locals;
mod outbound;
mod pipeline;
mod ramp;
mod records;
mod steady;
mod sweep;
mod timers;
mod turn;
mod validate;

use alloc::vec::Vec;
use core::net::IpAddr;

use locals::{Local, Locals};
pub use outbound::Outgoing;
pub use records::RestoreError;
pub use turn::{TRANSMIT_BUFFER, TurnBuffers};

use crate::addr::{MacAddr, Subnet};
use crate::config::{ConfigError, DirectorConfig, InterfaceConfig, InterfaceId, Knobs, Timeouts, VlanPath};
use crate::connection::state::StateTimeouts;
use crate::connection::{ConnectionTable, FlowHasher, HeapMemory, TableMemory};
use crate::event::Event;
use crate::io::PortId;
use crate::neighbour::{LocalKind, NeighbourId, Neighbours};
use crate::pool::{FramePool, Queue};
use crate::quick_hash::{QuickMap, QuickSet};
use crate::service::{Destinations, Services};
use crate::statistics::DirectorStatistics;
use crate::time::Instant;

/// A load balancer in direct-routing style: give it frames, do what its verdicts say.
///
/// The names tell the kind of a call: `handle_*` takes input, `poll_*` yields output, plain nouns show something,
/// [`apply`](Self::apply) edits. No call blocks or reads a clock. After any input or edit, fetch frames by
/// [`poll_transmit`](Self::poll_transmit) and events by [`poll_event`](Self::poll_event) until they answer `None`, and
/// call [`handle_timeout`](Self::handle_timeout) no later than [`poll_timeout`](Self::poll_timeout) says; earlier or
/// repeated calls are harmless. [`turn`](Self::turn) does all that for a [`FrameIo`](crate::FrameIo).
pub struct Director<M: TableMemory = HeapMemory> {
    interfaces: Vec<InterfaceConfig>,
    /// By port: the interfaces on it.
    ports: Vec<Vec<(VlanPath, InterfaceId)>>,
    /// By port: the interface whose frames have no tag.
    entrances: Vec<Option<steady::Entrance>>,
    batch: pipeline::Batch,
    knobs: Knobs,
    timeouts: Timeouts,
    state_timeouts: StateTimeouts,
    connections: ConnectionTable<M>,
    /// Where the connections of persistent clients go.
    templates: ConnectionTable<M>,
    services: Services,
    destinations: Destinations,
    locals: Locals,
    neighbours: Neighbours,
    /// By neighbour: the servers behind it and the frames that wait for it.
    next_hops: QuickMap<NeighbourId, NextHop>,
    static_neighbours: AddressSet,
    pool: FramePool,
    /// Frames that leave next.
    outbox: Queue,
    /// Since when the frame waits that has waited longest.
    waiting_since: Option<Instant>,
    answer_budget: outbound::AnswerBudget,
    /// Counted up for the ids of answers.
    next_id: u16,
    sweep: sweep::Sweep,
    ramps: ramp::Ramps,
    fragments: fragments::Fragments,
    /// Pieces whose first one has gone ahead: they are taken up again by `poll_transmit`.
    pieces: Queue,
    /// When pieces are to be given up.
    pieces_due: Option<Instant>,
    /// Counts attempts for `drop_packet`.
    shed: u8,
    /// Seeds of schedulers.
    scheduler_seed: u64,
    max_mark_rules: u32,
    /// When the table was last full.
    full_at: Option<Instant>,
    /// Whether "full" has been reported and "has room" not yet.
    full_reported: bool,
    events: EventQueue,
    statistics: DirectorStatistics,
    estimator: listing::Estimator,
    /// The latest time anybody told.
    now: Instant,
}

/// How many neighbours may have a fixed Ethernet address.
const MAX_STATIC_NEIGHBOURS: usize = 1024;

type AddressSet = QuickSet<IpAddr>;

/// A neighbour through which servers are reached.
struct NextHop {
    destinations: Vec<u32>,
    waiting: Queue,
}

/// A bounded queue of events; the newest are lost if nobody fetches them.
struct EventQueue {
    events: arrayvec::ArrayVec<Event, 64>,
    lost: u32,
}

impl EventQueue {
    fn push(&mut self, event: Event) {
        if self.events.try_push(event).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn pop(&mut self) -> Option<Event> {
        if !self.events.is_empty() {
            return Some(self.events.remove(0));
        }
        (self.lost > 0).then(|| Event::Lost(core::mem::take(&mut self.lost)))
    }
}

impl Director {
    /// A director whose tables live in the global allocator's memory.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn new(config: DirectorConfig, now: Instant) -> Result<Self, ConfigError> {
        Self::with_memory(config, now, &HeapMemory)
    }
}

impl<M: TableMemory> Director<M> {
    /// A director whose connection table lives in memory of the caller's choice. Services are added by
    /// [`apply`](Self::apply).
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn with_memory(config: DirectorConfig, now: Instant, memory: &M) -> Result<Self, ConfigError> {
        validate::check(&config)?;
        let hasher = FlowHasher::new(&config.seed);
        let neighbour_seed = hasher.derive(1);
        let next_id = hasher.derive(2) as u16;
        let scheduler_seed = hasher.derive(3);
        let fragment_seed = hasher.derive(4);
        let templates = ConnectionTable::new(memory, config.max_templates, hasher, now)
            .ok_or(ConfigError::OutOfMemory(config.max_templates))?;
        let connections = ConnectionTable::new(memory, config.max_connections, hasher, now)
            .ok_or(ConfigError::OutOfMemory(config.max_connections))?;
        let gateways: u32 = config.interfaces.iter().map(|interface| interface.gateways.len() as u32).sum();
        // Every service may have an address of its own.
        let owned: u32 = config.interfaces.iter().map(|interface| interface.addresses.len() as u32).sum();
        let max_locals =
            config.max_services + config.max_mark_rules + owned + config.local_addresses.len() as u32;
        let neighbours = Neighbours::new(
            &config.interfaces,
            config.max_destinations + gateways + MAX_STATIC_NEIGHBOURS as u32,
            max_locals,
            neighbour_seed,
        );
        let mut director = Self {
            ports: ports(&config.interfaces),
            entrances: steady::entrances(&config.interfaces),
            interfaces: config.interfaces,
            batch: pipeline::Batch::new(),
            knobs: config.knobs,
            timeouts: config.timeouts,
            state_timeouts: StateTimeouts::new(&config.timeouts),
            connections,
            templates,
            services: Services::new(config.max_services),
            destinations: Destinations::new(config.max_destinations),
            locals: Locals::new(),
            neighbours,
            next_hops: QuickMap::default(),
            static_neighbours: AddressSet::default(),
            pool: FramePool::new(config.pool_buffers),
            outbox: Queue::EMPTY,
            waiting_since: None,
            answer_budget: outbound::AnswerBudget::new(now, config.knobs.answers_per_second),
            next_id,
            sweep: sweep::Sweep::new(now),
            ramps: ramp::Ramps::default(),
            fragments: fragments::Fragments::new(config.max_fragmented, fragment_seed),
            pieces: Queue::EMPTY,
            pieces_due: None,
            shed: 0,
            scheduler_seed,
            max_mark_rules: config.max_mark_rules,
            full_at: None,
            full_reported: false,
            events: EventQueue { events: arrayvec::ArrayVec::new(), lost: 0 },
            statistics: DirectorStatistics::new(),
            estimator: listing::Estimator::new(now),
            now,
        };
        director.own_addresses(now, &config.local_addresses);
        Ok(director)
    }

    /// Takes on the addresses that are the director's own from the start.
    fn own_addresses(&mut self, now: Instant, extra: &[IpAddr]) {
        let owned: Vec<IpAddr> = self
            .interfaces
            .iter()
            .filter(|interface| interface.owns_addresses)
            .flat_map(|interface| interface.addresses.iter().map(|subnet| subnet.address()))
            .chain(extra.iter().copied())
            .collect();
        for address in owned {
            self.locals.set(address, Local { services: 0, own: true });
            // There is room: the capacity was computed from the same lists.
            let _ = self.neighbours.add_local(now, address, LocalKind::Own);
        }
    }

    /// The interfaces, in the order of their numbers.
    #[must_use]
    pub fn interfaces(&self) -> &[InterfaceConfig] {
        &self.interfaces
    }

    /// The knobs as they are now.
    #[must_use]
    pub const fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// The time-outs as they are now.
    #[must_use]
    pub const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    fn interface(&self, id: InterfaceId) -> Option<&InterfaceConfig> {
        self.interfaces.get(usize::from(id.0))
    }

    /// The interface and the neighbour through which `address` is reached.
    fn route_to(&self, address: IpAddr) -> Option<(InterfaceId, IpAddr)> {
        let on_link = |subnets: &[Subnet]| subnets.iter().any(|subnet| subnet.contains(address));
        let numbered = || (0..).map(InterfaceId).zip(&self.interfaces);
        if let Some((id, _)) = numbered().find(|(_, interface)| on_link(&interface.addresses)) {
            return Some((id, address));
        }
        numbered().find_map(|(id, interface)| {
            let gateway = interface.gateways.iter().find(|g| g.is_ipv4() == address.is_ipv4())?;
            Some((id, *gateway))
        })
    }

    /// The interface that a frame from `port` with these VLANs belongs to.
    #[inline]
    fn interface_of(&self, port: PortId, vlan: VlanPath) -> Option<InterfaceId> {
        let interfaces = self.ports.get(usize::from(port.0))?;
        interfaces.iter().find(|(path, _)| *path == vlan).map(|(_, id)| *id)
    }

    fn mac_of(&self, id: InterfaceId) -> MacAddr {
        self.interface(id).map_or(MacAddr::ZERO, |interface| interface.mac)
    }
}

fn ports(interfaces: &[InterfaceConfig]) -> Vec<Vec<(VlanPath, InterfaceId)>> {
    let mut ports: Vec<Vec<_>> = Vec::new();
    for (id, interface) in (0..).map(InterfaceId).zip(interfaces) {
        let port = usize::from(interface.port.0);
        if ports.len() <= port {
            ports.resize_with(port + 1, Vec::new);
        }
        ports[port].push((interface.vlan, id));
    }
    ports
}
