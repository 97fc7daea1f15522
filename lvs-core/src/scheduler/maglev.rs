//! A lookup table that gives every client a server, moves few clients when servers come and go, and comes out
//! the same on every director with the same servers.
//!
//! The table of Maglev (Eisenbud et al., NSDI 2016, section 3.4) with the hash functions, sizes and weights of the
//! kernel's `mh` scheduler, so that a kernel director and this one agree on a client's server.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Server;
use crate::classify::{FlowKey, fold};

/// Entries of the kernel's table (a prime; its default build option).
const ENTRIES: usize = 4093;
/// The logarithm of [`ENTRIES`] as the kernel counts it.
const INDEX_BITS: u32 = 12;
/// The keys of the two hashes.
const FIRST_KEY: u64 = 2_654_435_761;
const SECOND_KEY: u64 = 2_654_446_892;
const NOBODY: u16 = u16::MAX;

/// A Maglev table of 4093 entries.
#[derive(Clone)]
pub struct MaglevTable {
    /// Places in the server list.
    places: Box<[u16]>,
    /// Whether any server has a weight.
    filled: bool,
}

impl MaglevTable {
    /// A table without servers.
    #[must_use]
    pub fn empty() -> Self {
        Self { places: vec![NOBODY; ENTRIES].into_boxed_slice(), filled: false }
    }

    /// Fills the table anew. Servers beyond the 65,534th are left out, and so are those of weight 0.
    ///
    /// Takes some 20 steps for each of the 4093 entries.
    pub fn rebuild(&mut self, servers: &[Server]) {
        self.places.fill(NOBODY);
        let mut turns = turns(servers);
        self.filled = !turns.is_empty();
        if !self.filled {
            return;
        }
        let mut filled = 0;
        loop {
            for turn in &mut turns {
                for _ in 0..turn.turns {
                    let mut at = turn.next;
                    while self.places[at] != NOBODY {
                        at = (at + turn.skip) % ENTRIES;
                    }
                    self.places[at] = turn.place;
                    turn.next = (at + turn.skip) % ENTRIES;
                    filled += 1;
                    if filled == ENTRIES {
                        return;
                    }
                }
            }
        }
    }

    /// The place of the server for a client's address and port; `None` if no server has a weight.
    #[must_use]
    pub fn pick(&self, flow: &FlowKey) -> Option<usize> {
        if !self.filled {
            return None;
        }
        let value = flow.folded_client().wrapping_add(u32::from(flow.client_port()));
        let entry = hash(value, FIRST_KEY) as usize % ENTRIES;
        Some(usize::from(self.places[entry]))
    }
}

/// A server's walk through the table.
struct Turn {
    place: u16,
    next: usize,
    skip: usize,
    /// Placements in each round.
    turns: u32,
}

fn turns(servers: &[Server]) -> Vec<Turn> {
    let weighted = servers.iter().take(usize::from(NOBODY)).enumerate().filter(|(_, s)| s.weight > 0);
    let weights = weighted.clone().map(|(_, server)| server.weight);
    let Some(divisor) = weights.clone().reduce(super::weighted_round_robin::greatest_common_divisor) else {
        return Vec::new();
    };
    let most = weights.max().unwrap_or(0) / divisor;
    let shift = (u32::BITS - most.leading_zeros()).saturating_sub(INDEX_BITS / 2);
    weighted
        .map(|(place, server)| {
            let folded = match server.address {
                IpAddr::V4(address) => address.to_bits(),
                IpAddr::V6(address) => fold(address.to_bits()),
            };
            let value = folded.wrapping_add(u32::from(server.port));
            Turn {
                place: place as u16,
                next: hash(value, FIRST_KEY) as usize % ENTRIES,
                skip: hash(value, SECOND_KEY) as usize % (ENTRIES - 1) + 1,
                turns: ((server.weight / divisor) >> shift).max(1),
            }
        })
        .collect()
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
        assert!(moved * 10 < ENTRIES, "{moved} innocent entries moved");
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
