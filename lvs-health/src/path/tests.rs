//! Probes against simulated real servers, in virtual time: a stack with the VIP behind an Ethernet address, and faults.

use std::sync::Arc;
use std::time::Duration;

use lvs_core::config::ServiceKey;
use lvs_testkit::frames::{self, TcpFlags};
use proptest::prelude::*;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::*;
use crate::config::{BodyMatch, HttpProbe, PathProbe};
use crate::outcome::Failure;

const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);

/// What the real server does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Does {
    /// Dead, or without the VIP: the same to look at.
    Nothing,
    /// Has the VIP, but nothing listens.
    Refuses,
    /// Takes connections and keeps silent.
    Hangs,
    /// Sends these bytes, after a time, and closes; with `true` it sends them again and again.
    Sends(Vec<u8>, Duration, bool),
    /// Its answers come from another Ethernet address.
    OtherMac,
    /// It has no VIP and forwards what is not for it.
    Forwards,
}

#[derive(Default)]
struct Queues {
    arrived: VecDeque<Vec<u8>>,
    leaving: VecDeque<Vec<u8>>,
}

struct In(Vec<u8>);
struct Out<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for In {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Out<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Queues {
    type RxToken<'a> = In;
    type TxToken<'a> = Out<'a>;

    fn receive(&mut self, _: StackInstant) -> Option<(In, Out<'_>)> {
        Some((In(self.arrived.pop_front()?), Out(&mut self.leaving)))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<Out<'_>> {
        Some(Out(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

/// A real server with its own, checking TCP/IP.
struct Peer {
    interface: Interface,
    sockets: SocketSet<'static>,
    queues: Queues,
    does: Does,
    accepted: Option<Instant>,
    sent: usize,
    heard: Vec<u8>,
}

impl Peer {
    fn new(vip: IpAddr, does: Does) -> Self {
        let mut queues = Queues::default();
        let mut interface = Interface::new(Config::new(HardwareAddress::Ip), &mut queues, StackInstant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(vip.into(), if vip.is_ipv6() { 128 } else { 32 })).unwrap();
        });
        let mut sockets = SocketSet::new(Vec::new());
        if does != Does::Refuses {
            let buffer = || tcp::SocketBuffer::new(vec![0; 65_536]);
            let mut socket = tcp::Socket::new(buffer(), buffer());
            socket.listen(80).unwrap();
            sockets.add(socket);
        }
        Self { interface, sockets, queues, does, accepted: None, sent: 0, heard: Vec::new() }
    }

    fn work(&mut self, now: Instant) {
        let at = StackInstant::from_micros(now.as_micros() as i64);
        self.interface.poll(at, &mut self.queues, &mut self.sockets);
        for (_, socket) in self.sockets.iter_mut() {
            let smoltcp::socket::Socket::Tcp(socket) = socket else { continue };
            if socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), self.heard.extend_from_slice(bytes))).unwrap();
            }
            if !self.heard.is_empty() {
                self.accepted.get_or_insert(now);
            }
            let Does::Sends(text, after, endless) = &self.does else { continue };
            if self.accepted.is_some_and(|at| now >= at + *after) && socket.can_send() {
                if *endless && self.sent == text.len() {
                    self.sent = text.len() / 2;
                }
                self.sent += socket.send_slice(&text[self.sent..]).unwrap();
                if self.sent == text.len() && !endless {
                    socket.close();
                }
            }
        }
        self.interface.poll(at, &mut self.queues, &mut self.sockets);
    }
}

struct World {
    prober: PathProber,
    peer: Peer,
    now: Instant,
    vlan: VlanPath,
    ipv6: bool,
    sent: Vec<Vec<u8>>,
}

fn order(serial: u64, vip: IpAddr, method: PathMethod) -> ProbeOrder {
    ProbeOrder {
        id: ProbeId::new(0, serial),
        service: ServiceKey::tcp(vip, 80),
        server: if vip.is_ipv6() { frames::addr("fd00::188") } else { frames::addr("192.168.0.188") },
        probe: Arc::new(Probe::Path(PathProbe::new(method))),
        timeout: Duration::from_secs(1),
    }
}

fn vip(ipv6: bool) -> IpAddr {
    if ipv6 { frames::addr("fd00::250") } else { frames::addr("192.168.0.250") }
}

fn route(ipv6: bool) -> Route {
    Route {
        port: PortId(0),
        vlan: VlanPath::UNTAGGED,
        mac: OUR_MAC,
        mtu: 1500,
        source: if ipv6 { frames::addr("fd00::208") } else { frames::addr("192.168.0.208") },
        owned: true,
        server_mac: Some(SERVER_MAC),
    }
}

impl World {
    fn new(ipv6: bool, does: Does) -> Self {
        Self {
            prober: PathProber::new(&PathConfig { max_in_flight: 8, ..PathConfig::new(99) }),
            peer: Peer::new(vip(ipv6), does),
            now: Instant::from_secs(5),
            vlan: VlanPath::UNTAGGED,
            ipv6,
            sent: Vec::new(),
        }
    }

    /// Carries frames for a millisecond.
    fn step(&mut self) {
        let header = frame::header_len(self.vlan);
        self.prober.handle_timeout(self.now);
        let mut buffer = [0; 2048];
        while let Some(outgoing) = self.prober.poll_transmit(self.now, &mut buffer) {
            let frame = buffer[..outgoing.len].to_vec();
            assert_eq!(outgoing.meta.vlan, self.vlan.tags()[0]);
            assert_eq!((&frame[..6], &frame[6..12]), (&SERVER_MAC.0[..], &OUR_MAC.0[..]));
            let text = frames::describe(&frame);
            assert!(!text.contains("bad cksum"), "{text}");
            match self.peer.does {
                Does::Nothing => {}
                Does::Forwards => {
                    let mut back = frame.clone();
                    back[..6].copy_from_slice(&OUR_MAC.0);
                    back[6..12].copy_from_slice(&SERVER_MAC.0);
                    self.prober.handle_frame(self.now, &Meta::default(), &back);
                }
                _ => self.peer.queues.arrived.push_back(frame[header..].to_vec()),
            }
            self.sent.push(frame);
        }
        self.peer.work(self.now);
        self.now = self.now + Duration::from_millis(1);
        while let Some(packet) = self.peer.queues.leaving.pop_front() {
            let mac = if self.peer.does == Does::OtherMac { OTHER_MAC } else { SERVER_MAC };
            let frame = frames::ethernet(mac, OUR_MAC, if self.ipv6 { 0x86dd } else { 0x0800 }, &packet);
            let taken = self.prober.handle_frame(self.now, &Meta::default(), &frame);
            assert!(taken || self.prober.in_flight() == 0, "only what comes late is nobodys");
        }
    }

    /// The outcome, and what became of the connection besides.
    fn probe(&mut self, method: PathMethod) -> Outcome {
        let start = self.now;
        let route = Route { vlan: self.vlan, ..route(self.ipv6) };
        self.prober.start(self.now, &order(1, vip(self.ipv6), method), &route);
        let mut outcome = None;
        for _ in 0..3000 {
            self.step();
            if let Some((id, found)) = self.prober.poll_outcome() {
                assert_eq!((id, outcome.is_none()), (ProbeId::new(0, 1), true), "one outcome");
                assert!(self.now.saturating_duration_since(start) <= Duration::from_millis(1002), "in time");
                outcome = Some(found);
            }
        }
        assert_eq!(self.prober.in_flight(), 0, "nothing stays behind");
        assert_eq!(self.prober.poll_timeout(), None);
        outcome.expect("an outcome")
    }
}

fn http(body: BodyMatch) -> PathMethod {
    PathMethod::Http(HttpProbe { body, body_limit: 20_000, ..HttpProbe::new("/alive") })
}

fn failure(outcome: Outcome) -> Failure {
    if let Outcome::Failure(failure) = outcome { failure } else { panic!("{outcome:?}") }
}

fn page(text: &str) -> Does {
    Does::Sends(text.as_bytes().to_vec(), Duration::ZERO, false)
}

#[test]
fn a_good_server_passes_every_probe() {
    for ipv6 in [false, true] {
        for vlan in [VlanPath::UNTAGGED, VlanPath::tagged(7), VlanPath { outer: 7, inner: 8 }] {
            let good = || page("HTTP/1.0 200 OK\r\n\r\n<h1>hahahaha<h1>");
            for method in [
                PathMethod::HalfOpen,
                PathMethod::Connect,
                http(BodyMatch::Any),
                http(BodyMatch::Contains(b"haha".to_vec())),
            ] {
                let mut world = World::new(ipv6, good());
                world.vlan = vlan;
                assert_eq!(world.probe(method.clone()), Outcome::SUCCESS, "{method:?} {ipv6} {vlan:?}");
                if matches!(method, PathMethod::Http(_)) {
                    assert!(world.peer.heard.starts_with(b"GET /alive HTTP/1.0\r\nHost: "));
                }
            }
        }
    }
}

#[test]
fn half_open_is_syn_and_reset() {
    let mut world = World::new(false, page(""));
    assert_eq!(world.probe(PathMethod::HalfOpen), Outcome::SUCCESS);
    let lines: Vec<String> = world.sent.iter().map(|frame| frames::describe(frame)).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("192.168.0.208.61000 > 192.168.0.250.80: Flags [S]"), "{}", lines[0]);
    assert!(lines[1].contains("Flags [R]"), "{}", lines[1]);
}

#[test]
fn each_fault_has_its_reason() {
    for ipv6 in [false, true] {
        for method in [PathMethod::HalfOpen, PathMethod::Connect, http(BodyMatch::Any)] {
            let fault = |does| failure(World::new(ipv6, does).probe(method.clone()));
            let none = fault(Does::Nothing);
            assert_eq!(none.kind, FailureKind::NoAnswer);
            let text = format!(
                "no answer from 02:00:00:00:00:11: the VIP {} is not on lo, or a filter drops it",
                vip(ipv6)
            );
            assert_eq!(none.text(), text);
            let refused = fault(Does::Refuses);
            assert_eq!(refused.kind, FailureKind::Refused);
            assert!(refused.text().contains("has the VIP, but nothing listens at"), "{refused}");
            let other = fault(Does::OtherMac);
            assert!(other.text().ends_with("02:00:00:00:00:99 answered in its place"), "{other}");
            let back = fault(Does::Forwards);
            assert_eq!(back.kind, FailureKind::SentBack, "{back}");
        }
        let fault = |does| failure(World::new(ipv6, does).probe(http(BodyMatch::Contains(b"ok".to_vec()))));
        assert_eq!(fault(Does::Hangs).kind, FailureKind::Slow);
        assert_eq!(fault(page("HTTP/1.0 500 Oops\r\n\r\nok")).kind, FailureKind::Status);
        assert_eq!(fault(page("HTTP/1.0 200 OK\r\n\r\nno")).kind, FailureKind::Content);
        assert_eq!(fault(page("220 mail.example ESMTP\r\n")).kind, FailureKind::Malformed);
        assert_eq!(fault(page("")).kind, FailureKind::Malformed);
        let slow = Does::Sends(b"HTTP/1.0 200 OK\r\n\r\nok".to_vec(), Duration::from_millis(1500), false);
        assert_eq!(fault(slow).kind, FailureKind::Slow);
        let endless = [b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &[b'x'; 60_000]].concat();
        assert_eq!(fault(Does::Sends(endless, Duration::ZERO, true)).kind, FailureKind::Content);
        let headers = [b"HTTP/1.0 200 OK\r\nA: ".as_slice(), &[b'x'; 60_000]].concat();
        assert_eq!(fault(Does::Sends(headers, Duration::ZERO, true)).kind, FailureKind::Malformed);
        let late = Does::Sends(b"HTTP/1.0 200 OK\r\n\r\nok".to_vec(), Duration::from_millis(900), false);
        let outcome = World::new(ipv6, late).probe(http(BodyMatch::Contains(b"ok".to_vec())));
        assert_eq!(outcome, Outcome::SUCCESS, "slow, but in time");
    }
}

#[test]
fn without_neighbour_address_or_room_the_reason_says_so() {
    let mut world = World::new(false, Does::Nothing);
    let unknown = Route { server_mac: None, ..route(false) };
    world.prober.start(world.now, &order(1, vip(false), PathMethod::HalfOpen), &unknown);
    let found = failure(world.prober.poll_outcome().unwrap().1);
    assert_eq!(found.text(), "the Ethernet address of 192.168.0.188 is not known: it does not answer ARP");
    for serial in 0..9 {
        world.prober.start(world.now, &order(serial, vip(false), PathMethod::HalfOpen), &route(false));
    }
    assert!(
        matches!(world.prober.poll_outcome(), Some((id, Outcome::Undecided(_))) if id == ProbeId::new(0, 8))
    );
    // Nobody's port is another's.
    world.step();
    let ports: std::collections::HashSet<&[u8]> = world.sent.iter().map(|frame| &frame[34..36]).collect();
    assert_eq!(ports.len(), 8);
    world.prober.start(world.now, &order(1, vip(false), PathMethod::HalfOpen), &route(true));
    assert!(matches!(world.prober.poll_outcome(), Some((_, Outcome::Undecided(_)))));
}

#[test]
fn a_probe_address_of_the_kernels_is_asked_half_open_only() {
    let mut world = World::new(false, page("HTTP/1.0 500 Oops\r\n\r\n"));
    let kernels = Route { owned: false, ..route(false) };
    world.prober.start(world.now, &order(1, vip(false), http(BodyMatch::Any)), &kernels);
    for _ in 0..10 {
        world.step();
    }
    assert_eq!(world.prober.poll_outcome().unwrap().1, Outcome::SUCCESS);
    assert_eq!(world.prober.statistics().fallbacks, 1);
}

#[test]
#[cfg(feature = "regex")]
fn a_page_that_is_laborious_to_search_is_searched_in_turns() {
    let options = crate::config::PatternOptions { dotall: true, ..Default::default() };
    let pattern = crate::config::Pattern::new("a.{300}b", options).unwrap();
    let mut random = crate::random::Random::new(1);
    let body: Vec<u8> = (0..60_000).map(|_| if random.next() >> 63 == 0 { b'a' } else { b'c' }).collect();
    let page = [b"HTTP/1.0 200 OK\r\n\r\n", &body[..]].concat();
    let mut world = World::new(false, Does::Sends(page, Duration::ZERO, false));
    let probe = HttpProbe { body: BodyMatch::Pattern { pattern, wanted: false }, ..HttpProbe::new("/alive") };
    world.prober.start(world.now, &order(1, vip(false), PathMethod::Http(probe)), &route(false));
    let mut turns = 0;
    let outcome = (0..1000).find_map(|_| {
        world.step();
        turns += usize::from(!world.prober.laborious.is_empty());
        world.prober.poll_outcome()
    });
    assert_eq!(outcome, Some((ProbeId::new(0, 1), Outcome::SUCCESS)));
    assert!(turns >= 15, "some 2048 unknown steps in one turn: {turns}");
    assert!(world.prober.laborious.is_empty());
}

/// Starts a half-open probe and answers its port and sequence number.
fn started(world: &mut World) -> (u16, u32) {
    started_by(world, PathMethod::HalfOpen)
}

fn started_by(world: &mut World, method: PathMethod) -> (u16, u32) {
    world.prober.start(world.now, &order(1, vip(false), method), &route(false));
    world.step();
    let frame = world.sent.last().unwrap();
    (u16::from_be_bytes([frame[34], frame[35]]), u32::from_be_bytes(frame[38..42].try_into().unwrap()))
}

fn answer(port: u16, flags: TcpFlags, ack: u32) -> Vec<u8> {
    let to = SocketAddr::new(frames::addr("192.168.0.208"), port);
    let mut frame = frames::tcp(frames::socket("192.168.0.250:80"), to).flags(flags).ack(ack).build();
    frame[6..12].copy_from_slice(&SERVER_MAC.0);
    frame
}

#[test]
fn forged_and_damaged_answers_decide_nothing() {
    let mut world = World::new(false, Does::Nothing);
    let (port, sequence) = started(&mut world);
    let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
    let right = answer(port, syn_ack, sequence.wrapping_add(1));
    let mut damaged = right.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let frames: [Vec<u8>; 6] = [
        answer(port, syn_ack, sequence),
        answer(port, TcpFlags::RST | TcpFlags::ACK, sequence.wrapping_add(7)),
        answer(port, TcpFlags::RST, 0),
        answer(port + 1, syn_ack, sequence.wrapping_add(1)),
        damaged,
        right[..40].to_vec(),
    ];
    for frame in &frames {
        world.prober.handle_frame(world.now, &Meta::default(), frame);
        assert_eq!(world.prober.poll_outcome(), None, "{}", frames::describe(frame));
    }
    // The hardware's unfinished checksum is no damage.
    assert!(world.prober.handle_frame(world.now, &Meta { checksum_valid: true, ..Meta::default() }, &right));
    assert_eq!(world.prober.poll_outcome(), Some((ProbeId::new(0, 1), Outcome::SUCCESS)));
    world.prober.handle_frame(world.now, &Meta::default(), &right);
    assert_eq!(world.prober.poll_outcome(), None, "said once");
}

#[test]
fn a_syn_that_was_sent_back_is_the_probes_own() {
    for method in [PathMethod::HalfOpen, PathMethod::Connect] {
        let mut world = World::new(false, Does::Nothing);
        let (_, sequence) = started_by(&mut world, method);
        let mut back = world.sent.last().unwrap().clone();
        back[6..12].copy_from_slice(&SERVER_MAC.0);
        let summed = Meta { checksum_valid: true, ..Meta::default() };
        back[38..42].copy_from_slice(&(sequence ^ 1).to_be_bytes());
        assert!(world.prober.handle_frame(world.now, &summed, &back));
        assert_eq!(world.prober.poll_outcome(), None);
        back[38..42].copy_from_slice(&sequence.to_be_bytes());
        assert!(world.prober.handle_frame(world.now, &summed, &back));
        assert_eq!(failure(world.prober.poll_outcome().unwrap().1).kind, FailureKind::SentBack);
    }
}

#[test]
fn an_icmp_error_must_quote_the_probe() {
    for method in [PathMethod::HalfOpen, PathMethod::Connect] {
        check_icmp_errors(method);
    }
}

fn check_icmp_errors(method: PathMethod) {
    let mut world = World::new(false, Does::Nothing);
    let (_, _) = started_by(&mut world, method);
    let syn = world.sent.last().unwrap()[14..].to_vec();
    let icmp = |quoted: &[u8]| {
        let mut message = vec![3, 13, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&quoted[..28]);
        let (from, to) = (frames::v4("192.168.0.188").octets(), frames::v4("192.168.0.208").octets());
        let mut packet = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0];
        packet.extend_from_slice(&from);
        packet.extend_from_slice(&to);
        let sum = frames::checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&message);
        frames::ethernet(SERVER_MAC, OUR_MAC, 0x0800, &packet)
    };
    let mut forged = syn.clone();
    forged[24] ^= 1;
    assert!(world.prober.handle_frame(world.now, &Meta::default(), &icmp(&forged)));
    assert_eq!(world.prober.poll_outcome(), None);
    assert!(world.prober.handle_frame(world.now, &Meta::default(), &icmp(&syn)));
    let found = failure(world.prober.poll_outcome().unwrap().1);
    assert_eq!(
        found.text(),
        "192.168.0.188 answered with ICMP unreachable (code 13): a filter rejects 192.168.0.250:80"
    );
}

proptest! {
    #[test]
    fn garbage_neither_panics_nor_decides(
        mut frame in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..90, at in 0usize..90, byte in any::<u8>(),
    ) {
        let mut world = World::new(false, Does::Nothing);
        let (port, sequence) = started(&mut world);
        world.prober.handle_frame(world.now, &Meta::default(), &frame);
        // A right answer with one byte changed and an end cut off: success only if nothing that counts was touched.
        let right = answer(port, TcpFlags::SYN | TcpFlags::ACK, sequence.wrapping_add(1));
        frame = right.clone();
        frame.truncate(cut.max(14));
        if let Some(one) = frame.get_mut(at) {
            *one = byte;
        }
        world.prober.handle_frame(world.now, &Meta::default(), &frame);
        if let Some((_, outcome)) = world.prober.poll_outcome() {
            prop_assert_eq!(outcome, Outcome::SUCCESS);
            prop_assert_eq!(&frame[12..], &right[12..frame.len()]);
        }
    }
}
