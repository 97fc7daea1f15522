//! The frames of an examination: written by smoltcp, complete and with right checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::MacAddr;
use lvs_core::config::VlanPath;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr,
    IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
    RawHardwareAddress, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

/// The ends of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) vlan: VlanPath,
    pub(crate) from: MacAddr,
    pub(crate) to: MacAddr,
}

/// What a TCP segment without data says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Segment {
    /// Begins a connection with this sequence number.
    Syn(u32),
    /// Ends it, whichever side knows of it.
    Reset(u32),
}

/// "Who has `target`? Tell `sender`." A sender of 0.0.0.0 tells nobody anything (RFC 5227 section 2.1.1).
pub(crate) fn arp_request(ends: Ends, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(ends, ArpOperation::Request, sender, MacAddr::ZERO, target)
}

/// "`sender` is here."
pub(crate) fn arp_reply(ends: Ends, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(ends, ArpOperation::Reply, sender, ends.to, target)
}

fn arp(
    ends: Ends,
    operation: ArpOperation,
    sender: Ipv4Addr,
    target_mac: MacAddr,
    target: Ipv4Addr,
) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(ends.from.0),
        source_protocol_addr: sender,
        target_hardware_addr: EthernetAddress(target_mac.0),
        target_protocol_addr: target,
    };
    let (mut frame, start) = ethernet(ends, ARP, repr.buffer_len());
    repr.emit(&mut ArpPacket::new_unchecked(&mut frame[start..]));
    frame
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1).
pub(crate) const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let o = address.octets();
    let low = u16::from_be_bytes([o[14], o[15]]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | o[13] as u16, low)
}

/// "Who has `target`?" to its group, or to one machine if `ends` names one.
pub(crate) fn solicitation(ends: Ends, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(target);
    let (to, destination) = if ends.to == MacAddr::BROADCAST {
        (MacAddr::for_ipv6_multicast(group), group)
    } else {
        (ends.to, target)
    };
    let lladdr = Some(RawHardwareAddress::from_bytes(&ends.from.0));
    let message = NdiscRepr::NeighborSolicit { target_addr: target, lladdr };
    icmpv6(Ends { to, ..ends }, source, destination, Icmpv6Repr::Ndisc(message))
}

/// "`source` is here", to the one who asked.
pub(crate) fn advertisement(ends: Ends, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let message = NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
        target_addr: source,
        lladdr: Some(RawHardwareAddress::from_bytes(&ends.from.0)),
    };
    icmpv6(ends, source, destination, Icmpv6Repr::Ndisc(message))
}

/// A ping whose IP packet is `length` bytes long (at least as long as its headers), not to be fragmented.
pub(crate) fn echo(
    ends: Ends,
    source: IpAddr,
    destination: IpAddr,
    ident: u16,
    seq: u16,
    length: usize,
) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let data = vec![b'x'; length.saturating_sub(20 + 8)];
            let repr = Icmpv4Repr::EchoRequest { ident, seq_no: seq, data: &data };
            let (mut frame, start) = ipv4(ends, source, destination, IpProtocol::Icmp, repr.buffer_len());
            repr.emit(&mut Icmpv4Packet::new_unchecked(&mut frame[start..]), &sums());
            frame
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let data = vec![b'x'; length.saturating_sub(40 + 8)];
            icmpv6(ends, source, destination, Icmpv6Repr::EchoRequest { ident, seq_no: seq, data: &data })
        }
        _ => Vec::new(),
    }
}

/// A TCP segment without data.
pub(crate) fn tcp(
    ends: Ends,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    segment: Segment,
) -> Vec<u8> {
    let (control, seq) = match segment {
        Segment::Syn(seq) => (TcpControl::Syn, seq),
        Segment::Reset(seq) => (TcpControl::Rst, seq),
    };
    let repr = TcpRepr {
        src_port: source.1,
        dst_port: destination.1,
        control,
        seq_number: TcpSeqNumber(seq.cast_signed()),
        ack_number: None,
        window_len: 64_240,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"",
    };
    let Some((mut frame, start)) = ip(ends, source.0, destination.0, IpProtocol::Tcp, repr.buffer_len())
    else {
        return Vec::new();
    };
    let mut packet = TcpPacket::new_unchecked(&mut frame[start..]);
    repr.emit(&mut packet, &source.0.into(), &destination.0.into(), &sums());
    frame
}

/// An empty datagram.
pub(crate) fn udp(ends: Ends, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Vec<u8> {
    let repr = UdpRepr { src_port: source.1, dst_port: destination.1 };
    let Some((mut frame, start)) = ip(ends, source.0, destination.0, IpProtocol::Udp, repr.header_len())
    else {
        return Vec::new();
    };
    let mut packet = UdpPacket::new_unchecked(&mut frame[start..]);
    repr.emit(&mut packet, &source.0.into(), &destination.0.into(), 0, |_| {}, &sums());
    frame
}

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Neighbour discovery must not have crossed a router (RFC 4861 section 7.1).
const NDP_HOP_LIMIT: u8 = 255;

fn sums() -> ChecksumCapabilities {
    ChecksumCapabilities::default()
}

/// A frame with its Ethernet header and tags, and where the next `payload` bytes begin.
fn ethernet(ends: Ends, ether_type: u16, payload: usize) -> (Vec<u8>, usize) {
    let mut frame = Vec::with_capacity(14 + 8 + payload);
    frame.extend(ends.to.0);
    frame.extend(ends.from.0);
    for tag in ends.vlan.tags().into_iter().flatten() {
        frame.extend(tag.tpid.to_be_bytes());
        frame.extend(tag.tci.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    let start = frame.len();
    frame.resize(start + payload, 0);
    (frame, start)
}

fn ip(
    ends: Ends,
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    payload: usize,
) -> Option<(Vec<u8>, usize)> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Some(ipv4(ends, source, destination, protocol, payload))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(ipv6(ends, source, destination, protocol, 64, payload))
        }
        _ => None,
    }
}

/// smoltcp sets DF.
fn ipv4(
    ends: Ends,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: IpProtocol,
    payload: usize,
) -> (Vec<u8>, usize) {
    let repr = Ipv4Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: protocol,
        payload_len: payload,
        hop_limit: 64,
    };
    let (mut frame, start) = ethernet(ends, IPV4, repr.buffer_len() + payload);
    repr.emit(&mut Ipv4Packet::new_unchecked(&mut frame[start..]), &sums());
    (frame, start + repr.buffer_len())
}

fn ipv6(
    ends: Ends,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: IpProtocol,
    hop_limit: u8,
    payload: usize,
) -> (Vec<u8>, usize) {
    let repr = Ipv6Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: protocol,
        payload_len: payload,
        hop_limit,
    };
    let (mut frame, start) = ethernet(ends, IPV6, repr.buffer_len() + payload);
    repr.emit(&mut Ipv6Packet::new_unchecked(&mut frame[start..]));
    (frame, start + repr.buffer_len())
}

fn icmpv6(ends: Ends, source: Ipv6Addr, destination: Ipv6Addr, message: Icmpv6Repr<'_>) -> Vec<u8> {
    let hop_limit = if matches!(message, Icmpv6Repr::Ndisc(_)) { NDP_HOP_LIMIT } else { 64 };
    let (mut frame, start) =
        ipv6(ends, source, destination, IpProtocol::Icmpv6, hop_limit, message.buffer_len());
    message.emit(&source, &destination, &mut Icmpv6Packet::new_unchecked(&mut frame[start..]), &sums());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_testkit::frames::{addr, describe, mac, v4, v6};

    fn ends(vlan: VlanPath) -> Ends {
        Ends { vlan, from: mac("02:00:00:00:00:d0"), to: mac("02:00:00:00:00:bc") }
    }

    #[test]
    fn frames_are_what_they_should_be() {
        let to_one = ends(VlanPath::UNTAGGED);
        let to_all = Ends { to: MacAddr::BROADCAST, ..to_one };
        let (dip, vip) = (addr("192.168.0.208"), addr("192.168.0.250"));
        let (dip6, vip6) = (addr("fd00::d0"), addr("fd00::250"));
        let lines = [
            (arp_request(to_all, v4("0.0.0.0"), v4("192.168.0.250")), "ARP, Probe 192.168.0.250"),
            (
                arp_reply(to_one, v4("192.168.0.208"), v4("192.168.0.1")),
                "192.168.0.208 is-at 02:00:00:00:00:d0",
            ),
            (
                tcp(to_one, (dip, 10_000), (vip, 80), Segment::Syn(7)),
                "192.168.0.208.10000 > 192.168.0.250.80: Flags [S], seq 7",
            ),
            (tcp(to_one, (dip6, 10_000), (vip6, 80), Segment::Reset(8)), "Flags [R], seq 8"),
            (udp(to_one, (dip, 10_000), (vip, 53)), "192.168.0.208.10000 > 192.168.0.250.53: UDP, length 0"),
            (echo(to_one, dip, vip, 1, 2, 1500), "length 1500"),
            (echo(to_one, dip6, vip6, 1, 2, 1280), "echo request"),
            (solicitation(to_all, v6("fd00::d0"), v6("fd00::250")), "33:33:ff:00:02:50"),
            (solicitation(to_one, v6("fd00::d0"), v6("fd00::250")), "02:00:00:00:00:bc"),
            (advertisement(to_one, v6("fd00::d0"), v6("fd00::1")), "neighbor advertisement"),
        ];
        for (frame, expected) in lines {
            let line = describe(&frame);
            assert!(line.contains(expected), "{line}");
            assert!(!line.contains("bad cksum"), "{line}");
        }
    }

    #[test]
    fn tags_are_written() {
        let frame = udp(ends(VlanPath { outer: 5, inner: 7 }), (addr("10.0.0.1"), 1), (addr("10.0.0.2"), 2));
        assert_eq!(frame[12..22], [0x88, 0xa8, 0, 5, 0x81, 0, 0, 7, 8, 0]);
        assert_eq!(frame.len(), 14 + 8 + 28);
    }
}
