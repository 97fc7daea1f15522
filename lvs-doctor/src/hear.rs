//! What a frame says that an examination listens for. Reads hostile bytes: every length is checked, and what is odd says
//! nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::classify::{Packet, PacketKind};
use lvs_core::{Frame, MacAddr};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags, NdiscRepr,
    RawHardwareAddress,
};

/// An address with a port.
pub(crate) type Endpoint = (IpAddr, u16);

/// Why somebody speaks ARP or neighbour discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Looks for the target.
    Asks,
    /// Tells the target, which had asked.
    Answers,
    /// Tells everybody.
    Announces,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// ARP or neighbour discovery.
    Neighbour {
        purpose: Purpose,
        /// Who speaks.
        mac: MacAddr,
        /// The address that it says it has, if it says one.
        sender: Option<IpAddr>,
        /// Whom it looks for or answers.
        target: IpAddr,
    },
    /// A TCP segment.
    Tcp { source: Endpoint, destination: Endpoint, flags: u8, ack: u32 },
    /// A UDP datagram.
    Udp { source: Endpoint, destination: Endpoint },
    /// The answer to a ping.
    Echo { source: IpAddr, ident: u16, seq: u16, fragmented: bool },
    /// Somebody says that a packet from `source` to `destination` cannot be delivered.
    Unreachable { by: IpAddr, source: Endpoint, destination: Endpoint, nobody_listens: bool },
}

pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// What a classified frame says.
pub(crate) fn hear(frame: &Frame<'_>, packet: &Packet) -> Option<Heard> {
    let bytes = frame.bytes();
    let end = usize::try_from(packet.end).ok()?;
    let rest = |from: u16| bytes.get(usize::from(from)..end);
    let (source, destination) = (packet.flow.client(), packet.flow.virtual_socket());
    let ends = |socket: std::net::SocketAddr| (socket.ip(), socket.port());
    match packet.kind {
        PacketKind::Arp => arp(rest(packet.network)?),
        PacketKind::Tcp => {
            let ack = u32::from_be_bytes(*rest(packet.transport)?.get(8..)?.first_chunk()?);
            let (source, destination) = (ends(source), ends(destination));
            Some(Heard::Tcp { source, destination, flags: packet.tcp_flags, ack })
        }
        PacketKind::Udp => Some(Heard::Udp { source: ends(source), destination: ends(destination) }),
        PacketKind::Icmp => {
            let message = rest(packet.transport)?;
            match *message.first_chunk()? {
                [0, 0, _, _, i, j, s, q] => Some(echo(source.ip(), [i, j], [s, q], packet.first_fragment)),
                // Destination unreachable: code 3 is the port (RFC 792).
                [3, code, ..] => unreachable_v4(source.ip(), message.get(8..)?, code == 3),
                _ => None,
            }
        }
        PacketKind::Icmpv6 => {
            let message = rest(packet.transport)?;
            match *message.first_chunk()? {
                [129, 0, _, _, i, j, s, q] => Some(echo(source.ip(), [i, j], [s, q], packet.first_fragment)),
                // Destination unreachable: code 4 is the port (RFC 4443 section 3.1).
                [1, code, ..] => unreachable_v6(source.ip(), message.get(8..)?, code == 4),
                [135 | 136, ..] => {
                    let (IpAddr::V6(source), IpAddr::V6(destination)) = (source.ip(), destination.ip())
                    else {
                        return None;
                    };
                    // RFC 4861 section 7.1: what crossed a router is no neighbour's.
                    let hop_limit = *bytes.get(usize::from(packet.network) + 7)?;
                    let from = MacAddr(*bytes.get(6..)?.first_chunk()?);
                    (hop_limit == 255).then(|| ndp(source, destination, from, message)).flatten()
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn echo(source: IpAddr, ident: [u8; 2], seq: [u8; 2], fragmented: bool) -> Heard {
    Heard::Echo { source, ident: u16::from_be_bytes(ident), seq: u16::from_be_bytes(seq), fragmented }
}

fn arp(bytes: &[u8]) -> Option<Heard> {
    let packet = ArpPacket::new_checked(bytes).ok()?;
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr: sender,
        target_protocol_addr: target,
        ..
    } = ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    let mac = MacAddr(source_hardware_addr.0);
    if !mac.is_unicast() || sender.is_multicast() || sender.is_broadcast() || sender.is_loopback() {
        return None;
    }
    let purpose = match operation {
        ArpOperation::Request | ArpOperation::Reply if sender == target => Purpose::Announces,
        ArpOperation::Request => Purpose::Asks,
        ArpOperation::Reply => Purpose::Answers,
        ArpOperation::Unknown(_) => return None,
    };
    let sender = (!sender.is_unspecified()).then_some(IpAddr::V4(sender));
    Some(Heard::Neighbour { purpose, mac, sender, target: target.into() })
}

fn ndp(source: Ipv6Addr, destination: Ipv6Addr, from: MacAddr, message: &[u8]) -> Option<Heard> {
    let packet = Icmpv6Packet::new_checked(message).ok()?;
    let repr = Icmpv6Repr::parse(&source, &destination, &packet, &ChecksumCapabilities::default()).ok()?;
    let Icmpv6Repr::Ndisc(message) = repr else { return None };
    let station = |option: Option<RawHardwareAddress>| {
        let mac = match option {
            Some(raw) => MacAddr(*raw.as_bytes().first_chunk()?),
            None => from,
        };
        mac.is_unicast().then_some(mac)
    };
    match message {
        NdiscRepr::NeighborSolicit { target_addr: target, lladdr } => {
            let sender = (!source.is_unspecified()).then_some(IpAddr::V6(source));
            Some(Heard::Neighbour {
                purpose: Purpose::Asks,
                mac: station(lladdr)?,
                sender,
                target: target.into(),
            })
        }
        NdiscRepr::NeighborAdvert { flags, target_addr, lladdr } => {
            let asked = flags.contains(NdiscNeighborFlags::SOLICITED);
            let purpose = if asked { Purpose::Answers } else { Purpose::Announces };
            let sender = Some(IpAddr::V6(target_addr));
            Some(Heard::Neighbour { purpose, mac: station(lladdr)?, sender, target: destination.into() })
        }
        _ => None,
    }
}

fn unreachable_v4(by: IpAddr, quoted: &[u8], nobody_listens: bool) -> Option<Heard> {
    let header: &[u8; 20] = quoted.first_chunk()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    let address =
        |at: usize| header[at..].first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets)));
    let ports = (header[0] >> 4 == 4 && length >= 20).then(|| quoted.get(length..)).flatten()?;
    unreachable(by, address(12)?, address(16)?, ports, nobody_listens)
}

fn unreachable_v6(by: IpAddr, quoted: &[u8], nobody_listens: bool) -> Option<Heard> {
    let header: &[u8; 40] = quoted.first_chunk()?;
    let address =
        |at: usize| header[at..].first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets)));
    // What an examination sends has no extension headers.
    (header[0] >> 4 == 6).then_some(())?;
    unreachable(by, address(8)?, address(24)?, &quoted[40..], nobody_listens)
}

fn unreachable(by: IpAddr, from: IpAddr, to: IpAddr, ports: &[u8], nobody_listens: bool) -> Option<Heard> {
    let [a, b, c, d] = *ports.first_chunk()?;
    let source = (from, u16::from_be_bytes([a, b]));
    let destination = (to, u16::from_be_bytes([c, d]));
    Some(Heard::Unreachable { by, source, destination, nobody_listens })
}
