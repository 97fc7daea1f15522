//! What a frame says of itself, as plain fields: for assertions and for displays.
//!
//! Parsed here and never with the code under test. Lengths are taken from the headers as far as the
//! bytes go, so frames that were cut off say what they can. Checksums are reported as they stand;
//! whether they are right is said beside them. Not etherparse: its lax IPv6 extension iterator (0.21)
//! reads beyond the slice on a later fragment of a packet with extension headers.

use std::net::{IpAddr, SocketAddr};

use lvs_core::MacAddr;
use lvs_core::io::VlanTag;

use super::transport::TcpFlags;
use super::{
    ARP, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, IPV4, IPV6, ROUTING, SERVICE_VLAN, TCP,
    UDP, VLAN,
};

/// A frame's fields, as far as its bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Ethernet address of the sender of this hop.
    pub source_mac: MacAddr,
    /// Ethernet address of the receiver of this hop.
    pub destination_mac: MacAddr,
    /// Tags inside the bytes, outer first.
    pub tags: Vec<VlanTag>,
    /// The Ethernet type behind the tags.
    pub ether_type: u16,
    /// Bytes in front of the IP or ARP header.
    pub network_offset: usize,
    /// Set for an ARP message.
    pub arp: Option<ArpSummary>,
    /// Set for an IP packet.
    pub ip: Option<IpSummary>,
}

/// An ARP message over Ethernet and IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpSummary {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// The sender's Ethernet address inside the message.
    pub sender_mac: MacAddr,
    /// The sender's address.
    pub sender: IpAddr,
    /// The target's Ethernet address; zero in a request.
    pub target_mac: MacAddr,
    /// The target's address.
    pub target: IpAddr,
}

/// An IP packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpSummary {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// The id (IPv4), or that of the fragment header (IPv6); `None` if the packet has none.
    pub id: Option<u32>,
    /// Whether it must not be fragmented; always so in IPv6.
    pub dont_fragment: bool,
    /// Fragments: offset in bytes, and whether more come.
    pub fragment: Option<(usize, bool)>,
    /// The IPv4 header checksum as it stands.
    pub header_checksum: Option<u16>,
    /// Length of the whole packet as its header says, in bytes.
    pub length: usize,
    /// The protocol behind all extension headers.
    pub protocol: u8,
    /// Source and destination port, where there are ports and the frame is long enough.
    pub ports: Option<(u16, u16)>,
    /// The transport checksum as it stands.
    pub checksum: Option<u16>,
    /// Whether the transport checksum is right; `None` where there is none, or not all it covers is here.
    pub checksum_right: Option<bool>,
    /// Bytes of transport payload in the frame.
    pub payload_len: usize,
    /// Set for TCP with a whole header.
    pub tcp: Option<TcpSummary>,
    /// Type and code of an ICMP or ICMPv6 message.
    pub icmp: Option<(u8, u8)>,
    /// The packet that an ICMP error quotes.
    pub quoted: Option<Box<IpSummary>>,
    /// The target of a neighbour solicitation or advertisement.
    pub neighbour_target: Option<IpAddr>,
}

/// A TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSummary {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window, unscaled.
    pub window: u16,
}

impl Summary {
    /// Reads an Ethernet frame. `None` if not even the Ethernet header and its tags are there.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Self> {
        let mut summary = Self {
            destination_mac: MacAddr(chunk(frame, 0)?),
            source_mac: MacAddr(chunk(frame, 6)?),
            tags: Vec::new(),
            ether_type: u16_at(frame, 12)?,
            network_offset: 14,
            arp: None,
            ip: None,
        };
        while matches!(summary.ether_type, VLAN | SERVICE_VLAN) {
            let tci = u16_at(frame, summary.network_offset)?;
            summary.tags.push(VlanTag { tpid: summary.ether_type, tci });
            summary.ether_type = u16_at(frame, summary.network_offset + 2)?;
            summary.network_offset += 4;
        }
        let rest = frame.get(summary.network_offset..)?;
        match summary.ether_type {
            ARP => summary.arp = ArpSummary::of(rest),
            IPV4 | IPV6 => summary.ip = IpSummary::of(rest),
            _ => {}
        }
        Some(summary)
    }

    /// Source and destination with their ports, where there are any.
    #[must_use]
    pub fn sockets(&self) -> Option<(SocketAddr, SocketAddr)> {
        let ip = self.ip.as_ref()?;
        let (source, destination) = ip.ports?;
        Some((SocketAddr::new(ip.source, source), SocketAddr::new(ip.destination, destination)))
    }
}

impl ArpSummary {
    fn of(message: &[u8]) -> Option<Self> {
        // Ethernet, IPv4, and the lengths of their addresses (RFC 826).
        if chunk(message, 0)? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        Some(Self {
            operation: u16_at(message, 6)?,
            sender_mac: MacAddr(chunk(message, 8)?),
            sender: IpAddr::from(chunk::<4>(message, 14)?),
            target_mac: MacAddr(chunk(message, 18)?),
            target: IpAddr::from(chunk::<4>(message, 24)?),
        })
    }
}

impl IpSummary {
    /// Reads a bare IP packet, as ICMP errors quote it. `None` if its fixed header is not there or no
    /// IP header.
    #[must_use]
    pub fn of(packet: &[u8]) -> Option<Self> {
        Self::parse(packet, true)
    }

    /// `outermost`: an error that is itself quoted is not followed further, so that depth is bounded.
    fn parse(packet: &[u8], outermost: bool) -> Option<Self> {
        let (mut ip, header_len) = match packet.first()? >> 4 {
            4 => Self::of_ipv4(packet)?,
            6 => Self::of_ipv6(packet)?,
            _ => return None,
        };
        let end = packet.len().min(ip.length);
        ip.read_payload(packet.get(header_len..end)?, packet.len() < ip.length, outermost);
        Some(ip)
    }

    /// The fields of the header, and its length in bytes.
    fn of_ipv4(packet: &[u8]) -> Option<(Self, usize)> {
        let header: [u8; 20] = chunk(packet, 0)?;
        let header_len = usize::from(header[0] & 15) * 4;
        let length = usize::from(u16_at(packet, 2)?);
        if header_len < 20 || length < header_len {
            return None;
        }
        let flags = u16_at(packet, 6)?;
        let (offset, more) = (usize::from(flags & 0x1fff) * 8, flags & 0x2000 != 0);
        let ip = Self {
            tos: header[1],
            id: u16_at(packet, 4).map(u32::from),
            dont_fragment: flags & 0x4000 != 0,
            fragment: (offset > 0 || more).then_some((offset, more)),
            header_checksum: u16_at(packet, 10),
            length,
            protocol: header[9],
            ..Self::bare(chunk::<4>(packet, 12)?.into(), chunk::<4>(packet, 16)?.into(), header[8])
        };
        Some((ip, header_len))
    }

    /// The fields of the header and the extension headers, and the length of them all in bytes.
    fn of_ipv6(packet: &[u8]) -> Option<(Self, usize)> {
        let header: [u8; 40] = chunk(packet, 0)?;
        let length = 40 + usize::from(u16_at(packet, 4)?);
        let mut ip = Self {
            tos: header[0] << 4 | header[1] >> 4,
            length,
            protocol: header[6],
            ..Self::bare(chunk::<16>(packet, 8)?.into(), chunk::<16>(packet, 24)?.into(), header[7])
        };
        let mut at = 40;
        // Behind the fragment header of a later fragment come bytes from the middle of the packet.
        while ip.fragment.is_none_or(|(offset, _)| offset == 0) {
            let rest = packet.get(at..packet.len().min(length)).unwrap_or_default();
            let size = match ip.protocol {
                FRAGMENT => 8,
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                    rest.get(1).map_or(8, |n| (usize::from(*n) + 1) * 8)
                }
                _ => break,
            };
            if rest.len() < size {
                break;
            }
            if ip.protocol == FRAGMENT {
                let field = u16_at(rest, 2)?;
                ip.fragment = Some((usize::from(field & !7), field & 1 != 0));
                ip.id = chunk(rest, 4).map(u32::from_be_bytes);
            }
            ip.protocol = rest[0];
            at += size;
        }
        Some((ip, at))
    }

    fn read_payload(&mut self, payload: &[u8], cut_off: bool, outermost: bool) {
        self.payload_len = payload.len();
        if self.fragment.is_some_and(|(offset, _)| offset > 0) {
            return;
        }
        match self.protocol {
            TCP => self.read_tcp(payload),
            UDP => {
                self.ports = u16_at(payload, 0).zip(u16_at(payload, 2));
                self.checksum = u16_at(payload, 6);
                self.payload_len = payload.len().saturating_sub(8);
            }
            ICMP | ICMPV6 => self.read_icmp(payload, outermost),
            _ => {}
        }
        let whole = !cut_off && self.fragment.is_none();
        self.checksum_right = self.checksum.filter(|_| whole).and_then(|stands| self.verify(stands, payload));
    }

    fn read_tcp(&mut self, segment: &[u8]) {
        self.ports = u16_at(segment, 0).zip(u16_at(segment, 2));
        let Some(header) = chunk::<20>(segment, 0) else { return };
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < 20 || header_len > segment.len() {
            return;
        }
        self.checksum = u16_at(segment, 16);
        self.payload_len = segment.len() - header_len;
        self.tcp = Some(TcpSummary {
            flags: TcpFlags(header[13]),
            seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            window: u16::from_be_bytes([header[14], header[15]]),
        });
    }

    fn read_icmp(&mut self, message: &[u8], outermost: bool) {
        let Some([kind, code, ..]) = chunk::<8>(message, 0) else { return };
        let data = &message[8..];
        self.icmp = Some((kind, code));
        self.checksum = u16_at(message, 2);
        self.payload_len = data.len();
        let error = if self.protocol == ICMP { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { kind < 128 };
        if error && outermost {
            self.quoted = Self::parse(data, false).map(Box::new);
        }
        if self.protocol == ICMPV6 && matches!(kind, 135 | 136) {
            self.neighbour_target = chunk::<16>(data, 0).map(IpAddr::from);
        }
    }

    fn verify(&self, stands: u16, payload: &[u8]) -> Option<bool> {
        let sum = match self.protocol {
            UDP if stands == 0 => return None,
            ICMP => etherparse::checksum::Sum16BitWords::new(),
            _ => super::checksum::pseudo_header(self.source, self.destination, self.protocol, payload.len()),
        };
        Some(sum.add_slice(payload).ones_complement() == 0)
    }

    const fn bare(source: IpAddr, destination: IpAddr, ttl: u8) -> Self {
        Self {
            source,
            destination,
            ttl,
            tos: 0,
            id: None,
            dont_fragment: true,
            fragment: None,
            header_checksum: None,
            length: 0,
            protocol: 0,
            ports: None,
            checksum: None,
            checksum_right: None,
            payload_len: 0,
            tcp: None,
            icmp: None,
            quoted: None,
            neighbour_target: None,
        }
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    chunk(bytes, at).map(u16::from_be_bytes)
}
