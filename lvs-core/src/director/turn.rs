//! One turn of a run loop: everything that is to be done between two waits.

use super::Director;
use crate::connection::TableMemory;
use crate::event::Event;
use crate::io::{FrameIo, IoEvent};
use crate::observe::Observer;
use crate::time::Instant;

/// Bytes that [`Director::poll_transmit`] may need.
pub const TRANSMIT_BUFFER: usize = 2048;

/// Batches that one turn takes in before it looks at timers again.
const BATCHES: usize = 16;

/// Scratch memory of a run loop, so that no turn allocates.
pub struct TurnBuffers {
    pub(super) transmit: [u8; TRANSMIT_BUFFER],
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
        while let Some(event) = io.poll_event() {
            match event {
                IoEvent::LinkUp(port) => self.handle_link(clock(), port, true),
                IoEvent::LinkDown(port) => self.handle_link(clock(), port, false),
                IoEvent::UnfinishedChecksums(port) => {
                    self.common.events.push(Event::UnfinishedChecksums(port));
                }
            }
        }
        self.join_groups(io)?;
        let mut received = 0;
        for _ in 0..BATCHES {
            let mut handler =
                |frames: &mut [crate::Frame<'_>]| self.handle_batch_observed(clock(), frames, observer);
            let count = io.receive(&mut handler)?;
            received += count;
            self.transmit(io, buffers, clock())?;
            if count == 0 {
                break;
            }
        }
        self.handle_timeout(clock());
        self.transmit(io, buffers, clock())?;
        io.flush()?;
        Ok(received)
    }

    /// Sends all that the director wants to send.
    fn transmit<I: FrameIo>(
        &mut self,
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

    /// Asks the device for the IPv6 groups that neighbour solicitations for the VIPs are sent to.
    fn join_groups<I: FrameIo>(&mut self, io: &mut I) -> Result<(), I::Error> {
        while let Some((interface, group)) = self.common.neighbours.poll_join() {
            if let Some(port) = self.common.interface(interface).map(|interface| interface.port) {
                io.join_multicast(port, group)?;
            }
        }
        Ok(())
    }
}
