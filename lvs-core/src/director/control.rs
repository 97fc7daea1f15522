//! Edits: [checked](super::scratch) as a whole, then carried out, which cannot fail.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::Director;
use super::common::Common;
use super::locals::Local;
use super::scratch::Scratch;
use crate::config::{ApplyError, Change, DestinationConfig, ServiceConfig, ServiceKey};
use crate::connection::TableMemory;
use crate::connection::state::StateTimeouts;
use crate::neighbour::LocalKind;
use crate::scheduler::{SchedulerOptions, Server};
use crate::service::{Reach, Serves, ServiceId};
use crate::time::Instant;

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
            Change::WatchNeighbour { address, watched } => self.watch(now, address, watched),
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
        let local = self.locals.get(address).unwrap_or(Local::NOBODYS);
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
        let Some((interface, next_hop)) = self.way_to(address) else {
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

/// Under direct routing the packet is not changed, so a server listens where the service does. IPVS sets the port
/// silently; whoever reads rules may want to warn.
pub(super) const fn port_under_direct_routing(service: ServiceKey, _port: u16) -> u16 {
    service.port()
}
