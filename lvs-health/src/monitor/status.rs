//! What a monitor shows of itself.

use std::net::IpAddr;

use lvs_core::Instant;
use lvs_core::config::{DestinationConfig, ServiceKey};

use super::checker::CheckState;
use super::{Monitor, Server, Standing};
use crate::config::Probe;
use crate::outcome::Failure;

/// What an operator says about a server, whatever its checks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forced {
    /// It is up.
    Up,
    /// It is down, and treated as one whose checks failed.
    Down,
    /// It is being worked on: no new connections (weight 0, it keeps its place); established ones go on, or end with RST after
    /// this long.
    Maintenance {
        /// At most 31 days.
        drain: Option<std::time::Duration>,
    },
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerState {
    /// Nothing is known yet; it is held to be up.
    AssumedUp,
    /// Nothing is known yet; it is held to be down.
    AssumedDown,
    /// Up.
    Up,
    /// Down: at least one check failed as often as it may.
    Down,
    /// Its checks say up, but it went up and down too often lately.
    Held,
    /// An operator said so.
    Forced(Forced),
    /// A sorry server that waits for the quorum to be lost.
    Waiting,
    /// A sorry server in use.
    InUse,
}

impl ServerState {
    /// A stable name for listings, metrics and JSON.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::AssumedUp => "assumed_up",
            Self::AssumedDown => "assumed_down",
            Self::Up => "up",
            Self::Down => "down",
            Self::Held => "held",
            Self::Forced(Forced::Up) => "forced_up",
            Self::Forced(Forced::Down) => "forced_down",
            Self::Forced(Forced::Maintenance { .. }) => "maintenance",
            Self::Waiting => "waiting",
            Self::InUse => "in_use",
        }
    }
}

/// A real server as the monitor sees it.
#[derive(Debug, Clone, Copy)]
pub struct ServerStatus<'m> {
    /// Its service.
    pub service: ServiceKey,
    /// As it was configured.
    pub destination: &'m DestinationConfig,
    /// How it is.
    pub state: ServerState,
    /// Since when.
    pub since: Instant,
    /// The weight that the director has been told; `None` while it is out of the service.
    pub weight: Option<u32>,
    /// Why it is down, or what its latest failure was.
    pub reason: Option<&'m Failure>,
    /// When a held server is let go.
    pub held_until: Option<Instant>,
}

/// A check as the monitor sees it.
#[derive(Debug, Clone, Copy)]
pub struct CheckStatus<'m> {
    /// What it asks.
    pub probe: &'m Probe,
    /// What it says.
    pub state: CheckState,
    /// Results in a row that speak against that, and how many it takes.
    pub progress: (u32, u32),
    /// When its latest probe ended; `None` before the first.
    pub last: Option<Instant>,
    /// Why its latest probe failed, or could not be carried out.
    pub failure: Option<&'m Failure>,
}

/// A service as the monitor sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceStatus {
    /// The service.
    pub service: ServiceKey,
    /// The weight that is up.
    pub weight: u64,
    /// Whether that makes a quorum.
    pub quorum: bool,
    /// Whether the sorry server is in use.
    pub sorry: bool,
}

/// Something that the people who run a director want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A server is another than before.
    Server {
        /// When.
        at: Instant,
        /// Its service.
        service: ServiceKey,
        /// Its address.
        address: IpAddr,
        /// What it was.
        before: ServerState,
        /// What it is.
        state: ServerState,
        /// Why, where a check failed.
        reason: Option<Failure>,
    },
    /// A service lost or gained its quorum.
    Quorum {
        /// When.
        at: Instant,
        /// The service.
        service: ServiceKey,
        /// Whether it has it now.
        gained: bool,
        /// The weight that is up.
        weight: u64,
    },
    /// So many events were lost because nobody fetched them.
    Lost(u32),
}

/// Counters of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Probes started.
    pub started: u64,
    /// Of them, those that succeeded.
    pub successes: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that could not be carried out.
    pub undecided: u64,
    /// Those whose prober did not report in time; they count as failures, too.
    pub overdue: u64,
    /// Probes that started late because `max_in_flight` others were under way.
    pub late: u64,
    /// Results that came for a probe that nobody waits for any more.
    pub stale: u64,
    /// Repeated SYNs that made a probe start early.
    pub suspicions: u64,
}

impl Monitor {
    /// The services, in no particular order.
    pub fn services(&self) -> impl Iterator<Item = ServiceStatus> + '_ {
        self.by_service.iter().map(|(&service, &number)| {
            let one = &self.services[number];
            let sorry = one.sorry.is_some_and(|sorry| self.servers[sorry].standing_in);
            ServiceStatus { service, weight: one.live, quorum: one.quorum_held, sorry }
        })
    }

    /// The real servers of a service in the order of its configuration, the sorry server last. None for a service that is not
    /// monitored.
    pub fn servers(&self, service: &ServiceKey) -> impl Iterator<Item = ServerStatus<'_>> {
        let numbers = self.by_service.get(service).map(|&number| {
            let one = &self.services[number];
            one.servers.iter().copied().chain(one.sorry)
        });
        let service = *service;
        numbers.into_iter().flatten().map(move |number| {
            let server = &self.servers[number];
            let damping = self.services[server.service].damping;
            ServerStatus {
                service,
                destination: &server.destination,
                state: server.state,
                since: server.since,
                weight: server.applied.weight(),
                reason: self.reason(server),
                held_until: damping
                    .filter(|_| server.held)
                    .map(|damping| server.penalty.release_at(&damping)),
            }
        })
    }

    /// The checks of a server. None for a server that is not monitored.
    pub fn checks(&self, service: &ServiceKey, address: IpAddr) -> impl Iterator<Item = CheckStatus<'_>> {
        let server = self.find(service, address).map(|number| &self.servers[number]);
        server.into_iter().flat_map(|server| &server.checks).map(|&number| {
            let check = &self.checks[number];
            CheckStatus {
                probe: &check.probe,
                state: check.checker.state(),
                progress: check.checker.progress(),
                last: check.last,
                failure: check.failure.as_ref(),
            }
        })
    }

    /// The real servers of a service as the director is to have them once all decisions are carried out, in the order of the
    /// configuration: what to load into a director that is made anew.
    pub fn destinations(&self, service: &ServiceKey) -> impl Iterator<Item = DestinationConfig> + '_ {
        let numbers = self.by_service.get(service).map(|&number| {
            let one = &self.services[number];
            one.servers.iter().copied().chain(one.sorry)
        });
        numbers.into_iter().flatten().filter_map(|number| {
            let server = &self.servers[number];
            match server.applied.after(server.destination, server.admission) {
                crate::decision::Membership::Present { config, .. } => Some(config),
                crate::decision::Membership::Absent => None,
            }
        })
    }

    /// Counters.
    #[must_use]
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The failure that best says how a server is: one of a check that is down, or else any.
    pub(super) fn reason(&self, server: &Server) -> Option<&Failure> {
        let checks = || server.checks.iter().map(|&check| &self.checks[check]);
        let down =
            checks().filter(|check| !check.checker.state().is_up()).find_map(|check| check.failure.as_ref());
        down.or_else(|| checks().find_map(|check| check.failure.as_ref()))
    }

    /// How a server is, for people.
    pub(super) fn state_of(&self, server: &Server) -> ServerState {
        if server.is_sorry {
            return if server.standing_in { ServerState::InUse } else { ServerState::Waiting };
        }
        let assumed = |up| {
            server.checks.iter().any(|&check| {
                let state = self.checks[check].checker.state();
                matches!(state, CheckState::Assumed(_)) && state.is_up() == up
            })
        };
        match server.standing() {
            _ if server.forced.is_some() => server.forced.map_or(ServerState::Up, ServerState::Forced),
            Standing::Held => ServerState::Held,
            Standing::Serving if assumed(true) => ServerState::AssumedUp,
            Standing::Serving => ServerState::Up,
            Standing::Out => {
                let failed =
                    server.checks.iter().any(|&check| self.checks[check].checker.state() == CheckState::Down);
                if !failed && assumed(false) { ServerState::AssumedDown } else { ServerState::Down }
            }
        }
    }
}
