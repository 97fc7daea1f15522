//! Several workers with the same services, each on a thread of its own.
//!
//! ```text
//!   DirectorGroup ── edits, listings ──► all workers stand still for a moment
//!   GroupMember 0 ── frames ──► worker 0 ─┐
//!   GroupMember 1 ── frames ──► worker 1 ─┼─ a connection begins, changes, ends ──► what is common (one short lock)
//!        ▲                               ─┘
//!        └── inbox: frames that came to another worker
//! ```
//! A worker has its own connections, locked by nobody else while it works; established frames take no other lock. What is
//! common lies behind one lock that is held for a decision, not for a batch. Locks are taken in one order: workers by
//! number, then what is common.

mod member;
mod probe;
mod shared;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::sync::atomic::AtomicU64;
use std::sync::Mutex;

use arrayvec::ArrayVec;
pub use member::GroupMember;
use shared::{CommonGuard, INBOX, Inbox, Letter, Shared, lock};

use super::RestoreError;
use super::common::Common;
use super::probe::ProbeQueue;
use super::worker::{Team, Worker};
use crate::classify::owner_of;
use crate::config::{ApplyError, Change, ConfigError, DirectorConfig, Knobs, MarkRule, ServiceKey, Timeouts};
use crate::connection::{ConnectionRecord, FlowHasher, HeapMemory, TableMemory};
use crate::event::Event;
use crate::listing::{ConnectionUsage, ServiceListing};
use crate::statistics::{BatchSizes, DirectorStatistics};
use crate::time::Instant;

/// A director whose frames are taken by several threads; this is what edits and shows it.
///
/// Schedulers, persistence and thresholds see the connections of all workers: rr is exact over all of them. An edit reaches all
/// workers at once: they stand still while it is carried out. Clones are the same group.
pub struct DirectorGroup<M: TableMemory = HeapMemory> {
    shared: Arc<Shared<M>>,
}

impl<M: TableMemory> Clone for DirectorGroup<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}
impl<M: TableMemory> DirectorGroup<M> {
    /// A director with so many workers, which share the room for connections evenly, and so the limit on answers.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn new(
        config: &DirectorConfig,
        now: Instant,
        workers: NonZeroU16,
        memory: &M,
    ) -> Result<(Self, Vec<GroupMember<M>>), ConfigError> {
        super::validate::check(config)?;
        let hasher = FlowHasher::new(&config.seed);
        let mut common = Common::new(config, memory, hasher, now)?;
        common.own_addresses(now, config);
        let places = 0..workers.get();
        let made = places.clone().map(|place| {
            let team = Team { place, size: workers };
            let worker = Worker::new(team, config, &common, memory, hasher, now);
            worker.map(Mutex::new).ok_or(ConfigError::OutOfMemory(config.max_connections))
        });
        let made = made.collect::<Result<Vec<_>, _>>()?;
        let probe_replies = core::mem::replace(&mut common.probe_replies, ProbeQueue::new(None));
        let shared = Arc::new(Shared {
            edition: AtomicU64::new(common.edition),
            common: Mutex::new(common),
            workers: made.into_boxed_slice(),
            inboxes: places.clone().map(|_| Inbox::new()).collect(),
            probe_replies: Mutex::new(probe_replies),
            probe_waker: Mutex::new(None),
        });
        let member = |place| {
            let letters: Vec<Letter> = core::iter::repeat_with(|| Letter::EMPTY).take(INBOX).collect();
            GroupMember { shared: Arc::clone(&shared), place, letters: letters.into_boxed_slice() }
        };
        let members = places.map(member).collect();
        Ok((Self { shared }, members))
    }

    /// As [`Director::apply`](crate::Director::apply), for all workers at once.
    ///
    /// # Errors
    /// If one of the edits is refused; then none is carried out.
    pub fn apply(&self, now: Instant, changes: &[Change]) -> Result<(), ApplyError> {
        let mut workers = self.shared.all();
        let mut common = self.shared.common();
        for worker in &mut workers {
            worker.report(&mut common);
        }
        common.apply(now, changes)?;
        for worker in &mut workers {
            worker.follow(&common);
        }
        common.let_go.clear();
        Ok(())
    }

    /// All virtual services with their servers, in no particular order.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceListing> {
        let common = self.reported();
        common.services.iter().map(|(_, service)| common.listing_of(service, &[])).collect()
    }

    /// One virtual service with its servers.
    #[must_use]
    pub fn service(&self, key: ServiceKey) -> Option<ServiceListing> {
        let common = self.reported();
        let service = common.services.get(common.services.id(key)?)?;
        Some(common.listing_of(service, &[]))
    }

    /// What is common, with all that the workers have counted.
    fn reported(&self) -> CommonGuard<'_, M> {
        let mut workers = self.shared.all();
        let mut common = self.shared.common();
        for worker in &mut workers {
            worker.report(&mut common);
        }
        common
    }

    /// What all workers have counted. A frame that was handed over is counted twice: as held, and by its owner.
    #[must_use]
    pub fn statistics(&self) -> DirectorStatistics {
        let mut sum = DirectorStatistics::new();
        for worker in &self.shared.workers {
            sum.add(&lock(worker).statistics);
        }
        let common = self.shared.common();
        sum.neighbour_answers_lost = common.neighbours.lost_answers();
        sum.templates_full = common.templates_full;
        sum
    }

    /// How many frames came at a time, to all workers; what was handed over counts where it came and where it went.
    #[must_use]
    pub fn batch_sizes(&self) -> BatchSizes {
        let mut sum = BatchSizes::default();
        for worker in &self.shared.workers {
            sum.add(&lock(worker).batch_sizes);
        }
        sum
    }

    /// How full the connection tables are together.
    #[must_use]
    pub fn connection_usage(&self) -> ConnectionUsage {
        let mut sum = ConnectionUsage { connections: 0, used: 0, capacity: 0 };
        for worker in &self.shared.workers {
            let worker = lock(worker);
            let (used, capacity) = worker.connections.usage();
            sum.connections += worker.connections.len();
            sum.used += used;
            sum.capacity += capacity;
        }
        sum
    }

    /// As [`Director::connections`](crate::Director::connections), one worker after the other; each call makes one
    /// worker stand still.
    pub fn connections<const N: usize>(
        &self,
        now: Instant,
        cursor: u64,
        budget: u32,
        records: &mut ArrayVec<ConnectionRecord, N>,
    ) -> Option<u64> {
        let (place, at) = ((cursor >> 32) as usize, cursor as u32);
        let worker = lock(self.shared.workers.get(place)?);
        // Templates come with the last worker, behind its connections.
        let is_last = place + 1 == self.shared.workers.len();
        match worker.records(&self.shared.common(), is_last, now, at, budget, records) {
            Some(next) => Some((place as u64) << 32 | u64::from(next)),
            None => (!is_last).then_some((place as u64 + 1) << 32),
        }
    }

    /// All connections at once. For tests and small tables.
    #[must_use]
    pub fn all_connections(&self, now: Instant) -> Vec<ConnectionRecord> {
        let mut all = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let mut some = ArrayVec::<_, 64>::new();
            cursor = self.connections(now, at, u32::MAX, &mut some);
            all.extend(some);
        }
        all
    }

    /// As [`Director::restore`](crate::Director::restore): the connection goes to the worker that its client belongs to.
    ///
    /// # Errors
    /// If the director has no such service or server, or no room, or knows the flow.
    pub fn restore(&self, now: Instant, record: &ConnectionRecord) -> Result<(), RestoreError> {
        let size = NonZeroU16::new(self.shared.workers.len() as u16).unwrap_or(NonZeroU16::MIN);
        let place = if record.template { 0 } else { owner_of(record.client.ip(), size) };
        let mut worker = lock(&self.shared.workers[usize::from(place)]);
        worker.restore(&mut self.shared.common(), now, record)
    }

    /// The knobs as they are now.
    #[must_use]
    pub fn knobs(&self) -> Knobs {
        self.shared.common().knobs
    }

    /// The time-outs as they are now.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.shared.common().timeouts
    }

    /// The rules that mark packets, in the order in which they are tried.
    #[must_use]
    pub fn mark_rules(&self) -> Vec<MarkRule> {
        self.shared.common().services.marks().to_vec()
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> u16 {
        self.shared.workers.len() as u16
    }

    /// Whether every VIP has been announced since it was added or its link came up.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.shared.common().neighbours.all_announced()
    }

    /// The next thing that people may want to know, of any worker.
    #[must_use]
    pub fn poll_event(&self) -> Option<Event> {
        let mut common = self.shared.common();
        if let Some(event) = common.events.pop().or_else(|| common.neighbours.poll_event()) {
            return Some(event);
        }
        drop(common);
        self.shared.workers.iter().find_map(|worker| lock(worker).events.pop())
    }
}
