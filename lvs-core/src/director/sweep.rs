//! Looking through the connection table, a piece at a time: for connections of removed servers
//! (`expire_nodest_conn`), and for what may be given up under attack (`drop_entry`).

use core::time::Duration;

use super::common::{Access, Common};
use super::worker::Worker;
use crate::connection::{ConnectionId, ConnectionState, TableMemory, ticks, ticks_duration};
use crate::service::Reach;
use crate::time::Instant;

/// Table lines that one call looks at.
const LINES: u32 = 1024;
/// `drop_entry` looks at this part of the table each second.
const PART: u32 = 32;
const SECOND: Duration = Duration::from_secs(1);
/// An established connection may be given up when it was idle for that long and has had few packets.
const IDLE: Duration = Duration::from_secs(60);
const FEW_PACKETS: u32 = 8;

/// Where a look for what is left of removed servers goes on.
#[derive(Debug, Clone, Copy)]
enum Orphans {
    Connections(u32),
    /// Templates come after all connections: none of these has one any more.
    Templates(u32),
}

/// How far the look through the table has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// If a look for connections and templates of removed servers is under way.
    orphans: Option<Orphans>,
    /// Where `drop_entry` goes on.
    shed_at: u32,
    /// Lines that `drop_entry` still has to look at in this second.
    shed_left: u32,
    /// When its next second begins.
    shed_due: Instant,
}

impl Sweep {
    pub(super) const fn new(now: Instant) -> Self {
        Self { orphans: None, shed_at: 0, shed_left: 0, shed_due: now }
    }

    /// Looks for connections and templates of removed servers, from the beginning.
    pub(super) const fn look_for_orphans(&mut self) {
        self.orphans = Some(Orphans::Connections(0));
    }
}

impl<M: TableMemory> Worker<M> {
    /// When there is something to look at.
    pub(super) const fn sweep_due(&self) -> Option<Instant> {
        if self.sweep.orphans.is_some() || self.sweep.shed_left > 0 {
            return Some(self.now);
        }
        if self.knobs.drop_entry && self.connections.len() > 0 { Some(self.sweep.shed_due) } else { None }
    }

    /// Looks at the next piece.
    pub(super) fn sweep<A: Access<M>>(&mut self, common: &mut A) {
        if let Some(orphans) = self.sweep.orphans {
            self.sweep.orphans = self.forget_orphans(common, orphans);
        }
        if !self.knobs.drop_entry {
            self.sweep.shed_left = 0;
            return;
        }
        if self.sweep.shed_left == 0 && self.now >= self.sweep.shed_due {
            self.sweep.shed_left = (self.connections.usage().1 / PART).max(1);
            self.sweep.shed_due = self.now + SECOND;
        }
        let mut budget = self.sweep.shed_left.min(LINES);
        self.sweep.shed_left -= budget;
        while budget > 0 {
            let next = self.forget_some(common, self.sweep.shed_at, &mut budget, Self::may_be_shed);
            self.sweep.shed_at = next.unwrap_or(0);
            if next.is_none() {
                break;
            }
        }
    }

    /// Forgets some connections, and after them templates, of removed servers. Answers where to go on.
    fn forget_orphans<A: Access<M>>(&mut self, common: &mut A, from: Orphans) -> Option<Orphans> {
        let mut budget = LINES;
        let mut cursor = match from {
            Orphans::Connections(cursor) => {
                let is_orphan = |worker: &Self, id: ConnectionId| {
                    worker.lane(worker.connections.entry(id).destination()).reach() == Reach::Gone
                };
                if let Some(next) = self.forget_some(common, cursor, &mut budget, is_orphan) {
                    return Some(Orphans::Connections(next));
                }
                0
            }
            Orphans::Templates(cursor) => cursor,
        };
        while budget > 0 {
            cursor = common.get().forget_orphaned_template(cursor, &mut budget)?;
        }
        Some(Orphans::Templates(cursor))
    }

    /// Forgets the connections for which `which` says yes. Answers where to go on, or `None` at the end.
    fn forget_some<A: Access<M>>(
        &mut self,
        common: &mut A,
        cursor: u32,
        budget: &mut u32,
        which: impl Fn(&Self, ConnectionId) -> bool,
    ) -> Option<u32> {
        let mut cursor = cursor;
        loop {
            let (found, next) = self.connections.scan(cursor, budget);
            if let Some(id) = found
                && which(self, id)
            {
                self.forget(common, id);
            }
            cursor = next?;
            if *budget == 0 {
                return Some(cursor);
            }
        }
    }

    /// As IPVS: half-open connections, and established ones that are idle and were short.
    fn may_be_shed(&self, id: ConnectionId) -> bool {
        let entry = self.connections.entry(id);
        match entry.state() {
            ConnectionState::SynReceived | ConnectionState::SynAck => true,
            ConnectionState::Established => {
                let idle = ticks(self.now).wrapping_sub(entry.deadline().wrapping_sub(entry.timeout()));
                ticks_duration(idle) >= IDLE && entry.packets() <= FEW_PACKETS
            }
            _ => false,
        }
    }
}

impl<M: TableMemory> Common<M> {
    /// Forgets the next template of a removed server that has no connection any more. Answers where to go on, or `None` at the
    /// end.
    fn forget_orphaned_template(&mut self, cursor: u32, budget: &mut u32) -> Option<u32> {
        let (found, next) = self.templates.scan(cursor, budget);
        if let Some(id) = found {
            let entry = self.templates.entry(id);
            let is_gone = self.destinations.lane(entry.destination()).reach() == Reach::Gone;
            if is_gone && entry.children() == 0 {
                self.forget_template(id);
            }
        }
        next
    }
}
