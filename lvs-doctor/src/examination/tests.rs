//! Faults one by one and mixed, over a segment of simple machines; bounds; hostile frames.

use std::net::IpAddr;
use std::time::Duration;

use lvs_core::config::{Protocol, VlanPath};
use lvs_core::{Frame, Instant, PortId};
use lvs_testkit::frames::{self, Summary, TcpFlags, addr, mac, station, v4};
use proptest::prelude::*;

use super::segment::{Machine, dip, faults, run};
use crate::{Examination, ExaminationConfig, Fault, Interface, Limits, Outcome, Service, ServicePort};

fn vip() -> IpAddr {
    addr("192.168.0.250")
}

fn rip(n: u8) -> IpAddr {
    [192, 168, 0, n].into()
}

fn interface() -> Interface {
    Interface::new(PortId(0), station(208), "192.168.0.208/24".parse().unwrap())
}

fn web(servers: &[IpAddr]) -> Service {
    Service { protocol: Protocol::Tcp, vip: vip(), port: ServicePort::Exact(80), servers: servers.to_vec() }
}

fn config(services: Vec<Service>) -> ExaminationConfig {
    ExaminationConfig::new(interface(), services, 42)
}

/// Two healthy real servers.
fn pair() -> Vec<Machine> {
    vec![Machine::server(1, rip(1), vip()), Machine::server(2, rip(2), vip())]
}

/// What is found with two servers of which the second is changed.
fn found(change: impl FnOnce(&mut Machine)) -> Vec<(&'static str, Option<IpAddr>)> {
    let mut machines = pair();
    change(&mut machines[1]);
    let (examination, ..) = run(config(vec![web(&[rip(1), rip(2)])]), &machines);
    faults(examination.findings())
}

#[test]
fn a_healthy_segment_has_no_findings_and_all_checks_pass() {
    let (examination, sent, end) = run(config(vec![web(&[rip(1), rip(2)])]), &pair());
    assert_eq!(faults(examination.findings()), []);
    let not_passed: Vec<_> =
        examination.checks().iter().filter(|one| one.outcome != Outcome::Passed).collect();
    assert!(not_passed.is_empty() && examination.checks().len() >= 8, "{:#?}", examination.checks());
    let taken = end.saturating_duration_since(Instant::from_secs(7));
    assert!(taken < Duration::from_secs(3), "{taken:?}");
    assert!(sent.len() < 60, "{} frames", sent.len());
    assert_eq!(examination.frames_sent() as usize, sent.len());
}

#[test]
fn nothing_is_said_that_is_not_true() {
    let (_, sent, _) = run(config(vec![web(&[rip(1), rip(2)])]), &pair());
    let mut resets = 0;
    for (_, bytes) in &sent {
        let frame = Summary::of(bytes).unwrap();
        assert_eq!(frame.source_mac, station(208));
        if let Some(arp) = frame.arp {
            // Only the DIP, or nobody, asks.
            assert!([dip(), addr("0.0.0.0")].contains(&arp.sender) && arp.operation == 1, "{arp:?}");
        }
        if let Some(ip) = frame.ip {
            assert!(!frame.destination_mac.is_multicast() && ip.dont_fragment, "{ip:?}");
            assert_ne!(ip.checksum_right, Some(false), "{ip:?}");
            resets += usize::from(ip.tcp.is_some_and(|tcp| tcp.flags.contains(TcpFlags::RST)));
        }
    }
    assert_eq!(resets, 4, "each server's connection and the provoked one are ended");
}

#[test]
fn each_fault_is_found_with_its_owner() {
    let second = Some(rip(2));
    assert_eq!(found(|server| server.answers_for_vip = true), [("vip-answered", second)]);
    assert_eq!(found(|server| server.announces_vip = true), [("vip-announced", second)]);
    assert_eq!(found(|server| server.vip = None), [("vip-missing", second)]);
    assert_eq!(found(|server| server.open = 81), [("port-closed", second)]);
    assert_eq!(found(|server| server.filtered = Some(80)), [("port-filtered", second)]);
    assert_eq!(found(|server| server.addresses = vec![rip(9)]), [("rip-unresolved", second)]);
    assert_eq!(found(|server| server.addresses.push(rip(1))), [("duplicate-address", Some(rip(1)))]);
    assert_eq!(found(|server| server.addresses.push(dip())), [("duplicate-address", Some(dip()))]);
    assert_eq!(found(|server| server.mtu = 1400), [("mtu-smaller", second)]);
    assert_eq!(found(|server| server.answers_by = station(77)), [("answered-elsewhere", second)]);
    // A server that answers no pings is none the worse.
    assert_eq!(found(|server| server.pings = false), []);
}

#[test]
fn evidence_and_cure_are_exact() {
    let mut machines = pair();
    machines[1].mtu = 1400;
    machines[1].announces_vip = true;
    let (examination, ..) = run(config(vec![web(&[rip(1), rip(2)])]), &machines);
    let [announced, narrow] = examination.findings() else { panic!("{:#?}", examination.findings()) };
    assert_eq!((announced.vip, announced.mac), (Some(vip()), Some(station(2))));
    assert!(
        announced.evidence.contains("tell 192.168.0.250\" on eth0, when it had to answer"),
        "{}",
        announced.evidence
    );
    assert_eq!(
        announced.cure[..3],
        [
            "# on the real server 192.168.0.2 (02:00:00:00:00:02):",
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
            "sysctl -w net.ipv4.conf.all.arp_announce=2"
        ]
    );
    assert_eq!(
        narrow.evidence,
        "a ping of 1500 bytes that must not be fragmented was not answered; one of 1400 was, of 9 lengths tried"
    );
    assert_eq!(
        narrow.cure[1],
        "ip link set mtu 1500 dev $(ip -o address show to 192.168.0.2 | awk '{ print $2; exit }')"
    );
}

#[test]
fn evidence_says_who_answered_what() {
    let mut machines = pair();
    (machines[0].filtered, machines[1].answers_by) = (Some(80), station(77));
    let (examination, ..) = run(config(vec![web(&[rip(1), rip(2)])]), &machines);
    let evidence: Vec<&str> = examination.findings().iter().map(|one| one.evidence.as_str()).collect();
    assert_eq!(
        evidence,
        [
            "sent a SYN for TCP 192.168.0.250:80 to 02:00:00:00:00:01, the Ethernet address of 192.168.0.1, 3 times, without \
             an answer, although it answered something else that was sent to the VIP",
            "sent a SYN for TCP 192.168.0.250:80 to 02:00:00:00:00:02, the Ethernet address of 192.168.0.2; the answer came \
             from 02:00:00:00:00:4d",
        ]
    );
}

#[test]
fn a_server_in_no_subnet_or_behind_a_router_is_off_the_segment() {
    let far = addr("10.9.9.9");
    let behind = config(vec![web(&[rip(1), far])]);
    let (examination, ..) = run(behind.clone(), &pair());
    assert_eq!(faults(examination.findings()), [("rip-off-segment", Some(far))]);
    // It is on the wire after all.
    let machines = [pair(), vec![Machine::server(3, far, vip())]].concat();
    let (examination, ..) = run(behind, &machines);
    assert_eq!(faults(examination.findings()), [("rip-off-segment", Some(far))]);
    assert!(examination.findings()[0].cure[0].contains("--dip"), "{:#?}", examination.findings());
    // The gateway answers for it.
    let mut routed = config(vec![web(&[rip(1), rip(2)])]);
    routed.interfaces[0].gateways.push(rip(15));
    let mut machines = pair();
    machines[1].addresses.push(rip(15));
    let (examination, ..) = run(routed, &machines);
    assert_eq!(faults(examination.findings()), [("rip-off-segment", Some(rip(2)))]);
    assert!(
        examination.findings()[0].evidence.contains("the gateway 192.168.0.15"),
        "{:#?}",
        examination.findings()
    );
}

#[test]
fn other_directors_are_known_by_name_only() {
    let mut other = Machine::server(99, rip(99), vip());
    (other.answers_for_vip, other.open) = (true, 1);
    let machines = [pair(), vec![other]].concat();
    let mut told = config(vec![web(&[rip(1), rip(2)])]);
    let (examination, ..) = run(told.clone(), &machines);
    assert_eq!(faults(examination.findings()), [("vip-answered", None)]);
    assert!(examination.findings()[0].cure.last().unwrap().ends_with("--director-mac 02:00:00:00:00:63"));
    told.director_macs.push(station(99));
    let (examination, ..) = run(told, &machines);
    assert_eq!(faults(examination.findings()), []);
}

#[test]
fn udp_tells_something_when_it_is_refused_only() {
    let service =
        |port| Service { protocol: Protocol::Udp, port: ServicePort::Exact(port), ..web(&[rip(1)]) };
    let (examination, ..) = run(config(vec![service(53)]), &pair());
    assert_eq!(faults(examination.findings()), [("port-closed", Some(rip(1)))]);
    let (examination, ..) = run(config(vec![service(80)]), &pair());
    assert_eq!(faults(examination.findings()), []);
    assert!(examination.checks().iter().any(|check| check.outcome == Outcome::Unknown));
}

#[test]
fn any_port_will_do_where_a_service_takes_many() {
    let service = Service { port: ServicePort::Any(10_000), ..web(&[rip(1), rip(2)]) };
    let mut machines = pair();
    machines[1].vip = None;
    let (examination, ..) = run(config(vec![service]), &machines);
    assert_eq!(faults(examination.findings()), [("vip-missing", Some(rip(2)))]);
}

#[test]
fn ipv6_is_examined_too() {
    let (dip, vip, one, two) = ("fd00::208/64", addr("fd00::250"), addr("fd00::1"), addr("fd00::2"));
    let mut eth0 = Interface::new(PortId(0), station(208), dip.parse().unwrap());
    eth0.link_local = Some("fe80::208".parse().unwrap());
    let service =
        Service { protocol: Protocol::Tcp, vip, port: ServicePort::Exact(80), servers: vec![one, two] };
    let told = ExaminationConfig::new(eth0, vec![service], 1);
    let mut machines = vec![Machine::server(1, one, vip), Machine::server(2, two, vip)];
    let (examination, ..) = run(told.clone(), &machines);
    assert_eq!(faults(examination.findings()), []);
    machines[1].answers_for_vip = true;
    machines[0].vip = None;
    let (examination, ..) = run(told, &machines);
    assert_eq!(faults(examination.findings()), [("vip-answered", Some(two)), ("vip-missing", Some(one))]);
    let cure = &examination.findings()[0].cure;
    assert!(cure.contains(&"ip -6 address add fd00::250/128 dev lo".to_owned()), "{cure:#?}");
}

#[test]
fn a_probe_address_is_used_unless_somebody_has_it() {
    let mut told = config(vec![web(&[rip(1), rip(2)])]);
    told.interfaces[0].probe_addresses.push(rip(60));
    told.interfaces[0].answer_for.push(rip(60));
    let syn_sources = |sent: &[(Instant, Vec<u8>)]| -> Vec<IpAddr> {
        let frames = sent.iter().filter_map(|(_, bytes)| Summary::of(bytes)?.ip);
        frames.filter(|ip| ip.ports.is_some_and(|(port, _)| port >= 10_000)).map(|ip| ip.source).collect()
    };
    let (examination, sent, _) = run(told.clone(), &pair());
    assert_eq!(faults(examination.findings()), []);
    assert!(syn_sources(&sent).iter().all(|source| *source == rip(60)), "{:?}", syn_sources(&sent));
    let mut machines = pair();
    machines[0].addresses.push(rip(60));
    let (examination, sent, _) = run(told, &machines);
    assert_eq!(faults(examination.findings()), [("duplicate-address", Some(rip(60)))]);
    assert!(syn_sources(&sent).iter().all(|source| *source == dip()));
}

#[test]
fn who_looks_for_our_address_is_answered_if_nobody_else_does() {
    let mut told = config(vec![web(&[rip(1)])]);
    let question = frames::arp_request(station(1), v4("192.168.0.1"), v4("192.168.0.208")).build();
    for is_ours in [false, true] {
        told.interfaces[0].answer_for = if is_ours { vec![dip()] } else { Vec::new() };
        let mut examination = Examination::new(told.clone(), Instant::ZERO).unwrap();
        for _ in 0..1000 {
            examination.handle_frame(Instant::ZERO, &Frame::new(&mut question.clone(), PortId(0)));
        }
        let mut answers = 0;
        for millis in 0..200 {
            while let Some(frame) = examination.poll_transmit(Instant::from_millis(millis)) {
                let arp = Summary::of(frame.bytes).unwrap().arp.unwrap();
                if arp.operation == 2 {
                    assert_eq!(
                        (arp.sender, arp.sender_mac, arp.target_mac),
                        (dip(), station(208), station(1))
                    );
                    answers += 1;
                }
            }
        }
        assert_eq!(answers, if is_ours { 32 } else { 0 });
    }
}

#[test]
fn taken_spare_addresses_are_not_used() {
    // All addresses but those that are configured have an owner.
    let mut machines = pair();
    machines[0].addresses.extend((1..=254).map(rip).filter(|one| ![dip(), vip(), rip(2)].contains(one)));
    let (examination, sent, _) = run(config(vec![web(&[rip(1), rip(2)])]), &machines);
    assert_eq!(faults(examination.findings()), []);
    let sources = sent.iter().filter_map(|(_, bytes)| Some(Summary::of(bytes)?.ip?.source));
    assert!(sources.into_iter().all(|source| source == dip()));
    let unknown: Vec<_> = examination.checks().iter().filter(|one| one.outcome == Outcome::Unknown).collect();
    assert!(unknown.len() == 1 && unknown[0].detail.contains("no free address"), "{unknown:#?}");
}

#[test]
fn frames_on_another_vlan_or_port_say_nothing() {
    let mut told = config(vec![web(&[rip(1)])]);
    told.interfaces[0].vlan = VlanPath::tagged(5);
    let reply = frames::arp_reply(station(9), v4("192.168.0.250"), station(208), v4("192.168.0.208"));
    for (bytes, port, expected) in [
        (reply.clone().vlan(5).build(), 0, 1),
        (reply.clone().vlan(6).build(), 0, 0),
        (reply.clone().build(), 0, 0),
        (reply.vlan(5).build(), 1, 0),
    ] {
        let mut examination = Examination::new(told.clone(), Instant::ZERO).unwrap();
        examination.handle_frame(Instant::ZERO, &Frame::new(&mut bytes.clone(), PortId(port)));
        while examination.poll_transmit(Instant::from_secs(60)).is_some() {}
        let answered = examination.findings().iter().filter(|one| one.fault == Fault::VipAnswered).count();
        assert_eq!(answered, expected, "{bytes:02x?}");
    }
}

#[test]
fn what_was_cut_short_says_so() {
    for limits in [
        Limits { frames: 5, ..Limits::default() },
        Limits { time: Duration::from_millis(900), ..Limits::default() },
    ] {
        let mut told = config(vec![web(&[rip(1), rip(2)])]);
        told.limits = limits;
        let (examination, sent, end) = run(told, &pair());
        assert!(examination.findings().iter().any(|one| one.fault == Fault::ExaminationIncomplete));
        assert!(sent.len() <= limits.frames as usize && end <= Instant::from_secs(7) + limits.time);
    }
}

#[test]
fn frames_leave_at_the_rate_that_is_allowed() {
    let servers: Vec<IpAddr> = (1..=200).map(rip).collect();
    let machines: Vec<Machine> = (1..=200).map(|n| Machine::server(n.into(), rip(n), vip())).collect();
    let (examination, sent, end) = run(config(vec![web(&servers)]), &machines);
    assert_eq!(faults(examination.findings()), []);
    for window in sent.windows(41) {
        let (first, last) = (window[0].0, window[40].0);
        assert!(last.saturating_duration_since(first) >= Duration::from_millis(10), "{first:?} {last:?}");
    }
    let taken = end.saturating_duration_since(Instant::from_secs(7));
    assert!(taken < Duration::from_secs(5), "{taken:?}");
}

/// What can be wrong with one server, for the model.
#[derive(Debug, Clone, Copy)]
enum Ill {
    Nothing,
    Absent,
    NoVip,
    Closed,
    Filtered,
    Answers,
    Announces,
    Narrow,
    PingsNot,
}

impl Ill {
    const ALL: [Self; 9] = [
        Self::Nothing,
        Self::Absent,
        Self::NoVip,
        Self::Closed,
        Self::Filtered,
        Self::Answers,
        Self::Announces,
        Self::Narrow,
        Self::PingsNot,
    ];

    fn make(self, machine: &mut Machine) -> Option<&'static str> {
        match self {
            Self::Nothing => return None,
            Self::Absent => machine.addresses.clear(),
            Self::NoVip => machine.vip = None,
            Self::Closed => machine.open = 81,
            Self::Filtered => machine.filtered = Some(80),
            Self::Answers => machine.answers_for_vip = true,
            Self::Announces => machine.announces_vip = true,
            Self::Narrow => machine.mtu = 1400,
            Self::PingsNot => {
                machine.pings = false;
                return None;
            }
        }
        Some(match self {
            Self::Absent => "rip-unresolved",
            Self::NoVip => "vip-missing",
            Self::Closed => "port-closed",
            Self::Filtered => "port-filtered",
            Self::Answers => "vip-answered",
            Self::Announces => "vip-announced",
            _ => "mtu-smaller",
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Servers do not influence what is said about others.
    #[test]
    fn mixed_faults_are_found_each_with_its_owner(
        ills in prop::collection::vec(0usize..9, 1..12),
        seed: u64,
    ) {
        let mut machines = Vec::new();
        let mut expected = Vec::new();
        for (n, ill) in (1u8..).zip(&ills) {
            let mut machine = Machine::server(n.into(), rip(n), vip());
            expected.extend(Ill::ALL[*ill].make(&mut machine).map(|slug| (slug, Some(rip(n)))));
            machines.push(machine);
        }
        let servers: Vec<IpAddr> = (1..=ills.len() as u8).map(rip).collect();
        let told = ExaminationConfig { seed, ..config(vec![web(&servers)]) };
        let (examination, ..) = run(told, &machines);
        let mut seen = faults(examination.findings());
        seen.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(seen, expected);
    }

    /// Neither noise nor forged answers to what was really sent break a bound.
    #[test]
    fn hostile_frames_break_no_bound(
        noise in prop::collection::vec(
            (any::<u64>(), prop::collection::vec(any::<u8>(), 0..120), prop::option::of((0usize..64, any::<u8>()))),
            1..60,
        ),
        frames_allowed in 1u32..400,
    ) {
        let mut told = config(vec![web(&[rip(1), rip(2), addr("10.9.9.9")])]);
        told.limits = Limits { frames: frames_allowed, time: Duration::from_secs(5), ..Limits::default() };
        told.interfaces[0].answer_for = vec![dip()];
        let mut examination = Examination::new(told, Instant::ZERO).unwrap();
        let machines = pair();
        let (mut sent, mut now, mut steps) = (0, Instant::ZERO, 0);
        let mut noise = noise.iter().cycle();
        while let Some(due) = examination.poll_timeout() {
            now = now.max(due);
            steps += 1;
            prop_assert!(steps < 10_000);
            let mut frames = Vec::new();
            while let Some(frame) = examination.poll_transmit(now) {
                sent += 1;
                frames.extend(machines.iter().flat_map(|machine| machine.answer(frame.bytes)));
                frames.push(frame.bytes.to_vec());
            }
            for _ in 0..3 {
                let (source, bytes, change) = noise.next().unwrap();
                let mut mutated = frames.get((*source % 97) as usize).cloned().unwrap_or_else(|| bytes.clone());
                if let (Some((at, value)), false) = (change, mutated.is_empty()) {
                    let at = at % mutated.len();
                    mutated[at] = *value;
                }
                mutated.truncate(1 + (*source >> 32) as usize % 1600);
                frames.push(mutated);
                // ARP by whoever it is for whatever is asked about.
                let claims = [v4("192.168.0.250"), v4("192.168.0.1"), v4("192.168.0.208")];
                let claim = claims[(*source % 3) as usize];
                frames.push(frames::arp_reply(station(*source as u16 | 0x100), claim, station(208), claim).build());
            }
            for mut bytes in frames {
                examination.handle_frame(now, &Frame::new(&mut bytes, PortId(0)));
            }
        }
        prop_assert!(sent <= frames_allowed);
        prop_assert!(now <= Instant::from_secs(5) + Duration::from_millis(10));
        // At most eight machines an address are told of, whoever claims to be there.
        let of_vip = examination.findings().iter().filter(|one| one.vip == Some(vip())).count();
        prop_assert!(of_vip <= 8 * 2 + 3 * 3, "{}", of_vip);
    }
}

#[test]
fn a_forged_claim_by_our_own_address_is_no_conflict() {
    let mut examination = Examination::new(config(vec![web(&[rip(1)])]), Instant::ZERO).unwrap();
    let mut own =
        frames::arp_reply(mac("02:00:00:00:00:d0"), v4("192.168.0.250"), station(1), v4("192.168.0.1"))
            .build();
    examination.handle_frame(Instant::ZERO, &Frame::new(&mut own, PortId(0)));
    while examination.poll_transmit(Instant::from_secs(60)).is_some() {}
    assert!(examination.findings().iter().all(|one| one.fault != Fault::VipAnswered));
}
