//! Figures of the Maglev table and of the schedulers that must not scan: `-- --nocapture` prints them.
//!
//! Only what does not depend on the machine is asserted closely; times have generous bounds.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant as Clock};

use lvs_core::Instant;
use lvs_core::classify::FlowKey;
use lvs_core::scheduler::{Least, ListChange, MaglevTable, Measure, Request, Scheduler, Server};

fn servers(count: u32) -> Vec<Server> {
    let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + n * 7));
    (0..count).map(|n| Server::new(address(n), 80, 1)).collect()
}

/// A flow of client `n`, whose port says nothing.
fn flow(n: u32) -> FlowKey {
    let addresses = u64::from(n.wrapping_mul(0x9e37_79b1)) << 32 | 0xc0a8_00fa;
    FlowKey::V4 { addresses, ports: 80, protocol: 6 }
}

fn table(entries: usize, servers: &[Server]) -> MaglevTable {
    let mut table = MaglevTable::with_entries(entries);
    table.rebuild(servers);
    table
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How many entries each server has.
fn shares(table: &MaglevTable, count: usize) -> Vec<usize> {
    let mut shares = vec![0; count];
    for place in table.places() {
        shares[place] += 1;
    }
    shares
}

#[test]
fn figures() {
    println!("| entries | servers | entries a server | build |");
    println!("| ---: | ---: | ---: | ---: |");
    for (entries, count) in [(4093, 10), (4093, 1000), (65_537, 10), (65_537, 1000)] {
        let list = servers(count);
        let shares = shares(&table(entries, &list), list.len());
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most - least <= 1, "{entries} entries, {count} servers: {least} to {most}");
        assert_eq!(shares.iter().sum::<usize>(), entries);
        let mut filled = MaglevTable::with_entries(entries);
        let times = (0..15).map(|_| {
            let started = Clock::now();
            filled.rebuild(black_box(&list));
            started.elapsed()
        });
        let median = median(times.collect());
        println!("| {entries} | {count} | {least} to {most} | {:.2} ms |", median.as_secs_f64() * 1e3);
        assert!(median < Duration::from_secs(1));
    }
    println!("\n| entries | of 1000 servers leave | entries of theirs | others that move |");
    println!("| ---: | ---: | ---: | ---: |");
    for entries in [4093, 65_537] {
        let list = servers(1000);
        let before = table(entries, &list);
        for percent in [1, 2, 5, 10] {
            let (theirs, moved) = disruption(&before, &list, entries, percent * 10);
            let part = |count: usize| count as f64 * 100.0 / entries as f64;
            println!("| {entries} | {percent} % | {:.1} % | {:.1} % |", part(theirs), part(moved));
            // Fewer others than a fresh table would move, by far: of that nearly all entries would.
            assert!(part(theirs) < percent as f64 + 1.0, "{percent} %: {:.1}", part(theirs));
            assert!(part(moved) < 50.0, "{entries} entries, {percent} %: {:.1} % moved", part(moved));
        }
    }
}

/// How many entries lose their server if so many servers leave, and how many of the others change theirs.
fn disruption(before: &MaglevTable, list: &[Server], entries: usize, leaving: usize) -> (usize, usize) {
    let leaves = |place: usize| (place * 7919) % list.len() < leaving;
    let stay: Vec<usize> = (0..list.len()).filter(|place| !leaves(*place)).collect();
    assert_eq!(list.len() - stay.len(), leaving);
    let left: Vec<Server> = stay.iter().map(|place| list[*place]).collect();
    let after = table(entries, &left);
    let (mut theirs, mut moved) = (0, 0);
    for (old, new) in before.places().zip(after.places()) {
        theirs += usize::from(leaves(old));
        moved += usize::from(!leaves(old) && stay[new] != old);
    }
    (theirs, moved)
}

/// A pick, and the connection that comes of it, against a scan of all servers.
#[test]
fn a_pick_does_not_scan() {
    const COUNT: u32 = 1000;
    const PICKS: u32 = 20_000;
    println!("| scheduler | a pick and its connection | a scan |");
    println!("| --- | ---: | ---: |");
    for (name, measure) in
        [("lc", Measure::Connections), ("wlc", Measure::WeightedConnections), ("sed", Measure::ExpectedDelay)]
    {
        let mut list = servers(COUNT);
        for (server, n) in list.iter_mut().zip(0u32..) {
            server.weight = 1 + n % 5;
        }
        let mut scheduler = Least::new(measure);
        scheduler.list_changed(ListChange::Replaced, &list);
        let mut naive = list.clone();
        let mut picks = Vec::with_capacity(5 * PICKS as usize);
        let times = (0..5).map(|_| {
            let started = Clock::now();
            for n in 0..PICKS {
                let request = Request { flow: &flow(n), now: Instant::ZERO };
                let place = scheduler.pick(&request, &list).unwrap();
                list[place].active += 1;
                scheduler.load_changed(place, &list);
                picks.push(place);
            }
            started.elapsed() / PICKS
        });
        let own = median(times.collect());
        let scans = 2000;
        let started = Clock::now();
        for expected in &picks[..scans as usize] {
            let place = scan(measure, black_box(&naive));
            naive[place].active += 1;
            assert_eq!(place, *expected, "{name}");
        }
        let scan = started.elapsed() / scans;
        println!("| {name} | {own:?} | {scan:?} |");
        assert!(own * 3 < scan, "{name}: {own:?} against {scan:?}");
    }
}

/// The definition: the first server that no other beats.
fn scan(measure: Measure, servers: &[Server]) -> usize {
    let load = |server: &Server| match measure {
        Measure::Connections => (server.overhead(), 1),
        Measure::WeightedConnections => (server.overhead(), u64::from(server.weight)),
        _ => (u64::from(server.active) + 1, u64::from(server.weight)),
    };
    let available = servers.iter().enumerate().filter(|(_, server)| server.is_available());
    let best = available.reduce(|best, one| {
        let (old, new) = (load(best.1), load(one.1));
        if new.0 * old.1 < old.0 * new.1 { one } else { best }
    });
    best.map_or(0, |(place, _)| place)
}
