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

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::Waker;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrayvec::ArrayVec;

use super::common::{Access, Common};
use super::worker::{Team, Worker};
use super::{Outgoing, RestoreError, TRANSMIT_BUFFER, TurnBuffers};
use crate::classify::owner_of;
use crate::config::{ApplyError, Change, ConfigError, DirectorConfig, Knobs, MarkRule, ServiceKey, Timeouts};
use crate::connection::{ConnectionRecord, FlowHasher, HeapMemory, TableMemory};
use crate::event::Event;
use crate::io::{Frame, FrameIo, IoEvent, MAX_BATCH, Meta, PortId, Verdicts};
use crate::listing::{ConnectionUsage, ServiceListing};
use crate::observe::Observer;
use crate::statistics::DirectorStatistics;
use crate::time::Instant;
use crate::verdict::Verdict;

/// Frames that may lie in a worker's inbox.
const INBOX: usize = 256;
/// Bytes in front of a frame that was handed over: room for a tag.
const HEADROOM: usize = 4;
/// Batches that one turn takes in before it looks at timers again.
const BATCHES: usize = 16;

/// A frame on its way to its owner.
struct Letter {
    bytes: [u8; HEADROOM + TRANSMIT_BUFFER],
    len: usize,
    port: PortId,
    meta: Meta,
}

impl Letter {
    const EMPTY: Self = Self {
        bytes: [0; HEADROOM + TRANSMIT_BUFFER],
        len: 0,
        port: PortId(0),
        meta: Meta { vlan: None, checksum: None, gso: None, checksum_valid: false },
    };
}

/// Frames for a worker that came to others.
struct Inbox {
    /// How many there are, to be looked at without the lock.
    count: AtomicUsize,
    letters: Mutex<Box<[Letter]>>,
    /// Whom to wake when there is a first one.
    waker: Mutex<Option<Waker>>,
}

impl Inbox {
    fn new() -> Self {
        let letters: Vec<Letter> = core::iter::repeat_with(|| Letter::EMPTY).take(INBOX).collect();
        Self {
            count: AtomicUsize::new(0),
            letters: Mutex::new(letters.into_boxed_slice()),
            waker: Mutex::new(None),
        }
    }

    fn put(&self, frame: &Frame<'_>) -> bool {
        let mut letters = lock(&self.letters);
        let at = self.count.load(Ordering::Relaxed);
        let bytes = frame.bytes();
        let Some(letter) = letters.get_mut(at) else {
            return false;
        };
        let Some(room) = letter.bytes.get_mut(HEADROOM..HEADROOM + bytes.len()) else {
            return false;
        };
        room.copy_from_slice(bytes);
        (letter.len, letter.port, letter.meta) = (bytes.len(), frame.port(), *frame.meta());
        self.count.store(at + 1, Ordering::Relaxed);
        drop(letters);
        if at == 0
            && let Some(waker) = &*lock(&self.waker)
        {
            waker.wake_by_ref();
        }
        true
    }
}

struct Shared<M: TableMemory> {
    common: Mutex<Common<M>>,
    /// That of what is common, as of the last time somebody had it.
    edition: AtomicU64,
    workers: Box<[Mutex<Worker<M>>]>,
    inboxes: Box<[Inbox]>,
}

/// A panic of somebody else (an observer, a scheduler of the application's) leaves counts that may be off by one behind the lock,
/// and nothing that others could not work with.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is common, locked. Tells the edition when it is given back.
struct CommonGuard<'a, M: TableMemory> {
    common: MutexGuard<'a, Common<M>>,
    edition: &'a AtomicU64,
}

impl<M: TableMemory> Deref for CommonGuard<'_, M> {
    type Target = Common<M>;

    fn deref(&self) -> &Common<M> {
        &self.common
    }
}

impl<M: TableMemory> DerefMut for CommonGuard<'_, M> {
    fn deref_mut(&mut self) -> &mut Common<M> {
        &mut self.common
    }
}

impl<M: TableMemory> Drop for CommonGuard<'_, M> {
    fn drop(&mut self) {
        // Written only if it is news: everybody reads it once a batch.
        if self.edition.load(Ordering::Relaxed) != self.common.edition {
            self.edition.store(self.common.edition, Ordering::Release);
        }
    }
}

impl<M: TableMemory> Shared<M> {
    fn common(&self) -> CommonGuard<'_, M> {
        CommonGuard { common: lock(&self.common), edition: &self.edition }
    }

    /// All workers, standing still.
    fn all(&self) -> Vec<MutexGuard<'_, Worker<M>>> {
        self.workers.iter().map(lock).collect()
    }
}

/// Access of a worker to what it shares.
struct Desk<'a, M: TableMemory>(&'a Shared<M>);

impl<M: TableMemory> Access<M> for Desk<'_, M> {
    type Guard<'g>
        = CommonGuard<'g, M>
    where
        Self: 'g;

    fn get(&mut self) -> CommonGuard<'_, M> {
        self.0.common()
    }

    #[inline(always)]
    fn edition(&self) -> u64 {
        self.0.edition.load(Ordering::Acquire)
    }

    fn hand_over(&mut self, owner: u16, frame: &Frame<'_>) -> bool {
        self.0.inboxes.get(usize::from(owner)).is_some_and(|inbox| inbox.put(frame))
    }
}

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

/// One worker of a [`DirectorGroup`], for one thread. Its calls are those of a [`Director`](crate::Director).
pub struct GroupMember<M: TableMemory = HeapMemory> {
    shared: Arc<Shared<M>>,
    place: u16,
    /// Frames out of the inbox, while they are worked on.
    letters: Box<[Letter]>,
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
        let shared = Arc::new(Shared {
            edition: AtomicU64::new(common.edition),
            common: Mutex::new(common),
            workers: made.into_boxed_slice(),
            inboxes: places.clone().map(|_| Inbox::new()).collect(),
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

impl<M: TableMemory> GroupMember<M> {
    /// Its number, from 0; [`owner`](crate::classify::owner) says which frames are its own.
    #[must_use]
    pub const fn place(&self) -> u16 {
        self.place
    }

    /// What wakes this worker while it waits for frames, called when another worker has one for it and its inbox was empty. It
    /// must not wait. Without it a worker should not wait longer than some milliseconds.
    pub fn set_waker(&self, waker: Waker) {
        *lock(&self.shared.inboxes[usize::from(self.place)].waker) = Some(waker);
    }

    fn worker(&self) -> MutexGuard<'_, Worker<M>> {
        lock(&self.shared.workers[usize::from(self.place)])
    }

    /// As [`Director::handle_batch`](crate::Director::handle_batch). A frame that
    /// belongs to another worker, and not to a connection that is known here, is given to that one.
    ///
    /// # Panics
    /// If there are more than [`MAX_BATCH`] frames.
    pub fn handle_batch(&self, now: Instant, frames: &mut [Frame<'_>]) -> Verdicts {
        self.handle_batch_observed(now, frames, &mut ())
    }

    /// The same, watched by an observer.
    ///
    /// # Panics
    /// If there are more than [`MAX_BATCH`] frames.
    pub fn handle_batch_observed<O: Observer>(
        &self,
        now: Instant,
        frames: &mut [Frame<'_>],
        observer: &mut O,
    ) -> Verdicts {
        self.worker().handle_batch(&mut Desk(&self.shared), now, frames, observer)
    }

    /// Takes the frames that other workers have for this one, and hands those that are to be sent to `send`. Answers how
    /// many there were.
    pub fn handle_inbox(&mut self, now: Instant, mut send: impl FnMut(PortId, &Meta, &[u8])) -> usize {
        let inbox = &self.shared.inboxes[usize::from(self.place)];
        if inbox.count.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let count = {
            let mut letters = lock(&inbox.letters);
            core::mem::swap(&mut *letters, &mut self.letters);
            inbox.count.swap(0, Ordering::Relaxed)
        };
        let worker = &self.shared.workers[usize::from(self.place)];
        for letters in self.letters[..count].chunks_mut(MAX_BATCH) {
            let mut frames: ArrayVec<Frame<'_>, MAX_BATCH> = ArrayVec::new();
            for letter in letters {
                if let Ok(frame) =
                    Frame::within(&mut letter.bytes, HEADROOM, letter.len, letter.port, letter.meta)
                {
                    frames.push(frame);
                }
            }
            // What is sent may wait for the device; nobody else has to.
            let verdicts = lock(worker).handle_batch(&mut Desk(&self.shared), now, &mut frames, &mut ());
            for (frame, verdict) in frames.iter().zip(verdicts) {
                if let Verdict::Transmit(port) = verdict {
                    send(port, frame.meta(), frame.bytes());
                }
            }
        }
        count
    }

    /// As [`Director::poll_transmit`](crate::Director::poll_transmit).
    pub fn poll_transmit(&self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        let frame = self.worker().poll_transmit(&mut Desk(&self.shared), now, buffer);
        frame.or_else(|| self.shared.common().poll_transmit(now, buffer))
    }

    /// As [`Director::poll_timeout`](crate::Director::poll_timeout). What is due for all is done by whoever is first.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let worker = self.worker();
        if self.shared.inboxes[usize::from(self.place)].count.load(Ordering::Relaxed) > 0 {
            return Some(worker.now);
        }
        let moving = worker.connections.len() > 0;
        let due = worker.poll_timeout();
        drop(worker);
        Instant::earliest(due, self.shared.common().poll_timeout(moving))
    }

    /// As [`Director::handle_timeout`](crate::Director::handle_timeout).
    pub fn handle_timeout(&self, now: Instant) {
        let is_estimate_due = {
            let mut common = self.shared.common();
            common.handle_timeout(now);
            common.estimate_is_due()
        };
        self.worker().handle_timeout(&mut Desk(&self.shared), now);
        if is_estimate_due {
            for worker in &self.shared.workers {
                lock(worker).report(&mut self.shared.common());
            }
            let mut common = self.shared.common();
            // Somebody else may have been first.
            if common.estimate_is_due() {
                common.estimate_rates();
            }
        }
    }

    /// As [`Director::handle_link`](crate::Director::handle_link); one worker has to tell.
    pub fn handle_link(&self, now: Instant, port: PortId, up: bool) {
        let mut common = self.shared.common();
        common.events.push(if up { Event::LinkUp(port) } else { Event::LinkDown(port) });
        common.neighbours.handle_link(now, port, up);
        common.take_neighbour_updates(now);
    }

    /// As [`Director::turn`](crate::Director::turn), on this worker's device. Without a [waker](Self::set_waker) a worker should
    /// not wait longer than some milliseconds afterwards: what others have for it does not wake its device.
    ///
    /// # Errors
    /// When the device is gone for good.
    pub fn turn<I: FrameIo>(
        &mut self,
        io: &mut I,
        buffers: &mut TurnBuffers,
        clock: impl Fn() -> Instant,
    ) -> Result<usize, I::Error> {
        while let Some(event) = io.poll_event() {
            match event {
                // All workers have the same cards: the first one tells.
                IoEvent::LinkUp(port) if self.place == 0 => self.handle_link(clock(), port, true),
                IoEvent::LinkDown(port) if self.place == 0 => self.handle_link(clock(), port, false),
                IoEvent::UnfinishedChecksums(port) => {
                    self.shared.common().events.push(Event::UnfinishedChecksums(port));
                }
                _ => {}
            }
        }
        if self.place == 0 {
            self.join_groups(io)?;
        }
        let mut received = 0;
        for _ in 0..BATCHES {
            let member = &*self;
            let mut handler = |frames: &mut [Frame<'_>]| member.handle_batch(clock(), frames);
            let count = io.receive(&mut handler)?;
            let mut failed = None;
            let letters = self.handle_inbox(clock(), |port, meta, bytes| {
                if let Err(error) = io.transmit(port, meta, bytes) {
                    failed = Some(error);
                }
            });
            if let Some(error) = failed {
                return Err(error);
            }
            received += count + letters;
            self.transmit_own(io, buffers, clock())?;
            if count + letters == 0 {
                break;
            }
        }
        self.handle_timeout(clock());
        self.transmit(io, buffers, clock())?;
        io.flush()?;
        Ok(received)
    }

    /// Sends what this worker wants to send; what is common is looked at once a turn.
    fn transmit_own<I: FrameIo>(
        &self,
        io: &mut I,
        buffers: &mut TurnBuffers,
        now: Instant,
    ) -> Result<(), I::Error> {
        loop {
            let next = self.worker().poll_transmit(&mut Desk(&self.shared), now, &mut buffers.transmit);
            let Some(outgoing) = next else {
                return Ok(());
            };
            let frame = buffers.transmit.get(..outgoing.len).unwrap_or_default();
            io.transmit(outgoing.port, &outgoing.meta, frame)?;
        }
    }

    fn transmit<I: FrameIo>(
        &self,
        io: &mut I,
        buffers: &mut TurnBuffers,
        now: Instant,
    ) -> Result<(), I::Error> {
        while let Some(outgoing) = self.poll_transmit(now, &mut buffers.transmit) {
            let frame = buffers.transmit.get(..outgoing.len).unwrap_or_default();
            io.transmit(outgoing.port, &outgoing.meta, frame)?;
        }
        Ok(())
    }

    fn join_groups<I: FrameIo>(&self, io: &mut I) -> Result<(), I::Error> {
        loop {
            let wanted = {
                let mut common = self.shared.common();
                let next = common.neighbours.poll_join();
                next.and_then(|(interface, group)| Some((common.interface(interface)?.port, group)))
            };
            match wanted {
                Some((port, group)) => io.join_multicast(port, group)?,
                None => break,
            }
        }
        Ok(())
    }
}
