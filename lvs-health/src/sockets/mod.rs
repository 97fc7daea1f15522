//! Probes over the kernel's sockets, and commands, on a thread of their own: one loop for all of them, so that a thousand dead servers
//! wait beside each other and not behind each other.
//!
//! The caller starts probes and fetches outcomes; neither waits. `wake` is called from the thread when an outcome is there, for
//! callers that sleep.

mod command;
mod datagram;
mod stream;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use lvs_core::Instant;
use mio::{Events, Poll, Token, Waker};

use crate::config::{Probe, SocketMethod, SocketProbe};
use crate::deadlines::Deadlines;
use crate::monitor::{ProbeId, ProbeOrder};
use crate::outcome::{FailureKind, Outcome};
use crate::random::Secret;
use command::Command;
use datagram::Datagram;
use stream::Stream;

/// What is fixed for a prober's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketConfig {
    /// The most probes under way at a time; each needs a file descriptor, a command two. Default 512, so that the usual limit of 1024
    /// descriptors is enough.
    pub max_in_flight: u16,
    /// The most commands among them. Default 32.
    pub max_commands: u16,
    /// Seed of identifiers, from the operating system's random numbers.
    pub seed: u64,
}

impl SocketConfig {
    /// The defaults with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { max_in_flight: 512, max_commands: 32, seed }
    }
}

/// A prober with a thread. Dropping it ends the thread, and the commands that still run.
pub struct SocketProber {
    orders: SyncSender<ProbeOrder>,
    outcomes: Receiver<(ProbeId, Outcome)>,
    refused: VecDeque<(ProbeId, Outcome)>,
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SocketProber {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread or no means to wait for sockets.
    pub fn spawn(config: SocketConfig, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(usize::MAX))?);
        let (orders, taken) = sync_channel(usize::from(config.max_in_flight));
        let (reports, outcomes) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let places = usize::from(config.max_in_flight);
        let mut worker = Worker {
            config,
            poll,
            orders: taken,
            reports,
            wake: Box::new(wake),
            stop: stop.clone(),
            started: std::time::Instant::now(),
            random: Secret::new(config.seed),
            jobs: (0..places).map(|_| None).collect(),
            free: (0..config.max_in_flight).rev().collect(),
            deadlines: Deadlines::new(places),
            laborious: VecDeque::new(),
            commands: 0,
            dying: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("health-sockets".into()).spawn(move || worker.run())?;
        Ok(Self { orders, outcomes, refused: VecDeque::new(), waker, stop, thread: Some(thread) })
    }

    /// Starts a probe that a monitor ordered. Whatever comes of it is told by [`poll_outcome`](Self::poll_outcome).
    pub fn start(&mut self, order: ProbeOrder) {
        match self.orders.try_send(order) {
            Ok(()) => {
                // A waker that fails leaves the order to the next deadline.
                let _ = self.waker.wake();
            }
            Err(TrySendError::Full(order)) => self.refused.push_back((order.id, no_room())),
            Err(TrySendError::Disconnected(order)) => {
                self.refused.push_back((order.id, Outcome::undecided("the thread for probes has ended")));
            }
        }
    }

    /// Whether its thread has ended, which takes a panic: probes under way are not told of any more, and none can be started. Another
    /// prober can take its place.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The next probe that has ended.
    pub fn poll_outcome(&mut self) -> Option<(ProbeId, Outcome)> {
        self.refused.pop_front().or_else(|| self.outcomes.try_recv().ok())
    }
}

impl Drop for SocketProber {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

struct Worker {
    config: SocketConfig,
    poll: Poll,
    orders: Receiver<ProbeOrder>,
    reports: Sender<(ProbeId, Outcome)>,
    wake: Box<dyn Fn() + Send>,
    stop: Arc<AtomicBool>,
    started: std::time::Instant,
    random: Secret,
    jobs: Vec<Option<Job>>,
    free: Vec<u16>,
    deadlines: Deadlines,
    /// Jobs with more to read than one call may. One of them goes on between two looks at everything else.
    laborious: VecDeque<u16>,
    commands: u16,
    /// Commands that were killed and are not yet gone.
    dying: Vec<std::process::Child>,
}

struct Job {
    id: ProbeId,
    target: SocketAddr,
    timeout: Duration,
    work: Work,
}

enum Work {
    Stream(Box<Stream>),
    Datagram(Datagram),
    Command(Command),
}

impl Work {
    /// Whether there was more to read than one turn allows.
    const fn has_more(&self) -> bool {
        match self {
            Self::Stream(stream) => stream.has_more(),
            Self::Datagram(datagram) => datagram.has_more(),
            Self::Command(_) => false,
        }
    }
}

/// How often it is looked whether a command has ended.
const COMMAND_LOOK: Duration = Duration::from_millis(10);

impl Worker {
    fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        while !self.stop.load(Ordering::Acquire) {
            let mut wait = self.deadlines.next().map(|at| at.saturating_duration_since(self.now()));
            if self.commands > 0 || !self.dying.is_empty() {
                wait = Some(wait.map_or(COMMAND_LOOK, |wait| wait.min(COMMAND_LOOK)));
            }
            if !self.laborious.is_empty() {
                wait = Some(Duration::ZERO);
            }
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                // A laborious one has its turn, and is told nothing new by this.
                if let Ok(place) = u16::try_from(event.token().0)
                    && !self.laborious.contains(&place)
                {
                    self.advance(place);
                }
            }
            while let Ok(order) = self.orders.try_recv() {
                self.begin(order);
            }
            if self.commands > 0 {
                self.look_at_commands();
            }
            self.dying.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            let now = self.now();
            while let Some(place) = self.deadlines.pop(now) {
                self.time_out(place as u16);
            }
            if let Some(place) = self.laborious.pop_front() {
                self.advance(place);
            }
        }
        for job in self.jobs.iter_mut().filter_map(Option::take) {
            if let Work::Command(command) = job.work {
                self.dying.push(command.kill());
            }
        }
        for child in &mut self.dying {
            let _ = child.wait();
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    fn begin(&mut self, order: ProbeOrder) {
        let Some(place) = self.free.pop() else {
            self.report(order.id, no_room());
            return;
        };
        let id = order.id;
        match self.make(&order, Token(usize::from(place))) {
            Ok(job) => {
                self.commands += u16::from(matches!(job.work, Work::Command(_)));
                self.deadlines.set(u32::from(place), self.now() + order.timeout);
                self.jobs[usize::from(place)] = Some(job);
                // What happened before it was registered is not told again.
                self.advance(place);
            }
            Err(outcome) => {
                self.free.push(place);
                self.report(id, outcome);
            }
        }
    }

    fn make(&mut self, order: &ProbeOrder, token: Token) -> Result<Job, Outcome> {
        let Probe::Socket(probe) = &*order.probe else {
            return Err(Outcome::undecided("this probe does not go over sockets"));
        };
        let port = probe.port.unwrap_or(order.service.port());
        let target = SocketAddr::new(probe.address.unwrap_or(order.server), port);
        let registry = self.poll.registry();
        let made = match &probe.method {
            SocketMethod::Command(_) if self.commands >= self.config.max_commands => {
                return Err(Outcome::undecided("too many commands run: raise max_commands"));
            }
            SocketMethod::Command(command) => Command::start(command, registry, token).map(Work::Command),
            SocketMethod::Tcp | SocketMethod::Http(_) | SocketMethod::Https(..) => {
                Stream::connect(probe, target, registry, token).map(|stream| Work::Stream(Box::new(stream)))
            }
            SocketMethod::Udp(_) | SocketMethod::Dns(_) | SocketMethod::Ping => {
                Datagram::send(probe, target, self.random.next(), registry, token).map(Work::Datagram)
            }
        };
        made.map(|work| Job { id: order.id, target, timeout: order.timeout, work })
    }

    fn advance(&mut self, place: u16) {
        let Some(Some(job)) = self.jobs.get_mut(usize::from(place)) else {
            return;
        };
        let outcome = match &mut job.work {
            Work::Stream(stream) => stream.advance(job.target),
            Work::Datagram(datagram) => datagram.advance(job.target),
            Work::Command(command) => command.advance(),
        };
        match (outcome, &job.work) {
            (Some(outcome), _) => self.finish(place, outcome),
            (None, work) if work.has_more() => self.laborious.push_back(place),
            (None, _) => {}
        }
    }

    fn look_at_commands(&mut self) {
        for place in 0..self.config.max_in_flight {
            if matches!(&self.jobs[usize::from(place)], Some(Job { work: Work::Command(_), .. })) {
                self.advance(place);
            }
        }
    }

    fn time_out(&mut self, place: u16) {
        let Some(Some(job)) = self.jobs.get_mut(usize::from(place)) else {
            return;
        };
        let (target, timeout) = (job.target, job.timeout);
        let outcome = match &mut job.work {
            Work::Stream(stream) if stream.was_connected() => Outcome::failure(
                FailureKind::Slow,
                format!("{target} took the connection, but did not answer completely in {timeout:?}"),
            ),
            Work::Stream(_) => {
                Outcome::failure(FailureKind::NoAnswer, format!("no answer from {target} in {timeout:?}"))
            }
            Work::Datagram(datagram) => datagram.time_out(target, timeout),
            Work::Command(command) => command.time_out(timeout),
        };
        self.finish(place, outcome);
    }

    fn finish(&mut self, place: u16, outcome: Outcome) {
        if let Some(job) = self.jobs[usize::from(place)].take() {
            if let Work::Command(command) = job.work {
                self.commands -= 1;
                self.dying.push(command.kill());
            }
            self.deadlines.clear(u32::from(place));
            self.laborious.retain(|laborious| *laborious != place);
            self.free.push(place);
            self.report(job.id, outcome);
        }
    }

    fn report(&self, id: ProbeId, outcome: Outcome) {
        // Nobody listens any more when the prober is being dropped.
        if self.reports.send((id, outcome)).is_ok() {
            (self.wake)();
        }
    }
}

fn no_room() -> Outcome {
    Outcome::undecided("too many probes are under way: raise max_in_flight")
}

/// What an error of the system's means for a server.
fn from_error(error: &io::Error, target: SocketAddr) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Outcome::failure(FailureKind::Refused, format!("nothing listens at {target}"))
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            Outcome::failure(FailureKind::Reset, format!("{target} broke the connection off"))
        }
        io::ErrorKind::TimedOut => {
            Outcome::failure(FailureKind::NoAnswer, format!("no answer from {target}"))
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Outcome::failure(FailureKind::Unreachable, format!("{} cannot be reached: {error}", target.ip()))
        }
        _ => Outcome::undecided(format!("the probe of {target} could not be carried out: {error}")),
    }
}

/// A socket that does not wait, bound where the probe says.
fn open(
    probe: &SocketProbe,
    target: IpAddr,
    kind: socket2::Type,
    protocol: socket2::Protocol,
) -> io::Result<socket2::Socket> {
    let domain = if target.is_ipv6() { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let socket = socket2::Socket::new(domain, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if probe.source_port.is_some() {
        // Shared with probes of other servers.
        socket.set_reuse_address(true)?;
        if kind == socket2::Type::STREAM {
            // A connection that was closed in good order would hold the port for a minute (RFC 9293, section 3.6.1) where there
            // are no timestamps (RFC 6191).
            socket.set_linger(Some(Duration::ZERO))?;
        }
    }
    if probe.source.is_some() || probe.source_port.is_some() {
        let any =
            if target.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
        let port = probe.source_port.map_or(0, NonZeroU16::get);
        socket.bind(&SocketAddr::new(probe.source.unwrap_or(any), port).into())?;
    }
    Ok(socket)
}
