//! What the workers of a group share: what is common, behind its lock, and each one's inbox.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::Waker;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::TRANSMIT_BUFFER;
use super::super::common::{Access, Common};
use super::super::probe::ProbeQueue;
use super::super::worker::Worker;
use crate::connection::TableMemory;
use crate::io::{Frame, Meta, PortId};
use crate::time::Instant;

/// Frames that may lie in a worker's inbox.
pub(super) const INBOX: usize = 256;
/// Bytes in front of a frame that was handed over: room for a tag.
pub(super) const HEADROOM: usize = 4;

/// A frame on its way to its owner.
pub(super) struct Letter {
    pub(super) bytes: [u8; HEADROOM + TRANSMIT_BUFFER],
    pub(super) len: usize,
    pub(super) port: PortId,
    pub(super) meta: Meta,
}

impl Letter {
    pub(super) const EMPTY: Self = Self {
        bytes: [0; HEADROOM + TRANSMIT_BUFFER],
        len: 0,
        port: PortId(0),
        meta: Meta { vlan: None, checksum: None, gso: None, checksum_valid: false },
    };
}

/// Frames for a worker that came to others.
pub(super) struct Inbox {
    /// How many there are, to be looked at without the lock.
    pub(super) count: AtomicUsize,
    pub(super) letters: Mutex<Box<[Letter]>>,
    /// Whom to wake when there is a first one.
    pub(super) waker: Mutex<Option<Waker>>,
}

impl Inbox {
    pub(super) fn new() -> Self {
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

pub(super) struct Shared<M: TableMemory> {
    pub(super) common: Mutex<Common<M>>,
    /// That of what is common, as of the last time somebody had it.
    pub(super) edition: AtomicU64,
    pub(super) workers: Box<[Mutex<Worker<M>>]>,
    pub(super) inboxes: Box<[Inbox]>,
    /// Answers to health probes, whoever got them.
    pub(super) probe_replies: Mutex<ProbeQueue>,
    /// Whom to wake when there is something for health checks.
    pub(super) probe_waker: Mutex<Option<Waker>>,
}

/// A panic of somebody else (an observer, a scheduler of the application's) leaves counts that may be off by one behind the lock,
/// and nothing that others could not work with.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is common, locked. Tells the edition when it is given back.
pub(super) struct CommonGuard<'a, M: TableMemory> {
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
    pub(super) fn common(&self) -> CommonGuard<'_, M> {
        CommonGuard { common: lock(&self.common), edition: &self.edition }
    }

    fn wake_prober(&self) {
        if let Some(waker) = &*lock(&self.probe_waker) {
            waker.wake_by_ref();
        }
    }

    /// All workers, standing still.
    pub(super) fn all(&self) -> Vec<MutexGuard<'_, Worker<M>>> {
        self.workers.iter().map(lock).collect()
    }
}

/// Access of a worker to what it shares.
pub(super) struct Desk<'a, M: TableMemory>(pub(super) &'a Shared<M>);

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

    fn take_probe(&mut self, frame: &Frame<'_>) -> bool {
        let mut replies = lock(&self.0.probe_replies);
        let (is_first, is_taken) = (replies.len() == 0, replies.push(frame));
        drop(replies);
        if is_first && is_taken {
            self.0.wake_prober();
        }
        is_taken
    }

    fn suspect(&mut self, now: Instant, destination: u32) {
        let is_first = self.0.common().suspect(now, destination);
        if is_first {
            self.0.wake_prober();
        }
    }

    fn hand_over(&mut self, owner: u16, frame: &Frame<'_>) -> bool {
        self.0.inboxes.get(usize::from(owner)).is_some_and(|inbox| inbox.put(frame))
    }
}
