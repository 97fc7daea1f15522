//! What the host's kernel has configured that concerns a director beside it.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// An address that the kernel holds.
pub(crate) struct Held {
    pub(crate) interface: String,
    pub(crate) address: IpAddr,
    pub(crate) prefix_len: u32,
}

/// The kernel's addresses.
pub(crate) struct Host {
    addresses: Vec<Held>,
}

impl Host {
    /// Asks the kernel.
    pub(crate) fn look() -> Result<Self, nix::Error> {
        let addresses = getifaddrs()?
            .filter_map(|entry| {
                let address = ip_address(entry.address?)?;
                let prefix_len = entry.netmask.and_then(ip_address).map_or_else(
                    || if address.is_ipv4() { 32 } else { 128 },
                    |mask| match mask {
                        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
                        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
                    },
                );
                Some(Held { interface: entry.interface_name, address, prefix_len })
            })
            .collect();
        Ok(Self { addresses })
    }

    /// Where the kernel holds an address, if it does.
    pub(crate) fn holder_of(&self, address: IpAddr) -> Option<&Held> {
        self.addresses.iter().find(|held| held.address == address)
    }

    /// The link-local address of an interface.
    pub(crate) fn link_local_of(&self, interface: &str) -> Option<IpAddr> {
        let is_link_local = |address: &IpAddr| match address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let mut own = self.addresses.iter().filter(|held| held.interface == interface);
        own.find(|held| is_link_local(&held.address)).map(|held| held.address)
    }

    /// Which families the kernel forwards, as the names of the switches.
    pub(crate) fn forwarding() -> Vec<&'static str> {
        Self::on(&[
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"),
        ])
    }

    /// Which families go through the firewall on bridges, as the names of the switches; they exist with br_netfilter only.
    pub(crate) fn bridge_firewall() -> Vec<&'static str> {
        Self::on(&[
            ("net.bridge.bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-iptables"),
            ("net.bridge.bridge-nf-call-ip6tables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
        ])
    }

    /// The names of the switches that are on, of names and paths.
    fn on(switches: &[(&'static str, &str)]) -> Vec<&'static str> {
        let is_on = |path: &str| std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0");
        switches.iter().filter(|(_, path)| is_on(path)).map(|(name, _)| *name).collect()
    }
}

fn ip_address(address: SockaddrStorage) -> Option<IpAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(IpAddr::V4(v4.ip()));
    }
    address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
}
