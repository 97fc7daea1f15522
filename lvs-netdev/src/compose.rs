//! Makes of a frame the message that a packet socket or a TAP device is given: offload header, then the frame with its tag.
//!
//! ```text
//!   received | offload header | dst 6 | src 6 | type ... |         tag in Meta
//!   sent     | offload header | dst 6 | src 6 | tag 4 | type ... | offsets in the header 4 larger
//! ```
//!
//! In the frame's own headroom where there is room, so that nothing but these few bytes is moved.

use lvs_core::io::{Frame, Meta, VlanTag};

use crate::offload;

/// Bytes of a VLAN tag.
const TAG: usize = 4;

/// Bytes of both Ethernet addresses.
const ADDRESSES: usize = 12;

/// What messages look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Composer {
    /// Bytes of the offload header: [`offload::HEADER`] to [`offload::LONGEST_HEADER`], of which those beyond the first are
    /// zero; or 0 if there is none, and frames have to be complete.
    pub header: usize,
    /// The longest frame, tag not counted.
    pub longest: usize,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Composed {
    /// Its bytes are the message now.
    Yes,
    /// It has not the headroom; it is as it was.
    NoRoom,
    /// No message can say what the frame and its metadata say: too short, too long, offsets beyond 65535, or anything unfinished
    /// where there is no header.
    Impossible,
}

/// A header, and how much of it is used.
type Header = [u8; offload::LONGEST_HEADER];

impl Composer {
    /// The most bytes that a message has more than the frame it is made of.
    #[must_use]
    pub const fn most_added(&self) -> usize {
        self.header + TAG
    }

    /// Turns the frame into its message.
    #[inline]
    pub fn in_place(&self, frame: &mut Frame<'_>) -> Composed {
        let (meta, len) = (*frame.meta(), frame.len());
        let Some(header) = self.header_for(&meta, len) else {
            return Composed::Impossible;
        };
        let added = self.header + if meta.vlan.is_some() { TAG } else { 0 };
        if frame.grow_front(added).is_err() {
            return Composed::NoRoom;
        }
        let bytes = frame.bytes_mut();
        if let Some(tag) = meta.vlan {
            bytes.copy_within(added..added + ADDRESSES, self.header);
            bytes[self.header + ADDRESSES..][..TAG].copy_from_slice(&tag_bytes(tag));
        }
        bytes[..self.header].copy_from_slice(&header[..self.header]);
        Composed::Yes
    }

    /// Appends the frame's message to `out`; `false`, and nothing appended, if there can be none.
    #[must_use]
    pub fn append(&self, meta: &Meta, frame: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(header) = self.header_for(meta, frame.len()) else {
            return false;
        };
        out.extend_from_slice(&header[..self.header]);
        match meta.vlan {
            Some(tag) => {
                let (addresses, rest) = frame.split_at(ADDRESSES);
                out.extend_from_slice(addresses);
                out.extend_from_slice(&tag_bytes(tag));
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(frame),
        }
        true
    }

    #[inline]
    fn header_for(&self, meta: &Meta, len: usize) -> Option<Header> {
        if !(ADDRESSES + 2..=self.longest).contains(&len) {
            return None;
        }
        let mut header = [0; offload::LONGEST_HEADER];
        if self.header == 0 {
            return (meta.checksum.is_none() && meta.gso.is_none()).then_some(header);
        }
        let said = offload::encode(meta, if meta.vlan.is_some() { TAG as u16 } else { 0 })?;
        header[..offload::HEADER].copy_from_slice(&said);
        Some(header)
    }
}

const fn tag_bytes(tag: VlanTag) -> [u8; TAG] {
    let ([a, b], [c, d]) = (tag.tpid.to_be_bytes(), tag.tci.to_be_bytes());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::io::{PartialChecksum, PortId};

    const COMPOSER: Composer = Composer { header: 10, longest: LONGEST_FRAME };
    const LONGEST_FRAME: usize = 65_553;
    const PLAIN: Meta = Meta { vlan: None, checksum: None, gso: None, checksum_valid: false };

    fn tagged() -> Meta {
        Meta {
            vlan: Some(VlanTag { tpid: 0x88a8, tci: 0x6123 }),
            checksum: Some(PartialChecksum { start: 34, offset: 16 }),
            ..PLAIN
        }
    }

    fn numbers(count: u8) -> Vec<u8> {
        (0..count).collect()
    }

    #[test]
    fn in_place_and_appended_are_the_same_message() {
        for meta in [PLAIN, tagged()] {
            let mut buffer = vec![0xee; 20];
            buffer.extend(numbers(60));
            let mut frame = Frame::within(&mut buffer, 20, 60, PortId(0), meta).unwrap();
            let mut appended = Vec::new();
            assert!(COMPOSER.append(&meta, frame.bytes(), &mut appended));
            assert_eq!(COMPOSER.in_place(&mut frame), Composed::Yes);
            assert_eq!(frame.bytes(), appended);
        }
    }

    #[test]
    fn the_tag_stands_behind_the_addresses() {
        let mut message = Vec::new();
        assert!(COMPOSER.append(&tagged(), &numbers(60), &mut message));
        assert_eq!(message.len(), 74);
        assert_eq!(message[10..22], numbers(12));
        assert_eq!(message[22..26], [0x88, 0xa8, 0x61, 0x23]);
        assert_eq!(message[26..], numbers(60)[12..]);
        assert_eq!(u16::from_ne_bytes([message[6], message[7]]), 38);
    }

    #[test]
    fn without_headroom_the_frame_is_as_it_was() {
        for (headroom, meta, expected) in
            [(9, PLAIN, Composed::NoRoom), (10, PLAIN, Composed::Yes), (13, tagged(), Composed::NoRoom)]
        {
            let mut buffer = vec![0; headroom];
            buffer.extend(numbers(60));
            let mut frame = Frame::within(&mut buffer, headroom, 60, PortId(0), meta).unwrap();
            assert_eq!(COMPOSER.in_place(&mut frame), expected);
            if expected == Composed::NoRoom {
                assert_eq!(frame.bytes(), numbers(60));
            }
        }
    }

    #[test]
    fn frames_without_an_ethernet_header_or_beyond_the_longest_are_refused() {
        for len in [0, 13, LONGEST_FRAME + 1] {
            let mut buffer = vec![0; 20 + len];
            let mut frame = Frame::within(&mut buffer, 20, len, PortId(0), tagged()).unwrap();
            assert_eq!(COMPOSER.in_place(&mut frame), Composed::Impossible, "{len}");
            assert!(!COMPOSER.append(&PLAIN, &vec![0; len], &mut Vec::new()), "{len}");
        }
    }

    #[test]
    fn longer_headers_end_in_zeros_and_without_one_frames_have_to_be_complete() {
        let mut message = Vec::new();
        assert!(Composer { header: 12, ..COMPOSER }.append(&tagged(), &numbers(60), &mut message));
        assert_eq!((message.len(), &message[10..12], &message[12..24]), (76, &[0, 0][..], &numbers(12)[..]));
        let bare = Composer { header: 0, ..COMPOSER };
        let only_tagged = Meta { checksum: None, ..tagged() };
        for (meta, expected) in
            [(PLAIN, Composed::Yes), (only_tagged, Composed::Yes), (tagged(), Composed::Impossible)]
        {
            let mut buffer = numbers(64);
            let mut frame = Frame::within(&mut buffer, 4, 60, PortId(0), meta).unwrap();
            let mut appended = Vec::new();
            assert_eq!(bare.append(&meta, frame.bytes(), &mut appended), expected == Composed::Yes);
            assert_eq!(bare.in_place(&mut frame), expected);
            if expected == Composed::Yes {
                assert_eq!(frame.bytes(), appended);
            }
        }
    }
}
