//! IPv6 headers (RFC 8200) with extension headers, up to the transport header.

use super::{FlowKey, Packet, PacketKind};
use crate::config::VlanPath;
use crate::verdict::DropReason;
use crate::wire::{IPV6_HEADER, ip_protocol};

/// The most extension headers that are walked. Real packets carry one or two; a chain of tiny ones is an
/// attempt to make the walk expensive.
const MAX_EXTENSION_HEADERS: usize = 8;

#[inline]
pub(super) fn classify(bytes: &[u8], network: usize, vlan: VlanPath) -> Result<Packet, DropReason> {
    let Some(available) = bytes.get(network..) else {
        return Err(DropReason::Truncated);
    };
    let Some(header) = available.first_chunk::<IPV6_HEADER>() else {
        return Err(DropReason::Truncated);
    };
    if header[0] >> 4 != 6 {
        return Err(DropReason::Malformed);
    }
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let Some(packet) = available.get(..IPV6_HEADER + payload_len) else {
        return Err(DropReason::Truncated);
    };
    let (client, virtual_address) = addresses(header);
    let chain = walk(packet, header[6])?;
    let mut classified = Packet {
        kind: PacketKind::OtherIp,
        tcp_flags: 0,
        sctp_chunk: 0,
        first_fragment: chain.fragment == Piece::First,
        vlan,
        network: network as u16,
        transport: (network + chain.transport) as u16,
        end: (network + packet.len()) as u32,
        flow: FlowKey::V6 { client, virtual_address, ports: 0, protocol: chain.protocol },
    };
    if chain.fragment == Piece::Later {
        classified.kind = PacketKind::Fragment;
        return Ok(classified);
    }
    let transport = packet.get(chain.transport..).unwrap_or_default();
    let ports = super::transport_header(&mut classified, chain.protocol, transport)?;
    classified.flow = FlowKey::V6 { client, virtual_address, ports, protocol: chain.protocol };
    Ok(classified)
}

/// Source and destination.
pub(super) fn addresses(header: &[u8; IPV6_HEADER]) -> (u128, u128) {
    let mut source = [0; 16];
    source.copy_from_slice(&header[8..24]);
    let mut destination = [0; 16];
    destination.copy_from_slice(&header[24..40]);
    (u128::from_be_bytes(source), u128::from_be_bytes(destination))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Whole,
    First,
    Later,
}

struct Chain {
    protocol: u8,
    /// Offset of the transport header from the IPv6 header.
    transport: usize,
    fragment: Piece,
}

/// Walks the extension headers. `packet` is exactly the IPv6 packet.
#[inline]
fn walk(packet: &[u8], first: u8) -> Result<Chain, DropReason> {
    let mut chain = Chain { protocol: first, transport: IPV6_HEADER, fragment: Piece::Whole };
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let length = match chain.protocol {
            ip_protocol::HOP_BY_HOP | ip_protocol::ROUTING | ip_protocol::DESTINATION_OPTIONS => {
                let [_, length] = peek(packet, chain.transport)?;
                (usize::from(length) + 1) * 8
            }
            ip_protocol::AUTHENTICATION => {
                // RFC 4302 section 2.2: in units of 4 bytes, minus 2.
                let [_, length] = peek(packet, chain.transport)?;
                (usize::from(length) + 2) * 4
            }
            ip_protocol::FRAGMENT => {
                let field = crate::wire::be16(packet, chain.transport + 2).ok_or(DropReason::Truncated)?;
                let more = field & 1 != 0;
                chain.fragment = match (field >> 3, more) {
                    // RFC 6946: an atomic fragment is a whole packet.
                    (0, false) => chain.fragment,
                    (0, true) => Piece::First,
                    _ => Piece::Later,
                };
                8
            }
            _ => return Ok(chain),
        };
        let [next, _] = peek(packet, chain.transport)?;
        chain.transport += length;
        if chain.transport > packet.len() {
            return Err(DropReason::Truncated);
        }
        chain.protocol = next;
        if chain.fragment == Piece::Later {
            // What follows is the middle of something.
            return Ok(chain);
        }
    }
    Err(DropReason::Malformed)
}

/// Protocol and offset of the transport header of a quoted packet, which may be cut off. `None` for the middle
/// of a fragmented packet.
pub(super) fn transport_of_quote(quote: &[u8]) -> Option<(u8, usize)> {
    let chain = walk(quote, *quote.get(6)?).ok()?;
    (chain.fragment != Piece::Later).then_some((chain.protocol, chain.transport))
}

fn peek(packet: &[u8], at: usize) -> Result<[u8; 2], DropReason> {
    packet.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(DropReason::Truncated)
}
