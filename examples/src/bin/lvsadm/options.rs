//! What is this program's own on the command line. The rest is ipvsadm's, and is read elsewhere.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use lvs_admin::control::{self, Client};
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
        ["--sysctl"] => Own::Knobs,
        ["--sysctl", knob] => Own::Knob((*knob).to_owned()),
        ["--counters" | "--reload", more, ..] | ["--sysctl", _, more, ..] => {
            return Err(format!("unexpected argument {more}"));
        }
        ["--drain", rest @ ..] => drain(rest)?,
        _ => return Ok(None),
    }))
}

/// The words name a server as `-d` does, and a deadline.
fn drain(words: &[&str]) -> Result<Own, String> {
    const USAGE: &str = "--drain -t VIP:PORT -r RIP --deadline SECONDS";
    let at = words.iter().position(|word| *word == "--deadline" || word.starts_with("--deadline="));
    let at = at.ok_or(USAGE)?;
    let (seconds, behind) = match words[at].split_once('=') {
        Some((_, seconds)) => (seconds, at + 1),
        None => (*words.get(at + 1).ok_or(USAGE)?, at + 2),
    };
    let deadline =
        seconds.parse().map_err(|_| format!("--deadline {seconds}: expected seconds from 0 to 2678400"))?;
    let rest = [&words[..at], &words[behind..]].concat().join(" ");
    let rule = rules::parse(format!("-d {rest}").as_bytes())
        .map_err(|error| format!("{}; expected {USAGE}", error.problem()))?;
    match rule.first().map(|rule| rule.change) {
        Some(Change::RemoveDestination { service, address, .. }) => {
            Ok(Own::Drain { service, server: address, deadline })
        }
        _ => Err(USAGE.to_owned()),
    }
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
        for wrong in [
            "--drain -t 192.168.0.250:80 -r 192.168.0.188",
            "--drain -t 192.168.0.250:80 --deadline 5",
            "--drain --deadline x -t 192.168.0.250:80 -r 192.168.0.188",
            "--drain -t 192.168.0.250:80 -r 192.168.0.188 -w 2 --deadline 5",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
