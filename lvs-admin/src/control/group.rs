//! Requests carried out on a [`DirectorGroup`]: what a director program hands to the [`Server`](super::Server).

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use lvs_core::config::{ApplyError, Change, ServiceKey};
use lvs_core::connection::{ConnectionRecord, TableMemory};
use lvs_core::director::DirectorGroup;
use lvs_core::{DropReason, Instant};

use super::message::{Fault, Knob, Refusal, Reply, Request, VERSION};
use super::server::{Caller, Handler};
use super::trace::{self, Tracer};
use crate::config::{self, Configuration};
use crate::json::{ForcedState, HealthService, Plan, Service};
use crate::model::{Model, Service as Plain};
use crate::rules::{self, Problem, RulesError};
use crate::save::{self, save};
use crate::{json, knobs};

/// The most seconds until a server in maintenance loses its connections.
const LONGEST_DRAIN: u64 = super::command::MAX_SECONDS;
/// Services in a portion of a listing.
const SERVICES: usize = 64;
/// Connections in a portion.
const CONNECTIONS: usize = 1024;
/// Table lines that are looked at for a portion.
const LINES: u32 = 16 << 10;

/// A program's file, as far as the socket is concerned. No other edit is made meanwhile.
pub trait File: Send + Sync {
    /// Reads it again and carries out the difference. Answers what was done and what the operator should know.
    ///
    /// # Errors
    /// Why nothing was changed.
    fn reload(&self) -> Result<Vec<String>, String>;

    /// What another configuration would do.
    ///
    /// # Errors
    /// Why that cannot be said.
    fn plan(&self, configuration: Configuration) -> Result<Plan, String>;
}

/// The health checks of a program.
pub trait Health: Send + Sync {
    /// How the services that are checked are.
    fn listing(&self) -> Vec<HealthService>;

    /// Takes an operator's word for a server, of one service or wherever it serves. Answers in how many services it is.
    fn force(
        &self,
        service: Option<ServiceKey>,
        server: IpAddr,
        state: ForcedState,
        deadline: Option<Duration>,
    ) -> usize;
}

/// What a program has to say of edits before they are carried out, besides what the director itself refuses.
pub type Check = dyn Fn(&[Change]) -> Result<(), String> + Send + Sync;

/// Something outside of the director that has to know what it serves, as a program in the kernel that takes frames for it.
pub trait Follower: Send + Sync {
    /// Makes ready for what an edit would add.
    ///
    /// # Errors
    /// Why the edit cannot be followed; it is refused then.
    fn before(&self, changes: &[Change]) -> Result<(), String>;

    /// The edit has been carried out, or refused, by [`before`](Self::before) too, which may have done a part.
    fn after(&self, changes: &[Change]);
}

/// What hears of every edit that was carried out, in words as on a command line; long ones are cut short.
pub type Teller = dyn Fn(&str) + Send + Sync;

/// Lines of an edit that are told, and how long they may be: a rule is told whole.
const TOLD_LINES: usize = 8;
const TOLD_CHARS: usize = 400;

/// Carries out an edit with somebody who follows it, if there is one.
///
/// # Errors
/// Why it cannot be followed; it has not been carried out then.
pub fn followed<T>(
    follower: Option<&dyn Follower>,
    changes: &[Change],
    apply: impl FnOnce() -> T,
) -> Result<T, String> {
    let Some(follower) = follower else { return Ok(apply()) };
    let applied = follower.before(changes).map(|()| apply());
    follower.after(changes);
    applied
}

/// Carries out requests on a group.
pub struct GroupHandler<M: TableMemory, C> {
    group: DirectorGroup<M>,
    clock: C,
    version: &'static str,
    file: Option<Box<dyn File>>,
    check: Option<Box<Check>>,
    follower: Option<Arc<dyn Follower>>,
    teller: Option<Box<Teller>>,
    tracer: Option<Arc<Tracer>>,
    health: Option<Arc<dyn Health>>,
    /// One edit after the other: what an edit is checked against must not change before it is carried out.
    edits: Mutex<()>,
}

impl<M: TableMemory, C: Fn() -> Instant> GroupHandler<M, C> {
    /// For a group that lives by this clock. `version` is the program's.
    #[must_use]
    pub fn new(group: DirectorGroup<M>, clock: C, version: &'static str) -> Self {
        Self {
            group,
            clock,
            version,
            file: None,
            check: None,
            follower: None,
            teller: None,
            health: None,
            tracer: None,
            edits: Mutex::new(()),
        }
    }

    /// With a file that can be read again.
    #[must_use]
    pub fn with_file(mut self, file: Box<dyn File>) -> Self {
        self.file = Some(file);
        self
    }

    /// With health checks.
    #[must_use]
    pub fn with_health(mut self, health: Arc<dyn Health>) -> Self {
        self.health = Some(health);
        self
    }

    /// With a check of edits.
    #[must_use]
    pub fn with_check(mut self, check: Box<Check>) -> Self {
        self.check = Some(check);
        self
    }

    /// With somebody who follows the edits that come over the socket. A [`File`] has to tell him of its own, by [`followed`].
    #[must_use]
    pub fn with_follower(mut self, follower: Arc<dyn Follower>) -> Self {
        self.follower = Some(follower);
        self
    }

    /// With somebody who is told of every edit that was carried out.
    #[must_use]
    pub fn with_teller(mut self, teller: Box<Teller>) -> Self {
        self.teller = Some(teller);
        self
    }

    /// With live traces: the workers watch by this tracer's [witnesses](Tracer::witness).
    #[must_use]
    pub fn with_tracer(mut self, tracer: Arc<Tracer>) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Reads the program's file again and carries out the difference. Answers what was done and what the operator should know.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn reload(&self) -> Result<Vec<String>, Refusal> {
        let file = self.file()?;
        let _alone = self.editing();
        file.reload().map_err(|text| Refusal::new(Fault::Refused, text))
    }

    fn file(&self) -> Result<&dyn File, Refusal> {
        let none = || Refusal::new(Fault::Unavailable, "this director was started without a file to reload");
        self.file.as_deref().ok_or_else(none)
    }

    fn checks(&self) -> Result<&dyn Health, Refusal> {
        let none = || Refusal::new(Fault::Unavailable, "this director makes no health checks");
        self.health.as_deref().ok_or_else(none)
    }

    fn health(&self, caller: &mut Caller<'_>) -> Result<(), Refusal> {
        let mut services = self.checks()?.listing();
        loop {
            let rest = services.split_off(services.len().min(SERVICES));
            let more = !rest.is_empty();
            // A client that has gone wants no refusal either.
            if caller.answer(Reply::Health { services, more }).is_err() || !more {
                return Ok(());
            }
            services = rest;
        }
    }

    fn force(
        &self,
        service: Option<json::Key>,
        server: IpAddr,
        state: ForcedState,
        deadline: Option<u64>,
    ) -> Result<Reply, Refusal> {
        if deadline.is_some_and(|deadline| state != ForcedState::Maintenance || deadline > LONGEST_DRAIN) {
            let text = format!(
                "a deadline goes with maintenance, and has at most {LONGEST_DRAIN} seconds (31 days)"
            );
            return Err(Refusal::new(Fault::Malformed, text));
        }
        let deadline = deadline.map(Duration::from_secs);
        match self.checks()?.force(service.map(ServiceKey::from), server, state, deadline) {
            0 => Err(Refusal::new(Fault::Refused, format!("{server} is in no service that is checked"))),
            1 => Ok(Reply::Done { notes: Vec::new() }),
            count => Ok(Reply::Done { notes: vec![format!("in {count} services")] }),
        }
    }

    fn plan(&self, text: &str) -> Result<Plan, Refusal> {
        let file = self.file()?;
        let loaded = config::toml::read("configuration", text.as_bytes())
            .map_err(|error| Refusal::new(Fault::Malformed, error.to_string()))?;
        let _alone = self.editing();
        file.plan(loaded.configuration).map_err(|text| Refusal::new(Fault::Refused, text))
    }

    /// Keeps others from editing as long as it is held.
    fn editing(&self) -> MutexGuard<'_, ()> {
        self.edits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, changes: &[Change]) -> Result<(), ApplyError> {
        self.group.apply((self.clock)(), changes)
    }

    /// What the program has to say of an edit.
    fn check(&self, changes: &[Change]) -> Result<(), Refusal> {
        let Some(check) = &self.check else { return Ok(()) };
        check(changes).map_err(|text| Refusal::new(Fault::Refused, text))
    }

    fn tell(&self, text: &str) {
        let Some(teller) = &self.teller else { return };
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines.by_ref().take(TOLD_LINES) {
            let printable = line.chars().map(|c| if c.is_control() { '?' } else { c });
            teller(&printable.take(TOLD_CHARS).collect::<String>());
        }
        match lines.count() {
            0 => {}
            more => teller(&format!("and {more} lines more")),
        }
    }

    fn rules(&self, text: &str) -> Result<Reply, Refusal> {
        let _alone = self.editing();
        let mut model = Model::of(&self.group.services(), &self.group.mark_rules(), self.group.timeouts());
        let rules = rules::load_onto(text.as_bytes(), &mut model).map_err(|error| refused_rules(&error))?;
        let changes: Vec<Change> = rules.iter().map(|rule| rule.change).collect();
        self.check(&changes)?;
        let applied = followed(self.follower.as_deref(), &changes, || self.apply(&changes));
        applied.map_err(|text| Refusal::new(Fault::Refused, text))?.map_err(|error| {
            let mut refusal = refused(&error);
            refusal.line = rules.get(error.index).map(|rule| rule.line);
            refusal
        })?;
        self.tell(text);
        let notes = rules.iter().filter_map(|rule| rule.warning);
        Ok(Reply::Done { notes: notes.map(|warning| warning.to_string()).collect() })
    }

    fn trace(&self, filter: &str, caller: &mut Caller<'_>) -> Result<(), Refusal> {
        let none = || Refusal::new(Fault::Unavailable, "this director has no live trace");
        trace::serve(self.tracer.as_ref().ok_or_else(none)?, filter, caller)
    }

    fn services(&self, caller: &mut Caller<'_>) -> io::Result<()> {
        let services = self.group.services();
        let size = self.group.connection_usage().capacity;
        let mut portions = services.chunks(SERVICES).peekable();
        loop {
            let services = portions.next().unwrap_or_default().iter().map(Service::from).collect();
            let more = portions.peek().is_some();
            caller.answer(Reply::Services { services, size, more })?;
            if !more {
                return Ok(());
            }
        }
    }

    fn connections(&self, cursor: u64) -> Reply {
        let mut records: ArrayVec<ConnectionRecord, CONNECTIONS> = ArrayVec::new();
        let next = self.group.connections((self.clock)(), cursor, LINES, &mut records);
        Reply::Connections { connections: records.iter().map(Into::into).collect(), next }
    }

    fn knobs(&self) -> Reply {
        let now = self.group.knobs();
        let named = knobs::KNOBS.iter().filter_map(|help| {
            Some(Knob { name: help.name.to_owned(), value: knobs::value(&now, help.name)? })
        });
        Reply::Knobs(named.collect())
    }

    fn set_knob(&self, setting: &str) -> Result<Reply, Refusal> {
        let _alone = self.editing();
        let mut knobs = self.group.knobs();
        let note = knobs::set(&mut knobs, setting)
            .map_err(|error| Refusal::new(Fault::Malformed, error.to_string()))?;
        self.apply(&[Change::SetKnobs(knobs)]).map_err(|error| refused(&error))?;
        self.tell(&format!("--sysctl {setting}"));
        Ok(Reply::Done { notes: note.iter().map(ToString::to_string).collect() })
    }

    fn drain(&self, service: json::Key, address: IpAddr, deadline: u64) -> Result<Reply, Refusal> {
        let service = ServiceKey::from(service);
        let deadline = Duration::from_secs(deadline);
        let _alone = self.editing();
        let change = Change::DrainDestination { service, address, port: service.port(), deadline };
        self.check(&[change])?;
        self.apply(&[change]).map_err(|error| refused(&error))?;
        self.tell(&format!("--drain {service} -r {address} --deadline {}", deadline.as_secs()));
        Ok(Reply::Done { notes: Vec::new() })
    }

    fn save(&self) -> Result<Reply, Refusal> {
        let services: Vec<Plain> = self.group.services().iter().map(Plain::from).collect();
        let (mark_rules, timeouts) = (self.group.mark_rules(), self.group.timeouts());
        let all =
            save::Configuration { services: &services, mark_rules: &mark_rules, timeouts: Some(&timeouts) };
        let mut text = String::new();
        save(&mut text, &all, save::Style::BACKUP)
            .map_err(|_| Refusal::new(Fault::Unavailable, "a service cannot be written as a rule"))?;
        Ok(Reply::Rules(text))
    }

    fn statistics(&self) -> Reply {
        let of = self.group.statistics();
        let usage = self.group.connection_usage();
        let counted = [
            ("frames", of.frames()),
            ("transmitted", of.transmitted),
            ("passed", of.passed),
            ("held", of.held),
            ("released", of.released),
            ("given_up", of.given_up),
            ("hashed", of.hashed),
            ("answers", of.answers),
            ("answers_suppressed", of.answers_suppressed),
            ("connections_made", of.connections_made),
            ("table_full", of.table_full),
            ("templates_full", of.templates_full),
            ("neighbour_answers_lost", of.neighbour_answers_lost),
            ("connections", u64::from(usage.connections)),
        ];
        let dropped =
            DropReason::ALL.iter().map(|reason| (format!("dropped_{}", reason.slug()), of.dropped(*reason)));
        let traces = self.tracer.iter().map(|tracer| ("traces", tracer.traces() as u64));
        let counted = counted.into_iter().chain(traces).map(|(name, count)| (name.to_owned(), count));
        Reply::Statistics(counted.chain(dropped).collect())
    }
}

impl<M, C> Handler for GroupHandler<M, C>
where
    M: TableMemory + 'static,
    M::Lines: Send,
    C: Fn() -> Instant + Send + Sync + 'static,
    DirectorGroup<M>: Send + Sync,
{
    fn handle(&self, request: Request, caller: &mut Caller<'_>) -> Result<(), Refusal> {
        let reply = match request {
            Request::Hello => Reply::Hello {
                protocol: VERSION,
                director: self.version.to_owned(),
                workers: self.group.workers(),
                usage: self.group.connection_usage().into(),
            },
            Request::Rules { text } => self.rules(&text)?,
            Request::Services => {
                // A client that has gone wants no refusal either.
                let _ = self.services(caller);
                return Ok(());
            }
            Request::Connections { cursor } => self.connections(cursor),
            Request::Timeouts => Reply::Timeouts(self.group.timeouts().into()),
            Request::Knobs => self.knobs(),
            Request::SetKnob { setting } => self.set_knob(&setting)?,
            Request::Drain { service, server, deadline } => self.drain(service, server, deadline)?,
            Request::Save => self.save()?,
            Request::Statistics => self.statistics(),
            Request::Reload => Reply::Done { notes: self.reload()? },
            Request::Health => return self.health(caller),
            Request::Force { service, server, state, deadline } => {
                self.force(service, server, state, deadline)?
            }
            Request::Plan { configuration } => Reply::Plan(self.plan(&configuration)?),
            Request::Trace { filter } => return self.trace(&filter, caller),
        };
        let _ = caller.answer(reply);
        Ok(())
    }
}

/// A line that cannot be read or carried out.
fn refused_rules(error: &RulesError) -> Refusal {
    let fault = match error.problem() {
        Problem::Refused { .. } => Fault::Refused,
        _ => Fault::Malformed,
    };
    Refusal {
        line: Some(error.line()),
        ipvsadm: Some(error.ipvsadm().into()),
        ..Refusal::new(fault, error.to_string())
    }
}

/// An edit that the director refuses.
fn refused(error: &ApplyError) -> Refusal {
    let ipvsadm = Some(rules::refused_by_ipvsadm(error.error).into());
    Refusal { ipvsadm, ..Refusal::new(Fault::Refused, error.error.to_string()) }
}
