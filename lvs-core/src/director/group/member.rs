//! One worker of a group.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use core::task::Waker;
use std::sync::MutexGuard;

use arrayvec::ArrayVec;

use super::super::turn::{Party, take_turn};
use super::super::worker::Worker;
use super::super::{Outgoing, TurnBuffers};
use super::shared::{Desk, HEADROOM, Letter, Shared, lock};
use crate::addr::MacAddr;
use crate::connection::{HeapMemory, TableMemory};
use crate::event::Event;
use crate::io::{Frame, FrameIo, IoEvent, MAX_BATCH, Meta, PortId, Verdicts};
use crate::observe::Observer;
use crate::time::Instant;
use crate::verdict::Verdict;

/// One worker of a [`DirectorGroup`](super::DirectorGroup), for one thread. Its calls are those of a [`Director`](crate::Director).
pub struct GroupMember<M: TableMemory = HeapMemory> {
    pub(super) shared: Arc<Shared<M>>,
    pub(super) place: u16,
    /// Frames out of the inbox, while they are worked on.
    pub(super) letters: Box<[Letter]>,
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
        self.worker().handle_batch(&mut Desk(&self.shared), now, frames, &mut ())
    }

    /// The same, watched by an observer if it [wants](Observer::watches) this batch.
    ///
    /// # Panics
    /// If there are more than [`MAX_BATCH`] frames.
    pub fn handle_batch_observed<O: Observer>(
        &self,
        now: Instant,
        frames: &mut [Frame<'_>],
        observer: &mut O,
    ) -> Verdicts {
        if !observer.watches(now) {
            return self.handle_batch(now, frames);
        }
        handle_watched(&self.shared, self.place, now, frames, observer)
    }

    /// Takes the frames that other workers have for this one, and hands those that are to be sent to `send`. Answers how
    /// many there were.
    pub fn handle_inbox(&mut self, now: Instant, send: impl FnMut(PortId, &Meta, &[u8])) -> usize {
        self.handle_inbox_observed(now, send, &mut ())
    }

    /// The same, watched by an observer.
    pub fn handle_inbox_observed<O: Observer>(
        &mut self,
        now: Instant,
        mut send: impl FnMut(PortId, &Meta, &[u8]),
        observer: &mut O,
    ) -> usize {
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
            let verdicts = if observer.watches(now) {
                handle_watched(&self.shared, self.place, now, &mut frames, observer)
            } else {
                lock(worker).handle_batch(&mut Desk(&self.shared), now, &mut frames, &mut ())
            };
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
        self.turn_observed(io, buffers, clock, &mut ())
    }

    /// The same, watched by an observer.
    ///
    /// # Errors
    /// When the device is gone for good.
    pub fn turn_observed<I: FrameIo, O: Observer>(
        &mut self,
        io: &mut I,
        buffers: &mut TurnBuffers,
        clock: impl Fn() -> Instant,
        observer: &mut O,
    ) -> Result<usize, I::Error> {
        take_turn(self, io, buffers, clock, observer)
    }
}

impl<M: TableMemory> Party for GroupMember<M> {
    fn handle_event(&mut self, now: Instant, event: IoEvent) {
        match event {
            // All workers have the same cards: the first one tells.
            IoEvent::LinkUp(port) if self.place == 0 => self.handle_link(now, port, true),
            IoEvent::LinkDown(port) if self.place == 0 => self.handle_link(now, port, false),
            IoEvent::LinkUp(_) | IoEvent::LinkDown(_) => {}
            IoEvent::UnfinishedChecksums(port) => {
                self.shared.common().events.push(Event::UnfinishedChecksums(port));
            }
        }
    }

    fn poll_join(&mut self) -> Option<(PortId, MacAddr)> {
        if self.place == 0 { self.shared.common().poll_join() } else { None }
    }

    fn handle_batch<O: Observer>(
        &mut self,
        now: Instant,
        frames: &mut [Frame<'_>],
        observer: &mut O,
    ) -> Verdicts {
        self.handle_batch_observed(now, frames, observer)
    }

    fn handle_inbox<O: Observer>(
        &mut self,
        now: Instant,
        send: impl FnMut(PortId, &Meta, &[u8]),
        observer: &mut O,
    ) -> usize {
        self.handle_inbox_observed(now, send, observer)
    }

    /// What is common is looked at once a turn.
    fn poll_own(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        self.worker().poll_transmit(&mut Desk(&self.shared), now, buffer)
    }

    fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        Self::poll_transmit(self, now, buffer)
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }
}

/// A batch for the worker at this place. Apart, so that the code for frames that nobody watches is what it is without observers.
#[cold]
#[inline(never)]
fn handle_watched<M: TableMemory, O: Observer>(
    shared: &Shared<M>,
    place: u16,
    now: Instant,
    frames: &mut [Frame<'_>],
    observer: &mut O,
) -> Verdicts {
    lock(&shared.workers[usize::from(place)]).handle_batch(&mut Desk(shared), now, frames, observer)
}
