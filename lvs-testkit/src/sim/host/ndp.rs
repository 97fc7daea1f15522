//! Neighbour discovery (RFC 4861) as Linux does it, as far as addresses are resolved by it.
//!
//! A solicitation is answered for addresses of the very interface only; so a VIP on `lo` is quiet without any sysctl.
//! There is no address detection, no router discovery, and no group is joined.

use std::net::{IpAddr, Ipv6Addr};

use lvs_core::{Instant, MacAddr};

use super::Host;
use super::input::Arrived;
use super::neighbour::News;
use super::route;
use crate::frames::{self, IpSummary};

const SOLICITATION: u8 = 135;
/// Flags of an advertisement.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// Kinds of the option with a link-layer address.
const SOURCE_LINK: u8 = 1;
const TARGET_LINK: u8 = 2;
/// The fixed parts of the headers: IPv6, and ICMPv6 with flags and target.
const IPV6_HEADER: usize = 40;
const MESSAGE: usize = 24;

impl Host {
    pub(super) fn take_ndp(&mut self, now: Instant, arrived: &Arrived<'_>, ip: &IpSummary) {
        // RFC 4861 section 7.1: "The IP Hop Limit field has a value of 255", or a router was on the way.
        if ip.ttl != 255 || ip.checksum_right != Some(true) || ip.length < IPV6_HEADER + MESSAGE {
            self.statistics.malformed += 1;
            return;
        }
        let Some(IpAddr::V6(target)) = ip.neighbour_target else { return };
        let message = &arrived.packet[IPV6_HEADER..ip.length];
        if ip.icmp == Some((SOLICITATION, 0)) {
            self.take_solicitation(now, arrived, ip, target, message);
        } else {
            self.take_advertisement(now, arrived, target, message);
        }
    }

    fn take_solicitation(
        &mut self,
        now: Instant,
        arrived: &Arrived<'_>,
        ip: &IpSummary,
        target: Ipv6Addr,
        message: &[u8],
    ) {
        let interface = arrived.interface;
        if !self.interfaces[interface].holds(target.into()) || self.drops_questions_for(target.into()) {
            return;
        }
        let IpAddr::V6(source) = ip.source else { return };
        let mac = self.interfaces[interface].mac;
        self.statistics.answered += 1;
        if source.is_unspecified() {
            // Somebody checks whether the address is free: all are told that it is not.
            self.announce_v6(interface, target);
            return;
        }
        let asker = link_option(message, SOURCE_LINK).unwrap_or(arrived.from);
        let news = News { mac: asker, reachable: false, replaces: true, creates: true };
        self.learn(now, (interface, source.into()), news);
        let answer = frames::neighbour_advertisement(mac, target, asker, source);
        self.emit(interface, answer.build());
    }

    fn take_advertisement(&mut self, now: Instant, arrived: &Arrived<'_>, target: Ipv6Addr, message: &[u8]) {
        let flags = message[4];
        let Some(mac) = link_option(message, TARGET_LINK) else { return };
        if self.is_own(target.into()) {
            return;
        }
        let news = News {
            mac,
            reachable: flags & SOLICITED != 0 && !arrived.to_group,
            replaces: flags & OVERRIDE != 0,
            creates: false,
        };
        self.learn(now, (arrived.interface, target.into()), news);
    }

    /// Asks for a neighbour: its group, or the station that is known. The sender is the source of the packet that
    /// waits if the interface has that address, else the interface's own choice: a VIP on `lo` is never seen.
    pub(super) fn solicit(&mut self, interface: usize, target: Ipv6Addr, to: Option<MacAddr>) {
        let key = (interface, IpAddr::V6(target));
        let here = &self.interfaces[interface];
        let waiting = self.neighbours.newest_waiting(key).and_then(IpSummary::of).map(|ip| ip.source);
        let source = waiting.filter(|source| here.holds(*source));
        let source = source.or_else(|| here.link_local());
        let source = source.or_else(|| route::select(&self.interfaces, interface, key.1, true));
        let Some(IpAddr::V6(source)) = source else { return };
        let question = frames::neighbour_solicitation(here.mac, source, target);
        let question = match to {
            Some(to) => question.macs(here.mac, to),
            None => question,
        };
        self.emit(interface, question.build());
    }

    pub(super) fn announce_v6(&mut self, interface: usize, address: Ipv6Addr) {
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let mac = self.interfaces[interface].mac;
        let frame = frames::neighbour_advertisement(mac, address, mac, all_nodes).build();
        self.emit(interface, frame);
    }
}

/// The link-layer address in a message's options.
fn link_option(message: &[u8], kind: u8) -> Option<MacAddr> {
    let mut options = message.get(MESSAGE..)?;
    while let [this, words, rest @ ..] = options {
        if *this == kind && *words == 1 {
            return Some(MacAddr(*rest.first_chunk()?));
        }
        // RFC 4861 section 4.6: "Nodes MUST silently discard an ND packet that contains an option with length zero."
        options = options.get(usize::from(*words).max(1) * 8..)?;
    }
    None
}
