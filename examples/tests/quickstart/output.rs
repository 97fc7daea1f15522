//! What it prints: the object, the report, the capture files.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::program::{Outcome, PROGRAM, object, run_well};

/// How many of `requests` each server answers, by the rules of IPVS told naively: the last added first; wrr
/// with weights 1, 2, 1, 2 ... gives everybody a turn, then the heavy ones another.
fn due(servers: usize, scheduler: &str, requests: usize) -> Vec<usize> {
    let weight = |at: usize| if scheduler == "wrr" { 1 + at % 2 } else { 1 };
    let rounds: &[usize] = if scheduler == "wrr" { &[1, 2] } else { &[1] };
    let turns =
        rounds.iter().cycle().flat_map(|least| (0..servers).rev().filter(move |at| weight(*at) >= *least));
    let mut counts = vec![0; servers];
    turns.take(requests).for_each(|at| counts[at] += 1);
    counts
}

/// A run with these options gives each server what is due. `io` as it is to be in the object.
fn balances_with(options: &[&str], io: &str, servers: usize, scheduler: &str) -> Outcome {
    let requests = 45;
    let mut command = Command::new(PROGRAM);
    command.args(options);
    command.args(["--json", "--scheduler", scheduler, "--requests", &requests.to_string()]);
    let object = run_well(command.args(["--servers", &servers.to_string()]))?;
    assert_eq!(object["io"], io);
    assert_eq!(object["scheduler"], scheduler);
    assert_eq!(object["requests"], requests);
    let numbers = [188, 111].into_iter().chain(101..111).chain(112..);
    let expected: serde_json::Map<String, Value> = numbers
        .zip(due(servers, scheduler, requests))
        .map(|(number, count)| (format!("192.168.0.{number}"), count.into()))
        .collect();
    assert_eq!(object["per_real_server"], Value::Object(expected));
    Ok(())
}

pub(crate) fn balances(servers: usize, scheduler: &str) -> Outcome {
    balances_with(&[], "afpacket", servers, scheduler)
}

pub(crate) fn balances_simulated(servers: usize, scheduler: &str) -> Outcome {
    balances_with(&["--io", "sim"], "sim", servers, scheduler)
}

pub(crate) fn balances_over_xdp() -> Outcome {
    let mut command = Command::new(PROGRAM);
    let object = run_well(command.args(["--json", "--io", "xdp", "--servers", "3", "--requests", "30"]))?;
    assert_eq!(object["io"], "xdp");
    let each: Vec<_> = object["per_real_server"].as_object().ok_or("an object")?.values().collect();
    assert_eq!(each, [10, 10, 10]);
    Ok(())
}

pub(crate) fn captures_over_xdp() -> Outcome {
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(PROGRAM);
    run_well(command.args(["--json", "--io", "xdp", "--requests", "4", "--pcap"]).arg(directory.path()))?;
    let packets = packets(&fs::read(directory.path().join("03-director-eth0.pcap"))?);
    assert!(packets > 10, "{packets} packets");
    Ok(())
}

pub(crate) fn report() -> Outcome {
    report_with(&[]).map(drop)
}

pub(crate) fn report_simulated() -> Outcome {
    let text = report_with(&["--io", "sim"])?;
    assert!(text.contains("simulated inside this program") && !text.contains("namespace"), "{text}");
    assert_eq!(text, report_with(&["--io", "sim"])?, "the same options, the same run");
    Ok(())
}

fn report_with(options: &[&str]) -> Result<String, libtest_mimic::Failed> {
    let output = Command::new(PROGRAM).args(["--servers", "3"]).args(options).output()?;
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout)?;
    assert!(!text.contains('\x1b'), "stdout is no terminal: no colours");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    for part in ["NETWORK", "REQUESTS", "PER REAL SERVER", "ONE REQUEST, HOP BY HOP", "LISTINGS", "CHECKS"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("  = hop 2"), "the packet is the same before and behind the director: {text}");
    assert!(text.contains("so it is the turn of"), "the observer saw the scheduler: {text}");
    assert!(text.contains("SYN_RECV ─▶ ESTABLISHED"), "{text}");
    Ok(text)
}

pub(crate) fn captures() -> Outcome {
    captures_with(&[])
}

pub(crate) fn captures_simulated() -> Outcome {
    captures_with(&["--io", "sim"])
}

fn captures_with(options: &[&str]) -> Outcome {
    let directory = tempfile::tempdir()?;
    let into = directory.path().join("new");
    let mut command = Command::new(PROGRAM);
    run_well(command.args(options).args(["--json", "--requests", "4", "--pcap"]).arg(&into))?;
    let files: BTreeSet<String> = fs::read_dir(&into)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<std::io::Result<_>>()?;
    let hops = ["01-client-eth0", "02-router-eth1", "03-director-eth0", "04-server1-eth0", "05-server2-eth0"];
    assert_eq!(files, hops.iter().map(|hop| format!("{hop}.pcap")).collect());
    for file in &files {
        let packets = packets(&fs::read(into.join(file))?);
        assert!(packets > 10, "{file}: {packets} packets");
    }
    Ok(())
}

/// How many packets a pcap file has (nanosecond stamps, Ethernet, written on this machine).
fn packets(file: &[u8]) -> usize {
    let word = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().expect("four bytes"));
    // Written in either byte order; stamps and lengths follow it.
    let swap = word(0) != 0xa1b2_3c4d;
    let word = |at: usize| if swap { word(at).swap_bytes() } else { word(at) };
    assert_eq!((word(0), word(20)), (0xa1b2_3c4d, 1));
    let (mut at, mut count) = (24, 0);
    while at < file.len() {
        assert_eq!(word(at + 8), word(at + 12), "whole packets");
        at += 16 + word(at + 8) as usize;
        count += 1;
    }
    assert_eq!(at, file.len());
    count
}

pub(crate) fn unwritable_captures_simulated() -> Outcome {
    let file = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(PROGRAM);
    let output = command.args(["--io", "sim", "--json", "--pcap"]).arg(file.path()).output()?;
    assert_eq!(output.status.code(), Some(2));
    let object = object(&output)?;
    assert_eq!((&object["ok"], &object["io"]), (&false.into(), &"sim".into()));
    assert!(object["error"].as_str().is_some_and(|error| error.starts_with("--pcap ")), "{object}");
    Ok(())
}

pub(crate) fn keep_simulated() -> Outcome {
    let output = Command::new(PROGRAM).args(["--io", "sim", "--keep"]).output()?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let message = String::from_utf8(output.stderr)?;
    assert!(message.starts_with("error: --keep: a simulated network"), "{message}");
    assert!(message.contains("Usage: quickstart "), "{message}");
    Ok(())
}

pub(crate) fn wrong_option() -> Outcome {
    let output = Command::new(PROGRAM).args(["--json", "--servers", "17"]).output()?;
    assert_eq!(output.status.code(), Some(2));
    let object = object(&output)?;
    assert_eq!(object["ok"], false);
    assert!(object["error"].as_str().is_some_and(|error| error.contains("17")), "{object}");
    let plain = Command::new(PROGRAM).args(["--servers", "17"]).output()?;
    assert_eq!((plain.status.code(), plain.stdout.len()), (Some(2), 0));
    Ok(())
}
