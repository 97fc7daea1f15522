//! Explanations for people: a line a frame, and what was decided under it.

use std::collections::BTreeMap;

use lvs_admin::explain::Plain;
use lvs_core::Verdict;
use lvs_examples::layout::{Paint, labelled};

use crate::player::Explained;

/// What was taken for granted.
pub(crate) fn opening(notes: &[&str], paint: Paint) -> String {
    notes.iter().map(|note| paint.dim(labelled(0, 6, "note", note).trim_end()) + "\n").collect()
}

/// A frame.
pub(crate) fn frame(explained: &Explained, paint: Paint) -> String {
    let Explained { number, since, explanation, .. } = explained;
    let seconds = since.as_secs_f64();
    let mut text = format!("\n{number:>5} {seconds:>11.6}  {}\n", paint.strong(&explanation.what()));
    let mut say = |label: &str, line: &str| {
        let lines = labelled(6, 13, label, line);
        text += &match (label, explanation.verdict) {
            ("verdict", Verdict::Transmit(_)) => paint.good(lines.trim_end()) + "\n",
            ("verdict", Verdict::Drop(_)) => paint.bad(lines.trim_end()) + "\n",
            _ => lines,
        };
    };
    for line in explanation.lines(&Plain) {
        say(line.label, &line.text);
    }
    for remark in &explained.remarks {
        say("note", remark);
    }
    for left in &explained.out {
        if let Some(what) = &left.own {
            say(
                "sends",
                &format!("to {} from {}, {} bytes: {what}", left.destination, left.source, left.bytes),
            );
        }
    }
    text
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
