//! Wrappers for any `FrameIo`, that look at the frames before and the verdicts after: [`Trace`] prints, [`Recording`]
//! writes a capture, [`Faulty`] makes the network bad, [`Counter`] counts. They go around each other in any order.
//!
//! ```text
//!   director ◄─► Counter ◄─► Trace ◄─► Faulty ◄─► MemoryIo, PacketIo, CaptureIo ...
//! ```
//!
//! ```
//! use lvs_core::io::{FrameIo, PortId, Verdicts};
//! use lvs_core::{DropReason, Verdict};
//! use lvs_testkit::frames::{self, socket};
//! use lvs_testkit::memory::MemoryIo;
//! use lvs_testkit::middleware::{Counter, Trace};
//!
//! let mut memory = MemoryIo::new(1);
//! memory.inject(PortId(0), &frames::udp(socket("110.0.0.1:4000"), socket("192.168.0.250:53")).build());
//! let mut lines = Vec::new();
//! let mut io = Counter::new(Trace::new(memory, |line: &str| lines.push(line.to_owned())));
//! io.receive(&mut |batch| {
//!     batch.iter().map(|_| Verdict::Drop(DropReason::NoService)).collect::<Verdicts>()
//! })?;
//! assert_eq!((io.counts().received.frames, io.counts().dropped(DropReason::NoService)), (1, 1));
//! drop(io);
//! assert!(lines[0].starts_with("in 0: ") && lines[0].ends_with(": drop no_service"), "{lines:?}");
//! # Ok::<(), std::convert::Infallible>(())
//! ```
//!
//! They decide nothing, and change nothing but what [`Faulty`] is told to.

mod counter;
mod faults;
mod recording;
#[cfg(test)]
mod tests;
mod trace;

use lvs_core::Verdict;

pub use counter::{Count, Counter, Counts};
pub use faults::{FaultCounts, Faults, Faulty};
pub use recording::{Recording, RecordingError};
pub use trace::Trace;

/// A verdict as traces and comments say it.
fn verdict_words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Transmit(port) => format!("transmit by port {}", port.0),
        Verdict::Pass => "pass".to_owned(),
        Verdict::Hold => "hold".to_owned(),
        Verdict::Drop(reason) => format!("drop {}", reason.slug()),
    }
}

/// What a wrapper hands on as it is.
macro_rules! hand_on {
    ($($name:ident)*) => { $( hand_on!(@ $name); )* };
    (@ ports) => {
        fn ports(&self) -> u16 {
            self.inner.ports()
        }
    };
    (@ capabilities) => {
        fn capabilities(&self, port: lvs_core::io::PortId) -> lvs_core::io::Capabilities {
            self.inner.capabilities(port)
        }
    };
    (@ flush) => {
        fn flush(&mut self) -> Result<(), Self::Error> {
            self.inner.flush()
        }
    };
    (@ wait) => {
        fn wait(&mut self, timeout: Option<std::time::Duration>) -> Result<(), Self::Error> {
            self.inner.wait(timeout)
        }
    };
    (@ join_multicast) => {
        fn join_multicast(
            &mut self,
            port: lvs_core::io::PortId,
            group: lvs_core::MacAddr,
        ) -> Result<(), Self::Error> {
            self.inner.join_multicast(port, group)
        }
    };
    (@ poll_event) => {
        fn poll_event(&mut self) -> Option<lvs_core::io::IoEvent> {
            self.inner.poll_event()
        }
    };
    (@ statistics) => {
        fn statistics(&self) -> lvs_core::io::IoStatistics {
            self.inner.statistics()
        }
    };
}
use hand_on;
