//! What the neighbour code has to know of the interfaces. Fixed for life, but for the state of their links.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::{MacAddr, Subnet};
use crate::config::{InterfaceConfig, InterfaceId};
use crate::io::PortId;

/// One interface.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) port: PortId,
    pub(super) mac: MacAddr,
    pub(super) mtu: u16,
    /// The sender of ARP requests: the IPv4 DIP. 0.0.0.0 where there is none: that makes a request a probe
    /// (RFC 5227), which names no sender.
    pub(super) dip: Ipv4Addr,
    /// The source of neighbour solicitations: the link-local address if one is configured, else the DIP.
    pub(super) ask_from: Ipv6Addr,
    /// The source of MLD reports: the link-local address, derived from the MAC if none is configured.
    pub(super) link_local: Ipv6Addr,
    /// Whether its port carries frames. Held to be true until the port is reported down.
    pub(super) up: bool,
    subnets: Vec<Subnet>,
    gateways: Vec<IpAddr>,
}

/// On which interfaces a local address is announced: those of the first kind of which there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that have it configured as their own.
    Configured,
    /// Those whose subnet holds it.
    Subnet,
    /// Those with a gateway of its family.
    Gateway,
    /// All.
    Everywhere,
}

/// All interfaces.
#[derive(Debug)]
pub(super) struct Interfaces {
    list: Vec<Interface>,
    /// Sorted.
    macs: Vec<MacAddr>,
}

impl Interfaces {
    pub(super) fn new(configs: &[InterfaceConfig]) -> Self {
        let mut macs: Vec<MacAddr> = configs.iter().map(|config| config.mac).collect();
        macs.sort_unstable();
        Self { list: configs.iter().map(Interface::new).collect(), macs }
    }

    pub(super) fn get(&self, id: InterfaceId) -> Option<&Interface> {
        self.list.get(usize::from(id.0))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (InterfaceId, &Interface)> {
        (0u16..).map(InterfaceId).zip(&self.list)
    }

    pub(super) fn is_up(&self, id: InterfaceId) -> bool {
        self.get(id).is_some_and(|interface| interface.up)
    }

    pub(super) fn set_link(&mut self, port: PortId, up: bool) {
        for interface in self.list.iter_mut().filter(|interface| interface.port == port) {
            interface.up = up;
        }
    }

    /// Whether one of the director's own addresses lies in a subnet.
    pub(super) fn is_within(&self, prefix: Subnet) -> bool {
        self.iter().any(|(_, one)| one.subnets.iter().any(|own| prefix.contains(own.address())))
    }

    /// Whether one of the interfaces has this Ethernet address. O(log n).
    pub(super) fn is_own(&self, mac: MacAddr) -> bool {
        self.macs.binary_search(&mac).is_ok()
    }

    /// The kind of interfaces on which an address is announced.
    pub(super) fn reach(&self, address: IpAddr) -> Reach {
        [Reach::Configured, Reach::Subnet, Reach::Gateway]
            .into_iter()
            .find(|&reach| self.list.iter().any(|interface| interface.is_reached(reach, address)))
            .unwrap_or(Reach::Everywhere)
    }
}

impl Interface {
    fn new(config: &InterfaceConfig) -> Self {
        let addresses = || config.addresses.iter().map(|subnet| subnet.address());
        let dip = addresses().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let ipv6 = |link_local: bool| {
            addresses().find_map(move |address| match address {
                IpAddr::V6(address) if address.is_unicast_link_local() == link_local => Some(address),
                _ => None,
            })
        };
        let derived = derived_link_local(config.mac);
        Self {
            port: config.port,
            mac: config.mac,
            mtu: config.mtu,
            dip: dip.unwrap_or(Ipv4Addr::UNSPECIFIED),
            ask_from: ipv6(true).or(ipv6(false)).unwrap_or(derived),
            link_local: ipv6(true).unwrap_or(derived),
            up: true,
            subnets: config.addresses.clone(),
            gateways: config.gateways.clone(),
        }
    }

    /// Whether the interface is of that kind for that address.
    pub(super) fn is_reached(&self, reach: Reach, address: IpAddr) -> bool {
        match reach {
            Reach::Configured => self.subnets.iter().any(|subnet| subnet.address() == address),
            Reach::Subnet => self.subnets.iter().any(|subnet| subnet.contains(address)),
            Reach::Gateway => self.gateways.iter().any(|gateway| gateway.is_ipv4() == address.is_ipv4()),
            Reach::Everywhere => true,
        }
    }
}

/// The link-local address that an interface makes of its MAC: RFC 4291 appendix A (modified EUI-64) and
/// RFC 4862 section 5.3.
fn derived_link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_and_reach_follow_the_configuration() {
        let mac = MacAddr([2, 0, 0, 0, 0, 0x0b]);
        let mut front = InterfaceConfig::new(PortId(0), mac, "192.168.0.208/24".parse().unwrap());
        front.addresses.push("fd00::2/64".parse().unwrap());
        front.gateways.push("192.168.0.15".parse().unwrap());
        let mut back =
            InterfaceConfig::new(PortId(1), MacAddr([2, 0, 0, 0, 0, 1]), "10.0.0.1/8".parse().unwrap());
        back.addresses.push("fe80::5/64".parse().unwrap());
        let interfaces = Interfaces::new(&[front, back]);
        let text = |address: &str| address.parse::<Ipv6Addr>().unwrap();
        let front = interfaces.get(InterfaceId(0)).unwrap();
        assert_eq!(front.dip, Ipv4Addr::new(192, 168, 0, 208));
        assert_eq!(front.ask_from, text("fd00::2"));
        assert_eq!(front.link_local, text("fe80::ff:fe00:b"));
        let back = interfaces.get(InterfaceId(1)).unwrap();
        assert_eq!((back.ask_from, back.link_local), (text("fe80::5"), text("fe80::5")));
        assert!(interfaces.is_own(mac) && !interfaces.is_own(MacAddr::ZERO));
        for (address, reach) in [
            ("192.168.0.208", Reach::Configured),
            ("192.168.0.250", Reach::Subnet),
            ("110.0.0.1", Reach::Gateway),
            ("2001:db8::1", Reach::Everywhere),
        ] {
            assert_eq!(interfaces.reach(address.parse().unwrap()), reach, "{address}");
        }
    }
}
