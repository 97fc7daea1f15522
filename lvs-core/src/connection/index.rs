//! From a flow's hash to its entry: buckets of one cache line with eight places each.
//!
//! ```text
//!   word 0-3   eight 16-bit tags (0: empty)
//!   word 4-11  eight entry numbers
//!   word 12    how many entries that belong here first lie in their second bucket
//! ```
//! Every flow has two buckets. It goes into the first while that has room, else into the second; if both are full
//! one of the first bucket's entries moves to its other bucket. A lookup reads one cache line, a second one only
//! if word 12 says so. With half of all places used, which is the most there ever is, a flow that finds no
//! place is not a matter of bad luck but of a broken key; it is reported as a full table, never searched for.

use super::entry::NIL;
use super::hash::FlowHash;
use super::memory::Line;
use super::processor::equal;

/// Places in a bucket.
pub(super) const PLACES: usize = 8;
const ENTRIES: usize = 4;
const OVERFLOW: usize = 12;

/// The number of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket(u32);

impl Bucket {
    /// There is always one.
    pub(crate) const FIRST: Self = Self(0);
}

pub(super) struct Index<L> {
    buckets: L,
}

/// Which buckets a flow may lie in, and its tag there.
#[derive(Clone, Copy)]
struct Home {
    first: usize,
    second: usize,
    tag: u16,
}

impl<L: core::ops::DerefMut<Target = [Line]>> Index<L> {
    /// `buckets` must be zero and at least 2.
    pub(super) const fn new(buckets: L) -> Self {
        Self { buckets }
    }

    /// How many buckets there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// The bucket that is read first.
    #[inline(always)]
    pub(super) fn first_bucket(&self, hash: FlowHash) -> usize {
        // The upper half scaled to the number of buckets: no division, any number of buckets.
        (((hash.0 >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The bucket that is read first, and its memory.
    #[inline(always)]
    pub(super) fn first(&self, hash: FlowHash) -> (Bucket, &Line) {
        let first = self.first_bucket(hash);
        (Bucket(first as u32), &self.buckets[first])
    }

    #[inline(always)]
    fn home(&self, hash: FlowHash) -> Home {
        let first = self.first_bucket(hash);
        let mut second = (((hash.0 & 0xffff_ffff) * self.buckets.len() as u64) >> 32) as usize;
        if second == first {
            second = if first == 0 { self.buckets.len() - 1 } else { first - 1 };
        }
        Home { first, second, tag: tag(hash) }
    }

    /// The first entry of the flow's first bucket that has its tag: nearly always the flow itself, if it is known.
    /// `NIL` if there is none.
    #[inline(always)]
    pub(super) fn guess(&self, first: Bucket, hash: FlowHash) -> u32 {
        let bucket = &self.buckets[first.0 as usize];
        matches(bucket, tag(hash)).next().map_or(NIL, |place| bucket.0[ENTRIES + place])
    }

    /// The entry for which `is_it` says yes, among those that may be the flow's.
    #[inline(always)]
    pub(super) fn find(&self, hash: FlowHash, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let first = &self.buckets[self.first_bucket(hash)];
        if let Some(entry) = entries(first, tag(hash)).find(|entry| is_it(*entry)) {
            return Some(entry);
        }
        if first.0[OVERFLOW] == 0 {
            return None;
        }
        let home = self.home(hash);
        entries(&self.buckets[home.second], home.tag).find(|entry| is_it(*entry))
    }

    /// Adds an entry that is not there yet. Answers whether there was a place. `hash_of` is asked for the hash of
    /// other entries if one of them has to move.
    #[inline(always)]
    pub(super) fn insert(&mut self, hash: FlowHash, entry: u32, hash_of: impl Fn(u32) -> FlowHash) -> bool {
        let first = self.first_bucket(hash);
        if put(&mut self.buckets[first], tag(hash), entry) {
            return true;
        }
        let home = self.home(hash);
        if put(&mut self.buckets[home.second], home.tag, entry) {
            self.buckets[home.first].0[OVERFLOW] += 1;
            return true;
        }
        self.move_one_away(home.first, hash_of) && put(&mut self.buckets[home.first], home.tag, entry)
    }

    /// Removes an entry that is there.
    pub(super) fn remove(&mut self, hash: FlowHash, entry: u32) {
        let home = self.home(hash);
        if !take(&mut self.buckets[home.first], home.tag, entry)
            && take(&mut self.buckets[home.second], home.tag, entry)
        {
            self.buckets[home.first].0[OVERFLOW] -= 1;
        }
    }

    /// Moves one entry of a full bucket to its other bucket, if one of them can.
    fn move_one_away(&mut self, from: usize, hash_of: impl Fn(u32) -> FlowHash) -> bool {
        for place in 0..PLACES {
            let entry = self.buckets[from].0[ENTRIES + place];
            let home = self.home(hash_of(entry));
            let to = if home.first == from { home.second } else { home.first };
            if put(&mut self.buckets[to], home.tag, entry) {
                set_tag(&mut self.buckets[from], place, 0);
                let overflow = &mut self.buckets[home.first].0[OVERFLOW];
                if home.first == from {
                    *overflow += 1;
                } else {
                    *overflow -= 1;
                }
                return true;
            }
        }
        false
    }
}

/// The tag of a flow in its buckets: 16 bits of its hash, never 0.
const fn tag(hash: FlowHash) -> u16 {
    let tag = hash.0 as u16;
    if tag == 0 { 1 } else { tag }
}

const fn tag_at(bucket: &Line, place: usize) -> u16 {
    (bucket.0[place / 2] >> (16 * (place % 2))) as u16
}

const fn set_tag(bucket: &mut Line, place: usize, tag: u16) {
    let shift = 16 * (place % 2);
    let word = &mut bucket.0[place / 2];
    *word = *word & !(0xffff << shift) | (tag as u32) << shift;
}

/// The places whose tag is `tag`, lowest first.
#[inline(always)]
fn matches(bucket: &Line, tag: u16) -> impl Iterator<Item = usize> {
    let word = |at: usize| u64::from(bucket.0[at]) | u64::from(bucket.0[at + 1]) << 32;
    let mut found = equal([word(0), word(2)], tag);
    core::iter::from_fn(move || {
        let place = found.trailing_zeros() as usize;
        found &= found.wrapping_sub(1);
        (place < PLACES).then_some(place)
    })
}

/// The entries that have this tag.
#[inline(always)]
fn entries(bucket: &Line, tag: u16) -> impl Iterator<Item = u32> {
    matches(bucket, tag).map(|place| bucket.0[ENTRIES + place])
}

/// Puts an entry into a free place, if there is one.
#[inline(always)]
fn put(bucket: &mut Line, tag: u16, entry: u32) -> bool {
    let Some(place) = matches(bucket, 0).next() else {
        return false;
    };
    set_tag(bucket, place, tag);
    bucket.0[ENTRIES + place] = entry;
    true
}

/// Takes an entry out, if it is there.
fn take(bucket: &mut Line, tag: u16, entry: u32) -> bool {
    let place = (0..PLACES).find(|p| tag_at(bucket, *p) == tag && bucket.0[ENTRIES + p] == entry);
    place.inspect(|place| set_tag(bucket, *place, 0)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain map, with so few buckets and hashes that everything collides.
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((any::<bool>(), 0u64..64), 0..400)) {
            let hash_of = |n: u32| FlowHash(u64::from(n % 7) << 61 | u64::from(n % 5) << 30 | u64::from(n % 3));
            let mut index = Index::new(vec![Line::default(); 6]);
            let mut model: BTreeMap<u32, ()> = BTreeMap::new();
            for (insert, n) in steps {
                let n = n as u32;
                let known = model.contains_key(&n);
                prop_assert_eq!(index.find(hash_of(n), |entry| entry == n).is_some(), known);
                if insert && !known {
                    if index.insert(hash_of(n), n, hash_of) {
                        model.insert(n, ());
                    }
                } else if !insert && known {
                    index.remove(hash_of(n), n);
                    model.remove(&n);
                }
            }
            for n in 0..64 {
                prop_assert_eq!(index.find(hash_of(n), |entry| entry == n).is_some(), model.contains_key(&n));
            }
        }

        #[test]
        fn places_are_found_by_their_tags(tags in proptest::array::uniform8(0u16..4), wanted in 1u16..4) {
            let mut bucket = Line::default();
            for (place, tag) in tags.iter().enumerate() {
                set_tag(&mut bucket, place, *tag);
            }
            let found: Vec<usize> = matches(&bucket, wanted).collect();
            let expected: Vec<usize> = (0..PLACES).filter(|place| tags[*place] == wanted).collect();
            prop_assert_eq!(found, expected);
            for (place, tag) in tags.iter().enumerate() {
                prop_assert_eq!(tag_at(&bucket, place), *tag);
            }
        }
    }

    /// Half of all places used, with hashes as good as random: nobody is refused.
    #[test]
    fn half_full_refuses_nobody() {
        let buckets = 4096;
        let mut index = Index::new(vec![Line::default(); buckets]);
        let hash_of = |n: u32| {
            let product = u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            FlowHash((product >> 32) as u64 ^ (product >> 64) as u64)
        };
        for n in 0..(buckets * PLACES / 2) as u32 {
            assert!(index.insert(hash_of(n), n, hash_of), "{n}");
        }
    }
}
