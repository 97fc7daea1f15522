//! A lookup table that gives every client a server, moves few clients when servers come and go, and comes out
//! the same on every director with the same servers.
//!
//! The table of Maglev (Eisenbud et al., NSDI 2016, section 3.4) with the hash functions, sizes and weights of the
//! kernel's `mh` scheduler, so that a kernel director and this one agree on a client's server.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::hashing::HashFlags;
use super::{Grounds, ListChange, Request, Scheduler, SchedulerState, Server};
use crate::classify::{FlowKey, fold};

/// Entries of the kernel's table: a prime, its default build option.
const KERNEL_ENTRIES: usize = 4093;
/// The keys of the two hashes.
const FIRST_KEY: u64 = 2_654_435_761;
const SECOND_KEY: u64 = 2_654_446_892;
const NOBODY: u16 = u16::MAX;

/// A Maglev table.
#[derive(Debug, Clone)]
pub struct MaglevTable {
    /// Places in the server list.
    places: Box<[u16]>,
    /// Whether any server has a weight.
    filled: bool,
    /// Room for the walks of a rebuild, kept so that it needs no memory of its own.
    turns: Vec<Turn>,
}

impl MaglevTable {
    /// A table without servers, of the kernel's size.
    #[must_use]
    pub fn empty() -> Self {
        Self::with_entries(KERNEL_ENTRIES)
    }

    /// A table without servers. `entries` should be a prime of at least a hundred times the number of servers for even
    /// shares; whatever it is, it is raised to the next prime, so that every server's walk visits all of it.
    #[must_use]
    pub fn with_entries(entries: usize) -> Self {
        let entries = (entries.max(3)..).find(|n| is_prime(*n)).unwrap_or(KERNEL_ENTRIES);
        Self { places: vec![NOBODY; entries].into_boxed_slice(), filled: false, turns: Vec::new() }
    }

    /// Fills the table anew by the servers' weights. Servers beyond the 65,534th are left out, and so are those of weight 0.
    ///
    /// Takes some ten steps an entry.
    pub fn rebuild(&mut self, servers: &[Server]) {
        self.rebuild_weighted(servers, |_, server| server.weight);
    }

    /// The same, by weights that the caller knows better.
    pub(crate) fn rebuild_weighted(&mut self, servers: &[Server], weight: impl Fn(usize, &Server) -> u32) {
        let entries = self.places.len();
        self.places.fill(NOBODY);
        let mut turns = core::mem::take(&mut self.turns);
        take_turns(&mut turns, servers, entries, weight);
        self.filled = !turns.is_empty();
        let mut left = if self.filled { entries } else { 0 };
        while left > 0 {
            for turn in &mut turns {
                for _ in 0..turn.turns.min(left as u32) {
                    while self.places[turn.next] != NOBODY {
                        turn.step(entries);
                    }
                    self.places[turn.next] = turn.place;
                    left -= 1;
                }
            }
        }
        self.turns = turns;
    }

    /// The place of the server for a client's address and port; `None` if no server has a weight.
    #[must_use]
    pub fn pick(&self, flow: &FlowKey) -> Option<usize> {
        self.place_of(flow.folded_client().wrapping_add(u32::from(flow.client_port())))
    }

    /// The place of each entry's server, entry by entry; nothing if no server has a weight. For looking at shares and at
    /// what moves.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.places.iter().filter(|place| **place != NOBODY).map(|place| usize::from(*place))
    }

    fn place_of(&self, value: u32) -> Option<usize> {
        let place = *self.places.get(self.entry_of(value))?;
        self.filled.then_some(usize::from(place))
    }

    fn entry_of(&self, value: u32) -> usize {
        hash(value, FIRST_KEY) as usize % self.places.len()
    }
}

/// The scheduler `mh`. Its table follows servers that come and go and weights that change, but not a weight that becomes
/// 0: clients of a quiesced server are refused, or sent elsewhere with [`HashFlags::fallback`], and all others stay.
#[derive(Debug, Clone)]
pub struct Maglev {
    flags: HashFlags,
    table: MaglevTable,
    /// By place: the last weight that was not 0.
    weights: Vec<u32>,
    /// What the last pick hashed.
    value: u32,
}

impl Maglev {
    /// For an empty list, with a table of the kernel's size.
    #[must_use]
    pub fn new(flags: HashFlags) -> Self {
        Self::with_entries(flags, KERNEL_ENTRIES as u32)
    }

    /// The same with a table of so many entries, raised to the next prime.
    #[must_use]
    pub fn with_entries(flags: HashFlags, entries: u32) -> Self {
        Self { flags, table: MaglevTable::with_entries(entries as usize), weights: Vec::new(), value: 0 }
    }
}

impl Scheduler for Maglev {
    fn list_changed(&mut self, change: ListChange, servers: &[Server]) {
        match change {
            ListChange::Added(place) => self.weights.insert(place.min(self.weights.len()), 0),
            ListChange::Removed(place) if place < self.weights.len() => {
                self.weights.remove(place);
            }
            _ => {}
        }
        self.weights.resize(servers.len(), 0);
        let mut changed = !matches!(change, ListChange::Edited(_));
        for (last, server) in self.weights.iter_mut().zip(servers) {
            if server.weight > 0 {
                changed |= core::mem::replace(last, server.weight) != server.weight;
            }
        }
        if changed {
            let weights = &self.weights;
            self.table.rebuild_weighted(servers, |place, _| weights[place]);
        }
    }

    fn pick(&mut self, request: &Request<'_>, servers: &[Server]) -> Option<usize> {
        let value = self.flags.value(request);
        self.value = value;
        let place = self.table.place_of(value)?;
        if servers.get(place)?.is_available() {
            return Some(place);
        }
        if !self.flags.fallback || !servers.iter().any(Server::is_available) {
            return None;
        }
        // As in IPVS the n-th try adds the first entry's number and n before hashing.
        let first = self.table.entry_of(value);
        let entries = self.table.places.len();
        (0..entries).find_map(|n| {
            let place = self.table.place_of(value.wrapping_add(((first + n) % entries) as u32))?;
            servers.get(place)?.is_available().then_some(place)
        })
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::Hash
    }

    fn grounds(&self) -> Grounds {
        Grounds::Entry {
            number: self.table.entry_of(self.value) as u32,
            of: self.table.places.len() as u32,
            holder: self.table.place_of(self.value),
            with_port: self.flags.port,
        }
    }
}

/// A server's walk through the table.
#[derive(Debug, Clone)]
struct Turn {
    place: u16,
    next: usize,
    skip: usize,
    /// Placements in each round.
    turns: u32,
}

impl Turn {
    const fn step(&mut self, entries: usize) {
        self.next += self.skip;
        if self.next >= entries {
            self.next -= entries;
        }
    }
}

const fn is_prime(n: usize) -> bool {
    let mut divisor = 2;
    while divisor * divisor <= n {
        if n.is_multiple_of(divisor) {
            return false;
        }
        divisor += 1;
    }
    n > 1
}

/// Where each server's walk begins.
fn take_turns(
    turns: &mut Vec<Turn>,
    servers: &[Server],
    entries: usize,
    weight: impl Fn(usize, &Server) -> u32,
) {
    turns.clear();
    let all = servers.iter().take(usize::from(NOBODY)).enumerate();
    let weighted = all.map(|(place, server)| (place, server, weight(place, server))).filter(|(.., w)| *w > 0);
    let weights = weighted.clone().map(|(.., weight)| weight);
    // The kernel's name for a table's size is the number of bits below it: 12 for 4093.
    let index_bits = usize::BITS - entries.leading_zeros();
    let Some(divisor) = weights.clone().reduce(super::weighted_round_robin::greatest_common_divisor) else {
        return;
    };
    let most = weights.max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - most.leading_zeros()).saturating_sub(index_bits / 2);
    turns.extend(weighted.map(|(place, server, weight)| {
        let folded = match server.address {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => fold(address.to_bits()),
        };
        let value = folded.wrapping_add(u32::from(server.port));
        Turn {
            place: place as u16,
            next: hash(value, FIRST_KEY) as usize % entries,
            skip: hash(value, SECOND_KEY) as usize % (entries - 1) + 1,
            turns: ((weight / divisor) >> shift).max(1),
        }
    }));
}

/// The lower half of SipHash-1-3 over the four bytes of `value`, both key words being `key`.
const fn hash(value: u32, key: u64) -> u32 {
    let mut v = [
        key ^ 0x736f_6d65_7073_6575,
        key ^ 0x646f_7261_6e64_6f6d,
        key ^ 0x6c79_6765_6e65_7261,
        key ^ 0x7465_6462_7974_6573,
    ];
    // The last block holds the length in its top byte.
    let block = 4 << 56 | value as u64;
    v[3] ^= block;
    v = sip_round(v);
    v[0] ^= block;
    v[2] ^= 0xff;
    v = sip_round(sip_round(sip_round(v)));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

const fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::super::tests::flow;
    use super::*;

    fn servers(weights: &[u32]) -> Vec<Server> {
        let server = |(n, weight): (usize, &u32)| {
            Server::new(IpAddr::from([10, 9, (n / 256) as u8, n as u8]), 80, *weight)
        };
        weights.iter().enumerate().map(server).collect()
    }

    /// Recorded kernel choices (mh with port, weights 1 1 1 1) are replayed with the other recordings; this is the
    /// hash by itself, from the reference implementation of SipHash-1-3.
    #[test]
    fn equal_weights_share_the_table_evenly() {
        let servers = servers(&[1; 7]);
        let mut table = MaglevTable::empty();
        table.rebuild(&servers);
        let mut counts = [0usize; 7];
        for place in &table.places {
            counts[usize::from(*place)] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{counts:?}");
    }

    #[test]
    fn few_clients_move_when_a_server_goes() {
        let mut list = servers(&[1; 10]);
        let mut before = MaglevTable::empty();
        before.rebuild(&list);
        list[3].weight = 0;
        let mut after = MaglevTable::empty();
        after.rebuild(&list);
        let moved = before.places.iter().zip(&after.places).filter(|(b, a)| **b != 3 && b != a).count();
        assert!(moved * 10 < KERNEL_ENTRIES, "{moved} innocent entries moved");
        assert!(after.places.iter().all(|place| *place != 3));
    }

    #[test]
    fn nobody_to_pick_from() {
        let mut table = MaglevTable::empty();
        assert_eq!(table.pick(&flow(1)), None);
        table.rebuild(&servers(&[0, 0]));
        assert_eq!(table.pick(&flow(1)), None);
        table.rebuild(&servers(&[0, 1]));
        assert_eq!(table.pick(&flow(1)), Some(1));
    }
}
