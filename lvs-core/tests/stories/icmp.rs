//! ICMP: errors about flows go to the flow's server, echo is answered, the rest is none of our business; and packets
//! that do not fit the way out.

use lvs_core::DropReason;
use lvs_core::PortId;
use lvs_core::io::Meta;
use lvs_testkit::frames::{self, IcmpError, Packet, TcpFlags, addr, mac, socket, tcp, udp};
use lvs_testkit::memory::StoredFrame;

use crate::world::{
    CLIENT, CLIENT6, DIRECTOR, FIRST, ROUTER, SECOND, VIP, VIP6, World, config, key, segment, server_of,
    service, summary, udp_key,
};

fn from_router<B: frames::Body>(packet: Packet<B>) -> Vec<u8> {
    packet.macs(mac(ROUTER), mac(DIRECTOR)).build()
}

/// A reply of a real server, about which somebody on its way complains.
fn reply(vip: &str, client: &str) -> Vec<u8> {
    tcp(socket(vip), socket(client)).payload(&[7; 1400]).build()
}

const ERRORS: [IcmpError; 5] = [
    IcmpError::TooBig { mtu: 1400 },
    IcmpError::PortUnreachable,
    IcmpError::HostUnreachable,
    IcmpError::Prohibited,
    IcmpError::TtlExceeded,
];

#[test]
fn errors_reach_the_server_of_the_flow_they_quote() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen("110.0.0.1:4000", VIP, "S"), Some(188));
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "S"), Some(111));
    let before = world.record("110.0.0.1:4000");
    for error in ERRORS {
        for (client, server) in [("110.0.0.1:4000", 188), ("110.0.0.1:4001", 111)] {
            // From 28 bytes, the least that is quoted, to as much as fits.
            for quoted in [28, 40, 548] {
                let about = reply(VIP, client);
                let error = frames::icmp_error(addr("10.5.5.5"), addr("192.168.0.250"), error, &about);
                let frame = from_router(error.quote(quoted));
                let out = world.send(&frame);
                assert_eq!(out.iter().find_map(server_of), Some(server));
                assert_eq!(out[0].bytes[12..], frame[12..]);
            }
        }
    }
    assert_eq!(world.record("110.0.0.1:4000"), before, "the flow itself was not heard");
}

#[test]
fn errors_about_ipv6_flows_and_datagrams_too() {
    let mut world = World::ready_with(config(), key(VIP6), &["fd00::6f", "fd00::bc"]);
    world.live(&[FIRST, SECOND]);
    world.apply(&service(udp_key(VIP), &[FIRST, SECOND]));
    assert_eq!(world.chosen(CLIENT6, VIP6, "S"), Some(188));
    for error in ERRORS {
        let error = frames::icmp_error(addr("fd00:5::5"), addr("fd00::fa"), error, &reply(VIP6, CLIENT6));
        for quoted in [44, 60, 1232] {
            let out = world.send(&from_router(error.clone().quote(quoted)));
            assert_eq!(out.iter().find_map(server_of), Some(188));
        }
    }
    assert_eq!(world.chosen_udp(CLIENT, VIP), Some(188));
    let about = udp(socket(VIP), socket(CLIENT)).payload(&[1; 50]).build();
    let error =
        frames::icmp_error(addr("10.5.5.5"), addr("192.168.0.250"), IcmpError::PortUnreachable, &about);
    assert_eq!(world.send(&from_router(error)).iter().find_map(server_of), Some(188));
}

#[test]
fn what_quotes_no_flow_of_ours_goes_nowhere() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    let vip = addr("192.168.0.250");
    let about = |about: &[u8]| frames::icmp_error(addr("10.5.5.5"), vip, IcmpError::PortUnreachable, about);
    let known = reply(VIP, CLIENT);
    let later =
        tcp(socket(VIP), socket(CLIENT)).dont_fragment(false).payload(&[0; 3000]).fragments(1500).remove(1);
    let silent = [
        from_router(about(&reply(VIP, "110.0.0.1:9"))),
        // The direction from the client to the VIP: no reply of ours.
        from_router(about(&segment(CLIENT, VIP, "A"))),
        // Cut off within the ports.
        from_router(about(&known).quote(23)),
        from_router(about(&known).quote(0)),
        from_router(about(&later)),
        from_router(about(&known).kind(5, 1)),
        from_router(about(&known).kind(12, 0)),
        from_router(about(&known).kind(0, 0)),
        from_router(frames::icmp(addr("10.5.5.5"), vip, 13, 0, [0; 4], &[0; 12])),
    ];
    for frame in &silent {
        assert!(world.send(frame).is_empty(), "{}", frames::describe(frame));
    }
    let statistics = world.director.statistics();
    assert_eq!(statistics.dropped(DropReason::IcmpUnrelated), silent.len() as u64);
    assert_eq!(statistics.answers, 0);
}

#[test]
fn echo_to_a_vip_is_answered_in_place() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    world.apply(&service(key(VIP6), &["fd00::bc"]));
    for (client, vip, kind) in [("110.0.0.1", "192.168.0.250", 0), ("fd00:110::1", "fd00::fa", 129)] {
        for length in [0, 1, 56, 1400] {
            let question =
                frames::echo_request(addr(client), addr(vip), 7, 9).payload(&vec![3; length]).ttl(3).id(99);
            let question = from_router(question);
            let out = world.send(&question);
            let answer = summary(&out[0]);
            assert_eq!((answer.source, answer.destination), (addr(vip), addr(client)));
            assert_eq!((answer.icmp, answer.ttl), (Some((kind, 0)), 64));
            assert_eq!(answer.checksum_right, Some(true));
            assert_eq!(out[0].bytes[..6], mac(ROUTER).0);
            let body = question.len() - length - 4;
            assert_eq!(out[0].bytes[body..], question[body..], "id, number and data return");
        }
    }
    // A reply to nobody's question is not answered.
    let reply = frames::echo_reply(addr("110.0.0.1"), addr("192.168.0.250"), 7, 9);
    assert!(world.send(&from_router(reply)).is_empty());
}

fn long(client: &str, vip: &str, payload: usize, dont_fragment: bool) -> Vec<u8> {
    from_router(tcp(socket(client), socket(vip)).payload(&vec![5; payload]).dont_fragment(dont_fragment))
}

/// A director whose way out takes 1400 bytes.
fn narrow() -> World {
    let mut config = config();
    config.interfaces[0].mtu = 1400;
    let mut world = World::ready_with(config, key(VIP), &[FIRST]);
    world.live(&["fd00::bc"]);
    world.apply(&service(key(VIP6), &["fd00::bc"]));
    world.tcp(CLIENT, VIP, "S");
    world.tcp(CLIENT6, VIP6, "S");
    world
}

#[test]
fn what_does_not_fit_is_answered_with_the_size_that_does() {
    let mut world = narrow();
    assert_eq!(world.send(&long(CLIENT, VIP, 1360, true)).iter().find_map(server_of), Some(111));
    assert_eq!(world.send(&long(CLIENT6, VIP6, 1340, true)).iter().find_map(server_of), Some(188));
    let out = world.send(&long(CLIENT, VIP, 1361, true));
    let answer = summary(&out[0]);
    assert_eq!((answer.icmp, answer.source), (Some((3, 4)), addr("192.168.0.250")));
    assert_eq!(out[0].bytes[40..42], 1400u16.to_be_bytes());
    assert_eq!((answer.length, answer.checksum_right), (576, Some(true)));
    assert_eq!(answer.quoted.unwrap().ports, Some((4000, 80)));
    let out = world.send(&long(CLIENT6, VIP6, 1341, true));
    let answer = summary(&out[0]);
    assert_eq!((answer.icmp, answer.length), (Some((2, 0)), 1280));
    assert_eq!(out[0].bytes[58..62], 1400u32.to_be_bytes());
    assert_eq!(answer.checksum_right, Some(true));
    assert_eq!(world.director.statistics().dropped(DropReason::TooBig), 2);
}

/// Whoever allows routers to cut is not told: the packet is cut, as IPVS does it.
#[test]
fn what_may_be_cut_leaves_in_pieces() {
    let mut world = narrow();
    let out = world.send(&long(CLIENT, VIP, 1361, false));
    assert_eq!(out.iter().map(server_of).collect::<Vec<_>>(), [Some(111); 2]);
    let pieces: Vec<_> = out.iter().map(summary).collect();
    let places: Vec<_> = pieces.iter().map(|piece| piece.fragment).collect();
    assert_eq!(places, [Some((0, true)), Some((1376, false))]);
    assert_eq!(pieces.iter().map(|piece| piece.length - 20).sum::<usize>(), 20 + 1361);
    assert!(pieces.iter().all(|piece| piece.length <= 1400 && piece.id == pieces[0].id));
    for piece in &out {
        assert_eq!(frames::checksum(&piece.bytes[14..34]), 0);
    }
    let statistics = world.director.statistics();
    assert_eq!((statistics.held, statistics.released, statistics.given_up), (1, 1, 0));
    assert_eq!(statistics.dropped(DropReason::TooBig), 0);
}

/// A merged frame is as long as its longest piece.
#[test]
fn merged_frames_are_measured_by_their_pieces() {
    let mut world = narrow();
    for (client, vip, room) in [(CLIENT, VIP, 1360u16), (CLIENT6, VIP6, 1340)] {
        for (size, fits) in [(room, true), (room + 1, false)] {
            let merged =
                tcp(socket(client), socket(vip)).payload(&[1; 20_000]).macs(mac(ROUTER), mac(DIRECTOR));
            let (frame, meta) = merged.build_merged(size);
            let out: Vec<StoredFrame> = world.send_by(PortId(0), meta, &frame);
            assert_eq!(out.iter().find_map(server_of).is_some(), fits, "{client} {size}");
            if fits {
                assert_eq!((out[0].meta, &out[0].bytes[12..]), (meta, &frame[12..]));
            } else {
                assert_eq!(out[0].meta, Meta::default());
                assert!(matches!(summary(&out[0]).icmp, Some((3, 4) | (2, 0))));
            }
        }
    }
    let options = tcp(socket(CLIENT), socket(VIP)).tcp_options(&[1; 12]).payload(&[1; 5000]);
    let (frame, meta) = options.macs(mac(ROUTER), mac(DIRECTOR)).build_merged(1349);
    assert!(matches!(summary(&world.send_by(PortId(0), meta, &frame)[0]).icmp, Some((3, 4))));
}

/// No answer to an error, a group, a fragment without ports, or an RST.
#[test]
fn some_things_are_never_answered() {
    let mut world = World::ready(socket(VIP), &[]);
    let udp_fragments = udp(socket(CLIENT), socket("192.168.0.250:9")).payload(&[0; 3000]).fragments(1500);
    let silent = [
        segment(CLIENT, "192.168.0.250:9", "R"),
        segment(CLIENT, VIP, "R"),
        from_router(tcp(socket("127.0.0.1:5"), socket("192.168.0.250:9")).flags(TcpFlags::SYN)),
        from_router(tcp(socket("224.0.0.1:5"), socket("192.168.0.250:9")).flags(TcpFlags::SYN)),
        from_router(tcp(socket("0.0.0.0:5"), socket("192.168.0.250:9")).flags(TcpFlags::SYN)),
        from_router(tcp(socket("255.255.255.255:5"), socket("192.168.0.250:9")).flags(TcpFlags::SYN)),
        udp_fragments[1].clone(),
    ];
    for frame in &silent {
        let mut frame = frame.clone();
        frame[..6].copy_from_slice(&mac(DIRECTOR).0);
        assert!(world.send(&frame).is_empty());
    }
    assert_eq!(world.director.statistics().answers, 0);
}
