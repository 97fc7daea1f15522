//! A director and the naive model, side by side: the same edits, packets and times, and the same decisions.
//!
//! Few clients, servers and ports, so that things meet. Times lie on a grid of half a second and away from the ends of
//! connections, since a director looks for those a quarter of a second apart.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs_core::config::{
    ClientMask, DestinationConfig, Knobs, MarkRule, PortRange, PortRanges, Protocol, SchedulerFlags,
    SchedulerKind, ServiceConfig, ServiceKey, Timeouts,
};
use lvs_core::connection::ConnectionRecord;
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::io::Frame;
use lvs_core::listing::{Rates, ServiceListing};
use lvs_core::{Change, Director, DirectorConfig, Instant, InterfaceConfig, PortId, Verdict};

use super::input::{Source, sctp_packet};
use crate::frames::{self, TcpFlags, addr, mac, station};
use crate::model::{Arrival, Decision, Model, Signal};

const OWN: &str = "02:00:00:00:00:02";
const RIPS: [[&str; 4]; 2] =
    [["10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14"], ["fd00::11", "fd00::12", "fd00::13", "fd00::14"]];
const VIPS: [[&str; 2]; 2] = [["10.0.0.250", "10.0.0.251"], ["fd00::fa", "fd00::fb"]];
const CLIENTS: [[&str; 4]; 2] = [
    ["110.0.0.1", "110.0.0.2", "110.0.9.1", "203.0.113.77"],
    ["fd11::1", "fd11::2", "fd11:0:0:1::1", "2001:db8:1:2:3:4:5:6"],
];
const SERVICE_PORTS: [u16; 6] = [80, 80, 80, 8080, 21, 0];
const FLOW_PORTS: [u16; 8] = [80, 80, 80, 80, 8080, 21, 443, 20];
/// Every scheduler that decides without drawing lots.
const SCHEDULERS: [SchedulerKind; 13] = [
    SchedulerKind::RoundRobin,
    SchedulerKind::WeightedRoundRobin,
    SchedulerKind::LeastConnection,
    SchedulerKind::WeightedLeastConnection,
    SchedulerKind::Locality,
    SchedulerKind::LocalityWithReplication,
    SchedulerKind::DestinationHashing,
    SchedulerKind::SourceHashing,
    SchedulerKind::ShortestExpectedDelay,
    SchedulerKind::NeverQueue,
    SchedulerKind::WeightedFailover,
    SchedulerKind::WeightedOverflow,
    SchedulerKind::Maglev,
];
const GRID: Duration = Duration::from_millis(500);
/// Ends of connections differ from the model's by rounding to ticks, and by how late a template got more time.
const ROUNDING: Duration = Duration::from_millis(100);

/// Reads bytes as a history of a director and of the model, and asserts that they decide alike. The first byte says which
/// scheduler the services have at first, modulo 13 in the order of `SchedulerKind::ALL`; the second which families.
///
/// # Panics
/// If they do not, with the history.
pub fn model(bytes: &[u8]) {
    let mut source = Source { bytes, dice: None };
    let mut pair = Pair::new(&mut source);
    while !source.bytes.is_empty() {
        match source.below(8) {
            0 | 1 => {
                let change = pair.change(&mut source);
                pair.edit(&change);
            }
            2 => pair.pass(&mut source),
            _ => pair.packets(&mut source),
        }
    }
}

/// What has been done, for the message of a failure.
enum Step {
    Edit(Change, bool),
    Packet(Arrival, Decision),
    Time(Instant),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edit(change, accepted) => write!(f, "Edit {accepted} {change:?}"),
            Self::Packet(arrival, decision) => write!(f, "Packet {decision:?} {arrival:?}"),
            Self::Time(now) => write!(f, "Time {now:?}"),
        }
    }
}

struct Pair {
    director: Director,
    model: Model,
    now: Instant,
    scheduler: SchedulerKind,
    /// 0 to 1: one family; 2: both.
    families: u8,
    /// A client that comes back.
    regular: Option<Arrival>,
    history: Vec<Step>,
}

impl Pair {
    fn new(source: &mut Source<'_>) -> Self {
        let scheduler = SCHEDULERS[usize::from(source.byte()) % SCHEDULERS.len()];
        let families = source.below(3);
        let mut interface =
            InterfaceConfig::new(PortId(0), mac(OWN), "10.0.0.2/24".parse().expect("a subnet"));
        interface.addresses.push("fd00::2/64".parse().expect("a subnet"));
        let mut config = DirectorConfig::new(vec![interface], [7; 32]);
        (config.max_connections, config.max_templates) = (8192, 2048);
        (config.max_services, config.max_destinations, config.max_mark_rules) = (128, 1024, 1024);
        config.local_addresses = VIPS.concat().into_iter().map(addr).collect();
        config.knobs.answers_per_second = u32::MAX;
        let model = Model::new(Instant::ZERO, config.timeouts, config.knobs);
        let director = Director::new(config, Instant::ZERO).expect("a valid configuration");
        let now = Instant::ZERO;
        let mut pair = Self { director, model, now, scheduler, families, regular: None, history: Vec::new() };
        for (n, rip) in RIPS.iter().flat_map(|rips| rips.iter().enumerate()) {
            pair.edit(&Change::SetStaticNeighbour {
                address: addr(rip),
                mac: Some(station(0x100 + n as u16)),
            });
        }
        if source.below(2) == 0 {
            pair.edit(&Change::SetKnobs(knobs(source)));
        }
        for _ in 0..1 + source.below(3) {
            let key = pair.key(source);
            let config = pair.service(source, key);
            pair.edit(&Change::AddService(config));
            for rip in RIPS[usize::from(key.is_ipv6())].iter().take(1 + usize::from(source.below(4))) {
                let server = Self::server(source, addr(rip));
                pair.edit(&Change::AddDestination(key, server));
            }
        }
        pair
    }

    fn family(&self, source: &mut Source<'_>) -> usize {
        usize::from(if self.families == 2 { source.below(2) } else { self.families })
    }

    fn key(&self, source: &mut Source<'_>) -> ServiceKey {
        let family = self.family(source);
        if source.below(6) == 0 {
            let mark = 1 + u32::from(source.below(2));
            return if family == 1 { ServiceKey::mark_v6(mark) } else { ServiceKey::mark(mark) };
        }
        let protocol = source.one_of(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
        let address = addr(source.one_of(&VIPS[family]));
        ServiceKey::Address { protocol, address, port: source.one_of(&SERVICE_PORTS) }
    }

    /// A key that a service has, mostly.
    fn known_key(&self, source: &mut Source<'_>) -> ServiceKey {
        let services = self.model.services();
        let at = usize::from(source.byte());
        match services.get(at % (services.len() + 1)) {
            Some(service) => service.config.key,
            None => self.key(source),
        }
    }

    fn service(&self, source: &mut Source<'_>, key: ServiceKey) -> ServiceConfig {
        let scheduler = if source.below(8) == 0 { source.one_of(&SCHEDULERS) } else { self.scheduler };
        let mut config = ServiceConfig::new(key, scheduler);
        let all = SchedulerFlags::FALLBACK.with(SchedulerFlags::PORT);
        config.flags = source.one_of(&[
            SchedulerFlags::NONE,
            SchedulerFlags::NONE,
            SchedulerFlags::FALLBACK,
            SchedulerFlags::PORT,
            all,
        ]);
        if key.port() == 0 && source.below(8) != 0 || source.below(3) == 0 {
            let mask = match (key.is_ipv6(), source.below(3)) {
                (ipv6, 0) => ClientMask::whole(ipv6),
                (false, n) => ClientMask::V4(if n == 1 { 0xffff_ff00 } else { 0xffff_0000 }),
                (true, n) => ClientMask::V6(if n == 1 { 64 } else { 16 }),
            };
            config = config.persistent(Duration::from_secs(source.one_of(&[360, 50, 60, 10, 130])), mask);
        }
        config.one_packet = source.below(5) == 0;
        if source.below(6) == 0 {
            config.timeouts = Some(timeouts(source));
        }
        config
    }

    fn server(source: &mut Source<'_>, address: IpAddr) -> DestinationConfig {
        let weight = source.one_of(&[1, 1, 1, 2, 3, 4, 0, 100]);
        let (upper, lower) =
            source.one_of(&[(0, 0), (0, 0), (0, 0), (1, 0), (2, 0), (3, 1), (4, 0), (4, 4), (1, 2)]);
        DestinationConfig::new(address, 0).weight(weight).thresholds(upper, lower)
    }

    fn change(&self, source: &mut Source<'_>) -> Change {
        let kind = source.below(22);
        let key = self.known_key(source);
        let rip = addr(source.one_of(&RIPS[usize::from(key.is_ipv6())]));
        match kind {
            0 | 1 => {
                let key = self.key(source);
                Change::AddService(self.service(source, key))
            }
            2 | 3 => Change::EditService(self.service(source, key)),
            4 => Change::RemoveService(key),
            5..=8 => Change::AddDestination(key, Self::server(source, rip)),
            9..=12 => Change::EditDestination(key, Self::server(source, rip)),
            13 | 14 => Change::RemoveDestination { service: key, address: rip, port: key.port() },
            15 | 16 => Change::AddMarkRule(self.mark_rule(source)),
            17 if source.below(4) == 0 => Change::Clear,
            17 => Change::ClearMarkRules,
            18 => Change::SetTimeouts(timeouts(source)),
            19 | 20 => Change::SetKnobs(knobs(source)),
            _ if source.below(2) == 0 => Change::ZeroStatistics(None),
            _ => Change::ZeroStatistics(Some(key)),
        }
    }

    fn mark_rule(&self, source: &mut Source<'_>) -> MarkRule {
        let family = self.family(source);
        let vip = source.one_of(&VIPS[family]);
        let whole = if vip.contains(':') { 128 } else { 32 };
        let ranges: &[PortRange] = match source.below(3) {
            0 => &[PortRange { first: 80, last: 80 }, PortRange { first: 443, last: 443 }],
            1 => &[PortRange { first: 21, last: 21 }, PortRange { first: 1024, last: 65_535 }],
            _ => &[PortRange { first: 0, last: 65_535 }],
        };
        let length = whole - source.one_of(&[0, 0, 1, 4]);
        MarkRule {
            mark: 1 + u32::from(source.below(2)),
            protocol: source.one_of(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
            destination: format!("{vip}/{length}").parse().expect("a subnet"),
            ports: PortRanges::new(ranges).expect("sound ranges"),
        }
    }

    fn edit(&mut self, change: &Change) {
        let accepted = self.model.apply(change);
        self.history.push(Step::Edit(*change, accepted));
        let result = self.director.apply(self.now, &[*change]);
        self.expect(&format!("the answer to the edit, {result:?}"), &accepted, &result.is_ok());
        self.serve();
        self.compare();
    }

    fn packets(&mut self, source: &mut Source<'_>) {
        for _ in 0..=source.below(6) {
            let arrival = self.arrival(source);
            self.regular = Some(arrival);
            self.packet(&arrival);
        }
        self.compare();
    }

    fn arrival(&self, source: &mut Source<'_>) -> Arrival {
        let kind = source.byte();
        let again = self.regular.filter(|_| kind & 3 == 0);
        let (protocol, client, vip) = again.map_or_else(
            || self.flow(source),
            |arrival| (arrival.signal.protocol(), arrival.client, arrival.virtual_address),
        );
        let signal = match protocol {
            Protocol::Tcp => Signal::Tcp(source.one_of(&[2, 2, 2, 16, 16, 24, 17, 17, 4, 20, 18, 3, 6, 0])),
            Protocol::Sctp => Signal::Sctp(source.one_of(&[1, 1, 1, 10, 10, 0, 0, 2, 6, 7, 8, 9, 11, 14, 3])),
            _ => Signal::Udp,
        };
        let header = if vip.is_ipv4() { 20 } else { 40 };
        let length = header
            + match signal {
                Signal::Tcp(_) => 20,
                Signal::Udp => 8 + u64::from(kind >> 6),
                Signal::Sctp(_) => 16,
            };
        Arrival { client, virtual_address: vip, signal, length }
    }

    /// Some flow, mostly one that a service takes.
    fn flow(&self, source: &mut Source<'_>) -> (Protocol, SocketAddr, SocketAddr) {
        let choice = source.byte();
        let services = self.model.services();
        let some = services.get(usize::from(choice >> 3) % services.len().max(1)).filter(|_| choice & 7 != 0);
        let any = source.one_of(&[Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
        let port = source.one_of(&FLOW_PORTS);
        let (protocol, family, vip) = match some.map(|service| service.config.key) {
            Some(ServiceKey::Address { protocol, address, port: 0 }) => {
                (protocol, address.is_ipv6(), Some((address, port)))
            }
            Some(ServiceKey::Address { protocol, address, port: own }) => {
                // FTP's service has other ports, too.
                let port = if own == 21 && choice & 0x80 != 0 { port } else { own };
                (protocol, address.is_ipv6(), Some((address, port)))
            }
            Some(key) => (any, key.is_ipv6(), None),
            None => (any, self.family(source) == 1, None),
        };
        let family = usize::from(family);
        let vip = vip.unwrap_or_else(|| (addr(source.one_of(&VIPS[family])), port));
        let client = addr(source.one_of(&CLIENTS[family]));
        let client_port = source.one_of(&[4000, 4000, 4001, 4001, 4002, 4003, 4004, 20]);
        (protocol, SocketAddr::new(client, client_port), vip.into())
    }

    fn packet(&mut self, arrival: &Arrival) {
        let expected = self.model.handle(arrival);
        self.history.push(Step::Packet(*arrival, expected));
        let before = self.director.statistics().answers;
        let mut bytes = frame(arrival);
        let verdict = self.director.handle_frame(self.now, &mut Frame::new(&mut bytes, PortId(0)));
        let answered = self.director.statistics().answers > before;
        let got = match verdict {
            Verdict::Transmit(_) => {
                let n = usize::from(bytes[5]);
                Decision::Forward(addr(RIPS[usize::from(arrival.client.is_ipv6())][n]))
            }
            Verdict::Drop(_) if answered => Decision::Refuse,
            _ => Decision::Drop,
        };
        self.expect(&format!("the decision about the packet, {verdict:?}"), &expected, &got);
        self.drain();
    }

    fn pass(&mut self, source: &mut Source<'_>) {
        let halves = source.one_of(&[1, 2, 4, 8, 19, 21, 60, 100, 121, 130, 241, 610, 1805]);
        let mut end = self.now + GRID * halves;
        while self.model.is_unsettled(end) {
            end = end + GRID;
        }
        self.history.push(Step::Time(end));
        self.model.pass_until(end);
        for _ in 0..1_000_000 {
            self.serve();
            match self.director.poll_timeout() {
                Some(due) if due <= end => self.now = self.now.max(due),
                _ => break,
            }
        }
        self.now = end;
        self.serve();
        let records = self.director.all_connections(self.now);
        self.model.settle(|expected| {
            let names =
                |one: &ConnectionRecord| (one.protocol, one.client, one.virtual_address, one.destination);
            records.iter().any(|one| one.template && names(one) == names(expected))
        });
        self.compare();
    }

    /// Does what is due now.
    fn serve(&mut self) {
        for _ in 0..10_000 {
            self.director.handle_timeout(self.now);
            self.drain();
            if self.director.poll_timeout().is_none_or(|due| due > self.now) {
                return;
            }
        }
        self.fail("the director is never done");
    }

    fn drain(&mut self) {
        let mut buffer = [0; TRANSMIT_BUFFER];
        while self.director.poll_transmit(self.now, &mut buffer).is_some() {}
        while self.director.poll_event().is_some() {}
    }

    /// All that both show.
    fn compare(&self) {
        let mut services: Vec<ServiceListing> = self.director.services();
        services.sort_by_key(|service| service.config.key);
        for service in &mut services {
            service.rates = Rates::default();
            service.destinations.iter_mut().for_each(|server| server.rates = Rates::default());
        }
        self.expect_all("services", &self.model.services(), &services);
        let sort_key = |one: &ConnectionRecord| {
            let names = (one.template, one.protocol, one.client, one.virtual_address, one.destination);
            (names, one.state as u8, one.timeout, one.expires_in)
        };
        let mut got = self.director.all_connections(self.now);
        for one in &mut got {
            one.timeout = round(one.timeout);
            one.packets = if one.template { 0 } else { one.packets };
        }
        got.sort_by_key(sort_key);
        let mut expected = self.model.records();
        expected.sort_by_key(|one| sort_key(&one.record));
        let plain = |one: &ConnectionRecord| ConnectionRecord { expires_in: Duration::ZERO, ..*one };
        let (plain_expected, plain_got): (Vec<_>, Vec<_>) =
            (expected.iter().map(|one| plain(&one.record)).collect(), got.iter().map(plain).collect());
        self.expect_all("connections", &plain_expected, &plain_got);
        for (expected, got) in expected.iter().zip(&got) {
            let late = (got.expires_in + ROUNDING).saturating_sub(expected.record.expires_in);
            if late > expected.lateness + ROUNDING * 2
                || got.expires_in + ROUNDING < expected.record.expires_in
            {
                self.fail(&format!("ends at another time: {expected:?} {got:?}"));
            }
        }
    }

    fn expect<T: PartialEq + fmt::Debug>(&self, what: &str, model: &T, director: &T) {
        if model != director {
            self.fail(&format!("{what}: the model says {model:?}, the director {director:?}"));
        }
    }

    /// The same for lists; shown is what one has and the other has not.
    fn expect_all<T: PartialEq + fmt::Debug>(&self, what: &str, model: &[T], director: &[T]) {
        if model != director {
            let only = |one: &[T], other: &[T]| {
                let lines =
                    one.iter().filter(|item| !other.contains(item)).map(|item| format!("  {item:?}\n"));
                lines.collect::<String>()
            };
            let (model, director) = (only(model, director), only(director, model));
            self.fail(&format!("{what}: only the model has\n{model}only the director has\n{director}"));
        }
    }

    fn fail(&self, what: &str) -> ! {
        let from = self.history.len().saturating_sub(200);
        for step in &self.history[from..] {
            eprintln!("{step}");
        }
        panic!("{what}\n(at {:?})", self.now);
    }
}

/// Time-outs are kept in ticks of 16 ms, rounded up.
fn round(timeout: Duration) -> Duration {
    Duration::from_secs(timeout.as_secs())
}

fn timeouts(source: &mut Source<'_>) -> Timeouts {
    let seconds = |n| Duration::from_secs(n);
    Timeouts {
        tcp: seconds(source.one_of(&[900, 100, 30, 5])),
        tcp_fin: seconds(source.one_of(&[120, 20, 3])),
        udp: seconds(source.one_of(&[300, 40, 2])),
    }
}

fn knobs(source: &mut Source<'_>) -> Knobs {
    let (bits, more) = (source.byte(), source.byte());
    Knobs {
        conn_reuse_mode: bits & 3,
        expire_nodest_conn: bits & 4 != 0,
        sloppy_tcp: bits & 8 != 0,
        sloppy_sctp: bits & 16 != 0,
        expire_quiescent_template: bits & 32 != 0,
        secure_tcp: bits & 64 != 0,
        drop_packet: bits & 128 != 0,
        lblc_expiration: if more & 1 == 0 { 86_400 } else { 40 },
        lblcr_expiration: if more & 2 == 0 { 86_400 } else { 40 },
        answers_per_second: u32::MAX,
        ..Knobs::default()
    }
}

fn frame(arrival: &Arrival) -> Vec<u8> {
    let (client, vip) = (arrival.client, arrival.virtual_address);
    let (router, own) = (station(15), mac(OWN));
    match arrival.signal {
        Signal::Tcp(flags) => frames::tcp(client, vip).flags(TcpFlags(flags)).macs(router, own).build(),
        Signal::Udp => {
            let header = if vip.is_ipv4() { 28 } else { 48 };
            frames::udp(client, vip)
                .payload(&vec![7; arrival.length as usize - header])
                .macs(router, own)
                .build()
        }
        Signal::Sctp(chunk) => {
            let packet = sctp_packet(client, vip, chunk);
            frames::ip(client.ip(), vip.ip(), Protocol::Sctp.number(), &packet).macs(router, own).build()
        }
    }
}
