//! A client repeats its SYN: the server that got the first one is suspected.

use lvs_core::DirectorConfig;
use lvs_core::config::ProbeConfig;
use lvs_core::director::RepeatedSyn;
use lvs_testkit::frames::addr;

use crate::world::{CLIENT, FIRST, SECOND, VIP, World, config, key, millis, remove, seconds, service};

fn probing() -> DirectorConfig {
    DirectorConfig { probes: Some(ProbeConfig::default()), ..config() }
}

fn world(rips: &[&str]) -> World {
    World::ready_with(probing(), key(VIP), rips)
}

fn suspects(world: &mut World) -> Vec<RepeatedSyn> {
    std::iter::from_fn(|| world.director.poll_repeated_syn()).collect()
}

fn suspect(rip: &str) -> RepeatedSyn {
    RepeatedSyn { service: key(VIP), address: addr(rip), port: 80 }
}

#[test]
fn once_a_connection() {
    let mut world = world(&[SECOND]);
    world.tcp(CLIENT, VIP, "S");
    assert_eq!(suspects(&mut world), []);
    world.pass(seconds(1));
    world.tcp(CLIENT, VIP, "S");
    assert_eq!(suspects(&mut world), [suspect(SECOND)]);
    for pause in [2, 4, 8] {
        world.pass(seconds(pause));
        world.tcp(CLIENT, VIP, "S");
    }
    assert_eq!(suspects(&mut world), []);
    assert_eq!(world.director.statistics().repeated_syns, 1);
}

/// A connection that was answered is no reason, nor is a stray RST, nor a client that opens another one from the same port.
#[test]
fn only_a_syn_that_was_not_answered() {
    let mut world = world(&[SECOND]);
    world.tcp(CLIENT, VIP, "S");
    world.tcp(CLIENT, VIP, "A");
    world.tcp(CLIENT, VIP, "S");
    world.tcp(CLIENT, VIP, "R");
    world.tcp(CLIENT, VIP, "S");
    let other = "110.0.0.1:4001";
    world.tcp(other, VIP, "S");
    world.tcp(other, VIP, "R");
    world.tcp(other, VIP, "S");
    world.tcp("110.0.0.1:4002", VIP, "S");
    world.tcp("110.0.0.1:4002", VIP, "SA");
    assert_eq!(suspects(&mut world), []);
    assert_eq!(world.director.statistics().repeated_syns, 0);
    world.set_knobs(|knobs| knobs.secure_tcp = true);
    world.tcp("110.0.0.1:4003", VIP, "S");
    world.tcp("110.0.0.1:4003", VIP, "S");
    assert_eq!(suspects(&mut world), [suspect(SECOND)]);
}

#[test]
fn once_a_second_for_each_server_and_bounded() {
    let mut world = world(&[FIRST, SECOND]);
    let client = |n: usize| format!("110.0.{}.1:{}", n % 200, 2000 + n);
    for n in 0..100 {
        world.tcp(&client(n), VIP, "S");
    }
    for n in 0..100 {
        world.tcp(&client(n), VIP, "S");
    }
    let mut both = suspects(&mut world);
    both.sort_by_key(|one| one.address);
    assert_eq!(both, [suspect(FIRST), suspect(SECOND)]);
    assert_eq!(world.director.statistics().repeated_syns, 100);
    for n in 100..110 {
        world.tcp(&client(n), VIP, "S");
    }
    world.pass(millis(1000));
    world.apply(&[remove(key(VIP), FIRST)]);
    for n in 100..110 {
        world.tcp(&client(n), VIP, "S");
    }
    assert_eq!(suspects(&mut world), [suspect(SECOND)], "who is gone is not told of");

    // More servers than are kept.
    let mut config = probing();
    config.max_connections = 4096;
    let mut world = World::new(config);
    let rips: Vec<String> = (0..300).map(|n| format!("192.168.0.{}", n % 150 + 20)).collect();
    for (n, rips) in rips.chunks(100).enumerate() {
        let rips: Vec<&str> = rips.iter().map(String::as_str).collect();
        world.apply(&service(key(&format!("192.168.0.250:{}", 80 + n)), &rips));
        for n in (0..100).flat_map(|n| [n, n]) {
            world.tcp(&client(n), &format!("192.168.0.250:{}", 80), "S");
            world.tcp(&client(n), &format!("192.168.0.250:{}", 81), "S");
            world.tcp(&client(n), &format!("192.168.0.250:{}", 82), "S");
        }
    }
    assert_eq!(suspects(&mut world).len(), 256);
}

#[test]
fn nobody_is_told_where_nobody_asks() {
    let mut world = World::ready_with(config(), key(VIP), &[SECOND]);
    world.tcp(CLIENT, VIP, "S");
    world.tcp(CLIENT, VIP, "S");
    assert_eq!(suspects(&mut world), []);
    assert_eq!(world.director.statistics().repeated_syns, 0);
}
