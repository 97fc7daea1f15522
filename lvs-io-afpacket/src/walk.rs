//! Walks the frames of one block of a TPACKET_V3 ring: safe code over a plain slice.
//!
//! ```text
//!   block   | descriptor, 48 | packet | packet | ...
//!   packet  | header, 48 | sockaddr_ll, 20 | padding | offload header, 10 | frame    | padding
//!           ^ 0                                                           ^ mac      ^ mac + captured
//!           '------------------- next offset ------------------------------------------------> next packet
//! ```
//!
//! Whatever the offsets and lengths say, no frame leaves the block and no two frames overlap: each is
//! split off what the one before it left.

use arrayvec::ArrayVec;
use lvs_core::io::{Frame, MAX_BATCH, PortId, VlanTag};
use lvs_netdev::compose::Composer;
use lvs_netdev::offload;

/// Frames that are handed out together.
pub(crate) type Batch<'r> = ArrayVec<Frame<'r>, MAX_BATCH>;

/// Bytes of a block descriptor, in front of what a [`Cursor`] walks.
pub(crate) const BLOCK_DESCRIPTOR: usize = size_of::<libc::tpacket_block_desc>();

/// The longest frame that is handed out: the longest IP packet in an Ethernet frame with an inner tag.
pub(crate) const LONGEST_FRAME: usize = 65_535 + 14 + 4;

/// How a frame becomes a message again.
pub(crate) const COMPOSER: Composer = Composer { header: offload::HEADER, longest: LONGEST_FRAME };

/// Bytes in front of each frame that a handler may use. Packet header and address are of no use once they
/// were read, so this costs no memory; what remains is for the offload header and a tag.
pub(crate) const HEADROOM: usize = LEAST_MAC_OFFSET - offload::HEADER - 4;

/// Where in a block the next frame is, and how many are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Offset of the next packet header, counted from the end of the block descriptor.
    next: usize,
    remaining: u32,
}

impl Cursor {
    /// `first` is the first packet's offset from the start of the block.
    pub(crate) fn new(packets: u32, first: u32) -> Self {
        // An offset into the descriptor becomes one that lies in no block.
        let next = (first as usize).checked_sub(BLOCK_DESCRIPTOR).unwrap_or(usize::MAX);
        Self { next, remaining: packets }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.remaining == 0
    }

    /// Puts the next frames of the block, of which `body` is everything after the descriptor, into
    /// `frames` until that is full. Answers how many frames are lost: cut short by the kernel, too long,
    /// or unreadable.
    pub(crate) fn walk<'r>(&mut self, body: &'r mut [u8], port: PortId, frames: &mut Batch<'r>) -> u64 {
        let most = body.len() / LEAST_MAC_OFFSET;
        let mut lost = 0;
        let mut rest = body;
        let mut rest_begins = 0;
        while self.remaining > 0 && !frames.is_full() {
            let Some((packet, header, after)) = split_packet(rest, self.next, rest_begins) else {
                // Where the next packet is, is unknown: the rest of the block is unreadable.
                lost += u64::from(self.remaining).min(most as u64);
                self.remaining = 0;
                break;
            };
            rest = after;
            rest_begins = self.next + packet.len();
            self.remaining -= 1;
            self.next = self.next.saturating_add(header.next as usize);
            match frame(packet, &header, port) {
                Some(frame) => frames.push(frame),
                None => lost += 1,
            }
        }
        lost
    }
}

/// Splits the packet at `next` off `rest`, which begins at `begins`. `None` if it does not lie in there.
fn split_packet(rest: &mut [u8], next: usize, begins: usize) -> Option<(&mut [u8], PacketHeader, &mut [u8])> {
    let (_, packets) = rest.split_at_mut_checked(next.checked_sub(begins)?)?;
    let header = PacketHeader::parse(packets.first_chunk()?);
    if header.mac < LEAST_MAC_OFFSET {
        return None;
    }
    let (packet, after) = packets.split_at_mut_checked(header.mac.checked_add(header.captured as usize)?)?;
    Some((packet, header, after))
}

fn frame<'r>(packet: &'r mut [u8], header: &PacketHeader, port: PortId) -> Option<Frame<'r>> {
    let len = packet.len() - header.mac;
    if header.captured != header.length || len > LONGEST_FRAME {
        return None;
    }
    let offload: &[u8; offload::HEADER] = packet[..header.mac].last_chunk()?;
    let mut meta = offload::decode(offload)?;
    meta.vlan = header.vlan;
    Frame::within(packet, header.mac, len, port, meta).ok()
}

/// What of a `tpacket3_hdr` is used.
struct PacketHeader {
    next: u32,
    captured: u32,
    length: u32,
    mac: usize,
    vlan: Option<VlanTag>,
}

impl PacketHeader {
    fn parse(bytes: &[u8; PACKET_HEADER]) -> Self {
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let status = word(STATUS);
        let vlan = (status & libc::TP_STATUS_VLAN_VALID != 0).then(|| VlanTag {
            // Kernels before 3.14 did not say the protocol; then it is 802.1Q.
            tpid: if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 { half(VLAN_TPID) } else { 0x8100 },
            // The field has 32 bits, a tag 16.
            tci: (word(VLAN_TCI) & 0xffff) as u16,
        });
        Self {
            next: word(NEXT_OFFSET),
            captured: word(CAPTURED),
            length: word(LENGTH),
            mac: usize::from(half(MAC)),
            vlan,
        }
    }
}

const PACKET_HEADER: usize = size_of::<libc::tpacket3_hdr>();
const NEXT_OFFSET: usize = std::mem::offset_of!(libc::tpacket3_hdr, tp_next_offset);
const CAPTURED: usize = std::mem::offset_of!(libc::tpacket3_hdr, tp_snaplen);
const LENGTH: usize = std::mem::offset_of!(libc::tpacket3_hdr, tp_len);
const STATUS: usize = std::mem::offset_of!(libc::tpacket3_hdr, tp_status);
const MAC: usize = std::mem::offset_of!(libc::tpacket3_hdr, tp_mac);
const VLAN_TCI: usize = std::mem::offset_of!(libc::tpacket3_hdr, hv1.tp_vlan_tci);
const VLAN_TPID: usize = std::mem::offset_of!(libc::tpacket3_hdr, hv1.tp_vlan_tpid);

/// The kernel puts packet header, address and offload header in front of a frame.
const LEAST_MAC_OFFSET: usize = libc::TPACKET3_HDRLEN + offload::HEADER;

#[cfg(test)]
pub(crate) mod tests;
