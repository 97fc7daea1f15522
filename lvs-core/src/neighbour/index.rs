//! From an address, on an interface or everywhere, to the slot that holds what is known about it.
//!
//! Only the operator's edits put anything in; frames only look up. So a keyed multiplication is hash enough.

use core::net::IpAddr;

use hashbrown::HashTable;

/// An address and where it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// The interface's number; 0 for addresses that count everywhere.
    pub(super) scope: u16,
    pub(super) address: IpAddr,
}

/// Slots by address. Does not grow past the capacity it was made with, as long as the caller keeps to it.
#[derive(Debug)]
pub(super) struct Index {
    table: HashTable<(Key, u32)>,
    seed: u64,
}

impl Index {
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        Self { table: HashTable::with_capacity(capacity), seed }
    }

    /// O(1).
    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.table.find(hash(self.seed, key), |(other, _)| *other == key).map(|&(_, slot)| slot)
    }

    /// The key must not be there yet.
    pub(super) fn insert(&mut self, key: Key, slot: u32) {
        let seed = self.seed;
        self.table.insert_unique(hash(seed, key), (key, slot), |(key, _)| hash(seed, *key));
    }

    pub(super) fn remove(&mut self, key: Key) {
        if let Ok(entry) = self.table.find_entry(hash(self.seed, key), |(other, _)| *other == key) {
            entry.remove();
        }
    }
}

/// The two halves of a 128-bit product folded together, twice.
fn hash(seed: u64, key: Key) -> u64 {
    let (low, high) = match key.address {
        IpAddr::V4(address) => (u64::from(address.to_bits()), 4),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits as u64, (bits >> 64) as u64)
        }
    };
    let first = fold(low ^ seed, 0x9e37_79b9_7f4a_7c15 ^ u64::from(key.scope));
    fold(first ^ high, seed | 1)
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    fn key(scope: u16, n: u32) -> Key {
        let address = if n.is_multiple_of(2) {
            IpAddr::V4(Ipv4Addr::from_bits(n))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(n) << 70))
        };
        Key { scope, address }
    }

    #[test]
    fn finds_what_was_put_in_and_only_that() {
        let mut index = Index::new(2000, 42);
        for n in 0..1000 {
            index.insert(key(1, n), n);
            index.insert(key(2, n), n + 1000);
        }
        for n in (0..1000).step_by(3) {
            index.remove(key(1, n));
        }
        for n in 0..1000 {
            assert_eq!(index.find(key(1, n)), (n % 3 != 0).then_some(n));
            assert_eq!(index.find(key(2, n)), Some(n + 1000));
            assert_eq!(index.find(key(3, n)), None);
        }
    }
}
