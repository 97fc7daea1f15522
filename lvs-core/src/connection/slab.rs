//! The lines that hold connections: one for IPv4, a pair for IPv6.
//!
//! Lines 2n and 2n+1 are a pair. A single line is taken from a broken pair if there is one, so that pairs stay
//! whole; when both lines of a pair are free again they become one. Everything is O(1).

use super::entry::{LineKind, NIL};
use super::memory::Line;

pub(super) struct Slab<L> {
    lines: L,
    /// Heads of the lists of free lines.
    singles: u32,
    pairs: u32,
    /// Pairs from here on were never used. Touching them only when needed keeps a big table small in a
    /// process that has few connections.
    fresh: u32,
    /// Lines in use.
    used: u32,
}

impl<L: core::ops::DerefMut<Target = [Line]>> Slab<L> {
    /// `lines` must be zero and of even number.
    pub(super) const fn new(lines: L) -> Self {
        Self { lines, singles: NIL, pairs: NIL, fresh: 0, used: 0 }
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(super) fn lines_mut(&mut self) -> &mut [Line] {
        &mut self.lines
    }

    /// How many lines are in use.
    pub(super) const fn used(&self) -> u32 {
        self.used
    }

    /// One line, or `None` if all are taken.
    #[inline(always)]
    pub(super) fn take_single(&mut self) -> Option<u32> {
        let at = if self.singles == NIL {
            let pair = self.pop_pair()?;
            self.push(LineKind::FreeSingle, pair + 1);
            pair
        } else {
            let at = self.singles;
            self.unlink(LineKind::FreeSingle, at);
            at
        };
        self.used += 1;
        Some(at)
    }

    /// The first of two neighbouring lines, or `None` if no pair is whole.
    pub(super) fn take_pair(&mut self) -> Option<u32> {
        let at = self.pop_pair()?;
        self.used += 2;
        Some(at)
    }

    /// Gives back a line from `take_single`.
    pub(super) fn give_single(&mut self, at: u32) {
        self.used -= 1;
        let other = at ^ 1;
        if self.lines[other as usize].kind() == LineKind::FreeSingle {
            self.unlink(LineKind::FreeSingle, other);
            self.push(LineKind::FreePair, at & !1);
            // The second line of a free pair must not look free by itself.
            self.lines[(at | 1) as usize].set_free(LineKind::Fresh);
        } else {
            self.push(LineKind::FreeSingle, at);
        }
    }

    /// Gives back two lines from `take_pair`.
    pub(super) fn give_pair(&mut self, at: u32) {
        self.used -= 2;
        self.push(LineKind::FreePair, at);
        self.lines[(at | 1) as usize].set_free(LineKind::Fresh);
    }

    fn pop_pair(&mut self) -> Option<u32> {
        if self.pairs != NIL {
            let at = self.pairs;
            self.unlink(LineKind::FreePair, at);
            return Some(at);
        }
        if (self.fresh as usize) + 1 >= self.lines.len() {
            return None;
        }
        let at = self.fresh;
        self.fresh += 2;
        Some(at)
    }

    const fn head(&mut self, kind: LineKind) -> &mut u32 {
        match kind {
            LineKind::FreePair => &mut self.pairs,
            _ => &mut self.singles,
        }
    }

    fn push(&mut self, kind: LineKind, at: u32) {
        let first = core::mem::replace(self.head(kind), at);
        if first != NIL {
            self.lines[first as usize].set_previous(at);
        }
        let line = &mut self.lines[at as usize];
        line.set_free(kind);
        line.set_next(first);
        line.set_previous(NIL);
    }

    fn unlink(&mut self, kind: LineKind, at: u32) {
        let line = &mut self.lines[at as usize];
        let (next, previous) = (line.next(), line.previous());
        line.set_free(LineKind::Fresh);
        if previous == NIL {
            *self.head(kind) = next;
        } else {
            self.lines[previous as usize].set_next(next);
        }
        if next != NIL {
            self.lines[next as usize].set_previous(previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// No line is handed out twice, and as many fit as there are lines.
        #[test]
        fn hands_out_every_line_once(pairs in 1usize..20, steps: Vec<(bool, bool, u8)>) {
            let lines = pairs * 2;
            let mut slab = Slab::new(vec![Line::default(); lines]);
            let mut taken: Vec<(u32, bool)> = Vec::new();
            let mut owned = vec![false; lines];
            for (take, pair, which) in steps {
                if take {
                    let got = if pair { slab.take_pair() } else { slab.take_single() };
                    if let Some(at) = got {
                        let width = if pair { 2 } else { 1 };
                        prop_assert!(!pair || at % 2 == 0);
                        for line in at..at + width {
                            prop_assert!(!owned[line as usize]);
                            owned[line as usize] = true;
                        }
                        taken.push((at, pair));
                    } else if pair {
                        prop_assert!(owned.chunks(2).all(|two| two[0] || two[1]), "a whole pair was free");
                    } else {
                        prop_assert!(owned.iter().all(|taken| *taken), "a line was free");
                    }
                } else if !taken.is_empty() {
                    let (at, pair) = taken.swap_remove(usize::from(which) % taken.len());
                    owned[at as usize] = false;
                    if pair {
                        owned[at as usize + 1] = false;
                        slab.give_pair(at);
                    } else {
                        slab.give_single(at);
                    }
                }
                prop_assert_eq!(slab.used() as usize, owned.iter().filter(|taken| **taken).count());
            }
        }
    }
}
