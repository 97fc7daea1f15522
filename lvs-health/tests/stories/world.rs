//! The network of the stories, and the director with its checks as a node of it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lvs_core::config::{
    Change, DestinationConfig, ProbeConfig, Protocol, SchedulerKind, ServiceConfig, ServiceKey,
};
use lvs_core::director::PROBE_BUFFER;
use lvs_core::{DirectorConfig, Instant, InterfaceConfig, PortId, Subnet};
use lvs_health::config::{CheckConfig, MonitorConfig, PathProbe, ServerHealth, ServiceHealth};
use lvs_health::monitor::{Event, ServerState};
use lvs_health::path::{PathConfig, PathProber, Route};
use lvs_health::{Monitor, ProbeOrder};
use lvs_testkit::frames::station;
use lvs_testkit::sim::{DirectorNode, Host, Interface, LinkOptions, Network, Node, NodeId, Switch};

/// Where clients go.
pub(crate) fn vip() -> SocketAddr {
    "10.0.255.250:80".parse().unwrap()
}

pub(crate) const KEY: ServiceKey = ServiceKey::Address {
    protocol: Protocol::Tcp,
    address: IpAddr::V4(Ipv4Addr::new(10, 0, 255, 250)),
    port: 80,
};

/// A real server's address.
pub(crate) fn rip(server: u16) -> IpAddr {
    IpAddr::from([10, 0, 1 + (server / 250) as u8, 1 + (server % 250) as u8])
}

/// A director, its monitor and its prober, called as a program's run loop calls them.
pub(crate) struct Checked {
    node: DirectorNode,
    pub(crate) monitor: Monitor,
    prober: PathProber,
    outgoing: VecDeque<(PortId, Vec<u8>)>,
    /// Probes whose server is being asked for its Ethernet address, and when each is over.
    waiting: Vec<(Instant, ProbeOrder)>,
    /// What the monitor said.
    pub(crate) events: Vec<Event>,
    /// When probes were started, and of whom.
    pub(crate) starts: Vec<(Instant, IpAddr)>,
}

impl Checked {
    fn start(&mut self, now: Instant, over: Instant, mut order: ProbeOrder) {
        let route = self.node.director().route(order.server).expect("an interface leads there");
        if route.next_hop_mac.is_none() && now < over {
            return self.waiting.push((over, order));
        }
        order.timeout = over.saturating_duration_since(now);
        let route = Route {
            port: route.port,
            vlan: route.vlan,
            mac: route.mac,
            mtu: route.mtu,
            source: route.source,
            owned: route.owned,
            server_mac: route.next_hop_mac,
        };
        self.prober.start(now, &order, &route);
    }

    /// Everything that can be done now.
    fn turn(&mut self, now: Instant) {
        let mut buffer = [0; PROBE_BUFFER];
        while let Some(reply) = self.node.director_mut().poll_probe_reply(&mut buffer) {
            self.prober.handle_frame(now, &reply.meta, &buffer[..reply.len]);
        }
        self.prober.handle_timeout(now);
        while let Some((id, outcome)) = self.prober.poll_outcome() {
            self.monitor.handle_result(now, id, outcome);
        }
        self.monitor.handle_timeout(now);
        for (over, order) in std::mem::take(&mut self.waiting) {
            self.start(now, over, order);
        }
        while let Some(order) = self.monitor.poll_probe(now) {
            self.starts.push((now, order.server));
            self.start(now, now + order.timeout, order);
        }
        while let Some(frame) = self.prober.poll_transmit(now, &mut buffer) {
            self.outgoing.push_back((frame.port, buffer[..frame.len].to_vec()));
        }
        let changes: Vec<Change> =
            std::iter::from_fn(|| self.monitor.poll_decision()).map(|decision| decision.change).collect();
        self.node.director_mut().apply(now, &changes).expect("the monitor knows what is there");
        while let Some(event) = self.monitor.poll_event() {
            self.events.push(event);
        }
    }
}

impl Node for Checked {
    fn handle_frame(&mut self, now: Instant, port: PortId, frame: Vec<u8>) {
        self.node.handle_frame(now, port, frame);
        self.turn(now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(PortId, Vec<u8>)> {
        self.outgoing.pop_front().or_else(|| self.node.poll_transmit(now))
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
        self.turn(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // Whoever waits for an Ethernet address is looked at when a frame comes, or when its time is over.
        let waiting = self.waiting.iter().map(|(over, _)| *over).min();
        let probes = Instant::earliest(self.monitor.poll_timeout(), self.prober.poll_timeout());
        Instant::earliest(waiting, Instant::earliest(probes, self.node.poll_timeout()))
    }

    fn state(&self) -> String {
        format!("{}; {:?}", self.node.state(), self.monitor.statistics())
    }
}

/// The whole network.
pub(crate) struct World {
    pub(crate) net: Network,
    pub(crate) director: NodeId<Checked>,
    pub(crate) client: NodeId<Host>,
    pub(crate) servers: Vec<NodeId<Host>>,
}

impl World {
    /// So many servers, each with a page that is its number, and one check for all of them.
    pub(crate) fn new(
        seed: u64,
        servers: u16,
        check: impl Fn(PathProbe) -> CheckConfig,
        probe: PathProbe,
        damping: bool,
    ) -> Self {
        println!("seed {seed}");
        let mut net = Network::new(seed);
        let switch = net.add("switch", Switch::new(servers + 2));
        let subnet = |address: IpAddr| Subnet::new(address, 16).unwrap();
        let mut hosts = Vec::new();
        for n in 0..servers {
            let mut host = Host::new();
            host.add_interface(Interface::new("eth0", station(1000 + n)).address(subnet(rip(n))));
            host.hold_vip(vip().ip());
            host.quiet_arp(true);
            host.serve_page(80, &n.to_string());
            let host = net.add(&format!("server{n}"), host);
            net.connect((host, 0), (switch, n), LinkOptions::default());
            hosts.push(host);
        }
        let service = ServiceConfig::new(KEY, SchedulerKind::RoundRobin);
        let checked = (0..servers)
            .map(|n| ServerHealth::new(DestinationConfig::new(rip(n), 80), vec![check(probe.clone())]))
            .collect();
        let mut health = ServiceHealth::new(service, checked);
        if !damping {
            health.damping = None;
        }
        let director = net.add("director", Self::director(seed, &net, service, &health));
        net.connect((director, 0), (switch, servers), LinkOptions::default());
        let mut client = Host::new();
        client.add_interface(Interface::new("eth0", station(2)).address("10.0.0.3/16".parse().unwrap()));
        let client = net.add("client", client);
        net.connect((client, 0), (switch, servers + 1), LinkOptions::default());
        Self { net, director, client, servers: hosts }
    }

    fn director(seed: u64, net: &Network, service: ServiceConfig, health: &ServiceHealth) -> Checked {
        let mut interface = InterfaceConfig::new(PortId(0), station(1), "10.0.0.2/16".parse().unwrap());
        interface.owns_addresses = true;
        let mut config = DirectorConfig::new(vec![interface], [7; 32]);
        config.max_connections = 65_536;
        config.probes = Some(ProbeConfig::from_address("10.0.0.9".parse().unwrap()));
        let now = net.now();
        let mut node = DirectorNode::new(config, now).unwrap();
        let watched = health.servers.iter().map(|server| server.destination.address);
        let watched = watched.map(|address| Change::WatchNeighbour { address, watched: true });
        let changes: Vec<Change> = [Change::AddService(service)].into_iter().chain(watched).collect();
        node.director_mut().apply(now, &changes).unwrap();
        let mut monitor = Monitor::new(MonitorConfig::new(seed));
        monitor.configure(now, std::slice::from_ref(health)).unwrap();
        Checked {
            node,
            monitor,
            prober: PathProber::new(&PathConfig::new(seed.rotate_left(9))),
            outgoing: VecDeque::new(),
            waiting: Vec::new(),
            events: Vec::new(),
            starts: Vec::new(),
        }
    }

    pub(crate) fn state(&self, server: u16) -> ServerState {
        let mut servers = self.net[self.director].monitor.servers(&KEY);
        servers.find(|one| one.destination.address == rip(server)).expect("it is checked").state
    }

    /// Why it is down, or was not well lately.
    pub(crate) fn reason(&self, server: u16) -> String {
        let mut servers = self.net[self.director].monitor.servers(&KEY);
        let server = servers.find(|one| one.destination.address == rip(server)).expect("it is checked");
        server.reason.map_or_else(String::new, |reason| reason.text().to_owned())
    }

    /// Runs until a server is in this state. Answers how long it took.
    #[track_caller]
    pub(crate) fn until(&mut self, limit: Duration, server: u16, state: ServerState) -> Duration {
        let (start, director) = (self.net.now(), self.director);
        self.net.run_until(limit, |net| {
            let mut servers = net[director].monitor.servers(&KEY);
            servers.any(|one| one.destination.address == rip(server) && one.state == state)
        });
        self.net.now().saturating_duration_since(start)
    }

    /// Fetches so many pages, one every 20 ms. Answers who served each; nobody, where none came within three seconds.
    pub(crate) fn fetch(&mut self, pages: usize) -> Vec<Option<u16>> {
        let client = self.client;
        let mut ids = Vec::new();
        for _ in 0..pages {
            ids.push(self.net[client].fetch(vip(), "/"));
            self.net.run_for(Duration::from_millis(20));
        }
        self.net.run_for(Duration::from_secs(3));
        let page = |id| self.net[client].connection(id).page().and_then(|page| page.parse().ok());
        ids.into_iter().map(page).collect()
    }

    /// Pulls a server's cable, or puts it in again.
    pub(crate) fn cable(&mut self, server: u16, up: bool) {
        let link = self.net.link_of(self.servers[usize::from(server)], 0).expect("it has one");
        self.net.set_link(link, up);
    }

    pub(crate) fn server(&mut self, server: u16) -> &mut Host {
        &mut self.net[self.servers[usize::from(server)]]
    }
}
