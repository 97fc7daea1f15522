//! What can be wrong with a rule, in words: what it is, and what would have been right.

use std::borrow::Cow;

use lvs_core::config::{ChangeError, DestinationConfig, SchedulerKind};
use thiserror::Error;

use super::{MAX_LINE_BYTES, MAX_LINES};

/// What is wrong with a rule. Its text says that alone; [`Problem::expected`] says what would be right.
///
/// Words of the file are quoted in it shortened and without control characters, so that a message can be
/// shown on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file has more than [`MAX_LINES`] lines.
    #[error("the file has too many lines")]
    TooManyLines,
    /// The line has more than [`MAX_LINE_BYTES`] bytes.
    #[error("the line is too long")]
    LineTooLong,
    /// The line does not begin with a command.
    #[error("`{found}` is not a command")]
    NoCommand {
        /// What stands there.
        found: String,
    },
    /// The line has two commands.
    #[error("{second} is a second command, after {first}")]
    SecondCommand {
        /// The command that the line began with.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// The option is not part of the grammar at all.
    #[error("unknown option {name}")]
    UnknownOption {
        /// The option, with its dashes.
        name: String,
        /// Those that may stand there.
        known: String,
    },
    /// An option that takes a value is the last word of its line.
    #[error("{option} has no value")]
    MissingValue {
        /// The option.
        option: &'static str,
        /// What its value is.
        what: &'static str,
    },
    /// A value is attached to an option that takes none.
    #[error("{option} takes no value")]
    UnexpectedValue {
        /// The option.
        option: &'static str,
    },
    /// A word that is neither an option nor an option's value.
    #[error("`{text}` belongs to no option")]
    UnexpectedArgument {
        /// The word.
        text: String,
    },
    /// A command that shows or saves something.
    #[error("{command} changes nothing and has no place in a rules file")]
    NotARule {
        /// The command.
        command: &'static str,
    },
    /// Part of ipvsadm's grammar that no director carries out yet.
    #[error("{what} is not supported yet")]
    NotSupportedYet {
        /// The option, command or scheduler, and what it is about.
        what: String,
        /// What can be written today.
        instead: Cow<'static, str>,
    },
    /// The option exists but does not belong to the command.
    #[error("{option} does not belong to {command}")]
    NotForCommand {
        /// The option.
        option: &'static str,
        /// The command.
        command: &'static str,
        /// Those that belong to it; empty if none does.
        known: String,
    },
    /// The same option twice.
    #[error("{option} is given twice")]
    Repeated {
        /// The option.
        option: &'static str,
    },
    /// Two options that exclude each other.
    #[error("{first} and {second} exclude each other")]
    Conflict {
        /// The one that came first.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// The command needs an option that is missing.
    #[error("{command} names no {what}")]
    Incomplete {
        /// The command.
        command: &'static str,
        /// What is missing.
        what: &'static str,
        /// How it is written.
        written: &'static str,
    },
    /// A service without scheduler.
    #[error("{command} names no scheduler, and the one that this stands for (wlc) is not supported yet")]
    NoScheduler {
        /// The command.
        command: &'static str,
    },
    /// There is no scheduler of that name.
    #[error("there is no scheduler `{name}`")]
    UnknownScheduler {
        /// The name.
        name: String,
    },
    /// Neither an address nor something that could be a name.
    #[error("`{text}` is not an address")]
    NotAnAddress {
        /// The text.
        text: String,
    },
    /// A host name.
    #[error("`{name}` is a host name, and names are not looked up")]
    HostName {
        /// The name.
        name: String,
    },
    /// An IPv6 address without brackets: where the port begins could not be told.
    #[error("the IPv6 address `{text}` stands without brackets")]
    NoBrackets {
        /// The text.
        text: String,
    },
    /// An IPv6 address with the name of an interface.
    #[error("`{text}` names an interface; the director finds it by the DIP's subnet")]
    ZoneIndex {
        /// The text.
        text: String,
    },
    /// Not a port number.
    #[error("`{text}` is not a port")]
    NotAPort {
        /// The text.
        text: String,
    },
    /// A port's name.
    #[error("`{name}` is the name of a port, and names are not looked up")]
    PortName {
        /// The name.
        name: String,
    },
    /// A service on port 0 or without a port.
    #[error("the service has no port")]
    NoPort,
    /// Not a weight.
    #[error("`{text}` is not a weight")]
    NotAWeight {
        /// The text.
        text: String,
    },
    /// Not a time-out.
    #[error("`{text}` is not a time-out")]
    NotATimeout {
        /// The text.
        text: String,
    },
    /// `--set` with fewer than three time-outs.
    #[error("{command} needs three time-outs and has {given}")]
    MissingTimeouts {
        /// The command.
        command: &'static str,
        /// How many there are.
        given: usize,
    },
    /// The rule is well written, but cannot be carried out after those before it.
    #[error("{error}: {subject}")]
    Refused {
        /// Why.
        error: ChangeError,
        /// The service or real server it is about.
        subject: String,
    },
}

impl Problem {
    /// What would have been right: the text that follows "expected".
    #[must_use]
    pub fn expected(&self) -> Cow<'static, str> {
        let fixed = match self {
            Self::TooManyLines => return format!("at most {MAX_LINES} lines").into(),
            Self::LineTooLong => return format!("at most {MAX_LINE_BYTES} bytes in a line").into(),
            Self::UnknownOption { known, .. } => return known.clone().into(),
            Self::NotForCommand { command, known, .. } if known.is_empty() => {
                return format!("{command} alone").into();
            }
            Self::NotForCommand { known, .. } => return known.clone().into(),
            Self::MissingValue { option, what } => return format!("{option} {what}").into(),
            Self::UnexpectedValue { option } => return format!("{option} alone").into(),
            Self::Repeated { option } => return format!("{option} once").into(),
            Self::Conflict { first, second } => return format!("{first} or {second}").into(),
            Self::NotAWeight { .. } => {
                return format!("a number from 0 to {}", DestinationConfig::MAX_WEIGHT).into();
            }
            Self::NoCommand { .. } => return super::table::command_names().into(),
            Self::SecondCommand { .. } => "one command a line",
            Self::UnexpectedArgument { .. } => "options only, each beginning with a dash",
            Self::NotARule { .. } => "a command that changes something, such as -A or -a",
            Self::NotSupportedYet { instead, .. } => return instead.clone(),
            Self::Incomplete { written, .. } => written,
            Self::NoScheduler { .. } | Self::UnknownScheduler { .. } => return schedulers().into(),
            Self::NotAnAddress { .. } | Self::HostName { .. } => {
                "an address in numbers, as in 192.0.2.10:80 or [2001:db8::10]:80"
            }
            Self::NoBrackets { .. } => "[ADDRESS] or [ADDRESS]:PORT",
            Self::ZoneIndex { .. } => "the address alone",
            Self::NotAPort { .. } | Self::PortName { .. } => "a number from 1 to 65535",
            Self::NoPort => {
                "a port from 1 to 65535 after the address (0 needs -p, which is not supported yet)"
            }
            Self::NotATimeout { .. } => "seconds from 0 (leave as it is) to 2678400 (31 days)",
            Self::MissingTimeouts { .. } => "--set TCP TCPFIN UDP in seconds, 0 to leave one as it is",
            Self::Refused { error, .. } => cure(*error),
        };
        fixed.into()
    }
}

/// The schedulers that can be asked for: `-s rr or -s wrr`.
pub(super) fn schedulers() -> String {
    let names: Vec<_> = SchedulerKind::ALL.iter().map(|kind| format!("-s {kind}")).collect();
    names.join(" or ")
}

/// What to write instead of a change that was refused.
fn cure(error: ChangeError) -> &'static str {
    match error {
        ChangeError::ServiceExists => "one -A for a service, or -E to change it",
        ChangeError::NoSuchService | ChangeError::ServiceNotDefined => {
            "an -A for this service on an earlier line"
        }
        ChangeError::DestinationExists => "one -a for a real server, or -e to change it",
        ChangeError::NoSuchDestination => "an -a for this real server on an earlier line",
        ChangeError::ServiceAddressNotUnicast | ChangeError::DestinationAddressNotUnicast => {
            "the address of a single host"
        }
        ChangeError::FamilyMismatch => "both addresses IPv4 or both IPv6",
        _ => "a value that the director accepts",
    }
}

/// A piece of the file for a message: at most 40 characters, without what a terminal would act upon.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 40;
    // A character has at most four bytes; what lies behind that many cannot be shown anyway.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST + 4)]);
    let mut out = String::new();
    for (shown, character) in text.chars().enumerate() {
        if shown == LONGEST {
            out.push_str("...");
            break;
        }
        out.push(printable(character));
    }
    out
}

/// The character itself, or a replacement if it is a control or formatting character.
pub(super) fn printable(character: char) -> char {
    let plain = matches!(character, '\'' | '"' | '\\') || character.escape_debug().len() == 1;
    if plain { character } else { char::REPLACEMENT_CHARACTER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_short_and_harmless() {
        assert_eq!(excerpt(b"10.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(excerpt(b"\x1b[31m'\\"), "\u{fffd}[31m'\\");
        assert_eq!(excerpt("\u{202e}x".as_bytes()), "\u{fffd}x");
        assert_eq!(excerpt(&[b'a'; 1000]), format!("{}...", "a".repeat(40)));
        assert_eq!(excerpt("ä".repeat(40).as_bytes()), "ä".repeat(40));
        assert_eq!(excerpt(b"\xff\x00"), "\u{fffd}\u{fffd}");
    }
}
