//! Edits: whole or not at all, and never to the disadvantage of connections they do not concern.

use std::net::IpAddr;

use lvs_core::config::{ApplyError, ChangeError, DestinationConfig, SchedulerKind, ServiceConfig, Timeouts};
use lvs_core::listing::ServiceListing;
use lvs_core::{Change, DropReason, MacAddr};
use lvs_testkit::frames::{addr, arp_request, mac, socket, v4};

use crate::world::{
    CLIENT, FIRST, ROUTER, SECOND, VIP, VIP6, World, add, config, key, remove, reweigh, seconds, service,
    udp_key,
};

/// Everything that an edit could have changed.
fn snapshot(world: &World) -> String {
    let mut services: Vec<ServiceListing> = world.director.services();
    services.sort_by_key(|service| service.config.key);
    let director = &world.director;
    let hop = director.next_hop_mac(key(VIP), socket("192.168.0.188:80"));
    format!(
        "{services:?} {:?} {:?} {:?} {:?} {hop:?} {:?}",
        director.knobs(),
        director.timeouts(),
        director.all_connections(world.now),
        director.statistics(),
        director.poll_timeout(),
    )
}

/// A director with two services, of which it holds no more; three servers, of which there may be four.
fn crowded() -> World {
    let mut config = config();
    config.max_services = 3;
    config.max_destinations = 4;
    let mut world = World::ready_with(config, key(VIP), &[FIRST, SECOND]);
    world.live(&["fd00::bc"]);
    world.apply(&service(key(VIP6), &["fd00::bc"]));
    world.pass(seconds(5));
    world.chosen(CLIENT, VIP, "S");
    world.pass(seconds(2));
    world.take_sent();
    world
}

fn destination(rip: &str) -> DestinationConfig {
    DestinationConfig::new(addr(rip), 80)
}

fn new_service(vip: &str) -> Change {
    Change::AddService(ServiceConfig::new(key(vip), SchedulerKind::RoundRobin))
}

fn fixed(address: &str, mac: Option<MacAddr>) -> Change {
    Change::SetStaticNeighbour { address: addr(address), mac }
}

/// A list with each fault, and the fault.
fn refusals() -> Vec<(Vec<Change>, ChangeError)> {
    let other = "192.168.0.251:80";
    let heavy = destination("192.168.0.9").weight(DestinationConfig::MAX_WEIGHT + 1);
    let long = Timeouts { udp: seconds(31 * 86_400 + 1), ..Timeouts::default() };
    let many = |n: u8| (1..=n).map(|n| add(key(VIP), &format!("192.168.0.{n}"), 1)).collect::<Vec<_>>();
    let fixed_many = (0..1024u32).map(|n| {
        let address = IpAddr::V6((0xfd00_u128 << 112 | u128::from(n + 1)).into());
        Change::SetStaticNeighbour { address, mac: Some(mac("02:00:00:00:00:01")) }
    });
    let mut list = vec![
        (vec![new_service(VIP)], ChangeError::ServiceExists),
        (vec![new_service(other), new_service(other)], ChangeError::ServiceExists),
        (vec![Change::RemoveService(key(other))], ChangeError::NoSuchService),
        (vec![Change::Clear, Change::RemoveService(key(VIP))], ChangeError::NoSuchService),
        (
            vec![Change::EditService(ServiceConfig::new(key(other), SchedulerKind::WeightedRoundRobin))],
            ChangeError::NoSuchService,
        ),
        (vec![Change::ZeroStatistics(Some(key(other)))], ChangeError::NoSuchService),
        (vec![add(udp_key(VIP), "192.168.0.9", 1)], ChangeError::ServiceNotDefined),
        (vec![remove(key(other), FIRST)], ChangeError::ServiceNotDefined),
        (vec![reweigh(key(other), FIRST, 2)], ChangeError::ServiceNotDefined),
        (vec![add(key(VIP), FIRST, 1)], ChangeError::DestinationExists),
        // Under direct routing the port is the service's: another one makes no other server.
        (
            vec![Change::AddDestination(key(VIP), DestinationConfig::new(addr(FIRST), 8080))],
            ChangeError::DestinationExists,
        ),
        (vec![remove(key(VIP), "192.168.0.9")], ChangeError::NoSuchDestination),
        (vec![remove(key(VIP), FIRST), remove(key(VIP), FIRST)], ChangeError::NoSuchDestination),
        (vec![reweigh(key(VIP), "192.168.0.9", 2)], ChangeError::NoSuchDestination),
        (vec![new_service("[ff02::1]:80")], ChangeError::ServiceAddressNotUnicast),
        (vec![new_service("0.0.0.0:80")], ChangeError::ServiceAddressNotUnicast),
        (vec![new_service("127.0.0.1:80")], ChangeError::ServiceAddressNotUnicast),
        (vec![new_service("192.168.0.251:0")], ChangeError::ServicePortZero),
        (vec![add(key(VIP), "224.0.0.1", 1)], ChangeError::DestinationAddressNotUnicast),
        (vec![add(key(VIP), "192.168.0.255", 1)], ChangeError::DestinationAddressNotUnicast),
        (vec![add(key(VIP6), "::1", 1)], ChangeError::DestinationAddressNotUnicast),
        (vec![add(key(VIP), "fd00::9", 1)], ChangeError::FamilyMismatch),
        (vec![add(key(VIP6), "192.168.0.9", 1)], ChangeError::FamilyMismatch),
        (vec![Change::AddDestination(key(VIP), heavy)], ChangeError::WeightOutOfRange),
        (
            vec![Change::EditDestination(key(VIP), destination(FIRST).weight(u32::MAX))],
            ChangeError::WeightOutOfRange,
        ),
        (vec![Change::SetTimeouts(long)], ChangeError::TimeoutOutOfRange),
        (vec![new_service(other), new_service("192.168.0.252:80")], ChangeError::TooManyServices),
        (many(2), ChangeError::TooManyDestinations),
        // The first has a connection, and its place with it; the other's place is free at once.
        (
            vec![
                remove(key(VIP), SECOND),
                remove(key(VIP), FIRST),
                add(key(VIP), "192.168.0.1", 1),
                add(key(VIP), "192.168.0.2", 1),
                add(key(VIP), "192.168.0.3", 1),
            ],
            ChangeError::TooManyDestinations,
        ),
        (vec![fixed(FIRST, Some(MacAddr::BROADCAST))], ChangeError::MacNotUnicast),
        (vec![fixed(FIRST, Some(MacAddr::ZERO))], ChangeError::MacNotUnicast),
        (vec![fixed("10.77.0.1", Some(mac("02:00:00:00:00:01")))], ChangeError::NeighbourNotOnLink),
        (vec![fixed("10.77.0.1", None)], ChangeError::NeighbourNotOnLink),
    ];
    list.push((fixed_many.collect(), ChangeError::TooManyNeighbours));
    list
}

#[test]
fn every_refusal_leaves_everything_as_it_was() {
    let mut world = crowded();
    for (faulty, error) in refusals() {
        // What would have been carried out before the fault, had anything been.
        let mut changes = vec![
            reweigh(key(VIP), FIRST, 7),
            fixed(SECOND, Some(mac("02:00:00:00:99:99"))),
            Change::SetTimeouts(Timeouts { tcp: seconds(1), ..Timeouts::default() }),
            Change::ZeroStatistics(None),
        ];
        let index = changes.len() + faulty.len() - 1;
        changes.extend(faulty);
        let before = snapshot(&world);
        let refused = world.director.apply(world.now, &changes);
        assert_eq!(refused, Err(ApplyError { index, error }));
        assert_eq!(snapshot(&world), before, "after {error:?}");
        world.turn();
        assert!(world.take_sent().is_empty(), "something was sent after {error:?}");
    }
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
}

#[test]
fn every_reason_is_in_the_list() {
    use ChangeError as E;
    let all = [
        E::ServiceExists,
        E::NoSuchService,
        E::ServiceNotDefined,
        E::DestinationExists,
        E::NoSuchDestination,
        E::ServiceAddressNotUnicast,
        E::ServicePortZero,
        E::DestinationAddressNotUnicast,
        E::FamilyMismatch,
        E::WeightOutOfRange,
        E::TimeoutOutOfRange,
        E::TooManyServices,
        E::TooManyDestinations,
        E::TooManyNeighbours,
        E::MacNotUnicast,
        E::NeighbourNotOnLink,
    ];
    let list = refusals();
    for error in all {
        assert!(list.iter().any(|(_, provoked)| *provoked == error), "{error:?}");
    }
}

#[test]
fn the_error_counts_from_one() {
    let mut world = crowded();
    let error =
        world.director.apply(world.now, &[reweigh(key(VIP), FIRST, 2), new_service(VIP)]).unwrap_err();
    assert_eq!(error.to_string(), "change 2: Service already exists");
}

#[test]
fn a_list_may_use_what_it_makes_and_what_it_frees() {
    let mut world = crowded();
    let other = "192.168.0.251:80";
    let mut changes = vec![Change::Clear];
    changes.extend(service(key(other), &[FIRST, "192.168.0.1", "192.168.0.2"]));
    changes.push(remove(key(other), "192.168.0.1"));
    changes.push(reweigh(key(other), FIRST, 3));
    world.apply(&changes);
    let listing = world.director.services();
    assert_eq!(listing.len(), 1);
    let rips: Vec<_> = listing[0].destinations.iter().map(|d| (d.config.address, d.config.weight)).collect();
    assert_eq!(rips, [(addr("192.168.0.2"), 1), (addr(FIRST), 3)], "last added first");
    assert_eq!(listing[0].destinations[0].config.port, 80, "the port is the service's");
}

#[test]
fn flows_of_a_removed_server_wait_for_its_return() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
    world.apply(&[remove(key(VIP), SECOND)]);
    for letters in ["A", "S", "R"] {
        assert!(world.tcp(CLIENT, VIP, letters).is_empty(), "silence, as in IPVS");
    }
    assert_eq!(world.director.statistics().dropped(DropReason::DestinationGone), 3);
    assert_eq!(world.chosen("110.0.0.1:5000", VIP, "S"), Some(111), "new flows go elsewhere");
    assert!(world.record(CLIENT).is_some());
    world.apply(&[add(key(VIP), SECOND, 1)]);
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188), "the old flow is found again");
    assert_eq!(world.counts(key(VIP)), (2, 0));
}

#[test]
fn a_server_that_returns_brings_no_counts_twice() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    for letters in ["S", "A", "A"] {
        assert_eq!(world.chosen(CLIENT, VIP, letters), Some(188));
    }
    let before = world.director.service(key(VIP)).unwrap().statistics;
    assert_eq!((before.connections, before.in_packets), (1, 3));
    world.apply(&[remove(key(VIP), SECOND)]);
    assert_eq!(world.director.service(key(VIP)).unwrap().statistics, before);
    world.apply(&[add(key(VIP), SECOND, 1)]);
    let after = world.director.service(key(VIP)).unwrap();
    assert_eq!(after.statistics, before, "the service's total does not change because a server returns");
    let again = &after.destinations[0];
    assert_eq!((again.active, again.inactive), (1, 0));
}

#[test]
fn a_service_that_is_made_anew_finds_its_flows() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    world.serve(socket("192.168.0.250:81"), &[FIRST]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    world.apply(&[Change::RemoveService(key(VIP))]);
    assert_eq!(world.chosen(CLIENT, VIP, "A"), None);
    assert_eq!(world.director.connection_usage().connections, 1);
    world.apply(&service(key(VIP), &[SECOND, FIRST]));
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
    assert_eq!(world.counts(key(VIP)), (1, 0));
    world.pass(seconds(901));
    assert_eq!(world.counts(key(VIP)), (0, 0));
}

/// The places of servers whose connections have ended are free again.
#[test]
fn places_of_forgotten_servers_are_used_again() {
    let mut config = config();
    config.max_destinations = 2;
    let mut world = World::ready_with(config, key(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    world.apply(&[remove(key(VIP), SECOND)]);
    let full = world.director.apply(world.now, &[add(key(VIP), "192.168.0.9", 1)]);
    assert_eq!(full.unwrap_err().error, ChangeError::TooManyDestinations);
    world.pass(seconds(61));
    world.live(&["192.168.0.9"]);
    world.apply(&[add(key(VIP), "192.168.0.9", 1)]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(9));
    let listing = world.director.service(key(VIP)).unwrap();
    assert_eq!((listing.destinations[0].statistics.connections, listing.destinations[0].active), (1, 1));
}

#[test]
fn weight_zero_keeps_old_flows_and_takes_no_new_ones() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    world.apply(&[reweigh(key(VIP), SECOND, 0)]);
    for letters in ["A", "PA", "S"] {
        assert_eq!(world.chosen(CLIENT, VIP, letters), Some(188));
    }
    for port in 0..3 {
        assert_eq!(world.chosen(&format!("110.0.0.1:{}", 5000 + port), VIP, "S"), Some(111));
    }
    world.apply(&[reweigh(key(VIP), SECOND, 1)]);
    assert_eq!(world.chosen("110.0.0.1:5003", VIP, "S"), Some(188));
}

#[test]
fn another_scheduler_begins_afresh_and_keeps_flows() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    world.apply(&[
        Change::EditService(ServiceConfig::new(key(VIP), SchedulerKind::WeightedRoundRobin)),
        reweigh(key(VIP), FIRST, 3),
    ]);
    let chosen: Vec<_> =
        (0..8).map(|n| world.chosen(&format!("110.0.0.1:{}", 5000 + n), VIP, "S").unwrap()).collect();
    assert_eq!(chosen, [188, 111, 111, 111, 188, 111, 111, 111]);
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
}

/// A VIP of which the last service goes is answered for no more; one that has another service is.
#[test]
fn the_director_gives_up_a_vip_with_its_last_service() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    world.serve(socket("192.168.0.250:81"), &[FIRST]);
    let question = arp_request(mac(ROUTER), v4("192.168.0.15"), v4("192.168.0.250")).build();
    world.apply(&[Change::RemoveService(key(VIP))]);
    assert_eq!(world.send(&question).len(), 1);
    world.apply(&[Change::Clear]);
    world.pass(seconds(5));
    let before = world.director.statistics().passed;
    assert!(world.send(&question).is_empty());
    assert!(world.tcp(CLIENT, VIP, "S").is_empty());
    assert_eq!(world.director.statistics().passed - before, 2);
    assert!(world.director.services().is_empty());
}
