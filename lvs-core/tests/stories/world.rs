//! A director between a client and real servers that exist only as addresses.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs_core::config::{DestinationConfig, Knobs, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::connection::ConnectionRecord;
use lvs_core::director::TurnBuffers;
use lvs_core::io::Meta;
use lvs_core::{Change, Director, DirectorConfig, Event, Instant, InterfaceConfig, MacAddr, PortId};
use lvs_testkit::frames::{self, Summary, TcpFlags, addr, mac, socket};
use lvs_testkit::memory::{MemoryIo, StoredFrame};

/// The director's Ethernet address.
pub(crate) const DIRECTOR: &str = "02:00:00:00:00:02";
/// The router's, from which clients' packets come.
pub(crate) const ROUTER: &str = "02:00:00:00:00:0f";
pub(crate) const DIP: &str = "192.168.0.208";
pub(crate) const VIP: &str = "192.168.0.250:80";
pub(crate) const VIP6: &str = "[fd00::fa]:80";
/// A client behind the router.
pub(crate) const CLIENT: &str = "110.0.0.1:4000";
pub(crate) const CLIENT6: &str = "[fd00:110::1]:4000";
pub(crate) const FIRST: &str = "192.168.0.111";
pub(crate) const SECOND: &str = "192.168.0.188";

/// A director with its in-memory device and a clock that stands still until told.
pub(crate) struct World {
    pub(crate) director: Director,
    pub(crate) io: MemoryIo,
    pub(crate) now: Instant,
    buffers: TurnBuffers,
    pub(crate) events: Vec<Event>,
    /// Stations that answer when they are asked for their Ethernet address.
    pub(crate) stations: BTreeMap<IpAddr, MacAddr>,
    sent: Vec<StoredFrame>,
    injected: u64,
}

/// The Ethernet address of the real server with that address: 02:00 (IPv6: 02:06) and the last four bytes.
pub(crate) fn mac_of(rip: IpAddr) -> MacAddr {
    match rip {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            MacAddr([2, 0, a, b, c, d])
        }
        IpAddr::V6(address) => {
            let o = address.octets();
            MacAddr([2, 6, o[12], o[13], o[14], o[15]])
        }
    }
}

pub(crate) fn config() -> DirectorConfig {
    let mut interface = InterfaceConfig::new(PortId(0), mac(DIRECTOR), "192.168.0.208/24".parse().unwrap());
    interface.addresses.push("fd00::d0/64".parse().unwrap());
    let mut config = DirectorConfig::new(vec![interface], [7; 32]);
    (config.max_connections, config.max_templates) = (4096, 1024);
    config
}

/// The key of a TCP service.
pub(crate) fn key(vip: &str) -> ServiceKey {
    ServiceKey::tcp(socket(vip).ip(), socket(vip).port())
}

/// The key of a UDP service.
pub(crate) fn udp_key(vip: &str) -> ServiceKey {
    ServiceKey::udp(socket(vip).ip(), socket(vip).port())
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A service of round robin with these servers.
pub(crate) fn service(key: ServiceKey, rips: &[&str]) -> Vec<Change> {
    let ServiceKey::Address { port, .. } = key else { unreachable!() };
    let mut changes = vec![Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin))];
    for rip in rips {
        changes.push(Change::AddDestination(key, DestinationConfig::new(addr(rip), port)));
    }
    changes
}

pub(crate) fn remove(key: ServiceKey, rip: &str) -> Change {
    let ServiceKey::Address { port, .. } = key else { unreachable!() };
    Change::RemoveDestination { service: key, address: addr(rip), port }
}

pub(crate) fn add(key: ServiceKey, rip: &str, weight: u32) -> Change {
    Change::AddDestination(key, DestinationConfig::new(addr(rip), 0).weight(weight))
}

pub(crate) fn reweigh(key: ServiceKey, rip: &str, weight: u32) -> Change {
    Change::EditDestination(key, DestinationConfig::new(addr(rip), 0).weight(weight))
}

impl World {
    pub(crate) fn new(config: DirectorConfig) -> Self {
        let ports = config.interfaces.iter().map(|interface| interface.port.0 + 1).max().unwrap();
        Self {
            director: Director::new(config, Instant::ZERO).unwrap(),
            io: MemoryIo::new(ports),
            now: Instant::ZERO,
            buffers: TurnBuffers::new(),
            events: Vec::new(),
            stations: BTreeMap::new(),
            sent: Vec::new(),
            injected: 0,
        }
    }

    /// A director with one service of round robin and these servers, all of which answer, and all announcements
    /// made.
    pub(crate) fn ready(vip: SocketAddr, rips: &[&str]) -> Self {
        Self::ready_with(config(), ServiceKey::tcp(vip.ip(), vip.port()), rips)
    }

    pub(crate) fn ready_with(config: DirectorConfig, key: ServiceKey, rips: &[&str]) -> Self {
        let mut world = Self::new(config);
        world.live(rips);
        world.apply(&service(key, rips));
        world.pass(seconds(5));
        world.take_sent();
        world.events.clear();
        world
    }

    /// The same with some knobs turned.
    pub(crate) fn ready_knobs(rips: &[&str], turn: impl FnOnce(&mut Knobs)) -> Self {
        let mut config = config();
        turn(&mut config.knobs);
        Self::ready_with(config, key(VIP), rips)
    }

    /// These answer from now on.
    pub(crate) fn live(&mut self, rips: &[&str]) {
        for rip in rips {
            self.stations.insert(addr(rip), mac_of(addr(rip)));
        }
    }

    /// This one does not answer any more.
    pub(crate) fn die(&mut self, rip: &str) {
        assert!(self.stations.remove(&addr(rip)).is_some(), "{rip} was dead already");
    }

    pub(crate) fn serve(&mut self, vip: SocketAddr, rips: &[&str]) {
        self.apply(&service(ServiceKey::tcp(vip.ip(), vip.port()), rips));
    }

    pub(crate) fn apply(&mut self, changes: &[Change]) {
        self.director.apply(self.now, changes).unwrap();
        self.turn();
    }

    pub(crate) fn set_knobs(&mut self, turn: impl FnOnce(&mut Knobs)) {
        let mut knobs = *self.director.knobs();
        turn(&mut knobs);
        self.apply(&[Change::SetKnobs(knobs)]);
    }

    /// A real server tells its Ethernet address, asked or not.
    pub(crate) fn answer_arp(&mut self, rip: IpAddr) {
        let frame = match rip {
            IpAddr::V4(rip4) => {
                let IpAddr::V4(dip) = addr(DIP) else { unreachable!() };
                frames::arp_reply(mac_of(rip), rip4, mac(DIRECTOR), dip).build()
            }
            IpAddr::V6(rip6) => {
                frames::neighbour_advertisement(mac_of(rip), rip6, mac(DIRECTOR), frames::v6("fd00::d0"))
                    .build()
            }
        };
        self.inject(PortId(0), Meta::default(), &frame);
        self.turn();
    }

    pub(crate) fn inject(&mut self, port: PortId, meta: Meta, bytes: &[u8]) {
        assert!(self.io.inject_with_meta(port, meta, bytes));
        self.injected += 1;
    }

    /// Takes in everything that waits, does what is due and sends, until nobody has anything to say.
    pub(crate) fn turn(&mut self) {
        for _ in 0..100 {
            let now = Cell::new(self.now);
            while self.director.turn(&mut self.io, &mut self.buffers, || now.get()).unwrap() > 0 {}
            while let Some(event) = self.director.poll_event() {
                self.events.push(event);
            }
            let sent = self.io.take_sent();
            let answers: Vec<StoredFrame> = sent.iter().filter_map(|frame| self.answer_to(frame)).collect();
            sent.iter().for_each(check_sender);
            self.sent.extend(sent);
            if answers.is_empty() {
                let statistics = self.director.statistics();
                assert_eq!(statistics.frames(), self.injected, "each frame is counted once: {statistics:?}");
                return;
            }
            for answer in answers {
                self.inject(answer.port, answer.meta, &answer.bytes);
            }
        }
        panic!("the director and the stations talk without end");
    }

    /// What the station that is asked answers.
    fn answer_to(&self, frame: &StoredFrame) -> Option<StoredFrame> {
        let asked = Summary::of(&frame.bytes)?;
        let tagged = |mut bytes: Vec<u8>| {
            for (n, tag) in asked.tags.iter().enumerate() {
                let [a, b] = tag.tpid.to_be_bytes();
                let [c, d] = tag.tci.to_be_bytes();
                bytes.splice(12 + 4 * n..12 + 4 * n, [a, b, c, d]);
            }
            Some(StoredFrame { port: frame.port, meta: frame.meta, bytes })
        };
        if let Some(arp) = asked.arp.filter(|arp| arp.operation == 1 && arp.sender != arp.target) {
            let (IpAddr::V4(target), IpAddr::V4(sender)) = (arp.target, arp.sender) else { return None };
            let mac = *self.stations.get(&arp.target)?;
            return tagged(frames::arp_reply(mac, target, asked.source_mac, sender).build());
        }
        let ip = asked.ip.filter(|ip| ip.icmp == Some((135, 0)))?;
        let (Some(IpAddr::V6(target)), IpAddr::V6(source)) = (ip.neighbour_target, ip.source) else {
            return None;
        };
        let mac = *self.stations.get(&IpAddr::V6(target))?;
        tagged(frames::neighbour_advertisement(mac, target, asked.source_mac, source).build())
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut standing = 0;
        loop {
            self.turn();
            match self.director.poll_timeout() {
                Some(due) if due <= end => {
                    standing = if due <= self.now { standing + 1 } else { 0 };
                    assert!(standing < 100, "the director spins: due {due:?} at {:?}", self.now);
                    self.now = self.now.max(due);
                }
                _ => {
                    self.now = end;
                    self.turn();
                    return;
                }
            }
        }
    }

    /// Everything that left since this was last called.
    pub(crate) fn take_sent(&mut self) -> Vec<StoredFrame> {
        std::mem::take(&mut self.sent)
    }

    /// Sends a frame in and answers what comes out at once.
    pub(crate) fn send(&mut self, frame: &[u8]) -> Vec<StoredFrame> {
        self.send_by(PortId(0), Meta::default(), frame)
    }

    pub(crate) fn send_by(&mut self, port: PortId, meta: Meta, frame: &[u8]) -> Vec<StoredFrame> {
        self.sent.clear();
        self.inject(port, meta, frame);
        self.turn();
        self.take_sent()
    }

    /// Sends a TCP segment from a client and answers what comes out.
    pub(crate) fn tcp(&mut self, client: &str, vip: &str, flags: &str) -> Vec<StoredFrame> {
        let frame = segment(client, vip, flags);
        self.send(&frame)
    }

    /// The last byte of the server's address to which a segment goes; `None` if nothing is forwarded.
    pub(crate) fn chosen(&mut self, client: &str, vip: &str, flags: &str) -> Option<u8> {
        let out = self.tcp(client, vip, flags);
        out.iter().find_map(server_of)
    }

    /// The same for a datagram.
    pub(crate) fn chosen_udp(&mut self, client: &str, vip: &str) -> Option<u8> {
        let frame = datagram(client, vip);
        let out = self.send(&frame);
        out.iter().find_map(server_of)
    }

    /// Active and inactive connections of all servers of a service.
    pub(crate) fn counts(&self, key: ServiceKey) -> (u32, u32) {
        let service = self.director.service(key).unwrap();
        service.destinations.iter().fold((0, 0), |(a, i), d| (a + d.active, i + d.inactive))
    }

    /// The connection of a client.
    pub(crate) fn record(&self, client: &str) -> Option<ConnectionRecord> {
        self.director.all_connections(self.now).into_iter().find(|record| record.client == socket(client))
    }

    /// How many events there were of this kind; they are forgotten.
    pub(crate) fn count_events(&mut self, is_it: impl Fn(&Event) -> bool) -> usize {
        let before = self.events.len();
        self.events.retain(|event| !is_it(event));
        before - self.events.len()
    }
}

/// No question and no announcement but its own may carry a VIP as ARP sender.
fn check_sender(frame: &StoredFrame) {
    let Some(arp) = Summary::of(&frame.bytes).and_then(|summary| summary.arp) else { return };
    if arp.operation == 1 {
        let own = arp.sender == arp.target || !arp.sender.to_string().ends_with(".250");
        assert!(own, "a VIP asks for {}", arp.target);
    }
}

/// The last byte of the address of the server to which a frame goes.
pub(crate) fn server_of(frame: &StoredFrame) -> Option<u8> {
    let to = frame.bytes.first_chunk::<6>()?;
    let is_ip = Summary::of(&frame.bytes)?.ip.is_some_and(|ip| ip.neighbour_target.is_none());
    (is_ip && to[0] == 2 && (to[1] == 6 || to[2] != 0)).then_some(to[5])
}

/// TCP flags as in `"SA"`; none for an empty text.
pub(crate) fn flags(letters: &str) -> TcpFlags {
    let bit = |letter| match letter {
        'F' => TcpFlags::FIN,
        'S' => TcpFlags::SYN,
        'R' => TcpFlags::RST,
        'P' => TcpFlags::PSH,
        'A' => TcpFlags::ACK,
        other => panic!("no TCP flag {other}"),
    };
    letters.chars().map(bit).fold(TcpFlags::NONE, |all, one| all | one)
}

/// A TCP segment from the router to the director; `letters` as in `"SA"`.
pub(crate) fn segment(client: &str, vip: &str, letters: &str) -> Vec<u8> {
    frames::tcp(socket(client), socket(vip)).flags(flags(letters)).macs(mac(ROUTER), mac(DIRECTOR)).build()
}

/// A datagram from the router to the director.
pub(crate) fn datagram(client: &str, vip: &str) -> Vec<u8> {
    frames::udp(socket(client), socket(vip)).payload(b"hello").macs(mac(ROUTER), mac(DIRECTOR)).build()
}

/// The packet in a frame, as far as its header says.
pub(crate) fn summary(frame: &StoredFrame) -> frames::IpSummary {
    Summary::of(&frame.bytes).unwrap().ip.unwrap()
}
