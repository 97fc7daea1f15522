//! What can be seen of the director over HTTP: the pieces that `lvs_admin::metrics` shows, put together when somebody looks.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use lvs_admin::metrics::{
    self, About, DeviceReport, Journal, NeighbourReport, NeighbourState, Report, Server, ServerOptions,
    Severity, Snapshot,
};
use lvs_core::Event;
use lvs_core::config::InterfaceId;
use lvs_core::connection::TableMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::io::{IoStatistics, PortId};
use lvs_core::statistics::BatchSizes;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

use crate::health::Health;

/// Lines of the log that the page shows.
const LINES: usize = 200;

/// A journal that the log is copied to.
pub(crate) fn journal() -> Journal {
    Journal::new(LINES)
}

/// Copies the log.
pub(crate) struct Copy(pub(crate) Journal);

impl<S: tracing::Subscriber> Layer<S> for Copy {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let severity = match *event.metadata().level() {
            tracing::Level::ERROR => Severity::Error,
            tracing::Level::WARN => Severity::Warning,
            tracing::Level::INFO => Severity::Info,
            _ => return,
        };
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.note(SystemTime::now(), severity, &message.0);
    }
}

/// What workers and the main thread know of the devices.
pub(crate) struct Devices {
    names: Vec<String>,
    up: Vec<AtomicBool>,
    /// By worker.
    frames: Vec<Mutex<IoStatistics>>,
}

impl Devices {
    /// These ports, with so many workers.
    pub(crate) fn new(names: &[String], workers: usize) -> Self {
        Self {
            names: names.to_vec(),
            up: names.iter().map(|_| AtomicBool::new(false)).collect(),
            frames: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// A worker's count so far.
    pub(crate) fn publish(&self, worker: u16, frames: IoStatistics) {
        if let Some(place) = self.frames.get(usize::from(worker)) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = frames;
        }
    }

    /// Remembers what concerns devices and conflicts.
    pub(crate) fn look(&self, event: Event, interfaces: &[String], journal: &Journal) {
        let set = |port: PortId, up| {
            if let Some(place) = self.up.get(usize::from(port.0)) {
                place.store(up, Ordering::Relaxed);
            }
        };
        match event {
            Event::LinkUp(port) => set(port, true),
            Event::LinkDown(port) => set(port, false),
            Event::AddressConflict { address, mac, interface } => {
                let name = interfaces.get(usize::from(interface.0)).map_or("?", String::as_str);
                journal.conflict(SystemTime::now(), address, mac, name);
            }
            _ => {}
        }
    }

    /// Workers count the frames of all ports together: with several the figures stand for all of them.
    fn report(&self) -> Vec<DeviceReport> {
        let mut frames = IoStatistics::default();
        for one in &self.frames {
            let one = one.lock().unwrap_or_else(PoisonError::into_inner);
            frames.received += one.received;
            frames.transmitted += one.transmitted;
            frames.receive_lost += one.receive_lost;
            frames.transmit_lost += one.transmit_lost;
        }
        let up = self.up.iter().all(|up| up.load(Ordering::Relaxed));
        vec![DeviceReport { name: self.names.join("+"), up, frames }]
    }
}

/// What is needed to serve it.
pub(crate) struct Metrics<M: TableMemory> {
    pub(crate) group: DirectorGroup<M>,
    pub(crate) health: Arc<Health<M>>,
    pub(crate) devices: Arc<Devices>,
    pub(crate) journal: Journal,
    /// By number.
    pub(crate) interfaces: Vec<String>,
}

/// A socket at this address, or at this port of loopback.
///
/// # Errors
/// If it is no address, or cannot be had.
pub(crate) fn listen(text: &str) -> Result<TcpListener, String> {
    let address = metrics::listen_address(text).map_err(|error| format!("--metrics {text}: {error}"))?;
    TcpListener::bind(address).map_err(|error| format!("--metrics {text}: {error}; choose another port"))
}

impl<M> Metrics<M>
where
    M: TableMemory + Send + Sync + 'static,
    DirectorGroup<M>: Send + Sync,
{
    /// Serves it until the answer is dropped.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub(crate) fn serve(self, listener: TcpListener) -> std::io::Result<Server> {
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let about = About {
            name: name.unwrap_or_else(|| "director".to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: SystemTime::now(),
        };
        Server::start(listener, ServerOptions::default(), move || {
            Snapshot::of_group(SystemTime::now(), &about, &self.group, &self.report(), &self.journal)
        })
    }

    fn report(&self) -> Report {
        Report {
            health: Some(self.health.report()),
            neighbours: Some(self.neighbours()),
            devices: self.devices.report(),
            batches: batches(&self.group.batch_sizes()),
        }
    }

    /// The next hops of all real servers.
    fn neighbours(&self) -> Vec<NeighbourReport> {
        let services = self.group.services();
        let servers = services.iter().flat_map(|service| &service.destinations);
        let mut addresses: Vec<_> = servers.map(|server| server.config.address).collect();
        addresses.extend(self.health.watched());
        addresses.sort_unstable();
        addresses.dedup();
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        for route in addresses.into_iter().filter_map(|address| self.group.route(address)) {
            if !seen.insert(route.next_hop) {
                continue;
            }
            let InterfaceId(number) = route.interface;
            let known = route.next_hop_mac.is_some();
            all.push(NeighbourReport {
                address: route.next_hop,
                device: self.interfaces.get(usize::from(number)).cloned().unwrap_or_default(),
                mac: route.next_hop_mac,
                state: if known { NeighbourState::Reachable } else { NeighbourState::Asking },
                waiting: 0,
            });
        }
        all
    }
}

/// By exact size: each class is counted at its largest.
fn batches(sizes: &BatchSizes) -> Vec<u64> {
    let largest = BatchSizes::MOST.last().copied().unwrap_or(1);
    let mut all = vec![0; largest];
    for (most, count) in BatchSizes::MOST.iter().zip(sizes.counts()) {
        if let Some(place) = all.get_mut(most - 1) {
            *place = *count;
        }
    }
    all
}
