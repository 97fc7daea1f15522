//! The same stories over IPv6.

use lvs_core::{DropReason, Event, MacAddr, PortId};
use lvs_testkit::frames::{self, Summary, TcpFlags, addr, mac, socket, tcp, v6};
use lvs_testkit::memory::StoredFrame;

use crate::world::{
    CLIENT6, DIRECTOR, ROUTER, VIP6, World, config, datagram, key, mac_of, remove, reweigh, seconds, segment,
    server_of, service, summary, udp_key,
};

const FIRST6: &str = "fd00::6f";
const SECOND6: &str = "fd00::bc";

fn ready() -> World {
    World::ready_with(config(), key(VIP6), &[FIRST6, SECOND6])
}

fn solicitations(frames: &[StoredFrame], target: &str) -> Vec<Summary> {
    let summaries = frames.iter().filter_map(|frame| Summary::of(&frame.bytes));
    let asks = |s: &Summary| {
        s.ip.as_ref().is_some_and(|ip| ip.icmp == Some((135, 0)) && ip.neighbour_target == Some(addr(target)))
    };
    summaries.filter(asks).collect()
}

#[test]
fn flows_alternate_and_stay() {
    let mut world = ready();
    assert_eq!(world.chosen("[fd00:110::1]:4000", VIP6, "S"), Some(188));
    assert_eq!(world.chosen("[fd00:110::1]:4001", VIP6, "S"), Some(111));
    for letters in ["A", "PA", "FA"] {
        assert_eq!(world.chosen("[fd00:110::1]:4000", VIP6, letters), Some(188));
        assert_eq!(world.chosen("[fd00:110::1]:4001", VIP6, letters), Some(111));
    }
    assert_eq!(world.counts(key(VIP6)), (0, 2));
    world.apply(&service(udp_key(VIP6), &[FIRST6, SECOND6]));
    for _ in 0..2 {
        assert_eq!(world.chosen_udp("[fd00:110::1]:4000", VIP6), Some(188));
    }
}

#[test]
fn only_the_ethernet_addresses_change() {
    let mut world = ready();
    world.apply(&service(udp_key(VIP6), &[SECOND6]));
    for before in [segment(CLIENT6, VIP6, "S"), datagram(CLIENT6, VIP6)] {
        let out = world.send(&before);
        assert_eq!(out[0].bytes[..6], mac_of(addr(SECOND6)).0);
        assert_eq!(out[0].bytes[6..12], mac(DIRECTOR).0);
        assert_eq!(out[0].bytes[12..], before[12..]);
    }
}

#[test]
fn extension_headers_are_walked() {
    let mut world = ready();
    let plain = || tcp(socket(CLIENT6), socket(VIP6)).flags(TcpFlags::SYN).macs(mac(ROUTER), mac(DIRECTOR));
    for packet in [
        plain(),
        plain().extension(frames::HOP_BY_HOP, &[1, 2, 0, 0]),
        plain().extension(frames::DESTINATION_OPTIONS, &[0; 30]),
        plain().extension(frames::HOP_BY_HOP, &[]).extension(frames::ROUTING, &[0; 6]),
    ] {
        assert_eq!(world.send(&packet.build()).iter().find_map(server_of), Some(188));
    }
    assert_eq!(world.director.connection_usage().connections, 1);
    let endless = (0..12).fold(plain(), |packet, _| packet.extension(frames::DESTINATION_OPTIONS, &[]));
    assert!(world.send(&endless.build()).is_empty());
    assert_eq!(world.director.statistics().dropped(DropReason::Malformed), 1);
}

#[test]
fn the_first_syn_waits_for_the_neighbour() {
    let mut world = World::new(config());
    world.apply(&service(key(VIP6), &[SECOND6]));
    let asked = solicitations(&world.take_sent(), SECOND6);
    assert_eq!(asked.len(), 1);
    let ip = asked[0].ip.as_ref().unwrap();
    assert_eq!((ip.source, ip.ttl), (addr("fd00::d0"), 255), "the DIP asks, not the VIP");
    assert_eq!(asked[0].destination_mac, MacAddr::for_ipv6_multicast(frames::solicited_node(v6(SECOND6))));
    let syn = segment(CLIENT6, VIP6, "S");
    assert!(world.send(&syn).iter().all(|frame| server_of(frame).is_none()));
    assert_eq!(world.director.statistics().held, 1);
    world.answer_arp(addr(SECOND6));
    assert!(world.take_sent().iter().any(|frame| frame.bytes[12..] == syn[12..]));
}

#[test]
fn a_server_that_falls_silent_is_lost_and_found_again() {
    let mut world = ready();
    assert_eq!(world.chosen(CLIENT6, VIP6, "S"), Some(188));
    world.die(SECOND6);
    world.pass(seconds(50));
    assert_eq!(world.count_events(|e| matches!(e, Event::NeighbourLost { .. })), 1);
    assert_eq!(world.chosen(CLIENT6, VIP6, "A"), None);
    world.live(&[SECOND6]);
    world.pass(seconds(35));
    assert_eq!(world.count_events(|e| matches!(e, Event::NeighbourLearnt { .. })), 1);
    assert_eq!(world.chosen(CLIENT6, VIP6, "A"), Some(188));
}

#[test]
fn a_new_ethernet_address_is_followed() {
    let mut world = ready();
    assert_eq!(world.chosen(CLIENT6, VIP6, "S"), Some(188));
    let new = mac("02:00:00:00:77:77");
    world.stations.insert(addr(SECOND6), new);
    world.send(&frames::neighbour_advertisement(new, v6(SECOND6), MacAddr::ZERO, v6("ff02::1")).build());
    assert_eq!(world.tcp(CLIENT6, VIP6, "A")[0].bytes[..6], new.0);
    assert_eq!(world.count_events(|e| matches!(e, Event::NeighbourChanged { .. })), 1);
}

#[test]
fn the_device_is_asked_for_the_vips_group_and_switches_are_told() {
    let mut world = World::new(config());
    world.apply(&service(key(VIP6), &[SECOND6]));
    world.pass(seconds(5));
    let group = frames::solicited_node(v6("fd00::fa"));
    assert!(world.io.groups(PortId(0)).contains(&MacAddr::for_ipv6_multicast(group)));
    let sent = world.take_sent();
    let reports =
        sent.iter().filter(|f| Summary::of(&f.bytes).unwrap().ip.is_some_and(|ip| ip.icmp == Some((143, 0))));
    assert_eq!(reports.count(), 2);
}

/// Solicitations for the VIP are answered: with the asker's option in place, without it by a longer frame, and to all
/// nodes where the asker has no address yet.
#[test]
fn solicitations_for_the_vip_are_answered() {
    let mut world = ready();
    let asker = mac(ROUTER);
    let question = frames::neighbour_solicitation(asker, v6("fd00::15"), v6("fd00::fa")).build();
    let unasked = frames::neighbour_solicitation(asker, v6("fd00::15"), v6("fd00::fb")).build();
    let out = world.send(&question);
    let answer = Summary::of(&out[0].bytes).unwrap();
    assert_eq!((answer.source_mac, answer.destination_mac), (mac(DIRECTOR), asker));
    let ip = answer.ip.unwrap();
    assert_eq!((ip.source, ip.destination, ip.icmp), (addr("fd00::fa"), addr("fd00::15"), Some((136, 0))));
    assert_eq!((ip.ttl, ip.checksum_right), (255, Some(true)));
    assert_eq!(&out[0].bytes[80..86], &mac(DIRECTOR).0);
    assert!(world.send(&unasked).is_empty());
}

#[test]
fn refusals_are_answered_as_a_host_does() {
    let mut world = ready();
    let out = world.tcp(CLIENT6, VIP6, "A");
    assert!(summary(&out[0]).tcp.unwrap().flags.contains(TcpFlags::RST));
    let out = world.tcp(CLIENT6, "[fd00::fa]:81", "S");
    let tcp = summary(&out[0]).tcp.unwrap();
    assert_eq!((tcp.flags, tcp.ack), (TcpFlags::RST | TcpFlags::ACK, 2));
    let out = world.send(&datagram(CLIENT6, "[fd00::fa]:81"));
    assert_eq!((summary(&out[0]).icmp, summary(&out[0]).checksum_right), (Some((1, 4)), Some(true)));
    world.apply(&[reweigh(key(VIP6), FIRST6, 0), remove(key(VIP6), SECOND6)]);
    let out = world.tcp(CLIENT6, VIP6, "S");
    assert_eq!(summary(&out[0]).icmp, Some((1, 4)));
}

/// RFC 6980: neighbour discovery in a fragment is not listened to.
#[test]
fn neighbour_discovery_in_fragments_is_ignored() {
    let mut world = ready();
    assert_eq!(world.chosen(CLIENT6, VIP6, "S"), Some(188));
    let thief = mac("02:00:00:00:66:66");
    let claim = frames::neighbour_advertisement(thief, v6(SECOND6), mac(DIRECTOR), v6("fd00::d0"));
    for more in [true, false] {
        let fragment = claim.fragment(0..32, more);
        assert_eq!(Summary::of(&fragment).unwrap().ip.unwrap().fragment, Some((0, more)));
        world.send(&fragment);
        assert_eq!(world.tcp(CLIENT6, VIP6, "A")[0].bytes[..6], mac_of(addr(SECOND6)).0, "{more}");
        assert!(world.events.is_empty(), "{:?}", world.events);
    }
    // What is in one piece is.
    world.send(&claim.build());
    assert_eq!(world.tcp(CLIENT6, VIP6, "A")[0].bytes[..6], thief.0);
}
