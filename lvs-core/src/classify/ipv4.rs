//! IPv4 headers (RFC 791) with options, up to the transport header.

use super::{FlowKey, Packet, PacketKind};
use crate::config::VlanPath;
use crate::verdict::DropReason;
use crate::wire::{IPV4_HEADER, checksum};

/// Bits of the fragment field: "more fragments", and the offset in units of 8 bytes.
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

#[inline]
pub(super) fn classify(bytes: &[u8], network: usize, vlan: VlanPath) -> Result<Packet, DropReason> {
    let Some(available) = bytes.get(network..) else {
        return Err(DropReason::Truncated);
    };
    let Some(header) = available.first_chunk::<IPV4_HEADER>() else {
        return Err(DropReason::Truncated);
    };
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < IPV4_HEADER {
        return Err(DropReason::Malformed);
    }
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if total_len < header_len {
        return Err(DropReason::Malformed);
    }
    // From here on only what the IP header claims to be there counts; the rest is Ethernet padding.
    let Some(packet) = available.get(..total_len) else {
        return Err(DropReason::Truncated);
    };
    if header_len == IPV4_HEADER {
        if !checksum::ipv4_header_is_valid(header) {
            return Err(DropReason::BadChecksum);
        }
    } else if !packet.get(..header_len).is_some_and(checksum::ipv4_header_is_valid) {
        return Err(DropReason::BadChecksum);
    }

    let protocol = header[9];
    let addresses = u64::from_be_bytes([
        header[12], header[13], header[14], header[15], header[16], header[17], header[18], header[19],
    ]);
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let mut classified = Packet {
        kind: PacketKind::OtherIp,
        tcp_flags: 0,
        sctp_chunk: 0,
        first_fragment: fragment & (MORE_FRAGMENTS | OFFSET) == MORE_FRAGMENTS,
        vlan,
        network: network as u16,
        transport: (network + header_len) as u16,
        end: (network + total_len) as u32,
        flow: FlowKey::V4 { addresses, ports: 0, protocol },
    };
    if fragment & OFFSET != 0 {
        classified.kind = PacketKind::Fragment;
        return Ok(classified);
    }
    let transport = packet.get(header_len..).unwrap_or_default();
    let ports = super::transport_header(&mut classified, protocol, transport)?;
    classified.flow = FlowKey::V4 { addresses, ports, protocol };
    Ok(classified)
}
