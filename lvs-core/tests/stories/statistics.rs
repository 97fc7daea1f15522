//! Counters and rates over virtual time.

use lvs_core::Change;
use lvs_core::listing::{Rates, Statistics};
use lvs_testkit::frames::{mac, socket, tcp};

use crate::world::{
    CLIENT, DIRECTOR, FIRST, ROUTER, SECOND, VIP, World, add, key, millis, remove, seconds, segment,
};

fn rates(world: &World) -> Rates {
    world.director.service(key(VIP)).unwrap().rates
}

#[test]
fn bytes_are_counted_from_the_ip_header_without_padding() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    for port in 4000..4003 {
        let syn = tcp(socket(&format!("110.0.0.1:{port}")), socket(VIP)).flags(crate::world::flags("S"));
        world.send(&syn.pad_to(60).macs(mac(ROUTER), mac(DIRECTOR)).build());
    }
    let data = tcp(socket(CLIENT), socket(VIP)).payload(&[1; 100]).macs(mac(ROUTER), mac(DIRECTOR)).build();
    world.send(&data);
    world.send(&data);
    let listing = world.director.service(key(VIP)).unwrap();
    let expected =
        Statistics { connections: 3, in_packets: 5, in_bytes: 3 * 40 + 2 * 140, ..Statistics::default() };
    assert_eq!(listing.statistics, expected);
    let [second, first] = listing.destinations[..] else { panic!("two servers") };
    assert_eq!((second.statistics.in_packets, second.statistics.in_bytes), (4, 360));
    assert_eq!((first.statistics.in_packets, first.statistics.connections), (1, 1));
}

/// Ten packets of 40 bytes a second, for long: the rates settle there, and fade when it stops.
#[test]
fn rates_approach_what_is_sent_and_fade() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    world.tcp(CLIENT, VIP, "S");
    for _ in 0..600 {
        world.tcp(CLIENT, VIP, "A");
        world.pass(millis(100));
    }
    let settled = rates(&world);
    assert!((9..=11).contains(&settled.in_packets), "{settled:?}");
    assert!((380..=420).contains(&settled.in_bytes), "{settled:?}");
    assert_eq!(settled.connections, 0);
    world.pass(seconds(60));
    let faded = rates(&world);
    assert!(faded.in_packets == 0 && faded.in_bytes < 5, "{faded:?}");
}

#[test]
fn zero_begins_anew_and_leaves_no_jump_in_the_rates() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    world.tcp(CLIENT, VIP, "S");
    for _ in 0..5000 {
        world.tcp(CLIENT, VIP, "A");
    }
    world.pass(seconds(10));
    world.apply(&[Change::ZeroStatistics(Some(key(VIP)))]);
    let listing = world.director.service(key(VIP)).unwrap();
    assert_eq!((listing.statistics, listing.rates), (Statistics::default(), Rates::default()));
    assert_eq!(listing.destinations[0].active, 1, "connections are not statistics");
    for _ in 0..10 {
        world.pass(seconds(1));
        assert_eq!(rates(&world), Rates::default(), "nothing was sent since");
    }
    world.tcp(CLIENT, VIP, "A");
    assert_eq!(world.director.service(key(VIP)).unwrap().statistics.in_packets, 1);
}

/// Zeroing one service leaves the others as they were.
#[test]
fn zero_of_one_service_does_not_concern_another() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    world.serve(socket("192.168.0.250:81"), &[FIRST]);
    world.tcp(CLIENT, VIP, "S");
    for _ in 0..300 {
        world.tcp(CLIENT, VIP, "A");
        world.pass(millis(100));
    }
    let before = rates(&world);
    assert!(before.in_packets >= 8, "{before:?}");
    world.apply(&[Change::ZeroStatistics(Some(key("192.168.0.250:81")))]);
    assert_eq!(rates(&world), before);
    assert_eq!(world.director.service(key(VIP)).unwrap().statistics.in_packets, 301);
}

/// A server that gets the number of one that is forgotten inherits nothing.
#[test]
fn a_new_server_has_rates_of_its_own() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    world.tcp(CLIENT, VIP, "S");
    for _ in 0..1000 {
        world.tcp(CLIENT, VIP, "A");
    }
    world.tcp(CLIENT, VIP, "R");
    world.pass(seconds(11));
    world.apply(&[remove(key(VIP), FIRST)]);
    world.live(&[SECOND]);
    world.apply(&[add(key(VIP), SECOND, 1)]);
    assert_eq!(world.director.service(key(VIP)).unwrap().destinations[0].rates, Rates::default());
    world.tcp("110.0.0.1:4001", VIP, "S");
    for _ in 0..200 {
        world.tcp("110.0.0.1:4001", VIP, "A");
        world.pass(millis(100));
    }
    let new = world.director.service(key(VIP)).unwrap().destinations[0];
    assert!((6..=11).contains(&new.rates.in_packets), "{:?}", new.rates);
}

/// Whatever happens to a frame, it is counted once, and what was put aside either left or was given up.
#[test]
fn every_frame_is_counted_once() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    world.die(FIRST);
    world.pass(seconds(60));
    let sent_before = world.director.statistics().frames();
    let frames = [
        segment("110.0.0.1:1", VIP, "S"),
        segment("110.0.0.1:2", VIP, "S"),
        segment("110.0.0.1:3", VIP, "A"),
        segment("110.0.0.1:4", "192.168.0.250:9", "S"),
        segment("110.0.0.1:5", "192.168.0.251:80", "S"),
        vec![1, 2, 3],
    ];
    for frame in &frames {
        world.send(frame);
    }
    world.pass(seconds(5));
    let statistics = world.director.statistics();
    assert_eq!(statistics.frames() - sent_before, 6);
    assert_eq!((statistics.held, statistics.released, statistics.given_up), (1, 0, 1));
}
