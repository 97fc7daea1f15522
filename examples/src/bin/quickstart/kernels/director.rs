//! The director at work: a thread in the director's host, on that host's interface, watched by a recorder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lvs_core::config::{SchedulerKind, ServiceKey};
use lvs_core::connection::ConnectionRecord;
use lvs_core::listing::ServiceListing;
use lvs_core::{Director, DirectorConfig, Event, FrameIo, InterfaceConfig, PortId};
use lvs_examples::backend::{Addresses, open_xdp};
use lvs_examples::clock::Clock;
use lvs_examples::run::{run, seed};
use lvs_io_afpacket::{OpenError, PacketConfig, PacketIo, interface_mac, interface_mtu};
use lvs_testkit::lab::{Host, Interrupt, Task};

use crate::blueprint::{missing, rules};
use crate::decisions::{Decision, Recorder};
use crate::evidence::Network;
use crate::failure::Failure;
use crate::options::{Io, Options};

/// How long announcing the VIP and finding the real servers may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Places in the connection table: room for every request there can be, in little memory.
const MAX_CONNECTIONS: u32 = 65_536;

/// `conn_reuse_mode` with which a SYN from a client port that was used before opens a new connection, also where the
/// old one is in FIN_WAIT. After some thousand requests the client's kernel comes back to its first ports, and by
/// default such a request would go to the old server instead of the next one.
const REUSE_CLOSED: u8 = 3;

/// What a director shows of itself.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) services: Vec<ServiceListing>,
    pub(crate) connections: Vec<ConnectionRecord>,
    pub(crate) table_size: u32,
    pub(crate) decisions: Vec<Decision>,
}

/// A running director. It ends when this is dropped.
pub(crate) struct RunningDirector {
    // Before the task, so that the thread finds its commands at an end when it is waited for.
    commands: Sender<Show>,
    snapshots: Receiver<Snapshot>,
    /// Makes the thread look for a command.
    wake: Arc<AtomicBool>,
    progress: Arc<Mutex<Progress>>,
    task: Task<()>,
}

/// Asks for a snapshot.
struct Show;

/// How far the director has come, as its thread reports it.
#[derive(Debug, Default)]
struct Progress {
    events: Vec<Event>,
    failure: Option<Failure>,
}

/// The far end of the channels of a [`RunningDirector`], in its thread.
struct Thread {
    commands: Receiver<Show>,
    snapshots: Sender<Snapshot>,
    wake: Arc<AtomicBool>,
    progress: Arc<Mutex<Progress>>,
}

impl RunningDirector {
    /// Starts it in `host`.
    pub(crate) fn start(host: &Host, network: &Network, options: &Options) -> Self {
        let (commands, told) = channel();
        let (shown, snapshots) = channel();
        let (wake, progress) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let thread = Thread {
            commands: told,
            snapshots: shown,
            wake: Arc::clone(&wake),
            progress: Arc::clone(&progress),
        };
        let (network, options) = (network.clone(), options.clone());
        let task = host.spawn(move |_| {
            if let Err(failure) = thread.work(&network, &options) {
                lock(&thread.progress).failure = Some(failure);
            }
        });
        Self { commands, snapshots, wake, progress, task }
    }

    /// Waits until the VIP is announced and every real server's Ethernet address is known.
    ///
    /// # Errors
    /// If that takes too long, the director ends, or a signal comes.
    pub(crate) fn wait_ready(&self, network: &Network, interrupt: &Interrupt) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let missing = missing(&lock(&self.progress).events, network);
            let Some(missing) = missing else { return Ok(()) };
            if interrupt.caught() {
                return Err(Failure::Interrupted);
            }
            if self.task.is_finished() {
                return Err(self.ended());
            }
            if Instant::now() >= deadline {
                return Err(Failure::NotReady { seconds: PATIENCE.as_secs(), missing });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it shows of itself now. It goes on afterwards; frames that come meanwhile wait.
    ///
    /// # Errors
    /// If the director has ended.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Failure> {
        let asked = self.commands.send(Show);
        self.wake.store(true, Ordering::Relaxed);
        asked.ok().and_then(|()| self.snapshots.recv().ok()).ok_or_else(|| self.ended())
    }

    fn ended(&self) -> Failure {
        let failure = lock(&self.progress).failure.take();
        failure.unwrap_or_else(|| Failure::DirectorEnded("its thread panicked".to_owned()))
    }
}

impl Drop for RunningDirector {
    fn drop(&mut self) {
        // The thread stops to look for a command and finds that none can come any more.
        self.wake.store(true, Ordering::Relaxed);
    }
}

impl Thread {
    fn work(&self, network: &Network, options: &Options) -> Result<(), Failure> {
        let name = network.director.interface.as_str();
        let mut interface = InterfaceConfig::new(
            PortId(0),
            interface_mac(name).map_err(OpenError::from)?,
            network.director.address,
        );
        interface.mtu = u16::try_from(interface_mtu(name).map_err(OpenError::from)?).unwrap_or(u16::MAX);
        match options.io() {
            Io::Afpacket => {
                let mut io = PacketIo::open(&PacketConfig::new([name]))?;
                self.operate(&mut io, interface, network, options.scheduler)
            }
            Io::Xdp => {
                let interfaces = std::slice::from_ref(&interface);
                // The director's kernel has the DIP.
                let vip = network.virtual_service;
                let service = ServiceKey::tcp(vip.ip(), vip.port());
                let addresses = Addresses::of(interfaces, |_| true).and([service], []);
                let mut io = open_xdp(&[name.to_owned()], interfaces, &addresses)?;
                self.operate(&mut io, interface, network, options.scheduler)
            }
            // Nobody starts a thread for it: a simulated director is a node of its network.
            Io::Sim => Err(Failure::DirectorEnded("a simulated network has no interface to open".to_owned())),
        }
    }

    /// Runs a director over any I/O until nobody can give commands any more.
    fn operate<I: FrameIo>(
        &self,
        io: &mut I,
        mut interface: InterfaceConfig,
        network: &Network,
        scheduler: SchedulerKind,
    ) -> Result<(), Failure> {
        interface.gateways.push(network.router_inside.address.address());
        let seed = seed().map_err(|error| Failure::DirectorEnded(error.to_string()))?;
        let mut config = DirectorConfig::new(vec![interface], seed);
        config.max_connections = MAX_CONNECTIONS;
        config.knobs.conn_reuse_mode = REUSE_CLOSED;
        let clock = Clock::start();
        let mut director = Director::new(config, clock.now())?;
        director.apply(clock.now(), &rules(network, scheduler))?;
        let mut recorder = Recorder::new(network.virtual_service);
        loop {
            let note = |_: &Director, event| lock(&self.progress).note(event);
            run(&mut director, io, clock, &self.wake, &mut recorder, note)
                .map_err(|error| Failure::DirectorEnded(error.to_string()))?;
            self.wake.store(false, Ordering::Relaxed);
            let Ok(Show) = self.commands.recv() else { return Ok(()) };
            let snapshot = Snapshot {
                services: director.services(),
                connections: director.all_connections(clock.now()),
                table_size: director.connection_usage().capacity,
                decisions: recorder.decisions().to_vec(),
            };
            if self.snapshots.send(snapshot).is_err() {
                return Ok(());
            }
        }
    }
}

impl Progress {
    /// Notes what tells of readiness; a director that stays up for days must not fill the memory with the rest.
    fn note(&mut self, event: Event) {
        if matches!(event, Event::Announced { .. } | Event::NeighbourLearnt { .. }) && self.events.len() < 256
        {
            self.events.push(event);
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
