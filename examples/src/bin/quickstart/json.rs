//! The result as one JSON object on one line, for programs. Its shape is a promise.

use std::net::IpAddr;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::arp_problem::{Outcome, Recipe, cure_name};
use crate::checks::Findings;
use crate::evidence::{Evidence, Network, Server};
use crate::failure::Failure;
use crate::options::{Options, Scenario};

/// The object.
#[derive(Debug, serde::Serialize)]
struct Object<C> {
    /// Whether all checks passed.
    ok: bool,
    /// The story, if one was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<&'static str>,
    io: &'static str,
    scheduler: &'static str,
    /// How many requests were to be made; of a scenario, how many were.
    requests: u32,
    /// How many of them brought no page.
    failed: u32,
    per_real_server: PerServer,
    checks: C,
    /// Which cures of the ARP problem ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cures: Option<Flags>,
    /// Why it could not run.
    error: Option<String>,
}

/// Answers by RIP, in the order of the servers.
#[derive(Debug, Default)]
struct PerServer(Vec<(IpAddr, usize)>);

impl Serialize for PerServer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (server, count) in &self.0 {
            map.serialize_entry(server, count)?;
        }
        map.end()
    }
}

#[derive(Debug, Default, serde::Serialize)]
struct Checks {
    distribution: bool,
    packet_untouched: bool,
    no_reply_through_director: bool,
    only_director_answers_arp: bool,
    no_request_failed: bool,
}

/// What holds, by name.
#[derive(Debug)]
struct Flags(Vec<(&'static str, bool)>);

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The object of a run.
pub(crate) fn of_run(options: &Options, evidence: &Evidence, findings: &Findings) -> String {
    let servers = evidence.network.servers.iter().map(Server::address);
    text(&Object {
        ok: findings.passed(),
        scenario: None,
        io: options.io().name(),
        scheduler: options.scheduler.name(),
        requests: options.requests,
        failed: u32::try_from(evidence.failed()).unwrap_or(u32::MAX),
        per_real_server: PerServer(servers.zip(evidence.per_server()).collect()),
        checks: Checks {
            distribution: findings.distribution.passed,
            packet_untouched: findings.packet_untouched.passed,
            no_reply_through_director: findings.no_reply_through_director.passed,
            only_director_answers_arp: findings.only_director_answers_arp.passed,
            no_request_failed: findings.no_request_failed.passed,
        },
        cures: None,
        error: None,
    })
}

/// The object of what could not run: no check passed, no request brought a page.
pub(crate) fn of_failure(options: &Options, failure: &Failure) -> String {
    let error = Some(failure.to_string());
    match options.scenario {
        None => text(&failed(options, Checks::default(), None, error)),
        Some(Scenario::ArpProblem) => {
            let none = |names: &[&'static str]| Flags(names.iter().map(|name| (*name, false)).collect());
            let cures = Recipe::CURES.map(cure_name);
            text(&failed(options, none(&STORY_CHECKS), Some(none(&cures)), error))
        }
    }
}

fn failed<C>(options: &Options, checks: C, cures: Option<Flags>, error: Option<String>) -> Object<C> {
    Object {
        ok: false,
        scenario: options.scenario.map(Scenario::name),
        io: options.io().name(),
        scheduler: options.scheduler.name(),
        requests: options.requests,
        failed: options.requests,
        per_real_server: PerServer::default(),
        checks,
        cures,
        error,
    }
}

/// The checks of the story about the ARP problem, but for the cures.
const STORY_CHECKS: [&str; 5] = [
    "balanced_at_first",
    "takeover",
    "doctor_finds_it",
    "doctor_is_silent_when_cured",
    "lo_recipe_is_no_cure",
];

/// The object of the story about the ARP problem.
pub(crate) fn of_arp_problem(options: &Options, network: &Network, outcome: &Outcome) -> String {
    let passed = |wanted: &[&'static str]| {
        let all = outcome.all().into_iter().filter(|(name, _)| wanted.contains(name));
        Flags(all.map(|(name, finding)| (name, finding.passed)).collect())
    };
    let servers = network.servers.iter().map(Server::address);
    text(&Object {
        ok: outcome.passed(),
        scenario: options.scenario.map(Scenario::name),
        io: options.io().name(),
        scheduler: options.scheduler.name(),
        requests: outcome.requests,
        failed: outcome.failed,
        per_real_server: PerServer(servers.zip(outcome.per_server.iter().copied()).collect()),
        checks: passed(&STORY_CHECKS),
        cures: Some(passed(&Recipe::CURES.map(cure_name))),
        error: None,
    })
}

fn text<C: Serialize>(object: &Object<C>) -> String {
    serde_json::to_string(object).expect("keys are text and nothing else can fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use clap::Parser;

    #[test]
    fn the_shape_is_as_promised() {
        let options = Options::parse_from(["quickstart", "--requests", "3"]);
        let evidence = sample::evidence(2, 3);
        let findings = Findings::of(&evidence);
        assert_eq!(
            of_run(&options, &evidence, &findings),
            r#"{"ok":true,"io":"afpacket","scheduler":"rr","requests":3,"failed":0,"#.to_owned()
                + r#""per_real_server":{"192.168.0.188":1,"192.168.0.111":2},"#
                + r#""checks":{"distribution":true,"packet_untouched":true,"no_reply_through_director":true,"#
                + r#""only_director_answers_arp":true,"no_request_failed":true},"error":null}"#
        );
    }

    #[test]
    fn a_failure_has_all_keys_too() {
        let options = Options::parse_from(["quickstart", "--scheduler", "wrr"]);
        assert_eq!(
            of_failure(&options, &Failure::Usage("a \"word\"".to_owned())),
            r#"{"ok":false,"io":"afpacket","scheduler":"wrr","requests":20,"failed":20,"#.to_owned()
                + r#""per_real_server":{},"#
                + r#""checks":{"distribution":false,"packet_untouched":false,"no_reply_through_director":false,"#
                + r#""only_director_answers_arp":false,"no_request_failed":false},"error":"a \"word\""}"#
        );
    }
}
