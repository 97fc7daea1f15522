use super::*;
use crate::json::{self, Key};
use crate::metrics::{
    Conflict, Device, Dropped, HealthState, Neighbour, NeighbourState, Probes, RealServer, Service, Table,
};
use lvs_core::config::Protocol;

fn server(host: u8, health: HealthState) -> RealServer {
    let weight = u32::from(health.is_up());
    RealServer {
        listing: json::Server {
            address: std::net::Ipv4Addr::new(10, 0, 0, host).into(),
            port: 80,
            forwarding: "route".into(),
            weight,
            effective_weight: weight,
            upper_threshold: 0,
            lower_threshold: 0,
            overloaded: false,
            active: 0,
            inactive: 0,
            persistent: 0,
            statistics: json::Statistics::default(),
            rates: json::Rates::default(),
        },
        full_weight: 1,
        member: true,
        draining: false,
        health,
        reason: None,
        since: None,
        unanswered: None,
        mac: None,
    }
}

/// One service, and a snapshot with nothing wrong in it.
fn snapshot(servers: Vec<RealServer>) -> Snapshot {
    let key = Key::Address { protocol: Protocol::Tcp, address: "192.0.2.1".parse().unwrap(), port: 80 };
    let service = Service {
        id: "TCP 192.0.2.1:80".into(),
        key,
        scheduler: "rr".into(),
        flags: Vec::new(),
        persistence: None,
        one_packet: false,
        weight: 1,
        quorum: None,
        sorry: false,
        statistics: json::Statistics::default(),
        rates: json::Rates::default(),
        servers,
    };
    Snapshot {
        services: vec![service],
        table: Table { connections: 10, used: 10, capacity: 1000 },
        probes: Some(Probes::default()),
        ..Snapshot::default()
    }
}

fn kinds(watch: &mut Watch, snapshot: &mut Snapshot) -> Vec<&'static str> {
    watch.look(snapshot);
    snapshot.warnings.iter().map(|warning| warning.kind).collect()
}

fn judged(mut snapshot: Snapshot) -> Vec<&'static str> {
    kinds(&mut Watch::new(), &mut snapshot)
}

/// What a watch says after a minute in which something changed.
fn changed(mut before: Snapshot, change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut watch = Watch::new();
    assert_eq!(kinds(&mut watch, &mut before), [""; 0]);
    before.time += 20.0;
    before.uptime += 20.0;
    change(&mut before);
    watch.look(&mut before);
    before
}

fn kinds_of(snapshot: &Snapshot) -> Vec<&'static str> {
    snapshot.warnings.iter().map(|warning| warning.kind).collect()
}

use HealthState::{Down, ForcedDown, Held, Maintenance, Up};

#[test]
fn a_director_that_is_well_has_no_warnings() {
    assert_eq!(judged(snapshot(vec![server(1, Up), server(2, Up)])), [""; 0]);
    // Whoever takes a server out on purpose knows it.
    assert_eq!(judged(snapshot(vec![server(1, Up), server(2, Maintenance), server(3, ForcedDown)])), [""; 0]);
}

#[test]
fn a_service_that_cannot_serve_is_an_error() {
    assert_eq!(judged(snapshot(vec![])), ["no_servers"]);
    assert_eq!(judged(snapshot(vec![server(1, Down), server(2, Down)])), ["no_server"]);
    assert_eq!(judged(snapshot(vec![server(1, Down), server(2, Maintenance)])), ["no_server"]);
    let mut overloaded = server(1, Up);
    overloaded.listing.overloaded = true;
    assert_eq!(judged(snapshot(vec![overloaded.clone()])), ["no_server"]);
    assert_eq!(judged(snapshot(vec![overloaded, server(2, Up)])), ["overloaded"]);
    let mut sorry = snapshot(vec![server(1, HealthState::InUse)]);
    sorry.services[0].sorry = true;
    assert_eq!(judged(sorry), ["sorry"]);
}

#[test]
fn some_servers_down_are_named_the_worst_first() {
    let mut some = snapshot(vec![server(1, Up), server(2, Down), server(3, Down), server(4, Held)]);
    some.conflicts.push(Conflict {
        address: "192.0.2.1".parse().unwrap(),
        mac: "02:00:00:00:00:99".into(),
        device: "eth0".into(),
        time: 0.0,
    });
    assert_eq!(kinds(&mut Watch::new(), &mut some), ["conflict", "servers_down", "flapping"]);
    let text = &some.warnings[1].text;
    assert_eq!(text, "2 of 4 servers of TCP 192.0.2.1:80 are down: 10.0.0.2, 10.0.0.3.");
    assert_eq!(some.warnings[1].service.as_deref(), Some("TCP 192.0.2.1:80"));
    let names: Vec<String> = (1..=5).map(|host| host.to_string()).collect();
    assert_eq!(super::some(&names), "1, 2, 3 and 2 more");
}

#[test]
fn neighbours_devices_and_a_full_table() {
    let mut one = snapshot(vec![server(1, Up)]);
    one.neighbours = Some(vec![Neighbour {
        address: "10.0.0.1".parse().unwrap(),
        device: "eth0".into(),
        mac: None,
        state: NeighbourState::Asking,
        waiting: 1,
    }]);
    let device = Device {
        name: "eth0".into(),
        up: false,
        received: 0,
        transmitted: 0,
        receive_lost: 0,
        transmit_lost: 0,
    };
    one.devices.push(device);
    one.table.used = 960;
    one.probes = None;
    assert_eq!(judged(one), ["no_neighbour", "table", "device_down", "unchecked"]);
    let mut fuller = snapshot(vec![server(1, Up)]);
    fuller.table.used = 800;
    Watch::new().look(&mut fuller);
    assert_eq!(fuller.warnings[0].severity, Severity::Warning);
    fuller.table.capacity = 0; // none, which must not divide anything
    Watch::new().look(&mut fuller);
}

#[test]
fn drops_are_reported_while_they_rise_and_matter() {
    let drops = |reason, frames| {
        let mut one = snapshot(vec![server(1, Up)]);
        one.drops = vec![Dropped { reason, frames: 1_000_000 }];
        (one.frames.transmitted, one.frames.dropped) = (10_000_000, 1_000_000);
        changed(one, |one| {
            one.drops[0].frames += frames;
            one.frames.dropped += frames;
            one.frames.transmitted += 10_000;
        })
    };
    assert_eq!(kinds_of(&drops("no_destination", 0)), [""; 0]);
    assert_eq!(kinds_of(&drops("no_destination", 10)), [""; 0], "half a frame a second");
    assert_eq!(drops("no_destination", 100).warnings[0].severity, Severity::Warning);
    assert_eq!(drops("no_destination", 5_000).warnings[0].severity, Severity::Error);
    // Scans are no fault of the operator's.
    assert_eq!(drops("not_syn", 100).warnings[0].severity, Severity::Info);
    assert_eq!(kinds_of(&drops("consumed", 5_000)), [""; 0]);
    assert_eq!(
        drops("not_syn", 5_000).warnings[0].text,
        "250 frames a second are dropped as not_syn, 33.3 % of all."
    );
}

#[test]
fn silent_servers_are_found_by_the_sizes_of_packets_or_by_repeated_syns() {
    let after = |connections, packets, mean: u64, unanswered: Option<u64>| {
        let mut one = server(1, Up);
        one.unanswered = unanswered.map(|_| 0);
        let after = changed(snapshot(vec![one]), |one| {
            let server = &mut one.services[0].servers[0];
            let statistics = &mut server.listing.statistics;
            (statistics.connections, statistics.in_packets) = (connections, packets);
            statistics.in_bytes = packets * mean;
            server.unanswered = unanswered;
        });
        kinds_of(&after)
    };
    assert_eq!(after(20, 80, 60, None), ["silent"]);
    assert_eq!(after(5, 20, 60, None), [""; 0], "too few to say");
    assert_eq!(after(20, 80, 130, None), [""; 0], "requests with data");
    assert_eq!(after(20, 80, 53, None), [""; 0], "acknowledged, but no data");
    assert_eq!(after(20, 900, 60, None), [""; 0], "long downloads");
    assert_eq!(after(20, 80, 130, Some(15)), ["silent"]);
    assert_eq!(after(20, 80, 60, Some(1)), [""; 0]);
}

#[test]
fn losses_and_a_full_table_are_changes_too() {
    let mut one = snapshot(vec![server(1, Up)]);
    let device = Device {
        name: "eth0".into(),
        up: true,
        received: 0,
        transmitted: 0,
        receive_lost: 5,
        transmit_lost: 5,
    };
    one.devices.push(device);
    let after = changed(one, |one| {
        one.devices[0].receive_lost += 100;
        one.devices[0].transmit_lost += 100;
        one.frames.table_full += 7;
        one.probes = Some(Probes { undecided: 3, ..Probes::default() });
    });
    assert_eq!(kinds_of(&after), ["receive_lost", "transmit_lost", "table_full", "undecided"]);
}

#[test]
fn a_watch_forgets_and_does_not_mind_another_director() {
    let mut watch = Watch::new();
    let mut one = snapshot(vec![server(1, Up)]);
    for second in 0..1000 {
        (one.time, one.uptime) = (f64::from(second), f64::from(second));
        one.frames.table_full = if second < 500 { second as u64 } else { 500 };
        let expected: &[&str] = if (10..530).contains(&second) { &["table_full"] } else { &[] };
        let kinds = kinds(&mut watch, &mut one);
        if !(500..=540).contains(&second) {
            assert_eq!(kinds, expected, "{second}");
        }
        assert!(watch.samples.len() <= 9);
    }
    one.uptime = 1.0;
    one.time += 1.0;
    one.frames.table_full = 0;
    assert_eq!(kinds(&mut watch, &mut one), [""; 0]);
    one.time = 0.0;
    assert_eq!(kinds(&mut watch, &mut one), [""; 0]);
}

#[test]
fn there_are_not_more_warnings_than_one_can_read() {
    let mut many = snapshot(vec![]);
    many.services = vec![many.services[0].clone(); 300];
    let kinds = judged(many);
    assert_eq!(kinds.len(), MAX_WARNINGS);
    assert_eq!(kinds.last(), Some(&"more"));
}
