//! Who is best of many, when one of them changes at a time: a tree of winners.
//!
//! ```text
//!              winner of all
//!             /             \
//!        winner 0-1      winner 2-3        an update plays one match a level,
//!        /      \         /      \         the answer stands at the top
//!      [0]      [1]     [2]      [3]
//! ```

use alloc::vec::Vec;
use core::hint::select_unpredictable as select;

/// What a contestant is judged by: the smallest `load / weight` wins, and of equals the one with the lowest place, which
/// is whom a scan from the front would keep. Weight 0: does not take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Form {
    pub(super) load: u64,
    pub(super) weight: u32,
}

impl Form {
    /// Does not take part.
    pub(super) const OUT: Self = Self { load: 0, weight: 0 };
}

/// Whoever won a match, with all that the next match needs: one look at memory a contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Winner {
    /// Of who does not take part at least 1, which makes the ratio infinite.
    load: u64,
    weight: u32,
    place: u32,
}

impl Winner {
    const fn new(place: u32, form: Form) -> Self {
        let load = if form.weight == 0 { 1 } else { form.load };
        Self { load, weight: form.weight, place }
    }

    /// The better of this one and `right`, which has a higher place. Cross-multiplied; 128 bits, for loads of 2^40 and weights
    /// of 2^31.
    #[inline]
    fn or(self, right: Self) -> Self {
        let right_wins =
            right.load as u128 * (self.weight as u128) < self.load as u128 * right.weight as u128;
        // No branches: who wins cannot be foretold.
        Self {
            load: select(right_wins, right.load, self.load),
            weight: select(right_wins, right.weight, self.weight),
            place: select(right_wins, right.place, self.place),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Tournament {
    /// The root is 1, the children of n are 2n and 2n+1, the contestants are at the end.
    nodes: Vec<Winner>,
}

impl Tournament {
    pub(super) const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Starts anew with so many contestants. Takes time in proportion to their number.
    pub(super) fn rebuild(&mut self, count: usize, forms: impl Iterator<Item = Form>) {
        let leaves = count.next_power_of_two();
        self.nodes.clear();
        self.nodes.resize(leaves, Winner::new(0, Form::OUT));
        self.nodes.extend((0..).zip(forms.take(count)).map(|(place, form)| Winner::new(place, form)));
        self.nodes.resize(2 * leaves, Winner::new(0, Form::OUT));
        for node in (1..leaves).rev() {
            self.nodes[node] = self.nodes[2 * node].or(self.nodes[2 * node + 1]);
        }
    }

    /// Gives the contestant in `place` another form. Takes one match a level, fewer where nobody above sees a difference.
    pub(super) fn update(&mut self, place: usize, form: Form) {
        let mut node = self.nodes.len() / 2 + place;
        let Some(leaf) = self.nodes.get_mut(node) else {
            return;
        };
        // Who is on the way up stays in registers, and the rivals' places are known from the start: what is waited for at a
        // level is a multiplication, not memory.
        let mut champion = Winner::new(place as u32, form);
        *leaf = champion;
        while node > 1 {
            let rival = self.nodes[node ^ 1];
            champion = if node & 1 == 0 { champion.or(rival) } else { rival.or(champion) };
            node /= 2;
            if core::mem::replace(&mut self.nodes[node], champion) == champion {
                return;
            }
        }
    }

    /// The place of the best, or `None` if nobody takes part.
    pub(super) fn winner(&self) -> Option<usize> {
        let best = self.nodes.get(1)?;
        (best.weight > 0).then_some(best.place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    /// A scan from the front that keeps the first of equals.
    fn scan(forms: &[Form]) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (place, form) in forms.iter().enumerate().filter(|(_, form)| form.weight > 0) {
            let ratio = |a: Form, b: Form| u128::from(a.load) * u128::from(b.weight);
            if best.is_none_or(|best| ratio(*form, forms[best]) < ratio(forms[best], *form)) {
                best = Some(place);
            }
        }
        best
    }

    proptest! {
        #[test]
        fn answers_like_a_scan(
            count in 0usize..40,
            updates in proptest::collection::vec((0usize..40, 0u64..6, 0u32..4), 0..100),
        ) {
            let mut forms = vec![Form::OUT; count];
            let mut tournament = Tournament::new();
            tournament.rebuild(count, forms.iter().copied());
            for (place, load, weight) in updates {
                if let Some(form) = forms.get_mut(place) {
                    *form = Form { load, weight };
                    tournament.update(place, *form);
                }
                prop_assert_eq!(tournament.winner(), scan(&forms));
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let most = Form { load: u64::from(u32::MAX) * 257, weight: u32::MAX };
        let mut tournament = Tournament::new();
        tournament.rebuild(2, [most, Form { load: most.load - 1, ..most }].into_iter());
        assert_eq!(tournament.winner(), Some(1));
    }
}
