//! Edits: checked as a whole against a scratch copy of what they touch, then carried out, which cannot fail.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::common::Common;
use super::locals::Local;
use super::validate::{check_timeouts, is_unicast};
use super::{Director, MAX_STATIC_NEIGHBOURS};
use crate::config::{
    ApplyError, Change, ChangeError, ClientMask, DestinationConfig, Protocol, ServiceConfig, ServiceKey,
    Timeouts,
};
use crate::connection::TableMemory;
use crate::connection::state::StateTimeouts;
use crate::neighbour::LocalKind;
use crate::quick_hash::QuickMap;
use crate::scheduler::{SchedulerOptions, Server};
use crate::service::{Reach, Serves, ServiceId};
use crate::time::Instant;

/// The longest slow start.
const LONGEST_SLOW_START: Duration = Duration::from_secs(86_400);

impl<M: TableMemory> Director<M> {
    /// Carries out a list of edits, in order. Connections that an edit does not concern are not touched.
    ///
    /// Takes time in proportion to the servers of the services that are touched, once to check and once to do, plus the
    /// length of the list; the only call besides the constructor that may allocate.
    ///
    /// # Errors
    /// If one of the edits is refused; then none is carried out.
    pub fn apply(&mut self, now: Instant, changes: &[Change]) -> Result<(), ApplyError> {
        // What was counted so far belongs to the servers as they are now.
        self.worker.report(&mut self.common);
        self.common.apply(now, changes)?;
        self.worker.catch_up(&mut self.common);
        self.common.let_go.clear();
        Ok(())
    }
}

impl<M: TableMemory> Common<M> {
    /// The same, for all workers, which have reported and follow afterwards.
    pub(super) fn apply(&mut self, now: Instant, changes: &[Change]) -> Result<(), ApplyError> {
        self.now = self.now.max(now);
        let mut scratch = Scratch::new(self);
        for (index, change) in changes.iter().enumerate() {
            scratch.check(change).map_err(|error| ApplyError { index, error })?;
        }
        for change in changes {
            self.carry_out(now, change);
        }
        for (_, service) in self.services.iter_mut() {
            service.refresh_fallback();
        }
        self.marked = self.services.marked_prefixes();
        self.take_neighbour_updates(now);
        self.changed_as_a_whole();
        Ok(())
    }

    fn carry_out(&mut self, now: Instant, change: &Change) {
        match *change {
            Change::AddService(config) => self.add_service(now, config),
            Change::EditService(config) => {
                let options = self.scheduler_options(&config);
                if let Some(service) = self.service_mut(config.key) {
                    service.edit(config, &options);
                }
                self.number_servers(config.key);
            }
            Change::RemoveService(key) => self.remove_service(key),
            Change::AddDestination(key, config) => self.add_destination(now, key, config),
            Change::EditDestination(key, config) => self.edit_destination(key, config),
            Change::RemoveDestination { service, address, port } => {
                self.remove_destination(service, address, port_under_direct_routing(service, port));
            }
            Change::Clear => {
                let keys: Vec<ServiceKey> = self.services.iter().map(|(_, s)| s.config.key).collect();
                for key in keys {
                    self.remove_service(key);
                }
                self.clear_marks();
            }
            Change::DrainDestination { service, address, port, deadline } => {
                self.drain(service, address, port_under_direct_routing(service, port), deadline);
            }
            Change::AddMarkRule(rule) => {
                self.services.add_mark(rule);
                let _ = self.neighbours.add_local_prefix(now, rule.destination);
            }
            Change::ClearMarkRules => self.clear_marks(),
            Change::SetTimeouts(timeouts) => {
                self.timeouts = timeouts;
                self.state_timeouts = StateTimeouts::new(&timeouts);
            }
            Change::SetKnobs(knobs) => {
                self.knobs = knobs;
            }
            Change::SetStaticNeighbour { address, mac } => {
                if let Some(interface) = self.on_link(address) {
                    if mac.is_some() {
                        self.static_neighbours.insert(address);
                    } else {
                        self.static_neighbours.remove(&address);
                    }
                    let _ = self.neighbours.set_static(now, interface, address, mac);
                }
            }
            Change::ZeroStatistics(key) => self.zero_statistics(key),
        }
    }

    fn service_mut(&mut self, key: ServiceKey) -> Option<&mut crate::service::Service> {
        let id = self.services.id(key)?;
        self.services.get_mut(id)
    }

    fn add_service(&mut self, now: Instant, config: ServiceConfig) {
        let options = self.scheduler_options(&config);
        self.services.add(config, &options);
        let Some(address) = config.key.address() else {
            return;
        };
        let local = self.locals.get(address).unwrap_or(Local { services: 0, own: false });
        // There is room: as many addresses as services may exist.
        let _ = self.neighbours.add_local(now, address, LocalKind::Vip);
        Arc::make_mut(&mut self.locals).set(address, Local { services: local.services + 1, ..local });
    }

    fn remove_service(&mut self, key: ServiceKey) {
        let Some(service) = self.services.id(key).and_then(|id| self.services.remove(id)) else {
            return;
        };
        for server in service.servers() {
            self.drop_destination(server.destination);
        }
        self.leave_no_orphans();
        if let Some(address) = key.address()
            && let Some(local) = self.locals.get(address)
        {
            self.neighbours.remove_local(address, LocalKind::Vip);
            let services = local.services.saturating_sub(1);
            Arc::make_mut(&mut self.locals).set(address, Local { services, ..local });
        }
    }

    fn add_destination(&mut self, now: Instant, key: ServiceKey, config: DestinationConfig) {
        let config = DestinationConfig { port: port_under_direct_routing(key, config.port), ..config };
        let (Some(service), Some(destination)) = (self.services.id(key), self.destinations.add(key, config))
        else {
            return;
        };
        // A number that somebody else had, or a server that returns.
        self.estimator.restart(destination, self.destinations.totals(destination));
        self.find_way(now, destination, config.address);
        let (weight, slow_start) = self.first_weight(key, config.weight);
        if let Some(length) = slow_start {
            self.ramps.start(now, destination, length);
        }
        let load = self.destinations.load(destination);
        let server = Server {
            address: config.address,
            port: config.port,
            weight,
            active: load.active,
            inactive: load.inactive,
            overloaded: self.destinations.get(destination).overloaded,
            configured: config.weight,
            destination,
        };
        if let Some(service) = self.services.get_mut(service) {
            service.add(server);
        }
        self.number_servers(key);
    }

    /// Tells the servers of a service where they stand.
    fn number_servers(&mut self, key: ServiceKey) {
        let Some(id) = self.services.id(key) else {
            return;
        };
        let Some(service) = self.services.get(id) else {
            return;
        };
        for (place, server) in (0..).zip(service.servers()) {
            self.destinations.load_mut(server.destination).serves = Serves { service: id, place };
            self.destinations.lane_mut(server.destination).set_own_timeouts(service.timeouts.is_some());
        }
    }

    fn scheduler_options(&self, config: &ServiceConfig) -> SchedulerOptions {
        SchedulerOptions {
            flags: config.flags,
            seed: self.scheduler_seed,
            seeded_start: self.knobs.seeded_start,
            maglev_entries: self.knobs.maglev_entries.clamp(251, 131_071),
            lblc_expiration: self.knobs.lblc_expiration,
            lblcr_expiration: self.knobs.lblcr_expiration,
        }
    }

    fn clear_marks(&mut self) {
        for rule in self.services.marks() {
            self.neighbours.remove_local_prefix(rule.destination);
        }
        self.services.clear_marks();
    }

    /// Quiesces a server and sets the time at which its connections have to be over.
    fn drain(&mut self, key: ServiceKey, address: IpAddr, port: u16, deadline: Duration) {
        let now = self.now;
        let Some(service) = self.service_mut(key) else {
            return;
        };
        let Some(place) = service.place_of(address, port) else {
            return;
        };
        service.configure(place, 0, 0);
        let destination = service.servers()[place].destination;
        self.destinations.get_mut(destination).config.weight = 0;
        self.ramps.drain(destination, now + deadline);
    }

    /// Sets up how frames reach a server.
    fn find_way(&mut self, now: Instant, destination: u32, address: IpAddr) {
        // A packet cannot be sent to an address that is the director's own; IPVS would hand it to its host.
        let own = self.interfaces.iter().any(|one| one.addresses.iter().any(|a| a.address() == address));
        let route = self.route_to(address).filter(|_| !own && self.locals.get(address).is_none());
        let Some((interface, next_hop)) = route else {
            self.destinations.lane_mut(destination).set_reach(Reach::NoRoute);
            return;
        };
        // There is room: a server needs one neighbour, and there may be as many neighbours as servers.
        let Ok(neighbour) = self.neighbours.track(now, interface, next_hop) else {
            return;
        };
        self.next_hops.entry(neighbour).or_default().push(destination);
        let lane = self.destinations.lane_mut(destination);
        if let Some(config) = self.interfaces.get(usize::from(interface.0)) {
            lane.set_way(interface, config, neighbour);
        }
        lane.set_reach(Reach::Unresolved);
        self.refresh_lane(destination);
    }

    fn edit_destination(&mut self, key: ServiceKey, config: DestinationConfig) {
        let port = port_under_direct_routing(key, config.port);
        let (first, slow_start) = self.first_weight(key, config.weight);
        let Some(service) = self.service_mut(key) else {
            return;
        };
        let Some(place) = service.place_of(config.address, port) else {
            return;
        };
        let destination = service.servers()[place].destination;
        // Who comes back from weight 0 starts slowly, like a new one.
        let slow_start = slow_start.filter(|_| service.servers()[place].weight == 0);
        let weight = if slow_start.is_some() { first } else { config.weight };
        service.configure(place, config.weight, weight);
        self.ramps.forget(destination);
        if let Some(length) = slow_start {
            self.ramps.start(self.now, destination, length);
        }
        self.destinations.edit(destination, DestinationConfig { port, ..config });
        if self.destinations.lane(destination).reach() == Reach::Drained {
            let is_reachable = self.destinations.lane(destination).neighbour().is_some();
            let reach = if is_reachable { Reach::Unresolved } else { Reach::NoRoute };
            self.destinations.lane_mut(destination).set_reach(reach);
            self.refresh_lane(destination);
        }
        self.note_load(destination);
    }

    fn remove_destination(&mut self, key: ServiceKey, address: IpAddr, port: u16) {
        let Some(service) = self.service_mut(key) else {
            return;
        };
        if let Some(place) = service.place_of(address, port) {
            let server = service.remove(place);
            let counted = self.destinations.statistics(server.destination);
            if let Some(service) = self.service_mut(key) {
                service.removed.add(&counted);
            }
            self.drop_destination(server.destination);
            self.number_servers(key);
            self.leave_no_orphans();
        }
    }

    /// As IPVS, `expire_nodest_conn` does not wait for a packet: servers were removed, and all that is left of them goes.
    const fn leave_no_orphans(&mut self) {
        if self.knobs.expire_nodest_conn {
            self.orphan_rounds = self.orphan_rounds.wrapping_add(1);
        }
    }

    /// Takes a server out of the way of new frames.
    fn drop_destination(&mut self, destination: u32) {
        // Its counts are with its service now: if it returns, it counts from zero.
        self.destinations.zero(destination);
        self.ramps.forget(destination);
        let Some(neighbour) = self.destinations.remove(destination) else {
            return;
        };
        if let Some(behind) = self.next_hops.get_mut(&neighbour) {
            behind.retain(|other| *other != destination);
            if behind.is_empty() {
                self.next_hops.remove(&neighbour);
                self.let_go.push(neighbour);
            }
        }
        self.neighbours.untrack(neighbour);
    }
}

/// Under direct routing the packet is not changed, so a server listens where the service does. IPVS sets the port
/// silently; whoever reads rules may want to warn.
const fn port_under_direct_routing(service: ServiceKey, _port: u16) -> u16 {
    service.port()
}

/// What the edits so far would have made of the configuration.
struct Scratch<'d, M: TableMemory> {
    director: &'d Common<M>,
    /// Services that were touched; `None` if they are gone.
    touched: QuickMap<ServiceKey, Option<ScratchService>>,
    services_left: i64,
    destinations_left: i64,
    /// Servers that would be remembered by their connections.
    remembered: QuickMap<(ServiceKey, IpAddr, u16), u32>,
    /// Neighbours with a fixed address, once one was touched.
    statics: Option<super::AddressSet>,
    /// How many mark rules there would be.
    marks: u32,
}

/// Servers by address and port, with their number if they exist already.
#[derive(Default)]
struct ScratchService {
    servers: QuickMap<(IpAddr, u16), Option<u32>>,
}

impl<'d, M: TableMemory> Scratch<'d, M> {
    fn new(director: &'d Common<M>) -> Self {
        Self {
            director,
            touched: QuickMap::default(),
            services_left: director.services.vacancies().into(),
            destinations_left: director.destinations.vacancies().into(),
            remembered: QuickMap::default(),
            statics: None,
            marks: director.services.marks().len() as u32,
        }
    }

    fn check(&mut self, change: &Change) -> Result<(), ChangeError> {
        match *change {
            Change::AddService(config) => self.add_service(&config),
            Change::EditService(config) => {
                self.service(config.key).ok_or(ChangeError::NoSuchService)?;
                check_service(&config)
            }
            Change::RemoveService(key) => self.remove_service(key),
            Change::AddDestination(key, config) => self.add_destination(key, &config),
            Change::EditDestination(key, config) => {
                check_limits(&config)?;
                let place = (config.address, port_under_direct_routing(key, config.port));
                let service = self.service(key).ok_or(ChangeError::ServiceNotDefined)?;
                service.servers.get(&place).map(drop).ok_or(ChangeError::NoSuchDestination)
            }
            Change::RemoveDestination { service, address, port } => {
                self.remove_destination(service, (address, port_under_direct_routing(service, port)))
            }
            Change::Clear => {
                for key in self.keys() {
                    self.remove_service(key)?;
                }
                self.marks = 0;
                Ok(())
            }
            Change::DrainDestination { service, address, port, deadline } => {
                let place = (address, port_under_direct_routing(service, port));
                let service = self.service(service).ok_or(ChangeError::ServiceNotDefined)?;
                service.servers.get(&place).ok_or(ChangeError::NoSuchDestination)?;
                if deadline > Timeouts::MAX { Err(ChangeError::DeadlineOutOfRange) } else { Ok(()) }
            }
            Change::AddMarkRule(rule) => {
                if rule.mark == 0 {
                    return Err(ChangeError::MarkZero);
                }
                if self.marks >= self.director.max_mark_rules {
                    return Err(ChangeError::TooManyMarkRules);
                }
                self.marks += 1;
                Ok(())
            }
            Change::ClearMarkRules => {
                self.marks = 0;
                Ok(())
            }
            Change::SetTimeouts(timeouts) => {
                check_timeouts(&timeouts).map_err(|_| ChangeError::TimeoutOutOfRange)
            }
            Change::SetKnobs(_) | Change::ZeroStatistics(None) => Ok(()),
            Change::SetStaticNeighbour { address, mac } => self.set_static(address, mac),
            Change::ZeroStatistics(Some(key)) => {
                self.service(key).map(drop).ok_or(ChangeError::NoSuchService)
            }
        }
    }

    fn keys(&self) -> Vec<ServiceKey> {
        let existing = self.director.services.iter().map(|(_, service)| service.config.key);
        let untouched = existing.filter(|key| !self.touched.contains_key(key));
        let added = self.touched.iter().filter(|(_, service)| service.is_some()).map(|(key, _)| *key);
        untouched.chain(added).collect()
    }

    /// The service as the edits so far would have left it.
    fn service(&mut self, key: ServiceKey) -> Option<&mut ScratchService> {
        let director = self.director;
        let scratch = self.touched.entry(key).or_insert_with(|| {
            let service = director.services.get(director.services.id(key)?)?;
            let servers = service.servers().iter();
            let servers = servers.map(|s| ((s.address, s.port), Some(s.destination))).collect();
            Some(ScratchService { servers })
        });
        scratch.as_mut()
    }

    fn add_service(&mut self, config: &ServiceConfig) -> Result<(), ChangeError> {
        let key = config.key;
        check_service(config)?;
        if self.service(key).is_some() {
            return Err(ChangeError::ServiceExists);
        }
        if self.services_left <= 0 {
            return Err(ChangeError::TooManyServices);
        }
        self.services_left -= 1;
        self.touched.insert(key, Some(ScratchService::default()));
        Ok(())
    }

    fn remove_service(&mut self, key: ServiceKey) -> Result<(), ChangeError> {
        let service = self.service(key).ok_or(ChangeError::NoSuchService)?;
        let servers: Vec<(IpAddr, u16)> = service.servers.keys().copied().collect();
        for server in servers {
            self.remove_destination(key, server)?;
        }
        self.touched.insert(key, None);
        self.services_left += 1;
        Ok(())
    }

    fn add_destination(&mut self, key: ServiceKey, config: &DestinationConfig) -> Result<(), ChangeError> {
        check_limits(config)?;
        let place = (config.address, port_under_direct_routing(key, config.port));
        let service = self.service(key).ok_or(ChangeError::ServiceNotDefined)?;
        if key.is_ipv6() != config.address.is_ipv6() {
            return Err(ChangeError::FamilyMismatch);
        }
        if service.servers.contains_key(&place) {
            return Err(ChangeError::DestinationExists);
        }
        if !is_unicast(config.address) || self.is_subnet_broadcast(config.address) {
            return Err(ChangeError::DestinationAddressNotUnicast);
        }
        let remembered = self
            .remembered
            .remove(&(key, place.0, place.1))
            .or_else(|| self.director.destinations.remembered(key, place.0, place.1));
        if remembered.is_none() {
            if self.destinations_left <= 0 {
                return Err(ChangeError::TooManyDestinations);
            }
            self.destinations_left -= 1;
        }
        if let Some(service) = self.service(key) {
            service.servers.insert(place, remembered);
        }
        Ok(())
    }

    fn is_subnet_broadcast(&self, address: IpAddr) -> bool {
        let mut subnets = self.director.interfaces.iter().flat_map(|interface| &interface.addresses);
        subnets.any(|subnet| subnet.broadcast() == Some(address))
    }

    fn remove_destination(&mut self, key: ServiceKey, place: (IpAddr, u16)) -> Result<(), ChangeError> {
        let service = self.service(key).ok_or(ChangeError::ServiceNotDefined)?;
        let number = service.servers.remove(&place).ok_or(ChangeError::NoSuchDestination)?;
        match number {
            Some(id) if self.director.destinations.has_connections(id) => {
                self.remembered.insert((key, place.0, place.1), id);
            }
            _ => self.destinations_left += 1,
        }
        Ok(())
    }

    fn set_static(&mut self, address: IpAddr, mac: Option<crate::MacAddr>) -> Result<(), ChangeError> {
        if mac.is_some_and(|mac| !mac.is_unicast()) {
            return Err(ChangeError::MacNotUnicast);
        }
        if self.director.on_link(address).is_none() {
            return Err(ChangeError::NeighbourNotOnLink);
        }
        let statics = self.statics.get_or_insert_with(|| self.director.static_neighbours.clone());
        if mac.is_none() {
            statics.remove(&address);
        } else if statics.insert(address) && statics.len() > MAX_STATIC_NEIGHBOURS {
            return Err(ChangeError::TooManyNeighbours);
        }
        Ok(())
    }
}

/// What has to hold of a service whatever else there is.
fn check_service(config: &ServiceConfig) -> Result<(), ChangeError> {
    match config.key {
        ServiceKey::Address { address, .. } if !is_unicast(address) => {
            return Err(ChangeError::ServiceAddressNotUnicast);
        }
        ServiceKey::Address { port: 0, .. } if config.persistence.is_none() => {
            return Err(ChangeError::ServicePortZero);
        }
        ServiceKey::Address { protocol, .. } if config.one_packet && protocol != Protocol::Udp => {
            return Err(ChangeError::OnePacketNotUdp);
        }
        ServiceKey::Mark { mark: 0, .. } => return Err(ChangeError::MarkZero),
        _ => {}
    }
    if let Some(persistence) = config.persistence {
        if persistence.timeout.as_secs() == 0 || persistence.timeout > Timeouts::MAX {
            return Err(ChangeError::PersistenceOutOfRange);
        }
        match (persistence.mask, config.key.is_ipv6()) {
            (ClientMask::V4(1..), false) | (ClientMask::V6(1..=128), true) => {}
            _ => return Err(ChangeError::MaskMismatch),
        }
    }
    if config.slow_start.is_some_and(|time| time > LONGEST_SLOW_START) {
        return Err(ChangeError::SlowStartOutOfRange);
    }
    config
        .timeouts
        .map_or(Ok(()), |timeouts| check_timeouts(&timeouts).map_err(|_| ChangeError::TimeoutOutOfRange))
}

fn check_limits(config: &DestinationConfig) -> Result<(), ChangeError> {
    if config.weight > DestinationConfig::MAX_WEIGHT {
        return Err(ChangeError::WeightOutOfRange);
    }
    if config.lower_threshold > config.upper_threshold {
        return Err(ChangeError::ThresholdsOutOfRange);
    }
    Ok(())
}

impl<M: TableMemory> Common<M> {
    fn zero_statistics(&mut self, key: Option<ServiceKey>) {
        let ids: Vec<ServiceId> = match key {
            Some(key) => self.services.id(key).into_iter().collect(),
            None => self.services.iter().map(|(id, _)| id).collect(),
        };
        for id in ids {
            if let Some(service) = self.services.get_mut(id) {
                service.removed = crate::listing::Statistics::default();
                for server in service.servers() {
                    let id = server.destination;
                    self.destinations.zero(id);
                    self.estimator.restart(id, self.destinations.totals(id));
                }
            }
        }
    }
}
