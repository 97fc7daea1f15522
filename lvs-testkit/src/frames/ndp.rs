//! Neighbour discovery (RFC 4861) and multicast listener reports (RFC 3810).

use std::net::{IpAddr, Ipv6Addr};

use lvs_core::MacAddr;

use super::icmp::{Icmp, icmp};
use super::packet::Packet;
use super::{HOP_BY_HOP, solicited_node, station};

/// "Who has `target`?" to its solicited-node group. With the unspecified address as source it is the
/// question of duplicate address detection and carries no link-layer option (RFC 4861 section 4.3).
pub fn neighbour_solicitation(sender: MacAddr, source: Ipv6Addr, target: Ipv6Addr) -> Packet<Icmp> {
    let mut data = target.octets().to_vec();
    if !source.is_unspecified() {
        data.extend(link_layer_option(1, sender));
    }
    let group = solicited_node(target);
    multicast(sender, source, group, 135, [0; 4], &data)
}

/// "`target` is at `sender`", to `destination` at station `receiver`; or to all nodes, if `destination`
/// is a group (then `receiver` is not used). Flags: override, and solicited where it answers somebody.
pub fn neighbour_advertisement(
    sender: MacAddr,
    target: Ipv6Addr,
    receiver: MacAddr,
    destination: Ipv6Addr,
) -> Packet<Icmp> {
    let mut data = target.octets().to_vec();
    data.extend(link_layer_option(2, sender));
    if destination.is_multicast() {
        return multicast(sender, target, destination, 136, [0x20, 0, 0, 0], &data);
    }
    multicast(sender, target, destination, 136, [0x60, 0, 0, 0], &data).macs(sender, receiver)
}

/// "Is there a router?" to all routers.
pub fn router_solicitation(sender: MacAddr, source: Ipv6Addr) -> Packet<Icmp> {
    let option = link_layer_option(1, sender);
    let data: &[u8] = if source.is_unspecified() { b"" } else { &option };
    multicast(sender, source, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2), 133, [0; 4], data)
}

/// An MLDv2 report that joins `groups` (records of type "change to exclude", no sources).
pub fn mld_report(sender: MacAddr, source: Ipv6Addr, groups: &[Ipv6Addr]) -> Packet<Icmp> {
    let mut data = Vec::new();
    for group in groups {
        data.extend([4, 0, 0, 0]);
        data.extend(group.octets());
    }
    let [high, low] = u16::try_from(groups.len()).unwrap_or(u16::MAX).to_be_bytes();
    let routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
    with_router_alert(multicast(sender, source, routers, 143, [0, 0, high, low], &data))
}

/// An MLDv2 general query, as a snooping switch sends it; a response is due within 10 s.
pub fn mld_query(sender: MacAddr, source: Ipv6Addr) -> Packet<Icmp> {
    let mut data = vec![0; 16];
    data.extend([2, 125, 0, 0]);
    let nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    with_router_alert(multicast(sender, source, nodes, 130, [0x27, 0x10, 0, 0], &data))
}

fn multicast(
    sender: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
    rest: [u8; 4],
    data: &[u8],
) -> Packet<Icmp> {
    let receiver =
        if destination.is_multicast() { MacAddr::for_ipv6_multicast(destination) } else { station(2) };
    // RFC 4861 section 7.1: a hop limit other than 255 is proof of a router on the way.
    icmp(IpAddr::V6(source), IpAddr::V6(destination), kind, 0, rest, data).ttl(255).macs(sender, receiver)
}

/// RFC 3810 section 5: hop limit 1 and a router alert option.
fn with_router_alert(packet: Packet<Icmp>) -> Packet<Icmp> {
    packet.ttl(1).extension(HOP_BY_HOP, &[5, 2, 0, 0, 1, 0])
}

fn link_layer_option(kind: u8, mac: MacAddr) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.0;
    [kind, 1, a, b, c, d, e, f]
}
