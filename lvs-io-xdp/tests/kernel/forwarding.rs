//! Frames in are frames out: content, order, number, counters. In the driver and behind it.

use lvs_core::io::{FrameIo, Meta, PartialChecksum, PortId, Verdicts, VlanTag};
use lvs_core::verdict::{DropReason, Verdict};
use lvs_io_xdp::Attachment;

use crate::bench::{Bench, collect, frame, statistics};

/// A name, and what to run in each place.
type Test = (&'static str, fn(Attachment));

pub(crate) const TESTS: &[Test] = &[
    ("frames_of_all_lengths_pass_both_ways_unchanged", all_lengths),
    ("many_frames_in_order_and_none_lost", many_frames),
    ("verdicts_other_than_transmit_send_nothing", other_verdicts),
    ("frames_go_back_where_they_came_from", back),
    ("frames_may_grow_into_their_headroom", headroom),
    ("tags_are_carried_in_the_bytes", tags),
    ("a_frame_that_cannot_be_sent_is_lost_alone", impossible),
    ("small_rings_are_used_over_and_over", small_rings),
    ("a_full_ring_counts_what_it_loses", full_ring),
];

fn all_lengths(attachment: Attachment) {
    let mut bench = Bench::new(attachment);
    let lengths = [60, 61, 64, 127, 128, 1000, 1513, 1514];
    for from in [PortId(0), PortId(1)] {
        let frames: Vec<_> = (0..).zip(lengths).map(|(i, len)| frame(i, len)).collect();
        assert_eq!(bench.pass(from, &frames, |_| {}, frames.len()), frames);
    }
    assert_eq!(bench.device.statistics(), statistics(16, 16, 0, 0));
    let mode = bench.device.mode(PortId(1)).unwrap();
    assert_eq!((mode.native, mode.zero_copy, mode.queues), (attachment == Attachment::Native, false, 1));
}

fn many_frames(attachment: Attachment) {
    let mut bench = Bench::new(attachment);
    let mut number = 0;
    for burst in [1, 63, 64, 65, 500, 2000, 3000] {
        let frames: Vec<_> = (number..number + burst).map(|i| frame(i, 60)).collect();
        assert_eq!(bench.pass(PortId(0), &frames, |_| {}, burst as usize), frames);
        number += burst;
    }
    let all = u64::from(number);
    assert_eq!(bench.device.statistics(), statistics(all, all, 0, 0));
    assert_eq!(bench.device.details().nonsense, 0);
}

fn other_verdicts(attachment: Attachment) {
    let mut bench = Bench::new(attachment);
    for i in 0..6 {
        bench.left.transmit(PortId(0), &Meta::default(), &frame(i, 60)).unwrap();
    }
    bench.left.flush().unwrap();
    let mut seen = 0;
    while seen < 6 {
        let got = bench.device.receive(&mut |frames| {
            let verdict = |i: usize| match i {
                0 | 5 => Verdict::Pass,
                1 => Verdict::Hold,
                2 => Verdict::Drop(DropReason::NoService),
                3 => Verdict::Transmit(PortId(1)),
                _ => Verdict::Transmit(PortId(7)),
            };
            (seen..seen + frames.len()).map(verdict).collect::<Verdicts>()
        });
        seen += got.unwrap();
        bench.device.wait(Some(std::time::Duration::from_millis(10))).unwrap();
    }
    assert_eq!(collect(&mut bench.right, 1), [frame(3, 60)]);
    assert_eq!(bench.device.statistics(), statistics(6, 1, 0, 1));
    assert_eq!(bench.device.details().passed_lost, 2);
}

fn back(attachment: Attachment) {
    let mut bench = Bench::new(attachment);
    let frames: Vec<_> = (0..300).map(|i| frame(i, 100)).collect();
    for frame in &frames {
        bench.left.transmit(PortId(0), &Meta::default(), frame).unwrap();
    }
    bench.left.flush().unwrap();
    let mut rest = frames.len();
    while rest > 0 {
        rest -= bench
            .device
            .receive(&mut |frames| frames.iter().map(|frame| Verdict::Transmit(frame.port())).collect())
            .unwrap();
    }
    assert_eq!(collect(&mut bench.left, 300), frames);
    assert_eq!(collect(&mut bench.right, 0), [[0; 0]; 0]);
}

fn headroom(attachment: Attachment) {
    let mut bench = Bench::new(attachment);
    let capabilities = bench.device.capabilities(PortId(0));
    assert_eq!((capabilities.headroom, capabilities.longest_frame, capabilities.offload), (256, 1792, false));
    let sent = frame(1, 200);
    let received = bench.pass(
        PortId(0),
        std::slice::from_ref(&sent),
        |frame| {
            assert!(frame.headroom() >= 256);
            frame.grow_front(256).unwrap();
            frame.bytes_mut()[..256].fill(0xaa);
            frame.bytes_mut()[12] = 0x88;
            frame.bytes_mut()[13] = 0xb5;
        },
        1,
    );
    assert_eq!((received[0].len(), &received[0][256..]), (456, &sent[..]));
    let shorter = bench.pass(PortId(1), &[sent], |frame| frame.set_len(60).unwrap(), 1);
    assert_eq!(shorter[0].len(), 60);
}

fn tags(attachment: Attachment) {
    let mut bench = Bench::new(attachment);
    let tag = VlanTag { tpid: 0x8100, tci: 0x2064 };
    let mut tagged = frame(1, 100);
    tagged.splice(12..12, [0x81, 0, 0x20, 0x64]);
    let mut seen = Vec::new();
    let received =
        bench.pass(PortId(0), std::slice::from_ref(&tagged), |frame| seen = frame.bytes().to_vec(), 1);
    assert_eq!((&seen, &received[0]), (&tagged, &tagged));
    // A tag that the handler puts beside the frame, and the longest frame with one.
    for len in [100, 1514] {
        let mut expected = frame(2, len);
        expected.splice(12..12, [0x81, 0, 0x20, 0x64]);
        let edit = |frame: &mut lvs_core::io::Frame<'_>| frame.meta_mut().vlan = Some(tag);
        assert_eq!(bench.pass(PortId(1), &[frame(2, len)], edit, 1), [expected.clone()]);
        bench
            .device
            .transmit(PortId(1), &Meta { vlan: Some(tag), ..Meta::default() }, &frame(2, len))
            .unwrap();
        bench.device.flush().unwrap();
        assert_eq!(collect(&mut bench.right, 1), [expected]);
    }
}

fn impossible(attachment: Attachment) {
    let mut bench = Bench::new(attachment);
    let partial = PartialChecksum { start: 34, offset: 6 };
    let unfinished = Meta { checksum: Some(partial), ..Meta::default() };
    // In the middle of others: longer than the MTU, shorter than a header, unfinished.
    let mut at = 0;
    let frames: Vec<_> = (0..6).map(|i| frame(i, 200)).collect();
    let received = bench.pass(
        PortId(0),
        &frames,
        |frame| {
            match at {
                1 => frame.set_len(1523).unwrap(),
                2 => frame.set_len(13).unwrap(),
                4 => *frame.meta_mut() = unfinished,
                _ => {}
            }
            at += 1;
        },
        3,
    );
    assert_eq!(received, [frame(0, 200), frame(3, 200), frame(5, 200)]);
    assert_eq!(bench.device.statistics(), statistics(6, 3, 0, 3));
    let device = &mut bench.device;
    device.transmit(PortId(1), &Meta::default(), &[0; 1523]).unwrap();
    device.transmit(PortId(1), &Meta::default(), &[0; 5000]).unwrap();
    device.transmit(PortId(1), &Meta::default(), &[0; 13]).unwrap();
    device.transmit(PortId(1), &unfinished, &frame(0, 60)).unwrap();
    device.transmit(PortId(9), &Meta::default(), &frame(0, 60)).unwrap();
    device.flush().unwrap();
    assert_eq!(device.statistics(), statistics(6, 3, 0, 8));
}

fn small_rings(attachment: Attachment) {
    let mut bench = Bench::with(|config| {
        config.attachment = attachment;
        (config.receive_entries, config.transmit_entries) = (64, 64);
    });
    for round in 0..200 {
        let frames: Vec<_> = (0..50).map(|i| frame(round * 50 + i, 60)).collect();
        let from = PortId((round % 2) as u16);
        assert_eq!(bench.pass(from, &frames, |_| {}, 50), frames, "round {round}");
    }
    assert_eq!(bench.device.statistics(), statistics(10_000, 10_000, 0, 0));
    // As many as memory has frames, twice over, without a pause for the kernel.
    for i in 0..1000 {
        bench.device.transmit(PortId(1), &Meta::default(), &frame(i, 60)).unwrap();
    }
    bench.drain();
    assert_eq!(bench.device.statistics(), statistics(10_000, 11_000, 0, 0));
    collect(&mut bench.right, 1000);
}

fn full_ring(attachment: Attachment) {
    let mut bench = Bench::with(|config| {
        config.attachment = attachment;
        config.receive_entries = 128;
    });
    for i in 0..1000 {
        bench.left.transmit(PortId(0), &Meta::default(), &frame(i, 60)).unwrap();
    }
    bench.left.flush().unwrap();
    // They wait for the driver's softirq at most.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut got = 0;
    loop {
        let now = bench.device.receive(&mut |frames| frames.iter().map(|_| Verdict::Hold).collect()).unwrap();
        got += now as u64;
        if now == 0 {
            break;
        }
    }
    let counted = bench.device.statistics();
    // The driver's own ring holds 256, and what does not fit there is not seen here.
    assert!(got >= 128 && counted.receive_lost > 0, "{counted:?}");
    assert!(counted.received + counted.receive_lost <= 1000, "{counted:?}");
    // It goes on afterwards.
    let frames: Vec<_> = (0..100).map(|i| frame(i, 60)).collect();
    assert_eq!(bench.pass(PortId(0), &frames, |_| {}, 100), frames);
}
