//! Checks of a [`DirectorConfig`] before anything is made of it.

use core::net::IpAddr;

use crate::addr::Subnet;
use crate::config::{ConfigError, DirectorConfig, InterfaceConfig, ProbeConfig, Timeouts, VlanPath};

/// The largest VLAN id that names a VLAN.
const LAST_VLAN: u16 = 4094;

pub(super) fn check(config: &DirectorConfig) -> Result<(), ConfigError> {
    if config.interfaces.is_empty() {
        return Err(ConfigError::NoInterface);
    }
    for (at, interface) in config.interfaces.iter().enumerate() {
        check_interface(at, interface)?;
        let twin = |other: &InterfaceConfig| other.port == interface.port && other.vlan == interface.vlan;
        if config.interfaces.iter().take(at).any(twin) {
            return Err(ConfigError::DuplicateInterface(at));
        }
    }
    if let Some(address) = config.local_addresses.iter().find(|address| !is_unicast(**address)) {
        return Err(ConfigError::LocalAddress(*address));
    }
    config.probes.as_ref().map_or(Ok(()), |probes| check_probes(config, probes))?;
    capacity("max_connections", config.max_connections, 64, 1 << 30)?;
    capacity("max_templates", config.max_templates, 64, 1 << 30)?;
    capacity("max_fragmented", config.max_fragmented, 16, 1 << 16)?;
    capacity("max_mark_rules", config.max_mark_rules, 0, 1024)?;
    capacity("max_services", config.max_services, 1, 1 << 16)?;
    capacity("max_destinations", config.max_destinations, 1, 1 << 20)?;
    capacity("pool_buffers", config.pool_buffers.into(), 8, 4096)?;
    if config.seed == [0; 32] {
        return Err(ConfigError::Seed);
    }
    check_timeouts(&config.timeouts).map_err(ConfigError::Timeout)
}

fn check_interface(at: usize, interface: &InterfaceConfig) -> Result<(), ConfigError> {
    let VlanPath { outer, inner } = interface.vlan;
    if outer > LAST_VLAN || inner > LAST_VLAN || (outer == 0 && inner != 0) {
        return Err(ConfigError::Vlan(at));
    }
    if !interface.mac.is_unicast() {
        return Err(ConfigError::Mac(at, interface.mac));
    }
    let has_v6 = interface.addresses.iter().any(|subnet| subnet.address().is_ipv6());
    if interface.mtu < if has_v6 { 1280 } else { 68 } {
        return Err(ConfigError::Mtu(at, interface.mtu));
    }
    if interface.addresses.is_empty() {
        return Err(ConfigError::NoAddress(at));
    }
    for (n, subnet) in interface.addresses.iter().enumerate() {
        let second = interface.addresses.iter().take(n).any(|other| kind_of(*other) == kind_of(*subnet));
        if second || !is_unicast(subnet.address()) {
            return Err(ConfigError::Address(at, *subnet));
        }
    }
    for (n, gateway) in interface.gateways.iter().enumerate() {
        let second = interface.gateways.iter().take(n).any(|g| g.is_ipv4() == gateway.is_ipv4());
        let on_link = interface.addresses.iter().any(|subnet| subnet.contains(*gateway));
        if second || !on_link {
            return Err(ConfigError::Gateway(at, *gateway));
        }
    }
    Ok(())
}

fn check_probes(config: &DirectorConfig, probes: &ProbeConfig) -> Result<(), ConfigError> {
    let dips = || config.interfaces.iter().flat_map(|interface| &interface.addresses);
    for address in probes.addresses.iter().copied() {
        if !is_unicast(address) || dips().any(|subnet| subnet.broadcast() == Some(address)) {
            return Err(ConfigError::ProbeAddress(address));
        }
        if dips().any(|subnet| subnet.address() == address) {
            return Err(ConfigError::ProbeAddressIsDip(address));
        }
    }
    let (first, last) = (*probes.ports.start(), *probes.ports.end());
    if first == 0 || first > last {
        return Err(ConfigError::ProbePorts(first, last));
    }
    capacity("probes.queue", probes.queue.into(), 1, 4096)
}

/// IPv4, IPv6, or IPv6 link-local: one address of each is enough for an interface.
fn kind_of(subnet: Subnet) -> u8 {
    match subnet.address() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) if address.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 2,
    }
}

/// Whether a host can have this address.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    let is_group = match address {
        IpAddr::V4(a) => a.is_multicast() || a.is_broadcast() || a.octets()[0] == 0 || a.octets()[0] >= 240,
        IpAddr::V6(a) => a.is_multicast(),
    };
    !is_group && !address.is_unspecified() && !address.is_loopback()
}

/// The name of the first time-out that is too long.
pub(super) fn check_timeouts(timeouts: &Timeouts) -> Result<(), &'static str> {
    let named = [("tcp", timeouts.tcp), ("tcp_fin", timeouts.tcp_fin), ("udp", timeouts.udp)];
    named.into_iter().find(|(_, timeout)| *timeout > Timeouts::MAX).map_or(Ok(()), |(name, _)| Err(name))
}

fn capacity(field: &'static str, value: u32, least: u32, most: u32) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::Capacity { field, value, least, most })
}
