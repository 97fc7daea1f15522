use lvs_testkit::frames::{arp_request, echo_request, socket, station, tcp, udp, v4};

use super::*;

#[test]
fn unfinished_checksums_are_told_from_right_and_wrong_ones() {
    for (from, to) in [("10.0.0.1:40000", "10.0.0.2:80"), ("[fd00::1]:40000", "[fd00::2]:80")] {
        let (from, to) = (socket(from), socket(to));
        for payload in [&b""[..], b"x", b"some more bytes, an odd number"] {
            let segment = tcp(from, to).payload(payload);
            assert!(!is_unfinished(&segment.build()));
            assert!(is_unfinished(&segment.build_offloaded().0));
            assert!(is_unfinished(&segment.clone().vlan(7).build_offloaded().0));
            assert!(!is_unfinished(&segment.bad_checksum().build()));
            let datagram = udp(from, to).payload(payload);
            assert!(!is_unfinished(&datagram.build()));
            assert!(is_unfinished(&datagram.build_offloaded().0));
            assert!(is_unfinished(&datagram.pad_to(80).build_offloaded().0), "padding does not count");
        }
    }
}

#[test]
fn a_right_checksum_that_looks_unfinished_is_right() {
    // The last two bytes of the payload are chosen so that everything but the pseudo-header sums up to
    // nothing: then the right checksum has the bits of the unfinished one.
    let found = (0..=u16::MAX).find(|word| {
        let frame = udp(socket("10.0.0.1:1"), socket("10.0.0.2:2")).payload(&word.to_be_bytes()).build();
        let (pseudo, segment, field) = segment(&frame).unwrap();
        half(segment, field) == Some(fold(pseudo))
    });
    let word = found.expect("one of all words");
    let frame = udp(socket("10.0.0.1:1"), socket("10.0.0.2:2")).payload(&word.to_be_bytes()).build();
    assert!(!is_unfinished(&frame));
}

#[test]
fn other_frames_and_pieces_are_not_judged() {
    let (a, b) = (socket("10.0.0.1:40000"), socket("10.0.0.2:80"));
    assert!(!is_unfinished(&arp_request(station(1), v4("10.0.0.1"), v4("10.0.0.2")).build()));
    assert!(!is_unfinished(&echo_request(a.ip(), b.ip(), 1, 1).build()));
    let (whole, _) = tcp(a, b).payload(&[7; 64]).build_offloaded();
    for len in 0..whole.len() {
        assert!(!is_unfinished(&whole[..len]), "{len}");
    }
    let mut fragment = whole;
    fragment[20] = 0x20;
    assert!(!is_unfinished(&fragment));
}
