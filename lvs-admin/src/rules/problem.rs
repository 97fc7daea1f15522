//! What can be wrong with a rule, in words: what it is, and what would have been right.
//!
//! Where ipvsadm or the kernel has words for it that say what is wrong, they are in the message, so that people
//! find it by them.

use std::borrow::Cow;

use lvs_core::config::{ChangeError, DestinationConfig, MAX_PORT_RANGES, SchedulerKind};
use thiserror::Error;

use super::endpoint::{AddressProblem, Role};
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
    #[error("{name}: unknown option")]
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
    #[error("Illegal '{option}' option with the '{called}' command")]
    NotForCommand {
        /// What ipvsadm calls the option.
        option: &'static str,
        /// The command as it was written.
        command: &'static str,
        /// What ipvsadm calls the command.
        called: &'static str,
        /// The options that belong to it; empty if none does.
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
    #[error("You need to supply the '{option}' option for the '{called}' command")]
    Incomplete {
        /// What ipvsadm calls the option.
        option: &'static str,
        /// What ipvsadm calls the command.
        called: &'static str,
        /// How the option is written.
        written: &'static str,
    },
    /// There is no scheduler of that name.
    #[error("Scheduler or persistence engine not found: `{name}`")]
    UnknownScheduler {
        /// The name.
        name: String,
    },
    /// The address or port of a service or real server is none.
    #[error("illegal {role} address[:port] specified: {reason}")]
    IllegalAddress {
        /// Whose address it is.
        role: Role,
        /// What is wrong with it.
        reason: AddressProblem,
    },
    /// Not a firewall mark.
    #[error("invalid fwmark value `{text}' specified")]
    NotAMark {
        /// The text.
        text: String,
    },
    /// `-6` for a service that is no mark.
    #[error("-6 tells the family of a firewall mark, and this service has an address")]
    FamilyOfAddress,
    /// Not a weight.
    #[error("illegal weight specified: `{text}`")]
    NotAWeight {
        /// The text.
        text: String,
    },
    /// Not a number of connections.
    #[error("`{text}` is not a number of connections")]
    NotAThreshold {
        /// The text.
        text: String,
    },
    /// Not a time-out.
    #[error("invalid timeout value `{text}' specified")]
    NotATimeout {
        /// The text.
        text: String,
        /// Whether 0 would be one.
        zero: bool,
    },
    /// Not a time that a slow start can take.
    #[error("`{text}` is not the length of a slow start")]
    NotASlowStart {
        /// The text.
        text: String,
    },
    /// Fewer than three time-outs.
    #[error("{option} option requires 3 timeout values, not {given}")]
    MissingTimeouts {
        /// The option.
        option: &'static str,
        /// How many there are.
        given: usize,
    },
    /// Not a mask or prefix length of the service's family.
    #[error("`{text}` is not a mask of {}", if *ipv6 { "IPv6" } else { "IPv4" })]
    NotAMask {
        /// The text.
        text: String,
        /// The family of the service.
        ipv6: bool,
    },
    /// There is no scheduler flag of that name.
    #[error("invalid scheduler flag `{name}'")]
    UnknownFlag {
        /// The name.
        name: String,
    },
    /// The flag of another scheduler.
    #[error("{flag} is no flag of the scheduler {scheduler}")]
    FlagOfAnother {
        /// The flag.
        flag: &'static str,
        /// The scheduler of the service.
        scheduler: SchedulerKind,
    },
    /// `--mark` with fewer than four values.
    #[error("--mark needs a mark, a protocol, addresses and ports, and {given} of the four are there")]
    IncompleteMark {
        /// How many there are.
        given: usize,
    },
    /// Not a transport protocol.
    #[error("`{text}` is not a protocol")]
    NotAProtocol {
        /// The text.
        text: String,
    },
    /// Not an address with a prefix length.
    #[error("`{text}` is not an address with its prefix length")]
    NotAPrefix {
        /// The text.
        text: String,
    },
    /// Not a list of ports.
    #[error("`{text}` is neither a port nor a range of ports")]
    NotPorts {
        /// The part of the list.
        text: String,
    },
    /// A list of too many ports.
    #[error("the rule has too many ranges of ports")]
    TooManyPortRanges,
    /// The rule is well written, but cannot be carried out after those before it.
    #[error("{}: {subject}", said(*error))]
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
            Self::UnknownScheduler { .. } => return schedulers().into(),
            Self::IllegalAddress { reason, .. } => reason.expected(),
            Self::NotAMark { .. } => "a number from 1 to 4294967295",
            Self::FamilyOfAddress => "-f MARK -6, or the address alone",
            Self::NotAThreshold { .. } => "a number from 0 (no limit) to 4294967295",
            Self::NotATimeout { zero: true, .. } => "seconds from 0 (leave as it is) to 2678400 (31 days)",
            Self::NotATimeout { zero: false, .. } => "seconds from 1 to 2678400 (31 days)",
            Self::NotASlowStart { .. } => "seconds from 1 to 86400 (a day)",
            Self::MissingTimeouts { option: "--set", .. } => {
                "--set TCP TCPFIN UDP in seconds, 0 to leave one as it is"
            }
            Self::MissingTimeouts { .. } => "--timeout TCP TCPFIN UDP in seconds",
            Self::NotAMask { ipv6: false, .. } => "an IPv4 mask but 0.0.0.0, as in 255.255.255.0",
            Self::NotAMask { ipv6: true, .. } => "a prefix length from 1 to 128",
            Self::UnknownFlag { .. } => {
                "sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2 or flag-3, with commas between them"
            }
            Self::FlagOfAnother { scheduler, .. } => return super::service::flag_names(*scheduler).into(),
            Self::IncompleteMark { .. } => "--mark N tcp|udp|sctp PREFIX PORT[-PORT][,...]",
            Self::NotAProtocol { .. } => "tcp, udp or sctp",
            Self::NotAPrefix { .. } => "ADDRESS/LENGTH, as in 192.0.2.10/32 or 2001:db8::10/128",
            Self::NotPorts { .. } => "numbers from 0 to 65535, as in 80,443 or 10000-20000",
            Self::TooManyPortRanges => return format!("at most {MAX_PORT_RANGES} of them").into(),
            Self::Refused { error, .. } => cure(*error),
        };
        fixed.into()
    }
}

/// All schedulers: `-s rr, -s wrr, ... or -s twos`.
pub(super) fn schedulers() -> String {
    let names: Vec<_> = SchedulerKind::ALL.iter().map(|kind| format!("-s {kind}")).collect();
    super::table::listed(names.iter().map(String::as_str))
}

/// Why a change was refused, with the kernel's words in front where the core has others.
fn said(error: ChangeError) -> Cow<'static, str> {
    match error {
        ChangeError::ThresholdsOutOfRange => format!("Numerical result out of range: {error}").into(),
        other => other.to_string().into(),
    }
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
        ChangeError::ServicePortZero => "a port from 1 to 65535 after the address, or -p",
        ChangeError::OnePacketNotUdp => "-u VIP:PORT or -f MARK, or no -o",
        ChangeError::ThresholdsOutOfRange => "a -y that is not above -x",
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
