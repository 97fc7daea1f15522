//! All neighbours: who is tracked, under which number, and whose Ethernet address changed.
//!
//! Slots, index and queue of changes must agree; this file is their only editor. It neither reads nor
//! writes frames.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::entry::Entry;
use super::events::SlotQueue;
use super::index::{Index, Key};
use super::{Full, NeighbourId};
use crate::addr::MacAddr;
use crate::config::InterfaceId;
use crate::listing::NeighbourUsage;

/// One neighbour and who needs it.
#[derive(Debug)]
struct Slot {
    interface: InterfaceId,
    address: IpAddr,
    /// How many times it was tracked. A static neighbour stays with none.
    users: u32,
    entry: Entry,
}

/// A fixed number of neighbours.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    index: Index,
    updates: SlotQueue,
    /// Neighbours with an Ethernet address.
    resolved: u32,
}

impl Table {
    pub(super) fn new(capacity: u32, seed: u64) -> Self {
        let count = capacity as usize;
        Self {
            slots: core::iter::repeat_with(|| None).take(count).collect(),
            free: (0..capacity).rev().collect(),
            index: Index::new(count, seed),
            updates: SlotQueue::new(count),
            resolved: 0,
        }
    }

    /// O(1).
    pub(super) fn find(&self, interface: InterfaceId, address: IpAddr) -> Option<NeighbourId> {
        self.index.find(Key { scope: interface.0, address }).map(NeighbourId)
    }

    /// The slot of a neighbour, made by `entry` if there is none yet. O(1).
    pub(super) fn find_or_insert(
        &mut self,
        interface: InterfaceId,
        address: IpAddr,
        entry: impl FnOnce() -> Entry,
    ) -> Result<NeighbourId, Full> {
        if let Some(id) = self.find(interface, address) {
            return Ok(id);
        }
        let slot = self.free.pop().ok_or(Full)?;
        let entry = entry();
        self.resolved += u32::from(entry.mac().is_some());
        self.slots[slot as usize] = Some(Slot { interface, address, users: 0, entry });
        self.index.insert(Key { scope: interface.0, address }, slot);
        Ok(NeighbourId(slot))
    }

    pub(super) fn add_user(&mut self, id: NeighbourId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.users = slot.users.saturating_add(1);
            // Whoever starts to use a neighbour hears of an address that is known already.
            if slot.entry.mac().is_some() {
                self.updates.push(id.0);
            }
        }
    }

    pub(super) fn remove_user(&mut self, id: NeighbourId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.users = slot.users.saturating_sub(1);
        }
    }

    /// Forgets a neighbour that nobody uses and that is not static. Answers whether it did.
    pub(super) fn forget_unused(&mut self, id: NeighbourId) -> bool {
        let Some(slot) = self.slot(id) else { return false };
        if slot.users > 0 || slot.entry.is_static() {
            return false;
        }
        let (key, resolved) =
            (Key { scope: slot.interface.0, address: slot.address }, slot.entry.mac().is_some());
        self.resolved -= u32::from(resolved);
        self.index.remove(key);
        self.slots[id.0 as usize] = None;
        self.free.push(id.0);
        true
    }

    /// Where a neighbour is, and its address.
    pub(super) fn place(&self, id: NeighbourId) -> Option<(InterfaceId, IpAddr)> {
        self.slot(id).map(|slot| (slot.interface, slot.address))
    }

    pub(super) fn entry(&self, id: NeighbourId) -> Option<&Entry> {
        self.slot(id).map(|slot| &slot.entry)
    }

    /// Edits an entry and notes if its Ethernet address is another one afterwards.
    pub(super) fn edit<R>(&mut self, id: NeighbourId, edit: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        let slot = self.slots.get_mut(id.0 as usize)?.as_mut()?;
        let before: Option<MacAddr> = slot.entry.mac();
        let result = edit(&mut slot.entry);
        let after = slot.entry.mac();
        self.resolved = self.resolved + u32::from(after.is_some()) - u32::from(before.is_some());
        if after != before {
            self.updates.push(id.0);
        }
        Some(result)
    }

    /// The next neighbour whose address changed and that is still in use.
    pub(super) fn poll_update(&mut self) -> Option<NeighbourId> {
        while let Some(slot) = self.updates.pop() {
            let id = NeighbourId(slot);
            if self.slot(id).is_some_and(|slot| slot.users > 0) {
                return Some(id);
            }
        }
        None
    }

    /// O(1).
    pub(super) const fn usage(&self) -> NeighbourUsage {
        let capacity = self.slots.len() as u32;
        NeighbourUsage { neighbours: capacity - self.free.len() as u32, resolved: self.resolved, capacity }
    }

    /// All numbers that a neighbour can have, in use or not.
    pub(super) fn ids(&self) -> impl Iterator<Item = NeighbourId> + use<> {
        (0u32..).take(self.slots.len()).map(NeighbourId)
    }

    fn slot(&self, id: NeighbourId) -> Option<&Slot> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    fn slot_mut(&mut self, id: NeighbourId) -> Option<&mut Slot> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn slots_are_reused_and_updates_name_each_user_once() {
        let mut table = Table::new(2, 1);
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let add = |table: &mut Table, n| {
            table.find_or_insert(InterfaceId(0), address(n), || Entry::new(Instant::ZERO, true))
        };
        let first = add(&mut table, 1).unwrap();
        let second = add(&mut table, 2).unwrap();
        assert_eq!(add(&mut table, 1), Ok(first));
        assert_eq!(add(&mut table, 3), Err(Full));
        table.add_user(first);
        table.add_user(second);
        let now = Instant::ZERO;
        for id in [first, second, first] {
            table.edit(id, |entry| entry.heard(now, MacAddr([2, 0, 0, 0, 0, 9])));
        }
        assert!(!table.forget_unused(second));
        table.remove_user(second);
        assert!(table.forget_unused(second));
        // The slot's new owner has no address: the change of the old one is not its own.
        let third = add(&mut table, 3).unwrap();
        assert_eq!(third, second);
        assert_eq!(table.poll_update(), Some(first));
        assert_eq!(table.poll_update(), None);
        assert_eq!(table.find(InterfaceId(1), address(1)), None);
    }
}
