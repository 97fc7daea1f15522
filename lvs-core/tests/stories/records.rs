//! Connections as plain values: read in pieces, restored elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use arrayvec::ArrayVec;
use lvs_core::connection::{ConnectionRecord, ConnectionState};
use lvs_core::director::RestoreError;
use lvs_testkit::frames::socket;

use crate::world::{
    CLIENT, CLIENT6, FIRST, SECOND, VIP, VIP6, World, add, config, key, millis, remove, seconds, service,
    udp_key,
};

const UDP: &str = "192.168.0.250:53";

fn services(world: &mut World) {
    world.live(&[FIRST, SECOND, "fd00::6f", "fd00::bc"]);
    world.apply(&service(key(VIP), &[FIRST, SECOND]));
    world.apply(&service(udp_key(UDP), &[FIRST, SECOND]));
    world.apply(&service(key(VIP6), &["fd00::6f", "fd00::bc"]));
}

/// A director with connections of all kinds.
fn busy() -> World {
    let mut world = World::new(config());
    services(&mut world);
    for n in 0..40 {
        let (client, client6) = (format!("110.0.0.1:{}", 4000 + n), format!("[fd00:110::1]:{}", 4000 + n));
        world.tcp(&client, VIP, "S");
        world.tcp(&client6, VIP6, "S");
        world.chosen_udp(&client, UDP);
        let letters: &[&str] = match n % 4 {
            0 => &[],
            1 => &["A"],
            2 => &["A", "FA"],
            _ => &["A", "R"],
        };
        for letters in letters {
            world.tcp(&client, VIP, letters);
            world.tcp(&client6, VIP6, letters);
        }
        world.pass(millis(97));
    }
    world
}

fn sorted(mut records: Vec<ConnectionRecord>) -> Vec<ConnectionRecord> {
    records.sort_by_key(|r| (r.virtual_address, r.client));
    records
}

fn restored(from: &World, to: &mut World) {
    to.now = from.now;
    to.turn();
    for record in from.director.all_connections(from.now) {
        assert_eq!(to.director.restore(to.now, &record), Ok(()));
    }
    to.turn();
}

#[test]
fn records_restored_elsewhere_give_the_same_listing() {
    let old = busy();
    let mut new = World::new(config());
    services(&mut new);
    restored(&old, &mut new);
    let (before, after) =
        (sorted(old.director.all_connections(old.now)), sorted(new.director.all_connections(new.now)));
    assert_eq!(before.len(), 120);
    assert_eq!(before, after);
    for key in [key(VIP), udp_key(UDP), key(VIP6)] {
        assert_eq!(old.counts(key), new.counts(key));
        assert_eq!(new.director.service(key).unwrap().statistics.connections, 0, "made elsewhere");
    }
    // The flows go on as if nothing had happened, and end at the same time.
    let mut old = old;
    for n in 0..40 {
        let client = format!("110.0.0.1:{}", 4000 + n);
        assert_eq!(old.chosen(&client, VIP, "A"), new.chosen(&client, VIP, "A"), "{client}");
        assert_eq!(old.chosen_udp(&client, UDP), new.chosen_udp(&client, UDP));
    }
    for pause in [9, 50, 62, 181, 600] {
        old.pass(seconds(pause));
        new.pass(seconds(pause));
        assert_eq!(
            sorted(old.director.all_connections(old.now)),
            sorted(new.director.all_connections(new.now)),
            "{pause} s later"
        );
    }
    assert_eq!(new.director.connection_usage().connections, 0);
}

#[test]
fn a_record_that_does_not_fit_is_refused() {
    let mut config = config();
    config.max_connections = 64;
    let mut world = World::ready_with(config, key(VIP), &[FIRST, SECOND]);
    world.tcp(CLIENT, VIP, "S");
    let good = world.record(CLIENT).unwrap();
    let other = |client: &str| ConnectionRecord { client: socket(client), ..good };
    let refused = [
        (good, RestoreError::Exists),
        (
            ConnectionRecord { virtual_address: socket("192.168.0.250:9"), ..other("110.0.0.1:1") },
            RestoreError::NoService,
        ),
        (
            ConnectionRecord {
                protocol: Some(lvs_core::config::Protocol::Udp),
                state: ConnectionState::Udp,
                ..other("110.0.0.1:1")
            },
            RestoreError::NoService,
        ),
        (ConnectionRecord { destination: socket("192.168.0.9:80"), ..good }, RestoreError::NoDestination),
        (ConnectionRecord { destination: socket("192.168.0.111:81"), ..good }, RestoreError::NoDestination),
        (other(CLIENT6), RestoreError::FamilyMismatch),
        (ConnectionRecord { state: ConnectionState::Udp, ..other("110.0.0.1:1") }, RestoreError::BadState),
    ];
    for (record, error) in refused {
        assert_eq!(world.director.restore(world.now, &record), Err(error));
    }
    for port in 1..64 {
        assert_eq!(world.director.restore(world.now, &other(&format!("110.0.0.1:{port}"))), Ok(()));
    }
    assert_eq!(world.director.restore(world.now, &other("110.0.0.1:64")), Err(RestoreError::TableFull));
    assert_eq!(world.counts(key(VIP)), (64, 0));
}

/// Whatever times a record claims, the connection ends, and not later than its time-out says.
#[test]
fn strange_times_do_no_harm() {
    for (timeout, expires_in) in [
        (seconds(60), seconds(0)),
        (seconds(0), seconds(0)),
        (seconds(60), seconds(3600)),
        (Duration::MAX, Duration::MAX),
        (seconds(0), Duration::MAX),
    ] {
        let mut world = World::ready(socket(VIP), &[FIRST]);
        world.tcp(CLIENT, VIP, "S");
        let good = world.record(CLIENT).unwrap();
        let record = ConnectionRecord { client: socket("110.0.0.1:1"), timeout, expires_in, ..good };
        assert_eq!(world.director.restore(world.now, &record), Ok(()));
        let left = world.record("110.0.0.1:1").unwrap();
        assert!(left.expires_in <= left.timeout, "{left:?}");
        assert!(left.timeout <= seconds(31 * 86_400 + 1), "{left:?}");
        world.pass(seconds(62));
        assert_eq!(world.record("110.0.0.1:1").is_some(), timeout == Duration::MAX);
    }
}

/// Small steps, small budgets: each connection is seen once.
#[test]
fn a_cursor_walks_over_all() {
    let world = busy();
    for budget in [1, 2, 7, 1000] {
        let mut seen = BTreeSet::new();
        let mut count = 0;
        let mut cursor = Some(0);
        let mut calls = 0;
        while let Some(at) = cursor {
            let mut some = ArrayVec::<_, 5>::new();
            cursor = world.director.connections(world.now, at, budget, &mut some);
            count += some.len();
            seen.extend(some.iter().map(|record| (record.virtual_address, record.client)));
            calls += 1;
            assert!(calls < 10_000, "no end with a budget of {budget}");
        }
        assert_eq!((count, seen.len()), (120, 120), "budget {budget}");
    }
    let mut none = ArrayVec::<_, 5>::new();
    assert_eq!(world.director.connections(world.now, u32::MAX, 10, &mut none), None);
    assert!(none.is_empty());
}

/// Connections whose server was removed are listed with it.
#[test]
fn connections_of_removed_servers_are_still_records() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    world.tcp(CLIENT, VIP, "S");
    world.apply(&[remove(key(VIP), SECOND)]);
    assert_eq!(world.record(CLIENT).unwrap().destination, socket("192.168.0.188:80"));
    world.apply(&[add(key(VIP), SECOND, 5)]);
    assert_eq!(world.record(CLIENT).unwrap().destination, socket("192.168.0.188:80"));
}
