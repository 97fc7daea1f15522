//! The connection table: index, lines and wheel kept in step. Nobody else edits any of the three.

use core::time::Duration;

use super::ConnectionState;
use super::entry::{Head, LineKind, NIL};
use super::hash::{FlowHash, FlowHasher};
use super::index::{Bucket, Index, PLACES};
use super::memory::{Line, TableMemory};
use super::processor::prefetch;
use super::slab::Slab;
use super::wheel::{Wheel, ticks};
use crate::classify::FlowKey;
use crate::time::Instant;

/// The number of a connection while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionId(pub(crate) u32);

/// A guess which connection a flow is, to be confirmed once its memory has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guess(u32);

impl Guess {
    /// No idea.
    pub(crate) const NONE: Self = Self(NIL);
}

/// What a new connection starts with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewConnection {
    pub(crate) destination: u32,
    pub(crate) state: ConnectionState,
    /// In ticks.
    pub(crate) timeout: u32,
}

/// There is no room for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

pub(crate) struct ConnectionTable<M: TableMemory> {
    hasher: FlowHasher,
    index: Index<M::Lines>,
    slab: Slab<M::Lines>,
    wheel: Wheel,
    connections: u32,
}

impl<M: TableMemory> ConnectionTable<M> {
    /// A table for `capacity` lines (an IPv4 connection takes one, an IPv6 connection two). `None` if `memory` has
    /// not that much.
    pub(crate) fn new(memory: &M, capacity: u32, hasher: FlowHasher, now: Instant) -> Option<Self> {
        let lines = (capacity as usize).next_multiple_of(2);
        // Half of the places stay empty, so that nearly every flow lies in its first bucket.
        let buckets = (lines * 2).div_ceil(PLACES).max(2);
        Some(Self {
            hasher,
            index: Index::new(memory.lines(buckets)?),
            slab: Slab::new(memory.lines(lines)?),
            wheel: Wheel::new(ticks(now)),
            connections: 0,
        })
    }

    /// How many connections there are.
    pub(crate) const fn len(&self) -> u32 {
        self.connections
    }

    /// Lines in use, and lines in all.
    pub(crate) fn usage(&self) -> (u32, u32) {
        (self.slab.used(), self.slab.lines().len() as u32)
    }

    #[inline]
    pub(crate) fn hash(&self, key: &FlowKey) -> FlowHash {
        self.hasher.hash(key)
    }

    /// Which connection the flow probably is. Reads one line of the index.
    #[inline(always)]
    pub(crate) fn guess(&self, bucket: Bucket, hash: FlowHash) -> Guess {
        Guess(self.index.guess(bucket, hash))
    }

    /// The secret of the hash, for those who hash many.
    #[inline(always)]
    pub(crate) fn hasher(&self) -> FlowHasher {
        self.hasher
    }

    /// Has the bucket fetched in which the flow probably lies, so that it is at hand for [`guess`](Self::guess).
    #[inline(always)]
    pub(crate) fn fetch_bucket(&self, hash: FlowHash) -> Bucket {
        let (bucket, line) = self.index.first(hash);
        prefetch(line);
        bucket
    }

    /// Has the connection fetched that was guessed, so that it is at hand later.
    #[inline(always)]
    pub(crate) fn fetch(&self, guess: Guess, is_ipv6: bool) {
        let lines = self.slab.lines();
        if let Some(line) = lines.get(guess.0 as usize) {
            prefetch(line);
        }
        if is_ipv6 && let Some(line) = lines.get(guess.0 as usize | 1) {
            prefetch(line);
        }
    }

    /// The connection if the guess was right and its first words are these.
    #[inline(always)]
    pub(crate) fn steady_v4(&mut self, guess: Guess, head: Head) -> Option<&mut Line> {
        let lines = self.slab.lines_mut();
        // In two comparisons; a reference that may be none makes three of them.
        if guess.0 as usize >= lines.len() {
            return None;
        }
        let line = &mut lines[guess.0 as usize];
        if line.head() == head { Some(line) } else { None }
    }

    /// The same for IPv6.
    #[inline(always)]
    pub(crate) fn steady_v6(
        &mut self,
        guess: Guess,
        head: Head,
        (client, virtual_address): (u128, u128),
    ) -> Option<&mut Line> {
        let [line, second] = self.slab.lines_mut().get_mut(guess.0 as usize..)?.first_chunk_mut::<2>()?;
        (line.head() == head && second.is_addresses(client, virtual_address)).then_some(line)
    }

    /// The connection if the guess was right.
    #[inline(always)]
    pub(crate) fn confirm(&self, guess: Guess, hash: FlowHash, key: &FlowKey) -> Option<ConnectionId> {
        (guess.0 != NIL && self.is_flow(guess.0, hash, key)).then_some(ConnectionId(guess.0))
    }

    /// The connection of a flow, with all effort.
    #[inline(always)]
    pub(crate) fn find(&self, hash: FlowHash, key: &FlowKey) -> Option<ConnectionId> {
        self.index.find(hash, |entry| self.is_flow(entry, hash, key)).map(ConnectionId)
    }

    #[inline(always)]
    fn is_flow(&self, entry: u32, hash: FlowHash, key: &FlowKey) -> bool {
        let lines = self.slab.lines();
        let Some(line) = lines.get(entry as usize) else {
            return false;
        };
        match *key {
            FlowKey::V4 { addresses, ports, protocol } => line.is_v4(addresses, ports, protocol),
            FlowKey::V6 { client, virtual_address, ports, protocol } => {
                line.may_be_v6(hash, ports, protocol)
                    && lines
                        .get(entry as usize + 1)
                        .is_some_and(|second| second.is_addresses(client, virtual_address))
            }
        }
    }

    /// Makes a connection of a flow that has none.
    ///
    /// # Errors
    /// If there is no room.
    #[inline(always)]
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        hash: FlowHash,
        key: &FlowKey,
        new: NewConnection,
    ) -> Result<ConnectionId, Full> {
        let is_v6 = matches!(key, FlowKey::V6 { .. });
        let entry = if is_v6 { self.slab.take_pair() } else { self.slab.take_single() }.ok_or(Full)?;
        let now = ticks(now);
        let line = &mut self.slab.lines_mut()[entry as usize];
        line.set_key(key, hash);
        line.set_destination(new.destination);
        line.set_state(new.state);
        line.set_last_seen(now);
        line.set_timeout(new.timeout);
        line.set_packets(0);
        line.set_template(None);
        if let FlowKey::V6 { client, virtual_address, .. } = *key {
            self.slab.lines_mut()[entry as usize + 1].set_addresses(client, virtual_address);
        }
        let (lines, hasher) = (self.slab.lines(), &self.hasher);
        if !self.index.insert(hash, entry, |other| hash_of(lines, hasher, other)) {
            self.give_lines(entry, is_v6);
            return Err(Full);
        }
        self.wheel.link(self.slab.lines_mut(), entry, now.wrapping_add(new.timeout));
        self.connections += 1;
        Ok(ConnectionId(entry))
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.wheel.unlink(self.slab.lines_mut(), id.0);
        self.forget(id);
    }

    /// Forgets a connection that is in no wheel slot any more.
    fn forget(&mut self, id: ConnectionId) {
        let is_v6 = self.slab.lines()[id.0 as usize].kind() == LineKind::V6;
        self.index.remove(hash_of(self.slab.lines(), &self.hasher, id.0), id.0);
        self.give_lines(id.0, is_v6);
        self.connections -= 1;
    }

    fn give_lines(&mut self, entry: u32, is_v6: bool) {
        if is_v6 {
            self.slab.give_pair(entry);
        } else {
            self.slab.give_single(entry);
        }
    }

    #[inline]
    pub(crate) fn entry(&self, id: ConnectionId) -> &Line {
        &self.slab.lines()[id.0 as usize]
    }

    #[inline]
    pub(crate) fn entry_mut(&mut self, id: ConnectionId) -> &mut Line {
        &mut self.slab.lines_mut()[id.0 as usize]
    }

    /// To be called when a connection's time-out became shorter.
    pub(crate) fn hasten(&mut self, id: ConnectionId) {
        let deadline = self.entry(id).deadline();
        self.wheel.hasten(self.slab.lines_mut(), id.0, deadline);
    }

    /// The flow of a connection.
    pub(crate) fn key(&self, id: ConnectionId) -> FlowKey {
        let lines = self.slab.lines();
        lines[id.0 as usize].key(lines.get(id.0 as usize + 1))
    }

    /// Forgets the next connection whose time is over and answers what it was; `None` if there is none or `budget`
    /// is used up.
    pub(crate) fn expire(&mut self, now: Instant, budget: &mut u32) -> Option<Line> {
        self.expire_unless(now, budget, |_| None)
    }

    /// The same, but an entry for which `longer` answers a number of ticks gets that much more time.
    pub(crate) fn expire_unless(
        &mut self,
        now: Instant,
        budget: &mut u32,
        longer: impl Fn(&Line) -> Option<u32>,
    ) -> Option<Line> {
        let now = ticks(now);
        while let Some(entry) = self.wheel.pop(self.slab.lines_mut(), now, budget) {
            let line = &mut self.slab.lines_mut()[entry as usize];
            if let Some(timeout) = longer(line) {
                line.set_timeout(timeout);
                line.set_last_seen(now);
                self.wheel.link(self.slab.lines_mut(), entry, now.wrapping_add(timeout));
                continue;
            }
            let line = *line;
            self.forget(ConnectionId(entry));
            return Some(line);
        }
        None
    }

    /// Gives an entry another flow, of the same family, and finds it by that from now on. If there is no place for it in
    /// the index it is found by no flow any more.
    pub(crate) fn rename(&mut self, id: ConnectionId, key: &FlowKey) {
        let entry = id.0;
        self.index.remove(hash_of(self.slab.lines(), &self.hasher, entry), entry);
        let hash = self.hasher.hash(key);
        self.slab.lines_mut()[entry as usize].rename(key, hash);
        let (lines, hasher) = (self.slab.lines(), &self.hasher);
        self.index.insert(hash, entry, |other| hash_of(lines, hasher, other));
    }

    /// When `expire` should be called next.
    pub(crate) fn next_expiry(&self, now: Instant) -> Option<Instant> {
        self.wheel.next_due(now)
    }

    /// The first connection at or behind `cursor`, and the cursor behind it. Looks at no more than `budget` lines, and
    /// answers where it stopped if it found none there.
    pub(crate) fn scan(&self, cursor: u32, budget: &mut u32) -> (Option<ConnectionId>, Option<u32>) {
        let lines = self.slab.lines();
        let mut at = cursor;
        while let Some(line) = lines.get(at as usize) {
            if *budget == 0 {
                return (None, Some(at));
            }
            *budget -= 1;
            match line.kind() {
                LineKind::V4 => return (Some(ConnectionId(at)), Some(at + 1)),
                LineKind::V6 => return (Some(ConnectionId(at)), Some(at + 2)),
                LineKind::FreePair => at += 2,
                LineKind::Fresh | LineKind::FreeSingle => at += 1,
            }
        }
        (None, None)
    }

    /// How long a connection still has.
    pub(crate) fn expires_in(&self, id: ConnectionId, now: Instant) -> Duration {
        let left = self.entry(id).deadline().wrapping_sub(ticks(now)) as i32;
        super::wheel::ticks_duration(left.max(0) as u32)
    }
}

fn hash_of(lines: &[Line], hasher: &FlowHasher, entry: u32) -> FlowHash {
    let line = &lines[entry as usize];
    match line.kind() {
        LineKind::V6 => line.stored_hash(),
        _ => hasher.hash(&line.key(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::HeapMemory;
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn table(capacity: u32) -> ConnectionTable<HeapMemory> {
        ConnectionTable::new(&HeapMemory, capacity, FlowHasher::new(&[7; 32]), Instant::ZERO).unwrap()
    }

    fn key(n: u32, v6: bool) -> FlowKey {
        if v6 {
            FlowKey::V6 { client: u128::from(n) << 70, virtual_address: 3, ports: n << 16 | 80, protocol: 6 }
        } else {
            FlowKey::V4 { addresses: u64::from(n) << 32 | 9, ports: 4000 << 16 | 80, protocol: 6 }
        }
    }

    const NEW: NewConnection =
        NewConnection { destination: 5, state: ConnectionState::SynReceived, timeout: 100 };

    proptest! {
        /// Inserts, removals and passing time against a plain map, both families mixed.
        #[test]
        fn behaves_like_a_map(
            capacity in 64u32..128,
            steps in proptest::collection::vec((0u8..3, 0u32..200, any::<bool>(), 0u64..500), 0..300),
        ) {
            let mut table = table(capacity);
            let mut model: BTreeMap<(u32, bool), u64> = BTreeMap::new();
            let mut now = 0;
            for (action, n, v6, pause) in steps {
                now += pause;
                let at = Instant::from_millis(now);
                let mut budget = u32::MAX;
                while let Some(line) = table.expire(at, &mut budget) {
                    let found = model.keys().copied().find(|(n, v6)| {
                        table.find(table.hash(&key(*n, *v6)), &key(*n, *v6)).is_none()
                    });
                    prop_assert!(line.is_expired(ticks(at)));
                    let gone = found.unwrap();
                    prop_assert!(model.remove(&gone).unwrap() <= now);
                }
                let flow = key(n, v6);
                let hash = table.hash(&flow);
                let known = table.find(hash, &flow);
                prop_assert_eq!(known.is_some(), model.contains_key(&(n, v6)));
                match (action, known) {
                    (0 | 1, None) => match table.insert(at, hash, &flow, NEW) {
                        Ok(id) => {
                            prop_assert_eq!(table.key(id), flow);
                            prop_assert_eq!(table.confirm(table.guess(table.fetch_bucket(hash), hash), hash, &flow).is_some(), true);
                            model.insert((n, v6), now + 1600);
                        }
                        Err(Full) => {
                            let used: u32 = model.keys().map(|(_, v6)| if *v6 { 2 } else { 1 }).sum();
                            // A pair may be wanting although single lines are free.
                            let reason = if v6 { used * 2 >= capacity } else { used >= capacity };
                            prop_assert!(reason, "refused with {} of {} used", used, capacity);
                        }
                    },
                    (2, Some(id)) => {
                        table.remove(id);
                        model.remove(&(n, v6));
                    }
                    _ => {}
                }
                prop_assert_eq!(table.len() as usize, model.len());
            }
            let mut cursor = Some(0);
            let mut seen = 0;
            while let Some(at) = cursor {
                let mut budget = 3;
                let (found, next) = table.scan(at, &mut budget);
                seen += usize::from(found.is_some());
                cursor = next;
            }
            prop_assert_eq!(seen, model.len());
        }
    }

    #[test]
    fn takes_eighty_bytes_a_connection() {
        let table = table(1 << 16);
        let bytes = (table.slab.lines().len() + table.index.len()) * size_of::<Line>();
        assert_eq!(bytes, 80 << 16);
    }
}
