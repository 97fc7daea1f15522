//! When each of a fixed number of things is due: a binary heap that knows where each of them stands.
//!
//! The earliest deadline costs nothing to ask for; moving one costs O(log n). Each thing has one deadline at
//! most. It runs nothing by itself and never allocates after construction.

use alloc::vec;
use alloc::vec::Vec;

use crate::time::Instant;

/// Marks a timer that is not in the heap.
const IDLE: u32 = u32::MAX;

/// Deadlines of the timers 0 to `count - 1`.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// A binary heap: no element is later than its children at `2i + 1` and `2i + 2`.
    heap: Vec<(Instant, u32)>,
    /// Where each timer stands in the heap, or [`IDLE`].
    places: Vec<u32>,
}

impl Deadlines {
    pub(super) fn new(count: usize) -> Self {
        Self { heap: Vec::with_capacity(count), places: vec![IDLE; count] }
    }

    /// The timer that is due first. O(1).
    pub(super) fn first(&self) -> Option<(Instant, u32)> {
        self.heap.first().copied()
    }

    /// Sets, moves or (with `None`) clears a timer. A timer that does not exist is ignored. O(log n).
    pub(super) fn set(&mut self, timer: u32, at: Option<Instant>) {
        let Some(&place) = self.places.get(timer as usize) else { return };
        match (at, place) {
            (None, IDLE) => {}
            (None, place) => self.remove(place as usize),
            (Some(at), IDLE) => {
                self.heap.push((at, timer));
                self.rise(self.heap.len() - 1);
            }
            (Some(at), place) => {
                self.heap[place as usize].0 = at;
                self.settle(place as usize);
            }
        }
    }

    fn remove(&mut self, place: usize) {
        let (_, timer) = self.heap.swap_remove(place);
        self.places[timer as usize] = IDLE;
        if place < self.heap.len() {
            self.settle(place);
        }
    }

    /// Moves the element at `place` up or down to where it belongs.
    fn settle(&mut self, place: usize) {
        let place = self.rise(place);
        self.sink(place);
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent] <= self.heap[place] {
                break;
            }
            self.swap(parent, place);
            place = parent;
        }
        self.note(place);
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(children) = self.heap.get(left..(left + 2).min(self.heap.len())) else { break };
            let Some(offset) = (0..children.len()).min_by_key(|&i| children[i]) else { break };
            let child = left + offset;
            if self.heap[place] <= self.heap[child] {
                break;
            }
            self.swap(place, child);
            place = child;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn note(&mut self, place: usize) {
        let (_, timer) = self.heap[place];
        self.places[timer as usize] = u32::try_from(place).unwrap_or(IDLE);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn holds_the_same_deadlines_as_a_map(
            edits in prop::collection::vec((0u32..20, prop::option::of(0u64..50)), 0..200)
        ) {
            let mut deadlines = Deadlines::new(20);
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for (timer, at) in edits {
                let at = at.map(Instant::from_micros);
                deadlines.set(timer, at);
                match at {
                    Some(at) => model.insert(timer, at),
                    None => model.remove(&timer),
                };
                let first = model.iter().map(|(&timer, &at)| (at, timer)).min();
                prop_assert_eq!(deadlines.first(), first);
            }
            let mut rest: Vec<_> = model.into_iter().map(|(timer, at)| (at, timer)).collect();
            rest.sort_unstable();
            for expected in rest {
                prop_assert_eq!(deadlines.first(), Some(expected));
                deadlines.set(expected.1, None);
            }
            prop_assert_eq!(deadlines.first(), None);
        }
    }

    #[test]
    fn a_timer_that_does_not_exist_is_ignored() {
        let mut deadlines = Deadlines::new(1);
        deadlines.set(1, Some(Instant::ZERO));
        assert_eq!(deadlines.first(), None);
    }
}
