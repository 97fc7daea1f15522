//! Evidence as a faultless run leaves it, made of built frames: for tests, which then spoil it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lvs_core::classify::classify;
use lvs_core::config::{DestinationConfig, Protocol, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::connection::{ConnectionRecord, ConnectionState};
use lvs_core::io::{Meta, PortId};
use lvs_core::listing::{DestinationListing, Rates, ServiceListing, Statistics};
use lvs_core::observe::{Observation, Observer};
use lvs_core::scheduler::{Grounds, SchedulerState};
use lvs_core::{MacAddr, Verdict};
use lvs_testkit::frames::{self, TcpFlags};

use crate::decisions::Recorder;
use crate::evidence::{Answer, Card, Evidence, Network, Place, Recording, Request, Seen, Server, Way};
use crate::expected;

/// A network with servers of these weights.
pub(crate) fn network(weights: &[u32]) -> Network {
    let card = |host: &str, interface: &str, address: &str, mac: [u8; 2]| Card {
        host: host.to_owned(),
        interface: interface.to_owned(),
        address: address.parse().unwrap(),
        mac: MacAddr([2, 0, 0, 0, mac[0], mac[1]]),
    };
    let server = |(at, weight): (usize, &u32)| {
        let number = [188, 111].into_iter().chain(101..111).chain(112..).nth(at).unwrap();
        let card = card(&format!("server{}", at + 1), "eth0", &format!("192.168.0.{number}/24"), [0, number]);
        Server { card, weight: *weight, page: format!("<h1>{number}</h1>") }
    };
    Network {
        simulated: false,
        client: card("client", "eth0", "110.0.0.1/24", [1, 1]),
        router_outside: card("router", "eth0", "110.0.0.254/24", [1, 254]),
        router_inside: card("router", "eth1", "192.168.0.15/24", [0, 15]),
        director: card("director", "eth0", "192.168.0.208/24", [0, 208]),
        virtual_service: frames::socket("192.168.0.250:80"),
        servers: weights.iter().enumerate().map(server).collect(),
    }
}

/// A run of `count` requests over `servers` servers in round robin: of each connection a SYN and its answer.
pub(crate) fn evidence(servers: usize, count: usize) -> Evidence {
    let network = network(&vec![1; servers]);
    let client = network.client.address.address();
    let picks = expected::servers(SchedulerKind::RoundRobin, &network, client, count);
    let mut wire = Wire::new(&network);
    wire.ask_for_the_vip();
    let mut requests = Vec::new();
    for (at, pick) in picks.iter().enumerate() {
        let server = pick.unwrap();
        let client = SocketAddr::new(client, 40_000 + at as u16);
        wire.handshake(client, server);
        let outcome = Ok(Answer { client, server });
        requests.push(Request { number: at as u32 + 1, took: Duration::from_micros(1900), outcome });
    }
    let connections = requests.iter().map(|request| record(request, &network)).collect();
    Evidence {
        scheduler: SchedulerKind::RoundRobin,
        requests,
        decisions: wire.recorder.decisions().to_vec(),
        recordings: wire.recordings,
        services: vec![listing(&network)],
        connections,
        table_size: 65_536,
        router_believes: Some(network.director.mac),
        network,
    }
}

/// Everything that passes, as it would be recorded.
struct Wire<'a> {
    network: &'a Network,
    recordings: Vec<Recording>,
    recorder: Recorder,
    now: Duration,
}

impl<'a> Wire<'a> {
    fn new(network: &'a Network) -> Self {
        let servers = (0..network.servers.len()).map(Place::Server);
        let places = [Place::Client, Place::Router, Place::Director].into_iter().chain(servers);
        Self {
            network,
            recordings: places.map(|place| Recording { place, frames: Vec::new() }).collect(),
            recorder: Recorder::new(network.virtual_service),
            now: Duration::from_secs(1_000),
        }
    }

    fn note(&mut self, place: Place, way: Way, bytes: &[u8]) {
        self.now += Duration::from_micros(20);
        let seen = Seen::new(self.now, way, bytes.to_vec()).unwrap();
        let recording = self.recordings.iter_mut().find(|recording| recording.place == place);
        recording.unwrap().frames.push(seen);
    }

    fn ask_for_the_vip(&mut self) {
        let (router, director) = (self.network.router_inside.mac, self.network.director.mac);
        let (vip, gateway) =
            (v4(self.network.virtual_service.ip()), v4(self.network.router_inside.address.address()));
        let question = frames::arp_request(router, gateway, vip).build();
        self.note(Place::Router, Way::Out, &question);
        self.note(Place::Director, Way::In, &question);
        for at in 0..self.network.servers.len() {
            self.note(Place::Server(at), Way::In, &question);
        }
        let answer = frames::arp_reply(director, vip, router, gateway).build();
        self.note(Place::Director, Way::Out, &answer);
        self.note(Place::Router, Way::In, &answer);
    }

    fn handshake(&mut self, client: SocketAddr, server: usize) {
        let network = self.network;
        let (vip, there) = (network.virtual_service, network.servers[server].card.mac);
        let (inside, outside) = (network.router_inside.mac, network.router_outside.mac);
        let id = u32::from(client.port()) - 20_000;
        let syn = |from, to, ttl| {
            let flags = TcpFlags::SYN;
            frames::tcp(client, vip).flags(flags).id(id).ttl(ttl).macs(from, to).build()
        };
        self.note(Place::Client, Way::Out, &syn(network.client.mac, outside, 64));
        let before = syn(inside, network.director.mac, 63);
        self.note(Place::Router, Way::Out, &before);
        self.note(Place::Director, Way::In, &before);
        let after = syn(network.director.mac, there, 63);
        self.decide(&before, &after, server);
        self.note(Place::Director, Way::Out, &after);
        self.note(Place::Server(server), Way::In, &after);

        let answer = |from, to, ttl| {
            let flags = TcpFlags::SYN | TcpFlags::ACK;
            frames::tcp(vip, client).flags(flags).id(0).ttl(ttl).macs(from, to).build()
        };
        let reply = answer(there, inside, 64);
        self.note(Place::Server(server), Way::Out, &reply);
        self.note(Place::Router, Way::In, &reply);
        self.note(Place::Client, Way::In, &answer(outside, network.client.mac, 63));
    }

    /// What the director's observer would have heard.
    fn decide(&mut self, before: &[u8], after: &[u8], server: usize) {
        let vip = self.network.virtual_service;
        let servers: Vec<_> = self
            .network
            .servers
            .iter()
            .rev()
            .map(|server| lvs_core::scheduler::Server::new(server.address(), vip.port(), server.weight))
            .collect();
        let picked = servers.len() - 1 - server;
        let last = (picked + servers.len()).checked_sub(1).map(|at| at % servers.len());
        let meta = Meta::default();
        let packet = classify(before, &meta).unwrap();
        let observations = [
            Observation::Frame { index: 0, bytes: before, meta: &meta, packet: Ok(&packet), interface: None },
            Observation::Service { key: ServiceKey::tcp(vip.ip(), vip.port()) },
            Observation::Scheduled {
                flow: &packet.flow,
                scheduler: SchedulerKind::RoundRobin,
                state: SchedulerState::RoundRobin { last },
                servers: &servers,
                picked: Some(picked),
                grounds: Grounds::List,
            },
            Observation::Verdict { verdict: Verdict::Transmit(PortId(0)), bytes: after },
        ];
        for observation in &observations {
            self.recorder.observe(observation);
        }
    }
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address}: the sample is IPv4"),
    }
}

fn record(request: &Request, network: &Network) -> ConnectionRecord {
    let answer = request.outcome.as_ref().unwrap();
    let vip = network.virtual_service;
    ConnectionRecord {
        protocol: Some(Protocol::Tcp),
        template: false,
        client: answer.client,
        virtual_address: vip,
        destination: SocketAddr::new(network.servers[answer.server].address(), vip.port()),
        state: ConnectionState::FinWait,
        expires_in: Duration::from_secs(119),
        timeout: Duration::from_secs(120),
        packets: 6,
    }
}

fn listing(network: &Network) -> ServiceListing {
    let vip = network.virtual_service;
    let destination = |server: &Server| DestinationListing {
        config: DestinationConfig::new(server.address(), vip.port()).weight(server.weight),
        active: 0,
        inactive: 10,
        persistent: 0,
        overloaded: false,
        effective_weight: server.weight,
        statistics: Statistics::default(),
        rates: Rates::default(),
    };
    ServiceListing {
        config: ServiceConfig::new(ServiceKey::tcp(vip.ip(), vip.port()), SchedulerKind::RoundRobin),
        statistics: Statistics::default(),
        rates: Rates::default(),
        destinations: network.servers.iter().rev().map(destination).collect(),
    }
}
