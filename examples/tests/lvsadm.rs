//! `lvsadm` as scripts use it, on a director without frames: against what ipvsadm printed and how it exited on a real kernel,
//! and for what ipvsadm does not have.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use flate2::read::GzDecoder;
use lvs_admin::control::{GroupHandler, Server};
use lvs_core::connection::HeapMemory;
use lvs_core::director::DirectorGroup;
use lvs_core::{DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId};
use serde_json::Value;

/// A director on the network of the recordings, with a control socket.
struct Director {
    group: DirectorGroup,
    server: Server,
    _directory: tempfile::TempDir,
}

/// What a call printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: i32,
    out: String,
    err: String,
}

impl Director {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut eth0 =
            InterfaceConfig::new(PortId(0), MacAddr([2, 0, 0, 0, 0, 2]), "10.9.0.2/24".parse().unwrap());
        eth0.addresses.push("fd00:9::2/64".parse().unwrap());
        let mut config = DirectorConfig::new(vec![eth0], [7; 32]);
        config.max_connections = 4096;
        let (group, _) = DirectorGroup::new(&config, Instant::ZERO, NonZeroU16::MIN, &HeapMemory).unwrap();
        let handler = GroupHandler::new(group.clone(), || Instant::ZERO, env!("CARGO_PKG_VERSION"));
        let server = Server::start(&directory.path().join("d.sock"), Arc::new(handler)).unwrap();
        Self { group, server, _directory: directory }
    }

    fn call_with(&self, words: &str, input: &str) -> Outcome {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lvsadm"))
            .args(words.split_whitespace())
            .env("LVS_SOCKET", self.server.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A call that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Outcome { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn call(&self, words: &str) -> Outcome {
        self.call_with(words, "")
    }

    /// Of a call that has to succeed and say nothing but this.
    fn out(&self, words: &str) -> String {
        let Outcome { status, out, err } = self.call(words);
        assert_eq!((status, err.as_str()), (0, ""), "{words}");
        out
    }
}

fn recorded(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lvs-core/tests/fixtures/ipvs");
    let packed = std::fs::read(folder.join(format!("{file}.jsonl.gz"))).unwrap();
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every rule and edit of the recorded scenarios is taken, and what is saved then is what ipvsadm saved.
#[test]
fn what_ipvsadm_takes_is_taken_and_saved_as_it_saves() {
    let mut compared = 0;
    for file in ["sched", "hash", "change", "persist", "threshold", "misc", "ipv6"] {
        let mut director = Director::start();
        for line in recorded(file) {
            // A tunnel over another family, and a real server that is the director itself: no direct routing.
            if line["scenario"] == "v6_tun_v4" || line["scenario"] == "local_node" {
                continue;
            }
            let words = |value: &Value| value.as_str().unwrap().to_owned();
            if line["kind"] == "scenario" {
                director = Director::start();
                for rule in line["rules"].as_array().unwrap() {
                    assert_eq!(director.call(&words(rule)).status, 0, "{file}: {rule}");
                }
            } else if line["op"] == "ipvsadm" && !line["args"].as_str().unwrap().contains("-daemon") {
                assert_eq!(director.call(&words(&line["args"])).status, 0, "{file}: {}", line["args"]);
            } else if let Some(saved) = line["ipvsadm -Sn"].as_str().filter(|_| line["kind"] == "final") {
                assert_eq!(director.call("-S -n").out, saved, "{file}: {}", line["scenario"]);
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "only {compared}");
}

/// Messages and statuses, byte for byte.
#[test]
fn errors_are_those_of_ipvsadm() {
    let director = Director::start();
    let mut compared = 0;
    for line in recorded("cli").iter().filter(|line| line["scenario"] == "errors") {
        for rule in line["rules"].as_array().into_iter().flatten() {
            assert_eq!(director.call(rule.as_str().unwrap()).status, 0);
        }
        if line["op"] != "ipvsadm" {
            continue;
        }
        let args = line["args"].as_str().unwrap();
        // No persistence engines; and a call without words lists, which differs by what was not taken.
        if args.contains("--pe") || args.is_empty() {
            continue;
        }
        let mut outcome = director.call(args);
        if outcome.status == 0 {
            // What was done may be remarked upon.
            outcome.err.clear();
        }
        let expected = (line["rc"].as_i64().unwrap(), line["err"].as_str().unwrap());
        assert_eq!((i64::from(outcome.status), outcome.err.as_str()), expected, "{args}");
        compared += 1;
    }
    assert!(compared >= 28, "only {compared}");
}

const RULES: &str = "\
-A -t 10.9.0.10:80 -s wrr -p 300 -M 255.255.255.0 --slow-start 60
-a -t 10.9.0.10:80 -r 10.9.0.11 -w 3 -x 100 -y 50
-a -t 10.9.0.10:80 -r 10.9.0.12
-A -u 10.9.0.10:53 -s rr --timeout 900 120 5
-a -u 10.9.0.10:53 -r 10.9.0.13
";

#[test]
fn listings_and_json() {
    let director = Director::start();
    assert_eq!(
        director.call_with("-R", RULES),
        Outcome { status: 0, out: String::new(), err: String::new() }
    );
    let listing = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.9.0.10:80 wrr persistent 300 mask 255.255.255.0
  -> 10.9.0.11:80                 Route   3      0          0         
  -> 10.9.0.12:80                 Route   1      0          0         
UDP  10.9.0.10:53 rr
  -> 10.9.0.13:53                 Route   1      0          0         
";
    assert_eq!(director.out("-Ln"), listing);
    assert_eq!(director.out("-L --numeric --sort"), listing);
    assert!(director.out("-Ln --thresholds").contains("  -> 10.9.0.11:80                 100        50 "));
    assert!(director.out("-L -n -u 10.9.0.10:53").starts_with("Prot LocalAddress:Port"));
    assert_eq!(director.call("-Ln -t 10.9.0.10:81").err, "No such service\n");
    assert_eq!(director.out("-L --timeout"), "Timeout (tcp tcpfin udp): 900 120 300\n");
    assert_eq!(director.out("-Lnc").lines().count(), 2);
    assert_eq!(director.out("-L --daemon"), "");

    let json = |words: &str| -> Value { serde_json::from_str(&director.out(words)).unwrap() };
    let all = json("-Ln --json");
    assert_eq!((&all["size"], all["services"].as_array().unwrap().len()), (&4096.into(), 2));
    assert_eq!(json("--json -L -t 10.9.0.10:80")["servers"][1]["upper_threshold"], 100);
    assert_eq!(json("-L --timeout --json")["udp"], 300);
    assert_eq!(json("--sysctl --json")["conn_reuse_mode"], "1");
    assert_eq!(json("--counters --json")["frames"], 0);
    assert_eq!(director.out("-Lc --json"), "");
}

#[test]
fn a_saved_file_restores_everything() {
    let (director, other) = (Director::start(), Director::start());
    director.call_with("-R", RULES);
    let saved = director.out("-S");
    assert_eq!(other.call_with("-R", &saved).status, 0);
    assert_eq!(other.group.services(), director.group.services());
    // ipvsadm's own form says less, and says that it does.
    assert!(director.call("-Sn").err.contains("-S writes all"));
    assert!(!director.call("-Sn").out.contains("-x"));
}

#[test]
fn all_lines_of_a_restore_or_none() {
    let director = Director::start();
    let text = format!("{RULES}-a -t 10.9.0.10:80 -r 10.9.0.12\n");
    let outcome = director.call_with("-R", &text);
    assert_eq!(outcome.status, 255);
    assert!(outcome.err.starts_with("line 6: Destination already exists"), "{}", outcome.err);
    assert!(outcome.err.contains("nothing was changed") && director.group.services().is_empty());
    assert_eq!(director.call_with("-R", "-A -t 10.9.0.10:80 -s\n").status, 2);
}

#[test]
fn drains_knobs_and_names() {
    let director = Director::start();
    director.call_with("-R", RULES);
    director.out("--drain -t 10.9.0.10:80 -r 10.9.0.11 --deadline 30");
    assert!(director.out("-Ln").contains("  -> 10.9.0.11:80                 Route   0 "));
    assert_eq!(director.call("--drain -t 10.9.0.10:80 -r 10.9.0.99 --deadline 30").status, 255);
    assert_eq!(director.call("--drain -t 10.9.0.10:80 -r 10.9.0.11").status, 2);

    director.out("--sysctl net.ipv4.vs.conn_reuse_mode=2");
    assert_eq!(director.out("--sysctl conn_reuse_mode"), "net.ipv4.vs.conn_reuse_mode = 2\n");
    assert_eq!(director.call("--sysctl conn_reuse_mode=9").status, 2);
    assert_eq!(director.call("--sysctl nonsense").status, 255);
    assert!(director.call("--sysctl amemthresh=5").err.contains("no effect"));

    // A name that every host knows; that no service can be there is for the director to say.
    let unicast = "Invalid operation.  Possibly wrong module version, address not unicast, ...\n";
    assert_eq!(director.call("-A -t localhost:8080 -s rr").err, unicast);
    let warned = director.call("-a -t 10.9.0.10:80 -r 10.9.0.14:8080");
    assert!(warned.status == 0 && warned.err.contains("8080"), "{warned:?}");
}

#[test]
fn without_a_director_it_says_where_it_looked() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = directory.path().join("nobody.sock");
    let output =
        Command::new(env!("CARGO_BIN_EXE_lvsadm")).args(["-Ln", "--socket"]).arg(&nobody).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains(nobody.to_str().unwrap()) && err.contains("--control"), "{err}");
    // Help needs none; that of the trace is about filters what `explain` says, too.
    let of_trace = Command::new(env!("CARGO_BIN_EXE_lvsadm")).args(["--trace", "help"]).output().unwrap();
    let of_explain = Command::new(env!("CARGO_BIN_EXE_explain")).arg("--help").output().unwrap();
    let words = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let about_filters = words(lvs_admin::explain::filter_help().into_bytes());
    assert!(of_trace.status.success() && about_filters.contains("no_service"));
    assert!(words(of_trace.stdout).ends_with(&about_filters));
    assert!(words(of_explain.stdout).contains(&about_filters));
    let help = Command::new(env!("CARGO_BIN_EXE_lvsadm")).arg("-h").output().unwrap();
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--drain"));
}
