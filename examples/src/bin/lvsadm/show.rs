//! Listings, as text and as JSON.

use std::fmt::Write as _;
use std::io::{self, Write};

use lvs_admin::control::{CallError, Client, Reply, Request};
use lvs_admin::json;
use lvs_admin::listing;
use lvs_admin::rules::{List, Listed};
use serde_json::{Value, json};

use crate::names::Names;
use crate::{Failure, NO_DIRECTOR, REFUSED, USAGE, print};

/// Carries out `-L`.
pub(crate) fn list(client: &mut Client, list: &List, as_json: bool) -> Result<(), Failure> {
    let text = match list.what {
        Listed::Connections => return connections(client, list.numeric, as_json),
        Listed::Timeouts => return timeouts(client, as_json),
        Listed::Daemons => {
            return if as_json { print("[]\n") } else { Ok(()) };
        }
        Listed::Services => {
            let (services, size) = client.services()?;
            if as_json {
                let services: Vec<json::Service> = services.iter().map(Into::into).collect();
                return print(&format!("{}\n", json!({ "size": size, "services": services })));
            }
            let mut text = String::new();
            listing::services(&mut text, &services, size, list.style).map(|()| text)
        }
        Listed::Service(key) => {
            let (services, _) = client.services()?;
            let service = services.iter().find(|service| service.config.key == key);
            let service = service.ok_or_else(|| Failure::new(1, "No such service"))?;
            if as_json {
                return print(&format!("{}\n", to_json(&json::Service::from(service))?));
            }
            let mut text = String::new();
            listing::service(&mut text, service, list.style).map(|()| text)
        }
        _ => return Err(Failure::new(USAGE, "there is nothing like that to list")),
    };
    let text = text.map_err(|_| Failure::new(NO_DIRECTOR, "the listing cannot be written"))?;
    print(&if list.numeric { text } else { Names::of_this_host().put_into(&text) })
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::new(NO_DIRECTOR, error.to_string()))
}

/// A failure while lines are being written: of the director, or of whoever reads them.
enum Broken {
    Call(CallError),
    Output(io::Error),
}

impl From<CallError> for Broken {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// Connections, a line each as they come: a million of them take no memory here.
fn connections(client: &mut Client, numeric: bool, as_json: bool) -> Result<(), Failure> {
    let names = if numeric { None } else { Some(Names::of_this_host()) };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut header = String::new();
    if !as_json {
        // Writing into a string does not fail.
        let _ = listing::connection_header(&mut header);
    }
    let result = out.write_all(header.as_bytes()).map_err(Broken::Output).and_then(|()| {
        client.connections(|record| {
            let mut line = String::new();
            if as_json {
                line = serde_json::to_string(&json::Connection::from(&record)).unwrap_or_default();
                line.push('\n');
            } else {
                let _ = listing::connection(&mut line, &record);
                line = names.as_ref().map_or(line.clone(), |names| names.put_into(&line));
            }
            out.write_all(line.as_bytes()).map_err(Broken::Output)
        })
    });
    match result.and_then(|()| out.flush().map_err(Broken::Output)) {
        Ok(()) => Ok(()),
        Err(Broken::Call(error)) => Err(error.into()),
        Err(Broken::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::new(0, "")),
        Err(Broken::Output(error)) => Err(error.into()),
    }
}

fn timeouts(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let Reply::Timeouts(timeouts) = client.call(&Request::Timeouts)? else {
        return Err(Failure::new(NO_DIRECTOR, "the director has no time-outs"));
    };
    if as_json {
        return print(&format!("{}\n", to_json(&timeouts)?));
    }
    let mut text = String::new();
    listing::timeouts(&mut text, &timeouts.into())
        .map_err(|_| Failure::new(NO_DIRECTOR, "the listing cannot be written"))?;
    print(&text)
}

/// All knobs, or one.
pub(crate) fn knobs(client: &mut Client, name: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let Reply::Knobs(knobs) = client.call(&Request::Knobs)? else {
        return Err(Failure::new(NO_DIRECTOR, "the director has no knobs"));
    };
    let short = name.map(|name| name.strip_prefix("net.ipv4.vs.").unwrap_or(name));
    let wanted: Vec<_> =
        knobs.into_iter().filter(|knob| short.is_none_or(|name| knob.name == name)).collect();
    if let (Some(name), true) = (name, wanted.is_empty()) {
        return Err(Failure::new(REFUSED, format!("there is no knob {name:?}; --sysctl lists all")));
    }
    if as_json {
        let all: serde_json::Map<String, Value> =
            wanted.into_iter().map(|knob| (knob.name, knob.value.into())).collect();
        return print(&format!("{}\n", Value::Object(all)));
    }
    let lines: String =
        wanted.iter().map(|knob| format!("net.ipv4.vs.{} = {}\n", knob.name, knob.value)).collect();
    print(&lines)
}

/// Everything the director counts.
pub(crate) fn counters(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let Reply::Statistics(counters) = client.call(&Request::Statistics)? else {
        return Err(Failure::new(NO_DIRECTOR, "the director has no counters"));
    };
    if as_json {
        return print(&format!("{}\n", to_json(&counters)?));
    }
    let width = counters.keys().map(String::len).max().unwrap_or(0);
    let lines: String = counters.iter().map(|(name, count)| format!("{name:<width$}  {count}\n")).collect();
    print(&lines)
}

/// How the real servers are that are checked: a line for each service and each of its servers.
pub(crate) fn health(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let services = client.health()?;
    if as_json {
        return print(&format!("{}\n", to_json(&services)?));
    }
    let mut text = format!(
        "{:<28} {:<12} {:>8} {:>7}  {}\n",
        "Service / real server", "State", "Since", "Weight", "Why"
    );
    for service in &services {
        let state = match (service.quorum, service.sorry) {
            (true, _) => "quorum",
            (false, true) => "sorry server",
            (false, false) => "no quorum",
        };
        let key = lvs_core::config::ServiceKey::from(service.service).to_string();
        // Writing into a string does not fail.
        let _ = writeln!(text, "{key:<28} {state:<12} {:>8} {:>7}", "", service.weight_up);
        for server in &service.servers {
            let name = format!("  {}", server.address);
            let weight = server.weight.map_or_else(|| "-".to_owned(), |weight| weight.to_string());
            let why = why(server);
            let line =
                format!("{name:<28} {:<12} {:>8} {weight:>7}  {why}", server.state, time(server.since));
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    print(&text)
}

/// Why a server is down, or what stands against one that is up.
fn why(server: &json::HealthServer) -> String {
    let held =
        server.held_for.map(|seconds| format!("went up and down too often; held for {} more", time(seconds)));
    let undecided = || server.checks.iter().find_map(|check| check.failure.clone());
    held.or_else(|| server.reason.clone()).or_else(undecided).unwrap_or_default()
}

/// Seconds, as people say them.
fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
