//! The set-up of most tests: a device under test between two testers, each in a host of its own.
//!
//! ```text
//!   left eth0 (tester) ──cable── eth0 device eth1 ──cable── eth0 right (tester)
//! ```
//! The testers are packet sockets, which see everything and can leave checksums unfinished.

use std::time::{Duration, Instant};

use lvs_core::Subnet;
use lvs_core::io::{Frame, FrameIo, IoEvent, IoStatistics, Meta, PortId, Verdicts};
use lvs_core::verdict::{DropReason, Verdict};
use lvs_io_afpacket::{PacketConfig, PacketIo};
use lvs_io_xdp::{Attachment, OpenError, XdpConfig, XdpIo};
use lvs_testkit::frames::{socket, station, udp};
use lvs_testkit::lab::{Host, Nic, cable};

/// How long a frame may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Bench {
    pub(crate) left: PacketIo,
    pub(crate) right: PacketIo,
    pub(crate) device: XdpIo,
    pub(crate) hosts: Hosts,
}

/// Three hosts in a row.
pub(crate) struct Hosts {
    pub(crate) left: Host,
    pub(crate) device: Host,
    pub(crate) right: Host,
}

/// The left host and the device's address towards it.
pub(crate) const LEFT: &str = "10.0.0.1/24";
pub(crate) const DIP: &str = "10.0.0.208/24";

impl Hosts {
    pub(crate) fn new() -> Self {
        Self::with_mtu(1500)
    }

    pub(crate) fn with_mtu(mtu: u32) -> Self {
        let host = |name| {
            let host = Host::new(name).expect("a host");
            // The kernels' own traffic would mix with that of the tests.
            host.sysctl("net.ipv6.conf.all.disable_ipv6", "1").unwrap();
            host.sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
            host
        };
        let hosts = Self { left: host("left"), device: host("device"), right: host("right") };
        let nic = |host, name| Nic::new(host, name).mtu(mtu);
        cable(
            nic(&hosts.left, "eth0").address(subnet(LEFT)).offload(false),
            nic(&hosts.device, "eth0").address(subnet(DIP)).offload(false),
        )
        .unwrap();
        cable(nic(&hosts.device, "eth1"), nic(&hosts.right, "eth0")).unwrap();
        hosts
    }

    /// AF_XDP sockets on both of the device's cards.
    pub(crate) fn open(&self, edit: impl FnOnce(&mut XdpConfig) + Send) -> Result<XdpIo, OpenError> {
        self.device.run(|| {
            let mut config = XdpConfig::new(["eth0", "eth1"]);
            // Enough for the tests, and no trouble for small machines.
            config.receive_entries = 4096;
            config.transmit_entries = 1024;
            edit(&mut config);
            XdpIo::open(&config)
        })
    }

    pub(crate) fn tester(host: &Host) -> PacketIo {
        let mut tester = host.run(|| PacketIo::open(&PacketConfig::new(["eth0"])).expect("a packet socket"));
        settle(&mut tester);
        tester
    }
}

impl Bench {
    /// Everything that is IP comes to the device's sockets.
    pub(crate) fn new(attachment: Attachment) -> Self {
        Self::with(|config| config.attachment = attachment)
    }

    pub(crate) fn with(edit: impl FnOnce(&mut XdpConfig) + Send) -> Self {
        let hosts = Hosts::new();
        let mut device = hosts.open(edit).expect("AF_XDP sockets");
        device.set_addresses(&[subnet("0.0.0.0/0"), subnet("::/0")], &[]).unwrap();
        settle(&mut device);
        // Attaching a program takes the links down for a moment.
        let (left, right) = (Hosts::tester(&hosts.left), Hosts::tester(&hosts.right));
        Self { left, right, device, hosts }
    }

    /// Sends from the left or the right, forwards with `edit`, and answers what arrives at the other side:
    /// `expected` frames, or a failure.
    pub(crate) fn pass(
        &mut self,
        from: PortId,
        frames: &[Vec<u8>],
        edit: impl FnMut(&mut Frame<'_>),
        expected: usize,
    ) -> Vec<Vec<u8>> {
        let tester = if from == PortId(0) { &mut self.left } else { &mut self.right };
        for frame in frames {
            tester.transmit(PortId(0), &Meta::default(), frame).unwrap();
        }
        tester.flush().unwrap();
        self.forward(frames.len(), edit);
        collect(if from == PortId(0) { &mut self.right } else { &mut self.left }, expected)
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

    /// Waits until the kernel has taken everything out of the device's transmit rings.
    pub(crate) fn drain(&mut self) {
        for _ in 0..3 {
            self.device.flush().unwrap();
            self.device.wait(Some(Duration::from_millis(2))).unwrap();
        }
    }
}

/// Why AF_XDP cannot be tried on this machine.
pub(crate) fn refusal() -> Option<String> {
    match Hosts::new().open(|_| {}) {
        Err(error @ (OpenError::MissingRights { .. } | OpenError::Unsupported { .. })) => {
            Some(error.to_string())
        }
        _ => None,
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
pub(crate) fn collect<I: FrameIo>(io: &mut I, count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let end = Instant::now() + PATIENCE;
    let mut linger = 3;
    while all.len() < count || linger > 0 {
        assert!(Instant::now() < end, "{} of {count} frames came", all.len());
        let got = io
            .receive(&mut |frames| {
                // A packet socket has the tag beside the bytes; here it is put back.
                all.extend(frames.iter().map(whole));
                frames.iter().map(|_| Verdict::Drop(DropReason::Consumed)).collect()
            })
            .map_err(|error| error.to_string())
            .unwrap();
        if got == 0 {
            io.wait(Some(Duration::from_millis(5))).map_err(|error| error.to_string()).unwrap();
            linger -= usize::from(all.len() >= count);
        }
    }
    assert_eq!(all.len(), count, "more frames than expected");
    all
}

fn whole(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = frame.bytes().to_vec();
    if let Some(tag) = frame.meta().vlan {
        let tag = [tag.tpid.to_be_bytes(), tag.tci.to_be_bytes()].concat();
        bytes.splice(12..12, tag);
    }
    bytes
}

/// Waits until all links are up and nothing more happens; throws events away.
pub(crate) fn settle<I: FrameIo>(io: &mut I) {
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
pub(crate) fn await_events<I: FrameIo>(io: &mut I, mut done: impl FnMut(IoEvent) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        while let Some(event) = io.poll_event() {
            if done(event) {
                return start.elapsed();
            }
        }
        assert!(start.elapsed() < PATIENCE, "the event did not come");
        io.wait(Some(Duration::from_millis(20))).map_err(|error| error.to_string()).unwrap();
    }
}

/// A datagram of `len` bytes, Ethernet header included, that can be told from others.
pub(crate) fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(len - 42, number as u8);
    let frame = udp(socket("10.0.0.1:1234"), socket("192.168.0.250:80")).payload(&payload);
    frame.macs(station(0xa), station(0xb)).build()
}

pub(crate) fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

pub(crate) fn statistics(
    received: u64,
    transmitted: u64,
    receive_lost: u64,
    transmit_lost: u64,
) -> IoStatistics {
    IoStatistics { received, transmitted, receive_lost, transmit_lost }
}
