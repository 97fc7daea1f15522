//! Stories and properties in virtual time: servers that live and die, a prober without a network, and a director that is a list.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lvs_core::config::{Change, SchedulerFlags, SchedulerKind};
use proptest::prelude::*;

use super::*;
use crate::config::{
    Assume, CheckConfig, ConfigError, PathMethod, PathProbe, ServerHealth, ServiceHealth, SocketMethod,
    SocketProbe, Timing,
};

mod cost;
mod naive;

fn key() -> ServiceKey {
    ServiceKey::tcp("192.168.0.250".parse().unwrap(), 80)
}

fn rip(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + n))
}

fn destination(n: u32) -> DestinationConfig {
    DestinationConfig::new(rip(n), 80)
}

fn syn() -> CheckConfig {
    CheckConfig::new(Probe::Path(PathProbe::new(PathMethod::HalfOpen)))
}

fn service(servers: u32, timing: Timing) -> ServiceHealth {
    let servers =
        (0..servers).map(|n| ServerHealth::new(destination(n), vec![syn().timing(timing)])).collect();
    ServiceHealth::new(ServiceConfig::new(key(), SchedulerKind::RoundRobin), servers)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a server does with a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answers,
    Refuses,
    Hangs,
    CannotBeAsked,
}

/// A monitor, its probers, its servers and a director.
struct World {
    monitor: Monitor,
    now: Instant,
    does: BTreeMap<IpAddr, Does>,
    under_way: Vec<(Instant, ProbeId, IpAddr, Does)>,
    /// Head first, as a director has them: last added first.
    list: Vec<DestinationConfig>,
    changes: Vec<Change>,
    events: Vec<Event>,
    starts: Vec<(Instant, IpAddr)>,
}

impl World {
    fn new(services: &[ServiceHealth]) -> Self {
        let mut monitor = Monitor::new(MonitorConfig::new(7));
        monitor.configure(Instant::ZERO, services).unwrap();
        let mut world = Self {
            monitor,
            now: Instant::ZERO,
            does: BTreeMap::new(),
            under_way: Vec::new(),
            list: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
            starts: Vec::new(),
        };
        world.settle();
        world
    }

    fn weight(&self, n: u32) -> Option<u32> {
        self.list.iter().find(|one| one.address == rip(n)).map(|one| one.weight)
    }

    fn state(&self, n: u32) -> ServerState {
        self.monitor.servers(&key()).find(|one| one.destination.address == rip(n)).unwrap().state
    }

    /// The director carries out an edit, and it must be one that changes something of what there is.
    fn apply(&mut self, change: Change) {
        let place = |list: &[DestinationConfig], address| list.iter().position(|one| one.address == address);
        match change {
            Change::AddDestination(_, config) => {
                assert_eq!(place(&self.list, config.address), None, "{change:?}");
                self.list.insert(0, config);
            }
            Change::EditDestination(_, config) => {
                let at = place(&self.list, config.address).expect("there");
                self.list[at] = config;
            }
            Change::RemoveDestination { address, .. } => {
                let at = place(&self.list, address).expect("there");
                self.list.remove(at);
            }
            Change::DrainDestination { address, .. } => {
                let at = place(&self.list, address).expect("there");
                assert_ne!(self.list[at].weight, 0, "nothing to drain");
                self.list[at].weight = 0;
            }
            other => panic!("{other:?}"),
        }
        self.changes.push(change);
    }

    fn settle(&mut self) {
        self.monitor.handle_timeout(self.now);
        while let Some(order) = self.monitor.poll_probe(self.now) {
            let does = self.does.get(&order.server).copied().unwrap_or(Does::Answers);
            let takes = if does == Does::Hangs { order.timeout } else { Duration::from_micros(300) };
            self.starts.push((self.now, order.server));
            self.under_way.push((self.now + takes, order.id, order.server, does));
        }
        while let Some(decision) = self.monitor.poll_decision() {
            self.apply(decision.change);
        }
        while let Some(event) = self.monitor.poll_event() {
            self.events.push(event);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..1_000_000 {
            self.settle();
            let next = self.under_way.iter().map(|one| one.0).min();
            let next = Instant::earliest(next, self.monitor.poll_timeout()).filter(|&at| at <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = next.max(self.now);
            let (done, rest) = self.under_way.drain(..).partition(|one| one.0 <= self.now);
            self.under_way = rest;
            for (_, id, _, does) in done {
                let outcome = match does {
                    Does::Answers => Outcome::SUCCESS,
                    Does::Refuses => Outcome::failure(FailureKind::Refused, "port closed"),
                    Does::Hangs => Outcome::failure(FailureKind::NoAnswer, "no answer"),
                    Does::CannotBeAsked => Outcome::undecided("no port left"),
                };
                self.monitor.handle_result(self.now, id, outcome);
            }
        }
        panic!("does not come to rest");
    }
}

#[test]
fn a_dead_server_leaves_within_its_bound_and_comes_back_within_the_other() {
    for fall in 1..4 {
        for does in [Does::Hangs, Does::Refuses] {
            let timing = Timing { fall, ..Timing::default() };
            for offset in 0..20 {
                let mut world = World::new(&[service(3, timing)]);
                world.run(ms(4000 + 97 * offset));
                world.does.insert(rip(1), does);
                world.run(timing.detection_bound() + ms(2));
                assert_eq!(
                    (world.weight(0), world.weight(1), world.weight(2)),
                    (Some(1), Some(0), Some(1)),
                    "fall {fall}"
                );
                assert_eq!(world.state(1), ServerState::Down);
                world.does.clear();
                world.run(timing.recovery_bound() + ms(2));
                assert_eq!(world.weight(1), Some(1));
                // The others were left alone, and nobody lost a place.
                assert_eq!(world.changes.len(), 5);
                assert_eq!(
                    world.list.iter().map(|one| one.address).collect::<Vec<_>>(),
                    [rip(2), rip(1), rip(0)]
                );
            }
        }
    }
    let once = Timing { fall: 1, ..Timing::default() };
    assert_eq!(once.detection_bound(), once.interval + once.timeout);
}

#[test]
fn a_prober_that_never_reports_counts_as_no_answer() {
    let mut world = World::new(&[service(1, Timing { fall: 1, ..Timing::default() })]);
    for _ in 0..100 {
        world.now = world.now + ms(100);
        world.settle();
        world.under_way.clear();
    }
    assert_eq!(world.weight(0), Some(0));
    assert!(world.monitor.statistics().overdue > 0);
    let reason = world.monitor.servers(&key()).next().unwrap().reason.unwrap();
    assert_eq!(reason.kind, FailureKind::Overdue);
}

#[test]
fn results_of_other_probes_change_nothing() {
    let mut world = World::new(&[service(1, Timing { fall: 1, ..Timing::default() })]);
    world.run(Duration::from_secs(3));
    for id in [ProbeId::new(0, 0), ProbeId::new(0, 1), ProbeId::new(99, 1), ProbeId::new(u32::MAX, 5)] {
        world.monitor.handle_result(world.now, id, Outcome::failure(FailureKind::Refused, "forged"));
    }
    world.settle();
    assert_eq!(world.weight(0), Some(1));
    assert_eq!(world.monitor.statistics().stale, 4);
}

#[test]
fn local_trouble_is_nobodys_fault() {
    let mut world = World::new(&[service(2, Timing::default())]);
    world.does.insert(rip(0), Does::CannotBeAsked);
    world.run(Duration::from_secs(60));
    assert_eq!((world.weight(0), world.state(0)), (Some(1), ServerState::AssumedUp));
    assert!(world.monitor.checks(&key(), rip(0)).next().unwrap().failure.is_some());
    assert!(world.monitor.statistics().undecided > 20);
}

#[test]
fn what_is_assumed_down_waits_for_one_success() {
    let timing = Timing { assume: Assume::Down, rise: 3, ..Timing::default() };
    let mut world = World::new(&[service(3, timing)]);
    // In the list, in its order, but without weight.
    assert_eq!(
        world.list.iter().map(|one| (one.address, one.weight)).collect::<Vec<_>>(),
        [(rip(2), 0), (rip(1), 0), (rip(0), 0)]
    );
    assert_eq!(world.state(0), ServerState::AssumedDown);
    world.does.insert(rip(2), Does::Hangs);
    world.run(ms(3000));
    assert_eq!((world.weight(0), world.weight(1), world.weight(2)), (Some(1), Some(1), Some(0)));
    assert_eq!((world.state(1), world.state(2)), (ServerState::Up, ServerState::Down));
}

#[test]
fn hashes_without_fallback_lose_the_server_others_keep_its_place() {
    let down = Timing { fall: 1, ..Timing::default() };
    for (scheduler, flags, removed) in [
        (SchedulerKind::SourceHashing, SchedulerFlags::NONE, true),
        (SchedulerKind::SourceHashing, SchedulerFlags::FALLBACK, false),
        (SchedulerKind::Maglev, SchedulerFlags::NONE, true),
        (SchedulerKind::DestinationHashing, SchedulerFlags::FALLBACK, true),
        (SchedulerKind::WeightedLeastConnection, SchedulerFlags::NONE, false),
    ] {
        let mut config = service(2, down);
        config.service.scheduler = scheduler;
        config.service.flags = flags;
        let mut world = World::new(&[config]);
        world.does.insert(rip(0), Does::Refuses);
        world.run(Duration::from_secs(3));
        assert_eq!(world.weight(0), if removed { None } else { Some(0) }, "{scheduler}");
        world.does.clear();
        world.run(Duration::from_secs(9));
        assert_eq!(world.weight(0), Some(1));
        // Removed and added again is last added, as with IPVS.
        assert_eq!(world.list[0].address, if removed { rip(0) } else { rip(1) });
    }
}

#[test]
fn a_drain_says_its_deadline_and_an_edit_calls_it_off() {
    let mut config = service(2, Timing { fall: 1, ..Timing::default() });
    config.on_down = OnDown::Drain(Duration::from_secs(30));
    let mut world = World::new(&[config]);
    world.does.insert(rip(0), Does::Refuses);
    world.run(Duration::from_secs(3));
    let drain = Change::DrainDestination {
        service: key(),
        address: rip(0),
        port: 80,
        deadline: Duration::from_secs(30),
    };
    assert_eq!(world.changes.last(), Some(&drain));
    world.does.clear();
    world.run(Duration::from_secs(9));
    assert_eq!(world.changes.last(), Some(&Change::EditDestination(key(), destination(0))));
}

#[test]
fn a_lost_quorum_sends_everybody_to_the_sorry_server_and_hysteresis_holds() {
    let mut config = service(4, Timing { fall: 1, rise: 1, ..Timing::default() });
    config.quorum = Quorum { weight: 3, hysteresis: 1 };
    config.sorry = Some(destination(99));
    config.damping = None;
    let mut world = World::new(&[config]);
    assert_eq!(world.weight(99), Some(0));
    world.does.extend([(rip(0), Does::Hangs), (rip(1), Does::Hangs)]);
    world.run(Duration::from_secs(4));
    // Two are left, and the quorum is lost below 3 - 1 only.
    assert_eq!((world.weight(2), world.weight(3), world.weight(99)), (Some(1), Some(1), Some(0)));
    world.does.insert(rip(2), Does::Hangs);
    let before = world.changes.len();
    world.run(Duration::from_secs(4));
    assert_eq!((world.weight(3), world.weight(99)), (Some(0), Some(1)));
    // The sorry server came in before anybody went.
    assert!(
        matches!(world.changes[before], Change::EditDestination(_, one) if one.address == rip(99) && one.weight == 1)
    );
    // Three are not enough to come back, four are.
    world.does.remove(&rip(0));
    world.does.remove(&rip(1));
    world.run(Duration::from_secs(4));
    assert_eq!((world.weight(0), world.weight(99)), (Some(0), Some(1)));
    let before = world.changes.len();
    world.does.clear();
    world.run(Duration::from_secs(4));
    assert_eq!((world.weight(0), world.weight(2), world.weight(99)), (Some(1), Some(1), Some(0)));
    assert!(matches!(world.changes.last(), Some(Change::EditDestination(_, one)) if one.address == rip(99)));
    assert_eq!(world.changes.len() - before, 5);
    let quorums: Vec<bool> = world
        .events
        .iter()
        .filter_map(|e| if let Event::Quorum { gained, .. } = e { Some(*gained) } else { None })
        .collect();
    assert_eq!(quorums, [false, true]);
}

#[test]
fn without_a_sorry_server_a_lost_quorum_takes_nobody_away() {
    let mut config = service(3, Timing { fall: 1, ..Timing::default() });
    config.quorum = Quorum { weight: 3, hysteresis: 0 };
    let mut world = World::new(&[config]);
    world.does.insert(rip(0), Does::Refuses);
    world.run(Duration::from_secs(4));
    assert_eq!((world.weight(0), world.weight(1)), (Some(0), Some(1)));
    let status = world.monitor.services().next().unwrap();
    assert_eq!((status.quorum, status.weight), (false, 2));
}

#[test]
fn a_flapping_server_is_held_for_a_bounded_time() {
    let timing = Timing { fall: 1, rise: 1, interval: ms(1000), ..Timing::default() };
    let mut world = World::new(&[service(2, timing)]);
    let mut held_after = None;
    for flap in 0..10 {
        world.does.insert(rip(0), Does::Refuses);
        world.run(Duration::from_secs(3));
        world.does.clear();
        world.run(Duration::from_secs(3));
        if held_after.is_none() && world.state(0) == ServerState::Held {
            held_after = Some(flap + 1);
        }
    }
    // 60 + 60 + 60 seconds, less some seconds that ran off.
    assert_eq!(held_after, Some(3));
    assert_eq!((world.weight(0), world.weight(1)), (Some(0), Some(1)));
    let until = world.monitor.servers(&key()).next().unwrap().held_until.unwrap();
    assert!(until.saturating_duration_since(world.now) <= Duration::from_secs(240));
    world.run(until.saturating_duration_since(world.now) - ms(10));
    assert_eq!(world.weight(0), Some(0));
    world.run(ms(20));
    assert_eq!((world.weight(0), world.state(0)), (Some(1), ServerState::Up));
}

#[test]
fn damping_leaves_no_service_without_servers() {
    let timing = Timing { fall: 1, rise: 1, interval: ms(1000), ..Timing::default() };
    let mut world = World::new(&[service(2, timing)]);
    for _ in 0..5 {
        world.does.extend([(rip(0), Does::Refuses), (rip(1), Does::Refuses)]);
        world.run(Duration::from_secs(3));
        assert_eq!((world.weight(0), world.weight(1)), (Some(0), Some(0)));
        world.does.clear();
        world.run(Duration::from_secs(3));
        assert_eq!((world.weight(0), world.weight(1)), (Some(1), Some(1)), "both flapped, both serve");
    }
    assert_eq!(world.state(0), ServerState::Held);
}

#[test]
fn an_operators_word_counts_and_survives_a_reload() {
    let config = service(3, Timing::default());
    let mut world = World::new(std::slice::from_ref(&config));
    world.run(Duration::from_secs(3));
    let maintenance = Forced::Maintenance { drain: Some(Duration::from_secs(60)) };
    world.monitor.force(world.now, &key(), rip(0), Some(maintenance)).unwrap();
    world.monitor.force(world.now, &key(), rip(1), Some(Forced::Up)).unwrap();
    world.does.insert(rip(1), Does::Refuses);
    assert_eq!(world.monitor.force(world.now, &key(), rip(77), None), Err(NoSuchServerError));
    world.run(Duration::from_secs(9));
    let check = |world: &World| {
        assert_eq!((world.weight(0), world.weight(1), world.weight(2)), (Some(0), Some(1), Some(1)));
        assert_eq!(world.state(0), ServerState::Forced(maintenance));
        assert_eq!(world.state(1), ServerState::Forced(Forced::Up));
    };
    check(&world);
    let changes = world.changes.len();
    assert!(matches!(world.changes[changes - 1], Change::DrainDestination { .. }));
    let mut other = config;
    other.servers[2].destination.weight = 5;
    world.monitor.configure(world.now, &[other]).unwrap();
    world.settle();
    assert_eq!(world.weight(2), Some(5));
    assert_eq!(world.changes.len(), changes + 1, "nobody else was touched");
    world.monitor.force(world.now, &key(), rip(1), None).unwrap();
    world.settle();
    assert_eq!(world.weight(1), Some(0), "its checks had been failing all the time");
    assert_eq!(world.monitor.force_everywhere(world.now, rip(0), None), 1);
    world.settle();
    assert_eq!(world.weight(0), Some(1));
}

#[test]
fn a_reload_is_a_difference() {
    let timing = Timing { rise: 5, ..Timing::default() };
    let config = service(3, timing);
    let mut world = World::new(std::slice::from_ref(&config));
    world.does.insert(rip(0), Does::Refuses);
    world.run(Duration::from_secs(6));
    let changes = world.changes.len();
    let starts: Vec<_> = world.monitor.checks(&key(), rip(1)).map(|check| check.last).collect();
    world.monitor.configure(world.now, std::slice::from_ref(&config)).unwrap();
    world.settle();
    assert_eq!(world.changes.len(), changes, "the same again changes nothing");
    assert_eq!(world.monitor.checks(&key(), rip(1)).map(|check| check.last).collect::<Vec<_>>(), starts);
    // Another probe of the dead server and of a living one, one server less, one more.
    let mut other = config.clone();
    other.servers.remove(2);
    other.servers.push(ServerHealth::new(destination(3), vec![syn().timing(timing)]));
    for server in &mut other.servers {
        server
            .checks
            .push(CheckConfig::new(Probe::Socket(SocketProbe::new(SocketMethod::Tcp))).timing(timing));
    }
    world.monitor.configure(world.now, std::slice::from_ref(&other)).unwrap();
    world.settle();
    assert_eq!(
        (world.weight(0), world.weight(1), world.weight(2), world.weight(3)),
        (Some(0), Some(1), None, Some(1))
    );
    assert_eq!(world.changes.len(), changes + 2);
    // Back before the removal was fetched: it is still there, and stays.
    world.monitor.configure(world.now, std::slice::from_ref(&config)).unwrap();
    world.monitor.configure(world.now, std::slice::from_ref(&other)).unwrap();
    world.settle();
    assert_eq!(world.changes.len(), changes + 2);
    assert_eq!(
        world.monitor.destinations(&key()).map(|one| (one.address, one.weight)).collect::<Vec<_>>(),
        [(rip(0), 0), (rip(1), 1), (rip(3), 1)]
    );
    assert!(world.monitor.remove_service(&key()));
    world.settle();
    assert_eq!(world.changes.len(), changes + 2, "servers go with their service");
    assert_eq!((world.monitor.servers.len(), world.monitor.checks.len(), world.monitor.in_flight), (0, 0, 0));
    assert_eq!(world.monitor.poll_timeout(), None);
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let mut monitor = Monitor::new(MonitorConfig {
        max_servers: 3,
        max_checks: 3,
        max_services: 1,
        ..MonitorConfig::new(1)
    });
    monitor.configure(Instant::ZERO, &[service(3, Timing::default())]).unwrap();
    let refused = |monitor: &mut Monitor, edit: &dyn Fn(&mut ServiceHealth)| {
        let mut config = service(2, Timing::default());
        edit(&mut config);
        let error = monitor.configure(Instant::ZERO, &[config]).unwrap_err();
        assert_eq!(monitor.servers(&key()).count(), 3);
        error
    };
    let error = refused(&mut monitor, &|c| c.servers[1].checks[0].timing.fall = 0);
    assert_eq!(error.to_string(), "TCP 192.168.0.250:80, 10.0.0.2: fall is out of range: 1 to 1000");
    let twice = refused(&mut monitor, &|c| c.servers[1].destination.address = rip(0));
    assert_eq!(twice.error, ConfigError::ServerTwice);
    let sorry = refused(&mut monitor, &|c| c.sorry = Some(destination(1)));
    assert_eq!(sorry.error, ConfigError::ServerTwice);
    let full = refused(&mut monitor, &|c| c.servers.extend(service(4, Timing::default()).servers.drain(2..)));
    assert_eq!(full.error, ConfigError::TooManyServers);
    let checks = refused(&mut monitor, &|c| c.servers[0].checks.extend([syn(), syn()]));
    assert_eq!(checks.error, ConfigError::TooManyChecks);
    let mark = refused(&mut monitor, &|c| c.service.key = ServiceKey::mark(7));
    assert_eq!(mark.error, ConfigError::PathTarget);
    let hysteresis = refused(&mut monitor, &|c| c.quorum = Quorum { weight: 2, hysteresis: 2 });
    assert_eq!(hysteresis.error, ConfigError::Hysteresis);
    let two = [service(1, Timing::default()), service(1, Timing::default())];
    assert_eq!(monitor.configure(Instant::ZERO, &two).unwrap_err().error, ConfigError::ServiceTwice);
    // As large as may be, with everything exchanged, fits.
    let mut all = service(6, Timing::default());
    all.servers.drain(..3);
    monitor.configure(Instant::ZERO, &[all]).unwrap();
    assert_eq!(monitor.servers(&key()).count(), 3);
}

#[test]
fn repeated_syns_start_a_check_at_once_but_not_often() {
    let timing = Timing { interval: Duration::from_secs(60), fall: 2, ..Timing::default() };
    let mut world = World::new(&[service(2, timing)]);
    world.run(Duration::from_secs(61));
    world.starts.clear();
    world.does.insert(rip(0), Does::Hangs);
    let begin = world.now;
    for _ in 0..500 {
        world.monitor.handle_repeated_syn(world.now, &key(), rip(0));
        world.monitor.handle_repeated_syn(world.now, &key(), rip(50));
        world.run(ms(1));
    }
    assert_eq!(world.monitor.statistics().suspicions, 1);
    assert_eq!(world.starts[0], (begin, rip(0)));
    world.run(ms(2000));
    assert_eq!(world.weight(0), Some(0), "found in {:?} instead of a minute", timing.timeout);
    // A whole network of repeated SYNs: 100 servers a second.
    let mut many = World::new(&[service(1000, timing)]);
    many.run(Duration::from_secs(61));
    for n in 0..1000 {
        many.monitor.handle_repeated_syn(many.now, &key(), rip(n));
    }
    assert_eq!(many.monitor.statistics().suspicions, 100);
}

#[test]
fn a_command_sets_the_weight() {
    let mut world = World::new(&[service(1, Timing::default())]);
    world.monitor.handle_timeout(world.now + Duration::from_secs(2));
    let order = world.monitor.poll_probe(world.now).unwrap();
    world.monitor.handle_result(world.now, order.id, Outcome::Success { weight: Some(42) });
    world.settle();
    assert_eq!(world.weight(0), Some(42));
    let mut config = service(1, Timing::default());
    config.servers[0].destination.weight = 7;
    world.monitor.configure(world.now, &[config]).unwrap();
    world.settle();
    assert_eq!(world.weight(0), Some(7), "a weight that was configured anew counts");
}

#[test]
fn a_refused_edit_is_tried_again() {
    let mut monitor = Monitor::new(MonitorConfig::new(1));
    monitor.configure(Instant::ZERO, &[service(1, Timing::default())]).unwrap();
    let decision = monitor.poll_decision().unwrap();
    monitor.handle_refused(&decision);
    assert_eq!(monitor.poll_decision(), None);
    monitor.force(Instant::ZERO, &key(), rip(0), Some(Forced::Up)).unwrap();
    assert_eq!(monitor.poll_decision().map(|one| one.change), Some(decision.change));
    // Taken over from a director that has it already, with the weight it has there.
    monitor.configure(Instant::ZERO, &[]).unwrap();
    monitor.configure(Instant::ZERO, &[service(1, Timing::default())]).unwrap();
    monitor.adopt(Instant::ZERO, &key(), rip(0), Some(destination(0))).unwrap();
    assert_eq!(monitor.poll_decision(), None);
}

#[test]
fn no_more_probes_than_may_be_under_way() {
    let mut monitor = Monitor::new(MonitorConfig { max_in_flight: 10, ..MonitorConfig::new(1) });
    monitor.configure(Instant::ZERO, &[service(100, Timing::default())]).unwrap();
    monitor.handle_timeout(Instant::from_secs(2));
    let orders: Vec<_> = std::iter::from_fn(|| monitor.poll_probe(Instant::from_secs(2))).collect();
    assert_eq!(orders.len(), 10);
    assert_ne!(monitor.poll_timeout(), Some(Instant::ZERO), "nothing can be done before a result");
    monitor.handle_result(Instant::from_secs(2), orders[0].id, Outcome::SUCCESS);
    assert_eq!(monitor.poll_timeout(), Some(Instant::ZERO));
    assert!(monitor.poll_probe(Instant::from_secs(2)).is_some());
    assert!(monitor.poll_probe(Instant::from_secs(2)).is_none());
}

#[test]
fn a_thousand_servers_are_asked_evenly() {
    let timing = Timing::default();
    let mut world = World::new(&[service(1000, timing)]);
    world.run(Duration::from_secs(60));
    let mut buckets = vec![0u32; 600];
    for (at, _) in &world.starts {
        buckets[(at.as_micros() / 100_000) as usize % 600] += 1;
    }
    // 1000 checks every 1.8 to 2 s are 50 to 56 in 100 ms.
    let (least, most) = (buckets.iter().min().unwrap(), buckets.iter().max().unwrap());
    println!("probes in 100 ms: {least} to {most}");
    assert!(*least >= 25 && *most <= 90, "{least} to {most}");
    assert_eq!(world.changes.len(), 1000, "nobody but the additions");
}
