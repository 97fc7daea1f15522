//! Links that go down and come back, interfaces that are deleted and made anew.

use std::time::Duration;

use lvs_core::MacAddr;
use lvs_core::io::{FrameIo, IoEvent, Meta, PortId};
use lvs_io_xdp::Attachment;
use lvs_testkit::lab::{Nic, cable};

use crate::Test;
use crate::bench::{Bench, Hosts, await_events, frame};

pub(crate) const TESTS: &[Test] = &[
    ("an_interface_set_down_is_reported_once_and_works_again", set_down),
    ("a_cable_pulled_at_the_other_end_is_reported", cable_pulled),
    ("a_deleted_interface_is_used_again_when_it_is_back", deleted),
    ("a_smaller_mtu_counts_from_the_next_look", smaller_mtu),
];

const DOWN: IoEvent = IoEvent::LinkDown(PortId(0));
const UP: IoEvent = IoEvent::LinkUp(PortId(0));

/// Waits for one event and nothing else.
fn only(bench: &mut Bench, expected: IoEvent) -> Duration {
    await_events(&mut bench.device, |event| {
        assert_eq!(event, expected);
        true
    })
}

fn frames_pass(bench: &mut Bench) {
    let frames: Vec<_> = (0..100).map(|i| frame(i, 60)).collect();
    for from in [PortId(0), PortId(1)] {
        assert_eq!(bench.pass(from, &frames, |_| {}, 100), frames);
    }
}

fn set_down() {
    for attachment in [Attachment::Native, Attachment::Generic] {
        let mut bench = Bench::new(attachment);
        frames_pass(&mut bench);
        for _ in 0..2 {
            bench.hosts.device.set_link("eth0", false).unwrap();
            assert!(only(&mut bench, DOWN) < Duration::from_secs(2));
            let lost = bench.device.statistics().transmit_lost;
            bench.device.transmit(PortId(0), &Meta::default(), &frame(0, 60)).unwrap();
            bench.device.flush().unwrap();
            assert_eq!(bench.device.statistics().transmit_lost, lost + 1);
            assert_eq!(bench.device.poll_event(), None);
            bench.hosts.device.set_link("eth0", true).unwrap();
            assert!(only(&mut bench, UP) < Duration::from_secs(3));
            settle_rest(&mut bench);
            frames_pass(&mut bench);
        }
    }
}

fn cable_pulled() {
    let mut bench = Bench::new(Attachment::NativeOrGeneric);
    bench.hosts.left.set_link("eth0", false).unwrap();
    assert!(only(&mut bench, DOWN) < Duration::from_secs(3));
    bench.hosts.left.set_link("eth0", true).unwrap();
    assert!(only(&mut bench, UP) < Duration::from_secs(3));
    settle_rest(&mut bench);
    frames_pass(&mut bench);
}

fn deleted() {
    let mut bench = Bench::new(Attachment::NativeOrGeneric);
    // New sockets are made in the namespace of the thread that looks.
    let host = bench.hosts.device.clone();
    host.run(|| {
        let group = MacAddr([0x33, 0x33, 0xff, 1, 2, 3]);
        bench.device.join_multicast(PortId(0), group).unwrap();
        frames_pass(&mut bench);
        let before = bench.device.statistics();
        bench.hosts.device.remove_link("eth0").unwrap();
        assert!(only(&mut bench, DOWN) < Duration::from_secs(3));
        bench.device.transmit(PortId(0), &Meta::default(), &frame(0, 60)).unwrap();
        bench.device.flush().unwrap();
        assert_eq!(bench.device.statistics().transmit_lost, before.transmit_lost + 1);
        // The other port goes on meanwhile, and no wait ends at once.
        let start = std::time::Instant::now();
        for _ in 0..5 {
            bench.device.wait(Some(Duration::from_millis(20))).unwrap();
        }
        assert!(start.elapsed() > Duration::from_millis(50), "{:?}", start.elapsed());
        let (left, device) = (&bench.hosts.left, &bench.hosts.device);
        cable(Nic::new(left, "eth0"), Nic::new(device, "eth0")).unwrap();
        assert!(only(&mut bench, UP) < Duration::from_secs(4));
        bench.left = Hosts::tester(&bench.hosts.left);
        settle_rest(&mut bench);
        frames_pass(&mut bench);
        let list = std::fs::read_to_string("/proc/thread-self/net/dev_mcast").unwrap();
        assert!(list.contains("3333ff010203"), "{list}");
        assert!(bench.device.statistics().received >= before.received + 200);
    });
}

/// Links of the testers have flapped, which they see within a second or not at all.
fn settle_rest(bench: &mut Bench) {
    for _ in 0..5 {
        bench.right.wait(Some(Duration::from_millis(20))).unwrap();
        bench.left.wait(Some(Duration::from_millis(1))).unwrap();
        bench.device.wait(Some(Duration::from_millis(20))).unwrap();
        while bench.right.poll_event().is_some() || bench.left.poll_event().is_some() {}
        while bench.device.poll_event().is_some() {}
    }
}

fn smaller_mtu() {
    let mut bench = Bench::new(Attachment::NativeOrGeneric);
    let long = [frame(1, 1400)];
    assert_eq!(bench.pass(PortId(0), &long, |_| {}, 1), long);
    bench.hosts.device.set_mtu("eth1", 1300).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    bench.device.wait(Some(Duration::ZERO)).unwrap();
    assert_eq!(bench.pass(PortId(0), &long, |_| {}, 0), [[0; 0]; 0]);
    assert_eq!(bench.device.statistics().transmit_lost, 1);
    let short = [frame(1, 1314)];
    assert_eq!(bench.pass(PortId(0), &short, |_| {}, 1), short);
}
