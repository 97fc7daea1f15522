//! IPv4, and what both families share.

use alloc::vec::Vec;
use std::collections::BTreeMap;

use super::network::*;
use crate::addr::MacAddr;
use crate::event::Event;
use crate::io::PortId;
use crate::neighbour::arp::{Message, Operation};
use crate::neighbour::{Full, LocalKind, Neighbours, Outcome};
use crate::time::Instant;

const RIP: &str = "10.1.0.30";
const VIP: &str = "192.168.0.250";

#[test]
fn a_real_server_is_asked_with_the_dip_as_sender_and_learnt() {
    let mut net = Network::new();
    net.stations.insert((ETH1, ip(RIP)), PEER);
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    assert_eq!(net.neighbours.mac(id), None);
    let sent = net.sent_until(ms(100));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].interface, sent[0].to(), sent[0].frame.len()), (ETH1, MacAddr::BROADCAST, 42));
    let question = sent[0].arp().unwrap();
    assert_eq!((question.sender, question.sender_mac), (v4("10.1.0.1"), DIRECTOR1));
    assert_eq!(net.neighbours.mac(id), Some(PEER));
    assert_eq!(net.neighbours.poll_update(), Some(id));
    assert_eq!(net.neighbours.poll_update(), None);
    let learnt = Event::NeighbourLearnt { address: ip(RIP), mac: PEER, interface: ETH1 };
    assert_eq!(net.events(), [learnt]);
    // Ten refreshes or so in five minutes, each to the server alone, and nothing to report.
    let sent = net.sent_until(ms(300_000));
    assert!((10..=13).contains(&sent.len()), "{}", sent.len());
    assert!(sent.iter().all(|frame| frame.to() == PEER));
    assert_eq!(net.events(), []);
    assert_eq!(net.neighbours.poll_update(), None);
}

#[test]
fn a_server_that_dies_is_lost_once_and_found_again() {
    let mut net = Network::new();
    net.stations.insert((ETH1, ip(RIP)), PEER);
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    net.run(ms(1_000));
    net.stations.clear();
    net.events();
    net.neighbours.poll_update();
    net.run(ms(22_000));
    assert_eq!(net.neighbours.mac(id), Some(PEER));
    net.run(ms(40_000));
    assert_eq!(net.neighbours.mac(id), None);
    assert_eq!(net.neighbours.poll_update(), Some(id));
    net.run(ms(400_000));
    assert_eq!(net.events(), [Event::NeighbourLost { address: ip(RIP), interface: ETH1 }]);
    net.stations.insert((ETH1, ip(RIP)), OTHER);
    net.run(ms(435_000));
    assert_eq!(net.events(), [Event::NeighbourLearnt { address: ip(RIP), mac: OTHER, interface: ETH1 }]);
    assert_eq!(net.neighbours.mac(id), Some(OTHER));
}

#[test]
fn a_frame_that_waits_brings_the_question_forward() {
    let mut net = Network::new();
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    net.run(ms(100_000));
    let last = net.sent.last().unwrap().at;
    net.now = net.now.max(ms(last.as_micros() / 1000 + 1_500));
    for _ in 0..100 {
        net.neighbours.wanted(net.now, id);
    }
    let sent = net.sent_until(net.now);
    assert_eq!(sent.len(), 1);
}

#[test]
fn only_believable_answers_count() {
    let mut net = Network::new();
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    net.run(ms(10));
    let dip = v4("10.1.0.1");
    let group = MacAddr([3, 0, 0, 0, 0, 1]);
    for (bad, outcome) in [
        (arp_reply(group, v4(RIP), DIRECTOR1, dip), Outcome::Bad),
        (arp_reply(MacAddr::ZERO, v4(RIP), DIRECTOR1, dip), Outcome::Bad),
        (arp_reply(DIRECTOR1, v4(RIP), DIRECTOR1, dip), Outcome::Consumed),
        (arp_reply(DIRECTOR, v4(RIP), DIRECTOR1, dip), Outcome::Consumed),
        (arp_reply(PEER, v4("10.1.0.31"), DIRECTOR1, dip), Outcome::Pass),
        (arp_reply(PEER, v4(RIP), OTHER, dip), Outcome::Pass),
    ] {
        let mut frame = bad.clone();
        assert_eq!(net.arp(ETH1, &mut frame), outcome);
        assert_eq!(frame, bad);
    }
    // The right answer on the wrong interface.
    assert_eq!(net.arp(ETH0, &mut arp_reply(PEER, v4(RIP), DIRECTOR, dip)), Outcome::Pass);
    assert_eq!(net.neighbours.mac(id), None);
    assert_eq!(net.arp(ETH1, &mut arp_reply(PEER, v4(RIP), DIRECTOR1, dip)), Outcome::Pass);
    assert_eq!(net.neighbours.mac(id), Some(PEER));
}

#[test]
fn what_is_said_to_others_is_no_answer() {
    let mut net = Network::new();
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    net.run(ms(10));
    let mut to_all = arp_reply(PEER, v4(RIP), MacAddr::BROADCAST, v4("10.1.0.9"));
    assert_eq!(net.arp(ETH1, &mut to_all), Outcome::Pass);
    // Learnt, but to be confirmed at once.
    assert_eq!((net.neighbours.mac(id), net.neighbours.poll_timeout()), (Some(PEER), Some(ms(10))));
}

#[test]
fn who_is_not_tracked_is_not_remembered() {
    let mut net = Network::with_capacity(1, 1);
    net.neighbours.track(net.now, ETH0, ip("192.168.0.15")).unwrap();
    for n in 1..=255 {
        let mut frame = arp_request(PEER, v4("192.168.0.99"), v4("192.168.0.208"));
        frame[31] = n;
        _ = net.arp(ETH0, &mut frame);
    }
    assert_eq!(net.neighbours.track(net.now, ETH0, ip("192.168.0.99")), Err(Full));
}

#[test]
fn a_request_for_a_vip_becomes_its_answer() {
    let mut net = Network::new();
    net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    let question = arp_request(PEER, v4("192.168.0.15"), v4(VIP));
    let unicast = [&DIRECTOR.0[..], &question[6..]].concat();
    for question in [question, unicast] {
        let mut frame = question.clone();
        assert_eq!(net.arp(ETH0, &mut frame), Outcome::Reply);
        let reply = Message {
            operation: Operation::Reply,
            sender_mac: DIRECTOR,
            sender: v4(VIP),
            target_mac: PEER,
            target: v4("192.168.0.15"),
        };
        assert_eq!(arp_of(&frame), Some(reply));
        assert_eq!(frame[..12], [PEER.0, DIRECTOR.0].concat());
        assert_eq!(frame[42..], question[42..]);
    }
    // A probe is answered too: the address is in use.
    let mut probe = arp_request(PEER, v4("0.0.0.0"), v4(VIP));
    assert_eq!(net.arp(ETH0, &mut probe), Outcome::Reply);
    assert_eq!(arp_of(&probe).unwrap().target, v4("0.0.0.0"));
    // Behind a tag.
    let plain = arp_request(PEER, v4("192.168.0.15"), v4(VIP));
    let mut tagged = [&plain[..12], &[0x81, 0, 0, 7], &plain[12..]].concat();
    assert_eq!(net.neighbours.handle_arp(net.now, ETH0, &mut tagged, 18), Outcome::Reply);
    assert_eq!(tagged[12..18], [0x81, 0, 0, 7, 8, 6]);
    // The kernel's DIP, and a frame for another station.
    let mut dip = arp_request(PEER, v4("192.168.0.15"), v4("192.168.0.208"));
    assert_eq!(net.arp(ETH0, &mut dip), Outcome::Pass);
    let mut flooded = [&OTHER.0[..], &plain[6..]].concat();
    assert_eq!(net.arp(ETH0, &mut flooded), Outcome::Pass);
    assert_eq!(net.events(), []);
    net.neighbours.remove_local(ip(VIP), LocalKind::Vip);
    assert_eq!(net.arp(ETH0, &mut plain.clone()), Outcome::Pass);
}

#[test]
fn a_vip_is_announced_three_times_where_it_belongs() {
    let mut net = Network::new();
    assert!(net.neighbours.all_announced());
    for _ in 0..3 {
        net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    }
    net.neighbours.remove_local(ip(VIP), LocalKind::Vip);
    assert!(!net.neighbours.all_announced());
    let sent = net.sent_until(ms(10_000));
    assert_eq!(sent.iter().map(|frame| frame.at).collect::<Vec<_>>(), [ms(0), ms(1_000), ms(2_000)]);
    for frame in &sent {
        let message = frame.arp().unwrap();
        assert_eq!((frame.interface, frame.to()), (ETH0, MacAddr::BROADCAST));
        assert_eq!((message.operation, message.sender_mac), (Operation::Request, DIRECTOR));
        assert_eq!((message.sender, message.target), (v4(VIP), v4(VIP)));
    }
    assert!(net.neighbours.all_announced());
    assert_eq!(net.events(), [Event::Announced { address: ip(VIP), interface: ETH0 }]);
    // Added three times, removed three times.
    net.neighbours.remove_local(ip(VIP), LocalKind::Vip);
    assert!(net.neighbours.is_local(ip(VIP)));
    net.neighbours.remove_local(ip(VIP), LocalKind::Vip);
    assert!(!net.neighbours.is_local(ip(VIP)));
    // Outside all subnets: where a gateway is. An own address: no event.
    net.neighbours.add_local(net.now, ip("203.0.113.7"), LocalKind::Own).unwrap();
    let sent = net.sent_until(ms(20_000));
    assert!(sent.len() == 3 && sent.iter().all(|frame| frame.interface == ETH0));
    assert_eq!(net.events(), []);
}

#[test]
fn a_vip_on_two_links_is_announced_on_both_and_again_where_a_link_comes_up() {
    let mut configs = interfaces();
    configs[0].gateways.clear();
    let mut net = Network::new();
    net.neighbours = Neighbours::new(&configs, 4, 4, 1);
    let vip = ip("203.0.113.7");
    net.neighbours.handle_link(net.now, PortId(1), false);
    net.neighbours.add_local(net.now, vip, LocalKind::Vip).unwrap();
    let sent = net.sent_until(ms(10_000));
    assert!(sent.len() == 3 && sent.iter().all(|frame| frame.interface == ETH0));
    assert!(net.neighbours.all_announced());
    net.neighbours.handle_link(net.now, PortId(1), true);
    assert!(!net.neighbours.all_announced());
    let sent = net.sent_until(ms(20_000));
    assert!(sent.len() == 3 && sent.iter().all(|frame| frame.interface == ETH1));
    let announced = |interface| Event::Announced { address: vip, interface };
    assert_eq!(net.events(), [announced(ETH0), announced(ETH1)]);
    // Both at once.
    net.neighbours.handle_link(net.now, PortId(0), true);
    net.neighbours.handle_link(net.now, PortId(1), true);
    let sent = net.sent_until(ms(30_000));
    assert_eq!(sent.len(), 6);
}

#[test]
fn without_any_link_an_announcement_waits() {
    let mut net = Network::new();
    net.neighbours.handle_link(net.now, PortId(0), false);
    net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    assert!(net.sent_until(ms(0)).is_empty());
    assert_eq!(net.neighbours.poll_timeout(), None);
    assert!(!net.neighbours.all_announced());
    net.neighbours.handle_link(net.now, PortId(0), true);
    assert_eq!(net.sent_until(ms(70_000)).len(), 3);
    assert!(net.neighbours.all_announced());
    net.neighbours.handle_link(net.now, PortId(0), false);
    net.neighbours.handle_link(net.now, PortId(0), true);
    net.neighbours.remove_local(ip(VIP), LocalKind::Vip);
    assert!(net.neighbours.all_announced());
    assert_eq!(net.neighbours.poll_timeout(), None);
    assert!(net.sent_until(ms(80_000)).is_empty());
}

#[test]
fn who_claims_a_vip_is_reported_and_answered_with_announcements() {
    let mut net = Network::new();
    net.neighbours.add_local(net.now, ip(VIP), LocalKind::Vip).unwrap();
    net.run(ms(5_000));
    net.events();
    net.sent.clear();
    // A real server with the ARP problem: the VIP is the sender of its question. Once a millisecond.
    for now in 5_000..25_000 {
        net.run(ms(now));
        let mut claim = arp_request(PEER, v4(VIP), v4("192.168.0.15"));
        assert_eq!(net.arp(ETH0, &mut claim), Outcome::Consumed);
    }
    net.run(ms(30_000));
    let conflict = Event::AddressConflict { address: ip(VIP), mac: PEER, interface: ETH0 };
    assert_eq!(net.events(), [conflict; 2]);
    assert_eq!(net.sent.len(), 20);
    // The claim of an announcement is not answered, the question of a second station is; both are reported.
    let mut announcement = arp_request(OTHER, v4(VIP), v4(VIP));
    assert_eq!(net.arp(ETH0, &mut announcement), Outcome::Consumed);
    net.neighbours.add_local(net.now, ip("192.168.0.251"), LocalKind::Own).unwrap();
    let mut question = arp_request(OTHER, v4("192.168.0.251"), v4(VIP));
    assert_eq!(net.arp(ETH0, &mut question), Outcome::Reply);
    assert_eq!(net.events().len(), 2);
    // Our own announcement, reflected by the switch.
    let mut reflection = arp_request(DIRECTOR, v4(VIP), v4(VIP));
    assert_eq!(net.arp(ETH0, &mut reflection), Outcome::Consumed);
    assert_eq!(net.events(), []);
}

#[test]
fn a_link_that_flaps_stops_questions_and_has_addresses_confirmed() {
    let mut net = Network::new();
    net.stations.insert((ETH1, ip(RIP)), PEER);
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    net.neighbours.track(net.now, ETH1, ip("10.1.0.31")).unwrap();
    net.run(ms(1_500));
    net.neighbours.handle_link(net.now, PortId(1), false);
    net.neighbours.wanted(net.now, id);
    assert!(net.sent_until(ms(500_000)).is_empty());
    assert_eq!((net.neighbours.mac(id), net.neighbours.poll_timeout()), (Some(PEER), None));
    net.neighbours.handle_link(net.now, PortId(1), true);
    let sent = net.sent_until(ms(500_500));
    let mut to: Vec<MacAddr> = sent.iter().map(Sent::to).collect();
    to.sort_unstable();
    assert_eq!(to, [PEER, MacAddr::BROADCAST]);
    // A neighbour tracked while the link is down is asked when it comes up.
    net.neighbours.handle_link(net.now, PortId(1), false);
    let late = net.neighbours.track(net.now, ETH1, ip("10.1.0.32")).unwrap();
    net.stations.insert((ETH1, ip("10.1.0.32")), OTHER);
    net.neighbours.handle_link(net.now, PortId(1), true);
    net.run(ms(501_000));
    assert_eq!(net.neighbours.mac(late), Some(OTHER));
}

#[test]
fn a_static_address_is_neither_asked_for_nor_learnt() {
    let mut net = Network::with_capacity(2, 2);
    net.neighbours.set_static(net.now, ETH1, ip(RIP), Some(PEER)).unwrap();
    assert_eq!(net.neighbours.poll_update(), None);
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    assert_eq!((net.neighbours.mac(id), net.neighbours.poll_update()), (Some(PEER), Some(id)));
    _ = net.arp(ETH1, &mut arp_request(OTHER, v4(RIP), v4(RIP)));
    assert!(net.sent_until(ms(100_000)).is_empty());
    assert_eq!(net.neighbours.mac(id), Some(PEER));
    // Remembered while nobody uses it.
    net.neighbours.untrack(id);
    let id = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    assert_eq!(net.neighbours.mac(id), Some(PEER));
    net.neighbours.poll_update();
    // Back to asking: the address is used until the answer is there.
    net.stations.insert((ETH1, ip(RIP)), OTHER);
    net.neighbours.set_static(net.now, ETH1, ip(RIP), None).unwrap();
    assert_eq!(net.neighbours.mac(id), Some(PEER));
    net.run(ms(101_000));
    assert_eq!((net.neighbours.mac(id), net.neighbours.poll_update()), (Some(OTHER), Some(id)));
    net.neighbours.untrack(id);
    // Nothing is left of it: both places are free.
    net.neighbours.track(net.now, ETH1, ip("10.1.0.40")).unwrap();
    net.neighbours.track(net.now, ETH1, ip("10.1.0.41")).unwrap();
    assert_eq!(net.neighbours.set_static(net.now, ETH1, ip(RIP), Some(PEER)), Err(Full));
    assert_eq!(net.neighbours.set_static(net.now, ETH1, ip(RIP), None), Ok(()));
}

#[test]
fn tracking_is_counted() {
    let mut net = Network::new();
    let first = net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    assert_eq!(net.neighbours.track(net.now, ETH1, ip(RIP)), Ok(first));
    assert_ne!(net.neighbours.track(net.now, ETH0, ip(RIP)), Ok(first));
    net.neighbours.untrack(first);
    _ = net.arp(ETH1, &mut arp_request(PEER, v4(RIP), v4("10.1.0.9")));
    assert_eq!(net.neighbours.mac(first), Some(PEER));
    net.neighbours.untrack(first);
    assert_eq!((net.neighbours.mac(first), net.neighbours.poll_update()), (None, None));
    net.neighbours.untrack(first);
}

#[test]
fn four_thousand_neighbours_are_asked_at_a_measured_pace() {
    let mut net = Network::with_capacity(4096, 16);
    let ids: Vec<_> = (0..4096u32)
        .map(|n| {
            let address = std::net::IpAddr::from([10, 1, (n >> 8) as u8 + 1, n as u8]);
            net.stations.insert((ETH1, address), MacAddr([2, 1, 0, 0, (n >> 8) as u8, n as u8]));
            net.neighbours.track(net.now, ETH1, address).unwrap()
        })
        .collect();
    net.run(ms(700));
    assert_eq!(net.sent.len(), 4096, "one question each");
    assert!(ids.iter().all(|id| net.neighbours.mac(*id).is_some()));
    net.run(ms(120_000));
    let mut windows: BTreeMap<u64, u32> = BTreeMap::new();
    for frame in &net.sent {
        *windows.entry(frame.at.as_micros() / 10_000).or_default() += 1;
    }
    let most = *windows.values().max().unwrap();
    assert_eq!(most, 64, "frames within 10 ms, when all are asked for the first time");
    let most = *windows.range(100..).map(|(_, count)| count).max().unwrap();
    assert!(most <= 40, "{most} refreshes within 10 ms, where 8 are the mean of the first wave");
    let refreshes = net.sent.len() - 4096;
    std::println!("4096 neighbours: {refreshes} refreshes in 119 s, at most {most} frames within 10 ms");
    assert!((4096 * 4..4096 * 6).contains(&refreshes), "{refreshes}");
    assert_eq!(net.events().len(), 257, "256 events and the number of the others");
}

#[test]
fn a_short_buffer_gets_nothing_and_loses_nothing() {
    let mut net = Network::new();
    net.neighbours.track(net.now, ETH1, ip(RIP)).unwrap();
    let mut short = [0; Neighbours::LEAST_BUFFER - 1];
    assert_eq!(net.neighbours.poll_transmit(net.now, &mut short), None);
    let mut enough = [0; Neighbours::LEAST_BUFFER];
    assert_eq!(net.neighbours.poll_transmit(net.now, &mut enough), Some((ETH1, 42)));
    assert_eq!(net.neighbours.poll_transmit(net.now, &mut enough), None);
    assert!(net.neighbours.poll_timeout().unwrap() >= Instant::from_secs(1));
}
