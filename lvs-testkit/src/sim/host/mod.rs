//! A host that does as Linux does where load balancing by direct routing depends on it.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the [`Host`], its addresses, routes and rules |
//! | `interface.rs` | cards, VLANs, `lo`, and their sysctls |
//! | `input.rs` | frames and packets that come in: whose they are |
//! | `arp.rs` | ARP: whom it answers, what it learns, as whom it asks |
//! | `ndp.rs` | the same for IPv6 |
//! | `neighbour.rs` | the neighbour cache of both |
//! | `route.rs` | ways and source addresses |
//! | `output.rs` | packets that leave, its own and others' |
//! | `stack.rs`, `serve.rs`, `connection.rs` | TCP and UDP on smoltcp's sockets |

mod arp;
mod connection;
mod input;
mod interface;
mod ndp;
mod neighbour;
mod output;
mod route;
mod serve;
mod sockets;
mod stack;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use lvs_core::{Instant, MacAddr, PortId, Subnet};

pub use connection::{Connection, ConnectionId, Phase};
pub use interface::{Address, Interface, InterfaceConf, Scope};
pub use neighbour::{Neighbour, NeighbourState};
pub use serve::{Answer, Conversation, Datagram};

use super::node::Node;
use neighbour::{Due, Neighbours};
use output::Cause;
use route::Route;
use stack::Stack;

/// A host: addresses, routes, ARP and NDP as Linux has them, and full TCP and UDP above.
///
/// With [`forward`](Self::forward) it is a router. What it does is held to recordings of a Linux 6.1 kernel; see
/// `tests/sim/recordings.rs`. What it leaves out: fragments, multicast groups, redirects, path MTU discovery on its
/// own connections, and DHCP or router advertisements (every address is set by hand).
///
/// ```
/// use lvs_testkit::frames::{addr, station};
/// use lvs_testkit::sim::{Host, Interface};
///
/// let mut server = Host::new();
/// server.add_interface(Interface::new("eth0", station(188)).address("192.168.0.188/24".parse().unwrap()));
/// server.default_gateway(addr("192.168.0.15"));
/// server.hold_vip(addr("192.168.0.250"));
/// server.conf_mut("all").arp_ignore = 1;
/// server.conf_mut("all").arp_announce = 2;
/// server.serve_page(80, "<h1>one</h1>");
/// ```
#[derive(Debug)]
pub struct Host {
    /// `lo` first.
    interfaces: Vec<Interface>,
    all: InterfaceConf,
    routes: Vec<Route>,
    forwarding: bool,
    rules: Vec<ArpRule>,
    neighbours: Neighbours,
    stack: Stack,
    outgoing: VecDeque<(PortId, Vec<u8>)>,
    messages: VecDeque<IcmpMessage>,
    statistics: HostStatistics,
    packet_id: u32,
}

/// A rule about ARP and, for IPv6 addresses, NDP messages, as `arptables` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpRule {
    /// `-A IN -d ADDRESS -j DROP`: requests for the address are not seen. (For IPv6 what `ip6tables` does with
    /// solicitations.)
    DropIn(IpAddr),
    /// `-A OUT -s ADDRESS -j mangle --mangle-ip-s INSTEAD`: requests do not carry the address as their sender, but
    /// another one.
    MangleOut {
        /// The sender that is not to be seen.
        sender: IpAddr,
        /// The one that takes its place.
        instead: IpAddr,
    },
}

/// An ICMP or ICMPv6 message to the host that was not an echo request or about neighbours; or the same news from the host
/// itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpMessage {
    /// When.
    pub at: Instant,
    /// Who says it; for a packet of its own that could not leave, the destination of that packet.
    pub from: IpAddr,
    /// Type and code.
    pub kind: (u8, u8),
    /// Where the packet went that it is about, if it is an error.
    pub about: Option<IpAddr>,
}

/// What a host has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostStatistics {
    /// Frames for other stations, or of VLANs that it is not in.
    pub not_for_us: u64,
    /// Packets for itself.
    pub delivered: u64,
    /// Packets sent on for others.
    pub forwarded: u64,
    /// Packets that were broken, or of a kind that is left out.
    pub malformed: u64,
    /// Packets for nobody it knows, or forbidden by `rp_filter`, or with its own address as their source.
    pub dropped: u64,
    /// Packets for which no route was found.
    pub no_route: u64,
    /// Packets whose next hop did not answer.
    pub unreachable: u64,
    /// ARP and NDP questions that it answered.
    pub answered: u64,
}

/// Messages that are kept if nobody fetches them; the oldest go.
const MESSAGES: usize = 256;

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host with nothing but `lo`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interfaces: vec![Interface::loopback()],
            all: InterfaceConf::default(),
            routes: Vec::new(),
            forwarding: false,
            rules: Vec::new(),
            neighbours: Neighbours::new(),
            stack: Stack::new(),
            outgoing: VecDeque::new(),
            messages: VecDeque::new(),
            statistics: HostStatistics::default(),
            packet_id: 0,
        }
    }

    /// Adds a card, or a VLAN on one.
    ///
    /// # Panics
    /// If there is one of that name, or one with the same port and VLAN.
    #[track_caller]
    pub fn add_interface(&mut self, interface: Interface) {
        let Interface { name, port, vlan, .. } = &interface;
        for other in &self.interfaces {
            assert!(other.name != *name, "there is a {name} already");
            assert!(
                (other.port, other.vlan) != (*port, *vlan),
                "{} has that port and VLAN already",
                other.name
            );
        }
        self.interfaces.push(interface);
    }

    /// Makes a router of it: packets for others are sent on. Default: off.
    pub const fn forward(&mut self, on: bool) {
        self.forwarding = on;
    }

    /// Adds an address to an interface, with global scope.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn add_address(&mut self, interface: &str, subnet: Subnet) {
        self.add_scoped_address(interface, subnet, Scope::Global);
    }

    /// The same with a scope.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn add_scoped_address(&mut self, interface: &str, subnet: Subnet, scope: Scope) {
        let at = self.index_of(interface);
        self.interfaces[at].addresses.push(Address { subnet, scope });
    }

    /// Takes an address from an interface. `false` if it was not there.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn remove_address(&mut self, interface: &str, address: IpAddr) -> bool {
        let at = self.index_of(interface);
        let addresses = &mut self.interfaces[at].addresses;
        let before = addresses.len();
        addresses.retain(|own| own.subnet.address() != address);
        before != addresses.len()
    }

    /// Puts a VIP on `lo`, as a real server has it.
    pub fn hold_vip(&mut self, vip: IpAddr) {
        let whole = if vip.is_ipv4() { 32 } else { 128 };
        self.add_address("lo", Subnet::new(vip, whole).expect("the whole address"));
    }

    /// Keeps quiet about the VIPs on `lo`, or not: `arp_ignore=1` and `arp_announce=2` on `all`.
    pub fn quiet_arp(&mut self, on: bool) {
        (self.all.arp_ignore, self.all.arp_announce) = if on { (1, 2) } else { (0, 0) };
    }

    /// The sysctls under `net.ipv4.conf` of an interface, of `lo`, or of `all`.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn conf_mut(&mut self, interface: &str) -> &mut InterfaceConf {
        if interface == "all" {
            return &mut self.all;
        }
        let at = self.index_of(interface);
        &mut self.interfaces[at].conf
    }

    /// Sends what has no better route to this router.
    ///
    /// # Panics
    /// If the router is in no subnet of the host.
    #[track_caller]
    pub fn default_gateway(&mut self, router: IpAddr) {
        let all = if router.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        self.add_route(all.parse().expect("an address with its prefix"), router);
    }

    /// Sends what is for a subnet to this router. A second route to the same subnet takes the place of the first.
    ///
    /// # Panics
    /// If the router is in no subnet of the host.
    #[track_caller]
    pub fn add_route(&mut self, to: Subnet, router: IpAddr) {
        let way = route::way(&self.interfaces, &[], router);
        let way = way.unwrap_or_else(|| panic!("the router {router} is in no subnet of this host"));
        self.routes.retain(|route| route.to != to);
        self.routes.push(Route { to, via: Some(router), interface: way.interface });
    }

    /// Reaches a subnet, or a single host, directly on an interface's link.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn add_link_route(&mut self, to: Subnet, interface: &str) {
        let interface = self.index_of(interface);
        self.routes.retain(|route| route.to != to);
        self.routes.push(Route { to, via: None, interface });
    }

    /// Adds a rule about ARP messages.
    pub fn add_arp_rule(&mut self, rule: ArpRule) {
        self.rules.push(rule);
    }

    /// Removes all rules about ARP messages.
    pub fn clear_arp_rules(&mut self) {
        self.rules.clear();
    }

    /// Fixes the Ethernet address of a neighbour, as `ip neighbour replace ... nud permanent` does; `None` takes the
    /// entry away, whatever it is.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn set_neighbour(&mut self, now: Instant, interface: &str, address: IpAddr, mac: Option<MacAddr>) {
        let at = self.index_of(interface);
        self.neighbours.set(now, (at, address), mac);
    }

    /// What it knows of a neighbour.
    ///
    /// # Panics
    /// If there is no such interface.
    #[must_use]
    #[track_caller]
    pub fn neighbour(&self, now: Instant, interface: &str, address: IpAddr) -> Option<Neighbour> {
        self.neighbours.get(now, (self.index_of(interface), address))
    }

    /// Forgets all neighbours of an interface but the permanent ones, as `ip neighbour flush` does.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn flush_neighbours(&mut self, interface: &str) {
        let at = self.index_of(interface);
        self.neighbours.flush(at);
    }

    /// How long an answer is believed, in the mean (`base_reachable_time`): each time between half and one and a half of
    /// it. Default: 30 s.
    pub const fn set_reachable_time(&mut self, base: Duration) {
        self.neighbours.set_reachable_time(base);
    }

    /// Announces an address on an interface, unasked: gratuitous ARP, or an unsolicited advertisement.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn announce(&mut self, interface: &str, address: IpAddr) {
        let at = self.index_of(interface);
        match address {
            IpAddr::V4(address) => self.announce_v4(at, address),
            IpAddr::V6(address) => self.announce_v6(at, address),
        }
    }

    /// Sends an echo request; the reply is among the [messages](Self::take_messages).
    pub fn ping(&mut self, now: Instant, to: IpAddr, id: u16, sequence: u16) {
        let source = self.source_for(to).unwrap_or(to);
        let frame = crate::frames::echo_request(source, to, id, sequence).build();
        self.send_packet(now, frame[14..].to_vec(), Cause::Own);
    }

    /// The ICMP messages that came in since this was last called, oldest first; the last 256 are kept.
    pub fn take_messages(&mut self) -> Vec<IcmpMessage> {
        self.messages.drain(..).collect()
    }

    /// What it has counted.
    #[must_use]
    pub const fn statistics(&self) -> HostStatistics {
        self.statistics
    }

    /// The address it would send from to a destination.
    #[must_use]
    pub fn source_for(&self, to: IpAddr) -> Option<IpAddr> {
        if self.is_own(to) {
            return Some(to);
        }
        let way = route::way(&self.interfaces, &self.routes, to)?;
        route::source(&self.interfaces, &way, to)
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.holds(address))
    }

    #[track_caller]
    fn index_of(&self, interface: &str) -> usize {
        let at = self.interfaces.iter().position(|one| one.name == interface);
        at.unwrap_or_else(|| panic!("there is no interface {interface}"))
    }

    fn note(&mut self, message: IcmpMessage) {
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }
}

impl Node for Host {
    fn handle_frame(&mut self, now: Instant, port: PortId, frame: Vec<u8>) {
        self.take_frame(now, port, &frame);
        // Most frames of a large segment are nothing to TCP and UDP.
        if self.stack.has_input() {
            self.run_stack(now);
        }
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(PortId, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.neighbours.poll_due(now) {
            match due {
                Due::Ask(key, to) => self.ask(key, to),
                Due::Lost(waiting) => {
                    for waiting in waiting {
                        self.unreachable(now, &waiting);
                    }
                }
            }
        }
        self.run_stack(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Instant::earliest(self.neighbours.poll_timeout(), self.stack.poll_timeout())
    }

    /// What was known of the neighbours on a link that went down is not known any more.
    fn handle_link(&mut self, _: Instant, port: PortId, up: bool) {
        for at in 0..self.interfaces.len() {
            if self.interfaces[at].port == Some(port) {
                self.interfaces[at].up = up;
                if !up {
                    self.neighbours.flush(at);
                }
            }
        }
    }

    fn start(&mut self, seed: u64) {
        self.neighbours.seed(seed);
        self.stack.seed(seed);
    }

    fn state(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for interface in self.interfaces.iter().filter(|interface| interface.port.is_some()) {
            let addresses: Vec<String> =
                interface.addresses.iter().map(|own| own.subnet.to_string()).collect();
            names.push(format!("{} {}", interface.name, addresses.join(" ")));
        }
        format!("{}; {} neighbours; {}", names.join(", "), self.neighbours.len(), self.stack.state())
    }
}
