//! Configurations as differences: what stays the same keeps its state.

use std::collections::HashSet;

use lvs_core::Instant;
use lvs_core::config::{DestinationConfig, ServiceKey};

use super::{Check, Checker, Monitor, Penalty, Server, ServerState, Service};
use crate::config::{Assume, CheckConfig, ConfigError, ConfigureError, OnDown, ServerHealth, ServiceHealth};
use crate::decision::{Admission, Membership};

/// Where the golden ratio divides 2^64: multiples of it, taken modulo 2^64, lie evenly, however many there are.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Monitor {
    /// Watches these services and no others. What stays the same keeps its state: checks with the same probe their counts, servers
    /// what an operator forced and their penalty, services their quorum. A check that is added to a server which is there already takes
    /// over the server's present state until its first result, so that a reload neither loses servers nor brings dead ones back.
    ///
    /// A service that is left out is forgotten without decisions: the caller removes it from the director, servers included.
    ///
    /// # Errors
    /// If something is out of range, given twice or does not fit; all is as before then.
    pub fn configure(&mut self, now: Instant, services: &[ServiceHealth]) -> Result<(), ConfigureError> {
        self.check_room(services, false)?;
        let wanted: HashSet<ServiceKey> = services.iter().map(|one| one.service.key).collect();
        let gone: Vec<ServiceKey> =
            self.by_service.keys().filter(|key| !wanted.contains(key)).copied().collect();
        for key in gone {
            self.forget_service(&key);
        }
        // First all that goes, then all that comes: so whatever fits finds room.
        for service in services {
            self.drop_differences(service);
        }
        for service in services {
            self.take_over(now, service);
        }
        Ok(())
    }

    /// Whether [`configure`](Self::configure) would take these services.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, services: &[ServiceHealth]) -> Result<(), ConfigureError> {
        self.check_room(services, false)
    }

    /// Watches one service, or one that it watches already in another way; the others stay as they are.
    ///
    /// # Errors
    /// As [`configure`](Self::configure).
    pub fn configure_service(&mut self, now: Instant, service: &ServiceHealth) -> Result<(), ConfigureError> {
        self.check_room(std::slice::from_ref(service), true)?;
        self.drop_differences(service);
        self.take_over(now, service);
        Ok(())
    }

    /// Watches a service no more; without decisions, as its servers go with it. Answers whether it was watched.
    pub fn remove_service(&mut self, service: &ServiceKey) -> bool {
        self.forget_service(service)
    }

    /// Looks for mistakes and whether all of it fits, beside the services that there are if those stay.
    fn check_room(&self, services: &[ServiceHealth], others_stay: bool) -> Result<(), ConfigureError> {
        let (mut count, mut servers, mut checks) = (0, 0, 0);
        let mut seen = HashSet::new();
        for service in services {
            service.validate()?;
            let at = |error| ConfigureError { place: service.service.key.to_string(), error };
            if !seen.insert(service.service.key) {
                return Err(at(ConfigError::ServiceTwice));
            }
            count += 1;
            servers += service.servers.len() + usize::from(service.sorry.is_some());
            checks += service.servers.iter().map(|server| server.checks.len()).sum::<usize>();
            let (others, other_servers, other_checks) =
                if others_stay { self.beside(&service.service.key) } else { (0, 0, 0) };
            if count + others > self.config.max_services as usize {
                return Err(at(ConfigError::TooManyServices));
            }
            if servers + other_servers > self.config.max_servers as usize {
                return Err(at(ConfigError::TooManyServers));
            }
            if checks + other_checks > self.config.max_checks as usize {
                return Err(at(ConfigError::TooManyChecks));
            }
        }
        Ok(())
    }

    /// How many services, servers and checks there are beside a service's.
    fn beside(&self, key: &ServiceKey) -> (usize, usize, usize) {
        let (mut services, mut servers, mut checks) =
            (self.services.len(), self.servers.len(), self.checks.len());
        if let Some(&number) = self.by_service.get(key) {
            let service = &self.services[number];
            services -= 1;
            for &server in service.servers.iter().chain(&service.sorry) {
                servers -= 1;
                checks -= self.servers[server].checks.len();
            }
        }
        (services, servers, checks)
    }

    fn forget_service(&mut self, key: &ServiceKey) -> bool {
        let Some(number) = self.by_service.remove(key) else {
            return false;
        };
        if let Some(service) = self.services.remove(number) {
            for server in service.servers.into_iter().chain(service.sorry) {
                self.forget_server(number, server);
            }
        }
        self.removals.retain(|(service, _)| service != key);
        true
    }

    fn forget_server(&mut self, service: u32, number: u32) -> Option<Server> {
        let server = self.servers.remove(number)?;
        for &check in &server.checks {
            self.forget_check(check);
        }
        self.by_server.remove(&(service, server.destination.address));
        self.deadlines.clear(self.config.max_checks + number);
        self.ins.retain(|&other| other != number);
        self.outs.retain(|&other| other != number);
        Some(server)
    }

    fn forget_check(&mut self, number: u32) {
        if let Some(check) = self.checks.remove(number) {
            self.deadlines.clear(number);
            if check.queued {
                self.starts.retain(|&other| other != number);
            }
            if check.serial != 0 {
                self.in_flight -= 1;
            }
        }
    }

    /// Lets go of servers and checks that a service is to have no more.
    fn drop_differences(&mut self, new: &ServiceHealth) {
        let key = new.service.key;
        let Some(&number) = self.by_service.get(&key) else {
            return;
        };
        let service = &self.services[number];
        let all: Vec<u32> = service.servers.iter().copied().chain(service.sorry).collect();
        for one in all {
            let server = &self.servers[one];
            let same = |other: &DestinationConfig| other.address == server.destination.address;
            let stays = if server.is_sorry {
                new.sorry.as_ref().is_some_and(same)
            } else {
                new.servers.iter().any(|other| same(&other.destination))
            };
            if stays {
                self.drop_checks(one, new);
                continue;
            }
            let service = &mut self.services[number];
            service.servers.retain(|&other| other != one);
            service.sorry = service.sorry.filter(|&other| other != one);
            if let Some(Server { applied: Membership::Present { config, .. }, .. }) =
                self.forget_server(number, one)
            {
                self.removals.push_back((key, config));
            }
        }
    }

    fn drop_checks(&mut self, number: u32, new: &ServiceHealth) {
        let server = &self.servers[number];
        let address = server.destination.address;
        let Some(wanted) = new.servers.iter().find(|other| other.destination.address == address) else {
            return;
        };
        let mut left: Vec<&CheckConfig> = wanted.checks.iter().collect();
        let (keep, drop) = server.checks.iter().partition::<Vec<u32>, _>(|&&check| {
            let place = left.iter().position(|wanted| wanted.probe == self.checks[check].probe);
            place.map(|place| left.swap_remove(place)).is_some()
        });
        self.servers[number].checks = keep;
        for check in drop {
            self.forget_check(check);
        }
    }

    /// Brings a service into the form it is to have. There is room.
    fn take_over(&mut self, now: Instant, new: &ServiceHealth) {
        let key = new.service.key;
        let number = match self.by_service.get(&key) {
            Some(&number) => number,
            None => {
                let number = self.services.insert(Service {
                    config: new.service,
                    on_down: new.on_down,
                    quorum: new.quorum,
                    damping: new.damping,
                    servers: Vec::new(),
                    sorry: None,
                    quorum_held: true,
                    live: 0,
                });
                let Some(number) = number else { return };
                self.by_service.insert(key, number);
                number
            }
        };
        let service = &mut self.services[number];
        service.config = new.service;
        service.on_down = new.on_down;
        service.quorum = new.quorum;
        service.damping = new.damping;
        let servers =
            new.servers.iter().filter_map(|server| self.take_over_server(now, number, server, false));
        let servers: Vec<u32> = servers.collect();
        let sorry = new.sorry.and_then(|sorry| {
            self.take_over_server(now, number, &ServerHealth::new(sorry, Vec::new()), true)
        });
        let service = &mut self.services[number];
        service.servers = servers;
        service.sorry = sorry;
        self.evaluate(now, number);
    }

    fn take_over_server(
        &mut self,
        now: Instant,
        service: u32,
        new: &ServerHealth,
        is_sorry: bool,
    ) -> Option<u32> {
        let address = new.destination.address;
        let known = self.by_server.get(&(service, address)).copied();
        let number = match known {
            Some(number) => number,
            None => {
                let number = self.servers.insert(self.fresh_server(now, service, new, is_sorry))?;
                self.by_server.insert((service, address), number);
                self.recall_removal(number);
                number
            }
        };
        let resolved = {
            let one = &self.services[service];
            new.on_down.unwrap_or(one.on_down).resolve(&one.config)
        };
        let server = &mut self.servers[number];
        if server.destination.weight != new.destination.weight || new.checks.is_empty() {
            // A weight that was configured anew counts until a check says another.
            server.weight = None;
        }
        server.destination = new.destination;
        server.on_down = resolved;
        let assume = known.map(|_| if server.healthy { Assume::Up } else { Assume::Down });
        if self.services[service].damping.is_none() && server.held {
            server.held = false;
            server.penalty = Penalty::default();
            self.deadlines.clear(self.config.max_checks + number);
        }
        self.take_over_checks(now, number, &new.checks, assume);
        let server = &self.servers[number];
        let healthy = server.checks.iter().all(|&check| self.checks[check].checker.state().is_up());
        self.servers[number].healthy = healthy;
        Some(number)
    }

    fn fresh_server(&self, now: Instant, service: u32, new: &ServerHealth, is_sorry: bool) -> Server {
        let up = new.checks.iter().all(|check| check.timing.assume == Assume::Up);
        let state = match (is_sorry, new.checks.is_empty(), up) {
            (true, ..) => ServerState::Waiting,
            (_, true, _) => ServerState::Up,
            (_, _, true) => ServerState::AssumedUp,
            (_, _, false) => ServerState::AssumedDown,
        };
        Server {
            service,
            destination: new.destination,
            on_down: OnDown::Quiesce,
            checks: Vec::with_capacity(new.checks.len()),
            is_sorry,
            standing_in: false,
            healthy: true,
            held: false,
            penalty: Penalty::default(),
            forced: None,
            weight: None,
            admission: Admission::Out(OnDown::Quiesce),
            applied: Membership::Absent,
            queued_in: false,
            queued_out: false,
            state,
            since: now,
            suspect_from: now,
        }
    }

    /// A server that comes back before its removal was fetched is still there.
    fn recall_removal(&mut self, number: u32) {
        let server = &mut self.servers[number];
        let (key, address) = (self.services[server.service].config.key, server.destination.address);
        let place = self.removals.iter().position(|(service, one)| *service == key && one.address == address);
        if let Some((_, config)) = place.and_then(|place| self.removals.remove(place)) {
            server.applied = Membership::Present { config, draining: false };
        }
    }

    /// Keeps checks whose probe is the same and makes the others.
    fn take_over_checks(&mut self, now: Instant, number: u32, new: &[CheckConfig], assume: Option<Assume>) {
        let mut old = std::mem::take(&mut self.servers[number].checks);
        let mut checks = Vec::with_capacity(new.len());
        for config in new {
            let place = old.iter().position(|&check| self.checks[check].probe == config.probe);
            let check = match place {
                Some(place) => {
                    let check = old.swap_remove(place);
                    self.retime(now, check, config);
                    Some(check)
                }
                None => self.add_check(now, number, config, assume),
            };
            checks.extend(check);
        }
        self.servers[number].checks = checks;
    }

    fn retime(&mut self, now: Instant, number: u32, config: &CheckConfig) {
        let check = &mut self.checks[number];
        if *check.checker.timing() == config.timing {
            return;
        }
        check.checker.set_timing(now, config.timing);
        if let super::Phase::Waiting { due } = check.checker.phase()
            && !check.queued
        {
            self.deadlines.set(number, due);
        }
    }

    fn add_check(
        &mut self,
        now: Instant,
        server: u32,
        config: &CheckConfig,
        assume: Option<Assume>,
    ) -> Option<u32> {
        self.spread = self.spread.wrapping_add(1);
        let turn = u128::from(self.spread.wrapping_mul(GOLDEN).wrapping_add(self.config.seed));
        let micros = config.timing.warmup.unwrap_or(config.timing.interval).as_micros();
        let first = now + std::time::Duration::from_micros(((turn * micros) >> 64) as u64);
        let mut checker = Checker::new(config.timing, first);
        if let Some(assume) = assume {
            checker.assume(assume);
        }
        let probe = config.probe.clone();
        let check = Check { server, probe, checker, serial: 0, queued: false, last: None, failure: None };
        let number = self.checks.insert(check)?;
        self.deadlines.set(number, first);
        Some(number)
    }
}
