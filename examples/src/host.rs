//! What the host's kernel has configured that concerns a director beside it.

use std::net::{IpAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;

/// An address that the kernel holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The interface it is configured on.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix in bits.
    pub prefix_len: u32,
}

/// The kernel's addresses, and which of its links carry frames.
#[derive(Debug)]
pub struct Host {
    addresses: Vec<Held>,
    /// Names of the interfaces that are switched on, and whether they have a carrier.
    up: Vec<(String, bool)>,
}

impl Host {
    /// Asks the kernel.
    ///
    /// # Errors
    /// What it says when it does not answer.
    pub fn look() -> Result<Self, nix::Error> {
        let entries: Vec<_> = getifaddrs()?.collect();
        let is_up = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP);
        let up = entries
            .iter()
            .filter(|entry| is_up(entry.flags))
            .map(|entry| (entry.interface_name.clone(), entry.flags.contains(InterfaceFlags::IFF_RUNNING)))
            .collect();
        let addresses = entries
            .into_iter()
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
        Ok(Self { addresses, up })
    }

    /// Whether an interface is switched on, and whether it has a carrier besides.
    #[must_use]
    pub fn link(&self, interface: &str) -> (bool, bool) {
        let found = self.up.iter().find(|(name, _)| name == interface);
        (found.is_some(), found.is_some_and(|(_, running)| *running))
    }

    /// The addresses that the kernel holds on an interface.
    pub fn addresses_of<'a>(&'a self, interface: &'a str) -> impl Iterator<Item = IpAddr> + 'a {
        self.addresses.iter().filter(move |held| held.interface == interface).map(|held| held.address)
    }

    /// The interface by which the kernel would send to an address, as far as it has an address of its own there.
    #[must_use]
    pub fn way_to(&self, address: IpAddr) -> Option<&str> {
        let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        // Connecting a datagram socket asks for the route and sends nothing.
        socket.connect((address, 9)).ok()?;
        Some(self.holder_of(socket.local_addr().ok()?.ip())?.interface.as_str())
    }

    /// Whether the kernel throws away IPv4 packets whose source it would not reach by the interface they come in by
    /// (`rp_filter=1`; the larger value of `all` and the interface counts).
    #[must_use]
    pub fn filters_strictly(interface: &str) -> bool {
        let value = |place: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{place}/rp_filter")).ok()?;
            text.trim().parse::<u8>().ok()
        };
        value("all").max(value(interface)) == Some(1)
    }

    /// Whether some program hears every frame of an interface, as directors do.
    #[must_use]
    pub fn is_listened_to(interface: &str) -> bool {
        let Ok(index) = if_nametoindex(interface) else { return false };
        let table = std::fs::read_to_string("/proc/net/packet").unwrap_or_default();
        table.lines().any(|line| {
            // sk RefCnt Type Proto Iface R Rmem User Inode
            let mut fields = line.split_whitespace().skip(3);
            fields.next() == Some("0003") && fields.next().and_then(|field| field.parse().ok()) == Some(index)
        })
    }

    /// Where the kernel holds an address, if it does.
    #[must_use]
    pub fn holder_of(&self, address: IpAddr) -> Option<&Held> {
        self.addresses.iter().find(|held| held.address == address)
    }

    /// The link-local address of an interface.
    #[must_use]
    pub fn link_local_of(&self, interface: &str) -> Option<IpAddr> {
        let is_link_local = |address: &IpAddr| match address {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        let mut own = self.addresses.iter().filter(|held| held.interface == interface);
        own.find(|held| is_link_local(&held.address)).map(|held| held.address)
    }

    /// Which families the kernel forwards, as the names of the switches.
    #[must_use]
    pub fn forwarding() -> Vec<&'static str> {
        Self::on(&[
            ("net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward"),
            ("net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"),
        ])
    }

    /// Which families go through the firewall on bridges, as the names of the switches; they exist with br_netfilter only.
    #[must_use]
    pub fn bridge_firewall() -> Vec<&'static str> {
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
