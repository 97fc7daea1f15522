//! Live traces: frames that a running director decides about, explained to whoever watches.
//!
//! ```text
//!   worker ─► Witness ─┐  a filter's frames, so many a second      ┌─► a client's thread ─► lines
//!   worker ─► Witness ─┴─► Watcher: a queue, counts of the rest ───┘
//!               │ once a batch: does anybody watch?
//!               └── Tracer ◄── begins, ends with its client
//! ```
//! While nobody watches, a worker reads one word a batch. A traced batch takes the code with the [`Witness`] in it, which copies
//! each frame that a filter may want, so there are bounds: so many frames are looked at, and so many told, in a tenth of a second. Of
//! the rest only the headers are held against the filters, and what fits is counted. A client that does not read is told how much it
//! has missed; no worker waits for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as SystemInstant, SystemTime};

use lvs_core::Instant;
use lvs_core::observe::{Held, Observation, Observer};

use super::message::{Fault, Refusal, Reply, Traced, TracedFrame};
use super::server::{Caller, LOOK};
use crate::explain::{Explanation, Filter, Notes, Plain, What};
use crate::json::Explained;

/// How many traces may run at one time.
pub const MAX_TRACES: usize = 4;
/// How many frames a trace is told in a second at most, whoever decides about them.
pub const TOLD_PER_SECOND: u32 = 10 * TOLD;
/// Of how many frames a second a worker looks at more than the headers.
pub const LOOKED_AT_PER_SECOND: u32 = 10 * LOOKED_AT;

/// The bounds hold in each tenth of a second, so that one burst does not take the whole second.
const SLICE: Duration = Duration::from_millis(100);
const TOLD: u32 = 100;
const LOOKED_AT: u32 = 2000;
/// Frames that wait for a client to read.
const QUEUE: usize = 256;
/// Frames in one line of an answer.
const PORTION: usize = 64;
/// How often a client is told that nothing happens.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Knows who watches. Shared by the workers and the control socket.
#[derive(Debug, Default)]
pub struct Tracer {
    /// 0 while nobody watches, else another number after each change.
    edition: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    changes: u64,
    watchers: Vec<Arc<Watcher>>,
}

/// There are as many traces as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_TRACES} traces run already; end one of them")]
pub struct TooManyTraces;

impl Tracer {
    /// That nobody watches by.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many traces run.
    #[must_use]
    pub fn traces(&self) -> usize {
        lock(&self.state).watchers.len()
    }

    /// The observer of a worker. It explains with this number, if there are others.
    #[must_use]
    pub fn witness(self: &Arc<Self>, worker: Option<u16>) -> Witness {
        Witness {
            tracer: Arc::clone(self),
            worker,
            edition: 0,
            watches: Vec::new(),
            notes: Notes::new(),
            slice: 0,
            left: LOOKED_AT,
        }
    }

    /// Begins a trace, which ends when it is dropped.
    ///
    /// # Errors
    /// If [`MAX_TRACES`] run already.
    pub fn watch(self: &Arc<Self>, filter: Filter) -> Result<Trace, TooManyTraces> {
        let mut state = lock(&self.state);
        if state.watchers.len() >= MAX_TRACES {
            return Err(TooManyTraces);
        }
        let watcher = Arc::new(Watcher::new(filter));
        state.watchers.push(Arc::clone(&watcher));
        self.tell_workers(&mut state);
        Ok(Trace { tracer: Arc::clone(self), watcher })
    }

    fn tell_workers(&self, state: &mut State) {
        state.changes += 1;
        let edition = if state.watchers.is_empty() { 0 } else { state.changes };
        self.edition.store(edition, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is left half done lies behind these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What somebody wants to see, and what waits for him.
#[derive(Debug)]
struct Watcher {
    filter: Filter,
    queue: Mutex<Queue>,
    filled: Condvar,
    /// The slice of time in which no more can be told.
    spent: AtomicU64,
    untold: AtomicU64,
    unlooked: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    told: VecDeque<Told>,
    slice: u64,
    left: u32,
}

/// A frame that was decided about.
#[derive(Debug, Clone)]
pub struct Told {
    /// The worker that did, if there are several.
    pub worker: Option<u16>,
    /// When.
    pub time: SystemTime,
    /// What and why.
    pub explanation: Explanation,
}

impl Watcher {
    fn new(filter: Filter) -> Self {
        Self {
            filter,
            queue: Mutex::new(Queue { told: VecDeque::with_capacity(QUEUE), slice: 0, left: TOLD }),
            filled: Condvar::new(),
            spent: AtomicU64::new(u64::MAX),
            untold: AtomicU64::new(0),
            unlooked: AtomicU64::new(0),
        }
    }

    fn tell(&self, slice: u64, worker: Option<u16>, explanation: &Explanation) {
        let mut queue = lock(&self.queue);
        if slice > queue.slice {
            (queue.slice, queue.left) = (slice, TOLD);
        }
        if queue.left == 0 || queue.told.len() >= QUEUE {
            drop(queue);
            self.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.left -= 1;
        if queue.left == 0 {
            self.spent.store(slice, Ordering::Relaxed);
        }
        queue.told.push_back(Told { worker, time: SystemTime::now(), explanation: explanation.clone() });
        drop(queue);
        self.filled.notify_one();
    }

    /// Counts a frame of which only the headers were looked at; they may say `surely` that it was wanted.
    fn leave(&self, surely: bool) {
        let count = if surely { &self.untold } else { &self.unlooked };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A trace that somebody watches.
#[derive(Debug)]
pub struct Trace {
    tracer: Arc<Tracer>,
    watcher: Arc<Watcher>,
}

/// What a trace has to tell.
#[derive(Debug, Clone, Default)]
pub struct Portion {
    /// In the order in which they were decided about; of several workers, in the order in which they told.
    pub frames: Vec<Told>,
    /// How many more matched.
    pub untold: u64,
    /// How many more may have matched: only their headers were looked at. A frame that one worker hands to another is counted by the
    /// one that decides about it.
    pub unlooked: u64,
}

impl Portion {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && (self.untold, self.unlooked) == (0, 0)
    }
}

impl Trace {
    /// Waits until there are frames, but not longer than this, and takes some of them.
    #[must_use]
    pub fn next(&self, timeout: Duration) -> Portion {
        let queue = lock(&self.watcher.queue);
        let waited = self.watcher.filled.wait_timeout_while(queue, timeout, |queue| queue.told.is_empty());
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let some = queue.told.len().min(PORTION);
        let frames = queue.told.drain(..some).collect();
        drop(queue);
        let taken = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Portion { frames, untold: taken(&self.watcher.untold), unlooked: taken(&self.watcher.unlooked) }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let mut state = lock(&self.tracer.state);
        state.watchers.retain(|watcher| !Arc::ptr_eq(watcher, &self.watcher));
        self.tracer.tell_workers(&mut state);
    }
}

/// The observer of one worker.
#[derive(Debug)]
pub struct Witness {
    tracer: Arc<Tracer>,
    worker: Option<u16>,
    /// The tracer's when it was asked last.
    edition: u64,
    watches: Vec<Watch>,
    notes: Notes,
    slice: u64,
    /// Frames that may still be looked at in this slice.
    left: u32,
}

#[derive(Debug)]
struct Watch {
    watcher: Arc<Watcher>,
    /// Frames that its filter wanted by their headers.
    seen: u64,
    /// What is to become of the frame that is being decided about.
    intent: Intent,
}

/// What a trace has in mind for a frame, as far as its headers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// It does not want it.
    Ignore,
    /// It wants to know what becomes of it.
    Look,
    /// There is no room to look. Whether it would have been wanted whatever becomes of it.
    Count { surely: bool },
}

impl Watch {
    /// Whether the filter may want this frame, and it is the frame's turn.
    fn is_turn(&mut self, frame: &What) -> bool {
        let filter = &self.watcher.filter;
        if !filter.wants(frame) {
            return false;
        }
        let turn = self.seen.is_multiple_of(u64::from(filter.sample().get()));
        self.seen = self.seen.wrapping_add(1);
        turn
    }
}

impl Witness {
    #[cold]
    fn follow(&mut self, edition: u64) {
        let state = lock(&self.tracer.state);
        self.watches.retain(|watch| state.watchers.iter().any(|one| Arc::ptr_eq(one, &watch.watcher)));
        for watcher in &state.watchers {
            if !self.watches.iter().any(|watch| Arc::ptr_eq(&watch.watcher, watcher)) {
                self.watches.push(Watch { watcher: Arc::clone(watcher), seen: 0, intent: Intent::Ignore });
            }
        }
        self.edition = edition;
    }

    fn begin(&mut self, frame: &What) {
        let (slice, left) = (self.slice, self.left);
        for watch in &mut self.watches {
            watch.intent = if !watch.is_turn(frame) {
                Intent::Ignore
            } else if left > 0 && watch.watcher.spent.load(Ordering::Relaxed) != slice {
                Intent::Look
            } else {
                Intent::Count { surely: watch.watcher.filter.surely_wants(frame) }
            };
        }
        if self.looks() {
            self.left -= 1;
        }
    }

    /// Whether anybody wants to know what becomes of the frame.
    fn looks(&self) -> bool {
        self.watches.iter().any(|watch| watch.intent == Intent::Look)
    }

    /// Counts the frame where it is not looked at, now that it is decided about here.
    fn count(&mut self) {
        for watch in &mut self.watches {
            if let Intent::Count { surely } = watch.intent {
                watch.watcher.leave(surely);
                watch.intent = Intent::Ignore;
            }
        }
    }

    /// Another worker decides about the frame, and counts it, if it is not looked at there either.
    fn hand_over(&mut self) {
        for watch in &mut self.watches {
            if matches!(watch.intent, Intent::Count { .. }) {
                watch.intent = Intent::Ignore;
            }
        }
    }
}

impl Observer for Witness {
    fn watches(&mut self, now: Instant) -> bool {
        let edition = self.tracer.edition.load(Ordering::Relaxed);
        if edition != self.edition {
            self.follow(edition);
        }
        if edition == 0 {
            return false;
        }
        let slice = now.as_micros() / SLICE.as_micros() as u64;
        if slice != self.slice {
            (self.slice, self.left) = (slice, LOOKED_AT);
        }
        true
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        match *observation {
            Observation::Frame { bytes, meta, packet, interface, .. } => {
                self.begin(&What::of(bytes, meta, packet, interface.is_some()));
            }
            Observation::Held { because: Held::HandedOver { .. } } => self.hand_over(),
            Observation::Verdict { .. } => self.count(),
            _ => {}
        }
        if !self.looks() {
            return;
        }
        let Some(explanation) = self.notes.note(observation) else { return };
        let is_mine = !explanation.is_handed_over();
        for watch in &mut self.watches {
            let looks = watch.intent == Intent::Look;
            if looks && is_mine && watch.watcher.filter.matches(explanation) {
                watch.watcher.tell(self.slice, self.worker, explanation);
            }
            watch.intent = Intent::Ignore;
        }
    }
}

/// Tells a client until it goes, or the server ends.
pub(super) fn serve(tracer: &Arc<Tracer>, filter: &str, caller: &mut Caller<'_>) -> Result<(), Refusal> {
    let filter: Filter =
        filter.parse().map_err(|error| Refusal::new(Fault::Malformed, format!("filter: {error}")))?;
    let trace = tracer.watch(filter).map_err(|error| Refusal::new(Fault::Busy, error.to_string()))?;
    let (mut number, mut last) = (0, SystemInstant::now());
    // The first line says that it has begun.
    let mut line = caller.answer(Reply::Traced(Traced::default()));
    while line.is_ok() && caller.waits() {
        let portion = trace.next(LOOK);
        if !portion.is_empty() || last.elapsed() >= SIGN_OF_LIFE {
            last = SystemInstant::now();
            line = caller.answer(Reply::Traced(in_words(&portion, &mut number)));
        }
    }
    if line.is_ok() && caller.is_over() {
        return Err(Refusal::new(Fault::Ended, "the director has ended"));
    }
    Ok(())
}

fn in_words(portion: &Portion, number: &mut u64) -> Traced {
    let frame = |told: &Told| {
        *number += 1;
        let time = told.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let explained = Explained::new(*number, time.as_micros() as f64 / 1e6, &told.explanation);
        let lines = told.explanation.lines(&Plain).into_iter();
        TracedFrame {
            explained: Explained { worker: told.worker, ..explained },
            lines: lines.map(|line| (line.label.to_owned(), line.text)).collect(),
        }
    };
    let frames = portion.frames.iter().map(frame).collect();
    Traced { frames, untold: portion.untold, unlooked: portion.unlooked }
}

#[cfg(test)]
mod tests;
