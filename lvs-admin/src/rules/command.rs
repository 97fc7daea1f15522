//! The meaning of a sorted line: which [`Change`] it asks for.
//!
//! Here, and only here, is decided which options belong together. Whether the change can be carried out
//! after those before it is for the [`Model`](crate::model::Model) to say.

use std::net::IpAddr;
use std::ops::Range;

use lvs_core::config::{
    Change, DestinationConfig, ForwardingMethod, Protocol, SchedulerKind, ServiceConfig, ServiceKey, Timeouts,
};

use super::error::{Fault, Problem};
use super::problem::excerpt;
use super::scan::{GivenOption, Scanned};
use super::table::{self, Command, Slot, Standing};
use super::value;
use super::words::Word;

/// A change, and what later stages want to say about it.
#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) change: Change,
    /// The address and port of a real server whose port is not the service's, as they were given.
    pub(super) other_port: Option<(IpAddr, u16)>,
    /// Where the service and the real server stand in the line, or else the command.
    pub(super) service: Range<usize>,
    pub(super) server: Range<usize>,
}

/// What a line asks for. A time-out of 0 in `--set` leaves that of `current` as it is.
///
/// # Errors
/// Options that do not belong to the command, exclude each other, are missing or not supported yet, and
/// values that are none.
pub(super) fn meaning(line: &Scanned<'_>, current: &Timeouts) -> Result<Meaning, Fault> {
    check(line)?;
    let command = line.command.range.clone();
    let mut found =
        Meaning { change: Change::Clear, other_port: None, service: command.clone(), server: command };
    found.change = match line.command.spec.command {
        Command::AddService => Change::AddService(service_config(line, &mut found)?),
        Command::EditService => Change::EditService(service_config(line, &mut found)?),
        Command::DeleteService => Change::RemoveService(service_key(line, &mut found)?),
        Command::AddServer => {
            let (service, server) = server_config(line, &mut found)?;
            Change::AddDestination(service, server)
        }
        Command::EditServer => {
            let (service, server) = server_config(line, &mut found)?;
            Change::EditDestination(service, server)
        }
        Command::DeleteServer => {
            let (service, DestinationConfig { address, port, .. }) = server_config(line, &mut found)?;
            Change::RemoveDestination { service, address, port }
        }
        Command::Zero if option(line, Slot::Service).is_some() => {
            Change::ZeroStatistics(Some(service_key(line, &mut found)?))
        }
        Command::Zero => Change::ZeroStatistics(None),
        Command::Set => Change::SetTimeouts(timeouts(line, current)?),
        Command::Clear => Change::Clear,
        Command::Restore
        | Command::Save
        | Command::List
        | Command::Help
        | Command::Version
        | Command::StartDaemon
        | Command::StopDaemon => {
            let problem = Problem::NotARule { command: line.command.name };
            return Err(Fault::new(line.command.range.clone(), problem));
        }
    };
    Ok(found)
}

/// Whether command, options and arguments go together, before any value is looked at.
fn check(line: &Scanned<'_>) -> Result<(), Fault> {
    let command = &line.command;
    match command.spec.standing {
        Standing::Supported => {}
        Standing::NotARule => {
            return Err(Fault::new(command.range.clone(), Problem::NotARule { command: command.name }));
        }
        Standing::NotYet { meaning, instead } => {
            return Err(not_yet(command.name, command.range.clone(), meaning, instead));
        }
    }
    for (at, option) in line.options.iter().enumerate() {
        check_option(line, option, &line.options[..at])?;
    }
    let arguments = if command.spec.command == Command::Set { 3 } else { 0 };
    if let Some(word) = line.arguments.get(arguments) {
        return Err(Fault::new(word.range(), Problem::UnexpectedArgument { text: excerpt(word.bytes) }));
    }
    Ok(())
}

fn check_option(
    line: &Scanned<'_>,
    option: &GivenOption<'_>,
    before: &[GivenOption<'_>],
) -> Result<(), Fault> {
    let command = &line.command;
    let fault = |problem| Err(Fault::new(option.range.clone(), problem));
    if !option.spec.commands.contains(&command.spec.command) {
        let known = table::option_names(command.spec.command);
        return fault(Problem::NotForCommand { option: option.name, command: command.name, known });
    }
    if let Standing::NotYet { meaning, instead } = option.spec.standing {
        return Err(not_yet(option.name, option.range.clone(), meaning, instead));
    }
    match before.iter().find(|earlier| earlier.spec.slot == option.spec.slot) {
        Some(same) if same.spec == option.spec => fault(Problem::Repeated { option: option.name }),
        Some(other) => fault(Problem::Conflict { first: other.name, second: option.name }),
        None => Ok(()),
    }
}

fn not_yet(name: &str, range: Range<usize>, meaning: &str, instead: &'static str) -> Fault {
    let what = format!("{name} ({meaning})");
    Fault::new(range, Problem::NotSupportedYet { what, instead: instead.into() })
}

fn option<'l, 'a>(line: &'l Scanned<'a>, slot: Slot) -> Option<&'l GivenOption<'a>> {
    line.options.iter().find(|option| option.spec.slot == slot)
}

/// The option in a slot and its value.
fn required<'l, 'a>(
    line: &'l Scanned<'a>,
    slot: Slot,
    what: &'static str,
    written: &'static str,
) -> Result<(&'l GivenOption<'a>, Word<'a>), Fault> {
    option(line, slot).and_then(|option| Some((option, option.value?))).ok_or_else(|| {
        let problem = Problem::Incomplete { command: line.command.name, what, written };
        Fault::new(line.command.range.clone(), problem)
    })
}

fn service_key(line: &Scanned<'_>, found: &mut Meaning) -> Result<ServiceKey, Fault> {
    let (option, word) = required(line, Slot::Service, "service", "-t VIP:PORT or -u VIP:PORT")?;
    let (address, port) = value::endpoint(word)?;
    let Some(port @ 1..) = port else {
        return Err(Fault::new(word.range(), Problem::NoPort));
    };
    found.service = word.range();
    let protocol = if option.spec.short == Some("-u") { Protocol::Udp } else { Protocol::Tcp };
    Ok(ServiceKey::Address { protocol, address, port })
}

fn service_config(line: &Scanned<'_>, found: &mut Meaning) -> Result<ServiceConfig, Fault> {
    let key = service_key(line, found)?;
    Ok(ServiceConfig::new(key, scheduler(line)?))
}

/// ipvsadm takes wlc where no scheduler is named. There is none of that name yet, and to take another
/// silently would change what a file means once there is.
fn scheduler(line: &Scanned<'_>) -> Result<SchedulerKind, Fault> {
    match option(line, Slot::Scheduler).and_then(|option| option.value) {
        Some(name) => value::scheduler(name),
        None => {
            let problem = Problem::NoScheduler { command: line.command.name };
            Err(Fault::new(line.command.range.clone(), problem))
        }
    }
}

/// A real server and its service. Under direct routing its port is the service's, whatever was given.
fn server_config(line: &Scanned<'_>, found: &mut Meaning) -> Result<(ServiceKey, DestinationConfig), Fault> {
    let service = service_key(line, found)?;
    let (_, word) = required(line, Slot::Server, "real server", "-r RIP")?;
    let (address, given) = value::endpoint(word)?;
    found.server = word.range();
    let weight = match option(line, Slot::Weight).and_then(|option| option.value) {
        Some(word) => value::weight(word)?,
        None => 1,
    };
    let port = match service {
        ServiceKey::Address { port, .. } => port,
        _ => given.unwrap_or(0),
    };
    found.other_port = given.filter(|&given| given != port).map(|given| (address, given));
    let mut server = DestinationConfig::new(address, port).weight(weight);
    server.forwarding = ForwardingMethod::DirectRouting;
    Ok((service, server))
}

/// The three time-outs of `--set`.
fn timeouts(line: &Scanned<'_>, current: &Timeouts) -> Result<Timeouts, Fault> {
    let [tcp, tcp_fin, udp] = *line.arguments.as_slice() else {
        let problem = Problem::MissingTimeouts { command: line.command.name, given: line.arguments.len() };
        return Err(Fault::new(line.command.range.clone(), problem));
    };
    Ok(Timeouts {
        tcp: value::timeout(tcp)?.unwrap_or(current.tcp),
        tcp_fin: value::timeout(tcp_fin)?.unwrap_or(current.tcp_fin),
        udp: value::timeout(udp)?.unwrap_or(current.udp),
    })
}
