//! What a frame is, as far as explanations and filters need it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lvs_core::classify::{Packet, PacketKind};
use lvs_core::config::VlanPath;
use lvs_core::io::Meta;
use lvs_core::{DropReason, MacAddr};

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FrameProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP or ICMPv6, neighbour discovery included.
    Icmp,
    /// ARP.
    Arp,
    /// Anything else, or nothing that can be read.
    Other,
}

impl FrameProtocol {
    /// All of them, by the names that filters use.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("tcp", Self::Tcp),
        ("udp", Self::Udp),
        ("sctp", Self::Sctp),
        ("icmp", Self::Icmp),
        ("arp", Self::Arp),
        ("other", Self::Other),
    ];
}

/// A frame as it came. Displayed as in `TCP SYN 110.0.0.1:40000 > 192.168.0.250:80, 74 bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct What {
    /// What it carries; of a piece of a packet, what the packet carries.
    pub protocol: FrameProtocol,
    /// Who sent it: the IP source, or the sender of an ARP message.
    pub source: Option<IpAddr>,
    /// To whom: the IP destination, or the target of an ARP message.
    pub destination: Option<IpAddr>,
    /// Source and destination port, where there are any.
    pub ports: Option<(u16, u16)>,
    /// The VLANs it came through.
    pub vlan: VlanPath,
    /// Its Ethernet addresses: destination and source.
    pub macs: (MacAddr, MacAddr),
    /// Its length in bytes, Ethernet header included.
    pub length: usize,
    /// Why it cannot be used, if it cannot.
    pub fault: Option<DropReason>,
    /// Whether it came by a port and VLAN of the director's.
    pub has_interface: bool,
    detail: Detail,
}

/// What is worth saying besides addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Nothing,
    TcpFlags(u8),
    Arp { operation: u16, sender: MacAddr },
    Icmp { ipv6: bool, kind: u8, code: u8, target: Option<Ipv6Addr> },
    Piece { offset: Option<u16>, protocol: u8 },
    IpProtocol(u8),
    EtherType(u16),
}

impl What {
    /// Looks at a frame with what classification says of it.
    #[must_use]
    pub fn of(bytes: &[u8], meta: &Meta, packet: Result<&Packet, DropReason>, has_interface: bool) -> Self {
        let mac = |at| chunk(bytes, at).map_or_else(MacAddr::default, MacAddr);
        let mut what = Self {
            protocol: FrameProtocol::Other,
            source: None,
            destination: None,
            ports: None,
            vlan: VlanPath::tagged(meta.vlan.map_or(0, lvs_core::io::VlanTag::id)),
            macs: (mac(0), mac(6)),
            length: bytes.len(),
            fault: None,
            has_interface,
            detail: Detail::Nothing,
        };
        match packet {
            Ok(packet) => what.classified(bytes, packet),
            Err(reason) => what.broken(bytes, reason),
        }
        what
    }

    fn classified(&mut self, bytes: &[u8], packet: &Packet) {
        self.vlan = packet.vlan;
        let (network, transport) = (usize::from(packet.network), usize::from(packet.transport));
        match packet.kind {
            PacketKind::Arp => return self.arp(bytes, network),
            PacketKind::Other => {
                self.detail =
                    be16(bytes, network.saturating_sub(2)).map_or(Detail::Nothing, Detail::EtherType);
                return;
            }
            _ => {}
        }
        let (client, to) = (packet.flow.client(), packet.flow.virtual_socket());
        (self.source, self.destination) = (Some(client.ip()), Some(to.ip()));
        self.protocol = of_number(packet.flow.protocol());
        let has_ports = matches!(packet.kind, PacketKind::Tcp | PacketKind::Udp | PacketKind::Sctp);
        self.ports = has_ports.then_some((client.port(), to.port()));
        self.detail = match packet.kind {
            PacketKind::Tcp => Detail::TcpFlags(packet.tcp_flags),
            PacketKind::Icmp | PacketKind::Icmpv6 => icmp(bytes, transport, packet.is_ipv6()),
            PacketKind::Fragment => {
                let offset = be16(bytes, network + 6).map(|word| (word & 0x1fff) << 3);
                let offset = offset.filter(|_| !packet.is_ipv6());
                Detail::Piece { offset, protocol: packet.flow.protocol() }
            }
            PacketKind::OtherIp => Detail::IpProtocol(packet.flow.protocol()),
            _ => Detail::Nothing,
        };
        if packet.first_fragment {
            self.detail = Detail::Piece { offset: Some(0), protocol: packet.flow.protocol() };
        }
    }

    /// Of a frame that cannot be used: what can be read all the same.
    fn broken(&mut self, bytes: &[u8], reason: DropReason) {
        self.fault = Some(reason);
        let (mut at, mut tags) = (12, 0);
        while let Some(0x8100 | 0x88a8) = be16(bytes, at)
            && tags < 2
        {
            (at, tags) = (at + 4, tags + 1);
        }
        let Some(kind) = be16(bytes, at) else { return };
        let network = at + 2;
        self.detail = Detail::EtherType(kind);
        match kind {
            0x0800 => {
                self.source = chunk::<4>(bytes, network + 12).map(IpAddr::from);
                self.destination = chunk::<4>(bytes, network + 16).map(IpAddr::from);
                self.protocol = bytes.get(network + 9).map_or(FrameProtocol::Other, |n| of_number(*n));
            }
            0x86dd => {
                self.source = chunk::<16>(bytes, network + 8).map(IpAddr::from);
                self.destination = chunk::<16>(bytes, network + 24).map(IpAddr::from);
                self.protocol = bytes.get(network + 6).map_or(FrameProtocol::Other, |n| of_number(*n));
            }
            0x0806 => self.protocol = FrameProtocol::Arp,
            _ => {}
        }
    }

    fn arp(&mut self, bytes: &[u8], network: usize) {
        self.protocol = FrameProtocol::Arp;
        let address = |at| chunk::<4>(bytes, network + at).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
        (self.source, self.destination) = (address(14), address(24));
        if let (Some(operation), Some(sender)) = (be16(bytes, network + 6), chunk(bytes, network + 8)) {
            self.detail = Detail::Arp { operation, sender: MacAddr(sender) };
        }
    }

    /// Whether it is an ARP or NDP message that asks for an address.
    #[must_use]
    pub(super) const fn asks(&self) -> bool {
        matches!(self.detail, Detail::Arp { operation: 1, .. } | Detail::Icmp { ipv6: true, kind: 135, .. })
    }

    /// Whether it is an ARP or NDP message.
    pub(super) const fn is_neighbour_message(&self) -> bool {
        matches!(self.detail, Detail::Arp { .. } | Detail::Icmp { ipv6: true, kind: 133..=136, .. })
    }

    /// Whether it is a TCP segment that asks for a connection.
    pub(super) const fn is_syn(&self) -> bool {
        matches!(self.detail, Detail::TcpFlags(flags) if flags & 2 != 0)
    }

    fn write_from_to(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.source, self.destination, self.ports) {
            (Some(from), Some(to), Some((a, b))) => {
                write!(f, "{} > {}", SocketAddr::new(from, a), SocketAddr::new(to, b))
            }
            (Some(from), Some(to), None) => write!(f, "{from} > {to}"),
            _ => write!(f, "{} > {}", self.macs.1, self.macs.0),
        }
    }

    fn write_arp(&self, f: &mut fmt::Formatter<'_>, operation: u16, sender: MacAddr) -> fmt::Result {
        let (Some(from), Some(to)) = (self.source, self.destination) else {
            return write!(f, "ARP from {sender}");
        };
        match operation {
            1 if from.is_unspecified() => write!(f, "ARP probe for {to} by {sender}"),
            1 if from == to => write!(f, "ARP announcement: {from} is at {sender}"),
            1 => write!(f, "ARP who has {to}, tell {from}"),
            2 => write!(f, "ARP {from} is at {sender}"),
            _ => write!(f, "ARP operation {operation} by {from} about {to}"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.fault.is_some() {
            let carries = match self.detail {
                Detail::EtherType(0x0800) => "broken IPv4 packet ",
                Detail::EtherType(0x86dd) => "broken IPv6 packet ",
                Detail::EtherType(0x0806) => "broken ARP message ",
                _ => "broken frame ",
            };
            f.write_str(carries)?;
            self.write_from_to(f)?;
        } else {
            self.write_whole(f)?;
        }
        match (self.vlan.outer, self.vlan.inner) {
            (0, _) => {}
            (outer, 0) => write!(f, ", VLAN {outer}")?,
            (outer, inner) => write!(f, ", VLAN {outer}.{inner}")?,
        }
        write!(f, ", {} bytes", self.length)
    }
}

impl What {
    fn write_whole(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.protocol {
            FrameProtocol::Tcp => "TCP",
            FrameProtocol::Udp => "UDP",
            FrameProtocol::Sctp => "SCTP",
            FrameProtocol::Icmp => "ICMP",
            FrameProtocol::Arp => "ARP",
            FrameProtocol::Other => "frame",
        };
        match self.detail {
            Detail::Arp { operation, sender } => return self.write_arp(f, operation, sender),
            Detail::TcpFlags(flags) => write_flags(f, flags)?,
            Detail::Icmp { ipv6, kind, code, target } => {
                let family = if ipv6 { "ICMPv6" } else { "ICMP" };
                match (icmp_name(ipv6, kind, code), target) {
                    (Some(name), Some(target)) => write!(f, "{family} {name} {target}, "),
                    (Some(name), None) => write!(f, "{family} {name} "),
                    (None, _) => write!(f, "{family} type {kind} code {code} "),
                }?;
            }
            Detail::Piece { offset: Some(0), .. } => write!(f, "first piece of {name} ")?,
            Detail::Piece { offset: Some(offset), .. } => write!(f, "piece at {offset} of {name} ")?,
            Detail::Piece { offset: None, .. } => f.write_str("piece of a packet ")?,
            Detail::IpProtocol(number) => write!(f, "IP protocol {number} ")?,
            Detail::EtherType(kind) => write!(f, "Ethernet type {kind:#06x} ")?,
            Detail::Nothing => write!(f, "{name} ")?,
        }
        self.write_from_to(f)
    }
}

/// `TCP SYN-ACK `: the flags as people say them.
fn write_flags(f: &mut fmt::Formatter<'_>, flags: u8) -> fmt::Result {
    f.write_str("TCP ")?;
    let names = [(2, "SYN"), (1, "FIN"), (4, "RST"), (16, "ACK")];
    let mut set = names.iter().filter(|(bit, _)| flags & bit != 0);
    match set.next() {
        None => return f.write_str("without flags "),
        Some((_, name)) => f.write_str(name)?,
    }
    for (_, name) in set {
        write!(f, "-{name}")?;
    }
    f.write_str(" ")
}

const fn of_number(number: u8) -> FrameProtocol {
    match number {
        6 => FrameProtocol::Tcp,
        17 => FrameProtocol::Udp,
        132 => FrameProtocol::Sctp,
        1 | 58 => FrameProtocol::Icmp,
        _ => FrameProtocol::Other,
    }
}

fn icmp(bytes: &[u8], transport: usize, ipv6: bool) -> Detail {
    let Some([kind, code]) = chunk(bytes, transport) else { return Detail::Nothing };
    let target = chunk::<16>(bytes, transport + 8).filter(|_| ipv6 && matches!(kind, 135 | 136));
    Detail::Icmp { ipv6, kind, code, target: target.map(Ipv6Addr::from) }
}

const fn icmp_name(ipv6: bool, kind: u8, code: u8) -> Option<&'static str> {
    Some(match (ipv6, kind, code) {
        (false, 8, _) | (true, 128, _) => "echo request",
        (false, 0, _) | (true, 129, _) => "echo reply",
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) | (true, 1, 3) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => "fragmentation needed",
        (false, 3, _) | (true, 1, _) => "unreachable",
        (true, 2, _) => "packet too big",
        (false, 11, _) | (true, 3, _) => "time exceeded",
        (false, 12, _) | (true, 4, _) => "parameter problem",
        (false, 5, _) | (true, 137, _) => "redirect",
        (true, 130, _) => "listener query",
        (true, 131 | 143, _) => "listener report",
        (true, 133, _) => "router solicitation",
        (true, 134, _) => "router advertisement",
        (true, 135, _) => "neighbour solicitation for",
        (true, 136, _) => "neighbour advertisement of",
        _ => return None,
    })
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    chunk(bytes, at).map(u16::from_be_bytes)
}
