//! A configuration as plain data: which services, real servers and mark rules a sequence of changes leaves.
//!
//! It knows no traffic and no limits on how many there may be; it answers whether a change can be carried out after those
//! before it, with the errors that a director gives. Used to check a rules file before anything starts.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use std::time::Duration;

use lvs_core::config::{
    Change, ChangeError, ClientMask, DestinationConfig, ForwardingMethod, MarkRule, Persistence, Protocol,
    ServiceConfig, ServiceKey, Timeouts,
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

/// Services, real servers, mark rules and time-outs as a director would have them. A change costs time logarithmic
/// in their numbers.
#[derive(Debug, Clone, Default)]
pub struct Model {
    services: BTreeMap<ServiceKey, Entry>,
    mark_rules: Vec<MarkRule>,
    timeouts: Timeouts,
}

impl Model {
    /// No services, default time-outs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a running director has. It is taken as it is: a director has checked it.
    #[must_use]
    pub fn of(services: &[ServiceListing], mark_rules: &[MarkRule], timeouts: Timeouts) -> Self {
        let entry = |listing: &ServiceListing| {
            let mut entry = Entry::empty(listing.config);
            // The list has the last added server first.
            for server in listing.destinations.iter().rev() {
                entry.push(server.config);
            }
            (listing.config.key, entry)
        };
        Self { services: services.iter().map(entry).collect(), mark_rules: mark_rules.to_vec(), timeouts }
    }

    /// The services, ordered by their keys.
    pub fn services(&self) -> impl Iterator<Item = Service> + '_ {
        self.services.values().map(|entry| Service {
            config: entry.config,
            destinations: entry.destinations.values().rev().copied().collect(),
        })
    }

    /// The rules that mark packets, in the order in which they are tried.
    #[must_use]
    pub fn mark_rules(&self) -> &[MarkRule] {
        &self.mark_rules
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
                check_service(&config)?;
                self.add(config)
            }
            Change::EditService(config) => {
                let entry = self.services.get_mut(&config.key).ok_or(ChangeError::NoSuchService)?;
                check_service(&config)?;
                entry.config = config;
                Ok(())
            }
            Change::RemoveService(key) => {
                self.services.remove(&key).map(|_| ()).ok_or(ChangeError::NoSuchService)
            }
            Change::AddDestination(key, config) => self.entry(key)?.add(config),
            Change::EditDestination(key, config) => self.entry(key)?.edit(config),
            Change::RemoveDestination { service, address, .. } => self.entry(service)?.remove(address),
            Change::DrainDestination { service, address, deadline, .. } => {
                self.entry(service)?.drain(address, deadline)
            }
            Change::AddMarkRule(rule) => {
                if rule.mark == 0 {
                    return Err(ChangeError::MarkZero);
                }
                self.mark_rules.push(rule);
                Ok(())
            }
            Change::ClearMarkRules => {
                self.mark_rules.clear();
                Ok(())
            }
            Change::Clear => {
                self.services.clear();
                self.mark_rules.clear();
                Ok(())
            }
            Change::SetTimeouts(timeouts) => {
                check_timeouts(&timeouts)?;
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
        self.services.insert(config.key, Entry::empty(config));
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
    fn empty(config: ServiceConfig) -> Self {
        Self { config, destinations: BTreeMap::new(), places: HashMap::new(), next: 0 }
    }

    fn add(&mut self, config: DestinationConfig) -> Result<(), ChangeError> {
        let config = self.checked(config)?;
        if self.places.contains_key(&(config.address, config.port)) {
            return Err(ChangeError::DestinationExists);
        }
        self.push(config);
        Ok(())
    }

    fn push(&mut self, config: DestinationConfig) {
        self.places.insert((config.address, config.port), self.next);
        self.destinations.insert(self.next, config);
        self.next += 1;
    }

    fn edit(&mut self, config: DestinationConfig) -> Result<(), ChangeError> {
        let config = self.checked(config)?;
        let place = self.places.get(&(config.address, config.port)).ok_or(ChangeError::NoSuchDestination)?;
        self.destinations.insert(*place, config);
        Ok(())
    }

    fn remove(&mut self, address: IpAddr) -> Result<(), ChangeError> {
        let place = self.places.remove(&self.place(address)).ok_or(ChangeError::NoSuchDestination)?;
        self.destinations.remove(&place);
        Ok(())
    }

    fn drain(&mut self, address: IpAddr, deadline: Duration) -> Result<(), ChangeError> {
        let place = self.places.get(&self.place(address)).ok_or(ChangeError::NoSuchDestination)?;
        if deadline > Timeouts::MAX {
            return Err(ChangeError::DeadlineOutOfRange);
        }
        if let Some(server) = self.destinations.get_mut(place) {
            server.weight = 0;
        }
        Ok(())
    }

    /// What a server is known by: under direct routing its port is the service's, whatever an edit says.
    const fn place(&self, address: IpAddr) -> (IpAddr, u16) {
        (address, self.config.key.port())
    }

    /// The server as it is kept: under direct routing on the service's port.
    fn checked(&self, mut config: DestinationConfig) -> Result<DestinationConfig, ChangeError> {
        check_numbers(&config)?;
        if self.config.key.is_ipv6() != config.address.is_ipv6() {
            return Err(ChangeError::FamilyMismatch);
        }
        if config.forwarding == ForwardingMethod::DirectRouting {
            config.port = self.config.key.port();
        }
        if !is_unicast(config.address) {
            return Err(ChangeError::DestinationAddressNotUnicast);
        }
        Ok(config)
    }
}

/// Whether a director would take a service, whatever others it has.
pub(crate) fn check_service(config: &ServiceConfig) -> Result<(), ChangeError> {
    match config.key {
        ServiceKey::Mark { mark: 0, .. } => return Err(ChangeError::MarkZero),
        ServiceKey::Address { address, .. } if !is_unicast(address) => {
            return Err(ChangeError::ServiceAddressNotUnicast);
        }
        ServiceKey::Address { port: 0, .. } if config.persistence.is_none() => {
            return Err(ChangeError::ServicePortZero);
        }
        ServiceKey::Address { protocol, .. } if config.one_packet && protocol != Protocol::Udp => {
            return Err(ChangeError::OnePacketNotUdp);
        }
        _ => {}
    }
    if let Some(persistence) = &config.persistence {
        check_persistence(persistence, config.key.is_ipv6())?;
    }
    if let Some(timeouts) = &config.timeouts {
        check_timeouts(timeouts)?;
    }
    const DAY: Duration = Duration::from_secs(86_400);
    if config.slow_start.is_some_and(|takes| takes > DAY) {
        return Err(ChangeError::SlowStartOutOfRange);
    }
    Ok(())
}

fn check_persistence(persistence: &Persistence, ipv6: bool) -> Result<(), ChangeError> {
    if !(Duration::from_secs(1)..=Timeouts::MAX).contains(&persistence.timeout) {
        return Err(ChangeError::PersistenceOutOfRange);
    }
    let fits = match persistence.mask {
        ClientMask::V4(mask) => !ipv6 && mask != 0,
        ClientMask::V6(length) => ipv6 && (1..=128).contains(&length),
    };
    if fits { Ok(()) } else { Err(ChangeError::MaskMismatch) }
}

fn check_timeouts(timeouts: &Timeouts) -> Result<(), ChangeError> {
    let longest = timeouts.tcp.max(timeouts.tcp_fin).max(timeouts.udp);
    if longest > Timeouts::MAX { Err(ChangeError::TimeoutOutOfRange) } else { Ok(()) }
}

/// Whether the numbers of a real server are in range.
pub(crate) const fn check_numbers(config: &DestinationConfig) -> Result<(), ChangeError> {
    if config.weight > DestinationConfig::MAX_WEIGHT {
        return Err(ChangeError::WeightOutOfRange);
    }
    if config.lower_threshold > config.upper_threshold {
        return Err(ChangeError::ThresholdsOutOfRange);
    }
    Ok(())
}

/// Whether a single host can have this address. Broadcast addresses of subnets cannot be told here.
fn is_unicast(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::config::{PortRange, PortRanges, SchedulerKind};

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

    #[test]
    fn what_a_director_refuses_is_refused() {
        use ChangeError as E;
        let tcp = ServiceConfig::new(ServiceKey::tcp(ip("192.0.2.10"), 80), SchedulerKind::RoundRobin);
        let port0 = ServiceConfig { key: ServiceKey::tcp(ip("192.0.2.10"), 0), ..tcp };
        let mark = |mark| ServiceConfig { key: ServiceKey::mark(mark), ..tcp };
        let seconds = Duration::from_secs;
        let whole = ClientMask::whole(false);
        let timeouts = |udp| Some(Timeouts { udp, ..Timeouts::default() });
        let long = seconds(31 * 86_400) + Duration::from_nanos(1);
        for (config, error) in [
            (ServiceConfig { key: ServiceKey::udp(ip("224.0.0.1"), 1), ..tcp }, E::ServiceAddressNotUnicast),
            (port0, E::ServicePortZero),
            (mark(0), E::MarkZero),
            (ServiceConfig { one_packet: true, ..tcp }, E::OnePacketNotUdp),
            (
                ServiceConfig { key: ServiceKey::sctp(ip("::1"), 1), one_packet: true, ..tcp },
                E::OnePacketNotUdp,
            ),
            (tcp.persistent(Duration::from_millis(999), whole), E::PersistenceOutOfRange),
            (tcp.persistent(long, whole), E::PersistenceOutOfRange),
            (tcp.persistent(seconds(1), ClientMask::V6(64)), E::MaskMismatch),
            (tcp.persistent(seconds(1), ClientMask::V4(0)), E::MaskMismatch),
            (ServiceConfig { timeouts: timeouts(long), ..tcp }, E::TimeoutOutOfRange),
            (ServiceConfig { slow_start: Some(seconds(86_401)), ..tcp }, E::SlowStartOutOfRange),
        ] {
            let mut model = Model::new();
            assert_eq!(model.apply(&Change::AddService(config)), Err(error));
            assert_eq!(model.apply(&Change::EditService(config)), Err(E::NoSuchService));
            assert_eq!(model.services().count(), 0);
            if config.key == tcp.key {
                model.apply(&Change::AddService(tcp)).unwrap();
                assert_eq!(model.apply(&Change::EditService(config)), Err(error));
                assert_eq!(model.services().next().unwrap().config, tcp);
            }
        }
        let mut model = Model::new();
        for config in [
            port0.persistent(seconds(31 * 86_400), ClientMask::V4(1)),
            ServiceConfig { one_packet: true, ..mark(1) },
            ServiceConfig {
                timeouts: timeouts(seconds(31 * 86_400)),
                slow_start: Some(seconds(86_400)),
                ..tcp
            },
            ServiceConfig { key: ServiceKey::mark_v6(1), ..tcp }.persistent(seconds(1), ClientMask::V6(1)),
        ] {
            model.apply(&Change::AddService(config)).unwrap();
            assert_eq!(model.apply(&Change::AddService(config)), Err(E::ServiceExists));
        }
    }

    #[test]
    fn servers_of_marks_have_a_family_but_no_port() {
        let key = ServiceKey::mark_v6(7);
        let mut model = Model::new();
        model.apply(&Change::AddService(ServiceConfig::new(key, SchedulerKind::Maglev))).unwrap();
        let add =
            |address| Change::AddDestination(key, DestinationConfig::new(ip(address), 80).thresholds(2, 1));
        assert_eq!(model.apply(&add("192.0.2.1")), Err(ChangeError::FamilyMismatch));
        model.apply(&add("2001:db8::1")).unwrap();
        assert_eq!(model.apply(&add("2001:db8::1")), Err(ChangeError::DestinationExists));
        let server = |model: &Model| model.services().next().unwrap().destinations[0];
        assert_eq!(server(&model).port, 0);
        let edit = |config| Change::EditDestination(key, config);
        let bad = server(&model).thresholds(0, 1);
        assert_eq!(model.apply(&edit(bad)), Err(ChangeError::ThresholdsOutOfRange));
        let bad = server(&model).weight(DestinationConfig::MAX_WEIGHT + 1);
        assert_eq!(model.apply(&edit(bad)), Err(ChangeError::WeightOutOfRange));
        let drain = |last, deadline| {
            let address = ip(&format!("2001:db8::{last}"));
            Change::DrainDestination {
                service: key,
                address,
                port: 80,
                deadline: Duration::from_secs(deadline),
            }
        };
        assert_eq!(model.apply(&drain(1, 2_678_401)), Err(ChangeError::DeadlineOutOfRange));
        assert_eq!(model.apply(&drain(2, 1)), Err(ChangeError::NoSuchDestination));
        model.apply(&drain(1, 1)).unwrap();
        assert_eq!((server(&model).weight, server(&model).upper_threshold), (0, 2));
    }

    #[test]
    fn mark_rules_keep_their_order_until_they_are_cleared() {
        let ports = PortRanges::new(&[PortRange { first: 1, last: 2 }]).unwrap();
        let rule = |mark| MarkRule {
            mark,
            protocol: Protocol::Tcp,
            destination: "192.0.2.0/24".parse().unwrap(),
            ports,
        };
        let mut model = Model::new();
        assert_eq!(model.apply(&Change::AddMarkRule(rule(0))), Err(ChangeError::MarkZero));
        for clear in [Change::ClearMarkRules, Change::Clear] {
            for mark in [2, 1] {
                model.apply(&Change::AddMarkRule(rule(mark))).unwrap();
            }
            assert_eq!(model.mark_rules(), [rule(2), rule(1)]);
            model.apply(&clear).unwrap();
            assert_eq!(model.mark_rules(), []);
        }
    }
}
