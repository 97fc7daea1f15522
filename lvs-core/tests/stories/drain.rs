//! Draining a server: no new connections now, an end to the old ones at a deadline.

use std::time::Duration;

use lvs_core::config::{
    ChangeError, ClientMask, DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey,
};
use lvs_core::{Change, DropReason};
use lvs_testkit::frames::{TcpFlags, addr, mac, socket, tcp};

use crate::world::{
    CLIENT, CLIENT6, DIRECTOR, FIRST, ROUTER, SECOND, VIP, VIP6, World, add, key, remove, reweigh, seconds,
    service, summary, udp_key,
};

fn drain(key: ServiceKey, rip: &str, deadline: Duration) -> Change {
    Change::DrainDestination { service: key, address: addr(rip), port: key.port(), deadline }
}

/// One connection to each server, the older one on 188.
fn world() -> World {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "S"), Some(111));
    world
}

#[test]
fn after_the_deadline_the_next_segment_is_answered_with_a_reset() {
    for (client, vip, rips) in [(CLIENT, VIP, [FIRST, SECOND]), (CLIENT6, VIP6, ["fd00::6f", "fd00::bc"])] {
        let mut world = World::ready(socket(vip), &rips);
        assert_eq!(world.chosen(client, vip, "S"), Some(188));
        world.apply(&[drain(key(vip), rips[1], seconds(30))]);
        assert_eq!(world.chosen(client, vip, "A"), Some(188), "not yet");
        world.pass(seconds(29));
        assert_eq!(world.chosen(client, vip, "PA"), Some(188));
        world.pass(seconds(2));
        let segment = tcp(socket(client), socket(vip)).flags(TcpFlags::ACK).seq(111).ack(0x1234_5678);
        let out = world.send(&segment.payload(b"more").macs(mac(ROUTER), mac(DIRECTOR)).build());
        let answer = summary(&out[0]);
        let reset = answer.tcp.unwrap();
        // RFC 9293 section 3.5.2: the reset of a segment with an ACK takes its sequence number from there.
        assert_eq!((reset.flags, reset.seq), (TcpFlags::RST, 0x1234_5678));
        assert_eq!((answer.source, answer.destination), (socket(vip).ip(), socket(client).ip()));
        assert_eq!(answer.checksum_right, Some(true));
        assert_eq!(world.director.statistics().dropped(DropReason::Drained), 1);
        assert!(world.record(client).is_none());
        assert_eq!(world.counts(key(vip)), (0, 0));
        assert_eq!(world.chosen(client, vip, "S"), Some(111), "the client comes back");
    }
}

#[test]
fn nobody_new_from_the_first_moment_on() {
    let mut world = world();
    world.apply(&[drain(key(VIP), SECOND, seconds(600))]);
    for n in 0..6 {
        assert_eq!(world.chosen(&format!("110.0.0.2:{}", 5000 + n), VIP, "S"), Some(111));
    }
    let listing = world.director.service(key(VIP)).unwrap();
    assert_eq!(listing.destinations[0].config.weight, 0);
    assert_eq!(listing.destinations[0].active, 1, "the old connection is still there");
}

#[test]
fn other_servers_connections_are_left_alone() {
    let mut world = world();
    world.apply(&[drain(key(VIP), SECOND, seconds(10))]);
    world.pass(seconds(11));
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "A"), Some(111));
    assert!(world.chosen(CLIENT, VIP, "A").is_none());
}

#[test]
fn a_datagram_is_answered_with_port_unreachable() {
    let mut world = World::ready_with(crate::world::config(), udp_key(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen_udp(CLIENT, VIP), Some(188));
    world.apply(&[drain(udp_key(VIP), SECOND, seconds(5))]);
    assert_eq!(world.chosen_udp(CLIENT, VIP), Some(188));
    world.pass(seconds(6));
    let datagram = crate::world::datagram(CLIENT, VIP);
    assert_eq!(summary(&world.send(&datagram)[0]).icmp, Some((3, 3)));
    assert_eq!(world.chosen_udp(CLIENT, VIP), Some(111));
}

#[test]
fn an_edit_or_a_return_calls_it_off() {
    let edits: [fn() -> Vec<Change>; 2] =
        [|| vec![reweigh(key(VIP), SECOND, 1)], || vec![remove(key(VIP), SECOND), add(key(VIP), SECOND, 1)]];
    for edit in edits {
        for wait in [5, 20] {
            let mut world = world();
            world.apply(&[drain(key(VIP), SECOND, seconds(10))]);
            world.pass(seconds(wait));
            world.apply(&edit());
            world.pass(seconds(20));
            assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188), "after {wait} s");
        }
    }
}

/// A persistent client stays until the deadline, and gets another server then.
#[test]
fn persistent_clients_move_at_the_deadline() {
    let mut world = World::new(crate::world::config());
    world.live(&[FIRST, SECOND]);
    let config = ServiceConfig::new(key(VIP), SchedulerKind::RoundRobin)
        .persistent(seconds(1000), ClientMask::whole(false));
    let mut changes = vec![Change::AddService(config)];
    changes.extend(
        [FIRST, SECOND].map(|rip| Change::AddDestination(key(VIP), DestinationConfig::new(addr(rip), 80))),
    );
    world.apply(&changes);
    world.pass(seconds(5));
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    world.apply(&[drain(key(VIP), SECOND, seconds(10))]);
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "S"), Some(188));
    world.pass(seconds(11));
    assert_eq!(world.chosen("110.0.0.1:4002", VIP, "S"), Some(111));
    assert_eq!(world.chosen("110.0.0.1:4003", VIP, "S"), Some(111));
}

#[test]
fn what_cannot_be_drained_is_refused() {
    let mut world = world();
    let long = seconds(31 * 86_400);
    for (change, error) in [
        (drain(key("192.168.0.250:81"), FIRST, seconds(1)), ChangeError::ServiceNotDefined),
        (drain(key(VIP), "192.168.0.1", seconds(1)), ChangeError::NoSuchDestination),
        (drain(key(VIP), FIRST, long + seconds(1)), ChangeError::DeadlineOutOfRange),
    ] {
        assert_eq!(world.director.apply(world.now, &[change]).unwrap_err().error, error);
    }
    assert_eq!(world.director.apply(world.now, &[drain(key(VIP), FIRST, long)]), Ok(()));
}

/// With a deadline of zero connections end with their next segment; a removed server is not drained any more.
#[test]
fn at_once_and_not_at_all() {
    let mut world = world();
    world.apply(&[drain(key(VIP), SECOND, Duration::ZERO)]);
    world.pass(seconds(1));
    assert!(summary(&world.tcp(CLIENT, VIP, "A")[0]).tcp.unwrap().flags.contains(TcpFlags::RST));
    world.apply(&[drain(key(VIP), FIRST, seconds(5)), remove(key(VIP), FIRST)]);
    world.pass(seconds(10));
    assert!(world.tcp("110.0.0.1:4001", VIP, "A").is_empty(), "removed: silence, as IPVS");
    world.apply(&service(udp_key(VIP), &[]));
}
