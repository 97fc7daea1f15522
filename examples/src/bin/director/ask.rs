//! `director check` and `director plan`: what a file says, and what it would do, without running anything.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use lvs_admin::config::{Configuration, toml};
use lvs_admin::control::{self, CallError, Client, Fault, Reply, Request};
use lvs_admin::json::Plan;

use crate::setup::check_file;
use crate::source::{Source, SourceError};

/// The file is wrong, or the director would refuse it.
const EXIT_WRONG: u8 = 1;
/// It could not be found out.
const EXIT_UNKNOWN: u8 = 2;

/// What to print on standard error, and the exit status.
type Failure = (u8, String);

/// Reads a file and says what there is to say about it.
pub(crate) fn check(source: &Source) -> ExitCode {
    ended((|| {
        let loaded = source.read().map_err(unusable)?;
        loaded.notices.iter().for_each(|notice| eprintln!("{notice}"));
        let notes = check_file(source, &loaded).map_err(|error| (EXIT_WRONG, error))?;
        notes.iter().for_each(|note| eprintln!("{note}"));
        print(&format!("{}: {}\n", source.path.display(), summary(&loaded.configuration)))
    })())
}

/// Asks a running director what a file would do.
pub(crate) fn plan(source: &Source, socket: Option<PathBuf>, json: bool) -> ExitCode {
    ended((|| {
        let loaded = source.read().map_err(unusable)?;
        loaded.notices.iter().for_each(|notice| eprintln!("{notice}"));
        let path = control::chosen_path(socket)
            .ok_or_else(|| unknown("which director? --socket PATH or LVS_SOCKET says where its socket is"))?;
        let configuration = toml::write(&loaded.configuration);
        let reply =
            Client::connect(&path).and_then(|mut client| client.call(&Request::Plan { configuration }));
        let plan = match reply {
            Ok(Reply::Plan(plan)) => plan,
            Ok(_) => return Err(unknown("the director answered something else")),
            Err(CallError::Refused(refusal)) if refusal.fault == Fault::Refused => {
                Plan { refused: Some(refusal.text), ..Plan::default() }
            }
            Err(error) => return Err(unknown(error)),
        };
        let text = if json {
            let text = serde_json::to_string(&plan).map_err(unknown)?;
            format!("{text}\n")
        } else {
            plan.to_string()
        };
        print(&text)?;
        if plan.refused.is_some() { Err((EXIT_WRONG, String::new())) } else { Ok(()) }
    })())
}

fn unknown(error: impl ToString) -> Failure {
    (EXIT_UNKNOWN, error.to_string())
}

fn unusable(error: SourceError) -> Failure {
    let status = if matches!(error, SourceError::Wrong(_)) { EXIT_WRONG } else { EXIT_UNKNOWN };
    (status, error.to_string())
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, text)) => {
            if !text.is_empty() {
                eprintln!("{text}");
            }
            ExitCode::from(status)
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    // Whoever closed the pipe does not want it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn summary(configuration: &Configuration) -> String {
    let servers: usize = configuration.services.iter().map(|service| service.servers.len()).sum();
    let checks = configuration.services.iter().flat_map(|service| &service.servers);
    let checks: usize = checks.map(|server| server.checks.len()).sum();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let mut parts = vec![
        count(configuration.services.len(), "service"),
        count(servers, "real server"),
        count(checks, "health check"),
    ];
    if !configuration.interfaces.is_empty() {
        parts.insert(0, count(configuration.interfaces.len(), "interface"));
    }
    format!("good: {}", parts.join(", "))
}
