//! What a frame is: the first step on its way.
//!
//! ```text
//!   Ethernet ─ [802.1Q/ad] ─ [802.1Q] ─┬─ ARP
//!                                      ├─ IPv4 ─ options ──────────┬─ TCP, UDP ──► FlowKey
//!                                      ├─ IPv6 ─ extension headers ┼─ ICMP, ICMPv6
//!                                      └─ other                    ├─ fragment without ports
//!                                                                  └─ other
//! ```
//!
//! Lengths are trusted in this order: the buffer, then the IP length, then the header's own length field.
//! Nothing is read that is not there, and nothing is looked up: this module knows no service and no address.

mod flow;
mod ipv4;
mod ipv6;
mod plain;
mod quoted;

#[cfg(test)]
mod tests;

pub use flow::FlowKey;
pub(crate) use flow::fold;
pub(crate) use plain::{
    GLANCE_V4, GLANCE_V6, PlainKind, addresses_v6, plain_packet_v4, plain_packet_v6, plain_v4, plain_v6,
};
pub use quoted::{owner, owner_of};
pub(crate) use quoted::{owner_of_packet, quoted_flow};

use crate::config::VlanPath;
use crate::io::Meta;
use crate::verdict::DropReason;
use crate::wire::{ETHERNET_HEADER, be16, ethertype, ip_protocol};

/// What kind of frame it is. Offsets are those of [`Packet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketKind {
    /// A TCP segment whose first 20 bytes are there.
    Tcp,
    /// A UDP datagram whose 8 bytes of header are there.
    Udp,
    /// An SCTP packet with its header and the head of its first chunk.
    Sctp,
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6, neighbour discovery included.
    Icmpv6,
    /// A piece of an IP packet that does not begin with the transport header.
    Fragment,
    /// IP with a transport protocol that is not balanced.
    OtherIp,
    /// ARP.
    Arp,
    /// Neither IP nor ARP.
    Other,
}

/// A classified frame. Plain numbers: it can be kept while the frame is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub kind: PacketKind,
    /// Flags of the TCP header; 0 for anything else.
    pub tcp_flags: u8,
    /// Type of the first SCTP chunk; 0 for anything else.
    pub sctp_chunk: u8,
    /// Whether it is the first piece of a fragmented packet (then [`Self::kind`] is that of the packet).
    pub first_fragment: bool,
    /// The VLANs it came through, those held in its metadata included.
    pub vlan: VlanPath,
    /// Where the IP or ARP header begins, counted from the first byte of the frame.
    pub network: u16,
    /// Where the transport header begins; 0 where there is none.
    pub transport: u16,
    /// Where the IP packet ends; what follows is padding.
    pub end: u32,
    /// Addresses and ports. Ports are 0 where there are none; for ARP and others all is 0.
    pub flow: FlowKey,
}

/// Says what a frame is.
///
/// `bytes` begins with the Ethernet header. Every header up to and including the transport header is checked;
/// payload is not read.
///
/// # Errors
/// The reason why the frame has to be dropped: truncated, contradictory, or with a wrong IPv4 header checksum.
#[inline]
pub fn classify(bytes: &[u8], meta: &Meta) -> Result<Packet, DropReason> {
    let Some(header) = bytes.first_chunk::<ETHERNET_HEADER>() else {
        return Err(DropReason::Truncated);
    };
    let kind = u16::from_be_bytes([header[12], header[13]]);
    // The usual frame takes the short way: no tag anywhere.
    if meta.vlan.is_none() {
        if kind == ethertype::IPV4 {
            return ipv4::classify(bytes, ETHERNET_HEADER, VlanPath::UNTAGGED);
        }
        if kind == ethertype::IPV6 {
            return ipv6::classify(bytes, ETHERNET_HEADER, VlanPath::UNTAGGED);
        }
    }
    classify_tagged(bytes, kind, meta)
}

/// Frames with VLAN tags, in the bytes or in the metadata, and all that is not IP.
fn classify_tagged(bytes: &[u8], kind: u16, meta: &Meta) -> Result<Packet, DropReason> {
    let mut path = VlanPath::UNTAGGED;
    let mut tags = 0;
    if let Some(tag) = meta.vlan {
        tags = 1;
        push_vlan(&mut path, tag.id());
    }
    let mut kind = kind;
    let mut network = ETHERNET_HEADER;
    while kind == ethertype::VLAN || kind == ethertype::SERVICE_VLAN {
        let tci = be16(bytes, network).ok_or(DropReason::Truncated)?;
        kind = be16(bytes, network + 2).ok_or(DropReason::Truncated)?;
        network += 4;
        tags += 1;
        if tags > 2 {
            // More tags than any path can have: nobody's.
            return Ok(Packet::bare(PacketKind::Other, path, network, bytes.len()));
        }
        push_vlan(&mut path, tci & 0x0fff);
    }
    match kind {
        ethertype::IPV4 => ipv4::classify(bytes, network, path),
        ethertype::IPV6 => ipv6::classify(bytes, network, path),
        ethertype::ARP => Ok(Packet::bare(PacketKind::Arp, path, network, bytes.len())),
        _ => Ok(Packet::bare(PacketKind::Other, path, network, bytes.len())),
    }
}

/// Adds a VLAN id to a path from the outside in. Id 0 is a priority tag: no VLAN (IEEE 802.1Q-2018 table 9-2).
const fn push_vlan(path: &mut VlanPath, id: u16) {
    if path.outer == 0 {
        path.outer = id;
    } else if path.inner == 0 {
        path.inner = id;
    }
}

impl Packet {
    /// A frame without anything that could be a flow.
    const fn bare(kind: PacketKind, vlan: VlanPath, network: usize, end: usize) -> Self {
        Self {
            kind,
            tcp_flags: 0,
            sctp_chunk: 0,
            first_fragment: false,
            vlan,
            network: network as u16,
            transport: 0,
            end: end as u32,
            flow: FlowKey::NONE,
        }
    }

    /// Whether it carries IPv6.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        matches!(self.flow, FlowKey::V6 { .. })
    }

    /// Length of the IP packet in bytes, as the `ip total length` statistics count it.
    #[must_use]
    pub const fn ip_len(&self) -> u32 {
        self.end - self.network as u32
    }
}

/// Reads the transport header of a whole packet or a first fragment, and answers its ports (source in the upper
/// half). `transport` ends where the IP packet ends.
#[inline]
fn transport_header(packet: &mut Packet, protocol: u8, transport: &[u8]) -> Result<u32, DropReason> {
    match protocol {
        ip_protocol::TCP => {
            let Some(header) = transport.first_chunk::<20>() else {
                return Err(DropReason::Truncated);
            };
            let header_len = usize::from(header[12] >> 4) * 4;
            if header_len < header.len() {
                return Err(DropReason::Malformed);
            }
            if header_len > transport.len() {
                return Err(DropReason::Truncated);
            }
            packet.kind = PacketKind::Tcp;
            packet.tcp_flags = header[13];
            Ok(u32::from_be_bytes([header[0], header[1], header[2], header[3]]))
        }
        ip_protocol::UDP => {
            let Some(header) = transport.first_chunk::<8>() else {
                return Err(DropReason::Truncated);
            };
            packet.kind = PacketKind::Udp;
            Ok(u32::from_be_bytes([header[0], header[1], header[2], header[3]]))
        }
        ip_protocol::SCTP => {
            // The common header and the head of a chunk (RFC 9260 sections 3.1 and 3.2).
            let Some(header) = transport.first_chunk::<16>() else {
                return Err(DropReason::Truncated);
            };
            packet.kind = PacketKind::Sctp;
            packet.sctp_chunk = header[12];
            Ok(u32::from_be_bytes([header[0], header[1], header[2], header[3]]))
        }
        ip_protocol::ICMP if !packet.is_ipv6() => {
            packet.kind = PacketKind::Icmp;
            Ok(0)
        }
        ip_protocol::ICMPV6 if packet.is_ipv6() => {
            packet.kind = PacketKind::Icmpv6;
            Ok(0)
        }
        _ => Ok(0),
    }
}
