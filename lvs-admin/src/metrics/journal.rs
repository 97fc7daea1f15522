//! The latest events, and which addresses are fought over: what lasts longer than a moment and is counted nowhere.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use lvs_core::MacAddr;
use serde::Serialize;

use super::snapshot::unix;

/// A line is cut after that many bytes.
const MAX_TEXT: usize = 512;
/// That many conflicts are remembered, the latest.
const MAX_CONFLICTS: usize = 64;
/// A conflict that has not been seen for that long is over. Directors report one that goes on every ten seconds.
const CONFLICT: Duration = Duration::from_secs(60);

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Clients feel it, or soon will.
    Error,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: &'static [Self] = &[Self::Info, Self::Warning, Self::Error];

    /// As in JSON and metrics.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// When, in Unix seconds.
    pub time: f64,
    /// How bad.
    pub severity: Severity,
    /// What. At most 512 bytes, without control characters.
    pub text: String,
}

/// Another station claims an address of the director's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conflict {
    /// The address.
    pub address: IpAddr,
    /// Whose claim it is.
    pub mac: String,
    /// Where it was heard.
    pub device: String,
    /// When it was heard last, in Unix seconds.
    pub time: f64,
}

/// The latest events, for [`Snapshot`](super::Snapshot)s. Clones are the same journal; every thread may write.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    capacity: usize,
    lines: VecDeque<Line>,
    conflicts: VecDeque<Conflict>,
}

impl Journal {
    /// A journal of that many lines; older ones give way.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner { capacity, lines: VecDeque::new(), conflicts: VecDeque::new() })))
    }

    /// Writes down that something happened.
    pub fn note(&self, now: SystemTime, severity: Severity, text: &str) {
        let mut inner = self.inner();
        if inner.capacity == 0 {
            return;
        }
        while inner.lines.len() >= inner.capacity {
            inner.lines.pop_front();
        }
        inner.lines.push_back(Line { time: unix(now), severity, text: clean(text) });
    }

    /// Remembers an [`AddressConflict`](lvs_core::Event::AddressConflict) for a minute, so that the page warns of it.
    pub fn conflict(&self, now: SystemTime, address: IpAddr, mac: MacAddr, device: &str) {
        let mut inner = self.inner();
        let mac = mac.to_string();
        inner.conflicts.retain(|one| one.address != address || one.mac != mac);
        if inner.conflicts.len() >= MAX_CONFLICTS {
            inner.conflicts.pop_front();
        }
        inner.conflicts.push_back(Conflict { address, mac, device: clean(device), time: unix(now) });
    }

    /// The lines, the latest first.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.inner().lines.iter().rev().cloned().collect()
    }

    /// The conflicts of the last minute, the latest first.
    #[must_use]
    pub fn conflicts(&self, now: SystemTime) -> Vec<Conflict> {
        let since = unix(now) - CONFLICT.as_secs_f64();
        self.inner().conflicts.iter().rev().filter(|one| one.time >= since).cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each edit is one push; a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Text that is short and printable.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(MAX_TEXT));
    for c in text.chars() {
        if clean.len() + c.len_utf8() > MAX_TEXT {
            break;
        }
        clean.push(if c.is_control() { ' ' } else { c });
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_latest_lines_stay() {
        let journal = Journal::new(3);
        for second in 0..5 {
            journal.note(at(second), Severity::Info, &format!("line {second}"));
        }
        let lines: Vec<_> = journal.clone().lines().into_iter().map(|line| (line.time, line.text)).collect();
        assert_eq!(lines, [(4.0, "line 4".into()), (3.0, "line 3".into()), (2.0, "line 2".into())]);
        Journal::new(0).note(at(0), Severity::Info, "nowhere");
    }

    #[test]
    fn a_line_is_short_and_printable() {
        let journal = Journal::new(1);
        journal.note(at(0), Severity::Error, &format!("a\u{1b}[31m\n{}", "é".repeat(1000)));
        let text = &journal.lines()[0].text;
        assert!(text.len() <= MAX_TEXT && text.starts_with("a [31m é"));
    }

    #[test]
    fn a_conflict_is_remembered_for_a_minute() {
        let journal = Journal::new(1);
        let vip: IpAddr = "192.0.2.1".parse().unwrap();
        journal.conflict(at(10), vip, MacAddr([2, 0, 0, 0, 0, 1]), "eth0");
        journal.conflict(at(20), vip, MacAddr([2, 0, 0, 0, 0, 2]), "eth0");
        journal.conflict(at(30), vip, MacAddr([2, 0, 0, 0, 0, 1]), "eth0");
        let macs = |now| journal.conflicts(at(now)).into_iter().map(|one| one.mac).collect::<Vec<_>>();
        assert_eq!(macs(30), ["02:00:00:00:00:01", "02:00:00:00:00:02"]);
        assert_eq!(macs(85), ["02:00:00:00:00:01"]);
        assert!(macs(91).is_empty());
        for host in 0..200 {
            journal.conflict(at(30), vip, MacAddr([2, 0, 0, 0, 1, host]), "eth0");
        }
        assert_eq!(journal.conflicts(at(30)).len(), MAX_CONFLICTS);
    }
}
