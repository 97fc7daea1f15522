//! More flows than the connection table holds.

use std::collections::BTreeSet;

use lvs_core::{DropReason, Event};
use lvs_testkit::frames::{TcpFlags, addr};

use crate::world::{
    FIRST, SECOND, VIP, VIP6, World, add, config, key, millis, seconds, service, summary, udp_key,
};

const THIRD: &str = "192.168.0.77";

/// A director whose table of 64 lines is filled by as many half-open connections.
fn full() -> World {
    let mut config = config();
    config.max_connections = 64;
    let mut world = World::ready_with(config, key(VIP), &[FIRST, SECOND, THIRD]);
    for port in 0..64 {
        assert!(world.chosen(&format!("110.0.0.1:{}", 4000 + port), VIP, "S").is_some());
    }
    assert_eq!(world.count_events(|e| *e == Event::TableFull), 0);
    assert_eq!(world.director.connection_usage().used, 64);
    world
}

#[test]
fn new_flows_are_hashed_and_stay_with_their_server() {
    let mut world = full();
    let mut servers = BTreeSet::new();
    for port in 0..40 {
        let client = format!("110.0.0.2:{}", 5000 + port);
        let first = world.chosen(&client, VIP, "S");
        assert!(first.is_some());
        for letters in ["A", "PA", "S", "FA"] {
            assert_eq!(world.chosen(&client, VIP, letters), first, "{client} {letters}");
        }
        servers.insert(first);
    }
    assert_eq!(servers.len(), 3, "the hash uses all servers");
    let statistics = world.director.statistics();
    assert_eq!((statistics.hashed, statistics.connections_made), (200, 64));
    // Each SYN asked for a connection.
    assert_eq!(statistics.table_full, 80);
    assert_eq!(world.counts(key(VIP)), (64, 0), "flows without an entry are not active connections");
    assert_eq!(world.count_events(|e| *e == Event::TableFull), 1);
    // Their packets count for the servers all the same.
    assert_eq!(world.director.service(key(VIP)).unwrap().statistics.in_packets, 264);
}

/// Two directors with the same servers, added in another order, agree on who serves whom.
#[test]
fn the_hash_does_not_depend_on_the_order_of_the_servers() {
    let choices = |rips: &[&str]| {
        let mut config = config();
        config.knobs.on_miss = lvs_core::config::OnMiss::Hash;
        let mut world = World::ready_with(config, key(VIP), rips);
        let chosen = |n: u16| world.chosen(&format!("110.0.0.2:{}", 5000 + n), VIP, "A");
        (0..100).map(chosen).collect::<Vec<_>>()
    };
    let moved = choices(&[FIRST, SECOND, THIRD])
        .iter()
        .zip(choices(&[THIRD, FIRST, SECOND]))
        .filter(|(a, b)| **a != *b)
        .count();
    assert!(moved <= 5, "{moved} of 100 clients have another server");
}

#[test]
fn segments_that_miss_are_hashed_for_two_minutes() {
    let mut world = full();
    let chosen = world.chosen("110.0.0.2:5000", VIP, "S");
    let full_at = world.now;
    // Half-open connections end after a minute: there is room, but the flow began when there was none.
    world.pass(seconds(100));
    assert_eq!(world.director.connection_usage().used, 0);
    assert_eq!(world.chosen("110.0.0.2:5000", VIP, "A"), chosen);
    assert_eq!(world.director.statistics().dropped(DropReason::NotSyn), 0);
    assert!(world.chosen("110.0.0.3:5000", VIP, "S").is_some());
    assert_eq!(world.director.connection_usage().used, 1, "a new flow gets its entry");
    world.pass(seconds(19));
    assert_eq!(world.chosen("110.0.0.2:5000", VIP, "A"), chosen);
    assert_eq!(world.count_events(|e| *e == Event::TableHasRoom), 0);
    world.pass(seconds(2));
    assert!(world.now.saturating_duration_since(full_at) > seconds(120));
    let out = world.tcp("110.0.0.2:5000", VIP, "A");
    assert!(summary(&out[0]).tcp.unwrap().flags.contains(TcpFlags::RST));
    assert_eq!(world.director.statistics().dropped(DropReason::NotSyn), 1);
    assert_eq!(world.count_events(|e| *e == Event::TableHasRoom), 1);
    world.events.clear();
    world.pass(seconds(300));
    assert_eq!(world.count_events(|e| matches!(e, Event::TableHasRoom | Event::TableFull)), 0);
}

/// Also with nothing else to do the director says in time that there is room.
#[test]
fn room_is_reported_without_any_traffic() {
    let mut config = config();
    config.max_connections = 64;
    let mut world = World::new(config);
    let mac = Some(crate::world::mac_of(addr(FIRST)));
    world.apply(&[lvs_core::Change::SetStaticNeighbour { address: addr(FIRST), mac }]);
    world.apply(&service(key(VIP), &[FIRST]));
    for port in 0..65 {
        world.tcp(&format!("110.0.0.1:{}", 4000 + port), VIP, "S");
    }
    world.pass(seconds(119));
    assert_eq!(world.count_events(|e| *e == Event::TableHasRoom), 0);
    let due = world.director.poll_timeout().expect("somebody has to be told");
    assert_eq!(due.saturating_duration_since(world.now), seconds(1));
    world.pass(seconds(2));
    assert_eq!(world.count_events(|e| *e == Event::TableHasRoom), 1);
}

#[test]
fn it_is_reported_again_when_it_happens_again() {
    let mut world = full();
    world.tcp("110.0.0.2:5000", VIP, "S");
    world.pass(seconds(130));
    for port in 0..65 {
        world.tcp(&format!("110.0.0.1:{}", 4000 + port), VIP, "S");
    }
    assert_eq!(world.count_events(|e| *e == Event::TableFull), 2);
    assert_eq!(world.count_events(|e| *e == Event::TableHasRoom), 1);
}

#[test]
fn datagrams_are_hashed_too_and_known_flows_are_not_disturbed() {
    let mut world = full();
    let known = world.chosen("110.0.0.1:4007", VIP, "A");
    world.apply(&service(udp_key("192.168.0.250:53"), &[FIRST, SECOND]));
    let chosen = world.chosen_udp("110.0.0.9:99", "192.168.0.250:53");
    assert!(chosen.is_some());
    for _ in 0..5 {
        assert_eq!(world.chosen_udp("110.0.0.9:99", "192.168.0.250:53"), chosen);
    }
    assert_eq!(world.counts(udp_key("192.168.0.250:53")), (0, 0));
    assert_eq!(world.chosen("110.0.0.1:4007", VIP, "A"), known);
    assert_eq!(world.record("110.0.0.1:4007").unwrap().state.name(), "ESTABLISHED");
}

#[test]
fn quiesced_servers_are_not_hashed_to_and_without_servers_nobody_is() {
    let mut world = full();
    world.apply(&[crate::world::reweigh(key(VIP), FIRST, 0), crate::world::reweigh(key(VIP), THIRD, 0)]);
    for port in 0..30 {
        assert_eq!(world.chosen(&format!("110.0.0.2:{}", 5000 + port), VIP, "S"), Some(188));
    }
    world.apply(&[crate::world::reweigh(key(VIP), SECOND, 0)]);
    assert_eq!(world.chosen("110.0.0.2:6000", VIP, "S"), None);
    assert_eq!(world.chosen("110.0.0.2:6000", VIP, "A"), None);
    assert_eq!(world.director.statistics().dropped(DropReason::NoDestination), 2);
    world.apply(&[add(key(VIP), "192.168.0.9", 1)]);
    world.live(&["192.168.0.9"]);
    world.pass(millis(1500));
    assert_eq!(world.chosen("110.0.0.2:6000", VIP, "S"), Some(9));
}

/// An IPv6 connection takes two lines.
#[test]
fn ipv6_connections_count_twice() {
    let mut config = config();
    config.max_connections = 64;
    let mut world = World::ready_with(config, key(VIP6), &["fd00::bc"]);
    for port in 0..33 {
        assert_eq!(world.chosen(&format!("[fd00:110::1]:{}", 4000 + port), VIP6, "S"), Some(188));
    }
    let usage = world.director.connection_usage();
    assert_eq!((usage.connections, usage.used, usage.capacity), (32, 64, 64));
    assert_eq!(world.director.statistics().table_full, 1);
}
