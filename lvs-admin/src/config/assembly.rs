//! A configuration while it is read: every part is held against those before it, and its line is remembered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use lvs_core::config::{Change, ChangeError, DestinationConfig, MarkRule, ServiceConfig, ServiceKey};

use super::{Configuration, Notice, Place, Server, Service, ServiceHealth};
use crate::model::Model;
use crate::rules::Rule;

/// A configuration that was read, with what there is to say about it.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The configuration.
    pub configuration: Configuration,
    /// What in the file has no effect here, in the order of reading.
    pub notices: Vec<Notice>,
    origins: HashMap<Part, Place>,
}

/// What can be asked for its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Service(ServiceKey),
    Server(ServiceKey, IpAddr),
    MarkRule(usize),
}

/// A configuration that no file is known of.
impl From<Configuration> for Loaded {
    fn from(configuration: Configuration) -> Self {
        Self { configuration, ..Self::default() }
    }
}

impl Loaded {
    /// The line that asks for a change, if it adds or edits a service, a server, or a mark rule that there is once.
    #[must_use]
    pub fn origin(&self, change: &Change) -> Option<&Place> {
        let part = match *change {
            Change::AddService(config) | Change::EditService(config) => Part::Service(config.key),
            Change::AddDestination(key, server) | Change::EditDestination(key, server) => {
                Part::Server(key, server.address)
            }
            Change::AddMarkRule(rule) => {
                let rules = &self.configuration.mark_rules;
                Part::MarkRule(rules.iter().position(|known| *known == rule)?)
            }
            _ => return None,
        };
        self.origins.get(&part)
    }

    pub(super) fn from_rules(file: &str, model: &Model, rules: &[Rule]) -> Self {
        let name: Arc<str> = file.into();
        let mut loaded = Self { configuration: model.into(), ..Self::default() };
        let mut mark_rules = 0;
        for rule in rules {
            let place = Place::new(&name, rule.line);
            let part = match rule.change {
                Change::AddService(config) | Change::EditService(config) => Some(Part::Service(config.key)),
                Change::AddDestination(key, server) | Change::EditDestination(key, server) => {
                    Some(Part::Server(key, server.address))
                }
                Change::AddMarkRule(_) => {
                    mark_rules += 1;
                    Some(Part::MarkRule(mark_rules - 1))
                }
                Change::Clear => {
                    mark_rules = 0;
                    None
                }
                _ => None,
            };
            if let Some(warning) = &rule.warning {
                let text = warning.display(file).to_string();
                let prefix = format!("{place}: ");
                loaded.notices.push(place.notice(text.strip_prefix(&prefix).unwrap_or(&text)));
            }
            if let Some(part) = part {
                loaded.origins.insert(part, place);
            }
        }
        loaded
    }
}

/// Puts a configuration together and refuses what a director would refuse.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    pub(crate) loaded: Loaded,
    model: Model,
    /// Real servers and sorry servers.
    destinations: u32,
}

impl Assembly {
    pub(crate) fn notice(&mut self, place: &Place, text: impl Into<String>) {
        self.loaded.notices.push(place.notice(text));
    }

    /// Adds a service; [`server`](Self::server) adds to it.
    pub(crate) fn service(
        &mut self,
        place: &Place,
        config: ServiceConfig,
        health: ServiceHealth,
    ) -> Result<(), ChangeError> {
        let capacities = self.loaded.configuration.capacities;
        if self.loaded.configuration.services.len() >= capacities.max_services as usize {
            return Err(ChangeError::TooManyServices);
        }
        self.model.apply(&Change::AddService(config))?;
        if let Some(sorry) = health.sorry_server {
            self.room_for_a_destination()?;
            let server = DestinationConfig::new(sorry.address, config.key.port());
            // It comes and goes while the director runs; here only whether it could is asked.
            self.model.apply(&Change::AddDestination(config.key, server))?;
            let (service, address) = (config.key, sorry.address);
            self.model.apply(&Change::RemoveDestination { service, address, port: service.port() })?;
        }
        self.loaded.origins.insert(Part::Service(config.key), place.clone());
        self.loaded.configuration.services.push(Service { config, servers: Vec::new(), health });
        Ok(())
    }

    /// Adds a server to the last service, on the service's port.
    pub(crate) fn server(&mut self, place: &Place, mut server: Server) -> Result<(), ChangeError> {
        let Some(service) = self.loaded.configuration.services.last_mut() else {
            return Err(ChangeError::ServiceNotDefined);
        };
        let key = service.config.key;
        server.config.port = key.port();
        self.model.apply(&Change::AddDestination(key, server.config))?;
        self.loaded.origins.insert(Part::Server(key, server.config.address), place.clone());
        service.servers.push(server);
        self.room_for_a_destination()
    }

    fn room_for_a_destination(&mut self) -> Result<(), ChangeError> {
        self.destinations += 1;
        if self.destinations > self.loaded.configuration.capacities.max_destinations {
            return Err(ChangeError::TooManyDestinations);
        }
        Ok(())
    }

    pub(crate) fn mark_rule(&mut self, place: &Place, rule: MarkRule) -> Result<(), ChangeError> {
        let rules = &mut self.loaded.configuration.mark_rules;
        if rules.len() >= self.loaded.configuration.capacities.max_mark_rules as usize {
            return Err(ChangeError::TooManyMarkRules);
        }
        self.model.apply(&Change::AddMarkRule(rule))?;
        self.loaded.origins.insert(Part::MarkRule(rules.len()), place.clone());
        rules.push(rule);
        Ok(())
    }
}

/// What to write instead, for what no director would take.
pub(crate) const fn cure(error: ChangeError) -> &'static str {
    match error {
        ChangeError::ServiceExists => "one service for an address, protocol and port",
        ChangeError::DestinationExists => "each real server once",
        ChangeError::ServiceAddressNotUnicast | ChangeError::DestinationAddressNotUnicast => {
            "an address that a single host can have"
        }
        ChangeError::ServicePortZero => "a port, or persistence",
        ChangeError::MarkZero => "a number from 1 to 4294967295",
        ChangeError::OnePacketNotUdp => "UDP, or no one-packet scheduling",
        ChangeError::PersistenceOutOfRange => "1 s to 2678400 s (31 days)",
        ChangeError::MaskMismatch => "a mask of the service's family, not 0",
        ChangeError::SlowStartOutOfRange => "at most 86400 s (a day)",
        ChangeError::ThresholdsOutOfRange => "a lower threshold that is not above the upper one",
        ChangeError::TimeoutOutOfRange => "at most 2678400 s (31 days)",
        ChangeError::TooManyServices => "fewer services, or a larger max_services",
        ChangeError::TooManyDestinations => "fewer real servers, or a larger max_destinations",
        ChangeError::TooManyMarkRules => "fewer mark rules, or a larger max_mark_rules",
        ChangeError::FamilyMismatch => "real servers of the service's family",
        ChangeError::WeightOutOfRange => "a weight from 0 to 2147483647",
        _ => "something that a director takes",
    }
}
