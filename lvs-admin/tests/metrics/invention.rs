//! A snapshot with something of everything, and names that try to be more than text.

use std::num::NonZeroU16;
use std::time::{Duration, SystemTime};

use lvs_admin::metrics::{
    About, DeviceReport, Figures, HealthReport, HealthState, Journal, NeighbourReport, NeighbourState,
    Probes, Report, ServerReport, ServiceReport, Severity, Snapshot,
};
use lvs_core::config::{Change, DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::connection::HeapMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::io::IoStatistics;
use lvs_core::{DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId};

/// What no text format may take for its own.
pub(crate) const EVIL: &str = "\"}\\\n# TYPE x counter\n<script>alert(1)</script>\u{1f4a5}";

pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(crate) fn about() -> About {
    About { name: EVIL.into(), version: "0.1.0".into(), started: now() - Duration::from_secs(5000) }
}

/// A director with so many servers in each of three services: by address, IPv6, by mark.
pub(crate) fn group(servers: u8) -> DirectorGroup {
    let eth0 =
        InterfaceConfig::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 2]), "192.0.2.208/16".parse().unwrap());
    let config = DirectorConfig::new(vec![eth0], [7; 32]);
    let (group, _) = DirectorGroup::new(&config, Instant::ZERO, NonZeroU16::MIN, &HeapMemory).unwrap();
    let mut changes = Vec::new();
    for key in keys() {
        changes.push(Change::AddService(ServiceConfig::new(key, SchedulerKind::WeightedRoundRobin)));
        changes.extend((0..servers).map(|host| Change::AddDestination(key, destination(key, host))));
    }
    group.apply(Instant::ZERO, &changes).unwrap();
    group
}

fn keys() -> [ServiceKey; 3] {
    [
        ServiceKey::tcp("192.0.2.250".parse().unwrap(), 80),
        ServiceKey::udp("2001:db8::250".parse().unwrap(), 53),
        ServiceKey::mark(0x1f),
    ]
}

fn destination(key: ServiceKey, host: u8) -> DestinationConfig {
    let address = if key.is_ipv6() { format!("2001:db8::{host:x}") } else { format!("192.0.3.{host}") };
    DestinationConfig::new(address.parse().unwrap(), key.port()).weight(2)
}

/// What the program around it knows: one server is down and was taken out, another in maintenance.
pub(crate) fn report() -> Report {
    let [http, ..] = keys();
    let server = |host, state, reason: Option<&str>| ServerReport {
        service: http,
        destination: destination(http, host),
        state,
        reason: reason.map(str::to_owned),
        since: Some(now() - Duration::from_secs(60)),
        unanswered: Some(3),
    };
    let servers = vec![
        server(0, HealthState::Up, None),
        server(1, HealthState::Maintenance, None),
        server(200, HealthState::Down, Some(EVIL)),
    ];
    Report {
        health: Some(HealthReport {
            servers,
            services: vec![ServiceReport { service: http, quorum: true, sorry: false }],
            probes: Probes { started: 10, successes: 8, failures: 2, ..Probes::default() },
        }),
        neighbours: Some(vec![NeighbourReport {
            address: destination(http, 0).address,
            device: "eth0".into(),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 0x11])),
            state: NeighbourState::Reachable,
            waiting: 0,
        }]),
        devices: vec![DeviceReport {
            name: EVIL.into(),
            up: true,
            frames: IoStatistics { received: 100, transmitted: 90, receive_lost: 2, transmit_lost: 1 },
        }],
        batches: (0..64).collect(),
    }
}

pub(crate) fn journal() -> Journal {
    let journal = Journal::new(10);
    journal.note(now(), Severity::Error, EVIL);
    journal.conflict(now(), "192.0.2.250".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 0x99]), EVIL);
    journal
}

pub(crate) fn snapshot(servers: u8) -> Snapshot {
    Snapshot::new(now(), &about(), &Figures::of_group(&group(servers)), &report(), &journal())
}
