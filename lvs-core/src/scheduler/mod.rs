//! Who gets the next connection: one scheduler a virtual service.
//!
//! A scheduler sees the service's servers in list order, which is last added first, as in IPVS, and answers a
//! place in that list. It is told of every change of the list, so that it can keep a place of its own in it.
//! It knows nothing of frames, connections or neighbours, and can be used and tested alone.

mod maglev;
mod round_robin;
mod weighted_round_robin;

use alloc::boxed::Box;
use core::net::IpAddr;

pub use maglev::MaglevTable;
pub use round_robin::RoundRobin;
pub use weighted_round_robin::WeightedRoundRobin;

use crate::classify::FlowKey;
use crate::config::SchedulerKind;

/// A real server as a scheduler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its address (RIP).
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its weight. 0: no new connections.
    pub weight: u32,
    /// The director's number for it.
    pub(crate) destination: u32,
}

impl Server {
    /// A server, for using a scheduler without a director.
    #[must_use]
    pub const fn new(address: IpAddr, port: u16, weight: u32) -> Self {
        Self { address, port, weight, destination: 0 }
    }

    /// Whether it may get new connections.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.weight > 0
    }
}

/// What happened to a service's list of servers. The place is that of the server after the change, or for a removed
/// one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListChange {
    /// A server was put into this place; those behind it moved on by one.
    Added(usize),
    /// The server in this place was taken out; those behind it moved up by one.
    Removed(usize),
    /// Weight or limits of the server in this place changed.
    Edited(usize),
    /// The scheduler is new to this list.
    Replaced,
}

/// What a scheduler has in mind before it picks, for explanations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchedulerState {
    /// Round robin: the place of the last pick; `None` before the first.
    RoundRobin {
        /// Place of the last pick.
        last: Option<usize>,
    },
    /// Weighted round robin.
    WeightedRoundRobin {
        /// Place of the last pick.
        last: Option<usize>,
        /// Servers of at least this weight are picked in this round.
        current_weight: u32,
        /// Where the weight starts in each cycle.
        max_weight: u32,
        /// How much it goes down each round.
        step: u32,
    },
    /// A scheduler of the application's own.
    Custom,
}

/// Picks real servers for new connections.
///
/// Every call is bounded by the length of the list; none allocates but `list_changed`.
pub trait Scheduler: Send {
    /// The list changed; `servers` is the list after the change.
    fn list_changed(&mut self, change: ListChange, servers: &[Server]);

    /// The place of the server that gets this flow, or `None` if there is none to be had.
    fn pick(&mut self, flow: &FlowKey, servers: &[Server]) -> Option<usize>;

    /// What the next pick will start from.
    fn state(&self) -> SchedulerState {
        SchedulerState::Custom
    }
}

/// A fresh scheduler for an empty list.
#[must_use]
pub fn new_scheduler(kind: SchedulerKind) -> Box<dyn Scheduler> {
    match kind {
        SchedulerKind::RoundRobin => Box::new(RoundRobin::new()),
        SchedulerKind::WeightedRoundRobin => Box::new(WeightedRoundRobin::new()),
    }
}

/// The place of the last pick in a list that changes. `None` is the list's head, before the first server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cursor(Option<usize>);

impl Cursor {
    /// Follows the server it stands on; if that one is removed, steps back by one, so that the next pick is what
    /// it would have been.
    fn follow(&mut self, change: ListChange) {
        self.0 = match (self.0, change) {
            (Some(at), ListChange::Added(place)) if place <= at => Some(at + 1),
            (Some(at), ListChange::Removed(place)) if place <= at => at.checked_sub(1),
            (at, _) => at,
        };
    }

    /// The places behind the cursor.
    fn next(self) -> usize {
        self.0.map_or(0, |at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Some flow; `n` tells clients apart.
    pub(super) fn flow(n: u32) -> FlowKey {
        FlowKey::V4 { addresses: u64::from(n) << 32 | 0xc0a8_00fa, ports: 4000 << 16 | 80, protocol: 6 }
    }

    /// A scheduler with a list of servers that are named by a number.
    pub(super) struct Bench<S> {
        pub(super) scheduler: S,
        pub(super) servers: Vec<Server>,
    }

    impl<S: Scheduler> Bench<S> {
        pub(super) const fn new(scheduler: S) -> Self {
            Self { scheduler, servers: Vec::new() }
        }

        fn place(&self, rip: u8) -> usize {
            self.servers.iter().position(|s| s.address == IpAddr::from([10, 0, 0, rip])).unwrap()
        }

        pub(super) fn add(&mut self, rip: u8, weight: u32) {
            self.servers.insert(0, Server::new([10, 0, 0, rip].into(), 80, weight));
            self.scheduler.list_changed(ListChange::Added(0), &self.servers);
        }

        pub(super) fn remove(&mut self, rip: u8) {
            let place = self.place(rip);
            self.servers.remove(place);
            self.scheduler.list_changed(ListChange::Removed(place), &self.servers);
        }

        pub(super) fn reweigh(&mut self, rip: u8, weight: u32) {
            let place = self.place(rip);
            self.servers[place].weight = weight;
            self.scheduler.list_changed(ListChange::Edited(place), &self.servers);
        }

        pub(super) fn picks(&mut self, count: usize) -> Vec<u8> {
            let mut rip =
                |_| match self.servers[self.scheduler.pick(&flow(0), &self.servers).unwrap()].address {
                    IpAddr::V4(address) => address.octets()[3],
                    IpAddr::V6(_) => 0,
                };
            (0..count).map(&mut rip).collect()
        }
    }
}
