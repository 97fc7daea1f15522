//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

const AFTER_HELP: &str = "\
Exit status: 0 done, active or healthy; 1 check found an error, or start or stop could not be finished; 2 wrong usage or \
missing rights, nothing was changed; 3 not active (status).";

/// Makes this host a real server of an LVS/DR cluster: it takes packets for the VIPs and keeps quiet about them.
///
/// A VIP goes onto `lo`, alone in its subnet; for IPv4, arp_ignore=1 and arp_announce=2 come first. What was before is
/// remembered and put back by `stop`.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "realserver", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// What to do
    #[arg(value_enum)]
    pub(crate) action: Action,

    /// A virtual address; may be repeated. `stop` and `status` take all that were started if none is named
    #[arg(long = "vip", value_name = "VIP", value_parser = parse_vip)]
    pub(crate) vips: Vec<IpAddr>,

    /// An interface that carries packets of the director; may be repeated. Default: those of default routes and those in
    /// whose subnet a VIP lies. `stop` takes what `start` remembered, whatever is named
    #[arg(long = "interface", value_name = "NAME")]
    pub(crate) interfaces: Vec<String>,

    /// The director's own address (DIP), for `check`: it must not be the gateway, and the way to it is the interface that counts
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) director: Option<IpAddr>,

    /// Change nothing, print the commands; for `start` also the configuration that makes it last
    #[arg(long)]
    pub(crate) print: bool,

    /// Print one JSON object (`status`, `check`)
    #[arg(long)]
    pub(crate) json: bool,

    /// Where `start` remembers what was before
    #[arg(long, value_name = "PATH", default_value = "/run/lvs/realserver.json")]
    pub(crate) state: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    /// Become a real server of the VIPs; what is so already stays as it is
    Start,
    /// Undo what start did, and nothing else
    Stop,
    /// Whether the VIPs are held quietly
    Status,
    /// Look for everything that would spoil it; changes nothing
    Check,
}

impl Options {
    /// Reads the command line; prints what is wrong with it and exits with 2, or prints the help and exits with 0.
    pub(crate) fn from_command_line() -> Self {
        let validated = Self::parse().validate();
        validated.unwrap_or_else(|error| error.exit())
    }

    fn validate(mut self) -> Result<Self, clap::Error> {
        let wrong = |kind, text: &str| Err(Self::command().error(kind, text));
        if self.vips.is_empty() && matches!(self.action, Action::Start | Action::Check) {
            return wrong(ErrorKind::MissingRequiredArgument, "start and check need at least one --vip VIP");
        }
        if self.director.is_some() && self.action != Action::Check {
            return wrong(ErrorKind::ArgumentConflict, "--director is for check");
        }
        if self.print && !matches!(self.action, Action::Start | Action::Stop) {
            return wrong(
                ErrorKind::ArgumentConflict,
                "--print is for start and stop; status and check change nothing anyway",
            );
        }
        if self.json && !matches!(self.action, Action::Status | Action::Check) {
            return wrong(ErrorKind::ArgumentConflict, "--json is for status and check");
        }
        dedup(&mut self.vips);
        dedup(&mut self.interfaces);
        Ok(self)
    }
}

fn dedup<T: PartialEq>(list: &mut Vec<T>) {
    let mut at = 0;
    while at < list.len() {
        if list[..at].contains(&list[at]) {
            list.remove(at);
        } else {
            at += 1;
        }
    }
}

/// Addresses that clients anywhere can use.
fn parse_vip(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| {
        "expected an address without prefix length, like 192.168.0.250 or fd00::250".to_owned()
    })?;
    let kind = match address {
        _ if address.is_loopback() => "a loopback address",
        _ if address.is_multicast() => "a group address",
        _ if address.is_unspecified() => "the unspecified address",
        IpAddr::V4(it) if it.is_broadcast() => "the broadcast address",
        IpAddr::V4(it) if it.is_link_local() => "a link-local address",
        IpAddr::V6(it) if it.is_unicast_link_local() => "a link-local address",
        IpAddr::V6(it) if it.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6 clothes",
        _ => return Ok(address),
    };
    Err(format!("{kind} cannot be a VIP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, String> {
        let words = std::iter::once("realserver").chain(words.split_whitespace());
        Options::try_parse_from(words).and_then(Options::validate).map_err(|error| error.to_string())
    }

    #[test]
    fn the_usual_calls_are_read() {
        let options =
            parse("start --vip 192.168.0.250 --vip fd00::250 --vip 192.168.0.250 --interface eth0").unwrap();
        assert_eq!((options.action, options.vips.len(), options.interfaces.len()), (Action::Start, 2, 1));
        assert_eq!(options.state, PathBuf::from("/run/lvs/realserver.json"));
        assert!(parse("stop").is_ok() && parse("status --json").is_ok());
        assert!(parse("stop --vip 192.168.0.250 --interface eth0 --state s").is_ok(), "the words of start");
        assert!(parse("check --vip 192.168.0.250 --director 192.168.0.208 --json").is_ok());
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        for (words, expected) in [
            ("", "<ACTION>"),
            ("restart", "start, stop, status, check"),
            ("start", "at least one --vip"),
            ("check", "at least one --vip"),
            ("start --vip 192.168.0.250/32", "without prefix length"),
            ("start --vip 127.0.0.2", "loopback"),
            ("start --vip 224.0.0.1", "group"),
            ("start --vip 0.0.0.0", "unspecified"),
            ("start --vip fe80::1", "link-local"),
            ("start --vip ::ffff:1.2.3.4", "IPv6 clothes"),
            ("start --vip 10.0.0.1 --json", "for status and check"),
            ("check --vip 10.0.0.1 --print", "for start and stop"),
            ("start --vip 10.0.0.1 --director 10.0.0.2", "for check"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(expected), "{words}: {error}");
            assert!(!error.contains("lvs-examples"), "{words}: {error}");
        }
        assert_eq!(
            Options::command().render_version(),
            concat!("realserver ", env!("CARGO_PKG_VERSION"), "\n")
        );
    }
}
