//! `--scenario arp-problem`: the story over kernels and in the simulation, and what it cannot be combined with.

use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{Outcome, PROGRAM, Running, object};

const SCENARIO: [&str; 2] = ["--scenario", "arp-problem"];
const CHECKS: [&str; 5] = [
    "balanced_at_first",
    "takeover",
    "doctor_finds_it",
    "doctor_is_silent_when_cured",
    "lo_recipe_is_no_cure",
];
const CURES: [&str; 3] = ["static_entry", "sysctl", "arptables"];
/// Five examinations of some two seconds, and what is between: a quarter of a minute, longer on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

/// A run of this command with the scenario and `--json` that must succeed.
pub(crate) fn tells(command: &mut Command, io: &str) -> Result<Value, Failed> {
    let start = Instant::now();
    let output = command.args(SCENARIO).arg("--json").output()?;
    let took = start.elapsed();
    let object = object(&output)?;
    assert_eq!(output.status.code(), Some(0), "{object} {}", String::from_utf8_lossy(&output.stderr));
    assert!(took < LONGEST, "{took:?}");
    assert_eq!((&object["ok"], &object["scenario"]), (&true.into(), &"arp-problem".into()), "{object}");
    assert_eq!((&object["io"], &object["failed"], &object["error"]), (&io.into(), &0.into(), &Value::Null));
    for (part, names) in [("checks", &CHECKS[..]), ("cures", &CURES[..])] {
        let flags = object[part].as_object().ok_or("an object")?;
        assert!(names.iter().all(|name| flags.get(*name) == Some(&true.into())), "{object}");
        assert_eq!(flags.len(), names.len(), "{object}");
    }
    // Every request was answered by a real server, whoever it was.
    let per_server = object["per_real_server"].as_object().ok_or("an object")?;
    let total: u64 = per_server.values().filter_map(Value::as_u64).sum();
    assert_eq!(object["requests"], total);
    Ok(object)
}

pub(crate) fn over_kernels() -> Outcome {
    let object = tells(&mut Command::new(PROGRAM), "afpacket")?;
    assert_eq!(object["requests"], 180);
    Ok(())
}

pub(crate) fn over_xdp() -> Outcome {
    tells(Command::new(PROGRAM).args(["--io", "xdp", "--servers", "3"]), "xdp").map(drop)
}

pub(crate) fn simulated() -> Outcome {
    for (servers, scheduler) in [("2", "rr"), ("2", "wrr"), ("5", "wrr"), ("16", "rr")] {
        let options = ["--io", "sim", "--servers", servers, "--scheduler", scheduler];
        tells(Command::new(PROGRAM).args(options), "sim")?;
    }
    tells(Command::new(PROGRAM).args(["--io", "sim", "--requests", "4"]), "sim").map(drop)
}

pub(crate) fn report() -> Outcome {
    let text = report_with(&["--requests", "6"])?;
    assert!(text.contains("network namespace") && !text.contains("simulated"), "{text}");
    Ok(())
}

pub(crate) fn report_simulated() -> Outcome {
    let text = report_with(&["--io", "sim", "--requests", "6"])?;
    assert!(text.contains("simulated inside this program") && !text.contains("namespace"), "{text}");
    assert_eq!(text, report_with(&["--io", "sim", "--requests", "6"])?, "the same options, the same run");
    Ok(())
}

/// The story as a newcomer reads it; the same over both networks.
fn report_with(options: &[&str]) -> Result<String, Failed> {
    let output = Command::new(PROGRAM).args(SCENARIO).args(options).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains('\x1b'), "stdout is no terminal: no colours");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let mut rest = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "1 AT FIRST THE DIRECTOR BALANCES",
        "director 6 new connections",
        "2 A REAL SERVER TAKES THE VIP OVER",
        "to everybody who has 192.168.0.15? tell 192.168.0.250",
        "director to everybody 192.168.0.250 is at 02:00:00:00:00:d0",
        "router to everybody who has 192.168.0.250? tell 192.168.0.15",
        "to router 192.168.0.250 is at 02:00:00:00:00:",
        "6 of 6 requests",
        "director 0 new connections",
        "THE CLUSTER IS BYPASSED",
        "error vip-answered: server1, server2",
        "error vip-announced: server",
        "CURE 1: A STATIC ENTRY ON THE ROUTER",
        "director 6 new connections",
        "CURED: the router takes the director for the VIP",
        "CURE 2: SYSCTLS ON THE REAL SERVERS",
        "the VIP is taken over again: the router takes server",
        "No real server claims 192.168.0.250",
        "The doctor: nothing is wrong.",
        "CURED: ",
        "CURE 3: A PACKET FILTER FOR ARP ON THE REAL SERVERS",
        "the VIP is taken over again: the router takes server",
        "The doctor: nothing is wrong.",
        "CURED: ",
        "7 A RECIPE THAT IS NO CURE",
        "the VIP is taken over again: the router takes server",
        "# sysctl -w net.ipv4.conf.lo.arp_filter=1",
        "THE CLUSTER IS BYPASSED",
        "NO CURE: with it in force, the router takes server",
        "All 8 checks passed.",
    ] {
        let at = rest.find(part).ok_or_else(|| format!("{part:?} is not in its place in\n{text}"))?;
        rest.drain(..at + part.len());
    }
    Ok(text)
}

pub(crate) fn captures_simulated() -> Outcome {
    let directory = tempfile::tempdir()?;
    tells(Command::new(PROGRAM).args(["--io", "sim", "--pcap"]).arg(directory.path()), "sim")?;
    let hops = ["01-client-eth0", "02-router-eth1", "03-director-eth0", "04-server1-eth0", "05-server2-eth0"];
    for hop in hops {
        let length = std::fs::metadata(directory.path().join(format!("{hop}.pcap")))?.len();
        assert!(length > 10_000, "{hop}: {length} bytes");
    }
    Ok(())
}

pub(crate) fn senseless_options() -> Outcome {
    let table: [(&[&str], &str); 4] = [
        (&["--keep"], "--keep: the scenario arp-problem is over"),
        (&["--servers", "1"], "--servers 1: with one real server"),
        (&["--requests", "2"], "--requests: the scenario arp-problem makes so many"),
        (&["--requests", "5000"], "it takes 4 to 1000"),
    ];
    for (options, expected) in table {
        let output = Command::new(PROGRAM).args(SCENARIO).args(options).arg("--json").output()?;
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let object = object(&output)?;
        assert!(object["error"].as_str().is_some_and(|error| error.contains(expected)), "{object}");
        for cure in CURES {
            assert_eq!((&object["ok"], &object["cures"][cure]), (&false.into(), &false.into()), "{object}");
        }
    }
    Ok(())
}

pub(crate) fn interrupted() -> Outcome {
    let mut running = Running::start(&["--scenario", "arp-problem"])?;
    running.read_until("WHAT THE DOCTOR SAYS")?;
    running.signal(Signal::SIGINT)?;
    let (code, message) = running.finish()?;
    assert_eq!((code, message.as_str()), (Some(2), "quickstart: interrupted by a signal before the end\n"));
    Ok(())
}
