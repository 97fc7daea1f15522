//! Multicast listener discovery: queries read, reports written. A query of version 2 (RFC 3810) is answered
//! with version 2 reports, one of version 1 (RFC 2710) with version 1 reports; reports that nobody asked
//! for are version 2.
//!
//! Switches that snoop deliver solicitations for the director's addresses only where such reports came
//! from. Source filters are not kept: the director listens to everybody or not at all.

use core::net::Ipv6Addr;
use core::time::Duration;

use arrayvec::ArrayVec;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv6Packet, Icmpv6Repr, IpProtocol, MldAddressRecordRepr, MldRecordType, MldRepr};

use super::ndp::{Ends, Header, emit_headers};
use crate::addr::MacAddr;
use crate::wire::{be16, ip_protocol};

/// ICMPv6 types.
pub(super) const QUERY: u8 = 130;
const REPORT_V1: u8 = 131;

/// ff02::16, all MLDv2-capable routers (RFC 3810 section 5.2.14).
const ALL_MLDV2_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// The most groups in one report: as many as fit the smallest IPv6 MTU.
pub(super) const MOST_GROUPS: usize = (1280 - 40 - HOP_BY_HOP.len() - 8) / RECORD;
/// Length of an address record without sources (RFC 3810 section 5.2).
const RECORD: usize = 20;
/// Length of a report before its first record.
const REPORT: usize = 8;
/// Length of a version 1 message (RFC 2710 section 3).
const V1: usize = 24;

/// Next header ICMPv6, 8 bytes long; router alert for MLD (RFC 2711); two bytes of padding.
const HOP_BY_HOP: [u8; 8] = [ip_protocol::ICMPV6, 0, ROUTER_ALERT, 2, 0, 0, PAD_N, 0];
const ROUTER_ALERT: u8 = 5;
const PAD_N: u8 = 1;

/// The longest delay of an answer that a query can ask for here. RFC 3810 section 9.3 uses 10 s.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Groups to be reported in one packet.
pub(super) type Groups = ArrayVec<Ipv6Addr, MOST_GROUPS>;

/// Which kind of message a router or switch speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// A query: who listens to what?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) version: Version,
    /// Only this group is asked for; otherwise all.
    pub(super) group: Option<Ipv6Addr>,
    /// Within which time to answer.
    pub(super) delay: Duration,
}

/// Reads a query; `between` are the bytes from the end of the IPv6 header to the ICMPv6 message. `None` if
/// RFC 3810 section 6.2 says that it is to be dropped.
pub(super) fn parse_query(ip: &Header, between: &[u8], icmp: &[u8]) -> Option<Query> {
    if !ip.source.is_unicast_link_local() || ip.hop_limit != 1 || !has_router_alert(ip, between) {
        return None;
    }
    if icmp.len() == V1 {
        return parse_v1(ip, icmp);
    }
    let packet = Icmpv6Packet::new_checked(icmp).ok()?;
    let repr =
        Icmpv6Repr::parse(&ip.source, &ip.destination, &packet, &ChecksumCapabilities::default()).ok()?;
    let Icmpv6Repr::Mld(MldRepr::Query { max_resp_code, mcast_addr, .. }) = repr else { return None };
    query(Version::V2, mcast_addr, response_delay(max_resp_code))
}

fn parse_v1(ip: &Header, icmp: &[u8]) -> Option<Query> {
    let [QUERY, 0, ..] = icmp else { return None };
    // smoltcp has no version 1 query, but its checksum is any ICMPv6 message's.
    Icmpv6Packet::new_unchecked(icmp).verify_checksum(&ip.source, &ip.destination).then_some(())?;
    let group = Ipv6Addr::from(*icmp.get(8..)?.first_chunk::<16>()?);
    query(Version::V1, group, Duration::from_millis(u64::from(be16(icmp, 4)?)))
}

fn query(version: Version, group: Ipv6Addr, delay: Duration) -> Option<Query> {
    let group = (!group.is_unspecified()).then_some(group);
    let sound = group.is_none_or(|group| group.is_multicast());
    sound.then_some(Query { version, group, delay: delay.min(LONGEST_DELAY) })
}

/// RFC 3810 section 5.1.3: below 32768 milliseconds as they are, above a floating-point number.
fn response_delay(code: u16) -> Duration {
    let millis = match code {
        0..0x8000 => u64::from(code),
        _ => u64::from(code & 0x0fff | 0x1000) << ((code >> 12 & 7) + 3),
    };
    Duration::from_millis(millis)
}

/// Looks for a router alert option with the value for MLD in a hop-by-hop header that comes first.
fn has_router_alert(ip: &Header, between: &[u8]) -> bool {
    if ip.next != ip_protocol::HOP_BY_HOP {
        return false;
    }
    let Some(&[_, units]) = between.first_chunk::<2>() else { return false };
    let Some(mut options) = between.get(2..(usize::from(units) + 1) * 8) else { return false };
    while let [kind, rest @ ..] = options {
        if *kind == 0 {
            options = rest;
            continue;
        }
        let [length, rest @ ..] = rest else { return false };
        let Some((data, after)) = rest.split_at_checked(usize::from(*length)) else { return false };
        if *kind == ROUTER_ALERT {
            return data == [0, 0];
        }
        options = after;
    }
    false
}

/// How many groups a version 2 report in a buffer of this length can name.
pub(super) fn groups_that_fit(buffer: usize) -> usize {
    (buffer.saturating_sub(14 + 40 + HOP_BY_HOP.len() + REPORT) / RECORD).min(MOST_GROUPS)
}

/// Writes a version 2 report; `changed` says that the director has begun to listen, otherwise the report
/// says that it listens. Answers the frame's length, or `None` if the buffer is too short.
pub(super) fn emit_report(
    buffer: &mut [u8],
    mac: MacAddr,
    source: Ipv6Addr,
    groups: &[Ipv6Addr],
    changed: bool,
) -> Option<usize> {
    // Listening to all sources is "exclude none".
    let record = if changed { MldRecordType::ChangeToExclude } else { MldRecordType::ModeIsExclude };
    let records: ArrayVec<MldAddressRecordRepr<'_>, MOST_GROUPS> = groups
        .iter()
        .filter(|group| group.is_multicast())
        .take(MOST_GROUPS)
        .map(|&group| MldAddressRecordRepr::new(record, group))
        .collect();
    let length = REPORT + RECORD * records.len();
    let ends = ends(mac, source, ALL_MLDV2_ROUTERS);
    let start = emit_hop_by_hop(buffer, &ends, length)?;
    let icmp = buffer.get_mut(start..start + length)?;
    Icmpv6Repr::Mld(MldRepr::ReportRecordReprs(&records)).emit(
        &ends.source,
        &ends.destination,
        &mut Icmpv6Packet::new_unchecked(icmp),
        &ChecksumCapabilities::default(),
    );
    Some(start + length)
}

/// Writes a version 1 report of one group, which goes to the group itself (RFC 2710 section 5). Answers the
/// frame's length, or `None` if the buffer is too short.
pub(super) fn emit_report_v1(
    buffer: &mut [u8],
    mac: MacAddr,
    source: Ipv6Addr,
    group: Ipv6Addr,
) -> Option<usize> {
    let ends = ends(mac, source, group);
    let start = emit_hop_by_hop(buffer, &ends, V1)?;
    let icmp: &mut [u8; V1] = buffer.get_mut(start..)?.first_chunk_mut()?;
    *icmp = [0; V1];
    icmp[0] = REPORT_V1;
    icmp[8..].copy_from_slice(&group.octets());
    Icmpv6Packet::new_unchecked(&mut icmp[..]).fill_checksum(&source, &group);
    Some(start + V1)
}

fn ends(mac: MacAddr, source: Ipv6Addr, destination: Ipv6Addr) -> Ends {
    Ends { mac, to_mac: MacAddr::for_ipv6_multicast(destination), source, destination }
}

fn emit_hop_by_hop(buffer: &mut [u8], ends: &Ends, icmp: usize) -> Option<usize> {
    let start = emit_headers(buffer, ends, IpProtocol::HopByHop, 1, HOP_BY_HOP.len() + icmp)?;
    buffer.get_mut(start..)?.first_chunk_mut().map(|header| *header = HOP_BY_HOP)?;
    Some(start + HOP_BY_HOP.len())
}
