//! `lvsadm`: a running director's services, edited and listed with the commands of `ipvsadm`.
//!
//! ```text
//! lvsadm -A -t 192.168.0.250:80 -s wlc
//! lvsadm -a -t 192.168.0.250:80 -r 192.168.0.188 -w 2
//! lvsadm -Ln --stats
//! ```
//! | file | what |
//! | --- | --- |
//! | `names.rs` | names of hosts and ports, out of this host's files |
//! | `show.rs` | listings, as text and as JSON |
//! | `trace.rs` | frames as they are decided about |
//!
//! The command line is `lvs_admin::control::CommandLine`, the grammar `lvs_admin::rules`, the conversation `lvs_admin::control`. Output, messages and exit statuses are those of ipvsadm:
//! 0 done, 2 a command line that cannot be read, 255 refused by the director, 1 no director there, or it has ended.

mod names;
mod show;
mod trace;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lvs_admin::control::{self, CallError, Client, Command, CommandLine, Fault, Name, Reply, Request};
use lvs_admin::explain;
use lvs_admin::rules::Call;

use names::Names;

/// The director is not there, or does not answer.
const NO_DIRECTOR: u8 = 1;
/// The command line cannot be read.
const USAGE: u8 = 2;
/// The director refuses, or an option is unknown: what ipvsadm says for both.
const REFUSED: u8 = 255;
/// The longest input of `-R`.
const MAX_INPUT: u64 = control::MAX_REQUEST as u64 / 2;

const HELP: &str = include_str!("help.txt");
const TRACE_HELP: &str = include_str!("trace_help.txt");

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
    let line = CommandLine::read(words).map_err(|error| Failure::new(USAGE, error.to_string()))?;
    match &line.command {
        Command::Ipvsadm(words) => ipvsadm(&read_call(words)?, &line),
        Command::TraceHelp => print(&format!("{TRACE_HELP}{}", explain::filter_help())),
        Command::Trace { filter, count, seconds } => {
            let count = count.map_or(u64::MAX, Into::into);
            let wish = trace::Wish { filter, count, seconds: *seconds, as_json: line.json };
            trace::trace(line.socket, &wish)
        }
        command => carry_out(command, &line),
    }
}

/// A conversation with the director: that of `--socket`, of `LVS_SOCKET`, or the one at the usual place.
fn connect(socket: Option<PathBuf>) -> Result<Client, Failure> {
    let path = control::chosen_path(socket).ok_or_else(|| {
        Failure::new(
            USAGE,
            "which director? --socket PATH or LVS_SOCKET says where its socket is; for root it is \
             /run/lvs/director.sock unless told",
        )
    })?;
    Ok(Client::connect(&path)?)
}

/// A command that ipvsadm has, too.
fn ipvsadm(call: &Call, line: &CommandLine) -> Result<(), Failure> {
    let client = || connect(line.socket.clone());
    match call {
        Call::Help => print(HELP),
        Call::Version => {
            print(&format!("lvsadm {} (the commands of ipvsadm 1.31)\n", env!("CARGO_PKG_VERSION")))
        }
        Call::Edit(rule) => notes(client()?.rules(rule)?),
        Call::Restore => {
            let mut text = String::new();
            io::stdin().lock().take(MAX_INPUT + 1).read_to_string(&mut text)?;
            if text.len() as u64 > MAX_INPUT {
                return Err(Failure::new(USAGE, format!("more than {MAX_INPUT} bytes of rules")));
            }
            notes(client()?.rules(&text).map_err(located)?)
        }
        Call::Save { numeric } => save(&mut client()?, *numeric),
        Call::List(list) => show::list(&mut client()?, list, line.json),
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
    let names = Names::of_this_host();
    let look_up = |name: Name<'_>| match name {
        Name::Host(name) => names.address(name),
        Name::Port(name) => Some(names.port(name)?.to_string()),
    };
    control::call(words, look_up).map_err(|error| {
        let (text, status) = error.ipvsadm();
        Failure::new(status, text)
    })
}

/// A command that ipvsadm does not have.
fn carry_out(command: &Command, line: &CommandLine) -> Result<(), Failure> {
    let mut client = connect(line.socket.clone())?;
    match command {
        Command::Knobs(name) => show::knobs(&mut client, name.as_deref(), line.json),
        Command::Counters => show::counters(&mut client, line.json),
        Command::Health => show::health(&mut client, line.json),
        // What was done is the result here.
        Command::Reload => print(&(client.done(&Request::Reload)?.join("\n") + "\n")),
        other => {
            let request = other.request();
            let request = request.ok_or_else(|| Failure::new(USAGE, "this program has no such command"))?;
            notes(client.done(&request)?)
        }
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
