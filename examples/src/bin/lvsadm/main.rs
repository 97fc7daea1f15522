//! `lvsadm`: a running director's services, edited and listed with the commands of `ipvsadm`.
//!
//! ```text
//! lvsadm -A -t 192.168.0.250:80 -s wlc
//! lvsadm -a -t 192.168.0.250:80 -r 192.168.0.188 -w 2
//! lvsadm -Ln --stats
//! ```
//! | file | what |
//! | --- | --- |
//! | `options.rs` | what is this program's own on the command line: `--socket`, `--json`, `--drain` and the like |
//! | `names.rs` | names of hosts and ports, out of this host's files |
//! | `show.rs` | listings, as text and as JSON |
//!
//! The grammar is `lvs_admin::rules`, the conversation `lvs_admin::control`. Output, messages and exit statuses are those of ipvsadm:
//! 0 done, 2 a command line that cannot be read, 255 refused by the director, 1 no director there.

mod names;
mod options;
mod show;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use lvs_admin::control::{self, CallError, Client, Fault, Reply, Request};
use lvs_admin::rules::{self, AddressProblem, Call, Problem};

use names::Names;
use options::{Options, Own};

/// The director is not there, or does not answer.
const NO_DIRECTOR: u8 = 1;
/// The command line cannot be read.
const USAGE: u8 = 2;
/// The director refuses, or an option is unknown: what ipvsadm says for both.
const REFUSED: u8 = 255;
/// The longest input of `-R`.
const MAX_INPUT: u64 = control::MAX_REQUEST as u64 / 2;

const HELP: &str = include_str!("help.txt");

/// Why it ended.
struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    fn new(status: u8, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let CallError::Refused(refusal) = error else {
            return Self::new(NO_DIRECTOR, format!("lvsadm: {error}"));
        };
        match refusal.ipvsadm {
            Some(said) => Self::new(said.status, said.text),
            None if refusal.fault == Fault::Malformed => Self::new(USAGE, refusal.text),
            None => Self::new(REFUSED, refusal.text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(NO_DIRECTOR, format!("lvsadm: {error}"))
    }
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe does not want the rest.
        Err(failure) if failure.text.is_empty() => ExitCode::from(failure.status),
        Err(failure) => {
            eprintln!("{}", failure.text);
            ExitCode::from(failure.status)
        }
    }
}

fn run(words: &[OsString]) -> Result<(), Failure> {
    let options = Options::read(words).map_err(|text| Failure::new(USAGE, text))?;
    let call = match &options.own {
        Some(own) => return carry_out(own, &options),
        None => read_call(&options.words)?,
    };
    match call {
        Call::Help => print(HELP),
        Call::Version => {
            print(&format!("lvsadm {} (the commands of ipvsadm 1.31)\n", env!("CARGO_PKG_VERSION")))
        }
        Call::Edit(line) => notes(options.client()?.rules(&line)?),
        Call::Restore => {
            let mut text = String::new();
            io::stdin().lock().take(MAX_INPUT + 1).read_to_string(&mut text)?;
            if text.len() as u64 > MAX_INPUT {
                return Err(Failure::new(USAGE, format!("more than {MAX_INPUT} bytes of rules")));
            }
            notes(options.client()?.rules(&text).map_err(located)?)
        }
        Call::Save { numeric } => save(&mut options.client()?, numeric),
        Call::List(list) => show::list(&mut options.client()?, &list, options.json),
        _ => Err(Failure::new(USAGE, "this program has no such command")),
    }
}

/// A refusal about a line of many.
fn located(error: CallError) -> Failure {
    match error {
        CallError::Refused(refusal) if refusal.line.is_some() => {
            let status = refusal.ipvsadm.as_ref().map_or(REFUSED, |said| said.status);
            // The text begins with the number of the line.
            Failure::new(status, format!("{}; nothing was changed", refusal.text))
        }
        other => other.into(),
    }
}

/// Reads the words; names of hosts and ports are looked up on this host.
fn read_call(words: &[String]) -> Result<Call, Failure> {
    let mut words = words.to_vec();
    let names = Names::of_this_host();
    // Each round replaces a name; there are not more of them than words.
    for _ in 0..=words.len() {
        let bytes: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let error = match rules::call(&bytes) {
            Ok(call) => return Ok(call),
            Err(error) => error,
        };
        let Some((name, number)) = looked_up(&names, error.problem()) else {
            let (text, status) = error.ipvsadm();
            return Err(Failure::new(status, text));
        };
        let mut start = 0;
        for word in &mut words {
            let end = start + word.len();
            if (start..=end).contains(&error.column().start) {
                *word = word.replacen(&name, &number, 1);
                break;
            }
            start = end + 1;
        }
    }
    Err(Failure::new(USAGE, "a name stands for itself"))
}

/// A name that was found, and what it stands for.
fn looked_up(names: &Names, problem: &Problem) -> Option<(String, String)> {
    let Problem::IllegalAddress { reason, .. } = problem else { return None };
    let (name, number) = match reason {
        AddressProblem::HostName(name) => (name, names.address(name)?),
        AddressProblem::PortName(name) => (name, names.port(name)?.to_string()),
        _ => return None,
    };
    Some((name.clone(), number))
}

fn carry_out(own: &Own, options: &Options) -> Result<(), Failure> {
    let mut client = options.client()?;
    match own {
        Own::Drain { service, server, deadline } => {
            let request = Request::Drain { service: (*service).into(), server: *server, deadline: *deadline };
            notes(client.done(&request)?)
        }
        Own::Knobs => show::knobs(&mut client, None, options.json),
        Own::Knob(name) if name.contains('=') => {
            notes(client.done(&Request::SetKnob { setting: name.clone() })?)
        }
        Own::Knob(name) => show::knobs(&mut client, Some(name), options.json),
        Own::Counters => show::counters(&mut client, options.json),
        Own::Trace { filter, count } => show::trace(client, filter, *count, options.json),
        Own::Health => show::health(&mut client, options.json),
        Own::Force { service, server, state, deadline } => {
            let service = service.map(Into::into);
            let (server, state, deadline) = (*server, *state, *deadline);
            notes(client.done(&Request::Force { service, server, state, deadline })?)
        }
        // What was done is the result here.
        Own::Reload => print(&(client.done(&Request::Reload)?.join("\n") + "\n")),
    }
}

fn save(client: &mut Client, numeric: bool) -> Result<(), Failure> {
    if !numeric {
        let Reply::Rules(text) = client.call(&Request::Save)? else {
            return Err(Failure::new(NO_DIRECTOR, "the director saved nothing"));
        };
        return print(&text);
    }
    let (services, _) = client.services()?;
    let plain: Vec<lvs_admin::model::Service> = services.iter().map(Into::into).collect();
    let all = lvs_admin::save::Configuration { services: &plain, mark_rules: &[], timeouts: None };
    let mut text = String::new();
    lvs_admin::save(&mut text, &all, lvs_admin::save::Style::IPVSADM)
        .map_err(|_| Failure::new(NO_DIRECTOR, "a service cannot be written as a rule"))?;
    let lost = plain.iter().any(|service| {
        let config = &service.config;
        config.timeouts.is_some()
            || config.slow_start.is_some()
            || service.destinations.iter().any(|server| server.upper_threshold > 0)
    });
    print(&text)?;
    if lost {
        eprintln!("-Sn writes what ipvsadm writes: no thresholds, time-outs and slow starts; -S writes all");
    }
    Ok(())
}

/// What the operator should know though it was done.
fn notes(notes: Vec<String>) -> Result<(), Failure> {
    for note in notes {
        eprintln!("{note}");
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::new(0, "")),
        result => Ok(result?),
    }
}
