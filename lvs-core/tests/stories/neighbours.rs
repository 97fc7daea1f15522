//! Real servers' Ethernet addresses: unknown, lost, found again, changed, fixed; links that go down and up.

use lvs_core::io::Meta;
use lvs_core::{Change, DropReason, Event, InterfaceConfig, MacAddr, PortId};
use lvs_testkit::frames::{self, IpSummary, Summary, addr, mac, socket, v4};
use lvs_testkit::memory::StoredFrame;

use crate::world::{
    CLIENT, DIP, DIRECTOR, FIRST, ROUTER, SECOND, VIP, World, config, flags, key, mac_of, millis, remove,
    seconds, segment, server_of,
};

fn arp_for(frames: &[StoredFrame], target: &str) -> Vec<Summary> {
    let summaries = frames.iter().filter_map(|frame| Summary::of(&frame.bytes));
    summaries.filter(|s| s.arp.is_some_and(|arp| arp.target == addr(target))).collect()
}

#[test]
fn the_dip_asks_and_what_waits_leaves_in_order() {
    let mut world = World::new(config());
    world.serve(socket(VIP), &[SECOND]);
    let asked = arp_for(&world.take_sent(), SECOND);
    assert_eq!(asked.len(), 1);
    let arp = asked[0].arp.unwrap();
    assert_eq!((arp.sender, arp.sender_mac), (addr(DIP), mac(DIRECTOR)));
    assert_eq!(asked[0].destination_mac, MacAddr::BROADCAST);
    let waiting: Vec<Vec<u8>> =
        ["S", "A", "PA"].into_iter().map(|letters| segment(CLIENT, VIP, letters)).collect();
    for frame in &waiting {
        world.send(frame);
    }
    world.answer_arp(addr(SECOND));
    let left: Vec<_> = world.take_sent().into_iter().filter(|f| server_of(f).is_some()).collect();
    assert_eq!(left.len(), 3);
    for (left, before) in left.iter().zip(&waiting) {
        assert_eq!(left.bytes[..6], mac_of(addr(SECOND)).0);
        assert_eq!(left.bytes[6..12], mac(DIRECTOR).0);
        assert_eq!(left.bytes[12..], before[12..]);
    }
    let statistics = world.director.statistics();
    assert_eq!((statistics.held, statistics.released, statistics.given_up), (3, 3, 0));
}

#[test]
fn a_server_that_falls_silent_is_lost_and_found_again() {
    let mut world = World::ready(socket(VIP), &[SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
    world.die(SECOND);
    world.pass(seconds(60));
    assert_eq!(world.count_events(|e| matches!(e, Event::NeighbourLost { .. })), 1);
    assert_eq!(world.chosen(CLIENT, VIP, "A"), None);
    assert_eq!(world.director.statistics().held, 1);
    world.pass(seconds(60));
    assert_eq!(world.director.statistics().given_up, 1);
    assert!(world.events.is_empty(), "it is said once: {:?}", world.events);
    world.live(&[SECOND]);
    world.pass(seconds(35));
    assert_eq!(world.count_events(|e| matches!(e, Event::NeighbourLearnt { .. })), 1);
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
}

#[test]
fn a_frame_that_waits_hastens_the_question() {
    let mut world = World::new(config());
    world.serve(socket(VIP), &[SECOND]);
    // After minutes of silence half a minute lies between two questions.
    world.pass(seconds(200));
    world.take_sent();
    world.pass(seconds(2));
    assert_eq!(arp_for(&world.take_sent(), SECOND).len(), 0);
    let out = world.tcp(CLIENT, VIP, "S");
    assert_eq!(arp_for(&out, SECOND).len(), 1);
    world.live(&[SECOND]);
    world.pass(millis(1500));
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188), "the second frame asked again");
}

#[test]
fn silence_of_one_server_does_not_touch_the_other() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    world.die(FIRST);
    world.pass(seconds(60));
    let chosen: Vec<_> = (0..4).map(|n| world.chosen(&format!("110.0.0.1:{}", 4000 + n), VIP, "S")).collect();
    assert_eq!(chosen, [Some(188), None, Some(188), None]);
}

#[test]
fn a_new_ethernet_address_is_followed_and_verified() {
    let mut world = World::ready(socket(VIP), &[SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    let new = mac("02:00:00:00:77:77");
    world.stations.insert(addr(SECOND), new);
    world.take_sent();
    world.inject(PortId(0), Meta::default(), &frames::arp_announcement(new, v4(SECOND)).build());
    world.turn();
    let verified = arp_for(&world.take_sent(), SECOND);
    assert!(verified.iter().any(|ask| ask.destination_mac == new), "asked there: {verified:?}");
    let out = world.tcp(CLIENT, VIP, "A");
    assert_eq!(out[0].bytes[..6], new.0);
    let old = mac_of(addr(SECOND));
    let changed =
        |e: &Event| matches!(e, Event::NeighbourChanged { old: o, new: n, .. } if (*o, *n) == (old, new));
    assert_eq!(world.count_events(changed), 1);
    world.pass(seconds(120));
    assert_eq!(world.tcp(CLIENT, VIP, "A")[0].bytes[..6], new.0);
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn frames_for_a_removed_server_are_given_up() {
    let mut world = World::new(config());
    world.serve(socket(VIP), &[SECOND]);
    world.tcp(CLIENT, VIP, "S");
    world.apply(&[remove(key(VIP), SECOND)]);
    assert_eq!(world.director.statistics().given_up, 1);
    world.answer_arp(addr(SECOND));
    assert!(world.take_sent().iter().all(|frame| server_of(frame).is_none()));
}

#[test]
fn a_fixed_ethernet_address_is_neither_asked_nor_learnt() {
    let mut world = World::new(config());
    let fixed = mac("02:00:00:00:88:88");
    world.apply(&[Change::SetStaticNeighbour { address: addr(SECOND), mac: Some(fixed) }]);
    world.serve(socket(VIP), &[SECOND]);
    world.pass(seconds(100));
    assert!(arp_for(&world.take_sent(), SECOND).is_empty());
    world.inject(
        PortId(0),
        Meta::default(),
        &frames::arp_announcement(mac_of(addr(SECOND)), v4(SECOND)).build(),
    );
    assert_eq!(world.tcp(CLIENT, VIP, "S")[0].bytes[..6], fixed.0);
    // Set free it is asked for again; until somebody answers, the fixed address is used.
    world.live(&[SECOND]);
    world.apply(&[Change::SetStaticNeighbour { address: addr(SECOND), mac: None }]);
    world.pass(seconds(2));
    assert_eq!(world.tcp(CLIENT, VIP, "A")[0].bytes[..6], mac_of(addr(SECOND)).0);
}

#[test]
fn a_server_behind_a_router_is_reached_through_it() {
    let mut config = config();
    config.interfaces[0].gateways.push(addr("192.168.0.15"));
    let mut world = World::new(config);
    world.live(&["192.168.0.15"]);
    world.serve(socket(VIP), &["10.77.0.1", "10.77.0.2"]);
    world.take_sent();
    for client in ["110.0.0.1:4000", "110.0.0.1:4001"] {
        assert_eq!(world.tcp(client, VIP, "S")[0].bytes[..6], mac_of(addr("192.168.0.15")).0);
    }
    assert_eq!(world.director.service(key(VIP)).unwrap().destinations[1].active, 1);
    let learnt =
        |e: &Event| matches!(e, Event::NeighbourLearnt { address, .. } if *address == addr("192.168.0.15"));
    assert_eq!(world.count_events(learnt), 1);
}

#[test]
fn a_server_that_no_interface_leads_to_is_counted() {
    let mut world = World::ready(socket(VIP), &["10.77.0.1"]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), None);
    assert_eq!(world.director.statistics().dropped(DropReason::NoRoute), 1);
}

#[test]
fn what_is_longer_than_a_buffer_does_not_wait() {
    let mut config = config();
    config.interfaces[0].mtu = 9000;
    let mut world = World::new(config);
    world.serve(socket(VIP), &[SECOND]);
    let long = frames::tcp(socket(CLIENT), socket(VIP)).flags(flags("S")).payload(&[7; 2100]);
    let long = long.macs(mac(ROUTER), mac(DIRECTOR)).build();
    world.send(&long);
    assert_eq!(world.director.statistics().dropped(DropReason::PoolFull), 1);
    world.answer_arp(addr(SECOND));
    assert_eq!(world.send(&long).len(), 1);
}

#[test]
fn the_pool_is_shared_and_bounded() {
    let mut config = config();
    config.pool_buffers = 8;
    let mut world = World::new(config);
    let rips: Vec<String> = (1..=4).map(|n| format!("192.168.0.{n}")).collect();
    let rips: Vec<&str> = rips.iter().map(String::as_str).collect();
    world.serve(socket(VIP), &rips);
    // Twelve would be allowed to wait, three for each of four servers; eight buffers are there.
    for port in 4000..4012 {
        world.tcp(&format!("110.0.0.1:{port}"), VIP, "S");
    }
    let statistics = world.director.statistics();
    assert_eq!((statistics.held, statistics.dropped(DropReason::PoolFull)), (8, 4));
    world.pass(seconds(4));
    assert_eq!(world.director.statistics().given_up, 8);
    world.tcp("110.0.0.1:4100", VIP, "S");
    assert_eq!(world.director.statistics().held, 9);
}

fn announcements(frames: &[StoredFrame], vip: &str) -> usize {
    arp_for(frames, vip).iter().filter(|s| s.arp.is_some_and(|arp| arp.sender == arp.target)).count()
}

#[test]
fn a_vip_is_announced_when_it_is_added_and_when_the_link_returns() {
    let mut world = World::new(config());
    world.live(&[SECOND]);
    world.serve(socket(VIP), &[SECOND]);
    assert!(world.director.is_announced(), "the first announcement leaves at once");
    world.pass(seconds(5));
    let sent = world.take_sent();
    assert_eq!(announcements(&sent, "192.168.0.250"), 3);
    let announced =
        |e: &Event| matches!(e, Event::Announced { address, .. } if *address == addr("192.168.0.250"));
    assert_eq!(world.count_events(announced), 1);

    world.events.clear();
    world.io.set_link(PortId(0), false);
    world.pass(seconds(100));
    assert_eq!(world.events, [Event::LinkDown(PortId(0))]);
    assert!(world.take_sent().is_empty(), "nobody is asked while the link is down");
    world.events.clear();
    world.io.set_link(PortId(0), true);
    world.pass(seconds(5));
    assert_eq!(world.count_events(|e| *e == Event::LinkUp(PortId(0))), 1);
    assert_eq!(world.count_events(announced), 1);
    assert!(world.events.is_empty(), "{:?}", world.events);
    let sent = world.take_sent();
    assert_eq!(announcements(&sent, "192.168.0.250"), 3);
    let probes = arp_for(&sent, SECOND);
    assert_eq!(probes[0].destination_mac, mac_of(addr(SECOND)), "what was known is verified");
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
}

#[test]
fn while_the_link_is_down_a_new_vip_is_not_announced() {
    let mut world = World::new(config());
    world.io.set_link(PortId(0), false);
    world.serve(socket(VIP), &[SECOND]);
    world.pass(seconds(10));
    assert!(!world.director.is_announced());
    world.io.set_link(PortId(0), true);
    world.turn();
    assert!(world.director.is_announced());
}

/// Requests for the VIP: answered in place, from probes too, and not for what is not ours.
#[test]
fn requests_for_the_vip_are_answered_with_the_directors_address() {
    let mut world = World::ready(socket(VIP), &[SECOND]);
    let asker = mac(ROUTER);
    let vip = v4("192.168.0.250");
    let questions = [
        frames::arp_request(asker, v4("192.168.0.15"), vip),
        frames::arp_probe(asker, vip),
        frames::arp_request(asker, v4("192.168.0.15"), vip).unicast(mac(DIRECTOR)),
        frames::arp_request(asker, v4("192.168.0.15"), vip).pad_to(60),
    ];
    for question in questions {
        let question = question.build();
        let out = world.send(&question);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].bytes.len(), question.len());
        let answer = Summary::of(&out[0].bytes).unwrap();
        assert_eq!((answer.source_mac, answer.destination_mac), (mac(DIRECTOR), asker));
        let arp = answer.arp.unwrap();
        assert_eq!((arp.operation, arp.sender, arp.sender_mac), (2, vip.into(), mac(DIRECTOR)));
    }
    let before = world.director.statistics().passed;
    for other in ["192.168.0.251", DIP] {
        let question = frames::arp_request(asker, v4("192.168.0.15"), v4(other)).build();
        assert!(world.send(&question).is_empty(), "{other} is not ours to answer for");
    }
    assert_eq!(world.director.statistics().passed - before, 2);
}

#[test]
fn an_owned_dip_is_answered_for() {
    let mut config = config();
    config.interfaces[0] = InterfaceConfig { owns_addresses: true, ..config.interfaces[0].clone() };
    let mut world = World::new(config);
    world.pass(seconds(5));
    let question = frames::arp_request(mac(ROUTER), v4("192.168.0.15"), v4(DIP)).build();
    let out = world.send(&question);
    assert_eq!(Summary::of(&out[0].bytes).unwrap().arp.unwrap().sender, addr(DIP));
    let ping = frames::echo_request(addr("192.168.0.15"), addr(DIP), 1, 1).payload(b"ping");
    let out = world.send(&ping.macs(mac(ROUTER), mac(DIRECTOR)).build());
    let IpSummary { icmp, source, .. } = Summary::of(&out[0].bytes).unwrap().ip.unwrap();
    assert_eq!((icmp, source), (Some((0, 0)), addr(DIP)));
}
