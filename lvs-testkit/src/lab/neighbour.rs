//! The neighbour caches of a host: ARP and NDP.

use std::net::IpAddr;

use lvs_core::MacAddr;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as KernelState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::{Context, LabError};
use super::host::Host;
use super::route::family;

/// An entry of a neighbour cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Whose entry it is.
    pub address: IpAddr,
    /// The Ethernet address, if it is known.
    pub mac: Option<MacAddr>,
    /// Number of the interface it is reached by.
    pub interface: u32,
    /// What the kernel thinks of it.
    pub state: NeighbourState,
}

/// What the kernel thinks of a neighbour (RFC 4861 section 7.3.2; Linux does the same for ARP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NeighbourState {
    /// Asked, no answer yet.
    Incomplete,
    /// Known to be there.
    Reachable,
    /// Known, but not confirmed lately.
    Stale,
    /// In use unconfirmed; a question is due or under way.
    Probing,
    /// Asked in vain.
    Failed,
    /// Set by hand.
    Permanent,
    /// Needs no resolution.
    NoArp,
}

impl Host {
    /// Sets a static entry, which is never asked for and never replaced.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn add_neighbour(&self, interface: &str, address: IpAddr, mac: MacAddr) -> Result<(), LabError> {
        let mut message = self.neighbour_message(interface, address)?;
        message.header.state = KernelState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let request = RouteNetlinkMessage::NewNeighbour(message);
        let added = self.netlink().change(request, NLM_F_CREATE | NLM_F_REPLACE);
        added.context(|| format!("{}: neighbour {address} is {mac}", self.name()))
    }

    /// Removes an entry, static or learned.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove_neighbour(&self, interface: &str, address: IpAddr) -> Result<(), LabError> {
        let message = self.neighbour_message(interface, address)?;
        let removed = self.netlink().change(RouteNetlinkMessage::DelNeighbour(message), 0);
        removed.context(|| format!("{}: remove neighbour {address}", self.name()))
    }

    /// All entries of both families, but for groups and `lo`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn neighbours(&self) -> Result<Vec<Neighbour>, LabError> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = NeighbourMessage::default();
            message.header.family = family;
            let dump = self.netlink().dump(RouteNetlinkMessage::GetNeighbour(message));
            let entries = dump.context(|| format!("{}: neighbour cache", self.name()))?;
            all.extend(entries.iter().filter_map(read_neighbour));
        }
        Ok(all)
    }

    /// The entry for an address, if there is one.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn neighbour(&self, address: IpAddr) -> Result<Option<Neighbour>, LabError> {
        Ok(self.neighbours()?.into_iter().find(|entry| entry.address == address))
    }

    fn neighbour_message(&self, interface: &str, address: IpAddr) -> Result<NeighbourMessage, LabError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = self.interface(interface)?.index;
        message.attributes.push(NeighbourAttribute::Destination(match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        }));
        Ok(message)
    }
}

fn read_neighbour(message: &RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(entry) = message else { return None };
    let address = entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    let state = match entry.header.state {
        KernelState::Incomplete => NeighbourState::Incomplete,
        KernelState::Reachable => NeighbourState::Reachable,
        KernelState::Stale => NeighbourState::Stale,
        KernelState::Delay | KernelState::Probe => NeighbourState::Probing,
        KernelState::Failed => NeighbourState::Failed,
        KernelState::Permanent => NeighbourState::Permanent,
        _ => NeighbourState::NoArp,
    };
    if address.is_multicast() || state == NeighbourState::NoArp {
        return None;
    }
    Some(Neighbour { address, mac: link_layer_address(entry), interface: entry.header.ifindex, state })
}

pub(super) fn link_layer_address(entry: &NeighbourMessage) -> Option<MacAddr> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    })
}
