//! Explanations for people: what was taken for granted, frames, and totals.

use std::collections::BTreeMap;

use lvs_admin::explain::Plain;
use lvs_examples::explained::{self, Headline};
use lvs_examples::layout::{Paint, labelled};

use crate::player::Explained;

/// What was taken for granted.
pub(crate) fn opening(notes: &[&str], paint: Paint) -> String {
    notes.iter().map(|note| paint.dim(labelled(0, 6, "note", note).trim_end()) + "\n").collect()
}

/// A frame.
pub(crate) fn frame(explained: &Explained, paint: Paint) -> String {
    let Explained { number, since, explanation, .. } = explained;
    let (time, what) = (format!("{:>11.6}", since.as_secs_f64()), explanation.what());
    let headline =
        Headline { number: *number, time: &time, what: &what, verdict: explanation.verdict_name() };
    let decided = explanation.lines(&Plain).into_iter().map(|line| (line.label, line.text));
    let remarks = explained.remarks.iter().map(|remark| ("note", remark.clone()));
    let sent = explained.out.iter().filter_map(|left| {
        let what = left.own.as_ref()?;
        let line = format!("to {} from {}, {} bytes: {what}", left.destination, left.source, left.bytes);
        Some(("sends", line))
    });
    explained::frame(&headline, decided.chain(remarks).chain(sent), paint)
}

/// How many frames had which verdict.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    frames: u64,
    verdicts: BTreeMap<String, u64>,
    sent: usize,
}

impl Totals {
    pub(crate) fn count(&mut self, explained: &Explained) {
        let explanation = &explained.explanation;
        let name = match explanation.reason() {
            Some(reason) => format!("drop {}", reason.slug()),
            None => explanation.verdict_name().to_owned(),
        };
        self.frames += 1;
        *self.verdicts.entry(name).or_default() += 1;
        self.sent += explained.out.len();
    }

    pub(crate) fn text(&self, paint: Paint) -> String {
        let mut parts: Vec<(&String, &u64)> = self.verdicts.iter().collect();
        parts.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
        let parts: Vec<String> = parts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let title = format!("{} frames, {} left because of them", self.frames, self.sent);
        let rest = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
        format!("\n{}{rest}\n", paint.strong(&title))
    }
}
