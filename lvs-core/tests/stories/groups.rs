//! Several ports in one service: marks, port 0, and FTP.

use lvs_core::config::{
    ClientMask, MarkRule, PortRange, PortRanges, Protocol, SchedulerKind, ServiceConfig, ServiceKey,
};
use lvs_core::{Change, DropReason};
use lvs_testkit::frames::{TcpFlags, addr};

use crate::world::{CLIENT, FIRST, SECOND, VIP, World, add, config, key, seconds, service, summary, udp_key};

const RIPS: [&str; 2] = [FIRST, SECOND];
const RIPS6: [&str; 2] = ["fd00::6f", "fd00::bc"];

fn rule(mark: u32, destination: &str, ports: &[(u16, u16)]) -> Change {
    let ranges: Vec<PortRange> =
        ports.iter().map(|(first, last)| PortRange { first: *first, last: *last }).collect();
    Change::AddMarkRule(MarkRule {
        mark,
        protocol: Protocol::Tcp,
        destination: destination.parse().unwrap(),
        ports: PortRanges::new(&ranges).unwrap(),
    })
}

fn persistent(key: ServiceKey) -> Change {
    let whole = ClientMask::whole(key.is_ipv6());
    Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin).persistent(seconds(360), whole))
}

fn world(changes: &[Change]) -> World {
    let mut world = World::new(config());
    world.live(&RIPS);
    world.live(&RIPS6);
    world.apply(changes);
    world.pass(seconds(5));
    world
}

fn servers(key: ServiceKey) -> impl Iterator<Item = Change> {
    let rips = if key.is_ipv6() { RIPS6 } else { RIPS };
    rips.into_iter().map(move |rip| add(key, rip, 1))
}

/// Whether each of many clients finds the same server on all these ports.
fn stays_together(world: &mut World, vip: &str, ports: &[u16]) {
    let v6 = vip.contains(':');
    let mut seen = [0, 0];
    for n in 1..=20 {
        let client =
            |port| if v6 { format!("[fd00:110::{n}]:{port}") } else { format!("110.0.0.{n}:{port}") };
        let target = |port| if v6 { format!("[{vip}]:{port}") } else { format!("{vip}:{port}") };
        let first = world.chosen(&client(4000), &target(ports[0]), "S").unwrap();
        seen[usize::from(first == 188)] += 1;
        for (m, port) in (4001..).zip(&ports[1..]) {
            assert_eq!(world.chosen(&client(m), &target(*port), "S"), Some(first), "client {n}, port {port}");
        }
    }
    assert_eq!(seen, [10, 10], "both servers have clients");
}

/// FTP in passive mode: control on 21, data on a port of 10000 to 20000.
#[test]
fn a_mark_keeps_ftp_control_and_data_together() {
    for (vip, prefix, key) in [
        ("192.168.0.250", "192.168.0.250/32", ServiceKey::mark(7)),
        ("fd00::fa", "fd00::fa/128", ServiceKey::mark_v6(7)),
    ] {
        let mut changes = vec![rule(7, prefix, &[(21, 21), (10_000, 20_000)]), persistent(key)];
        changes.extend(servers(key));
        let mut world = world(&changes);
        stays_together(&mut world, vip, &[21, 10_000, 15_555, 20_000]);
        let records = world.director.all_connections(world.now);
        let templates: Vec<_> = records.iter().filter(|record| record.template).collect();
        assert_eq!(templates.len(), 20);
        assert!(templates.iter().all(|one| one.protocol.is_none() && one.virtual_address.port() == 0));
        // Ports beside the ranges are nobody's.
        for port in [22, 9999, 20_001] {
            let target = if key.is_ipv6() { format!("[{vip}]:{port}") } else { format!("{vip}:{port}") };
            let client = if key.is_ipv6() { "[fd00:110::1]:9" } else { "110.0.0.1:9" };
            let out = world.tcp(client, &target, "S");
            assert!(summary(&out[0]).tcp.unwrap().flags.contains(TcpFlags::RST), "port {port}");
        }
        assert_eq!(world.director.statistics().dropped(DropReason::NoService), 3);
    }
}

#[test]
fn of_several_rules_the_first_that_fits_counts_and_a_mark_beats_a_port() {
    let (one, two) = (ServiceKey::mark(1), ServiceKey::mark(2));
    let mut changes = vec![
        rule(1, "192.168.0.250/32", &[(80, 80)]),
        rule(2, "192.168.0.0/24", &[(0, 65_535)]),
        Change::AddService(ServiceConfig::new(one, SchedulerKind::RoundRobin)),
        Change::AddService(ServiceConfig::new(two, SchedulerKind::RoundRobin)),
        add(one, FIRST, 1),
        add(two, SECOND, 1),
    ];
    changes.extend(service(key(VIP), &[SECOND]));
    let mut world = world(&changes);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(111));
    assert_eq!(world.chosen(CLIENT, "192.168.0.250:81", "S"), Some(188));
    assert_eq!(world.director.service(key(VIP)).unwrap().statistics.connections, 0);
    // A mark of which there is no service counts for nothing.
    world.apply(&[Change::RemoveService(one)]);
    assert_eq!(world.chosen("110.0.0.1:4001", VIP, "S"), Some(188));
    assert_eq!(world.director.service(key(VIP)).unwrap().statistics.connections, 1);
    world.apply(&[Change::ClearMarkRules]);
    assert!(world.chosen("110.0.0.1:4002", "192.168.0.250:81", "S").is_none());
}

/// Without a mark: FTP's service takes the data ports of its clients.
#[test]
fn a_persistent_ftp_service_catches_passive_ports() {
    for (vip, key) in [("192.168.0.250", key("192.168.0.250:21")), ("fd00::fa", key("[fd00::fa]:21"))] {
        let mut changes = vec![persistent(key)];
        changes.extend(servers(key));
        let mut world = world(&changes);
        stays_together(&mut world, vip, &[21, 1024, 10_000, 65_535]);
        let template = |record: &&lvs_core::connection::ConnectionRecord| record.template;
        let records = world.director.all_connections(world.now);
        assert!(records.iter().filter(template).all(|one| one.virtual_address.port() == 0));
        assert_eq!(records.iter().filter(template).count(), 20);
    }
}

/// FTP without persistence has no data ports: there is nothing on them, as on any closed port.
#[test]
fn an_ftp_service_without_persistence_has_its_own_port_only() {
    let ftp = key("192.168.0.250:21");
    let mut world = world(&service(ftp, &RIPS));
    assert!(world.chosen(CLIENT, "192.168.0.250:21", "S").is_some());
    let out = world.tcp(CLIENT, "192.168.0.250:10000", "S");
    assert!(summary(&out[0]).tcp.unwrap().flags.contains(TcpFlags::RST));
    assert_eq!(world.director.statistics().dropped(DropReason::NoService), 1);
    // Active FTP is opened by the server: nobody's client has port 20.
    let out = world.tcp("110.0.0.1:20", "192.168.0.250:21", "S");
    assert!(summary(&out[0]).tcp.unwrap().flags.contains(TcpFlags::RST));
}

/// A service of port 0 takes what no other service takes, and a client stays on all of it.
#[test]
fn port_zero_takes_the_rest() {
    let rest = key("192.168.0.250:0");
    let mut changes = vec![persistent(rest)];
    changes.extend(servers(rest));
    changes.extend(service(key(VIP), &RIPS));
    let mut world = world(&changes);
    stays_together(&mut world, "192.168.0.250", &[443, 22, 1, 65_535]);
    let before = world.director.service(rest).unwrap().statistics.connections;
    assert_eq!(before, 80);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188), "a port of its own counts first");
    assert_eq!(world.chosen("110.0.0.1:4999", VIP, "S"), Some(111), "and is not persistent");
    assert_eq!(world.director.service(rest).unwrap().statistics.connections, before);
    assert!(world.chosen_udp(CLIENT, "192.168.0.250:443").is_none(), "TCP only");
    let udp = Change::AddService(ServiceConfig::new(udp_key("192.168.0.250:0"), SchedulerKind::RoundRobin));
    let refused = world.director.apply(world.now, &[udp]).unwrap_err();
    assert_eq!(refused.error, lvs_core::config::ChangeError::ServicePortZero);
    assert_eq!(refused.error.to_string(), "Zero port specified for non-persistent service");
    assert!(
        world
            .director
            .service(key(VIP))
            .unwrap()
            .destinations
            .iter()
            .all(|one| one.config.address != addr("::1"))
    );
}
