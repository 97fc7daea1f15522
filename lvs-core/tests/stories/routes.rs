//! The ways to real servers, for those who probe them; and neighbours that are kept known while they serve nobody.

use lvs_core::config::{ChangeError, ProbeConfig, VlanPath};
use lvs_core::{Change, DirectorConfig, Event, InterfaceConfig, MacAddr, PortId};
use lvs_testkit::frames::{addr, mac};

use crate::world::{
    DIP, DIRECTOR, FIRST, ROUTER, SECOND, VIP, World, config, key, mac_of, remove, seconds, service,
};

const INSIDE: &str = "02:00:00:00:00:03";

fn watch(address: &str, watched: bool) -> Change {
    Change::WatchNeighbour { address: addr(address), watched }
}

/// The first interface faces the router, the second one (in a VLAN, with an owned DIP) has servers.
fn two(addresses: &[&str]) -> DirectorConfig {
    let mut config = config();
    config.interfaces[0].gateways.push(addr("192.168.0.15"));
    let mut inside = InterfaceConfig::new(PortId(1), mac(INSIDE), "10.1.0.1/24".parse().unwrap());
    (inside.vlan, inside.mtu, inside.owns_addresses) = (VlanPath::tagged(7), 9000, true);
    config.interfaces.push(inside);
    let addresses = addresses.iter().map(|text| addr(text)).collect();
    config.probes = Some(ProbeConfig { addresses, ..ProbeConfig::default() });
    config
}

fn asked_in(world: &mut World, address: &str) -> usize {
    let target = |frame: &lvs_testkit::memory::StoredFrame| {
        lvs_testkit::frames::Summary::of(&frame.bytes)?.arp.map(|arp| arp.target)
    };
    world.take_sent().iter().filter(|frame| target(frame) == Some(addr(address))).count()
}

#[test]
fn a_route_says_all_that_a_prober_needs() {
    let world = World::new(two(&[]));
    let inside = world.director.route(addr("10.1.0.30")).unwrap();
    assert_eq!(
        (inside.port, inside.vlan, inside.mac, inside.mtu),
        (PortId(1), VlanPath::tagged(7), mac(INSIDE), 9000)
    );
    assert_eq!((inside.source, inside.owned, inside.next_hop), (addr("10.1.0.1"), true, addr("10.1.0.30")));
    let outside = world.director.route(addr(SECOND)).unwrap();
    assert_eq!((outside.port, outside.vlan, outside.mac), (PortId(0), VlanPath::UNTAGGED, mac(DIRECTOR)));
    assert_eq!((outside.source, outside.owned, outside.next_hop_mac), (addr(DIP), false, None));
    let far = world.director.route(addr("8.8.8.8")).unwrap();
    assert_eq!((far.next_hop, far.source), (addr("192.168.0.15"), addr(DIP)));
    let ipv6 = world.director.route(addr("fd00::1")).unwrap();
    assert_eq!((ipv6.source, ipv6.owned), (addr("fd00::d0"), false));
    for none in ["2001:db8::1", DIP, "10.1.0.1"] {
        assert_eq!(world.director.route(addr(none)), None, "{none}");
    }
}

#[test]
fn probe_addresses_go_before_dips_where_they_belong() {
    for (addresses, inside, outside) in [
        (&["192.168.0.209"][..], ("10.1.0.1", true), ("192.168.0.209", true)),
        (&["192.168.0.209", "10.1.0.9"], ("10.1.0.9", true), ("192.168.0.209", true)),
        // In nobody's subnet: meant for all.
        (&["172.16.0.1"], ("172.16.0.1", true), ("172.16.0.1", true)),
        (&["fd00::d1"], ("10.1.0.1", true), (DIP, false)),
    ] {
        let world = World::new(two(addresses));
        let source = |server| {
            let route = world.director.route(addr(server)).unwrap();
            (route.source, route.owned)
        };
        assert_eq!(source("10.1.0.30"), (addr(inside.0), inside.1), "{addresses:?}");
        assert_eq!(source(SECOND), (addr(outside.0), outside.1), "{addresses:?}");
    }
}

/// A server that fails its checks is taken out of the service; the next probe needs its Ethernet address all the same.
#[test]
fn a_watched_neighbour_is_known_whether_or_not_it_serves() {
    let mut world = World::new(two(&[]));
    world.live(&[FIRST, SECOND]);
    world.apply(&[watch(SECOND, true), watch(SECOND, true)]);
    let known = |world: &World, server: &str| world.director.route(addr(server)).unwrap().next_hop_mac;
    assert_eq!(known(&world, SECOND), Some(mac_of(addr(SECOND))), "before it serves");
    world.apply(&service(key(VIP), &[FIRST, SECOND]));
    world.apply(&[remove(key(VIP), SECOND), remove(key(VIP), FIRST)]);
    world.pass(seconds(120));
    assert_eq!(known(&world, SECOND), Some(mac_of(addr(SECOND))), "after it served");
    assert_eq!(known(&world, FIRST), None, "nobody needs it");
    let usage = world.director.neighbour_usage();
    assert_eq!((usage.neighbours, usage.resolved, usage.unresolved()), (1, 1, 0));

    world.die(SECOND);
    world.pass(seconds(60));
    assert_eq!(known(&world, SECOND), None);
    assert_eq!(world.director.neighbour_usage().unresolved(), 1);
    assert_eq!(world.count_events(|e| matches!(e, Event::NeighbourLost { .. })), 1);
    world.take_sent();
    world.pass(seconds(60));
    assert!((1..=3).contains(&asked_in(&mut world, SECOND)), "asked for, and not too often");

    world.apply(&[watch(SECOND, false)]);
    world.take_sent();
    world.pass(seconds(120));
    assert_eq!(asked_in(&mut world, SECOND), 0);
    assert_eq!(world.director.neighbour_usage().neighbours, 0);
    world.apply(&[watch(SECOND, false)]);
}

/// A served neighbour stays when it is no longer watched, and one behind a gateway is the gateway.
#[test]
fn watching_and_serving_do_not_disturb_each_other() {
    let mut world = World::new(two(&[]));
    world.live(&[SECOND]);
    world.stations.insert(addr("192.168.0.15"), mac(ROUTER));
    world.apply(&service(key(VIP), &[SECOND]));
    world.apply(&[watch(SECOND, true), watch("8.8.8.8", true), watch("9.9.9.9", true)]);
    assert_eq!(world.director.neighbour_usage().resolved, 2);
    world.apply(&[watch(SECOND, false), watch("9.9.9.9", false)]);
    assert_eq!(world.director.neighbour_usage().resolved, 2);
    assert_eq!(world.director.route(addr("1.1.1.1")).unwrap().next_hop_mac, Some(mac(ROUTER)));
    assert_eq!(world.chosen("110.0.0.1:4000", VIP, "S"), Some(188));
    world.apply(&[watch("8.8.8.8", false)]);
    assert_eq!(world.director.neighbour_usage().neighbours, 1);
}

#[test]
fn as_many_are_watched_as_there_is_room_for_and_fixed_addresses_count() {
    let mut config = two(&[]);
    config.max_destinations = 2;
    let mut world = World::new(config);
    let refused =
        |world: &mut World, changes: &[Change]| world.director.apply(world.now, changes).unwrap_err();
    let three = [watch("10.1.0.1", true), watch("2001:db8::1", true), watch(SECOND, true)];
    let error = refused(&mut world, &three);
    assert_eq!((error.index, error.error), (2, ChangeError::TooManyWatched));
    assert_eq!(world.director.neighbour_usage().neighbours, 0, "whole or not at all");
    // One goes, one comes, in one list. To the first two nothing leads: they are remembered, and never known.
    world.apply(&three[..2]);
    assert_eq!(refused(&mut world, &three[2..]).error, ChangeError::TooManyWatched);
    world.apply(&[watch("10.1.0.1", false), watch(SECOND, true), watch(SECOND, true)]);
    let group = refused(&mut world, &[watch("2001:db8::1", false), watch("224.0.0.1", true)]);
    assert_eq!(group.error, ChangeError::DestinationAddressNotUnicast);
    // Room for servers is not taken by what is watched.
    world.apply(&service(key(VIP), &["192.168.0.31", "192.168.0.32"]));
    let fixed = MacAddr([2, 0, 0, 0, 9, 9]);
    world.apply(&[Change::SetStaticNeighbour { address: addr(SECOND), mac: Some(fixed) }]);
    assert_eq!(world.director.route(addr(SECOND)).unwrap().next_hop_mac, Some(fixed));
    let usage = world.director.neighbour_usage();
    assert_eq!((usage.neighbours, usage.resolved, usage.capacity), (3, 1, 2 + 2 + 1 + 1024));
}
