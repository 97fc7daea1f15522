//! When to look at a connection again.
//!
//! A ring of 4096 slots of a quarter of a second. The entry is the truth about its end: a packet writes only the
//! entry, and when its slot comes up an entry that still has time is put further on. An entry whose end lies
//! beyond the ring is looked at once a turn (18 minutes).

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

use super::entry::NIL;
use super::memory::Line;
use super::processor::prefetch;
use crate::time::Instant;

/// Slots in the ring.
const SLOTS: u32 = 4096;
/// A tick is 2^14 microseconds: 16.4 ms. Wraps after two years, which only time-outs of a year could notice.
const TICK_SHIFT: u32 = 14;
/// Ticks in a slot: 16, which is 262 ms.
const SLOT_SHIFT: u32 = 4;

/// The tick in which `now` lies.
#[inline]
pub(crate) const fn ticks(now: Instant) -> u32 {
    (now.as_micros() >> TICK_SHIFT) as u32
}

/// A duration in ticks, rounded up; at most 31 days.
pub(crate) fn duration_ticks(duration: Duration) -> u32 {
    let micros = duration.min(crate::config::Timeouts::MAX).as_micros() as u64;
    micros.div_ceil(1 << TICK_SHIFT) as u32
}

/// Ticks as a duration.
pub(crate) const fn ticks_duration(ticks: u32) -> Duration {
    Duration::from_micros((ticks as u64) << TICK_SHIFT)
}

pub(super) struct Wheel {
    heads: Box<[u32]>,
    /// Which slots are not empty.
    occupied: [u64; SLOTS as usize / 64],
    /// The slot (as a number that goes on for ever) whose entries are looked at next.
    cursor: u32,
    entries: u32,
}

impl Wheel {
    pub(super) fn new(now: u32) -> Self {
        Self {
            heads: vec![NIL; SLOTS as usize].into_boxed_slice(),
            occupied: [0; SLOTS as usize / 64],
            cursor: now >> SLOT_SHIFT,
            entries: 0,
        }
    }

    /// Adds an entry that ends at `deadline`.
    #[inline(always)]
    pub(super) fn link(&mut self, lines: &mut [Line], entry: u32, deadline: u32) {
        let place = self.place(deadline);
        let first = core::mem::replace(&mut self.heads[place as usize], entry);
        if first != NIL {
            lines[first as usize].set_previous(entry);
        }
        let line = &mut lines[entry as usize];
        line.set_next(first);
        line.set_previous(NIL);
        line.set_slot(place);
        self.occupied[place as usize / 64] |= 1 << (place % 64);
        self.entries += 1;
    }

    pub(super) fn unlink(&mut self, lines: &mut [Line], entry: u32) {
        let line = &lines[entry as usize];
        let (next, previous, place) = (line.next(), line.previous(), line.slot());
        if next != NIL {
            lines[next as usize].set_previous(previous);
        }
        if previous == NIL {
            self.heads[place as usize] = next;
            if next == NIL {
                self.occupied[place as usize / 64] &= !(1 << (place % 64));
            }
        } else {
            lines[previous as usize].set_next(next);
        }
        self.entries -= 1;
    }

    /// Brings an entry forward whose end is now earlier than when it was linked. Does nothing otherwise.
    pub(super) fn hasten(&mut self, lines: &mut [Line], entry: u32, deadline: u32) {
        let distance = |place: u32| place.wrapping_sub(self.cursor) % SLOTS;
        if distance(self.place(deadline)) < distance(lines[entry as usize].slot()) {
            self.unlink(lines, entry);
            self.link(lines, entry, deadline);
        }
    }

    /// The next entry whose end has come, unlinked; `None` if there is none now or `budget` is used up. Costs one of
    /// the budget for each entry looked at.
    pub(super) fn pop(&mut self, lines: &mut [Line], now: u32, budget: &mut u32) -> Option<u32> {
        let now_slot = now >> SLOT_SHIFT;
        if self.entries == 0 {
            self.cursor = now_slot;
            return None;
        }
        // After a long pause each slot is visited once, not once for every turn that was missed.
        if slots_from(self.cursor, now_slot) > SLOTS as i32 {
            self.cursor = now_slot.wrapping_sub(SLOTS);
        }
        // A slot is due when its last tick has gone by: then no entry in it can be early.
        while slots_from(self.cursor, now_slot) > 0 && *budget > 0 {
            let place = self.cursor % SLOTS;
            let entry = self.heads[place as usize];
            if entry == NIL {
                // To the next slot that is not empty, or to now.
                let due = slots_from(self.cursor, now_slot) as u32;
                let ahead = self.distance_to_occupied(place).map_or(due, |ahead| ahead.clamp(1, due));
                self.cursor = self.cursor.wrapping_add(ahead);
                continue;
            }
            *budget -= 1;
            if let Some(next) = lines.get(lines[entry as usize].next() as usize) {
                prefetch(next);
            }
            self.unlink(lines, entry);
            let line = &lines[entry as usize];
            if line.is_expired(now) {
                return Some(entry);
            }
            // An end that has not come lies behind the slot that is being emptied: the loop does not meet it again.
            let deadline = line.deadline();
            self.link(lines, entry, deadline);
        }
        None
    }

    /// A time not later than the end of the first entry that ends, rounded to slots.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.entries == 0 {
            return None;
        }
        let start = self.cursor % SLOTS;
        let distance = self.distance_to_occupied(start)?;
        let now_slot = ticks(now) >> SLOT_SHIFT;
        // Due when the slot's last tick has gone by.
        let due = self.cursor.wrapping_add(distance).wrapping_add(1);
        let ahead = slots_from(now_slot, due);
        let slot_micros = 1u64 << (TICK_SHIFT + SLOT_SHIFT);
        let slot_start = now.as_micros() / slot_micros * slot_micros;
        Some(if ahead <= 0 { now } else { Instant::from_micros(slot_start + ahead as u64 * slot_micros) })
    }

    fn distance_to_occupied(&self, start: u32) -> Option<u32> {
        const WORDS: u32 = SLOTS / 64;
        (0..=WORDS).find_map(|n| {
            let word = (start / 64 + n) % WORDS;
            let mut bits = self.occupied[word as usize];
            if n == 0 {
                bits &= u64::MAX << (start % 64);
            } else if n == WORDS {
                bits &= !(u64::MAX << (start % 64));
            }
            (bits != 0).then(|| (word * 64 + bits.trailing_zeros()).wrapping_sub(start) % SLOTS)
        })
    }

    /// The place for an entry that ends at `deadline`: its slot, the current one if that is past, the last one before
    /// the cursor comes round if it is too far.
    #[inline(always)]
    fn place(&self, deadline: u32) -> u32 {
        let ahead = slots_from(self.cursor, deadline >> SLOT_SHIFT).clamp(0, SLOTS as i32 - 1);
        self.cursor.wrapping_add(ahead as u32) % SLOTS
    }
}

/// How many slots `to` lies after `from`. Slot numbers have four bits less than ticks and wrap with them.
const fn slots_from(from: u32, to: u32) -> i32 {
    (to.wrapping_sub(from) << SLOT_SHIFT) as i32 >> SLOT_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn pop_all(wheel: &mut Wheel, lines: &mut [Line], now: u32) -> Vec<u32> {
        let mut budget = u32::MAX;
        core::iter::from_fn(|| wheel.pop(lines, now, &mut budget)).collect()
    }

    proptest! {
        /// Nothing ends early, nothing ends more than a slot late, whatever is touched, hastened or removed
        /// meanwhile, and wherever the tick counter stands (it may wrap).
        #[test]
        fn ends_in_time(
            start: u32,
            steps in proptest::collection::vec((0u32..20_000, 0u32..120_000, 0usize..8, 0u8..3), 1..80),
        ) {
            let mut now = start;
            let mut wheel = Wheel::new(now);
            let mut lines = vec![Line::default(); 8];
            let mut linked = [false; 8];
            for (pause, timeout, which, action) in steps {
                now = now.wrapping_add(pause);
                for entry in pop_all(&mut wheel, &mut lines, now) {
                    prop_assert!(lines[entry as usize].is_expired(now));
                    linked[entry as usize] = false;
                }
                for (entry, linked) in linked.iter().enumerate() {
                    if *linked {
                        let late = now.wrapping_sub(lines[entry].deadline()) as i32;
                        prop_assert!(late < 1 << SLOT_SHIFT, "{} ticks late", late);
                    }
                }
                let entry = which as u32;
                if !linked[which] {
                    lines[which].set_last_seen(now);
                    lines[which].set_timeout(timeout);
                    wheel.link(&mut lines, entry, now.wrapping_add(timeout));
                    linked[which] = true;
                } else if action == 0 {
                    lines[which].touch(now);
                } else if action == 1 {
                    lines[which].set_last_seen(now);
                    lines[which].set_timeout(timeout);
                    wheel.hasten(&mut lines, entry, now.wrapping_add(timeout));
                } else {
                    wheel.unlink(&mut lines, entry);
                    linked[which] = false;
                }
            }
        }
    }

    #[test]
    fn a_budget_bounds_a_call_and_nothing_is_lost() {
        let mut wheel = Wheel::new(0);
        let mut lines = vec![Line::default(); 1000];
        for entry in 0..1000 {
            wheel.link(&mut lines, entry, 5);
        }
        let mut seen = 0;
        for _ in 0..100 {
            let mut budget = 10;
            while wheel.pop(&mut lines, 1000, &mut budget).is_some() {
                seen += 1;
            }
            assert_eq!(budget, 0);
        }
        assert_eq!(seen, 1000);
    }

    #[test]
    fn says_when_the_next_one_is_due() {
        let mut wheel = Wheel::new(0);
        let mut lines = vec![Line::default(); 2];
        assert_eq!(wheel.next_due(Instant::ZERO), None);
        let deadline = duration_ticks(Duration::from_secs(60));
        lines[0].set_timeout(deadline);
        wheel.link(&mut lines, 0, deadline);
        let due = wheel.next_due(Instant::ZERO).unwrap();
        assert!(due >= Instant::from_secs(60) && due <= Instant::from_millis(60_600), "{due:?}");
        assert!(pop_all(&mut wheel, &mut lines, ticks(Instant::from_millis(59_900))).is_empty());
        assert_eq!(pop_all(&mut wheel, &mut lines, ticks(due)), [0]);
    }
}
