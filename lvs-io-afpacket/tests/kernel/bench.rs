//! The set-up of most tests: a device under test between two testers.
//!
//! ```text
//!   tester port 0 (xa0) ──veth── (xa1) device port 0 | device port 1 (xb1) ──veth── (xb0) tester port 1
//! ```

use std::time::{Duration, Instant};

use lvs_core::io::{Frame, FrameIo, IoEvent, IoStatistics, Meta, PortId, Verdicts};
use lvs_core::verdict::{DropReason, Verdict};
use lvs_io_afpacket::{PacketConfig, PacketIo};

use crate::namespace::Veth;

/// The EtherType for experiments (IEEE 802, local experimental 1): no kernel answers it.
pub(crate) const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// How long a frame may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Bench {
    pub(crate) tester: PacketIo,
    pub(crate) device: PacketIo,
    pub(crate) a: Veth,
    pub(crate) b: Veth,
}

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) port: PortId,
    pub(crate) meta: Meta,
    pub(crate) bytes: Vec<u8>,
}

impl Bench {
    /// `x` begins the interfaces' names.
    pub(crate) fn new(x: &str) -> Self {
        let name = |end| format!("{x}{end}");
        let a = Veth::new(&name("a0"), &name("a1")).expect("a veth pair");
        let b = Veth::new(&name("b0"), &name("b1")).expect("a veth pair");
        let open = |a, b| {
            let mut config = PacketConfig::new([name(a), name(b)]);
            config.ring_bytes = 4 << 20;
            PacketIo::open(&config).expect("packet sockets")
        };
        let mut bench = Self { tester: open("a0", "b0"), device: open("a1", "b1"), a, b };
        settle(&mut bench.tester);
        settle(&mut bench.device);
        bench
    }

    /// Sends from one tester port, forwards with `edit`, and answers what the testers receive: `expected`
    /// frames, or a failure.
    pub(crate) fn pass(
        &mut self,
        from: PortId,
        frames: &[(Meta, Vec<u8>)],
        edit: impl FnMut(&mut Frame<'_>),
        expected: usize,
    ) -> Vec<Received> {
        for (meta, frame) in frames {
            self.tester.transmit(from, meta, frame).unwrap();
        }
        self.tester.flush().unwrap();
        self.forward(frames.len(), edit);
        collect(&mut self.tester, expected)
    }

    /// Forwards `count` frames to the other port each.
    pub(crate) fn forward(&mut self, count: usize, mut edit: impl FnMut(&mut Frame<'_>)) {
        let mut rest = count;
        let end = Instant::now() + PATIENCE;
        while rest > 0 {
            assert!(Instant::now() < end, "{rest} of {count} frames did not reach the device");
            let got = self.device.receive(&mut |frames| forward_all(frames, &mut edit)).unwrap();
            rest = rest.checked_sub(got).expect("no frames but those of the test");
            if got == 0 {
                self.device.wait(Some(Duration::from_millis(50))).unwrap();
            }
        }
    }
}

fn forward_all(frames: &mut [Frame<'_>], edit: &mut impl FnMut(&mut Frame<'_>)) -> Verdicts {
    let mut forward = |frame: &mut Frame<'_>| {
        edit(frame);
        Verdict::Transmit(PortId(1 - frame.port().0))
    };
    frames.iter_mut().map(&mut forward).collect()
}

/// Receives `count` frames, and nothing more that comes within a few milliseconds.
pub(crate) fn collect(io: &mut PacketIo, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    let end = Instant::now() + PATIENCE;
    let mut linger = 3;
    while all.len() < count || linger > 0 {
        assert!(Instant::now() < end, "{} of {count} frames came", all.len());
        let got = io
            .receive(&mut |frames| {
                all.extend(frames.iter().map(|frame| Received {
                    port: frame.port(),
                    meta: *frame.meta(),
                    bytes: frame.bytes().to_vec(),
                }));
                frames.iter().map(|_| Verdict::Drop(DropReason::Consumed)).collect()
            })
            .unwrap();
        if got == 0 {
            io.wait(Some(Duration::from_millis(5))).unwrap();
            linger -= usize::from(all.len() >= count);
        }
    }
    assert_eq!(all.len(), count, "more frames than expected");
    all
}

/// Waits until all links are up and nothing more happens; throws events away.
pub(crate) fn settle(io: &mut PacketIo) {
    let mut up = vec![false; usize::from(io.ports())];
    await_events(io, |event| {
        match event {
            IoEvent::LinkUp(port) => up[usize::from(port.0)] = true,
            IoEvent::LinkDown(port) => up[usize::from(port.0)] = false,
            _ => {}
        }
        up.iter().all(|&up| up)
    });
}

/// Waits, and receives nothing, until `done` says so of an event. Answers how long that took.
pub(crate) fn await_events(io: &mut PacketIo, mut done: impl FnMut(IoEvent) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        while let Some(event) = io.poll_event() {
            if done(event) {
                return start.elapsed();
            }
        }
        assert!(start.elapsed() < PATIENCE, "the event did not come");
        io.wait(Some(Duration::from_millis(20))).unwrap();
    }
}

/// A frame of `len` bytes that can be told from others.
pub(crate) fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa];
    frame.extend(EXPERIMENT);
    frame.extend(number.to_be_bytes());
    frame.resize(len, number as u8);
    frame
}

pub(crate) fn statistics(
    received: u64,
    transmitted: u64,
    receive_lost: u64,
    transmit_lost: u64,
) -> IoStatistics {
    IoStatistics { received, transmitted, receive_lost, transmit_lost }
}
