//! What a Linux IPVS director did with each frame, replayed: forwarded packets, RST, ICMP errors and echo replies byte
//! by byte.

use std::net::IpAddr;

use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::{Change, DirectorConfig, InterfaceConfig, PortId};
use lvs_testkit::frames::{Summary, TCP, addr, describe, mac, socket, station};

use crate::world::{World, seconds};

const RECORDED: &str = include_str!("../fixtures/recorded.txt");

/// The director of the lab, with real servers that answer.
fn lab(mtu: u16) -> World {
    let mac = mac("02:00:00:00:00:02");
    let mut interface = InterfaceConfig::new(PortId(0), mac, "10.9.0.2/24".parse().unwrap());
    interface.addresses.push("fd00:9::2/64".parse().unwrap());
    interface.owns_addresses = true;
    interface.mtu = mtu;
    let mut config = DirectorConfig::new(vec![interface], [9; 32]);
    config.max_connections = 4096;
    // The lab's kernel holds the VIP as its own.
    config.local_addresses = vec![addr("10.9.0.10"), addr("fd00:9::10")];
    config.knobs.decrement_ttl = true;
    let mut world = World::new(config);
    for n in 1..=4u16 {
        world.stations.insert(addr(&format!("10.9.0.{}", 10 + n)), station(10 + n));
        world.stations.insert(addr(&format!("fd00:9::{}", 10 + n)), station(10 + n));
    }
    world
}

/// One command of `ipvsadm`.
fn change(rule: &str) -> Change {
    let words: Vec<&str> = rule.split(' ').collect();
    let value = |option: &str| {
        let at = words.iter().position(|word| *word == option)?;
        words.get(at + 1).copied()
    };
    let key = match (value("-t"), value("-u")) {
        (Some(vip), _) => ServiceKey::tcp(socket(vip).ip(), socket(vip).port()),
        (_, Some(vip)) => ServiceKey::udp(socket(vip).ip(), socket(vip).port()),
        _ => panic!("no service in `{rule}`"),
    };
    let rip = || socket(value("-r").unwrap());
    let server = || {
        let weight = value("-w").unwrap().parse().unwrap();
        DestinationConfig::new(rip().ip(), rip().port()).weight(weight)
    };
    let scheduler = || -> SchedulerKind { value("-s").unwrap().parse().unwrap() };
    match words[0] {
        "-A" => Change::AddService(ServiceConfig::new(key, scheduler())),
        "-D" => Change::RemoveService(key),
        "-a" => Change::AddDestination(key, server()),
        "-e" => Change::EditDestination(key, server()),
        "-d" => Change::RemoveDestination { service: key, address: rip().ip(), port: rip().port() },
        other => panic!("no command {other}"),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A frame without padding, and without what the kernel fills with random numbers.
fn comparable(frame: &[u8], answer: bool) -> Vec<u8> {
    let ip = Summary::of(frame).unwrap().ip.unwrap();
    let mut frame = frame[..14 + ip.length].to_vec();
    if !answer {
        return frame;
    }
    match ip.source {
        IpAddr::V4(_) => {
            frame[18..20].fill(0);
            frame[24..26].fill(0);
            if ip.icmp == Some((0, 0)) {
                // The kernel builds a new packet, which may be fragmented; here the question is turned round.
                frame[20] &= !0x40;
            }
        }
        IpAddr::V6(_) => {
            frame[15] &= 0xf0;
            frame[16..18].fill(0);
            if ip.protocol == TCP {
                // Recorded before the lab's device computed it.
                frame[70..72].fill(0);
            }
        }
    }
    frame
}

struct Scenario {
    name: &'static str,
    lines: Vec<(&'static str, &'static str)>,
}

fn scenarios() -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for line in RECORDED.lines().filter(|line| !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap();
        match (word, scenarios.last_mut()) {
            ("scenario", _) => scenarios.push(Scenario { name: rest, lines: Vec::new() }),
            (_, Some(scenario)) => scenario.lines.push((word, rest)),
            (_, None) => panic!("a line before the first scenario: {line}"),
        }
    }
    scenarios
}

/// Sends a frame and compares what comes out with what came out of the kernel.
fn compare(world: &mut World, name: &str, sent: &str, expected: &[(&str, &str)]) {
    let sent = bytes(sent);
    let out = world.send(&sent);
    let name = format!("{name}: {}", describe(&sent));
    let answers = |frame: &[u8]| Summary::of(frame).unwrap().destination_mac == station(0x64);
    let got: Vec<Vec<u8>> = out.iter().map(|frame| comparable(&frame.bytes, answers(&frame.bytes))).collect();
    let wanted: Vec<Vec<u8>> =
        expected.iter().map(|(to, hex)| comparable(&bytes(hex), *to == "back")).collect();
    let texts = |frames: &[Vec<u8>]| frames.iter().map(|frame| describe(frame)).collect::<Vec<_>>();
    assert_eq!(got, wanted, "{name}: {:?} instead of {:?}", texts(&got), texts(&wanted));
    for frame in out.iter().filter(|frame| answers(&frame.bytes)) {
        let ip = Summary::of(&frame.bytes).unwrap().ip.unwrap();
        assert_ne!(ip.checksum_right, Some(false), "{name}");
        let header = ip.source.is_ipv4().then(|| lvs_testkit::frames::checksum(&frame.bytes[14..34]));
        assert_eq!(header.unwrap_or(0), 0, "{name}");
    }
}

#[test]
fn the_director_does_what_the_kernel_did() {
    let mut compared = 0;
    for Scenario { name, lines } in scenarios() {
        let mtu = lines.iter().find(|(word, _)| *word == "mtu").map_or(1500, |(_, mtu)| mtu.parse().unwrap());
        let mut world = lab(mtu);
        world.pass(seconds(5));
        let mut at = 0;
        while let Some((word, rest)) = lines.get(at) {
            at += 1;
            match *word {
                "rule" => world.apply(&[change(rest)]),
                "sysctl" => {
                    let (knob, value) = rest.split_once(' ').unwrap();
                    assert_eq!(knob, "expire_nodest_conn");
                    world.set_knobs(|knobs| knobs.expire_nodest_conn = value == "1");
                }
                "mtu" => {}
                "sent" => {
                    let results =
                        lines[at..].iter().take_while(|(word, _)| matches!(*word, "on" | "back")).count();
                    compare(&mut world, name, rest, &lines[at..at + results]);
                    at += results;
                    compared += 1;
                }
                other => panic!("{name}: {other}?"),
            }
            world.pass(std::time::Duration::from_millis(10));
        }
    }
    assert!(compared > 300, "{compared} frames compared");
}
