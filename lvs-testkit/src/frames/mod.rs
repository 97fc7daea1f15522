//! Builders for Ethernet II frames, and the way back: what a frame is, in fields and in a line.
//!
//! A frame is right unless it is asked not to be: lengths and checksums are computed, and there are
//! ways to break each of them. Addresses that matter are arguments, everything else has a default that
//! can be changed before `build()`.
//!
//! ```
//! use lvs_testkit::frames::{self, TcpFlags, describe, mac, socket};
//!
//! let syn = frames::tcp(socket("110.0.0.1:40000"), socket("192.168.0.250:80"))
//!     .flags(TcpFlags::SYN)
//!     .macs(mac("02:00:00:00:00:01"), mac("02:00:00:00:00:0f"))
//!     .ttl(63)
//!     .id(22704)
//!     .build();
//! assert_eq!(
//!     describe(&syn),
//!     "02:00:00:00:00:01 > 02:00:00:00:00:0f, ethertype IPv4 (0x0800), length 54: (tos 0x0, ttl 63, \
//!      id 22704, flags [DF], proto TCP (6), length 40) 110.0.0.1.40000 > 192.168.0.250.80: \
//!      Flags [S], seq 1, win 64240, length 0"
//! );
//! ```
//!
//! It has no opinion on protocols: a SYN with a payload and a reply to nobody are built as asked. It
//! keeps no state, and it does not add a frame check sequence.

mod arp;
mod checksum;
mod describe;
mod icmp;
mod link;
mod ndp;
mod packet;
mod summary;
mod transport;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lvs_core::MacAddr;

pub use arp::{Arp, arp_announcement, arp_probe, arp_reply, arp_request, gratuitous_reply};
pub use checksum::{checksum, finish_checksum};
pub use describe::describe;
pub use icmp::{Icmp, IcmpError, echo_reply, echo_request, icmp, icmp_error};
pub use ndp::{mld_query, mld_report, neighbour_advertisement, neighbour_solicitation, router_solicitation};
pub use packet::{Body, Packet};
pub use summary::{ArpSummary, IpSummary, Summary, TcpSummary};
pub use transport::{ChecksumField, Raw, Tcp, TcpFlags, Udp, ip, tcp, udp};

/// The Ethernet type of IPv4.
pub const IPV4: u16 = 0x0800;
/// The Ethernet type of ARP.
pub const ARP: u16 = 0x0806;
/// The Ethernet type of IPv6.
pub const IPV6: u16 = 0x86dd;
/// The tag protocol of 802.1Q.
pub const VLAN: u16 = 0x8100;
/// The tag protocol of 802.1ad, the outer of two tags.
pub const SERVICE_VLAN: u16 = 0x88a8;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of the IPv6 fragment header.
pub const FRAGMENT: u8 = 44;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;
/// Protocol number of the IPv6 hop-by-hop options header.
pub const HOP_BY_HOP: u8 = 0;
/// Protocol number of the IPv6 routing header.
pub const ROUTING: u8 = 43;
/// Protocol number of the IPv6 destination options header.
pub const DESTINATION_OPTIONS: u8 = 60;

/// An Ethernet II frame with this payload, without tags, checks or padding.
#[must_use]
pub fn ethernet(source: MacAddr, destination: MacAddr, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(destination.0);
    frame.extend(source.0);
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The Ethernet address of test station number `n`: `02:00:00:00:hi:lo`.
#[must_use]
pub const fn station(n: u16) -> MacAddr {
    let [high, low] = n.to_be_bytes();
    MacAddr([2, 0, 0, 0, high, low])
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let o = address.octets();
    let low = u16::from_be_bytes([o[14], o[15]]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | o[13] as u16, low)
}

/// Reads `192.168.0.250:80` or `[fd00::250]:80`.
///
/// # Panics
/// If the text is something else.
#[must_use]
pub fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not an address with a port"))
}

/// Reads an IP address of either family.
///
/// # Panics
/// If the text is something else.
#[must_use]
pub fn addr(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not an IP address"))
}

/// Reads an IPv4 address.
///
/// # Panics
/// If the text is something else.
#[must_use]
pub fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not an IPv4 address"))
}

/// Reads an IPv6 address.
///
/// # Panics
/// If the text is something else.
#[must_use]
pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not an IPv6 address"))
}

/// Reads an Ethernet address.
///
/// # Panics
/// If the text is something else.
#[must_use]
pub fn mac(text: &str) -> MacAddr {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not an Ethernet address"))
}
