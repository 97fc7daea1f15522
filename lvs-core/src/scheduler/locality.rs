//! Schedulers that send a destination address to where it went before: lblc and lblcr, for caches behind a
//! firewall mark that takes many addresses.
//!
//! A destination address keeps its server (lblcr: its set of servers) unless that is overloaded while another one is
//! half idle; then the least loaded server, as wlc picks it, takes over (or joins the set).
//!
//! At most 16,384 addresses are remembered, the number at which IPVS begins to clean up; when all are taken the one
//! that was used least recently of a few is forgotten. An lblcr set holds up to 16 servers.

use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::time::Duration;

use arrayvec::ArrayVec;
use hashbrown::HashMap;

use super::least::{Least, Measure};
use super::server_set::{Name, Names};
use super::{Grounds, ListChange, Request, Scheduler, SchedulerState, Server};
use crate::quick_hash::QuickHasher;
use crate::time::Instant;

/// Destination addresses that are remembered.
const ADDRESSES: usize = 16_384;
/// Servers in an lblcr set.
const SET: usize = 16;
/// How many entries are looked at for one to forget.
const SAMPLE: usize = 8;

/// Keyed: whoever may choose among many addresses behind a mark must not choose ones that collide.
#[derive(Debug, Clone, Copy)]
struct Keyed(u64);

impl BuildHasher for Keyed {
    type Hasher = QuickHasher;

    fn build_hasher(&self) -> QuickHasher {
        QuickHasher::keyed(self.0)
    }
}

/// What both schedulers know: servers by load, and what is remembered of addresses.
#[derive(Debug, Clone)]
struct Memory<E> {
    least: Least,
    names: Names,
    entries: HashMap<core::net::IpAddr, E, Keyed>,
    /// By place: whether less than half of its weight is in use.
    half_idle: Vec<bool>,
    half_idle_count: usize,
    expiration: Duration,
    /// Where the search for something to forget goes on.
    hand: usize,
    /// The server that was remembered at the last pick.
    remembered: Option<usize>,
}

/// When an entry was used.
trait Entry {
    fn used(&self) -> Instant;
}

impl<E: Entry> Memory<E> {
    fn new(seed: u64, expiration_secs: u32) -> Self {
        Self {
            least: Least::new(Measure::WeightedConnections),
            names: Names::default(),
            entries: HashMap::with_capacity_and_hasher(ADDRESSES, Keyed(seed)),
            half_idle: Vec::new(),
            half_idle_count: 0,
            expiration: Duration::from_secs(expiration_secs.into()),
            hand: 0,
            remembered: None,
        }
    }

    fn list_changed(&mut self, change: ListChange, servers: &[Server]) {
        self.least.list_changed(change, servers);
        if self.names.follow(servers) {
            self.entries.clear();
        }
        self.half_idle.clear();
        self.half_idle.extend(servers.iter().map(is_half_idle));
        self.half_idle_count = self.half_idle.iter().filter(|idle| **idle).count();
    }

    fn load_changed(&mut self, place: usize, servers: &[Server]) {
        self.least.load_changed(place, servers);
        if let (Some(idle), Some(server)) = (self.half_idle.get_mut(place), servers.get(place)) {
            let now = is_half_idle(server);
            self.half_idle_count = self.half_idle_count + usize::from(now) - usize::from(*idle);
            *idle = now;
        }
    }

    /// Whether a server has more active connections than its weight while another one is half idle.
    const fn is_overloaded(&self, server: &Server) -> bool {
        server.active > server.weight && self.half_idle_count > 0
    }

    /// Makes room for one more entry.
    fn make_room(&mut self) {
        if self.entries.len() < ADDRESSES {
            return;
        }
        let skip = self.hand % ADDRESSES;
        self.hand = self.hand.wrapping_add(SAMPLE);
        let sample = self.entries.iter().skip(skip % (ADDRESSES / 16)).take(SAMPLE);
        let oldest = sample.min_by_key(|(_, entry)| entry.used()).map(|(address, _)| *address);
        if let Some(address) = oldest {
            self.entries.remove(&address);
        }
    }
}

const fn is_half_idle(server: &Server) -> bool {
    (server.active as u64) * 2 < server.weight as u64
}

#[derive(Debug, Clone, Copy)]
struct One {
    server: Name,
    used: Instant,
}

impl Entry for One {
    fn used(&self) -> Instant {
        self.used
    }
}

/// The scheduler `lblc`.
#[derive(Debug, Clone)]
pub struct Locality {
    memory: Memory<One>,
}

impl Locality {
    /// For an empty list. An address that was not used for `expiration_secs` is forgotten.
    #[must_use]
    pub fn new(seed: u64, expiration_secs: u32) -> Self {
        Self { memory: Memory::new(seed, expiration_secs) }
    }
}

impl Scheduler for Locality {
    fn list_changed(&mut self, change: ListChange, servers: &[Server]) {
        self.memory.list_changed(change, servers);
    }

    fn load_changed(&mut self, place: usize, servers: &[Server]) {
        self.memory.load_changed(place, servers);
    }

    fn wants_loads(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, servers: &[Server]) -> Option<usize> {
        let (address, now) = (request.flow.virtual_address(), request.now);
        self.memory.remembered = None;
        if let Some(entry) = self.memory.entries.get_mut(&address) {
            let fresh = now.saturating_duration_since(entry.used) <= self.memory.expiration;
            entry.used = now;
            let place = self.memory.names.place(entry.server);
            // As in IPVS the thresholds of the remembered server do not count.
            let place = place.filter(|place| fresh && servers[*place].weight > 0);
            self.memory.remembered = place;
            if let Some(place) = place
                && !self.memory.is_overloaded(&servers[place])
            {
                return Some(place);
            }
        }
        let place = self.memory.least.best()?;
        let server = self.memory.names.name(place)?;
        self.memory.make_room();
        self.memory.entries.insert(address, One { server, used: now });
        Some(place)
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::Locality
    }

    fn grounds(&self) -> Grounds {
        Grounds::Memory { remembered: self.memory.remembered }
    }
}

#[derive(Debug, Clone)]
struct Several {
    /// Last added first.
    servers: ArrayVec<Name, SET>,
    used: Instant,
    changed: Instant,
}

impl Entry for Several {
    fn used(&self) -> Instant {
        self.used
    }
}

/// The scheduler `lblcr`.
#[derive(Debug, Clone)]
pub struct LocalityWithReplication {
    memory: Memory<Several>,
}

impl LocalityWithReplication {
    /// For an empty list. A set that did not change for `expiration_secs` loses its most loaded server.
    #[must_use]
    pub fn new(seed: u64, expiration_secs: u32) -> Self {
        Self { memory: Memory::new(seed, expiration_secs) }
    }

    /// The place of the least loaded available server of a set.
    fn least_of(&self, set: &Several, servers: &[Server]) -> Option<usize> {
        let places = set.servers.iter().filter_map(|name| self.memory.names.place(*name));
        let available = places.filter(|place| servers[*place].is_available());
        available.reduce(|best, one| if weighs_less(&servers[one], &servers[best]) { one } else { best })
    }
}

/// Whether a server's connections weigh less, relative to its weight, than another's.
fn weighs_less(one: &Server, other: &Server) -> bool {
    u128::from(one.overhead()) * u128::from(other.weight)
        < u128::from(other.overhead()) * u128::from(one.weight)
}

impl Several {
    fn add(&mut self, now: Instant, server: Name) {
        if self.servers.contains(&server) {
            return;
        }
        if self.servers.is_full() {
            self.servers.pop();
        }
        self.servers.insert(0, server);
        self.changed = now;
    }

    /// Takes the most loaded server out if the set has not changed for long.
    fn shrink(&mut self, now: Instant, after: Duration, names: &Names, servers: &[Server]) {
        if self.servers.len() < 2 || now.saturating_duration_since(self.changed) <= after {
            return;
        }
        let loads = self.servers.iter().enumerate().filter_map(|(at, name)| Some((at, names.place(*name)?)));
        let weighted = loads.filter(|(_, place)| servers[*place].weight > 0);
        let most = weighted
            .reduce(|most, one| if weighs_less(&servers[most.1], &servers[one.1]) { one } else { most });
        if let Some((at, _)) = most {
            self.servers.remove(at);
            self.changed = now;
        }
    }
}

impl Scheduler for LocalityWithReplication {
    fn list_changed(&mut self, change: ListChange, servers: &[Server]) {
        self.memory.list_changed(change, servers);
    }

    fn load_changed(&mut self, place: usize, servers: &[Server]) {
        self.memory.load_changed(place, servers);
    }

    fn wants_loads(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, servers: &[Server]) -> Option<usize> {
        let (address, now) = (request.flow.virtual_address(), request.now);
        self.memory.remembered = None;
        if let Some(set) = self.memory.entries.get(&address) {
            let of_set = self.least_of(set, servers);
            self.memory.remembered = of_set;
            let overloaded = of_set.is_none_or(|place| self.memory.is_overloaded(&servers[place]));
            // As in IPVS the set ages even if nobody is to be had.
            let joins = if overloaded { self.memory.least.best() } else { None };
            let name = joins.and_then(|place| self.memory.names.name(place));
            let (names, after) = (&self.memory.names, self.memory.expiration);
            if let Some(set) = self.memory.entries.get_mut(&address) {
                set.used = now;
                set.shrink(now, after, names, servers);
                if let Some(name) = name {
                    set.add(now, name);
                }
            }
            return if overloaded { joins } else { of_set };
        }
        let place = self.memory.least.best()?;
        let name = self.memory.names.name(place)?;
        self.memory.make_room();
        let mut set = Several { servers: ArrayVec::new(), used: now, changed: now };
        set.servers.push(name);
        self.memory.entries.insert(address, set);
        Some(place)
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::Locality
    }

    fn grounds(&self) -> Grounds {
        Grounds::Memory { remembered: self.memory.remembered }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::super::tests::Bench;
    use super::*;
    use crate::classify::FlowKey;

    const DAY: u32 = 86_400;

    fn to(destination: u32) -> FlowKey {
        FlowKey::V4 { addresses: 7 << 32 | u64::from(destination), ports: 4000 << 16 | 80, protocol: 6 }
    }

    #[test]
    fn an_address_keeps_its_server_until_that_is_overloaded() {
        let mut bench = Bench::new(Locality::new(1, DAY));
        for rip in 1..=3 {
            bench.add(rip, 2);
        }
        assert_eq!(bench.pick(&to(1)), Some(0));
        bench.load(3, 2, 0);
        assert_eq!(bench.pick(&to(2)), Some(1), "another address goes to the least loaded");
        assert_eq!(bench.pick(&to(1)), Some(0), "not more active than its weight");
        bench.load(3, 3, 0);
        assert_eq!(bench.pick(&to(1)), Some(1), "overloaded, and others are half idle");
        assert_eq!(bench.pick(&to(1)), Some(1));
    }

    #[test]
    fn a_removed_server_is_not_remembered_but_comes_back() {
        let mut bench = Bench::new(Locality::new(1, DAY));
        bench.add(1, 1);
        bench.add(2, 1);
        assert_eq!(bench.pick(&to(1)).map(|place| bench.rip(place)), Some(2));
        bench.remove(2);
        bench.add(2, 1);
        bench.load(2, 1, 0);
        assert_eq!(bench.pick(&to(1)).map(|place| bench.rip(place)), Some(2));
        bench.remove(2);
        assert_eq!(bench.pick(&to(1)).map(|place| bench.rip(place)), Some(1));
    }

    #[test]
    fn a_set_grows_under_load_and_shrinks_with_time() {
        let mut bench = Bench::new(LocalityWithReplication::new(1, 100));
        for rip in 1..=3 {
            bench.add(rip, 2);
        }
        let flow = to(1);
        assert_eq!(bench.pick(&flow), Some(0));
        bench.load(3, 3, 0);
        assert_eq!(bench.pick(&flow), Some(1));
        bench.load(3, 0, 0);
        assert_eq!(bench.pick(&flow), Some(1), "both are in the set and idle: the last added one");
        bench.load(2, 1, 0);
        assert_eq!(bench.pick(&flow), Some(0));
        let later = Request { flow: &flow, now: Instant::from_secs(101) };
        assert_eq!(bench.scheduler.pick(&later, &bench.servers), Some(0));
        bench.load(3, 2, 0);
        assert_eq!(bench.pick(&flow), Some(0), "the more loaded one has left the set");
    }

    #[test]
    fn a_set_ages_while_nobody_is_to_be_had() {
        let mut bench = Bench::new(LocalityWithReplication::new(1, 100));
        bench.add(1, 2);
        bench.add(2, 2);
        let flow = to(1);
        assert_eq!(bench.pick(&flow), Some(0));
        bench.load(2, 3, 0);
        assert_eq!(bench.pick(&flow), Some(1), "both are in the set");
        for overloaded in [true, false] {
            bench.servers.iter_mut().for_each(|server| server.overloaded = overloaded);
            for place in 0..2 {
                bench.scheduler.load_changed(place, &bench.servers);
            }
            if overloaded {
                let late = Request { flow: &flow, now: Instant::from_secs(101) };
                assert_eq!(bench.scheduler.pick(&late, &bench.servers), None);
            }
        }
        bench.load(2, 0, 0);
        bench.load(1, 1, 0);
        assert_eq!(bench.pick(&flow), Some(1), "the most loaded one has left the set meanwhile");
    }

    #[test]
    fn no_more_addresses_than_there_is_room_for() {
        let mut bench = Bench::new(Locality::new(1, DAY));
        bench.add(1, 1);
        for destination in 0..ADDRESSES as u32 + 1000 {
            let now = Instant::from_micros(destination.into());
            let flow = to(destination);
            assert!(bench.scheduler.pick(&Request { flow: &flow, now }, &bench.servers).is_some());
        }
        assert_eq!(bench.scheduler.memory.entries.len(), ADDRESSES);
    }
}
