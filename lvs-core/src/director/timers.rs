//! What is due when. All work here is bounded; what is left over is due at once.

use super::Director;
use super::common::{Access, Common};
use super::outbound::PATIENCE;
use super::worker::Worker;
use crate::connection::TableMemory;
use crate::event::Event;
use crate::io::PortId;
use crate::time::Instant;

/// Connections and wheel slots that one call looks at: few enough that no frame waits long for it.
const EXPIRY_BUDGET: u32 = 256;

impl<M: TableMemory> Common<M> {
    /// When there is something to do for all workers; `moving` is whether there are connections.
    pub(super) fn poll_timeout(&self, moving: bool) -> Option<Instant> {
        let due = Instant::earliest(self.neighbours.poll_timeout(), self.ramps.due());
        let due = Instant::earliest(due, self.templates.next_expiry(self.now));
        Instant::earliest(due, self.estimator.next(moving))
    }

    /// Does what is due for all workers, but for the rates.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let mut budget = EXPIRY_BUDGET;
        self.expire_templates(&mut budget);
        self.take_neighbour_updates(now);
        self.follow_ramps();
    }
}

impl<M: TableMemory> Worker<M> {
    /// When this worker has something to do, if nothing else happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        if self.has_outgoing() {
            return Some(self.now);
        }
        let waiting = self.waiting_since.map(|since| since + PATIENCE);
        let due = Instant::earliest(self.connections.next_expiry(self.now), waiting);
        let due = Instant::earliest(due, Instant::earliest(self.room_due(), self.sweep_due()));
        Instant::earliest(due, self.pieces_due)
    }

    /// Does what is due for this worker.
    pub(super) fn handle_timeout<A: Access<M>>(&mut self, common: &mut A, now: Instant) {
        self.now = self.now.max(now);
        self.catch_up(common);
        let mut budget = EXPIRY_BUDGET;
        self.expire_connections(common, &mut budget);
        self.give_up_waiting();
        self.give_up_old_pieces();
        self.sweep(common);
        self.note_room();
    }
}

impl<M: TableMemory> Director<M> {
    /// When [`handle_timeout`](Self::handle_timeout) should be called next, if nothing else happens. `None`: nothing is
    /// due. A time in the past: now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let moving = self.worker.connections.len() > 0;
        Instant::earliest(self.worker.poll_timeout(), self.common.poll_timeout(moving))
    }

    /// Does what is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.common.handle_timeout(now);
        self.worker.handle_timeout(&mut self.common, now);
        if self.common.estimate_is_due() {
            self.worker.report(&mut self.common);
            self.common.estimate_rates();
        }
    }

    /// Tells that a port carries frames or does not. When it does again, VIPs are announced and neighbours verified.
    pub fn handle_link(&mut self, now: Instant, port: PortId, up: bool) {
        self.common.events.push(if up { Event::LinkUp(port) } else { Event::LinkDown(port) });
        self.common.neighbours.handle_link(now, port, up);
        self.common.take_neighbour_updates(now);
        self.worker.catch_up(&mut self.common);
    }

    /// The next thing that people may want to know, if any. At most 64 are kept.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.common.events.pop().or_else(|| self.worker.events.pop());
        event.or_else(|| self.common.neighbours.poll_event())
    }

    /// Whether every VIP has been announced since it was added or its link came up.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.common.neighbours.all_announced()
    }
}
