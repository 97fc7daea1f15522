//! What an examination is told: the director's interfaces, the services with their real servers, and bounds.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use lvs_core::config::{MarkRule, Protocol, ServiceKey, VlanPath};
use lvs_core::{Change, MacAddr, PortId, Subnet};

/// An interface of the director.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, for the reader of findings.
    pub name: String,
    /// The port that frames come and go by.
    pub port: PortId,
    /// The VLAN it lives in.
    pub vlan: VlanPath,
    /// Its Ethernet address, which is the director's.
    pub mac: MacAddr,
    /// The longest IP packet it carries, in bytes.
    pub mtu: u16,
    /// The director's own addresses (DIPs) with their subnets.
    pub addresses: Vec<Subnet>,
    /// An IPv6 address of link scope that this host owns, if it has one. Asks whether another machine has a DIP.
    pub link_local: Option<Ipv6Addr>,
    /// Routers on this interface.
    pub gateways: Vec<IpAddr>,
    /// Addresses to send probes from instead of the DIP, at most one a family. Nobody else may have them.
    pub probe_addresses: Vec<IpAddr>,
    /// Those of the addresses above that neither the host's kernel nor a running director answers ARP and neighbour
    /// discovery for: the examination does while it lasts.
    pub answer_for: Vec<IpAddr>,
}

impl Interface {
    /// An untagged interface called `eth0` with an MTU of 1500 and one DIP, which somebody else answers for.
    #[must_use]
    pub fn new(port: PortId, mac: MacAddr, dip: Subnet) -> Self {
        Self {
            name: "eth0".to_owned(),
            port,
            vlan: VlanPath::UNTAGGED,
            mac,
            mtu: 1500,
            addresses: vec![dip],
            link_local: None,
            gateways: Vec::new(),
            probe_addresses: Vec::new(),
            answer_for: Vec::new(),
        }
    }

    /// The address that the director asks with.
    pub(crate) fn dip(&self, family: IpAddr) -> Option<IpAddr> {
        let of_family = |subnet: &&Subnet| subnet.address().is_ipv4() == family.is_ipv4();
        self.addresses.iter().find(of_family).map(|subnet| subnet.address())
    }

    /// The subnet in which an address lies.
    pub(crate) fn subnet_of(&self, address: IpAddr) -> Option<Subnet> {
        self.addresses.iter().copied().find(|subnet| subnet.contains(address))
    }
}

/// A port of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServicePort {
    /// The port; somebody must listen there.
    Exact(u16),
    /// One of many, where nobody needs to listen: any answer will do.
    Any(u16),
}

impl ServicePort {
    /// The number that is probed.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Exact(port) | Self::Any(port) => port,
        }
    }
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The virtual address.
    pub vip: IpAddr,
    /// The port.
    pub port: ServicePort,
    /// The addresses of its real servers.
    pub servers: Vec<IpAddr>,
}

/// The services that a director has after these changes.
///
/// Of a service for marked packets, the addresses are those of its mark rules that name a single one.
#[must_use]
pub fn services(changes: &[Change]) -> Vec<Service> {
    let mut keys: Vec<(ServiceKey, Vec<IpAddr>)> = Vec::new();
    let mut marks: Vec<MarkRule> = Vec::new();
    for change in changes {
        match *change {
            Change::AddService(service) => keys.push((service.key, Vec::new())),
            Change::RemoveService(key) => keys.retain(|(other, _)| *other != key),
            Change::AddDestination(key, server) => {
                if let Some((_, servers)) = keys.iter_mut().find(|(other, _)| *other == key) {
                    servers.push(server.address);
                }
            }
            Change::RemoveDestination { service, address, .. } => {
                if let Some((_, servers)) = keys.iter_mut().find(|(other, _)| *other == service) {
                    servers.retain(|other| *other != address);
                }
            }
            Change::AddMarkRule(rule) => marks.push(rule),
            Change::ClearMarkRules => marks.clear(),
            Change::Clear => (keys, marks) = (Vec::new(), Vec::new()),
            _ => {}
        }
    }
    let mut services = Vec::new();
    for (key, servers) in keys {
        match key {
            ServiceKey::Address { protocol, address: vip, port } => {
                // 80 is as good as any where all are taken.
                let port = if port == 0 { ServicePort::Any(80) } else { ServicePort::Exact(port) };
                services.push(Service { protocol, vip, port, servers });
            }
            ServiceKey::Mark { mark, ipv6 } => {
                let rules = marks.iter().filter(|rule| rule.mark == mark);
                services.extend(rules.filter_map(|rule| marked(rule, ipv6, &servers)));
            }
            _ => {}
        }
    }
    services
}

fn marked(rule: &MarkRule, ipv6: bool, servers: &[IpAddr]) -> Option<Service> {
    let vip = rule.destination.address();
    let whole = if ipv6 { 128 } else { 32 };
    if vip.is_ipv6() != ipv6 || rule.destination.prefix_len() != whole {
        return None;
    }
    let port = match *rule.ports.as_slice() {
        [range] if range.first == range.last => ServicePort::Exact(range.first),
        [range, ..] => ServicePort::Any(range.first),
        [] => return None,
    };
    Some(Service { protocol: rule.protocol, vip, port, servers: servers.to_vec() })
}

/// Bounds of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most frames that are sent. Default 20,000: some 2000 real servers of one service.
    pub frames: u32,
    /// The most frames that are sent in a second, in portions of a hundredth. Default 2000; at least 100 are taken.
    pub frames_per_second: u32,
    /// When it ends at the latest. Default 15 s; without faults two seconds are enough for some hundred real servers.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frames: 20_000, frames_per_second: 2000, time: Duration::from_secs(15) }
    }
}

/// Everything that an examination is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminationConfig {
    /// The director's interfaces; at least one.
    pub interfaces: Vec<Interface>,
    /// The services.
    pub services: Vec<Service>,
    /// Ethernet addresses of other directors of the cluster: they may answer for the VIPs.
    pub director_macs: Vec<MacAddr>,
    /// Chooses sequence numbers and the addresses that nobody has. Random, or fixed for repeatable frames.
    pub seed: u64,
    /// Bounds.
    pub limits: Limits,
}

impl ExaminationConfig {
    /// One interface, these services, and the defaults.
    #[must_use]
    pub fn new(interface: Interface, services: Vec<Service>, seed: u64) -> Self {
        let limits = Limits::default();
        Self { interfaces: vec![interface], services, director_macs: Vec::new(), seed, limits }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.interfaces.is_empty() {
            return Err(ConfigError::NoInterface);
        }
        let servers: usize = self.services.iter().map(|service| service.servers.len()).sum();
        if servers > MAX_SERVERS {
            return Err(ConfigError::TooManyServers(servers));
        }
        for service in &self.services {
            for address in service.servers.iter().copied().chain([service.vip]) {
                if !self.interfaces.iter().any(|interface| interface.dip(address).is_some()) {
                    return Err(ConfigError::NoAddressOfFamily(address));
                }
            }
        }
        Ok(())
    }
}

/// The most real servers, counted once a service: each has a port number that its probe comes from.
pub(crate) const MAX_SERVERS: usize = 20_000;

/// Why there can be no examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `interfaces` is empty.
    #[error("interfaces: there is none; name at least one")]
    NoInterface,
    /// More real servers than can be told apart.
    #[error(
        "services: {0} real servers are more than the {MAX_SERVERS} that one examination takes; examine fewer services"
    )]
    TooManyServers(usize),
    /// Nothing can be asked about this address.
    #[error("no interface has a DIP of the family of {0}; give it one (--dip)")]
    NoAddressOfFamily(IpAddr),
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::config::{DestinationConfig, PortRange, PortRanges, SchedulerKind, ServiceConfig};

    #[test]
    fn services_follow_the_changes() {
        let vip: IpAddr = "10.0.0.250".parse().unwrap();
        let server = |n: u8, port| DestinationConfig::new([10, 0, 0, n].into(), port);
        let add = |key| Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin));
        let (web, all, mark) = (ServiceKey::tcp(vip, 80), ServiceKey::udp(vip, 0), ServiceKey::mark(1));
        let ports = |first, last| PortRanges::new(&[PortRange { first, last }]).unwrap();
        let rule = |ports| MarkRule {
            mark: 1,
            protocol: Protocol::Tcp,
            destination: "10.0.0.251/32".parse().unwrap(),
            ports,
        };
        let changes = [
            add(web),
            add(all),
            add(mark),
            Change::AddDestination(web, server(1, 80)),
            Change::AddDestination(web, server(2, 80)),
            Change::RemoveDestination { service: web, address: [10, 0, 0, 1].into(), port: 80 },
            Change::AddDestination(mark, server(3, 0)),
            Change::AddMarkRule(rule(ports(21, 21))),
            Change::AddMarkRule(rule(ports(10_000, 20_000))),
        ];
        let found: Vec<_> =
            services(&changes).into_iter().map(|s| (s.protocol, s.vip, s.port, s.servers.len())).collect();
        let marked: IpAddr = "10.0.0.251".parse().unwrap();
        let expected = [
            (Protocol::Tcp, vip, ServicePort::Exact(80), 1),
            (Protocol::Udp, vip, ServicePort::Any(80), 0),
            (Protocol::Tcp, marked, ServicePort::Exact(21), 1),
            (Protocol::Tcp, marked, ServicePort::Any(10_000), 1),
        ];
        assert_eq!(found, expected);
        assert_eq!(services(&[&changes[..], &[Change::Clear]].concat()), []);
    }

    #[test]
    fn what_cannot_be_examined_is_named() {
        let vip: IpAddr = "fd00::250".parse().unwrap();
        let service =
            Service { protocol: Protocol::Tcp, vip, port: ServicePort::Exact(80), servers: vec![vip] };
        let eth0 = Interface::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 1]), "10.0.0.1/24".parse().unwrap());
        let config = ExaminationConfig::new(eth0, vec![service.clone()], 0);
        assert_eq!(config.check(), Err(ConfigError::NoAddressOfFamily(vip)));
        let none = ExaminationConfig { interfaces: Vec::new(), ..config.clone() };
        assert_eq!(none.check(), Err(ConfigError::NoInterface));
        let many = Service { servers: vec![vip; 20_001], ..service };
        let many = ExaminationConfig { services: vec![many], ..config };
        assert_eq!(many.check(), Err(ConfigError::TooManyServers(20_001)));
    }
}
