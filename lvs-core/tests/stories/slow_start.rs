//! Slow start: a new or recovered server's share grows to what is configured.

use lvs_core::Change;
use lvs_core::config::{ChangeError, DestinationConfig, OnMiss, SchedulerKind, ServiceConfig};
use lvs_testkit::frames::addr;

use crate::world::{FIRST, SECOND, VIP, World, add, config, key, remove, reweigh, seconds};

fn configured(scheduler: SchedulerKind, slow_start: Option<u64>) -> ServiceConfig {
    let mut service = ServiceConfig::new(key(VIP), scheduler);
    service.slow_start = slow_start.map(seconds);
    service
}

/// One old server of weight 100, and a new one that has just been added.
fn world(scheduler: SchedulerKind, slow_start: Option<u64>) -> World {
    let mut world = World::new(config());
    world.live(&[FIRST, SECOND]);
    world.apply(&[Change::AddService(configured(scheduler, slow_start)), add(key(VIP), FIRST, 100)]);
    world.pass(seconds(200));
    world.apply(&[add(key(VIP), SECOND, 100)]);
    world
}

/// How many of the next hundred new clients get the new server.
fn share(world: &mut World, round: u16) -> usize {
    let client = |n| format!("110.0.{round}.1:{}", 5000 + n);
    (0..100).filter(|n| world.chosen(&client(*n), VIP, "S") == Some(188)).count()
}

fn weight(world: &World, rip: &str) -> (u32, u32) {
    let listing = world.director.service(key(VIP)).unwrap();
    let server = listing.destinations.iter().find(|server| server.config.address == addr(rip)).unwrap();
    (server.config.weight, server.effective_weight)
}

#[test]
fn the_weight_grows_in_steps_and_then_stays() {
    let mut world = world(SchedulerKind::WeightedRoundRobin, Some(100));
    let mut before = 0;
    for n in 0..=25 {
        let (configured, effective) = weight(&world, SECOND);
        let right = (n * 5).clamp(1, 100);
        assert_eq!((configured, effective), (100, right), "after {} s", n * 5);
        assert!(effective >= before);
        before = effective;
        assert_eq!(weight(&world, FIRST), (100, 100), "the old one is not concerned");
        world.pass(seconds(5));
    }
}

#[test]
fn a_fresh_server_is_not_buried() {
    for scheduler in [SchedulerKind::WeightedLeastConnection, SchedulerKind::ShortestExpectedDelay] {
        let mut at_once = world(scheduler, None);
        for n in 0..20 {
            at_once.chosen(&format!("110.9.9.9:{n}"), VIP, "S");
        }
        let mut slowly = world(scheduler, Some(100));
        let first = share(&mut slowly, 1);
        assert!(first <= 2, "{scheduler}: {first} of the first hundred");
        slowly.pass(seconds(20));
        assert!(share(&mut slowly, 2) > first, "{scheduler}");
        slowly.pass(seconds(100));
        assert_eq!(weight(&slowly, SECOND), (100, 100));
        assert!(share(&mut at_once, 1) >= 50, "{scheduler}: without it the new one gets the most");
    }
}

#[test]
fn who_comes_back_from_weight_zero_starts_slowly_too() {
    let mut world = world(SchedulerKind::WeightedRoundRobin, Some(100));
    world.pass(seconds(200));
    world.apply(&[reweigh(key(VIP), SECOND, 50)]);
    assert_eq!(weight(&world, SECOND), (50, 50), "a weight that changes counts at once");
    world.apply(&[reweigh(key(VIP), SECOND, 0)]);
    assert_eq!(share(&mut world, 3), 0);
    world.apply(&[reweigh(key(VIP), SECOND, 100)]);
    assert_eq!(weight(&world, SECOND), (100, 1));
    world.pass(seconds(50));
    assert_eq!(weight(&world, SECOND), (100, 50));
    world.pass(seconds(51));
    assert_eq!(weight(&world, SECOND), (100, 100));
}

#[test]
fn removed_and_quiesced_servers_do_not_grow() {
    let mut world = world(SchedulerKind::WeightedRoundRobin, Some(100));
    world.pass(seconds(30));
    world.apply(&[reweigh(key(VIP), SECOND, 0)]);
    world.pass(seconds(30));
    assert_eq!(weight(&world, SECOND), (0, 0));
    world.apply(&[remove(key(VIP), SECOND)]);
    world.pass(seconds(30));
    world.apply(&[add(key(VIP), SECOND, 100)]);
    assert_eq!(weight(&world, SECOND), (100, 1));
}

/// Who is served by the hash of the client is served by the whole weight: other directors may not have seen the start.
#[test]
fn the_hash_of_clients_does_not_wait() {
    let answers = [None, Some(1000)].map(|slow_start| {
        let mut world = world(SchedulerKind::WeightedRoundRobin, slow_start);
        world.set_knobs(|knobs| knobs.on_miss = OnMiss::Hash);
        (0..100).map(|n| world.chosen(&format!("110.0.7.{n}:99"), VIP, "A").unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].contains(&188) && answers[0].contains(&111));
}

#[test]
fn a_day_at_most() {
    let mut world = World::new(config());
    let day = 86_400;
    for (length, expected) in [(day, Ok(())), (day + 1, Err(ChangeError::SlowStartOutOfRange))] {
        let change = Change::AddService(configured(SchedulerKind::RoundRobin, Some(length)));
        let result = world.director.apply(world.now, &[change]).map_err(|error| error.error);
        assert_eq!(result, expected);
    }
    let server = DestinationConfig::new(addr(FIRST), 80).weight(7);
    world.apply(&[Change::AddDestination(key(VIP), server)]);
    assert_eq!(weight(&world, FIRST), (7, 1));
}
