//! Everything that comes and goes, in a pcapng file that says the verdicts.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use lvs_core::io::{BatchHandler, Capabilities, FrameIo, IoEvent, IoStatistics, Meta, PortId};
use lvs_core::{Instant, MacAddr, Verdict};

use super::verdict_words;
use crate::capture::{CaptureError, CaptureFormat, CaptureWriter};

/// Writes a pcapng capture with a comment a packet: of a frame that came in, its verdict; of one that leaves, why.
///
/// A forwarded frame is there twice, as it came and as it left. Time counts from the clock's zero, which is 1970 in the file
/// unless [`starting_at`](Self::starting_at) says otherwise. VLAN tags that are held outside the bytes are not in the file.
pub struct Recording<I, W: Write> {
    inner: I,
    writer: CaptureWriter<W>,
    clock: Box<dyn Fn() -> Instant>,
    start: Duration,
}

/// Why the device or the recording cannot go on.
#[derive(Debug)]
pub enum RecordingError<E> {
    /// The device is gone.
    Io(E),
    /// The file cannot be written.
    Capture(CaptureError),
}

impl<E: fmt::Display> fmt::Display for RecordingError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Capture(error) => write!(f, "recording: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for RecordingError<E> {}

impl<E> From<CaptureError> for RecordingError<E> {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl<I: fmt::Debug, W: Write> fmt::Debug for Recording<I, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<I: FrameIo, W: Write> Recording<I, W> {
    /// Writes to `target`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(inner: I, target: W, clock: impl Fn() -> Instant + 'static) -> Result<Self, CaptureError> {
        let writer = CaptureWriter::new(target, CaptureFormat::Pcapng, inner.ports())?;
        Ok(Self { inner, writer, clock: Box::new(clock), start: Duration::ZERO })
    }

    /// What the clock's zero was, since 1970.
    #[must_use]
    pub const fn starting_at(mut self, start: Duration) -> Self {
        self.start = start;
        self
    }

    /// Ends the recording; gives back what it was wrapped around, and the target.
    ///
    /// # Errors
    /// If the last of it cannot be written.
    pub fn finish(self) -> Result<(I, W), CaptureError> {
        Ok((self.inner, self.writer.finish()?))
    }

    fn now(&self) -> Duration {
        self.start.saturating_add(Duration::from_micros((self.clock)().as_micros()))
    }
}

impl<I: FrameIo, W: Write> FrameIo for Recording<I, W> {
    type Error = RecordingError<I::Error>;

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, Self::Error> {
        let (now, writer) = (self.now(), &mut self.writer);
        let mut written = Ok(());
        let count = self.inner.receive(&mut |batch| {
            let before: Vec<Vec<u8>> = batch.iter().map(|frame| frame.bytes().to_vec()).collect();
            let verdicts = handler(batch);
            for ((frame, before), verdict) in batch.iter().zip(before).zip(&verdicts) {
                let comment = format!("verdict: {}", verdict_words(*verdict));
                let mut write = |port: PortId, bytes: &[u8], comment: &str| {
                    if written.is_ok() {
                        written = writer.write(now, port.0, bytes, Some(comment));
                    }
                };
                write(frame.port(), &before, &comment);
                if let Verdict::Transmit(port) = verdict {
                    write(*port, frame.bytes(), "forwarded");
                }
            }
            verdicts
        });
        written?;
        count.map_err(RecordingError::Io)
    }

    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), Self::Error> {
        let now = self.now();
        self.writer.write(now, port.0, frame, Some("sent by the director"))?;
        self.inner.transmit(port, meta, frame).map_err(RecordingError::Io)
    }

    fn ports(&self) -> u16 {
        self.inner.ports()
    }

    fn capabilities(&self, port: PortId) -> Capabilities {
        self.inner.capabilities(port)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        self.inner.flush().map_err(RecordingError::Io)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Self::Error> {
        self.inner.wait(timeout).map_err(RecordingError::Io)
    }

    fn join_multicast(&mut self, port: PortId, group: MacAddr) -> Result<(), Self::Error> {
        self.inner.join_multicast(port, group).map_err(RecordingError::Io)
    }

    fn poll_event(&mut self) -> Option<IoEvent> {
        self.inner.poll_event()
    }

    fn statistics(&self) -> IoStatistics {
        self.inner.statistics()
    }
}
