//! What is this program's own on the command line. The rest is ipvsadm's, and is read elsewhere.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use lvs_admin::control::{self, Client};
use lvs_admin::json::ForcedState;
use lvs_admin::rules;
use lvs_core::Change;
use lvs_core::config::ServiceKey;

use crate::Failure;

/// The command line, taken apart.
#[derive(Debug)]
pub(crate) struct Options {
    socket: Option<PathBuf>,
    /// JSON instead of text.
    pub(crate) json: bool,
    /// A command that ipvsadm does not have.
    pub(crate) own: Option<Own>,
    /// The words that are ipvsadm's.
    pub(crate) words: Vec<String>,
}

/// A command that ipvsadm does not have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Own {
    /// `--drain SERVICE -r SERVER --deadline SECONDS`
    Drain { service: ServiceKey, server: IpAddr, deadline: u64 },
    /// `--sysctl`
    Knobs,
    /// `--sysctl NAME[=VALUE]`
    Knob(String),
    /// `--counters`
    Counters,
    /// `--reload`
    Reload,
    /// `--trace [FILTER]`
    Trace { filter: String, count: Option<u64> },
    /// `--health`
    Health,
    /// `--force STATE [SERVICE] -r SERVER [--deadline SECONDS]`
    Force { service: Option<ServiceKey>, server: IpAddr, state: ForcedState, deadline: Option<u64> },
}

impl Options {
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn read(words: &[OsString]) -> Result<Self, String> {
        let mut options = Self { socket: None, json: false, own: None, words: Vec::new() };
        let mut left = words.iter();
        while let Some(word) = left.next() {
            let word = word.to_string_lossy();
            match word.split_once('=') {
                Some(("--socket", path)) => options.socket = Some(path.into()),
                _ if word == "--socket" => {
                    options.socket = Some(left.next().ok_or("--socket needs a path")?.into());
                }
                _ if word == "--json" => options.json = true,
                _ => options.words.push(word.into_owned()),
            }
        }
        let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
        options.own = own(&words)?;
        Ok(options)
    }

    /// A conversation with the director: that of `--socket`, of `LVS_SOCKET`, or the one at the usual place.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let path = control::chosen_path(self.socket.clone()).ok_or_else(|| {
            Failure::new(crate::USAGE, "which director? --socket PATH or LVS_SOCKET says where its socket is")
        })?;
        Ok(Client::connect(&path)?)
    }
}

fn own(words: &[&str]) -> Result<Option<Own>, String> {
    Ok(Some(match words {
        ["--counters"] => Own::Counters,
        ["--reload"] => Own::Reload,
        ["--health"] => Own::Health,
        ["--trace", rest @ ..] => trace(rest)?,
        ["--force", state, rest @ ..] => force(state, rest)?,
        ["--force"] => return Err(FORCE.to_owned()),
        ["--sysctl"] => Own::Knobs,
        ["--sysctl", knob] => Own::Knob((*knob).to_owned()),
        ["--counters" | "--reload" | "--health", more, ..] | ["--sysctl", _, more, ..] => {
            return Err(format!("unexpected argument {more}"));
        }
        ["--drain", rest @ ..] => drain(rest)?,
        _ => return Ok(None),
    }))
}

/// `--count N` and the terms of a filter.
fn trace(words: &[&str]) -> Result<Own, String> {
    let (mut count, mut terms, mut words) = (None, Vec::new(), words.iter());
    while let Some(word) = words.next() {
        if *word == "--count" {
            let number = words.next().ok_or("--count needs a number")?;
            let number = number.parse().ok().filter(|number| *number > 0);
            count = Some(number.ok_or("--count takes a number from 1 on")?);
        } else {
            terms.push(*word);
        }
    }
    let filter = terms.join(" ");
    let parsed: Result<lvs_admin::explain::Filter, _> = filter.parse();
    parsed.map_err(|error| format!("--trace {error}\n\n{}", lvs_admin::explain::GRAMMAR))?;
    Ok(Own::Trace { filter, count })
}

const FORCE: &str = "--force up|down|maintenance|none [-t VIP:PORT] -r RIP [--deadline SECONDS]";

fn force(state: &str, words: &[&str]) -> Result<Own, String> {
    let state = ForcedState::NAMES.iter().find(|(name, _)| *name == state);
    let (_, state) = *state.ok_or_else(|| format!("expected {FORCE}"))?;
    let (deadline, rest) = match deadline(words)? {
        Some((deadline, rest)) => (Some(deadline), rest),
        None => (None, words.to_vec()),
    };
    if let ["-r" | "--real-server", server] = rest[..] {
        let server =
            server.parse().map_err(|_| format!("-r {server}: expected the real server's address"))?;
        return Ok(Own::Force { service: None, server, state, deadline });
    }
    let (service, server) = server_of(&rest, FORCE)?;
    Ok(Own::Force { service: Some(service), server, state, deadline })
}

/// Takes `--deadline SECONDS` out of the words, if it is there.
fn deadline<'a>(words: &[&'a str]) -> Result<Option<(u64, Vec<&'a str>)>, String> {
    let at = words.iter().position(|word| *word == "--deadline" || word.starts_with("--deadline="));
    let Some(at) = at else { return Ok(None) };
    let (seconds, behind) = match words[at].split_once('=') {
        Some((_, seconds)) => (seconds, at + 1),
        None => (*words.get(at + 1).ok_or("--deadline needs seconds")?, at + 2),
    };
    let deadline =
        seconds.parse().map_err(|_| format!("--deadline {seconds}: expected seconds from 0 to 2678400"))?;
    Ok(Some((deadline, [&words[..at], &words[behind..]].concat())))
}

/// The service and the server that words name as those of `-d` do.
fn server_of(words: &[&str], usage: &str) -> Result<(ServiceKey, IpAddr), String> {
    let rule = rules::parse(format!("-d {}", words.join(" ")).as_bytes())
        .map_err(|error| format!("{}; expected {usage}", error.problem()))?;
    match rule.first().map(|rule| rule.change) {
        Some(Change::RemoveDestination { service, address, .. }) => Ok((service, address)),
        _ => Err(usage.to_owned()),
    }
}

/// The words name a server as `-d` does, and a deadline.
fn drain(words: &[&str]) -> Result<Own, String> {
    const USAGE: &str = "--drain -t VIP:PORT -r RIP --deadline SECONDS";
    let (deadline, rest) = deadline(words)?.ok_or(USAGE)?;
    let (service, server) = server_of(&rest, USAGE)?;
    Ok(Own::Drain { service, server, deadline })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        Options::read(&words)
    }

    #[test]
    fn its_own_words_are_taken_out_wherever_they_stand() {
        let options = read("--json -L -n --socket /run/x --stats").unwrap();
        assert_eq!(options.words, ["-L", "-n", "--stats"]);
        assert!(options.json && options.own.is_none());
        assert_eq!(options.socket, Some("/run/x".into()));
        assert_eq!(read("-L --socket=/run/y").unwrap().socket, Some("/run/y".into()));
        assert!(read("-L --socket").is_err());
    }

    #[test]
    fn its_own_commands() {
        assert_eq!(read("--sysctl").unwrap().own, Some(Own::Knobs));
        assert_eq!(read("--sysctl sloppy_tcp=1").unwrap().own, Some(Own::Knob("sloppy_tcp=1".to_owned())));
        assert_eq!(read("--counters").unwrap().own, Some(Own::Counters));
        assert_eq!(read("--reload").unwrap().own, Some(Own::Reload));
        assert!(read("--counters now").is_err() && read("--reload now").is_err());
        let service = ServiceKey::tcp("192.168.0.250".parse().unwrap(), 80);
        let drained = Own::Drain { service, server: "192.168.0.188".parse().unwrap(), deadline: 30 };
        assert_eq!(
            read("--drain -t 192.168.0.250:80 -r 192.168.0.188 --deadline 30").unwrap().own,
            Some(drained)
        );
        let server = "192.168.0.188".parse().unwrap();
        let forced = |state, service, deadline| Some(Own::Force { service, server, state, deadline });
        assert_eq!(
            read("--force maintenance -r 192.168.0.188 --deadline 9").unwrap().own,
            forced(ForcedState::Maintenance, None, Some(9))
        );
        assert_eq!(
            read("--force none -t 192.168.0.250:80 -r 192.168.0.188").unwrap().own,
            forced(ForcedState::None, Some(service), None)
        );
        let trace = |filter: &str, count| Some(Own::Trace { filter: filter.to_owned(), count });
        assert_eq!(read("--trace").unwrap().own, trace("", None));
        assert_eq!(
            read("--trace protocol=tcp --count 3 port=80").unwrap().own,
            trace("protocol=tcp port=80", Some(3))
        );
        for wrong in [
            "--trace colour=red",
            "--trace --count 0",
            "--force",
            "--force sideways -r 192.168.0.188",
            "--force up",
            "--health now",
            "--drain -t 192.168.0.250:80 -r 192.168.0.188",
            "--drain -t 192.168.0.250:80 --deadline 5",
            "--drain --deadline x -t 192.168.0.250:80 -r 192.168.0.188",
            "--drain -t 192.168.0.250:80 -r 192.168.0.188 -w 2 --deadline 5",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
