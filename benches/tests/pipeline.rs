//! The program `pipeline`, run as people run it, but short: what it prints, not how fast it is.

use std::process::{Command, Output};

use serde_json::Value;

fn pipeline(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
    command.args(["--rounds", "1", "--max-flows", "1000", "--frames", "8192"]).args(arguments);
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn json_lines_are_as_documented() {
    let output = pipeline(&["--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let frames = ["allocations", "baseline_ns", "case", "family", "flows", "ns_per_frame", "pages"];
    let mut cases = Vec::new();
    for line in &lines {
        let object = line.as_object().unwrap();
        let case = line["case"].as_str().unwrap();
        let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
        names.sort_unstable();
        let expected: &[&str] = match case {
            "memory" => &["bytes_per_connection", "case", "family"],
            "flood" => &["attack", "case", "lost", "ns_per_frame", "ratio"],
            "workers" => &["case", "ratio", "workers"],
            "expiry" => &["case", "connections", "family", "longest_us", "p9999_us", "quiet_us"],
            _ => &frames,
        };
        assert_eq!(names, expected, "{line}");
        if expected == frames {
            assert_eq!(line["allocations"], 0, "{line}");
            assert!(line["pages"] == "huge" || line["pages"] == "4k", "{line}");
            assert!(line["flows"] == 1000, "{line}");
        }
        if case == "flood" {
            assert_eq!(line["lost"], 0, "established flows lose nothing: {line}");
        }
        if case == "memory" {
            let goal = if line["family"] == "ipv4" { 96.0 } else { 160.0 };
            assert!(line["bytes_per_connection"].as_f64().unwrap() <= goal, "{line}");
        }
        if case == "workers" {
            assert_eq!(line["workers"], 2);
            assert!(line["ratio"].as_f64().unwrap() > 0.0, "{line}");
            continue;
        }
        cases.push((case, line["family"].as_str().or_else(|| line["attack"].as_str()).unwrap()));
    }
    let frames = ["established", "new_connection", "not_ours"];
    let mut expected: Vec<_> =
        ["ipv4", "ipv6"].into_iter().flat_map(|family| frames.map(|case| (case, family))).collect();
    expected.extend([("arp_reply", "ipv4"), ("memory", "ipv4"), ("memory", "ipv6")]);
    expected.extend([("flood", "random"), ("flood", "colliding"), ("expiry", "ipv4"), ("expiry", "ipv6")]);
    assert_eq!(cases, expected);
    let has_workers = lines.iter().any(|line| line["case"] == "workers");
    assert_eq!(has_workers, lvs_benches::machine::processors().len() > 1);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("10,000,000 established flows were not run: --max-flows 10000000"), "{said}");
}

#[test]
fn people_get_bars() {
    let output = pipeline(&["--only", "not_ours"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("lvs pipeline on "), "{text}");
    for line in
        ["frame that is not for a service, IPv4, 1,000 flows", "  director ", "  hashbrown ", "goal 8: "]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains('█'), "{text}");
    assert!(!text.contains("established frame"), "{text}");
}

#[test]
fn wrong_usage_is_refused() {
    for arguments in [&["--max-flows", "999"][..], &["--only", "nonsense"], &["--rounds", "0"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_pipeline")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}
