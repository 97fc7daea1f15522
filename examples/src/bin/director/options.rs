//! The command line. Options that belong to an interface follow it; which follows which is known from their places.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use lvs_admin::knobs::KNOBS;
use lvs_core::config::VlanPath;
use lvs_core::{MacAddr, Subnet};
use lvs_examples::backend::Io;

/// Balances TCP and UDP over real servers by direct routing (LVS/DR), in the manner of Linux IPVS.
///
/// The host's kernel must not hold the VIPs; this program answers ARP and NDP for them. Real servers hold the VIP on
/// `lo` and keep quiet about it (`arp_ignore=1`, `arp_announce=2`).
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Raw {
    /// Interface that carries requests, real servers, or both; may be repeated. Each is followed by its --dip, and by its
    /// --gateway and --vlan if it has any. With --io tap the name of the TAP device to make or open, followed by its --bridge
    #[arg(long, value_name = "NAME", required = true)]
    interface: Vec<String>,

    /// The director's own address on the interface, with prefix length; once a family. Real servers are asked for with it
    #[arg(long, value_name = "ADDRESS/LEN", required = true)]
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

    /// Rules as `ipvsadm -S -n` prints them and `ipvsadm -R` reads them
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,

    /// Set a knob, under the name that it has in the kernel or one of this director's own; may be repeated
    #[arg(long, value_name = "NAME=VALUE", long_help = sysctl_help())]
    sysctl: Vec<String>,

    /// Fix the Ethernet address of a real server or gateway; may be repeated
    #[arg(long, value_name = "ADDRESS=MAC", value_parser = parse_neighbour)]
    neighbour: Vec<(IpAddr, MacAddr)>,

    /// How frames reach the director
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t)]
    io: Io,

    /// How many threads take frames, each with sockets or queues of its own. With packet sockets the kernel gives the frames of a
    /// client to one of them. With AF_XDP each has queues of every interface to itself, so an interface needs as many queues as there
    /// are workers (`ethtool -L NAME combined N`); the card spreads flows over them, as the kernel does over the queues of a TAP
    /// device, and frames of a client that belongs to another worker are handed to it
    #[arg(long, value_name = "N", default_value_t = NonZeroU16::MIN)]
    workers: NonZeroU16,

    /// The most connections that are remembered at one time; an IPv6 connection counts twice. Takes 80 bytes each
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    max_connections: u32,

    /// Where lvsadm finds this director: a Unix socket for root and the user it runs as. Default: /run/lvs/director.sock, for others
    /// $XDG_RUNTIME_DIR/lvs/director.sock; where another director has that one, a warning says so and there is none
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// No control socket
    #[arg(long, conflicts_with = "control")]
    no_control: bool,

    /// Start although the host's kernel holds a VIP. It will answer clients itself, with RST
    #[arg(long)]
    allow_local_vip: bool,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    /// In the order given.
    pub(crate) interfaces: Vec<InterfaceOptions>,
    /// The rules file.
    pub(crate) rules: PathBuf,
    /// Knobs to set.
    pub(crate) sysctl: Vec<String>,
    /// Fixed Ethernet addresses.
    pub(crate) neighbours: Vec<(IpAddr, MacAddr)>,
    /// How frames come and go.
    pub(crate) io: Io,
    /// How many threads take frames.
    pub(crate) workers: NonZeroU16,
    /// Capacity of the connection table.
    pub(crate) max_connections: u32,
    /// Where the control socket is.
    pub(crate) control: Control,
    /// Whether a VIP on the host's kernel is no error.
    pub(crate) allow_local_vip: bool,
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

/// An interface with what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InterfaceOptions {
    /// Its name.
    pub(crate) name: String,
    /// The director's own addresses.
    pub(crate) dips: Vec<Subnet>,
    /// Routers.
    pub(crate) gateways: Vec<IpAddr>,
    /// The VLAN.
    pub(crate) vlan: VlanPath,
    /// The director's Ethernet address, where it is not the interface's.
    pub(crate) mac: Option<MacAddr>,
    /// The bridge of a TAP device.
    pub(crate) bridge: Option<String>,
}

/// Every knob with what it takes.
fn sysctl_help() -> String {
    let mut help = "Set a knob, under the name that it has in the kernel or one of this director's own; may be repeated:".to_owned();
    for knob in KNOBS {
        help.push_str(&format!("\n{:<26} {}", knob.name, knob.takes));
    }
    help
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
        Ok(Self {
            interfaces,
            rules: raw.rules,
            sysctl: raw.sysctl,
            neighbours: raw.neighbour,
            io: raw.io,
            workers: raw.workers,
            max_connections: raw.max_connections,
            control: match raw.control {
                Some(path) => Control::At(path),
                None if raw.no_control => Control::Nowhere,
                None => Control::Usual,
            },
            allow_local_vip: raw.allow_local_vip,
        })
    }
}

/// Gives each option that follows an interface to that interface.
fn group(raw: &Raw, matches: &ArgMatches) -> Result<Vec<InterfaceOptions>, clap::Error> {
    let wrong = |text: String| Raw::command().error(clap::error::ErrorKind::ArgumentConflict, text);
    let starts: Vec<usize> = matches.indices_of("interface").into_iter().flatten().collect();
    let owner = |option: &str, index: usize| {
        let before = starts.iter().filter(|start| **start < index).count();
        before.checked_sub(1).ok_or_else(|| wrong(format!("--{option} stands before any --interface")))
    };
    let mut interfaces: Vec<InterfaceOptions> = raw
        .interface
        .iter()
        .map(|name| InterfaceOptions {
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
    if raw.io != Io::Tap && !(raw.bridge.is_empty() && raw.mac.is_empty()) {
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
        Options::from_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn options_belong_to_the_interface_before_them() {
        let options = parse(
            "--interface eth0 --dip 192.168.0.208/24 --dip fd00::d0/64 --gateway 192.168.0.15 --rules r \
             --interface eth1 --vlan 5.10 --dip 10.0.0.1/8",
        )
        .unwrap();
        assert_eq!(options.io, Io::Afpacket);
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
