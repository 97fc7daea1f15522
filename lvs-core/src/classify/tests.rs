//! Frames by hand and by etherparse as an independent oracle.

use super::*;
use crate::io::VlanTag;
use crate::wire::checksum;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use etherparse::{PacketBuilder, SlicedPacket};
use proptest::prelude::*;

const CLIENT: [u8; 4] = [203, 0, 113, 5];
const VIP: [u8; 4] = [192, 168, 0, 250];

fn tcp4(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x64], [2, 0, 0, 0, 0, 2])
        .ipv4(CLIENT, VIP, 64)
        .tcp(4000, 80, 1000, 65535)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

fn tcp6() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x64], [2, 0, 0, 0, 0, 2])
        .ipv6([0xfd; 16], [0xfe; 16], 64)
        .tcp(4000, 80, 1000, 65535)
        .ack(7)
        .write(&mut frame, b"hello")
        .unwrap();
    frame
}

fn plain(bytes: &[u8]) -> Result<Packet, DropReason> {
    classify(bytes, &Meta::default())
}

#[test]
fn a_tcp_segment_over_ipv4() {
    let packet = plain(&tcp4(b"")).unwrap();
    assert_eq!(packet.kind, PacketKind::Tcp);
    assert_eq!(packet.tcp_flags, crate::wire::tcp_flag::SYN);
    assert_eq!((packet.network, packet.transport, packet.end), (14, 34, 54));
    assert_eq!(packet.flow.client(), "203.0.113.5:4000".parse().unwrap());
    assert_eq!(packet.flow.virtual_socket(), "192.168.0.250:80".parse().unwrap());
}

#[test]
fn padding_is_not_part_of_the_packet() {
    let mut frame = tcp4(b"");
    frame.resize(60, 0xaa);
    assert_eq!(plain(&frame).unwrap().end, 54);
}

#[test]
fn tags_in_bytes_and_metadata_make_one_path() {
    let mut frame = tcp4(b"");
    frame.splice(12..12, [0x81, 0x00, 0x60, 0x0a]);
    let packet = plain(&frame).unwrap();
    assert_eq!(packet.vlan, VlanPath { outer: 10, inner: 0 });
    assert_eq!(packet.network, 18);
    let outer = Meta { vlan: Some(VlanTag { tpid: 0x88a8, tci: 5 }), ..Meta::default() };
    assert_eq!(classify(&frame, &outer).unwrap().vlan, VlanPath { outer: 5, inner: 10 });
    // A priority tag names no VLAN.
    frame[14..16].copy_from_slice(&[0xe0, 0]);
    assert_eq!(plain(&frame).unwrap().vlan, VlanPath::UNTAGGED);
    // Three tags are nobody's.
    for _ in 0..2 {
        frame.splice(12..12, [0x88, 0xa8, 0, 3]);
    }
    assert_eq!(plain(&frame).unwrap().kind, PacketKind::Other);
}

#[test]
fn every_length_is_checked() {
    let whole = tcp4(b"some payload");
    for len in 0..whole.len() {
        assert_eq!(plain(&whole[..len]).unwrap_err(), DropReason::Truncated, "{len}");
    }
    let mut short_ihl = whole.clone();
    short_ihl[14] = 0x44;
    assert_eq!(plain(&short_ihl), Err(DropReason::Malformed));
    let mut short_total = whole.clone();
    short_total[16..18].copy_from_slice(&19u16.to_be_bytes());
    assert_eq!(plain(&short_total), Err(DropReason::Malformed));
    let mut short_offset = whole.clone();
    short_offset[46] = 0x40;
    assert_eq!(plain(&short_offset), Err(DropReason::Malformed));
    let mut long_offset = whole.clone();
    long_offset[46] = 0xf0;
    assert_eq!(plain(&long_offset), Err(DropReason::Truncated));
    let mut bad_sum = whole;
    bad_sum[24] ^= 1;
    assert_eq!(plain(&bad_sum), Err(DropReason::BadChecksum));
}

#[test]
fn options_move_the_transport_header() {
    let mut frame = tcp4(b"");
    frame.splice(34..34, [1, 1, 1, 0]);
    frame[14] = 0x46;
    frame[17] += 4;
    frame[24..26].copy_from_slice(&[0, 0]);
    let sum = checksum::Sum::default().bytes(&frame[14..38]).finish();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let packet = plain(&frame).unwrap();
    assert_eq!((packet.transport, packet.flow.virtual_port()), (38, 80));
    frame[34] = 2;
    assert_eq!(plain(&frame), Err(DropReason::BadChecksum));
}

#[test]
fn extension_headers_are_walked_with_a_limit() {
    let mut frame = tcp6();
    let mut next = 6u8;
    for n in 0..10 {
        frame.splice(54..54, [next, 0, 1, 4, 0, 0, 0, 0]);
        frame[20] = 60;
        next = 60;
        let payload_len = u16::from_be_bytes([frame[18], frame[19]]) + 8;
        frame[18..20].copy_from_slice(&payload_len.to_be_bytes());
        match plain(&frame) {
            Ok(packet) if n < 8 => {
                assert_eq!((packet.kind, packet.transport), (PacketKind::Tcp, 54 + 8 * (n + 1)));
            }
            Err(DropReason::Malformed) if n >= 8 => {}
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[test]
fn fragments_have_no_ports_unless_first() {
    let mut frame = tcp4(b"payload!");
    let fix = |frame: &mut Vec<u8>, field: u16| {
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        frame[24..26].copy_from_slice(&[0, 0]);
        let sum = checksum::Sum::default().bytes(&frame[14..34]).finish();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    };
    fix(&mut frame, 0x2000);
    let first = plain(&frame).unwrap();
    assert!(first.first_fragment);
    assert_eq!((first.kind, first.flow.virtual_port()), (PacketKind::Tcp, 80));
    fix(&mut frame, 0x2001);
    let later = plain(&frame).unwrap();
    assert_eq!((later.kind, later.flow.virtual_port()), (PacketKind::Fragment, 0));
    fix(&mut frame, 0x4000);
    assert!(!plain(&frame).unwrap().first_fragment);
}

/// An ICMP error from the client's side about a reply of the VIP.
fn icmp_error(quote: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut body = Vec::from([3, 4, 0, 0, 0, 0, 0, 0]);
    body.extend_from_slice(quote);
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([198, 51, 100, 1], VIP, 64)
        .icmpv4_raw(3, 4, [0; 4])
        .write(&mut frame, quote)
        .unwrap();
    frame
}

#[test]
fn an_icmp_error_names_the_connection_and_its_owner() {
    let mut reply = Vec::new();
    PacketBuilder::ipv4(VIP, CLIENT, 64).tcp(80, 4000, 1, 1).write(&mut reply, b"x").unwrap();
    for cut in [24, 28, reply.len()] {
        let frame = icmp_error(&reply[..cut]);
        let packet = plain(&frame).unwrap();
        let flow = quoted_flow(&frame, &packet).unwrap();
        assert_eq!(flow, plain(&tcp4(b"")).unwrap().flow, "cut at {cut}");
        for workers in [1, 2, 3, 8] {
            let workers = NonZeroU16::new(workers).unwrap();
            let meta = Meta::default();
            assert_eq!(owner(&frame, &meta, workers), owner(&tcp4(b""), &meta, workers));
        }
    }
    let frame = icmp_error(&reply[..23]);
    assert_eq!(quoted_flow(&frame, &plain(&frame).unwrap()), None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_stay_within_the_frame(mut bytes: Vec<u8>, kind in 0u8..4) {
        if bytes.len() > 15 {
            let (ethertype, first) = [(0x0800u16, 0x45), (0x86dd, 0x60), (0x8100, 0), (0x0806, 0)][usize::from(kind)];
            bytes[12..14].copy_from_slice(&ethertype.to_be_bytes());
            bytes[14] = first | bytes[14] & 0x0f;
        }
        if let Ok(packet) = plain(&bytes) {
            prop_assert!(packet.end as usize <= bytes.len());
            prop_assert!(usize::from(packet.network) <= packet.end as usize);
            let _ = quoted_flow(&bytes, &packet);
        }
        let _ = owner(&bytes, &Meta::default(), NonZeroU16::MIN);
    }

    /// Where etherparse sees a TCP or UDP header in a whole packet, so do we, with the same ports.
    #[test]
    fn agrees_with_etherparse(
        v6: bool, udp: bool, tag: bool, ports: (u16, u16), payload in proptest::collection::vec(any::<u8>(), 0..64),
        flip in proptest::option::of((14usize..60, any::<u8>())),
    ) {
        let eth = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut frame = Vec::new();
        let ip = if tag {
            let vlan = eth.single_vlan(7.try_into().unwrap());
            if v6 { vlan.ipv6([1; 16], [2; 16], 9) } else { vlan.ipv4(CLIENT, VIP, 9) }
        } else if v6 { eth.ipv6([1; 16], [2; 16], 9) } else { eth.ipv4(CLIENT, VIP, 9) };
        if udp {
            ip.udp(ports.0, ports.1).write(&mut frame, &payload).unwrap();
        } else {
            ip.tcp(ports.0, ports.1, 1, 2).write(&mut frame, &payload).unwrap();
        }
        if let Some((at, bits)) = flip && at < frame.len() {
            frame[at] ^= bits;
        }
        let theirs = SlicedPacket::from_ethernet(&frame).ok().and_then(|sliced| match sliced.transport {
            Some(etherparse::TransportSlice::Tcp(tcp)) => Some((6, tcp.source_port(), tcp.destination_port())),
            Some(etherparse::TransportSlice::Udp(udp)) => Some((17, udp.source_port(), udp.destination_port())),
            _ => None,
        });
        match (plain(&frame), theirs) {
            (Ok(packet), Some((protocol, source, destination))) => {
                prop_assert_eq!(packet.flow.protocol(), protocol);
                prop_assert_eq!((packet.flow.client_port(), packet.flow.virtual_port()), (source, destination));
            }
            (Ok(packet), None) => {
                // etherparse checks the UDP length field against the packet; we leave that to the real server.
                prop_assert!(packet.kind != PacketKind::Tcp, "only we see TCP: {:?}", packet);
            }
            // We refuse header checksums that etherparse does not look at; an unflipped frame is never refused.
            (Err(reason), _) => prop_assert!(flip.is_some(), "{:?}", reason),
        }
    }
}

fn glanced(bytes: &[u8]) -> Option<Packet> {
    let v4 = bytes.first_chunk().and_then(|head| plain_v4(head, bytes.len()));
    let found = v4.or_else(|| bytes.first_chunk().and_then(|head| plain_v6(head, bytes.len())));
    found.map(|plain| plain.packet(bytes))
}

proptest! {
    /// Usual frames with a few bytes changed, in length and in value: whatever a glance takes for usual, the thorough way
    /// says the same of it.
    #[test]
    fn a_glance_says_what_the_thorough_way_says(
        v6: bool,
        udp: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..40),
        changes in proptest::collection::vec((0usize..80, any::<u8>(), any::<bool>()), 0..3),
        cut in 0usize..90,
        mend: bool,
    ) {
        let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x64], [2, 0, 0, 0, 0, 2]);
        let ip = if v6 { ethernet().ipv6([0xfd; 16], [0xfe; 16], 64) } else { ethernet().ipv4(CLIENT, VIP, 64) };
        let mut frame = Vec::new();
        if udp {
            ip.udp(4000, 53).write(&mut frame, &payload).unwrap();
        } else {
            ip.tcp(4000, 80, 1000, 65535).ack(7).write(&mut frame, &payload).unwrap();
        }
        let untouched = glanced(&frame);
        prop_assert_eq!(untouched.is_some(), frame.len() >= if v6 { GLANCE_V6 } else { GLANCE_V4 });
        for (at, value, flip) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = if flip { *byte ^ (1 << (value % 8)) } else { value };
            }
        }
        if mend && !v6 {
            // A changed header that is right nevertheless.
            frame[24..26].fill(0);
            let sum = checksum::Sum::default().bytes(&frame[14..34]).finish();
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        frame.truncate(frame.len().saturating_sub(cut.saturating_sub(60)));
        if let Some(packet) = glanced(&frame) {
            prop_assert_eq!(plain(&frame), Ok(packet));
        }
    }
}
