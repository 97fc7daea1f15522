//! Pieces of packets follow their first piece: in any order, across VLANs and MTUs, with bounded memory and time.

use lvs_core::config::VlanPath;
use lvs_core::{Change, DirectorConfig, DropReason, InterfaceConfig, PortId};
use lvs_testkit::frames::{self, Summary, addr, mac, socket, udp};
use lvs_testkit::memory::StoredFrame;

use crate::world::{
    CLIENT, CLIENT6, DIRECTOR, FIRST, ROUTER, SECOND, VIP, VIP6, World, add, config, key, millis, seconds,
    server_of, service, summary, udp_key,
};

/// A director that serves UDP over both families.
fn world_with(config: DirectorConfig) -> World {
    let mut world = World::ready_with(config, udp_key(VIP), &[FIRST, SECOND]);
    world.live(&["fd00::6f", "fd00::bc"]);
    world.apply(&service(udp_key(VIP6), &["fd00::6f", "fd00::bc"]));
    world.pass(seconds(5));
    world.take_sent();
    world
}

/// A datagram that leaves its client in pieces.
fn pieces(client: &str, vip: &str, id: u32, payload: usize, mtu: usize) -> Vec<Vec<u8>> {
    let datagram = udp(socket(client), socket(vip)).payload(&vec![id as u8; payload]).id(id);
    datagram.dont_fragment(false).macs(mac(ROUTER), mac(DIRECTOR)).fragments(mtu)
}

/// All orders of four things.
fn orders() -> Vec<[usize; 4]> {
    let mut orders = Vec::new();
    for code in 0..256usize {
        let order = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6];
        if (0..4).all(|n| order.contains(&n)) {
            orders.push(order);
        }
    }
    orders
}

#[test]
fn pieces_in_any_order_go_to_one_server_unchanged() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let mut world = world_with(config());
        for (n, order) in (1..).zip(orders()) {
            // A port of its own for each packet: both servers get some.
            let client = client.replace("4000", &(4000 + n).to_string());
            let pieces = pieces(&client, vip, n, 5000, 1500);
            assert_eq!(pieces.len(), 4);
            let mut out: Vec<StoredFrame> = Vec::new();
            for at in order {
                out.extend(world.send(&pieces[at]));
            }
            let servers: Vec<u8> = out.iter().filter_map(server_of).collect();
            assert_eq!((servers.len(), out.len()), (4, 4), "{order:?}");
            assert!(servers.iter().all(|server| *server == servers[0]), "{order:?}: {servers:?}");
            let mut left: Vec<&[u8]> = out.iter().map(|frame| &frame.bytes[12..]).collect();
            let mut came: Vec<&[u8]> = pieces.iter().map(|piece| &piece[12..]).collect();
            left.sort_unstable();
            came.sort_unstable();
            assert_eq!(left, came, "{order:?}");
        }
        let statistics = world.director.statistics();
        assert!(statistics.held > 0);
        assert_eq!((statistics.held, statistics.given_up), (statistics.released, 0));
        let service = world.director.service(udp_key(vip)).unwrap();
        assert_eq!((service.statistics.connections, service.statistics.in_packets), (24, 96));
        assert!(service.destinations.iter().all(|server| server.statistics.connections == 12));
    }
}

#[test]
fn pieces_without_a_first_one_are_given_up_after_a_second_or_two() {
    for (client, vip) in [(CLIENT, VIP), (CLIENT6, VIP6)] {
        let mut world = world_with(config());
        let pieces = pieces(client, vip, 7, 5000, 1500);
        for piece in &pieces[1..] {
            assert!(world.send(piece).is_empty());
        }
        assert_eq!(world.director.statistics().held, 3);
        world.pass(millis(2100));
        assert_eq!(world.director.statistics().given_up, 3);
        // The first one goes its way all the same, and who comes after it as well.
        assert_eq!(world.send(&pieces[0]).len(), 1);
        assert_eq!(world.send(&pieces[2]).len(), 1);
    }
}

/// One piece a moment does not keep the others waiting for ever.
#[test]
fn a_trickle_of_pieces_holds_no_memory() {
    let mut world = world_with(config());
    let pieces = pieces(CLIENT, VIP, 7, 60_000, 1500);
    for piece in &pieces[1..30] {
        assert!(world.send(piece).is_empty());
        world.pass(millis(400));
        let statistics = world.director.statistics();
        assert!(statistics.held - statistics.given_up <= 6, "{statistics:?}");
    }
}

#[test]
fn memory_for_pieces_is_bounded() {
    let mut config = config();
    config.pool_buffers = 64;
    config.max_fragmented = 16;
    let mut world = world_with(config);
    for n in 0..200 {
        let client = format!("110.0.{}.1:4000", n % 250);
        for piece in &pieces(&client, VIP, n, 40_000, 1500)[1..4] {
            world.send(piece);
        }
    }
    let before = world.director.statistics();
    assert!(before.held - before.given_up <= 64, "{before:?}");
    assert_eq!(before.held + before.dropped(DropReason::PoolFull), 600);
    world.pass(seconds(3));
    let after = world.director.statistics();
    assert_eq!(after.held, after.given_up + after.released);
    // No more than sixteen of one packet.
    let pieces = pieces(CLIENT, VIP, 999, 60_000, 1500);
    for piece in &pieces[1..] {
        world.send(piece);
    }
    assert_eq!(world.director.statistics().held - after.held, 16);
    assert_eq!(world.director.statistics().dropped(DropReason::Fragment), pieces.len() as u64 - 17);
}

#[test]
fn a_server_is_remembered_for_half_a_minute_after_the_last_piece() {
    let mut world = world_with(config());
    let pieces = pieces(CLIENT, VIP, 7, 5000, 1500);
    assert_eq!(world.send(&pieces[0]).len(), 1);
    world.pass(seconds(25));
    assert_eq!(world.send(&pieces[1]).len(), 1);
    world.pass(seconds(25));
    assert_eq!(world.send(&pieces[2]).len(), 1);
    world.pass(seconds(31));
    assert!(world.send(&pieces[3]).is_empty());
    world.pass(seconds(3));
    assert_eq!(world.director.statistics().given_up, 1);
}

/// Two packets of a client with the same id, one after the other, may go to different servers.
#[test]
fn an_id_that_comes_again_is_another_packet() {
    let mut world = world_with(config());
    let mut servers = Vec::new();
    for port in [4001, 4002] {
        for piece in pieces(&format!("110.0.0.1:{port}"), VIP, 7, 3000, 1500) {
            servers.extend(world.send(&piece).iter().filter_map(server_of));
        }
    }
    assert_eq!(servers, [188, 188, 188, 111, 111, 111]);
}

/// Pieces that are too long for the way out are cut again, and all of them arrive.
#[test]
fn pieces_are_cut_for_a_smaller_mtu() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut config = config();
        config.interfaces[0].mtu = 1300;
        let mut world = world_with(config);
        let pieces = pieces(CLIENT, VIP, 7, 5000, 1500);
        let mut covered = Vec::new();
        for at in order {
            for frame in world.send(&pieces[at]) {
                assert_eq!(server_of(&frame), Some(188));
                let ip = summary(&frame);
                assert!(ip.length <= 1300);
                let (offset, more) = ip.fragment.unwrap();
                covered.push((offset, ip.length - 20, more));
            }
        }
        covered.sort_unstable();
        let mut next = 0;
        for (n, (offset, length, more)) in covered.iter().enumerate() {
            assert_eq!((*offset, *more), (next, n + 1 < covered.len()), "{order:?}: {covered:?}");
            next = offset + length;
        }
        assert_eq!(next, 5008, "{order:?}");
        let statistics = world.director.statistics();
        assert_eq!(statistics.held, statistics.released + statistics.given_up, "{statistics:?}");
    }
}

/// The first piece loses its tags on the way; it is known by what it was.
#[test]
fn pieces_follow_across_vlans() {
    for (way_in, way_out) in [
        (VlanPath::tagged(5), VlanPath::UNTAGGED),
        (VlanPath::UNTAGGED, VlanPath { outer: 7, inner: 9 }),
        (VlanPath { outer: 7, inner: 9 }, VlanPath::tagged(5)),
    ] {
        let mut config = config();
        config.interfaces[0].vlan = way_in;
        let mut inside =
            InterfaceConfig::new(PortId(1), mac("02:00:00:00:00:03"), "10.1.0.1/24".parse().unwrap());
        inside.vlan = way_out;
        config.interfaces.push(inside);
        let mut world = World::new(config);
        world.live(&["10.1.0.30"]);
        world.apply(&service(udp_key(VIP), &["10.1.0.30"]));
        world.pass(seconds(5));
        for order in [[0, 1, 2], [2, 1, 0]] {
            let datagram = udp(socket(CLIENT), socket(VIP)).payload(&[7; 3000]).id(order[0] as u32 + 1);
            let datagram = datagram.dont_fragment(false).macs(mac(ROUTER), mac(DIRECTOR));
            let tags = way_in.tags().into_iter().flatten();
            let pieces = tags.fold(datagram, frames::Packet::tag).fragments(1500);
            let mut servers = Vec::new();
            for at in order {
                servers.extend(world.send(&pieces[at]).iter().filter_map(server_of));
            }
            assert_eq!(servers, [30; 3], "{way_in:?} to {way_out:?}, {order:?}");
        }
    }
}

/// What has no service has no pieces either.
#[test]
fn pieces_of_what_is_refused_are_given_up() {
    let mut world = world_with(config());
    world.apply(&[Change::RemoveService(udp_key(VIP))]);
    world.apply(&service(key(VIP), &[]));
    let pieces = pieces(CLIENT, VIP, 7, 3000, 1500);
    for at in [2, 0, 1] {
        let out = world.send(&pieces[at]);
        assert!(out.iter().all(|frame| server_of(frame).is_none()));
    }
    world.pass(seconds(3));
    let statistics = world.director.statistics();
    assert_eq!((statistics.held, statistics.given_up), (2, 2));
}

/// A first piece that waits for its server's Ethernet address is known to the others at once.
#[test]
fn pieces_wait_with_their_first_one() {
    let mut world = world_with(config());
    world.apply(&[Change::Clear]);
    world.apply(&service(udp_key(VIP), &[]));
    world.apply(&[add(udp_key(VIP), "192.168.0.77", 1)]);
    let pieces = pieces(CLIENT, VIP, 9, 3000, 1500);
    for at in [1, 0, 2] {
        assert!(world.send(&pieces[at]).iter().all(|frame| Summary::of(&frame.bytes).unwrap().ip.is_none()));
    }
    world.live(&["192.168.0.77"]);
    world.take_sent();
    world.answer_arp(addr("192.168.0.77"));
    let out = world.take_sent();
    assert_eq!(out.iter().filter_map(server_of).collect::<Vec<_>>(), [77; 3]);
    let offsets: Vec<usize> = out.iter().filter_map(|frame| Some(summary(frame).fragment?.0)).collect();
    assert_eq!(
        offsets.iter().sum::<usize>(),
        1480 + 2960,
        "{offsets:?}, {}",
        frames::describe(&out[0].bytes)
    );
}
