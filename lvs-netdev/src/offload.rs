//! `virtio_net_hdr`: the ten bytes in which Linux says, in front of a frame, what is left to the hardware (Virtio 1.2 section
//! 5.1.6, in the byte order of the host: packet sockets with PACKET_VNET_HDR and TAP devices with IFF_VNET_HDR speak the legacy
//! form). On TAP devices more may follow, which is of no use here.
//!
//! Translation to and from [`Meta`] only. The VLAN tag is not part of this header.

use lvs_core::io::{Gso, GsoKind, Meta, PartialChecksum};

/// Bytes in the header.
pub const HEADER: usize = 10;

/// The most bytes that a TAP device may have in its place: with the number of buffers 12, with a hash 20, for tunnels 24.
pub const LONGEST_HEADER: usize = 24;

/// What the header says; `None` for a kind of merged frame that [`Meta`] cannot express. Whether it goes together with its
/// frame is another question: see [`fits`].
#[must_use]
#[inline]
pub fn decode(header: &[u8; HEADER]) -> Option<Meta> {
    // The common case, a complete frame, is recognised by one load.
    if header[..2] == [0, GSO_NONE] {
        return Some(Meta::default());
    }
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let kind = match header[1] & !GSO_ECN {
        GSO_NONE => None,
        GSO_TCP4 => Some(GsoKind::Tcp4),
        GSO_TCP6 => Some(GsoKind::Tcp6),
        GSO_UDP_FRAGMENTS => Some(GsoKind::UdpFragments),
        GSO_UDP_L4 => Some(GsoKind::UdpL4),
        _ => return None,
    };
    Some(Meta {
        vlan: None,
        checksum: (header[0] & NEEDS_CHECKSUM != 0)
            .then(|| PartialChecksum { start: word(6), offset: word(8) }),
        gso: kind.map(|kind| Gso {
            kind,
            size: word(4),
            header_length: word(2),
            ecn: header[1] & GSO_ECN != 0,
        }),
        checksum_valid: header[0] & DATA_VALID != 0,
    })
}

/// The header that says what `meta` says, where `shift` more bytes (a VLAN tag) stand in front of what its
/// offsets count from. `None` for what the header cannot express.
#[must_use]
#[inline]
pub fn encode(meta: &Meta, shift: u16) -> Option<[u8; HEADER]> {
    let mut header = [0; HEADER];
    let mut put = |at: usize, word: u16| header[at..at + 2].copy_from_slice(&word.to_ne_bytes());
    let mut flags = 0;
    let mut gso_type = GSO_NONE;
    if let Some(checksum) = meta.checksum {
        flags |= NEEDS_CHECKSUM;
        put(6, checksum.start.checked_add(shift)?);
        put(8, checksum.offset);
    } else if meta.checksum_valid {
        flags |= DATA_VALID;
    }
    if let Some(gso) = meta.gso {
        gso_type = match gso.kind {
            GsoKind::Tcp4 => GSO_TCP4,
            GsoKind::Tcp6 => GSO_TCP6,
            GsoKind::UdpFragments => GSO_UDP_FRAGMENTS,
            GsoKind::UdpL4 => GSO_UDP_L4,
            _ => return None,
        };
        if gso.ecn {
            gso_type |= GSO_ECN;
        }
        // 0 means that the sender did not say; shifted it would claim to be known.
        let header_length = if gso.header_length == 0 { 0 } else { gso.header_length.checked_add(shift)? };
        put(2, header_length);
        put(4, gso.size);
    }
    header[0] = flags;
    header[1] = gso_type;
    Some(header)
}

/// Whether what `meta` says can be true of a frame of `len` bytes: the checksum lies within, the repeated headers too, and a
/// merged frame can be cut. The kernel refuses other frames; a program that looks into them must not believe them either.
#[must_use]
#[inline]
pub fn fits(meta: &Meta, len: usize) -> bool {
    let checksum = meta
        .checksum
        .is_none_or(|checksum| usize::from(checksum.start) + usize::from(checksum.offset) + CHECKSUM <= len);
    checksum && meta.gso.is_none_or(|gso| gso.size > 0 && usize::from(gso.header_length) <= len)
}

/// Bytes of a checksum.
const CHECKSUM: usize = 2;

// Not in the libc crate; values from Virtio 1.2 section 5.1.6.
const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_UDP_FRAGMENTS: u8 = 3;
const GSO_TCP6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp4() -> Meta {
        Meta {
            checksum: Some(PartialChecksum { start: 34, offset: 16 }),
            gso: Some(Gso { kind: GsoKind::Tcp4, size: 1448, header_length: 66, ecn: true }),
            ..Meta::default()
        }
    }

    #[test]
    fn a_merged_tcp_frame_is_written_as_virtio_says() {
        let mut expected = [0u8; HEADER];
        expected[0] = 1;
        expected[1] = 0x81;
        for (at, word) in [(2, 66u16), (4, 1448), (6, 34), (8, 16)] {
            expected[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        }
        assert_eq!(encode(&tcp4(), 0), Some(expected));
        assert_eq!(decode(&expected), Some(tcp4()));
    }

    #[test]
    fn every_kind_comes_back_as_it_went() {
        for kind in [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::UdpL4, GsoKind::UdpFragments] {
            for ecn in [false, true] {
                for (checksum, checksum_valid) in
                    [(None, false), (None, true), (Some(PartialChecksum { start: 54, offset: 6 }), false)]
                {
                    let gso = Some(Gso { kind, size: 1200, header_length: 0, ecn });
                    for gso in [None, gso] {
                        let meta = Meta { vlan: None, checksum, gso, checksum_valid };
                        assert_eq!(decode(&encode(&meta, 0).unwrap()), Some(meta));
                    }
                }
            }
        }
    }

    #[test]
    fn a_tag_in_front_shifts_the_offsets() {
        let shifted = decode(&encode(&tcp4(), 4).unwrap()).unwrap();
        assert_eq!(shifted.checksum, Some(PartialChecksum { start: 38, offset: 16 }));
        assert_eq!(shifted.gso.unwrap().header_length, 70);
        let mut unknown_length = tcp4();
        unknown_length.gso.as_mut().unwrap().header_length = 0;
        assert_eq!(decode(&encode(&unknown_length, 4).unwrap()).unwrap().gso.unwrap().header_length, 0);
        let mut at_the_end = tcp4();
        at_the_end.checksum = Some(PartialChecksum { start: u16::MAX, offset: 0 });
        assert_eq!(encode(&at_the_end, 4), None);
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        assert_eq!(decode(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn offsets_beyond_the_frame_do_not_fit_and_the_last_within_does() {
        let checksum =
            |start, offset| Meta { checksum: Some(PartialChecksum { start, offset }), ..Meta::default() };
        assert!(fits(&checksum(34, 16), 52) && !fits(&checksum(34, 16), 51));
        assert!(!fits(&checksum(u16::MAX, u16::MAX), 65_553));
        let gso = |size, header_length| Meta {
            checksum: None,
            gso: tcp4().gso.map(|gso| Gso { size, header_length, ..gso }),
            ..Meta::default()
        };
        assert!(fits(&gso(1, 100), 100) && !fits(&gso(1, 101), 100) && !fits(&gso(0, 0), 100));
        assert!(fits(&Meta::default(), 0));
    }

    proptest! {
        /// Against a reader that knows nothing of the code above: one table of positions, one of kinds.
        #[test]
        fn any_header_reads_as_virtio_says_and_is_written_back(header in any::<[u8; HEADER]>(), kind in 0u8..7) {
            let mut header = header;
            header[1] = header[1] & 0x80 | kind;
            let number = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
            let [header_length, size, start, offset] = [2, 4, 6, 8].map(number);
            let kinds = [None, Some(GsoKind::Tcp4), None, Some(GsoKind::UdpFragments), Some(GsoKind::Tcp6), Some(GsoKind::UdpL4)];
            let known = kind == 0 || kinds.get(usize::from(kind)).copied().flatten().is_some();
            let meta = decode(&header);
            prop_assert_eq!(meta.is_some(), known);
            if let Some(meta) = meta {
                let kind = kinds[usize::from(kind)];
                prop_assert_eq!(meta.vlan, None);
                prop_assert_eq!(meta.checksum, (header[0] % 2 == 1).then_some(PartialChecksum { start, offset }));
                prop_assert_eq!(meta.checksum_valid, header[0] / 2 % 2 == 1);
                let ecn = header[1] >= 0x80;
                prop_assert_eq!(meta.gso, kind.map(|kind| Gso { kind, size, header_length, ecn }));
                // What is written says the same, but that a checksum is either unfinished or known to be right.
                let again = decode(&encode(&meta, 0).unwrap()).unwrap();
                let checksum_valid = meta.checksum_valid && meta.checksum.is_none();
                prop_assert_eq!(again, Meta { checksum_valid, ..meta });
            }
        }
    }
}
