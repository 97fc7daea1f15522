//! Virtual services by number and by what a packet says.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::classify::FlowKey;
use crate::config::{ServiceConfig, ServiceKey};
use crate::listing::Statistics;
use crate::quick_hash::QuickMap;
use crate::scheduler::{ListChange, MaglevTable, Scheduler, Server, new_scheduler};

/// The number of a virtual service while it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ServiceId(pub(crate) u32);

/// A virtual service.
pub(crate) struct Service {
    pub(crate) config: ServiceConfig,
    scheduler: Box<dyn Scheduler>,
    /// In list order: last added first.
    servers: Vec<Server>,
    /// Who serves flows without a connection.
    fallback: MaglevTable,
    fallback_is_stale: bool,
    /// Totals of servers that were removed.
    pub(crate) removed: Statistics,
}

impl Service {
    fn new(config: ServiceConfig) -> Self {
        Self {
            config,
            scheduler: new_scheduler(config.scheduler),
            servers: Vec::new(),
            fallback: MaglevTable::empty(),
            fallback_is_stale: false,
            removed: Statistics::default(),
        }
    }

    /// The servers in list order.
    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Where the server with this address and port stands.
    pub(crate) fn place_of(&self, address: IpAddr, port: u16) -> Option<usize> {
        self.servers.iter().position(|server| server.address == address && server.port == port)
    }

    /// Puts a server at the head of the list.
    pub(crate) fn add(&mut self, server: Server) {
        self.servers.insert(0, server);
        self.list_changed(ListChange::Added(0));
    }

    /// Takes the server out of this place.
    pub(crate) fn remove(&mut self, place: usize) -> Server {
        let server = self.servers.remove(place);
        self.list_changed(ListChange::Removed(place));
        server
    }

    /// Gives the server in this place another weight.
    pub(crate) fn reweigh(&mut self, place: usize, weight: u32) {
        self.servers[place].weight = weight;
        self.list_changed(ListChange::Edited(place));
    }

    /// Takes over new options. Another scheduler begins afresh.
    pub(crate) fn edit(&mut self, config: ServiceConfig) {
        if config.scheduler != self.config.scheduler {
            self.scheduler = new_scheduler(config.scheduler);
            self.scheduler.list_changed(ListChange::Replaced, &self.servers);
        }
        self.config = config;
    }

    fn list_changed(&mut self, change: ListChange) {
        self.scheduler.list_changed(change, &self.servers);
        self.fallback_is_stale = true;
    }

    /// To be called once after a number of edits: filling the hash table is the dear part of them.
    pub(crate) fn refresh_fallback(&mut self) {
        if core::mem::take(&mut self.fallback_is_stale) {
            self.fallback.rebuild(&self.servers);
        }
    }

    /// Asks the scheduler.
    pub(crate) fn schedule(&mut self, flow: &FlowKey) -> Option<usize> {
        self.scheduler.pick(flow, &self.servers).filter(|place| *place < self.servers.len())
    }

    /// What the scheduler has in mind.
    pub(crate) fn scheduler_state(&self) -> crate::scheduler::SchedulerState {
        self.scheduler.state()
    }

    /// The place that the hash of the client gives.
    pub(crate) fn hashed(&self, flow: &FlowKey) -> Option<usize> {
        self.fallback.pick(flow)
    }
}

/// What a packet says of the service it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Wanted {
    address: IpAddr,
    port: u16,
    protocol: u8,
}

impl Wanted {
    const fn of(key: ServiceKey) -> Self {
        match key {
            ServiceKey::Address { protocol, address, port } => {
                Self { address, port, protocol: protocol.number() }
            }
        }
    }
}

/// All virtual services.
pub(crate) struct Services {
    by_packet: QuickMap<Wanted, ServiceId>,
    services: Vec<Option<Service>>,
    free: Vec<u32>,
    capacity: u32,
}

impl Services {
    pub(crate) fn new(capacity: u32) -> Self {
        Self { by_packet: QuickMap::default(), services: Vec::new(), free: Vec::new(), capacity }
    }

    /// How many more can be added.
    pub(crate) fn vacancies(&self) -> u32 {
        self.capacity - self.services.len() as u32 + self.free.len() as u32
    }

    /// The service that takes a flow.
    pub(crate) fn find(&self, flow: &FlowKey) -> Option<ServiceId> {
        let wanted =
            Wanted { address: flow.virtual_address(), port: flow.virtual_port(), protocol: flow.protocol() };
        self.by_packet.get(&wanted).copied()
    }

    /// The service with this key.
    pub(crate) fn id(&self, key: ServiceKey) -> Option<ServiceId> {
        self.by_packet.get(&Wanted::of(key)).copied()
    }

    pub(crate) fn get(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: ServiceId) -> Option<&mut Service> {
        self.services.get_mut(id.0 as usize)?.as_mut()
    }

    /// Adds a service whose key nobody has; there must be a vacancy.
    pub(crate) fn add(&mut self, config: ServiceConfig) -> ServiceId {
        let service = Some(Service::new(config));
        let id = if let Some(id) = self.free.pop() {
            self.services[id as usize] = service;
            id
        } else {
            self.services.push(service);
            self.services.len() as u32 - 1
        };
        self.by_packet.insert(Wanted::of(config.key), ServiceId(id));
        ServiceId(id)
    }

    /// Removes a service.
    pub(crate) fn remove(&mut self, id: ServiceId) -> Option<Service> {
        let service = self.services.get_mut(id.0 as usize)?.take()?;
        self.by_packet.remove(&Wanted::of(service.config.key));
        self.free.push(id.0);
        Some(service)
    }

    /// All services with their numbers, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ServiceId, &mut Service)> {
        let numbered = self.services.iter_mut().enumerate();
        numbered.filter_map(|(id, service)| Some((ServiceId(id as u32), service.as_mut()?)))
    }

    /// All services with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ServiceId, &Service)> {
        let numbered = self.services.iter().enumerate();
        numbered.filter_map(|(id, service)| Some((ServiceId(id as u32), service.as_ref()?)))
    }
}
