//! The result as one JSON object on one line, for programs. Its shape is a promise.

use std::net::IpAddr;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::checks::Findings;
use crate::evidence::{Evidence, Server};
use crate::failure::Failure;
use crate::options::Options;

/// The object.
#[derive(Debug, serde::Serialize)]
struct Object {
    /// Whether all checks passed.
    ok: bool,
    io: &'static str,
    scheduler: &'static str,
    /// How many requests were to be made.
    requests: u32,
    /// How many of them brought no page.
    failed: u32,
    per_real_server: PerServer,
    checks: Checks,
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

/// The object of a run.
pub(crate) fn of_run(options: &Options, evidence: &Evidence, findings: &Findings) -> String {
    let servers = evidence.network.servers.iter().map(Server::address);
    text(&Object {
        ok: findings.passed(),
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
        error: None,
    })
}

/// The object of what could not run: no check passed, no request brought a page.
pub(crate) fn of_failure(options: &Options, failure: &Failure) -> String {
    text(&Object {
        ok: false,
        io: options.io().name(),
        scheduler: options.scheduler.name(),
        requests: options.requests,
        failed: options.requests,
        per_real_server: PerServer::default(),
        checks: Checks::default(),
        error: Some(failure.to_string()),
    })
}

fn text(object: &Object) -> String {
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
