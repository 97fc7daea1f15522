//! What the host's kernel has configured that concerns a director beside it.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// The kernel's addresses, each with its interface.
pub(crate) struct Host {
    addresses: Vec<(String, IpAddr)>,
}

impl Host {
    /// Asks the kernel.
    pub(crate) fn look() -> Result<Self, nix::Error> {
        let addresses = getifaddrs()?
            .filter_map(|entry| Some((entry.interface_name, ip_address(entry.address?)?)))
            .collect();
        Ok(Self { addresses })
    }

    /// The interface on which the kernel holds an address.
    pub(crate) fn holder_of(&self, address: IpAddr) -> Option<&str> {
        self.addresses.iter().find(|(_, held)| *held == address).map(|(name, _)| name.as_str())
    }

    /// The link-local address of an interface.
    pub(crate) fn link_local_of(&self, interface: &str) -> Option<IpAddr> {
        let is_link_local = |address: &IpAddr| match address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let mut own = self.addresses.iter().filter(|(name, _)| name == interface);
        own.find(|(_, address)| is_link_local(address)).map(|(_, address)| *address)
    }

    /// Which families the kernel forwards, as the names of the switches.
    pub(crate) fn forwarding() -> Vec<&'static str> {
        let switches = [
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"),
        ];
        let is_on = |path| std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0");
        switches.into_iter().filter(|(_, path)| is_on(*path)).map(|(name, _)| name).collect()
    }
}

fn ip_address(address: SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(IpAddr::V4(v4.ip()));
    }
    address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
}
