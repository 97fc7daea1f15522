//! The three reference networks of LVS direct routing, simulated, with IPv6 alongside.
//!
//! ```text
//!   A   client ── switch ── director, real servers           all in one segment
//!
//!   B   client ── router ── switch ── director (port 0), real servers
//!
//!   C   client ── router ── switch "front" ── 0 director 1 ── switch "back" ── real servers
//!                    └────────────────────────────────────────────────────┘  the way of the replies
//! ```
//!
//! Names, IP addresses and Ethernet addresses are those of the lab's networks (`lvs_testkit::lab::Topology` has the
//! table), so that what is shown of one can be compared with the other. The director is there and runs, and has no
//! services yet; it answers for its DIPs. Real servers hold the VIPs on `lo` and serve nothing yet.
//!
//! All links are equally quick, and a switch sends to its ports in their order. The director is at the last one: where
//! real servers answer for the VIP, too, they are first, as kernels are before a program.

use std::net::SocketAddr;
use std::time::Duration;

use lvs_core::config::{ApplyError, DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::{Change, DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId, Subnet};

use super::director::DirectorNode;
use super::host::{Host, Interface};
use super::link::LinkOptions;
use super::network::Network;
use super::node::NodeId;
use super::switch::Switch;
use crate::reference::{BACK, FRONT, OUTSIDE, SINGLE, Segment, server_numbers};

pub use crate::reference::Addresses;

/// What may differ from the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopologyOptions {
    /// How many real servers, 1 to 16. Default: 2.
    pub servers: usize,
    /// Whether the real servers keep quiet about the VIP (`arp_ignore=1`, `arp_announce=2`). Default: on. Off
    /// shows the ARP problem.
    pub quiet_arp: bool,
    /// Whether the real servers hold the VIPs. Default: on.
    pub hold_vip: bool,
    /// The MTU of all cards, 1280 to 65,535 bytes. Default: 1500.
    pub mtu: u16,
    /// How all links treat frames.
    pub link: LinkOptions,
    /// Where all chance comes from. Default: 1.
    pub seed: u64,
}

impl Default for TopologyOptions {
    fn default() -> Self {
        let link = LinkOptions::default();
        Self { servers: 2, quiet_arp: true, hold_vip: true, mtu: 1500, link, seed: 1 }
    }
}

/// A host that serves.
#[derive(Debug, Clone, Copy)]
pub struct RealServer {
    /// The host; its card is `eth0`.
    pub host: NodeId<Host>,
    /// Its own addresses (RIP).
    pub addresses: Addresses,
    /// The Ethernet address of its card.
    pub mac: MacAddr,
}

/// A built network.
pub struct Topology {
    /// The network with everything in it.
    pub net: Network,
    /// Where requests come from; its card is `eth0`.
    pub client: NodeId<Host>,
    /// The client's addresses (CIP).
    pub client_addresses: Addresses,
    /// The router; none in A. `eth0` faces the client, `eth1` the director, `eth2` (in C) the real servers.
    pub router: Option<NodeId<Host>>,
    /// The director; port 0 is its first card, in C port 1 the second.
    pub director: NodeId<DirectorNode>,
    /// The director's own addresses with their subnets, in the order of its cards: IPv4, then IPv6.
    pub dips: Vec<[Subnet; 2]>,
    /// The Ethernet addresses of the director's cards, in their order.
    pub director_macs: Vec<MacAddr>,
    /// The router on the director's first segment; none in A.
    pub gateway: Option<Addresses>,
    /// The virtual addresses.
    pub vips: Addresses,
    /// The real servers, in their order.
    pub servers: Vec<RealServer>,
    /// The switches: one; in C front and back.
    pub switches: Vec<NodeId<Switch>>,
}

impl Topology {
    /// Topology A: one segment.
    ///
    /// # Panics
    /// If an option is out of range.
    #[must_use]
    #[track_caller]
    pub fn a(options: TopologyOptions) -> Self {
        let mut builder = Builder::new(options);
        let switch = builder.net.add("switch", Switch::new(PORTS));
        let mut client = Host::new();
        client.add_interface(builder.card("eth0", SINGLE, 10));
        let client = builder.net.add("client", client);
        builder.plug((client, 0), switch);
        let director = builder.director(&[(SINGLE, 20)]);
        let vips = SINGLE.addresses(100);
        let servers = builder.servers(SINGLE, [30, 50], None, vips, switch);
        builder.plug((director, 0), switch);
        Self {
            net: builder.net,
            client,
            client_addresses: SINGLE.addresses(10),
            router: None,
            director,
            dips: vec![SINGLE.subnets(20)],
            director_macs: vec![SINGLE.mac(20)],
            gateway: None,
            vips,
            servers,
            switches: vec![switch],
        }
    }

    /// Topology B: a client behind a router.
    ///
    /// # Panics
    /// If an option is out of range.
    #[must_use]
    #[track_caller]
    pub fn b(options: TopologyOptions) -> Self {
        let mut builder = Builder::new(options);
        let switch = builder.net.add("switch", Switch::new(PORTS));
        let (client, router) = builder.outside(&[(FRONT, switch)]);
        let director = builder.director(&[(FRONT, 208)]);
        let (gateway, vips) = (FRONT.addresses(15), FRONT.addresses(250));
        let servers = builder.servers(FRONT, [188, 111], Some(gateway), vips, switch);
        builder.plug((director, 0), switch);
        Self {
            net: builder.net,
            client,
            client_addresses: OUTSIDE.addresses(1),
            router: Some(router),
            director,
            dips: vec![FRONT.subnets(208)],
            director_macs: vec![FRONT.mac(208)],
            gateway: Some(gateway),
            vips,
            servers,
            switches: vec![switch],
        }
    }

    /// Topology C: as B, with the real servers in a segment of their own behind the director's second card. The
    /// router is in that segment too, since replies go to it and never through the director.
    ///
    /// # Panics
    /// If an option is out of range.
    #[must_use]
    #[track_caller]
    pub fn c(options: TopologyOptions) -> Self {
        let mut builder = Builder::new(options);
        let front = builder.net.add("front", Switch::new(PORTS));
        let back = builder.net.add("back", Switch::new(PORTS));
        let (client, router) = builder.outside(&[(FRONT, front), (BACK, back)]);
        let director = builder.director(&[(FRONT, 208), (BACK, 208)]);
        builder.plug((director, 0), front);
        builder.plug((director, 1), back);
        let vips = FRONT.addresses(250);
        let servers = builder.servers(BACK, [188, 111], Some(BACK.addresses(15)), vips, back);
        Self {
            net: builder.net,
            client,
            client_addresses: OUTSIDE.addresses(1),
            router: Some(router),
            director,
            dips: vec![FRONT.subnets(208), BACK.subnets(208)],
            director_macs: vec![FRONT.mac(208), BACK.mac(208)],
            gateway: Some(FRONT.addresses(15)),
            vips,
            servers,
            switches: vec![front, back],
        }
    }

    /// Edits the director.
    ///
    /// # Errors
    /// Says which change is wrong and why; nothing was done then.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        let now = self.net.now();
        self.net[self.director].director_mut().apply(now, changes)
    }

    /// A service of the director with all real servers, weight 1. They are added last first, so that the listing shows
    /// them in their order.
    ///
    /// # Panics
    /// If the director has that service.
    #[track_caller]
    pub fn add_service(&mut self, key: ServiceKey, scheduler: SchedulerKind) {
        let mut changes = vec![Change::AddService(ServiceConfig::new(key, scheduler))];
        for server in self.servers.iter().rev() {
            let address = if key.is_ipv6() { server.addresses.v6 } else { server.addresses.v4 };
            changes.push(Change::AddDestination(key, DestinationConfig::new(address, key.port())));
        }
        self.apply(&changes).unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }

    /// Lets every real server answer HTTP on a port, each with a page of its own: `<h1>server N</h1>`, from 1.
    pub fn serve_pages(&mut self, port: u16) {
        for (server, number) in self.servers.iter().zip(1..) {
            self.net[server.host].serve_page(port, &format!("<h1>server {number}</h1>"));
        }
    }

    /// Lets time pass until the director has announced its VIPs and knows its servers.
    ///
    /// # Panics
    /// If it has not announced them within ten seconds.
    #[track_caller]
    pub fn settle(&mut self) {
        let director = self.director;
        self.net.run_until(SETTLING, |net| net[director].director().is_announced());
        // An announcement is repeated for some seconds, and each takes the VIP back from whoever else claims it.
        self.net.run_for(Duration::from_secs(5));
    }

    /// Lets the client fetch a page, and answers it: the body, or `None` if the connection did not end in order.
    ///
    /// # Panics
    /// If it is not over within five minutes.
    #[track_caller]
    pub fn fetch(&mut self, from: SocketAddr, path: &str) -> Option<String> {
        let client = self.client;
        let id = self.net[client].fetch(from, path);
        self.net.run_until(Duration::from_secs(300), |net| net[client].connection(id).phase().is_over());
        let connection = self.net[client].take_connection(id);
        connection.page().map(str::to_owned)
    }
}

/// Ports of a switch: more than there are hosts.
const PORTS: u16 = 24;
const SETTLING: Duration = Duration::from_secs(10);

struct Builder {
    net: Network,
    options: TopologyOptions,
    /// The next free port of each switch.
    free: Vec<(NodeId<Switch>, u16)>,
}

impl Builder {
    #[track_caller]
    fn new(options: TopologyOptions) -> Self {
        assert!(options.mtu >= 1280, "mtu: {} is too small for IPv6, which needs 1280", options.mtu);
        Self { net: Network::new(options.seed), options, free: Vec::new() }
    }

    fn card(&self, name: &str, segment: Segment, host: u8) -> Interface {
        let [v4, v6] = segment.subnets(host);
        let card = Interface::new(name, segment.mac(host)).mtu(usize::from(self.options.mtu));
        card.address(v4).address(v6)
    }

    fn plug<N: super::Node>(&mut self, node: (NodeId<N>, u16), switch: NodeId<Switch>) {
        let at = self.free.iter().position(|(known, _)| *known == switch).unwrap_or_else(|| {
            self.free.push((switch, 0));
            self.free.len() - 1
        });
        let port = self.free[at].1;
        self.free[at].1 += 1;
        self.net.connect(node, (switch, port), self.options.link);
    }

    /// What B and C share: client and router, connected.
    fn outside(&mut self, inside: &[(Segment, NodeId<Switch>)]) -> (NodeId<Host>, NodeId<Host>) {
        let (mut client, mut router) = (Host::new(), Host::new());
        client.add_interface(self.card("eth0", OUTSIDE, 1));
        route_by(&mut client, OUTSIDE.addresses(254));
        router.forward(true);
        router.add_interface(self.card("eth0", OUTSIDE, 254));
        for ((segment, _), port) in inside.iter().zip(1..) {
            router.add_interface(self.card(&format!("eth{port}"), *segment, 15).port(port));
        }
        let client = self.net.add("client", client);
        let router = self.net.add("router", router);
        self.net.connect((client, 0), (router, 0), self.options.link);
        for ((_, switch), port) in inside.iter().zip(1..) {
            self.plug((router, port), *switch);
        }
        (client, router)
    }

    fn director(&mut self, cards: &[(Segment, u8)]) -> NodeId<DirectorNode> {
        let node = director(cards, self.options.mtu, self.net.now());
        self.net.add("director", node)
    }

    fn servers(
        &mut self,
        segment: Segment,
        first: [u8; 2],
        gateway: Option<Addresses>,
        vips: Addresses,
        switch: NodeId<Switch>,
    ) -> Vec<RealServer> {
        let mut servers = Vec::new();
        for (number, at) in server_numbers(first, self.options.servers).zip(1..) {
            let mut host = Host::new();
            host.add_interface(self.card("eth0", segment, number));
            if let Some(gateway) = gateway {
                route_by(&mut host, gateway);
            }
            host.quiet_arp(self.options.quiet_arp);
            if self.options.hold_vip {
                host.hold_vip(vips.v4);
                host.hold_vip(vips.v6);
            }
            let host = self.net.add(&format!("server{at}"), host);
            self.plug((host, 0), switch);
            let (addresses, mac) = (segment.addresses(number), segment.mac(number));
            servers.push(RealServer { host, addresses, mac });
        }
        servers
    }
}

fn route_by(host: &mut Host, gateway: Addresses) {
    host.default_gateway(gateway.v4);
    host.default_gateway(gateway.v6);
}

/// A director with these cards, which owns its addresses. Its tables are small: no simulated client is a million.
fn director(cards: &[(Segment, u8)], mtu: u16, now: Instant) -> DirectorNode {
    let interfaces = cards.iter().zip(0..).map(|((segment, host), port)| {
        let [v4, v6] = segment.subnets(*host);
        let mut card = InterfaceConfig::new(PortId(port), segment.mac(*host), v4);
        card.addresses.push(v6);
        card.mtu = mtu;
        card.owns_addresses = true;
        card
    });
    let mut config = DirectorConfig::new(interfaces.collect(), [7; 32]);
    (config.max_connections, config.max_templates) = (65_536, 4096);
    DirectorNode::new(config, now).expect("a configuration that is right")
}
