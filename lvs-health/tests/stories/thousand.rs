//! A thousand servers: their checks are spread out, and each that dies is found within its bound.

use std::collections::BTreeMap;
use std::time::Duration;

use lvs_core::Instant;
use lvs_health::config::{CheckConfig, PathMethod, PathProbe, Probe, Timing};
use lvs_health::monitor::{Event, ServerState};

use super::world::{World, rip};

const SERVERS: u16 = 1000;

#[test]
fn a_thousand_servers_are_asked_evenly_and_each_that_dies_is_found_in_time() {
    let seed = 11;
    let timing = Timing::default();
    let check = |probe| CheckConfig::new(Probe::Path(probe)).timing(Timing::default());
    let mut world = World::new(seed, SERVERS, check, PathProbe::new(PathMethod::HalfOpen), true);
    world.net.run_for(Duration::from_secs(10));
    assert!((0..SERVERS).all(|server| world.state(server) == ServerState::Up), "{}", world.net.state());

    // Every 50 ms about 25 of the 1000 that an interval brings, and a tenth more for the jitter.
    let from = Instant::ZERO + Duration::from_secs(4);
    let mut slots = BTreeMap::<u64, u32>::new();
    for (at, _) in world.net[world.director].starts.iter().filter(|(at, _)| *at >= from) {
        *slots.entry(at.as_micros() / 50_000).or_default() += 1;
    }
    let (fewest, most) = (slots.values().min().copied(), slots.values().max().copied());
    println!("probes started in 50 ms: {fewest:?} to {most:?}");
    assert!(slots.len() >= 119 && fewest >= Some(10) && most <= Some(60), "{fewest:?} {most:?}: {slots:?}");

    // One of ten dies, each at a time of its own.
    let mut died = BTreeMap::new();
    for number in 0..100 {
        let server = number * 10 + (number * 7) % 10;
        world.cable(server, false);
        died.insert(server, world.net.now());
        world.net.run_for(Duration::from_micros(37_111));
    }
    world.net.run_for(timing.detection_bound());
    let down = |event: &Event| match event {
        Event::Server { at, address, state: ServerState::Down, .. } => Some((*at, *address)),
        _ => None,
    };
    let said: Vec<_> = world.net[world.director].events.iter().filter_map(down).collect();
    assert_eq!(said.len(), died.len(), "seed {seed}: everybody who died, and nobody else");
    let mut longest = Duration::ZERO;
    for (server, at) in died {
        let found = said.iter().find(|(_, address)| *address == rip(server)).map(|(found, _)| *found);
        let took = found.expect("it was found").saturating_duration_since(at);
        assert!(took <= timing.detection_bound(), "seed {seed}, server {server}: {took:?}");
        longest = longest.max(took);
    }
    println!("found after {longest:?} at the latest; the bound is {:?}", timing.detection_bound());
    let statistics = world.net[world.director].monitor.statistics();
    assert_eq!((statistics.overdue, statistics.late, statistics.undecided), (0, 0, 0), "{statistics:?}");
}
