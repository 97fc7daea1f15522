//! The way out: forwarding, frames that wait for an Ethernet address, answers, and `poll_transmit`.

use super::Director;
use super::common::{Access, Common};
use super::worker::Worker;
use crate::classify::Packet;
use crate::config::{InterfaceId, VlanPath};
use crate::connection::TableMemory;
use crate::forward::answer::Plan;
use crate::forward::{Cut, decrement_ttl, longest_piece, retag, tagged_len, write_tagged};
use crate::io::{Frame, Meta, PortId};
use crate::observe::{Answer, Held, Observation, Observer};
use crate::pool::{Entrance, Origin};
use crate::service::Reach;
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};
use core::time::Duration;

/// How many frames wait for one neighbour.
const WAITING_PER_NEIGHBOUR: u16 = 3;
/// How long a frame waits.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// What a piece that is taken up again may grow by in front: an inner tag.
const ROOM_FOR_TAGS: usize = 4;
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

impl<M: TableMemory> Worker<M> {
    /// Sends a frame to a real server, or puts it aside until the server's Ethernet address is known.
    #[inline]
    pub(super) fn forward<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        destination: u32,
        observer: &mut O,
    ) -> Verdict {
        let lane = &mut self.lanes[destination as usize];
        let is_straight = packet.ip_len() <= u32::from(lane.straight())
            && packet.vlan == VlanPath::UNTAGGED
            && !packet.first_fragment
            && frame.meta().gso.is_none()
            && !self.knobs.decrement_ttl;
        if is_straight && let Some(addresses) = frame.bytes_mut().first_chunk_mut() {
            *addresses = lane.macs;
            lane.count(packet.ip_len());
            return Verdict::Transmit(lane.port);
        }
        let (reach, mtu, vlan) = (lane.reach(), lane.mtu(), lane.vlan());
        let (macs, port) = (lane.macs, lane.port);
        match reach {
            Reach::Ready | Reach::Unresolved => {}
            Reach::NoRoute => {
                self.answer(frame, interface, packet, Answer::HostUnreachable, observer);
                return Verdict::Drop(DropReason::NoRoute);
            }
            Reach::Gone => return Verdict::Drop(DropReason::DestinationGone),
            Reach::Drained => return Verdict::Drop(DropReason::Drained),
        }
        if self.knobs.decrement_ttl && !decrement_ttl(frame.bytes_mut(), packet) {
            self.answer(frame, interface, packet, Answer::TimeExceeded, observer);
            return Verdict::Drop(DropReason::TtlExceeded);
        }
        if longest_piece(frame, packet) > u32::from(mtu) {
            return self.forward_too_big(frame, interface, packet, destination, observer);
        }
        // Before the tags change: its name is read from where it stood when it came.
        if packet.first_fragment {
            self.note_first_fragment(frame.bytes(), packet, destination);
        }
        if vlan != packet.vlan && retag(frame, usize::from(packet.network), vlan).is_err() {
            return Verdict::Drop(DropReason::NoRoom);
        }
        self.lane_mut(destination).count(packet.ip_len());
        if reach == Reach::Unresolved {
            let verdict = self.wait(common, frame, destination);
            if O::ENABLED && verdict == Verdict::Hold {
                observer.observe(&Observation::Held { because: Held::Unresolved });
            }
            return verdict;
        }
        if let Some(addresses) = frame.bytes_mut().first_chunk_mut() {
            *addresses = macs;
        }
        Verdict::Transmit(port)
    }

    /// Puts a frame aside until its server's Ethernet address is known.
    fn wait<A: Access<M>>(&mut self, common: &mut A, frame: &mut Frame<'_>, destination: u32) -> Verdict {
        let lane = self.lane(destination);
        let (interface, Some(neighbour)) = (lane.interface(), lane.neighbour()) else {
            return Verdict::Drop(DropReason::NoRoute);
        };
        common.get().neighbours.wanted(self.now, neighbour);
        let Some(queue) = self.waiting.get_mut(&neighbour) else {
            return Verdict::Drop(DropReason::Unresolved);
        };
        if queue.len() >= WAITING_PER_NEIGHBOUR {
            return Verdict::Drop(DropReason::WaitingFull);
        }
        let meta = *frame.meta();
        let bytes = frame.bytes();
        let fill = |buffer: &mut [u8]| buffer.copy_from_slice(bytes);
        let entrance = Entrance { now: self.now, origin: Origin::Forwarded, interface, meta };
        if !self.pool.push(queue, entrance, bytes.len(), fill) {
            return Verdict::Drop(DropReason::PoolFull);
        }
        self.waiting_since.get_or_insert(self.now);
        Verdict::Hold
    }

    /// A packet that does not fit the way out: it leaves in pieces if it may be cut, else its sender is told.
    fn forward_too_big<O: Observer>(
        &mut self,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        destination: u32,
        observer: &mut O,
    ) -> Verdict {
        let mtu = self.lane(destination).mtu();
        let is_plain = frame.meta().gso.is_none() && frame.meta().checksum.is_none();
        let cut = Cut::plan(frame.bytes(), packet, mtu);
        let Some(cut) = cut.filter(|_| is_plain) else {
            self.answer(frame, interface, packet, Answer::TooBig { mtu }, observer);
            return Verdict::Drop(DropReason::TooBig);
        };
        let lane = &mut self.lanes[destination as usize];
        if lane.reach() != Reach::Ready || lane.vlan() != packet.vlan {
            return Verdict::Drop(DropReason::Unresolved);
        }
        lane.count(packet.ip_len());
        let (macs, leaves) = (lane.macs, lane.interface());
        if packet.first_fragment {
            self.note_first_fragment(frame.bytes(), packet, destination);
        }
        if let Some(addresses) = frame.bytes_mut().first_chunk_mut() {
            *addresses = macs;
        }
        let entrance =
            Entrance { now: self.now, origin: Origin::Cut, interface: leaves, meta: *frame.meta() };
        let whole = (0..cut.pieces()).all(|n| {
            let write = |out: &mut [u8]| cut.write(frame.bytes(), n, out);
            self.pool.push(&mut self.outbox, entrance, cut.frame_len(n), write)
        });
        if O::ENABLED && whole {
            observer.observe(&Observation::Held { because: Held::Cut { pieces: cut.pieces(), mtu } });
        }
        // The packet counts once, however many pieces it leaves in; without one of them it is of no use.
        *if whole { &mut self.statistics.released } else { &mut self.statistics.given_up } += 1;
        Verdict::Hold
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
        // A host drops a damaged packet before it thinks of an answer.
        if frame.meta().checksum.is_none() && !crate::forward::answer::is_undamaged(frame.bytes(), packet) {
            return;
        }
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

    /// The next frame of its own that this worker wants to send; see [`Director::poll_transmit`].
    pub(super) fn poll_transmit<A: Access<M>>(
        &mut self,
        common: &mut A,
        now: Instant,
        buffer: &mut [u8],
    ) -> Option<Outgoing> {
        self.now = self.now.max(now);
        self.catch_up(common);
        self.take_up_piece(common);
        while let Some((held, bytes)) = self.pool.first(&self.outbox) {
            let (interface, mut meta, len, origin) = (held.interface, held.meta, bytes.len(), held.origin);
            let config = self.interfaces.get(usize::from(interface.0));
            let (port, vlan) = config.map_or_else(Default::default, |c| (c.port, c.vlan));
            let made_here = origin == Origin::MadeHere;
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
                self.statistics.released += u64::from(origin == Origin::Forwarded);
                return Some(Outgoing { port, len: out_len, meta });
            }
            self.statistics.given_up += 1;
        }
        None
    }

    /// A piece that has waited for its first one goes its way now, as if it came in.
    fn take_up_piece<A: Access<M>>(&mut self, common: &mut A) {
        let mut piece = [0; ROOM_FOR_TAGS + crate::pool::BUFFER];
        let Some((held, bytes)) = self.pool.first(&self.pieces) else {
            return;
        };
        let (interface, meta, len, origin) = (held.interface, held.meta, bytes.len(), held.origin);
        let (Some(copy), Origin::Piece(port)) = (piece.get_mut(ROOM_FOR_TAGS..ROOM_FOR_TAGS + len), origin)
        else {
            return;
        };
        copy.copy_from_slice(bytes);
        let mut pieces = self.pieces;
        self.pool.release(&mut pieces);
        self.pieces = pieces;
        let Ok(mut frame) = Frame::within(&mut piece, ROOM_FOR_TAGS, len, port, meta) else {
            return;
        };
        let verdict = self.handle_piece(common, &mut frame, interface);
        let Verdict::Transmit(out) = verdict else {
            self.statistics.given_up += u64::from(verdict != Verdict::Hold);
            return;
        };
        let (meta, bytes) = (*frame.meta(), frame.bytes());
        let leaves = self.interfaces.iter().position(|interface| interface.port == out);
        let interface = leaves.map_or(interface, |at| InterfaceId(at as u16));
        let entrance = Entrance { now: self.now, origin: Origin::Forwarded, interface, meta };
        let fill = |out: &mut [u8]| out.copy_from_slice(bytes);
        if !self.pool.push(&mut self.outbox, entrance, bytes.len(), fill) {
            self.statistics.given_up += 1;
        }
    }

    fn handle_piece<A: Access<M>>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
    ) -> Verdict {
        match crate::classify::classify(frame.bytes(), frame.meta()) {
            Ok(packet) => self.handle_fragment(common, frame, interface, &packet, &mut ()),
            Err(reason) => Verdict::Drop(reason),
        }
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
        for queue in self.waiting.values_mut() {
            while let Some((held, _)) = self.pool.first(queue) {
                if self.now.saturating_duration_since(held.since) < PATIENCE {
                    earliest = Instant::earliest(earliest, Some(held.since));
                    break;
                }
                self.pool.release(queue);
                self.statistics.given_up += 1;
            }
        }
        self.waiting_since = earliest;
    }

    /// Whether anything waits in the outbox.
    pub(super) const fn has_outgoing(&self) -> bool {
        self.outbox.len() > 0 || self.pieces.len() > 0
    }
}

impl<M: TableMemory> Common<M> {
    /// The next frame that the neighbour side wants to send.
    pub(super) fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        self.now = self.now.max(now);
        let mut untagged = [0; NEIGHBOUR_FRAME];
        let (interface, len) = self.neighbours.poll_transmit(self.now, &mut untagged)?;
        let config = self.interfaces.get(usize::from(interface.0))?;
        let mut meta = Meta::default();
        let out_len = tagged_len(len, config.vlan);
        let out = buffer.get_mut(..out_len)?;
        write_tagged(untagged.get(..len)?, config.vlan, &mut meta, out);
        Some(Outgoing { port: config.port, len: out_len, meta })
    }
}

impl<M: TableMemory> Director<M> {
    /// The next frame that the director wants to send, written to `buffer`; `None` if there is none now. `buffer` should
    /// be 2 KiB long ([`TRANSMIT_BUFFER`](super::TRANSMIT_BUFFER)); frames that do not fit are lost and counted.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        let frame = self.worker.poll_transmit(&mut self.common, now, buffer);
        frame.or_else(|| self.common.poll_transmit(now, buffer))
    }
}
