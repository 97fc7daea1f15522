//! What was found: for people, with the evidence and the cure of each fault; and as one JSON object.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use lvs_doctor::{Check, Finding, Outcome, Severity};
use serde::Serialize;

/// Everything that is told.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What was examined, a line each.
    pub(crate) subject: Vec<String>,
    /// Frames that were sent, and how long it took; nothing if the network was not examined.
    pub(crate) frames: Option<(u32, Duration)>,
    pub(crate) checks: Vec<Check>,
    pub(crate) findings: Vec<Finding>,
    /// A sentence at the end.
    pub(crate) note: Option<String>,
}

/// Text is broken at this width, where it can be.
const WIDTH: usize = 110;

impl Report {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.subject {
            let _ = writeln!(text, "{line}");
        }
        text.push('\n');
        for Check { what, outcome, detail } in &self.checks {
            let sign = match outcome {
                Outcome::Passed => '✓',
                Outcome::Failed => '✗',
                Outcome::Unknown => '?',
            };
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            wrap(&mut text, &format!("{sign} "), &format!("{what}{detail}"));
        }
        for finding in &self.findings {
            let _ = writeln!(text, "\n{}", headline(finding));
            wrap(&mut text, "  evidence  ", &finding.evidence);
            for (at, line) in finding.cure.iter().enumerate() {
                let _ = writeln!(text, "  {:<8}  {line}", if at == 0 { "cure" } else { "" });
            }
        }
        let _ = writeln!(text, "\n{}", self.conclusion());
        text
    }

    fn conclusion(&self) -> String {
        let count = |severity| self.findings.iter().filter(|one| one.fault.severity() == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let mut line = match (errors, warnings) {
            (0, 0) => "nothing is wrong".to_owned(),
            _ => format!("errors: {errors}, warnings: {warnings}"),
        };
        let unknown = self.checks.iter().filter(|check| check.outcome == Outcome::Unknown).count();
        if unknown > 0 {
            let _ = write!(line, "; not known: {unknown}");
        }
        if let Some((frames, time)) = self.frames {
            let _ = write!(line, " ({frames} frames sent, {:.1} s)", time.as_secs_f64());
        }
        if let Some(note) = &self.note {
            let _ = write!(line, "; {note}");
        }
        line
    }

    /// For programs: one line.
    pub(crate) fn json(&self) -> String {
        let findings: Vec<Entry<'_>> = self.findings.iter().map(Entry::of).collect();
        to_line(&Object { ok: findings.is_empty(), findings, error: None })
    }
}

/// The JSON object of an examination that could not run.
pub(crate) fn refusal(error: &str) -> String {
    to_line(&Object { ok: false, findings: Vec::new(), error: Some(error) })
}

/// Writes to standard output.
pub(crate) fn print(text: &str) {
    // Whoever closed the pipe does not want it.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[derive(Serialize)]
struct Object<'a> {
    ok: bool,
    findings: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'static str,
    severity: &'static str,
    vip: Option<IpAddr>,
    mac: Option<String>,
    address: Option<IpAddr>,
    evidence: &'a str,
    cure: &'a [String],
}

impl<'a> Entry<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            id: finding.fault.slug(),
            severity: finding.fault.severity().name(),
            vip: finding.vip,
            mac: finding.mac.map(|mac| mac.to_string()),
            address: finding.address,
            evidence: &finding.evidence,
            cure: &finding.cure,
        }
    }
}

fn to_line(object: &Object<'_>) -> String {
    let mut line = serde_json::to_string(object).expect("numbers, texts and lists can all be written");
    line.push('\n');
    line
}

/// `error vip-answered: VIP 192.168.0.250, 192.168.0.188 at 02:00:00:00:00:bc`
fn headline(finding: &Finding) -> String {
    let machine = match (finding.address, finding.mac) {
        (Some(address), Some(mac)) => Some(format!("{address} at {mac}")),
        (Some(address), None) => Some(address.to_string()),
        (None, Some(mac)) => Some(mac.to_string()),
        (None, None) => None,
    };
    let vip = finding.vip.map(|vip| format!("VIP {vip}"));
    let parts: Vec<String> = vip.into_iter().chain(machine).collect();
    let colon = if parts.is_empty() { "" } else { ": " };
    format!("{} {}{colon}{}", finding.fault.severity().name(), finding.fault, parts.join(", "))
}

/// Writes words in lines of [`WIDTH`] characters, the first behind `head`, the others as far to the right.
fn wrap(text: &mut String, head: &str, words: &str) {
    let margin = head.chars().count();
    text.push_str(head);
    let mut column = margin;
    for (at, word) in words.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:margin$}", "");
            column = margin;
        } else if at > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_doctor::Fault;

    fn finding() -> Finding {
        Finding {
            vip: Some([10, 0, 0, 250].into()),
            mac: Some("02:00:00:00:00:bc".parse().unwrap()),
            address: Some([10, 0, 0, 188].into()),
            cure: vec!["# there".to_owned(), "do it".to_owned()],
            ..Finding::new(Fault::VipAnswered, "word ".repeat(40).trim_end())
        }
    }

    #[test]
    fn the_json_object_is_as_documented() {
        let evidence = "word ".repeat(40);
        let expected = format!(
            "{{\"ok\":false,\"findings\":[{{\"id\":\"vip-answered\",\"severity\":\"error\",\"vip\":\"10.0.0.250\",\
             \"mac\":\"02:00:00:00:00:bc\",\"address\":\"10.0.0.188\",\"evidence\":\"{}\",\
             \"cure\":[\"# there\",\"do it\"]}}]}}\n",
            evidence.trim_end()
        );
        assert_eq!(Report { findings: vec![finding()], ..Report::default() }.json(), expected);
        assert_eq!(Report::default().json(), "{\"ok\":true,\"findings\":[]}\n");
        assert_eq!(refusal("no"), "{\"ok\":false,\"findings\":[],\"error\":\"no\"}\n");
    }

    #[test]
    fn text_is_broken_and_aligned() {
        let report = Report { findings: vec![finding()], ..Report::default() };
        let text = report.text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(
            text.contains("\nerror vip-answered: VIP 10.0.0.250, 10.0.0.188 at 02:00:00:00:00:bc\n"),
            "{text}"
        );
        assert!(text.contains("\n            word word"), "{text}");
        assert!(
            text.contains("\n  cure      # there\n            do it\n\nerrors: 1, warnings: 0\n"),
            "{text}"
        );
    }
}
