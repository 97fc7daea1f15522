//! All checks of a director: starts probes when they are due, takes in their results, and decides who gets connections.
//!
//! ```text
//!   configure ─────────►┌─────────────────────────────────────────┐──► poll_probe      a probe is to be started
//!   handle_timeout ────►│ checks ─► servers ─► services ─► servers│──► poll_decision   an edit for the director
//!   handle_result ─────►│ (Checker) all up?    quorum?     in/out │──► poll_event      a line for the log
//!   handle_repeated_syn►└─────────────────────────────────────────┘──► poll_timeout    when to call again
//!   force
//! ```
//!
//! The monitor owns the list of real servers of the services it watches: after [`configure`](Monitor::configure) the decisions add
//! the servers, edit them and remove those that are gone. Services themselves are the caller's to add, edit and remove.

mod checker;
mod configure;
mod evaluate;
mod penalty;
mod slots;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lvs_core::Instant;
use lvs_core::config::{DestinationConfig, ServiceConfig, ServiceKey};

pub use checker::{CheckState, Checker, Phase};
pub use status::{CheckStatus, Event, Forced, ServerState, ServerStatus, ServiceStatus, Statistics};

use crate::config::{Damping, MonitorConfig, OnDown, Probe, Quorum};
use crate::deadlines::Deadlines;
use crate::decision::{Admission, Decision, Membership};
use crate::outcome::{Failure, FailureKind, Outcome};
use crate::random::Random;
use penalty::Penalty;
use slots::Slots;

/// How long after a probe's time-out the monitor waits for its prober's word. A prober that keeps silent longer is taken to have
/// found no answer.
pub const GRACE: Duration = Duration::from_millis(250);

/// Deadlines looked at in one call.
const BUDGET: usize = 256;

/// Events kept for somebody to fetch.
const EVENTS: usize = 256;

/// Early probes of one server because of repeated SYNs: one in this time.
const SUSPECT_EVERY: Duration = Duration::from_secs(1);

/// Early probes of all servers in a second.
const SUSPICIONS_A_SECOND: u32 = 100;

/// Names one probe that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeId {
    check: u32,
    serial: u64,
}

impl ProbeId {
    /// A name for probes that no monitor started. Names of a monitor have numbers below its `max_checks`.
    #[must_use]
    pub const fn new(check: u32, serial: u64) -> Self {
        Self { check, serial }
    }
}

/// A probe that is to be started now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the monitor takes the probe for started"]
pub struct ProbeOrder {
    /// Its name, for [`Monitor::handle_result`].
    pub id: ProbeId,
    /// The service.
    pub service: ServiceKey,
    /// The real server.
    pub server: IpAddr,
    /// What to ask.
    pub probe: Arc<Probe>,
    /// How long it may take.
    pub timeout: Duration,
}

/// No such server is monitored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such real server is monitored")]
pub struct NoSuchServerError;

/// Looks after all real servers of a director. See the [module](self) for its calls; `handle_*` takes input, `poll_*` yields output
/// and is called until it answers `None`.
#[derive(Debug)]
pub struct Monitor {
    config: MonitorConfig,
    random: Random,
    services: Slots<Service>,
    servers: Slots<Server>,
    checks: Slots<Check>,
    by_service: HashMap<ServiceKey, u32>,
    by_server: HashMap<(u32, IpAddr), u32>,
    /// Checks by number; behind them servers that are held.
    deadlines: Deadlines,
    /// Checks whose probe is due.
    starts: VecDeque<u32>,
    in_flight: u32,
    serial: u64,
    /// Checks made so far, for the spread of their first probes.
    spread: u64,
    /// Servers that come in, those that go out, and those that are no longer configured.
    ins: VecDeque<u32>,
    outs: VecDeque<u32>,
    removals: VecDeque<(ServiceKey, DestinationConfig)>,
    events: VecDeque<Event>,
    events_lost: u32,
    suspicions: (Instant, u32),
    statistics: Statistics,
}

#[derive(Debug)]
struct Service {
    config: ServiceConfig,
    on_down: OnDown,
    quorum: Quorum,
    damping: Option<Damping>,
    servers: Vec<u32>,
    sorry: Option<u32>,
    quorum_held: bool,
    /// The weight that is up.
    live: u64,
}

#[derive(Debug)]
struct Server {
    service: u32,
    destination: DestinationConfig,
    /// Never automatic.
    on_down: OnDown,
    checks: Vec<u32>,
    is_sorry: bool,
    /// Whether a sorry server stands in now.
    standing_in: bool,
    /// All checks say up.
    healthy: bool,
    held: bool,
    penalty: Penalty,
    forced: Option<Forced>,
    /// A weight that a check wants.
    weight: Option<u32>,
    admission: Admission,
    applied: Membership,
    queued_in: bool,
    queued_out: bool,
    state: ServerState,
    since: Instant,
    suspect_from: Instant,
}

#[derive(Debug)]
struct Check {
    server: u32,
    probe: Arc<Probe>,
    checker: Checker,
    /// Of the probe that is under way, or 0.
    serial: u64,
    queued: bool,
    last: Option<Instant>,
    failure: Option<Failure>,
}

/// What a server is worth to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Serving,
    /// Its checks say up, damping holds it.
    Held,
    Out,
}

impl Server {
    const fn standing(&self) -> Standing {
        match self.forced {
            Some(Forced::Up) => Standing::Serving,
            Some(Forced::Down | Forced::Maintenance { .. }) => Standing::Out,
            None if !self.healthy => Standing::Out,
            None if self.held => Standing::Held,
            None => Standing::Serving,
        }
    }

    /// The weight it has while it is up.
    fn wanted_weight(&self) -> u32 {
        self.weight.unwrap_or(self.destination.weight)
    }
}

impl Monitor {
    /// A monitor of nothing yet. All its memory is taken here, but for what configurations bring.
    #[must_use]
    pub fn new(config: MonitorConfig) -> Self {
        Self {
            random: Random::new(config.seed),
            services: Slots::new(config.max_services),
            servers: Slots::new(config.max_servers),
            checks: Slots::new(config.max_checks),
            by_service: HashMap::with_capacity(config.max_services as usize),
            by_server: HashMap::with_capacity(config.max_servers as usize),
            deadlines: Deadlines::new(config.max_checks as usize + config.max_servers as usize),
            starts: VecDeque::with_capacity(config.max_checks as usize),
            in_flight: 0,
            serial: 0,
            spread: 0,
            ins: VecDeque::with_capacity(config.max_servers as usize),
            outs: VecDeque::with_capacity(config.max_servers as usize),
            removals: VecDeque::new(),
            events: VecDeque::with_capacity(EVENTS),
            events_lost: 0,
            suspicions: (Instant::ZERO, 0),
            statistics: Statistics::default(),
            config,
        }
    }

    /// Does what is due. Too early or repeated calls are harmless. Looks at 256 deadlines at most; what is left is due at once.
    pub fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..BUDGET {
            let Some(number) = self.deadlines.pop(now) else {
                return;
            };
            match number.checked_sub(self.config.max_checks) {
                Some(server) => self.release(now, server),
                None => self.check_due(now, number),
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.starts.is_empty() && self.in_flight < self.config.max_in_flight {
            return Some(Instant::ZERO);
        }
        self.deadlines.next()
    }

    /// The next probe to start. Whoever carries it out reports by [`handle_result`](Self::handle_result).
    pub fn poll_probe(&mut self, now: Instant) -> Option<ProbeOrder> {
        if self.in_flight >= self.config.max_in_flight {
            return None;
        }
        let number = self.starts.pop_front()?;
        self.serial += 1;
        let check = &mut self.checks[number];
        check.queued = false;
        check.serial = self.serial;
        check.checker.handle_start(now);
        let timeout = check.checker.timing().timeout;
        self.deadlines.set(number, now + timeout + GRACE);
        self.in_flight += 1;
        self.statistics.started += 1;
        let server = &self.servers[check.server];
        Some(ProbeOrder {
            id: ProbeId { check: number, serial: self.serial },
            service: self.services[server.service].config.key,
            server: server.destination.address,
            probe: check.probe.clone(),
            timeout,
        })
    }

    /// A probe has ended. The result of a probe that is over already, or whose check is gone, changes nothing.
    pub fn handle_result(&mut self, now: Instant, id: ProbeId, outcome: Outcome) {
        match self.checks.get(id.check) {
            Some(check) if id.serial != 0 && check.serial == id.serial => self.finish(now, id.check, outcome),
            _ => self.statistics.stale += 1,
        }
    }

    /// A client repeats its SYN to this server: whoever passed the first one on may suspect the server. Its checks start at once,
    /// unless they did so in the last second, or 100 servers were suspected in this one.
    pub fn handle_repeated_syn(&mut self, now: Instant, service: &ServiceKey, server: IpAddr) {
        let Some(number) = self.find(service, server) else {
            return;
        };
        let one = &mut self.servers[number];
        // What is down already will be found up again soon enough.
        if now < one.suspect_from || one.standing() == Standing::Out {
            return;
        }
        let (second, count) = self.suspicions;
        if now.saturating_duration_since(second) >= Duration::from_secs(1) {
            self.suspicions = (now, 0);
        } else if count >= SUSPICIONS_A_SECOND {
            return;
        }
        self.suspicions.1 += 1;
        self.statistics.suspicions += 1;
        one.suspect_from = now + SUSPECT_EVERY;
        for &check in &one.checks {
            let checker = &mut self.checks[check].checker;
            checker.hasten(now);
            if let Phase::Waiting { due } = checker.phase()
                && !self.checks[check].queued
            {
                self.deadlines.set(check, due);
            }
        }
    }

    /// An operator's word about a server of a service; `None` takes it back. It stays until then, also across
    /// [`configure`](Self::configure), as long as the server is configured.
    ///
    /// # Errors
    /// If no such server is monitored. A sorry server is not.
    pub fn force(
        &mut self,
        now: Instant,
        service: &ServiceKey,
        server: IpAddr,
        forced: Option<Forced>,
    ) -> Result<(), NoSuchServerError> {
        let number = self.find(service, server).filter(|&number| !self.servers[number].is_sorry);
        let number = number.ok_or(NoSuchServerError)?;
        self.servers[number].forced = forced;
        self.evaluate(now, self.servers[number].service);
        Ok(())
    }

    /// The same for a server wherever it serves, as for work on a machine. Answers for how many services.
    pub fn force_everywhere(&mut self, now: Instant, server: IpAddr, forced: Option<Forced>) -> usize {
        let keys: Vec<ServiceKey> = self.by_service.keys().copied().collect();
        keys.iter().filter(|key| self.force(now, key, server, forced).is_ok()).count()
    }

    /// The next edit of the director. Those that let servers in come first, so that no service is without any in between; edits are
    /// in the order of the configuration, and may be applied in one list.
    pub fn poll_decision(&mut self) -> Option<Decision> {
        while let Some(number) = self.ins.pop_front().or_else(|| self.outs.pop_front()) {
            if let Some(decision) = self.decide(number) {
                return Some(decision);
            }
        }
        let (service, destination) = self.removals.pop_front()?;
        let before = Membership::Present { config: destination, draining: false };
        Decision::between(service, destination, before, Membership::Absent, Admission::Out(OnDown::Remove))
    }

    /// The director refused a decision's edit. It is tried again with the next change of the service.
    pub fn handle_refused(&mut self, decision: &Decision) {
        if let Some(number) = self.find(&decision.service, decision.destination.address) {
            self.servers[number].applied = decision.before;
        }
    }

    /// The director has this server as it is given here, or not at all: say so after [`configure`](Self::configure) and before decisions
    /// are fetched, where a monitor takes over a director that runs, or somebody else has edited it.
    ///
    /// # Errors
    /// If no such server is monitored.
    pub fn adopt(
        &mut self,
        now: Instant,
        service: &ServiceKey,
        server: IpAddr,
        there: Option<DestinationConfig>,
    ) -> Result<(), NoSuchServerError> {
        let number = self.find(service, server).ok_or(NoSuchServerError)?;
        self.servers[number].applied =
            there.map_or(Membership::Absent, |config| Membership::Present { config, draining: false });
        self.evaluate(now, self.servers[number].service);
        Ok(())
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let lost = std::mem::take(&mut self.events_lost);
        (lost > 0).then_some(Event::Lost(lost))
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        } else {
            self.events_lost += 1;
        }
    }

    fn find(&self, service: &ServiceKey, server: IpAddr) -> Option<u32> {
        let service = *self.by_service.get(service)?;
        self.by_server.get(&(service, server)).copied()
    }

    /// A check's deadline has come: its next probe is due, or its prober has not reported.
    fn check_due(&mut self, now: Instant, number: u32) {
        let check = &mut self.checks[number];
        match check.checker.phase() {
            Phase::Waiting { .. } => {
                if self.in_flight >= self.config.max_in_flight {
                    self.statistics.late += 1;
                }
                check.queued = true;
                self.starts.push_back(number);
            }
            Phase::Probing { .. } => {
                self.statistics.overdue += 1;
                let failure = Failure::new(FailureKind::Overdue, "the probe did not come to an end in time");
                self.finish(now, number, Outcome::Failure(failure));
            }
        }
    }

    fn finish(&mut self, now: Instant, number: u32, outcome: Outcome) {
        let check = &mut self.checks[number];
        check.serial = 0;
        check.last = Some(now);
        self.in_flight -= 1;
        let server = check.server;
        let before = check.checker.state();
        let mut reweighed = false;
        match outcome {
            Outcome::Success { weight } => {
                self.statistics.successes += 1;
                check.failure = None;
                check.checker.handle_result(now, true, &mut self.random);
                if let Some(weight) = weight {
                    let weight = Some(weight.min(DestinationConfig::MAX_WEIGHT));
                    reweighed = std::mem::replace(&mut self.servers[server].weight, weight) != weight;
                }
            }
            Outcome::Failure(failure) => {
                self.statistics.failures += 1;
                check.failure = Some(failure);
                check.checker.handle_result(now, false, &mut self.random);
            }
            Outcome::Undecided(failure) => {
                self.statistics.undecided += 1;
                check.failure = Some(failure);
                check.checker.handle_no_result(now, &mut self.random);
            }
        }
        let checker = &self.checks[number].checker;
        if let Phase::Waiting { due } = checker.phase() {
            self.deadlines.set(number, due);
        }
        if checker.state() != before || reweighed {
            self.server_changed(now, server);
        }
    }
}
