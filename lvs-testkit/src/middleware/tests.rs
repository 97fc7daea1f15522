//! Wrappers around a device in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lvs_core::io::{Frame, FrameIo, Meta, PortId, Verdicts};
use lvs_core::{DropReason, Instant, Verdict};

use super::*;
use crate::capture::CaptureReader;
use crate::frames::{self, socket};
use crate::memory::MemoryIo;

const PORT: PortId = PortId(0);

fn frame(n: u16) -> Vec<u8> {
    let client = std::net::SocketAddr::new(socket("110.0.0.1:1").ip(), 1000 + n);
    frames::udp(client, socket("192.168.0.250:53")).payload(&n.to_be_bytes()).build()
}

/// The number of a frame.
fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[42], bytes[43]])
}

fn memory(count: u16) -> MemoryIo {
    let mut io = MemoryIo::new(1);
    (0..count).for_each(|n| assert!(io.inject(PORT, &frame(n))));
    io
}

/// Forwards even frames to station 9, and drops odd ones.
fn handler(batch: &mut [Frame<'_>]) -> Verdicts {
    let decide = |frame: &mut Frame<'_>| {
        if number(frame.bytes()) % 2 == 1 {
            return Verdict::Drop(DropReason::NoService);
        }
        frame.bytes_mut()[..6].copy_from_slice(&frames::station(9).0);
        Verdict::Transmit(frame.port())
    };
    batch.iter_mut().map(decide).collect()
}

fn forward(batch: &mut [Frame<'_>]) -> Verdicts {
    batch.iter().map(|frame| Verdict::Transmit(frame.port())).collect()
}

#[test]
fn a_trace_has_a_line_a_frame() {
    let mut lines = Vec::new();
    let trace = Trace::new(memory(2), |line: &str| lines.push(line.to_owned()));
    let mut io = trace.with_clock(|| Instant::from_micros(12_000_345));
    io.receive(&mut handler).unwrap();
    io.transmit(PORT, &Meta::default(), &frame(7)).unwrap();
    assert_eq!(io.inner_mut().take_sent().len(), 2, "the wrapper changes nothing");
    drop(io);
    let [forwarded, dropped, own] = &lines[..] else { panic!("{lines:?}") };
    assert!(forwarded.starts_with("12.000345 in 0: "), "{forwarded}");
    assert!(forwarded.ends_with("UDP, length 2: transmit by port 0, to 02:00:00:00:00:09"), "{forwarded}");
    assert!(dropped.ends_with("UDP, length 2: drop no_service"), "{dropped}");
    assert!(own.starts_with("12.000345 out 0: "), "{own}");
}

#[test]
fn a_counter_counts_every_verdict_once() {
    let mut io = Counter::new(memory(5));
    io.receive(&mut handler).unwrap();
    io.transmit(PORT, &Meta::default(), &frame(7)).unwrap();
    let counts = io.counts();
    assert_eq!((counts.received.frames, counts.received.bytes), (5, 5 * 44));
    assert_eq!((counts.forwarded.frames, counts.dropped(DropReason::NoService)), (3, 2));
    assert_eq!((counts.verdicts(), counts.sent.frames), (5, 1));
}

#[test]
fn a_recording_says_the_verdicts() {
    let start = Duration::from_secs(1_700_000_000);
    let recording = Recording::new(memory(2), Vec::new(), || Instant::from_secs(3)).unwrap();
    let mut io = recording.starting_at(start);
    io.receive(&mut handler).unwrap();
    io.transmit(PORT, &Meta::default(), &frame(7)).unwrap();
    let (_, file) = io.finish().unwrap();
    let packets: Vec<_> = CaptureReader::new(&file[..]).unwrap().map(Result::unwrap).collect();
    let numbers: Vec<u16> = packets.iter().map(|packet| number(&packet.bytes)).collect();
    assert_eq!(numbers, [0, 0, 1, 7]);
    assert_eq!((packets[1].time, packets[1].bytes[5]), (start + Duration::from_secs(3), 9));
    let text = String::from_utf8_lossy(&file);
    let comments =
        ["verdict: transmit by port 0", "forwarded", "verdict: drop no_service", "sent by the director"];
    let places: Vec<usize> = comments.iter().map(|comment| text.find(comment).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

/// What comes out of a network with these faults for the frames 0 to 999, and a clock that can be moved.
fn through(seed: u64, faults: Faults) -> (Vec<Vec<u8>>, FaultCounts) {
    let mut io = Faulty::new(memory(1000), seed, || Instant::ZERO).receiving(faults);
    let mut got = Vec::new();
    for _ in 0..100 {
        io.receive(&mut |batch| {
            got.extend(batch.iter().map(|frame| frame.bytes().to_vec()));
            batch.iter().map(|_| Verdict::Pass).collect()
        })
        .unwrap();
    }
    (got, io.counts().0)
}

#[test]
fn a_perfect_network_loses_nothing_and_keeps_the_order() {
    let (got, counts) = through(1, Faults::default());
    assert_eq!(got, (0..1000).map(frame).collect::<Vec<_>>());
    assert_eq!(counts, FaultCounts::default());
}

#[test]
fn each_fault_does_what_it_says_and_a_seed_repeats_it() {
    let (got, counts) = through(1, Faults { loss: 0.2, ..Faults::default() });
    assert!((100..300).contains(&counts.lost) && got.len() as u64 == 1000 - counts.lost, "{counts:?}");
    let (got, counts) = through(2, Faults { duplication: 0.2, ..Faults::default() });
    assert!((100..300).contains(&counts.duplicated) && got.len() as u64 == 1000 + counts.duplicated);
    let (got, counts) = through(3, Faults { corruption: 0.2, ..Faults::default() });
    let turned: u64 = (0..1000u16)
        .zip(&got)
        .map(|(n, bytes)| {
            u64::from(frame(n).iter().zip(bytes).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>())
        })
        .sum();
    assert!((100..300).contains(&counts.corrupted) && turned == counts.corrupted, "{counts:?} {turned}");
    let (got, counts) = through(4, Faults { reordering: 0.2, ..Faults::default() });
    let mut numbers: Vec<u16> = got.iter().map(|bytes| number(bytes)).collect();
    assert!(counts.reordered > 100 && !numbers.is_sorted());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..1000).collect::<Vec<_>>(), "nothing is lost by it");
    let all = Faults { loss: 0.1, duplication: 0.1, reordering: 0.1, corruption: 0.1, ..Faults::default() };
    assert_eq!(through(5, all), through(5, all));
    assert_ne!(through(5, all), through(6, all));
}

#[test]
fn a_delay_is_kept_on_both_ways() {
    let now = Rc::new(Cell::new(Instant::ZERO));
    let clock = Rc::clone(&now);
    let slow = Faults { delay: Duration::from_millis(10), ..Faults::default() };
    let mut io = Faulty::new(memory(1), 1, move || clock.get()).receiving(slow).transmitting(slow);
    assert_eq!(io.receive(&mut forward).unwrap(), 0);
    assert_eq!(io.next_arrival(), Some(Instant::from_millis(10)));
    now.set(Instant::from_millis(10));
    assert_eq!(io.receive(&mut forward).unwrap(), 1);
    assert_eq!((io.inner_mut().take_sent().len(), io.next_arrival()), (0, Some(Instant::from_millis(20))));
    now.set(Instant::from_millis(20));
    io.flush().unwrap();
    assert_eq!(io.inner_mut().take_sent().len(), 1);
}
