//! Cutting an IPv4 packet that is longer than the way out allows and may be cut (RFC 791 section 3.2).

use crate::classify::Packet;
use crate::wire::checksum::Sum;
use crate::wire::{IPV4_HEADER, be16};

const DO_NOT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// The plan for one packet: pieces of equal payload, but for the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    network: usize,
    header: usize,
    end: usize,
    /// Payload bytes in each piece, a multiple of 8.
    payload: usize,
    flags: u16,
}

impl Cut {
    /// How to cut a packet into pieces of at most `mtu` bytes. `None` if it must not or cannot be cut.
    pub(crate) fn plan(bytes: &[u8], packet: &Packet, mtu: u16) -> Option<Self> {
        if packet.is_ipv6() {
            return None;
        }
        let network = usize::from(packet.network);
        let header = usize::from(bytes.get(network)? & 15) * 4;
        let flags = be16(bytes, network + 6)?;
        let payload = usize::from(mtu).checked_sub(header)? / 8 * 8;
        let possible = flags & DO_NOT_FRAGMENT == 0 && payload > 0 && header >= IPV4_HEADER;
        possible.then_some(Self { network, header, end: packet.end as usize, payload, flags })
    }

    /// How many pieces there are.
    pub(crate) const fn pieces(&self) -> usize {
        (self.end - self.network - self.header).div_ceil(self.payload)
    }

    /// The length of piece `n` as a frame.
    pub(crate) fn frame_len(&self, n: usize) -> usize {
        let left = self.end - self.network - self.header - n * self.payload;
        self.network + self.header + left.min(self.payload)
    }

    /// Writes piece `n`, [`Self::frame_len`] bytes, with what stands in front of the IP header.
    pub(crate) fn write(&self, bytes: &[u8], n: usize, out: &mut [u8]) {
        let front = self.network + self.header;
        let from = front + n * self.payload;
        let payload = out.len() - front;
        out[..front].copy_from_slice(bytes.get(..front).unwrap_or_default());
        out[front..].copy_from_slice(bytes.get(from..from + payload).unwrap_or_default());
        let header = &mut out[self.network..front];
        if n > 0 {
            blank_uncopied_options(&mut header[IPV4_HEADER..]);
        }
        let last = n + 1 == self.pieces();
        let more = if last { self.flags & MORE_FRAGMENTS } else { MORE_FRAGMENTS };
        let offset = (self.flags & OFFSET) + (n * self.payload / 8) as u16;
        header[2..4].copy_from_slice(&((self.header + payload) as u16).to_be_bytes());
        header[6..8].copy_from_slice(&(more | offset & OFFSET).to_be_bytes());
        header[10..12].fill(0);
        let sum = Sum::default().bytes(header).finish();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Options without the "copied" bit belong to the first piece only; in others they become padding, as Linux does.
fn blank_uncopied_options(options: &mut [u8]) {
    const END: u8 = 0;
    const PADDING: u8 = 1;
    const COPIED: u8 = 0x80;
    let mut at = 0;
    while let Some(kind) = options.get(at).copied() {
        let length = match kind {
            END => return,
            PADDING => 1,
            _ => usize::from(options.get(at + 1).copied().unwrap_or(0)),
        };
        let Some(option) = options.get_mut(at..at + length).filter(|option| !option.is_empty()) else {
            return;
        };
        if kind & COPIED == 0 {
            option.fill(PADDING);
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::classify::classify;
    use crate::io::Meta;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn datagram(payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 9)
            .udp(1, 2)
            .write(&mut frame, payload)
            .unwrap();
        frame[20] &= !0x40;
        frame[24..26].fill(0);
        let sum = Sum::default().bytes(&frame[14..34]).finish();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    proptest! {
        /// Put together again, the pieces are the packet; each fits and is a correct packet.
        #[test]
        fn pieces_make_the_packet(payload in proptest::collection::vec(any::<u8>(), 1500..5000), mtu in 68u16..1500) {
            let frame = datagram(&payload);
            let packet = classify(&frame, &Meta::default()).unwrap();
            let cut = Cut::plan(&frame, &packet, mtu).unwrap();
            let mut body = Vec::new();
            for n in 0..cut.pieces() {
                let mut piece = vec![0; cut.frame_len(n)];
                cut.write(&frame, n, &mut piece);
                prop_assert!(piece.len() - 14 <= usize::from(mtu));
                let classified = classify(&piece, &Meta::default()).unwrap();
                prop_assert_eq!(classified.first_fragment, n == 0);
                let field = be16(&piece, 20).unwrap();
                prop_assert_eq!(usize::from(field & OFFSET) * 8, body.len());
                prop_assert_eq!(field & MORE_FRAGMENTS != 0, n + 1 < cut.pieces());
                body.extend_from_slice(&piece[34..]);
            }
            prop_assert_eq!(&body, &frame[34..]);
        }
    }

    #[test]
    fn a_packet_that_must_not_be_cut_is_not() {
        let mut frame = datagram(&[0; 2000]);
        frame[20] |= 0x40;
        let sum = {
            frame[24..26].fill(0);
            Sum::default().bytes(&frame[14..34]).finish()
        };
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let packet = classify(&frame, &Meta::default()).unwrap();
        assert!(Cut::plan(&frame, &packet, 1500).is_none());
    }

    #[test]
    fn options_without_the_copied_bit_stay_with_the_first_piece() {
        let mut options = [0x83, 3, 9, 0x44, 4, 5, 6, 1];
        blank_uncopied_options(&mut options);
        assert_eq!(options, [0x83, 3, 9, 1, 1, 1, 1, 1]);
        let mut broken = [0x44, 0, 7, 7];
        blank_uncopied_options(&mut broken);
        assert_eq!(broken, [0x44, 0, 7, 7]);
    }
}
