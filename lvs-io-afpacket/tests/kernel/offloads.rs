//! VLAN tags, unfinished checksums and merged frames, through the kernel and back.

use lvs_core::io::{Gso, GsoKind, Meta, PartialChecksum, PortId, VlanTag};

use crate::Test;
use crate::bench::{Bench, frame};

pub(crate) const TESTS: &[Test] = &[
    ("a_vlan_tag_comes_in_beside_the_frame_and_goes_out_with_it", tags_pass),
    ("a_vlan_tag_may_be_added_changed_and_removed", tags_change),
    ("merged_frames_and_partial_checksums_pass_unchanged", merged_frames_pass),
    ("a_merged_frame_in_a_vlan_passes_unchanged", merged_frames_pass_tagged),
    ("offsets_that_lie_cost_the_frame_only", lying_offsets),
];

fn tagged(tpid: u16, tci: u16) -> Meta {
    Meta { vlan: Some(VlanTag { tpid, tci }), ..Meta::default() }
}

fn tags_pass() {
    let mut bench = Bench::new("tp");
    for meta in [tagged(0x8100, 0x2064), tagged(0x88a8, 100), tagged(0x8100, 0xefff), tagged(0x8100, 0xa000)]
    {
        let sent = (meta, frame(9, 100));
        let mut seen = None;
        let received = bench.pass(
            PortId(0),
            std::slice::from_ref(&sent),
            |frame| seen = Some((*frame.meta(), frame.bytes().to_vec())),
            1,
        );
        assert_eq!(seen.as_ref(), Some(&sent));
        assert_eq!((received[0].meta, &received[0].bytes), (meta, &sent.1));
    }
    // The longest tagged frame: 4 bytes more than the MTU allows without a tag.
    let longest = (tagged(0x8100, 5), frame(1, 1514));
    assert_eq!(bench.pass(PortId(1), &[longest], |_| {}, 1)[0].bytes.len(), 1514);
}

fn tags_change() {
    let mut bench = Bench::new("tc");
    let (red, blue) = (tagged(0x8100, 10), tagged(0x88a8, 20));
    let plain = Meta::default();
    for (before, after) in [(plain, red), (red, blue), (blue, plain)] {
        let sent = (before, frame(3, 77));
        let received = bench.pass(PortId(0), &[sent], |frame| *frame.meta_mut() = after, 1);
        assert_eq!((received[0].meta, &received[0].bytes), (after, &frame(3, 77)));
    }
}

/// A merged frame with valid headers and the sum of the pseudo-header where the checksum belongs, as a
/// sender leaves it to the hardware.
fn merged(kind: GsoKind, payload: usize) -> (Meta, Vec<u8>) {
    let udp = matches!(kind, GsoKind::UdpL4);
    let (protocol, transport, offset) = if udp { (17, 8, 6) } else { (6, 20, 16) };
    let length = (transport + payload) as u16;
    let mut bytes = vec![2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa];
    let addresses: Vec<u8> = if matches!(kind, GsoKind::Tcp6) {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([protocol, 64]);
        (0..32).map(|i| if i % 16 == 0 { 0xfd } else { i }).collect()
    } else {
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend((length + 20).to_be_bytes());
        bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
        vec![10, 0, 0, 1, 10, 0, 0, 2]
    };
    bytes.extend(&addresses);
    if protocol == 6 && bytes[12] == 8 {
        let sum = !fold(words(&bytes[14..34]));
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    let start = bytes.len();
    bytes.extend([0x30, 0x39, 0, 80]);
    if udp {
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 2]);
    } else {
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    }
    let sum = fold(words(&addresses) + u32::from(protocol) + u32::from(length));
    bytes[start + offset..start + offset + 2].copy_from_slice(&sum.to_be_bytes());
    let header_length = bytes.len() as u16;
    bytes.extend((0..payload).map(|i| (i * 7) as u8));
    let meta = Meta {
        vlan: None,
        checksum: Some(PartialChecksum { start: start as u16, offset: offset as u16 }),
        gso: Some(Gso { kind, size: 1400, header_length, ecn: false }),
        checksum_valid: false,
    };
    (meta, bytes)
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum()
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The header length is a hint that the kernel sets to what lies in one piece of its memory.
fn without_hint(mut meta: Meta) -> Meta {
    if let Some(gso) = &mut meta.gso {
        gso.header_length = 0;
    }
    meta
}

fn check_merged(bench: &mut Bench, sent: &(Meta, Vec<u8>)) {
    let mut seen = None;
    let received = bench.pass(
        PortId(0),
        std::slice::from_ref(sent),
        |frame| seen = Some((*frame.meta(), frame.bytes().to_vec())),
        1,
    );
    let (meta, bytes) = seen.unwrap();
    assert_eq!(without_hint(meta), without_hint(sent.0));
    assert!(bytes == sent.1, "the device saw other bytes");
    assert_eq!(without_hint(received[0].meta), without_hint(sent.0));
    assert!(received[0].bytes == sent.1, "the tester got other bytes");
}

fn merged_frames_pass() {
    let mut bench = Bench::new("mp");
    for kind in [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::UdpL4] {
        for payload in [1401, 14_000, 65_000] {
            check_merged(&mut bench, &merged(kind, payload));
        }
        // The ordinary frame of a sender that leaves the checksum to the hardware.
        let (meta, bytes) = merged(kind, 100);
        check_merged(&mut bench, &(Meta { gso: None, ..meta }, bytes));
    }
    let (mut meta, bytes) = merged(GsoKind::Tcp4, 20_000);
    meta.gso.as_mut().unwrap().ecn = true;
    check_merged(&mut bench, &(meta, bytes));
}

fn merged_frames_pass_tagged() {
    let mut bench = Bench::new("mt");
    for kind in [GsoKind::Tcp4, GsoKind::Tcp6] {
        let (meta, bytes) = merged(kind, 30_000);
        check_merged(&mut bench, &(Meta { vlan: tagged(0x8100, 42).vlan, ..meta }, bytes));
    }
}

fn lying_offsets() {
    let mut bench = Bench::new("ly");
    let (meta, bytes) = merged(GsoKind::Tcp4, 100);
    let beyond = Meta { gso: None, checksum: Some(PartialChecksum { start: 60_000, offset: 16 }), ..meta };
    let overflow =
        Meta { checksum: Some(PartialChecksum { start: u16::MAX, offset: 16 }), ..tagged(0x8100, 1) };
    let whole = Meta::default();
    let metas = [whole, beyond, whole, overflow, whole];
    let mut next = metas.iter();
    let frames: Vec<_> = (0..5).map(|_| (whole, bytes.clone())).collect();
    let received = bench.pass(PortId(0), &frames, |frame| *frame.meta_mut() = *next.next().unwrap(), 3);
    assert!(received.iter().all(|received| received.bytes == bytes));
    let statistics = lvs_core::io::FrameIo::statistics(&bench.device);
    assert_eq!((statistics.transmitted, statistics.transmit_lost), (3, 2));
}
