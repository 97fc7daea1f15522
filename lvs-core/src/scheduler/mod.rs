//! Who gets the next connection: one scheduler a virtual service.
//!
//! A scheduler sees the service's servers in list order, which is last added first, as in IPVS, and answers a
//! place in that list. It is told of every change of the list, so that it can keep a place of its own in it.
//! It knows nothing of frames, connections or neighbours, and can be used and tested alone.

mod hashing;
mod least;
mod locality;
mod maglev;
mod round_robin;
mod server_set;
mod tournament;
mod two_choices;
mod weighted_round_robin;

use alloc::boxed::Box;
use core::net::IpAddr;

pub use hashing::{DestinationHashing, HashFlags, SourceHashing};
pub use least::{Least, Measure};
pub use locality::{Locality, LocalityWithReplication};
pub use maglev::{Maglev, MaglevTable};
pub use round_robin::RoundRobin;
pub use two_choices::TwoChoices;
pub use weighted_round_robin::WeightedRoundRobin;

use crate::classify::FlowKey;
use crate::config::{SchedulerFlags, SchedulerKind};
use crate::time::Instant;

/// A real server as a scheduler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its address (RIP).
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its weight, as it counts now. 0: no new connections.
    pub weight: u32,
    /// Its active connections.
    pub active: u32,
    /// Its other connections.
    pub inactive: u32,
    /// Whether it has as many connections as it may (`-x`), and has not had few enough since (`-y`).
    pub overloaded: bool,
    /// Its weight as it is configured; it has less of it while it starts slowly.
    pub(crate) configured: u32,
    /// The director's number for it.
    pub(crate) destination: u32,
}

impl Server {
    /// A server, for using a scheduler without a director.
    #[must_use]
    pub const fn new(address: IpAddr, port: u16, weight: u32) -> Self {
        Self {
            address,
            port,
            weight,
            active: 0,
            inactive: 0,
            overloaded: false,
            configured: weight,
            destination: 0,
        }
    }

    /// Whether it may get new connections.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.weight > 0 && !self.overloaded
    }

    /// What its connections weigh: an active one as much as 256 others, as in IPVS.
    #[must_use]
    pub const fn overhead(&self) -> u64 {
        self.active as u64 * 256 + self.inactive as u64
    }
}

/// A connection that wants a server.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The flow.
    pub flow: &'a FlowKey,
    /// Now; schedulers that remember what they did need it.
    pub now: Instant,
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
    /// The best server by some measure.
    Least {
        /// Which measure.
        measure: Measure,
    },
    /// The server that a hash of an address gives.
    Hash,
    /// The server that is remembered for the destination address, or else the least loaded one.
    Locality,
    /// The better one of two drawn by lot.
    TwoChoices,
    /// A scheduler of the application's own.
    Custom,
}

/// What the last pick was made from, where the state before it and the list of servers do not tell. For explanations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Grounds {
    /// They tell it all.
    #[default]
    List,
    /// A hash gave an entry of a table that is filled with servers (sh, dh, mh).
    Entry {
        /// The entry's number.
        number: u32,
        /// How many entries there are.
        of: u32,
        /// The place of the server that has it. Another one was picked if this one may not be and the scheduler
        /// looks for another.
        holder: Option<usize>,
        /// Whether the client's port was hashed too.
        with_port: bool,
    },
    /// Two lots were drawn (twos).
    Lots {
        /// The place that the first lot gave.
        first: usize,
        /// The place that the second lot gave; often the same.
        second: usize,
    },
    /// The memory of the destination address was asked (lblc, lblcr).
    Memory {
        /// The place of the server that is remembered (lblcr: of the least loaded one of the set); `None` if nothing is,
        /// or not lately, or nobody remembered may be had. Another one was picked if this one is overloaded.
        remembered: Option<usize>,
    },
}

/// Picks real servers for new connections.
///
/// Every call is bounded by the length of the list; none allocates but `list_changed`.
pub trait Scheduler: Send {
    /// The list changed; `servers` is the list after the change.
    fn list_changed(&mut self, change: ListChange, servers: &[Server]);

    /// Connections or overload of the server in this place changed. Called only for schedulers that
    /// [want to know](Self::wants_loads).
    fn load_changed(&mut self, place: usize, servers: &[Server]) {
        let _ = (place, servers);
    }

    /// Whether loads matter to it. Where they do not, nobody keeps `active` and `inactive` up to date for it;
    /// `overloaded` always is.
    fn wants_loads(&self) -> bool {
        false
    }

    /// The place of the server that gets this flow, or `None` if there is none to be had.
    fn pick(&mut self, request: &Request<'_>, servers: &[Server]) -> Option<usize>;

    /// What the next pick will start from.
    fn state(&self) -> SchedulerState {
        SchedulerState::Custom
    }

    /// What the last pick was made from besides state and list. Asked for right after it, where somebody watches.
    fn grounds(&self) -> Grounds {
        Grounds::List
    }
}

/// What a scheduler is made with.
#[derive(Debug, Clone, Copy)]
pub struct SchedulerOptions {
    /// Flags of the hashing schedulers.
    pub flags: SchedulerFlags,
    /// For random choices and keyed caches.
    pub seed: u64,
    /// Whether rr, wrr and ties begin at a place that the seed gives, and not with the last added server.
    pub seeded_start: bool,
    /// Entries of an mh table, raised to the next prime.
    pub maglev_entries: u32,
    /// How long lblc remembers a destination address that is not used, in seconds.
    pub lblc_expiration: u32,
    /// How long an lblcr set stays as it is before its most loaded server is taken out, in seconds.
    pub lblcr_expiration: u32,
}

impl Default for SchedulerOptions {
    fn default() -> Self {
        Self {
            flags: SchedulerFlags::NONE,
            seed: 0,
            seeded_start: false,
            maglev_entries: 4093,
            lblc_expiration: 86_400,
            lblcr_expiration: 86_400,
        }
    }
}

/// A fresh scheduler for an empty list.
#[must_use]
pub fn new_scheduler(kind: SchedulerKind, options: &SchedulerOptions) -> Box<dyn Scheduler> {
    let (flags, seed) = (options.flags, options.seed);
    let start = options.seeded_start.then_some(seed);
    let least = |measure| Box::new(Least::new(measure).starting_at(start));
    match kind {
        SchedulerKind::RoundRobin => Box::new(RoundRobin::new().starting_at(start)),
        SchedulerKind::WeightedRoundRobin => Box::new(WeightedRoundRobin::new().starting_at(start)),
        SchedulerKind::LeastConnection => least(Measure::Connections),
        SchedulerKind::WeightedLeastConnection => least(Measure::WeightedConnections),
        SchedulerKind::ShortestExpectedDelay => least(Measure::ExpectedDelay),
        SchedulerKind::NeverQueue => least(Measure::NeverQueue),
        SchedulerKind::WeightedFailover => least(Measure::Failover),
        SchedulerKind::WeightedOverflow => least(Measure::Overflow),
        SchedulerKind::DestinationHashing => Box::new(DestinationHashing::new()),
        SchedulerKind::SourceHashing => Box::new(SourceHashing::new(flags.into())),
        SchedulerKind::Maglev => Box::new(Maglev::with_entries(flags.into(), options.maglev_entries)),
        SchedulerKind::Locality => Box::new(Locality::new(seed, options.lblc_expiration)),
        SchedulerKind::LocalityWithReplication => {
            Box::new(LocalityWithReplication::new(seed, options.lblcr_expiration))
        }
        SchedulerKind::TwoChoices => Box::new(TwoChoices::new(seed)),
    }
}

/// The place that a seed gives in a list of `len`, which is not 0.
const fn seeded_place(seed: u64, len: usize) -> usize {
    (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % len
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

        /// What the scheduler picks for a flow.
        pub(super) fn pick(&mut self, flow: &FlowKey) -> Option<usize> {
            self.scheduler.pick(&Request { flow, now: Instant::ZERO }, &self.servers)
        }

        /// Sets the connections of a server.
        pub(super) fn load(&mut self, rip: u8, active: u32, inactive: u32) {
            let place = self.place(rip);
            (self.servers[place].active, self.servers[place].inactive) = (active, inactive);
            self.scheduler.load_changed(place, &self.servers);
        }

        pub(super) fn picks(&mut self, count: usize) -> Vec<u8> {
            (0..count).map(|_| self.pick(&flow(0)).map_or(0, |place| self.rip(place))).collect()
        }

        /// The number of the server in a place.
        pub(super) fn rip(&self, place: usize) -> u8 {
            match self.servers[place].address {
                IpAddr::V4(address) => address.octets()[3],
                IpAddr::V6(_) => 0,
            }
        }

        pub(super) fn place(&self, rip: u8) -> usize {
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
    }
}
