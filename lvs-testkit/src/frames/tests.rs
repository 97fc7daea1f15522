//! The builders against etherparse's strict parser, which shares no code with them.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use lvs_core::io::{PartialChecksum, VlanTag};

use super::*;

const A: &str = "110.0.0.1:40000";
const VIP: &str = "192.168.0.250:80";
const A6: &str = "[fd00:110::1]:40000";
const VIP6: &str = "[fd00::250]:80";

/// The strict parse, with every checksum that etherparse can verify verified.
#[track_caller]
fn strict(frame: &[u8]) -> SlicedPacket<'_> {
    let packet = SlicedPacket::from_ethernet(frame).expect("a well-formed frame");
    if let Some(NetSlice::Ipv4(ip)) = &packet.net {
        let header = ip.header();
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    }
    let fragmented = packet.is_ip_payload_fragmented();
    match (&packet.net, &packet.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) if !fragmented => {
            assert_eq!(
                Ok(tcp.checksum()),
                tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination())
            );
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Tcp(tcp))) if !fragmented => {
            assert_eq!(
                Ok(tcp.checksum()),
                tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination())
            );
        }
        (Some(NetSlice::Ipv6(ip)), Some(TransportSlice::Icmpv6(icmp))) if !fragmented => {
            assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
        }
        (_, Some(TransportSlice::Icmpv4(icmp))) if !fragmented => assert_eq!(checksum(icmp.slice()), 0),
        (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) if !fragmented => {
            let sum = udp.to_header().calc_checksum_ipv4_raw(
                ip.header().source(),
                ip.header().destination(),
                udp.payload(),
            );
            assert_eq!(Ok(udp.checksum()), sum);
        }
        _ => {}
    }
    packet
}

#[test]
fn tcp_in_both_families_with_everything_set() {
    let options = [2, 4, 5, 0xb4, 1, 3, 3, 7];
    for (from, to) in [(A, VIP), (A6, VIP6)] {
        let frame = tcp(socket(from), socket(to))
            .flags(TcpFlags::SYN)
            .seq(7)
            .tcp_options(&options)
            .payload(b"odd")
            .ttl(9)
            .tos(0x2e << 2)
            .build();
        let packet = strict(&frame);
        let Some(TransportSlice::Tcp(segment)) = packet.transport else { panic!("{packet:?}") };
        assert_eq!((segment.syn(), segment.ack(), segment.sequence_number()), (true, false, 7));
        assert_eq!((segment.options(), segment.payload()), (&options[..], &b"odd"[..]));
        let ip = Summary::of(&frame).unwrap().ip.unwrap();
        assert_eq!((ip.ttl, ip.tos, ip.ports), (9, 0xb8, Some((40000, 80))));
        assert_eq!(ip.checksum_right, Some(true));
    }
}

#[test]
fn ipv4_options_and_id_and_no_df() {
    let frame =
        udp(socket(A), socket(VIP)).options(&[7, 7, 4, 0, 0, 0, 0]).id(22704).dont_fragment(false).build();
    let packet = strict(&frame);
    let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!("{packet:?}") };
    assert_eq!((ip.header().ihl(), ip.header().identification()), (7, 22704));
    assert!(!ip.header().dont_fragment());
}

#[test]
fn tags_stand_in_call_order() {
    let outer = VlanTag { tpid: SERVICE_VLAN, tci: 0x6000 | 100 };
    let frame = tcp(socket(A), socket(VIP)).tag(outer).vlan(7).build();
    strict(&frame);
    let summary = Summary::of(&frame).unwrap();
    assert_eq!(summary.tags, [outer, VlanTag { tpid: VLAN, tci: 7 }]);
    assert_eq!((summary.network_offset, summary.ether_type), (22, IPV4));
    assert!(describe(&frame).contains(", vlan 100 p 3, vlan 7, ethertype IPv4"), "{}", describe(&frame));
}

#[test]
fn extension_headers_are_chained_and_sized() {
    let frame = tcp(socket(A6), socket(VIP6))
        .extension(HOP_BY_HOP, &[5, 2, 0, 0])
        .extension(DESTINATION_OPTIONS, &[1, 8, 0, 0, 0, 0, 0, 0, 0, 0])
        .build();
    let packet = strict(&frame);
    let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("{packet:?}") };
    assert_eq!(ip.extensions().clone().into_iter().count(), 2);
    assert_eq!(Summary::of(&frame).unwrap().ip.unwrap().protocol, TCP);
}

#[test]
fn fragments_reassemble_to_the_whole() {
    let payload: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
    for (from, to) in [(A, VIP), (A6, VIP6)] {
        let whole = udp(socket(from), socket(to))
            .payload(&payload)
            .id(0x1234)
            .dont_fragment(false)
            .extension(HOP_BY_HOP, &[5, 2, 0, 0])
            .extension(DESTINATION_OPTIONS, &[]);
        let mut joined: Vec<u8> = Vec::new();
        let fragments = whole.fragments(1280);
        assert_eq!(fragments.len(), 3);
        for (n, frame) in fragments.iter().enumerate() {
            assert!(frame.len() <= 14 + 1280);
            // etherparse reads on behind the fragment header of later fragments, where no header is.
            if n == 0 || from == A {
                strict(frame);
            }
            let ip = Summary::of(frame).unwrap().ip.unwrap();
            assert_eq!((ip.id, ip.fragment), (Some(0x1234), Some((joined.len(), n < 2))));
            let headers = if from == A { 20 } else { 40 + 8 + 8 };
            joined.extend(&frame[14 + headers..]);
        }
        let complete = whole.build();
        let tail = &complete[complete.len() - joined.len()..];
        assert!(joined == tail);
    }
}

#[test]
fn each_fault_is_seen_by_the_strict_parser_or_by_the_sum() {
    let good = || tcp(socket(A), socket(VIP)).payload(b"x");
    assert!(SlicedPacket::from_ethernet(&good().truncate(33).build()).is_err());
    assert!(SlicedPacket::from_ethernet(&good().ip_length(19).build()).is_err());
    assert!(SlicedPacket::from_ethernet(&good().ip_length(1000).build()).is_err());
    assert!(SlicedPacket::from_ethernet(&good().header_words(4).build()).is_err());
    assert!(SlicedPacket::from_ethernet(&good().version(5).build()).is_err());
    assert!(SlicedPacket::from_ethernet(&good().data_offset(4).build()).is_err());
    assert!(SlicedPacket::from_ethernet(&good().data_offset(15).build()).is_err());
    let short = udp(socket(A), socket(VIP)).payload(b"12345678").udp_length(100).build();
    assert!(SlicedPacket::from_ethernet(&short).is_err());

    let frame = good().bad_checksum().build();
    assert_eq!(Summary::of(&frame).unwrap().ip.unwrap().checksum_right, Some(false));
    assert!(describe(&frame).ends_with("(bad cksum)"));
    assert_ne!(checksum(&good().bad_ip_checksum().build()[14..34]), 0);
    assert_eq!(checksum(&good().build()[14..34]), 0);
}

#[test]
fn offloaded_frames_become_whole_when_the_hardware_sums() {
    for (from, to) in [(A, VIP), (A6, VIP6)] {
        let packet = tcp(socket(from), socket(to)).vlan(5).payload(b"half");
        let (mut frame, meta) = packet.build_offloaded();
        let network = if from == A { 20 } else { 40 };
        assert_eq!(meta.checksum, Some(PartialChecksum { start: 18 + network, offset: 16 }));
        assert_ne!(frame, packet.build());
        finish_checksum(&mut frame, meta.checksum.unwrap());
        assert_eq!(frame, packet.build());
        let gso = packet.build_merged(1448).1.gso.unwrap();
        assert_eq!((gso.size, gso.header_length), (1448, 18 + network + 20));
    }
}

#[test]
fn padding_is_no_payload() {
    let frame = tcp(socket(A), socket(VIP)).pad_to(60).build();
    assert_eq!(frame.len(), 60);
    assert_eq!(Summary::of(&frame).unwrap().ip.unwrap().payload_len, 0);
}

#[test]
fn a_udp_sum_of_zero_is_sent_as_ones() {
    // Ports and payload are chosen so that everything adds up to ffff.
    let (from, to) = (socket("0.0.0.0:1"), socket("0.0.0.0:1"));
    let rest = 0xffff - 17 - 2 * 10 - 2;
    let frame = udp(from, to).payload(&(rest as u16).to_be_bytes()).build();
    assert_eq!(frame[40..42], [0xff, 0xff]);
    assert_eq!(udp(from, to).without_checksum().build()[40..42], [0, 0]);
}

#[test]
fn arp_messages_read_as_what_they_are() {
    let (m, n) = (station(1), station(2));
    let table = [
        (
            arp_request(m, v4("10.0.0.1"), v4("10.0.0.2")).build(),
            "ARP, Request who-has 10.0.0.2 tell 10.0.0.1",
        ),
        (arp_probe(m, v4("10.0.0.2")).build(), "ARP, Probe 10.0.0.2"),
        (arp_announcement(m, v4("10.0.0.2")).build(), "ARP, Announcement 10.0.0.2 from 02:00:00:00:00:01"),
        (gratuitous_reply(m, v4("10.0.0.2")).build(), "ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:01"),
        (
            arp_reply(m, v4("10.0.0.1"), n, v4("10.0.0.2")).pad_to(60).build(),
            "ARP, Reply 10.0.0.1 is-at 02:00:00:00:00:01",
        ),
        (arp_request(m, v4("10.0.0.1"), v4("10.0.0.2")).truncate(41).build(), "truncated or malformed"),
        (
            arp_request(m, v4("10.0.0.1"), v4("10.0.0.2")).header(1, 0x800, 6, 16).build(),
            "truncated or malformed",
        ),
    ];
    for (frame, text) in table {
        assert!(describe(&frame).ends_with(text), "{}", describe(&frame));
    }
    let unicast = arp_request(m, v4("10.0.0.1"), v4("10.0.0.2")).unicast(n).build();
    assert_eq!(Summary::of(&unicast).unwrap().destination_mac, n);
}

#[test]
fn errors_quote_what_they_are_about() {
    let syn = tcp(socket(A), socket(VIP)).vlan(9).payload(&[0; 900]).build();
    let router = addr("192.168.0.15");
    let frame = icmp_error(router, addr("110.0.0.1"), IcmpError::TooBig { mtu: 1400 }, &syn).build();
    assert_eq!(frame.len(), 14 + 576);
    strict(&frame);
    assert_eq!(frame[40..42], 1400u16.to_be_bytes());
    let ip = Summary::of(&frame).unwrap().ip.unwrap();
    assert_eq!(ip.icmp, Some((3, 4)));
    let quoted = ip.quoted.expect("the packet inside");
    assert_eq!((quoted.ports, quoted.protocol), (Some((40000, 80)), TCP));
    let least = icmp_error(router, addr("110.0.0.1"), IcmpError::PortUnreachable, &syn).quote(28).build();
    assert_eq!(strict(&least).ip_payload().unwrap().payload.len(), 36);
    assert!(
        describe(&least).ends_with("about 110.0.0.1.40000 > 192.168.0.250.80: proto 6, ttl 64"),
        "{}",
        describe(&least)
    );

    let syn = tcp(socket(A6), socket(VIP6)).build();
    let frame =
        icmp_error(addr("fd00::15"), addr("fd00:110::1"), IcmpError::TooBig { mtu: 1400 }, &syn).build();
    strict(&frame);
    let ip = Summary::of(&frame).unwrap().ip.unwrap();
    assert_eq!((ip.icmp, ip.quoted.unwrap().ports), (Some((2, 0)), Some((40000, 80))));
}

#[test]
fn neighbour_discovery_is_well_formed() {
    let (m, target) = (station(1), v6("fd00::250"));
    let ask = neighbour_solicitation(m, v6("fd00::15"), target).build();
    strict(&ask);
    let summary = Summary::of(&ask).unwrap();
    assert_eq!(summary.destination_mac, mac("33:33:ff:00:02:50"));
    let ip = summary.ip.unwrap();
    assert_eq!(
        (ip.ttl, ip.destination, ip.neighbour_target),
        (255, addr("ff02::1:ff00:250"), Some(target.into()))
    );
    // Link-layer option or not: 24 bytes of message and 8 of option.
    assert_eq!(ask.len(), 14 + 40 + 32);
    assert_eq!(neighbour_solicitation(m, v6("::"), target).build().len(), 14 + 40 + 24);

    let answer = neighbour_advertisement(m, target, station(9), v6("fd00::15")).build();
    strict(&answer);
    assert_eq!(Summary::of(&answer).unwrap().destination_mac, station(9));
    assert_eq!(answer[58], 0x60);
    let told = neighbour_advertisement(m, target, station(9), v6("ff02::1")).build();
    assert_eq!((Summary::of(&told).unwrap().destination_mac, told[58]), (mac("33:33:00:00:00:01"), 0x20));
    strict(&router_solicitation(m, v6("fe80::1")).build());
    for frame in [mld_report(m, v6("fe80::1"), &[solicited_node(target)]), mld_query(m, v6("fe80::1"))] {
        let frame = frame.build();
        strict(&frame);
        assert_eq!(frame[14 + 6], HOP_BY_HOP);
        assert_eq!(Summary::of(&frame).unwrap().ip.unwrap().ttl, 1);
    }
}

#[test]
fn describe_never_fails() {
    let whole = icmp_error(
        addr("fd00::15"),
        addr("fd00:110::1"),
        IcmpError::TtlExceeded,
        &udp(socket(A6), socket(VIP6)).extension(HOP_BY_HOP, &[]).build(),
    )
    .vlan(3)
    .build();
    for len in 0..=whole.len() {
        assert!(!describe(&whole[..len]).is_empty());
    }
    // Every byte set to every value, one at a time.
    for at in 0..whole.len() {
        let mut frame = whole.clone();
        for value in 0..=255 {
            frame[at] = value;
            assert!(!describe(&frame).is_empty());
        }
    }
    // Errors about errors about errors do not nest without end.
    let mut nested = whole;
    for _ in 0..100 {
        nested = icmp_error(addr("fd00::1"), addr("fd00::2"), IcmpError::NoRoute, &nested).build();
    }
    assert!(Summary::of(&nested).unwrap().ip.unwrap().quoted.unwrap().quoted.is_none());
}
