//! Packets and Ethernet headers of probes, and what comes back: checked before anything is believed.

use std::net::{IpAddr, SocketAddr};

use lvs_core::MacAddr;
use lvs_core::config::VlanPath;
use lvs_core::io::Meta;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

use crate::outcome::FailureKind;

const ADDRESSES: usize = 12;
const TAG: usize = 4;

/// Bytes in front of the IP packet. The outer tag travels outside of the frame's bytes.
pub(super) const fn header_len(vlan: VlanPath) -> usize {
    match vlan.tags() {
        [_, Some(_)] => ADDRESSES + TAG + 2,
        _ => ADDRESSES + 2,
    }
}

/// Writes the Ethernet header. `None` if there is no room.
pub(super) fn write_header(
    vlan: VlanPath,
    destination: MacAddr,
    source: MacAddr,
    ipv6: bool,
    buffer: &mut [u8],
) -> Option<Meta> {
    let header = buffer.get_mut(..header_len(vlan))?;
    let [outer, inner] = vlan.tags();
    header[..6].copy_from_slice(&destination.0);
    header[6..ADDRESSES].copy_from_slice(&source.0);
    if let Some(tag) = inner {
        header[ADDRESSES..ADDRESSES + 2].copy_from_slice(&tag.tpid.to_be_bytes());
        header[ADDRESSES + 2..ADDRESSES + 4].copy_from_slice(&tag.tci.to_be_bytes());
    }
    let kind: u16 = if ipv6 { 0x86dd } else { 0x0800 };
    let end = header.len();
    header[end - 2..].copy_from_slice(&kind.to_be_bytes());
    Some(Meta { vlan: outer, ..Meta::default() })
}

/// A TCP segment of ours without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    control: TcpControl,
    sequence: u32,
    mss: Option<u16>,
}

impl Segment {
    pub(super) fn syn(sequence: u32, ipv6: bool, mtu: u16) -> Self {
        let headers = if ipv6 { 60 } else { 40 };
        Self { control: TcpControl::Syn, sequence, mss: Some(mtu.saturating_sub(headers)) }
    }

    pub(super) const fn reset(sequence: u32) -> Self {
        Self { control: TcpControl::Rst, sequence, mss: None }
    }

    /// Writes the IP packet and answers its length.
    pub(super) fn write(self, source: SocketAddr, target: SocketAddr, buffer: &mut [u8]) -> Option<usize> {
        let tcp = TcpRepr {
            src_port: source.port(),
            dst_port: target.port(),
            control: self.control,
            seq_number: TcpSeqNumber(self.sequence as i32),
            ack_number: None,
            window_len: 64_240,
            window_scale: None,
            max_seg_size: self.mss,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let ip = IpRepr::new(source.ip().into(), target.ip().into(), IpProtocol::Tcp, tcp.buffer_len(), 64);
        let buffer = buffer.get_mut(..ip.buffer_len())?;
        let checksums = ChecksumCapabilities::default();
        let header = ip.header_len();
        ip.emit(&mut *buffer, &checksums);
        let mut packet = TcpPacket::new_unchecked(&mut buffer[header..]);
        tcp.emit(&mut packet, &ip.src_addr(), &ip.dst_addr(), &checksums);
        Some(ip.buffer_len())
    }
}

/// A frame that may belong to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival<'a> {
    pub(super) mac: MacAddr,
    /// Our end of the probe.
    pub(super) ours: SocketAddr,
    /// The VIP's end.
    pub(super) theirs: SocketAddr,
    /// The IP packet without padding.
    pub(super) packet: &'a [u8],
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp {
        flags: u8,
        acknowledgement: u32,
    },
    /// A packet of ours, on its way back to us.
    SentBack {
        sequence: u32,
    },
    /// An ICMP error about one of ours.
    Unreachable {
        from: IpAddr,
        code: u8,
        sequence: u32,
    },
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

impl<'a> Arrival<'a> {
    /// Takes a frame apart. `None` if it is no TCP segment and no ICMP error, or is cut, damaged or in pieces. `finished`: the TCP
    /// checksum is the hardware's business.
    pub(super) fn parse(frame: &'a [u8], finished: bool) -> Option<Self> {
        let mac = MacAddr(frame.get(6..ADDRESSES)?.try_into().ok()?);
        let mut at = ADDRESSES;
        let mut kind = be16(frame, at)?;
        // Whoever keeps tags in the bytes has two at most.
        for _ in 0..2 {
            if matches!(kind, 0x8100 | 0x88a8) {
                at += TAG;
                kind = be16(frame, at)?;
            }
        }
        let packet = frame.get(at + 2..)?;
        match kind {
            0x0800 => Self::parse_v4(mac, packet, finished),
            0x86dd => Self::parse_v6(mac, packet, finished),
            _ => None,
        }
    }

    fn parse_v4(mac: MacAddr, packet: &'a [u8], finished: bool) -> Option<Self> {
        let ip = Ipv4Packet::new_checked(packet).ok()?;
        if ip.version() != 4 || !ip.verify_checksum() || ip.more_frags() || ip.frag_offset() != 0 {
            return None;
        }
        let (source, destination) = (IpAddr::V4(ip.src_addr()), IpAddr::V4(ip.dst_addr()));
        let whole = packet.get(..usize::from(ip.total_len()))?;
        let payload = whole.get(usize::from(ip.header_len())..)?;
        match ip.next_header() {
            IpProtocol::Tcp => Self::parse_tcp(mac, source, destination, whole, payload, finished),
            // RFC 792: type 3, and the packet it is about behind 8 bytes, with 8 bytes of its data at least.
            IpProtocol::Icmp if payload.first() == Some(&3) => {
                let quoted = payload.get(8..)?;
                let header = usize::from(quoted.first()? & 0x0f) * 4;
                let (from, to) = (v4(quoted, 12)?, v4(quoted, 16)?);
                let is_tcp = quoted.first()? >> 4 == 4 && quoted.get(9) == Some(&6);
                is_tcp.then_some(())?;
                Self::quoted(
                    mac,
                    source,
                    destination,
                    whole,
                    payload.get(1).copied()?,
                    from,
                    to,
                    quoted.get(header..)?,
                )
            }
            _ => None,
        }
    }

    fn parse_v6(mac: MacAddr, packet: &'a [u8], finished: bool) -> Option<Self> {
        let ip = Ipv6Packet::new_checked(packet).ok()?;
        if ip.version() != 6 {
            return None;
        }
        let (source, destination) = (IpAddr::V6(ip.src_addr()), IpAddr::V6(ip.dst_addr()));
        let whole = packet.get(..40 + usize::from(ip.payload_len()))?;
        let payload = whole.get(40..)?;
        match ip.next_header() {
            IpProtocol::Tcp => Self::parse_tcp(mac, source, destination, whole, payload, finished),
            // RFC 4443: type 1, and the packet it is about behind 8 bytes.
            IpProtocol::Icmpv6 if payload.first() == Some(&1) => {
                let quoted = payload.get(8..)?;
                let (from, to) = (v6(quoted, 8)?, v6(quoted, 24)?);
                let is_tcp = quoted.first()? >> 4 == 6 && quoted.get(6) == Some(&6);
                is_tcp.then_some(())?;
                Self::quoted(
                    mac,
                    source,
                    destination,
                    whole,
                    payload.get(1).copied()?,
                    from,
                    to,
                    quoted.get(40..)?,
                )
            }
            _ => None,
        }
    }

    fn parse_tcp(
        mac: MacAddr,
        source: IpAddr,
        destination: IpAddr,
        packet: &'a [u8],
        payload: &[u8],
        finished: bool,
    ) -> Option<Self> {
        let tcp = TcpPacket::new_checked(payload).ok()?;
        let flags = *payload.get(13)?;
        let (from, to) =
            (SocketAddr::new(source, tcp.src_port()), SocketAddr::new(destination, tcp.dst_port()));
        if !finished && !tcp.verify_checksum(&source.into(), &destination.into()) {
            return None;
        }
        let acknowledgement = u32::from_be_bytes(payload.get(8..12)?.try_into().ok()?);
        // Only a client's port is as high as ours. What has it on the source side is a packet of ours.
        let sent_back = flags & (SYN | ACK) == SYN;
        let (ours, theirs) = if sent_back { (from, to) } else { (to, from) };
        let kind = if sent_back {
            Kind::SentBack { sequence: u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?) }
        } else {
            Kind::Tcp { flags, acknowledgement }
        };
        Some(Self { mac, ours, theirs, packet, kind })
    }

    #[expect(clippy::too_many_arguments, reason = "one call for each family, both in view")]
    fn quoted(
        mac: MacAddr,
        sender: IpAddr,
        receiver: IpAddr,
        packet: &'a [u8],
        code: u8,
        from: IpAddr,
        to: IpAddr,
        ports: &[u8],
    ) -> Option<Self> {
        let (ours, theirs) = (SocketAddr::new(from, be16(ports, 0)?), SocketAddr::new(to, be16(ports, 2)?));
        let sequence = u32::from_be_bytes(ports.get(4..8)?.try_into().ok()?);
        let kind = Kind::Unreachable { from: sender, code, sequence };
        (receiver == from).then_some(Self { mac, ours, theirs, packet, kind })
    }

    /// Whether it says something about a probe without being an answer; such may come from routers.
    pub(super) const fn is_error(&self) -> bool {
        matches!(self.kind, Kind::Unreachable { .. })
    }

    /// Whether it brings back or quotes a segment of ours with another sequence number: then it is forged, or late. `None` if we have
    /// sent none yet.
    pub(super) fn quotes_other_than(&self, number: Option<u32>) -> bool {
        matches!(self.kind, Kind::SentBack { sequence } | Kind::Unreachable { sequence, .. } if Some(sequence) != number)
    }

    pub(super) const fn failure_kind(&self) -> FailureKind {
        if matches!(self.kind, Kind::SentBack { .. }) {
            FailureKind::SentBack
        } else {
            FailureKind::Unreachable
        }
    }

    /// What it says, if it is an error.
    pub(super) fn error(&self, server: &IpAddr) -> Option<String> {
        match self.kind {
            Kind::Tcp { .. } => None,
            Kind::SentBack { .. } => Some(format!(
                "{server} sent the probe back: the VIP {} is not on lo, and it forwards packets (ip_forward)",
                self.theirs.ip()
            )),
            Kind::Unreachable { from, code, .. } => Some(format!(
                "{from} answered with ICMP unreachable (code {code}): a filter rejects {}",
                self.theirs
            )),
        }
    }

    pub(super) const fn acknowledges(&self, number: u32) -> bool {
        matches!(self.kind, Kind::Tcp { flags, acknowledgement } if flags & ACK != 0 && acknowledgement == number)
    }

    pub(super) const fn is_reset(&self) -> bool {
        matches!(self.kind, Kind::Tcp { flags, .. } if flags & RST != 0)
    }

    pub(super) const fn is_syn_ack(&self) -> bool {
        matches!(self.kind, Kind::Tcp { flags, .. } if flags & (SYN | ACK | RST | FIN) == SYN | ACK)
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn v4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?))
}

fn v6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(IpAddr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?))
}
