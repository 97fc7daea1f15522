//! What waits to be fetched: events, and ids without duplicates. Both have a fixed size.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::event::Event;

/// A queue of events that keeps the oldest and counts those for which there was no room.
#[derive(Debug)]
pub(super) struct Events {
    queue: VecDeque<Event>,
    lost: u32,
}

impl Events {
    const CAPACITY: usize = 256;

    pub(super) fn new() -> Self {
        Self { queue: VecDeque::with_capacity(Self::CAPACITY), lost: 0 }
    }

    pub(super) fn push(&mut self, event: Event) {
        // Once something is lost, everything is until the reader has seen where: order is kept.
        if self.queue.len() < Self::CAPACITY && self.lost == 0 {
            self.queue.push_back(event);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// The oldest event. After the last one that was kept comes the number of those that were not.
    pub(super) fn pop(&mut self) -> Option<Event> {
        if let Some(event) = self.queue.pop_front() {
            return Some(event);
        }
        let lost = core::mem::take(&mut self.lost);
        (lost > 0).then_some(Event::Lost(lost))
    }
}

/// A queue of slot numbers in which each stands once at most.
#[derive(Debug)]
pub(super) struct SlotQueue {
    queue: VecDeque<u32>,
    waiting: Vec<bool>,
}

impl SlotQueue {
    pub(super) fn new(slots: usize) -> Self {
        Self { queue: VecDeque::with_capacity(slots), waiting: vec![false; slots] }
    }

    /// Puts a slot at the end unless it is waiting. A slot that does not exist is ignored.
    pub(super) fn push(&mut self, slot: u32) {
        if let Some(waiting) = self.waiting.get_mut(slot as usize)
            && !core::mem::replace(waiting, true)
        {
            self.queue.push_back(slot);
        }
    }

    /// The first slot, which stays where it is.
    pub(super) fn first(&self) -> Option<u32> {
        self.queue.front().copied()
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        let slot = self.queue.pop_front()?;
        if let Some(waiting) = self.waiting.get_mut(slot as usize) {
            *waiting = false;
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::PortId;

    #[test]
    fn events_without_room_are_counted_after_those_that_were_kept() {
        let mut events = Events::new();
        for port in 0..300 {
            events.push(Event::LinkUp(PortId(port)));
        }
        for port in 0..256 {
            assert_eq!(events.pop(), Some(Event::LinkUp(PortId(port))));
        }
        assert_eq!(events.pop(), Some(Event::Lost(44)));
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn a_slot_waits_once() {
        let mut queue = SlotQueue::new(3);
        for slot in [2, 0, 2, 2, 7, 0] {
            queue.push(slot);
        }
        assert_eq!(queue.first(), Some(2));
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some(2), Some(0), None]);
        queue.push(2);
        assert_eq!(queue.pop(), Some(2));
    }
}
