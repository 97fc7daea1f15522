//! What the user may choose on the command line. It decides nothing itself.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum, value_parser};
use lvs_core::config::SchedulerKind;
use lvs_examples::backend::Io;

/// Watch an LVS/DR cluster at work: a client, a router, a director and real servers, each a network namespace
/// with its own TCP/IP stack. Needs no root and no configuration, and leaves nothing behind.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(version, after_help = "Exit status: 0 all checks passed, 1 a check failed, 2 it could not run.")]
pub(crate) struct Options {
    /// Print one JSON object instead of the report
    #[arg(long)]
    pub(crate) json: bool,

    /// How many times the client fetches the page, 1 to 10000
    // Every frame of the run is kept in memory until it is judged.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) requests: u32,

    /// How many real servers, 1 to 16
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u8).range(1..=16))]
    pub(crate) servers: u8,

    /// Who gets the next connection: rr, or wrr with the weights 1, 2, 1, 2 ...
    #[arg(long, value_name = "NAME", default_value = "rr", value_parser = scheduler)]
    pub(crate) scheduler: SchedulerKind,

    /// How frames reach the director
    #[arg(long, value_name = "BACKEND", default_value = Io::default().name(), value_parser = backend())]
    pub(crate) io: Io,

    /// Stay up until Ctrl-C, and print how to enter each host
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

/// The backends of a director that has a card of its own. A TAP device belongs to the host of a bridge.
fn backend() -> impl TypedValueParser<Value = Io> {
    let of = |io: &Io| *io != Io::Tap;
    let values: Vec<PossibleValue> =
        Io::value_variants().iter().filter(|io| of(io)).filter_map(Io::to_possible_value).collect();
    PossibleValuesParser::new(values).try_map(|name| Io::from_str(&name, false))
}

impl Options {
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
        Options::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_defaults_are_those_of_the_readme() {
        let options = parse("quickstart").unwrap();
        assert_eq!((options.requests, options.servers, options.io.name()), (20, 2, "afpacket"));
        assert_eq!(options.scheduler, SchedulerKind::RoundRobin);
        assert!(!options.json && !options.keep && options.pcap.is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let table = [
            ("quickstart --servers 0", "1..=16"),
            ("quickstart --servers 17", "1..=16"),
            ("quickstart --requests 0", "1..=10000"),
            ("quickstart --scheduler wlc", "rr or wrr"),
            ("quickstart --io pcap", "afpacket, xdp]"),
            ("quickstart --io tap", "afpacket, xdp]"),
        ];
        for (line, expected) in table {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(expected), "{line}: {message}");
        }
    }

    #[test]
    fn weights_alternate_where_they_count() {
        let weights = |options: &Options| -> Vec<u32> { (0..4).map(|at| options.weight(at)).collect() };
        assert_eq!(weights(&parse("quickstart").unwrap()), [1, 1, 1, 1]);
        assert_eq!(weights(&parse("quickstart --scheduler wrr").unwrap()), [1, 2, 1, 2]);
    }
}
