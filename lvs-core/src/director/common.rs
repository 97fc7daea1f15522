//! What all workers of a director have in common: services, servers, templates, neighbours, knobs. It is touched by edits and
//! by the clock, and from the data path only where a connection is made, changes its state or ends, where a neighbour is
//! heard of, and where a frame waits for one.
//!
//! Workers hold copies of what they need for every frame and [follow](super::worker::Worker::follow) when its
//! [edition](Common::edition) has changed.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::DerefMut;

use super::listing::Estimator;
use super::locals::{Local, Locals};
use super::probe::ProbeQueue;
use super::ramp::Ramps;
use super::route::hosts_probe_addresses;
use super::suspects::Suspects;
use super::{AddressSet, EventQueue, MAX_STATIC_NEIGHBOURS};
use crate::addr::{MacAddr, Subnet};
use crate::classify::FlowKey;
use crate::config::{ConfigError, DirectorConfig, InterfaceConfig, InterfaceId, Knobs, Timeouts};
use crate::connection::state::StateTimeouts;
use crate::connection::{ConnectionTable, FlowHasher, TableMemory};
use crate::io::{Frame, PortId};
use crate::neighbour::{LocalKind, NeighbourId, Neighbours};
use crate::quick_hash::QuickMap;
use crate::service::{Destinations, Services};
use crate::time::Instant;

/// How many changes of single lanes are remembered for workers that follow.
const REMEMBERED: usize = 64;

pub(super) struct Common<M: TableMemory> {
    pub(super) interfaces: Arc<[InterfaceConfig]>,
    pub(super) knobs: Knobs,
    pub(super) timeouts: Timeouts,
    pub(super) state_timeouts: StateTimeouts,
    /// Where the connections of persistent clients go.
    pub(super) templates: ConnectionTable<M>,
    pub(super) services: Services,
    pub(super) destinations: Destinations,
    pub(super) locals: Arc<Locals>,
    /// Prefixes whose packets are marked for a service.
    pub(super) marked: Arc<[Subnet]>,
    pub(super) neighbours: Neighbours,
    /// By neighbour: the servers behind it.
    pub(super) next_hops: QuickMap<NeighbourId, Vec<u32>>,
    /// Neighbours that the last edits have let go of. Their numbers may have been given to others since.
    pub(super) let_go: Vec<NeighbourId>,
    pub(super) static_neighbours: AddressSet,
    /// Neighbours that are kept for health checks; `None` where no interface leads to one.
    pub(super) watched: QuickMap<IpAddr, Option<NeighbourId>>,
    pub(super) max_watched: u32,
    /// Addresses that the director owns for probes.
    pub(super) probe_addresses: Arc<[IpAddr]>,
    /// Answers to probes that wait to be fetched, where there is one worker.
    pub(super) probe_replies: ProbeQueue,
    pub(super) suspects: Suspects,
    pub(super) ramps: Ramps,
    /// Seeds of schedulers.
    pub(super) scheduler_seed: u64,
    pub(super) max_mark_rules: u32,
    pub(super) estimator: Estimator,
    pub(super) events: EventQueue,
    /// Clients served without persistence because there were as many templates as there may be.
    pub(super) templates_full: u64,
    /// Counts the times that all connections have to be searched for those of removed servers.
    pub(super) orphan_rounds: u32,
    /// Counts whatever a worker has to follow.
    pub(super) edition: u64,
    /// The edition with which more changed than a lane.
    pub(super) whole_edition: u64,
    /// The lanes that changed with the latest editions, by edition.
    pub(super) changed: [u32; REMEMBERED],
    /// The latest time anybody told.
    pub(super) now: Instant,
}

/// How a worker gets at what is common: a plain reference where there is one worker, a lock where there are several.
pub(super) trait Access<M: TableMemory> {
    type Guard<'a>: DerefMut<Target = Common<M>>
    where
        Self: 'a;

    fn get(&mut self) -> Self::Guard<'_>;

    /// The edition, without waiting for anybody.
    fn edition(&self) -> u64;

    /// Gives a frame to the worker that it belongs to. `false` if that one has no room.
    fn hand_over(&mut self, _owner: u16, _frame: &Frame<'_>) -> bool {
        false
    }

    /// Keeps a frame for whoever makes health probes. `false` if there is no room.
    fn take_probe(&mut self, frame: &Frame<'_>) -> bool;

    /// See [`Common::suspect`].
    fn suspect(&mut self, now: Instant, destination: u32) {
        let _ = self.get().suspect(now, destination);
    }
}

impl<M: TableMemory> Access<M> for Common<M> {
    type Guard<'a>
        = &'a mut Self
    where
        M: 'a;

    #[inline(always)]
    fn get(&mut self) -> &mut Self {
        self
    }

    #[inline(always)]
    fn edition(&self) -> u64 {
        self.edition
    }

    fn take_probe(&mut self, frame: &Frame<'_>) -> bool {
        self.probe_replies.push(frame)
    }
}

/// What a worker has to follow since an edition.
pub(super) enum News<'a> {
    Nothing,
    /// These lanes, in pieces of a ring.
    Lanes(&'a [u32], &'a [u32]),
    Everything,
}

impl<M: TableMemory> Common<M> {
    /// Without any service.
    ///
    /// # Errors
    /// If there is no memory for the templates.
    pub(super) fn new(
        config: &DirectorConfig,
        memory: &M,
        hasher: FlowHasher,
        now: Instant,
    ) -> Result<Self, ConfigError> {
        let templates = ConnectionTable::new(memory, config.max_templates, hasher, now)
            .ok_or(ConfigError::OutOfMemory(config.max_templates))?;
        let gateways: u32 = config.interfaces.iter().map(|interface| interface.gateways.len() as u32).sum();
        // Every service may have an address of its own.
        let owned: u32 = config.interfaces.iter().map(|interface| interface.addresses.len() as u32).sum();
        let probe_addresses = config.probes.as_ref().map_or(&[][..], |probes| &probes.addresses);
        let named = (config.local_addresses.len() + probe_addresses.len()) as u32;
        let max_locals = config.max_services + config.max_mark_rules + owned + named;
        let max_watched = if config.probes.is_some() { config.max_destinations } else { 0 };
        let neighbours = Neighbours::new(
            &config.interfaces,
            config.max_destinations + max_watched + gateways + MAX_STATIC_NEIGHBOURS as u32,
            max_locals,
            hasher.derive(1),
        );
        Ok(Self {
            interfaces: config.interfaces.clone().into(),
            knobs: config.knobs,
            timeouts: config.timeouts,
            state_timeouts: StateTimeouts::new(&config.timeouts),
            templates,
            services: Services::new(config.max_services),
            destinations: Destinations::new(config.max_destinations),
            locals: Arc::new(Locals::new()),
            marked: Arc::new([]),
            neighbours,
            next_hops: QuickMap::default(),
            let_go: Vec::new(),
            static_neighbours: AddressSet::default(),
            watched: QuickMap::default(),
            max_watched,
            probe_addresses: probe_addresses.into(),
            probe_replies: ProbeQueue::new(config.probes.as_ref()),
            suspects: Suspects::new(config.probes.is_some()),
            ramps: Ramps::default(),
            scheduler_seed: hasher.derive(3),
            max_mark_rules: config.max_mark_rules,
            estimator: Estimator::new(now),
            events: EventQueue::new(),
            templates_full: 0,
            orphan_rounds: 0,
            edition: 0,
            whole_edition: 0,
            changed: [0; REMEMBERED],
            now,
        })
    }

    /// Takes on the addresses that are the director's own from the start.
    pub(super) fn own_addresses(&mut self, now: Instant, config: &DirectorConfig) {
        let owning = config.interfaces.iter().filter(|interface| interface.owns_addresses);
        let owned = owning.flat_map(|interface| interface.addresses.iter().map(|subnet| subnet.address()));
        let probes = config.probes.iter().flat_map(|probes| &probes.addresses);
        for address in owned.chain(config.local_addresses.iter().chain(probes).copied()) {
            Arc::make_mut(&mut self.locals).set(address, Local { own: true, ..Local::NOBODYS });
            // There is room: the capacity was computed from the same lists.
            let _ = self.neighbours.add_local(now, address, LocalKind::Own);
        }
        let Some(probes) = &config.probes else {
            return;
        };
        let kernels = hosts_probe_addresses(&config.interfaces, probes);
        for address in probes.addresses.iter().copied().chain(kernels) {
            let local = self.locals.get(address).unwrap_or(Local::NOBODYS);
            Arc::make_mut(&mut self.locals).set(address, Local { probe: true, ..local });
        }
    }

    /// More changed than lanes.
    pub(super) const fn changed_as_a_whole(&mut self) {
        self.edition += 1;
        self.whole_edition = self.edition;
    }

    /// A lane changed.
    pub(super) const fn changed_lane(&mut self, destination: u32) {
        self.edition += 1;
        self.changed[self.edition as usize % REMEMBERED] = destination;
    }

    /// What a worker that is at this edition has to follow.
    pub(super) fn news_since(&self, edition: u64) -> News<'_> {
        let missed = self.edition - edition;
        if missed == 0 {
            return News::Nothing;
        }
        if edition < self.whole_edition || missed > REMEMBERED as u64 {
            return News::Everything;
        }
        let (first, last) = ((edition + 1) as usize % REMEMBERED, self.edition as usize % REMEMBERED);
        if first <= last {
            News::Lanes(&self.changed[first..=last], &[])
        } else {
            News::Lanes(&self.changed[first..], &self.changed[..=last])
        }
    }

    pub(super) fn interface(&self, id: InterfaceId) -> Option<&InterfaceConfig> {
        self.interfaces.get(usize::from(id.0))
    }

    /// A group that neighbour solicitations for a VIP are sent to, and the port that is to join it.
    pub(super) fn poll_join(&mut self) -> Option<(PortId, MacAddr)> {
        while let Some((interface, group)) = self.neighbours.poll_join() {
            if let Some(interface) = self.interface(interface) {
                return Some((interface.port, group));
            }
        }
        None
    }

    /// The interface and the neighbour through which `address` is reached.
    pub(super) fn route_to(&self, address: IpAddr) -> Option<(InterfaceId, IpAddr)> {
        let on_link = |subnets: &[Subnet]| subnets.iter().any(|subnet| subnet.contains(address));
        let numbered = || (0..).map(InterfaceId).zip(self.interfaces.iter());
        if let Some((id, _)) = numbered().find(|(_, interface)| on_link(&interface.addresses)) {
            return Some((id, address));
        }
        numbered().find_map(|(id, interface)| {
            let gateway = interface.gateways.iter().find(|g| g.is_ipv4() == address.is_ipv4())?;
            Some((id, *gateway))
        })
    }

    /// The interface whose subnet holds `address`.
    pub(super) fn on_link(&self, address: IpAddr) -> Option<InterfaceId> {
        self.route_to(address).filter(|(_, next_hop)| *next_hop == address).map(|(interface, _)| interface)
    }

    /// Tells a server's service what the server has to do.
    #[inline(always)]
    pub(super) fn note_load(&mut self, destination: u32) {
        let load = self.destinations.load(destination);
        let (serves, active, inactive) = (load.serves, load.active, load.inactive);
        let overloaded = self.destinations.get(destination).overloaded;
        if let Some(service) = self.services.get_mut(serves.service) {
            service.load(serves.place as usize, active, inactive, overloaded);
        }
    }

    /// A server's address and the port that a flow has there: under direct routing always the flow's own.
    pub(super) fn socket_of(&self, destination: u32, flow: &FlowKey) -> SocketAddr {
        SocketAddr::new(self.destinations.get(destination).config.address, flow.virtual_port())
    }

    /// Takes over what the neighbour side has learnt: Ethernet addresses of servers.
    pub(super) fn take_neighbour_updates(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some(neighbour) = self.neighbours.poll_update() {
            let Some(destinations) = self.next_hops.get(&neighbour) else {
                continue;
            };
            for at in 0..destinations.len() {
                let Some(destination) = self.next_hops.get(&neighbour).and_then(|all| all.get(at)) else {
                    break;
                };
                self.refresh_lane(*destination);
            }
        }
    }

    /// Copies a neighbour's state into the lane of one of its servers.
    pub(super) fn refresh_lane(&mut self, destination: u32) {
        let lane = self.destinations.lane(destination);
        let Some(neighbour) = lane.neighbour() else {
            return;
        };
        let own = self.interface(lane.interface()).map(|interface| interface.mac);
        let mac = self.neighbours.mac(neighbour);
        self.destinations.lane_mut(destination).set_next_hop(mac, own.unwrap_or(MacAddr::ZERO));
        self.changed_lane(destination);
    }
}
