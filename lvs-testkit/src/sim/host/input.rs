//! Frames and packets that come in: whose they are, and what becomes of them.

use std::net::IpAddr;

use lvs_core::{Instant, MacAddr, PortId};

use super::output::Cause;
use super::{Host, IcmpMessage, route};
use crate::frames::{ICMP, ICMPV6, IpSummary, Summary};

/// A packet with where it was found.
pub(super) struct Arrived<'a> {
    /// The interface.
    pub(super) interface: usize,
    /// The sender of its frame.
    pub(super) from: MacAddr,
    /// Whether it was sent to a group of stations.
    pub(super) to_group: bool,
    /// The frame without tags.
    pub(super) summary: &'a Summary,
    /// The packet.
    pub(super) packet: &'a [u8],
}

impl Host {
    pub(super) fn take_frame(&mut self, now: Instant, port: PortId, frame: &[u8]) {
        let Some(summary) = Summary::of(frame) else {
            self.statistics.malformed += 1;
            return;
        };
        // A priority tag is no VLAN (802.1Q section 6.9); two tags are more than a host here has.
        let vlan = match summary.tags.as_slice() {
            [] => None,
            [tag] => Some(tag.id()).filter(|id| *id != 0),
            _ => Some(u16::MAX),
        };
        let to = summary.destination_mac;
        let ours = |one: &super::Interface| {
            one.port == Some(port) && one.vlan == vlan && (to.is_multicast() || to == one.mac)
        };
        let Some(interface) = self.interfaces.iter().position(ours) else {
            self.statistics.not_for_us += 1;
            return;
        };
        let arrived = Arrived {
            interface,
            from: summary.source_mac,
            to_group: to.is_multicast(),
            summary: &summary,
            packet: &frame[summary.network_offset..],
        };
        if summary.arp.is_some() {
            self.take_arp(now, &arrived);
        } else if let Some(ip) = &summary.ip {
            self.take_packet(now, &arrived, ip);
        } else {
            self.statistics.malformed += 1;
        }
    }

    fn take_packet(&mut self, now: Instant, arrived: &Arrived<'_>, ip: &IpSummary) {
        let whole =
            ip.length <= arrived.packet.len() && (ip.source.is_ipv6() || header_is_right(arrived.packet));
        if !whole || ip.source.is_multicast() {
            self.statistics.malformed += 1;
            return;
        }
        if ip.protocol == ICMPV6 && matches!(ip.icmp, Some((135 | 136, 0))) {
            self.take_ndp(now, arrived, ip);
            return;
        }
        let packet = &arrived.packet[..ip.length];
        if arrived.to_group || ip.destination.is_multicast() {
            // Nobody on this host listens to groups.
            self.statistics.dropped += 1;
        } else if !self.source_is_valid(arrived.interface, ip.source) {
            self.statistics.dropped += 1;
        } else if self.is_own(ip.destination) {
            self.deliver(now, packet.to_vec(), ip);
        } else if self.forwarding {
            self.forward_packet(now, packet, ip);
        } else {
            self.statistics.dropped += 1;
        }
    }

    /// Whether a packet from this source may come in by this interface (`rp_filter`, and never one's own address).
    pub(super) fn source_is_valid(&self, interface: usize, source: IpAddr) -> bool {
        if self.is_own(source) {
            return false;
        }
        let strictness = self.all.rp_filter.max(self.interfaces[interface].conf.rp_filter);
        // The sysctl is one of IPv4.
        if strictness == 0 || source.is_ipv6() || source.is_unspecified() {
            return true;
        }
        let way = route::way(&self.interfaces, &self.routes, source);
        way.is_some_and(|way| strictness == 2 || way.interface == interface)
    }

    /// Hands a packet for this host to whom it is for.
    pub(super) fn deliver(&mut self, now: Instant, packet: Vec<u8>, ip: &IpSummary) {
        if ip.fragment.is_some() {
            self.statistics.malformed += 1;
            return;
        }
        self.statistics.delivered += 1;
        if let Some(kind) = ip.icmp.filter(|_| matches!(ip.protocol, ICMP | ICMPV6))
            && !matches!((ip.protocol, kind.0), (ICMP, 8) | (ICMPV6, 128))
        {
            let about = ip.quoted.as_ref().map(|quoted| quoted.destination);
            self.note(IcmpMessage { at: now, from: ip.source, kind, about });
            return;
        }
        self.stack.handle_packet(packet, ip);
    }

    /// Lets TCP and UDP do what they have to, and sends what they want to.
    pub(super) fn run_stack(&mut self, now: Instant) {
        let mtu = self.interfaces.iter().filter(|one| one.port.is_some()).map(|one| one.mtu).min();
        self.stack.run(now, mtu.unwrap_or(1500));
        while let Some(packet) = self.stack.poll_transmit() {
            self.send_packet(now, packet, Cause::Own);
            // What is for the host itself has gone round by now and may have been answered.
            self.stack.run(now, mtu.unwrap_or(1500));
        }
    }
}

fn header_is_right(packet: &[u8]) -> bool {
    let length = usize::from(packet[0] & 15) * 4;
    packet.get(..length).is_some_and(|header| crate::frames::checksum(header) == 0)
}
