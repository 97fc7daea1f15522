//! Directors that share clients send them to the same servers: sh and mh, whatever the directors' seeds.

use lvs_core::Change;
use lvs_core::config::{DestinationConfig, SchedulerFlags, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_testkit::frames::{addr, socket};

use crate::world::{VIP, VIP6, World, config, seconds};

const COUNT: usize = 6;

fn rip(v6: bool, n: usize) -> String {
    if v6 { format!("fd00::{:x}", 0x61 + n) } else { format!("192.168.0.{}", 101 + n) }
}

fn client(v6: bool, n: u16) -> String {
    if v6 {
        format!("[fd00:110::{n:x}]:{}", 1000 + n)
    } else {
        format!("110.0.{}.{}:{}", n / 200, n % 200 + 1, 1000 + n)
    }
}

/// A director of its own seed whose servers were added in this order.
fn director(scheduler: SchedulerKind, flags: SchedulerFlags, vip: &str, seed: u8, order: &[usize]) -> World {
    let v6 = socket(vip).is_ipv6();
    let key = ServiceKey::tcp(socket(vip).ip(), socket(vip).port());
    let mut config = config();
    config.seed = [seed; 32];
    let mut world = World::new(config);
    let mut service = ServiceConfig::new(key, scheduler);
    service.flags = flags;
    let mut changes = vec![Change::AddService(service)];
    for n in order {
        world.live(&[&rip(v6, *n)]);
        let server = DestinationConfig::new(addr(&rip(v6, *n)), 80).weight(1 + *n as u32 % 3);
        changes.push(Change::AddDestination(key, server));
    }
    world.apply(&changes);
    world.pass(seconds(5));
    world
}

fn choices(world: &mut World, vip: &str) -> Vec<u8> {
    let v6 = socket(vip).is_ipv6();
    (0..300).map(|n| world.chosen(&client(v6, n), vip, "S").unwrap()).collect()
}

#[test]
fn directors_agree_whatever_their_seed() {
    let order: Vec<usize> = (0..COUNT).collect();
    for vip in [VIP, VIP6] {
        for scheduler in
            [SchedulerKind::SourceHashing, SchedulerKind::Maglev, SchedulerKind::DestinationHashing]
        {
            for flags in [SchedulerFlags::NONE, SchedulerFlags::PORT] {
                let mut one = director(scheduler, flags, vip, 1, &order);
                let mut other = director(scheduler, flags, vip, 99, &order);
                let expected = choices(&mut one, vip);
                assert_eq!(choices(&mut other, vip), expected, "{scheduler}, {vip}");
                let mut used = expected;
                used.sort_unstable();
                used.dedup();
                let all = if scheduler == SchedulerKind::DestinationHashing { 1 } else { COUNT };
                assert_eq!(used.len(), all, "{scheduler}, {vip}");
            }
        }
    }
}

/// Maglev's table is nearly the same in whatever order servers were added; sh's is another one.
#[test]
fn the_order_of_servers_matters_little_to_mh() {
    let (up, down): (Vec<usize>, Vec<usize>) = ((0..COUNT).collect(), (0..COUNT).rev().collect());
    let agreeing = |scheduler| {
        let [mut one, mut other] = [(1, &up), (2, &down)]
            .map(|(seed, order)| director(scheduler, SchedulerFlags::NONE, VIP, seed, order));
        let (one, other) = (choices(&mut one, VIP), choices(&mut other, VIP));
        one.iter().zip(&other).filter(|(one, other)| one == other).count()
    };
    let (mh, sh) = (agreeing(SchedulerKind::Maglev), agreeing(SchedulerKind::SourceHashing));
    assert!(mh >= 270, "{mh} of 300");
    assert!(sh < 150, "{sh} of 300");
}
