//! Interfaces of a host: cards, VLANs on cards, and `lo`; with their addresses and sysctls.

use std::net::{IpAddr, Ipv6Addr};

use lvs_core::{MacAddr, PortId, Subnet};

/// How far an address counts, as `ip address` has it. The order is the kernel's: smaller reaches farther.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// On this link.
    Link,
    /// Inside this host.
    Host,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address with its prefix.
    pub subnet: Subnet,
    /// How far it counts.
    pub scope: Scope,
}

/// The values under `net.ipv4.conf` that matter here, all 0 as in a fresh kernel.
///
/// What counts for an interface is the larger of its own value and that of `all`; for `arp_filter` whether either
/// is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceConf {
    /// Which ARP requests for a local address are answered: 0 all; 1 those for an address of the interface; 2 the same,
    /// if the asker lies in that address's subnet; 3 those for an address that counts beyond this host; 8 none. 4 to 7
    /// are reserved, and the kernel takes them for 0.
    pub arp_ignore: u8,
    /// Which address is the sender of an ARP request: 0 the source of the packet that waits; 1 the same, if the target is
    /// in a subnet of the interface that the source is in, too; 2 the best address of the interface.
    pub arp_announce: u8,
    /// Whether an ARP request is answered only by the interface through which its sender is reached.
    pub arp_filter: bool,
    /// Whether a packet must come in by the interface through which its source is reached: 0 no; 1 yes; 2 any
    /// interface will do, if there is one.
    pub rp_filter: u8,
}

/// A network card, or a VLAN on one.
#[derive(Debug, Clone)]
pub struct Interface {
    pub(super) name: String,
    pub(super) port: Option<PortId>,
    pub(super) vlan: Option<u16>,
    pub(super) mac: MacAddr,
    pub(super) mtu: usize,
    pub(super) addresses: Vec<Address>,
    pub(super) conf: InterfaceConf,
    pub(super) up: bool,
}

impl Interface {
    /// A card with an MTU of 1500 on port 0, and with the IPv6 link-local address that follows from `mac`.
    ///
    /// # Panics
    /// If `mac` is not the address of a single station, or the name is `lo` or `all`.
    #[must_use]
    #[track_caller]
    pub fn new(name: &str, mac: MacAddr) -> Self {
        assert!(mac.is_unicast(), "{name}: {mac} is not the address of a single station");
        assert!(!matches!(name, "lo" | "all"), "{name} is no name for a card");
        let subnet = Subnet::new(link_local(mac).into(), 64).expect("64 of 128");
        Self {
            name: name.to_owned(),
            port: Some(PortId(0)),
            vlan: None,
            mac,
            mtu: 1500,
            addresses: vec![Address { subnet, scope: Scope::Link }],
            conf: InterfaceConf::default(),
            up: true,
        }
    }

    pub(super) fn loopback() -> Self {
        let host = |text: &str| Address {
            subnet: text.parse().expect("an address with its prefix"),
            scope: Scope::Host,
        };
        Self {
            name: "lo".to_owned(),
            port: None,
            vlan: None,
            mac: MacAddr::ZERO,
            mtu: 65_535,
            addresses: vec![host("127.0.0.1/8"), host("::1/128")],
            conf: InterfaceConf::default(),
            up: true,
        }
    }

    /// The port of the node that it is on. Default: 0.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(PortId(port));
        self
    }

    /// Makes it a VLAN on its port: its frames carry this tag.
    ///
    /// # Panics
    /// If the id is not 1 to 4094.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        assert!((1..=4094).contains(&id), "VLAN {id}: ids go from 1 to 4094");
        self.vlan = Some(id);
        self
    }

    /// The longest packet it sends, in bytes. Default: 1500.
    #[must_use]
    pub const fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = bytes;
        self
    }

    /// Adds an address of global scope. With a prefix shorter than the address a route to the subnet comes with it.
    #[must_use]
    pub fn address(mut self, subnet: Subnet) -> Self {
        self.addresses.push(Address { subnet, scope: Scope::Global });
        self
    }

    pub(super) fn holds(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.subnet.address() == address)
    }

    /// The addresses of a family, in their order.
    pub(super) fn family(&self, ipv6: bool) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |own| own.subnet.address().is_ipv6() == ipv6)
    }

    pub(super) fn link_local(&self) -> Option<IpAddr> {
        let own = self.family(true).find(|own| own.scope == Scope::Link)?;
        Some(own.subnet.address())
    }
}

/// The address that follows from a card's address (RFC 4291, appendix A).
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::mac;

    #[test]
    fn a_card_has_its_link_local_address() {
        let card = Interface::new("eth0", mac("02:00:00:00:00:bc"));
        assert_eq!(card.link_local(), Some("fe80::ff:fe00:bc".parse().unwrap()));
    }
}
