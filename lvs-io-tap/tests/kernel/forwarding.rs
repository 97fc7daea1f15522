//! Frames in are frames out, in both directions; and what becomes of those that cannot be.

use std::time::{Duration, Instant};

use lvs_core::io::{FrameIo, IoEvent, Meta, PartialChecksum, PortId, VlanTag};
use lvs_core::verdict::{DropReason, Verdict};
use lvs_io_tap::{Passed, TapPort};
use lvs_testkit::frames::{self, TcpFlags, describe, socket};

use crate::bench::{Bench, EXPERIMENT, PATIENCE, answer, await_event, collect, frame, open, plain};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("frames_of_all_lengths_pass_both_ways_unchanged", all_lengths),
    ("many_frames_come_in_order_and_none_is_lost", many),
    ("verdicts_send_frames_where_they_say", verdicts),
    ("passed_frames_go_to_the_other_port_or_nowhere", passed),
    ("tags_stay_in_the_bytes_and_tags_in_metadata_are_written_there", tags),
    ("merged_frames_and_unfinished_checksums_pass_unchanged", merged),
    ("without_offloads_the_kernel_finishes_and_cuts_frames", cut),
    ("metadata_that_cannot_be_sent_costs_the_frame_only", lying_offsets),
    ("a_full_queue_counts_what_it_loses", full_queue),
    ("a_link_that_goes_down_is_told_and_comes_back", link),
    ("a_deleted_device_ends_it", deleted),
    ("waiting_ends_with_a_frame_or_with_its_time", waiting),
];

fn device() -> TapPort {
    TapPort::new("device")
}

fn without_offloads() -> TapPort {
    let mut port = device();
    port.offloads = false;
    port
}

fn all_lengths() -> Outcome {
    for port in [device(), without_offloads()] {
        let mut bench = Bench::new(vec![port])?;
        let lengths = [18, 42, 59, 60, 61, 64, 127, 128, 1000, 1513, 1514];
        let frames: Vec<_> = (0..).zip(lengths).map(|(i, len)| plain(i, len)).collect();
        let there = bench.send_to_device(&frames, frames.len())?;
        let back = bench.send_by_device(&frames, frames.len())?;
        for received in [there, back] {
            for ((meta, sent), received) in frames.iter().zip(received) {
                assert_eq!((received.port, &received.meta, &received.bytes), (PortId(0), meta, sent));
            }
        }
        let counted = bench.device.statistics();
        assert_eq!((counted.received, counted.transmitted), (11, 11));
        assert_eq!((counted.receive_lost, counted.transmit_lost), (0, 0));
    }
    Ok(())
}

fn many() -> Outcome {
    let mut bench = Bench::new(vec![device()])?;
    let mut number = 0;
    for burst in [1, 63, 64, 65, 500, 2000, 3000] {
        let frames: Vec<_> = (number..number + burst).map(|i| plain(i, 60)).collect();
        for received in bench.send_to_device(&frames, burst as usize)? {
            assert_eq!(received.bytes, frame(number, 60));
            number += 1;
        }
    }
    assert_eq!(bench.device.statistics().receive_lost, 0);
    Ok(())
}

fn verdicts() -> Outcome {
    let mut bench = Bench::new(vec![device()])?;
    for i in 0..6 {
        bench.tester.transmit(PortId(0), &Meta::default(), &frame(i, 60))?;
    }
    let verdicts = [
        Verdict::Pass,
        Verdict::Hold,
        Verdict::Drop(DropReason::NoService),
        Verdict::Transmit(PortId(1)),
        Verdict::Transmit(PortId(0)),
        Verdict::Transmit(PortId(7)),
    ];
    answer(&mut bench.device, 6, |at| verdicts[at])?;
    let received = collect(&mut bench.tester, 1)?;
    assert_eq!(received[0].bytes, frame(4, 60));
    let counted = bench.device.statistics();
    assert_eq!((counted.received, counted.transmitted, counted.transmit_lost), (6, 1, 2));
    assert_eq!(bench.device.passed(), Passed { handed_on: 0, dropped: 1 });
    Ok(())
}

/// The first port passes to the second, which is on a bridge of its own: the host's.
fn passed() -> Outcome {
    let mut first = device();
    first.pass_to = Some(PortId(1));
    let mut bench = Bench::new(vec![first, TapPort::new("second")])?;
    // The second device is no port of the bridge, but a cable to the host's own stack.
    let second = bench.ends.pop().ok_or("the second end")?;
    assert_eq!(second.undo().len(), 3);
    let host = bench.switch.host().clone();
    host.set_link("second", true)?;
    let capture = lvs_testkit::lab::Capture::start(&host, "second")?;
    for i in 0..3 {
        bench.tester.transmit(PortId(0), &Meta::default(), &frame(i, 60))?;
    }
    answer(&mut bench.device, 3, |at| if at == 1 { Verdict::Hold } else { Verdict::Pass })?;
    let seen = |number| capture.wait_for(PATIENCE, |seen| seen.bytes == frame(number, 60)).is_some();
    assert!(seen(0) && seen(2));
    assert_eq!(capture.stop()?.frames.len(), 2);
    // What comes in by the second goes nowhere.
    lvs_testkit::lab::send_frame(&host, "second", &frame(9, 60))?;
    answer(&mut bench.device, 1, |_| Verdict::Pass)?;
    assert_eq!(bench.device.passed(), Passed { handed_on: 2, dropped: 1 });
    collect(&mut bench.tester, 0)?;
    Ok(())
}

fn tags() -> Outcome {
    for port in [device(), without_offloads()] {
        let mut bench = Bench::new(vec![port])?;
        let untagged = frame(3, 60);
        let tagged = [&untagged[..12], &[0x81, 0, 0x20, 0x64], &untagged[12..]].concat();
        let longest = {
            let long = frame(4, 1514);
            [&long[..12], &[0x81, 0, 0, 5], &long[12..]].concat()
        };
        let sent = [(Meta::default(), tagged.clone()), (Meta::default(), longest.clone())];
        let received = bench.send_to_device(&sent, 2)?;
        assert_eq!((received[0].meta.vlan, &received[0].bytes), (None, &tagged));
        assert_eq!(received[1].bytes, longest);
        let meta = Meta { vlan: Some(VlanTag { tpid: 0x8100, tci: 0x2064 }), ..Meta::default() };
        let received = bench.send_by_device(&[(meta, untagged.clone())], 1)?;
        assert_eq!((received[0].meta.vlan, &received[0].bytes), (None, &tagged));
        // The same with a frame that is changed in its place.
        bench.tester.transmit(PortId(0), &Meta::default(), &untagged)?;
        let mut seen = 0;
        while seen == 0 {
            bench.device.wait(Some(Duration::from_millis(50)))?;
            seen = bench.device.receive(&mut |frames| {
                frames
                    .iter_mut()
                    .map(|frame| {
                        frame.meta_mut().vlan = meta.vlan;
                        Verdict::Transmit(PortId(0))
                    })
                    .collect()
            })?;
        }
        assert_eq!(collect(&mut bench.tester, 1)?[0].bytes, tagged);
    }
    Ok(())
}

fn upload(v6: bool, payload: usize) -> (Meta, Vec<u8>) {
    let (from, to) = if v6 { ("[fd00::1]:1000", "[fd00::2]:80") } else { ("10.0.0.1:1000", "10.0.0.2:80") };
    let bytes: Vec<u8> = (0..payload).map(|i| (i * 7) as u8).collect();
    let (frame, meta) =
        frames::tcp(socket(from), socket(to)).flags(TcpFlags::ACK).payload(&bytes).build_merged(1400);
    (meta, frame)
}

/// The header length is a hint that the kernel sets to what lies in one piece of its memory.
fn without_hint(mut meta: Meta) -> Meta {
    if let Some(gso) = &mut meta.gso {
        gso.header_length = 0;
    }
    meta
}

fn merged() -> Outcome {
    let mut bench = Bench::new(vec![device()])?;
    let mut sent = Vec::new();
    for v6 in [false, true] {
        for payload in [1401, 14_000, 65_000] {
            sent.push(upload(v6, payload));
        }
        // The ordinary frame of a sender that leaves the checksum to the hardware.
        let (meta, bytes) = upload(v6, 100);
        sent.push((Meta { gso: None, ..meta }, bytes));
    }
    let (mut meta, bytes) = upload(false, 20_000);
    if let Some(gso) = &mut meta.gso {
        gso.ecn = true;
    }
    sent.push((meta, bytes));
    let udp = frames::udp(socket("10.0.0.1:1000"), socket("10.0.0.2:53")).payload(&[5; 5600]);
    let (bytes, meta) = udp.build_merged(1400);
    sent.push((meta, bytes));
    for one in &sent {
        let there = bench.send_to_device(std::slice::from_ref(one), 1)?.remove(0);
        assert_eq!(without_hint(there.meta), without_hint(one.0));
        assert!(there.bytes == one.1, "the device saw other bytes");
        let back = bench.send_by_device(&[(there.meta, there.bytes)], 1)?.remove(0);
        assert_eq!(without_hint(back.meta), without_hint(one.0));
        assert!(back.bytes == one.1, "the tester got other bytes");
    }
    Ok(())
}

fn cut() -> Outcome {
    let mut bench = Bench::new(vec![without_offloads()])?;
    assert!(!bench.device.capabilities(PortId(0)).offload);
    for v6 in [false, true] {
        let received = bench.send_to_device(&[upload(v6, 14_000)], 10)?;
        for piece in &received {
            assert_eq!(piece.meta, Meta::default());
            let said = describe(&piece.bytes);
            assert!(said.contains("length 1400") && !said.contains("bad cksum"), "{said}");
        }
        let (meta, bytes) = upload(v6, 100);
        let received = bench.send_to_device(&[(Meta { gso: None, ..meta }, bytes)], 1)?;
        let said = describe(&received[0].bytes);
        assert!(received[0].meta == Meta::default() && !said.contains("bad cksum"), "{said}");
    }
    // And nothing unfinished can leave by it.
    let (meta, bytes) = upload(false, 100);
    bench.send_by_device(&[(meta, bytes)], 0)?;
    assert_eq!(bench.device.statistics().transmit_lost, 1);
    Ok(())
}

fn lying_offsets() -> Outcome {
    let mut bench = Bench::new(vec![device()])?;
    let (good, bytes) = upload(false, 100);
    let lie = |start| Meta { gso: None, checksum: Some(PartialChecksum { start, offset: 16 }), ..good };
    let overflow = Meta { vlan: Some(VlanTag { tpid: 0x8100, tci: 1 }), ..lie(u16::MAX) };
    let metas = [Meta::default(), lie(60_000), Meta::default(), overflow, Meta::default()];
    let frames: Vec<_> = metas.iter().map(|meta| (*meta, bytes.clone())).collect();
    let received = bench.send_by_device(&frames, 3)?;
    assert!(received.iter().all(|received| received.bytes == bytes));
    // Too short, too long.
    bench.send_by_device(&[(Meta::default(), vec![0; 13]), (Meta::default(), vec![0; 70_000])], 0)?;
    let counted = bench.device.statistics();
    assert_eq!((counted.transmitted, counted.transmit_lost), (3, 4));
    Ok(())
}

fn full_queue() -> Outcome {
    let mut port = device();
    port.queue_frames = 32;
    let mut bench = Bench::new(vec![port])?;
    for i in 0..200 {
        bench.tester.transmit(PortId(0), &Meta::default(), &frame(i, 60))?;
    }
    let host = bench.switch.host().clone();
    let received = collect(&mut bench.device, 32)?;
    assert_eq!(received[31].bytes, frame(31, 60));
    let counted = host.run(|| bench.device.statistics());
    assert_eq!((counted.received, counted.receive_lost), (32, 168));
    // And it goes on.
    bench.send_to_device(&[plain(7, 60)], 1)?;
    Ok(())
}

fn link() -> Outcome {
    let mut bench = Bench::new(vec![device()])?;
    let host = bench.switch.host().clone();
    for _ in 0..2 {
        host.set_link("device", false)?;
        await_event(&mut bench.device, |event| event == IoEvent::LinkDown(PortId(0)))?;
        let lost = bench.device.statistics().transmit_lost;
        bench.device.transmit(PortId(0), &Meta::default(), &frame(0, 60))?;
        assert_eq!(bench.device.statistics().transmit_lost, lost + 1);
        assert_eq!(bench.device.poll_event(), None);
        host.set_link("device", true)?;
        await_event(&mut bench.device, |event| event == IoEvent::LinkUp(PortId(0)))?;
        collect(&mut bench.device, 0)?;
        bench.send_by_device(&[plain(1, 60)], 1)?;
        bench.send_to_device(&[plain(2, 60)], 1)?;
    }
    Ok(())
}

fn deleted() -> Outcome {
    for wait in [false, true] {
        let mut bench = Bench::new(vec![device()])?;
        let host = bench.switch.host().clone();
        host.remove_link("device")?;
        let error = if wait {
            bench.device.wait(Some(PATIENCE)).and_then(|()| bench.device.wait(Some(PATIENCE)))
        } else {
            bench.device.receive(&mut |_| unreachable!("no frame was sent")).map(drop)
        };
        let error = error.err().ok_or("a deleted device is no device")?;
        assert!(error.is_gone() && error.to_string().contains("device"), "{error}");
        assert!(bench.device.transmit(PortId(0), &Meta::default(), &frame(0, 60)).is_err());
    }
    Ok(())
}

fn waiting() -> Outcome {
    let mut bench = Bench::new(vec![device()])?;
    let start = Instant::now();
    for _ in 0..10 {
        bench.device.wait(Some(Duration::from_millis(10)))?;
    }
    // It may return early, but this is no busy loop.
    assert!(start.elapsed() > Duration::from_millis(50), "{:?}", start.elapsed());
    let Bench { mut tester, mut device, switch: _switch, ends: _ends } = bench;
    std::thread::scope(|scope| -> Outcome {
        let sender = scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            tester.transmit(PortId(0), &Meta::default(), &frame(1, 60)).map(|()| tester)
        });
        let start = Instant::now();
        device.wait(Some(Duration::from_millis(900)))?;
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        let _tester = sender.join().map_err(|_| "the sender panicked")??;
        let received = collect(&mut device, 1)?;
        assert_eq!(received[0].bytes[12..14], EXPERIMENT);
        Ok(())
    })?;
    // A device on its own, set down: nothing comes, and nobody is kept.
    let host = lvs_testkit::lab::Host::new("alone")?;
    let mut alone = open(&host, [TapPort::new("tap%d")])?;
    assert_eq!(alone.interface(PortId(0)), Some("tap0"));
    assert_eq!(alone.receive(&mut |_| unreachable!("no frame was sent"))?, 0);
    assert_eq!(alone.poll_event(), Some(IoEvent::LinkDown(PortId(0))));
    Ok(())
}
