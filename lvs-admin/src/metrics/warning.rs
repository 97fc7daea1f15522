//! What is wrong, and where to look.
//!
//! Some of it can be seen in one snapshot, some only by what has changed: [`Watch`] remembers counters for a minute.

mod change;
mod state;

use serde::Serialize;

use self::change::Sample;
use super::journal::Severity;
use super::snapshot::Snapshot;
use std::collections::VecDeque;

/// More warnings than that are not shown; the last one says how many there are.
const MAX_WARNINGS: usize = 50;
/// Counters are remembered that often, in seconds.
const EVERY: f64 = 5.0;
/// And compared with those of at least that long ago, if there are any, in seconds.
const WINDOW: f64 = 30.0;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Warning {
    /// How bad.
    pub severity: Severity,
    /// What kind: a stable name, lower case, underscores.
    pub kind: &'static str,
    /// The service's id, where it is about one.
    pub service: Option<String>,
    /// What, in words.
    pub text: String,
    /// Where to look.
    pub look: String,
}

impl Warning {
    fn new(severity: Severity, kind: &'static str, text: String, look: impl Into<String>) -> Self {
        Self { severity, kind, service: None, text, look: look.into() }
    }

    fn of_service(mut self, id: &str) -> Self {
        self.service = Some(id.to_owned());
        self
    }
}

/// Fills in the warnings of snapshots; one watch for one director, its snapshots in order.
#[derive(Debug, Default)]
pub struct Watch {
    /// At most every five seconds, for a minute; the oldest first.
    samples: VecDeque<Sample>,
}

impl Watch {
    /// A watch that knows nothing yet: the first snapshot gets no warnings about changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at a snapshot, and fills in its warnings, the worst first.
    pub fn look(&mut self, snapshot: &mut Snapshot) {
        let mut warnings = Vec::new();
        state::judge(snapshot, &mut warnings);
        let now = Sample::of(snapshot);
        // The clock was set back, or it is another director: what was counted then says nothing now.
        if self.samples.back().is_some_and(|last| last.time > now.time || last.uptime > now.uptime) {
            self.samples.clear();
        }
        let before = self.samples.iter().rev().find(|sample| now.time - sample.time >= WINDOW);
        if let Some(before) = before.or_else(|| self.samples.front()) {
            change::judge(snapshot, before, &now, &mut warnings);
        }
        if self.samples.back().is_none_or(|last| now.time - last.time >= EVERY) {
            self.samples.push_back(now);
            while self.samples.get(1).is_some_and(|second| snapshot.time - second.time >= WINDOW) {
                self.samples.pop_front();
            }
        }
        warnings.sort_by_key(|warning| std::cmp::Reverse(warning.severity));
        if warnings.len() > MAX_WARNINGS {
            let more = warnings.len() - (MAX_WARNINGS - 1);
            warnings.truncate(MAX_WARNINGS - 1);
            let text = format!("{more} more warnings are not shown.");
            warnings.push(Warning::new(Severity::Warning, "more", text, "Start with the ones above."));
        }
        snapshot.warnings = warnings;
    }
}

/// The first few of some names, and how many more there are.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
