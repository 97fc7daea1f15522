//! Links that go down and come back, interfaces that are deleted and made anew.

use std::time::Duration;

use lvs_core::addr::MacAddr;
use lvs_core::io::{FrameIo, IoEvent, Meta, PortId};

use crate::Test;
use crate::bench::{Bench, await_events, frame};
use crate::namespace::{Veth, has_group, set_up};

pub(crate) const TESTS: &[Test] = &[
    ("an_interface_set_down_is_reported_once_and_works_again", set_down),
    ("a_cable_pulled_at_the_other_end_is_reported", cable_pulled),
    ("a_deleted_interface_is_used_again_when_it_is_back", deleted),
    ("group_addresses_are_asked_of_the_interface", groups),
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
    let frames: Vec<_> = (0..100).map(|i| (Meta::default(), frame(i, 60))).collect();
    for from in [PortId(0), PortId(1)] {
        bench.pass(from, &frames, |_| {}, 100);
    }
}

fn set_down() {
    let mut bench = Bench::new("sd");
    frames_pass(&mut bench);
    for _ in 0..2 {
        set_up("sda1", false).unwrap();
        assert!(only(&mut bench, DOWN) < Duration::from_millis(500));
        let lost = bench.device.statistics().transmit_lost;
        bench.device.transmit(PortId(0), &Meta::default(), &frame(0, 60)).unwrap();
        bench.device.flush().unwrap();
        assert_eq!(bench.device.statistics().transmit_lost, lost + 1);
        assert_eq!(bench.device.poll_event(), None);
        set_up("sda1", true).unwrap();
        assert!(only(&mut bench, UP) < Duration::from_secs(3));
        // The other end lost its carrier meanwhile: it has to be settled as well.
        bench.tester.wait(Some(Duration::from_millis(1))).unwrap();
        while bench.tester.poll_event().is_some() {}
        frames_pass(&mut bench);
    }
}

fn cable_pulled() {
    let mut bench = Bench::new("cp");
    set_up("cpa0", false).unwrap();
    assert!(only(&mut bench, DOWN) < Duration::from_secs(3));
    set_up("cpa0", true).unwrap();
    assert!(only(&mut bench, UP) < Duration::from_secs(3));
    frames_pass(&mut bench);
}

fn deleted() {
    let mut bench = Bench::new("de");
    let group = MacAddr([0x33, 0x33, 0xff, 1, 2, 3]);
    bench.device.join_multicast(PortId(0), group).unwrap();
    frames_pass(&mut bench);
    // The old pair is deleted by dropping it, and the new one has other numbers.
    let gone = std::mem::replace(&mut bench.a, Veth::new("dex0", "dex1").unwrap());
    drop(gone);
    assert!(only(&mut bench, DOWN) < Duration::from_millis(500));
    bench.device.transmit(PortId(0), &Meta::default(), &frame(0, 60)).unwrap();
    bench.device.flush().unwrap();
    assert_eq!(bench.device.poll_event(), None);
    let other = MacAddr([0x33, 0x33, 0xff, 4, 5, 6]);
    bench.device.join_multicast(PortId(0), other).unwrap();
    bench.a = Veth::new("dea0", "dea1").unwrap();
    assert!(only(&mut bench, UP) < Duration::from_secs(3));
    // Both ends are the same interface's names; the tester has to find its own again.
    await_events(&mut bench.tester, |event| event == UP);
    frames_pass(&mut bench);
    assert!(has_group("dea1", "3333ff010203") && has_group("dea1", "3333ff040506"));
}

fn groups() {
    let mut bench = Bench::new("gm");
    let group = MacAddr([0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]);
    assert!(!has_group("gma1", "3333ffabcdef"));
    for _ in 0..2 {
        bench.device.join_multicast(PortId(0), group).unwrap();
    }
    assert!(has_group("gma1", "3333ffabcdef"));
    assert!(!has_group("gmb1", "3333ffabcdef"));
}
