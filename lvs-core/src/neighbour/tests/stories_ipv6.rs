//! IPv6: neighbour discovery and group reports. Frames are checked with etherparse, which wrote none of them.

use alloc::vec::Vec;
use core::net::Ipv6Addr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use smoltcp::wire::{IpProtocol, NdiscNeighborFlags};

use super::network::*;
use crate::addr::MacAddr;
use crate::event::Event;
use crate::io::PortId;
use crate::neighbour::mld::{QUERY, groups_that_fit};
use crate::neighbour::ndp::{ALL_NODES, Ends, WITH_ADDRESS, emit_headers};
use crate::neighbour::{LocalKind, Neighbours, Outcome};
use crate::time::Instant;

const RIP: &str = "fd01::30";
const VIP: &str = "fd00::250";
const ROUTER: &str = "fe80::15";

/// What an ICMPv6 frame holds, by etherparse: hop limit, source, destination, message. The checksum is right.
fn open(frame: &[u8]) -> (u8, Ipv6Addr, Ipv6Addr, Vec<u8>) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("not IPv6") };
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("not ICMPv6") };
    let header = ip.header();
    assert!(icmp.is_checksum_valid(header.source(), header.destination()));
    assert_eq!(usize::from(header.payload_length()), frame.len() - 54);
    (header.hop_limit(), header.source_addr(), header.destination_addr(), icmp.slice().to_vec())
}

/// The groups in a version 2 report and the type of their records.
fn reported(frame: &[u8]) -> Option<(u8, Vec<Ipv6Addr>)> {
    let (hop_limit, source, destination, icmp) = open(frame);
    if icmp[0] != 143 {
        return None;
    }
    assert_eq!((hop_limit, destination), (1, v6("ff02::16")));
    assert!(source.is_unicast_link_local());
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x16]);
    // Router alert, RFC 2711.
    assert_eq!((frame[20], &frame[54..62]), (0, &[58, 0, 5, 2, 0, 0, 1, 0][..]));
    assert_eq!(usize::from(u16::from_be_bytes([icmp[6], icmp[7]])) * 20, icmp.len() - 8);
    let records: Vec<&[u8]> = icmp[8..].chunks(20).collect();
    assert!(records.iter().all(|record| record[0] == icmp[8] && record[1..4] == [0; 3]));
    let group = |record: &&[u8]| Ipv6Addr::from(*record[4..].first_chunk::<16>().unwrap());
    Some((icmp[8], records.iter().map(group).collect()))
}

fn query(group: Ipv6Addr, delay: u16, old: bool, alert: bool) -> Vec<u8> {
    let mut icmp = std::vec![0; if old { 24 } else { 28 }];
    icmp[0] = QUERY;
    icmp[4..6].copy_from_slice(&delay.to_be_bytes());
    icmp[8..24].copy_from_slice(&group.octets());
    let destination = if group.is_unspecified() { ALL_NODES } else { group };
    let to_mac = MacAddr::for_ipv6_multicast(destination);
    let ends = Ends { mac: PEER, to_mac, source: v6(ROUTER), destination };
    let mut frame = std::vec![0; 54 + 8 + icmp.len()];
    emit_headers(&mut frame, &ends, IpProtocol::HopByHop, 1, 8 + icmp.len()).unwrap();
    frame[54..62].copy_from_slice(&[58, 0, if alert { 5 } else { 0x1e }, 2, 0, 0, 1, 0]);
    frame[62..].copy_from_slice(&icmp);
    fix_checksum(&mut frame, 62);
    frame
}

fn ask(net: &mut Network, interface: crate::config::InterfaceId, frame: &mut [u8]) -> Outcome {
    let end = frame.len();
    net.neighbours.handle_icmpv6(net.now, interface, frame, 14, 62, end)
}

#[test]
fn a_real_server_is_solicited_from_the_link_local_address_or_the_dip() {
    let mut net = Network::new();
    for (interface, address, source) in [(ETH1, RIP, "fe80::1"), (ETH0, "fd00::15", "fd00::208")] {
        net.stations.insert((interface, ip(address)), PEER);
        let id = net.neighbours.track(net.now, interface, ip(address)).unwrap();
        let sent = net.sent_until(net.now + core::time::Duration::from_millis(1));
        assert_eq!(sent.len(), 1);
        let group = v6(&address.replace("fd01::", "ff02::1:ff00:").replace("fd00::", "ff02::1:ff00:"));
        assert_eq!(sent[0].to(), MacAddr::for_ipv6_multicast(group));
        let (hop_limit, from, to, icmp) = open(&sent[0].frame);
        assert_eq!((hop_limit, from, to), (255, v6(source), group));
        let mac = if interface == ETH1 { DIRECTOR1 } else { DIRECTOR };
        let target = v6(address).octets();
        assert_eq!(icmp[4..], [&[0; 4][..], &target, &[1, 1], &mac.0].concat());
        assert_eq!(net.neighbours.mac(id), Some(PEER));
        // The refresh goes to the server alone.
        let mut sent = net.sent_until(net.now + core::time::Duration::from_secs(29));
        sent.retain(|frame| frame.interface == interface);
        assert!(!sent.is_empty());
        assert!(sent.iter().all(|frame| frame.to() == PEER && open(&frame.frame).2 == v6(address)));
    }
}

#[test]
fn advertisements_follow_the_rules_of_override_and_option() {
    let mut net = Network::new();
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    net.run(ms(1));
    let from = (PEER, v6(RIP));
    let to = (DIRECTOR1, v6("fe80::1"));
    let solicited = NdiscNeighborFlags::SOLICITED;
    let overriding = NdiscNeighborFlags::OVERRIDE;
    let none = NdiscNeighborFlags::empty();
    // Without the option nothing is known.
    assert_eq!(net.icmpv6(ETH1, &mut advertisement(from, to, v6(RIP), solicited, None)), Outcome::Pass);
    assert_eq!(net.neighbours.mac(id), None);
    _ = net.icmpv6(ETH1, &mut advertisement(from, to, v6(RIP), solicited | overriding, Some(PEER)));
    assert_eq!(net.neighbours.mac(id), Some(PEER));
    let refresh = net.neighbours.poll_timeout().unwrap();
    assert!(refresh > ms(20_000));
    // Another address without override is not taken, but the known one is confirmed.
    net.run(ms(5_000));
    let all = (MacAddr::for_ipv6_multicast(ALL_NODES), ALL_NODES);
    _ = net.icmpv6(ETH1, &mut advertisement(from, all, v6(RIP), none, Some(OTHER)));
    assert_eq!((net.neighbours.mac(id), net.neighbours.poll_timeout()), (Some(PEER), Some(ms(5_000))));
    net.run(ms(5_000));
    assert_eq!(net.sent.last().unwrap().to(), PEER);
    // The answer to one station may lack the option.
    _ = net.icmpv6(ETH1, &mut advertisement(from, to, v6(RIP), solicited, None));
    assert!(net.neighbours.poll_timeout().unwrap() > ms(25_000));
    // With override it moves.
    _ = net.icmpv6(ETH1, &mut advertisement((OTHER, v6(RIP)), all, v6(RIP), overriding, Some(OTHER)));
    assert_eq!(net.neighbours.mac(id), Some(OTHER));
    // Nobody else has our Ethernet address.
    net.run(ms(8_000));
    let mut ours = advertisement((PEER, v6(RIP)), all, v6(RIP), overriding, Some(DIRECTOR));
    assert_eq!(net.icmpv6(ETH1, &mut ours), Outcome::Pass);
    assert_eq!(
        net.icmpv6(ETH1, &mut solicitation(from, None, v6("fd01::99"), Some(DIRECTOR))),
        Outcome::Pass
    );
    assert_eq!(net.neighbours.mac(id), Some(OTHER));
    // A question of its own tells its address too; a wrong interface does not count.
    net.run(ms(10_000));
    let question = solicitation(from, None, v6("fd01::99"), Some(PEER));
    assert_eq!(net.icmpv6(ETH0, &mut question.clone()), Outcome::Pass);
    assert_eq!(net.neighbours.mac(id), Some(OTHER));
    assert_eq!(net.icmpv6(ETH1, &mut question.clone()), Outcome::Pass);
    assert_eq!(net.neighbours.mac(id), Some(PEER));
}

#[test]
fn a_solicitation_becomes_its_answer_if_that_fits() {
    let mut net = Network::new();
    net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    net.run(ms(10_000));
    let from = (PEER, v6(ROUTER));
    let question = solicitation(from, None, v6(VIP), Some(PEER));
    let mut frame = question.clone();
    assert_eq!(net.icmpv6(ETH0, &mut frame), Outcome::Reply);
    let expected = [&[0x60, 0, 0, 0][..], &v6(VIP).octets(), &[2, 1], &DIRECTOR.0].concat();
    let check = |frame: &[u8], to: MacAddr| {
        assert_eq!(frame[..12], [to.0, DIRECTOR.0].concat());
        let (hop_limit, source, destination, icmp) = open(frame);
        assert_eq!((hop_limit, source, destination), (255, v6(VIP), v6(ROUTER)));
        assert_eq!((icmp[0], icmp[1], &icmp[4..]), (136, 0, &expected[..]));
    };
    check(&frame, PEER);
    assert_eq!(frame.len(), question.len());
    // Without the option, and with a second one: the answer does not fit and comes by itself.
    let bare = solicitation((OTHER, v6(ROUTER)), Some((DIRECTOR, v6(VIP))), v6(VIP), None);
    let mut nonce = [&question[..], &[14, 1, 1, 2, 3, 4, 5, 6]].concat();
    nonce[19] = 40;
    fix_checksum(&mut nonce, 54);
    for (question, to) in [(bare, OTHER), (nonce, PEER)] {
        let mut frame = question.clone();
        assert_eq!(net.icmpv6(ETH0, &mut frame), Outcome::Consumed);
        assert_eq!(frame, question);
        assert_eq!(net.neighbours.poll_timeout(), Some(Instant::ZERO));
        let sent = net.sent_until(net.now);
        assert_eq!(sent.len(), 1);
        check(&sent[0].frame, to);
    }
    // Not for the director, or not for this station.
    let mut dip = solicitation(from, None, v6("fd00::208"), Some(PEER));
    assert_eq!(net.icmpv6(ETH0, &mut dip), Outcome::Pass);
    let mut flooded = solicitation(from, Some((OTHER, v6(VIP))), v6(VIP), Some(PEER));
    assert_eq!(net.icmpv6(ETH0, &mut flooded), Outcome::Pass);
}

#[test]
fn messages_that_break_a_rule_are_bad() {
    let mut net = Network::new();
    net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    let good = solicitation((PEER, v6(ROUTER)), None, v6(VIP), Some(PEER));
    let mut bad = Vec::new();
    let mut broken = |name: &'static str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        edit(&mut frame);
        fix_checksum(&mut frame, 54);
        bad.push((name, frame));
    };
    broken("hop limit", &|frame| frame[21] = 254);
    broken("code", &|frame| frame[55] = 1);
    broken("multicast target", &|frame| frame[62] = 0xff);
    broken("option without length", &|frame| frame[79] = 0);
    broken("option beyond the end", &|frame| frame[79] = 2);
    broken("group address in option", &|frame| frame[80] |= 1);
    broken("multicast source", &|frame| frame[22] = 0xff);
    broken("version", &|frame| frame[14] = 0x40);
    broken("short", &|frame| frame.truncate(70));
    broken("group Ethernet source", &|frame| frame[6] |= 1);
    let mut checksum = good.clone();
    checksum[56] ^= 1;
    bad.push(("checksum", checksum));
    let unspecified = Ipv6Addr::UNSPECIFIED;
    bad.push(("probe with option", solicitation((PEER, unspecified), None, v6(VIP), Some(PEER))));
    let unicast = Some((DIRECTOR, v6(VIP)));
    bad.push(("probe to one", solicitation((PEER, unspecified), unicast, v6(VIP), None)));
    let all = (MacAddr::for_ipv6_multicast(ALL_NODES), ALL_NODES);
    let solicited = NdiscNeighborFlags::SOLICITED;
    let to_all = advertisement((PEER, v6(RIP)), all, v6(RIP), solicited, Some(PEER));
    bad.push(("solicited to all", to_all));
    for (name, mut frame) in bad {
        let before = frame.clone();
        assert_eq!(net.icmpv6(ETH0, &mut frame), Outcome::Bad, "{name}");
        assert_eq!(frame, before, "{name}");
    }
    assert_eq!(net.icmpv6(ETH0, &mut good.clone()), Outcome::Reply);
    let mut echo = good.clone();
    echo[54] = 128;
    assert_eq!(net.icmpv6(ETH0, &mut echo), Outcome::Pass);
}

#[test]
fn a_vip_is_reported_to_switches_and_announced() {
    let mut net = Network::new();
    net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    let group = MacAddr([0x33, 0x33, 0xff, 0, 2, 0x50]);
    assert_eq!(net.neighbours.poll_join(), Some((ETH0, group)));
    assert_eq!(net.neighbours.poll_join(), None);
    let sent = net.sent_until(ms(10_000));
    assert!(sent.iter().all(|frame| frame.interface == ETH0));
    let (reports, rest): (Vec<_>, Vec<_>) = sent.iter().partition(|s| reported(&s.frame).is_some());
    assert_eq!(reports.iter().map(|s| s.at).collect::<Vec<_>>(), [ms(0), ms(1_000)]);
    // "Changed to exclude nothing": listens from now on.
    let listens = Some((4, Vec::from([v6("ff02::1:ff00:250")])));
    assert!(reports.iter().all(|s| reported(&s.frame) == listens));
    assert_eq!(open(&reports[0].frame).1, v6("fe80::ff:fe00:1"), "derived from the MAC");
    assert_eq!(rest.iter().map(|s| s.at).collect::<Vec<_>>(), [ms(0), ms(1_000), ms(2_000)]);
    for sent in rest {
        let (hop_limit, source, destination, icmp) = open(&sent.frame);
        assert_eq!((hop_limit, source, destination), (255, v6(VIP), ALL_NODES));
        assert_eq!(sent.to(), MacAddr([0x33, 0x33, 0, 0, 0, 1]));
        let expected = [&[0x20, 0, 0, 0][..], &v6(VIP).octets(), &[2, 1], &DIRECTOR.0].concat();
        assert_eq!((icmp[0], &icmp[4..]), (136, &expected[..]));
    }
    assert_eq!(net.events(), [Event::Announced { address: ip(VIP), interface: ETH0 }]);
    assert!(net.neighbours.all_announced());
    // The link comes up again: switches may have forgotten.
    net.neighbours.handle_link(net.now, PortId(0), true);
    assert_eq!(net.sent_until(ms(20_000)).len(), 5);
}

#[test]
fn whoever_wants_a_vip_hears_that_it_is_taken() {
    let mut net = Network::new();
    net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    net.run(ms(10_000));
    net.events();
    for _ in 0..3 {
        let mut probe = solicitation((PEER, Ipv6Addr::UNSPECIFIED), None, v6(VIP), None);
        assert_eq!(net.icmpv6(ETH0, &mut probe), Outcome::Consumed);
    }
    let conflict = |mac| Event::AddressConflict { address: ip(VIP), mac, interface: ETH0 };
    assert_eq!(net.events(), [conflict(PEER)]);
    // One answer to all nodes, and one announcement for the conflict.
    let sent = net.sent_until(ms(11_500));
    assert_eq!(sent.len(), 2);
    for sent in sent {
        let (_, source, destination, icmp) = open(&sent.frame);
        assert_eq!((source, destination, icmp[4]), (v6(VIP), ALL_NODES, 0x20));
    }
    let all = (MacAddr::for_ipv6_multicast(ALL_NODES), ALL_NODES);
    let overriding = NdiscNeighborFlags::OVERRIDE;
    let mut claim = advertisement((OTHER, v6(VIP)), all, v6(VIP), overriding, Some(OTHER));
    assert_eq!(net.icmpv6(ETH0, &mut claim), Outcome::Consumed);
    let mut reflection = advertisement((DIRECTOR, v6(VIP)), all, v6(VIP), overriding, Some(DIRECTOR));
    assert_eq!(net.icmpv6(ETH0, &mut reflection), Outcome::Consumed);
    assert_eq!(net.events(), [conflict(OTHER)]);
    assert_eq!(net.sent_until(ms(20_000)).len(), 1);
}

#[test]
fn link_local_addresses_count_on_their_own_link_only() {
    let mut configs = interfaces();
    configs[0].addresses.push("fe80::2/64".parse().unwrap());
    let mut net = Network::new();
    net.neighbours = Neighbours::new(&configs, 4, 4, 1);
    net.neighbours.add_local(net.now, ip("fe80::1"), LocalKind::Own).unwrap();
    let question = solicitation((PEER, v6(ROUTER)), None, v6("fe80::1"), Some(PEER));
    assert_eq!(net.icmpv6(ETH0, &mut question.clone()), Outcome::Pass);
    assert_eq!(net.icmpv6(ETH1, &mut question.clone()), Outcome::Reply);
    assert!(net.sent_until(ms(5_000)).iter().all(|sent| sent.interface == ETH1));
}

#[test]
fn queries_are_answered_in_time_and_in_their_own_version() {
    let mut net = Network::new();
    for n in 1..=100u16 {
        let vip = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n);
        net.neighbours.add_local(net.now, vip.into(), LocalKind::Vip).unwrap_or_else(|_| assert!(n > 64));
    }
    net.neighbours.add_local(net.now, ip(RIP), LocalKind::Own).unwrap_err();
    net.run(ms(10_000));
    let general = Ipv6Addr::UNSPECIFIED;
    assert_eq!(ask(&mut net, ETH0, &mut query(general, 2_000, false, true)), Outcome::Pass);
    let sent = net.sent_until(ms(12_000));
    let lists: Vec<_> = sent.iter().map(|sent| reported(&sent.frame).unwrap()).collect();
    assert_eq!(
        lists.iter().map(|(kind, groups)| (*kind, groups.len())).collect::<Vec<_>>(),
        [(2, 61), (2, 3)]
    );
    assert_eq!(groups_that_fit(128), 2);
    // One group; asked for a thousand times, it is reported once a second.
    let group = v6("ff02::1:ff00:7");
    for now in 20_000..21_000 {
        net.run(ms(now));
        _ = ask(&mut net, ETH0, &mut query(group, 1, false, true));
    }
    net.run(ms(30_000));
    let lists: Vec<_> = net.sent.iter().map(|sent| reported(&sent.frame).unwrap()).collect();
    assert!((1..=2).contains(&lists.len()), "{}", lists.len());
    assert!(lists.iter().all(|list| *list == (2, Vec::from([group]))));
    // Version 1: a message a group, to the group.
    assert_eq!(ask(&mut net, ETH0, &mut query(group, 500, true, true)), Outcome::Pass);
    let sent = net.sent_until(ms(31_000));
    assert_eq!(sent.len(), 1);
    let (hop_limit, _, destination, icmp) = open(&sent[0].frame);
    assert_eq!((hop_limit, destination, icmp.len(), icmp[0]), (1, group, 24, 131));
    assert_eq!(icmp[4..], [&[0; 4][..], &group.octets()].concat());
    // A group of somebody else, an interface without groups, a query without router alert.
    _ = ask(&mut net, ETH0, &mut query(v6("ff02::fb"), 500, false, true));
    _ = ask(&mut net, ETH1, &mut query(general, 500, false, true));
    assert_eq!(ask(&mut net, ETH0, &mut query(general, 500, false, false)), Outcome::Bad);
    let mut forwarded = query(general, 500, false, true);
    forwarded[21] = 2;
    assert_eq!(ask(&mut net, ETH0, &mut forwarded), Outcome::Bad);
    let mut from_afar = query(general, 500, false, true);
    from_afar[22] = 0x20;
    fix_checksum(&mut from_afar, 62);
    assert_eq!(ask(&mut net, ETH0, &mut from_afar), Outcome::Bad);
    assert!(net.sent_until(ms(60_000)).is_empty());
}

#[test]
fn a_report_in_pieces_is_not_begun_again_and_names_a_shared_group_once() {
    let mut net = Network::new();
    let mut configs = interfaces();
    configs[0].addresses[1] = "fd00::208/32".parse().unwrap();
    net.neighbours = Neighbours::new(&configs, 1, 8, 1);
    for (high, low) in [(1, 1), (2, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6)] {
        let vip = Ipv6Addr::new(0xfd00, 0, 0, 0, high, 0, 0, low);
        net.neighbours.add_local(net.now, vip.into(), LocalKind::Own).unwrap();
    }
    net.run(ms(10_000));
    let general = Ipv6Addr::UNSPECIFIED;
    _ = ask(&mut net, ETH0, &mut query(general, 0, false, true));
    net.buffer = std::vec![0; Neighbours::LEAST_BUFFER];
    let mut listed = Vec::new();
    for _ in 0..10 {
        if let Some((_, length)) = net.neighbours.poll_transmit(net.now, &mut net.buffer) {
            listed.extend(reported(&net.buffer[..length]).unwrap().1);
        }
        _ = ask(&mut net, ETH0, &mut query(general, 0, false, true));
    }
    let expected: Vec<_> = (1..=6).map(|n| v6(&std::format!("ff02::1:ff00:{n}"))).collect();
    assert_eq!(listed, expected);
}

#[test]
fn a_second_query_neither_puts_off_nor_narrows_the_first() {
    let mut net = Network::new();
    for n in 1..=3u16 {
        let vip = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n);
        net.neighbours.add_local(net.now, vip.into(), LocalKind::Own).unwrap();
    }
    net.run(ms(10_000));
    for (first, groups) in [(Ipv6Addr::UNSPECIFIED, 3), (v6("ff02::1:ff00:1"), 3), (v6("ff02::1:ff00:2"), 1)]
    {
        let start = net.now;
        _ = ask(&mut net, ETH0, &mut query(first, 100, false, true));
        _ = ask(&mut net, ETH0, &mut query(v6("ff02::1:ff00:2"), 0x7fff, false, true));
        let sent = net.sent_until(start + core::time::Duration::from_secs(40));
        assert_eq!(sent.len(), 1);
        assert!(sent[0].at < start + core::time::Duration::from_millis(100));
        assert_eq!(reported(&sent[0].frame).unwrap().1.len(), groups);
    }
}

#[test]
fn answers_that_wait_are_bounded_and_counted() {
    let mut net = Network::new();
    net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    net.run(ms(10_000));
    let bare = solicitation((PEER, v6(ROUTER)), None, v6(VIP), None);
    for _ in 0..100 {
        assert_eq!(net.icmpv6(ETH0, &mut bare.clone()), Outcome::Consumed);
    }
    assert_eq!(net.sent_until(net.now).len(), 64);
    assert_eq!(net.neighbours.lost_answers(), 36);
    // Nothing leaves while the link is down.
    _ = net.icmpv6(ETH0, &mut bare.clone());
    net.neighbours.handle_link(net.now, PortId(0), false);
    assert!(net.sent_until(net.now).is_empty());
    net.neighbours.handle_link(net.now, PortId(0), true);
    net.run(ms(20_000));
    net.sent.clear();
    // What is no longer local when its turn comes is not answered.
    _ = net.icmpv6(ETH0, &mut bare.clone());
    net.neighbours.remove_local(ip(VIP), LocalKind::Vip);
    assert!(net.sent_until(net.now).is_empty());
    assert_eq!(net.neighbours.poll_timeout(), None);
}

#[test]
fn the_constant_is_the_length_of_what_is_written() {
    let frame = solicitation((PEER, v6(ROUTER)), None, v6(VIP), Some(PEER));
    assert_eq!(frame.len(), 54 + WITH_ADDRESS);
}
