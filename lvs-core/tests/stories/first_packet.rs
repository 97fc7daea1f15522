//! The first packets of flows.

use std::time::Duration;

use lvs_core::{DropReason, Event};
use lvs_testkit::frames::{addr, mac, socket};

use crate::world::{DIRECTOR, VIP, World, config, datagram, mac_of, segment, service, udp_key};

#[test]
fn flows_alternate_and_stay() {
    let mut world = World::ready(socket(VIP), &["192.168.0.111", "192.168.0.188"]);
    assert_eq!(world.chosen("110.0.0.1:4000", VIP, "S"), Some(188));
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "S"), Some(111));
    assert_eq!(world.chosen("110.0.0.1:4000", VIP, "A"), Some(188));
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "A"), Some(111));
    assert_eq!(world.chosen("110.0.0.1:4002", VIP, "S"), Some(188));
}

#[test]
fn datagrams_of_a_flow_go_to_one_server() {
    let mut world = World::ready(socket(VIP), &["192.168.0.111", "192.168.0.188"]);
    world.apply(&service(udp_key("192.168.0.250:53"), &["192.168.0.111", "192.168.0.188"]));
    for _ in 0..3 {
        assert_eq!(world.chosen_udp("110.0.0.1:4000", "192.168.0.250:53"), Some(188));
        assert_eq!(world.chosen_udp("110.0.0.1:4001", "192.168.0.250:53"), Some(111));
    }
    // The TCP service on the other port has a cursor of its own.
    assert_eq!(world.chosen("110.0.0.1:4000", VIP, "S"), Some(188));
}

#[test]
fn only_the_ethernet_addresses_change() {
    let mut world = World::ready(socket(VIP), &["192.168.0.188"]);
    world.apply(&service(udp_key(VIP), &["192.168.0.188"]));
    for before in [segment("110.0.0.1:4000", VIP, "S"), datagram("110.0.0.1:4000", VIP)] {
        let out = world.send(&before);
        assert_eq!(out.len(), 1);
        let after = &out[0].bytes;
        assert_eq!(after[..6], mac_of(addr("192.168.0.188")).0);
        assert_eq!(after[6..12], mac(DIRECTOR).0);
        assert_eq!(after[12..], before[12..]);
    }
}

#[test]
fn the_first_syn_waits_for_the_neighbour() {
    let mut world = World::new(config());
    world.serve(socket(VIP), &["192.168.0.188"]);
    let syn = segment("110.0.0.1:4000", VIP, "S");
    let out = world.send(&syn);
    assert!(out.iter().all(|frame| frame.bytes[12..14] == [8, 6]), "nothing but ARP leaves");
    assert_eq!(world.director.statistics().held, 1);
    world.answer_arp(addr("192.168.0.188"));
    let released = world.take_sent();
    assert!(released.iter().any(|frame| frame.bytes[12..] == syn[12..]));
    assert_eq!(world.director.statistics().released, 1);
    assert!(world.events.iter().any(|event| matches!(event, Event::NeighbourLearnt { .. })));
}

#[test]
fn no_more_than_three_wait_and_none_for_ever() {
    let mut world = World::new(config());
    world.serve(socket(VIP), &["192.168.0.188"]);
    for port in 4000..4005 {
        world.tcp(&format!("110.0.0.1:{port}"), VIP, "S");
    }
    assert_eq!(world.director.statistics().held, 3);
    assert_eq!(world.director.statistics().dropped(DropReason::WaitingFull), 2);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.director.statistics().given_up, 3);
}
