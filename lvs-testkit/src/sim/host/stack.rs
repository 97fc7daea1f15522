//! TCP and UDP by smoltcp, on bare IP packets: Ethernet, ARP and routes are the host's.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs_core::Instant;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::{Socket, tcp, udp};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, IpListenEndpoint};

use super::connection::{Connection, ConnectionId, Phase};
use super::serve::{Answer, Conversation, Datagram};
use crate::frames::{IpSummary, TCP, TcpFlags};

/// All sockets of a host. Packets go in by `handle_packet` and out by `poll_transmit`; `run` does the work.
pub(super) struct Stack {
    device: Device,
    /// Made when the first packet or socket comes: most hosts of a large network have none.
    interface: Option<Interface>,
    sockets: SocketSet<'static>,
    inbox: VecDeque<(Vec<u8>, IpSummary)>,
    listeners: Vec<Listener>,
    serving: Vec<Serving>,
    connections: BTreeMap<ConnectionId, Opened>,
    /// Sockets that have only a reset to send.
    leaving: Vec<SocketHandle>,
    udp: Vec<UdpPort>,
    datagrams: VecDeque<Datagram>,
    due: Option<Instant>,
    next_connection: u64,
    next_port: u16,
    seed: u64,
}

type Make = Box<dyn FnMut() -> Box<dyn Conversation>>;

struct Listener {
    port: u16,
    /// `None`: nobody listens any more.
    make: Option<Make>,
    /// The socket that waits for the next connection.
    handle: Option<SocketHandle>,
    accepted: u64,
}

struct Serving {
    handle: SocketHandle,
    conversation: Box<dyn Conversation>,
    answer: Answer,
    peer_ended: bool,
    closed: bool,
}

struct Opened {
    connection: Connection,
    handle: Option<SocketHandle>,
    closed: bool,
}

struct UdpPort {
    port: u16,
    handle: SocketHandle,
    echo: bool,
}

/// Bytes that a TCP socket keeps, each way.
const TCP_BUFFER: usize = 16 * 1024;
/// Bytes of an answer beyond which no more of the question is read.
const ANSWER_LIMIT: usize = 256 * 1024;
/// How long the other side of a connection may be silent when it owes something.
const TIMEOUT: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(120);
/// Connections that are served at one time; more are refused.
const SERVED: usize = 4096;
/// Datagrams that are kept if nobody fetches them; the oldest go.
const DATAGRAMS: usize = 4096;
/// The first port that connections are opened from.
const FIRST_PORT: u16 = 32_768;

impl Stack {
    pub(super) fn new() -> Self {
        Self {
            device: Device::default(),
            interface: None,
            sockets: SocketSet::new(Vec::new()),
            inbox: VecDeque::new(),
            listeners: Vec::new(),
            serving: Vec::new(),
            connections: BTreeMap::new(),
            leaving: Vec::new(),
            udp: Vec::new(),
            datagrams: VecDeque::new(),
            due: None,
            next_connection: 0,
            next_port: FIRST_PORT,
            seed: 1,
        }
    }

    /// What sequence numbers begin with.
    pub(super) const fn seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Whether packets wait that nobody has looked at.
    pub(super) fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    pub(super) fn handle_packet(&mut self, packet: Vec<u8>, ip: &IpSummary) {
        self.inbox.push_back((packet, ip.clone()));
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.device.outgoing.pop_front()
    }

    /// Does all that can be done now.
    pub(super) fn run(&mut self, now: Instant, mtu: usize) {
        let idle =
            self.inbox.is_empty() && self.connections.values().all(|one| one.connection.phase.is_over());
        if idle && self.listeners.is_empty() && self.sockets.iter().next().is_none() {
            self.due = None;
            return;
        }
        let mut interface = self.interface.take().unwrap_or_else(|| self.make_interface(now, mtu));
        self.renew_listeners();
        while let Some((packet, ip)) = self.inbox.pop_front() {
            self.take_in(now, &mut interface, packet, &ip);
            self.renew_listeners();
        }
        loop {
            let mut moved = self.pump(now, &mut interface);
            moved |= interface.poll_egress(later(now), &mut self.device, &mut self.sockets)
                == PollResult::SocketStateChanged;
            self.note_ended(now, Phase::TimedOut);
            if !moved {
                break;
            }
        }
        for handle in self.leaving.drain(..) {
            self.sockets.remove(handle);
        }
        self.due = interface.poll_at(later(now), &self.sockets).map(|at| {
            let micros = u64::try_from(at.total_micros()).unwrap_or(0);
            Instant::from_micros(micros).max(now)
        });
        self.interface = Some(interface);
    }

    fn make_interface(&mut self, now: Instant, mtu: usize) -> Interface {
        self.device.mtu = mtu;
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = self.seed;
        let mut interface = Interface::new(config, &mut self.device, later(now));
        // Which addresses are the host's, and where packets go, was decided before and is decided after.
        interface.set_any_ip(true);
        let (v4, v6) = (IpAddr::from([192, 0, 0, 8]), IpAddr::from([0x0100, 0, 0, 0, 0, 0, 0, 8]));
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(v4.into(), 32));
            let _ = addresses.push(IpCidr::new(v6.into(), 128));
        });
        if let (IpAddr::V4(v4), IpAddr::V6(v6)) = (v4, v6) {
            let _ = interface.routes_mut().add_default_ipv4_route(v4);
            let _ = interface.routes_mut().add_default_ipv6_route(v6);
        }
        interface
    }

    /// Gives one packet to the sockets.
    fn take_in(&mut self, now: Instant, interface: &mut Interface, packet: Vec<u8>, ip: &IpSummary) {
        let mut hidden = None;
        if ip.protocol == TCP
            && ip.tcp.is_some_and(|tcp| tcp.flags.0 & (TcpFlags::SYN | TcpFlags::ACK).0 == TcpFlags::SYN.0)
            && let Some((from, to)) = ip.ports
        {
            let flow = (SocketAddr::new(ip.source, from), SocketAddr::new(ip.destination, to));
            match self.state_of(flow) {
                // The answer is under way, and is sent again if it is lost.
                Some((_, tcp::State::SynReceived)) => return,
                // The client uses its port again: the old connection only waited for stragglers.
                Some((handle, tcp::State::TimeWait)) if self.stop_serving(handle) => {}
                // smoltcp asks every socket; the one that listens must not take what another one knows.
                Some(_) => hidden = self.hide_listener(to),
                None => {}
            }
        }
        self.device.incoming = Some(packet);
        while interface.poll_ingress_single(later(now), &mut self.device, &mut self.sockets)
            != PollIngressSingleResult::None
        {}
        if let Some((at, socket)) = hidden {
            self.listeners[at].handle = Some(self.sockets.add(socket));
        }
        self.read_all(now);
        self.note_ended(now, Phase::Reset);
    }

    /// The socket of a flow to this host, and its state.
    fn state_of(&self, (remote, local): (SocketAddr, SocketAddr)) -> Option<(SocketHandle, tcp::State)> {
        let (remote, local) = (Some(remote.into()), Some(local.into()));
        let sockets = self.sockets.iter().filter_map(|(handle, socket)| match socket {
            Socket::Tcp(socket) => Some((handle, socket)),
            Socket::Udp(_) => None,
        });
        let mut known =
            sockets.filter(|(_, one)| (one.remote_endpoint(), one.local_endpoint()) == (remote, local));
        known.next().map(|(handle, socket)| (handle, socket.state()))
    }

    /// Forgets a connection that was served. `false` if the socket is none of those.
    fn stop_serving(&mut self, handle: SocketHandle) -> bool {
        let Some(at) = self.serving.iter().position(|one| one.handle == handle) else { return false };
        self.serving.swap_remove(at);
        self.sockets.remove(handle);
        true
    }

    fn hide_listener(&mut self, port: u16) -> Option<(usize, tcp::Socket<'static>)> {
        let at = self.listeners.iter().position(|one| one.port == port)?;
        match self.sockets.remove(self.listeners[at].handle.take()?) {
            Socket::Tcp(socket) => Some((at, socket)),
            Socket::Udp(_) => None,
        }
    }

    /// Listening sockets that have got a connection begin to serve it, and others take their place.
    fn renew_listeners(&mut self) {
        for listener in &mut self.listeners {
            let taken = listener
                .handle
                .filter(|handle| self.sockets.get::<tcp::Socket<'_>>(*handle).state() != tcp::State::Listen);
            if let (Some(handle), Some(make)) = (taken, &mut listener.make) {
                listener.handle = None;
                listener.accepted += 1;
                let (conversation, answer) = (make(), Answer::default());
                self.serving.push(Serving { handle, conversation, answer, peer_ended: false, closed: false });
            }
            if listener.make.is_some() && listener.handle.is_none() && self.serving.len() < SERVED {
                let mut socket = new_socket();
                // Fails for port 0 only, which `listen` refuses.
                if socket.listen(listener.port).is_ok() {
                    listener.handle = Some(self.sockets.add(socket));
                }
            }
        }
    }

    /// Moves data between the sockets and their users. Answers whether anything was done.
    fn pump(&mut self, now: Instant, interface: &mut Interface) -> bool {
        let mut moved = self.connect_new(now, interface);
        moved |= self.read_all(now);
        for opened in self.connections.values_mut() {
            let (Some(handle), connection) = (opened.handle, &mut opened.connection) else { continue };
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
            moved |= write(socket, &mut connection.to_send);
            let wants_to = connection.finished || connection.peer_ended;
            let can = connection.phase == Phase::Open && connection.to_send.is_empty();
            if wants_to && can && !opened.closed {
                socket.close();
                (opened.closed, moved) = (true, true);
            }
        }
        for serving in &mut self.serving {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(serving.handle);
            moved |= write(socket, &mut serving.answer.bytes);
            if serving.answer.finished && serving.answer.bytes.is_empty() && !serving.closed {
                socket.close();
                (serving.closed, moved) = (true, true);
            }
        }
        moved | self.pump_udp()
    }

    fn connect_new(&mut self, now: Instant, interface: &mut Interface) -> bool {
        let mut moved = false;
        for opened in self.connections.values_mut() {
            let connection = &mut opened.connection;
            if opened.handle.is_some() || connection.phase != Phase::Connecting {
                continue;
            }
            moved = true;
            connection.started = Some(now);
            let mut socket = new_socket();
            match socket.connect(interface.context(), connection.remote, connection.local) {
                Ok(()) => opened.handle = Some(self.sockets.add(socket)),
                Err(_) => connection.end(now, Phase::Unreachable),
            }
        }
        moved
    }

    /// Reads all that has come in.
    fn read_all(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for opened in self.connections.values_mut() {
            let (Some(handle), connection) = (opened.handle, &mut opened.connection) else { continue };
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
            if connection.phase == Phase::Connecting && has_been_open(socket.state()) {
                (connection.phase, connection.opened) = (Phase::Open, Some(now));
                moved = true;
            }
            moved |= read(socket, |bytes| connection.received.extend(bytes));
            if !connection.peer_ended && peer_has_ended(socket) {
                (connection.peer_ended, moved) = (true, true);
            }
        }
        for Serving { handle, conversation, answer, peer_ended, .. } in &mut self.serving {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            if answer.bytes.len() < ANSWER_LIMIT {
                moved |= read(socket, |bytes| conversation.receive(bytes, answer));
            }
            if !*peer_ended && peer_has_ended(socket) {
                (*peer_ended, moved) = (true, true);
                conversation.ended(answer);
            }
        }
        moved
    }

    /// Finds connections that are over, and says why: `why`, if it was not in order.
    fn note_ended(&mut self, now: Instant, why: Phase) {
        for opened in self.connections.values_mut() {
            let (Some(handle), connection) = (opened.handle, &mut opened.connection) else { continue };
            let state = self.sockets.get::<tcp::Socket<'_>>(handle).state();
            if state == tcp::State::TimeWait {
                connection.end(now, Phase::Closed);
            }
            if state == tcp::State::Closed {
                let in_order = opened.closed && connection.peer_ended;
                connection.end(
                    now,
                    match (connection.phase, why) {
                        _ if in_order => Phase::Closed,
                        (Phase::Connecting, Phase::Reset) => Phase::Refused,
                        (_, why) => why,
                    },
                );
                self.sockets.remove(handle);
                opened.handle = None;
            }
        }
        let sockets = &mut self.sockets;
        self.serving.retain(|serving| {
            let over = sockets.get::<tcp::Socket<'_>>(serving.handle).state() == tcp::State::Closed;
            if over {
                sockets.remove(serving.handle);
            }
            !over
        });
    }

    fn pump_udp(&mut self) -> bool {
        let mut moved = false;
        for UdpPort { port, handle, echo } in &mut self.udp {
            let socket = self.sockets.get_mut::<udp::Socket<'_>>(*handle);
            while let Ok((bytes, from)) = socket.recv() {
                moved = true;
                let (bytes, local) = (bytes.to_vec(), from.local_address);
                if *echo {
                    let back = udp::UdpMetadata { local_address: local, ..from.endpoint.into() };
                    // What finds no room is lost, as datagrams are.
                    let _ = socket.send_slice(&bytes, back);
                    continue;
                }
                if self.datagrams.len() == DATAGRAMS {
                    self.datagrams.pop_front();
                }
                let local = SocketAddr::new(local.map_or(IpAddr::from([0; 4]), IpAddr::from), *port);
                let remote = SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port);
                self.datagrams.push_back(Datagram { local, remote, bytes });
            }
        }
        moved
    }
}

/// What users ask for.
impl Stack {
    pub(super) const fn next_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port == 60_999 { FIRST_PORT } else { port + 1 };
        port
    }

    pub(super) fn add_connection(&mut self, connection: Connection) -> ConnectionId {
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(id, Opened { connection, handle: None, closed: false });
        id
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id).map(|opened| &opened.connection)
    }

    pub(super) fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(&id).map(|opened| &mut opened.connection)
    }

    pub(super) fn take_connection(&mut self, id: ConnectionId) -> Option<Connection> {
        let opened = self.connections.remove(&id)?;
        if let Some(handle) = opened.handle {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
            if opened.connection.phase.is_over() {
                self.sockets.remove(handle);
            } else {
                socket.abort();
                self.leaving.push(handle);
            }
        }
        Some(opened.connection)
    }

    pub(super) fn listen(&mut self, port: u16, make: Make) {
        assert!(port != 0, "port 0 is no port to listen on");
        match self.listeners.iter_mut().find(|one| one.port == port) {
            Some(listener) => listener.make = Some(make),
            None => self.listeners.push(Listener { port, make: Some(make), handle: None, accepted: 0 }),
        }
    }

    pub(super) fn stop_listening(&mut self, port: u16) {
        if let Some(listener) = self.listeners.iter_mut().find(|one| one.port == port) {
            listener.make = None;
            if let Some(handle) = listener.handle.take() {
                self.sockets.remove(handle);
            }
        }
    }

    pub(super) fn accepted(&self, port: u16) -> u64 {
        self.listeners.iter().find(|one| one.port == port).map_or(0, |one| one.accepted)
    }

    pub(super) fn bind_udp(&mut self, port: u16, echo: bool) {
        if self.udp.iter().any(|one| one.port == port) {
            return;
        }
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 64 * 1024]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        let bound = socket.bind(IpListenEndpoint { addr: None, port });
        assert!(bound.is_ok(), "port {port} is no port to receive datagrams on");
        let handle = self.sockets.add(socket);
        self.udp.push(UdpPort { port, handle, echo });
    }

    pub(super) fn send_udp(&mut self, port: u16, source: IpAddr, remote: SocketAddr, bytes: &[u8]) -> bool {
        let Some(at) = self.udp.iter().find(|one| one.port == port) else { return false };
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(at.handle);
        let local_address = Some(IpAddress::from(source));
        let to = udp::UdpMetadata { local_address, ..smoltcp::wire::IpEndpoint::from(remote).into() };
        socket.send_slice(bytes, to).is_ok()
    }

    pub(super) fn take_datagrams(&mut self) -> Vec<Datagram> {
        self.datagrams.drain(..).collect()
    }

    /// A packet of the host's own could not leave: whoever waits for the handshake hears of it.
    pub(super) fn unreachable(&mut self, ip: &IpSummary) {
        let Some((from, to)) = ip.ports else { return };
        let flow = (SocketAddr::new(ip.source, from), SocketAddr::new(ip.destination, to));
        for opened in self.connections.values_mut() {
            let connection = &mut opened.connection;
            let is_it = ip.protocol == TCP && (connection.local, connection.remote) == flow;
            if is_it && connection.phase == Phase::Connecting {
                connection.phase = Phase::Unreachable;
                if let Some(handle) = opened.handle.take() {
                    self.sockets.remove(handle);
                }
            }
        }
    }

    pub(super) fn state(&self) -> String {
        let mut phases = BTreeMap::<String, usize>::new();
        for opened in self.connections.values() {
            *phases.entry(format!("{:?}", opened.connection.phase)).or_default() += 1;
        }
        format!("connections {phases:?}, {} served", self.serving.len())
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.state())
    }
}

fn new_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; TCP_BUFFER]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_timeout(Some(TIMEOUT));
    socket
}

/// The time as smoltcp has it.
fn later(now: Instant) -> smoltcp::time::Instant {
    let since = now.saturating_duration_since(Instant::ZERO);
    smoltcp::time::Instant::from_micros(i64::try_from(Duration::as_micros(&since)).unwrap_or(i64::MAX))
}

const fn has_been_open(state: tcp::State) -> bool {
    use tcp::State;
    !matches!(state, State::Closed | State::Listen | State::SynSent | State::SynReceived)
}

/// Whether the other side has said all it will, and it was read.
fn peer_has_ended(socket: &tcp::Socket<'_>) -> bool {
    use tcp::State;
    let ended =
        matches!(socket.state(), State::CloseWait | State::LastAck | State::Closing | State::TimeWait);
    ended && !socket.can_recv()
}

fn read(socket: &mut tcp::Socket<'_>, mut take: impl FnMut(&[u8])) -> bool {
    let mut moved = false;
    while socket.can_recv() {
        let taken = socket.recv(|bytes| {
            take(bytes);
            (bytes.len(), bytes.len())
        });
        match taken {
            Ok(1..) => moved = true,
            _ => break,
        }
    }
    moved
}

fn write(socket: &mut tcp::Socket<'_>, bytes: &mut VecDeque<u8>) -> bool {
    let mut moved = false;
    while !bytes.is_empty() && socket.can_send() {
        let (front, _) = bytes.as_slices();
        match socket.send_slice(front) {
            Ok(sent @ 1..) => {
                bytes.drain(..sent);
                moved = true;
            }
            _ => break,
        }
    }
    moved
}

/// smoltcp's view of the host: packets in, packets out.
#[derive(Debug, Default)]
struct Device {
    mtu: usize,
    incoming: Option<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

struct Incoming(Vec<u8>);

struct Outgoing<'a>(&'a mut VecDeque<Vec<u8>>);

impl phy::Device for Device {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Incoming, Outgoing<'_>)> {
        Some((Incoming(self.incoming.take()?), Outgoing(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
