//! Whether VIPs are held quietly at this moment, whoever saw to it.

use std::fmt::Write;
use std::net::IpAddr;

use serde::Serialize;

use crate::check::{Finding, Question, Severity, check};
use crate::facts::Facts;
use crate::state::State;

/// What `status` says, and its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) active: bool,
    vips: Vec<VipStatus>,
    settings: Vec<SettingStatus>,
}

#[derive(Debug, Serialize)]
struct VipStatus {
    vip: IpAddr,
    active: bool,
    /// Whether `start` was called for it.
    started: bool,
    /// Whether `start` put it on `lo`.
    added: bool,
    /// Where it is held.
    on: Vec<String>,
    /// What keeps it from being active.
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct SettingStatus {
    name: String,
    before: i32,
    set: i32,
    now: Option<i32>,
}

/// The faults that `start` is there to prevent; all others are for `check`.
const OURS: &[&str] = &[
    "vip-missing",
    "vip-on-interface",
    "vip-prefix",
    "holder-down",
    "arp-answers",
    "arp-announces",
    "arp-announce-1",
    "ndp-proxy",
];

impl Status {
    /// Of these VIPs; of all that were started, if none are named.
    pub(crate) fn of(vips: &[IpAddr], interfaces: &[String], facts: &Facts, state: &State) -> Self {
        let started: Vec<IpAddr> = state.vips.iter().map(|it| it.vip).collect();
        let vips = if vips.is_empty() { &started } else { vips };
        let vips: Vec<VipStatus> =
            vips.iter().map(|vip| vip_status(*vip, interfaces, facts, state)).collect();
        let settings = state.settings.iter().map(|it| SettingStatus {
            name: it.key.sysctl(&it.interface),
            before: it.before,
            set: it.set,
            now: facts.value(&it.interface, it.key),
        });
        let active = !vips.is_empty() && vips.iter().all(|it| it.active);
        Self { active, vips, settings: settings.collect() }
    }

    pub(crate) fn text(&self) -> String {
        if self.vips.is_empty() {
            return "not active: nothing was started\n".to_owned();
        }
        let mut text = String::new();
        for it in &self.vips {
            let origin = match (it.started, it.added) {
                (true, true) => ", added by start",
                (true, false) => ", there before start",
                (false, _) => ", not started by this program",
            };
            let place = if it.on.is_empty() { "nowhere".to_owned() } else { it.on.join(", ") };
            let active = if it.active { "active" } else { "not active" };
            line(&mut text, format_args!("{}: {active} (on {place}{origin})", it.vip));
            for finding in &it.findings {
                line(&mut text, format_args!("  {}: {}", finding.id, finding.evidence));
            }
        }
        for it in &self.settings {
            let now = it.now.map_or("gone with its interface".to_owned(), |now| format!("is {now}"));
            line(&mut text, format_args!("{} {now} (start set {}, before {})", it.name, it.set, it.before));
        }
        text
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{arguments}");
}

fn vip_status(vip: IpAddr, interfaces: &[String], facts: &Facts, state: &State) -> VipStatus {
    let question = Question { vips: &[vip], interfaces, director: None };
    let mut findings = check(question, facts, state);
    findings.retain(|it| it.severity == Severity::Error && OURS.contains(&it.id));
    let started = state.vips.iter().find(|it| it.vip == vip);
    VipStatus {
        vip,
        active: findings.is_empty(),
        started: started.is_some(),
        added: started.is_some_and(|it| it.added),
        on: facts.holders(vip).map(|held| held.interface.clone()).collect(),
        findings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::samples::{ip, real_server};
    use crate::state::Started;

    #[test]
    fn nothing_is_not_active() {
        let status = Status::of(&[], &[], &real_server(&[]), &State::default());
        assert!(!status.active);
        assert_eq!(status.text(), "not active: nothing was started\n");
    }

    #[test]
    fn active_is_what_is_held_quietly() {
        let (vip, other) = (ip("192.168.0.250"), ip("192.168.0.251"));
        let state = State { vips: vec![Started { vip, added: true }], ..State::default() };
        let interfaces = ["eth0".to_owned()];
        let mut facts = real_server(&["192.168.0.250"]);
        let status = Status::of(&[], &interfaces, &facts, &state);
        assert!(status.active);
        assert_eq!(status.text(), "192.168.0.250: active (on lo, added by start)\n");
        assert!(!Status::of(&[vip, other], &interfaces, &facts, &state).active, "all of them");
        for place in ["all", "eth0"] {
            facts.ipv4.get_mut(place).unwrap().arp_announce = 0;
        }
        let text = Status::of(&[], &interfaces, &facts, &state).text();
        assert!(text.contains("not active (on lo") && text.contains("  arp-announces: eth0:"), "{text}");
    }
}
