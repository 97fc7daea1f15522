//! One call of a command like `ipvsadm`: its words, as a shell hands them over, and what they ask for.
//!
//! The grammar is that of a line in a rules file, and the same code reads it; what is added are the commands that show, save and
//! restore. Nothing is carried out here.

use lvs_core::config::{ServiceKey, Timeouts};

use super::command::{self, Meaning};
use super::error::{Fault, Problem, RulesError};
use super::scan::{self, Scanned};
use super::service;
use super::table::{Command, Slot};
use super::words::Word;
use crate::listing::{Columns, Order, Style};

/// What a call asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// An edit: this line, for whoever carries out rules.
    Edit(String),
    /// A listing.
    List(List),
    /// The rules there are.
    Save {
        /// As `-n`: exactly what ipvsadm would write, which is not all there is.
        numeric: bool,
    },
    /// Rules from standard input.
    Restore,
    /// The help.
    Help,
    /// The version.
    Version,
}

/// What is to be listed and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List {
    /// What.
    pub what: Listed,
    /// Numbers instead of names.
    pub numeric: bool,
    /// Which figures of services, and in which order.
    pub style: Style,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listed {
    /// All services.
    Services,
    /// One of them.
    Service(ServiceKey),
    /// Connections.
    Connections,
    /// The time-outs of the director.
    Timeouts,
    /// The daemons that synchronise connections, of which there are none.
    Daemons,
}

/// Reads the words of a call, without the name of the program. No words are a listing, as with ipvsadm.
///
/// # Errors
/// As those of a rules file, with line 1.
pub fn call(words: &[&[u8]]) -> Result<Call, RulesError> {
    let line = words.join(&b' ');
    let mut start = 0;
    let mut places = Vec::with_capacity(words.len());
    for bytes in words {
        places.push(Word { bytes, start });
        start += bytes.len() + 1;
    }
    if places.is_empty() {
        return Ok(Call::List(List { what: Listed::Services, numeric: false, style: Style::default() }));
    }
    read(&places, &line).map_err(|fault| RulesError::new(1, &line, fault))
}

fn read(words: &[Word<'_>], line: &[u8]) -> Result<Call, Fault> {
    let scanned = scan::scan(words)?;
    match scanned.command.spec.command {
        Command::List => {
            command::check_options(&scanned)?;
            Ok(Call::List(list(&scanned)?))
        }
        Command::Save => {
            command::check_options(&scanned)?;
            Ok(Call::Save { numeric: has(&scanned, Slot::Numeric) })
        }
        Command::Restore => command::check_options(&scanned).map(|()| Call::Restore),
        Command::Help => Ok(Call::Help),
        Command::Version => Ok(Call::Version),
        _ => {
            // What 0 leaves as it is knows only who carries it out.
            command::meaning(&scanned, &Timeouts::default())?;
            Ok(Call::Edit(String::from_utf8_lossy(line).into_owned()))
        }
    }
}

fn has(line: &Scanned<'_>, slot: Slot) -> bool {
    command::option(line, slot).is_some()
}

fn list(line: &Scanned<'_>) -> Result<List, Fault> {
    let named = |slot| command::option(line, slot).map(|option| option.spec.long);
    let kind = named(Slot::ListingKind);
    if let (Some(service), Some(kind)) =
        (command::option(line, Slot::Service), command::option(line, Slot::ListingKind))
    {
        let problem = Problem::Conflict { first: service.name, second: kind.name };
        return Err(Fault::new(kind.range.clone(), problem));
    }
    let what = match kind {
        Some("--connection") => Listed::Connections,
        Some("--timeout") => Listed::Timeouts,
        Some("--daemon") => Listed::Daemons,
        _ if has(line, Slot::Service) => {
            let range = line.command.range.clone();
            let mut found = Meaning::at(range);
            Listed::Service(service::key(line, &mut found)?)
        }
        _ => Listed::Services,
    };
    let columns = match named(Slot::ListingColumns) {
        Some("--stats") => Columns::Statistics,
        Some("--rate") => Columns::Rates,
        Some("--thresholds") => Columns::Thresholds,
        Some("--persistent-conn") => Columns::PersistentConnections,
        // --tun-info adds something to servers that are reached by tunnels only.
        _ => Columns::Connections,
    };
    let order = if named(Slot::Sorting) == Some("--nosort") { Order::AsGiven } else { Order::Sorted };
    let style = Style { columns, exact: has(line, Slot::Exact), order };
    Ok(List { what, numeric: has(line, Slot::Numeric), style })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Result<Call, RulesError> {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        call(&words)
    }

    fn listed(line: &str) -> List {
        match called(line) {
            Ok(Call::List(list)) => list,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn listings() {
        let plain = List { what: Listed::Services, numeric: false, style: Style::default() };
        for line in ["", "-L", "-l", "--list", "-L --sort"] {
            assert_eq!(listed(line), plain, "{line}");
        }
        assert!(listed("-Ln").numeric && listed("-L -n --stats").numeric);
        assert_eq!(
            listed("-Ln --rate --exact").style,
            Style { exact: true, columns: Columns::Rates, ..Style::default() }
        );
        assert_eq!(listed("-Ln --thresholds").style.columns, Columns::Thresholds);
        assert_eq!(listed("-Ln --persistent-conn").style.columns, Columns::PersistentConnections);
        assert_eq!(listed("-Ln --nosort").style.order, Order::AsGiven);
        assert_eq!(listed("-Lnc").what, Listed::Connections);
        assert_eq!(listed("-L --timeout").what, Listed::Timeouts);
        assert_eq!(listed("-L --daemon").what, Listed::Daemons);
        assert_eq!(listed("-Ln -f 7 -6").what, Listed::Service(ServiceKey::mark_v6(7)));
        let vip = ServiceKey::udp("192.168.0.250".parse().unwrap(), 53);
        assert_eq!(listed("-L -n -u 192.168.0.250:53").what, Listed::Service(vip));
    }

    #[test]
    fn edits_saves_and_the_rest() {
        let line = "-a -t 192.168.0.250:80 -r 192.168.0.188 -gw 2";
        assert_eq!(called(line), Ok(Call::Edit(line.to_owned())));
        assert_eq!(called("--set 900 0 0"), Ok(Call::Edit("--set 900 0 0".to_owned())));
        assert_eq!(called("-S"), Ok(Call::Save { numeric: false }));
        assert_eq!(called("-Sn"), Ok(Call::Save { numeric: true }));
        assert_eq!(called("-R"), Ok(Call::Restore));
        assert_eq!(called("-h"), Ok(Call::Help));
        assert_eq!(called("--version"), Ok(Call::Version));
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        for line in [
            "-L -w 1",
            "-Lc --timeout",
            "-L -c -t 192.168.0.250:80",
            "-S --stats",
            "-R -n",
            "-L 5",
            "-L --stats --rate",
            "-Q",
            "-A",
            "-A -t x",
            "--start-daemon master",
            "-L -n -n",
        ] {
            assert!(called(line).is_err(), "{line}");
        }
    }
}
