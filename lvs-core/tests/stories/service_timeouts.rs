//! Time-outs per virtual service: IPVS has three for all.

use std::time::Duration;

use lvs_core::Change;
use lvs_core::config::{ChangeError, SchedulerKind, ServiceConfig, ServiceKey, Timeouts};

use crate::world::{
    CLIENT, CLIENT6, FIRST, SECOND, VIP, VIP6, World, add, config, key, millis, seconds, udp_key,
};

fn timeouts(tcp: u64, tcp_fin: u64, udp: u64) -> Timeouts {
    Timeouts { tcp: seconds(tcp), tcp_fin: seconds(tcp_fin), udp: seconds(udp) }
}

fn with_own(key: ServiceKey, own: Option<Timeouts>) -> ServiceConfig {
    let mut service = ServiceConfig::new(key, SchedulerKind::RoundRobin);
    service.timeouts = own;
    service
}

/// Services of both families and protocols with these time-outs; one more with the director's.
fn world(own: Option<Timeouts>) -> World {
    let mut world = World::new(config());
    world.live(&[FIRST, SECOND, "fd00::6f"]);
    for (key, rip) in [
        (key(VIP), FIRST),
        (udp_key(VIP), FIRST),
        (key(VIP6), "fd00::6f"),
        (udp_key("192.168.0.250:53"), SECOND),
    ] {
        let own = own.filter(|_| key.port() == 80);
        world.apply(&[Change::AddService(with_own(key, own)), add(key, rip, 1)]);
    }
    world.pass(seconds(5));
    world
}

fn left(world: &World, client: &str) -> Duration {
    let record = world.record(client).unwrap();
    assert_eq!(record.timeout.as_secs(), record.expires_in.as_secs());
    record.expires_in
}

fn about(got: Duration, expected: u64) {
    assert!(got >= seconds(expected) && got < seconds(expected) + millis(50), "{got:?}, not {expected} s");
}

#[test]
fn each_state_has_the_services_own() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let mut world = world(Some(timeouts(40, 7, 3)));
        world.chosen(client, vip, "S").unwrap();
        about(left(&world, client), 60);
        world.chosen(client, vip, "A").unwrap();
        about(left(&world, client), 40);
        world.chosen(client, vip, "FA").unwrap();
        about(left(&world, client), 7);
        world.pass(millis(7500));
        assert!(world.record(client).is_none());
    }
}

#[test]
fn other_services_keep_the_directors() {
    let mut world = world(Some(timeouts(40, 7, 3)));
    world.chosen_udp("110.0.0.1:1", VIP).unwrap();
    world.chosen_udp("110.0.0.1:2", "192.168.0.250:53").unwrap();
    about(left(&world, "110.0.0.1:1"), 3);
    about(left(&world, "110.0.0.1:2"), 300);
    world.apply(&[Change::SetTimeouts(timeouts(900, 120, 90))]);
    world.chosen_udp("110.0.0.1:1", VIP).unwrap();
    world.chosen_udp("110.0.0.1:2", "192.168.0.250:53").unwrap();
    about(left(&world, "110.0.0.1:1"), 3);
    about(left(&world, "110.0.0.1:2"), 90);
    world.pass(millis(3500));
    assert!(world.record("110.0.0.1:1").is_none());
    assert!(world.record("110.0.0.1:2").is_some());
}

#[test]
fn an_edit_counts_from_the_next_packet_on() {
    let mut world = world(None);
    world.chosen(CLIENT, VIP, "S").unwrap();
    world.chosen(CLIENT, VIP, "A").unwrap();
    about(left(&world, CLIENT), 900);
    world.apply(&[Change::EditService(with_own(key(VIP), Some(timeouts(20, 7, 3))))]);
    about(left(&world, CLIENT), 900);
    world.chosen(CLIENT, VIP, "A").unwrap();
    about(left(&world, CLIENT), 20);
    world.apply(&[Change::EditService(with_own(key(VIP), None))]);
    world.chosen(CLIENT, VIP, "A").unwrap();
    about(left(&world, CLIENT), 900);
}

#[test]
fn a_month_at_most() {
    let mut world = world(None);
    let month = 31 * 86_400;
    let edit = |own| Change::EditService(with_own(key(VIP), Some(own)));
    let refused = world.director.apply(world.now, &[edit(timeouts(1, month + 1, 1))]).unwrap_err();
    assert_eq!(refused.error, ChangeError::TimeoutOutOfRange);
    world.apply(&[edit(timeouts(month, month, month))]);
    world.chosen(CLIENT, VIP, "S").unwrap();
    world.chosen(CLIENT, VIP, "A").unwrap();
    about(left(&world, CLIENT), month);
}
