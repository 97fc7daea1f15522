//! The command line of `lvsadm`: what is its own on it, and whose business the rest is.
//!
//! ```text
//!   words ─► CommandLine ─┬─ Command::Ipvsadm ─► call ─► rules::Call
//!                         └─ any other ────────► Request
//! ```
//! It reads words, as a shell hands them over, and opens nothing: names are looked up by whoever calls.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lvs_core::Change;
use lvs_core::config::ServiceKey;

use super::message::Request;
use crate::explain::{Filter, shortened};
use crate::json::ForcedState;
use crate::rules::{self, AddressProblem, Call, Problem, RulesError};

/// The most seconds that an option takes: 31 days.
pub(super) const MAX_SECONDS: u64 = 31 * 86_400;

/// A command line, taken apart.
///
/// ```
/// use lvs_admin::control::{Command, CommandLine};
///
/// let line = CommandLine::read(["--json", "--trace", "port=80", "--seconds", "5"])?;
/// assert!(line.json);
/// let Command::Trace { filter, seconds, .. } = line.command else { panic!() };
/// assert_eq!((filter.as_str(), seconds), ("port=80", Some(5)));
///
/// let wrong = CommandLine::read(["--trace", "colour=red"]).unwrap_err().to_string();
/// assert!(wrong.starts_with("--trace colour=red: `colour` is no key; expected one of address, "));
/// # Ok::<(), lvs_admin::control::UsageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// `--socket PATH`: which director.
    pub socket: Option<PathBuf>,
    /// `--json`: JSON instead of text.
    pub json: bool,
    /// What is to be done.
    pub command: Command,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// A command of ipvsadm's, to be read by [`call`].
    Ipvsadm(Vec<String>),
    /// `--drain SERVICE -r SERVER --deadline SECONDS`
    Drain {
        /// The service.
        service: ServiceKey,
        /// The real server.
        server: IpAddr,
        /// Seconds.
        deadline: u64,
    },
    /// `--sysctl [NAME]`: one knob, or all.
    Knobs(Option<String>),
    /// `--sysctl NAME=VALUE`
    SetKnob(String),
    /// `--counters`
    Counters,
    /// `--reload`
    Reload,
    /// `--trace [TERM ...] [--count N] [--seconds N]`
    Trace {
        /// The terms, a space between them; it can be read as a [`Filter`].
        filter: String,
        /// It ends after so many frames.
        count: Option<NonZeroU64>,
        /// It ends after so many seconds, from 1 to 2678400.
        seconds: Option<u64>,
    },
    /// `--trace help`
    TraceHelp,
    /// `--health`
    Health,
    /// `--force STATE [SERVICE] -r SERVER [--deadline SECONDS]`
    Force {
        /// The service; all of the server's if none is named.
        service: Option<ServiceKey>,
        /// The real server.
        server: IpAddr,
        /// How it is.
        state: ForcedState,
        /// Seconds.
        deadline: Option<u64>,
    },
}

/// A command line that cannot be read: what is wrong and what was expected. Words are quoted shortened and without control
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

impl CommandLine {
    /// Reads words, without the name of the program. `--socket` and `--json` may stand anywhere.
    ///
    /// # Errors
    /// What is wrong, in words. What is ipvsadm's is not looked at; [`call`] does that.
    pub fn read<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Result<Self, UsageError> {
        let (mut socket, mut json, mut rest) = (None, false, Vec::new());
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let word = word.as_ref();
            if word == "--json" {
                json = true;
            } else if word == "--socket" {
                let path = words.next().ok_or_else(|| usage("--socket needs a path"))?;
                socket = Some(PathBuf::from(path.as_ref()));
            } else if let Some(path) = word.as_bytes().strip_prefix(b"--socket=") {
                socket = Some(PathBuf::from(OsStr::from_bytes(path)));
            } else {
                rest.push(word.to_string_lossy().into_owned());
            }
        }
        if socket.as_ref().is_some_and(|path: &PathBuf| path.as_os_str().is_empty()) {
            return Err(usage("--socket needs a path"));
        }
        Ok(Self { socket, json, command: Command::read(rest)? })
    }

    /// Words that are read as this command line.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        if let Some(path) = &self.socket {
            words.extend(["--socket".into(), path.into()]);
        }
        if self.json {
            words.push("--json".into());
        }
        words.extend(self.command.words().into_iter().map(OsString::from));
        words
    }
}

impl Command {
    fn read(words: Vec<String>) -> Result<Self, UsageError> {
        let plain: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(match &plain[..] {
            ["--counters"] => Self::Counters,
            ["--reload"] => Self::Reload,
            ["--health"] => Self::Health,
            ["--sysctl"] => Self::Knobs(None),
            ["--sysctl", knob] if knob.contains('=') => Self::SetKnob((*knob).to_owned()),
            ["--sysctl", knob] => Self::Knobs(Some((*knob).to_owned())),
            [option @ ("--counters" | "--reload" | "--health"), more, ..] => {
                return Err(usage(format!("{option}: `{}` is one word too many", shortened(more))));
            }
            ["--sysctl", _, more, ..] => {
                return Err(usage(format!(
                    "--sysctl: `{}` is one word too many; expected NAME or NAME=VALUE",
                    shortened(more)
                )));
            }
            ["--trace", rest @ ..] => trace(rest)?,
            ["--force", state, rest @ ..] => force(state, rest)?,
            ["--force"] => return Err(usage(format!("expected {FORCE}"))),
            ["--drain", rest @ ..] => drain(rest)?,
            _ => Self::Ipvsadm(words),
        })
    }

    fn words(&self) -> Vec<String> {
        let word = |text: &str| vec![text.to_owned()];
        let line = match self {
            Self::Ipvsadm(words) => return words.clone(),
            Self::Knobs(None) => return word("--sysctl"),
            Self::Knobs(Some(knob)) | Self::SetKnob(knob) => return [word("--sysctl"), word(knob)].concat(),
            Self::Counters => return word("--counters"),
            Self::Reload => return word("--reload"),
            Self::TraceHelp => return [word("--trace"), word("help")].concat(),
            Self::Health => return word("--health"),
            Self::Drain { service, server, deadline } => {
                format!("--drain {} --deadline {deadline}", server_words(Some(*service), *server))
            }
            Self::Trace { filter, count, seconds } => {
                let count = count.map_or_else(String::new, |count| format!(" --count {count}"));
                let seconds = seconds.map_or_else(String::new, |seconds| format!(" --seconds {seconds}"));
                format!("--trace {filter}{count}{seconds}")
            }
            Self::Force { service, server, state, deadline } => {
                let state = ForcedState::NAMES.iter().find(|(_, one)| one == state);
                let deadline =
                    deadline.map_or_else(String::new, |deadline| format!(" --deadline {deadline}"));
                let state = state.map_or("", |(name, _)| name);
                format!("--force {state} {}{deadline}", server_words(*service, *server))
            }
        };
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// What the director is asked for; `None` where that takes a look at ipvsadm's words, or nobody is asked.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        Some(match self {
            Self::Ipvsadm(_) | Self::TraceHelp => return None,
            Self::Drain { service, server, deadline } => {
                Request::Drain { service: (*service).into(), server: *server, deadline: *deadline }
            }
            Self::Knobs(_) => Request::Knobs,
            Self::SetKnob(setting) => Request::SetKnob { setting: setting.clone() },
            Self::Counters => Request::Statistics,
            Self::Reload => Request::Reload,
            Self::Trace { filter, .. } => Request::Trace { filter: filter.clone() },
            Self::Health => Request::Health,
            Self::Force { service, server, state, deadline } => Request::Force {
                service: service.map(Into::into),
                server: *server,
                state: *state,
                deadline: *deadline,
            },
        })
    }
}

/// A name in a command line, of which numbers are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// Of a host; it is replaced by an address as in a rule: `192.0.2.10` or `[2001:db8::10]`.
    Host(&'a str),
    /// Of a port.
    Port(&'a str),
}

/// Reads [ipvsadm's words](Command::Ipvsadm); `look_up` answers what stands for a name of a host or port, if anything does. It is
/// asked for at most two names a word.
///
/// # Errors
/// As [`rules::call`], and where a name stays one.
pub fn call(
    words: &[String],
    mut look_up: impl FnMut(Name<'_>) -> Option<String>,
) -> Result<Call, RulesError> {
    let mut words = words.to_vec();
    let mut left = 2 * words.len();
    loop {
        let bytes: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let error = match rules::call(&bytes) {
            Ok(call) => return Ok(call),
            Err(error) if left == 0 => return Err(error),
            Err(error) => error,
        };
        left -= 1;
        let Some((word, number)) = replaced(&words, &error, &mut look_up) else { return Err(error) };
        words[word] = number;
    }
}

/// The word at fault, with a number for the name in it.
fn replaced(
    words: &[String],
    error: &RulesError,
    look_up: &mut impl FnMut(Name<'_>) -> Option<String>,
) -> Option<(usize, String)> {
    let Problem::IllegalAddress { reason, .. } = error.problem() else { return None };
    let (from, to) = (error.column().start, error.column().end);
    let mut start = 0;
    let at = words.iter().position(|word| {
        let holds = (start..=start + word.len()).contains(&to);
        start += if holds { 0 } else { word.len() + 1 };
        holds
    })?;
    let word = &words[at];
    // The message quotes a long name shortened; this is all of it.
    let name = word.get(from.checked_sub(start)?..to - start)?;
    let number = look_up(match reason {
        AddressProblem::HostName(_) => Name::Host(name),
        AddressProblem::PortName(_) => Name::Port(name),
        _ => return None,
    })?;
    Some((at, format!("{}{number}{}", &word[..from - start], &word[to - start..])))
}

fn usage(text: impl Into<String>) -> UsageError {
    UsageError(text.into())
}

/// The value of an option, as `NAME VALUE` or `NAME=VALUE`; `None` if the word is another one.
fn value<'a>(
    name: &str,
    word: &'a str,
    words: &mut impl Iterator<Item = &'a str>,
    what: &str,
) -> Result<Option<&'a str>, UsageError> {
    let Some(rest) = word.strip_prefix(name) else { return Ok(None) };
    match rest.strip_prefix('=') {
        Some(value) => Ok(Some(value)),
        None if rest.is_empty() => {
            words.next().map(Some).ok_or_else(|| usage(format!("{name} needs {what}")))
        }
        None => Ok(None),
    }
}

fn once<T>(slot: &mut Option<T>, value: T, name: &str) -> Result<(), UsageError> {
    if slot.replace(value).is_some() {
        return Err(usage(format!("{name} is given twice")));
    }
    Ok(())
}

/// The terms of a filter, and when it is over.
fn trace(words: &[&str]) -> Result<Command, UsageError> {
    let (mut count, mut seconds, mut terms) = (None, None, Vec::new());
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        if let Some(number) = value("--count", word, &mut words, "a number of frames")? {
            let frames = number.parse().map_err(|_| {
                usage(format!("--count {}: expected a number of frames from 1 on", shortened(number)))
            })?;
            once(&mut count, frames, "--count")?;
        } else if let Some(number) = value("--seconds", word, &mut words, "a number of seconds")? {
            once(&mut seconds, of_seconds("--seconds", number, 1)?, "--seconds")?;
        } else if matches!(word, "help" | "--help" | "-h") {
            return Ok(Command::TraceHelp);
        } else if word.starts_with('-') {
            return Err(usage(format!(
                "--trace has no option `{}`; there are --count N, --seconds N, --json and --socket PATH",
                shortened(word)
            )));
        } else {
            terms.extend(word.split_whitespace());
        }
    }
    let filter = terms.join(" ");
    let parsed: Result<Filter, _> = filter.parse();
    parsed.map_err(|error| usage(format!("--trace {error}; see lvsadm --trace help")))?;
    Ok(Command::Trace { filter, count, seconds })
}

fn of_seconds(option: &str, text: &str, least: u64) -> Result<u64, UsageError> {
    let seconds = text.parse().ok().filter(|seconds| (least..=MAX_SECONDS).contains(seconds));
    seconds.ok_or_else(|| {
        usage(format!("{option} {}: expected seconds from {least} to {MAX_SECONDS}", shortened(text)))
    })
}

const FORCE: &str = "--force up|down|maintenance|none [-t VIP:PORT] -r RIP [--deadline SECONDS]";
const DRAIN: &str = "--drain -t VIP:PORT -r RIP --deadline SECONDS";

fn force(state: &str, words: &[&str]) -> Result<Command, UsageError> {
    let found = ForcedState::NAMES.iter().find(|(name, _)| *name == state);
    let (name, state) = *found.ok_or_else(|| {
        usage(format!("--force: `{}` is no state of a server; expected {FORCE}", shortened(state)))
    })?;
    let (deadline, rest) = deadline(words)?;
    if let ["-r" | "--real-server", server] = rest[..] {
        let server = server.parse().map_err(|_| {
            let server = shortened(server);
            usage(format!(
                "-r {server}: expected the real server's address without a port, for every service it is in"
            ))
        })?;
        return Ok(Command::Force { service: None, server, state, deadline });
    }
    if !rest.iter().any(|word| word.starts_with("-r") || word.starts_with("--real-server")) {
        return Err(usage(format!("--force {name}: -r RIP is missing; expected {FORCE}")));
    }
    let (service, server) = server_of(&rest, FORCE)?;
    Ok(Command::Force { service: Some(service), server, state, deadline })
}

/// The words name a server as `-d` does, and a deadline.
fn drain(words: &[&str]) -> Result<Command, UsageError> {
    let (deadline, rest) = deadline(words)?;
    let deadline = deadline.ok_or_else(|| usage(format!("--deadline is missing; expected {DRAIN}")))?;
    let (service, server) = server_of(&rest, DRAIN)?;
    Ok(Command::Drain { service, server, deadline })
}

/// Takes `--deadline SECONDS` out of the words, if it is there.
fn deadline<'a>(words: &[&'a str]) -> Result<(Option<u64>, Vec<&'a str>), UsageError> {
    let (mut deadline, mut rest) = (None, Vec::new());
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        match value("--deadline", word, &mut words, "seconds")? {
            Some(seconds) => once(&mut deadline, of_seconds("--deadline", seconds, 0)?, "--deadline")?,
            None => rest.push(word),
        }
    }
    Ok((deadline, rest))
}

/// The service and the server that words name as those of `-d` do.
fn server_of(words: &[&str], expected: &str) -> Result<(ServiceKey, IpAddr), UsageError> {
    let wrong = |error: RulesError| usage(format!("{}; expected {expected}", error.problem()));
    let words: Vec<&[u8]> = std::iter::once("-d").chain(words.iter().copied()).map(str::as_bytes).collect();
    let Call::Edit(line) = rules::call(&words).map_err(wrong)? else {
        return Err(usage(format!("expected {expected}")));
    };
    let rules = rules::parse(line.as_bytes()).map_err(wrong)?;
    match rules.iter().map(|rule| rule.change).collect::<Vec<Change>>()[..] {
        [Change::RemoveDestination { service, address, .. }] => Ok((service, address)),
        _ => Err(usage(format!("expected {expected}"))),
    }
}

fn server_words(service: Option<ServiceKey>, server: IpAddr) -> String {
    match service.and_then(|service| crate::save::service_words(&service)) {
        Some(service) if server.is_ipv6() => format!("{service} -r [{server}]"),
        Some(service) => format!("{service} -r {server}"),
        None => format!("-r {server}"),
    }
}

#[cfg(test)]
mod tests;
