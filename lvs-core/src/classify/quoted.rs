//! The flow that an ICMP error quotes, and the worker that a frame belongs to.
//!
//! A router on the way between real server and client complains to the sender of a reply, which is the VIP: the
//! error arrives at the director, and what it quotes is the reply. Turned round it names the connection.

use core::net::IpAddr;
use core::num::NonZeroU16;

use super::{FlowKey, Packet, PacketKind, classify};
use crate::io::Meta;
use crate::wire::{IPV4_HEADER, IPV6_HEADER, be16, be32, ip_protocol};

/// ICMP types that report on a packet and quote it (RFC 792): unreachable, source quench, time exceeded.
/// Redirects and parameter problems are for the sender's own stack, as in IPVS.
const ERRORS_V4: [u8; 3] = [3, 4, 11];
/// The same for ICMPv6 (RFC 4443): unreachable, packet too big, time exceeded.
const ERRORS_V6: [u8; 3] = [1, 2, 3];
/// Every ICMP error begins with type, code, checksum and four bytes that depend on the type.
const ICMP_HEADER: usize = 8;

/// The flow whose reply is quoted in this ICMP error: client and virtual address as in the connection.
/// `None` if it is no error, or if too little is quoted. A quote may be cut off anywhere behind the ports.
pub(crate) fn quoted_flow(bytes: &[u8], packet: &Packet) -> Option<FlowKey> {
    let message = bytes.get(usize::from(packet.transport)..packet.end as usize)?;
    let kind = *message.first()?;
    let quote = message.get(ICMP_HEADER..)?;
    match packet.kind {
        PacketKind::Icmp if ERRORS_V4.contains(&kind) => quoted_v4(quote),
        PacketKind::Icmpv6 if ERRORS_V6.contains(&kind) => quoted_v6(quote),
        _ => None,
    }
}

fn quoted_v4(quote: &[u8]) -> Option<FlowKey> {
    let header = quote.first_chunk::<IPV4_HEADER>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let later_fragment = be16(header, 6)? & 0x1fff != 0;
    if header[0] >> 4 != 4 || header_len < IPV4_HEADER || later_fragment {
        return None;
    }
    let ports = be32(quote, header_len)?.rotate_left(16);
    let addresses = u64::from(be32(header, 16)?) << 32 | u64::from(be32(header, 12)?);
    has_ports(header[9]).then_some(FlowKey::V4 { addresses, ports, protocol: header[9] })
}

fn quoted_v6(quote: &[u8]) -> Option<FlowKey> {
    let header = quote.first_chunk::<IPV6_HEADER>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    // Extension headers are walked over what is there; the quote may be shorter than its length field says.
    let (protocol, transport) = super::ipv6::transport_of_quote(quote)?;
    let ports = be32(quote, transport)?.rotate_left(16);
    let (source, destination) = super::ipv6::addresses(header);
    has_ports(protocol).then_some(FlowKey::V6 {
        client: destination,
        virtual_address: source,
        ports,
        protocol,
    })
}

const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, ip_protocol::TCP | ip_protocol::UDP | ip_protocol::SCTP)
}

/// Which of `workers` a frame belongs to, from 0: all frames of a client go to the same one, and so do ICMP
/// errors about its flows and fragments of its packets. Frames that are no IP belong to worker 0.
///
/// The client's address (IPv6: its four words XORed) is multiplied by 0x9E3779B1, shifted right by 16 and taken
/// modulo `workers`: simple enough for a classic BPF program or an XDP program to compute the same.
#[must_use]
pub fn owner(bytes: &[u8], meta: &Meta, workers: NonZeroU16) -> u16 {
    let Ok(packet) = classify(bytes, meta) else {
        return 0;
    };
    owner_of_packet(bytes, &packet, workers)
}

/// The same of a frame that was classified.
pub(crate) fn owner_of_packet(bytes: &[u8], packet: &Packet, workers: NonZeroU16) -> u16 {
    let flow = match packet.kind {
        PacketKind::Arp | PacketKind::Other => return 0,
        PacketKind::Icmp | PacketKind::Icmpv6 => quoted_flow(bytes, packet).unwrap_or(packet.flow),
        _ => packet.flow,
    };
    place(flow.folded_client(), workers)
}

/// Which of `workers` a client belongs to; see [`owner`].
#[must_use]
pub fn owner_of(client: IpAddr, workers: NonZeroU16) -> u16 {
    let folded = match client {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => super::fold(address.to_bits()),
    };
    place(folded, workers)
}

const fn place(folded_client: u32, workers: NonZeroU16) -> u16 {
    let mixed = folded_client.wrapping_mul(0x9e37_79b1) >> 16;
    (mixed % workers.get() as u32) as u16
}
