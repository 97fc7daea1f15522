//! What is left of removed servers, and what is given up under attack.

use lvs_core::config::{ClientMask, DestinationConfig, SchedulerKind, ServiceConfig};
use lvs_core::{Change, DropReason};
use lvs_testkit::frames::{TcpFlags, addr, socket};

use crate::world::{
    CLIENT, FIRST, SECOND, VIP, World, add, config, key, millis, remove, seconds, service, summary, udp_key,
};

fn persistent(knobs: impl FnOnce(&mut lvs_core::config::Knobs)) -> World {
    let mut config = config();
    knobs(&mut config.knobs);
    let mut world = World::new(config);
    world.live(&[FIRST, SECOND]);
    let service = ServiceConfig::new(key(VIP), SchedulerKind::RoundRobin);
    let mut changes = vec![Change::AddService(service.persistent(seconds(360), ClientMask::whole(false)))];
    changes.extend(
        [FIRST, SECOND].map(|rip| Change::AddDestination(key(VIP), DestinationConfig::new(addr(rip), 80))),
    );
    world.apply(&changes);
    world.pass(seconds(5));
    world
}

/// With `expire_nodest_conn` all connections of a removed server are forgotten at once, none of another one.
#[test]
fn connections_of_a_removed_server_do_not_wait_for_a_packet() {
    for (knob, left) in [(true, 1000), (false, 2000)] {
        let mut world = World::ready_knobs(&[FIRST, SECOND], |knobs| knobs.expire_nodest_conn = knob);
        for n in 0..2000 {
            assert!(world.chosen(&format!("110.0.{}.1:{}", n / 250, 4000 + n), VIP, "S").is_some());
        }
        world.apply(&[remove(key(VIP), SECOND)]);
        world.pass(millis(100));
        assert_eq!(world.director.connection_usage().connections, left);
        assert_eq!(world.counts(key(VIP)), (1000, 0));
    }
}

/// The same if the service goes, or all of them.
#[test]
fn nor_do_those_of_a_removed_service() {
    for edit in [Change::RemoveService(key(VIP)), Change::Clear] {
        let mut world = World::ready_knobs(&[FIRST, SECOND], |knobs| knobs.expire_nodest_conn = true);
        world.apply(&service(udp_key("192.168.0.251:53"), &[FIRST]));
        world.chosen(CLIENT, VIP, "S");
        world.chosen_udp(CLIENT, "192.168.0.251:53");
        world.apply(&[edit]);
        world.pass(millis(100));
        let left = if edit == Change::Clear { 0 } else { 1 };
        assert_eq!(world.director.connection_usage().connections, left);
    }
}

/// Templates go with the connections: a server that returns begins with a clean slate.
#[test]
fn templates_of_a_removed_server_are_forgotten_with_its_connections() {
    for (knob, expected) in [(true, 0), (false, 1)] {
        let mut world = persistent(|knobs| knobs.expire_nodest_conn = knob);
        assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
        world.apply(&[remove(key(VIP), SECOND)]);
        world.pass(millis(100));
        let templates = world.director.all_connections(world.now).iter().filter(|one| one.template).count();
        assert_eq!(templates, expected);
        world.apply(&[add(key(VIP), SECOND, 1)]);
        let listing = world.director.service(key(VIP)).unwrap();
        assert_eq!(listing.destinations[0].persistent as usize, expected);
        assert_eq!(world.chosen("110.0.0.2:4000", VIP, "S"), Some(188), "it is the first in the list again");
        let returned = world.chosen("110.0.0.1:4001", VIP, "S");
        assert_eq!(returned, Some(if knob { 111 } else { 188 }), "by the scheduler or by the template");
    }
}

/// An overloaded server that returns with more room has it at once, as after an edit.
#[test]
fn a_server_that_returns_with_more_room_is_not_overloaded() {
    let limited = |upper| {
        Change::AddDestination(key(VIP), DestinationConfig::new(addr(SECOND), 80).thresholds(upper, 0))
    };
    for (upper, overloaded) in [(2, true), (9, false), (0, false)] {
        let mut world = World::ready(socket(VIP), &[FIRST]);
        world.live(&[SECOND]);
        world.apply(&[limited(2)]);
        for n in 0..4 {
            world.chosen(&format!("110.0.0.1:{}", 4000 + n), VIP, "S");
        }
        assert!(world.director.service(key(VIP)).unwrap().destinations[0].overloaded);
        world.apply(&[remove(key(VIP), SECOND), limited(upper)]);
        assert_eq!(
            world.director.service(key(VIP)).unwrap().destinations[0].overloaded,
            overloaded,
            "{upper}"
        );
    }
}

/// `drop_entry` gives up half-open connections, and no others.
#[test]
fn drop_entry_gives_up_half_open_connections_bit_by_bit() {
    let mut world = World::ready_knobs(&[FIRST, SECOND], |knobs| knobs.drop_entry = true);
    for n in 0..400 {
        let client = format!("110.0.0.1:{}", 4000 + n);
        world.chosen(&client, VIP, "S").unwrap();
        if n % 2 == 0 {
            world.chosen(&client, VIP, "A").unwrap();
        }
    }
    let mut half_open = 200;
    for _ in 0..40 {
        world.pass(seconds(1));
        let records = world.director.all_connections(world.now);
        let established = records.iter().filter(|one| one.state.name() == "ESTABLISHED").count();
        assert_eq!(established, 200);
        let now = records.len() - established;
        assert!(
            now <= half_open && half_open - now <= 128 + 1,
            "a part of the table at a time: {half_open} to {now}"
        );
        half_open = now;
    }
    assert_eq!(half_open, 0, "all of the table within 32 seconds");
    // Established ones that are idle and were short follow.
    world.pass(seconds(100));
    assert_eq!(world.director.connection_usage().connections, 0);
    assert_eq!(world.counts(key(VIP)), (0, 0));
}

#[test]
fn without_it_half_open_connections_have_their_minute() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    for n in 0..100 {
        world.chosen(&format!("110.0.0.1:{}", 4000 + n), VIP, "S").unwrap();
    }
    world.pass(seconds(59));
    assert_eq!(world.director.connection_usage().connections, 100);
}

/// A real server that is the director itself cannot be sent to: IPVS would hand the packet to its host.
#[test]
fn an_own_address_is_no_real_server() {
    let own = ["192.168.0.208", "192.168.0.250"];
    for rip in own {
        let mut world = World::ready(socket(VIP), &[]);
        world.apply(&[add(key(VIP), rip, 1)]);
        let out = world.tcp(CLIENT, VIP, "S");
        assert_eq!(summary(&out[0]).icmp, Some((3, 1)), "host unreachable, {rip}");
        assert_eq!(world.director.statistics().dropped(DropReason::NoRoute), 1);
        assert!(summary(&out[0]).quoted.unwrap().tcp.is_none_or(|tcp| tcp.flags == TcpFlags::SYN));
    }
    let vip6 = crate::world::VIP6;
    let mut world = World::ready(socket(vip6), &["fd00::d0"]);
    let out = world.tcp(crate::world::CLIENT6, vip6, "S");
    assert_eq!(summary(&out[0]).icmp, Some((1, 3)), "address unreachable");
    let _ = &mut world;
}
