//! Neighbour discovery and group queries that came in.

use core::net::{IpAddr, Ipv6Addr};

use super::handle_arp::is_for;
use super::ndp::{self, Advertisement, Ends, Header, Message, Solicitation};
use super::transmit::Answer;
use super::{Neighbours, Outcome, mld};
use crate::addr::MacAddr;
use crate::config::InterfaceId;
use crate::time::Instant;
use crate::wire::{ETHERNET_HEADER, IPV6_HEADER};

/// Where the parts of a frame lie.
#[derive(Clone, Copy)]
struct Place {
    interface: InterfaceId,
    mac: MacAddr,
    ip_offset: usize,
}

impl Neighbours {
    /// An ICMPv6 message came in by an interface: `frame` begins with the Ethernet header, the IPv6 header
    /// at `ip_offset`, the message at `icmp_offset`; it ends before `icmp_end`, by the IPv6 payload length.
    /// Types other than neighbour solicitation, neighbour advertisement and MLD query are passed.
    ///
    /// On [`Outcome::Reply`] both Ethernet addresses, both IPv6 addresses and the ICMPv6 message have been
    /// rewritten, nothing else, and the frame is as long as it was; otherwise it is untouched. That is the
    /// answer to a solicitation with the source's Ethernet address as only option. Others are longer than
    /// their question and leave by [`poll_transmit`](Self::poll_transmit).
    ///
    /// Fragments must not be handed in (RFC 6980).
    pub(crate) fn handle_icmpv6(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        frame: &mut [u8],
        ip_offset: usize,
        icmp_offset: usize,
        icmp_end: usize,
    ) -> Outcome {
        let Some(mac) = self.interfaces.get(interface).map(|interface| interface.mac) else {
            return Outcome::Pass;
        };
        let Some(parts) = Parts::find(frame, ip_offset, icmp_offset, icmp_end) else { return Outcome::Bad };
        let place = Place { interface, mac, ip_offset };
        match parts.icmp.first() {
            Some(&(ndp::SOLICITATION | ndp::ADVERTISEMENT)) => {}
            Some(&mld::QUERY) => return self.handle_query(now, interface, &parts),
            Some(_) => return Outcome::Pass,
            None => return Outcome::Bad,
        }
        let Some(message) = ndp::parse(&parts.ip, parts.icmp) else { return Outcome::Bad };
        let from = parts.from;
        if !from.is_unicast() {
            return Outcome::Bad;
        }
        if !is_for(frame, mac) {
            return Outcome::Pass;
        }
        if self.interfaces.is_own(from) {
            return Outcome::Consumed;
        }
        match message {
            Message::Solicitation(solicitation) => {
                self.handle_solicitation(now, place, frame, from, &solicitation)
            }
            Message::Advertisement(advertisement) => {
                self.handle_advertisement(now, interface, from, &advertisement)
            }
        }
    }

    fn handle_solicitation(
        &mut self,
        now: Instant,
        place: Place,
        frame: &mut [u8],
        from: MacAddr,
        solicitation: &Solicitation,
    ) -> Outcome {
        let &Solicitation { source, target, mac } = solicitation;
        let interface = place.interface;
        let asked = self.local_on(interface, IpAddr::V6(target));
        let claimed =
            if source.is_unspecified() { asked } else { self.local_on(interface, IpAddr::V6(source)) };
        if let Some(slot) = claimed {
            self.conflict(now, interface, slot, mac.unwrap_or(from));
        } else if let Some(mac) = mac {
            self.hear(now, interface, source, mac);
        }
        if asked.is_none() && !self.answers_for(interface, IpAddr::V6(target)) {
            return if claimed.is_some() { Outcome::Consumed } else { Outcome::Pass };
        }
        if source.is_unspecified() {
            // RFC 4861 section 7.2.4: whoever has no address yet is told through the all-nodes group.
            self.answers.push(Answer { interface, to: None, target });
            return Outcome::Consumed;
        }
        let to_mac = mac.unwrap_or(from);
        if mac.is_some() {
            let ends = Ends { mac: place.mac, to_mac, source: target, destination: source };
            if ndp::answer_in_place(frame, place.ip_offset, &ends, target).is_some() {
                return Outcome::Reply;
            }
        }
        self.answers.push(Answer { interface, to: Some((to_mac, source)), target });
        Outcome::Consumed
    }

    fn handle_advertisement(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        from: MacAddr,
        advertisement: &Advertisement,
    ) -> Outcome {
        let target = IpAddr::V6(advertisement.target);
        if let Some(slot) = self.local_on(interface, target) {
            self.conflict(now, interface, slot, advertisement.mac.unwrap_or(from));
            return Outcome::Consumed;
        }
        self.learn_from_advertisement(now, interface, advertisement);
        // The kernel may have asked too, if it owns the address that asked.
        if self.local_on(interface, IpAddr::V6(advertisement.destination)).is_some() {
            Outcome::Consumed
        } else {
            Outcome::Pass
        }
    }

    /// RFC 4861 section 7.2.5, but that without override another address is never taken over.
    fn learn_from_advertisement(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        advertisement: &Advertisement,
    ) {
        let Some(id) = self.table.find(interface, IpAddr::V6(advertisement.target)) else { return };
        let mac = advertisement.mac;
        if mac.is_some_and(|mac| self.interfaces.is_own(mac)) {
            return;
        }
        self.edit(now, id, |entry, random| {
            let differs = mac.is_some() && entry.mac().is_some() && mac != entry.mac();
            if differs && !advertisement.overrides {
                entry.suspect(now);
            } else if advertisement.solicited {
                entry.answered(now, mac, random);
            } else if let Some(mac) = mac {
                entry.heard(now, mac);
            }
        });
    }

    /// A tracked neighbour asked somebody and named its own address (RFC 4861 section 7.2.3).
    fn hear(&mut self, now: Instant, interface: InterfaceId, source: Ipv6Addr, mac: MacAddr) {
        if !self.interfaces.is_own(mac)
            && let Some(id) = self.table.find(interface, IpAddr::V6(source))
        {
            self.edit(now, id, |entry, _| entry.heard(now, mac));
        }
    }

    fn handle_query(&mut self, now: Instant, interface: InterfaceId, parts: &Parts<'_>) -> Outcome {
        let Some(query) = mld::parse_query(&parts.ip, parts.between, parts.icmp) else { return Outcome::Bad };
        let deadline = self.reports.ask(now, interface, &query, &mut self.random);
        if let Some(deadline) = deadline {
            self.deadlines.set(self.first_interface + u32::from(interface.0), Some(deadline));
        }
        // The kernel has groups of its own to report.
        Outcome::Pass
    }
}

/// The parts of a frame that carries ICMPv6.
struct Parts<'a> {
    /// The Ethernet source.
    from: MacAddr,
    ip: Header,
    /// Extension headers.
    between: &'a [u8],
    icmp: &'a [u8],
}

impl<'a> Parts<'a> {
    fn find(frame: &'a [u8], ip_offset: usize, icmp_offset: usize, icmp_end: usize) -> Option<Self> {
        if ip_offset < ETHERNET_HEADER {
            return None;
        }
        Some(Self {
            from: MacAddr(*frame.get(6..)?.first_chunk()?),
            ip: Header::parse(frame.get(ip_offset..)?)?,
            between: frame.get(ip_offset.checked_add(IPV6_HEADER)?..icmp_offset)?,
            icmp: frame.get(icmp_offset..icmp_end)?,
        })
    }
}
