//! Health checks at work: a thread of its own makes probes, hears what comes of them, and edits the director.
//!
//! ```text
//!            repeated SYNs, answers to probes              edits, watched neighbours
//!  group ────────────────────────────────► this thread ─────────────────────────────► group
//!                                            │      ▲
//!                        frames of probes ◄──┘      └── sockets, commands (a thread of lvs-health)
//!  first worker ◄── outbox
//! ```
//! Services with a check or a sorry server are monitored: their real servers are added, edited and removed here and nowhere else. What
//! is checked comes from the file; what is found is shown by `lvsadm --health`, in the log and in the metrics.

mod convert;
mod outbox;
mod report;
mod sockets;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use lvs_admin::config::Configuration;
use lvs_admin::json::{ForcedState, HealthService};
use lvs_admin::{control, metrics};
use lvs_core::Instant;
use lvs_core::config::{Change, ServiceKey};
use lvs_core::connection::TableMemory;
use lvs_core::director::{DirectorGroup, PROBE_BUFFER};
use lvs_examples::clock::Clock;
use lvs_health::config::{MonitorConfig, Probe, ServiceHealth};
use lvs_health::monitor::Forced;
use lvs_health::path::{PathConfig, PathProber, Route};
use lvs_health::sockets::SocketProber;
use lvs_health::{Monitor, Outcome, ProbeOrder};

pub(crate) use self::convert::{has_ping, is_monitored, notes, services};
pub(crate) use self::outbox::Outbox;
use self::sockets::Sockets;

/// The longest wait: a wake-up that came just before it is made up for.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// The shortest wait for what is due: a thousand checks are due in small pieces, and to wake up for each costs more than the piece.
/// Answers end it.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
/// How often is looked whether a server has told its Ethernet address by now.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// Answers that are taken in between two looks at what is due.
const ANSWERS: usize = 256;

/// The health checks of a director.
pub(crate) struct Health<M: TableMemory> {
    group: DirectorGroup<M>,
    clock: Clock,
    state: Mutex<State>,
    outbox: Outbox,
    alarm: Arc<Alarm>,
    /// Answers come to the director only at addresses that it owns: the host's kernel keeps frames for its own.
    needs_own_address: bool,
}

/// What the checks know.
struct State {
    monitor: Monitor,
    path: PathProber,
    sockets: Sockets,
    /// Probes whose server's Ethernet address is being asked for, and when each is over.
    waiting: Vec<(Instant, ProbeOrder)>,
    /// Real servers whose Ethernet addresses are asked for though they may serve nobody.
    watched: BTreeSet<IpAddr>,
}

/// Wakes the thread of the checks.
#[derive(Default)]
struct Alarm {
    thread: Mutex<Option<Thread>>,
    stop: AtomicBool,
}

impl Alarm {
    fn ring(&self) {
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Whether these services can be monitored by a director that is started with them.
///
/// # Errors
/// The first thing that cannot, with its place.
pub(crate) fn validate(services: &[ServiceHealth]) -> Result<(), String> {
    let monitor = Monitor::new(monitor_config(services, 0));
    monitor.check(services).map_err(|error| format!("health checks: {error}"))
}

/// Room for these and as many again, so that a reload finds some.
fn monitor_config(services: &[ServiceHealth], seed: u64) -> MonitorConfig {
    let usual = MonitorConfig::new(seed);
    let count = |number: usize| u32::try_from(number.saturating_mul(2)).unwrap_or(u32::MAX);
    let servers = services.iter().map(|service| service.servers.len() + 1).sum();
    let checks = services.iter().flat_map(|service| &service.servers).map(|server| server.checks.len()).sum();
    MonitorConfig {
        max_services: count(services.len()).max(usual.max_services),
        max_servers: count(servers).max(usual.max_servers),
        max_checks: count(checks).max(usual.max_checks),
        ..usual
    }
}

impl<M: TableMemory> Health<M> {
    /// For a group that has the services, but not yet their servers. Brings in those that are held to be up.
    ///
    /// # Errors
    /// What cannot be monitored.
    pub(crate) fn new(
        group: DirectorGroup<M>,
        clock: Clock,
        services: &[ServiceHealth],
        seed: u64,
        needs_own_address: bool,
    ) -> Result<Self, String> {
        let state = State {
            monitor: Monitor::new(monitor_config(services, seed)),
            path: PathProber::new(&PathConfig::new(seed.rotate_left(17))),
            sockets: Sockets::new(seed.rotate_left(34)),
            waiting: Vec::new(),
            watched: BTreeSet::new(),
        };
        let alarm = Arc::<Alarm>::default();
        group.set_probe_waker(Waker::from(Arc::clone(&alarm)));
        let health = Self {
            group,
            clock,
            state: Mutex::new(state),
            outbox: Outbox::default(),
            alarm,
            needs_own_address,
        };
        let paused = health.pause();
        paused.check(services)?;
        paused.configure(services, &BTreeSet::new())?;
        Ok(health)
    }

    /// Keeps the checks from editing the director until the answer is dropped.
    pub(crate) fn pause(&self) -> Paused<'_, M> {
        Paused { health: self, state: self.state() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the real servers of a service come and go as checks say.
    pub(crate) fn is_monitored(&self, key: &ServiceKey) -> bool {
        self.state().monitor.services().any(|one| one.service == *key)
    }

    /// What metrics show of it.
    pub(crate) fn report(&self) -> metrics::HealthReport {
        report::figures(&self.state().monitor, self.clock.now())
    }

    /// Whose Ethernet addresses are asked for.
    pub(crate) fn watched(&self) -> BTreeSet<IpAddr> {
        self.state().watched.clone()
    }

    /// Frames for the worker that sends them.
    pub(crate) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Asks for the Ethernet addresses of all that are probed, whether they serve or not.
    fn watch(&self, state: &mut State, services: &[ServiceHealth]) {
        let servers = services.iter().flat_map(|service| &service.servers);
        let wanted: BTreeSet<IpAddr> = servers.map(|server| server.destination.address).collect();
        let edit = |address: &IpAddr, watched| Change::WatchNeighbour { address: *address, watched };
        let gone = state.watched.difference(&wanted).map(|address| edit(address, false));
        let come = wanted.difference(&state.watched).map(|address| edit(address, true));
        let changes: Vec<Change> = gone.chain(come).collect();
        match self.group.apply(self.clock.now(), &changes) {
            Ok(()) => state.watched = wanted,
            Err(error) => tracing::error!(
                "health checks: {}; servers that are down may not be found again",
                error.error
            ),
        }
    }

    /// Runs until told to stop. For a thread of its own.
    pub(crate) fn run(&self) {
        *self.alarm.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
        let mut buffer = vec![0; PROBE_BUFFER];
        while !self.alarm.stop.load(Ordering::Relaxed) {
            let wait = self.turn(&mut buffer);
            if !wait.is_zero() {
                thread::park_timeout(wait);
            }
        }
    }

    /// Ends [`run`](Self::run) soon.
    pub(crate) fn stop(&self) {
        self.alarm.stop.store(true, Ordering::Relaxed);
        self.alarm.ring();
    }

    /// Answers how long there is nothing to do, unless something comes.
    fn turn(&self, buffer: &mut [u8]) -> Duration {
        let mut guard = self.state();
        let state = &mut *guard;
        let mut taken = 0;
        while let Some(reply) = (taken < ANSWERS).then(|| self.group.poll_probe_reply(buffer)).flatten() {
            let bytes = buffer.get(..reply.len).unwrap_or_default();
            state.path.handle_frame(self.clock.now(), &reply.meta, bytes);
            taken += 1;
        }
        let now = self.clock.now();
        while let Some(repeated) = self.group.poll_repeated_syn() {
            state.monitor.handle_repeated_syn(now, &repeated.service, repeated.address);
        }
        // Probers first, so that the monitor hears of a time-out from them.
        state.path.handle_timeout(now);
        while let Some((id, outcome)) = state.path.poll_outcome() {
            state.monitor.handle_result(now, id, outcome);
        }
        while let Some((id, outcome)) = state.sockets.poll_outcome() {
            state.monitor.handle_result(now, id, outcome);
        }
        state.monitor.handle_timeout(now);
        for (over, order) in std::mem::take(&mut state.waiting) {
            self.start(state, now, over, order);
        }
        while let Some(order) = state.monitor.poll_probe(now) {
            let over = now + order.timeout;
            self.start(state, now, over, order);
        }
        while let Some(frame) = state.path.poll_transmit(now, buffer) {
            let bytes = buffer.get(..frame.len).unwrap_or_default().into();
            self.outbox.push(outbox::Letter { port: frame.port, meta: frame.meta, bytes });
        }
        self.carry_out(state);
        while let Some(event) = state.monitor.poll_event() {
            report::log(&event);
        }
        if taken == ANSWERS {
            return Duration::ZERO;
        }
        let again = (!state.waiting.is_empty()).then(|| now + ASK_AGAIN);
        let probes = Instant::earliest(state.monitor.poll_timeout(), state.path.poll_timeout());
        let due = Instant::earliest(again, probes);
        let wait = due.map(|due| due.saturating_duration_since(self.clock.now()));
        wait.map_or(LONGEST_WAIT, |wait| wait.clamp(SHORTEST_WAIT, LONGEST_WAIT))
    }

    /// Starts a probe that is over then; or lets it wait while its server is being asked for its Ethernet address.
    fn start(&self, state: &mut State, now: Instant, over: Instant, mut order: ProbeOrder) {
        if matches!(*order.probe, Probe::Socket(_)) {
            let alarm = Arc::clone(&self.alarm);
            match state.sockets.prober(|config| SocketProber::spawn(config, move || alarm.ring())) {
                Some(sockets) => sockets.start(order),
                None => {
                    state.monitor.handle_result(now, order.id, undecided("there is no thread for probes"));
                }
            }
            return;
        }
        let Some(way) = self.group.route(order.server) else {
            let outcome = undecided("no interface leads there");
            return state.monitor.handle_result(now, order.id, outcome);
        };
        if self.needs_own_address && !way.owned {
            let outcome = undecided(
                "over AF_XDP answers come to the director's own addresses only: give it one with --probe-address",
            );
            return state.monitor.handle_result(now, order.id, outcome);
        }
        if way.next_hop_mac.is_none() && now < over {
            state.waiting.push((over, order));
            return;
        }
        order.timeout = over.saturating_duration_since(now);
        let route = Route {
            port: way.port,
            vlan: way.vlan,
            mac: way.mac,
            mtu: way.mtu,
            source: way.source,
            owned: way.owned,
            server_mac: way.next_hop_mac,
        };
        state.path.start(now, &order, &route);
    }

    /// Edits the director as the monitor decided: all at once, or where one is refused each for itself.
    fn carry_out(&self, state: &mut State) {
        let decisions: Vec<_> = std::iter::from_fn(|| state.monitor.poll_decision()).collect();
        if decisions.is_empty() {
            return;
        }
        let changes: Vec<Change> = decisions.iter().map(|decision| decision.change).collect();
        if self.group.apply(self.clock.now(), &changes).is_ok() {
            return;
        }
        for decision in &decisions {
            if let Err(error) = self.group.apply(self.clock.now(), &[decision.change]) {
                let server = decision.destination.address;
                tracing::warn!("health checks: {server} of {}: {}", decision.service, error.error);
                state.monitor.handle_refused(decision);
            }
        }
    }
}

/// Checks that edit nothing for now, so that somebody else can.
pub(crate) struct Paused<'a, M: TableMemory> {
    health: &'a Health<M>,
    state: MutexGuard<'a, State>,
}

impl<M: TableMemory> Paused<'_, M> {
    /// Whether [`configure`](Self::configure) would take these services.
    ///
    /// # Errors
    /// The first thing that cannot be monitored, with its place.
    pub(crate) fn check(&self, services: &[ServiceHealth]) -> Result<(), String> {
        self.state.monitor.check(services).map_err(|error| format!("health checks: {error}"))
    }

    /// Those of the services whose real servers the director has otherwise than their checks left them: nobody has monitored them so
    /// far, or somebody else has edited them.
    pub(crate) fn strayed(&self, services: &BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        let as_left = |key: &ServiceKey| {
            let servers = self.state.monitor.servers(key);
            let left: BTreeSet<(IpAddr, u32)> =
                servers.filter_map(|server| Some((server.destination.address, server.weight?))).collect();
            let found = self.health.group.service(*key).map(|listing| {
                let servers = listing.destinations.iter().map(|server| server.config);
                servers.map(|config| (config.address, config.weight)).collect()
            });
            found.as_ref() == Some(&left)
        };
        services.iter().filter(|key| !as_left(key)).copied().collect()
    }

    /// Monitors these services from now on: what is as before goes on, and what has [strayed](Self::strayed) is brought back.
    ///
    /// # Errors
    /// As [`check`](Self::check); all is as before then.
    pub(crate) fn configure(
        mut self,
        services: &[ServiceHealth],
        strayed: &BTreeSet<ServiceKey>,
    ) -> Result<(), String> {
        let Self { health, state } = &mut self;
        let now = health.clock.now();
        state.monitor.configure(now, services).map_err(|error| format!("health checks: {error}"))?;
        for key in strayed {
            let there = health.group.service(*key).map(|listing| listing.destinations).unwrap_or_default();
            let monitored: Vec<IpAddr> =
                state.monitor.servers(key).map(|server| server.destination.address).collect();
            for address in monitored {
                let config =
                    there.iter().map(|server| server.config).find(|config| config.address == address);
                // It was listed a moment ago.
                let _ = state.monitor.adopt(now, key, address, config);
            }
        }
        health.watch(state, services);
        health.carry_out(state);
        health.alarm.ring();
        Ok(())
    }
}

fn undecided(text: &str) -> Outcome {
    Outcome::Undecided(lvs_health::Failure::new(lvs_health::FailureKind::Local, text))
}

impl<M> control::Health for Health<M>
where
    M: TableMemory,
    DirectorGroup<M>: Send + Sync,
{
    fn listing(&self) -> Vec<HealthService> {
        report::listing(&self.state().monitor, self.clock.now())
    }

    fn force(
        &self,
        service: Option<ServiceKey>,
        server: IpAddr,
        state: ForcedState,
        deadline: Option<Duration>,
    ) -> usize {
        let forced = match state {
            ForcedState::Up => Some(Forced::Up),
            ForcedState::Down => Some(Forced::Down),
            ForcedState::Maintenance => Some(Forced::Maintenance { drain: deadline }),
            ForcedState::None => None,
        };
        let now = self.clock.now();
        let mut state = self.state();
        let count = match service {
            Some(key) => usize::from(state.monitor.force(now, &key, server, forced).is_ok()),
            None => state.monitor.force_everywhere(now, server, forced),
        };
        // Done when this is answered.
        self.carry_out(&mut state);
        drop(state);
        self.alarm.ring();
        count
    }
}

/// The services of a configuration that are monitored.
pub(crate) fn monitored(configuration: &Configuration) -> BTreeSet<ServiceKey> {
    configuration.services.iter().filter(|one| is_monitored(one)).map(|one| one.config.key).collect()
}

/// The changes that are left when those are taken out that the checks make themselves: whatever concerns a real server of a service
/// that is monitored. Servers that leave a service which has `strayed` are not theirs: they do not know them.
pub(crate) fn without_servers_of(
    monitored: &BTreeSet<ServiceKey>,
    strayed: &BTreeSet<ServiceKey>,
    changes: Vec<Change>,
) -> Vec<Change> {
    let is_ours = |change: &Change| match change {
        Change::AddDestination(key, _) | Change::EditDestination(key, _) => monitored.contains(key),
        Change::RemoveDestination { service, .. } => {
            monitored.contains(service) && !strayed.contains(service)
        }
        _ => false,
    };
    changes.into_iter().filter(|change| !is_ours(change)).collect()
}
