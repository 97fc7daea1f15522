//! The command line. Options that belong to an interface follow it; which follows which is known from their places.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use lvs_admin::config::{Interface, Loaded};
use lvs_admin::knobs::{self, KNOBS};
use lvs_core::config::VlanPath;
use lvs_core::{MacAddr, Subnet};
use lvs_examples::backend::Io;

use crate::source::{Kind, Source};

/// Balances TCP, UDP and SCTP over real servers by direct routing (LVS/DR), in the manner of Linux IPVS.
///
/// The host's kernel must not hold the VIPs; this program answers ARP and NDP for them. Real servers hold the VIP on
/// `lo` and keep quiet about it (`arp_ignore=1`, `arp_announce=2`).
///
/// What to balance stands in a file: rules, a TOML file, or a keepalived.conf. SIGHUP and `lvsadm --reload` read it again.
#[derive(Debug, Parser)]
#[command(
    name = "director",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Raw {
    #[command(subcommand)]
    other: Option<Other>,

    #[command(flatten)]
    file: FileOptions,

    /// Interface that carries requests, real servers, or both; may be repeated. Each is followed by its --dip, and by its
    /// --gateway and --vlan if it has any. With --io tap the name of the TAP device to make or open, followed by its --bridge.
    /// A --config file can name the interfaces instead
    #[arg(long, value_name = "NAME", required_unless_present = "config")]
    interface: Vec<String>,

    /// The director's own address on the interface, with prefix length; once a family. Real servers are asked for with it
    #[arg(long, value_name = "ADDRESS/LEN", required_unless_present = "config")]
    dip: Vec<Subnet>,

    /// Router that leads to real servers outside the interface's subnet; once a family
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<IpAddr>,

    /// VLAN on the interface: ID, or OUTER.INNER for two tags
    #[arg(long, value_name = "ID[.ID]", value_parser = parse_vlan)]
    vlan: Vec<VlanPath>,

    /// With --io tap: the bridge that the TAP device is to be a port of. Without it, the host's own stack is at the other end
    #[arg(long, value_name = "NAME")]
    bridge: Vec<String>,

    /// With --io tap: the director's Ethernet address on the interface. The TAP device's own, which `ip link` shows, is the
    /// host's end of the cable; the director is another station. Default: one that is always the same on this host for this
    /// device
    #[arg(long, value_name = "MAC")]
    mac: Vec<MacAddr>,

    /// Set a knob, whatever the file says: under the name that it has in the kernel or one of this director's own; may be repeated
    #[arg(long, value_name = "NAME=VALUE", long_help = sysctl_help())]
    sysctl: Vec<String>,

    /// Fix the Ethernet address of a real server or gateway; may be repeated
    #[arg(long, value_name = "ADDRESS=MAC", value_parser = parse_neighbour)]
    neighbour: Vec<(IpAddr, MacAddr)>,

    /// Address that health checks come from, which no host has, in the subnet of the real servers; once a family. Default: the DIP.
    /// Where the host's kernel has the DIP, checks over it see only whether a server takes connections (half-open)
    #[arg(long, value_name = "ADDRESS")]
    probe_address: Vec<IpAddr>,

    /// How frames reach the director. Default: what the file says, else afpacket
    #[arg(long, value_name = "BACKEND", value_enum)]
    io: Option<Io>,

    /// How many threads take frames, each with sockets or queues of its own. With packet sockets the kernel gives the frames of a
    /// client to one of them. With AF_XDP each has queues of every interface to itself, so an interface needs as many queues as there
    /// are workers (`ethtool -L NAME combined N`); the card spreads flows over them, as the kernel does over the queues of a TAP
    /// device, and frames of a client that belongs to another worker are handed to it. Default: what the file says, else 1
    #[arg(long, value_name = "N", value_parser = parse_workers)]
    workers: Option<NonZeroU16>,

    /// The most connections that are remembered at one time; an IPv6 connection counts twice. Takes 80 bytes each. Default: what
    /// the file says, else 1048576
    #[arg(long, value_name = "N")]
    max_connections: Option<u32>,

    /// Where lvsadm finds this director: a Unix socket for root and the user it runs as. Default: /run/lvs/director.sock, for others
    /// $XDG_RUNTIME_DIR/lvs/director.sock; where another director has that one, a warning says so and there is none
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// Where metrics for Prometheus (/metrics), a page for people (/) and its figures (/stats.json) can be fetched: a port of
    /// 127.0.0.1, or an address and a port. Read-only. Default: nowhere
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    metrics: Option<String>,

    /// The log on standard error: lines for people, or JSON objects with fields for machines
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,

    /// No control socket
    #[arg(long, conflicts_with = "control")]
    no_control: bool,

    /// Start although the host's kernel holds a VIP. It will answer clients itself, with RST
    #[arg(long)]
    allow_local_vip: bool,
}

/// What is done instead of running a director.
#[derive(Debug, Subcommand)]
enum Other {
    /// Reads a file and says what is wrong with it. Nothing is started or asked. Exit status: 0 nothing, 1 it is wrong, 2 it could
    /// not be read
    Check {
        #[command(flatten)]
        file: FileOptions,
    },
    /// Says what a reload with this file would change in a running director, and what becomes of its connections. Exit status: 0 it
    /// would be carried out, 1 it would be refused, 2 it could not be found out
    Plan {
        #[command(flatten)]
        file: FileOptions,
        /// Which director; else LVS_SOCKET, else the usual place
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// JSON instead of text
        #[arg(long)]
        json: bool,
    },
}

/// The file, of one kind or another.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct FileOptions {
    /// Rules as `ipvsadm -S -n` prints them and `ipvsadm -R` reads them
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// A TOML file: interfaces, services, health checks, everything
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// A keepalived.conf: its virtual servers
    #[arg(long, value_name = "FILE")]
    keepalived: Option<PathBuf>,
}

impl FileOptions {
    fn source(self) -> Option<Source> {
        let Self { rules, config, keepalived } = self;
        let each = [(Kind::Rules, rules), (Kind::Config, config), (Kind::Keepalived, keepalived)];
        let (kind, path) = each.into_iter().find_map(|(kind, path)| Some((kind, path?)))?;
        Some(Source { kind, path })
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run a director.
    Run(Box<Options>),
    /// Check a file.
    Check(Source),
    /// Ask a running director what a file would do.
    Plan { source: Source, socket: Option<PathBuf>, json: bool },
}

/// What a director is started with.
#[derive(Debug)]
pub(crate) struct Options {
    /// In the order given; none if the file is to name them.
    pub(crate) interfaces: Vec<Interface>,
    /// What to balance.
    pub(crate) source: Source,
    /// Knobs to set.
    sysctl: Vec<String>,
    /// Fixed Ethernet addresses.
    neighbours: Vec<(IpAddr, MacAddr)>,
    /// Where health checks come from.
    probe_addresses: Vec<IpAddr>,
    /// How frames come and go.
    io: Option<Io>,
    /// How many threads take frames.
    workers: Option<NonZeroU16>,
    /// Capacity of the connection table.
    max_connections: Option<u32>,
    /// Where metrics are served.
    pub(crate) metrics: Option<String>,
    /// What the log looks like.
    pub(crate) log_format: LogFormat,
    /// Where the control socket is.
    pub(crate) control: Control,
    /// Whether a VIP on the host's kernel is no error.
    allow_local_vip: bool,
}

/// What the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// JSON objects, a line each.
    Json,
}

/// Where the control socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// At the usual place, if that can be had.
    Usual,
    /// There.
    At(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// Every knob with what it takes.
fn parse_workers(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| format!("expected 1 to {}", u16::MAX))
}

fn sysctl_help() -> String {
    let mut help = "Set a knob, under the name that it has in the kernel or one of this director's own; may be repeated:".to_owned();
    for knob in KNOBS {
        help.push_str(&format!("\n{:<26} {}", knob.name, knob.takes));
    }
    help
}

impl Command {
    /// Reads the command line; prints what is wrong with it and exits with 2, or prints the help and exits with 0.
    pub(crate) fn from_command_line() -> Self {
        let matches = Raw::command().get_matches();
        Self::from_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut raw = Raw::from_arg_matches(matches)?;
        // The parser demands a file of each.
        let source = |file: FileOptions| {
            let none =
                || Raw::command().error(clap::error::ErrorKind::MissingRequiredArgument, "--rules FILE");
            file.source().ok_or_else(none)
        };
        Ok(match raw.other.take() {
            Some(Other::Check { file }) => Self::Check(source(file)?),
            Some(Other::Plan { file, socket, json }) => Self::Plan { source: source(file)?, socket, json },
            None => {
                let interfaces = group(&raw, matches)?;
                let FileOptions { rules, config, keepalived } = &mut raw.file;
                let file =
                    FileOptions { rules: rules.take(), config: config.take(), keepalived: keepalived.take() };
                Self::Run(Box::new(Options::new(raw, interfaces, source(file)?)))
            }
        })
    }
}

impl Options {
    fn new(raw: Raw, interfaces: Vec<Interface>, source: Source) -> Self {
        Self {
            interfaces,
            source,
            sysctl: raw.sysctl,
            neighbours: raw.neighbour,
            probe_addresses: raw.probe_address,
            io: raw.io,
            workers: raw.workers,
            max_connections: raw.max_connections,
            metrics: raw.metrics,
            log_format: raw.log_format,
            control: match raw.control {
                Some(path) => Control::At(path),
                None if raw.no_control => Control::Nowhere,
                None => Control::Usual,
            },
            allow_local_vip: raw.allow_local_vip,
        }
    }

    /// Adds to a file's configuration what the command line says besides, which comes before what the file says. Answers what the
    /// operator should know.
    ///
    /// # Errors
    /// What does not go together, or is wrong.
    pub(crate) fn complete(&self, loaded: &mut Loaded) -> Result<Vec<String>, String> {
        let configuration = &mut loaded.configuration;
        if configuration.interfaces.is_empty() {
            configuration.interfaces.clone_from(&self.interfaces);
        } else if !self.interfaces.is_empty() {
            return Err(format!(
                "{} names interfaces, and so does --interface; use one of them",
                self.source
            ));
        }
        if configuration.interfaces.is_empty() {
            return Err(format!(
                "{} names no interface; add [[interface]] to it, or --interface",
                self.source
            ));
        }
        if !self.probe_addresses.is_empty() {
            configuration.probe_addresses.clone_from(&self.probe_addresses);
        }
        if let Some(io) = self.io {
            io.name().clone_into(&mut configuration.io);
        }
        configuration.workers = self.workers.unwrap_or(configuration.workers);
        configuration.capacities.max_connections =
            self.max_connections.unwrap_or(configuration.capacities.max_connections);
        configuration.allow_local_vip |= self.allow_local_vip;
        configuration.neighbours.extend(self.neighbours.iter().copied());
        let mut notes = Vec::new();
        for assignment in &self.sysctl {
            let note = knobs::set(&mut configuration.knobs, assignment)
                .map_err(|error| format!("--sysctl: {error}"))?;
            notes.extend(note.map(|note| format!("--sysctl {assignment}: {note}")));
        }
        Ok(notes)
    }
}

/// Gives each option that follows an interface to that interface.
fn group(raw: &Raw, matches: &ArgMatches) -> Result<Vec<Interface>, clap::Error> {
    let wrong = |text: String| Raw::command().error(clap::error::ErrorKind::ArgumentConflict, text);
    let starts: Vec<usize> = matches.indices_of("interface").into_iter().flatten().collect();
    let owner = |option: &str, index: usize| {
        let before = starts.iter().filter(|start| **start < index).count();
        before.checked_sub(1).ok_or_else(|| wrong(format!("--{option} stands before any --interface")))
    };
    let mut interfaces: Vec<Interface> = raw
        .interface
        .iter()
        .map(|name| Interface {
            name: name.clone(),
            dips: Vec::new(),
            gateways: Vec::new(),
            vlan: VlanPath::UNTAGGED,
            mac: None,
            bridge: None,
        })
        .collect();
    for (dip, index) in raw.dip.iter().zip(matches.indices_of("dip").into_iter().flatten()) {
        interfaces[owner("dip", index)?].dips.push(*dip);
    }
    for (gateway, index) in raw.gateway.iter().zip(matches.indices_of("gateway").into_iter().flatten()) {
        interfaces[owner("gateway", index)?].gateways.push(*gateway);
    }
    for (vlan, index) in raw.vlan.iter().zip(matches.indices_of("vlan").into_iter().flatten()) {
        let interface = &mut interfaces[owner("vlan", index)?];
        if interface.vlan != VlanPath::UNTAGGED {
            return Err(wrong(format!("--vlan is given twice for --interface {}", interface.name)));
        }
        interface.vlan = *vlan;
    }
    for (bridge, index) in raw.bridge.iter().zip(matches.indices_of("bridge").into_iter().flatten()) {
        let interface = &mut interfaces[owner("bridge", index)?];
        if interface.bridge.replace(bridge.clone()).is_some() {
            return Err(wrong(format!("--bridge is given twice for --interface {}", interface.name)));
        }
    }
    for (mac, index) in raw.mac.iter().zip(matches.indices_of("mac").into_iter().flatten()) {
        let interface = &mut interfaces[owner("mac", index)?];
        if interface.mac.replace(*mac).is_some() {
            return Err(wrong(format!("--mac is given twice for --interface {}", interface.name)));
        }
        if !mac.is_unicast() {
            return Err(wrong(format!("--mac {mac}: it is no address of one station")));
        }
    }
    if raw.io != Some(Io::Tap) && !(raw.bridge.is_empty() && raw.mac.is_empty()) {
        let text =
            "--bridge and --mac are for --io tap: other interfaces have their bridge and their address";
        return Err(wrong(text.to_owned()));
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

fn parse_neighbour(text: &str) -> Result<(IpAddr, MacAddr), String> {
    let (address, mac) = text.split_once('=').ok_or("expected ADDRESS=MAC")?;
    let address = address.parse().map_err(|_| format!("{address:?} is not an IP address"))?;
    Ok((address, mac.parse().map_err(|error| format!("{error}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Options, String> {
        let words = std::iter::once("director").chain(words.split_whitespace());
        let matches = Raw::command().try_get_matches_from(words).map_err(|error| error.to_string())?;
        match Command::from_matches(&matches).map_err(|error| error.to_string())? {
            Command::Run(options) => Ok(*options),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn options_belong_to_the_interface_before_them() {
        let options = parse(
            "--interface eth0 --dip 192.168.0.208/24 --dip fd00::d0/64 --gateway 192.168.0.15 --rules r \
             --interface eth1 --vlan 5.10 --dip 10.0.0.1/8",
        )
        .unwrap();
        assert_eq!(options.io, None);
        let [first, second] = &options.interfaces[..] else { panic!("two interfaces") };
        assert_eq!((first.name.as_str(), first.dips.len(), first.gateways.len()), ("eth0", 2, 1));
        assert_eq!((second.name.as_str(), second.dips.len(), second.gateways.len()), ("eth1", 1, 0));
        assert_eq!(second.vlan, VlanPath { outer: 5, inner: 10 });
    }

    #[test]
    fn what_is_out_of_place_is_named() {
        let errors = [
            ("--dip 10.0.0.1/8 --interface eth0 --rules r", "--dip stands before any --interface"),
            ("--interface a --interface b --dip 10.0.0.1/8 --rules r", "--interface a is not followed"),
            ("--interface a --dip 10.0.0.1 --rules r", "10.0.0.1"),
            ("--interface a --dip 10.0.0.1/8 --vlan 0 --rules r", "1 to 4094"),
            ("--interface a --dip 10.0.0.1/8 --vlan 1 --vlan 2 --rules r", "--vlan is given twice"),
            ("--interface a --dip 10.0.0.1/8 --io pcap --rules r", "afpacket, xdp, tap"),
            ("--interface a --dip 10.0.0.1/8", "--rules"),
            ("--interface a --bridge b --dip 10.0.0.1/8 --rules r", "--bridge and --mac are for --io tap"),
            (
                "--interface a --mac 02:00:00:00:00:01 --dip 10.0.0.1/8 --rules r",
                "--bridge and --mac are for --io tap",
            ),
            (
                "--io tap --interface a --mac 03:00:00:00:00:01 --dip 10.0.0.1/8 --rules r",
                "no address of one station",
            ),
            ("--io tap --bridge b --interface a --dip 10.0.0.1/8 --rules r", "--bridge stands before any"),
            (
                "--io tap --interface a --bridge b --bridge c --dip 10.0.0.1/8 --rules r",
                "--bridge is given twice",
            ),
            ("--interface a --dip 10.0.0.1/8 --rules r --neighbour 10.0.0.2", "ADDRESS=MAC"),
        ];
        for (words, expected) in errors {
            let error = parse(words).unwrap_err();
            assert!(error.contains(expected), "{words}: {error}");
        }
    }
}
