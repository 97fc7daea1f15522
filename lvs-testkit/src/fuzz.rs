//! Bodies of the fuzz targets: bytes are read as a history, and what must always hold is asserted after each step.
//!
//! ```text
//!   bytes ─► edits, frames, clock steps ─┬─► director A, frames in batches ──┐
//!                                        └─► director B, frames one by one ──┴─► the same, always
//! ```
//! Property tests and the replay of committed corpora use the same bodies, so that a crash that was found once stays
//! found. Any bytes are a valid history; what they mean may change from release to release. Nothing here looks at
//! how fast anything is, and nothing reads a clock or a random number.

mod capture;
mod input;
mod model;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use lvs_core::classify::{self, PacketKind};
use lvs_core::config::{Protocol, ServiceKey};
use lvs_core::connection::ConnectionRecord;
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::io::{Frame, Meta, VlanTag};
use lvs_core::listing::{DestinationListing, ServiceListing};
use lvs_core::{Change, Director, DirectorConfig, Instant, InterfaceConfig, PortId, Verdict};

pub use capture::pcap;
pub use input::meta_from;
use input::{OWN, RIPS, Source, VLANS, change, frame, tagged, usual_services};
pub use model::model;

use crate::frames::{self, Summary, addr, mac};

/// Reads bytes as a frame and asserts that classification stays within it, and agrees with the parser of the
/// test kit wherever both find a TCP or UDP flow.
///
/// # Panics
/// If it does not.
pub fn classify(bytes: &[u8]) {
    let Some((first, frame)) = bytes.split_first() else { return };
    let mut frame = frame.to_vec();
    if first & 2 != 0 {
        repair_ipv4_checksum(&mut frame);
    }
    let frame = &frame[..];
    let vlan = (first & 1 != 0).then_some(VlanTag { tpid: 0x8100, tci: u16::from(*first) });
    let meta = Meta { vlan, ..Meta::default() };
    let workers = NonZeroU16::new(u16::from(*first).max(1)).expect("at least 1");
    assert!(classify::owner(frame, &meta, workers) < workers.get());
    let Ok(packet) = classify::classify(frame, &meta) else { return };
    let (network, transport, end) =
        (usize::from(packet.network), usize::from(packet.transport), packet.end as usize);
    assert!(network <= end && end <= frame.len(), "{packet:?}");
    let header = match packet.kind {
        PacketKind::Tcp => 20,
        PacketKind::Udp => 8,
        _ => 0,
    };
    if transport > 0 {
        assert!(network + 20 <= transport && transport + header <= end, "{packet:?}");
    }
    assert_eq!(packet.ip_len() as usize, end - network);
    if header == 0 {
        return;
    }
    let ip = Summary::of(frame).and_then(|summary| summary.ip).expect("an IP packet");
    let sockets = (packet.flow.client(), packet.flow.virtual_socket());
    assert_eq!((ip.source, ip.destination), (sockets.0.ip(), sockets.1.ip()));
    if let Some(ports) = ip.ports.filter(|_| ip.protocol == packet.flow.protocol()) {
        assert_eq!(ports, (sockets.0.port(), sockets.1.port()));
    }
}

/// Makes the checksum of an IPv4 header right: no fuzzer guesses it.
fn repair_ipv4_checksum(frame: &mut [u8]) {
    let network =
        Summary::of(frame).filter(|summary| summary.ether_type == frames::IPV4).map(|s| s.network_offset);
    let Some(packet) = network.and_then(|network| frame.get_mut(network..)) else { return };
    let words = packet.first().map_or(0, |first| usize::from(first & 15));
    if let Some(header) = packet.get_mut(..words.max(5) * 4) {
        header[10..12].fill(0);
        let sum = frames::checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Reads bytes as a history of two directors, one of which gets the frames in batches and the other one by one, and
/// asserts after each step all that must hold.
///
/// # Panics
/// If something does not.
pub fn director(bytes: &[u8]) {
    let mut source = Source { bytes, dice: None };
    let mut history = History::new(source.byte());
    while !source.bytes.is_empty() {
        match source.byte() % 8 {
            0 => history.edit(&mut source),
            1..=4 => history.frames(&mut source),
            5 => history.answers(&mut source),
            6 => history.pass(&mut source),
            _ => history.other(&mut source),
        }
        history.check();
    }
    history.come_to_rest();
}

struct History {
    batched: Director,
    single: Director,
    now: Instant,
    given: u64,
    announced: Vec<IpAddr>,
    /// Whether real servers answer when they are asked for their Ethernet address.
    alive: bool,
    /// Whether a server was removed: its connections may still be there.
    removed: bool,
}

fn config(first: u8) -> DirectorConfig {
    let interface = |n: usize, subnets: [&str; 2]| {
        let mut interface =
            InterfaceConfig::new(PortId(n as u16 % 2), mac(OWN[n]), subnets[0].parse().expect("a subnet"));
        interface.addresses.push(subnets[1].parse().expect("a subnet"));
        interface.vlan = VLANS[n];
        interface.owns_addresses = first & 1 != 0;
        interface
    };
    let mut interfaces = vec![
        interface(0, ["192.168.0.208/24", "fd00::d0/64"]),
        interface(1, ["10.1.0.1/24", "fd01::d0/64"]),
        interface(2, ["10.2.0.1/24", "fe80::d0/64"]),
    ];
    if first & 2 != 0 {
        interfaces[0].gateways = vec![addr("192.168.0.15"), addr("fd00::15")];
    }
    interfaces[1].mtu = 1280;
    let mut config = DirectorConfig::new(interfaces, [first | 1; 32]);
    (config.max_connections, config.max_templates) = (64, 64);
    (config.max_fragmented, config.max_mark_rules) = (16, 4);
    config.max_services = 4;
    config.max_destinations = 6;
    config.pool_buffers = 8;
    config.local_addresses = vec![addr("192.168.0.249")];
    config
}

impl History {
    fn new(first: u8) -> Self {
        let director = || Director::new(config(first), Instant::ZERO).expect("a valid configuration");
        let (batched, single) = (director(), director());
        let announced = ["192.168.0.249", "192.168.0.250", "192.168.0.251"].map(addr).to_vec();
        let mut history = Self {
            batched,
            single,
            now: Instant::ZERO,
            given: 0,
            announced,
            alive: first & 4 == 0,
            removed: false,
        };
        if first & 8 == 0 {
            let changes = usual_services();
            history.both(|director| director.apply(Instant::ZERO, &changes)).expect("changes that fit");
            history.serve_timers();
        }
        history
    }

    /// Does the same with both directors and compares the answers.
    fn both<R: PartialEq + std::fmt::Debug>(&mut self, mut act: impl FnMut(&mut Director) -> R) -> R {
        let (one, other) = (act(&mut self.batched), act(&mut self.single));
        assert_eq!(one, other);
        one
    }

    fn edit(&mut self, source: &mut Source<'_>) {
        let changes: Vec<Change> = (0..=source.below(4)).map(|_| change(source)).collect();
        let before = snapshot(&self.batched, self.now);
        let now = self.now;
        if self.both(|director| director.apply(now, &changes)).is_err() {
            assert_eq!(snapshot(&self.batched, self.now), before, "a refused list changed something");
            return;
        }
        let removes = |change: &Change| {
            matches!(change, Change::RemoveService(_) | Change::RemoveDestination { .. } | Change::Clear)
        };
        self.removed |= changes.iter().any(removes);
    }

    fn frames(&mut self, source: &mut Source<'_>) {
        let many = source.byte();
        let count = if many & 0xc0 == 0 { usize::from(many & 63) + 1 } else { usize::from(many & 3) + 1 };
        if count > 4 {
            source.dice = Some(u64::from(source.word()) | 1 << 40);
        }
        let made: Vec<(PortId, Meta, Vec<u8>)> = (0..count).map(|_| frame(source)).collect();
        source.dice = None;
        self.handle(&made);
    }

    /// Lets both directors have the frames and compares verdicts and what became of the frames.
    fn handle(&mut self, made: &[(PortId, Meta, Vec<u8>)]) {
        const ROOM: usize = 16;
        let room = |bytes: &Vec<u8>| [&[0xee; ROOM][..], bytes, &[0xee; ROOM]].concat();
        let mut buffers: [Vec<Vec<u8>>; 2] =
            [(); 2].map(|()| made.iter().map(|(_, _, bytes)| room(bytes)).collect());
        let [first, second] = &mut buffers;
        let frame = |buffer, (port, meta, bytes): &(PortId, Meta, Vec<u8>)| {
            Frame::within(buffer, ROOM, bytes.len(), *port, *meta).expect("the buffer was made for it")
        };
        let mut batch: Vec<Frame<'_>> = first.iter_mut().zip(made).map(|(b, m)| frame(b, m)).collect();
        let verdicts = self.batched.handle_batch(self.now, &mut batch);
        assert_eq!(verdicts.len(), made.len());
        for (((before, buffer), verdict), in_batch) in made.iter().zip(second).zip(verdicts).zip(&batch) {
            let mut alone = frame(buffer, before);
            assert_eq!(self.single.handle_frame(self.now, &mut alone), verdict);
            assert_eq!((alone.bytes(), alone.meta()), (in_batch.bytes(), in_batch.meta()));
            if let Verdict::Transmit(port) = verdict {
                let decremented = self.batched.knobs().decrement_ttl;
                check_transmitted(before, port, in_batch, decremented);
            }
        }
        self.given += made.len() as u64;
    }

    /// A real server tells its Ethernet address.
    fn answers(&mut self, source: &mut Source<'_>) {
        let rip = addr(source.one_of(&RIPS));
        let station = frames::station(0x100 + u16::from(source.below(3)));
        let interface = self.batched.interfaces()[usize::from(source.below(3))].clone();
        let dip = |v4: bool| interface.addresses.iter().map(|s| s.address()).find(|a| a.is_ipv4() == v4);
        let bytes = match (rip, dip(rip.is_ipv4())) {
            (IpAddr::V4(rip), Some(IpAddr::V4(dip))) => {
                frames::arp_reply(station, rip, interface.mac, dip).build()
            }
            (IpAddr::V6(rip), Some(IpAddr::V6(dip))) => {
                frames::neighbour_advertisement(station, rip, interface.mac, dip).build()
            }
            _ => return,
        };
        let tags: Vec<VlanTag> = interface.vlan.tags().into_iter().flatten().collect();
        self.handle(&[(interface.port, Meta::default(), tagged(&bytes, &tags))]);
    }

    fn pass(&mut self, source: &mut Source<'_>) {
        let millis = u64::from(source.byte()) * source.one_of(&[1, 1, 20, 200, 1000, 10_000]);
        self.now = self.now + Duration::from_millis(millis);
        self.serve_timers();
    }

    /// Does all that is due, and asserts that nothing is left to do afterwards.
    fn serve_timers(&mut self) {
        let now = self.now;
        // A call does a bounded amount of work: a few of them have to be enough for the little that a history makes.
        for _ in 0..16 {
            self.both(|director| director.handle_timeout(now));
            self.drain();
            let due = self.both(|director| director.poll_timeout());
            if due.is_none_or(|due| due > now) {
                return;
            }
        }
        panic!("something is always due at {now:?}");
    }

    fn drain(&mut self) {
        let now = self.now;
        for _ in 0..10_000 {
            let sent = self.both(|director| {
                let mut buffer = [0; TRANSMIT_BUFFER];
                let outgoing = director.poll_transmit(now, &mut buffer)?;
                Some((outgoing.port, outgoing.meta, buffer[..outgoing.len].to_vec()))
            });
            let Some((port, meta, bytes)) = sent else {
                while self.both(Director::poll_event).is_some() {}
                return;
            };
            self.check_sent(port, &meta, &bytes);
            if let Some(answer) = self.answer_to(port, meta, &bytes) {
                self.handle(&[answer]);
            }
        }
        panic!("the director never stops sending");
    }

    /// What a real server answers that is asked for its Ethernet address.
    fn answer_to(&self, port: PortId, meta: Meta, bytes: &[u8]) -> Option<(PortId, Meta, Vec<u8>)> {
        let asked = Summary::of(bytes).filter(|_| self.alive)?;
        let station = |target: IpAddr| {
            let n = RIPS.iter().position(|rip| addr(rip) == target)?;
            Some(frames::station(0x100 + n as u16))
        };
        let answer = match (asked.arp, asked.ip) {
            (Some(arp), _) => {
                let (IpAddr::V4(target), IpAddr::V4(sender)) = (arp.target, arp.sender) else { return None };
                frames::arp_reply(station(arp.target)?, target, asked.source_mac, sender).build()
            }
            (_, Some(ip)) => {
                let (Some(IpAddr::V6(target)), IpAddr::V6(source)) = (ip.neighbour_target, ip.source) else {
                    return None;
                };
                let station = station(target.into())?;
                frames::neighbour_advertisement(station, target, asked.source_mac, source).build()
            }
            _ => return None,
        };
        Some((port, meta, tagged(&answer, &asked.tags)))
    }

    fn check_sent(&self, port: PortId, meta: &Meta, bytes: &[u8]) {
        let summary = Summary::of(bytes).expect("an Ethernet frame");
        let tags: Vec<VlanTag> = meta.vlan.into_iter().chain(summary.tags.iter().copied()).collect();
        let own = self.batched.interfaces().iter().find(|interface| interface.mac == summary.source_mac);
        let own = own.expect("sent from an interface's address");
        assert_eq!(own.port, port);
        let ids =
            |tags: &[VlanTag]| tags.iter().map(|tag| tag.id()).filter(|id| *id != 0).collect::<Vec<_>>();
        assert_eq!(ids(&tags), ids(&own.vlan.tags().into_iter().flatten().collect::<Vec<_>>()));
        if let Some(arp) = summary.arp.filter(|arp| arp.operation == 1) {
            let honest = arp.sender == arp.target || !self.announced.contains(&arp.sender);
            assert!(honest, "{} asks for {}", arp.sender, arp.target);
        }
    }

    /// Links, and connections that are read and written.
    fn other(&mut self, source: &mut Source<'_>) {
        let now = self.now;
        match source.below(8) {
            0 => self.alive = !self.alive,
            3 => self.both(|director| director.handle_link(now, PortId(0), false)),
            1 => self.both(|director| director.handle_link(now, PortId(0), true)),
            2 => {
                let up = source.below(2) == 1;
                self.both(|director| director.handle_link(now, PortId(1), up));
            }
            _ => {
                let records = self.both(|director| director.all_connections(now));
                let Some(record) = records.get(usize::from(source.byte()) % records.len().max(1)) else {
                    return;
                };
                let port = source.word();
                let client = SocketAddr::new(record.client.ip(), port);
                let expires_in = Duration::from_secs(source.byte().into());
                let record = ConnectionRecord { client, expires_in, ..*record };
                // It may be refused; both must say the same.
                let _ = self.both(|director| director.restore(now, &record));
            }
        }
    }

    /// What holds at any time.
    fn check(&mut self) {
        let now = self.now;
        for director in [&self.batched, &self.single] {
            assert_eq!(director.statistics().frames(), self.given, "each frame is counted once");
        }
        let records = self.both(|director| director.all_connections(now));
        let usage = self.both(|director| director.connection_usage());
        let connections = || records.iter().filter(|record| !record.template);
        let lines: u32 = connections().map(|record| if record.client.is_ipv4() { 1 } else { 2 }).sum();
        assert_eq!((usage.connections as usize, usage.used), (connections().count(), lines));
        assert!(usage.used <= usage.capacity);
        assert_eq!(snapshot(&self.batched, now), snapshot(&self.single, now));
        for record in &records {
            assert!(record.expires_in <= record.timeout, "{record:?}");
        }
        let mut flows: Vec<_> =
            connections().map(|one| (one.protocol, one.client, one.virtual_address)).collect();
        flows.sort_unstable();
        assert!(flows.is_sorted_by(|a, b| a < b), "a flow has two connections");
        self.check_counts(&records);
    }

    /// What servers count is what there is. A record does not say which service it belongs to: a server's services are
    /// taken together, and while connections of removed servers may be left there may be more of them.
    fn check_counts(&self, records: &[ConnectionRecord]) {
        let mut counted: BTreeMap<IpAddr, [u32; 3]> = BTreeMap::new();
        for server in self.batched.services().iter().flat_map(|service| &service.destinations) {
            let counts = counted.entry(server.config.address).or_default();
            for (count, more) in counts.iter_mut().zip([server.active, server.inactive, server.persistent]) {
                *count += more;
            }
        }
        let mut there: BTreeMap<IpAddr, [u32; 3]> = BTreeMap::new();
        for record in records {
            let kind = if record.template { 2 } else { usize::from(!record.state.is_active()) };
            there.entry(record.destination.ip()).or_default()[kind] += 1;
        }
        for (rip, counts) in &counted {
            let there = there.remove(rip).unwrap_or_default();
            let right =
                if self.removed { counts.iter().zip(&there).all(|(a, b)| a <= b) } else { *counts == there };
            assert!(right, "{rip} counts {counts:?}, there are {there:?}");
        }
        assert!(self.removed || there.is_empty(), "connections without a server: {there:?}");
    }

    /// In the end all connections expire, and every frame that was put aside has left or was given up.
    fn come_to_rest(&mut self) {
        for _ in 0..2 {
            self.now = self.now + Duration::from_secs(40 * 86_400);
            self.serve_timers();
        }
        self.check();
        assert_eq!(self.batched.all_connections(self.now), []);
        let statistics = self.batched.statistics();
        assert_eq!(statistics.held, statistics.released + statistics.given_up);
        for service in self.batched.services() {
            let is_idle = |one: &DestinationListing| one.active + one.inactive + one.persistent == 0;
            assert!(service.destinations.iter().all(is_idle));
        }
    }
}

fn key(protocol: Protocol, vip: SocketAddr) -> ServiceKey {
    ServiceKey::Address { protocol, address: vip.ip(), port: vip.port() }
}

/// All that can be seen of a director.
fn snapshot(director: &Director, now: Instant) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut services: Vec<ServiceListing> = director.services();
    services.sort_by_key(|service| service.config.key);
    let configuration = (services, *director.knobs(), *director.timeouts());
    (configuration, director.all_connections(now), director.statistics(), director.poll_timeout())
}

/// What is transmitted is either the packet that came in, or an answer to a question written over it.
fn check_transmitted(before: &(PortId, Meta, Vec<u8>), port: PortId, after: &Frame<'_>, decremented: bool) {
    let (came_by, _, before) = before;
    let summary = |bytes| Summary::of(bytes).expect("a whole Ethernet header");
    let (was, is) = (summary(before), summary(after.bytes()));
    assert!(OWN.iter().any(|own| mac(own) == is.source_mac), "{is:?}");
    assert_eq!(was.ether_type, is.ether_type);
    let (old, new) = (&before[was.network_offset..], &after.bytes()[is.network_offset..]);
    assert_eq!(old.len(), new.len());
    if let Some(arp) = is.arp {
        assert_eq!((arp.operation, port), (2, *came_by));
        return;
    }
    let may_differ = |at: usize| {
        decremented && if was.ether_type == frames::IPV4 { matches!(at, 8 | 10 | 11) } else { at == 7 }
    };
    let forwarded = (0..old.len()).all(|at| old[at] == new[at] || may_differ(at));
    let question = was.ip.and_then(|ip| ip.icmp).is_some_and(|icmp| matches!(icmp, (8 | 128 | 135, 0)));
    assert!(forwarded || (question && port == *came_by), "something else changed");
    assert!(!forwarded || is.destination_mac != is.source_mac);
}
