//! A monitor and its probes against a real director and a scripted real server, in virtual time.

use std::time::Duration;

use lvs_core::config::{Change, DestinationConfig, ProbeConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::director::{PROBE_BUFFER, TRANSMIT_BUFFER};
use lvs_core::{Director, DirectorConfig, Frame, Instant, InterfaceConfig, PortId};
use lvs_health::config::{
    CheckConfig, MonitorConfig, PathMethod, PathProbe, Probe, ServerHealth, ServiceHealth,
};
use lvs_health::path::{PathConfig, PathProber, Route};
use lvs_health::{Monitor, ProbeOrder};
use lvs_testkit::frames::{self, Summary, TcpFlags, addr, mac, socket, station, tcp, v4};

const OWN: &str = "02:00:00:00:00:02";
const RIP: &str = "192.168.0.188";
const PROBE: &str = "192.168.0.209";
const VIP: &str = "192.168.0.250:80";

/// What the real server does with a SYN for the VIP.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    Answers,
    LacksVip,
    Refuses,
    SendsBack,
}

struct World {
    director: Director,
    monitor: Monitor,
    prober: PathProber,
    server: Server,
    now: Instant,
}

fn key() -> ServiceKey {
    ServiceKey::tcp(socket(VIP).ip(), 80)
}

impl World {
    fn new() -> Self {
        let interface = InterfaceConfig::new(PortId(0), mac(OWN), "192.168.0.208/24".parse().unwrap());
        let mut config = DirectorConfig::new(vec![interface], [7; 32]);
        config.max_connections = 4096;
        config.probes = Some(ProbeConfig::from_address(addr(PROBE)));
        let now = Instant::ZERO;
        let mut director = Director::new(config, now).unwrap();
        let service = ServiceConfig::new(key(), SchedulerKind::RoundRobin);
        let watch = Change::WatchNeighbour { address: addr(RIP), watched: true };
        director.apply(now, &[Change::AddService(service), watch]).unwrap();
        let check = CheckConfig::new(Probe::Path(PathProbe::new(PathMethod::HalfOpen)));
        let server = ServerHealth::new(DestinationConfig::new(addr(RIP), 80), vec![check]);
        let mut monitor = Monitor::new(MonitorConfig::new(1));
        monitor.configure(now, &[ServiceHealth::new(service, vec![server])]).unwrap();
        let prober = PathProber::new(&PathConfig::new(2));
        Self { director, monitor, prober, server: Server::Answers, now }
    }

    fn route(&self, order: &ProbeOrder) -> Route {
        let route = self.director.route(order.server).unwrap();
        Route {
            port: route.port,
            vlan: route.vlan,
            mac: route.mac,
            mtu: route.mtu,
            source: route.source,
            owned: route.owned,
            server_mac: route.next_hop_mac,
        }
    }

    /// What comes of a frame on the wire: the real server's answer goes to the director.
    fn on_the_wire(&mut self, bytes: &[u8]) {
        let Some(seen) = Summary::of(bytes) else { return };
        let answer = if seen.arp.is_some_and(|arp| arp.operation == 1 && arp.target == addr(RIP)) {
            let sender = seen.arp.and_then(|arp| arp.sender.to_string().parse().ok()).unwrap_or(v4(PROBE));
            Some(frames::arp_reply(station(0x188), v4(RIP), mac(OWN), sender).build())
        } else if let Some((from, to)) = seen.sockets().filter(|_| seen.destination_mac == station(0x188)) {
            let syn =
                seen.ip.as_ref().and_then(|ip| ip.tcp.as_ref()).filter(|tcp| tcp.flags == TcpFlags::SYN);
            let sequence = syn.map(|tcp| tcp.seq);
            let reply =
                |flags, ack: u32| tcp(to, from).ack(ack).flags(flags).macs(station(0x188), mac(OWN)).build();
            match (self.server, sequence) {
                (_, None) | (Server::LacksVip, _) => None,
                (Server::Answers, Some(n)) => Some(reply(TcpFlags::SYN | TcpFlags::ACK, n.wrapping_add(1))),
                (Server::Refuses, Some(n)) => Some(reply(TcpFlags::RST | TcpFlags::ACK, n.wrapping_add(1))),
                (Server::SendsBack, Some(_)) => {
                    Some([&mac(OWN).0[..], &station(0x188).0, &bytes[12..]].concat())
                }
            }
        } else {
            None
        };
        if let Some(mut answer) = answer {
            let _ = self.director.handle_frame(self.now, &mut Frame::new(&mut answer, PortId(0)));
        }
    }

    /// The run loop of a director program, until nothing is left to do now.
    fn turn(&mut self) {
        let mut buffer = [0; PROBE_BUFFER];
        for _ in 0..20 {
            self.director.handle_timeout(self.now);
            while let Some(frame) = self.director.poll_transmit(self.now, &mut buffer[..TRANSMIT_BUFFER]) {
                self.on_the_wire(&buffer[..frame.len]);
            }
            while let Some(reply) = self.director.poll_probe_reply(&mut buffer) {
                self.prober.handle_frame(self.now, &reply.meta, &buffer[..reply.len]);
            }
            self.prober.handle_timeout(self.now);
            while let Some((id, outcome)) = self.prober.poll_outcome() {
                self.monitor.handle_result(self.now, id, outcome);
            }
            self.monitor.handle_timeout(self.now);
            while let Some(order) = self.monitor.poll_probe(self.now) {
                let route = self.route(&order);
                self.prober.start(self.now, &order, &route);
            }
            while let Some(frame) = self.prober.poll_transmit(self.now, &mut buffer) {
                self.on_the_wire(&buffer[..frame.len]);
            }
            let mut edits = Vec::new();
            while let Some(decision) = self.monitor.poll_decision() {
                edits.push(decision.change);
            }
            self.director.apply(self.now, &edits).unwrap();
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 20 {
            self.now = self.now + Duration::from_millis(50);
            self.turn();
        }
    }

    /// The server's weight in the director, and what the monitor says is wrong.
    fn state(&self) -> (Option<u32>, String) {
        let listing = self.director.service(key()).unwrap();
        let weight = listing.destinations.first().map(|one| one.config.weight);
        let status = self.monitor.servers(&key()).next().unwrap();
        (weight, status.reason.map_or_else(String::new, |reason| reason.text().to_string()))
    }
}

#[test]
fn a_server_goes_down_for_each_reason_and_comes_back() {
    let mut world = World::new();
    world.turn();
    world.pass(10);
    assert_eq!(world.state(), (Some(1), String::new()));
    for (server, reason) in [
        (Server::LacksVip, "the VIP 192.168.0.250 is not on lo, or a filter drops it"),
        (Server::Refuses, "192.168.0.188 has the VIP, but nothing listens at 192.168.0.250:80"),
        (Server::SendsBack, "sent the probe back"),
    ] {
        world.server = server;
        world.pass(10);
        let (weight, text) = world.state();
        assert_eq!(weight, Some(0), "{text}");
        assert!(text.contains(reason), "{text}");
        world.server = Server::Answers;
        world.pass(10);
        assert_eq!(world.state().0, Some(1), "after: {reason}");
    }
    assert_eq!(world.director.connection_usage().connections, 0);
    assert_eq!(world.prober.statistics().fallbacks, 0);
}
