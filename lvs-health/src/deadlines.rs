//! Deadlines by number, earliest first: a binary heap that knows where each number is. All memory is taken at the start.

use lvs_core::Instant;

const NOWHERE: u32 = u32::MAX;

/// At most one deadline for each number below a bound.
#[derive(Debug)]
pub(crate) struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// Where in the heap each number is.
    place: Vec<u32>,
}

impl Deadlines {
    pub(crate) fn new(numbers: usize) -> Self {
        Self { heap: Vec::with_capacity(numbers), place: vec![NOWHERE; numbers] }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(at, _)| at)
    }

    /// Takes out the earliest number if it is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<u32> {
        let &(at, number) = self.heap.first()?;
        if at > now {
            return None;
        }
        self.clear(number);
        Some(number)
    }

    /// Sets a number's deadline, or sets it anew. O(log n).
    pub(crate) fn set(&mut self, number: u32, at: Instant) {
        let place = self.place[number as usize];
        if place == NOWHERE {
            self.heap.push((at, number));
            self.rise(self.heap.len() - 1);
        } else {
            self.heap[place as usize].0 = at;
            self.settle(place as usize);
        }
    }

    /// Takes a number's deadline away, if it has one. O(log n).
    pub(crate) fn clear(&mut self, number: u32) {
        let place = std::mem::replace(&mut self.place[number as usize], NOWHERE);
        if place == NOWHERE {
            return;
        }
        self.heap.swap_remove(place as usize);
        if (place as usize) < self.heap.len() {
            self.place[self.heap[place as usize].1 as usize] = place;
            self.settle(place as usize);
        }
    }

    fn settle(&mut self, place: usize) {
        let place = self.rise(place);
        self.sink(place);
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 && self.heap[place] < self.heap[(place - 1) / 2] {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        self.place[self.heap[place].1 as usize] = place as u32;
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let children = [2 * place + 1, 2 * place + 2];
            let least = children
                .into_iter()
                .filter(|&child| child < self.heap.len())
                .min_by_key(|&child| self.heap[child]);
            match least {
                Some(child) if self.heap[child] < self.heap[place] => {
                    self.swap(place, child);
                    place = child;
                }
                _ => return,
            }
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.place[self.heap[a].1 as usize] = a as u32;
        self.place[self.heap[b].1 as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn deadlines_agree_with_a_map(edits in proptest::collection::vec((0u32..20, 0u64..50, 0u8..4), 1..300)) {
            let mut deadlines = Deadlines::new(20);
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for (number, at, what) in edits {
                let at = Instant::from_micros(at);
                match what {
                    0 | 1 => {
                        deadlines.set(number, at);
                        model.insert(number, at);
                    }
                    2 => {
                        deadlines.clear(number);
                        model.remove(&number);
                    }
                    _ => {
                        let expected = model.iter().map(|(&n, &t)| (t, n)).min().filter(|&(t, _)| t <= at);
                        prop_assert_eq!(deadlines.pop(at), expected.map(|(_, n)| n));
                        if let Some((_, n)) = expected {
                            model.remove(&n);
                        }
                    }
                }
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
            }
        }
    }
}
