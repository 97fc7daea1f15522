//! ARP as Linux does it: whom it answers (`arp_ignore`), what it learns, and as whom it asks (`arp_announce`).
//!
//! The behaviour is that of `net/ipv4/arp.c` in Linux 6.1, told in our words and held to recordings.

use std::net::{IpAddr, Ipv4Addr};

use lvs_core::{Instant, MacAddr};

use super::input::Arrived;
use super::interface::Scope;
use super::neighbour::{Key, News};
use super::{ArpRule, Host, route};
use crate::frames::{self, ArpSummary, IpSummary};

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

impl Host {
    pub(super) fn take_arp(&mut self, now: Instant, arrived: &Arrived<'_>) {
        let Some(arp) = arrived.summary.arp else { return };
        let (IpAddr::V4(sender), IpAddr::V4(target)) = (arp.sender, arp.target) else { return };
        if self.drops_questions_for(arp.target) {
            return;
        }
        if !matches!(arp.operation, REQUEST | REPLY) || target.is_multicast() || target.is_loopback() {
            return;
        }
        let interface = arrived.interface;
        // Somebody probes whether the address is free (RFC 5227): nothing is to be learnt from that.
        if sender.is_unspecified() {
            if arp.operation == REQUEST && self.is_own(arp.target) && !self.ignores(interface, sender, target)
            {
                self.answer(interface, &arp, sender, target);
            }
            return;
        }
        if arp.operation == REQUEST && self.is_own(arp.target) && self.source_is_valid(interface, arp.sender)
        {
            if !self.ignores(interface, sender, target) && !self.filters(interface, arp.sender) {
                // Whoever is asked learns who asks, whatever was known before.
                let news = News { mac: arp.sender_mac, reachable: false, replaces: true, creates: true };
                self.learn(now, (interface, arp.sender), news);
                self.answer(interface, &arp, sender, target);
            }
            return;
        }
        self.overhear(now, arrived, &arp);
    }

    /// What is said to others, or unasked, changes only entries that there are.
    fn overhear(&mut self, now: Instant, arrived: &Arrived<'_>, arp: &ArpSummary) {
        if self.is_own(arp.sender) {
            return;
        }
        let key = (arrived.interface, arp.sender);
        let gratuitous = arp.sender == arp.target
            && (arp.operation == REQUEST || matches!(arp.target_mac, mac if mac == arp.sender_mac));
        let news = News {
            mac: arp.sender_mac,
            reachable: arp.operation == REPLY && !arrived.to_group,
            // Of several answers in a row the first counts.
            replaces: gratuitous || !self.neighbours.is_locked(now, key),
            creates: false,
        };
        self.learn(now, key, news);
    }

    fn answer(&mut self, interface: usize, arp: &ArpSummary, sender: Ipv4Addr, target: Ipv4Addr) {
        self.statistics.answered += 1;
        let own = self.interfaces[interface].mac;
        let reply = frames::arp_reply(own, target, arp.sender_mac, sender);
        self.emit(interface, reply.build());
    }

    pub(super) fn drops_questions_for(&self, target: IpAddr) -> bool {
        self.rules.contains(&ArpRule::DropIn(target))
    }

    /// `arp_ignore`: whether a request for a local address is not answered.
    fn ignores(&self, interface: usize, sender: Ipv4Addr, target: Ipv4Addr) -> bool {
        let here = &self.interfaces[interface];
        let target = IpAddr::V4(target);
        match self.all.arp_ignore.max(here.conf.arp_ignore) {
            1 => !here.holds(target),
            2 => {
                let same_subnet = |own: &super::Address| {
                    own.subnet.contains(target)
                        && (sender.is_unspecified() || own.subnet.contains(sender.into()))
                };
                !here.holds(target) || !here.family(false).any(same_subnet)
            }
            3 => {
                let all = self.interfaces.iter().flat_map(|interface| &interface.addresses);
                !{ all }.any(|own| own.subnet.address() == target && own.scope != Scope::Host)
            }
            8 => true,
            // 4 to 7 are reserved, and what is beyond 8 has no meaning: all are answered.
            _ => false,
        }
    }

    /// `arp_filter`: whether the sender is reached by another interface.
    fn filters(&self, interface: usize, sender: IpAddr) -> bool {
        if !(self.all.arp_filter || self.interfaces[interface].conf.arp_filter) {
            return false;
        }
        let way = route::way(&self.interfaces, &self.routes, sender);
        way.is_none_or(|way| way.interface != interface)
    }

    /// `arp_announce`: the sender address of a request, on behalf of a packet if there is one.
    fn announces(&self, interface: usize, target: Ipv4Addr, packet: Option<&[u8]>) -> Option<Ipv4Addr> {
        let here = &self.interfaces[interface];
        let source = packet.and_then(IpSummary::of).map(|ip| ip.source).filter(|source| self.is_own(*source));
        let target = IpAddr::V4(target);
        let kept = match self.all.arp_announce.max(here.conf.arp_announce) {
            0 => source,
            1 => source.filter(|source| {
                here.family(false).any(|own| own.subnet.contains(target) && own.subnet.contains(*source))
            }),
            _ => None,
        };
        let sender = kept.or_else(|| route::select(&self.interfaces, interface, target, false))?;
        match self.mangled(sender) {
            IpAddr::V4(sender) => Some(sender),
            IpAddr::V6(_) => None,
        }
    }

    fn mangled(&self, sender: IpAddr) -> IpAddr {
        let rule = self.rules.iter().find_map(|rule| match rule {
            ArpRule::MangleOut { sender: from, instead } if *from == sender => Some(*instead),
            _ => None,
        });
        rule.unwrap_or(sender)
    }

    /// Asks who a neighbour is: all stations, or the one that is known.
    pub(super) fn ask(&mut self, key: Key, to: Option<MacAddr>) {
        let (interface, target) = key;
        let packet = self.neighbours.newest_waiting(key);
        match target {
            IpAddr::V4(target) => {
                let Some(sender) = self.announces(interface, target, packet) else { return };
                let request = frames::arp_request(self.interfaces[interface].mac, sender, target);
                let request = if let Some(to) = to { request.unicast(to) } else { request };
                self.emit(interface, request.build());
            }
            IpAddr::V6(target) => self.solicit(interface, target, to),
        }
    }

    pub(super) fn announce_v4(&mut self, interface: usize, address: Ipv4Addr) {
        let frame = frames::arp_announcement(self.interfaces[interface].mac, address).build();
        self.emit(interface, frame);
    }
}
