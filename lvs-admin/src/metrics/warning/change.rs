//! What can only be seen by what has changed since a while ago.

use std::collections::HashMap;
use std::net::IpAddr;

use lvs_core::config::Protocol;

use super::{Severity, Warning, some};
use crate::json::Key;
use crate::metrics::report::HealthState;
use crate::metrics::snapshot::{RealServer, Service, Snapshot};

/// A change is judged after that many seconds at least.
const AT_LEAST: f64 = 10.0;
/// Fewer frames a second than that are no trouble.
const FEW: f64 = 1.0;
/// Nor are they if their share of all is smaller than that.
const SHARE: f64 = 0.001;
/// With that share clients feel it.
const MUCH: f64 = 0.05;
/// With that many new connections it is strange if none of them carries anything.
const MANY: u64 = 10;

/// Counters at one moment.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) time: f64,
    pub(super) uptime: f64,
    drops: HashMap<&'static str, u64>,
    devices: HashMap<String, (u64, u64)>,
    servers: HashMap<(Key, IpAddr), Counts>,
    frames: u64,
    table_full: u64,
    undecided: u64,
}

/// Of a server.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    connections: u64,
    packets: u64,
    bytes: u64,
    unanswered: u64,
}

impl Counts {
    fn of(server: &RealServer) -> Self {
        let statistics = &server.listing.statistics;
        Self {
            connections: statistics.connections,
            packets: statistics.in_packets,
            bytes: statistics.in_bytes,
            unanswered: server.unanswered.unwrap_or(0),
        }
    }

    /// What came since; nothing where counters were set to zero meanwhile.
    fn since(self, before: Self) -> Self {
        Self {
            connections: self.connections.saturating_sub(before.connections),
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            unanswered: self.unanswered.saturating_sub(before.unanswered),
        }
    }
}

impl Sample {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let servers = snapshot.services.iter().flat_map(|service| {
            let counts =
                move |server: &RealServer| ((service.key, server.listing.address), Counts::of(server));
            service.servers.iter().map(counts)
        });
        let devices = snapshot.devices.iter();
        let frames = &snapshot.frames;
        Self {
            time: snapshot.time,
            uptime: snapshot.uptime,
            drops: snapshot.drops.iter().map(|drop| (drop.reason, drop.frames)).collect(),
            devices: devices.map(|one| (one.name.clone(), (one.receive_lost, one.transmit_lost))).collect(),
            servers: servers.collect(),
            frames: frames.transmitted + frames.passed + frames.held + frames.dropped,
            table_full: frames.table_full,
            undecided: snapshot.probes.map_or(0, |probes| probes.undecided),
        }
    }
}

pub(super) fn judge(snapshot: &Snapshot, before: &Sample, now: &Sample, warnings: &mut Vec<Warning>) {
    let seconds = now.time - before.time;
    if seconds < AT_LEAST {
        return;
    }
    drops(before, now, seconds, warnings);
    lost(before, now, seconds, warnings);
    for service in &snapshot.services {
        warnings.extend(silence(service, before, seconds).map(|warning| warning.of_service(&service.id)));
    }
    if now.table_full > before.table_full {
        let count = now.table_full - before.table_full;
        let text = format!(
            "The connection table was full: {count} new flows in {seconds:.0} s were served by hash, without an entry."
        );
        let look = "A larger table, or shorter time-outs; what fills it: the rates of services below.";
        warnings.push(Warning::new(Severity::Error, "table_full", text, look));
    }
    if now.undecided > before.undecided {
        let count = now.undecided - before.undecided;
        let text =
            format!("{count} health probes in {seconds:.0} s could not be carried out; they decide nothing.");
        let look = "The reasons beside servers, below: a right, a port, a program or an address that is missing here.";
        warnings.push(Warning::new(Severity::Warning, "undecided", text, look));
    }
}

/// Frames that are dropped for a reason that somebody can do something about.
fn drops(before: &Sample, now: &Sample, seconds: f64, warnings: &mut Vec<Warning>) {
    let all = now.frames.saturating_sub(before.frames).max(1) as f64;
    let mut rising = Vec::new();
    for (&reason, &count) in &now.drops {
        let more = count.saturating_sub(before.drops.get(reason).copied().unwrap_or(0)) as f64;
        if let Some(cure) = cure(reason)
            && more / seconds >= FEW
            && more / all >= SHARE
        {
            rising.push((reason, more, cure));
        }
    }
    rising.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    for (reason, more, (whose, look)) in rising {
        let severity = match (whose, more / all >= MUCH) {
            (Whose::Ours, true) => Severity::Error,
            (Whose::Ours, false) | (Whose::Others, true) => Severity::Warning,
            (Whose::Others, false) => Severity::Info,
        };
        let (rate, percent) = (more / seconds, (more / all * 100.0).min(100.0));
        let text = format!("{rate:.0} frames a second are dropped as {reason}, {percent:.1} % of all.");
        warnings.push(Warning::new(severity, "drops", text, look));
    }
}

/// Who can do something about it.
#[derive(Clone, Copy)]
enum Whose {
    /// Whoever runs the director and its servers.
    Ours,
    /// Whoever sends such things.
    Others,
}

/// Where to look when frames are dropped for this reason; nothing for those that are dropped on any network.
fn cure(reason: &str) -> Option<(Whose, &'static str)> {
    let ours = |look| Some((Whose::Ours, look));
    let others = |look| Some((Whose::Others, look));
    match reason {
        "no_destination" => ours("Services without a server that is up."),
        "no_route" => ours("No interface reaches the server: a --dip whose prefix holds it, or a gateway."),
        "unresolved" | "waiting_full" => ours("A server that does not answer ARP or NDP: neighbours, below."),
        "pool_full" => ours("Servers that do not answer ARP or NDP, or a flood of fragments."),
        "too_big" => ours(
            "The MTU towards servers is smaller than towards clients; path MTU discovery is filtered out.",
        ),
        "ttl_exceeded" => {
            ours("A loop: a router or a server sends packets for the VIP back to the director.")
        }
        "own_frame" => ours("A loop: the director's own frames come back from the switch, or from a bridge."),
        "shed" => ours("drop_packet is at work: the table is nearly full, or it was told to be always on."),
        "owner_busy" => {
            ours("One worker gets more than its share: let the card spread flows, or take more workers.")
        }
        "no_room" => ours("The frames' buffers have no room for a VLAN tag: another --io."),
        "destination_gone" => others(
            "A server was removed while it had connections. They end by themselves; drain it first next time.",
        ),
        "not_syn" => others(
            "Connections that the director does not know: after a restart, or after their time-outs. Else a scan, or clients that \
             hold connections longer than the time-out.",
        ),
        "no_service" => others("Ports of the VIP that no service has: a scan, or a service that is missing."),
        "rate_limited" => {
            others("A scan or a flood: more RST and ICMP errors are asked for than may be sent.")
        }
        "bad_checksum" => others(
            "Broken hardware on the way, or a card that leaves checksums unfinished (ethtool -K NAME tx off there).",
        ),
        _ => None,
    }
}

fn lost(before: &Sample, now: &Sample, seconds: f64, warnings: &mut Vec<Warning>) {
    let mut devices: Vec<_> = now.devices.iter().collect();
    devices.sort_unstable();
    for (name, (received, sent)) in devices {
        let (received_before, sent_before) = before.devices.get(name).copied().unwrap_or((*received, *sent));
        let (received, sent) = (received.saturating_sub(received_before), sent.saturating_sub(sent_before));
        if received as f64 / seconds >= FEW {
            let text = format!(
                "{received} frames in {seconds:.0} s were lost on {name} before the director fetched them."
            );
            let look =
                "The director's processor: its load, and who else runs on it. More workers, or --io xdp.";
            warnings.push(Warning::new(Severity::Error, "receive_lost", text, look));
        }
        if sent as f64 / seconds >= FEW {
            let text = format!("{sent} frames in {seconds:.0} s could not be sent on {name}.");
            let look = "Whether the device is up, its queue length, and its speed compared with where frames come from.";
            warnings.push(Warning::new(Severity::Error, "transmit_lost", text, look));
        }
    }
}

/// Servers that get connections of which nothing comes.
fn silence(service: &Service, before: &Sample, seconds: f64) -> Option<Warning> {
    let silent: Vec<String> = service
        .servers
        .iter()
        .filter(|server| {
            let start = before.servers.get(&(service.key, server.listing.address));
            let more = start.map_or(Counts::default(), |start| Counts::of(server).since(*start));
            // One that is down gets none, and the reason is known.
            server.health != HealthState::Down && is_silent(service, server, more)
        })
        .map(|server| server.listing.address.to_string())
        .collect();
    (!silent.is_empty()).then(|| {
        let gets = if silent.len() == 1 { "gets" } else { "get" };
        let text = format!(
            "{} {gets} connections of {}, but clients hear no answer ({seconds:.0} s).",
            some(&silent),
            service.id
        );
        let look = "The server: is the VIP on lo, does the service listen on the VIP, and do answers reach the client (route, \
            rp_filter, firewall)?";
        Warning::new(Severity::Error, "silent", text, look)
    })
}

/// Whether clients of a server seem to hear nothing. They repeat their SYNs, as many as were counted; where nobody counts, their
/// connections consist of packets without a byte of data.
fn is_silent(service: &Service, server: &RealServer, more: Counts) -> bool {
    let tcp = matches!(service.key, Key::Address { protocol: Protocol::Tcp, .. });
    if !tcp || service.one_packet || more.connections < MANY {
        return false;
    }
    if server.unanswered.is_some() {
        return more.unanswered * 2 >= more.connections;
    }
    // A SYN with the usual options has 60 or 64 bytes, over IPv6 80 or 84, and is sent seven times at most. Whoever heard an answer
    // sends shorter packets (52 bytes) without data, or longer ones with data.
    let syn = if server.listing.address.is_ipv6() { 80 } else { 60 };
    let mean = more.bytes as f64 / more.packets.max(1) as f64;
    more.packets <= more.connections * 7 && (syn - 2..=syn + 4).contains(&(mean.round() as i64))
}
