//! How frames reach a director: the choice of a backend, and what AF_XDP has to be told.

use std::net::IpAddr;
use std::num::NonZeroU16;

use clap::ValueEnum;
use lvs_core::config::ServiceKey;
use lvs_core::{Change, FrameIo, InterfaceConfig, PortId, Subnet};
use lvs_io_xdp::{AddressError, OpenError, Warning, XdpConfig, XdpIo};

/// The ways in which frames can reach a director.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Io {
    /// Linux packet sockets: run everywhere
    #[default]
    Afpacket,
    /// Linux AF_XDP sockets: faster, take root's rights, and no unfinished checksums from other ends of veth pairs
    Xdp,
}

impl Io {
    /// The name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Afpacket => "afpacket",
            Self::Xdp => "xdp",
        }
    }
}

/// Which addresses come to a director's AF_XDP sockets, and which stay with the host's kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// VIPs, prefixes of mark rules, and the director's own addresses.
    pub take: Vec<Subnet>,
    /// Addresses of the host's kernel.
    pub leave: Vec<Subnet>,
}

impl Addresses {
    /// The addresses of a director with these interfaces after these changes. `host_has` says which of its addresses
    /// the host's kernel has.
    #[must_use]
    pub fn of(interfaces: &[InterfaceConfig], changes: &[Change], host_has: impl Fn(IpAddr) -> bool) -> Self {
        let mut services: Vec<ServiceKey> = Vec::new();
        let mut marks: Vec<Subnet> = Vec::new();
        for change in changes {
            match *change {
                Change::AddService(service) => services.push(service.key),
                Change::RemoveService(key) => services.retain(|service| *service != key),
                Change::AddMarkRule(rule) => marks.push(rule.destination),
                Change::ClearMarkRules => marks.clear(),
                Change::Clear => (services, marks) = (Vec::new(), Vec::new()),
                _ => {}
            }
        }
        let own = interfaces.iter().flat_map(|interface| &interface.addresses);
        let (left, taken): (Vec<_>, Vec<_>) =
            own.map(|dip| dip.address()).partition(|address| host_has(*address));
        let vips = services.iter().filter_map(ServiceKey::address);
        let mut take: Vec<Subnet> = taken.into_iter().chain(vips).filter_map(single).chain(marks).collect();
        take.sort_by_key(|subnet| (subnet.address(), subnet.prefix_len()));
        take.dedup();
        Self { take, leave: left.into_iter().filter_map(single).collect() }
    }
}

/// An address as a subnet of its own.
fn single(address: IpAddr) -> Option<Subnet> {
    Subnet::new(address, if address.is_ipv4() { 32 } else { 128 })
}

/// Why AF_XDP sockets could not be opened and told what to take.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// They could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// They could not be told.
    #[error(transparent)]
    Addresses(#[from] AddressError),
}

/// Opens AF_XDP sockets on these interfaces for these addresses, and logs how.
///
/// # Errors
/// If the kernel refuses; the text says what is missing.
pub fn open_xdp(
    names: &[String],
    interfaces: &[InterfaceConfig],
    addresses: &Addresses,
) -> Result<XdpIo, XdpError> {
    let mut io = XdpIo::open(&XdpConfig::new(names.iter().cloned()))?;
    prepare(&mut io, interfaces, addresses)?;
    Ok(io)
}

/// The same for so many workers.
///
/// # Errors
/// As there, and if an interface has fewer queues than there are workers.
pub fn open_xdp_group(
    names: &[String],
    interfaces: &[InterfaceConfig],
    addresses: &Addresses,
    workers: NonZeroU16,
) -> Result<Vec<XdpIo>, XdpError> {
    let mut group = XdpIo::open_group(&XdpConfig::new(names.iter().cloned()), workers)?;
    // What concerns the devices is one for all, and the first has it.
    if let Some(first) = group.first_mut() {
        prepare(first, interfaces, addresses)?;
    }
    Ok(group)
}

fn prepare(
    io: &mut XdpIo,
    interfaces: &[InterfaceConfig],
    addresses: &Addresses,
) -> Result<(), AddressError> {
    io.set_addresses(&addresses.take, &addresses.leave)?;
    for port in (0..io.ports()).map(PortId) {
        if let (Some(name), Some(mode)) = (io.interface(port), io.mode(port)) {
            tracing::info!("{name}: AF_XDP {mode}");
        }
    }
    let uses_vlans = interfaces.iter().any(|interface| interface.vlan.outer != 0);
    for warning in io.warnings() {
        // Nearly every device takes tags out, which matters only where there are any.
        if uses_vlans || !matches!(warning, Warning::VlanOffload { .. }) {
            tracing::warn!("{warning}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::MacAddr;
    use lvs_core::config::{MarkRule, PortRange, PortRanges, Protocol, SchedulerKind, ServiceConfig};

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn interface(dips: &[&str]) -> InterfaceConfig {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let addresses = subnets(dips);
        InterfaceConfig { addresses, ..InterfaceConfig::new(PortId(0), mac, "10.0.0.1/8".parse().unwrap()) }
    }

    fn service(address: &str, port: u16) -> ServiceConfig {
        ServiceConfig::new(ServiceKey::tcp(address.parse().unwrap(), port), SchedulerKind::RoundRobin)
    }

    #[test]
    fn services_marks_and_own_addresses_are_taken_and_the_hosts_left() {
        let ports = PortRanges::new(&[PortRange { first: 1, last: 9 }]).unwrap();
        let destination = "10.9.0.0/16".parse().unwrap();
        let mark = MarkRule { mark: 1, protocol: Protocol::Tcp, destination, ports };
        let changes = [
            Change::AddService(service("10.0.0.250", 80)),
            Change::AddService(service("10.0.0.250", 443)),
            Change::AddService(service("fd00::250", 80)),
            Change::AddMarkRule(mark),
        ];
        let interfaces = [interface(&["10.0.0.208/24", "fd00::208/64"])];
        let of = |changes: &[Change]| Addresses::of(&interfaces, changes, |address| address.is_ipv6());
        let expected = Addresses {
            take: subnets(&["10.0.0.208/32", "10.0.0.250/32", "10.9.0.0/16", "fd00::250/128"]),
            leave: subnets(&["fd00::208/128"]),
        };
        assert_eq!(of(&changes), expected);
        // One service of an address goes and another stays.
        let removed = [&changes[..], &[Change::RemoveService(service("10.0.0.250", 80).key)]].concat();
        assert_eq!(of(&removed), expected);
        let cleared = [&changes[..], &[Change::Clear]].concat();
        assert_eq!(of(&cleared).take, subnets(&["10.0.0.208/32"]));
    }
}
