//! What a host has configured, as plain values: everything that plans and findings are made from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use lvs_core::Subnet;
use serde::{Deserialize, Serialize};

/// A host at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) addresses: Vec<Held>,
    /// The default routes of the main table, both families.
    pub(crate) default_routes: Vec<DefaultRoute>,
    /// `net.ipv4.conf`, by interface; `all` and `default` are entries too.
    pub(crate) ipv4: BTreeMap<String, Ipv4Settings>,
    /// `net.ipv6.conf`, likewise. Empty where the kernel has no IPv6.
    pub(crate) ipv6: BTreeMap<String, Ipv6Settings>,
    /// IPv6 addresses for which the host is a proxy, with the interface.
    pub(crate) proxied: Vec<(String, IpAddr)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    /// Whether it speaks ARP and NDP. Dummy interfaces and tunnels do not.
    pub(crate) resolves: bool,
}

/// An address of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) interface: String,
    pub(crate) subnet: Subnet,
    /// The label, where it is not the interface's name (`lo:0`).
    pub(crate) label: Option<String>,
    /// Another machine was found to have the address (RFC 4862 section 5.4.5): it is not used.
    pub(crate) duplicate: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultRoute {
    pub(crate) ipv6: bool,
    pub(crate) interface: String,
    pub(crate) gateway: Option<IpAddr>,
}

/// The settings of `net.ipv4.conf` that concern a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ipv4Settings {
    pub(crate) arp_ignore: i32,
    pub(crate) arp_announce: i32,
    pub(crate) arp_filter: i32,
    pub(crate) rp_filter: i32,
}

/// The settings of `net.ipv6.conf` that concern a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ipv6Settings {
    pub(crate) forwarding: i32,
    pub(crate) proxy_ndp: i32,
    pub(crate) disable_ipv6: i32,
}

/// The two settings that are changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Key {
    ArpIgnore,
    ArpAnnounce,
}

impl Key {
    pub(crate) const ALL: [Self; 2] = [Self::ArpIgnore, Self::ArpAnnounce];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ArpIgnore => "arp_ignore",
            Self::ArpAnnounce => "arp_announce",
        }
    }

    /// What a value that is not safe is replaced by.
    pub(crate) const fn cure(self) -> i32 {
        match self {
            Self::ArpIgnore => 1,
            Self::ArpAnnounce => 2,
        }
    }

    /// Whether a host with this value keeps quiet about an address on `lo`. Not a matter of larger and smaller: the kernel
    /// treats the reserved values of `arp_ignore` (4 to 7, above 8) and of `arp_announce` (above 2) as 0, and 3 answers for
    /// every address that is not of scope host.
    pub(crate) const fn is_safe(self, value: i32) -> bool {
        match self {
            Self::ArpIgnore => matches!(value, 1 | 2 | 8),
            Self::ArpAnnounce => value == 2,
        }
    }

    pub(crate) const fn of(self, settings: &Ipv4Settings) -> i32 {
        match self {
            Self::ArpIgnore => settings.arp_ignore,
            Self::ArpAnnounce => settings.arp_announce,
        }
    }

    /// The name of the sysctl. With slashes where the interface's name has dots, as sysctl(8) wants it.
    pub(crate) fn sysctl(self, interface: &str) -> String {
        sysctl("ipv4", interface, self.name())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a setting of an interface. With slashes where the interface's name has dots, as sysctl(8) wants it.
pub(crate) fn sysctl(family: &str, interface: &str, key: &str) -> String {
    let separator = if interface.contains('.') { "/" } else { "." };
    ["net", family, "conf", interface, key].join(separator)
}

impl Facts {
    pub(crate) fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// The value of a setting in one place.
    pub(crate) fn value(&self, place: &str, key: Key) -> Option<i32> {
        self.ipv4.get(place).map(|settings| key.of(settings))
    }

    /// What counts on an interface: the larger of its own value and that of `all`.
    pub(crate) fn effective(&self, interface: &str, of: impl Fn(&Ipv4Settings) -> i32) -> i32 {
        let value = |place| self.ipv4.get(place).map_or(0, &of);
        value("all").max(value(interface))
    }

    /// Where the host has an address.
    pub(crate) fn holders(&self, address: IpAddr) -> impl Iterator<Item = &Held> {
        self.addresses.iter().filter(move |held| held.subnet.address() == address)
    }

    /// Whether `lo` has the address alone in its subnet, as `start` puts it there.
    pub(crate) fn has_on_lo(&self, vip: IpAddr) -> bool {
        self.holders(vip).any(|held| held.interface == "lo" && held.subnet == alone(vip))
    }

    /// Whether an interface answers and asks neighbours, so that an address on it is seen by others.
    pub(crate) fn is_seen(&self, interface: &str) -> bool {
        self.interface(interface).is_some_and(|it| !it.loopback && it.resolves)
    }

    /// The interfaces on which a director may be: those of default routes and those in whose subnet a VIP lies.
    pub(crate) fn towards_director(&self, vips: &[IpAddr]) -> Vec<String> {
        let family = |ipv6| vips.iter().any(|vip| vip.is_ipv6() == ipv6);
        let routes = self.default_routes.iter().filter(|route| family(route.ipv6));
        let holds_subnet = |held: &&Held| {
            held.subnet != alone(held.subnet.address()) && vips.iter().any(|vip| held.subnet.contains(*vip))
        };
        let subnets = self.addresses.iter().filter(holds_subnet);
        let mut names: Vec<String> = Vec::new();
        let both = routes.map(|route| &route.interface).chain(subnets.map(|held| &held.interface));
        for name in both.filter(|name| self.is_seen(name)) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// The names of all interfaces, for messages.
    pub(crate) fn interface_names(&self) -> String {
        self.interfaces.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The subnet that holds only this address.
pub(crate) fn alone(address: IpAddr) -> Subnet {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    Subnet::new(address, bits).expect("as many bits as the address has")
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    pub(crate) fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    pub(crate) fn held(interface: &str, subnet: &str) -> Held {
        Held {
            interface: interface.to_owned(),
            subnet: subnet.parse().unwrap(),
            label: None,
            duplicate: false,
        }
    }

    /// A host of topology B with a second card, with the kernel's default settings.
    pub(crate) fn host() -> Facts {
        let interface = |name: &str, loopback| Interface {
            name: name.to_owned(),
            up: true,
            loopback,
            resolves: !loopback,
        };
        let route =
            |ipv6, gateway| DefaultRoute { ipv6, interface: "eth0".into(), gateway: Some(ip(gateway)) };
        let places = ["all", "default", "lo", "eth0", "eth1"].map(str::to_owned);
        Facts {
            interfaces: vec![interface("lo", true), interface("eth0", false), interface("eth1", false)],
            addresses: vec![
                held("lo", "127.0.0.1/8"),
                held("lo", "::1/128"),
                held("eth0", "192.168.0.188/24"),
                held("eth0", "fd00:192::188/64"),
                held("eth1", "10.1.0.5/8"),
            ],
            default_routes: vec![route(false, "192.168.0.15"), route(true, "fd00:192::15")],
            ipv4: places.clone().map(|place| (place, Ipv4Settings::default())).into(),
            ipv6: places.map(|place| (place, Ipv6Settings::default())).into(),
            proxied: Vec::new(),
        }
    }

    /// The same as a real server of these addresses.
    pub(crate) fn real_server(vips: &[&str]) -> Facts {
        let mut facts = host();
        for place in ["all", "eth0"] {
            let settings = facts.ipv4.get_mut(place).unwrap();
            (settings.arp_ignore, settings.arp_announce) = (1, 2);
        }
        facts.addresses.extend(vips.iter().map(|vip| Held { subnet: alone(ip(vip)), ..held("lo", "::/0") }));
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{host, ip};
    use super::*;

    #[test]
    fn safe_is_what_the_kernel_keeps_quiet_with() {
        let safe = |key: Key| (0..=10).filter(|value| key.is_safe(*value)).collect::<Vec<_>>();
        assert_eq!(safe(Key::ArpIgnore), [1, 2, 8]);
        assert_eq!(safe(Key::ArpAnnounce), [2]);
    }

    #[test]
    fn interfaces_are_found_by_default_route_and_by_subnet() {
        let facts = host();
        let find =
            |vips: &[&str]| facts.towards_director(&vips.iter().map(|vip| ip(vip)).collect::<Vec<_>>());
        assert_eq!(find(&["192.168.0.250"]), ["eth0"]);
        assert_eq!(find(&["203.0.113.1"]), ["eth0"], "by the default route");
        assert_eq!(find(&["10.0.0.9"]), ["eth0", "eth1"]);
        let mut without = facts.clone();
        without.default_routes.retain(|route| route.ipv6);
        assert_eq!(without.towards_director(&[ip("10.0.0.9")]), ["eth1"]);
        assert_eq!(without.towards_director(&[ip("127.0.0.9")]), [""; 0], "never lo");
    }

    #[test]
    fn names_with_dots_are_written_with_slashes() {
        assert_eq!(Key::ArpIgnore.sysctl("eth0"), "net.ipv4.conf.eth0.arp_ignore");
        assert_eq!(Key::ArpAnnounce.sysctl("eth0.5"), "net/ipv4/conf/eth0.5/arp_announce");
    }
}
