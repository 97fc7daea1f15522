//! A worker: what one thread needs to take frames from classification to verdict, and nobody else touches.
//!
//! It owns its connections, its copies of what is [common](super::common), and its counts until it reports them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::ops::RangeInclusive;

use super::EventQueue;
use super::common::{Access, Common, News};
use super::fragments::Fragments;
use super::locals::Locals;
use super::outbound::AnswerBudget;
use super::pipeline::Batch;
use super::steady::{Entrance, entrances};
use super::sweep::Sweep;
use crate::addr::{MacAddr, Subnet};
use crate::config::{DirectorConfig, InterfaceConfig, InterfaceId, Knobs, VlanPath};
use crate::connection::state::StateTimeouts;
use crate::connection::{ConnectionTable, FlowHasher, TableMemory};
use crate::io::PortId;
use crate::neighbour::NeighbourId;
use crate::pool::{FramePool, Queue};
use crate::quick_hash::QuickMap;
use crate::service::Lane;
use crate::statistics::{BatchSizes, DirectorStatistics};
use crate::time::Instant;

/// Where a worker stands among its fellows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Team {
    pub(super) place: u16,
    pub(super) size: NonZeroU16,
}

impl Team {
    /// A worker alone.
    pub(super) const ALONE: Self = Self { place: 0, size: NonZeroU16::MIN };

    /// A worker's share of what all of them may have, `least` at least if there is any.
    fn share(self, all: u32, least: u32) -> u32 {
        all.div_ceil(u32::from(self.size.get())).max(least.min(all))
    }
}

pub(super) struct Worker<M: TableMemory> {
    pub(super) interfaces: Arc<[InterfaceConfig]>,
    /// By port: the interfaces on it.
    ports: Vec<Vec<(VlanPath, InterfaceId)>>,
    /// By port: the interface whose frames have no tag.
    pub(super) entrances: Vec<Option<Entrance>>,
    pub(super) team: Team,
    /// The source ports of health probes, where there are any.
    pub(super) probe_ports: Option<RangeInclusive<u16>>,
    pub(super) batch: Batch,
    pub(super) connections: ConnectionTable<M>,

    // Copies of what is common.
    pub(super) knobs: Knobs,
    pub(super) state_timeouts: StateTimeouts,
    pub(super) locals: Arc<Locals>,
    pub(super) marked: Arc<[Subnet]>,
    pub(super) lanes: Vec<Lane>,
    /// The edition that these are of.
    edition: u64,
    orphan_rounds: u32,

    pub(super) pool: FramePool,
    /// Frames that leave next.
    pub(super) outbox: Queue,
    /// By neighbour: frames that wait for its Ethernet address.
    pub(super) waiting: QuickMap<NeighbourId, Queue>,
    /// Since when the frame waits that has waited longest.
    pub(super) waiting_since: Option<Instant>,
    pub(super) answer_budget: AnswerBudget,
    /// Counted up for the ids of answers.
    pub(super) next_id: u16,
    pub(super) sweep: Sweep,
    pub(super) fragments: Fragments,
    /// Pieces whose first one has gone ahead: they are taken up again by `poll_transmit`.
    pub(super) pieces: Queue,
    /// When pieces are to be given up.
    pub(super) pieces_due: Option<Instant>,
    /// Counts attempts for `drop_packet`.
    pub(super) shed: u8,
    /// When the table was last full.
    pub(super) full_at: Option<Instant>,
    /// Whether "full" has been reported and "has room" not yet.
    pub(super) full_reported: bool,
    pub(super) events: EventQueue,
    pub(super) statistics: DirectorStatistics,
    pub(super) batch_sizes: BatchSizes,
    /// The latest time anybody told.
    pub(super) now: Instant,
}

impl<M: TableMemory> Worker<M> {
    /// One of a team. `None` if there is no memory for its connections.
    pub(super) fn new(
        team: Team,
        config: &DirectorConfig,
        common: &Common<M>,
        memory: &M,
        hasher: FlowHasher,
        now: Instant,
    ) -> Option<Self> {
        let mut worker = Self {
            ports: ports(&config.interfaces),
            entrances: entrances(&config.interfaces),
            interfaces: Arc::clone(&common.interfaces),
            team,
            probe_ports: config.probes.as_ref().map(|probes| probes.ports.clone()),
            batch: Batch::new(),
            connections: ConnectionTable::new(memory, team.share(config.max_connections, 64), hasher, now)?,
            knobs: common.knobs,
            state_timeouts: common.state_timeouts.clone(),
            locals: Arc::clone(&common.locals),
            marked: Arc::clone(&common.marked),
            lanes: Vec::with_capacity(config.max_destinations as usize),
            edition: 0,
            orphan_rounds: 0,
            pool: FramePool::new(config.pool_buffers),
            outbox: Queue::EMPTY,
            waiting: QuickMap::default(),
            waiting_since: None,
            answer_budget: AnswerBudget::new(now, team.share(common.knobs.answers_per_second, 1)),
            next_id: hasher.derive(2) as u16,
            sweep: Sweep::new(now),
            fragments: Fragments::new(config.max_fragmented, hasher.derive(4)),
            pieces: Queue::EMPTY,
            pieces_due: None,
            shed: 0,
            full_at: None,
            full_reported: false,
            events: EventQueue::new(),
            statistics: DirectorStatistics::new(),
            batch_sizes: BatchSizes::default(),
            now,
        };
        worker.follow_whole(common);
        Some(worker)
    }

    /// Takes over what has changed, if anything has.
    #[inline(always)]
    pub(super) fn catch_up<A: Access<M>>(&mut self, common: &mut A) {
        if common.edition() != self.edition {
            self.follow(&common.get());
        }
    }

    /// Takes over what has changed. Takes time in proportion to the changes if they were lanes only, else to the number of
    /// servers.
    pub(super) fn follow(&mut self, common: &Common<M>) {
        match common.news_since(self.edition) {
            News::Nothing => {}
            News::Lanes(some, more) => {
                for destination in some.iter().chain(more) {
                    let at = *destination as usize;
                    if let (Some(lane), Some(of)) =
                        (self.lanes.get_mut(at), common.destinations.lanes().get(at))
                    {
                        lane.follow(of);
                        if let Some(neighbour) = of.neighbour() {
                            self.release_waiting(neighbour, common);
                        }
                    }
                }
            }
            News::Everything => self.follow_whole(common),
        }
        self.edition = common.edition;
    }

    fn follow_whole(&mut self, common: &Common<M>) {
        self.knobs = common.knobs;
        self.state_timeouts = common.state_timeouts.clone();
        self.answer_budget.set_rate(common.now, self.team.share(common.knobs.answers_per_second, 1));
        self.locals = Arc::clone(&common.locals);
        self.marked = Arc::clone(&common.marked);
        let of = common.destinations.lanes();
        self.lanes.resize(of.len(), Lane::NOWHERE);
        for (lane, of) in self.lanes.iter_mut().zip(of) {
            lane.follow(of);
        }
        if self.orphan_rounds != common.orphan_rounds {
            self.orphan_rounds = common.orphan_rounds;
            self.sweep.look_for_orphans();
        }
        // What waits for a server that is gone must not go to one that has its neighbour's number now.
        for neighbour in &common.let_go {
            let mut queue = self.waiting.remove(neighbour).unwrap_or(Queue::EMPTY);
            while queue.len() > 0 {
                self.pool.release(&mut queue);
                self.statistics.given_up += 1;
            }
        }
        // Room for frames that wait is made here, so that no frame makes it.
        for neighbour in common.next_hops.keys() {
            self.waiting.entry(*neighbour).or_insert(Queue::EMPTY);
            self.release_waiting(*neighbour, common);
        }
        self.edition = common.edition;
    }

    /// Lets the frames go that have waited for this neighbour, if its Ethernet address is known now.
    fn release_waiting(&mut self, neighbour: NeighbourId, common: &Common<M>) {
        let (Some(queue), Some(mac)) = (self.waiting.get_mut(&neighbour), common.neighbours.mac(neighbour))
        else {
            return;
        };
        while queue.len() > 0 {
            let own = self.pool.first(queue).map(|(held, _)| held.interface);
            let own = own.and_then(|id| self.interfaces.get(usize::from(id.0)));
            if let (Some(bytes), Some(own)) = (self.pool.first_bytes_mut(queue), own)
                && let Some((to, from)) = bytes.get_mut(..12).map(|b| b.split_at_mut(6))
            {
                to.copy_from_slice(&mac.0);
                from.copy_from_slice(&own.mac.0);
            }
            self.pool.shift(queue, &mut self.outbox);
        }
    }

    /// Hands over what it has counted of servers.
    pub(super) fn report(&mut self, common: &mut Common<M>) {
        for (id, lane) in (0..).zip(&mut self.lanes) {
            if lane.packets > 0 {
                common.destinations.lane_mut(id).take_over(lane);
            }
        }
    }

    /// The interface that a frame from `port` with these VLANs belongs to.
    #[inline]
    pub(super) fn interface_of(&self, port: PortId, vlan: VlanPath) -> Option<InterfaceId> {
        let interfaces = self.ports.get(usize::from(port.0))?;
        interfaces.iter().find(|(path, _)| *path == vlan).map(|(_, id)| *id)
    }

    pub(super) fn mac_of(&self, id: InterfaceId) -> MacAddr {
        self.interfaces.get(usize::from(id.0)).map_or(MacAddr::ZERO, |interface| interface.mac)
    }

    #[inline]
    pub(super) fn lane(&self, destination: u32) -> &Lane {
        &self.lanes[destination as usize]
    }

    #[inline]
    pub(super) fn lane_mut(&mut self, destination: u32) -> &mut Lane {
        &mut self.lanes[destination as usize]
    }
}

fn ports(interfaces: &[InterfaceConfig]) -> Vec<Vec<(VlanPath, InterfaceId)>> {
    let mut ports: Vec<Vec<_>> = Vec::new();
    for (id, interface) in (0..).map(InterfaceId).zip(interfaces) {
        let port = usize::from(interface.port.0);
        if ports.len() <= port {
            ports.resize_with(port + 1, Vec::new);
        }
        ports[port].push((interface.vlan, id));
    }
    ports
}
