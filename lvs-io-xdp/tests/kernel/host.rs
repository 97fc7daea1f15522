//! The host's kernel beside the sockets: what it keeps, what it loses, what it gets back.

use std::net::SocketAddr;
use std::time::Duration;

use lvs_core::MacAddr;
use lvs_core::io::{FrameIo, IoEvent, Meta, PortId};
use lvs_core::verdict::Verdict;
use lvs_io_xdp::Attachment;
use lvs_testkit::frames::{
    arp_announcement, arp_reply, arp_request, mld_query, neighbour_advertisement, neighbour_solicitation,
    socket, station, tcp, v4, v6,
};
use lvs_testkit::lab::{Capture, Direction, udp};

use crate::Test;
use crate::bench::{Bench, Hosts, PATIENCE, await_events, collect, frame, settle, subnet};

pub(crate) const TESTS: &[Test] = &[
    ("the_host_stays_reachable_by_its_own_address", reachable),
    ("arp_and_ndp_are_shared_with_the_host", shared),
    ("addresses_change_while_frames_flow", addresses_change),
    ("the_host_gets_everything_back_afterwards", everything_back),
    ("unfinished_checksums_are_told_once", unfinished),
    ("group_addresses_are_asked_of_the_interface", groups),
];

const VIP: &str = "10.0.0.250";

fn reachable() {
    for attachment in [Attachment::Native, Attachment::Generic] {
        let hosts = Hosts::new();
        let mut device = hosts.open(|config| config.attachment = attachment).unwrap();
        // A prefix is taken in which the host's own address and its neighbour's lie.
        device.set_addresses(&[subnet("10.0.0.0/24")], &[subnet("10.0.0.208/32")]).unwrap();
        settle(&mut device);
        let server: SocketAddr = "10.0.0.208:7".parse().unwrap();
        let echo = udp::Echo::start(&hosts.device, server).unwrap();
        for _ in 0..10 {
            // The first one makes both kernels ask for each other by ARP.
            let answer = udp::ask(&hosts.left, server, b"hello", PATIENCE).unwrap();
            assert!(answer.ends_with(b"hello"), "{answer:?}");
        }
        assert_eq!(echo.answered(), 10);
        // Only ARP was handed out: the question for the host's address and the answer to its own question.
        let heard = drain(&mut device);
        assert!(heard.iter().all(|bytes| bytes[12..14] == [8, 6]), "{heard:02x?}");
        assert!(!heard.is_empty());
    }
}

/// Everything that is there, passed.
fn drain(io: &mut impl FrameIo) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while let Ok(1..) = io.receive(&mut |frames| {
        all.extend(frames.iter().map(|frame| frame.bytes().to_vec()));
        frames.iter().map(|_| Verdict::Pass).collect()
    }) {}
    all
}

fn shared() {
    let mut hosts = Hosts::new();
    let (rip, dip, vip) = (v4("10.0.0.1"), v4("10.0.0.208"), v4(VIP));
    let (rip6, dip6, vip6) = (v6("fd00::1"), v6("fd00::208"), v6("fd00::250"));
    let (a, b) = (station(1), station(2));
    let tag = lvs_core::io::VlanTag { tpid: 0x8100, tci: 7 };
    // With whether the host's kernel is to get it.
    let messages = [
        (arp_request(a, rip, vip).build(), false),
        (arp_announcement(a, vip).build(), false),
        (neighbour_solicitation(a, rip6, vip6).build(), false),
        (neighbour_advertisement(a, vip6, b, rip6).build(), false),
        (arp_request(a, rip, dip).build(), true),
        (arp_request(a, vip, rip).build(), true),
        (arp_reply(a, rip, b, dip).build(), true),
        (arp_announcement(a, rip).build(), true),
        (arp_request(a, rip, dip).tag(tag).build(), true),
        (arp_request(a, rip, dip).tag(tag).tag(tag).build(), true),
        (neighbour_solicitation(a, rip6, dip6).build(), true),
        (neighbour_advertisement(a, rip6, b, dip6).build(), true),
        (neighbour_advertisement(a, rip6, b, dip6).tag(tag).build(), true),
        (mld_query(a, v6("fe80::1")).build(), true),
    ];
    for attachment in [Attachment::Native, Attachment::Generic] {
        let mut device = hosts.open(|config| config.attachment = attachment).unwrap();
        device.set_addresses(&[subnet("10.0.0.250/32"), subnet("fd00::250/128")], &[]).unwrap();
        settle(&mut device);
        let mut left = Hosts::tester(&hosts.left);
        let capture = Capture::start(&hosts.device, "eth0").unwrap();
        for (message, to_host) in &messages {
            left.transmit(PortId(0), &Meta::default(), message).unwrap();
            left.flush().unwrap();
            // Once, and whole, whoever else gets it.
            assert_eq!(collect(&mut device, 1), std::slice::from_ref(message));
            let captured = capture.drain();
            let seen = captured.iter().any(|frame| frame.direction == Direction::In);
            assert_eq!(seen, *to_host, "{message:02x?}: {captured:?}");
        }
        // What is neither for us nor for neighbours is the host's alone.
        let other = tcp(socket("10.0.0.1:1"), socket("10.0.0.208:80")).build();
        left.transmit(PortId(0), &Meta::default(), &other).unwrap();
        left.flush().unwrap();
        assert_eq!(collect(&mut device, 0), [[0; 0]; 0]);
        assert_eq!(device.details().passed_lost, 0);
        drop(device);
        hosts = Hosts::new();
    }
}

fn addresses_change() {
    let hosts = Hosts::new();
    let mut device = hosts.open(|_| {}).unwrap();
    settle(&mut device);
    let mut left = Hosts::tester(&hosts.left);
    let to = |text| tcp(socket("10.0.0.1:1"), socket(text)).build();
    let (one, two, six) = (to("192.168.0.1:80"), to("192.168.0.2:80"), {
        tcp(socket("[fd00::1]:1"), socket("[fd00::2]:80")).build()
    });
    let mut check = |device: &mut lvs_io_xdp::XdpIo, take: &[&str], leave: &[&str], expected: &[&Vec<u8>]| {
        let parse = |text: &[&str]| text.iter().map(|text| subnet(text)).collect::<Vec<_>>();
        device.set_addresses(&parse(take), &parse(leave)).unwrap();
        for frame in [&one, &two, &six] {
            left.transmit(PortId(0), &Meta::default(), frame).unwrap();
        }
        left.flush().unwrap();
        let received = collect(device, expected.len());
        assert!(received.iter().eq(expected.iter().copied()), "{take:?} {leave:?}: {received:02x?}");
    };
    check(&mut device, &[], &[], &[]);
    check(&mut device, &["192.168.0.1/32"], &[], &[&one]);
    check(&mut device, &["192.168.0.1/32", "192.168.0.2/32"], &[], &[&one, &two]);
    check(&mut device, &["192.168.0.2/32", "fd00::/16"], &[], &[&two, &six]);
    check(&mut device, &["192.168.0.0/16"], &["192.168.0.1/32"], &[&two]);
    check(&mut device, &["::/0"], &[], &[&six]);
    check(&mut device, &[], &["0.0.0.0/0"], &[]);
}

fn everything_back() {
    let Bench { mut left, right, mut device, hosts } = Bench::new(Attachment::NativeOrGeneric);
    let capture = Capture::start(&hosts.device, "eth0").unwrap();
    left.transmit(PortId(0), &Meta::default(), &frame(1, 60)).unwrap();
    left.flush().unwrap();
    assert_eq!(collect(&mut device, 1), [frame(1, 60)]);
    assert!(capture.frames().is_empty(), "the kernel does not see what is redirected");
    let entry = |name| hosts.device.interface(name).unwrap();
    assert!(entry("eth0").up);
    drop(device);
    settle_again(&mut left);
    left.transmit(PortId(0), &Meta::default(), &frame(2, 60)).unwrap();
    left.flush().unwrap();
    let seen = capture.wait_for(PATIENCE, |captured| captured.bytes == frame(2, 60));
    assert!(seen.is_some());
    // It can be opened again at once.
    let mut again = hosts.open(|_| {}).unwrap();
    again.set_addresses(&[subnet("0.0.0.0/0")], &[]).unwrap();
    settle(&mut again);
    settle_again(&mut left);
    left.transmit(PortId(0), &Meta::default(), &frame(3, 60)).unwrap();
    left.flush().unwrap();
    assert_eq!(collect(&mut again, 1), [frame(3, 60)]);
    drop(right);
}

/// Takes note of links that went down for a moment while a program was attached or detached.
fn settle_again(io: &mut impl FrameIo) {
    for _ in 0..3 {
        let _ = io.wait(Some(Duration::from_millis(20)));
        while io.poll_event().is_some() {}
    }
}

fn unfinished() {
    let mut bench = Bench::new(Attachment::NativeOrGeneric);
    let (from, to) = (socket("10.0.0.1:1"), socket("10.0.0.250:80"));
    let segment = tcp(from, to).payload(b"some bytes");
    for _ in 0..20 {
        bench.left.transmit(PortId(0), &Meta::default(), &segment.build()).unwrap();
    }
    bench.left.flush().unwrap();
    collect(&mut bench.device, 20);
    assert_eq!((bench.device.poll_event(), bench.device.details().unfinished_checksums), (None, 0));
    bench.hosts.left.set_offload("eth0", true).unwrap();
    let (bytes, meta) = segment.build_offloaded();
    for _ in 0..3 {
        bench.left.transmit(PortId(0), &meta, &bytes).unwrap();
        bench.left.flush().unwrap();
        assert_eq!(collect(&mut bench.device, 1), std::slice::from_ref(&bytes));
    }
    assert_eq!(bench.device.poll_event(), Some(IoEvent::UnfinishedChecksums(PortId(0))));
    assert_eq!(bench.device.poll_event(), None);
    assert_eq!(bench.device.details().unfinished_checksums, 3);
    // The other port is another matter.
    bench.right.transmit(PortId(0), &meta, &bytes).unwrap();
    bench.right.flush().unwrap();
    collect(&mut bench.device, 1);
    await_events(&mut bench.device, |event| event == IoEvent::UnfinishedChecksums(PortId(1)));
}

fn groups() {
    let mut bench = Bench::new(Attachment::NativeOrGeneric);
    let has = |interface: &str| {
        let list =
            bench.hosts.device.run(|| std::fs::read_to_string("/proc/thread-self/net/dev_mcast")).unwrap();
        list.lines().any(|line| line.contains(interface) && line.contains("3333ffabcdef"))
    };
    assert!(!has("eth0"));
    for _ in 0..2 {
        bench.device.join_multicast(PortId(0), MacAddr([0x33, 0x33, 0xff, 0xab, 0xcd, 0xef])).unwrap();
    }
    assert!(has("eth0") && !has("eth1"));
    assert!(bench.device.join_multicast(PortId(2), MacAddr::BROADCAST).is_err());
}
