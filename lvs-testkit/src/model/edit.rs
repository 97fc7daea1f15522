//! Edits, one at a time.

use std::net::IpAddr;

use lvs_core::Change;
use lvs_core::config::{DestinationConfig, Protocol, ServiceConfig, ServiceKey};
use lvs_core::listing::Statistics;

use super::pick::Memory;
use super::{Model, Server, Service};

impl Model {
    /// Carries out an edit. `false` if it has to be refused.
    ///
    /// # Panics
    /// If the edit is of a kind that the model does not know: drains, slow starts.
    pub fn apply(&mut self, change: &Change) -> bool {
        match *change {
            Change::AddService(config) => self.add_service(config),
            Change::EditService(config) => self.edit_service(config),
            Change::RemoveService(key) => self.remove_service(key),
            Change::AddDestination(key, config) => self.add_server(key, config),
            Change::EditDestination(key, config) => self.edit_server(key, config),
            Change::RemoveDestination { service, address, .. } => self.remove_server(service, address),
            Change::AddMarkRule(rule) => {
                self.marks.push(rule);
                rule.mark != 0
            }
            Change::ClearMarkRules => {
                self.marks.clear();
                true
            }
            Change::Clear => {
                for key in self.services.iter().map(|service| service.config.key).collect::<Vec<_>>() {
                    self.remove_service(key);
                }
                self.marks.clear();
                true
            }
            Change::SetTimeouts(timeouts) => {
                self.timeouts = timeouts;
                true
            }
            Change::SetKnobs(knobs) => {
                self.knobs = knobs;
                true
            }
            Change::SetStaticNeighbour { .. } => true,
            Change::ZeroStatistics(key) => self.zero(key),
            _ => panic!("the model does not know {change:?}"),
        }
    }

    pub(super) fn service_number(&self, key: ServiceKey) -> Option<usize> {
        self.services.iter().position(|service| service.config.key == key)
    }

    fn add_service(&mut self, config: ServiceConfig) -> bool {
        if !is_sound(&config) || self.service_number(config.key).is_some() {
            return false;
        }
        let memory = Memory::new(&config, &self.knobs);
        self.services.push(Service { config, list: Vec::new(), memory, counted: Statistics::default() });
        true
    }

    /// Another scheduler, or other flags for it, begins afresh.
    fn edit_service(&mut self, config: ServiceConfig) -> bool {
        let Some(at) = self.service_number(config.key) else { return false };
        if !is_sound(&config) {
            return false;
        }
        let old = &self.services[at].config;
        let afresh = (old.scheduler, old.flags) != (config.scheduler, config.flags);
        self.services[at].config = config;
        if afresh {
            self.services[at].memory = Memory::new(&config, &self.knobs);
            self.list_changed(at);
        }
        true
    }

    fn remove_service(&mut self, key: ServiceKey) -> bool {
        let Some(at) = self.service_number(key) else { return false };
        for number in self.services.remove(at).list {
            self.servers[number].listed = false;
        }
        self.forget_orphans();
        true
    }

    fn add_server(&mut self, key: ServiceKey, config: DestinationConfig) -> bool {
        let Some(at) = self.service_number(key) else { return false };
        let is_there = self.server_of(at, config.address).is_some();
        if is_there || key.is_ipv6() != config.address.is_ipv6() || !has_sound_thresholds(&config) {
            return false;
        }
        let config = DestinationConfig { port: key.port(), ..config };
        let number = self.remembered(key, config.address).unwrap_or(self.servers.len());
        if number == self.servers.len() {
            let counted = Statistics::default();
            self.servers.push(Server { service: key, config, listed: true, overloaded: false, counted });
        }
        self.take_over(number, config);
        let server = &mut self.servers[number];
        (server.listed, server.counted) = (true, Statistics::default());
        self.services[at].list.insert(0, number);
        self.list_changed(at);
        true
    }

    /// A removed server that connections or templates still name.
    fn remembered(&self, key: ServiceKey, address: IpAddr) -> Option<usize> {
        let named = |number: usize| {
            self.connections.iter().any(|connection| connection.server == number)
                || self.templates.iter().any(|template| template.server == number)
        };
        (0..self.servers.len()).find(|number| {
            let server = &self.servers[*number];
            server.service == key && server.config.address == address && !server.listed && named(*number)
        })
    }

    /// The number of a service's server.
    fn server_of(&self, service: usize, address: IpAddr) -> Option<usize> {
        let list = &self.services[service].list;
        list.iter().copied().find(|number| self.servers[*number].config.address == address)
    }

    /// More room relieves an overloaded server at once; less room shows with the next connection.
    fn take_over(&mut self, number: usize, config: DestinationConfig) {
        let server = &mut self.servers[number];
        if config.upper_threshold == 0 || config.upper_threshold > server.config.upper_threshold {
            server.overloaded = false;
        }
        server.config = config;
    }

    fn edit_server(&mut self, key: ServiceKey, config: DestinationConfig) -> bool {
        let Some(at) = self.service_number(key) else { return false };
        let Some(number) = self.server_of(at, config.address) else { return false };
        if !has_sound_thresholds(&config) {
            return false;
        }
        self.take_over(number, DestinationConfig { port: key.port(), ..config });
        self.list_changed(at);
        true
    }

    fn remove_server(&mut self, key: ServiceKey, address: IpAddr) -> bool {
        let Some(at) = self.service_number(key) else { return false };
        let Some(number) = self.server_of(at, address) else { return false };
        let place = self.services[at].list.iter().position(|one| *one == number).expect("it is in the list");
        self.step_back(at, place);
        self.services[at].list.remove(place);
        self.servers[number].listed = false;
        self.list_changed(at);
        self.forget_orphans();
        true
    }

    /// With `expire_nodest_conn` the connections of removed servers are forgotten, and then the templates that have none.
    fn forget_orphans(&mut self) {
        if !self.knobs.expire_nodest_conn {
            return;
        }
        while let Some(at) = self.connections.iter().position(|one| !self.servers[one.server].listed) {
            self.forget(at);
        }
        while let Some(at) = self.templates.iter().position(|one| !self.servers[one.server].listed) {
            self.templates.remove(at);
        }
    }

    fn zero(&mut self, key: Option<ServiceKey>) -> bool {
        if key.is_some_and(|key| self.service_number(key).is_none()) {
            return false;
        }
        for service in self.services.iter_mut().filter(|one| key.is_none_or(|key| one.config.key == key)) {
            service.counted = Statistics::default();
            for number in &service.list {
                self.servers[*number].counted = Statistics::default();
            }
        }
        true
    }
}

fn is_sound(config: &ServiceConfig) -> bool {
    match config.key {
        ServiceKey::Address { port: 0, .. } if config.persistence.is_none() => false,
        ServiceKey::Address { protocol, .. } if config.one_packet => protocol == Protocol::Udp,
        _ => true,
    }
}

const fn has_sound_thresholds(config: &DestinationConfig) -> bool {
    config.lower_threshold <= config.upper_threshold
}
