//! The way out: forwarding, frames that wait for an Ethernet address, answers, and `poll_transmit`.

use super::Director;
use crate::addr::MacAddr;
use crate::classify::Packet;
use crate::config::InterfaceId;
use crate::connection::TableMemory;
use crate::forward::answer::Plan;
use crate::forward::{decrement_ttl, longest_piece, retag, tagged_len, write_tagged};
use crate::io::{Frame, Meta, PortId};
use crate::observe::{Answer, Observation, Observer};
use crate::pool::{Entrance, Origin};
use crate::service::Reach;
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};
use crate::wire::be16;
use core::time::Duration;

/// How many frames wait for one neighbour.
const WAITING_PER_NEIGHBOUR: u16 = 3;
/// How long a frame waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// The longest frame that the neighbour side makes, untagged.
const NEIGHBOUR_FRAME: usize = 128;

/// A frame that the director wants to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the frame was taken out of the director's queue; it is lost if it is not sent"]
pub struct Outgoing {
    /// The port.
    pub port: PortId,
    /// How many bytes of the buffer it takes.
    pub len: usize,
    /// What goes with it.
    pub meta: Meta,
}

/// How many more answers may be sent: a bucket that fills at a rate and holds one second's worth.
pub(super) struct AnswerBudget {
    rate: u32,
    /// In millionths of an answer.
    level: u64,
    filled_at: Instant,
}

impl AnswerBudget {
    pub(super) const fn new(now: Instant, rate: u32) -> Self {
        Self { rate, level: rate as u64 * 1_000_000, filled_at: now }
    }

    pub(super) fn set_rate(&mut self, now: Instant, rate: u32) {
        if rate != self.rate {
            *self = Self::new(now, rate);
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at).as_micros() as u64;
        let most = u64::from(self.rate) * 1_000_000;
        self.level = self.level.saturating_add(passed.saturating_mul(self.rate.into())).min(most);
        self.filled_at = now;
        if self.level < 1_000_000 {
            return false;
        }
        self.level -= 1_000_000;
        true
    }
}

impl<M: TableMemory> Director<M> {
    /// Sends a frame to a real server, or puts it aside until the server's Ethernet address is known.
    #[inline]
    pub(super) fn forward<O: Observer>(
        &mut self,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        destination: u32,
        observer: &mut O,
    ) -> Verdict {
        let lane = self.destinations.lane(destination);
        let (reach, mtu, vlan) = (lane.reach, lane.mtu, lane.vlan);
        let (macs, port) = (lane.macs, lane.port);
        match reach {
            Reach::Ready | Reach::Unresolved => {}
            Reach::NoRoute => return Verdict::Drop(DropReason::NoRoute),
            Reach::Gone => return Verdict::Drop(DropReason::DestinationGone),
        }
        if self.knobs.decrement_ttl && !decrement_ttl(frame.bytes_mut(), packet) {
            self.answer(frame, interface, packet, Answer::TimeExceeded, observer);
            return Verdict::Drop(DropReason::TtlExceeded);
        }
        if longest_piece(frame, packet) > u32::from(mtu) {
            self.answer_too_big(frame, interface, packet, mtu, observer);
            return Verdict::Drop(DropReason::TooBig);
        }
        if vlan != packet.vlan && retag(frame, usize::from(packet.network), vlan).is_err() {
            return Verdict::Drop(DropReason::NoRoom);
        }
        let lane = self.destinations.lane_mut(destination);
        lane.packets += 1;
        lane.bytes += u64::from(packet.ip_len());
        if reach == Reach::Unresolved {
            return self.wait(frame, destination);
        }
        if let Some(addresses) = frame.bytes_mut().first_chunk_mut() {
            *addresses = macs;
        }
        Verdict::Transmit(port)
    }

    /// Puts a frame aside until its server's Ethernet address is known.
    fn wait(&mut self, frame: &mut Frame<'_>, destination: u32) -> Verdict {
        let Some(neighbour) = self.destinations.get(destination).neighbour else {
            return Verdict::Drop(DropReason::NoRoute);
        };
        let interface = self.destinations.lane(destination).interface;
        self.neighbours.wanted(self.now, neighbour);
        let Some(hop) = self.next_hops.get_mut(&neighbour) else {
            return Verdict::Drop(DropReason::Unresolved);
        };
        if hop.waiting.len() >= WAITING_PER_NEIGHBOUR {
            return Verdict::Drop(DropReason::WaitingFull);
        }
        let meta = *frame.meta();
        let bytes = frame.bytes();
        let fill = |buffer: &mut [u8]| buffer.copy_from_slice(bytes);
        let entrance = Entrance { now: self.now, origin: Origin::Forwarded, interface, meta };
        if !self.pool.push(&mut hop.waiting, entrance, bytes.len(), fill) {
            return Verdict::Drop(DropReason::PoolFull);
        }
        self.waiting_since.get_or_insert(self.now);
        Verdict::Hold
    }

    /// A packet that does not fit the way out: its sender is told, unless it allowed routers to cut it up.
    fn answer_too_big<O: Observer>(
        &mut self,
        frame: &Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        mtu: u16,
        observer: &mut O,
    ) {
        const DO_NOT_FRAGMENT: u16 = 0x4000;
        let flags = be16(frame.bytes(), usize::from(packet.network) + 6).unwrap_or(0);
        if packet.is_ipv6() || flags & DO_NOT_FRAGMENT != 0 {
            self.answer(frame, interface, packet, Answer::TooBig { mtu }, observer);
        }
    }

    /// Sends an answer to where the frame came from, if it may be answered and the limit allows.
    pub(super) fn answer<O: Observer>(
        &mut self,
        frame: &Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        answer: Answer,
        observer: &mut O,
    ) {
        let Some(plan) = Plan::new(answer, frame.bytes(), packet) else {
            return;
        };
        if !self.answer_budget.take(self.now) {
            self.statistics.answers_suppressed += 1;
            return;
        }
        let source = self.mac_of(interface);
        self.next_id = self.next_id.wrapping_add(1);
        let id = self.next_id;
        let write = |out: &mut [u8]| plan.write(frame.bytes(), source, id, out);
        let entrance = Entrance { now: self.now, origin: Origin::MadeHere, interface, meta: Meta::default() };
        if !self.pool.push(&mut self.outbox, entrance, plan.frame_len(), write) {
            self.statistics.answers_suppressed += 1;
            return;
        }
        self.statistics.answers += 1;
        if O::ENABLED {
            observer.observe(&Observation::Answered { answer });
        }
    }

    /// The next frame that the director wants to send, written to `buffer`; `None` if there is none now. `buffer` should
    /// be 2 KiB long ([`TRANSMIT_BUFFER`](super::TRANSMIT_BUFFER)); frames that do not fit are lost and counted.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        self.now = self.now.max(now);
        while let Some((held, bytes)) = self.pool.first(&self.outbox) {
            let (interface, mut meta, len) = (held.interface, held.meta, bytes.len());
            let config = self.interfaces.get(usize::from(interface.0));
            let (port, vlan) = config.map_or_else(Default::default, |c| (c.port, c.vlan));
            let made_here = held.origin == Origin::MadeHere;
            let out_len = if made_here { tagged_len(len, vlan) } else { len };
            let fits = buffer.get_mut(..out_len).map(|out| {
                if made_here {
                    write_tagged(bytes, vlan, &mut meta, out);
                } else {
                    out.copy_from_slice(bytes);
                }
            });
            self.pool.release(&mut self.outbox);
            if fits.is_some() {
                self.statistics.released += u64::from(!made_here);
                return Some(Outgoing { port, len: out_len, meta });
            }
            self.statistics.given_up += 1;
        }
        self.poll_neighbour_transmit(buffer)
    }

    fn poll_neighbour_transmit(&mut self, buffer: &mut [u8]) -> Option<Outgoing> {
        let mut untagged = [0; NEIGHBOUR_FRAME];
        let (interface, len) = self.neighbours.poll_transmit(self.now, &mut untagged)?;
        let config = self.interfaces.get(usize::from(interface.0))?;
        let mut meta = Meta::default();
        let out_len = tagged_len(len, config.vlan);
        let out = buffer.get_mut(..out_len)?;
        write_tagged(untagged.get(..len)?, config.vlan, &mut meta, out);
        Some(Outgoing { port: config.port, len: out_len, meta })
    }

    /// Takes over what the neighbour side has learnt: Ethernet addresses of servers, and frames that may leave now.
    pub(super) fn take_neighbour_updates(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some(neighbour) = self.neighbours.poll_update() {
            let mac = self.neighbours.mac(neighbour);
            let Some(hop) = self.next_hops.get_mut(&neighbour) else {
                continue;
            };
            for destination in &hop.destinations {
                let lane = self.destinations.lane_mut(*destination);
                let own = self.interfaces.get(usize::from(lane.interface.0)).map_or(MacAddr::ZERO, |i| i.mac);
                lane.set_next_hop(mac, own);
            }
            let Some(mac) = mac else {
                continue;
            };
            while hop.waiting.len() > 0 {
                let own = self.pool.first(&hop.waiting).map(|(held, _)| held.interface);
                let own = own.and_then(|id| self.interfaces.get(usize::from(id.0)));
                if let (Some(bytes), Some(own)) = (self.pool.first_bytes_mut(&hop.waiting), own)
                    && let Some((to, from)) = bytes.get_mut(..12).map(|b| b.split_at_mut(6))
                {
                    to.copy_from_slice(&mac.0);
                    from.copy_from_slice(&own.mac.0);
                }
                self.pool.shift(&mut hop.waiting, &mut self.outbox);
            }
        }
    }

    /// Copies a neighbour's state into the lane of one of its servers.
    pub(super) fn refresh_lane(&mut self, destination: u32) {
        let Some(neighbour) = self.destinations.get(destination).neighbour else {
            return;
        };
        let mac = self.neighbours.mac(neighbour);
        let own = self.mac_of(self.destinations.lane(destination).interface);
        self.destinations.lane_mut(destination).set_next_hop(mac, own);
    }

    /// Gives up frames that have waited too long.
    pub(super) fn give_up_waiting(&mut self) {
        let Some(since) = self.waiting_since else {
            return;
        };
        if self.now.saturating_duration_since(since) < PATIENCE {
            return;
        }
        let mut earliest = None;
        for hop in self.next_hops.values_mut() {
            while let Some((held, _)) = self.pool.first(&hop.waiting) {
                if self.now.saturating_duration_since(held.since) < PATIENCE {
                    earliest = Instant::earliest(earliest, Some(held.since));
                    break;
                }
                self.pool.release(&mut hop.waiting);
                self.statistics.given_up += 1;
            }
        }
        self.waiting_since = earliest;
    }

    /// Whether anything waits in the outbox.
    pub(super) const fn has_outgoing(&self) -> bool {
        self.outbox.len() > 0
    }
}
