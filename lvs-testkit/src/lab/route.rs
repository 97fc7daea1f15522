//! Addresses and routes of a host.

use std::net::IpAddr;

use lvs_core::Subnet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::{Context, LabError};
use super::host::Host;

impl Host {
    /// Adds an address to an interface. IPv6 addresses can be used at once.
    ///
    /// # Errors
    /// If there is no such interface, or it has the address already.
    pub fn add_address(&self, interface: &str, address: Subnet) -> Result<(), LabError> {
        let message = RouteNetlinkMessage::NewAddress(self.address_message(interface, address)?);
        let added = self.netlink().change(message, NLM_F_CREATE | NLM_F_EXCL);
        added.context(|| format!("{}: add {address} to {interface}", self.name()))
    }

    /// Takes an address from an interface.
    ///
    /// # Errors
    /// If it does not have it.
    pub fn remove_address(&self, interface: &str, address: Subnet) -> Result<(), LabError> {
        let message = RouteNetlinkMessage::DelAddress(self.address_message(interface, address)?);
        let removed = self.netlink().change(message, 0);
        removed.context(|| format!("{}: take {address} from {interface}", self.name()))
    }

    /// Sends everything without a better route by way of `gateway`.
    ///
    /// # Errors
    /// If no interface leads to the gateway, or there is a default route already.
    pub fn default_gateway(&self, gateway: IpAddr) -> Result<(), LabError> {
        let unspecified: IpAddr = match gateway {
            IpAddr::V4(_) => [0; 4].into(),
            IpAddr::V6(_) => [0; 16].into(),
        };
        self.add_route(Subnet::new(unspecified, 0).expect("0 bits are not too many"), gateway)
    }

    /// Sends what is for `destination` by way of `gateway`.
    ///
    /// # Errors
    /// If no interface leads to the gateway, or there is such a route already.
    pub fn add_route(&self, destination: Subnet, gateway: IpAddr) -> Result<(), LabError> {
        let message = RouteNetlinkMessage::NewRoute(route_message(destination, gateway));
        let added = self.netlink().change(message, NLM_F_CREATE | NLM_F_EXCL);
        added.context(|| format!("{}: route to {destination} by way of {gateway}", self.name()))
    }

    /// Removes a route.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove_route(&self, destination: Subnet, gateway: IpAddr) -> Result<(), LabError> {
        let message = RouteNetlinkMessage::DelRoute(route_message(destination, gateway));
        let removed = self.netlink().change(message, 0);
        removed.context(|| format!("{}: remove the route to {destination}", self.name()))
    }

    fn address_message(&self, interface: &str, address: Subnet) -> Result<AddressMessage, LabError> {
        let mut message = AddressMessage::default();
        message.header.index = self.interface(interface)?.index;
        message.header.prefix_len = address.prefix_len();
        message.header.family = family(address.address());
        message.attributes =
            vec![AddressAttribute::Local(address.address()), AddressAttribute::Address(address.address())];
        match address.address() {
            IpAddr::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
            IpAddr::V4(_) => {
                if let Some(IpAddr::V4(broadcast)) = address.broadcast() {
                    message.attributes.push(AddressAttribute::Broadcast(broadcast));
                }
            }
        }
        Ok(message)
    }
}

fn route_message(destination: Subnet, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(gateway),
        destination_prefix_length: destination.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    if destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route_address(destination.address())));
    }
    message.attributes.push(RouteAttribute::Gateway(route_address(gateway)));
    message
}

const fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

pub(super) const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// The subnet that holds only this address.
pub(super) fn host_subnet(address: IpAddr) -> Subnet {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    Subnet::new(address, bits).expect("as many bits as the address has")
}
