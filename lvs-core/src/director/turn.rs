//! One turn of a run loop: everything that is to be done between two waits.

use super::{Director, Outgoing};
use crate::addr::MacAddr;
use crate::connection::TableMemory;
use crate::event::Event;
use crate::io::{Frame, FrameIo, IoEvent, Meta, PortId, Verdicts};
use crate::observe::Observer;
use crate::time::Instant;

/// Bytes that [`Director::poll_transmit`] may need.
pub const TRANSMIT_BUFFER: usize = 2048;

/// Batches that one turn takes in before it looks at timers again.
const BATCHES: usize = 16;

/// Scratch memory of a run loop, so that no turn allocates.
pub struct TurnBuffers {
    transmit: [u8; TRANSMIT_BUFFER],
}

impl TurnBuffers {
    /// Fresh buffers.
    #[must_use]
    pub const fn new() -> Self {
        Self { transmit: [0; TRANSMIT_BUFFER] }
    }
}

impl Default for TurnBuffers {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: TableMemory> Director<M> {
    /// Does everything that can be done now over `io`: takes in what has arrived (up to 1024 frames), does what is
    /// due, and sends. Answers how many frames came in; after 0 it is time to wait until
    /// [`poll_timeout`](Self::poll_timeout). `clock` is asked for the time once a batch.
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

/// Who takes turns: a director, or one worker of a group.
pub(super) trait Party {
    /// Something has happened to a port.
    fn handle_event(&mut self, now: Instant, event: IoEvent);
    /// An IPv6 group that neighbour solicitations for a VIP are sent to, and that a port has not joined.
    fn poll_join(&mut self) -> Option<(PortId, MacAddr)>;
    /// Decides about frames of the device.
    fn handle_batch<O: Observer>(
        &mut self,
        now: Instant,
        frames: &mut [Frame<'_>],
        observer: &mut O,
    ) -> Verdicts;
    /// Decides about frames that came by other ways, and hands those that leave to `send`. Answers how many there were.
    fn handle_inbox<O: Observer>(
        &mut self,
        now: Instant,
        send: impl FnMut(PortId, &Meta, &[u8]),
        observer: &mut O,
    ) -> usize;
    /// The next frame to send that is at hand after a batch.
    fn poll_own(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing>;
    /// The next frame to send of all.
    fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing>;
    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);
}

/// A turn of anybody. See [`Director::turn`].
pub(super) fn take_turn<P: Party, I: FrameIo, O: Observer>(
    party: &mut P,
    io: &mut I,
    buffers: &mut TurnBuffers,
    clock: impl Fn() -> Instant,
    observer: &mut O,
) -> Result<usize, I::Error> {
    while let Some(event) = io.poll_event() {
        party.handle_event(clock(), event);
    }
    while let Some((port, group)) = party.poll_join() {
        io.join_multicast(port, group)?;
    }
    let mut received = 0;
    for _ in 0..BATCHES {
        let count = io.receive(&mut |frames| party.handle_batch(clock(), frames, observer))?;
        let mut sent = Ok(());
        let send = |port: PortId, meta: &Meta, bytes: &[u8]| {
            if sent.is_ok() {
                sent = io.transmit(port, meta, bytes);
            }
        };
        let letters = party.handle_inbox(clock(), send, observer);
        sent?;
        received += count + letters;
        let now = clock();
        transmit(io, buffers, |buffer| party.poll_own(now, buffer))?;
        if count + letters == 0 {
            break;
        }
    }
    party.handle_timeout(clock());
    let now = clock();
    transmit(io, buffers, |buffer| party.poll_transmit(now, buffer))?;
    io.flush()?;
    Ok(received)
}

/// Sends until there is nothing more.
fn transmit<I: FrameIo>(
    io: &mut I,
    buffers: &mut TurnBuffers,
    mut next: impl FnMut(&mut [u8]) -> Option<Outgoing>,
) -> Result<(), I::Error> {
    while let Some(outgoing) = next(&mut buffers.transmit) {
        let frame = buffers.transmit.get(..outgoing.len).unwrap_or_default();
        io.transmit(outgoing.port, &outgoing.meta, frame)?;
    }
    Ok(())
}

impl<M: TableMemory> Party for Director<M> {
    fn handle_event(&mut self, now: Instant, event: IoEvent) {
        match event {
            IoEvent::LinkUp(port) => self.handle_link(now, port, true),
            IoEvent::LinkDown(port) => self.handle_link(now, port, false),
            IoEvent::UnfinishedChecksums(port) => {
                self.common.events.push(Event::UnfinishedChecksums(port));
            }
        }
    }

    fn poll_join(&mut self) -> Option<(PortId, MacAddr)> {
        self.common.poll_join()
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
        _: Instant,
        _: impl FnMut(PortId, &Meta, &[u8]),
        _: &mut O,
    ) -> usize {
        0
    }

    fn poll_own(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        Self::poll_transmit(self, now, buffer)
    }

    fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        Self::poll_transmit(self, now, buffer)
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }
}
