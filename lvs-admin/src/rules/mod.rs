//! Rules files: what `ipvsadm -R` reads and `ipvsadm -S -n` writes.
//!
//! ```text
//!  bytes ─► lines ─► words ─► command, options, values ─► Change ─► Model: can it be carried out here?
//!                    words.rs  scan.rs, table.rs   command.rs, service.rs, mark.rs,     model.rs
//!                                                  endpoint.rs, value.rs
//! ```
//!
//! One rule a line: a command (`-A -E -D -a -e -d -C -Z --set --mark`, or its long name), its options in any order,
//! short or long, an `ipvsadm` in front if you like. Blank lines and comments from a `#` on are skipped;
//! CRLF and a byte order mark do no harm. [`parse`] looks at each line alone; [`load`] also follows the
//! sequence, so that a real server without service or a service made twice is reported with its line.
//!
//! It refuses to guess. An option that ipvsadm knows and this crate does not carry out yet is an error that
//! says so; an unknown one, or one that does not belong to the command, is another. Names of hosts and ports
//! are not looked up. One error ends it and nothing of the file is used. Any bytes are safe to parse; time
//! and memory are proportional to the size of the file (times the logarithm of the number of real servers).

mod call;
mod command;
mod endpoint;
mod error;
mod mark;
mod problem;
mod scan;
mod service;
mod table;
mod value;
mod wording;
mod words;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use lvs_core::config::{Change, SchedulerKind, ServiceKey, Timeouts};

pub use self::call::{Call, List, Listed, call};
use self::command::{Meaning, Odd};
pub use self::endpoint::{AddressProblem, Role};
use self::error::Fault;
pub use self::error::{Located, Problem, RulesError};
pub use self::wording::refused as refused_by_ipvsadm;
use crate::model::Model;

/// The longest line, in bytes without its end.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// The most lines of a file. A director with its most services and real servers takes about half as many.
pub const MAX_LINES: usize = 1 << 21;

/// One rule of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The number of its line, from 1.
    pub line: usize,
    /// What it asks for.
    pub change: Change,
    /// What is odd about it, though it can be carried out: the first thing found.
    pub warning: Option<Warning>,
}

/// Something that whoever wrote the file probably did not mean.
///
/// Its text names the line, what is odd and the reason; with the file's name in front it comes from
/// [`Warning::display`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A real server's port is not the service's, and the service's was taken.
    PortIgnored {
        /// The number of the line, from 1.
        line: usize,
        /// The real server's address.
        address: IpAddr,
        /// The port that was given.
        given: u16,
        /// The service's port, which is used; 0 for a mark and for a service on all ports.
        used: u16,
    },
    /// `-M` without `-p`; the mask was left out.
    MaskUnused {
        /// The number of the line, from 1.
        line: usize,
    },
    /// A slow start with a scheduler that makes no difference between weights; it will have no effect.
    SlowStartUnused {
        /// The number of the line, from 1.
        line: usize,
        /// The scheduler.
        scheduler: SchedulerKind,
    },
}

impl Warning {
    /// The number of the line, from 1.
    #[must_use]
    pub const fn line(&self) -> usize {
        match self {
            Self::PortIgnored { line, .. }
            | Self::MaskUnused { line }
            | Self::SlowStartUnused { line, .. } => *line,
        }
    }

    /// The message as `file:3: text`.
    #[must_use]
    pub const fn display<'a>(&'a self, file: &'a str) -> LocatedWarning<'a> {
        LocatedWarning { warning: self, file }
    }

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PortIgnored { address, given, used: 0, .. } => write!(
                f,
                "real server {} is served on the port that the client asks for, not on {given}: direct routing \
                 leaves the packet as it is and cannot map ports",
                SocketAddr::new(address, given),
            ),
            Self::MaskUnused { .. } => {
                f.write_str("-M has no effect without -p: only persistence groups clients by a mask")
            }
            Self::SlowStartUnused { scheduler, .. } => {
                write!(
                    f,
                    "--slow-start has no effect with the scheduler {scheduler}, to which all weights are equal"
                )
            }
            Self::PortIgnored { address, given, used, .. } => write!(
                f,
                "real server {} is served on port {used}, the service's, not on {given}: direct routing \
                 leaves the packet as it is and cannot map ports",
                SocketAddr::new(address, given),
            ),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line())?;
        self.text(f)
    }
}

/// A [`Warning`] together with the name of its file, for display.
#[derive(Debug, Clone, Copy)]
pub struct LocatedWarning<'a> {
    warning: &'a Warning,
    file: &'a str,
}

impl fmt::Display for LocatedWarning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.warning.line())?;
        self.warning.text(f)
    }
}

/// Reads a file for a director that has no services yet, with the default time-outs, and makes sure that its
/// rules can be carried out one after the other.
///
/// # Errors
/// The first line that is not well written or cannot be carried out after those before it.
pub fn load(text: &[u8]) -> Result<Vec<Rule>, RulesError> {
    load_onto(text, &mut Model::new())
}

/// Reads a file for a director that stands as `model` says, and lets `model` follow it.
///
/// # Errors
/// As [`load`]; `model` is then as the lines before the one at fault leave it.
pub fn load_onto(text: &[u8], model: &mut Model) -> Result<Vec<Rule>, RulesError> {
    each(text, *model.timeouts(), |meaning| {
        model.apply(&meaning.change).map_err(|error| refused(error, meaning))
    })
}

/// Reads a file without asking whether its rules can be carried out one after the other.
///
/// A time-out of 0 in `--set` stands for that of an earlier `--set` in the file, or else the default.
///
/// # Errors
/// The first line that is not well written.
pub fn parse(text: &[u8]) -> Result<Vec<Rule>, RulesError> {
    each(text, Timeouts::default(), |_| Ok(()))
}

/// Reads each line and lets `accept` have its say.
fn each(
    text: &[u8],
    mut timeouts: Timeouts,
    mut accept: impl FnMut(&Meaning) -> Result<(), Fault>,
) -> Result<Vec<Rule>, RulesError> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut rules = Vec::new();
    for (index, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = index + 1;
        let mut read = || {
            let Some(meaning) = read_line(line, bytes, &timeouts)? else { return Ok(None) };
            accept(&meaning)?;
            Ok(Some(meaning))
        };
        let Some(meaning) = read().map_err(|fault| RulesError::new(line, bytes, fault))? else { continue };
        if let Change::SetTimeouts(set) = meaning.change {
            timeouts = set;
        }
        rules.push(Rule { line, change: meaning.change, warning: warning(line, &meaning) });
    }
    Ok(rules)
}

/// What a line asks for; `None` if it is blank or a comment.
fn read_line(line: usize, bytes: &[u8], timeouts: &Timeouts) -> Result<Option<Meaning>, Fault> {
    if line > MAX_LINES && !bytes.is_empty() {
        return Err(Fault::new(0..bytes.len(), Problem::TooManyLines));
    }
    if bytes.strip_suffix(b"\r").unwrap_or(bytes).len() > MAX_LINE_BYTES {
        return Err(Fault::new(0..bytes.len(), Problem::LineTooLong));
    }
    let words = words::words(bytes);
    let words = match words.as_slice() {
        [first, rest @ ..] if first.bytes == b"ipvsadm" => rest,
        all => all,
    };
    if words.is_empty() {
        return Ok(None);
    }
    command::meaning(&scan::scan(words)?, timeouts).map(Some)
}

fn warning(line: usize, meaning: &Meaning) -> Option<Warning> {
    match meaning.odd? {
        Odd::MaskUnused => Some(Warning::MaskUnused { line }),
        Odd::SlowStartUnused(scheduler) => Some(Warning::SlowStartUnused { line, scheduler }),
        Odd::OtherPort(address, given) => {
            let used = match meaning.change {
                Change::AddDestination(_, server) | Change::EditDestination(_, server) => server.port,
                Change::RemoveDestination { port, .. } => port,
                _ => return None,
            };
            Some(Warning::PortIgnored { line, address, given, used })
        }
    }
}

/// A refusal by the model, at the word that it is about.
fn refused(error: lvs_core::config::ChangeError, meaning: &Meaning) -> Fault {
    use lvs_core::config::ChangeError as E;
    let server =
        |key: ServiceKey, address, port| format!("real server {} of {key}", SocketAddr::new(address, port));
    let about_server = matches!(
        error,
        E::DestinationExists | E::NoSuchDestination | E::DestinationAddressNotUnicast | E::FamilyMismatch
    );
    let (key, whole) = match meaning.change {
        Change::AddService(config) | Change::EditService(config) => (Some(config.key), None),
        Change::RemoveService(key) => (Some(key), None),
        Change::AddDestination(key, at) | Change::EditDestination(key, at) => {
            (Some(key), Some(server(key, at.address, at.port)))
        }
        Change::RemoveDestination { service, address, port } => {
            (Some(service), Some(server(service, address, port)))
        }
        Change::ZeroStatistics(key) => (key, None),
        _ => (None, None),
    };
    let (range, subject) = match (whole, key) {
        (Some(server), _) if about_server => (meaning.server.clone(), server),
        (_, Some(key)) => (meaning.service.clone(), key.to_string()),
        (_, None) => (meaning.service.clone(), "this rule".to_owned()),
    };
    Fault::new(range, Problem::Refused { error, subject })
}

#[cfg(test)]
mod tests;
