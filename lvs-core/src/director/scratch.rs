//! What edits would make of the configuration: whether they may be carried out, before any of them is.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::MAX_STATIC_NEIGHBOURS;
use super::common::Common;
use super::control::port_under_direct_routing;
use super::validate::{check_timeouts, is_unicast};
use crate::config::{
    Change, ChangeError, ClientMask, DestinationConfig, Protocol, ServiceConfig, ServiceKey, Timeouts,
};
use crate::connection::TableMemory;
use crate::quick_hash::QuickMap;

/// The longest slow start.
const LONGEST_SLOW_START: Duration = Duration::from_secs(86_400);

/// What the edits so far would have made of the configuration.
pub(super) struct Scratch<'d, M: TableMemory> {
    director: &'d Common<M>,
    /// Services that were touched; `None` if they are gone.
    touched: QuickMap<ServiceKey, Option<ScratchService>>,
    services_left: i64,
    destinations_left: i64,
    /// Servers that would be remembered by their connections.
    remembered: QuickMap<(ServiceKey, IpAddr, u16), u32>,
    /// Neighbours with a fixed address, once one was touched.
    statics: Option<super::AddressSet>,
    /// Neighbours that are watched, or not any more.
    watched: QuickMap<IpAddr, bool>,
    watches_left: i64,
    /// How many mark rules there would be.
    marks: u32,
}

/// Servers by address and port, with their number if they exist already.
#[derive(Default)]
struct ScratchService {
    servers: QuickMap<(IpAddr, u16), Option<u32>>,
}

impl<'d, M: TableMemory> Scratch<'d, M> {
    pub(super) fn new(director: &'d Common<M>) -> Self {
        Self {
            director,
            touched: QuickMap::default(),
            services_left: director.services.vacancies().into(),
            destinations_left: director.destinations.vacancies().into(),
            remembered: QuickMap::default(),
            statics: None,
            watched: QuickMap::default(),
            watches_left: i64::from(director.max_watched) - director.watched.len() as i64,
            marks: director.services.marks().len() as u32,
        }
    }

    pub(super) fn check(&mut self, change: &Change) -> Result<(), ChangeError> {
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
            Change::WatchNeighbour { address, watched } => self.watch(address, watched),
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

    fn watch(&mut self, address: IpAddr, watched: bool) -> Result<(), ChangeError> {
        if watched && (!is_unicast(address) || self.is_subnet_broadcast(address)) {
            return Err(ChangeError::DestinationAddressNotUnicast);
        }
        let known = self.watched.insert(address, watched);
        let before = known.unwrap_or_else(|| self.director.watched.contains_key(&address));
        self.watches_left += i64::from(before) - i64::from(watched);
        if watched && self.watches_left < 0 { Err(ChangeError::TooManyWatched) } else { Ok(()) }
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
