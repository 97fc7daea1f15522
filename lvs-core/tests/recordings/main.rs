//! Replays what a real Linux IPVS did, frame by frame, against the director.
//!
//! Each scenario sets up the recorded rules and knobs, lets virtual time pass as recorded, sends each frame, and compares the
//! frames that leave and the listings. See `fixtures/ipvs/README.md` for the format and its caveats. With
//! `--nocapture` it prints a line a file; `SCENARIO=name` replays one scenario only.

mod compare;
mod replay;
mod scenario;

use std::collections::BTreeMap;

/// The files whose scenarios count.
const FILES: [&str; 8] = ["sched", "hash", "change", "persist", "threshold", "state", "ipv6", "misc"];

/// Scenarios about the timing of ARP, NDP and synchronisation, and one about a tunnel: to be read, not compared. The
/// first four have stories of their own.
const NOT_COUNTED: [&str; 5] = ["sync", "neigh_unresolved", "neigh_arp", "v6_ndp", "v6_tun_v4"];

/// Scenarios in which the director is meant to do otherwise. docs/ipvs.md says how and why, and which test shows it.
const DIFFERENT: [&str; 4] = ["frag", "v6_misc", "gre_esp_proto", "local_node"];

#[test]
fn recordings() {
    let only = std::env::var("SCENARIO").ok();
    let mut faults = BTreeMap::new();
    let mut different = Vec::new();
    for file in FILES {
        let mut scenarios = scenario::load(file);
        scenarios.retain(|scenario| !NOT_COUNTED.contains(&scenario.name.as_str()));
        scenarios.retain(|scenario| only.as_ref().is_none_or(|only| *only == scenario.name));
        let mut matching = 0;
        for scenario in &scenarios {
            match replay::replay(scenario) {
                Ok(()) => matching += 1,
                Err(_) if DIFFERENT.contains(&scenario.name.as_str()) && only.is_none() => {
                    different.push(scenario.name.clone());
                }
                Err(fault) => drop(faults.insert(format!("{file}/{}", scenario.name), fault)),
            }
        }
        println!("recordings {file}: {matching} of {} scenarios match", scenarios.len());
    }
    for (name, fault) in &faults {
        println!("{name}: {fault}");
    }
    assert!(faults.is_empty(), "{} scenarios do not match: {:?}", faults.len(), faults.keys());
    if only.is_none() {
        different.sort_unstable();
        let mut expected = DIFFERENT;
        expected.sort_unstable();
        assert_eq!(different, expected, "a scenario that was different matches now: take it off the list");
    }
}

/// Every difference stands in the table of docs/ipvs.md, and nothing else does.
#[test]
fn differences_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ipvs.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("## Scenarios that do not match").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
    let documented: Vec<&str> = rows.iter().map(|row| row.split('`').nth(1).unwrap()).collect();
    for name in DIFFERENT {
        assert!(documented.contains(&name), "{name} is not in the table of docs/ipvs.md");
    }
    for name in documented {
        assert!(DIFFERENT.contains(&name), "{name} is in the table of docs/ipvs.md, but matches");
    }
}
