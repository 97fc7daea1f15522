//! What the user may choose on the command line. It decides nothing itself.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum, value_parser};
use lvs_core::config::SchedulerKind;

/// Watch an LVS/DR cluster at work: a client, a router, a director and real servers, each a network namespace
/// with its own TCP/IP stack, or simulated inside this program. Needs no root and no configuration, and leaves
/// nothing behind.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "quickstart",
    version,
    after_help = "Exit status: 0 all checks passed, 1 a check failed, 2 it could not run."
)]
pub(crate) struct Options {
    /// Tell a story with the cluster instead of checking it
    #[arg(long, value_name = "NAME")]
    pub(crate) scenario: Option<Scenario>,

    /// Print one JSON object instead of the report
    #[arg(long)]
    pub(crate) json: bool,

    /// How many times the client fetches the page, 1 to 10000; in each step of a scenario, 4 to 1000
    // Every frame of the run is kept in memory until it is judged.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) requests: u32,

    /// How many real servers, 1 to 16
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u8).range(1..=16))]
    pub(crate) servers: u8,

    /// Who gets the next connection: rr, or wrr with the weights 1, 2, 1, 2 ...
    #[arg(long, value_name = "NAME", default_value = "rr", value_parser = scheduler)]
    pub(crate) scheduler: SchedulerKind,

    /// How frames reach the director; if not given afpacket, or sim where namespaces are not allowed
    #[arg(long, value_name = "BACKEND")]
    pub(crate) io: Option<Io>,

    /// Stay up until Ctrl-C, and print how to enter each host; not with --io sim
    #[arg(long)]
    pub(crate) keep: bool,

    /// Write a capture file for each hop into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) pcap: Option<PathBuf>,
}

/// The schedulers that share out requests one after another in a way that can be said in advance whatever clients and servers
/// there are, so that each request can be checked.
fn scheduler(name: &str) -> Result<SchedulerKind, String> {
    match name {
        "rr" => Ok(SchedulerKind::RoundRobin),
        "wrr" => Ok(SchedulerKind::WeightedRoundRobin),
        _ => Err("the quickstart foretells who gets which request with rr or wrr".to_owned()),
    }
}

/// The stories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Real servers with the kernel's default sysctls take the VIP over; how each cure ends that, and what is no cure
    ArpProblem,
}

impl Scenario {
    /// The name on the command line and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ArpProblem => "arp-problem",
        }
    }
}

/// How frames reach the director, which has a card of its own: a TAP device belongs to the host of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Io {
    /// Linux packet sockets, in network namespaces: run wherever namespaces are allowed
    #[default]
    Afpacket,
    /// Linux AF_XDP sockets, in network namespaces: take root's rights
    Xdp,
    /// A network simulated inside this program, in virtual time: takes nothing
    Sim,
}

impl Io {
    /// The name on the command line and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Afpacket => "afpacket",
            Self::Xdp => "xdp",
            Self::Sim => "sim",
        }
    }
}

impl Options {
    /// Reads a command line.
    ///
    /// # Errors
    /// Says what is wrong and what may be; or is the text of `--help`.
    pub(crate) fn read(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let options = Self::try_parse_from(line)?;
        match options.contradiction() {
            Some(text) => Err(Self::command().error(ErrorKind::ArgumentConflict, text)),
            None => Ok(options),
        }
    }

    /// What was asked for and cannot be had together, with what can.
    fn contradiction(&self) -> Option<&'static str> {
        if self.keep && self.io == Some(Io::Sim) {
            return Some(
                "--keep: a simulated network is over with its last request, and has no hosts to enter; \
                 leave out --keep or --io sim",
            );
        }
        match self.scenario? {
            Scenario::ArpProblem if self.keep => Some(
                "--keep: the scenario arp-problem is over when its last recipe is taken away; \
                 leave out --keep or --scenario",
            ),
            Scenario::ArpProblem if self.servers < 2 => Some(
                "--servers 1: with one real server, a cluster that is bypassed looks like one that is balanced; \
                 the scenario arp-problem takes 2 to 16",
            ),
            Scenario::ArpProblem if !(4..=1000).contains(&self.requests) => Some(
                "--requests: the scenario arp-problem makes so many in each of its nine steps, to see whether one real \
                 server answers or all; it takes 4 to 1000",
            ),
            Scenario::ArpProblem => None,
        }
    }

    /// How frames reach the director, as far as is known: what was chosen, or what is tried first.
    pub(crate) fn io(&self) -> Io {
        self.io.unwrap_or_default()
    }

    /// Whether a simulated network will do as well. Who has chosen a backend wants that one, and who wants to stay
    /// wants hosts to enter.
    pub(crate) const fn may_simulate(&self) -> bool {
        self.io.is_none() && !self.keep
    }

    /// The weight of the real server in this place, from 0.
    pub(crate) const fn weight(&self, place: usize) -> u32 {
        match self.scheduler {
            SchedulerKind::WeightedRoundRobin => 1 + place as u32 % 2,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::read(line.split_whitespace())
    }

    #[test]
    fn the_defaults_are_those_of_the_readme() {
        let options = parse("quickstart").unwrap();
        assert_eq!((options.requests, options.servers, options.io().name()), (20, 2, "afpacket"));
        assert_eq!(options.scheduler, SchedulerKind::RoundRobin);
        assert!(!options.json && !options.keep && options.pcap.is_none() && options.scenario.is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let table = [
            ("quickstart --servers 0", "1..=16"),
            ("quickstart --servers 17", "1..=16"),
            ("quickstart --requests 0", "1..=10000"),
            ("quickstart --scheduler wlc", "rr or wrr"),
            ("quickstart --io pcap", "afpacket, xdp, sim]"),
            ("quickstart --io tap", "afpacket, xdp, sim]"),
            ("quickstart --io sim --keep", "no hosts to enter"),
            ("quickstart --scenario arp", "arp-problem]"),
            ("quickstart --scenario arp-problem --keep", "leave out --keep or --scenario"),
            ("quickstart --scenario arp-problem --servers 1", "takes 2 to 16"),
            ("quickstart --scenario arp-problem --requests 3", "takes 4 to 1000"),
            ("quickstart --scenario arp-problem --requests 1001", "takes 4 to 1000"),
        ];
        for (line, expected) in table {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(expected), "{line}: {message}");
            assert!(!message.contains("lvs-examples"), "{line}: {message}");
        }
        assert_eq!(
            parse("quickstart --version").unwrap_err().to_string().split(' ').next(),
            Some("quickstart")
        );
    }

    #[test]
    fn only_who_has_not_chosen_may_get_the_simulation() {
        let may = |line| parse(line).unwrap().may_simulate();
        assert!(may("quickstart --json"));
        for line in ["quickstart --io afpacket", "quickstart --io xdp", "quickstart --keep"] {
            assert!(!may(line), "{line}");
        }
    }

    #[test]
    fn weights_alternate_where_they_count() {
        let weights = |options: &Options| -> Vec<u32> { (0..4).map(|at| options.weight(at)).collect() };
        assert_eq!(weights(&parse("quickstart").unwrap()), [1, 1, 1, 1]);
        assert_eq!(weights(&parse("quickstart --scheduler wrr").unwrap()), [1, 2, 1, 2]);
    }
}
