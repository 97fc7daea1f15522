//! Frames in are frames out: content, order, number, counters.

use lvs_core::io::{FrameIo, Meta, PortId, Verdicts};
use lvs_core::verdict::{DropReason, Verdict};

use crate::Test;
use crate::bench::{Bench, Received, collect, frame, statistics};

pub(crate) const TESTS: &[Test] = &[
    ("frames_of_all_lengths_pass_both_ways_unchanged", frames_of_all_lengths_pass_both_ways_unchanged),
    ("many_frames_in_order_and_none_lost", many_frames_in_order_and_none_lost),
    ("verdicts_other_than_transmit_send_nothing", verdicts_other_than_transmit_send_nothing),
    ("frames_may_grow_into_their_headroom", frames_may_grow_into_their_headroom),
    ("a_frame_longer_than_the_mtu_is_lost_alone", a_frame_longer_than_the_mtu_is_lost_alone),
    ("a_port_that_does_not_exist_loses_the_frame", a_port_that_does_not_exist_loses_the_frame),
    ("a_full_ring_counts_what_it_loses", a_full_ring_counts_what_it_loses),
];

fn frames_of_all_lengths_pass_both_ways_unchanged() {
    let mut bench = Bench::new("al");
    let lengths = [18, 42, 59, 60, 61, 64, 127, 128, 1000, 1513, 1514];
    for from in [PortId(0), PortId(1)] {
        let frames: Vec<_> = (0..).zip(lengths).map(|(i, len)| (Meta::default(), frame(i, len))).collect();
        let received = bench.pass(from, &frames, |_| {}, frames.len());
        for ((_, sent), received) in frames.into_iter().zip(received) {
            let expected = Received { port: PortId(1 - from.0), meta: Meta::default(), bytes: sent };
            assert_eq!(received, expected);
        }
    }
    assert_eq!(bench.device.statistics(), statistics(22, 22, 0, 0));
    assert_eq!(bench.tester.statistics(), statistics(22, 22, 0, 0));
}

fn many_frames_in_order_and_none_lost() {
    let mut bench = Bench::new("ma");
    let mut number = 0;
    for burst in [1, 63, 64, 65, 500, 2000, 3000] {
        let frames: Vec<_> = (number..number + burst).map(|i| (Meta::default(), frame(i, 60))).collect();
        for received in bench.pass(PortId(0), &frames, |_| {}, burst as usize) {
            assert_eq!(received.bytes, frame(number, 60));
            number += 1;
        }
    }
    let all = u64::from(number);
    assert_eq!(bench.device.statistics(), statistics(all, all, 0, 0));
}

fn verdicts_other_than_transmit_send_nothing() {
    let mut bench = Bench::new("ve");
    for i in 0..5 {
        bench.tester.transmit(PortId(0), &Meta::default(), &frame(i, 60)).unwrap();
    }
    bench.tester.flush().unwrap();
    let verdicts = [
        Verdict::Pass,
        Verdict::Hold,
        Verdict::Drop(DropReason::NoService),
        Verdict::Transmit(PortId(1)),
        Verdict::Transmit(PortId(0)),
    ];
    let mut seen = 0;
    while seen < 5 {
        bench.device.wait(None).unwrap();
        let mut handler = |frames: &mut [lvs_core::io::Frame<'_>]| -> Verdicts {
            let first = seen;
            seen += frames.len();
            verdicts[first..seen].iter().copied().collect()
        };
        bench.device.receive(&mut handler).unwrap();
    }
    let received: Vec<_> = collect(&mut bench.tester, 2).into_iter().map(|r| (r.port, r.bytes)).collect();
    assert!(received.contains(&(PortId(1), frame(3, 60))), "{received:?}");
    assert!(received.contains(&(PortId(0), frame(4, 60))), "{received:?}");
    assert_eq!(bench.device.statistics(), statistics(5, 2, 0, 0));
}

fn frames_may_grow_into_their_headroom() {
    let mut bench = Bench::new("gr");
    let promised = bench.device.capabilities(PortId(0)).headroom;
    // What is promised, and all there is: then there is no room for the offload header, and it is copied.
    for all in [false, true] {
        let mut grown = 0;
        let received = bench.pass(
            PortId(0),
            &[(Meta::default(), frame(1, 100))],
            |frame| {
                assert!(frame.headroom() >= promised && promised >= 40);
                grown = if all { frame.headroom() } else { promised };
                frame.grow_front(grown).unwrap();
                let (front, back) = frame.bytes_mut().split_at_mut(grown);
                front.fill(0x77);
                front[..14].copy_from_slice(&back[..14]);
            },
            1,
        );
        let mut expected = vec![0x77; grown];
        expected[..14].copy_from_slice(&frame(1, 100)[..14]);
        expected.extend(frame(1, 100));
        assert_eq!(received[0].bytes, expected);
    }
    let shorter = bench.pass(
        PortId(0),
        &[(Meta::default(), frame(2, 100))],
        |frame| {
            frame.shrink_front(20);
            frame.bytes_mut()[12..14].copy_from_slice(&crate::bench::EXPERIMENT);
        },
        1,
    );
    assert_eq!(shorter[0].bytes.len(), 80);
    assert_eq!(shorter[0].bytes[14..], frame(2, 100)[34..]);
}

fn a_frame_longer_than_the_mtu_is_lost_alone() {
    let mut bench = Bench::new("lo");
    let lengths = [60, 3000, 1514, 9000, 61];
    let frames: Vec<_> = (0..).zip(lengths).map(|(i, len)| (Meta::default(), frame(i, len))).collect();
    for (meta, frame) in &frames {
        bench.tester.transmit(PortId(0), meta, frame).unwrap();
    }
    // Shorter than an Ethernet header, and longer than anything.
    bench.tester.transmit(PortId(0), &Meta::default(), &[0; 13]).unwrap();
    bench.tester.transmit(PortId(0), &Meta::default(), &vec![0; 70_000]).unwrap();
    bench.tester.flush().unwrap();
    assert_eq!(bench.tester.statistics(), statistics(0, 3, 0, 4));
    bench.forward(3, |_| {});
    let lengths: Vec<_> = collect(&mut bench.tester, 3).iter().map(|received| received.bytes.len()).collect();
    assert_eq!(lengths, [60, 1514, 61]);
}

fn a_port_that_does_not_exist_loses_the_frame() {
    let mut bench = Bench::new("no");
    bench.device.transmit(PortId(2), &Meta::default(), &frame(0, 60)).unwrap();
    bench.tester.transmit(PortId(0), &Meta::default(), &frame(0, 60)).unwrap();
    bench.tester.flush().unwrap();
    bench.device.wait(None).unwrap();
    while bench.device.receive(&mut |_| [Verdict::Transmit(PortId(2))].into_iter().collect()).unwrap() == 0 {
        bench.device.wait(None).unwrap();
    }
    assert_eq!(bench.device.statistics(), statistics(1, 0, 0, 2));
    let group = lvs_core::addr::MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    assert!(bench.device.join_multicast(PortId(2), group).is_err());
}

fn a_full_ring_counts_what_it_loses() {
    let mut bench = Bench::new("fu");
    // 60 MB into a ring of 4, and nobody reads meanwhile.
    let sent = 40_000;
    for i in 0..sent {
        bench.tester.transmit(PortId(0), &Meta::default(), &frame(i, 1514)).unwrap();
    }
    bench.tester.flush().unwrap();
    assert_eq!(bench.tester.statistics().transmitted, u64::from(sent));
    let (mut received, mut last) = (0, None);
    loop {
        let got = bench
            .device
            .receive(&mut |frames| {
                for frame in frames.iter() {
                    let number = frame.bytes()[14..18].try_into().map(u32::from_be_bytes).ok();
                    assert!(number > last);
                    last = number;
                }
                frames.iter().map(|_| Verdict::Pass).collect()
            })
            .unwrap();
        received += got as u64;
        let statistics = bench.device.statistics();
        assert_eq!(statistics.received, received);
        if received + statistics.receive_lost == u64::from(sent) {
            assert!(received > 1_000 && statistics.receive_lost > 1_000, "{statistics:?}");
            break;
        }
        if got == 0 {
            bench.device.wait(None).unwrap();
        }
    }
    // Read twice, the counters are the same: the kernel's own start again at zero each time.
    assert_eq!(bench.device.statistics(), bench.device.statistics());
    // And it goes on.
    bench.pass(PortId(0), &[(Meta::default(), frame(7, 60))], |_| {}, 1);
}
