//! A `FrameIo` that plays a capture, in the capture's time.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;

use lvs_core::io::{BatchHandler, Capabilities, Frame, FrameIo, IoStatistics, MAX_BATCH, Meta, PortId};
use lvs_core::{Instant, Verdict};

use super::{CaptureError, CaptureReader, CaptureWriter, CapturedPacket, LONGEST_PACKET};
use crate::memory::StoredFrame;

const HEADROOM: usize = 64;
/// Frames with the verdict `Pass` that are kept for the caller; then the oldest go.
const KEPT: usize = 4096;

/// The time of a capture that is being played: zero at its first packet.
#[derive(Debug, Clone, Default)]
pub struct CaptureClock(Rc<Cell<Instant>>);

impl CaptureClock {
    /// How far the capture has come.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.0.get()
    }
}

/// Plays a capture: frames come when the clock has reached their time, and waiting moves the clock on. Nobody sleeps.
///
/// What leaves is written to another capture, if there is one, at the time of the clock. Frames with the verdict `Pass`
/// are kept for the caller. A fault in the file comes out of `receive` once, when everything before it was delivered.
#[derive(Debug)]
pub struct CaptureIo<R: Read, W: Write> {
    reader: CaptureReader<R>,
    writer: Option<CaptureWriter<W>>,
    next: Option<CapturedPacket>,
    fault: Option<CaptureError>,
    /// The time of the first packet, from which the clock counts.
    start: Option<Duration>,
    clock: CaptureClock,
    ports: u16,
    passed: VecDeque<StoredFrame>,
    truncated: u64,
    statistics: IoStatistics,
}

impl<R: Read, W: Write> CaptureIo<R, W> {
    /// For the packets of a capture, those of its first interface on port 0 and so on. There are 16 ports; packets of
    /// further interfaces are lost and counted.
    pub fn new(reader: CaptureReader<R>) -> Self {
        let mut io = Self {
            reader,
            writer: None,
            next: None,
            fault: None,
            start: None,
            clock: CaptureClock::default(),
            ports: 16,
            passed: VecDeque::new(),
            truncated: 0,
            statistics: IoStatistics::default(),
        };
        io.fetch();
        io
    }

    /// Writes what leaves. The writer needs as many interfaces as the director uses ports.
    #[must_use]
    pub fn with_output(mut self, writer: CaptureWriter<W>) -> Self {
        self.writer = Some(writer);
        self
    }

    /// The clock of the capture, for the run loop.
    #[must_use]
    pub fn clock(&self) -> CaptureClock {
        self.clock.clone()
    }

    /// Whether everything was delivered, a fault included.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.next.is_none() && self.fault.is_none()
    }

    /// How many packets a snap length had cut off so far. They are delivered as they are.
    #[must_use]
    pub const fn truncated(&self) -> u64 {
        self.truncated
    }

    /// The frames that got the verdict `Pass`, oldest first; the last 4096 of them.
    pub fn take_passed(&mut self) -> Vec<StoredFrame> {
        self.passed.drain(..).collect()
    }

    /// Ends it, and gives the writer back.
    pub fn into_output(self) -> Option<CaptureWriter<W>> {
        self.writer
    }

    /// Reads one packet ahead.
    fn fetch(&mut self) {
        self.next = None;
        loop {
            match self.reader.next() {
                Some(Ok(packet)) if packet.interface >= self.ports => self.statistics.receive_lost += 1,
                Some(Ok(packet)) => {
                    self.start.get_or_insert(packet.time);
                    self.next = Some(packet);
                    return;
                }
                Some(Err(fault)) => {
                    self.fault = Some(fault);
                    return;
                }
                None => return,
            }
        }
    }

    /// When the next packet comes. One that stands before its predecessor in time comes at once.
    fn next_at(&self) -> Option<Instant> {
        let packet = self.next.as_ref()?;
        let since = packet.time.saturating_sub(self.start.unwrap_or_default());
        Some(Instant::ZERO + since)
    }

    /// The packets that are due.
    fn due(&mut self) -> Vec<CapturedPacket> {
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH && self.next_at().is_some_and(|at| at <= self.clock.now()) {
            batch.extend(self.next.take());
            self.fetch();
        }
        batch
    }

    fn send(&mut self, port: PortId, frame: &[u8]) -> Result<(), CaptureError> {
        let since = Duration::from_micros(self.clock.now().as_micros());
        let time = self.start.unwrap_or_default().saturating_add(since);
        self.statistics.transmitted += 1;
        match &mut self.writer {
            Some(writer) => writer.write(time, port.0, frame, None),
            None => Ok(()),
        }
    }
}

impl<R: Read, W: Write> FrameIo for CaptureIo<R, W> {
    type Error = CaptureError;

    fn ports(&self) -> u16 {
        self.ports
    }

    fn capabilities(&self, _port: PortId) -> Capabilities {
        Capabilities { longest_frame: LONGEST_PACKET, headroom: HEADROOM, offload: false }
    }

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, CaptureError> {
        let batch = self.due();
        if batch.is_empty() {
            return match self.fault.take() {
                Some(fault) => Err(fault),
                None => Ok(0),
            };
        }
        self.truncated += batch.iter().filter(|packet| packet.missing() > 0).count() as u64;
        let mut buffers: Vec<Vec<u8>> =
            batch.iter().map(|packet| [&[0; HEADROOM], &packet.bytes[..], &[0; HEADROOM]].concat()).collect();
        let frames = buffers.iter_mut().zip(&batch).filter_map(|(buffer, packet)| {
            let port = PortId(packet.interface);
            Frame::within(buffer, HEADROOM, packet.bytes.len(), port, Meta::default()).ok()
        });
        let mut frames: Vec<Frame<'_>> = frames.collect();
        self.statistics.received += frames.len() as u64;
        let verdicts = handler(&mut frames);
        for (verdict, frame) in verdicts.into_iter().zip(&frames) {
            match verdict {
                Verdict::Transmit(port) => self.send(port, frame.bytes())?,
                Verdict::Pass => {
                    if self.passed.len() >= KEPT {
                        self.passed.pop_front();
                    }
                    let (port, meta) = (frame.port(), *frame.meta());
                    self.passed.push_back(StoredFrame { port, meta, bytes: frame.bytes().to_vec() });
                }
                Verdict::Hold | Verdict::Drop(_) => {}
            }
        }
        Ok(batch.len())
    }

    fn transmit(&mut self, port: PortId, _meta: &Meta, frame: &[u8]) -> Result<(), CaptureError> {
        self.send(port, frame)
    }

    /// Moves the clock on: to the next packet, or by `timeout` if that is shorter. With neither it stands still.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), CaptureError> {
        let now = self.clock.now();
        let until = Instant::earliest(timeout.map(|timeout| now + timeout), self.next_at());
        self.clock.0.set(until.unwrap_or(now).max(now));
        Ok(())
    }

    fn statistics(&self) -> IoStatistics {
        self.statistics
    }
}
