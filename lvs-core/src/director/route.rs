//! The ways to real servers and other neighbours, for those who send frames of their own to them.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::Director;
use super::common::Common;
use crate::addr::{MacAddr, Subnet};
use crate::config::{InterfaceConfig, InterfaceId, ProbeConfig, VlanPath};
use crate::connection::TableMemory;
use crate::io::PortId;
use crate::listing::NeighbourUsage;
use crate::neighbour::NeighbourId;
use crate::time::Instant;

/// How a real server is reached, and what to probe it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerRoute {
    /// The interface that leads there.
    pub interface: InterfaceId,
    /// That interface's port.
    pub port: PortId,
    /// Its VLAN.
    pub vlan: VlanPath,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// The longest IP packet it carries, in bytes.
    pub mtu: u16,
    /// Who gets the frames: the server itself, or the gateway in front of it.
    pub next_hop: IpAddr,
    /// The next hop's Ethernet address. `None` while it is being asked for, and for one that nobody needs: neither a real server
    /// of a service nor [watched](crate::Change::WatchNeighbour).
    pub next_hop_mac: Option<MacAddr>,
    /// The address to probe the server from.
    pub source: IpAddr,
    /// Whether the director owns that address. If not, the host's kernel does.
    pub owned: bool,
}

impl<M: TableMemory> Common<M> {
    /// The interface and the neighbour through which a server at this address gets frames. None leads to an address of the
    /// director's own: IPVS would hand the packet to its host.
    pub(super) fn way_to(&self, address: IpAddr) -> Option<(InterfaceId, IpAddr)> {
        let own = self.interfaces.iter().any(|one| one.addresses.iter().any(|a| a.address() == address));
        self.route_to(address).filter(|_| !own && self.locals.get(address).is_none())
    }

    pub(super) fn route(&self, address: IpAddr) -> Option<ServerRoute> {
        let (interface, next_hop) = self.way_to(address)?;
        let config = self.interface(interface)?;
        let (source, owned) = match probe_address(&self.interfaces, &self.probe_addresses, config, address) {
            Some(source) => (source, true),
            None => (dip(config, address)?, config.owns_addresses),
        };
        let neighbour = self.neighbours.find(interface, next_hop);
        Some(ServerRoute {
            interface,
            port: config.port,
            vlan: config.vlan,
            mac: config.mac,
            mtu: config.mtu,
            next_hop,
            next_hop_mac: neighbour.and_then(|id| self.neighbours.mac(id)),
            source,
            owned,
        })
    }

    /// Asks for a neighbour from now on, or no longer. There is room: it was checked.
    pub(super) fn watch(&mut self, now: Instant, address: IpAddr, watched: bool) {
        if !watched {
            if let Some(Some(neighbour)) = self.watched.remove(&address) {
                self.neighbours.untrack(neighbour);
            }
        } else if !self.watched.contains_key(&address) {
            let way = self.way_to(address);
            let neighbour: Option<NeighbourId> =
                way.and_then(|(interface, next_hop)| self.neighbours.track(now, interface, next_hop).ok());
            self.watched.insert(address, neighbour);
        }
    }
}

/// The addresses of the host's kernel that probes leave with.
pub(super) fn hosts_probe_addresses(interfaces: &[InterfaceConfig], probes: &ProbeConfig) -> Vec<IpAddr> {
    let kept = interfaces.iter().flat_map(|one| one.addresses.iter().map(move |a| (one, a.address())));
    let used = kept.filter(|(one, dip)| probe_address(interfaces, &probes.addresses, one, *dip).is_none());
    used.map(|(_, dip)| dip).collect()
}

/// The address that the director owns for probes out of this interface: one in its subnet, or else one that is in nobody's.
fn probe_address(
    interfaces: &[InterfaceConfig],
    addresses: &[IpAddr],
    interface: &InterfaceConfig,
    server: IpAddr,
) -> Option<IpAddr> {
    let holds = |subnets: &[Subnet], address: IpAddr| subnets.iter().any(|subnet| subnet.contains(address));
    let candidates = || addresses.iter().copied().filter(|address| address.is_ipv6() == server.is_ipv6());
    let here = candidates().find(|&address| holds(&interface.addresses, address));
    here.or_else(|| {
        candidates().find(|&address| !interfaces.iter().any(|other| holds(&other.addresses, address)))
    })
}

/// The DIP for packets to this address: a link-local one for a link-local address, and where there is no other.
fn dip(interface: &InterfaceConfig, server: IpAddr) -> Option<IpAddr> {
    let dips = || interface.addresses.iter().map(|a| a.address()).filter(|a| a.is_ipv6() == server.is_ipv6());
    dips().find(|dip| is_link_local(*dip) == is_link_local(server)).or_else(|| dips().next())
}

const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

impl<M: TableMemory> Director<M> {
    /// How frames reach a real server at this address, and what to probe it from; `None` if no interface leads there, or it is
    /// an address of the director's own. Takes time in proportion to the number of interfaces.
    #[must_use]
    pub fn route(&self, server: IpAddr) -> Option<ServerRoute> {
        self.common.route(server)
    }

    /// How many neighbours there are, and of how many the Ethernet address is known. O(1).
    #[must_use]
    pub fn neighbour_usage(&self) -> NeighbourUsage {
        self.common.neighbours.usage()
    }
}
