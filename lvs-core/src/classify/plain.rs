//! The usual frame at a glance: no tag in the bytes, no IP options or extension headers, no piece of anything, TCP or UDP,
//! long enough for a TCP header.
//!
//! It checks all that the thorough way checks, at places that are known in advance, and gives up at whatever is unusual. A
//! property test holds it to the thorough way's answers. It never says that a frame is bad: the thorough way says why.

use super::{FlowKey, Packet, PacketKind};
use crate::config::VlanPath;
use crate::wire::{ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER, ip_protocol, tcp_flag};

/// What is worth knowing of a usual frame. Addresses of IPv6 stay in the frame: see [`addresses_v6`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plain {
    /// Client and virtual address as in a [`FlowKey`]; 0 for IPv6.
    pub(crate) addresses: u64,
    pub(crate) ports: u32,
    /// Length of the IP packet.
    pub(crate) ip_len: u32,
    pub(crate) is_ipv6: bool,
    pub(crate) kind: PlainKind,
}

/// What a usual frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainKind {
    /// A TCP segment that acknowledges and says nothing else: no SYN, FIN or RST.
    TcpAck,
    /// Any other TCP segment.
    TcpOther,
    Udp,
}

impl PlainKind {
    /// The IP protocol.
    #[inline(always)]
    pub(crate) const fn protocol(self) -> u8 {
        match self {
            Self::TcpAck | Self::TcpOther => ip_protocol::TCP,
            Self::Udp => ip_protocol::UDP,
        }
    }
}

/// Where the transport headers begin.
const AT_V4: usize = ETHERNET_HEADER + IPV4_HEADER;
const AT_V6: usize = ETHERNET_HEADER + IPV6_HEADER;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// So much of a frame is read at a glance; a shorter one is unusual.
pub(crate) const GLANCE_V4: usize = AT_V4 + TCP_HEADER;
/// The same for IPv6.
pub(crate) const GLANCE_V6: usize = AT_V6 + TCP_HEADER;

#[inline(always)]
fn word<const N: usize>(head: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

#[inline(always)]
fn word64<const N: usize>(head: &[u8; N], at: usize) -> u64 {
    u64::from_ne_bytes(array(head, at))
}

#[inline(always)]
fn array<const N: usize, const COUNT: usize>(head: &[u8; N], at: usize) -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    bytes.copy_from_slice(&head[at..at + COUNT]);
    bytes
}

/// The frame if it is a usual one over IPv4. `len` is that of the whole frame.
#[inline(always)]
pub(crate) fn plain_v4(head: &[u8; GLANCE_V4], len: usize) -> Option<Plain> {
    // EtherType, version and header length in one comparison.
    const USUAL: u32 = u32::from_le_bytes([0x08, 0x00, 0x45, 0]);
    if u32::from_le_bytes(array(head, 12)) & 0x00ff_ffff != USUAL {
        return None;
    }
    const MORE_FRAGMENTS_OR_OFFSET: u16 = u16::from_ne_bytes([0x3f, 0xff]);
    if u16::from_ne_bytes(array(head, 20)) & MORE_FRAGMENTS_OR_OFFSET != 0 {
        return None;
    }
    let ip_len = u32::from(u16::from_be_bytes(array(head, 16)));
    if ETHERNET_HEADER + ip_len as usize > len {
        return None;
    }
    // Ones' complement sums are the same in any byte order and width (RFC 1071 section 2).
    let (sum, carry) = word64(head, 14).carrying_add(word64(head, 22), false);
    let (sum, carry) = sum.carrying_add(u64::from(u32::from_ne_bytes(array(head, 30))), carry);
    // Where there is a carry the sum is small.
    if !is_multiple_of_ffff(sum.wrapping_add(u64::from(carry))) {
        return None;
    }
    let addresses = u64::from_be_bytes(array(head, 26));
    let available = (ip_len as usize).checked_sub(IPV4_HEADER)?;
    let kind = transport::<GLANCE_V4, AT_V4>(head, head[23], available)?;
    Some(Plain { addresses, ports: word(head, AT_V4), ip_len, is_ipv6: false, kind })
}

/// Whether the sum of a header's words says that it is right: 0xffff in ones' complement (RFC 1071), which is to say a multiple
/// of it. Multiples of an odd number are those that its inverse makes small.
#[inline(always)]
const fn is_multiple_of_ffff(sum: u64) -> bool {
    const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
    const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);
    sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
}

/// The frame if it is a usual one over IPv6. `len` is that of the whole frame.
#[inline(always)]
pub(crate) fn plain_v6(head: &[u8; GLANCE_V6], len: usize) -> Option<Plain> {
    let is_v6 = word(head, 12) >> 12 == 0x8_6dd6;
    let lengths = word(head, 18);
    let payload_len = (lengths >> 16) as usize;
    if !is_v6 || AT_V6 + payload_len > len {
        return None;
    }
    let kind = transport::<GLANCE_V6, AT_V6>(head, head[20], payload_len)?;
    Some(Plain {
        addresses: 0,
        ports: word(head, AT_V6),
        ip_len: (IPV6_HEADER + payload_len) as u32,
        is_ipv6: true,
        kind,
    })
}

/// Client and virtual address of a usual frame over IPv6.
#[inline(always)]
pub(crate) fn addresses_v6(bytes: &[u8]) -> (u128, u128) {
    let Some(head) = bytes.first_chunk::<AT_V6>() else {
        return (0, 0);
    };
    let double = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&head[at..at + 16]);
        u128::from_be_bytes(octets)
    };
    (double(22), double(38))
}

/// What it is, if it is TCP or UDP and its header is whole. `available` is what the IP header says.
#[inline(always)]
fn transport<const N: usize, const AT: usize>(
    head: &[u8; N],
    protocol: u8,
    available: usize,
) -> Option<PlainKind> {
    const DECISIVE: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST | tcp_flag::ACK;
    if protocol == ip_protocol::TCP {
        let header_len = usize::from(head[AT + 12] >> 4) * 4;
        if header_len < TCP_HEADER || available < header_len {
            return None;
        }
        let acknowledges = head[AT + 13] & DECISIVE == tcp_flag::ACK;
        Some(if acknowledges { PlainKind::TcpAck } else { PlainKind::TcpOther })
    } else {
        (protocol == ip_protocol::UDP && available >= UDP_HEADER).then_some(PlainKind::Udp)
    }
}

impl Plain {
    /// The packet of a usual frame, as the thorough way would have said it.
    #[cfg(test)]
    pub(crate) fn packet(&self, bytes: &[u8]) -> Packet {
        if self.is_ipv6 {
            plain_packet_v6(bytes, self.ports, self.kind.protocol(), self.ip_len)
        } else {
            plain_packet_v4(bytes, self.addresses, self.ports, self.kind.protocol(), self.ip_len)
        }
    }
}

/// The packet of a usual frame over IPv4, as the thorough way would have said it.
#[inline(always)]
pub(crate) fn plain_packet_v4(bytes: &[u8], addresses: u64, ports: u32, protocol: u8, ip_len: u32) -> Packet {
    plain_packet(bytes, AT_V4, FlowKey::V4 { addresses, ports, protocol }, ip_len)
}

/// The same over IPv6.
#[inline(always)]
pub(crate) fn plain_packet_v6(bytes: &[u8], ports: u32, protocol: u8, ip_len: u32) -> Packet {
    let (client, virtual_address) = addresses_v6(bytes);
    plain_packet(bytes, AT_V6, FlowKey::V6 { client, virtual_address, ports, protocol }, ip_len)
}

#[inline(always)]
fn plain_packet(bytes: &[u8], transport: usize, flow: FlowKey, ip_len: u32) -> Packet {
    let is_tcp = flow.protocol() == ip_protocol::TCP;
    let flags = bytes.get(transport + 13).copied().unwrap_or(0);
    Packet {
        kind: if is_tcp { PacketKind::Tcp } else { PacketKind::Udp },
        tcp_flags: if is_tcp { flags } else { 0 },
        sctp_chunk: 0,
        first_fragment: false,
        vlan: VlanPath::UNTAGGED,
        network: ETHERNET_HEADER as u16,
        transport: transport as u16,
        end: ETHERNET_HEADER as u32 + ip_len,
        flow,
    }
}
