//! Several workers decide as one director would, whoever gets a frame, and stay exact when threads race.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Wake;
use std::time::Duration;

use lvs_core::classify::owner;
use lvs_core::config::{
    ClientMask, DestinationConfig, ProbeConfig, Protocol, SchedulerKind, ServiceConfig, ServiceKey,
};
use lvs_core::connection::{ConnectionRecord, HeapMemory};
use lvs_core::director::{DirectorGroup, GroupMember, PROBE_BUFFER, TRANSMIT_BUFFER};
use lvs_core::io::{Frame, MAX_BATCH, Meta};
use lvs_core::observe::{Observation, Observer};
use lvs_core::{
    Change, Director, DirectorConfig, DropReason, Instant, InterfaceConfig, MacAddr, PortId, Verdict,
};
use lvs_testkit::frames::{self, IcmpError, TcpFlags, addr, mac, socket, station, tcp, udp, v4};
use proptest::prelude::*;

const OWN: &str = "02:00:00:00:00:02";
const DIP: &str = "192.168.0.208";
const VIP: &str = "192.168.0.250:80";
const RIPS: [&str; 4] = ["192.168.0.1", "192.168.0.2", "192.168.0.3", "192.168.0.4"];

fn config() -> DirectorConfig {
    let mut interface = InterfaceConfig::new(PortId(0), mac(OWN), "192.168.0.208/24".parse().unwrap());
    interface.owns_addresses = true;
    let mut config = DirectorConfig::new(vec![interface], [5; 32]);
    config.max_connections = 1 << 16;
    config.knobs.answers_per_second = 100_000;
    config
}

fn key(udp: bool) -> ServiceKey {
    let vip = socket(VIP);
    if udp { ServiceKey::udp(vip.ip(), 80) } else { ServiceKey::tcp(vip.ip(), 80) }
}

/// A service of each protocol, and the Ethernet addresses of its servers.
fn changes(scheduler: SchedulerKind, persistent: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    for key in [key(false), key(true)] {
        let mut service = ServiceConfig::new(key, scheduler);
        if persistent {
            service = service.persistent(Duration::from_secs(300), ClientMask::V4(0xffff_ff00));
        }
        changes.push(Change::AddService(service));
        changes.extend((1..).zip(RIPS).map(|(weight, rip)| {
            Change::AddDestination(key, DestinationConfig::new(addr(rip), 80).weight(weight))
        }));
    }
    let fixed = |(n, rip)| Change::SetStaticNeighbour { address: addr(rip), mac: Some(station(n)) };
    changes.extend((0x100..).zip(RIPS).map(fixed));
    changes
}

/// A director of several workers, driven by one thread.
struct Group {
    group: DirectorGroup,
    members: Vec<GroupMember>,
}

impl Group {
    fn new(workers: u16) -> Self {
        let workers = NonZeroU16::new(workers).unwrap();
        let (group, members) = DirectorGroup::new(&config(), Instant::ZERO, workers, &HeapMemory).unwrap();
        Self { group, members }
    }

    /// A frame that came to this worker: what becomes of it, and where it goes.
    fn handle(&mut self, now: Instant, place: usize, bytes: &[u8]) -> (Verdict, Option<MacAddr>) {
        let mut buffer = bytes.to_vec();
        let mut frame = Frame::new(&mut buffer, PortId(0));
        let verdict = self.members[place].handle_batch(now, std::slice::from_mut(&mut frame))[0];
        if verdict != Verdict::Hold {
            return (verdict, to(verdict, frame.bytes()));
        }
        let mut sent = None;
        let taken: usize = self
            .members
            .iter_mut()
            .map(|member| member.handle_inbox(now, |port, _, bytes| sent = Some((port, bytes.to_vec()))))
            .sum();
        match (taken, sent) {
            (1, Some((port, bytes))) => (Verdict::Transmit(port), to(Verdict::Transmit(port), &bytes)),
            _ => (verdict, None),
        }
    }
}

/// The Ethernet address to which a frame is sent.
fn to(verdict: Verdict, bytes: &[u8]) -> Option<MacAddr> {
    let mac = MacAddr(*bytes.first_chunk()?);
    matches!(verdict, Verdict::Transmit(_)).then_some(mac)
}

fn alone(director: &mut Director, now: Instant, bytes: &[u8]) -> (Verdict, Option<MacAddr>) {
    let mut buffer = bytes.to_vec();
    let mut frame = Frame::new(&mut buffer, PortId(0));
    let verdict = director.handle_frame(now, &mut frame);
    (verdict, to(verdict, frame.bytes()))
}

fn client(n: u8, port: u8) -> SocketAddr {
    SocketAddr::from(([110, 0, n % 5, n], 2000 + u16::from(port % 7)))
}

fn sorted(mut records: Vec<ConnectionRecord>) -> Vec<ConnectionRecord> {
    records.sort_by_key(|one| (one.template, one.client, one.protocol.map(Protocol::number)));
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Every frame goes to a worker at random, which hands it on if it is another's: the same servers, the same counts and the
    /// same connections as with one director.
    #[test]
    fn a_group_decides_as_one_director(
        workers in 2u16..5,
        scheduler in prop::sample::select(SchedulerKind::ALL),
        persistent: bool,
        steps in prop::collection::vec((any::<u8>(), 0u8..20, any::<u8>(), 0u8..12, any::<u8>()), 0..120),
    ) {
        let mut director = Director::new(config(), Instant::ZERO).unwrap();
        let mut group = Group::new(workers);
        let changes = changes(scheduler, persistent);
        director.apply(Instant::ZERO, &changes).unwrap();
        group.group.apply(Instant::ZERO, &changes).unwrap();
        let mut now = Instant::ZERO;
        for (place, n, port, action, more) in steps {
            let (client, vip) = (client(n, port), socket(VIP));
            let macs = (station(15), mac(OWN));
            let segment = |flags| tcp(client, vip).flags(flags).macs(macs.0, macs.1).build();
            let frames = match action {
                0..=3 => vec![segment(TcpFlags::SYN)],
                4 | 5 => vec![segment(TcpFlags::ACK)],
                6 => vec![segment(TcpFlags::FIN | TcpFlags::ACK)],
                7 => vec![udp(client, vip).macs(macs.0, macs.1).build()],
                8 => udp(client, vip).payload(&[7; 3000]).macs(macs.0, macs.1).fragments(1500),
                9 => {
                    let reply = tcp(vip, client).payload(&[0; 100]).build();
                    let error = IcmpError::TooBig { mtu: 1400 };
                    vec![frames::icmp_error(addr("10.5.5.5"), vip.ip(), error, &reply).macs(macs.0, macs.1).build()]
                }
                10 => {
                    now = now + Duration::from_millis(u64::from(more) * 500);
                    director.handle_timeout(now);
                    group.members.iter().for_each(|member| member.handle_timeout(now));
                    continue;
                }
                _ => {
                    let weight = u32::from(more % 4);
                    let rip = addr(RIPS[usize::from(more / 4) % RIPS.len()]);
                    let edit = Change::EditDestination(key(false), DestinationConfig::new(rip, 80).weight(weight));
                    director.apply(now, &[edit]).unwrap();
                    group.group.apply(now, &[edit]).unwrap();
                    continue;
                }
            };
            for (at, frame) in frames.iter().enumerate() {
                let place = (usize::from(place) + at) % usize::from(workers);
                let (one, all) = (alone(&mut director, now, frame), group.handle(now, place, frame));
                prop_assert_eq!(one.1, all.1);
                // What was handed over is seen by where it goes.
                prop_assert!(one.0 == all.0 || all.0 == Verdict::Hold, "{:?} {:?}", one, all);
            }
        }
        let (mut one, mut all) = (director.services(), group.group.services());
        one.sort_by_key(|service| service.config.key);
        all.sort_by_key(|service| service.config.key);
        prop_assert_eq!(one, all);
        let records = (director.all_connections(now), group.group.all_connections(now));
        prop_assert_eq!(sorted(records.0), sorted(records.1));
    }
}

/// Runs the members on threads of their own; each makes so many connections of its own clients.
fn race(members: Vec<GroupMember>, connections: u32) -> Vec<GroupMember> {
    let size = NonZeroU16::new(members.len() as u16).unwrap();
    let threads: Vec<_> = members
        .into_iter()
        .map(|member| {
            std::thread::spawn(move || {
                let mut made = 0;
                let mut host = 0u32;
                while made < connections {
                    let mut buffers: Vec<Vec<u8>> = Vec::new();
                    while buffers.len() < MAX_BATCH.min((connections - made) as usize) {
                        let client = SocketAddr::from(((0x6e00_0000 + host).to_be_bytes(), 999));
                        let frame =
                            tcp(client, socket(VIP)).flags(TcpFlags::SYN).macs(station(15), mac(OWN)).build();
                        host += 1;
                        if owner(&frame, &Meta::default(), size) == member.place() {
                            buffers.push(frame);
                        }
                    }
                    let mut frames: Vec<_> = buffers.iter_mut().map(|b| Frame::new(b, PortId(0))).collect();
                    let verdicts = member.handle_batch(Instant::from_secs(1), &mut frames);
                    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Transmit(_))));
                    made += verdicts.len() as u32;
                }
                member
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Round robin over all workers, whose threads race: every server gets exactly its share.
#[test]
fn round_robin_is_exact_over_all_workers() {
    let mut group = Group::new(4);
    let same: Vec<Change> = changes(SchedulerKind::RoundRobin, false);
    group.group.apply(Instant::ZERO, &same).unwrap();
    race(std::mem::take(&mut group.members), 2000);
    let service = group.group.service(key(false)).unwrap();
    let shares: Vec<u32> = service.destinations.iter().map(|one| one.active).collect();
    assert_eq!(shares, [2000; 4]);
    assert_eq!(group.group.connection_usage().connections, 8000);
}

/// A limit holds over all workers.
#[test]
fn thresholds_count_the_connections_of_all_workers() {
    let mut group = Group::new(2);
    group.group.apply(Instant::ZERO, &changes(SchedulerKind::LeastConnection, false)).unwrap();
    let limited = DestinationConfig::new(addr(RIPS[0]), 80).thresholds(10, 0);
    group.group.apply(Instant::ZERO, &[Change::EditDestination(key(false), limited)]).unwrap();
    race(std::mem::take(&mut group.members), 200);
    let service = group.group.service(key(false)).unwrap();
    let shares: BTreeMap<_, _> =
        service.destinations.iter().map(|one| (one.config.address, one.active)).collect();
    assert_eq!(shares[&addr(RIPS[0])], 10);
    assert!(RIPS[1..].iter().all(|rip| shares[&addr(rip)] == 130), "{shares:?}");
}

/// Edits while threads work: each reaches all workers, and no connection is lost or moved that it does not concern.
#[test]
fn edits_in_the_middle_of_traffic_move_no_connection() {
    let mut group = Group::new(2);
    group.group.apply(Instant::ZERO, &changes(SchedulerKind::RoundRobin, false)).unwrap();
    let members = race(std::mem::take(&mut group.members), 500);
    let before = sorted(group.group.all_connections(Instant::from_secs(1)));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for member in &members {
            let (group, stop) = (&group.group, &stop);
            scope.spawn(move || {
                let size = NonZeroU16::new(2).unwrap();
                let records = group.all_connections(Instant::from_secs(1));
                while !stop.load(Ordering::Relaxed) {
                    for record in &records {
                        let frame = tcp(record.client, record.virtual_address);
                        let mut bytes = frame.flags(TcpFlags::SYN).macs(station(15), mac(OWN)).build();
                        if owner(&bytes, &Meta::default(), size) != member.place() {
                            continue;
                        }
                        let mut frame = Frame::new(&mut bytes, PortId(0));
                        let verdict =
                            member.handle_batch(Instant::from_secs(1), std::slice::from_mut(&mut frame))[0];
                        let rip = record.destination.ip();
                        let place = RIPS.iter().position(|one| addr(one) == rip).unwrap();
                        assert_eq!(to(verdict, frame.bytes()), Some(station(0x100 + place as u16)));
                    }
                }
            });
        }
        for n in 0..300u32 {
            let edits = [
                Change::EditDestination(key(false), DestinationConfig::new(addr(RIPS[0]), 80).weight(n % 3)),
                Change::AddDestination(key(true), DestinationConfig::new(addr("192.168.0.99"), 80)),
                Change::RemoveDestination { service: key(true), address: addr("192.168.0.99"), port: 80 },
            ];
            group.group.apply(Instant::from_secs(1), &edits).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let plain = |record: &ConnectionRecord| (record.client, record.destination);
    let after = sorted(group.group.all_connections(Instant::from_secs(1)));
    assert_eq!(before.iter().map(plain).collect::<Vec<_>>(), after.iter().map(plain).collect::<Vec<_>>());
    // Refused as a whole: no worker sees any of it.
    let edits = [Change::RemoveService(key(false)), Change::RemoveService(key(false))];
    assert!(group.group.apply(Instant::from_secs(1), &edits).is_err());
    assert!(group.group.service(key(false)).is_some());
}

/// A frame waits at one worker, and the answer about its server's Ethernet address comes to another.
#[test]
fn what_one_worker_hears_lets_the_frames_of_others_go() {
    let mut group = Group::new(3);
    let silent = [
        Change::AddService(ServiceConfig::new(key(false), SchedulerKind::RoundRobin)),
        Change::AddDestination(key(false), DestinationConfig::new(addr(RIPS[0]), 80)),
    ];
    group.group.apply(Instant::ZERO, &silent).unwrap();
    let syn = tcp(client(1, 1), socket(VIP)).flags(TcpFlags::SYN).macs(station(15), mac(OWN)).build();
    let size = NonZeroU16::new(3).unwrap();
    let place = usize::from(owner(&syn, &Meta::default(), size));
    assert_eq!(group.handle(Instant::ZERO, place, &syn).0, Verdict::Hold);
    let other = (place + 1) % 3;
    let answer = frames::arp_reply(station(0x100), v4(RIPS[0]), mac(OWN), v4(DIP)).build();
    // Asked for by whichever worker is looked at first.
    let mut buffer = [0; TRANSMIT_BUFFER];
    while group.members[other].poll_transmit(Instant::ZERO, &mut buffer).is_some() {}
    assert_eq!(group.handle(Instant::ZERO, other, &answer).0, Verdict::Drop(DropReason::Consumed));
    let mut released = Vec::new();
    while let Some(outgoing) = group.members[place].poll_transmit(Instant::ZERO, &mut buffer) {
        released.push(buffer[..outgoing.len].to_vec());
    }
    let expected = [&station(0x100).0[..], &mac(OWN).0, &syn[12..]].concat();
    assert_eq!(released, [expected]);
}

/// More frames for a worker than its inbox holds: the rest is dropped and counted.
#[test]
fn a_full_inbox_is_a_counted_drop() {
    let mut group = Group::new(2);
    group.group.apply(Instant::ZERO, &changes(SchedulerKind::RoundRobin, false)).unwrap();
    let syn = tcp(client(1, 1), socket(VIP)).flags(TcpFlags::SYN).macs(station(15), mac(OWN)).build();
    let place = usize::from(owner(&syn, &Meta::default(), NonZeroU16::new(2).unwrap()));
    let mut verdicts = BTreeMap::new();
    for _ in 0..300 {
        let mut bytes = syn.clone();
        let mut frame = Frame::new(&mut bytes, PortId(0));
        let verdict =
            group.members[1 - place].handle_batch(Instant::ZERO, std::slice::from_mut(&mut frame))[0];
        *verdicts.entry(format!("{verdict:?}")).or_insert(0) += 1;
    }
    assert_eq!(verdicts, BTreeMap::from([("Drop(OwnerBusy)".to_owned(), 44), ("Hold".to_owned(), 256)]));
    assert_eq!(group.group.statistics().dropped(DropReason::OwnerBusy), 44);
    assert_eq!(group.members[place].handle_inbox(Instant::ZERO, |_, _, _| {}), 256);
}

/// Whoever waits is woken by the first frame in its inbox, not by each.
#[test]
fn the_first_frame_in_an_inbox_wakes_its_owner() {
    struct Bell(AtomicU32);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut group = Group::new(2);
    group.group.apply(Instant::ZERO, &changes(SchedulerKind::RoundRobin, false)).unwrap();
    let syn = tcp(client(1, 1), socket(VIP)).flags(TcpFlags::SYN).macs(station(15), mac(OWN)).build();
    let place = usize::from(owner(&syn, &Meta::default(), NonZeroU16::new(2).unwrap()));
    let bells = [0, 1].map(|_| Arc::new(Bell(AtomicU32::new(0))));
    for (member, bell) in group.members.iter().zip(&bells) {
        member.set_waker(Arc::clone(bell).into());
    }
    for round in 1..=3 {
        for _ in 0..5 {
            let mut bytes = syn.clone();
            let mut frame = Frame::new(&mut bytes, PortId(0));
            group.members[1 - place].handle_batch(Instant::ZERO, std::slice::from_mut(&mut frame));
        }
        assert_eq!(bells[place].0.load(Ordering::Relaxed), round);
        assert_eq!(group.members[place].handle_inbox(Instant::ZERO, |_, _, _| {}), 5);
    }
    assert_eq!(bells[1 - place].0.load(Ordering::Relaxed), 0);
}

/// What waits for a server that is removed does not go to one that takes its place in the same edit.
#[test]
fn frames_that_wait_for_a_removed_server_are_given_up() {
    let service = Change::AddService(ServiceConfig::new(key(false), SchedulerKind::RoundRobin));
    let add = |rip| Change::AddDestination(key(false), DestinationConfig::new(addr(rip), 80));
    let mut director = Director::new(config(), Instant::ZERO).unwrap();
    director.apply(Instant::ZERO, &[service, add(RIPS[0])]).unwrap();
    let syn = tcp(client(1, 1), socket(VIP)).flags(TcpFlags::SYN).macs(station(15), mac(OWN)).build();
    assert_eq!(alone(&mut director, Instant::ZERO, &syn).0, Verdict::Hold);
    let remove = Change::RemoveDestination { service: key(false), address: addr(RIPS[0]), port: 80 };
    director.apply(Instant::ZERO, &[remove, add(RIPS[1])]).unwrap();
    assert_eq!(director.statistics().given_up, 1);
    let mut buffer = [0; TRANSMIT_BUFFER];
    while director.poll_transmit(Instant::ZERO, &mut buffer).is_some() {}
    let answer = frames::arp_reply(station(0x101), v4(RIPS[1]), mac(OWN), v4(DIP)).build();
    assert_eq!(alone(&mut director, Instant::ZERO, &answer).0, Verdict::Drop(DropReason::Consumed));
    assert!(director.poll_transmit(Instant::ZERO, &mut buffer).is_none(), "it went to another server");
}

/// The kernel may share out frames wrongly for a moment: a flow that is unknown where it came goes to its owner, one that is known
/// stays.
#[test]
fn a_flow_stays_where_it_is_known_and_else_goes_to_its_owner() {
    let mut group = Group::new(2);
    group.group.apply(Instant::ZERO, &changes(SchedulerKind::RoundRobin, false)).unwrap();
    let segment = |flags| tcp(client(1, 1), socket(VIP)).flags(flags).macs(station(15), mac(OWN)).build();
    let syn = segment(TcpFlags::SYN);
    let place = usize::from(owner(&syn, &Meta::default(), NonZeroU16::new(2).unwrap()));
    let (first, server) = group.handle(Instant::ZERO, 1 - place, &syn);
    assert!(matches!(first, Verdict::Transmit(_)));
    for came_to in [place, 1 - place] {
        assert_eq!(group.handle(Instant::ZERO, came_to, &segment(TcpFlags::ACK)).1, server);
    }
    assert_eq!(group.group.connection_usage().connections, 1);
    // An RST from nowhere belongs to nobody; whoever owns it says so.
    let stray = tcp(client(3, 3), socket(VIP)).flags(TcpFlags::ACK).macs(station(15), mac(OWN)).build();
    for came_to in 0..2 {
        assert_eq!(group.handle(Instant::ZERO, came_to, &stray).1, None);
    }
    assert_eq!(group.group.statistics().dropped(DropReason::NotSyn), 2);
}

/// Writes down what it sees, in batches that it wants.
struct Scribe {
    wants: bool,
    seen: Vec<String>,
}

impl Observer for Scribe {
    fn watches(&mut self, _: Instant) -> bool {
        self.wants
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        let word = match observation {
            Observation::Held { because } => format!("{because:?}"),
            Observation::Verdict { verdict, .. } => format!("{verdict:?}"),
            other => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
        };
        self.seen.push(word);
    }
}

/// A frame that goes to its owner is seen there with all that is decided, and where it came as handed over. A batch that nobody
/// wants to see is decided about all the same.
#[test]
fn observers_see_a_frame_where_it_is_decided_about() {
    let mut group = Group::new(2);
    group.group.apply(Instant::ZERO, &changes(SchedulerKind::RoundRobin, false)).unwrap();
    let mut give = |wants: bool, from: u8| {
        let syn = tcp(client(from, 1), socket(VIP)).flags(TcpFlags::SYN).macs(station(15), mac(OWN)).build();
        let place = usize::from(owner(&syn, &Meta::default(), NonZeroU16::new(2).unwrap()));
        let mut bytes = syn;
        let mut frame = Frame::new(&mut bytes, PortId(0));
        let [mut near, mut far] = [(); 2].map(|()| Scribe { wants, seen: Vec::new() });
        let came = &group.members[1 - place];
        let verdict =
            came.handle_batch_observed(Instant::ZERO, std::slice::from_mut(&mut frame), &mut near)[0];
        assert_eq!(verdict, Verdict::Hold);
        let mut sent = 0;
        let count = group.members[place].handle_inbox_observed(Instant::ZERO, |_, _, _| sent += 1, &mut far);
        assert_eq!((count, sent), (1, 1));
        (place, near.seen, far.seen)
    };
    let (owner, near, far) = give(true, 1);
    assert_eq!(near, ["Frame", &format!("HandedOver {{ owner: {owner} }}"), "Hold"]);
    assert_eq!(far, ["Frame", "Service", "Scheduled", "Transmit(PortId(0))"]);
    let (_, near, far) = give(false, 2);
    assert!(near.is_empty() && far.is_empty(), "{near:?} {far:?}");
    // The director that is alone asks, too.
    let mut director = Director::new(config(), Instant::ZERO).unwrap();
    let mut bytes = tcp(client(1, 1), socket(VIP)).flags(TcpFlags::SYN).build();
    for (wants, seen) in [(false, 0), (true, 2)] {
        let mut scribe = Scribe { wants, seen: Vec::new() };
        let _ = director.handle_frame_observed(
            Instant::ZERO,
            &mut Frame::new(&mut bytes, PortId(0)),
            &mut scribe,
        );
        assert_eq!(scribe.seen.len(), seen, "{:?}", scribe.seen);
    }
}

/// Answers to probes come to any worker; whoever probes fetches them from the group, and is woken.
#[test]
fn what_is_for_health_checks_is_fetched_from_the_group() {
    struct Bell(AtomicU32);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut config = config();
    config.probes = Some(ProbeConfig::from_address(addr("192.168.0.209")));
    let size = NonZeroU16::new(3).unwrap();
    let (group, members) = DirectorGroup::new(&config, Instant::ZERO, size, &HeapMemory).unwrap();
    let mut group = Group { group, members };
    group.group.apply(Instant::ZERO, &changes(SchedulerKind::RoundRobin, false)).unwrap();
    let bell = Arc::new(Bell(AtomicU32::new(0)));
    group.group.set_probe_waker(Arc::clone(&bell).into());
    let rung = || bell.0.load(Ordering::Relaxed);
    let probe = socket("192.168.0.209:61000");
    let answer = tcp(socket(VIP), probe).flags(TcpFlags::SYN | TcpFlags::ACK);
    let answer = answer.macs(station(0x100), mac(OWN)).build();
    for place in 0..3 {
        assert_eq!(group.handle(Instant::ZERO, place, &answer).0, Verdict::Drop(DropReason::Consumed));
    }
    assert_eq!(rung(), 1, "by the first one only");
    let mut buffer = [0; PROBE_BUFFER];
    for _ in 0..3 {
        let reply = group.group.poll_probe_reply(&mut buffer).unwrap();
        assert_eq!(&buffer[..reply.len], &answer[..]);
    }
    assert_eq!(group.group.poll_probe_reply(&mut buffer), None);
    let statistics = group.group.statistics();
    assert_eq!((statistics.frames(), statistics.dropped(DropReason::Consumed)), (3, 3));

    let syn = tcp(client(1, 1), socket(VIP)).flags(TcpFlags::SYN).macs(station(15), mac(OWN)).build();
    let place = usize::from(owner(&syn, &Meta::default(), size));
    for _ in 0..3 {
        assert!(matches!(group.handle(Instant::ZERO, place, &syn).0, Verdict::Transmit(_)));
    }
    assert_eq!(rung(), 2);
    let suspect = group.group.poll_repeated_syn().unwrap();
    assert_eq!((suspect.service, suspect.port), (key(false), 80));
    assert_eq!(group.group.poll_repeated_syn(), None);
    assert_eq!(group.group.batch_sizes().counts(), &[6, 0, 0, 0, 0, 0, 0]);
    let route = group.group.route(addr(RIPS[0])).unwrap();
    assert_eq!((route.source, route.owned, route.next_hop_mac), (probe.ip(), true, Some(station(0x100))));
    assert_eq!(group.group.neighbour_usage().resolved, 4);
}
