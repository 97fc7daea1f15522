//! What is due when. All work here is bounded; what is left over is due at once.

use super::Director;
use super::outbound::PATIENCE;
use crate::connection::TableMemory;
use crate::event::Event;
use crate::io::PortId;
use crate::time::Instant;

/// Connections and wheel slots that one call looks at: few enough that no frame waits long for it.
const EXPIRY_BUDGET: u32 = 256;

impl<M: TableMemory> Director<M> {
    /// When [`handle_timeout`](Self::handle_timeout) should be called next, if nothing else happens. `None`: nothing is
    /// due. A time in the past: now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.has_outgoing() {
            return Some(self.now);
        }
        let waiting = self.waiting_since.map(|since| since + PATIENCE);
        let due = Instant::earliest(self.connections.next_expiry(self.now), self.neighbours.poll_timeout());
        let due = Instant::earliest(due, Instant::earliest(waiting, self.room_due()));
        let due = Instant::earliest(due, Instant::earliest(self.sweep_due(), self.ramps.due()));
        let due = Instant::earliest(due, self.templates.next_expiry(self.now));
        let due = Instant::earliest(due, self.pieces_due);
        Instant::earliest(due, self.estimator.next(self.connections.len() > 0))
    }

    /// Does what is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let mut budget = EXPIRY_BUDGET;
        self.expire_connections(&mut budget);
        self.take_neighbour_updates(now);
        self.give_up_waiting();
        self.give_up_old_pieces();
        self.sweep();
        self.follow_ramps();
        self.note_room();
        self.estimate_rates();
    }

    /// Tells that a port carries frames or does not. When it does again, VIPs are announced and neighbours verified.
    pub fn handle_link(&mut self, now: Instant, port: PortId, up: bool) {
        self.now = self.now.max(now);
        self.events.push(if up { Event::LinkUp(port) } else { Event::LinkDown(port) });
        self.neighbours.handle_link(now, port, up);
        self.take_neighbour_updates(now);
    }

    /// The next thing that people may want to know, if any. At most 64 are kept.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop().or_else(|| self.neighbours.poll_event())
    }

    /// Whether every VIP has been announced since it was added or its link came up.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.neighbours.all_announced()
    }
}
