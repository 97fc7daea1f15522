//! What health checks found, as log lines and as a listing.

use std::time::SystemTime;

use lvs_admin::json::{HealthCheck, HealthServer, HealthService};
use lvs_admin::metrics::{self, HealthState};
use lvs_core::Instant;
use lvs_health::Monitor;
use lvs_health::config::{PathMethod, Probe, SocketMethod};
use lvs_health::monitor::{Event, ServerState};

/// Says that something changed.
pub(crate) fn log(event: &Event) {
    match event {
        Event::Server { service, address, before, state, reason, .. } => {
            let (before, now) = (before.slug(), state.slug());
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let reason = reason.as_ref().map_or("", |reason| reason.text());
            let is_good = matches!(state, ServerState::Up | ServerState::AssumedUp | ServerState::Waiting);
            if is_good {
                tracing::info!(event = "server", %service, server = %address, before, state = now, reason,
                    "{address} of {service} is {now}");
            } else {
                tracing::warn!(event = "server", %service, server = %address, before, state = now, reason,
                    "{address} of {service} is {now}{why}");
            }
        }
        Event::Quorum { service, gained: true, weight, .. } => {
            tracing::info!(event = "quorum", %service, gained = true, weight, "{service} has its quorum again: weight {weight} is up");
        }
        Event::Quorum { service, gained: false, weight, .. } => {
            tracing::error!(event = "quorum", %service, gained = false, weight,
                "{service} has lost its quorum: weight {weight} is up");
        }
        Event::Lost(count) => {
            tracing::warn!(event = "lost", count, "{count} events of health checks were lost");
        }
        other => tracing::info!("{other:?}"),
    }
}

/// How all services are that are monitored, by key.
pub(crate) fn listing(monitor: &Monitor, now: Instant) -> Vec<HealthService> {
    let seconds = |from: Instant| now.saturating_duration_since(from).as_secs();
    let mut services: Vec<_> = monitor.services().collect();
    services.sort_by_key(|service| service.service);
    let service = |one: lvs_health::monitor::ServiceStatus| {
        let server = |server: lvs_health::monitor::ServerStatus<'_>| {
            let checks = monitor.checks(&one.service, server.destination.address);
            HealthServer {
                address: server.destination.address,
                state: server.state.slug().to_owned(),
                since: seconds(server.since),
                weight: server.weight,
                reason: server.reason.map(|reason| reason.text().to_owned()),
                held_for: server.held_until.map(|until| until.saturating_duration_since(now).as_secs()),
                checks: checks
                    .map(|check| HealthCheck {
                        check: words(check.probe),
                        up: check.state.is_up(),
                        last: check.last.map(seconds),
                        progress: check.progress,
                        failure: check.failure.map(|failure| failure.text().to_owned()),
                    })
                    .collect(),
            }
        };
        HealthService {
            service: one.service.into(),
            weight_up: one.weight,
            quorum: one.quorum,
            sorry: one.sorry,
            servers: monitor.servers(&one.service).map(server).collect(),
        }
    };
    services.into_iter().map(service).collect()
}

/// What metrics show of it.
pub(crate) fn figures(monitor: &Monitor, now: Instant) -> metrics::HealthReport {
    let clock = SystemTime::now();
    let mut report = metrics::HealthReport::default();
    for one in monitor.services() {
        let service = one.service;
        report.services.push(metrics::ServiceReport { service, quorum: one.quorum, sorry: one.sorry });
        report.servers.extend(monitor.servers(&service).map(|server| metrics::ServerReport {
            service,
            destination: *server.destination,
            state: HealthState::from_slug(server.state.slug()).unwrap_or(HealthState::Unchecked),
            reason: server.reason.map(|reason| reason.text().to_owned()),
            since: clock.checked_sub(now.saturating_duration_since(server.since)),
            unanswered: None,
        }));
    }
    let of = monitor.statistics();
    report.probes = metrics::Probes {
        started: of.started,
        successes: of.successes,
        failures: of.failures,
        undecided: of.undecided,
        overdue: of.overdue,
        late: of.late,
        suspicions: of.suspicions,
    };
    report
}

/// What a check asks.
fn words(probe: &Probe) -> String {
    match probe {
        Probe::Path(path) => match &path.method {
            PathMethod::HalfOpen => "half-open through the VIP".to_owned(),
            PathMethod::Connect => "tcp through the VIP".to_owned(),
            PathMethod::Http(http) => format!("http {} through the VIP", http.path),
            _ => "through the VIP".to_owned(),
        },
        Probe::Socket(socket) => match &socket.method {
            SocketMethod::Tcp => "tcp".to_owned(),
            SocketMethod::Http(http) => format!("http {}", http.path),
            SocketMethod::Https(http, _) => format!("https {}", http.path),
            SocketMethod::Udp(_) => "udp".to_owned(),
            SocketMethod::Dns(dns) => format!("dns {}", dns.name),
            SocketMethod::Ping => "ping".to_owned(),
            SocketMethod::Command(command) => format!("command {}", command.arguments.join(" ")),
            _ => "another".to_owned(),
        },
        _ => "another".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The monitor's names are those that metrics know.
    #[test]
    fn states_have_the_same_names_everywhere() {
        use lvs_health::monitor::Forced;
        let states = [
            ServerState::AssumedUp,
            ServerState::AssumedDown,
            ServerState::Up,
            ServerState::Down,
            ServerState::Held,
            ServerState::Forced(Forced::Up),
            ServerState::Forced(Forced::Down),
            ServerState::Forced(Forced::Maintenance { drain: None }),
            ServerState::Waiting,
            ServerState::InUse,
        ];
        for state in states {
            assert!(HealthState::from_slug(state.slug()).is_some(), "{}", state.slug());
        }
    }
}
