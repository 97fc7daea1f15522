//! The addresses that the director answers for, and a sieve in front of them that knows most of the others at one look.
//!
//! Every frame asks twice: is its destination ours, and is its source? The sieve is a table of slots by address. A slot that
//! is empty or holds another address says no, one that holds this address says yes, and one that several addresses of ours
//! share says nothing; then the maps are asked. It knows nothing of services.

use alloc::boxed::Box;
use core::net::IpAddr;

use crate::quick_hash::QuickMap;

/// One address of the director's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local {
    /// How many services have this address as their VIP.
    pub(super) services: u32,
    /// Whether it is an address of the director's own besides.
    pub(super) own: bool,
    /// Whether health probes leave with it, so that answers come to it. It may be the host's.
    pub(super) probe: bool,
}

impl Local {
    /// None of the director's.
    pub(super) const NOBODYS: Self = Self { services: 0, own: false, probe: false };

    /// Whether the host's kernel answers for it, but for answers to probes.
    pub(super) const fn is_hosts(self) -> bool {
        self.services == 0 && !self.own
    }
}

/// The addresses the director answers for.
#[derive(Clone)]
pub(super) struct Locals {
    v4: QuickMap<u32, Local>,
    v6: QuickMap<u128, Local>,
    sieve_v4: Sieve<u32>,
    sieve_v6: Sieve<u128>,
}

impl Locals {
    pub(super) fn new() -> Self {
        Self {
            v4: QuickMap::default(),
            v6: QuickMap::default(),
            sieve_v4: Sieve::new(),
            sieve_v6: Sieve::new(),
        }
    }

    pub(super) fn get(&self, address: IpAddr) -> Option<Local> {
        match address {
            IpAddr::V4(a) => self.v4.get(&a.to_bits()).copied(),
            IpAddr::V6(a) => self.v6.get(&a.to_bits()).copied(),
        }
    }

    #[inline]
    pub(super) fn contains_v4(&self, address: u32) -> bool {
        self.sieve_v4.look(address).unwrap_or_else(|| self.v4.contains_key(&address))
    }

    #[inline]
    pub(super) fn contains_v6(&self, address: u128) -> bool {
        self.sieve_v6.look(address).unwrap_or_else(|| self.v6.contains_key(&address))
    }

    pub(super) fn set(&mut self, address: IpAddr, local: Local) {
        let gone = local.is_hosts() && !local.probe;
        match address {
            IpAddr::V4(a) => {
                let key = a.to_bits();
                let known = if gone { self.v4.remove(&key) } else { self.v4.insert(key, local) };
                self.sieve_v4.note(key, known.is_some(), !gone);
            }
            IpAddr::V6(a) => {
                let key = a.to_bits();
                let known = if gone { self.v6.remove(&key) } else { self.v6.insert(key, local) };
                self.sieve_v6.note(key, known.is_some(), !gone);
            }
        }
    }
}

/// Slots of a sieve. With thousands of addresses many share one, and the maps are asked more often.
const SLOTS: usize = 4096;

/// What a slot says: nobody's, one address's, or that of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot<K> {
    Empty,
    One(K),
    Several,
}

trait Address: Copy + Eq {
    /// Its slot. Outsiders may choose addresses that share one; what they gain is a look into a map.
    fn place(self) -> usize;
}

/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Address for u32 {
    #[inline(always)]
    fn place(self) -> usize {
        (u64::from(self).wrapping_mul(SPREAD) >> 52) as usize
    }
}

impl Address for u128 {
    #[inline(always)]
    fn place(self) -> usize {
        let folded = (self as u64) ^ ((self >> 64) as u64).rotate_left(29);
        (folded.wrapping_mul(SPREAD) >> 52) as usize
    }
}

#[derive(Clone)]
struct Sieve<K>(Box<[Slot<K>; SLOTS]>);

impl<K: Address> Sieve<K> {
    fn new() -> Self {
        Self(Box::new([Slot::Empty; SLOTS]))
    }

    /// Whether the address is one of ours; `None` if this does not tell.
    #[inline(always)]
    fn look(&self, address: K) -> Option<bool> {
        match self.0[address.place() % SLOTS] {
            Slot::One(other) if other == address => Some(true),
            Slot::Several => None,
            _ => Some(false),
        }
    }

    /// An address came or went.
    fn note(&mut self, address: K, was_there: bool, is_there: bool) {
        let slot = &mut self.0[address.place() % SLOTS];
        match (was_there, is_there) {
            (false, true) => {
                *slot = if *slot == Slot::Empty { Slot::One(address) } else { Slot::Several };
            }
            // A shared slot stays shared: that costs time and never an answer.
            (true, false) if *slot == Slot::One(address) => *slot = Slot::Empty,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    proptest! {
        /// Against the maps, whatever comes and goes.
        #[test]
        fn the_sieve_answers_as_the_maps(
            steps in proptest::collection::vec((any::<bool>(), any::<bool>(), 0u32..300), 0..600),
        ) {
            let mut locals = Locals::new();
            for (add, v6, n) in steps {
                let address = if v6 {
                    IpAddr::V6(Ipv6Addr::from_bits(u128::from(n) << 60 | u128::from(n)))
                } else {
                    IpAddr::V4(Ipv4Addr::from_bits(n << 8))
                };
                locals.set(address, Local { services: u32::from(add), ..Local::NOBODYS });
                prop_assert_eq!(locals.get(address).is_some(), add);
            }
            for n in 0..300u32 {
                let v4 = n << 8;
                prop_assert_eq!(locals.contains_v4(v4), locals.v4.contains_key(&v4));
                let v6 = u128::from(n) << 60 | u128::from(n);
                prop_assert_eq!(locals.contains_v6(v6), locals.v6.contains_key(&v6));
            }
        }
    }
}
