//! The edge between the core and whatever moves frames.
//!
//! ```text
//!   wire ──► FrameIo::receive ──► handler(&mut [Frame]) ──► one Verdict a frame ──► FrameIo ──► wire
//! ```
//!
//! A backend lends its buffers to a handler for the length of one call, so a forwarded frame is never
//! copied and a frame cannot be used after it was given back. What the core sends of its own (ARP,
//! ICMP, frames that waited) goes through [`FrameIo::transmit`].
//!
//! This module does no I/O and knows no operating system.

mod frame;
mod meta;

use core::time::Duration;

use arrayvec::ArrayVec;

pub use frame::{Frame, NoRoomError};
pub use meta::{Gso, GsoKind, Meta, PartialChecksum, VlanTag};

use crate::addr::MacAddr;
use crate::verdict::Verdict;

/// The most frames in one batch. Memory latency, not instructions, is what a frame costs when there
/// are millions of flows; a batch of this size hides it.
pub const MAX_BATCH: usize = 64;

/// One verdict for each frame of a batch, in the same order.
pub type Verdicts = ArrayVec<Verdict, MAX_BATCH>;

/// The number of a port of a [`FrameIo`]: a network card, a queue of one, an in-memory end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PortId(pub u16);

/// What a port can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The longest frame, Ethernet header included, that may be handed to `transmit` or come out of
    /// `receive`, in bytes. With offloads this is more than the MTU.
    pub longest_frame: usize,
    /// Bytes in front of each received frame that may be used.
    pub headroom: usize,
    /// Whether checksum and segmentation metadata ([`Meta`]) survive from receive to transmit. Without
    /// it every frame on the wire is complete, and one with unfinished metadata must not be sent.
    pub offload: bool,
}

/// Something that happened to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoEvent {
    /// The port carries frames again (or for the first time).
    LinkUp(PortId),
    /// The port carries no frames.
    LinkDown(PortId),
    /// Frames come in whose checksums their senders left to hardware, by a port that cannot carry that information:
    /// whoever they are forwarded to will throw them away. Told once a port.
    UnfinishedChecksums(PortId),
}

/// What a backend has counted since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoStatistics {
    /// Frames handed to the handler.
    pub received: u64,
    /// Frames handed to the wire.
    pub transmitted: u64,
    /// Frames lost before they were handed out, because nobody fetched them in time.
    pub receive_lost: u64,
    /// Frames the wire did not take.
    pub transmit_lost: u64,
}

/// Called with the frames of a batch (1 to [`MAX_BATCH`]); answers one verdict for each, in order.
pub type BatchHandler<'h> = dyn FnMut(&mut [Frame<'_>]) -> Verdicts + 'h;

/// Moves frames between the core and the outside.
///
/// Implementations are found in `lvs-io-afpacket`, `lvs-io-tap` and `lvs-io-xdp` (Linux) and in `lvs-testkit` (memory, captures,
/// and middleware around any other).
/// All calls return without waiting, except [`wait`](Self::wait).
pub trait FrameIo {
    /// Why the device cannot go on. A frame that is lost is not an error; it is counted.
    type Error: core::fmt::Display + core::fmt::Debug;

    /// How many ports there are; they are numbered from 0.
    fn ports(&self) -> u16;

    /// What a port can do.
    ///
    /// # Panics
    /// May panic if there is no such port.
    fn capabilities(&self, port: PortId) -> Capabilities;

    /// Hands at most one batch of received frames to `handler` and carries out its verdicts before it
    /// returns. Answers how many frames there were; 0 means that nothing was waiting.
    ///
    /// `handler` is not called for an empty batch.
    ///
    /// # Errors
    /// When the device is gone for good. A link that is down is not an error: see [`poll_event`](Self::poll_event).
    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, Self::Error>;

    /// Sends a frame that the core made. If the wire does not take it, it is counted as lost.
    ///
    /// # Errors
    /// When the device is gone for good.
    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), Self::Error>;

    /// Makes what was sent leave now, where a backend collects frames.
    ///
    /// # Errors
    /// When the device is gone for good.
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Waits until a frame may be there, a port changed, or `timeout` has passed (`None`: for ever).
    /// May return early for no reason, and does at once while [`poll_event`](Self::poll_event) has something to tell: a run
    /// loop that never asks spins.
    ///
    /// # Errors
    /// When the device is gone for good.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Self::Error>;

    /// Asks the device to let frames to this group address in (needed for IPv6 solicited-node groups).
    /// Backends that let everything in need not do anything.
    ///
    /// # Errors
    /// When the device refuses.
    fn join_multicast(&mut self, port: PortId, group: MacAddr) -> Result<(), Self::Error> {
        let _ = (port, group);
        Ok(())
    }

    /// The next thing that happened to a port, if any.
    fn poll_event(&mut self) -> Option<IoEvent> {
        None
    }

    /// What has been counted so far, all ports together.
    fn statistics(&self) -> IoStatistics;
}
