//! The command line: as the director's, so that one can be made of the other by its first word.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use lvs_core::config::VlanPath;
use lvs_core::{MacAddr, Subnet};
use lvs_examples::backend::Io;

/// Examines an LVS/DR network from the director's place: who else answers for the VIPs or announces them, which real servers
/// lack them, and what on this host is in the way.
///
/// Sends a bounded number of small frames and changes nothing. A director may run meanwhile. Takes some 3 seconds. Exit
/// status: 0 nothing is wrong, 1 there are findings, 2 it could not run.
#[derive(Debug, Parser)]
#[command(name = "doctor", version, max_term_width = 100)]
struct Raw {
    /// Interface that carries requests, real servers, or both; may be repeated. Each is followed by its --dip, and by its
    /// --gateway, --probe-address and --vlan if it has any
    #[arg(long, value_name = "NAME", required = true)]
    interface: Vec<String>,

    /// The director's own address on the interface, with prefix length; once a family
    #[arg(long, value_name = "ADDRESS/LEN", required = true)]
    dip: Vec<Subnet>,

    /// Router on the interface; once a family
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,

    /// Address to send probes from instead of the --dip, which nobody else may have; once a family
    #[arg(long, value_name = "ADDRESS")]
    probe_address: Vec<IpAddr>,

    /// VLAN on the interface: ID, or OUTER.INNER for two tags
    #[arg(long, value_name = "ID[.ID]", value_parser = parse_vlan)]
    vlan: Vec<VlanPath>,

    /// The director's rules, as `ipvsadm -S -n` prints them
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,

    /// Ethernet address of another director of the cluster, which may answer for the VIPs; may be repeated
    #[arg(long, value_name = "MAC")]
    director_mac: Vec<MacAddr>,

    /// How frames reach the director on this host: what it cannot live with is looked for
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t)]
    io: Io,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// In the order given.
    pub(crate) interfaces: Vec<InterfaceOptions>,
    /// The rules file.
    pub(crate) rules: PathBuf,
    /// Who else may answer for VIPs.
    pub(crate) director_macs: Vec<MacAddr>,
    /// The director's backend.
    pub(crate) io: Io,
    /// Whether the report is JSON.
    pub(crate) json: bool,
}

/// An interface with what follows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct InterfaceOptions {
    pub(crate) name: String,
    pub(crate) dips: Vec<Subnet>,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) probe_addresses: Vec<IpAddr>,
    pub(crate) vlan: VlanPath,
}

impl Options {
    /// Reads the command line; prints what is wrong with it and exits with 2, or prints the help and exits with 0.
    pub(crate) fn from_command_line() -> Self {
        let matches = Raw::command().get_matches();
        Self::from_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let raw = Raw::from_arg_matches(matches)?;
        let interfaces = group(&raw, matches)?;
        let Raw { rules, director_mac: director_macs, io, json, .. } = raw;
        Ok(Self { interfaces, rules, director_macs, io, json })
    }
}

/// Gives each option that follows an interface to that interface.
fn group(raw: &Raw, matches: &ArgMatches) -> Result<Vec<InterfaceOptions>, clap::Error> {
    let wrong = |text: String| Raw::command().error(clap::error::ErrorKind::ArgumentConflict, text);
    let mut interfaces: Vec<InterfaceOptions> = raw
        .interface
        .iter()
        .map(|name| InterfaceOptions { name: name.clone(), ..Default::default() })
        .collect();
    let starts: Vec<usize> = matches.indices_of("interface").into_iter().flatten().collect();
    // The interface of each value of an option, in the order of the values.
    let owners = |id: &str| {
        let places = matches.indices_of(id).into_iter().flatten();
        let owner = |place| starts.iter().filter(|start| **start < place).count().checked_sub(1);
        let owners: Option<Vec<usize>> = places.map(owner).collect();
        owners.ok_or_else(|| wrong(format!("--{} stands before any --interface", id.replace('_', "-"))))
    };
    for (owner, dip) in owners("dip")?.into_iter().zip(&raw.dip) {
        interfaces[owner].dips.push(*dip);
    }
    for (owner, gateway) in owners("gateway")?.into_iter().zip(&raw.gateway) {
        interfaces[owner].gateways.push(*gateway);
    }
    for (owner, address) in owners("probe_address")?.into_iter().zip(&raw.probe_address) {
        interfaces[owner].probe_addresses.push(*address);
    }
    for (owner, vlan) in owners("vlan")?.into_iter().zip(&raw.vlan) {
        interfaces[owner].vlan = *vlan;
    }
    match interfaces.iter().find(|interface| interface.dips.is_empty()) {
        Some(interface) => Err(wrong(format!("--interface {} is not followed by a --dip", interface.name))),
        None => Ok(interfaces),
    }
}

fn parse_vlan(text: &str) -> Result<VlanPath, String> {
    let id = |text: &str| {
        text.parse::<u16>().ok().filter(|id| (1..=4094).contains(id)).ok_or("VLAN ids go from 1 to 4094")
    };
    Ok(match text.split_once('.') {
        Some((outer, inner)) => VlanPath { outer: id(outer)?, inner: id(inner)? },
        None => VlanPath::tagged(id(text)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, String> {
        let words = std::iter::once("doctor").chain(words.split_whitespace());
        let matches = Raw::command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        Options::from_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn options_belong_to_the_interface_before_them() {
        let options = parse(
            "--interface eth0 --dip 192.168.0.208/24 --dip fd00::d0/64 --gateway 192.168.0.15 --rules r \
             --interface eth1 --vlan 5 --dip 10.0.0.1/8 --probe-address 10.0.0.9 --director-mac 02:00:00:00:00:01",
        )
        .unwrap();
        let [first, second] = &options.interfaces[..] else { panic!("two interfaces") };
        assert_eq!((first.name.as_str(), first.dips.len(), first.gateways.len()), ("eth0", 2, 1));
        assert_eq!((second.dips.len(), second.gateways.len(), second.probe_addresses.len()), (1, 0, 1));
        assert_eq!((second.vlan, first.vlan), (VlanPath::tagged(5), VlanPath::UNTAGGED));
        assert_eq!((options.io, options.json, options.director_macs.len()), (Io::Afpacket, false, 1));
    }

    #[test]
    fn what_is_out_of_place_is_named() {
        let errors = [
            ("--dip 10.0.0.1/8 --interface eth0 --rules r", "--dip stands before any --interface"),
            (
                "--probe-address 10.0.0.1 --interface a --dip 10.0.0.1/8 --rules r",
                "--probe-address stands before",
            ),
            ("--interface a --interface b --dip 10.0.0.1/8 --rules r", "--interface a is not followed"),
            ("--interface a --dip 10.0.0.1/8 --vlan 0 --rules r", "1 to 4094"),
            ("--interface a --dip 10.0.0.1/8 --director-mac x --rules r", "six hexadecimal bytes"),
            ("--interface a --dip 10.0.0.1/8", "--rules"),
        ];
        for (words, expected) in errors {
            let error = parse(words).unwrap_err();
            assert!(error.contains(expected), "{words}: {error}");
            assert!(!error.contains("lvs-examples"), "{words}: {error}");
        }
        assert_eq!(Raw::command().render_version(), concat!("doctor ", env!("CARGO_PKG_VERSION"), "\n"));
    }
}
