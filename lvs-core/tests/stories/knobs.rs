//! The switches, one by one.

use lvs_core::DropReason;
use lvs_core::config::{Knobs, OnMiss, ServiceKey};
use lvs_testkit::frames::{self, TcpFlags, mac, socket};

use crate::world::{
    CLIENT, DIRECTOR, FIRST, ROUTER, SECOND, VIP, World, config, key, millis, remove, reweigh, server_of,
    service, summary, udp_key,
};

/// Where a SYN from the same port goes when the old connection is in each state: 188 is the old server.
#[test]
fn conn_reuse_mode_decides_when_a_syn_begins_anew() {
    let ways: [(&[&str], [u8; 4]); 5] = [
        (&["S", "A", "R"], [188, 111, 111, 111]),
        (&["S", "FA"], [188, 111, 111, 111]),
        (&["S", "A", "FA"], [188, 188, 111, 111]),
        (&["S", "A"], [188; 4]),
        (&["S"], [188; 4]),
    ];
    for (segments, expected) in ways {
        for (mode, expected) in (0..).zip(expected) {
            let mut world = World::ready_knobs(&[FIRST, SECOND], |knobs| knobs.conn_reuse_mode = mode);
            for letters in segments {
                assert_eq!(world.chosen(CLIENT, VIP, letters), Some(188));
            }
            assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(expected), "{segments:?}, mode {mode}");
            let (active, inactive) = world.counts(key(VIP));
            assert_eq!((active, inactive), (1, 0), "{segments:?}, mode {mode}");
            assert_eq!(world.director.connection_usage().connections, 1);
        }
    }
}

#[test]
fn expire_nodest_conn_answers_at_once() {
    let mut world = World::ready_knobs(&[FIRST, SECOND], |knobs| knobs.expire_nodest_conn = true);
    world.apply(&service(udp_key(VIP), &[FIRST, SECOND]));
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "S"), Some(111));
    assert_eq!(world.chosen("110.0.0.1:4002", VIP, "S"), Some(188));
    assert_eq!(world.chosen_udp(CLIENT, VIP), Some(188));
    world.apply(&[remove(key(VIP), SECOND), remove(udp_key(VIP), SECOND)]);
    let out = world.tcp(CLIENT, VIP, "A");
    assert!(summary(&out[0]).tcp.unwrap().flags.contains(TcpFlags::RST));
    assert!(world.record(CLIENT).is_none(), "the datagram's connection is forgotten, too");
    assert_eq!(world.chosen("110.0.0.1:4002", VIP, "S"), Some(111), "a SYN is scheduled anew");
    assert_eq!(world.chosen_udp(CLIENT, VIP), Some(111));
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "A"), Some(111), "others are not concerned");
}

/// Together with weight 0 it also moves clients of a quiesced server that open a new connection.
#[test]
fn expire_nodest_conn_moves_reconnecting_clients_of_a_quiesced_server() {
    for (knob, expected) in [(true, 111), (false, 188)] {
        let mut world = World::ready_knobs(&[FIRST, SECOND], |knobs| knobs.expire_nodest_conn = knob);
        assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
        world.apply(&[reweigh(key(VIP), SECOND, 0)]);
        assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
        assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(expected));
    }
}

#[test]
fn sloppy_tcp_lets_anything_but_rst_open() {
    let mut world = World::ready_knobs(&[FIRST, SECOND], |knobs| knobs.sloppy_tcp = true);
    for (client, letters, state) in [
        ("110.0.0.1:4000", "A", "ESTABLISHED"),
        ("110.0.0.1:4001", "FA", "CLOSE"),
        ("110.0.0.1:4002", "SA", "SYN_RECV"),
        ("110.0.0.1:4003", "PA", "ESTABLISHED"),
        ("110.0.0.1:4004", "", "CLOSE"),
    ] {
        assert!(world.chosen(client, VIP, letters).is_some(), "{letters}");
        assert_eq!(world.record(client).unwrap().state.name(), state, "{letters}");
    }
    assert!(world.tcp("110.0.0.1:4005", VIP, "R").is_empty());
    assert!(world.tcp("110.0.0.1:4005", VIP, "SR").is_empty());
    assert_eq!(world.director.statistics().dropped(DropReason::NotSyn), 2);
}

#[test]
fn without_it_only_a_syn_opens() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    for (letters, opens, answered) in [
        ("A", false, true),
        ("FA", false, true),
        ("PA", false, true),
        ("", false, true),
        ("R", false, false),
        ("RA", false, false),
        ("SR", false, false),
        ("S", true, false),
    ] {
        let out = world.tcp("110.0.0.1:4321", VIP, letters);
        assert_eq!(world.record("110.0.0.1:4321").is_some(), opens, "{letters}");
        let reset = out.iter().any(|f| summary(f).tcp.is_some_and(|tcp| tcp.flags.contains(TcpFlags::RST)));
        assert_eq!(reset, answered, "{letters}");
    }
    assert_eq!(world.chosen("110.0.0.1:4322", VIP, "SA"), Some(111), "SYN+ACK and SYN+FIN open, as in IPVS");
    assert_eq!(world.chosen("110.0.0.1:4323", VIP, "SF"), Some(188));
}

#[test]
fn on_miss_hash_serves_what_it_does_not_know() {
    let mut world = World::ready_knobs(&[FIRST, SECOND], |knobs| knobs.on_miss = OnMiss::Hash);
    let chosen = world.chosen(CLIENT, VIP, "A");
    assert!(chosen.is_some());
    for letters in ["A", "PA", "FA", "R"] {
        assert_eq!(world.chosen(CLIENT, VIP, letters), chosen);
    }
    assert_eq!(world.director.connection_usage().connections, 0);
    assert_eq!(world.director.statistics().hashed, 5);
    // A SYN opens a connection by the scheduler all the same.
    assert_eq!(world.chosen("110.0.0.1:4444", VIP, "S"), Some(188));
    world.set_knobs(|knobs| knobs.on_miss = OnMiss::Refuse);
    assert_eq!(world.chosen(CLIENT, VIP, "A"), None);
}

#[test]
fn decrement_ttl_touches_ttl_and_checksum_only() {
    let mut world = World::ready_knobs(&[FIRST], |knobs| knobs.decrement_ttl = true);
    for ttl in [255, 64, 2] {
        let before = frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::SYN).ttl(ttl);
        let before = before.macs(mac(ROUTER), mac(DIRECTOR)).build();
        let after = world.send(&before).remove(0);
        assert_eq!(summary(&after).ttl, ttl - 1);
        assert_eq!(frames::checksum(&after.bytes[14..34]), 0);
        assert_eq!(after.bytes[12..22], before[12..22]);
        assert_eq!((after.bytes[23], &after.bytes[26..]), (before[23], &before[26..]));
    }
}

#[test]
fn a_packet_without_time_to_live_is_answered() {
    let mut world = World::ready_knobs(&[FIRST], |knobs| knobs.decrement_ttl = true);
    for ttl in [1, 0] {
        let dying = frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::SYN).ttl(ttl);
        let out = world.send(&dying.macs(mac(ROUTER), mac(DIRECTOR)).build());
        let answer = summary(&out[0]);
        assert_eq!(answer.icmp, Some((11, 0)));
        assert_eq!(answer.quoted.unwrap().ttl, ttl, "the packet is quoted as it came");
    }
    assert_eq!(world.director.statistics().dropped(DropReason::TtlExceeded), 2);
    assert!(world.record(CLIENT).is_some(), "the connection is made anyway, as in IPVS");
    world.set_knobs(|knobs| knobs.decrement_ttl = false);
    let last = frames::tcp(socket(CLIENT), socket(VIP)).ttl(1).macs(mac(ROUTER), mac(DIRECTOR));
    assert_eq!(summary(&world.send(&last.build())[0]).ttl, 1);
}

#[test]
fn own_answers_are_limited() {
    let mut world = World::ready_knobs(&[FIRST], |knobs| knobs.answers_per_second = 10);
    let refused = |world: &mut World, n: u16| {
        let answered =
            |n: u16| usize::from(!world.tcp(&format!("110.0.0.1:{}", 5000 + n), VIP, "A").is_empty());
        (0..n).map(answered).sum::<usize>()
    };
    assert_eq!(refused(&mut world, 50), 10, "one second's worth at once");
    assert_eq!(world.director.statistics().answers_suppressed, 40);
    world.pass(millis(500));
    assert_eq!(refused(&mut world, 50), 5);
    world.pass(millis(60_000));
    assert_eq!(refused(&mut world, 50), 10, "what was not used is not saved up");
    assert_eq!(world.director.statistics().answers, 25);
    world.set_knobs(|knobs| knobs.answers_per_second = 0);
    assert_eq!(refused(&mut world, 5), 0);
    world.set_knobs(|knobs| knobs.answers_per_second = u32::MAX);
    assert_eq!(refused(&mut world, 50), 50);
    // Forwarding is not an answer.
    world.set_knobs(|knobs| knobs.answers_per_second = 0);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(111));
}

/// SCTP knows the rule, too: an INIT on an association that is over, or whose server is quiesced.
#[test]
fn an_init_begins_anew_as_a_syn_does() {
    let init = |chunk: u8| {
        let (client, vip) = (socket(CLIENT), socket(VIP));
        let mut packet = [client.port().to_be_bytes(), vip.port().to_be_bytes()].concat();
        packet.extend([0, 0, 0, 1, 0, 0, 0, 0, chunk, 0, 0, 4]);
        frames::ip(client.ip(), vip.ip(), 132, &packet).macs(mac(ROUTER), mac(DIRECTOR)).build()
    };
    let sctp = ServiceKey::sctp(socket(VIP).ip(), 80);
    let world = |turn: fn(&mut Knobs)| {
        let mut config = config();
        turn(&mut config.knobs);
        World::ready_with(config, sctp, &[FIRST, SECOND])
    };
    const INIT: u8 = 1;
    const ABORT: u8 = 6;
    for (mode, expected) in [(0, 188), (1, 111), (2, 111)] {
        let mut world = world(|_| ());
        world.set_knobs(|knobs| knobs.conn_reuse_mode = mode);
        for (chunk, to) in [(INIT, 188), (ABORT, 188), (INIT, expected)] {
            assert_eq!(world.send(&init(chunk)).iter().find_map(server_of), Some(to), "mode {mode}");
        }
    }
    let mut world = world(|knobs| knobs.expire_nodest_conn = true);
    assert_eq!(world.send(&init(INIT)).iter().find_map(server_of), Some(188));
    world.apply(&[reweigh(sctp, SECOND, 0)]);
    assert_eq!(world.send(&init(10)).iter().find_map(server_of), Some(188), "COOKIE ECHO goes on");
    assert_eq!(world.send(&init(INIT)).iter().find_map(server_of), Some(111));
}
