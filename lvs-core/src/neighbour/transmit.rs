//! Own frames: answers that could not reuse their question, questions, announcements, group reports.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::iter;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::arp::{self, Message, Operation};
use super::entry::Ask;
use super::interfaces::Interface;
use super::locals::{Step, solicited_node};
use super::mld::{self, Groups, Query, Version};
use super::ndp::{self, ALL_NODES, Ends, emit_ethernet};
use super::pace::Random;
use super::{NeighbourId, Neighbours};
use crate::addr::MacAddr;
use crate::config::InterfaceId;
use crate::event::Event;
use crate::time::Instant;
use crate::wire::{ETHERNET_HEADER, ethertype};

/// An advertisement that waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) interface: InterfaceId,
    /// Who asked; `None` tells all nodes.
    pub(super) to: Option<(MacAddr, Ipv6Addr)>,
    pub(super) target: Ipv6Addr,
}

/// Answers that wait. Whoever finds no room asks again.
#[derive(Debug)]
pub(super) struct Answers {
    queue: VecDeque<Answer>,
    lost: u64,
}

impl Answers {
    const CAPACITY: usize = 64;

    pub(super) fn new() -> Self {
        Self { queue: VecDeque::with_capacity(Self::CAPACITY), lost: 0 }
    }

    pub(super) fn push(&mut self, answer: Answer) {
        // All nodes need not be told the same thing twice.
        if answer.to.is_none() && self.queue.contains(&answer) {
            return;
        }
        if self.queue.len() < Self::CAPACITY {
            self.queue.push_back(answer);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }
}

/// A query that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Pending {
    version: Version,
    group: Option<Ipv6Addr>,
    deadline: Instant,
    /// The local address from which on groups have not been reported.
    cursor: u32,
}

/// The queries of each interface: one at most waits, for all groups or one.
#[derive(Debug)]
pub(super) struct GroupReports {
    interfaces: Vec<(Option<Pending>, Option<Instant>)>,
}

impl GroupReports {
    /// Between two answers on an interface, whatever is asked.
    const GAP: Duration = Duration::from_secs(1);

    pub(super) fn new(interfaces: usize) -> Self {
        Self { interfaces: iter::repeat_n((None, None), interfaces).collect() }
    }

    /// Notes a query; answers when to report, if that is another time than before. RFC 3810 section 6.2: a
    /// report that is due sooner is not put off; when another group is asked for as well, all are reported.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        query: &Query,
        random: &mut Random,
    ) -> Option<Instant> {
        let (waiting, last) = self.interfaces.get_mut(usize::from(interface.0))?;
        if waiting.is_some_and(|pending| pending.cursor > 0) {
            // Half of the groups are reported already: whoever asks all the time must not make it begin
            // again.
            return None;
        }
        let mut deadline = now + random.below(query.delay);
        if let Some(last) = *last {
            deadline = deadline.max(last + Self::GAP);
        }
        let group = match waiting {
            Some(other) => {
                deadline = deadline.min(other.deadline);
                query.group.filter(|_| other.group == query.group)
            }
            None => query.group,
        };
        *waiting = Some(Pending { version: query.version, group, deadline, cursor: 0 });
        Some(deadline)
    }
}

impl Neighbours {
    /// The shortest buffer that [`poll_transmit`](Self::poll_transmit) can use, in bytes. A longer one, up
    /// to the MTU, holds longer group reports.
    pub(crate) const LEAST_BUFFER: usize = 128;

    /// Timers looked at in one call, frame or not.
    const MOST_STEPS: u32 = 256;

    /// The next own frame: built in `buffer`, untagged, without padding; answers the interface and the
    /// frame's length. `None` if there is none for now, or if the buffer is shorter than
    /// [`LEAST_BUFFER`](Self::LEAST_BUFFER).
    ///
    /// Also runs the timers: see the module's description. Early and repeated calls are harmless. At most
    /// 64 frames in 10 ms leave because of timers; answers come on top, 64 of them at most wait.
    pub(crate) fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(InterfaceId, usize)> {
        if buffer.len() < Self::LEAST_BUFFER {
            return None;
        }
        while let Some(answer) = self.answers.queue.pop_front() {
            if let Some(sent) = self.emit_answer(&answer, buffer) {
                return Some(sent);
            }
        }
        for _ in 0..Self::MOST_STEPS {
            let (at, timer) = self.deadlines.first()?;
            if at > now || !self.pace.allows(now) {
                return None;
            }
            let sent = if timer < self.first_local {
                self.ask(now, NeighbourId(timer), buffer)
            } else if timer < self.first_interface {
                self.announce(now, timer - self.first_local, buffer)
            } else {
                self.report_groups(now, timer - self.first_interface, buffer)
            };
            if sent.is_some() {
                self.pace.count();
                return sent;
            }
        }
        None
    }

    fn emit_answer(&self, answer: &Answer, buffer: &mut [u8]) -> Option<(InterfaceId, usize)> {
        let id = answer.interface;
        // It may have been removed, and the link may have failed, since it was asked for.
        self.local_on(id, IpAddr::V6(answer.target))?;
        let interface = self.interfaces.get(id).filter(|interface| interface.up)?;
        let all_nodes = (MacAddr::for_ipv6_multicast(ALL_NODES), ALL_NODES);
        let (to_mac, destination) = answer.to.unwrap_or(all_nodes);
        let ends = Ends { mac: interface.mac, to_mac, source: answer.target, destination };
        Some((id, ndp::emit_advertisement(buffer, &ends, answer.to.is_some())?))
    }

    /// A neighbour is due.
    fn ask(&mut self, now: Instant, id: NeighbourId, buffer: &mut [u8]) -> Option<(InterfaceId, usize)> {
        let Some(ask) = self.edit(now, id, |entry, random| entry.due(now, random)) else {
            self.deadlines.set(id.0, None);
            return None;
        };
        let (interface, address) = self.table.place(id)?;
        let from = self.interfaces.get(interface)?;
        let length = match address {
            IpAddr::V4(address) => emit_request(buffer, from, ask?, from.dip, address),
            IpAddr::V6(address) => emit_solicitation(buffer, from, ask?, address),
        };
        Some((interface, length?))
    }

    /// A local address is due.
    fn announce(&mut self, now: Instant, slot: u32, buffer: &mut [u8]) -> Option<(InterfaceId, usize)> {
        let step = match self.locals.step(slot, now, &self.interfaces) {
            Ok(step) => step,
            Err(next) => {
                self.deadlines.set(self.first_local + slot, next);
                return None;
            }
        };
        let local = self.locals.get(slot)?;
        match step {
            Step::GroupReport(id) => {
                let from = self.interfaces.get(id)?;
                let groups = [local.group()?];
                Some((id, mld::emit_report(buffer, from.mac, from.link_local, &groups, true)?))
            }
            Step::Announce { interface: id, first } => {
                let from = self.interfaces.get(id)?;
                let address = local.address();
                let length = match address {
                    // RFC 5227 section 2.3: an announcement is a request for the own address.
                    IpAddr::V4(address) => emit_request(buffer, from, Ask::Everybody, address, address),
                    IpAddr::V6(address) => emit_unsolicited(buffer, from, address),
                }?;
                if first && local.is_vip() {
                    self.events.push(Event::Announced { address, interface: id });
                }
                Some((id, length))
            }
        }
    }

    /// An interface's answer to a query is due.
    fn report_groups(
        &mut self,
        now: Instant,
        number: u32,
        buffer: &mut [u8],
    ) -> Option<(InterfaceId, usize)> {
        let id = InterfaceId(u16::try_from(number).ok()?);
        let timer = self.first_interface + number;
        let (waiting, last) = self.reports.interfaces.get_mut(number as usize)?;
        let interface = self.interfaces.get(id)?;
        let Some(pending) = waiting.as_mut().filter(|_| interface.up) else {
            *waiting = None;
            self.deadlines.set(timer, None);
            return None;
        };
        let Pending { version, group, cursor, .. } = *pending;
        let most = match version {
            Version::V1 => 1,
            Version::V2 => {
                mld::groups_that_fit(buffer.len().min(usize::from(interface.mtu) + ETHERNET_HEADER))
            }
        };
        let mut groups = Groups::new();
        let mut next = None;
        for (slot, local) in self.locals.iter_from(cursor) {
            let Some(listens) = local.group().filter(|_| local.is_on(interface)) else { continue };
            if group.is_some_and(|group| group != listens) || groups.contains(&listens) {
                continue;
            }
            if groups.len() == most {
                next = Some(slot);
                break;
            }
            groups.push(listens);
        }
        *last = Some(now);
        if let Some(next) = next {
            pending.cursor = next;
        } else {
            *waiting = None;
            self.deadlines.set(timer, None);
        }
        let first = groups.first()?;
        let length = match version {
            Version::V1 => mld::emit_report_v1(buffer, interface.mac, interface.link_local, *first),
            Version::V2 => mld::emit_report(buffer, interface.mac, interface.link_local, &groups, false),
        };
        Some((id, length?))
    }
}

/// Writes an ARP request; answers the frame's length.
fn emit_request(
    buffer: &mut [u8],
    from: &Interface,
    ask: Ask,
    sender: Ipv4Addr,
    target: Ipv4Addr,
) -> Option<usize> {
    let to = match ask {
        Ask::Everybody => MacAddr::BROADCAST,
        Ask::One(mac) => mac,
    };
    emit_ethernet(buffer, to, from.mac, ethertype::ARP)?;
    let request = Message {
        operation: Operation::Request,
        sender_mac: from.mac,
        sender,
        target_mac: MacAddr::ZERO,
        target,
    };
    request.emit(buffer.get_mut(ETHERNET_HEADER..)?.first_chunk_mut()?);
    Some(ETHERNET_HEADER + arp::LENGTH)
}

/// Writes a neighbour solicitation; answers the frame's length.
fn emit_solicitation(buffer: &mut [u8], from: &Interface, ask: Ask, target: Ipv6Addr) -> Option<usize> {
    let (to_mac, destination) = match ask {
        Ask::Everybody => {
            let group = solicited_node(target);
            (MacAddr::for_ipv6_multicast(group), group)
        }
        Ask::One(mac) => (mac, target),
    };
    let ends = Ends { mac: from.mac, to_mac, source: from.ask_from, destination };
    ndp::emit_solicitation(buffer, &ends, target)
}

/// Writes an unsolicited advertisement (RFC 4861 section 7.2.6); answers the frame's length.
fn emit_unsolicited(buffer: &mut [u8], from: &Interface, address: Ipv6Addr) -> Option<usize> {
    let to_mac = MacAddr::for_ipv6_multicast(ALL_NODES);
    let ends = Ends { mac: from.mac, to_mac, source: address, destination: ALL_NODES };
    ndp::emit_advertisement(buffer, &ends, false)
}
