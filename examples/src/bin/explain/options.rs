//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use lvs_admin::explain::Filter;
use lvs_core::config::VlanPath;
use lvs_core::{MacAddr, Subnet};

/// Says what an LVS/DR director with these rules does with each frame of a capture, and why.
///
/// The capture is played to a real director, in the capture's own time. Exit status: 0 all was read; 1 the capture cannot be
/// read, or is cut off (what could be read is explained); 2 wrong usage or rules.
#[derive(Debug, Parser)]
#[command(name = "explain", version, max_term_width = 100)]
pub(crate) struct Options {
    /// Rules as `ipvsadm -S -n` prints them and `ipvsadm -R` reads them
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: PathBuf,

    /// The director's own address, with prefix length; once a family. Real servers are in its subnet, or behind a --gateway
    #[arg(long, value_name = "ADDRESS/LEN", required = true)]
    pub(crate) dip: Vec<Subnet>,

    /// Router that leads to real servers outside the subnets; once a family
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Vec<IpAddr>,

    /// Ethernet address of a real server or gateway; may be repeated. Without it: what the capture says by ARP or NDP, or else
    /// one made of 02:00 and the IPv4 address (IPv6: 02:06 and the last four bytes)
    #[arg(long, value_name = "RIP=MAC", value_parser = parse_mac)]
    pub(crate) mac: Vec<(IpAddr, MacAddr)>,

    /// The director's own Ethernet address. Without it: whoever answers for a VIP in the capture, or else whom most frames for
    /// the VIPs are sent to
    #[arg(long, value_name = "MAC")]
    pub(crate) interface_mac: Option<MacAddr>,

    /// The VLAN that the director is in: ID, or OUTER.INNER for two tags. Without it: the one that most frames for the VIPs
    /// come by
    #[arg(long, value_name = "ID[.ID]", value_parser = parse_vlan)]
    pub(crate) vlan: Option<VlanPath>,

    /// The longest IP packet that fits the director's interface, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1500)]
    pub(crate) mtu: u16,

    /// Set a knob, under the name that it has in the kernel or one of the director's own; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) sysctl: Vec<String>,

    /// Show only the frames that this filter wants; all are played
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true, long_help = filter_help())]
    pub(crate) filter: Filter,

    /// Print one JSON object a frame
    #[arg(long)]
    pub(crate) json: bool,

    /// Write what leaves the director as a capture (pcapng if it is called so, else pcap)
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// The capture: pcap or pcapng, of Ethernet frames
    #[arg(value_name = "CAPTURE")]
    pub(crate) capture: PathBuf,
}

fn filter_help() -> String {
    format!(
        "Show only the frames that this filter wants; all are played:\n\n{}",
        lvs_admin::explain::filter_help()
    )
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

fn parse_mac(text: &str) -> Result<(IpAddr, MacAddr), String> {
    let (address, mac) = text.split_once('=').ok_or("expected RIP=MAC")?;
    let address = address.parse().map_err(|_| format!("{address:?} is not an IP address"))?;
    Ok((address, mac.parse().map_err(|error| format!("{error}"))?))
}
