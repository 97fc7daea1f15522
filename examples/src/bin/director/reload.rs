//! The file, read again while the director runs: only what differs from what runs is touched.
//!
//! The file has the last word: what was edited by hand meanwhile and does not stand in it is undone. What a file with an error says is
//! not used at all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use lvs_admin::config::forecast::Forecast;
use lvs_admin::config::{Configuration, Difference, Loaded, ServerOrder, Service, difference};
use lvs_admin::control::{Check, File, Follower, followed};
use lvs_admin::json::Plan;
use lvs_admin::model::Model;
use lvs_core::InterfaceConfig;
use lvs_core::config::ServiceKey;
use lvs_core::connection::{ConnectionRecord, TableMemory};
use lvs_core::director::DirectorGroup;
use lvs_examples::clock::Clock;
use lvs_health::config::ServiceHealth;

use crate::health::{self, Health, Paused};
use crate::options::Options;
use crate::setup::{check_addresses, check_reach, locate};

/// Table lines that are looked at under one lock, and how many connections are taken out of them at most.
const LINES: u32 = 16 << 10;
const CONNECTIONS: usize = 1024;

/// The file of a running director.
pub(crate) struct LiveFile<M: TableMemory> {
    group: DirectorGroup<M>,
    clock: Clock,
    options: Options,
    interfaces: Vec<InterfaceConfig>,
    check: Box<Check>,
    /// As it was read last; what is fixed as it was read first.
    last: Mutex<Configuration>,
    health: Arc<Health<M>>,
    follower: Option<Arc<dyn Follower>>,
}

impl<M: TableMemory> LiveFile<M> {
    /// `loaded` is what the director was started with.
    pub(crate) fn new(
        group: DirectorGroup<M>,
        clock: Clock,
        options: Options,
        interfaces: Vec<InterfaceConfig>,
        check: Box<Check>,
        loaded: Configuration,
        health: Arc<Health<M>>,
    ) -> Self {
        Self { group, clock, options, interfaces, check, last: Mutex::new(loaded), health, follower: None }
    }

    /// With somebody who follows what a reload changes, if there is one.
    pub(crate) fn with_follower(self, follower: Option<Arc<dyn Follower>>) -> Self {
        Self { follower, ..self }
    }

    fn last(&self) -> Configuration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers a file that was carried out, but for what is fixed while a director runs.
    fn keep(&self, new: Configuration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Configuration { io, workers, probe_addresses, capacities, interfaces, .. } =
            std::mem::take(&mut *last);
        *last = Configuration { io, workers, probe_addresses, capacities, interfaces, ..new };
    }

    /// What runs: the director's own account of it, and from the file what a director does not know. Of the services in `kept` the
    /// real servers as the file has them: what the director has of these is up to their checks.
    fn running(&self, kept: &BTreeSet<ServiceKey>) -> Configuration {
        let last = self.last();
        let (marks, timeouts) = (self.group.mark_rules(), self.group.timeouts());
        let model = Model::of(&self.group.services(), &marks, timeouts);
        let services =
            model.services().map(|service| with_checks(service.into(), &last.services, kept)).collect();
        Configuration { knobs: self.group.knobs(), timeouts, mark_rules: marks, services, ..last }
    }

    /// The file and the command line together, held against the host and the interfaces that are open.
    fn read(&self) -> Result<(Loaded, Vec<String>), String> {
        let mut loaded = self.options.source.read().map_err(|error| error.to_string())?;
        let mut notes: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
        notes.extend(self.options.complete(&mut loaded)?);
        notes.extend(health::notes(&loaded.configuration));
        Ok((loaded, notes))
    }

    /// What differs, while the checks are `paused`; and why it could not be carried out here.
    fn step(&self, loaded: &Loaded, paused: &Paused<'_, M>) -> Step {
        let monitored = health::monitored(&loaded.configuration);
        let strayed = paused.strayed(&monitored);
        let kept = monitored.difference(&strayed).copied().collect();
        let running = self.running(&kept);
        let found = difference(&running, &loaded.configuration, ServerOrder::Kept);
        let refusal = || {
            check_addresses(loaded)?;
            check_reach(&self.interfaces, loaded)?;
            let services = health::services(&loaded.configuration)?;
            paused.check(&services)?;
            (self.check)(&found.changes)?;
            Ok(services)
        };
        let services = refusal();
        Step { monitored, strayed, running, found, services }
    }
}

/// The way from what runs to what a file says.
struct Step {
    /// The services that are checked.
    monitored: BTreeSet<ServiceKey>,
    /// Those of them whose real servers are not as their checks left them.
    strayed: BTreeSet<ServiceKey>,
    running: Configuration,
    found: Difference,
    /// What is to be checked, or why nothing can be done.
    services: Result<Vec<ServiceHealth>, String>,
}

/// A service that runs, with what the file says of its checks.
fn with_checks(mut service: Service, known: &[Service], kept: &BTreeSet<ServiceKey>) -> Service {
    let Some(known) = known.iter().find(|known| known.config.key == service.config.key) else {
        return service;
    };
    service.health = known.health;
    if kept.contains(&service.config.key) {
        service.servers.clone_from(&known.servers);
        return service;
    }
    for server in &mut service.servers {
        let address = server.config.address;
        if let Some(known) = known.servers.iter().find(|known| known.config.address == address) {
            server.inhibit_on_failure = known.inhibit_on_failure;
            server.checks = known.checks.clone();
        }
    }
    service
}

impl<M> File for LiveFile<M>
where
    M: TableMemory,
    DirectorGroup<M>: Send + Sync,
{
    fn reload(&self) -> Result<Vec<String>, String> {
        let reload = || {
            let (loaded, mut notes) = self.read()?;
            let new = &loaded.configuration;
            let paused = self.health.pause();
            let Step { monitored, strayed, found, services, .. } = self.step(&loaded, &paused);
            let services = services?;
            let changes = health::without_servers_of(&monitored, &strayed, found.changes.clone());
            let apply = || self.group.apply(self.clock.now(), &changes);
            let applied = followed(self.follower.as_deref(), &changes, apply)?;
            applied.map_err(|error| locate(&loaded, &changes, error))?;
            paused.configure(&services, &strayed)?;
            self.keep(new.clone());
            notes.extend(found.to_string().lines().map(ToOwned::to_owned));
            if found.is_empty() {
                notes.push("nothing differs".to_owned());
            }
            Ok(notes)
        };
        let result: Result<Vec<String>, String> = reload();
        match &result {
            Ok(notes) => {
                tracing::info!(event = "reload", "{} read again", self.options.source);
                notes.iter().for_each(|note| tracing::info!("reload: {note}"));
            }
            Err(error) => tracing::error!(event = "reload_refused", "reload: {error}; nothing was changed"),
        }
        result
    }

    fn plan(&self, configuration: Configuration) -> Result<Plan, String> {
        let mut loaded = Loaded::from(configuration);
        let notes = self.options.complete(&mut loaded)?;
        let Step { running, found, services, .. } = self.step(&loaded, &self.health.pause());
        let mut forecast = Forecast::new(&running, &loaded.configuration);
        let mut cursor = 0;
        loop {
            let mut records: arrayvec::ArrayVec<ConnectionRecord, CONNECTIONS> = arrayvec::ArrayVec::new();
            let next = self.group.connections(self.clock.now(), cursor, LINES, &mut records);
            records.iter().for_each(|record| forecast.connection(record));
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        Ok(Plan { notes, refused: services.err(), ..Plan::new(&found, &forecast) })
    }
}
