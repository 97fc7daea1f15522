//! Everything that is shown, at one moment, as a plain value.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lvs_core::DropReason;
use lvs_core::config::{DestinationConfig, ServiceKey};
use lvs_core::connection::TableMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::listing::{ConnectionUsage, DestinationListing, Rates, ServiceListing, Statistics};
use lvs_core::statistics::DirectorStatistics;
use serde::Serialize;

use super::journal::{Conflict, Journal, Line};
use super::report::{
    DeviceReport, HealthReport, HealthState, NeighbourReport, NeighbourState, Probes, Report, ServerReport,
};
use super::warning::Warning;
use crate::json;

/// What does not change while a director runs.
#[derive(Debug, Clone)]
pub struct About {
    /// How people call it: the name of the host, say.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// When it was started.
    pub started: SystemTime,
}

/// What a director counts and shows of itself.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Its services with their servers.
    pub services: Vec<ServiceListing>,
    /// What it has counted.
    pub statistics: DirectorStatistics,
    /// How full its connection table is.
    pub table: ConnectionUsage,
    /// How many workers it has.
    pub workers: u16,
}

impl Figures {
    /// Those of a group. All workers stand still while services are copied, some microseconds for a hundred servers.
    #[must_use]
    pub fn of_group<M: TableMemory>(group: &DirectorGroup<M>) -> Self {
        Self {
            services: group.services(),
            statistics: group.statistics(),
            table: group.connection_usage(),
            workers: group.workers(),
        }
    }
}

/// Everything that is shown. Serialised it is the answer to `/stats.json`; field names are stable, and new ones may come.
///
/// Times are seconds, moments Unix seconds. Counters count since the start (those of services and servers since they were last set to
/// zero).
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// How people call this director.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// When this was.
    pub time: f64,
    /// How long the director had been running.
    pub uptime: f64,
    /// How many workers it has.
    pub workers: u16,
    /// What is wrong, the worst first; filled in by [`Watch::look`](super::Watch::look).
    pub warnings: Vec<Warning>,
    /// The services in order of their keys.
    pub services: Vec<Service>,
    /// How full the connection table is.
    pub table: Table,
    /// What became of frames.
    pub frames: Frames,
    /// Frames dropped, by reason: all reasons, in the core's order.
    pub drops: Vec<Dropped>,
    /// Neighbours in order of their addresses; `None` where they are not known.
    pub neighbours: Option<Vec<Neighbour>>,
    /// Devices that carry frames.
    pub devices: Vec<Device>,
    /// How many frames came at a time; `None` where nobody counts.
    pub batches: Option<Batches>,
    /// Counters of the health checks; `None` where nobody checks.
    pub probes: Option<Probes>,
    /// Addresses of the director's that others claim.
    pub conflicts: Vec<Conflict>,
    /// The latest events, the latest first.
    pub events: Vec<Line>,
}

/// A service with its servers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// The key in words, as in `TCP 192.168.0.250:80`. No two services have the same.
    pub id: String,
    /// The key.
    #[serde(flatten)]
    pub key: json::Key,
    /// The name of its scheduler.
    pub scheduler: String,
    /// The names of flags for it.
    pub flags: Vec<String>,
    /// Whether and how clients stay with a server.
    pub persistence: Option<json::Persistence>,
    /// Whether every packet is scheduled anew.
    pub one_packet: bool,
    /// The weight that counts now, of all servers together.
    pub weight: u64,
    /// Whether enough servers are up; `None` where nobody checks.
    pub quorum: Option<bool>,
    /// Whether its sorry server is in use.
    pub sorry: bool,
    /// Totals.
    pub statistics: json::Statistics,
    /// Per second.
    pub rates: json::Rates,
    /// Its servers in order of their addresses.
    pub servers: Vec<RealServer>,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealServer {
    /// As the director has it; one that the service has not got at the moment has weight 0 and no counts.
    #[serde(flatten)]
    pub listing: json::Server,
    /// The weight that it has when it is up.
    pub full_weight: u32,
    /// Whether the service has it at the moment. A failed server is taken out where checks are told to do so.
    pub member: bool,
    /// Whether it gets no new connections, and has some left.
    pub draining: bool,
    /// How it is.
    pub health: HealthState,
    /// Why it is down, or what its latest failure was.
    pub reason: Option<String>,
    /// Since when it is as it is.
    pub since: Option<f64>,
    /// SYNs that clients had to repeat; `None` where nobody counts.
    pub unanswered: Option<u64>,
    /// Its Ethernet address; `None` where it is not known.
    pub mac: Option<String>,
}

impl RealServer {
    /// Whether it may get a new connection now.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.member && self.listing.effective_weight > 0 && !self.listing.overloaded && self.health.is_up()
    }
}

/// How full the connection table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Table {
    /// Connections that are remembered.
    pub connections: u32,
    /// Lines in use: one an IPv4 connection, two an IPv6 connection.
    pub used: u32,
    /// Lines there are.
    pub capacity: u32,
}

/// What became of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(missing_docs, reason = "the fields of lvs_core::statistics::DirectorStatistics")]
pub struct Frames {
    pub transmitted: u64,
    pub passed: u64,
    pub held: u64,
    /// The sum over all reasons.
    pub dropped: u64,
    pub released: u64,
    pub given_up: u64,
    pub hashed: u64,
    pub answers: u64,
    pub answers_suppressed: u64,
    pub connections_made: u64,
    pub table_full: u64,
    pub templates_full: u64,
    pub neighbour_answers_lost: u64,
}

/// Frames dropped for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The reason's slug.
    pub reason: &'static str,
    /// How many.
    pub frames: u64,
}

/// A neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// Its IP address.
    pub address: IpAddr,
    /// The device behind which it is.
    pub device: String,
    /// Its Ethernet address.
    pub mac: Option<String>,
    /// How well that is known.
    pub state: NeighbourState,
    /// Frames that wait for it.
    pub waiting: u32,
}

/// A device that carries frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Whether it carries frames.
    pub up: bool,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames lost because the director did not fetch them in time.
    pub receive_lost: u64,
    /// Frames the wire did not take.
    pub transmit_lost: u64,
}

/// How many frames came at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Batches {
    /// Batches by size.
    pub sizes: Vec<BatchSize>,
    /// Frames in all of them.
    pub frames: u64,
}

/// Batches of some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BatchSize {
    /// The largest that belongs here, in frames.
    pub up_to: u32,
    /// How many there were, without smaller ones.
    pub batches: u64,
}

impl Batches {
    /// From the number of batches of one frame, of two, and so on; `None` for an empty list. Sizes are put together by powers of two.
    #[must_use]
    pub fn of_sizes(counts: &[u64]) -> Option<Self> {
        if counts.is_empty() {
            return None;
        }
        let mut sizes = Vec::new();
        let mut frames = 0_u64;
        let (mut from, mut up_to) = (0, 1);
        while from < counts.len() {
            let end = up_to.min(counts.len());
            let batches = counts[from..end].iter().sum();
            sizes.push(BatchSize { up_to: u32::try_from(up_to).unwrap_or(u32::MAX), batches });
            (from, up_to) = (end, up_to.saturating_mul(2));
        }
        for (size, count) in (1_u64..).zip(counts) {
            frames = frames.saturating_add(count.saturating_mul(size));
        }
        Some(Self { sizes, frames })
    }
}

impl Snapshot {
    /// What a director shows of itself, with what the program knows besides.
    #[must_use]
    pub fn new(
        now: SystemTime,
        about: &About,
        figures: &Figures,
        report: &Report,
        journal: &Journal,
    ) -> Self {
        let macs = Macs::new(report.neighbours.as_deref());
        let statistics = &figures.statistics;
        let drop =
            |&reason: &DropReason| Dropped { reason: reason.slug(), frames: statistics.dropped(reason) };
        let neighbours = report.neighbours.as_ref().map(|all| {
            let mut all: Vec<Neighbour> = all.iter().map(Into::into).collect();
            all.sort_by(|a, b| a.address.cmp(&b.address).then_with(|| a.device.cmp(&b.device)));
            all
        });
        let ConnectionUsage { connections, used, capacity } = figures.table;
        Self {
            name: about.name.clone(),
            version: about.version.clone(),
            time: unix(now),
            uptime: now.duration_since(about.started).unwrap_or(Duration::ZERO).as_secs_f64(),
            workers: figures.workers,
            warnings: Vec::new(),
            services: services(&figures.services, report.health.as_ref(), &macs),
            table: Table { connections, used, capacity },
            frames: statistics.into(),
            drops: DropReason::ALL.iter().map(drop).collect(),
            neighbours,
            devices: report.devices.iter().map(Into::into).collect(),
            batches: Batches::of_sizes(&report.batches),
            probes: report.health.as_ref().map(|health| health.probes),
            conflicts: journal.conflicts(now),
            events: journal.lines(),
        }
    }

    /// The same of a [`DirectorGroup`] as it is now.
    #[must_use]
    pub fn of_group<M: TableMemory>(
        now: SystemTime,
        about: &About,
        group: &DirectorGroup<M>,
        report: &Report,
        journal: &Journal,
    ) -> Self {
        Self::new(now, about, &Figures::of_group(group), report, journal)
    }
}

/// Ethernet addresses by IP address.
struct Macs(HashMap<IpAddr, String>);

impl Macs {
    fn new(neighbours: Option<&[NeighbourReport]>) -> Self {
        let known = neighbours.unwrap_or_default().iter();
        Self(known.filter_map(|one| Some((one.address, one.mac?.to_string()))).collect())
    }
}

/// The services with what checks say of them.
fn services(listings: &[ServiceListing], health: Option<&HealthReport>, macs: &Macs) -> Vec<Service> {
    let mut reports: HashMap<ServiceKey, Vec<&ServerReport>> = HashMap::new();
    for report in health.map_or(&[][..], |health| &health.servers) {
        reports.entry(report.service).or_default().push(report);
    }
    let quorums = health.map_or(&[][..], |health| &health.services).iter();
    let quorums: HashMap<_, _> = quorums.map(|one| (one.service, one)).collect();
    let mut ordered: Vec<&ServiceListing> = listings.iter().collect();
    ordered.sort_by_key(|listing| listing.config.key);
    let service = |listing: &&ServiceListing| {
        let key = listing.config.key;
        let quorum = quorums.get(&key);
        let json::Service { scheduler, flags, persistence, one_packet, statistics, rates, .. } =
            (*listing).into();
        Service {
            id: key.to_string(),
            key: key.into(),
            scheduler,
            flags,
            persistence,
            one_packet,
            weight: listing.destinations.iter().map(|one| u64::from(one.effective_weight)).sum(),
            quorum: quorum.map(|one| one.quorum),
            sorry: quorum.is_some_and(|one| one.sorry),
            statistics,
            rates,
            servers: servers(listing, reports.get(&key).map_or(&[], Vec::as_slice), macs),
        }
    };
    ordered.iter().map(service).collect()
}

/// The servers of a service, and those that checks have taken out of it.
fn servers(listing: &ServiceListing, reports: &[&ServerReport], macs: &Macs) -> Vec<RealServer> {
    let by_address: HashMap<IpAddr, &ServerReport> =
        reports.iter().map(|report| (report.destination.address, *report)).collect();
    let members = listing.destinations.iter();
    let members = members.map(|one| server(one, true, by_address.get(&one.config.address).copied(), macs));
    let mut all: Vec<RealServer> = members.collect();
    let present: std::collections::HashSet<IpAddr> = all.iter().map(|one| one.listing.address).collect();
    let absent = by_address.values().filter(|report| !present.contains(&report.destination.address));
    all.extend(absent.map(|report| server(&nobody(report.destination), false, Some(report), macs)));
    all.sort_by_key(|one| (one.listing.address, one.listing.port));
    all
}

/// What the director has of a server that it has not got.
fn nobody(destination: DestinationConfig) -> DestinationListing {
    DestinationListing {
        config: destination.weight(0),
        active: 0,
        inactive: 0,
        persistent: 0,
        overloaded: false,
        effective_weight: 0,
        statistics: Statistics::default(),
        rates: Rates::default(),
    }
}

fn server(
    listing: &DestinationListing,
    member: bool,
    report: Option<&ServerReport>,
    macs: &Macs,
) -> RealServer {
    RealServer {
        listing: listing.into(),
        full_weight: report.map_or(listing.config.weight, |report| report.destination.weight),
        member,
        draining: listing.config.weight == 0 && listing.active > 0,
        health: report.map_or(HealthState::Unchecked, |report| report.state),
        reason: report.and_then(|report| report.reason.clone()),
        since: report.and_then(|report| report.since).map(unix),
        unanswered: report.and_then(|report| report.unanswered),
        mac: macs.0.get(&listing.config.address).cloned(),
    }
}

impl From<&DirectorStatistics> for Frames {
    fn from(statistics: &DirectorStatistics) -> Self {
        Self {
            transmitted: statistics.transmitted,
            passed: statistics.passed,
            held: statistics.held,
            dropped: statistics.dropped_in_all(),
            released: statistics.released,
            given_up: statistics.given_up,
            hashed: statistics.hashed,
            answers: statistics.answers,
            answers_suppressed: statistics.answers_suppressed,
            connections_made: statistics.connections_made,
            table_full: statistics.table_full,
            templates_full: statistics.templates_full,
            neighbour_answers_lost: statistics.neighbour_answers_lost,
        }
    }
}

impl From<&NeighbourReport> for Neighbour {
    fn from(report: &NeighbourReport) -> Self {
        Self {
            address: report.address,
            device: report.device.clone(),
            mac: report.mac.map(|mac| mac.to_string()),
            state: report.state,
            waiting: report.waiting,
        }
    }
}

impl From<&DeviceReport> for Device {
    fn from(report: &DeviceReport) -> Self {
        Self {
            name: report.name.clone(),
            up: report.up,
            received: report.frames.received,
            transmitted: report.frames.transmitted,
            receive_lost: report.frames.receive_lost,
            transmit_lost: report.frames.transmit_lost,
        }
    }
}

/// Unix seconds; 0 before 1970.
pub(super) fn unix(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_put_together_by_powers_of_two() {
        let mut counts = [0; 64];
        (counts[0], counts[2], counts[3], counts[63]) = (5, 2, 1, 1);
        let batches = Batches::of_sizes(&counts).unwrap();
        let sizes: Vec<_> = batches.sizes.iter().map(|size| (size.up_to, size.batches)).collect();
        assert_eq!(sizes, [(1, 5), (2, 0), (4, 3), (8, 0), (16, 0), (32, 0), (64, 1)]);
        assert_eq!(batches.frames, 5 + 6 + 4 + 64);
        assert_eq!(Batches::of_sizes(&[]), None);
        // The count of the largest batches is not lost where it is no power of two.
        assert_eq!(Batches::of_sizes(&[1, 1, 1]).unwrap().sizes[2].batches, 1);
    }
}
