//! A configuration as plain data: which services and real servers a sequence of changes leaves.
//!
//! It knows no traffic and no limits on numbers; it answers whether a change can be carried out after those
//! before it, with the errors that a director gives. Used to check a rules file before anything starts.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use lvs_core::config::{
    Change, ChangeError, DestinationConfig, ForwardingMethod, ServiceConfig, ServiceKey, Timeouts,
};
use lvs_core::listing::ServiceListing;

/// A virtual service and its real servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The service.
    pub config: ServiceConfig,
    /// Its real servers in list order: last added first.
    pub destinations: Vec<DestinationConfig>,
}

impl From<&ServiceListing> for Service {
    fn from(listing: &ServiceListing) -> Self {
        let destinations = listing.destinations.iter().map(|destination| destination.config).collect();
        Self { config: listing.config, destinations }
    }
}

/// Services, real servers and time-outs as a director would have them. A change costs time logarithmic in
/// their numbers.
#[derive(Debug, Clone, Default)]
pub struct Model {
    services: BTreeMap<ServiceKey, Entry>,
    timeouts: Timeouts,
}

impl Model {
    /// No services, default time-outs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The services, ordered by their keys.
    pub fn services(&self) -> impl Iterator<Item = Service> + '_ {
        self.services.values().map(|entry| Service {
            config: entry.config,
            destinations: entry.destinations.values().rev().copied().collect(),
        })
    }

    /// The time-outs.
    #[must_use]
    pub const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Carries out one change. Changes of things that it does not hold (knobs, neighbours) are accepted.
    ///
    /// # Errors
    /// Those of a director but the ones about room and interfaces; the model is then as before.
    pub fn apply(&mut self, change: &Change) -> Result<(), ChangeError> {
        match *change {
            Change::AddService(config) => {
                let ServiceKey::Address { address, .. } = config.key else { return self.add(config) };
                if !is_unicast(address) {
                    return Err(ChangeError::ServiceAddressNotUnicast);
                }
                self.add(config)
            }
            Change::EditService(config) => {
                self.services.get_mut(&config.key).ok_or(ChangeError::NoSuchService)?.config = config;
                Ok(())
            }
            Change::RemoveService(key) => {
                self.services.remove(&key).map(|_| ()).ok_or(ChangeError::NoSuchService)
            }
            Change::AddDestination(key, config) => self.entry(key)?.add(config),
            Change::EditDestination(key, config) => self.entry(key)?.edit(config),
            Change::RemoveDestination { service, address, port } => {
                self.entry(service)?.remove(address, port)
            }
            Change::Clear => {
                self.services.clear();
                Ok(())
            }
            Change::SetTimeouts(timeouts) => {
                self.timeouts = timeouts;
                Ok(())
            }
            Change::ZeroStatistics(Some(key)) if !self.services.contains_key(&key) => {
                Err(ChangeError::NoSuchService)
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, config: ServiceConfig) -> Result<(), ChangeError> {
        if self.services.contains_key(&config.key) {
            return Err(ChangeError::ServiceExists);
        }
        let entry = Entry { config, destinations: BTreeMap::new(), places: HashMap::new(), next: 0 };
        self.services.insert(config.key, entry);
        Ok(())
    }

    fn entry(&mut self, key: ServiceKey) -> Result<&mut Entry, ChangeError> {
        self.services.get_mut(&key).ok_or(ChangeError::ServiceNotDefined)
    }
}

/// A service. Two maps that agree: only the methods here edit them.
#[derive(Debug, Clone)]
struct Entry {
    config: ServiceConfig,
    /// The servers by the order in which they were added.
    destinations: BTreeMap<u64, DestinationConfig>,
    /// Where in that order an address and port stand.
    places: HashMap<(IpAddr, u16), u64>,
    next: u64,
}

impl Entry {
    fn add(&mut self, config: DestinationConfig) -> Result<(), ChangeError> {
        let config = self.checked(config)?;
        let at = (config.address, config.port);
        if self.places.contains_key(&at) {
            return Err(ChangeError::DestinationExists);
        }
        self.places.insert(at, self.next);
        self.destinations.insert(self.next, config);
        self.next += 1;
        Ok(())
    }

    fn edit(&mut self, config: DestinationConfig) -> Result<(), ChangeError> {
        let config = self.checked(config)?;
        let place = self.places.get(&(config.address, config.port)).ok_or(ChangeError::NoSuchDestination)?;
        self.destinations.insert(*place, config);
        Ok(())
    }

    fn remove(&mut self, address: IpAddr, port: u16) -> Result<(), ChangeError> {
        let place = self.places.remove(&(address, port)).ok_or(ChangeError::NoSuchDestination)?;
        self.destinations.remove(&place);
        Ok(())
    }

    /// The server as it is kept: under direct routing on the service's port.
    fn checked(&self, mut config: DestinationConfig) -> Result<DestinationConfig, ChangeError> {
        if let ServiceKey::Address { address, port, .. } = self.config.key {
            if address.is_ipv4() != config.address.is_ipv4() {
                return Err(ChangeError::FamilyMismatch);
            }
            if config.forwarding == ForwardingMethod::DirectRouting {
                config.port = port;
            }
        }
        if !is_unicast(config.address) {
            return Err(ChangeError::DestinationAddressNotUnicast);
        }
        Ok(config)
    }
}

/// Whether a single host can have this address. Broadcast addresses of subnets cannot be told here.
fn is_unicast(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::config::SchedulerKind;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_added_server_comes_first_and_an_edit_keeps_its_place() {
        let key = ServiceKey::tcp(ip("192.0.2.10"), 80);
        let mut model = Model::new();
        model.apply(&Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin))).unwrap();
        for last in ["192.0.2.1", "192.0.2.3", "192.0.2.2"] {
            model.apply(&Change::AddDestination(key, DestinationConfig::new(ip(last), 80))).unwrap();
        }
        model
            .apply(&Change::EditDestination(key, DestinationConfig::new(ip("192.0.2.3"), 80).weight(7)))
            .unwrap();
        let order = |model: &Model| -> Vec<(String, u32)> {
            let service = model.services().next().unwrap();
            service.destinations.iter().map(|at| (at.address.to_string(), at.weight)).collect()
        };
        let named = |name: &str, weight| (name.to_owned(), weight);
        assert_eq!(order(&model), [named("192.0.2.2", 1), named("192.0.2.3", 7), named("192.0.2.1", 1)]);
        model.apply(&Change::RemoveDestination { service: key, address: ip("192.0.2.2"), port: 80 }).unwrap();
        model.apply(&Change::AddDestination(key, DestinationConfig::new(ip("192.0.2.2"), 80))).unwrap();
        assert_eq!(order(&model)[0], named("192.0.2.2", 1));
    }
}
