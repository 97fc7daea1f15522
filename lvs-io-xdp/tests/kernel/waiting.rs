//! How long `wait` waits, and what ends it.

use std::thread;
use std::time::{Duration, Instant};

use lvs_core::io::{FrameIo, Meta, PortId};
use lvs_io_xdp::Attachment;
use lvs_testkit::frames::{arp_request, station, v4};

use crate::Test;
use crate::bench::{Bench, collect, frame};

pub(crate) const TESTS: &[Test] = &[
    ("waiting_ends_with_its_time", ends_with_its_time),
    ("waiting_ends_with_a_frame", ends_with_a_frame),
    ("receive_never_waits", receive_never_waits),
    ("a_lone_frame_passes_at_once", at_once),
];

fn ends_with_its_time() {
    let mut bench = Bench::new(Attachment::NativeOrGeneric);
    let start = Instant::now();
    for _ in 0..10 {
        bench.device.wait(Some(Duration::from_millis(10))).unwrap();
    }
    // It may return early, but this is no busy loop.
    assert!(start.elapsed() > Duration::from_millis(50), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let start = Instant::now();
    bench.device.wait(Some(Duration::ZERO)).unwrap();
    assert!(start.elapsed() < Duration::from_millis(50));
}

fn ends_with_a_frame() {
    let Bench { mut left, right: _right, mut device, hosts: _hosts } =
        Bench::new(Attachment::NativeOrGeneric);
    device.set_addresses(&["192.168.0.250/32".parse().unwrap()], &[]).unwrap();
    let question = arp_request(station(1), v4("10.0.0.1"), v4("10.0.0.208")).build();
    // One that is redirected, and one that stays with the kernel.
    for sent in [frame(1, 60), question] {
        let sender = thread::spawn({
            let sent = sent.clone();
            move || {
                thread::sleep(Duration::from_millis(30));
                left.transmit(PortId(0), &Meta::default(), &sent).unwrap();
                left.flush().unwrap();
                left
            }
        });
        let start = Instant::now();
        device.wait(Some(Duration::from_millis(900))).unwrap();
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        assert_eq!(collect(&mut device, 1), [sent]);
        left = sender.join().unwrap();
    }
}

fn receive_never_waits() {
    let mut bench = Bench::new(Attachment::NativeOrGeneric);
    let start = Instant::now();
    for _ in 0..1_000 {
        let got = bench.device.receive(&mut |_| unreachable!("no frame was sent")).unwrap();
        assert_eq!(got, 0);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

fn at_once() {
    let mut bench = Bench::new(Attachment::NativeOrGeneric);
    let start = Instant::now();
    for i in 0..50 {
        bench.left.transmit(PortId(0), &Meta::default(), &frame(i, 60)).unwrap();
        bench.left.flush().unwrap();
        bench.forward(1, |_| {});
    }
    // Far less than a timer tick each.
    assert!(start.elapsed() < Duration::from_millis(250), "{:?}", start.elapsed());
    collect(&mut bench.right, 50);
}
