//! Packets that leave: the host's own, and others' that it sends on.

use std::net::IpAddr;

use lvs_core::{Instant, MacAddr};

use super::neighbour::{Key, News, Resolved, Waiting};
use super::{Host, IcmpMessage, route};
use crate::frames::{self, FRAGMENT, ICMP, ICMPV6, IPV4, IPV6, IcmpError, IpSummary, VLAN};

/// Why a packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is the host's own.
    Own,
    /// It is another host's, and on its way.
    Forwarded,
}

impl Host {
    /// Sends an IP packet by the host's routes.
    pub(super) fn send_packet(&mut self, now: Instant, packet: Vec<u8>, cause: Cause) {
        let Some(ip) = IpSummary::of(&packet) else {
            self.statistics.malformed += 1;
            return;
        };
        if self.is_own(ip.destination) {
            self.deliver(now, packet, &ip);
            return;
        }
        let Some(way) = route::way(&self.interfaces, &self.routes, ip.destination) else {
            self.statistics.no_route += 1;
            self.refuse(now, &packet, &ip, cause, IcmpError::NoRoute);
            return;
        };
        let mtu = self.interfaces[way.interface].mtu;
        if packet.len() > mtu {
            let error = IcmpError::TooBig { mtu: u32::try_from(mtu).unwrap_or(u32::MAX) };
            self.refuse(now, &packet, &ip, cause, error);
            return;
        }
        let key = (way.interface, way.next_hop);
        let mut waiting = Some(Waiting { packet, forwarded: cause == Cause::Forwarded });
        match self.neighbours.resolve(now, key, &mut waiting) {
            Resolved::To(mac) => {
                if let Some(Waiting { packet, .. }) = waiting {
                    self.emit_packet(way.interface, mac, &packet);
                }
            }
            Resolved::Ask => self.ask(key, None),
            Resolved::Waits => {}
            Resolved::Full => self.statistics.unreachable += 1,
        }
    }

    /// Sends another host's packet on.
    pub(super) fn forward_packet(&mut self, now: Instant, packet: &[u8], ip: &IpSummary) {
        if ip.ttl <= 1 {
            self.refuse(now, packet, ip, Cause::Forwarded, IcmpError::TtlExceeded);
            return;
        }
        // Link-local addresses do not leave their link.
        let stays = |address: IpAddr| matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
        if stays(ip.source) || stays(ip.destination) || ip.source.is_unspecified() {
            self.statistics.dropped += 1;
            return;
        }
        self.statistics.forwarded += 1;
        let mut packet = packet.to_vec();
        if ip.source.is_ipv4() {
            packet[8] -= 1;
            let header = usize::from(packet[0] & 15) * 4;
            packet[10..12].fill(0);
            let sum = frames::checksum(&packet[..header]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            packet[7] -= 1;
        }
        self.send_packet(now, packet, Cause::Forwarded);
    }

    /// Takes in what is heard about a neighbour, and sends what waited for it.
    pub(super) fn learn(&mut self, now: Instant, key: Key, news: News) {
        for waiting in self.neighbours.learn(now, key, news) {
            self.emit_packet(key.0, news.mac, &waiting.packet);
        }
    }

    /// A packet's next hop does not answer.
    pub(super) fn unreachable(&mut self, now: Instant, waiting: &Waiting) {
        self.statistics.unreachable += 1;
        let Some(ip) = IpSummary::of(&waiting.packet) else { return };
        let cause = if waiting.forwarded { Cause::Forwarded } else { Cause::Own };
        self.refuse(now, &waiting.packet, &ip, cause, IcmpError::HostUnreachable);
    }

    /// Tells the sender of a packet that it goes no further; of an own packet, the host itself.
    fn refuse(&mut self, now: Instant, packet: &[u8], ip: &IpSummary, cause: Cause, error: IcmpError) {
        let is_error = match ip.protocol {
            ICMP => ip.icmp.is_none_or(|(kind, _)| !matches!(kind, 0 | 8 | 13 | 14)),
            ICMPV6 => ip.icmp.is_none_or(|(kind, _)| kind < 128),
            _ => false,
        };
        let later_piece = ip.fragment.is_some_and(|(offset, _)| offset > 0) || ip.protocol == FRAGMENT;
        // RFC 1122 section 3.2.2: no error about an error, nor about any but the first piece.
        if is_error || later_piece || ip.source.is_unspecified() {
            return;
        }
        let from = match cause {
            Cause::Own => Some(ip.source),
            Cause::Forwarded => self.source_for(ip.source),
        };
        let Some(from) = from else { return };
        let ether_type = if ip.source.is_ipv4() { IPV4 } else { IPV6 };
        let about = frames::ethernet(MacAddr::ZERO, MacAddr::ZERO, ether_type, packet);
        self.packet_id = self.packet_id.wrapping_add(1);
        let message = frames::icmp_error(from, ip.source, error, &about).id(self.packet_id);
        let message = message.dont_fragment(false).build()[14..].to_vec();
        if cause == Cause::Forwarded {
            self.send_packet(now, message, Cause::Own);
        } else if let Some(kind) = IpSummary::of(&message).and_then(|ip| ip.icmp) {
            let about = Some(ip.destination);
            self.note(IcmpMessage { at: now, from: ip.destination, kind, about });
            self.stack.unreachable(ip);
        }
    }

    fn emit_packet(&mut self, interface: usize, to: MacAddr, packet: &[u8]) {
        let ether_type = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
        let frame = frames::ethernet(self.interfaces[interface].mac, to, ether_type, packet);
        self.emit(interface, frame);
    }

    /// Sends a frame out by an interface, with the tag of its VLAN.
    pub(super) fn emit(&mut self, interface: usize, mut frame: Vec<u8>) {
        let interface = &self.interfaces[interface];
        let Some(port) = interface.port.filter(|_| interface.up) else { return };
        if let Some(id) = interface.vlan {
            let ([a, b], [c, d]) = (VLAN.to_be_bytes(), id.to_be_bytes());
            frame.splice(12..12, [a, b, c, d]);
        }
        self.outgoing.push_back((port, frame));
    }
}
