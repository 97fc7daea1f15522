//! What can be seen in one snapshot.

use super::{Severity, Warning, some};
use crate::metrics::report::{HealthState, NeighbourState};
use crate::metrics::snapshot::{RealServer, Service, Snapshot};

/// A table that is fuller than that, in percent, is worth a warning, and worse.
const FULL: [(u64, Severity); 2] = [(95, Severity::Error), (80, Severity::Warning)];

pub(super) fn judge(snapshot: &Snapshot, warnings: &mut Vec<Warning>) {
    for service in &snapshot.services {
        warnings.extend(chance(service).map(|warning| warning.of_service(&service.id)));
        warnings.extend(health(service).into_iter().flatten().map(|warning| warning.of_service(&service.id)));
    }
    neighbours(snapshot, warnings);
    conflicts(snapshot, warnings);
    table(snapshot, warnings);
    for device in snapshot.devices.iter().filter(|device| !device.up) {
        let text = format!("{} carries no frames.", device.name);
        let look = "Its cable, the port of the switch, and whether somebody has set it down (ip link show).";
        warnings.push(Warning::new(Severity::Error, "device_down", text, look));
    }
    if snapshot.probes.is_none() && !snapshot.services.is_empty() {
        let text = "No health checks run: a server that dies keeps its share of new connections.".to_owned();
        let look = "Give the services checks in the configuration file.";
        warnings.push(Warning::new(Severity::Info, "unchecked", text, look));
    }
}

/// Whether a new client has a chance at all.
fn chance(service: &Service) -> Option<Warning> {
    let id = &service.id;
    if service.servers.is_empty() {
        let text = format!("{id} has no servers: its clients are refused.");
        let look = "Add servers (lvsadm -a), or remove the service.";
        return Some(Warning::new(Severity::Error, "no_servers", text, look));
    }
    if service.servers.iter().any(RealServer::is_available) {
        return service.sorry.then(|| {
            let text = format!("{id} is served by its sorry server.");
            let look = "Its own servers, below: why they are down.";
            Warning::new(Severity::Error, "sorry", text, look)
        });
    }
    let all = |is: fn(&RealServer) -> bool| service.servers.iter().all(is);
    let (why, look) = if all(|server| server.health.is_up() && server.listing.overloaded) {
        ("all are overloaded", "Their upper thresholds (lvsadm -L --thresholds), or more servers.")
    } else if all(|server| server.health.is_up() && server.full_weight == 0) {
        ("all have weight 0", "Give one a weight again (lvsadm -e -w).")
    } else {
        (
            "none is up",
            "The reasons beside its servers, below. All at once is seldom the servers: look at the network between.",
        )
    };
    let text = format!("{id} has no server for new clients: {why}. They are refused.");
    Some(Warning::new(Severity::Error, "no_server", text, look))
}

/// What checks say, where there is still a server.
fn health(service: &Service) -> [Option<Warning>; 3] {
    let down = named(service, |server| matches!(server.health, HealthState::Down | HealthState::AssumedDown));
    let held = named(service, |server| server.health == HealthState::Held);
    let overloaded = named(service, |server| server.listing.overloaded);
    let available = service.servers.iter().any(RealServer::is_available);
    let (id, all) = (&service.id, service.servers.len());
    let is = |count| if count == 1 { "is" } else { "are" };
    [
        (!down.is_empty() && available).then(|| {
            let short = if service.quorum == Some(false) { ", which is no quorum" } else { "" };
            let text = format!(
                "{} of {all} servers of {id} {} down{short}: {}.",
                down.len(),
                is(down.len()),
                some(&down)
            );
            let look = "The reasons beside them, below; then the servers themselves.";
            Warning::new(Severity::Warning, "servers_down", text, look)
        }),
        (!held.is_empty()).then(|| {
            let text = format!(
                "{} of {id} came and went too often, and {} held back for a while.",
                some(&held),
                is(held.len())
            );
            let look = "Load and logs of the server; checks that are stricter than the server is fast.";
            Warning::new(Severity::Warning, "flapping", text, look)
        }),
        (!overloaded.is_empty() && available).then(|| {
            let text = format!(
                "{} of {id} {} overloaded: no new connections for now.",
                some(&overloaded),
                is(overloaded.len())
            );
            let look = "Upper thresholds (lvsadm -L --thresholds), or more servers.";
            Warning::new(Severity::Warning, "overloaded", text, look)
        }),
    ]
}

/// The addresses of servers.
fn named(service: &Service, is: impl Fn(&RealServer) -> bool) -> Vec<String> {
    let these = service.servers.iter().filter(|server| is(server));
    these.map(|server| server.listing.address.to_string()).collect()
}

fn neighbours(snapshot: &Snapshot, warnings: &mut Vec<Warning>) {
    let unknown = snapshot.neighbours.iter().flatten();
    let unknown = unknown.filter(|one| one.mac.is_none() || one.state == NeighbourState::Lost);
    let mut by_device: Vec<(&str, Vec<String>)> = Vec::new();
    for neighbour in unknown {
        let address = neighbour.address.to_string();
        match by_device.iter_mut().find(|(device, _)| *device == neighbour.device) {
            Some((_, addresses)) => addresses.push(address),
            None => by_device.push((&neighbour.device, vec![address])),
        }
    }
    for (device, addresses) in by_device {
        let verb = if addresses.len() == 1 { "does" } else { "do" };
        let text = format!(
            "{} {verb} not answer ARP or NDP on {device}: nothing can be sent there.",
            some(&addresses)
        );
        let look =
            "Whether it runs, and in this segment and VLAN; its address and prefix length; a firewall on it.";
        warnings.push(Warning::new(Severity::Error, "no_neighbour", text, look));
    }
}

fn conflicts(snapshot: &Snapshot, warnings: &mut Vec<Warning>) {
    for conflict in &snapshot.conflicts {
        let text = format!(
            "{} on {} claims {}, too: clients land there.",
            conflict.mac, conflict.device, conflict.address
        );
        let look = "That station. A real server must keep quiet about the VIP: arp_ignore=1, arp_announce=2, and the VIP on lo \
            only. `doctor` finds it.";
        warnings.push(Warning::new(Severity::Error, "conflict", text, look));
    }
}

fn table(snapshot: &Snapshot, warnings: &mut Vec<Warning>) {
    let table = &snapshot.table;
    let percent = u64::from(table.used) * 100 / u64::from(table.capacity.max(1));
    let Some((_, severity)) = FULL.iter().find(|(from, _)| percent >= *from) else {
        return;
    };
    let text = format!(
        "The connection table is {percent} % full ({} of {} lines). When it is full, new clients are served by hash, without an entry.",
        table.used, table.capacity
    );
    let look = "What fills it: the rates of services below. A larger table, or shorter time-outs; against a flood of SYNs the \
        defences drop_entry and drop_packet.";
    warnings.push(Warning::new(*severity, "table", text, look));
}
