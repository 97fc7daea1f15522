//! What bytes mean: edits, frames, metadata. Most of what comes out is sound, so that histories get somewhere; some of it
//! is not.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs_core::config::{
    ClientMask, DestinationConfig, Knobs, MarkRule, OnMiss, Persistence, PortRange, PortRanges, Protocol,
    SchedulerFlags, SchedulerKind, ServiceConfig, ServiceKey, Timeouts, VlanPath,
};
use lvs_core::io::{Gso, GsoKind, Meta, PartialChecksum, VlanTag};
use lvs_core::{Change, MacAddr, PortId, Subnet};

use super::key;
use crate::frames::{self, IcmpError, TcpFlags, addr, mac, socket};

/// Where choices come from: the input, or for a while dice that the input has cast.
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) dice: Option<u64>,
}

impl Source<'_> {
    /// The next byte; 0 after the last one.
    pub(super) fn byte(&mut self) -> u8 {
        if let Some(dice) = &mut self.dice {
            // An xorshift generator (Marsaglia 2003).
            *dice ^= *dice << 13;
            *dice ^= *dice >> 7;
            *dice ^= *dice << 17;
            return (*dice >> 24) as u8;
        }
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    pub(super) fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    pub(super) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }
}

pub(super) const OWN: [&str; 3] = ["02:00:00:00:00:02", "02:00:00:00:00:03", "02:00:00:00:00:04"];
const ROUTER: &str = "02:00:00:00:00:0f";
const VIPS: [&str; 5] =
    ["192.168.0.250:80", "192.168.0.250:53", "192.168.0.251:80", "[fd00::fa]:80", "[fd00::fa]:53"];
pub(super) const RIPS: [&str; 8] = [
    "192.168.0.11",
    "192.168.0.12",
    "10.1.0.13",
    "10.2.0.14",
    "10.99.0.15",
    "fd00::11",
    "fd00::12",
    "fd99::13",
];
const CLIENTS: [&str; 6] = [
    "110.0.0.1",
    "110.0.0.2",
    "192.168.0.11",
    "fd00:110::1",
    "fd00:110::2",
    "2001:306:fa1:50:c0a8:fa:6e00:1",
];
pub(super) const VLANS: [VlanPath; 3] =
    [VlanPath::UNTAGGED, VlanPath::tagged(5), VlanPath { outer: 7, inner: 9 }];

/// Services to begin with.
pub(super) fn usual_services() -> Vec<Change> {
    let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
    let mut changes = Vec::new();
    for (protocol, vip, rips) in [
        (tcp, VIPS[0], [RIPS[0], RIPS[3]]),
        (udp, VIPS[1], [RIPS[1], RIPS[2]]),
        (tcp, VIPS[3], [RIPS[5], RIPS[6]]),
    ] {
        let key = key(protocol, socket(vip));
        changes.push(Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin)));
        for rip in rips {
            changes.push(Change::AddDestination(key, DestinationConfig::new(addr(rip), 80)));
        }
    }
    changes
}

fn service_key(source: &mut Source<'_>) -> ServiceKey {
    let vip = socket(source.one_of(&VIPS));
    let protocol = source.one_of(&[
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Udp,
        Protocol::Sctp,
    ]);
    match source.below(12) {
        0 => ServiceKey::Mark { mark: source.below(3).into(), ipv6: vip.is_ipv6() },
        1 => key(protocol, SocketAddr::new(vip.ip(), 0)),
        2 => key(protocol, SocketAddr::new(vip.ip(), 21)),
        _ => key(protocol, vip),
    }
}

/// A service with some of all that it can have; now and then it makes no sense.
fn service(source: &mut Source<'_>) -> ServiceConfig {
    let key = service_key(source);
    let mut config = ServiceConfig::new(key, source.one_of(SchedulerKind::ALL));
    let options = source.byte();
    let flags = [SchedulerFlags::NONE, SchedulerFlags::FALLBACK, SchedulerFlags::PORT, SchedulerFlags::THIRD];
    config.flags = flags[usize::from(options & 3)].with(flags[usize::from(options >> 2 & 3)]);
    if options & 0x10 != 0 || key.port() == 0 && options & 0x80 != 0 {
        let v4 = [ClientMask::V4(u32::MAX), ClientMask::V4(0xffff_ff00), ClientMask::V4(0)];
        let v6 = [ClientMask::V6(128), ClientMask::V6(64), ClientMask::V6(129)];
        let mask = source.one_of(if key.is_ipv6() != (options == 0xff) { &v6 } else { &v4 });
        let timeout = Duration::from_secs(source.one_of(&[360, 360, 60, 5, 1, 0]));
        config.persistence = Some(Persistence { timeout, mask });
    }
    config.one_packet = options & 0xe0 == 0x20;
    config.timeouts = (options & 0xe0 == 0x40).then(|| timeouts(source));
    if options & 0xe0 == 0x60 {
        config.slow_start = Some(Duration::from_secs(u64::from(source.word()) * 2));
    }
    config
}

fn timeouts(source: &mut Source<'_>) -> Timeouts {
    let mut seconds = || Duration::from_secs(u64::from(source.byte()) * 20);
    Timeouts { tcp: seconds(), tcp_fin: seconds(), udp: seconds() }
}

fn server(source: &mut Source<'_>) -> DestinationConfig {
    let weight = source.one_of(&[1, 1, 1, 2, 3, 0, DestinationConfig::MAX_WEIGHT, u32::MAX]);
    let (upper, lower) =
        source.one_of(&[(0, 0), (0, 0), (0, 0), (1, 0), (2, 1), (4, 0), (1, 2), (u32::MAX, 7)]);
    let server = DestinationConfig::new(addr(source.one_of(&RIPS)), source.word());
    server.weight(weight).thresholds(upper, lower)
}

fn mark_rule(source: &mut Source<'_>) -> MarkRule {
    let vip = socket(source.one_of(&VIPS)).ip();
    let whole = if vip.is_ipv4() { 32 } else { 128 };
    let ranges: &[PortRange] = match source.below(3) {
        0 => &[PortRange { first: 80, last: 80 }, PortRange { first: 21, last: 21 }],
        1 => &[PortRange { first: 10_000, last: 20_000 }],
        _ => &[PortRange { first: 0, last: u16::MAX }],
    };
    MarkRule {
        mark: source.below(3).into(),
        protocol: source.one_of(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
        destination: Subnet::new(vip, whole - source.one_of(&[0, 0, 1, 8])).expect("a length that fits"),
        ports: PortRanges::new(ranges).expect("sound ranges"),
    }
}

fn knobs(source: &mut Source<'_>) -> Knobs {
    let (bits, more) = (source.byte(), source.byte());
    Knobs {
        conn_reuse_mode: bits & 3,
        expire_nodest_conn: bits & 4 != 0,
        sloppy_tcp: bits & 8 != 0,
        on_miss: if bits & 16 == 0 { OnMiss::Refuse } else { OnMiss::Hash },
        decrement_ttl: bits & 32 != 0,
        answers_per_second: source.one_of(&[1000, 0, 1, u32::MAX]),
        secure_tcp: bits & 64 != 0,
        drop_entry: bits & 128 != 0,
        sloppy_sctp: more & 1 != 0,
        expire_quiescent_template: more & 2 != 0,
        schedule_icmp: more & 4 != 0,
        drop_packet: more & 8 != 0,
        seeded_start: more & 16 != 0,
        maglev_entries: if more & 128 == 0 { 4093 } else { 251 },
        lblc_expiration: if more & 32 == 0 { 86_400 } else { 10 },
        lblcr_expiration: if more & 64 == 0 { 86_400 } else { 10 },
    }
}

pub(super) fn change(source: &mut Source<'_>) -> Change {
    let kind = source.below(18);
    match kind {
        0..=2 => Change::AddService(service(source)),
        3 => Change::EditService(service(source)),
        4 => Change::RemoveService(service_key(source)),
        5..=8 => Change::AddDestination(service_key(source), server(source)),
        9 => Change::EditDestination(service_key(source), server(source)),
        10 | 11 => {
            let service = service_key(source);
            Change::RemoveDestination { service, address: addr(source.one_of(&RIPS)), port: 80 }
        }
        12 if source.below(4) == 0 => Change::Clear,
        12 => Change::AddDestination(service_key(source), server(source)),
        13 => Change::SetTimeouts(timeouts(source)),
        14 => Change::SetKnobs(knobs(source)),
        15 => {
            let deadline = Duration::from_secs(source.one_of(&[0, 1, 30, 600, 31 * 86_400 + 1]));
            let service = service_key(source);
            Change::DrainDestination { service, address: addr(source.one_of(&RIPS)), port: 80, deadline }
        }
        16 if source.below(8) == 0 => Change::ClearMarkRules,
        16 => Change::AddMarkRule(mark_rule(source)),
        _ => {
            let address = addr(source.one_of(&RIPS));
            let fixed = frames::station(0x200 + u16::from(source.below(2)));
            match source.below(3) {
                0 => Change::SetStaticNeighbour { address, mac: Some(fixed) },
                1 => Change::SetStaticNeighbour { address, mac: None },
                _ => Change::ZeroStatistics(Some(service_key(source))),
            }
        }
    }
}

/// Some frame: of a flow, about one, of a neighbour, or of nobody.
pub(super) fn frame(source: &mut Source<'_>) -> (PortId, Meta, Vec<u8>) {
    let at = usize::from(source.one_of(&[0u8, 0, 0, 0, 1, 2]));
    let vip =
        socket(source.one_of(&[VIPS[0], VIPS[0], VIPS[0], VIPS[1], VIPS[3], VIPS[3], VIPS[2], VIPS[4]]));
    let port = source.one_of(&[vip.port(), vip.port(), vip.port(), vip.port(), 21, 10_000]);
    let vip = SocketAddr::new(vip.ip(), port);
    let mut meta = Meta::default();
    let mut bytes = packet(source, vip, &mut meta);
    if bytes.len() >= 14 {
        let strange = source.byte();
        let to = match strange & 0x1f {
            0 => "ff:ff:ff:ff:ff:ff",
            1 => ROUTER,
            _ => OWN[at],
        };
        let from = if strange >> 5 == 0 && strange & 3 == 3 { OWN[at] } else { ROUTER };
        if bytes[12..14] != [8, 6] {
            bytes[..6].copy_from_slice(&mac(to).0);
        }
        bytes[6..12].copy_from_slice(&mac(from).0);
    }
    let path = VLANS[if source.below(32) == 0 { usize::from(source.below(3)) } else { at }];
    let mut tags: Vec<VlanTag> = path.tags().into_iter().flatten().collect();
    if !tags.is_empty() && source.below(2) == 1 {
        meta.vlan = Some(tags.remove(0));
    }
    let before = bytes.len();
    bytes = tagged(&bytes, &tags);
    if let Some(checksum) = &mut meta.checksum {
        checksum.start += (bytes.len() - before) as u16;
    }
    // Now and then something is wrong.
    for _ in 0..source.one_of(&[0u8, 0, 0, 0, 0, 0, 1, 3]) {
        let place = usize::from(source.word());
        let value = source.byte();
        if let Some(byte) = place.checked_rem(bytes.len()).and_then(|place| bytes.get_mut(place)) {
            *byte = value;
        }
    }
    if source.below(16) == 0 {
        let length = usize::from(source.word()) % (bytes.len() + 1);
        bytes.truncate(length);
    }
    (PortId(at as u16 % 2), meta, bytes)
}

fn packet(source: &mut Source<'_>, vip: SocketAddr, meta: &mut Meta) -> Vec<u8> {
    let kind = source.below(16);
    let families: &[&str] = if vip.is_ipv4() { &CLIENTS[..3] } else { &CLIENTS[3..] };
    let client = SocketAddr::new(addr(source.one_of(families)), 4000 + u16::from(source.byte() & 31));
    let payload = vec![7; usize::from(source.one_of(&[0u16, 0, 0, 1, 200, 1300, 1440, 2100]))];
    let ttl = source.one_of(&[64, 64, 64, 2, 1, 0]);
    match kind {
        0..=7 => {
            let flags = source.one_of(&[2, 2, 2, 16, 16, 24, 17, 1, 4, 20, 18, 3, 6, 0, 0xff]);
            let segment = frames::tcp(client, vip).flags(TcpFlags(flags)).payload(&payload).ttl(ttl);
            if source.below(8) != 0 {
                return segment.build();
            }
            let (bytes, merged) = segment.build_merged(source.one_of(&[100, 1240, 1448, 9000, 0]));
            *meta = merged;
            bytes
        }
        8 => {
            let datagram =
                frames::udp(client, vip).payload(&payload).ttl(ttl).dont_fragment(source.below(2) == 0);
            datagram.build()
        }
        9 => piece(source, client, vip),
        10 => {
            let about = frames::tcp(vip, client).payload(&payload).build();
            let error = source.one_of(&[
                IcmpError::PortUnreachable,
                IcmpError::TooBig { mtu: 1400 },
                IcmpError::TtlExceeded,
            ]);
            let error = frames::icmp_error(client.ip(), vip.ip(), error, &about);
            error.quote(usize::from(source.byte()) * 4).build()
        }
        11 => frames::echo_request(client.ip(), vip.ip(), 1, 2).payload(&payload).ttl(ttl).build(),
        12 | 13 => neighbour_message(source, vip.ip()),
        14 if source.below(4) == 0 => frames::ip(client.ip(), vip.ip(), source.byte(), &payload).build(),
        14 => sctp(source, client, vip),
        _ => (0..source.below(80)).map(|_| source.byte()).collect(),
    }
}

/// A piece of one of few packets, in no order.
fn piece(source: &mut Source<'_>, client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    let which = source.byte();
    let payload = [7; 3000];
    let id = u32::from(which & 3);
    let n = usize::from(which >> 2 & 3);
    let mtu = if which & 0x80 == 0 { 1500 } else { 1300 };
    let mut pieces = if which & 0x40 == 0 {
        frames::udp(client, vip).payload(&payload).id(id).dont_fragment(false).fragments(mtu)
    } else {
        let segment = frames::tcp(client, vip).flags(TcpFlags::SYN).payload(&payload).id(id);
        segment.dont_fragment(false).fragments(mtu)
    };
    let n = n % pieces.len();
    pieces.swap_remove(n)
}

/// An SCTP packet with the head of a chunk.
pub(super) fn sctp(source: &mut Source<'_>, client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    let chunk = source.one_of(&[1, 1, 1, 10, 10, 0, 2, 6, 7, 8, 9, 11, 14, 3, 255]);
    frames::ip(client.ip(), vip.ip(), Protocol::Sctp.number(), &sctp_packet(client, vip, chunk)).build()
}

/// Common header and one chunk (RFC 9260 section 3).
pub(super) fn sctp_packet(client: SocketAddr, vip: SocketAddr, chunk: u8) -> Vec<u8> {
    let mut packet = [client.port().to_be_bytes(), vip.port().to_be_bytes()].concat();
    packet.extend([0, 0, 0, 1, 0, 0, 0, 0, chunk, 0, 0, 4]);
    packet
}

fn neighbour_message(source: &mut Source<'_>, about: IpAddr) -> Vec<u8> {
    let sender = frames::station(0x100 + u16::from(source.below(3)));
    let speaker = addr(source.one_of(&RIPS));
    let kind = source.below(4);
    match (about, speaker) {
        (IpAddr::V4(vip), IpAddr::V4(rip)) => match kind {
            0 => frames::arp_request(sender, rip, vip),
            1 => frames::arp_announcement(sender, rip),
            2 => frames::arp_announcement(sender, vip),
            _ => frames::arp_probe(sender, vip),
        }
        .build(),
        (IpAddr::V6(vip), IpAddr::V6(rip)) => match kind {
            0 => frames::neighbour_solicitation(sender, rip, vip),
            1 => frames::neighbour_advertisement(sender, rip, MacAddr::ZERO, frames::v6("ff02::1")),
            2 => frames::neighbour_advertisement(sender, vip, MacAddr::ZERO, frames::v6("ff02::1")),
            _ => frames::mld_query(sender, rip),
        }
        .build(),
        _ => Vec::new(),
    }
}

/// A frame with tags behind its addresses.
pub(super) fn tagged(bytes: &[u8], tags: &[VlanTag]) -> Vec<u8> {
    let (front, behind) = bytes.split_at(bytes.len().min(12));
    let mut frame = front.to_vec();
    for tag in tags {
        frame.extend(tag.tpid.to_be_bytes());
        frame.extend(tag.tci.to_be_bytes());
    }
    frame.extend(behind);
    frame
}

/// A frame's metadata with everything that a device may claim, true or not.
#[must_use]
pub fn meta_from(bytes: [u8; 8]) -> Meta {
    let [flags, tpid, a, b, c, d, e, f] = bytes;
    let tpid = [0x8100, 0x88a8, 0x9100, 0][usize::from(tpid) % 4];
    let kind = [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::UdpL4, GsoKind::UdpFragments][usize::from(flags >> 6)];
    let word = |a, b| u16::from_be_bytes([a, b]);
    Meta {
        vlan: (flags & 1 != 0).then_some(VlanTag { tpid, tci: word(a, b) }),
        checksum: (flags & 2 != 0).then_some(PartialChecksum { start: word(c, d), offset: word(e, f) }),
        gso: (flags & 4 != 0).then_some(Gso {
            kind,
            size: word(e, f),
            header_length: word(c, d),
            ecn: flags & 16 != 0,
        }),
        checksum_valid: flags & 8 != 0,
    }
}
