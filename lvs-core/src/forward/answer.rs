//! What the director says to a sender by a frame of its own: RST, and ICMP errors that quote the packet.
//!
//! An answer goes back out of the interface by which the packet came, to the Ethernet address it came from, with the
//! packet's destination as its source: no route has to be looked up for it. It is built in a buffer of the pool, since
//! most answers are longer than what they answer.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::MacAddr;
use crate::classify::{Packet, PacketKind};
use crate::observe::Answer;
use crate::wire::checksum::{self, Sum};
use crate::wire::{ETHERNET_HEADER, IPV4_HEADER, IPV6_HEADER, be16, be32, ethertype, ip_protocol, tcp_flag};

const TCP_HEADER: usize = 20;
const ICMP_HEADER: usize = 8;
/// The longest ICMP error over IPv4 (RFC 1812 section 4.3.2.3) and over IPv6 (RFC 4443 section 2.4 c).
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;
const TTL: u8 = 64;

/// An answer that has been thought out but not written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    answer: Answer,
    packet: Packet,
    /// Length of the answer without Ethernet header.
    ip_len: usize,
    /// Bytes of the packet that are quoted.
    quoted: usize,
}

impl Plan {
    /// How `packet` is answered; `None` if it must not be: an answer to an answer, to a later fragment, or to a group
    /// (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e).
    pub(crate) fn new(answer: Answer, bytes: &[u8], packet: &Packet) -> Option<Self> {
        let source = packet.flow.client_address();
        let answerable = match source {
            IpAddr::V4(a) => !(a.is_unspecified() || a.is_multicast() || a.is_broadcast() || a.is_loopback()),
            IpAddr::V6(a) => !(a.is_unspecified() || a.is_multicast() || a.is_loopback()),
        };
        if !answerable || packet.kind == PacketKind::Fragment {
            return None;
        }
        if answer == Answer::Reset {
            let is_reset = packet.tcp_flags & tcp_flag::RST != 0;
            if packet.kind != PacketKind::Tcp || is_reset {
                return None;
            }
            let header = if packet.is_ipv6() { IPV6_HEADER } else { IPV4_HEADER };
            return Some(Self { answer, packet: *packet, ip_len: header + TCP_HEADER, quoted: 0 });
        }
        // IPVS is silent to an RST for which there is no server.
        if is_icmp_error(bytes, packet) || packet.tcp_flags & tcp_flag::RST != 0 {
            return None;
        }
        let (header, longest) =
            if packet.is_ipv6() { (IPV6_HEADER, LONGEST_V6) } else { (IPV4_HEADER, LONGEST_V4) };
        let quoted = (packet.ip_len() as usize).min(longest - header - ICMP_HEADER);
        Some(Self { answer, packet: *packet, ip_len: header + ICMP_HEADER + quoted, quoted })
    }

    /// Length of the untagged frame.
    pub(crate) const fn frame_len(&self) -> usize {
        ETHERNET_HEADER + self.ip_len
    }

    /// Writes the frame, untagged. `question` is the frame that is answered, `out` is exactly as long as
    /// [`Self::frame_len`], `id` is the IP id of the answer.
    pub(crate) fn write(&self, question: &[u8], source: MacAddr, id: u16, out: &mut [u8]) {
        let back_to = question.get(6..12).unwrap_or_default();
        let packet = &self.packet;
        let kind = if packet.is_ipv6() { ethertype::IPV6 } else { ethertype::IPV4 };
        let (ethernet, ip) = out.split_at_mut(ETHERNET_HEADER);
        let (to, rest) = ethernet.split_at_mut(6);
        to.copy_from_slice(back_to);
        rest[..6].copy_from_slice(&source.0);
        rest[6..].copy_from_slice(&kind.to_be_bytes());
        let quote = question.get(usize::from(packet.network)..).and_then(|q| q.get(..self.quoted));
        match (packet.flow.virtual_address(), packet.flow.client_address()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (header, payload) = ip.split_at_mut(IPV4_HEADER);
                let protocol = self.write_payload(question, quote.unwrap_or_default(), payload, |p, len| {
                    checksum::pseudo_header_v4(from, to, p, len as u16)
                });
                self.write_ipv4(header, id, protocol, from, to);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (header, payload) = ip.split_at_mut(IPV6_HEADER);
                let protocol = self.write_payload(question, quote.unwrap_or_default(), payload, |p, len| {
                    checksum::pseudo_header_v6(from, to, p, len)
                });
                write_ipv6(header, payload.len(), protocol, from, to);
            }
            _ => {}
        }
    }

    fn write_ipv4(&self, header: &mut [u8], id: u16, protocol: u8, from: Ipv4Addr, to: Ipv4Addr) {
        // As Linux: ICMP errors with precedence "internetwork control" and an id, RST without either and not to be
        // fragmented.
        let is_reset = self.answer == Answer::Reset;
        header.fill(0);
        header[0] = 0x45;
        header[1] = if is_reset { 0 } else { 0xc0 };
        header[2..4].copy_from_slice(&(self.ip_len as u16).to_be_bytes());
        header[4..6].copy_from_slice(&(if is_reset { 0 } else { id }).to_be_bytes());
        header[6] = if is_reset { 0x40 } else { 0 };
        header[8] = TTL;
        header[9] = protocol;
        header[12..16].copy_from_slice(&from.octets());
        header[16..20].copy_from_slice(&to.octets());
        let sum = Sum::default().bytes(header).finish();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    /// Writes what follows the IP header and answers its protocol.
    fn write_payload(
        &self,
        question: &[u8],
        quote: &[u8],
        out: &mut [u8],
        pseudo_header: impl Fn(u8, u32) -> Sum,
    ) -> u8 {
        let len = out.len() as u32;
        if self.answer == Answer::Reset {
            write_reset(question, &self.packet, out);
            let sum = pseudo_header(ip_protocol::TCP, len).bytes(out).finish();
            out[16..18].copy_from_slice(&sum.to_be_bytes());
            return ip_protocol::TCP;
        }
        let (header, quoted) = out.split_at_mut(ICMP_HEADER);
        quoted.copy_from_slice(quote);
        header.fill(0);
        let (kind, code, value) = self.icmp_fields();
        header[0] = kind;
        header[1] = code;
        header[4..8].copy_from_slice(&value.to_be_bytes());
        let protocol = if self.packet.is_ipv6() { ip_protocol::ICMPV6 } else { ip_protocol::ICMP };
        let sum = if self.packet.is_ipv6() { pseudo_header(protocol, len) } else { Sum::default() };
        let sum = sum.bytes(out).finish();
        out[2..4].copy_from_slice(&sum.to_be_bytes());
        protocol
    }

    /// Type, code and the four bytes behind the checksum.
    const fn icmp_fields(&self) -> (u8, u8, u32) {
        match (self.answer, self.packet.is_ipv6()) {
            // RFC 1191 section 4 and RFC 4443 section 3.2: where the largest size stands.
            (Answer::TooBig { mtu }, false) => (3, 4, mtu as u32),
            (Answer::TooBig { mtu }, true) => (2, 0, mtu as u32),
            (Answer::TimeExceeded, false) => (11, 0, 0),
            (Answer::TimeExceeded, true) => (3, 0, 0),
            (Answer::HostUnreachable, false) => (3, 1, 0),
            (Answer::HostUnreachable, true) => (1, 3, 0),
            (Answer::ProtocolUnreachable, false) => (3, 2, 0),
            // RFC 4443 section 3.4: the pointer to the next-header field of the fixed header.
            (Answer::ProtocolUnreachable, true) => (4, 1, 6),
            (_, false) => (3, 3, 0),
            (_, true) => (1, 4, 0),
        }
    }
}

fn write_ipv6(header: &mut [u8], payload: usize, protocol: u8, from: Ipv6Addr, to: Ipv6Addr) {
    header.fill(0);
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
    header[6] = protocol;
    header[7] = TTL;
    header[8..24].copy_from_slice(&from.octets());
    header[24..40].copy_from_slice(&to.octets());
}

/// RFC 9293 section 3.5.2, group 1: an RST that answers a segment with an ACK takes its sequence number from there; one
/// that answers a segment without acknowledges what the segment occupies.
fn write_reset(question: &[u8], packet: &Packet, out: &mut [u8]) {
    let transport = usize::from(packet.transport);
    let segment = question.get(transport..packet.end as usize).unwrap_or_default();
    let header_len = segment.get(12).map_or(TCP_HEADER, |offset| usize::from(offset >> 4) * 4);
    let syn = u32::from(packet.tcp_flags & tcp_flag::SYN != 0);
    let fin = u32::from(packet.tcp_flags & tcp_flag::FIN != 0);
    let occupied = (segment.len().saturating_sub(header_len) as u32).wrapping_add(syn + fin);
    out.fill(0);
    out[0..2].copy_from_slice(segment.get(2..4).unwrap_or(&[0; 2]));
    out[2..4].copy_from_slice(segment.get(0..2).unwrap_or(&[0; 2]));
    out[12] = 5 << 4;
    out[13] = tcp_flag::RST;
    if packet.tcp_flags & tcp_flag::ACK != 0 {
        out[4..8].copy_from_slice(segment.get(8..12).unwrap_or(&[0; 4]));
    } else {
        let next = be32(segment, 4).unwrap_or(0).wrapping_add(occupied);
        out[8..12].copy_from_slice(&next.to_be_bytes());
        out[13] |= tcp_flag::ACK;
    }
}

/// Whether the packet is itself an ICMP error.
fn is_icmp_error(bytes: &[u8], packet: &Packet) -> bool {
    let kind = bytes.get(usize::from(packet.transport)).copied().unwrap_or(0);
    match packet.kind {
        PacketKind::Icmp => matches!(kind, 3 | 4 | 5 | 11 | 12),
        PacketKind::Icmpv6 => kind < 128,
        _ => false,
    }
}

/// Whether the transport checksum of a whole TCP or UDP packet is right; `true` where there is none to check. Sums up the
/// packet: for packets that are about to be answered.
pub(crate) fn is_undamaged(bytes: &[u8], packet: &Packet) -> bool {
    let segment = bytes.get(usize::from(packet.transport)..packet.end as usize).unwrap_or_default();
    let protocol = match packet.kind {
        _ if packet.first_fragment => return true,
        PacketKind::Tcp => ip_protocol::TCP,
        // Over IPv4 a UDP checksum of zero means that there is none (RFC 768).
        PacketKind::Udp if !packet.is_ipv6() && be16(segment, 6) == Some(0) => return true,
        PacketKind::Udp => ip_protocol::UDP,
        _ => return true,
    };
    let length = segment.len() as u32;
    let sum = match (packet.flow.client_address(), packet.flow.virtual_address()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => checksum::pseudo_header_v4(from, to, protocol, length as u16),
        (IpAddr::V6(from), IpAddr::V6(to)) => checksum::pseudo_header_v6(from, to, protocol, length),
        _ => return false,
    };
    sum.bytes(segment).folded() == 0xffff
}

/// Turns an echo request into its reply, in place. `false` if it is none.
pub(crate) fn echo_reply(bytes: &mut [u8], packet: &Packet, source: MacAddr) -> bool {
    let transport = usize::from(packet.transport);
    let (request, reply) = if packet.is_ipv6() { (128u8, 129u8) } else { (8, 0) };
    let (Some(kind_and_code), Some(sum)) = (be16(bytes, transport), be16(bytes, transport + 2)) else {
        return false;
    };
    let message = bytes.get(transport..packet.end as usize).unwrap_or_default();
    if kind_and_code != u16::from(request) << 8 || message.len() < ICMP_HEADER {
        return false;
    }
    let network = usize::from(packet.network);
    let sum = checksum::update(sum, kind_and_code, u16::from(reply) << 8);
    if let Some(field) = bytes.get_mut(transport..transport + 4) {
        field[0] = reply;
        field[2..].copy_from_slice(&sum.to_be_bytes());
    }
    // Swapped addresses sum up as before; only the TTL changes the IPv4 header.
    let (addresses, length) = if packet.is_ipv6() { (network + 8, 16) } else { (network + 12, 4) };
    if let Some(both) = bytes.get_mut(addresses..addresses + 2 * length) {
        let (from, to) = both.split_at_mut(length);
        from.swap_with_slice(to);
    }
    if packet.is_ipv6() {
        if let Some(hop_limit) = bytes.get_mut(network + 7) {
            *hop_limit = TTL;
        }
    } else if let (Some(old), Some(sum)) = (be16(bytes, network + 8), be16(bytes, network + 10)) {
        let new = u16::from(TTL) << 8 | old & 0xff;
        let sum = checksum::update(sum, old, new);
        // As Linux: an echo reply may be fragmented on its way.
        let flags = be16(bytes, network + 6).unwrap_or(0);
        let sum = checksum::update(sum, flags, 0);
        if let Some(field) = bytes.get_mut(network + 6..network + 8) {
            field.fill(0);
        }
        if let Some(field) = bytes.get_mut(network + 8..network + 12) {
            field[..2].copy_from_slice(&new.to_be_bytes());
            field[2..].copy_from_slice(&sum.to_be_bytes());
        }
    }
    bytes.copy_within(6..12, 0);
    if let Some(from) = bytes.get_mut(6..12) {
        from.copy_from_slice(&source.0);
    }
    true
}
