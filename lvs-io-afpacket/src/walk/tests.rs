use super::*;
use lvs_core::io::{Gso, GsoKind, Meta, PartialChecksum};

/// A packet as the kernel lays it out; every number can be made a lie.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) frame: Vec<u8>,
    pub(crate) offload: [u8; offload::HEADER],
    pub(crate) captured: u32,
    pub(crate) length: u32,
    pub(crate) mac: u16,
    pub(crate) status: u32,
    pub(crate) tci: u32,
    pub(crate) tpid: u16,
    /// Where the next packet is said to be; the truth by default.
    pub(crate) next: Option<u32>,
}

impl Packet {
    pub(crate) fn new(frame: &[u8]) -> Self {
        let len = frame.len() as u32;
        Self {
            frame: frame.to_vec(),
            offload: [0; offload::HEADER],
            captured: len,
            length: len,
            mac: 92,
            status: libc::TP_STATUS_USER,
            tci: 0,
            tpid: 0,
            next: None,
        }
    }

    fn write(&self, out: &mut Vec<u8>, last: bool) {
        let start = out.len();
        let end = (start + 92 + self.frame.len()).next_multiple_of(8);
        let next = self.next.unwrap_or(if last { 0 } else { (end - start) as u32 });
        out.resize(end, 0);
        let packet = &mut out[start..];
        let mut put = |at: usize, bytes: &[u8]| packet[at..at + bytes.len()].copy_from_slice(bytes);
        put(NEXT_OFFSET, &next.to_ne_bytes());
        put(CAPTURED, &self.captured.to_ne_bytes());
        put(LENGTH, &self.length.to_ne_bytes());
        put(STATUS, &self.status.to_ne_bytes());
        put(MAC, &self.mac.to_ne_bytes());
        put(VLAN_TCI, &self.tci.to_ne_bytes());
        put(VLAN_TPID, &self.tpid.to_ne_bytes());
        put(82, &self.offload);
        put(92, &self.frame);
    }
}

/// What follows a block descriptor.
pub(crate) fn body(packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, packet) in packets.iter().enumerate() {
        packet.write(&mut out, i + 1 == packets.len());
    }
    out
}

/// Walks a block to its end, in batches; answers all frames and the number of those lost.
fn walk_all(packets: u32, first: u32, body: &mut [u8]) -> (Vec<(Vec<u8>, Meta)>, u64) {
    let mut cursor = Cursor::new(packets, first);
    let (mut all, mut lost) = (Vec::new(), 0);
    while !cursor.is_finished() {
        let mut frames = Batch::new();
        lost += cursor.walk(body, PortId(1), &mut frames);
        assert!(frames.is_full() || cursor.is_finished());
        for frame in &mut frames {
            // Touches every byte that a handler may touch: the sanitizer objects if that is not ours.
            let (len, headroom) = (frame.len(), frame.headroom());
            assert!(headroom >= HEADROOM);
            all.push((frame.bytes().to_vec(), *frame.meta()));
            frame.grow_front(headroom).unwrap();
            frame.set_len(headroom + len + frame.tailroom()).unwrap();
            frame.bytes_mut().fill(0xaa);
        }
    }
    (all, lost)
}

const FIRST: u32 = BLOCK_DESCRIPTOR as u32;

fn numbered(count: usize) -> Vec<Packet> {
    (0..count).map(|i| Packet::new(&vec![i as u8; 60 + i % 7])).collect()
}

#[test]
fn layout_is_the_kernels() {
    assert_eq!((BLOCK_DESCRIPTOR, PACKET_HEADER, LEAST_MAC_OFFSET, HEADROOM), (48, 48, 78, 64));
    assert_eq!(
        (NEXT_OFFSET, CAPTURED, LENGTH, STATUS, MAC, VLAN_TCI, VLAN_TPID),
        (0, 12, 16, 20, 24, 32, 36)
    );
}

#[test]
fn all_frames_come_in_order_over_several_batches() {
    let packets = numbered(150);
    let (frames, lost) = walk_all(150, FIRST, &mut body(&packets));
    assert_eq!(lost, 0);
    assert_eq!(frames.len(), 150);
    for (packet, (bytes, meta)) in packets.iter().zip(frames) {
        assert_eq!(packet.frame, bytes);
        assert_eq!(meta, Meta::default());
    }
}

#[test]
fn tags_and_offload_headers_become_metadata() {
    let mut packets = numbered(4);
    packets[0].status |= libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID;
    (packets[0].tci, packets[0].tpid) = (0x2064, 0x88a8);
    packets[1].status |= libc::TP_STATUS_VLAN_VALID;
    (packets[1].tci, packets[1].tpid) = (7, 0xdead);
    // Numbers without the bit that makes them valid mean nothing.
    (packets[2].tci, packets[2].tpid) = (7, 0x8100);
    let merged = Meta {
        vlan: None,
        checksum: Some(PartialChecksum { start: 34, offset: 16 }),
        gso: Some(Gso { kind: GsoKind::Tcp4, size: 1448, header_length: 66, ecn: false }),
        checksum_valid: false,
    };
    packets[3].offload = offload::encode(&merged, 0).unwrap();
    let (frames, lost) = walk_all(4, FIRST, &mut body(&packets));
    let metas: Vec<Meta> = frames.into_iter().map(|(_, meta)| meta).collect();
    let tagged = |tpid, tci| Meta { vlan: Some(VlanTag { tpid, tci }), ..Meta::default() };
    assert_eq!(metas, [tagged(0x88a8, 0x2064), tagged(0x8100, 7), Meta::default(), merged]);
    assert_eq!(lost, 0);
}

#[test]
fn frames_that_are_not_whole_are_lost_alone() {
    let mut packets = numbered(4);
    packets[1].length += 1;
    packets[2].offload[1] = 77;
    let (frames, lost) = walk_all(4, FIRST, &mut body(&packets));
    assert_eq!((frames.len(), lost), (2, 2));
    assert_eq!(frames[1].0, packets[3].frame);

    let long = [Packet::new(&vec![0; LONGEST_FRAME + 1]), Packet::new(&vec![0; LONGEST_FRAME])];
    let (frames, lost) = walk_all(2, FIRST, &mut body(&long));
    assert_eq!((frames.len(), lost), (1, 1));
}

#[test]
fn offsets_out_of_the_block_end_it() {
    for first in [0, FIRST - 1, 10_000, u32::MAX] {
        assert_eq!(walk_all(3, first, &mut body(&numbered(3))), (Vec::new(), 3), "{first}");
    }
    // Backwards, into the frame just handed out, onto itself, over the end, past all numbers.
    for next in [0, 8, 91, 92 + 59, 5_000, u32::MAX, u32::MAX - 151] {
        let mut packets = numbered(3);
        packets[0].next = Some(next);
        let (frames, lost) = walk_all(3, FIRST, &mut body(&packets));
        assert_eq!((frames.len(), lost), (1, 2), "{next}");
    }
}

#[test]
fn lengths_out_of_the_block_end_it() {
    for (captured, mac) in [(u32::MAX, 92), (100_000, 92), (60, 60_000), (0, u16::MAX), (60, 77), (60, 0)] {
        let mut packets = numbered(3);
        (packets[1].captured, packets[1].length, packets[1].mac) = (captured, captured, mac);
        let (frames, lost) = walk_all(3, FIRST, &mut body(&packets));
        assert_eq!((frames.len(), lost), (1, 2), "{captured} {mac}");
    }
}

#[test]
fn a_count_that_lies_does_not_run_away() {
    let mut block = body(&numbered(3));
    let most = block.len() as u64;
    let (frames, lost) = walk_all(u32::MAX, FIRST, &mut block);
    assert_eq!(frames.len(), 3);
    assert!(lost <= most, "{lost}");
    assert_eq!(walk_all(1, FIRST, &mut []), (Vec::new(), 0));
}

#[test]
fn random_damage_never_leaves_the_block() {
    // A block of several batches, with numbers overwritten at random; a fixed seed (xorshift64).
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let clean = body(&numbered(80));
    for _ in 0..3_000 {
        let mut block = clean.clone();
        for _ in 0..1 + next() % 4 {
            let at = next() % (block.len() - 4);
            let value = [next() as u8, next() as u8, next() as u8, next() as u8];
            // Half of the numbers small, so that they are nearly right.
            let value = if next() % 2 == 0 { (next() as u32 % 2_000).to_ne_bytes() } else { value };
            block[at..at + 4].copy_from_slice(&value);
        }
        let (frames, lost) = walk_all(80, FIRST, &mut block);
        let bytes: usize = frames.iter().map(|(bytes, _)| bytes.len() + LEAST_MAC_OFFSET).sum();
        assert!(bytes <= block.len() && frames.len() as u64 + lost <= 80 + 80);
    }
}
