//! Where a host sends a packet, and with which address of its own.

use std::net::IpAddr;

use lvs_core::Subnet;

use super::interface::{Interface, Scope};

/// A route set by hand. Routes to the subnets of the interfaces' addresses need not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) to: Subnet,
    /// The router; `None` where the destinations are on the interface's link.
    pub(super) via: Option<IpAddr>,
    pub(super) interface: usize,
}

/// The way of a packet: the interface, and who gets it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) interface: usize,
    pub(super) next_hop: IpAddr,
    /// The address of the interface in whose subnet the destination lies, where it is on the link.
    prefers: Option<IpAddr>,
}

/// The way to a destination outside the host: the longest prefix counts, and a subnet's own route before others.
pub(super) fn way(interfaces: &[Interface], routes: &[Route], to: IpAddr) -> Option<Way> {
    let mut best: Option<(u8, Way)> = None;
    let mut offer = |prefix, way: Way| {
        if interfaces[way.interface].up && best.is_none_or(|(longest, _)| prefix > longest) {
            best = Some((prefix, way));
        }
    };
    for (index, interface) in interfaces.iter().enumerate().filter(|(_, one)| one.port.is_some()) {
        for own in &interface.addresses {
            let subnet = own.subnet;
            let whole = if subnet.address().is_ipv4() { 32 } else { 128 };
            if subnet.prefix_len() < whole && subnet.contains(to) {
                let way = Way { interface: index, next_hop: to, prefers: Some(subnet.address()) };
                offer(subnet.prefix_len(), way);
            }
        }
    }
    for route in routes.iter().filter(|route| route.to.contains(to)) {
        let next_hop = route.via.unwrap_or(to);
        offer(route.to.prefix_len(), Way { interface: route.interface, next_hop, prefers: None });
    }
    best.map(|(_, way)| way)
}

/// The source address of a packet of one's own that goes that way.
pub(super) fn source(interfaces: &[Interface], way: &Way, to: IpAddr) -> Option<IpAddr> {
    if let (IpAddr::V6(to6), Some(link_local)) = (to, interfaces[way.interface].link_local())
        && to6.is_unicast_link_local()
    {
        return Some(link_local);
    }
    way.prefers.or_else(|| select(interfaces, way.interface, way.next_hop, to.is_ipv6()))
}

/// The best address of an interface for a neighbour: the first whose subnet holds it, else the first of the interface,
/// else the first of another one.
pub(super) fn select(
    interfaces: &[Interface],
    interface: usize,
    neighbour: IpAddr,
    ipv6: bool,
) -> Option<IpAddr> {
    let reaches = |scope: Scope| if ipv6 { scope == Scope::Global } else { scope <= Scope::Link };
    let own = interfaces[interface].family(ipv6).filter(|own| reaches(own.scope));
    let own: Vec<Subnet> = own.map(|own| own.subnet).collect();
    let best = own.iter().find(|subnet| subnet.contains(neighbour)).or_else(|| own.first());
    if let Some(best) = best {
        return Some(best.address());
    }
    let others = interfaces.iter().flat_map(|other| other.family(ipv6));
    let mut others = others.filter(|own| own.scope == Scope::Global);
    others.next().map(|own| own.subnet.address())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{addr, station};

    fn two_cards() -> Vec<Interface> {
        vec![
            Interface::loopback(),
            Interface::new("eth0", station(1)).address("192.168.0.15/24".parse().unwrap()),
            Interface::new("eth1", station(2)).port(1).address("110.0.0.254/24".parse().unwrap()),
        ]
    }

    fn route(to: &str, via: &str, interface: usize) -> Route {
        Route { to: to.parse().unwrap(), via: Some(addr(via)), interface }
    }

    #[test]
    fn the_longest_prefix_counts() {
        let mut cards = two_cards();
        let routes = [
            route("0.0.0.0/0", "110.0.0.1", 2),
            route("10.0.0.0/8", "192.168.0.9", 1),
            route("192.168.0.7/32", "110.0.0.2", 2),
        ];
        let hop = |cards: &[Interface], to| way(cards, &routes, addr(to)).map(|way| way.next_hop);
        assert_eq!(hop(&cards, "192.168.0.8"), Some(addr("192.168.0.8")));
        assert_eq!(hop(&cards, "192.168.0.7"), Some(addr("110.0.0.2")));
        assert_eq!(hop(&cards, "10.1.2.3"), Some(addr("192.168.0.9")));
        assert_eq!(hop(&cards, "8.8.8.8"), Some(addr("110.0.0.1")));
        assert_eq!(hop(&cards, "fd00::1"), None);
        cards[1].up = false;
        assert_eq!(hop(&cards, "192.168.0.8"), Some(addr("110.0.0.1")));
    }

    #[test]
    fn the_source_is_of_the_subnet_on_the_way() {
        let mut cards = two_cards();
        cards[1] = cards[1].clone().address("192.168.0.250/32".parse().unwrap());
        let routes = [route("0.0.0.0/0", "192.168.0.1", 1)];
        let source = |to| {
            let to = addr(to);
            source(&cards, &way(&cards, &routes, to).unwrap(), to)
        };
        assert_eq!(source("192.168.0.8"), Some(addr("192.168.0.15")));
        assert_eq!(source("8.8.8.8"), Some(addr("192.168.0.15")));
        assert_eq!(source("110.0.0.7"), Some(addr("110.0.0.254")));
        assert_eq!(source("fe80::7"), Some(addr("fe80::ff:fe00:1")));
    }
}
