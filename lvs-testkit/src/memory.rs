//! A `FrameIo` without a device: a test pushes frames in and looks at what came out.
//!
//! ```text
//!   inject(port, bytes) ──► queue ──► receive(handler) ──► sent, passed, verdicts ──► take_*()
//!                                        transmit(port) ──► sent
//! ```
//!
//! It is strict where a device would be lenient or silent: a frame that a port of these capabilities
//! could not carry, a verdict too many or too few, or a port that does not exist, is a bug in what is
//! under test and panics with a sentence. It owns no clock, delays nothing and loses nothing unless a
//! queue is full or a link is down.
//!
//! ```
//! use lvs_core::io::{FrameIo, PortId, Verdicts};
//! use lvs_core::{MacAddr, Verdict};
//! use lvs_testkit::frames::{self, Summary, describe, socket, station};
//! use lvs_testkit::memory::MemoryIo;
//!
//! let mut io = MemoryIo::new(1);
//! let port = PortId(0);
//! io.inject(port, &frames::tcp(socket("110.0.0.1:40000"), socket("192.168.0.250:80")).build());
//!
//! // What is under test: here, something that turns every frame over to station 9.
//! let handled = io.receive(&mut |batch| {
//!     let mut verdicts = Verdicts::new();
//!     for frame in batch {
//!         frame.bytes_mut()[..6].copy_from_slice(&station(9).0);
//!         verdicts.push(Verdict::Transmit(frame.port()));
//!     }
//!     verdicts
//! })?;
//! assert_eq!(handled, 1);
//!
//! let sent = io.take_sent();
//! assert_eq!(Summary::of(&sent[0].bytes).unwrap().destination_mac, station(9));
//! # Ok::<(), std::convert::Infallible>(())
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use lvs_core::io::{
    BatchHandler, Capabilities, Frame, FrameIo, IoEvent, IoStatistics, MAX_BATCH, Meta, PortId,
};
use lvs_core::{MacAddr, Verdict};

/// A frame outside any device, with the port it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFrame {
    /// The port it came in by or left by.
    pub port: PortId,
    /// What it carries besides its bytes.
    pub meta: Meta,
    /// Its bytes, Ethernet header first.
    pub bytes: Vec<u8>,
}

/// An in-memory [`FrameIo`] with any number of ports.
///
/// Defaults: 64 bytes of headroom and tailroom, frames of up to 65,549 bytes (64 KiB of packet behind an
/// Ethernet header), offload metadata carried, batches of 64, queues of 65,536 frames. All frames wait in
/// one queue, so a batch can hold frames of several ports, in the order of their injection.
#[derive(Debug)]
pub struct MemoryIo {
    ports: Vec<Port>,
    capabilities: Capabilities,
    tailroom: usize,
    batch: usize,
    capacity: usize,
    waiting: VecDeque<StoredFrame>,
    sent: VecDeque<StoredFrame>,
    passed: VecDeque<StoredFrame>,
    verdicts: VecDeque<Verdict>,
    events: VecDeque<IoEvent>,
    statistics: IoStatistics,
}

#[derive(Debug, Default)]
struct Port {
    down: bool,
    groups: Vec<MacAddr>,
}

impl MemoryIo {
    /// An idle device with `ports` ports, all up.
    #[must_use]
    pub fn new(ports: u16) -> Self {
        Self {
            ports: (0..ports).map(|_| Port::default()).collect(),
            capabilities: Capabilities { longest_frame: 65_549, headroom: 64, offload: true },
            tailroom: 64,
            batch: MAX_BATCH,
            capacity: 65_536,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            passed: VecDeque::new(),
            verdicts: VecDeque::new(),
            events: VecDeque::new(),
            statistics: IoStatistics::default(),
        }
    }

    /// Bytes that may be used in front of and behind each received frame.
    #[must_use]
    pub const fn with_room(mut self, headroom: usize, tailroom: usize) -> Self {
        self.capabilities.headroom = headroom;
        self.tailroom = tailroom;
        self
    }

    /// The longest frame, Ethernet header included, in bytes.
    #[must_use]
    pub const fn with_longest_frame(mut self, bytes: usize) -> Self {
        self.capabilities.longest_frame = bytes;
        self
    }

    /// Whether unfinished checksums and merged frames are carried.
    #[must_use]
    pub const fn with_offload(mut self, offload: bool) -> Self {
        self.capabilities.offload = offload;
        self
    }

    /// The most frames in a batch, 1 to [`MAX_BATCH`].
    ///
    /// # Panics
    /// If it is outside that range.
    #[must_use]
    pub fn with_batch(mut self, frames: usize) -> Self {
        assert!((1..=MAX_BATCH).contains(&frames), "a batch holds 1 to {MAX_BATCH} frames, not {frames}");
        self.batch = frames;
        self
    }

    /// How many frames each queue holds; more are lost and counted.
    #[must_use]
    pub const fn with_capacity(mut self, frames: usize) -> Self {
        self.capacity = frames;
        self
    }

    /// Puts a plain frame into the queue, as if it had arrived on `port`. `false` if it was lost: the
    /// queue is full or the link is down.
    ///
    /// # Panics
    /// If there is no such port, or the frame is longer than the port takes.
    pub fn inject(&mut self, port: PortId, bytes: &[u8]) -> bool {
        self.inject_with_meta(port, Meta::default(), bytes)
    }

    /// As [`inject`](Self::inject), with metadata.
    ///
    /// # Panics
    /// As there; also if the metadata needs offload and the port has none.
    pub fn inject_with_meta(&mut self, port: PortId, meta: Meta, bytes: &[u8]) -> bool {
        self.check_frame("inject", port, &meta, bytes.len());
        if self.port(port).down || self.waiting.len() >= self.capacity {
            self.statistics.receive_lost += 1;
            return false;
        }
        self.waiting.push_back(StoredFrame { port, meta, bytes: bytes.to_vec() });
        true
    }

    /// Brings a link down or up and tells it to whoever polls events. Frames to and from a port that is
    /// down are lost. Without effect if it is so already.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn set_link(&mut self, port: PortId, up: bool) {
        let state = self.port_mut(port);
        if state.down == up {
            state.down = !up;
            self.events.push_back(if up { IoEvent::LinkUp(port) } else { IoEvent::LinkDown(port) });
        }
    }

    /// Everything that left, oldest first: verdicts `Transmit` and frames handed to `transmit`.
    pub fn take_sent(&mut self) -> Vec<StoredFrame> {
        self.sent.drain(..).collect()
    }

    /// The oldest frame that left.
    pub fn pop_sent(&mut self) -> Option<StoredFrame> {
        self.sent.pop_front()
    }

    /// Everything that got the verdict `Pass`, oldest first.
    pub fn take_passed(&mut self) -> Vec<StoredFrame> {
        self.passed.drain(..).collect()
    }

    /// The verdicts on all frames, in the order of the frames.
    pub fn take_verdicts(&mut self) -> Vec<Verdict> {
        self.verdicts.drain(..).collect()
    }

    /// How many injected frames nobody has received yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The groups that were joined on a port, in the order of joining.
    ///
    /// # Panics
    /// If there is no such port.
    #[must_use]
    pub fn groups(&self, port: PortId) -> &[MacAddr] {
        &self.port(port).groups
    }

    /// Receives until nothing is waiting; answers how many frames there were.
    pub fn drain(&mut self, handler: &mut BatchHandler<'_>) -> usize {
        let mut total = 0;
        loop {
            let Ok(count) = self.receive(handler);
            if count == 0 {
                return total;
            }
            total += count;
        }
    }

    fn port(&self, port: PortId) -> &Port {
        let count = self.ports.len();
        self.ports.get(usize::from(port.0)).unwrap_or_else(|| panic!("no port {} among {count}", port.0))
    }

    fn port_mut(&mut self, port: PortId) -> &mut Port {
        let count = self.ports.len();
        self.ports.get_mut(usize::from(port.0)).unwrap_or_else(|| panic!("no port {} among {count}", port.0))
    }

    fn check_frame(&self, what: &str, port: PortId, meta: &Meta, len: usize) {
        let _ = self.port(port);
        let Capabilities { longest_frame, offload, .. } = self.capabilities;
        assert!(len <= longest_frame, "{what}: {len} bytes on a port that takes {longest_frame}");
        let unfinished = meta.checksum.is_some() || meta.gso.is_some();
        assert!(offload || !unfinished, "{what}: an unfinished frame on a port without offload: {meta:?}");
    }

    fn send(&mut self, what: &str, frame: StoredFrame) {
        self.check_frame(what, frame.port, &frame.meta, frame.bytes.len());
        if self.port(frame.port).down || self.sent.len() >= self.capacity {
            self.statistics.transmit_lost += 1;
        } else {
            self.statistics.transmitted += 1;
            self.sent.push_back(frame);
        }
    }

    /// Carries one verdict out. `capacity` bounds what is kept of the uninteresting ones: the oldest go.
    fn carry_out(&mut self, verdict: Verdict, frame: &Frame<'_>) {
        let stored = |port| StoredFrame { port, meta: *frame.meta(), bytes: frame.bytes().to_vec() };
        match verdict {
            Verdict::Transmit(port) => self.send("verdict Transmit", stored(port)),
            Verdict::Pass => keep(&mut self.passed, stored(frame.port()), self.capacity),
            Verdict::Hold | Verdict::Drop(_) => {}
        }
        keep(&mut self.verdicts, verdict, self.capacity);
    }
}

impl FrameIo for MemoryIo {
    type Error = Infallible;

    fn ports(&self) -> u16 {
        u16::try_from(self.ports.len()).expect("`new` takes a u16")
    }

    fn capabilities(&self, port: PortId) -> Capabilities {
        let _ = self.port(port);
        self.capabilities
    }

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, Infallible> {
        let count = self.batch.min(self.waiting.len());
        if count == 0 {
            return Ok(0);
        }
        let headroom = self.capabilities.headroom;
        let batch: Vec<StoredFrame> = self.waiting.drain(..count).collect();
        let mut buffers: Vec<Vec<u8>> = batch
            .iter()
            .map(|stored| {
                // Room is filled with a pattern: who sends bytes that nobody wrote, is seen.
                let mut buffer = vec![0xee; headroom + stored.bytes.len() + self.tailroom];
                buffer[headroom..headroom + stored.bytes.len()].copy_from_slice(&stored.bytes);
                buffer
            })
            .collect();
        let mut frames: Vec<Frame<'_>> = buffers
            .iter_mut()
            .zip(&batch)
            .map(|(buffer, stored)| {
                Frame::within(buffer, headroom, stored.bytes.len(), stored.port, stored.meta)
                    .expect("the buffer was made for it")
            })
            .collect();
        self.statistics.received += count as u64;
        let verdicts = handler(&mut frames);
        assert_eq!(verdicts.len(), count, "one verdict for each of the {count} frames of a batch");
        for (verdict, frame) in verdicts.into_iter().zip(&frames) {
            self.carry_out(verdict, frame);
        }
        Ok(count)
    }

    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), Infallible> {
        self.send("transmit", StoredFrame { port, meta: *meta, bytes: frame.to_vec() });
        Ok(())
    }

    /// Returns at once: nothing arrives while a test waits.
    fn wait(&mut self, _timeout: Option<Duration>) -> Result<(), Infallible> {
        Ok(())
    }

    fn join_multicast(&mut self, port: PortId, group: MacAddr) -> Result<(), Infallible> {
        let groups = &mut self.port_mut(port).groups;
        if !groups.contains(&group) {
            groups.push(group);
        }
        Ok(())
    }

    fn poll_event(&mut self) -> Option<IoEvent> {
        self.events.pop_front()
    }

    fn statistics(&self) -> IoStatistics {
        self.statistics
    }
}

/// A cable: carries what `from` sent on `from_port` so far to `to_port` of `to`; answers how many frames
/// it carried. What `from` sent on other ports stays there.
///
/// # Panics
/// If `to` has no such port or cannot carry one of the frames.
pub fn carry(from: &mut MemoryIo, from_port: PortId, to: &mut MemoryIo, to_port: PortId) -> usize {
    let (moving, staying): (VecDeque<_>, VecDeque<_>) =
        from.sent.drain(..).partition(|frame| frame.port == from_port);
    from.sent = staying;
    for frame in &moving {
        to.inject_with_meta(to_port, frame.meta, &frame.bytes);
    }
    moving.len()
}

fn keep<T>(queue: &mut VecDeque<T>, item: T, capacity: usize) {
    if queue.len() >= capacity {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use lvs_core::DropReason;
    use lvs_core::io::{Gso, GsoKind, Verdicts};

    use super::*;

    const P: [PortId; 2] = [PortId(0), PortId(1)];

    fn all(verdict: Verdict) -> impl FnMut(&mut [Frame<'_>]) -> Verdicts {
        move |batch| batch.iter().map(|_| verdict).collect()
    }

    #[test]
    fn verdicts_are_carried_out_in_order() {
        let mut io = MemoryIo::new(2).with_batch(3);
        for n in 0..4u8 {
            assert!(io.inject(P[usize::from(n % 2)], &[n; 60]));
        }
        let mut batches = Vec::new();
        let total = io.drain(&mut |batch| {
            batches.push(batch.iter().map(|f| (f.port(), f.bytes()[0])).collect::<Vec<_>>());
            let answer = |f: &Frame<'_>| match f.bytes()[0] {
                0 => Verdict::Transmit(P[1]),
                1 => Verdict::Pass,
                2 => Verdict::Drop(DropReason::Martian),
                _ => Verdict::Hold,
            };
            batch.iter().map(answer).collect()
        });
        assert_eq!(total, 4);
        assert_eq!(batches, [vec![(P[0], 0), (P[1], 1), (P[0], 2)], vec![(P[1], 3)]]);
        let sent = io.take_sent();
        assert_eq!((sent.len(), sent[0].port, &sent[0].bytes[..]), (1, P[1], &[0; 60][..]));
        let passed = io.take_passed();
        assert_eq!((passed.len(), passed[0].port, passed[0].bytes[0]), (1, P[1], 1));
        assert_eq!(io.take_verdicts().len(), 4);
        assert_eq!(
            io.statistics(),
            IoStatistics { received: 4, transmitted: 1, receive_lost: 0, transmit_lost: 0 }
        );
    }

    #[test]
    fn a_frame_is_sent_as_the_handler_leaves_it() {
        let mut io = MemoryIo::new(1).with_room(4, 2);
        io.inject(P[0], &[1; 20]);
        let gso = Gso { kind: GsoKind::Tcp4, size: 1448, header_length: 54, ecn: false };
        io.drain(&mut |batch| {
            assert_eq!((batch[0].headroom(), batch[0].tailroom()), (4, 2));
            batch[0].grow_front(4).unwrap();
            batch[0].bytes_mut()[..4].copy_from_slice(&[9; 4]);
            batch[0].meta_mut().gso = Some(gso);
            all(Verdict::Transmit(P[0]))(batch)
        });
        let sent = io.pop_sent().unwrap();
        assert_eq!(
            (sent.bytes.len(), &sent.bytes[..5], sent.meta.gso),
            (24, &[9, 9, 9, 9, 1][..], Some(gso))
        );
        assert_eq!(io.pop_sent(), None);
    }

    #[test]
    fn a_port_that_is_down_loses_frames_both_ways() {
        let mut io = MemoryIo::new(2);
        io.set_link(P[1], false);
        io.set_link(P[1], false);
        assert!(!io.inject(P[1], &[0; 60]));
        io.transmit(P[1], &Meta::default(), &[0; 60]).unwrap();
        io.transmit(P[0], &Meta::default(), &[0; 60]).unwrap();
        io.set_link(P[1], true);
        assert_eq!(io.poll_event(), Some(IoEvent::LinkDown(P[1])));
        assert_eq!(io.poll_event(), Some(IoEvent::LinkUp(P[1])));
        assert_eq!(io.poll_event(), None);
        let counted = io.statistics();
        assert_eq!((counted.receive_lost, counted.transmit_lost, counted.transmitted), (1, 1, 1));
    }

    #[test]
    fn full_queues_lose_and_count() {
        let mut io = MemoryIo::new(1).with_capacity(2);
        let taken: Vec<bool> = (0..3).map(|_| io.inject(P[0], &[0; 60])).collect();
        assert_eq!(taken, [true, true, false]);
        io.drain(&mut all(Verdict::Transmit(P[0])));
        io.inject(P[0], &[0; 60]);
        io.drain(&mut all(Verdict::Transmit(P[0])));
        assert_eq!((io.statistics().receive_lost, io.statistics().transmit_lost), (1, 1));
        assert_eq!(io.take_sent().len(), 2);
        assert_eq!(io.take_verdicts().len(), 2);
    }

    #[test]
    fn a_cable_moves_one_ports_frames() {
        let (mut a, mut b) = (MemoryIo::new(2), MemoryIo::new(1));
        for port in P {
            a.transmit(port, &Meta::default(), &[port.0 as u8; 60]).unwrap();
        }
        assert_eq!(carry(&mut a, P[1], &mut b, P[0]), 1);
        assert_eq!((a.take_sent()[0].bytes[0], b.waiting()), (0, 1));
    }

    #[test]
    fn groups_are_remembered_once() {
        let mut io = MemoryIo::new(1);
        let group = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
        io.join_multicast(P[0], group).unwrap();
        io.join_multicast(P[0], group).unwrap();
        assert_eq!(io.groups(P[0]), [group]);
    }

    #[test]
    #[should_panic(expected = "1501 bytes on a port that takes 1500")]
    fn a_frame_too_long_is_a_bug() {
        let mut io = MemoryIo::new(1).with_longest_frame(1500);
        io.transmit(P[0], &Meta::default(), &[0; 1501]).unwrap();
    }

    #[test]
    #[should_panic(expected = "an unfinished frame on a port without offload")]
    fn an_unfinished_frame_without_offload_is_a_bug() {
        let mut io = MemoryIo::new(1).with_offload(false);
        let gso = Some(Gso { kind: GsoKind::Tcp4, size: 1448, header_length: 54, ecn: false });
        io.transmit(P[0], &Meta { gso, ..Meta::default() }, &[0; 60]).unwrap();
    }

    #[test]
    #[should_panic(expected = "one verdict for each of the 1 frames")]
    fn a_missing_verdict_is_a_bug() {
        let mut io = MemoryIo::new(1);
        io.inject(P[0], &[0; 60]);
        io.drain(&mut |_| Verdicts::new());
    }

    #[test]
    #[should_panic(expected = "no port 2 among 2")]
    fn a_port_that_does_not_exist_is_a_bug() {
        let mut io = MemoryIo::new(2);
        io.inject(P[0], &[0; 60]);
        io.drain(&mut all(Verdict::Transmit(PortId(2))));
    }
}
