//! The way out: addresses, tags, sizes. A frame that gets here has its real server.
//!
//! Direct routing changes the two Ethernet addresses and nothing else. The only other bytes that may change are the
//! TTL with its checksum, where the director was told to decrement it, and VLAN tags where the way out has others than
//! the way in. This module chooses nobody and remembers nothing.

pub(crate) mod answer;
mod fragment;
mod retag;

pub(crate) use fragment::Cut;
pub(crate) use retag::{retag, tagged_len, write_tagged};

use crate::classify::{Packet, PacketKind};
use crate::io::Frame;
use crate::wire::{be16, checksum};

/// The length of the longest IP packet that this frame stands for: its own, or that of its pieces if it is merged.
pub(crate) fn longest_piece(frame: &Frame<'_>, packet: &Packet) -> u32 {
    let Some(gso) = frame.meta().gso else {
        return packet.ip_len();
    };
    let bytes = frame.bytes();
    let transport = usize::from(packet.transport);
    let header = match packet.kind {
        PacketKind::Tcp => bytes.get(transport + 12).map_or(20, |offset| u32::from(offset >> 4) * 4),
        PacketKind::Udp => 8,
        _ => 0,
    };
    u32::from(packet.transport) - u32::from(packet.network) + header + u32::from(gso.size)
}

/// Takes one off TTL or hop limit. `false` if that ends the packet's life; it is then as before.
pub(crate) fn decrement_ttl(bytes: &mut [u8], packet: &Packet) -> bool {
    let network = usize::from(packet.network);
    if packet.is_ipv6() {
        return match bytes.get_mut(network + 7) {
            Some(hop_limit) if *hop_limit > 1 => {
                *hop_limit -= 1;
                true
            }
            _ => false,
        };
    }
    let (Some(old), Some(sum)) = (be16(bytes, network + 8), be16(bytes, network + 10)) else {
        return false;
    };
    if old >> 8 <= 1 {
        return false;
    }
    let new = old - 0x0100;
    let sum = checksum::update(sum, old, new);
    if let Some(field) = bytes.get_mut(network + 8..network + 12) {
        field[..2].copy_from_slice(&new.to_be_bytes());
        field[2..].copy_from_slice(&sum.to_be_bytes());
    }
    true
}
