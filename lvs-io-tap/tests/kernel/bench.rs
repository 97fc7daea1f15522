//! The set-up of most tests: a tester and a device under test on a bridge.
//!
//! ```text
//!   tester (TAP "tester", offloads) ── bridge ── (TAP "device" ...) device under test
//! ```

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use lvs_core::io::{FrameIo, IoEvent, Meta, PortId, Verdicts};
use lvs_core::verdict::{DropReason, Verdict};
use lvs_io_tap::{KernelEnd, KernelEndConfig, TapConfig, TapIo, TapPort};
use lvs_testkit::lab::{Host, Switch, SwitchOptions};

/// The EtherType for experiments (IEEE 802, local experimental 1): no kernel answers it.
pub(crate) const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
/// The name of the bridge in a switch of the lab.
pub(crate) const BRIDGE: &str = "bridge";
/// How long a frame may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Bench {
    pub(crate) switch: Switch,
    pub(crate) tester: TapIo,
    pub(crate) device: TapIo,
    pub(crate) ends: Vec<KernelEnd>,
}

impl Bench {
    /// With these ports of the device under test, all on the bridge.
    pub(crate) fn new(ports: Vec<TapPort>) -> Result<Self, Failed> {
        let switch = Switch::new("switch", SwitchOptions { snooping: false, querier: false })?;
        let host = switch.host();
        let mut tester = open(host, [TapPort::new("tester")])?;
        let mut device = open(host, ports)?;
        let mut ends = vec![join(host, "tester")?];
        for port in (0..device.ports()).map(PortId) {
            ends.push(join(host, device.interface(port).ok_or("a port")?)?);
        }
        settle(&mut tester)?;
        settle(&mut device)?;
        Ok(Self { switch, tester, device, ends })
    }

    /// Sends from the tester, and answers what the device receives: so many frames.
    pub(crate) fn send_to_device(
        &mut self,
        frames: &[(Meta, Vec<u8>)],
        expected: usize,
    ) -> Result<Vec<Received>, Failed> {
        for (meta, frame) in frames {
            self.tester.transmit(PortId(0), meta, frame)?;
        }
        collect(&mut self.device, expected)
    }

    /// The device sends, and the tester receives: so many frames.
    pub(crate) fn send_by_device(
        &mut self,
        frames: &[(Meta, Vec<u8>)],
        expected: usize,
    ) -> Result<Vec<Received>, Failed> {
        for (meta, frame) in frames {
            self.device.transmit(PortId(0), meta, frame)?;
        }
        collect(&mut self.tester, expected)
    }
}

/// Opens devices in a host.
pub(crate) fn open(host: &Host, ports: impl IntoIterator<Item = TapPort> + Send) -> Result<TapIo, Failed> {
    Ok(host.run(|| TapIo::open(TapConfig::of(ports)))?)
}

/// Sets a device up and joins it to the bridge.
pub(crate) fn join(host: &Host, name: &str) -> Result<KernelEnd, Failed> {
    let mut config = KernelEndConfig::default();
    config.bridge = Some(BRIDGE.to_owned());
    Ok(host.run(|| KernelEnd::set_up(name, &config))?)
}

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) port: PortId,
    pub(crate) meta: Meta,
    pub(crate) bytes: Vec<u8>,
}

/// Receives `count` frames, and nothing more that comes within a few milliseconds.
pub(crate) fn collect(io: &mut TapIo, count: usize) -> Result<Vec<Received>, Failed> {
    let mut all = Vec::new();
    let end = Instant::now() + PATIENCE;
    let mut linger = 3;
    while all.len() < count || linger > 0 {
        if Instant::now() > end {
            return Err(format!("{} of {count} frames came", all.len()).into());
        }
        let got = io.receive(&mut |frames| {
            all.extend(frames.iter().map(|frame| Received {
                port: frame.port(),
                meta: *frame.meta(),
                bytes: frame.bytes().to_vec(),
            }));
            frames.iter().map(|_| Verdict::Drop(DropReason::Consumed)).collect()
        })?;
        if got == 0 {
            io.wait(Some(Duration::from_millis(5)))?;
            linger -= usize::from(all.len() >= count);
        }
    }
    assert_eq!(all.len(), count, "more frames than expected");
    Ok(all)
}

/// Receives what comes until `count` frames were seen, with a verdict for each.
pub(crate) fn answer(
    io: &mut TapIo,
    count: usize,
    mut verdict: impl FnMut(usize) -> Verdict,
) -> Result<(), Failed> {
    let end = Instant::now() + PATIENCE;
    let mut seen = 0;
    while seen < count {
        if Instant::now() > end {
            return Err(format!("{seen} of {count} frames came").into());
        }
        let got = io.receive(&mut |frames| -> Verdicts {
            frames
                .iter()
                .map(|_| {
                    seen += 1;
                    verdict(seen - 1)
                })
                .collect()
        })?;
        if got == 0 {
            io.wait(Some(Duration::from_millis(5)))?;
        }
    }
    Ok(())
}

/// Waits until all links are up; throws events away, and the frames that a bridge sends when a port comes.
pub(crate) fn settle(io: &mut TapIo) -> Result<(), Failed> {
    let mut up = vec![false; usize::from(io.ports())];
    await_event(io, |event| {
        match event {
            IoEvent::LinkUp(port) => up[usize::from(port.0)] = true,
            IoEvent::LinkDown(port) => up[usize::from(port.0)] = false,
            _ => {}
        }
        up.iter().all(|&up| up)
    })?;
    collect(io, 0).map(drop)
}

/// Waits, and receives nothing, until `done` says so of an event. Answers how long that took.
pub(crate) fn await_event(io: &mut TapIo, mut done: impl FnMut(IoEvent) -> bool) -> Result<Duration, Failed> {
    let start = Instant::now();
    loop {
        while let Some(event) = io.poll_event() {
            if done(event) {
                return Ok(start.elapsed());
            }
        }
        if start.elapsed() > PATIENCE {
            return Err("the event did not come".into());
        }
        io.wait(Some(Duration::from_millis(20)))?;
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

pub(crate) fn plain(number: u32, len: usize) -> (Meta, Vec<u8>) {
    (Meta::default(), frame(number, len))
}
