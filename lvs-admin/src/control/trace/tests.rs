//! What workers see is told, so much and no more, and only while somebody watches.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use lvs_core::classify::owner_of;
use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::connection::HeapMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::{Change, Director, DirectorConfig, Frame, InterfaceConfig, PortId};
use lvs_testkit::frames::{self, TcpFlags, addr, mac, socket, station};

use super::*;

const VIP: &str = "192.168.0.250:80";

fn config() -> DirectorConfig {
    let eth0 = InterfaceConfig::new(PortId(0), mac("02:00:00:00:00:d0"), "192.168.0.208/24".parse().unwrap());
    DirectorConfig::new(vec![eth0], [7; 32])
}

fn changes() -> [Change; 3] {
    let key = ServiceKey::tcp(socket(VIP).ip(), 80);
    let rip = addr("192.168.0.188");
    [
        Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin)),
        Change::AddDestination(key, DestinationConfig::new(rip, 80)),
        Change::SetStaticNeighbour { address: rip, mac: Some(station(1)) },
    ]
}

/// The nth client.
fn client(n: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from_bits(0x6e00_0000 + n), 2000))
}

fn syn(n: u32, port: u16) -> Vec<u8> {
    frames::tcp(client(n), SocketAddr::new(socket(VIP).ip(), port))
        .flags(TcpFlags::SYN)
        .macs(station(15), mac("02:00:00:00:00:d0"))
        .build()
}

/// A director that a tracer's witness watches.
struct World {
    director: Director,
    witness: Witness,
    tracer: Arc<Tracer>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mut director = Director::new(config(), Instant::ZERO).unwrap();
        director.apply(Instant::ZERO, &changes()).unwrap();
        let tracer = Tracer::new();
        Self { director, witness: tracer.witness(None), tracer, now: Instant::ZERO }
    }

    fn watch(&self, filter: &str) -> Trace {
        self.tracer.watch(filter.parse().unwrap()).unwrap()
    }

    /// So many SYNs to this port of the VIP, each from another client.
    fn syns(&mut self, port: u16, count: u32) {
        for n in 0..count {
            let mut bytes = syn(n, port);
            let mut frame = Frame::new(&mut bytes, PortId(0));
            let _ = self.director.handle_frame_observed(self.now, &mut frame, &mut self.witness);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }
}

fn now(trace: &Trace) -> Portion {
    trace.next(Duration::ZERO)
}

/// Everything that waits.
fn all(trace: &Trace) -> (usize, u64, u64) {
    let (mut told, mut untold, mut unlooked) = (0, 0, 0);
    loop {
        let portion = now(trace);
        if portion.is_empty() {
            return (told, untold, unlooked);
        }
        assert!(portion.frames.len() <= PORTION);
        told += portion.frames.len();
        (untold, unlooked) = (untold + portion.untold, unlooked + portion.unlooked);
    }
}

#[test]
fn nothing_is_noted_before_and_after() {
    let mut world = World::new();
    assert!(!world.witness.watches(world.now));
    world.syns(80, 1);
    let trace = world.watch("");
    assert_eq!(world.tracer.traces(), 1);
    world.syns(80, 2);
    let portion = now(&trace);
    let words: Vec<String> = portion.frames.iter().map(|told| told.explanation.why(&Plain)).collect();
    assert_eq!(words.len(), 2);
    assert!(words[0].starts_with("known, to 192.168.0.188; "), "{words:?}");
    assert!(words[1].ends_with("so it is the turn of 192.168.0.188"), "{words:?}");
    drop(trace);
    assert_eq!(world.tracer.traces(), 0);
    assert!(!world.witness.watches(world.now) && world.witness.watches.is_empty());
    let before = format!("{:?}", world.witness.notes);
    world.syns(80, 5);
    assert_eq!(format!("{:?}", world.witness.notes), before, "a frame was noted that nobody watches");
}

#[test]
fn each_trace_has_its_own_filter_and_sampling() {
    let mut world = World::new();
    let drops = world.watch("verdict=drop");
    let some = world.watch("port=80 sample=10");
    world.syns(80, 30);
    world.syns(81, 4);
    assert_eq!((all(&drops), all(&some)), ((4, 0, 0), (3, 0, 0)));
    // One goes, and the other is as it was: the next of its turn is the 31st.
    drop(drops);
    world.syns(80, 9);
    assert_eq!(all(&some), (1, 0, 0));
}

#[test]
fn so_many_are_told_and_the_rest_is_counted() {
    let mut world = World::new();
    let headers = world.watch("port=80 protocol=tcp");
    let verdicts = world.watch("verdict=transmit");
    world.syns(80, 130);
    // Whether the headers decide is known of each frame that is not looked at.
    assert_eq!(all(&headers), (TOLD as usize, 30, 0));
    assert_eq!(all(&verdicts), (TOLD as usize, 0, 30));
    world.pass(SLICE);
    world.syns(80, 1);
    assert_eq!((all(&headers), all(&verdicts)), ((1, 0, 0), (1, 0, 0)));
    assert_eq!(TOLD_PER_SECOND, 1000);
}

#[test]
fn so_many_are_looked_at() {
    let mut world = World::new();
    let trace = world.watch("verdict=drop");
    world.syns(80, LOOKED_AT + 7);
    world.syns(81, 3);
    assert_eq!(all(&trace), (0, 0, 10));
    world.pass(SLICE);
    world.syns(81, 3);
    assert_eq!(all(&trace), (3, 0, 0));
}

/// A frame that one worker hands to another is counted where it is decided about, and nowhere else.
#[test]
fn a_frame_that_is_handed_over_is_counted_once() {
    let workers = NonZeroU16::new(2).unwrap();
    let (group, mut members) = DirectorGroup::new(&config(), Instant::ZERO, workers, &HeapMemory).unwrap();
    group.apply(Instant::ZERO, &changes()).unwrap();
    let tracer = Tracer::new();
    let mut witnesses = [0, 1].map(|worker| tracer.witness(Some(worker)));
    let trace = tracer.watch("port=80 protocol=tcp".parse().unwrap()).unwrap();
    let verdicts = tracer.watch("verdict=transmit".parse().unwrap()).unwrap();
    let (others, ours): (Vec<u32>, Vec<u32>) =
        (0..2000).partition(|n| owner_of(client(*n).ip(), workers) == 1);
    // The first worker tells all that may be told of its own, and then has some of the other's.
    for n in ours[..TOLD as usize].iter().chain(&others[..30]) {
        let mut bytes = syn(*n, 80);
        let mut frame = [Frame::new(&mut bytes, PortId(0))];
        let _ = members[0].handle_batch_observed(Instant::ZERO, &mut frame, &mut witnesses[0]);
    }
    assert_eq!((all(&trace), all(&verdicts)), ((TOLD as usize, 0, 0), (TOLD as usize, 0, 0)));
    let count = members[1].handle_inbox_observed(Instant::ZERO, |_, _, _| {}, &mut witnesses[1]);
    assert_eq!(count, 30);
    assert_eq!((all(&trace), all(&verdicts)), ((0, 30, 0), (0, 0, 30)));
}

/// Nobody reads: the queue is full, and the worker goes on.
#[test]
fn who_does_not_read_is_told_how_much_was_missed() {
    let mut world = World::new();
    let trace = world.watch("");
    for _ in 0..5 {
        world.syns(80, TOLD);
        world.pass(SLICE);
    }
    assert_eq!(all(&trace), (QUEUE, u64::from(5 * TOLD) - QUEUE as u64, 0));
}

#[test]
fn so_many_traces_and_no_more() {
    let tracer = Tracer::new();
    let mut traces: Vec<Trace> = (0..MAX_TRACES).map(|_| tracer.watch(Filter::default()).unwrap()).collect();
    assert_eq!(tracer.watch(Filter::default()).unwrap_err(), TooManyTraces);
    traces.pop();
    assert!(tracer.watch(Filter::default()).is_ok());
}

/// A frame that waits wakes whoever waits for it.
#[test]
fn a_frame_ends_the_wait() {
    let mut world = World::new();
    let trace = world.watch("port=80");
    let waits = std::thread::spawn(move || {
        let begun = SystemInstant::now();
        (trace.next(Duration::from_secs(60)).frames.len(), begun.elapsed())
    });
    std::thread::sleep(Duration::from_millis(50));
    world.syns(80, 1);
    let (frames, time) = waits.join().unwrap();
    assert!(frames == 1 && time < Duration::from_secs(30), "{frames} after {time:?}");
}
