//! The meaning of a sorted line: which [`Change`] it asks for.
//!
//! Here and in `service.rs` is decided which options belong together. Whether the change can be carried out
//! after those before it is for the [`Model`](crate::model::Model) to say.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use lvs_core::config::{
    Change, ChangeError, DestinationConfig, ForwardingMethod, SchedulerKind, ServiceKey, Timeouts,
};

use super::endpoint::{Role, endpoint};
use super::error::{Fault, Problem};
use super::problem::excerpt;
use super::scan::{GivenOption, Scanned};
use super::table::{self, Command, Slot, Standing};
use super::words::Word;
use super::{mark, service, value};
use crate::model;

/// A change, and what later stages want to say about it.
#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) change: Change,
    pub(super) odd: Option<Odd>,
    /// Where the service and the real server stand in the line, or else the command.
    pub(super) service: Range<usize>,
    pub(super) server: Range<usize>,
}

impl Meaning {
    /// Nothing yet; all that is said about it is about these bytes.
    pub(super) fn at(command: Range<usize>) -> Self {
        Self { change: Change::Clear, odd: None, service: command.clone(), server: command }
    }
}

/// Something in a line that has no effect.
#[derive(Debug, Clone, Copy)]
pub(super) enum Odd {
    /// A real server's port that is not the service's; its address and port as they were given.
    OtherPort(IpAddr, u16),
    /// A mask without persistence.
    MaskUnused,
    /// A slow start with a scheduler that takes no account of weights.
    SlowStartUnused(SchedulerKind),
}

/// What a line asks for. A time-out of 0 in `--set` leaves that of `current` as it is.
///
/// # Errors
/// Options that do not belong to the command, exclude each other, are missing or not supported yet, and
/// values that are none.
pub(super) fn meaning(line: &Scanned<'_>, current: &Timeouts) -> Result<Meaning, Fault> {
    check(line)?;
    let mut found = Meaning::at(line.command.range.clone());
    found.change = match line.command.spec.command {
        Command::AddService => Change::AddService(service::config(line, &mut found)?),
        Command::EditService => Change::EditService(service::config(line, &mut found)?),
        Command::DeleteService => Change::RemoveService(service::key(line, &mut found)?),
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
        Command::Zero if line.options.is_empty() => Change::ZeroStatistics(None),
        Command::Zero => Change::ZeroStatistics(Some(service::key(line, &mut found)?)),
        Command::Set => Change::SetTimeouts(timeouts(line, current)?),
        Command::Mark => Change::AddMarkRule(mark::rule(line)?),
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
    check_options(line)
}

/// Whether options and arguments go with the command.
pub(super) fn check_options(line: &Scanned<'_>) -> Result<(), Fault> {
    let command = &line.command;
    for (at, option) in line.options.iter().enumerate() {
        check_option(line, option, &line.options[..at])?;
    }
    let arguments = match command.spec.command {
        Command::Set => 3,
        Command::Mark => 4,
        _ => 0,
    };
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
        return fault(Problem::NotForCommand {
            option: option.spec.called(),
            command: command.name,
            called: command.spec.called(),
            known,
        });
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

pub(super) fn option<'l, 'a>(line: &'l Scanned<'a>, slot: Slot) -> Option<&'l GivenOption<'a>> {
    line.options.iter().find(|option| option.spec.slot == slot)
}

/// The value of the option in a slot.
pub(super) fn value_of<'a>(line: &Scanned<'a>, slot: Slot) -> Option<Word<'a>> {
    option(line, slot)?.value()
}

/// The option in a slot and its value.
pub(super) fn required<'l, 'a>(
    line: &'l Scanned<'a>,
    slot: Slot,
    called: &'static str,
    written: &'static str,
) -> Result<(&'l GivenOption<'a>, Word<'a>), Fault> {
    option(line, slot).and_then(|option| Some((option, option.value()?))).ok_or_else(|| {
        let problem = Problem::Incomplete { option: called, called: line.command.spec.called(), written };
        Fault::new(line.command.range.clone(), problem)
    })
}

/// A real server and its service. Under direct routing its port is the service's, whatever was given.
fn server_config(line: &Scanned<'_>, found: &mut Meaning) -> Result<(ServiceKey, DestinationConfig), Fault> {
    let service = service::key(line, found)?;
    let (_, word) = required(line, Slot::Server, "real-server", "-r RIP")?;
    let (address, given) = endpoint(word, Role::RealServer)?;
    found.server = word.range();
    let port = service.port();
    found.odd = given.filter(|&given| given != port).map(|given| Odd::OtherPort(address, given));
    let number = |slot, read: fn(Word<'_>) -> Result<u32, Fault>, default| {
        value_of(line, slot).map_or(Ok(default), read)
    };
    let mut server =
        DestinationConfig::new(address, port).weight(number(Slot::Weight, value::weight, 1)?).thresholds(
            number(Slot::UpperThreshold, value::threshold, 0)?,
            number(Slot::LowerThreshold, value::threshold, 0)?,
        );
    server.forwarding = ForwardingMethod::DirectRouting;
    model::check_numbers(&server).map_err(|error| refused_numbers(error, line, service, &server))?;
    Ok((service, server))
}

fn refused_numbers(
    error: ChangeError,
    line: &Scanned<'_>,
    service: ServiceKey,
    server: &DestinationConfig,
) -> Fault {
    let subject = format!("real server {} of {service}", SocketAddr::new(server.address, server.port));
    let range = option(line, Slot::LowerThreshold).map_or(&line.command.range, |option| &option.range);
    Fault::new(range.clone(), Problem::Refused { error, subject })
}

/// The three time-outs of `--set`.
fn timeouts(line: &Scanned<'_>, current: &Timeouts) -> Result<Timeouts, Fault> {
    let [tcp, tcp_fin, udp] = *line.arguments.as_slice() else {
        let problem = Problem::MissingTimeouts { option: line.command.name, given: line.arguments.len() };
        return Err(Fault::new(line.command.range.clone(), problem));
    };
    Ok(Timeouts {
        tcp: value::timeout_or_zero(tcp)?.unwrap_or(current.tcp),
        tcp_fin: value::timeout_or_zero(tcp_fin)?.unwrap_or(current.tcp_fin),
        udp: value::timeout_or_zero(udp)?.unwrap_or(current.udp),
    })
}
