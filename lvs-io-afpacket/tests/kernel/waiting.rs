//! How long `wait` waits, and what ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lvs_core::io::{FrameIo, Meta, PortId};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal;

use crate::Test;
use crate::bench::{Bench, collect, frame};

pub(crate) const TESTS: &[Test] = &[
    ("waiting_ends_with_its_time", ends_with_its_time),
    ("waiting_ends_with_a_frame", ends_with_a_frame),
    ("waiting_ends_with_a_signal", ends_with_a_signal),
    ("receive_never_waits", receive_never_waits),
];

fn ends_with_its_time() {
    let mut bench = Bench::new("wt");
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
    let Bench { mut tester, mut device, a: _a, b: _b } = Bench::new("wf");
    for _ in 0..5 {
        let sender = thread::spawn(move || {
            thread::sleep(Duration::from_millis(30));
            tester.transmit(PortId(1), &Meta::default(), &frame(1, 60)).unwrap();
            tester.flush().unwrap();
            tester
        });
        let start = Instant::now();
        device.wait(Some(Duration::from_millis(900))).unwrap();
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        collect(&mut device, 1);
        tester = sender.join().unwrap();
    }
}

fn ends_with_a_signal() {
    let mut bench = Bench::new("wi");
    let signalled = Arc::new(AtomicBool::new(false));
    let registration =
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&signalled)).unwrap();
    let waiting = pthread_self();
    let sender = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        pthread_kill(waiting, Signal::SIGUSR1).unwrap();
    });
    let start = Instant::now();
    bench.device.wait(Some(Duration::from_millis(900))).unwrap();
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    sender.join().unwrap();
    assert!(signalled.load(Ordering::Relaxed));
    signal_hook::low_level::unregister(registration);
}

fn receive_never_waits() {
    let mut bench = Bench::new("wn");
    let start = Instant::now();
    for _ in 0..1_000 {
        let got = bench.device.receive(&mut |_| unreachable!("no frame was sent")).unwrap();
        assert_eq!(got, 0);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
