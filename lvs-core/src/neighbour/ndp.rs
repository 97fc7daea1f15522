//! Neighbour solicitations and advertisements (RFC 4861 sections 4.3 and 4.4): read with every check that
//! section 7.1 demands, written, and an answer written over its question. Router messages and redirects are
//! not read.
//!
//! smoltcp does the parsing, the options and the checksums.

use core::net::Ipv6Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
    RawHardwareAddress,
};

use super::locals::solicited_node;
use crate::addr::MacAddr;
use crate::wire::{ETHERNET_HEADER, IPV6_HEADER, ethertype, ip_protocol};

/// ICMPv6 types.
pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;

/// ff02::1, all nodes on the link.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Length of an ICMPv6 solicitation or advertisement whose only option is a link-layer address.
pub(super) const WITH_ADDRESS: usize = 32;

/// RFC 4861 section 7.1: a packet from the same link has this hop limit still, one that was forwarded has
/// not.
const HOP_LIMIT: u8 = 255;

/// What an IPv6 header says, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) next: u8,
    pub(super) hop_limit: u8,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; IPV6_HEADER] = bytes.first_chunk()?;
        let address = |at: usize| bytes[at..].first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets));
        (bytes[0] >> 4 == 6).then_some(())?;
        Some(Self { source: address(8)?, destination: address(24)?, next: bytes[6], hop_limit: bytes[7] })
    }
}

/// A solicitation: who has `target`?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Solicitation {
    /// Unspecified if the sender checks whether it may take `target` (duplicate address detection).
    pub(super) source: Ipv6Addr,
    pub(super) target: Ipv6Addr,
    /// The source's Ethernet address, where the option is there.
    pub(super) mac: Option<MacAddr>,
}

/// An advertisement: `target` is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advertisement {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) target: Ipv6Addr,
    /// The target's Ethernet address, where the option is there.
    pub(super) mac: Option<MacAddr>,
    pub(super) solicited: bool,
    pub(super) overrides: bool,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Solicitation(Solicitation),
    Advertisement(Advertisement),
}

/// Reads a solicitation or an advertisement. `None` if it breaks a rule of RFC 4861 section 7.1.1 or 7.1.2,
/// or if extension headers precede it: no host writes them, and RFC 6980 forbids the one that attackers
/// use.
pub(super) fn parse(ip: &Header, icmp: &[u8]) -> Option<Message> {
    if ip.hop_limit != HOP_LIMIT || ip.next != ip_protocol::ICMPV6 || ip.source.is_multicast() {
        return None;
    }
    let packet = Icmpv6Packet::new_checked(icmp).ok()?;
    // Checks checksum, code, and that no option has length 0 or reaches beyond the end.
    let repr =
        Icmpv6Repr::parse(&ip.source, &ip.destination, &packet, &ChecksumCapabilities::default()).ok()?;
    let Icmpv6Repr::Ndisc(message) = repr else { return None };
    match message {
        NdiscRepr::NeighborSolicit { target_addr: target, lladdr } => {
            let mac = station(lladdr)?;
            // RFC 4861 section 7.1.1: from the unspecified address only to a solicited-node group, and
            // without a source link-layer address.
            let probe_is_sound =
                !ip.source.is_unspecified() || (ip.destination == solicited_node(target) && lladdr.is_none());
            let sound = !target.is_multicast() && probe_is_sound;
            sound.then_some(Message::Solicitation(Solicitation { source: ip.source, target, mac }))
        }
        NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr } => {
            let mac = station(lladdr)?;
            let solicited = flags.contains(NdiscNeighborFlags::SOLICITED);
            // RFC 4861 section 7.1.2: if the IP destination is a multicast address the solicited flag is
            // zero.
            let unsound = target.is_multicast()
                || ip.source.is_unspecified()
                || (ip.destination.is_multicast() && solicited);
            (!unsound).then_some(Message::Advertisement(Advertisement {
                source: ip.source,
                destination: ip.destination,
                target,
                mac,
                solicited,
                overrides: flags.contains(NdiscNeighborFlags::OVERRIDE),
            }))
        }
        _ => None,
    }
}

/// The address in a link-layer option, if there is one; `None` if no single Ethernet station can have it.
fn station(option: Option<RawHardwareAddress>) -> Option<Option<MacAddr>> {
    let Some(raw) = option else { return Some(None) };
    let mac = MacAddr(*raw.as_bytes().first_chunk()?);
    mac.is_unicast().then_some(Some(mac))
}

/// The ends of a frame that carries IPv6.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) mac: MacAddr,
    pub(super) to_mac: MacAddr,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
}

/// Writes a solicitation with the sender's Ethernet address; answers the frame's length, or `None` if the
/// buffer is too short.
pub(super) fn emit_solicitation(buffer: &mut [u8], ends: &Ends, target: Ipv6Addr) -> Option<usize> {
    let lladdr = Some(RawHardwareAddress::from_bytes(&ends.mac.0));
    emit(buffer, ends, NdiscRepr::NeighborSolicit { target_addr: target, lladdr })
}

/// Writes an advertisement of the source address, with the override flag; answers the frame's length, or
/// `None` if the buffer is too short.
pub(super) fn emit_advertisement(buffer: &mut [u8], ends: &Ends, solicited: bool) -> Option<usize> {
    emit(buffer, ends, advertisement(ends.mac, ends.source, solicited))
}

/// Writes the answer to a solicitation over it: the packet begins at `ip_offset`, has no extension headers,
/// and its ICMPv6 part is [`WITH_ADDRESS`] long. `None`, and nothing is written, if that is not so.
pub(super) fn answer_in_place(
    frame: &mut [u8],
    ip_offset: usize,
    ends: &Ends,
    target: Ipv6Addr,
) -> Option<()> {
    let icmp_offset = ip_offset.checked_add(IPV6_HEADER)?;
    let packet = frame.get(ip_offset..icmp_offset.checked_add(WITH_ADDRESS)?)?;
    if packet.get(4..7)? != [0, 32, ip_protocol::ICMPV6] {
        return None;
    }
    frame[..6].copy_from_slice(&ends.to_mac.0);
    frame[6..12].copy_from_slice(&ends.mac.0);
    frame[ip_offset + 8..ip_offset + 24].copy_from_slice(&ends.source.octets());
    frame[ip_offset + 24..icmp_offset].copy_from_slice(&ends.destination.octets());
    let icmp = &mut frame[icmp_offset..icmp_offset + WITH_ADDRESS];
    Icmpv6Repr::Ndisc(advertisement(ends.mac, target, true)).emit(
        &ends.source,
        &ends.destination,
        &mut Icmpv6Packet::new_unchecked(icmp),
        &ChecksumCapabilities::default(),
    );
    Some(())
}

fn advertisement(mac: MacAddr, target: Ipv6Addr, solicited: bool) -> NdiscRepr<'static> {
    let flags = if solicited {
        NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE
    } else {
        NdiscNeighborFlags::OVERRIDE
    };
    NdiscRepr::NeighborAdvert {
        flags,
        target_addr: target,
        lladdr: Some(RawHardwareAddress::from_bytes(&mac.0)),
    }
}

fn emit(buffer: &mut [u8], ends: &Ends, message: NdiscRepr<'_>) -> Option<usize> {
    let start = emit_headers(buffer, ends, IpProtocol::Icmpv6, HOP_LIMIT, WITH_ADDRESS)?;
    let icmp = buffer.get_mut(start..start + WITH_ADDRESS)?;
    Icmpv6Repr::Ndisc(message).emit(
        &ends.source,
        &ends.destination,
        &mut Icmpv6Packet::new_unchecked(icmp),
        &ChecksumCapabilities::default(),
    );
    Some(start + WITH_ADDRESS)
}

/// Writes the Ethernet and IPv6 headers of a packet with `payload` more bytes; answers where those begin,
/// or `None` if the buffer is too short for all of it.
pub(super) fn emit_headers(
    buffer: &mut [u8],
    ends: &Ends,
    next_header: IpProtocol,
    hop_limit: u8,
    payload: usize,
) -> Option<usize> {
    let start = ETHERNET_HEADER + IPV6_HEADER;
    let frame = buffer.get_mut(..start + payload)?;
    emit_ethernet(frame, ends.to_mac, ends.mac, ethertype::IPV6)?;
    let header = Ipv6Repr {
        src_addr: ends.source,
        dst_addr: ends.destination,
        next_header,
        payload_len: payload,
        hop_limit,
    };
    header.emit(&mut Ipv6Packet::new_unchecked(&mut frame[ETHERNET_HEADER..]));
    Some(start)
}

/// Writes an Ethernet header; `None` if the buffer is too short.
pub(super) fn emit_ethernet(buffer: &mut [u8], to: MacAddr, from: MacAddr, ethertype: u16) -> Option<()> {
    let header: &mut [u8; ETHERNET_HEADER] = buffer.first_chunk_mut()?;
    header[..6].copy_from_slice(&to.0);
    header[6..12].copy_from_slice(&from.0);
    header[12..].copy_from_slice(&ethertype.to_be_bytes());
    Some(())
}
