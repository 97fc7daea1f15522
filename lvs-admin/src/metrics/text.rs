//! A snapshot as metrics in Prometheus' text format: node_exporter's ipvs names and labels, so that dashboards for ip_vs go on, and
//! ours under `lvs_`.
//!
//! Addresses and names are labels, reasons of failures are not: they come from the network, and each would be a series of its own.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::journal::Severity;
use super::report::{HealthState, NeighbourState};
use super::snapshot::{Batches, RealServer, Service, Snapshot};
use crate::json::Key;

/// The content type of [`prometheus()`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a snapshot as text.
#[must_use]
pub fn prometheus(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    director(&mut page, snapshot);
    node_ipvs(&mut page, snapshot);
    services(&mut page, snapshot);
    servers(&mut page, snapshot);
    health(&mut page, snapshot);
    frames(&mut page, snapshot);
    surroundings(&mut page, snapshot);
    // Families without samples have been left out, which is the only thing that the encoder refuses.
    TextEncoder::new().encode_to_string(&page.families).unwrap_or_default()
}

/// Families of metrics in order.
#[derive(Default)]
struct Page {
    families: Vec<MetricFamily>,
}

type Labels = Vec<LabelPair>;

impl Page {
    /// A family; one without samples is left out.
    fn add(&mut self, name: &str, kind: MetricType, help: &str, metrics: Vec<Metric>) {
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.families.push(family);
    }

    fn counters(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, u64)>) {
        let metric = |(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value as f64);
            let mut metric = Metric::from_label(labels);
            metric.set_counter(counter);
            metric
        };
        self.add(name, MetricType::COUNTER, help, samples.into_iter().map(metric).collect());
    }

    fn gauges(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels, f64)>) {
        let metric = |(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_label(labels);
            metric.set_gauge(gauge);
            metric
        };
        self.add(name, MetricType::GAUGE, help, samples.into_iter().map(metric).collect());
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(Vec::new(), value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Into<f64>) {
        self.gauges(name, help, [(Vec::new(), value.into())]);
    }
}

fn label(name: &str, value: impl ToString) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_string());
    pair
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// The labels of a service, as node_exporter has them: a mark is written as `/proc/net/ip_vs` does.
fn of_service(service: &Service) -> Labels {
    match service.key {
        Key::Address { protocol, address, port } => vec![
            label("local_address", address),
            label("local_port", port),
            label("proto", protocol.name()),
            label("local_mark", ""),
        ],
        Key::Mark { mark, .. } => vec![
            label("local_address", ""),
            label("local_port", 0),
            label("proto", "FWM"),
            label("local_mark", format_args!("{mark:08X}")),
        ],
    }
}

/// The same with those of a server.
fn of_server(service: &Service, server: &RealServer) -> Labels {
    let mut labels = of_service(service);
    labels.push(label("remote_address", server.listing.address));
    labels.push(label("remote_port", server.listing.port));
    labels
}

fn each_server(snapshot: &Snapshot) -> impl Iterator<Item = (&Service, &RealServer)> {
    snapshot.services.iter().flat_map(|service| service.servers.iter().map(move |server| (service, server)))
}

fn director(page: &mut Page, snapshot: &Snapshot) {
    let version = vec![label("version", &snapshot.version)];
    page.gauges("lvs_build_info", "The version of the director, always 1.", [(version, 1.0)]);
    page.gauge(
        "lvs_start_time_seconds",
        "When the director was started, in Unix seconds.",
        snapshot.time - snapshot.uptime,
    );
    page.gauge("lvs_workers", "Threads that take frames.", snapshot.workers);
    let warnings = Severity::ALL.iter().map(|&severity| {
        let count = snapshot.warnings.iter().filter(|warning| warning.severity == severity).count();
        (vec![label("severity", severity.slug())], count as f64)
    });
    page.gauges("lvs_warnings", "What the stats page warns of at the moment.", warnings);
}

/// What node_exporter's ipvs collector has. Under direct routing the outgoing counters stay 0, as with ip_vs.
fn node_ipvs(page: &mut Page, snapshot: &Snapshot) {
    let sum = |value: fn(&Service) -> u64| snapshot.services.iter().map(value).fold(0, u64::saturating_add);
    let total = "Over all services that there are";
    page.counter(
        "node_ipvs_connections_total",
        &format!("{total}: connections made."),
        sum(|service| service.statistics.connections),
    );
    page.counter(
        "node_ipvs_incoming_packets_total",
        &format!("{total}: packets to servers."),
        sum(|service| service.statistics.in_packets),
    );
    page.counter(
        "node_ipvs_outgoing_packets_total",
        &format!("{total}: packets from servers, none under direct routing."),
        sum(|service| service.statistics.out_packets),
    );
    page.counter(
        "node_ipvs_incoming_bytes_total",
        &format!("{total}: bytes to servers, from the IP header on."),
        sum(|service| service.statistics.in_bytes),
    );
    page.counter(
        "node_ipvs_outgoing_bytes_total",
        &format!("{total}: bytes from servers, none under direct routing."),
        sum(|service| service.statistics.out_bytes),
    );
    let members = |value: fn(&RealServer) -> u32| {
        let members = each_server(snapshot).filter(|(_, server)| server.member);
        members.map(move |(service, server)| (of_server(service, server), f64::from(value(server))))
    };
    page.gauges(
        "node_ipvs_backend_connections_active",
        "Active connections of a server.",
        members(|server| server.listing.active),
    );
    page.gauges(
        "node_ipvs_backend_connections_inactive",
        "Other connections of a server that are remembered.",
        members(|server| server.listing.inactive),
    );
    page.gauges(
        "node_ipvs_backend_weight",
        "The weight of a server.",
        members(|server| server.listing.weight),
    );
}

fn services(page: &mut Page, snapshot: &Snapshot) {
    let each = |value: fn(&Service) -> u64| {
        snapshot.services.iter().map(move |service| (of_service(service), value(service)))
    };
    page.counters(
        "lvs_service_connections_total",
        "Connections made to a service.",
        each(|service| service.statistics.connections),
    );
    page.counters(
        "lvs_service_incoming_packets_total",
        "Packets of a service to its servers.",
        each(|service| service.statistics.in_packets),
    );
    page.counters(
        "lvs_service_incoming_bytes_total",
        "Bytes of a service to its servers, from the IP header on.",
        each(|service| service.statistics.in_bytes),
    );
    let gauge = |value: fn(&Service) -> u64| each(value).map(|(labels, value)| (labels, value as f64));
    page.gauges(
        "lvs_service_weight",
        "The weight that counts now, of all servers of a service.",
        gauge(|service| service.weight),
    );
    page.gauges(
        "lvs_service_servers",
        "Servers of a service, with those that health checks have taken out of it.",
        gauge(|service| service.servers.len() as u64),
    );
    page.gauges(
        "lvs_service_servers_available",
        "Servers of a service that may get new connections.",
        gauge(|service| service.servers.iter().filter(|server| server.is_available()).count() as u64),
    );
    let quorums = snapshot.services.iter();
    let quorums = quorums.filter_map(|service| Some((of_service(service), flag(service.quorum?))));
    page.gauges("lvs_service_quorum", "Whether enough servers of a service are up.", quorums);
}

fn servers(page: &mut Page, snapshot: &Snapshot) {
    let each = |value: fn(&RealServer) -> u64| {
        each_server(snapshot).map(move |(service, server)| (of_server(service, server), value(server)))
    };
    page.counters(
        "lvs_server_connections_total",
        "Connections made to a server.",
        each(|server| server.listing.statistics.connections),
    );
    page.counters(
        "lvs_server_incoming_packets_total",
        "Packets to a server.",
        each(|server| server.listing.statistics.in_packets),
    );
    page.counters(
        "lvs_server_incoming_bytes_total",
        "Bytes to a server, from the IP header on.",
        each(|server| server.listing.statistics.in_bytes),
    );
    let gauge = |value: fn(&RealServer) -> u64| each(value).map(|(labels, value)| (labels, value as f64));
    page.gauges(
        "lvs_server_persistent_clients",
        "Clients that stay with a server.",
        gauge(|server| server.listing.persistent.into()),
    );
    page.gauges(
        "lvs_server_effective_weight",
        "The weight of a server that counts now, less than its own while it starts slowly.",
        gauge(|server| server.listing.effective_weight.into()),
    );
    page.gauges(
        "lvs_server_overloaded",
        "Whether a server has as many connections as it may.",
        gauge(|server| server.listing.overloaded.into()),
    );
    page.gauges(
        "lvs_server_draining",
        "Whether a server gets no new connections, and has some left.",
        gauge(|server| server.draining.into()),
    );
}

fn health(page: &mut Page, snapshot: &Snapshot) {
    let checked = || each_server(snapshot).filter(|(_, server)| server.health != HealthState::Unchecked);
    page.gauges(
        "lvs_server_up",
        "Whether a server is held to be up. A sorry server that is not needed is not.",
        checked().map(|(service, server)| (of_server(service, server), flag(server.health.is_up()))),
    );
    page.gauges(
        "lvs_server_maintenance",
        "Whether an operator has taken a server out of service.",
        checked().map(|(service, server)| {
            let out = matches!(server.health, HealthState::Maintenance | HealthState::ForcedDown);
            (of_server(service, server), flag(out))
        }),
    );
    page.gauges(
        "lvs_server_state_timestamp_seconds",
        "Since when a server is as it is, in Unix seconds.",
        checked().filter_map(|(service, server)| Some((of_server(service, server), server.since?))),
    );
    page.counters(
        "lvs_server_unanswered_syns_total",
        "SYNs that clients had to repeat to a server.",
        each_server(snapshot)
            .filter_map(|(service, server)| Some((of_server(service, server), server.unanswered?))),
    );
    let Some(probes) = snapshot.probes else {
        return;
    };
    page.counter("lvs_probes_started_total", "Health probes started.", probes.started);
    let results =
        [("success", probes.successes), ("failure", probes.failures), ("undecided", probes.undecided)];
    page.counters(
        "lvs_probes_total",
        "Health probes that have ended, by result. Undecided: it could not be carried out.",
        results.map(|(result, count)| (vec![label("result", result)], count)),
    );
    page.counter("lvs_probes_overdue_total", "Health probes that did not end in time.", probes.overdue);
    page.counter(
        "lvs_probes_late_total",
        "Health probes that started late, because as many others were under way as may be.",
        probes.late,
    );
    page.counter(
        "lvs_suspicions_total",
        "Health probes that started early, because a client had repeated its SYN.",
        probes.suspicions,
    );
}

fn frames(page: &mut Page, snapshot: &Snapshot) {
    let frames = &snapshot.frames;
    let verdicts = [
        ("transmit", frames.transmitted),
        ("pass", frames.passed),
        ("hold", frames.held),
        ("drop", frames.dropped),
    ];
    page.counters(
        "lvs_frames_total",
        "Frames that came in, by verdict. A frame that was handed to another worker counts as hold, too.",
        verdicts.map(|(verdict, count)| (vec![label("verdict", verdict)], count)),
    );
    page.counters(
        "lvs_dropped_frames_total",
        "Frames dropped, by reason.",
        snapshot.drops.iter().map(|drop| (vec![label("reason", drop.reason)], drop.frames)),
    );
    let counters = [
        ("lvs_released_frames_total", "Held frames that left after all.", frames.released),
        ("lvs_given_up_frames_total", "Held frames that were given up.", frames.given_up),
        (
            "lvs_hashed_packets_total",
            "Packets of flows that are served by the hash of the client, without a connection.",
            frames.hashed,
        ),
        ("lvs_answers_total", "RST and ICMP errors sent.", frames.answers),
        (
            "lvs_answers_suppressed_total",
            "RST and ICMP errors that were not sent because of the limit.",
            frames.answers_suppressed,
        ),
        ("lvs_connections_made_total", "Connections made since the start.", frames.connections_made),
        (
            "lvs_table_full_total",
            "Connections that could not be made because the table was full.",
            frames.table_full,
        ),
        (
            "lvs_templates_full_total",
            "Clients served without persistence because there were as many templates as there may be.",
            frames.templates_full,
        ),
        (
            "lvs_neighbour_answers_lost_total",
            "ARP and NDP answers that were not sent because too many were asked for at once.",
            frames.neighbour_answers_lost,
        ),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, value);
    }
    let table = &snapshot.table;
    page.gauge("lvs_connections", "Connections that are remembered.", table.connections);
    page.gauge(
        "lvs_connection_table_lines_used",
        "Lines of the connection table in use: one an IPv4 connection, two an IPv6 connection.",
        table.used,
    );
    page.gauge("lvs_connection_table_lines", "Lines of the connection table.", table.capacity);
    if let Some(batches) = &snapshot.batches {
        page.add(
            "lvs_batch_frames",
            MetricType::HISTOGRAM,
            "Frames that came at a time.",
            vec![histogram(batches)],
        );
    }
}

fn histogram(batches: &Batches) -> Metric {
    let mut count = 0;
    let buckets = batches.sizes.iter().map(|size| {
        count += size.batches;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(f64::from(size.up_to));
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(count);
    histogram.set_sample_sum(batches.frames as f64);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    metric
}

/// Neighbours and devices.
fn surroundings(page: &mut Page, snapshot: &Snapshot) {
    if let Some(neighbours) = &snapshot.neighbours {
        let states = NeighbourState::ALL.iter().map(|&state| {
            let count = neighbours.iter().filter(|one| one.state == state).count();
            (vec![label("state", state.slug())], count as f64)
        });
        page.gauges(
            "lvs_neighbours",
            "Real servers and gateways, by how well their Ethernet address is known.",
            states,
        );
        let waiting = neighbours.iter().map(|one| f64::from(one.waiting)).sum::<f64>();
        page.gauge("lvs_neighbour_waiting_frames", "Frames that wait for an Ethernet address.", waiting);
    }
    page.gauge(
        "lvs_address_conflicts",
        "Stations that claimed an address of the director's in the last minute.",
        snapshot.conflicts.len() as f64,
    );
    let devices = || snapshot.devices.iter().map(|device| (vec![label("device", &device.name)], device));
    page.gauges(
        "lvs_device_up",
        "Whether a device carries frames; of several at a time (eth0+eth1), whether all do.",
        devices().map(|(labels, device)| (labels, flag(device.up))),
    );
    let counters =
        |value: fn(&super::Device) -> u64| devices().map(move |(labels, device)| (labels, value(device)));
    page.counters(
        "lvs_device_received_frames_total",
        "Frames received. Those of several devices at a time are counted together: eth0+eth1.",
        counters(|device| device.received),
    );
    page.counters(
        "lvs_device_transmitted_frames_total",
        "Frames sent, counted together like those received.",
        counters(|device| device.transmitted),
    );
    page.counters(
        "lvs_device_receive_lost_frames_total",
        "Frames lost because the director did not fetch them in time, counted together like those received.",
        counters(|device| device.receive_lost),
    );
    page.counters(
        "lvs_device_transmit_lost_frames_total",
        "Frames that the wire did not take, counted together like those received.",
        counters(|device| device.transmit_lost),
    );
}
