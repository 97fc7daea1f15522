//! The observer of a live trace.

use lvs_core::observe::{Observation, Observer};

use super::{Explanation, Filter, Notes, What};

/// Hands the explanations that a filter wants to a function.
///
/// What the filter can tell from the frame alone, and its sampling, are decided before anything is written down: frames
/// that nobody wants cost a look at their headers.
#[derive(Debug)]
pub struct Explainer<F> {
    filter: Filter,
    notes: Notes,
    /// Whether the frame that is being decided about is wanted so far.
    wanted: bool,
    /// Frames that the filter wanted by their headers.
    seen: u64,
    tell: F,
}

impl<F: FnMut(&Explanation)> Explainer<F> {
    /// Tells `tell` of the frames that `filter` wants.
    pub fn new(filter: Filter, tell: F) -> Self {
        Self { filter, notes: Notes::new(), wanted: false, seen: 0, tell }
    }

    /// Takes another filter from the next frame on.
    pub fn set_filter(&mut self, filter: Filter) {
        (self.filter, self.wanted) = (filter, false);
    }

    /// Whether a frame is wanted, and it is its turn.
    fn wants(&mut self, what: &What) -> bool {
        if !self.filter.wants(what) {
            return false;
        }
        let turn = self.seen.is_multiple_of(u64::from(self.filter.sample().get()));
        self.seen = self.seen.wrapping_add(1);
        turn
    }
}

impl<F: FnMut(&Explanation)> Observer for Explainer<F> {
    fn observe(&mut self, observation: &Observation<'_>) {
        if let Observation::Frame { bytes, meta, packet, interface, .. } = *observation {
            let what = What::of(bytes, meta, packet, interface.is_some());
            self.wanted = self.wants(&what);
        }
        if !self.wanted {
            return;
        }
        if let Some(explanation) = self.notes.note(observation) {
            self.wanted = false;
            if self.filter.matches(explanation) {
                (self.tell)(explanation);
            }
        }
    }
}
