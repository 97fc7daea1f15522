//! A network with its rules; the program, its report, and its cures.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libtest_mimic::Failed;
use lvs_core::MacAddr;
use lvs_testkit::lab::{Host, Topology, TopologyOptions, http};
use serde_json::Value;

use crate::cluster::{Cluster, Family, RULES};
use crate::program::{Ended, Start};

/// The program under test.
pub(crate) const DOCTOR: &str = env!("CARGO_BIN_EXE_doctor");

/// Topology B with two web servers and the rules for them.
pub(crate) fn web(family: Family) -> Result<Cluster, Failed> {
    web_with(family, TopologyOptions::default())
}

pub(crate) fn web_with(family: Family, options: TopologyOptions) -> Result<Cluster, Failed> {
    let cluster = Cluster::of(Topology::b(options)?)?;
    cluster.write_rules(&cluster.rules("-t", family, 80, "rr", &[]))?;
    // Where many networks are made, the kernel lets cards and bridges carry frames up to a second later. The other family is used to
    // wait for that: in this one nobody is to know anybody yet.
    for server in &cluster.net.servers {
        let address = if family == Family::V4 { server.addresses.v6 } else { server.addresses.v4 };
        for host in [&cluster.net.client, &cluster.net.director] {
            http::get(host, SocketAddr::new(address, 80), "/", Duration::from_secs(5))?;
        }
    }
    Ok(cluster)
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) exit: Option<i32>,
    pub(crate) object: Value,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) id: String,
    pub(crate) vip: Option<IpAddr>,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) evidence: String,
    pub(crate) cure: Vec<String>,
}

/// Runs the program in the director's host with the options of a director, and more.
pub(crate) fn run(cluster: &Cluster, family: Family, more: &str) -> Result<Ended, Failed> {
    let options = format!("{} --rules {RULES} {more}", cluster.interfaces(family));
    Start::program(DOCTOR, &cluster.net.director, cluster.directory.path(), &options).run()?.wait()
}

/// The same with `--json`, and its report.
pub(crate) fn examine(cluster: &Cluster, family: Family, more: &str) -> Result<Report, Failed> {
    report(run(cluster, family, &format!("--json {more}"))?)
}

pub(crate) fn report(ended: Ended) -> Result<Report, Failed> {
    let object: Value = serde_json::from_str(&ended.stdout)
        .map_err(|error| format!("{error}: {:?}\n{}", ended.stdout, ended.log.join("\n")))?;
    Ok(Report { exit: ended.status.code(), object })
}

impl Report {
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let entries = self.object["findings"].as_array().map_or(&[][..], Vec::as_slice);
        let finding = |entry: &Value| Finding {
            id: text(&entry["id"]).unwrap_or_default(),
            vip: text(&entry["vip"]).and_then(|text| text.parse().ok()),
            mac: text(&entry["mac"]).and_then(|text| text.parse().ok()),
            address: text(&entry["address"]).and_then(|text| text.parse().ok()),
            evidence: text(&entry["evidence"]).unwrap_or_default(),
            cure: entry["cure"].as_array().into_iter().flatten().filter_map(text).collect(),
        };
        entries.iter().map(finding).collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.findings().into_iter().map(|finding| finding.id).collect()
    }

    /// Nothing is wrong.
    #[track_caller]
    pub(crate) fn assert_healthy(&self) {
        assert_eq!((self.exit, &self.object["ok"], self.findings()), (Some(0), &Value::Bool(true), vec![]));
    }

    /// Only this fault was found, once.
    #[track_caller]
    pub(crate) fn only(&self, id: &str) -> Finding {
        assert_eq!((self.exit, &self.object["ok"]), (Some(1), &Value::Bool(false)), "{:#}", self.object);
        assert_eq!(self.ids(), [id], "{:#}", self.object);
        self.findings().remove(0)
    }
}

impl Finding {
    /// Does on a host what the cure says, as far as it is about sysctls. Answers how many there were.
    pub(crate) fn apply_sysctls(&self, host: &Host) -> Result<usize, Failed> {
        let assignments =
            self.cure.iter().filter_map(|line| line.strip_prefix("sysctl -w ")?.split_once('='));
        let mut count = 0;
        for (name, value) in assignments {
            host.sysctl(name, value)?;
            count += 1;
        }
        Ok(count)
    }
}
