//! A link with stations that answer, in virtual time, and the frames that stations send.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv6Packet, Icmpv6Repr, IpProtocol, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

use crate::addr::MacAddr;
use crate::config::{InterfaceConfig, InterfaceId};
use crate::event::Event;
use crate::io::PortId;
use crate::neighbour::arp::{self, Message, Operation};
use crate::neighbour::locals::solicited_node;
use crate::neighbour::ndp::{Ends, emit_ethernet, emit_headers};
use crate::neighbour::{Neighbours, Outcome};
use crate::time::Instant;
use crate::wire::ethertype;

pub(super) const ETH0: InterfaceId = InterfaceId(0);
pub(super) const ETH1: InterfaceId = InterfaceId(1);
pub(super) const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(super) const DIRECTOR1: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
pub(super) const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x30]);
pub(super) const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x50]);

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub(super) fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Topology C: eth0 faces the router, eth1 the real servers.
pub(super) fn interfaces() -> Vec<InterfaceConfig> {
    let mut front = InterfaceConfig::new(PortId(0), DIRECTOR, "192.168.0.208/24".parse().unwrap());
    front.addresses.push("fd00::208/64".parse().unwrap());
    front.gateways = Vec::from([ip("192.168.0.15"), ip("fd00::15")]);
    let mut back = InterfaceConfig::new(PortId(1), DIRECTOR1, "10.1.0.1/16".parse().unwrap());
    back.addresses.push("fd01::1/64".parse().unwrap());
    back.addresses.push("fe80::1/64".parse().unwrap());
    Vec::from([front, back])
}

/// A frame that the director sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) interface: InterfaceId,
    pub(super) frame: Vec<u8>,
}

impl Sent {
    pub(super) fn to(&self) -> MacAddr {
        MacAddr(*self.frame.first_chunk().unwrap())
    }

    /// The ARP message in it, if it is one.
    pub(super) fn arp(&self) -> Option<Message> {
        arp_of(&self.frame)
    }
}

pub(super) fn arp_of(frame: &[u8]) -> Option<Message> {
    if frame[12..14] != ethertype::ARP.to_be_bytes() {
        return None;
    }
    Message::parse(frame[14..].first_chunk().unwrap())
}

/// The director and stations on its links that answer questions for their address.
pub(super) struct Network {
    pub(super) neighbours: Neighbours,
    pub(super) now: Instant,
    pub(super) stations: BTreeMap<(InterfaceId, IpAddr), MacAddr>,
    pub(super) sent: Vec<Sent>,
    pub(super) buffer: Vec<u8>,
}

impl Network {
    pub(super) fn new() -> Self {
        Self::with_capacity(64, 64)
    }

    pub(super) fn with_capacity(neighbours: u32, locals: u32) -> Self {
        Self {
            neighbours: Neighbours::new(&interfaces(), neighbours, locals, 42),
            now: Instant::ZERO,
            stations: BTreeMap::new(),
            sent: Vec::new(),
            buffer: std::vec![0xa5; 1514],
        }
    }

    /// Lets time pass until `until`; everything that is due is sent when it is due, and answered at once.
    pub(super) fn run(&mut self, until: Instant) {
        for _ in 0..1_000_000 {
            while let Some((interface, length)) = self.neighbours.poll_transmit(self.now, &mut self.buffer) {
                let frame = self.buffer[..length].to_vec();
                self.answer(interface, &frame);
                self.sent.push(Sent { at: self.now, interface, frame });
            }
            match self.neighbours.poll_timeout().filter(|next| *next <= until) {
                Some(next) => self.now = self.now.max(next),
                None => {
                    self.now = until;
                    return;
                }
            }
        }
        panic!("the director does not come to rest: {:?}", self.neighbours.poll_timeout());
    }

    /// Runs until then and answers what was sent meanwhile.
    pub(super) fn sent_until(&mut self, until: Instant) -> Vec<Sent> {
        self.sent.clear();
        self.run(until);
        core::mem::take(&mut self.sent)
    }

    fn answer(&mut self, interface: InterfaceId, frame: &[u8]) {
        if let Some(question) = arp_of(frame) {
            let Some(&mac) = self.stations.get(&(interface, IpAddr::V4(question.target))) else { return };
            let to = MacAddr(*frame.first_chunk().unwrap());
            if to.is_multicast() || to == mac {
                let mut reply = arp_reply(mac, question.target, question.sender_mac, question.sender);
                _ = self.neighbours.handle_arp(self.now, interface, &mut reply, 14);
            }
        } else if let Some((source, target)) = solicitation_of(frame) {
            let Some(&mac) = self.stations.get(&(interface, IpAddr::V6(target))) else { return };
            let asker = MacAddr(*frame[6..].first_chunk().unwrap());
            let flags = NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
            let mut reply = advertisement((mac, target), (asker, source), target, flags, Some(mac));
            _ = icmpv6(&mut self.neighbours, self.now, interface, &mut reply);
        }
    }

    pub(super) fn arp(&mut self, interface: InterfaceId, frame: &mut [u8]) -> Outcome {
        self.neighbours.handle_arp(self.now, interface, frame, 14)
    }

    pub(super) fn icmpv6(&mut self, interface: InterfaceId, frame: &mut [u8]) -> Outcome {
        icmpv6(&mut self.neighbours, self.now, interface, frame)
    }

    pub(super) fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.neighbours.poll_event()).collect()
    }
}

/// Hands in an untagged frame without extension headers.
pub(super) fn icmpv6(
    neighbours: &mut Neighbours,
    now: Instant,
    interface: InterfaceId,
    frame: &mut [u8],
) -> Outcome {
    let end = frame.len();
    neighbours.handle_icmpv6(now, interface, frame, 14, 54, end)
}

pub(super) fn arp_frame(to: MacAddr, message: &Message) -> Vec<u8> {
    let mut frame = std::vec![0; 60];
    emit_ethernet(&mut frame, to, message.sender_mac, ethertype::ARP).unwrap();
    message.emit(frame[14..].first_chunk_mut::<{ arp::LENGTH }>().unwrap());
    frame
}

pub(super) fn arp_request(mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let message =
        Message { operation: Operation::Request, sender_mac: mac, sender, target_mac: MacAddr::ZERO, target };
    arp_frame(MacAddr::BROADCAST, &message)
}

pub(super) fn arp_reply(mac: MacAddr, sender: Ipv4Addr, to: MacAddr, target: Ipv4Addr) -> Vec<u8> {
    let message = Message { operation: Operation::Reply, sender_mac: mac, sender, target_mac: to, target };
    arp_frame(to, &message)
}

/// Source and target of a solicitation.
pub(super) fn solicitation_of(frame: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    if frame[12..14] != ethertype::IPV6.to_be_bytes() || frame[20] != 58 || frame[54] != 135 {
        return None;
    }
    let at = |offset: usize| Ipv6Addr::from(*frame[offset..].first_chunk::<16>().unwrap());
    Some((at(22), at(62)))
}

pub(super) fn solicitation(
    from: (MacAddr, Ipv6Addr),
    to: Option<(MacAddr, Ipv6Addr)>,
    target: Ipv6Addr,
    option: Option<MacAddr>,
) -> Vec<u8> {
    let group = solicited_node(target);
    let to = to.unwrap_or((MacAddr::for_ipv6_multicast(group), group));
    let lladdr = option.map(|mac| RawHardwareAddress::from_bytes(&mac.0));
    ndp_frame(from, to, NdiscRepr::NeighborSolicit { target_addr: target, lladdr })
}

pub(super) fn advertisement(
    from: (MacAddr, Ipv6Addr),
    to: (MacAddr, Ipv6Addr),
    target: Ipv6Addr,
    flags: NdiscNeighborFlags,
    option: Option<MacAddr>,
) -> Vec<u8> {
    let lladdr = option.map(|mac| RawHardwareAddress::from_bytes(&mac.0));
    ndp_frame(from, to, NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr })
}

fn ndp_frame(from: (MacAddr, Ipv6Addr), to: (MacAddr, Ipv6Addr), message: NdiscRepr<'_>) -> Vec<u8> {
    let repr = Icmpv6Repr::Ndisc(message);
    let mut frame = std::vec![0; 54 + repr.buffer_len()];
    let ends = Ends { mac: from.0, to_mac: to.0, source: from.1, destination: to.1 };
    emit_headers(&mut frame, &ends, IpProtocol::Icmpv6, 255, repr.buffer_len()).unwrap();
    repr.emit(
        &ends.source,
        &ends.destination,
        &mut Icmpv6Packet::new_unchecked(&mut frame[54..]),
        &ChecksumCapabilities::default(),
    );
    frame
}

/// Writes the ICMPv6 checksum of a frame whose message begins at `icmp`.
pub(super) fn fix_checksum(frame: &mut [u8], icmp: usize) {
    let at = |offset: usize| Ipv6Addr::from(*frame[offset..].first_chunk::<16>().unwrap());
    let (source, destination) = (at(22), at(38));
    Icmpv6Packet::new_unchecked(&mut frame[icmp..]).fill_checksum(&source, &destination);
}
