//! `realserver`: makes a Linux host a real server of an LVS/DR cluster, undoes it, and says what is wrong with one.
//!
//! ```text
//! realserver start --vip 192.168.0.250
//!
//!             kernel.rs ──► Facts ──► plan.rs ──► Plan ──► execute.rs ──► kernel.rs, state.rs
//!                             └─────► check.rs ─► Finding
//! ```
//! | file | what |
//! | --- | --- |
//! | `options.rs` | the command line |
//! | `facts.rs` | what a host has configured, as plain values; which settings are safe |
//! | `kernel.rs`, `netlink.rs` | reading that from the kernel, and changing it |
//! | `state.rs` | what `start` remembers for `stop` |
//! | `plan.rs` | the steps of `start` and `stop`, and their order |
//! | `execute.rs` | taking them, and taking them back |
//! | `check.rs` | the findings |
//! | `status.rs`, `print.rs` | texts |
//!
//! It does not choose routes, change rp_filter or firewalls, or stay running. Standard output says what was done and found,
//! standard error what went wrong.

mod check;
mod execute;
mod facts;
mod kernel;
mod netlink;
mod options;
mod plan;
mod print;
mod state;
mod status;

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use serde::Serialize;

use crate::check::{Finding, Question, Severity};
use crate::execute::Outcome;
use crate::facts::Facts;
use crate::kernel::{Kernel, has_net_admin};
use crate::options::{Action, Options};
use crate::state::{Found, Place, State, StateFile};
use crate::status::Status;

/// An error was found, or something could not be finished.
const FAULTS: u8 = 1;
/// Wrong usage or missing rights: nothing was changed.
const USAGE: u8 = 2;
const NOT_ACTIVE: u8 = 3;

/// What ends a run early, before anything was changed.
type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let options = Options::from_command_line();
    let result = match options.action {
        Action::Start | Action::Stop => change(&options),
        Action::Status => status(&options),
        Action::Check => check(&options),
    };
    result.unwrap_or_else(|error| {
        complain(&error.to_string());
        ExitCode::from(USAGE)
    })
}

/// `start` and `stop`.
fn change(options: &Options) -> Result<ExitCode, Error> {
    if !options.print && !has_net_admin() {
        let action = if options.action == Action::Start { "start" } else { "stop" };
        return Err(
            format!("{action} needs CAP_NET_ADMIN, which this process does not have: {RIGHTS}").into()
        );
    }
    let file = StateFile::new(&options.state, Place::here()?);
    let _lock = if options.print { None } else { Some(file.lock()?) };
    let found = file.load()?;
    if found == Found::EarlierBoot && options.action == Action::Stop && !options.print {
        file.save(&State::default())?;
    }
    let state = remembered(found);
    let mut kernel = Kernel::open(Some(file))?;
    let facts = kernel.facts()?;
    match options.action {
        Action::Start => start(options, &mut kernel, &facts, &state),
        _ => stop(options, &mut kernel, &facts, &state),
    }
}

fn start(options: &Options, kernel: &mut Kernel, facts: &Facts, state: &State) -> Result<ExitCode, Error> {
    let vips = &options.vips;
    let interfaces = interfaces(options, facts, None)?;
    if interfaces.is_empty() && vips.iter().any(IpAddr::is_ipv4) {
        return Err(format!(
            "no interface has a default route or a subnet with the VIP: name the one towards the director with --interface; \
             there are: {}",
            facts.interface_names()
        )
        .into());
    }
    let plan = plan::start(vips, &interfaces, facts, state)?;
    let source = if options.interfaces.is_empty() { "by default route or subnet" } else { "as named" };
    let chosen = format!("interfaces towards the director: {} ({source})", list(&interfaces));
    if options.print {
        say(&format!("# {chosen}\n{}{}", print::commands(&plan), print::persistent(vips, &interfaces)?));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("{chosen}\n"));
    plan.notes.iter().for_each(|note| say(&format!("{note}\n")));
    let outcome = execute::start(kernel, &plan, state);
    let code = report(&outcome, "start");
    if code == 0 {
        warn_of_the_rest(vips, &interfaces, &kernel.facts()?, &plan.state);
    }
    Ok(ExitCode::from(code))
}

/// What `start` does not touch and a real server needs.
fn warn_of_the_rest(vips: &[IpAddr], interfaces: &[String], facts: &Facts, state: &State) {
    for finding in check::check(Question { vips, interfaces, director: None }, facts, state) {
        complain(&format!(
            "warning: {}: {}; cure: {}",
            finding.id,
            finding.evidence,
            finding.cure.join("; ")
        ));
    }
}

fn stop(options: &Options, kernel: &mut Kernel, facts: &Facts, state: &State) -> Result<ExitCode, Error> {
    let plan = plan::stop(&options.vips, facts, state);
    if options.print {
        say(&print::commands(&plan));
        return Ok(ExitCode::SUCCESS);
    }
    if state.vips.is_empty() && state.settings.is_empty() {
        say("nothing was started: nothing to undo\n");
    }
    plan.notes.iter().for_each(|note| say(&format!("{note}\n")));
    let outcome = execute::stop(kernel, &plan, state);
    Ok(ExitCode::from(report(&outcome, "stop")))
}

/// Says what was done; answers the exit status.
fn report(outcome: &Outcome, action: &str) -> u8 {
    outcome.done.iter().for_each(|step| say(&format!("{step}\n")));
    if outcome.failures.is_empty() {
        return 0;
    }
    for failure in &outcome.failures {
        complain(&format!("{action}: {failure}"));
    }
    for step in &outcome.undone {
        complain(&format!("{action}: taken back: {step}"));
    }
    let kind = outcome.error.as_ref().map(io::Error::kind);
    match kind {
        Some(io::ErrorKind::PermissionDenied) => complain(&format!(
            "{action}: the kernel wants CAP_NET_ADMIN in the user namespace that this network belongs to: {RIGHTS}"
        )),
        Some(io::ErrorKind::ReadOnlyFilesystem) => complain(&format!(
            "{action}: /proc/sys is read-only, as in a container: mount it writable (docker run --privileged), or set the \
             values from outside (docker run --sysctl)"
        )),
        _ => {}
    }
    let untouched = action == "start" && outcome.done.is_empty();
    let rights = matches!(kind, Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem));
    if untouched && rights { USAGE } else { FAULTS }
}

fn status(options: &Options) -> Result<ExitCode, Error> {
    let state = remembered(StateFile::new(&options.state, Place::here()?).load()?);
    let facts = Kernel::open(None)?.facts()?;
    let mut interfaces = interfaces(options, &facts, None)?;
    if options.interfaces.is_empty() && !state.settings.is_empty() {
        // Those that start was told.
        let places = state.settings.iter().map(|it| it.interface.clone());
        interfaces.extend(places.filter(|name| facts.is_seen(name)));
        interfaces.sort();
        interfaces.dedup();
    }
    let status = Status::of(&options.vips, &interfaces, &facts, &state);
    if options.json {
        say_json(&status)?;
    } else {
        say(&status.text());
    }
    Ok(ExitCode::from(if status.active { 0 } else { NOT_ACTIVE }))
}

/// What `check --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    interfaces: &'a [String],
    findings: &'a [Finding],
}

fn check(options: &Options) -> Result<ExitCode, Error> {
    let state = remembered(readable(StateFile::new(&options.state, Place::here()?).load())?);
    let mut kernel = Kernel::open(None)?;
    let facts = kernel.facts()?;
    let way = match options.director {
        Some(director) => kernel.way_to(director, &facts)?,
        None => None,
    };
    let interfaces = interfaces(options, &facts, way)?;
    let question = Question { vips: &options.vips, interfaces: &interfaces, director: options.director };
    let findings = check::check(question, &facts, &state);
    let ok = findings.iter().all(|it| it.severity != Severity::Error);
    if options.json {
        say_json(&Report { ok, interfaces: &interfaces, findings: &findings })?;
    } else {
        say(&format!("interfaces towards the director: {}\n", list(&interfaces)));
        findings.iter().for_each(|finding| say(&finding_text(finding)));
        if findings.is_empty() {
            say("healthy: packets for the VIPs are taken, and nothing tells of them\n");
        }
    }
    Ok(ExitCode::from(if ok { 0 } else { FAULTS }))
}

fn finding_text(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let cure: String = finding.cure.iter().map(|command| format!("    {command}\n")).collect();
    format!("{severity}: {}: {}\n{cure}", finding.id, finding.evidence)
}

/// The interfaces that count: those named, the one by which the director is reached, or those that are likely.
fn interfaces(options: &Options, facts: &Facts, way: Option<String>) -> Result<Vec<String>, Error> {
    for name in &options.interfaces {
        let there = facts.interface_names();
        match facts.interface(name) {
            None => {
                return Err(
                    format!("--interface {name}: there is no such interface; there are: {there}").into()
                );
            }
            Some(_) if !facts.is_seen(name) => {
                return Err(format!("--interface {name}: it has no neighbours, so no director is behind it; there are: {there}").into());
            }
            Some(_) => {}
        }
    }
    if !options.interfaces.is_empty() {
        return Ok(options.interfaces.clone());
    }
    Ok(way.map_or_else(|| facts.towards_director(&options.vips), |name| vec![name]))
}

fn remembered(found: Found) -> State {
    match found {
        Found::State(state) => state,
        Found::Nothing => State::default(),
        Found::EarlierBoot => {
            complain("the remembered state is of an earlier boot: it is not used");
            State::default()
        }
    }
}

/// `check` takes no rights: it can do without what only others may read.
fn readable(loaded: io::Result<Found>) -> io::Result<Found> {
    match loaded {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            complain(&format!("{error}: what start remembered is not known here"));
            Ok(Found::Nothing)
        }
        loaded => loaded,
    }
}

const RIGHTS: &str = "run it as root (sudo realserver ...); --print shows the commands without any rights";

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn say(text: &str) {
    // Whoever closed the pipe does not want it.
    let _ = io::stdout().write_all(text.as_bytes());
}

fn say_json(value: &impl Serialize) -> Result<(), serde_json::Error> {
    say(&(serde_json::to_string(value)? + "\n"));
    Ok(())
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "realserver: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A director on the same host makes /run/lvs for itself alone.
    #[test]
    fn check_does_without_a_state_that_it_may_not_read() {
        let loaded = |kind| readable(Err(io::Error::new(kind, "state")));
        assert_eq!(loaded(io::ErrorKind::PermissionDenied).ok(), Some(Found::Nothing));
        assert_eq!(
            loaded(io::ErrorKind::InvalidData).map_err(|error| error.kind()),
            Err(io::ErrorKind::InvalidData)
        );
    }
}
