//! Properties of a whole director, on random input. proptest prints what failed, made small, and its seed.

use std::net::{IpAddr, SocketAddr};

use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::io::{Frame, MAX_BATCH, Meta};
use lvs_core::{Change, Director, DirectorConfig, Instant, InterfaceConfig, PortId, Verdict};
use lvs_testkit::frames::{self, Summary, TcpFlags, addr, mac, socket, station, tcp, udp};
use lvs_testkit::fuzz;
use proptest::prelude::*;

const DIRECTOR: &str = "02:00:00:00:00:02";
const VIPS: [&str; 2] = ["192.168.0.250:80", "[fd00::fa]:80"];

/// A director of both families whose real servers are known.
fn director() -> Director {
    let mut interface = InterfaceConfig::new(PortId(0), mac(DIRECTOR), "192.168.0.208/24".parse().unwrap());
    interface.addresses.push("fd00::d0/64".parse().unwrap());
    interface.owns_addresses = true;
    let mut config = DirectorConfig::new(vec![interface], [3; 32]);
    config.max_connections = 256;
    let mut director = Director::new(config, Instant::ZERO).unwrap();
    let mut changes = Vec::new();
    for vip in VIPS.map(socket) {
        for key in [ServiceKey::tcp(vip.ip(), vip.port()), ServiceKey::udp(vip.ip(), vip.port())] {
            changes.push(Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin)));
            for n in 1..=3u16 {
                let prefix = if vip.is_ipv4() { "192.168.0." } else { "fd00::" };
                let rip = addr(&format!("{prefix}{n}"));
                changes.push(Change::AddDestination(key, DestinationConfig::new(rip, vip.port())));
                changes.push(Change::SetStaticNeighbour { address: rip, mac: Some(station(0x100 + n)) });
            }
        }
    }
    director.apply(Instant::ZERO, &changes).unwrap();
    director
}

/// Takes everything that the director wants to send.
fn drain(director: &mut Director, now: Instant) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    let mut buffer = [0; TRANSMIT_BUFFER];
    while let Some(outgoing) = director.poll_transmit(now, &mut buffer) {
        sent.push(buffer[..outgoing.len].to_vec());
    }
    sent
}

fn metas() -> impl Strategy<Value = Meta> {
    prop_oneof![3 => Just(Meta::default()), 1 => any::<[u8; 8]>().prop_map(fuzz::meta_from)]
}

/// Anything, but often something that begins like a frame to the director.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let begun = (prop::sample::select(vec![0x0800u16, 0x86dd, 0x0806, 0x8100, 0x88a8]), any::<u8>());
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let frame = (begun, noise.clone()).prop_map(|((kind, first), rest)| {
        let first = if kind == 0x86dd { 0x60 | first & 0x0f } else { 0x45 | first & 0x0a };
        frames::ethernet(station(9), mac(DIRECTOR), kind, &[&[first][..], &rest].concat())
    });
    prop_oneof![1 => noise, 3 => frame]
}

#[derive(Debug, Clone)]
struct Flow {
    v6: bool,
    udp: bool,
    client: (u16, u16),
    flags: u8,
    payload: Vec<u8>,
    options: Vec<u8>,
    ttl: u8,
    tos: u8,
    padding: usize,
}

fn flows() -> impl Strategy<Value = Flow> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    // What comes from FTP's data port belongs to a connection of another kind.
    let port = any::<u16>().prop_filter("FTP's data port", |port| *port != 20);
    let small = (any::<bool>(), any::<bool>(), (any::<u16>(), port), any::<u8>());
    (small, bytes(400), bytes(40), any::<[u8; 2]>(), 0usize..100).prop_map(
        |((v6, udp, client, flags), payload, options, [ttl, tos], padding)| Flow {
            v6,
            udp,
            client,
            flags,
            payload,
            options,
            ttl,
            tos,
            padding,
        },
    )
}

/// The frame, or with `cut` of another length than its header says.
fn build(flow: &Flow) -> Vec<u8> {
    let (host, port) = flow.client;
    let (ip, vip): (IpAddr, &str) = if flow.v6 {
        (IpAddr::V6((0xfd00_0110_u128 << 96 | u128::from(host)).into()), VIPS[1])
    } else {
        (IpAddr::V4((0x6e00_0000 | u32::from(host)).into()), VIPS[0])
    };
    let (client, vip) = (SocketAddr::new(ip, port), socket(vip));
    let macs = (station(1), mac(DIRECTOR));
    let pad = flow.padding + 60;
    if flow.udp {
        let packet = udp(client, vip).payload(&flow.payload).ttl(flow.ttl).tos(flow.tos);
        let packet = if flow.v6 { packet } else { packet.options(&flow.options) };
        return packet.macs(macs.0, macs.1).pad_to(pad).build();
    }
    let packet =
        tcp(client, vip).flags(TcpFlags(flow.flags)).payload(&flow.payload).ttl(flow.ttl).tos(flow.tos);
    let packet = if flow.v6 { packet } else { packet.options(&flow.options) };
    packet.tcp_options(&flow.options).macs(macs.0, macs.1).pad_to(pad).build()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Whatever comes in, alone or in a batch, with whatever metadata: a verdict, and nothing else.
    #[test]
    fn any_bytes_get_a_verdict(batch in prop::collection::vec((any_bytes(), metas()), 1..12)) {
        let mut director = director();
        let mut buffers: Vec<Vec<u8>> = batch.iter().map(|(bytes, _)| bytes.clone()).collect();
        for (bytes, meta) in &batch {
            let mut bytes = bytes.clone();
            let mut frame = Frame::new(&mut bytes, PortId(0));
            *frame.meta_mut() = *meta;
            let _ = director.handle_frame(Instant::ZERO, &mut frame);
        }
        let mut frames: Vec<Frame<'_>> = buffers.iter_mut().map(|bytes| Frame::new(bytes, PortId(0))).collect();
        for (frame, (_, meta)) in frames.iter_mut().zip(&batch) {
            *frame.meta_mut() = *meta;
        }
        let verdicts = director.handle_batch(Instant::ZERO, &mut frames);
        prop_assert_eq!(verdicts.len(), batch.len());
        prop_assert_eq!(director.statistics().frames(), 2 * batch.len() as u64);
        drain(&mut director, Instant::ZERO);
    }

    /// A forwarded frame is what came in, but for the two Ethernet addresses.
    #[test]
    fn forwarding_changes_the_ethernet_addresses_only(flows in prop::collection::vec(flows(), 1..8)) {
        let mut director = director();
        let mut forwarded = 0;
        for flow in &flows {
            let before = build(flow);
            let mut after = before.clone();
            let verdict = director.handle_frame(Instant::ZERO, &mut Frame::new(&mut after, PortId(0)));
            let is_syn = flow.udp || TcpFlags(flow.flags).contains(TcpFlags::SYN) && flow.flags & 4 == 0;
            if is_syn {
                prop_assert_eq!(verdict, Verdict::Transmit(PortId(0)));
            }
            if verdict == Verdict::Transmit(PortId(0)) {
                forwarded += 1;
                prop_assert_eq!(&after[6..12], &mac(DIRECTOR).0);
                prop_assert!((1..=3).any(|n| after[..6] == station(0x100 + n).0));
                prop_assert_eq!(&after[12..], &before[12..]);
            } else {
                prop_assert_eq!(&after, &before, "who is not forwarded is left alone");
            }
        }
        let counted: u64 = director.services().iter().map(|service| service.statistics.in_packets).sum();
        prop_assert_eq!(counted, forwarded);
    }

    /// Answers are whole: every checksum right, to the one who asked, from the address that was asked.
    #[test]
    fn answers_are_well_formed(flow in flows(), service in any::<bool>()) {
        let mut director = director();
        if !service {
            director.apply(Instant::ZERO, &[Change::Clear]).unwrap();
        }
        drain(&mut director, Instant::ZERO);
        let mut question = build(&Flow { flags: flow.flags & !2, ..flow.clone() });
        let asked = Summary::of(&question).unwrap().ip.unwrap();
        let _ = director.handle_frame(Instant::ZERO, &mut Frame::new(&mut question, PortId(0)));
        for answer in drain(&mut director, Instant::ZERO) {
            let summary = Summary::of(&answer).unwrap();
            let ip = summary.ip.unwrap();
            prop_assert_eq!((ip.source, ip.destination), (asked.destination, asked.source));
            prop_assert_eq!(summary.destination_mac, station(1));
            prop_assert_eq!(ip.checksum_right, Some(true));
            prop_assert_eq!(14 + ip.length, answer.len());
            if ip.source.is_ipv4() {
                prop_assert_eq!(frames::checksum(&answer[14..34]), 0);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Random edits, frames and clock steps: all that must always hold, and batches decide as single frames do.
    #[test]
    fn any_history_keeps_the_invariants(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        fuzz::director(&bytes);
    }

    /// The same flow several times in one batch, with others around it.
    #[test]
    fn batches_decide_as_single_frames_do(
        flows in prop::collection::vec(flows(), 1..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..=MAX_BATCH),
    ) {
        let (mut one, mut other) = (director(), director());
        let frames: Vec<Vec<u8>> = order.iter().map(|at| build(at.get(&flows))).collect();
        let mut buffers = frames.clone();
        let mut batch: Vec<Frame<'_>> = buffers.iter_mut().map(|bytes| Frame::new(bytes, PortId(0))).collect();
        let verdicts = one.handle_batch(Instant::ZERO, &mut batch);
        for ((frame, verdict), in_batch) in frames.iter().zip(verdicts).zip(&batch) {
            let mut bytes = frame.clone();
            prop_assert_eq!(other.handle_frame(Instant::ZERO, &mut Frame::new(&mut bytes, PortId(0))), verdict);
            prop_assert_eq!(&bytes[..], in_batch.bytes());
        }
        prop_assert_eq!(one.statistics(), other.statistics());
        prop_assert_eq!(one.all_connections(Instant::ZERO), other.all_connections(Instant::ZERO));
        prop_assert_eq!(drain(&mut one, Instant::ZERO), drain(&mut other, Instant::ZERO));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn classification_stays_within_the_frame(first: u8, bytes in any_bytes()) {
        fuzz::classify(&[&[first][..], &bytes].concat());
    }
}
