//! What a director has to decide, in the plainest words: lists, linear scans, everything counted anew when it is asked for.
//!
//! ```text
//!   Change, Arrival, time ─► Model ─► Decision, listings
//! ```
//! It is the other side of property tests and of the fuzz target `model`: written from the description of Linux IPVS and of
//! the configuration, not from the director's code, and slow on purpose. It knows flows, not frames: no neighbours,
//! no fragments, no lengths but for counting; every server is within reach and no table is ever full.
//!
//! What it leaves out: `twos` (which draws lots), slow start, drains, `on_miss`, `schedule_icmp`, `drop_entry`, rates.

mod edit;
mod listing;
mod pick;
mod state;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use lvs_core::Instant;
use lvs_core::config::{
    ClientMask, DestinationConfig, Knobs, MarkRule, Protocol, ServiceConfig, ServiceKey, Timeouts,
};
use lvs_core::connection::ConnectionState;
use lvs_core::listing::Statistics;

pub use listing::ModelRecord;
use pick::Memory;

/// A packet as far as decisions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The sender.
    pub client: SocketAddr,
    /// Where it goes.
    pub virtual_address: SocketAddr,
    /// What it says.
    pub signal: Signal,
    /// Length of the IP packet.
    pub length: u64,
}

/// What a packet says to a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A TCP segment with these flags.
    Tcp(u8),
    /// A datagram.
    Udp,
    /// An SCTP packet whose first chunk has this type.
    Sctp(u8),
}

impl Signal {
    /// Its protocol.
    #[must_use]
    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
            Self::Sctp(_) => Protocol::Sctp,
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It goes to this real server.
    Forward(IpAddr),
    /// It goes nowhere, and the sender is told.
    Refuse,
    /// It goes nowhere without a word.
    Drop,
}

/// The model: services, servers and connections in lists.
#[derive(Debug, Clone)]
pub struct Model {
    now: Instant,
    knobs: Knobs,
    timeouts: Timeouts,
    marks: Vec<MarkRule>,
    services: Vec<Service>,
    /// Every server there ever was; who is not in a service's list is remembered by number only.
    servers: Vec<Server>,
    connections: Vec<Connection>,
    templates: Vec<Template>,
    next_template: u64,
    /// Attempts to open a connection while `drop_packet` was on.
    attempts: u64,
    /// Until when it may be that a director has not yet seen to what has ended.
    unsettled_until: Instant,
}

#[derive(Debug, Clone)]
struct Service {
    config: ServiceConfig,
    /// Numbers of servers, last added first.
    list: Vec<usize>,
    memory: Memory,
    counted: Statistics,
}

#[derive(Debug, Clone)]
struct Server {
    service: ServiceKey,
    config: DestinationConfig,
    listed: bool,
    overloaded: bool,
    counted: Statistics,
}

#[derive(Debug, Clone)]
struct Connection {
    protocol: Protocol,
    client: SocketAddr,
    virtual_address: SocketAddr,
    server: usize,
    template: Option<u64>,
    state: ConnectionState,
    packets: u32,
    timeout: Duration,
    deadline: Instant,
}

/// What makes a template: protocol (none for marks), masked client, and address or mark with the port or 0.
type TemplateKey = (Option<Protocol>, IpAddr, SocketAddr);

#[derive(Debug, Clone)]
struct Template {
    number: u64,
    key: TemplateKey,
    server: usize,
    assured: bool,
    timeout: Duration,
    deadline: Instant,
    /// How often it got more time, each of which may have come a little late.
    extended: u32,
    /// Whether a connection of it ended in the very moment when it did, so that either may have come first.
    doubtful: bool,
}

const FTP: u16 = 21;
const FTP_DATA: u16 = 20;
const TCP_SYN: u8 = 2;
const TCP_RST: u8 = 4;
const SCTP_INIT: u8 = 1;
const SCTP_ABORT: u8 = 6;
/// How much longer a template lives that still has connections.
const EXTENSION: Duration = Duration::from_secs(60);
/// How late a director may come to what has ended.
const NEAR: Duration = Duration::from_millis(400);
/// The port of a template that was given up.
const GIVEN_UP: u16 = 65_535;

impl Model {
    /// Without services.
    #[must_use]
    pub const fn new(now: Instant, timeouts: Timeouts, knobs: Knobs) -> Self {
        Self {
            now,
            knobs,
            timeouts,
            marks: Vec::new(),
            services: Vec::new(),
            servers: Vec::new(),
            connections: Vec::new(),
            templates: Vec::new(),
            next_template: 0,
            attempts: 0,
            unsettled_until: now,
        }
    }

    /// Decides about a packet that arrives now.
    pub fn handle(&mut self, arrival: &Arrival) -> Decision {
        let protocol = arrival.signal.protocol();
        let is_it = |one: &Connection| {
            (one.protocol, one.client, one.virtual_address)
                == (protocol, arrival.client, arrival.virtual_address)
        };
        if let Some(at) = self.connections.iter().position(is_it) {
            if !self.outlived(at, arrival) {
                return self.handle_known(at, arrival);
            }
            self.forget(at);
        }
        self.handle_unknown(arrival)
    }

    /// Whether a connection ends because of this packet.
    fn outlived(&self, at: usize, arrival: &Arrival) -> bool {
        use ConnectionState as S;
        let connection = &self.connections[at];
        let server = &self.servers[connection.server];
        if self.knobs.expire_nodest_conn && !server.listed {
            return true;
        }
        let opens = match arrival.signal {
            Signal::Tcp(flags) => flags & TCP_SYN != 0,
            Signal::Udp => false,
            Signal::Sctp(chunk) => chunk == SCTP_INIT,
        };
        if !opens {
            return false;
        }
        if self.knobs.expire_nodest_conn && server.config.weight == 0 {
            return true;
        }
        let over = match connection.state {
            S::TimeWait | S::Close | S::SctpClosed => self.knobs.conn_reuse_mode != 0,
            S::FinWait => self.knobs.conn_reuse_mode & 2 != 0,
            _ => false,
        };
        over && connection.template.is_none()
    }

    fn handle_known(&mut self, at: usize, arrival: &Arrival) -> Decision {
        let server = self.connections[at].server;
        if !self.servers[server].listed {
            let ipv6 = arrival.virtual_address.is_ipv6();
            let family_has_service = self.services.iter().any(|one| one.config.key.is_ipv6() == ipv6);
            return if family_has_service { Decision::Drop } else { refusal(arrival) };
        }
        let timeouts = self.timeouts_of(self.servers[server].service);
        let (now, secure) = (self.now, self.knobs.secure_tcp);
        let connection = &mut self.connections[at];
        connection.state = state::after(connection.state, arrival.signal, secure);
        connection.timeout = state::timeout(connection.state, &timeouts);
        connection.deadline = now + connection.timeout;
        connection.packets += 1;
        let (template, state) = (connection.template, connection.state);
        self.assure(template, state);
        self.forward(server, arrival)
    }

    fn timeouts_of(&self, key: ServiceKey) -> Timeouts {
        let service = self.services.iter().find(|service| service.config.key == key);
        service.and_then(|service| service.config.timeouts).unwrap_or(self.timeouts)
    }

    /// Once a client has got through its template is assured.
    fn assure(&mut self, template: Option<u64>, state: ConnectionState) {
        let through = matches!(state, ConnectionState::Established | ConnectionState::SctpEstablished);
        for one in self.templates.iter_mut().filter(|one| through && Some(one.number) == template) {
            one.assured = true;
        }
    }

    fn forward(&mut self, server: usize, arrival: &Arrival) -> Decision {
        self.count(server, |counted| {
            counted.in_packets += 1;
            counted.in_bytes += arrival.length;
        });
        Decision::Forward(self.servers[server].config.address)
    }

    /// Counts something for a server and its service.
    fn count(&mut self, server: usize, add: impl Fn(&mut Statistics)) {
        add(&mut self.servers[server].counted);
        let key = self.servers[server].service;
        for service in self.services.iter_mut().filter(|service| service.config.key == key) {
            add(&mut service.counted);
        }
    }

    fn handle_unknown(&mut self, arrival: &Arrival) -> Decision {
        let active_ftp = arrival.signal.protocol() == Protocol::Tcp && arrival.client.port() == FTP_DATA;
        let Some(service) = self.find_service(arrival).filter(|_| !active_ftp) else {
            return refusal(arrival);
        };
        let opens = match arrival.signal {
            Signal::Tcp(flags) => (flags & TCP_SYN != 0 || self.knobs.sloppy_tcp) && flags & TCP_RST == 0,
            Signal::Udp => true,
            Signal::Sctp(chunk) => chunk == SCTP_INIT || (self.knobs.sloppy_sctp && chunk != SCTP_ABORT),
        };
        if !opens {
            return refusal(arrival);
        }
        if self.knobs.drop_packet {
            self.attempts += 1;
            if self.attempts % 10 == 1 {
                return Decision::Drop;
            }
        }
        let Some((server, template)) = self.choose(service, arrival) else {
            return Decision::Refuse;
        };
        self.connect(service, server, template, arrival);
        self.forward(server, arrival)
    }

    /// A mark comes first, then the port, then FTP's other ports, then port 0.
    fn find_service(&self, arrival: &Arrival) -> Option<usize> {
        let (vip, protocol) = (arrival.virtual_address, arrival.signal.protocol());
        let fits = |rule: &&MarkRule| {
            let ports = rule.ports.as_slice().iter();
            rule.protocol == protocol
                && rule.destination.contains(vip.ip())
                && ports.clone().any(|range| range.first <= vip.port() && vip.port() <= range.last)
        };
        let by_mark =
            self.marks.iter().find(fits).and_then(|rule| {
                self.service_number(ServiceKey::Mark { mark: rule.mark, ipv6: vip.is_ipv6() })
            });
        let at = |port| self.service_number(ServiceKey::Address { protocol, address: vip.ip(), port });
        let ftp_data = protocol == Protocol::Tcp && (vip.port() == FTP_DATA || vip.port() >= 1024);
        by_mark.or_else(|| at(vip.port())).or_else(|| if ftp_data { at(FTP) } else { None }).or_else(|| at(0))
    }

    /// The server for a new connection, and the template by which it was found or that was made for it.
    fn choose(&mut self, service: usize, arrival: &Arrival) -> Option<(usize, Option<u64>)> {
        let config = self.services[service].config;
        let Some(persistence) = config.persistence else {
            let other_port =
                config.key.address().is_some() && config.key.port() != arrival.virtual_address.port();
            return if other_port { None } else { Some((self.schedule(service, arrival)?, None)) };
        };
        let key = template_key(&config.key, arrival, persistence.mask);
        if let Some(at) = self.templates.iter().position(|template| template.key == key) {
            let server = &self.servers[self.templates[at].server];
            let quiesced = server.config.weight == 0 && self.knobs.expire_quiescent_template;
            let template = &mut self.templates[at];
            if server.listed && !quiesced {
                template.deadline = self.now + template.timeout;
                template.extended = 0;
                return Some((template.server, Some(template.number)));
            }
            template.key.2.set_port(GIVEN_UP);
        }
        let server = self.schedule(service, arrival)?;
        let number = self.next_template;
        self.next_template += 1;
        self.templates.push(Template {
            number,
            key,
            server,
            assured: false,
            timeout: persistence.timeout,
            deadline: self.now + persistence.timeout,
            extended: 0,
            doubtful: false,
        });
        self.look_at_upper_threshold(server, 0);
        Some((server, Some(number)))
    }

    fn connect(&mut self, service: usize, server: usize, template: Option<u64>, arrival: &Arrival) {
        self.count(server, |counted| counted.connections += 1);
        if self.services[service].config.one_packet && arrival.signal == Signal::Udp {
            // A connection of one packet is one while the packet is on its way.
            self.look_at_upper_threshold(server, 1);
            self.look_at_lower_threshold(server);
            return;
        }
        let state = state::after(ConnectionState::None, arrival.signal, self.knobs.secure_tcp);
        let timeout = state::timeout(state, &self.timeouts_of(self.services[service].config.key));
        self.connections.push(Connection {
            protocol: arrival.signal.protocol(),
            client: arrival.client,
            virtual_address: arrival.virtual_address,
            server,
            template,
            state,
            packets: 1,
            timeout,
            deadline: self.now + timeout,
        });
        self.look_at_upper_threshold(server, 0);
        self.assure(template, state);
    }

    /// Connections of a server: active ones and others.
    fn load(&self, server: usize) -> (u32, u32) {
        let of_server = || self.connections.iter().filter(|one| one.server == server);
        let active = of_server().filter(|one| state::is_active(one.state)).count();
        (active as u32, (of_server().count() - active) as u32)
    }

    fn look_at_upper_threshold(&mut self, server: usize, besides: u32) {
        let (active, inactive) = self.load(server);
        let server = &mut self.servers[server];
        let upper = server.config.upper_threshold;
        if upper != 0 && active + inactive + besides >= upper {
            server.overloaded = true;
        }
    }

    fn look_at_lower_threshold(&mut self, server: usize) {
        let (active, inactive) = self.load(server);
        let (total, server) = (active + inactive, &mut self.servers[server]);
        let (upper, lower) = (server.config.upper_threshold, server.config.lower_threshold);
        let relieved = if lower != 0 { total < lower } else { upper == 0 || total * 4 < upper * 3 };
        if relieved {
            server.overloaded = false;
        }
    }

    /// Forgets a connection.
    fn forget(&mut self, at: usize) {
        let connection = self.connections.remove(at);
        self.look_at_lower_threshold(connection.server);
    }

    /// Lets time pass: what has ended until then is forgotten, in order; of what ends at the same time connections first.
    pub fn pass_until(&mut self, now: Instant) {
        loop {
            let connection =
                self.connections.iter().map(|one| one.deadline).enumerate().min_by_key(|one| one.1);
            let template = self.templates.iter().map(|one| one.deadline).enumerate().min_by_key(|one| one.1);
            let connection_first = match (connection, template) {
                (Some((_, one)), Some((_, other))) => one <= other,
                (one, _) => one.is_some(),
            };
            match if connection_first { connection } else { template } {
                Some((at, due)) if due <= now && connection_first => self.end_connection(at),
                Some((at, due)) if due <= now => self.end_template(at),
                _ => break,
            }
        }
        self.now = self.now.max(now);
    }

    fn end_connection(&mut self, at: usize) {
        let (template, deadline) = (self.connections[at].template, self.connections[at].deadline);
        for one in self.templates.iter_mut().filter(|one| Some(one.number) == template) {
            one.doubtful |= deadline == one.deadline;
        }
        self.unsettled_until = self.unsettled_until.max(deadline + NEAR);
        self.forget(at);
    }

    fn end_template(&mut self, at: usize) {
        let template = &self.templates[at];
        let (number, late) = (template.number, template.lateness());
        let children = self.connections.iter().filter(|one| one.template == Some(number));
        let last_child = children.map(|one| one.deadline).max();
        self.unsettled_until = self.unsettled_until.max(template.deadline + late + NEAR);
        if !template.doubtful && last_child.is_none() {
            let server = self.templates.remove(at).server;
            return self.look_at_lower_threshold(server);
        }
        let template = &mut self.templates[at];
        // One that ends with its last connection may have ended a little before or after it.
        template.doubtful |= last_child.is_none_or(|child| child < template.deadline + late + NEAR);
        template.timeout = EXTENSION;
        template.deadline = template.deadline + EXTENSION;
        template.extended += 1;
    }

    /// Whether something ends so close to `now`, which lies ahead, that a director may or may not have seen to it. Not a
    /// good moment to look.
    #[must_use]
    pub fn is_unsettled(&self, now: Instant) -> bool {
        let mut ahead = self.clone();
        ahead.pass_until(now);
        let soon = |due: Instant| due < now + NEAR;
        ahead.unsettled_until > now
            || ahead.connections.iter().any(|one| soon(one.deadline))
            || ahead.templates.iter().any(|one| soon(one.deadline))
    }
}

impl Template {
    /// How much later than its deadline it may really end.
    fn lateness(&self) -> Duration {
        Duration::from_millis(300) * self.extended
    }
}

/// What a host says for whom nothing listens: nothing to an RST.
const fn refusal(arrival: &Arrival) -> Decision {
    match arrival.signal {
        Signal::Tcp(flags) if flags & TCP_RST != 0 => Decision::Drop,
        _ => Decision::Refuse,
    }
}

/// A port of its own only for a service of a port; a mark instead of an address, and then for all protocols.
fn template_key(service: &ServiceKey, arrival: &Arrival, mask: ClientMask) -> TemplateKey {
    let client = masked(arrival.client.ip(), mask);
    match *service {
        ServiceKey::Mark { mark, ipv6: false } => {
            (None, client, SocketAddr::new(Ipv4Addr::from_bits(mark).into(), 0))
        }
        ServiceKey::Mark { mark, .. } => {
            (None, client, SocketAddr::new(Ipv6Addr::from_bits(mark.into()).into(), 0))
        }
        ServiceKey::Address { protocol, address, port } => {
            let port = if port == FTP { 0 } else { port };
            (Some(protocol), client, SocketAddr::new(address, port))
        }
        _ => unreachable!("a service of a kind that the model does not know"),
    }
}

fn masked(client: IpAddr, mask: ClientMask) -> IpAddr {
    match (client, mask) {
        (IpAddr::V4(client), ClientMask::V4(mask)) => Ipv4Addr::from_bits(client.to_bits() & mask).into(),
        (IpAddr::V6(client), ClientMask::V6(bits)) => {
            let cleared = 128 - u32::from(bits);
            Ipv6Addr::from_bits(client.to_bits() >> cleared << cleared).into()
        }
        _ => client,
    }
}
