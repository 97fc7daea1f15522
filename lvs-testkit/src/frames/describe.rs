//! A frame in one line, close to what `tcpdump -e -v -n -S` prints.
//!
//! It is for people and for assertions; options are not spelled out.

use std::fmt::{self, Write as _};

use super::summary::{ArpSummary, IpSummary, Summary};
use super::{ARP, DESTINATION_OPTIONS, ICMP, ICMPV6, IPV4, IPV6, TCP, UDP};

/// The line. Wrong transport checksums are marked `(bad cksum)`; of a frame that breaks off it says what
/// could be read.
#[must_use]
pub fn describe(frame: &[u8]) -> String {
    let Some(summary) = Summary::of(frame) else {
        return format!("truncated Ethernet header, length {}", frame.len());
    };
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = write_line(&mut line, &summary, frame.len());
    line
}

fn write_line(line: &mut String, summary: &Summary, length: usize) -> fmt::Result {
    write!(line, "{} > {}", summary.source_mac, summary.destination_mac)?;
    for tag in &summary.tags {
        write!(line, ", vlan {}", tag.id())?;
        if tag.tci >> 13 != 0 {
            write!(line, " p {}", tag.tci >> 13)?;
        }
    }
    let name = match summary.ether_type {
        IPV4 => "IPv4",
        IPV6 => "IPv6",
        ARP => "ARP",
        _ => "unknown",
    };
    write!(line, ", ethertype {name} (0x{:04x}), length {length}: ", summary.ether_type)?;
    match (&summary.arp, &summary.ip) {
        (Some(arp), _) => write_arp(line, arp),
        (_, Some(ip)) => write_ip(line, ip),
        _ if matches!(summary.ether_type, ARP | IPV4 | IPV6) => line.write_str("truncated or malformed"),
        _ => line.write_str("payload"),
    }
}

fn write_arp(line: &mut String, arp: &ArpSummary) -> fmt::Result {
    let ArpSummary { operation, sender_mac, sender, target, .. } = arp;
    match operation {
        1 if sender.is_unspecified() => write!(line, "ARP, Probe {target}"),
        1 if sender == target => write!(line, "ARP, Announcement {target} from {sender_mac}"),
        1 => write!(line, "ARP, Request who-has {target} tell {sender}"),
        2 => write!(line, "ARP, Reply {sender} is-at {sender_mac}"),
        _ => write!(line, "ARP, operation {operation}, {sender} ({sender_mac}) to {target}"),
    }
}

fn write_ip(line: &mut String, ip: &IpSummary) -> fmt::Result {
    let hops = if ip.source.is_ipv4() { "ttl" } else { "hlim" };
    write!(line, "(tos 0x{:x}, {hops} {}", ip.tos, ip.ttl)?;
    if let Some(id) = ip.id {
        write!(line, ", id {id}")?;
    }
    if let Some((offset, more)) = ip.fragment {
        write!(line, ", offset {offset}{}", if more { "+" } else { "" })?;
    }
    if ip.source.is_ipv4() {
        write!(line, ", flags [{}]", if ip.dont_fragment { "DF" } else { "none" })?;
    }
    let protocol = match ip.protocol {
        TCP => "TCP",
        UDP => "UDP",
        ICMP => "ICMP",
        ICMPV6 => "ICMP6",
        DESTINATION_OPTIONS => "DSTOPT",
        _ => "other",
    };
    write!(line, ", proto {protocol} ({}), length {}) ", ip.protocol, ip.length)?;
    write_flow(line, ip)?;
    write_transport(line, ip)?;
    if ip.checksum_right == Some(false) {
        line.write_str(" (bad cksum)")?;
    }
    Ok(())
}

fn write_flow(line: &mut String, ip: &IpSummary) -> fmt::Result {
    match ip.ports {
        Some((a, b)) => write!(line, "{}.{a} > {}.{b}:", ip.source, ip.destination),
        None => write!(line, "{} > {}:", ip.source, ip.destination),
    }
}

fn write_transport(line: &mut String, ip: &IpSummary) -> fmt::Result {
    if ip.fragment.is_some_and(|(offset, _)| offset > 0) {
        return write!(line, " fragment, length {}", ip.payload_len);
    }
    if let Some(tcp) = &ip.tcp {
        write!(line, " Flags [{}], seq {}", tcp.flags, tcp.seq)?;
        if tcp.flags.contains(super::TcpFlags::ACK) {
            write!(line, ", ack {}", tcp.ack)?;
        }
        return write!(line, ", win {}, length {}", tcp.window, ip.payload_len);
    }
    if let Some((kind, code)) = ip.icmp {
        return write_icmp(line, ip, kind, code);
    }
    match ip.protocol {
        TCP => line.write_str(" truncated TCP header"),
        UDP if ip.checksum.is_none() => line.write_str(" truncated UDP header"),
        UDP => write!(line, " UDP, length {}", ip.payload_len),
        _ => write!(line, " length {}", ip.payload_len),
    }
}

fn write_icmp(line: &mut String, ip: &IpSummary, kind: u8, code: u8) -> fmt::Result {
    let name = match (ip.source.is_ipv4(), kind, code) {
        (true, 8, _) | (false, 128, _) => "echo request",
        (true, 0, _) | (false, 129, _) => "echo reply",
        (true, 3, 4) | (false, 2, _) => "too big",
        (true, 3, _) | (false, 1, _) => "unreachable",
        (true, 11, _) | (false, 3, _) => "time exceeded",
        (true, 12, _) | (false, 4, _) => "parameter problem",
        (false, 130, _) => "multicast listener query",
        (false, 133, _) => "router solicitation",
        (false, 134, _) => "router advertisement",
        (false, 135, _) => "neighbor solicitation, who has",
        (false, 136, _) => "neighbor advertisement, tgt is",
        (false, 143, _) => "multicast listener report v2",
        _ => "message",
    };
    write!(line, " {} {name}", if ip.source.is_ipv4() { "ICMP" } else { "ICMP6," })?;
    if let Some(target) = ip.neighbour_target {
        write!(line, " {target}")?;
    }
    write!(line, " (type {kind}, code {code}), length {}", ip.payload_len)?;
    if let Some(quoted) = &ip.quoted {
        line.write_str(", about ")?;
        write_flow(line, quoted)?;
        write!(line, " proto {}, ttl {}", quoted.protocol, quoted.ttl)?;
    }
    Ok(())
}
