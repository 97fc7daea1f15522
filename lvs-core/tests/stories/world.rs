//! A director between a client and real servers that exist only as addresses.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::director::TurnBuffers;
use lvs_core::{Change, Director, DirectorConfig, Event, Instant, InterfaceConfig, MacAddr, PortId};
use lvs_testkit::frames::{self, TcpFlags, addr, mac, socket};
use lvs_testkit::memory::{MemoryIo, StoredFrame};

/// The director's Ethernet address.
pub const DIRECTOR: &str = "02:00:00:00:00:02";
/// The router's, from which clients' packets come.
pub const ROUTER: &str = "02:00:00:00:00:0f";
pub const DIP: &str = "192.168.0.208";
pub const VIP: &str = "192.168.0.250";

/// A director with its in-memory device and a clock that stands still until told.
pub struct World {
    pub director: Director,
    pub io: MemoryIo,
    pub now: Instant,
    buffers: TurnBuffers,
    pub events: Vec<Event>,
}

/// The Ethernet address of the real server with that address: 02:00 and the last four bytes.
pub fn mac_of(rip: IpAddr) -> MacAddr {
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

pub fn config() -> DirectorConfig {
    let mut interface = InterfaceConfig::new(PortId(0), mac(DIRECTOR), "192.168.0.208/24".parse().unwrap());
    interface.addresses.push("fd00::d0/64".parse().unwrap());
    let mut config = DirectorConfig::new(vec![interface], [7; 32]);
    config.max_connections = 4096;
    config
}

impl World {
    pub fn new(config: DirectorConfig) -> Self {
        let ports = config.interfaces.iter().map(|interface| interface.port.0 + 1).max().unwrap();
        Self {
            director: Director::new(config, Instant::ZERO).unwrap(),
            io: MemoryIo::new(ports),
            now: Instant::ZERO,
            buffers: TurnBuffers::new(),
            events: Vec::new(),
        }
    }

    /// A director with one service of round robin and these servers, all of whose Ethernet addresses are known, and all
    /// announcements made.
    pub fn ready(vip: SocketAddr, rips: &[&str]) -> Self {
        let mut world = Self::new(config());
        world.serve(vip, rips);
        for rip in rips {
            world.answer_arp(addr(rip));
        }
        world.pass(Duration::from_secs(5));
        world.io.take_sent();
        world.events.clear();
        world
    }

    pub fn serve(&mut self, vip: SocketAddr, rips: &[&str]) {
        let key = ServiceKey::tcp(vip.ip(), vip.port());
        let mut changes = vec![Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin))];
        for rip in rips {
            changes.push(Change::AddDestination(key, DestinationConfig::new(addr(rip), vip.port())));
        }
        self.director.apply(self.now, &changes).unwrap();
        self.turn();
    }

    /// A real server tells its Ethernet address.
    pub fn answer_arp(&mut self, rip: IpAddr) {
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
        self.io.inject(PortId(0), &frame);
        self.turn();
    }

    /// Takes in everything that waits, does what is due and sends.
    pub fn turn(&mut self) {
        let now = Cell::new(self.now);
        while self.director.turn(&mut self.io, &mut self.buffers, || now.get()).unwrap() > 0 {}
        while let Some(event) = self.director.poll_event() {
            self.events.push(event);
        }
    }

    /// Lets time pass, from deadline to deadline.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..100_000 {
            self.turn();
            match self.director.poll_timeout() {
                Some(due) if due <= end => self.now = self.now.max(due),
                _ => {
                    self.now = end;
                    self.turn();
                    return;
                }
            }
        }
        panic!("the director is never idle: due {:?} at {:?}", self.director.poll_timeout(), self.now);
    }

    /// Sends a frame in and answers what comes out at once.
    pub fn send(&mut self, frame: &[u8]) -> Vec<StoredFrame> {
        self.io.inject(PortId(0), frame);
        self.turn();
        self.io.take_sent()
    }

    /// Sends a TCP segment from a client and answers what comes out.
    pub fn tcp(&mut self, client: &str, vip: &str, flags: &str) -> Vec<StoredFrame> {
        let frame = segment(client, vip, flags);
        self.send(&frame)
    }

    /// The last byte of the server's address to which a segment goes; `None` if nothing is forwarded.
    pub fn chosen(&mut self, client: &str, vip: &str, flags: &str) -> Option<u8> {
        let out = self.tcp(client, vip, flags);
        out.iter().find(|frame| frame.bytes[..4] == [2, 0, 192, 168]).map(|frame| frame.bytes[5])
    }
}

/// A TCP segment from the router to the director; `flags` as in `"SA"`.
pub fn segment(client: &str, vip: &str, flags: &str) -> Vec<u8> {
    let bit = |letter| match letter {
        'F' => TcpFlags::FIN,
        'S' => TcpFlags::SYN,
        'R' => TcpFlags::RST,
        _ => TcpFlags::ACK,
    };
    let flags = flags.chars().map(bit).fold(TcpFlags::NONE, |all, one| all | one);
    frames::tcp(socket(client), socket(vip)).flags(flags).macs(mac(ROUTER), mac(DIRECTOR)).build()
}
