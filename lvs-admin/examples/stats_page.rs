//! The stats page with invented data that change with time: to look at the page, and to show it to others, without a director.
//!
//! `cargo run -p lvs-admin --features metrics --example stats_page -- SCENE [PORT]`
//!
//! | scene | what is seen |
//! | --- | --- |
//! | `small` | three servers, all is well |
//! | `trouble` | three servers, one of them without the VIP on `lo`, one in maintenance |
//! | `large` | 300 servers of 14 services, and nearly everything that can be wrong |
//! | `empty` | a director without services |

use std::f64::consts::TAU;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::num::NonZeroU16;
use std::time::{Duration, SystemTime};

use lvs_admin::metrics::{
    self, About, DeviceReport, Figures, HealthReport, HealthState, Journal, NeighbourReport, NeighbourState,
    Probes, Report, Server, ServerOptions, ServerReport, ServiceReport, Severity, Snapshot,
};
use lvs_core::config::{
    ClientMask, DestinationConfig, Persistence, SchedulerKind, ServiceConfig, ServiceKey,
};
use lvs_core::connection::HeapMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::io::IoStatistics;
use lvs_core::listing::{DestinationListing, Rates, ServiceListing, Statistics};
use lvs_core::{DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let scene = match arguments.next().as_deref() {
        Some("small") => Scene::Small,
        Some("trouble") => Scene::Trouble,
        Some("large") => Scene::Large,
        Some("empty") => Scene::Empty,
        _ => return Err("which scene: small, trouble, large or empty?".into()),
    };
    let address = metrics::listen_address(arguments.next().as_deref().unwrap_or("9798"))?;
    let mut invention = Invention::new(scene)?;
    let server = Server::start(TcpListener::bind(address)?, ServerOptions::default(), move || {
        invention.at(SystemTime::now())
    })?;
    println!("http://{}/", server.address());
    loop {
        std::thread::park();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scene {
    Small,
    Trouble,
    Large,
    Empty,
}

/// A director that does not exist.
struct Invention {
    scene: Scene,
    about: About,
    journal: Journal,
    /// For counters of which nothing is invented.
    figures: Figures,
    services: Vec<(ServiceConfig, Vec<DestinationConfig>)>,
    /// Whether the server that comes and goes was down when it was looked at last.
    was_down: bool,
}

impl Invention {
    fn new(scene: Scene) -> Result<Self, Error> {
        let eth0 = InterfaceConfig::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 2]), "192.0.2.208/24".parse()?);
        let config = DirectorConfig::new(vec![eth0], [7; 32]);
        let (group, _) = DirectorGroup::new(&config, Instant::ZERO, NonZeroU16::MIN, &HeapMemory)?;
        let now = SystemTime::now();
        let started = now - Duration::from_secs(3 * 86_400 + 7_000);
        let about = About { name: "lb1.example.net".into(), version: "0.1.0".into(), started };
        let journal = Journal::new(100);
        let events = if scene == Scene::Large { &EVENTS[..] } else { &EVENTS[..3] };
        for &(ago, severity, text) in events {
            journal.note(now - Duration::from_secs(ago), severity, text);
        }
        let services = services(scene);
        Ok(Self { scene, about, journal, figures: Figures::of_group(&group), services, was_down: false })
    }

    /// The snapshot at a moment.
    fn at(&mut self, now: SystemTime) -> Snapshot {
        let seconds = now.duration_since(self.about.started).unwrap_or_default().as_secs_f64();
        let mut report = Report::default();
        let mut health = HealthReport { probes: probes(self.scene, seconds), ..HealthReport::default() };
        let mut listings = Vec::new();
        for (number, (config, destinations)) in self.services.iter().enumerate() {
            let states: Vec<_> =
                (0..destinations.len()).map(|place| self.state(number, place, seconds)).collect();
            let up = states.iter().filter(|state| state.0.is_up()).count();
            let mut listing = ServiceListing {
                config: *config,
                statistics: Statistics::default(),
                rates: Rates::default(),
                destinations: Vec::new(),
            };
            for (place, (destination, (state, reason))) in destinations.iter().zip(&states).enumerate() {
                let one = server(*config, *destination, *state, (number, place), up, seconds);
                add(&mut listing, &one);
                listing.destinations.push(one);
                let since =
                    self.about.started + Duration::from_secs_f64(seconds - since(*state, place, seconds));
                health.servers.push(ServerReport {
                    service: config.key,
                    destination: *destination,
                    state: *state,
                    reason: reason.map(str::to_owned),
                    since: Some(since),
                    unanswered: None,
                });
                report.neighbours.get_or_insert_default().push(neighbour(destination.address, *state));
            }
            health.services.push(ServiceReport {
                service: config.key,
                quorum: up * 2 >= states.len(),
                sorry: false,
            });
            listings.push(listing);
        }
        self.follow(now, seconds);
        self.surroundings(&mut report, seconds);
        report.health = Some(health).filter(|_| self.scene != Scene::Empty);
        let figures = Figures { services: listings, ..self.figures.clone() };
        let mut snapshot = Snapshot::new(now, &self.about, &figures, &report, &self.journal);
        self.counters(&mut snapshot, seconds);
        snapshot
    }

    /// How a server is, and why.
    fn state(&self, service: usize, place: usize, seconds: f64) -> (HealthState, Option<&'static str>) {
        const VIP: &str =
            "no answer from 02:00:00:00:00:0c: the VIP 192.0.2.250 is not on lo, or a filter drops it";
        match (self.scene, service, place) {
            (Scene::Small, 0, 2) if is_down(seconds) => {
                (HealthState::Down, Some("HTTP status 503, expected 200"))
            }
            (Scene::Trouble, 0, 1) => (HealthState::Down, Some(VIP)),
            (Scene::Trouble, 0, 2) => (HealthState::Maintenance, None),
            (Scene::Large, 0, 3) => (HealthState::Down, Some(VIP)),
            (Scene::Large, 0, 7) => (HealthState::Maintenance, None),
            (Scene::Large, 1, 4 | 5) => {
                (HealthState::Down, Some("the Ethernet address of the server is not known: no answer to ARP"))
            }
            (Scene::Large, 2, 1) => (HealthState::Held, Some("HTTP status 502, expected 200")),
            (Scene::Large, 3, 2) => (HealthState::AssumedUp, None),
            (Scene::Large, 4, _) => (HealthState::Down, Some("connection refused")),
            (Scene::Large, 6, 9) => (HealthState::ForcedDown, None),
            (Scene::Large, 7, 0) => {
                (HealthState::ForcedUp, Some("the answer did not come to an end within 2 s"))
            }
            (Scene::Large, 8, 2) if is_down(seconds) => {
                (HealthState::Down, Some("HTTP status 503, expected 200"))
            }
            _ => (HealthState::Up, None),
        }
    }

    /// Writes down what the cycle does.
    fn follow(&mut self, now: SystemTime, seconds: f64) {
        let down = matches!(self.scene, Scene::Small | Scene::Large) && is_down(seconds);
        if down != self.was_down {
            self.was_down = down;
            let (severity, text) = if down {
                (Severity::Warning, "TCP 192.0.2.250:80: 10.0.0.13 is down: HTTP status 503, expected 200")
            } else {
                (Severity::Info, "TCP 192.0.2.250:80: 10.0.0.13 is up")
            };
            self.journal.note(now, severity, text);
        }
        if self.scene == Scene::Large {
            let vip = Ipv4Addr::new(192, 0, 2, 251).into();
            self.journal.conflict(now, vip, MacAddr([2, 0, 0, 0, 0, 0x99]), "eth1");
        }
    }

    fn surroundings(&self, report: &mut Report, seconds: f64) {
        let lost = if self.scene == Scene::Large { (seconds * 14.0) as u64 } else { 12 };
        let io = |received: f64, transmitted: f64, receive_lost| IoStatistics {
            received: (received * seconds) as u64,
            transmitted: (transmitted * seconds) as u64,
            receive_lost,
            transmit_lost: 0,
        };
        report.devices.push(DeviceReport {
            name: "eth0".into(),
            up: true,
            frames: io(91_000.0, 400.0, lost),
        });
        if self.scene == Scene::Large {
            report.devices.push(DeviceReport {
                name: "eth1".into(),
                up: true,
                frames: io(900.0, 90_500.0, 0),
            });
        }
        report.batches = (0..64_u32)
            .map(|at| {
                (seconds * 900.0 / f64::from(at + 1).powf(1.2)) as u64
                    + if at == 63 { (seconds * 60.0) as u64 } else { 0 }
            })
            .collect();
    }

    /// What a director that does nothing has not counted.
    fn counters(&self, snapshot: &mut Snapshot, seconds: f64) {
        let scale = if self.scene == Scene::Large { 1.0 } else { 0.02 };
        for drop in &mut snapshot.drops {
            let a_second = match drop.reason {
                "not_syn" => 38.0,
                "no_service" => 12.0,
                "consumed" => 6.0,
                "no_destination" if self.scene == Scene::Large => 420.0,
                "unresolved" if self.scene == Scene::Large => 55.0,
                "fragment" => 0.2,
                "icmp_unrelated" => 0.5,
                "malformed" => 0.01,
                _ => 0.0,
            };
            drop.frames = wave(a_second * scale, 0.4, 90.0, 0.3, seconds).0 as u64;
        }
        let frames = &mut snapshot.frames;
        frames.dropped = snapshot.drops.iter().map(|drop| drop.frames).sum();
        frames.transmitted = snapshot.services.iter().map(|service| service.statistics.in_packets).sum();
        frames.passed = (seconds * 31.0) as u64;
        frames.held = (seconds * 0.1) as u64;
        frames.answers = (seconds * 40.0 * scale) as u64;
        frames.connections_made =
            snapshot.services.iter().map(|service| service.statistics.connections).sum();
        let servers = snapshot.services.iter().flat_map(|service| &service.servers);
        snapshot.table.capacity = 1 << 20;
        snapshot.table.connections = servers.map(|one| one.listing.active + one.listing.inactive).sum();
        snapshot.table.used = snapshot.table.connections;
        snapshot.workers = if self.scene == Scene::Large { 4 } else { 1 };
    }
}

fn services(scene: Scene) -> Vec<(ServiceConfig, Vec<DestinationConfig>)> {
    let vip = |host| IpAddr::V4(Ipv4Addr::new(192, 0, 2, host));
    let vip6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x250));
    let http = ServiceConfig::new(ServiceKey::tcp(vip(250), 80), SchedulerKind::WeightedRoundRobin);
    let pool = |net: u8, count: u8, port| {
        (0..count).map(move |host| {
            let weight = if host % 7 == 3 { 2 } else { 1 };
            DestinationConfig::new(Ipv4Addr::new(10, 0, net, 11 + host).into(), port).weight(weight)
        })
    };
    match scene {
        Scene::Empty => Vec::new(),
        Scene::Small | Scene::Trouble => vec![(http, pool(0, 3, 80).collect())],
        Scene::Large => {
            let mut all = vec![(http, pool(0, 24, 80).collect::<Vec<_>>())];
            let mut https = ServiceConfig::new(ServiceKey::tcp(vip(250), 443), SchedulerKind::Maglev);
            https.persistence =
                Some(Persistence { timeout: Duration::from_secs(300), mask: ClientMask::V4(u32::MAX) });
            all.push((https, pool(0, 24, 443).collect()));
            all.push((
                ServiceConfig::new(ServiceKey::udp(vip(251), 53), SchedulerKind::SourceHashing),
                pool(2, 4, 53).collect(),
            ));
            let servers = (1..=6).map(|host| {
                DestinationConfig::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0x10, 0, 0, 0, host).into(), 443)
            });
            all.push((
                ServiceConfig::new(ServiceKey::tcp(vip6, 443), SchedulerKind::WeightedLeastConnection),
                servers.collect(),
            ));
            all.push((
                ServiceConfig::new(ServiceKey::tcp(vip(252), 25), SchedulerKind::LeastConnection),
                pool(4, 2, 25).collect(),
            ));
            all.push((
                ServiceConfig::new(ServiceKey::mark(7), SchedulerKind::RoundRobin),
                pool(5, 20, 0).collect(),
            ));
            for number in 0..8 {
                let key = ServiceKey::tcp(vip(100 + number), 8080);
                let count = if number == 7 { 31 } else { 27 };
                all.push((
                    ServiceConfig::new(key, SchedulerKind::WeightedLeastConnection),
                    pool(20 + number, count, 8080).collect(),
                ));
            }
            all
        }
    }
}

/// A rate that goes up and down: what it has added up to, and what it is now.
fn wave(base: f64, swing: f64, period: f64, phase: f64, seconds: f64) -> (f64, f64) {
    let angle = TAU * (seconds / period + phase);
    let sum = base * (seconds - swing * period / TAU * (angle.cos() - (TAU * phase).cos()));
    (sum, base * (1.0 + swing * angle.sin()))
}

/// The share of new connections by which totals rise, whatever happens.
const NOMINAL: f64 = 0.05;

fn is_down(seconds: f64) -> bool {
    seconds % 90.0 > 60.0
}

/// For how long a server has been as it is.
fn since(state: HealthState, place: usize, seconds: f64) -> f64 {
    match state {
        HealthState::Up => seconds - 3.0 - place as f64,
        HealthState::Down => 754.0 + 61.0 * place as f64,
        HealthState::Maintenance => 7_432.0,
        _ => 95.0 + 10.0 * place as f64,
    }
}

fn server(
    service: ServiceConfig,
    destination: DestinationConfig,
    state: HealthState,
    (number, place): (usize, usize),
    up: usize,
    seconds: f64,
) -> DestinationListing {
    let weight = if state.is_up() { destination.weight } else { 0 };
    let share = if weight == 0 { 0.0 } else { f64::from(weight) / up.max(1) as f64 };
    let seed = (number * 37 + place * 11) as f64;
    let of = |share: f64| {
        let base = 900.0 / (1.0 + number as f64) * share;
        wave(base, 0.35, 47.0 + seed % 31.0, seed / 13.0, seconds)
    };
    // Counters must not fall when a server goes down.
    let (sum, rate) = (of(NOMINAL).0, of(share).1);
    let packets = if matches!(service.key, ServiceKey::Address { port: 53, .. }) { 1.0 } else { 11.0 };
    let counts = |conns: f64| Statistics {
        connections: conns as u64,
        in_packets: (conns * packets) as u64,
        in_bytes: (conns * packets * 92.0) as u64,
        ..Statistics::default()
    };
    let rates = counts(rate);
    let draining = matches!(state, HealthState::Maintenance | HealthState::ForcedDown);
    let leftover = if draining { 48.0 - seconds % 48.0 } else { 0.0 };
    DestinationListing {
        config: destination.weight(weight).thresholds(if number == 9 { 400 } else { 0 }, 0),
        active: (rate * 4.0 + leftover) as u32,
        inactive: (rate * 11.0) as u32,
        persistent: if service.persistence.is_some() { (rate * 20.0) as u32 } else { 0 },
        overloaded: number == 9 && place == 2,
        effective_weight: weight,
        statistics: counts(sum),
        rates: Rates {
            connections: rates.connections,
            in_packets: rates.in_packets,
            in_bytes: rates.in_bytes,
            ..Rates::default()
        },
    }
}

fn add(listing: &mut ServiceListing, one: &DestinationListing) {
    listing.statistics.connections += one.statistics.connections;
    listing.statistics.in_packets += one.statistics.in_packets;
    listing.statistics.in_bytes += one.statistics.in_bytes;
    listing.rates.connections += one.rates.connections;
    listing.rates.in_packets += one.rates.in_packets;
    listing.rates.in_bytes += one.rates.in_bytes;
}

fn neighbour(address: IpAddr, state: HealthState) -> NeighbourReport {
    let host = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => [6, 0, 0, address.octets()[15]],
    };
    // Those of the large scene's second service that are down have no Ethernet address, whatever their service.
    let lost = state == HealthState::Down && matches!(host, [10, 0, 0, 15 | 16]);
    NeighbourReport {
        address,
        device: "eth0".into(),
        mac: (!lost).then_some(MacAddr([2, 0, host[0], host[1], host[2], host[3]])),
        state: if lost { NeighbourState::Lost } else { NeighbourState::Reachable },
        waiting: if lost { 2 } else { 0 },
    }
}

fn probes(scene: Scene, seconds: f64) -> Probes {
    let a_second = if scene == Scene::Large { 150.0 } else { 1.5 };
    let started = (seconds * a_second) as u64;
    let failures = started / 60;
    Probes {
        started,
        successes: started - failures,
        failures,
        suspicions: started / 5000,
        ..Probes::default()
    }
}

const EVENTS: [(u64, Severity, &str); 8] = [
    (270_000, Severity::Info, "192.0.2.250 announced on eth0"),
    (269_995, Severity::Info, "ready"),
    (86_400, Severity::Info, "configuration reloaded: 1 server added, 2 weights changed"),
    (7_432, Severity::Info, "10.0.0.18 set to maintenance by root"),
    (4_100, Severity::Warning, "10.0.0.12 does not answer ARP on eth0"),
    (4_080, Severity::Info, "10.0.0.12 is at 02:00:0a:00:00:0c on eth0"),
    (
        754,
        Severity::Warning,
        "TCP 192.0.2.250:80: 10.0.0.14 is down: no answer from 02:00:00:00:00:0c: the VIP 192.0.2.250 is not on lo, or a filter drops it",
    ),
    (300, Severity::Error, "02:00:00:00:00:99 claims 192.0.2.251 on eth1"),
];
