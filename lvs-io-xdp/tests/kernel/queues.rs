//! Interfaces with several queues: a socket each, a way out by the queue in the same place; and groups of workers, which have
//! some queues each.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::thread;
use std::time::{Duration, Instant};

use lvs_core::Verdict;
use lvs_core::io::{FrameIo, IoEvent, Meta, PartialChecksum, PortId};
use lvs_core::verdict::DropReason;
use lvs_io_afpacket::{PacketConfig, PacketIo};
use lvs_io_xdp::{OpenError, Warning, XdpConfig, XdpIo};
use lvs_testkit::frames::{arp_request, socket, station, udp, v4};
use lvs_testkit::lab::{Host, Nic, cable};

use crate::Test;
use crate::bench::{PATIENCE, collect, settle, subnet};

pub(crate) const TESTS: &[Test] = &[
    ("all_queues_of_an_interface_are_served", all_queues),
    ("workers_share_out_the_queues_and_one_program", group),
    ("too_few_queues_for_the_workers_are_told_with_the_cure", too_few),
    ("a_group_tells_of_a_device_once", told_once),
    ("a_group_finds_a_new_interface_of_the_name", replaced),
    ("a_worker_that_waits_is_woken_by_another", woken),
];

const QUEUES: u32 = 3;

/// Two hosts with two cables between them: `far0` and `far1` at the testers, `near0` and `near1` at the device.
fn hosts(queues: u32) -> (Host, Host) {
    let host = |name| {
        let host = Host::new(name).unwrap();
        host.sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
        host
    };
    let (far, near) = (host("far"), host("near"));
    for n in 0..2 {
        plug(&far, &near, n, queues);
    }
    (far, near)
}

fn plug(far: &Host, near: &Host, n: u32, queues: u32) {
    let nic = |host, name: String| Nic::new(host, &name).queues(queues).offload(false);
    cable(nic(far, format!("far{n}")), nic(near, format!("near{n}"))).unwrap();
}

fn tester(far: &Host) -> PacketIo {
    let mut io = far.run(|| PacketIo::open(&PacketConfig::new(["far0", "far1"])).unwrap());
    settle(&mut io);
    io
}

fn config() -> XdpConfig {
    let mut config = XdpConfig::new(["near0", "near1"]);
    (config.receive_entries, config.transmit_entries) = (512, 512);
    config
}

fn open_group(near: &Host, workers: u16) -> Result<Vec<XdpIo>, OpenError> {
    near.run(|| XdpIo::open_group(&config(), NonZeroU16::new(workers).unwrap()))
}

/// Datagrams of so many flows: the kernel chooses queues by flow, and among many each is chosen.
fn flows(count: u16) -> Vec<Vec<u8>> {
    let of = |i| udp(socket(&format!("10.0.0.1:{}", 1000 + i)), socket("10.0.0.2:53")).build();
    (0..count).map(of).collect()
}

fn send(tester: &mut PacketIo, frames: &[Vec<u8>]) {
    for frame in frames {
        tester.transmit(PortId(0), &Meta::default(), frame).unwrap();
    }
    tester.flush().unwrap();
}

fn all_queues() {
    let (far, near) = hosts(QUEUES);
    let mut device = near.run(|| XdpIo::open(&config()).unwrap());
    let mut tester = tester(&far);
    for port in [PortId(0), PortId(1)] {
        assert_eq!(u32::from(device.mode(port).unwrap().queues), QUEUES);
    }
    device.set_addresses(&[subnet("0.0.0.0/0")], &[]).unwrap();
    settle(&mut device);
    let frames = flows(300);
    send(&mut tester, &frames);
    let mut batches = 0;
    let mut rest = frames.len();
    while rest > 0 {
        let got = device
            .receive(&mut |frames| frames.iter().map(|_| Verdict::Transmit(PortId(1))).collect())
            .unwrap();
        batches += usize::from(got > 0);
        rest -= got;
    }
    let received: BTreeSet<_> = collect(&mut tester, frames.len()).into_iter().collect();
    assert_eq!(received, frames.into_iter().collect());
    assert!(batches >= QUEUES as usize);
    let statistics = device.statistics();
    assert_eq!((statistics.received, statistics.transmitted), (300, 300));
    assert_eq!((statistics.receive_lost, statistics.transmit_lost), (0, 0));
}

/// Forwards until so many frames have come. Answers them, in order.
fn forward(io: &mut XdpIo, until: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let end = Instant::now() + PATIENCE;
    while !until(all.len()) {
        assert!(Instant::now() < end, "{} frames came", all.len());
        let got = io
            .receive(&mut |frames| {
                all.extend(frames.iter().map(|frame| frame.bytes().to_vec()));
                frames.iter().map(|frame| Verdict::Transmit(PortId(1 - frame.port().0))).collect()
            })
            .unwrap();
        if got == 0 {
            io.wait(Some(Duration::from_millis(5))).unwrap();
        }
    }
    all
}

/// Two workers for three queues: each frame comes to one of them, the same flow to the same, and all leave.
fn group() {
    let (far, near) = hosts(QUEUES);
    let mut group = open_group(&near, 2).unwrap();
    let mut tester = tester(&far);
    let control = group[1].address_control();
    // Said by one, it counts for both; and it can be said while they work.
    group[1].set_addresses(&[subnet("10.0.0.2/32")], &[]).unwrap();
    group.iter_mut().for_each(settle);
    let frames = flows(300);
    for _ in 0..3 {
        send(&mut tester, &frames);
    }
    let total = 3 * frames.len();
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let came: Vec<Vec<Vec<u8>>> = thread::scope(|scope| {
        let work = |io: &'_ mut XdpIo| {
            let before = std::cell::Cell::new(0);
            let all = forward(io, |count| {
                let new = count - before.replace(count);
                seen.fetch_add(new, std::sync::atomic::Ordering::Relaxed) + new >= total
            });
            io.flush().unwrap();
            all
        };
        let threads: Vec<_> = group.iter_mut().map(|io| scope.spawn(move || work(io))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let by_worker: Vec<BTreeMap<&Vec<u8>, usize>> = came
        .iter()
        .map(|frames| {
            let mut counts = BTreeMap::new();
            frames.iter().for_each(|frame| *counts.entry(frame).or_default() += 1);
            counts
        })
        .collect();
    // Two queues of three, and one.
    assert!(
        came[0].len() > came[1].len() && came[1].len() > total / 6,
        "{} {}",
        came[0].len(),
        came[1].len()
    );
    assert!(by_worker[0].keys().all(|frame| !by_worker[1].contains_key(frame)), "a flow keeps its queue");
    assert!(by_worker.iter().flat_map(BTreeMap::values).all(|count| *count == 3));
    let received: BTreeSet<_> = collect(&mut tester, total).into_iter().collect();
    assert_eq!(received, frames.iter().cloned().collect());
    let sum = |of: fn(&lvs_core::io::IoStatistics) -> u64| -> u64 {
        group.iter().map(|io| of(&io.statistics())).sum()
    };
    assert_eq!((sum(|s| s.received), sum(|s| s.transmitted)), (total as u64, total as u64));
    assert_eq!((sum(|s| s.receive_lost), sum(|s| s.transmit_lost)), (0, 0));
    // Taken back from another thread: everything stays with the kernel.
    thread::spawn(move || control.set(&[], &[]).unwrap()).join().unwrap();
    send(&mut tester, &frames);
    thread::sleep(Duration::from_millis(50));
    for io in &mut group {
        assert_eq!(io.receive(&mut |_| panic!("not taken any more")).unwrap(), 0);
    }
}

fn too_few() {
    let (_far, near) = hosts(2);
    let error = open_group(&near, 3).map(drop).unwrap_err();
    assert!(
        matches!(&error, OpenError::TooFewQueues { name, queues: 2, workers: 3, combined: false, .. } if name == "near0"),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("near0 receives and sends by 2 queues, and 3 workers need one each"),
        "{error}"
    );
    drop(open_group(&near, 2).expect("nothing of it stayed open"));
}

/// ARP that stays with the kernel is heard by one worker, what is wrong is told by one.
fn told_once() {
    let (far, near) = hosts(2);
    near.set_features("near0", &[("rx-vlan-hw-parse", true)]).unwrap();
    let mut group = open_group(&near, 2).unwrap();
    let mut tester = tester(&far);
    let is_told = |io: &XdpIo| io.warnings().iter().any(|w| matches!(w, Warning::VlanOffload { .. }));
    assert_eq!(group.iter().map(is_told).collect::<Vec<_>>(), [true, false]);
    group[0].set_addresses(&[subnet("10.0.0.2/32")], &[]).unwrap();
    group.iter_mut().for_each(settle);
    let question = arp_request(station(1), v4("10.0.0.1"), v4("10.0.0.77")).build();
    send(&mut tester, std::slice::from_ref(&question));
    assert_eq!(collect(&mut group[0], 1), [question]);
    assert_eq!(collect(&mut group[1], 0), [[0u8; 0]; 0]);

    // Unfinished checksums, to both queues.
    far.set_offload("far0", true).unwrap();
    for mut frame in flows(200) {
        // What a sender leaves there: the sum over the pseudo header.
        let sum: u32 = frame[26..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let sum = sum + 17 + u32::from(frame[39]);
        let sum = (sum & 0xffff) + (sum >> 16);
        frame[40..42].copy_from_slice(&(sum as u16).to_be_bytes());
        let checksum = Some(PartialChecksum { start: 34, offset: 6 });
        tester.transmit(PortId(0), &Meta { checksum, ..Meta::default() }, &frame).unwrap();
    }
    tester.flush().unwrap();
    let mut told = 0;
    for io in &mut group {
        let mut got = 0;
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            let drop = Verdict::Drop(DropReason::Consumed);
            got += io.receive(&mut |frames| frames.iter().map(|_| drop).collect()).unwrap();
            while let Some(event) = io.poll_event() {
                assert_eq!(event, IoEvent::UnfinishedChecksums(PortId(0)));
                told += 1;
            }
        }
        assert!(got > 0 && io.details().unfinished_checksums > 0, "{got}");
    }
    assert_eq!(told, 1);
}

fn replaced() {
    let (far, near) = hosts(2);
    let mut group = open_group(&near, 2).unwrap();
    group[0].set_addresses(&[subnet("10.0.0.2/32")], &[]).unwrap();
    group.iter_mut().for_each(settle);
    near.remove_link("near0").unwrap();
    near.run(|| {
        let await_event = |io: &mut XdpIo, event| crate::bench::await_events(io, |found| found == event);
        for io in &mut group {
            await_event(io, IoEvent::LinkDown(PortId(0)));
        }
        plug(&far, &near, 0, 2);
        for io in &mut group {
            await_event(io, IoEvent::LinkUp(PortId(0)));
        }
    });
    let mut tester = tester(&far);
    group.iter_mut().for_each(|io| {
        let _ = io.wait(Some(Duration::from_millis(20)));
    });
    let frames = flows(100);
    send(&mut tester, &frames);
    let came: usize = group.iter_mut().map(|io| forward(io, |count| count >= 10).len()).sum();
    let rest = frames.len() - came;
    let end = Instant::now() + PATIENCE;
    let mut left = rest;
    while left > 0 && Instant::now() < end {
        for io in &mut group {
            left -= io
                .receive(&mut |frames| frames.iter().map(|_| Verdict::Transmit(PortId(1))).collect())
                .unwrap();
        }
    }
    group.iter_mut().for_each(|io| io.flush().unwrap());
    assert_eq!(collect(&mut tester, frames.len()).len(), frames.len());
}

fn woken() {
    let (_far, near) = hosts(2);
    let mut group = open_group(&near, 2).unwrap();
    group.iter_mut().for_each(settle);
    let waker = group[1].waker();
    let waits = |io: &mut XdpIo, time| {
        let start = Instant::now();
        io.wait(Some(time)).unwrap();
        start.elapsed()
    };
    let (short, long) = (Duration::from_millis(30), Duration::from_millis(500));
    assert!(waits(&mut group[1], short) >= short);
    waker.wake_by_ref();
    assert!(waits(&mut group[1], long) < long / 2, "the wake came before the wait");
    assert!(waits(&mut group[1], short) >= short, "it ends one wait");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(short);
            waker.wake();
        });
        assert!(waits(&mut group[1], long) < long / 2, "the wake came during the wait");
    });
    assert!(waits(&mut group[0], short) >= short, "it is one worker's");
}
