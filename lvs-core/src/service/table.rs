//! Virtual services by number and by what a packet says.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::Subnet;
use crate::classify::FlowKey;
use crate::config::{MarkRule, ServiceConfig, ServiceKey};
use crate::connection::ConnectionState;
use crate::connection::state::StateTimeouts;
use crate::listing::Statistics;
use crate::quick_hash::QuickMap;
use crate::scheduler::{
    Grounds, ListChange, MaglevTable, Request, Scheduler, SchedulerOptions, SchedulerState, Server,
    new_scheduler,
};
use crate::wire::ip_protocol;

/// The control port of FTP. A service there takes the data ports too: 20, and all that a server may name in passive mode.
pub(crate) const FTP: u16 = 21;
pub(crate) const FTP_DATA: u16 = 20;
const FIRST_UNPRIVILEGED: u16 = 1024;

/// The number of a virtual service while it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ServiceId(pub(crate) u32);

/// A virtual service.
pub(crate) struct Service {
    pub(crate) config: ServiceConfig,
    scheduler: Box<dyn Scheduler>,
    wants_loads: bool,
    /// In list order: last added first.
    servers: Vec<Server>,
    /// Who serves flows without a connection.
    fallback: MaglevTable,
    fallback_is_stale: bool,
    /// Totals of servers that were removed.
    pub(crate) removed: Statistics,
    /// Time-outs of its own.
    pub(crate) timeouts: Option<StateTimeouts>,
}

impl Service {
    fn new(config: ServiceConfig, options: &SchedulerOptions) -> Self {
        let scheduler = new_scheduler(config.scheduler, options);
        Self {
            config,
            wants_loads: scheduler.wants_loads(),
            scheduler,
            servers: Vec::new(),
            fallback: MaglevTable::empty(),
            fallback_is_stale: false,
            removed: Statistics::default(),
            timeouts: config.timeouts.as_ref().map(StateTimeouts::new),
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

    /// Gives the server in this place another weight, and for the time being that much of it.
    pub(crate) fn configure(&mut self, place: usize, configured: u32, weight: u32) {
        if let Some(server) = self.servers.get_mut(place) {
            server.configured = configured;
        }
        self.reweigh(place, weight);
    }

    /// Lets that much of the weight of the server in this place count.
    pub(crate) fn reweigh(&mut self, place: usize, weight: u32) {
        if let Some(server) = self.servers.get_mut(place) {
            server.weight = weight;
            self.list_changed(ListChange::Edited(place));
        }
    }

    /// Takes over what the server in this place has to do.
    #[inline(always)]
    pub(crate) fn load(&mut self, place: usize, active: u32, inactive: u32, overloaded: bool) {
        let Some(server) = self.servers.get_mut(place) else {
            return;
        };
        let notable = self.wants_loads || server.overloaded != overloaded;
        (server.active, server.inactive, server.overloaded) = (active, inactive, overloaded);
        if notable {
            self.scheduler.load_changed(place, &self.servers);
        }
    }

    /// Takes over new options. Another scheduler, or other flags for it, begins afresh.
    pub(crate) fn edit(&mut self, config: ServiceConfig, options: &SchedulerOptions) {
        if (config.scheduler, config.flags) != (self.config.scheduler, self.config.flags) {
            self.scheduler = new_scheduler(config.scheduler, options);
            self.wants_loads = self.scheduler.wants_loads();
            self.scheduler.list_changed(ListChange::Replaced, &self.servers);
        }
        self.timeouts = config.timeouts.as_ref().map(StateTimeouts::new);
        self.config = config;
    }

    fn list_changed(&mut self, change: ListChange) {
        self.scheduler.list_changed(change, &self.servers);
        self.fallback_is_stale = true;
    }

    /// To be called once after a number of edits: filling the hash table is the dear part of them.
    pub(crate) fn refresh_fallback(&mut self) {
        if core::mem::take(&mut self.fallback_is_stale) {
            // By the configured weights: directors have to agree, whichever of them saw a server start slowly.
            self.fallback.rebuild_weighted(&self.servers, |_, server| server.configured);
        }
    }

    /// Asks the scheduler.
    #[inline(always)]
    pub(crate) fn schedule(&mut self, request: &Request<'_>) -> Option<usize> {
        self.scheduler.pick(request, &self.servers).filter(|place| *place < self.servers.len())
    }

    /// What the scheduler has in mind.
    pub(crate) fn scheduler_state(&self) -> SchedulerState {
        self.scheduler.state()
    }

    /// What the last pick was made from.
    pub(crate) fn scheduler_grounds(&self) -> Grounds {
        self.scheduler.grounds()
    }

    /// The place that the hash of the client gives.
    pub(crate) fn hashed(&self, flow: &FlowKey) -> Option<usize> {
        self.fallback.pick(flow)
    }
}

/// Services by what a packet says: address, port and protocol.
#[derive(Default)]
struct ByPacket {
    v4: QuickMap<u64, ServiceId>,
    v6: QuickMap<(u128, u32), ServiceId>,
}

const fn pack(port: u16, protocol: u8) -> u32 {
    (port as u32) << 8 | protocol as u32
}

impl ByPacket {
    #[inline(always)]
    fn get(&self, address: IpAddr, port: u16, protocol: u8) -> Option<ServiceId> {
        let rest = pack(port, protocol);
        match address {
            IpAddr::V4(a) => self.v4.get(&(u64::from(a.to_bits()) << 32 | u64::from(rest))).copied(),
            IpAddr::V6(a) => self.v6.get(&(a.to_bits(), rest)).copied(),
        }
    }

    fn insert(&mut self, address: IpAddr, port: u16, protocol: u8, id: ServiceId) {
        let rest = pack(port, protocol);
        match address {
            IpAddr::V4(a) => self.v4.insert(u64::from(a.to_bits()) << 32 | u64::from(rest), id),
            IpAddr::V6(a) => self.v6.insert((a.to_bits(), rest), id),
        };
    }

    fn remove(&mut self, address: IpAddr, port: u16, protocol: u8) {
        let rest = pack(port, protocol);
        match address {
            IpAddr::V4(a) => self.v4.remove(&(u64::from(a.to_bits()) << 32 | u64::from(rest))),
            IpAddr::V6(a) => self.v6.remove(&(a.to_bits(), rest)),
        };
    }
}

/// All virtual services.
pub(crate) struct Services {
    by_packet: ByPacket,
    by_mark: QuickMap<(u32, bool), ServiceId>,
    marks: Vec<MarkRule>,
    services: Vec<Option<Service>>,
    free: Vec<u32>,
    capacity: u32,
}

impl Services {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            by_packet: ByPacket::default(),
            by_mark: QuickMap::default(),
            marks: Vec::new(),
            services: Vec::new(),
            free: Vec::new(),
            capacity,
        }
    }

    /// How many more can be added.
    pub(crate) fn vacancies(&self) -> u32 {
        self.capacity - self.services.len() as u32 + self.free.len() as u32
    }

    /// The service that takes a flow: a mark counts before an address and port, these before FTP's other ports, and
    /// those before port 0.
    #[inline(always)]
    pub(crate) fn find(&self, flow: &FlowKey) -> Option<ServiceId> {
        if !self.marks.is_empty()
            && let Some(mark) = self.mark_of(flow)
            && let Some(id) = self.by_mark.get(&(mark, flow.is_ipv6()))
        {
            return Some(*id);
        }
        let (address, port, protocol) = (flow.virtual_address(), flow.virtual_port(), flow.protocol());
        let of = |port| self.by_packet.get(address, port, protocol);
        let is_ftp_data = protocol == ip_protocol::TCP && (port == FTP_DATA || port >= FIRST_UNPRIVILEGED);
        of(port).or_else(|| if is_ftp_data { of(FTP) } else { None }).or_else(|| of(0))
    }

    /// The mark of a flow, by the first rule that fits.
    fn mark_of(&self, flow: &FlowKey) -> Option<u32> {
        let fits = |rule: &&MarkRule| {
            rule.protocol.number() == flow.protocol()
                && rule.ports.contains(flow.virtual_port())
                && rule.destination.contains(flow.virtual_address())
        };
        self.marks.iter().find(fits).map(|rule| rule.mark)
    }

    /// The rules that mark packets.
    pub(crate) fn marks(&self) -> &[MarkRule] {
        &self.marks
    }

    pub(crate) fn add_mark(&mut self, rule: MarkRule) {
        self.marks.push(rule);
    }

    pub(crate) fn clear_marks(&mut self) {
        self.marks.clear();
    }

    /// The prefixes whose packets are marked for a service that there is.
    pub(crate) fn marked_prefixes(&self) -> Arc<[Subnet]> {
        let has_service =
            |rule: &&MarkRule| self.by_mark.contains_key(&(rule.mark, rule.destination.address().is_ipv6()));
        self.marks.iter().filter(has_service).map(|rule| rule.destination).collect()
    }

    /// Whether there are services of a family. IPVS leaves packets alone where there are none. Takes time in proportion to
    /// the number of services: for rare paths.
    pub(crate) fn any_of_family(&self, ipv6: bool) -> bool {
        self.iter().any(|(_, service)| service.config.key.is_ipv6() == ipv6)
    }

    /// The service with this key.
    pub(crate) fn id(&self, key: ServiceKey) -> Option<ServiceId> {
        match key {
            ServiceKey::Address { protocol, address, port } => {
                self.by_packet.get(address, port, protocol.number())
            }
            ServiceKey::Mark { mark, ipv6 } => self.by_mark.get(&(mark, ipv6)).copied(),
        }
    }

    pub(crate) fn get(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0 as usize)?.as_ref()
    }

    /// The time-out of a state, in ticks, if the service has time-outs of its own.
    pub(crate) fn timeout_of(&self, id: ServiceId, state: ConnectionState) -> Option<u32> {
        Some(self.get(id)?.timeouts.as_ref()?.of(state))
    }

    pub(crate) fn get_mut(&mut self, id: ServiceId) -> Option<&mut Service> {
        self.services.get_mut(id.0 as usize)?.as_mut()
    }

    /// Adds a service whose key nobody has; there must be a vacancy.
    pub(crate) fn add(&mut self, config: ServiceConfig, options: &SchedulerOptions) -> ServiceId {
        let service = Some(Service::new(config, options));
        let id = if let Some(id) = self.free.pop() {
            self.services[id as usize] = service;
            id
        } else {
            self.services.push(service);
            self.services.len() as u32 - 1
        };
        match config.key {
            ServiceKey::Address { protocol, address, port } => {
                self.by_packet.insert(address, port, protocol.number(), ServiceId(id));
            }
            ServiceKey::Mark { mark, ipv6 } => {
                self.by_mark.insert((mark, ipv6), ServiceId(id));
            }
        }
        ServiceId(id)
    }

    /// Removes a service.
    pub(crate) fn remove(&mut self, id: ServiceId) -> Option<Service> {
        let service = self.services.get_mut(id.0 as usize)?.take()?;
        match service.config.key {
            ServiceKey::Address { protocol, address, port } => {
                self.by_packet.remove(address, port, protocol.number());
            }
            ServiceKey::Mark { mark, ipv6 } => {
                self.by_mark.remove(&(mark, ipv6));
            }
        }
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
