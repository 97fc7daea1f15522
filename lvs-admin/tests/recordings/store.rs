//! The recordings, as texts by scenario.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

/// The files whose scenarios direct routing can have.
pub(crate) const COUNTED: [&str; 8] =
    ["sched", "hash", "change", "persist", "threshold", "state", "ipv6", "misc"];

/// The rules and edits of a scenario, and what `ipvsadm -Sn` printed at its end.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) commands: Vec<String>,
    pub(crate) saved: Option<String>,
}

/// A command that was tried, and what became of it.
pub(crate) struct Attempt {
    pub(crate) args: String,
    pub(crate) rc: i64,
    pub(crate) err: String,
}

fn lines(file: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lvs-core/tests/fixtures/ipvs");
    let packed = std::fs::read(folder.join(format!("{file}.jsonl.gz"))).unwrap();
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Scenarios with real servers that are reached by a tunnel.
fn is_tunnelled(name: &str) -> bool {
    name == "v6_tun_v4"
}

/// Every text of one kind in the counted files, each with the name of its scenario: the last ones of scenarios and those
/// in between.
pub(crate) fn recorded(kind: &str) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for file in COUNTED {
        for line in lines(file) {
            let name = text(&line["scenario"]);
            if let Some(Value::String(dumped)) = line.get(kind)
                && !is_tunnelled(&name)
            {
                texts.push((format!("{file}/{name}"), dumped.clone()));
            }
        }
    }
    texts
}

/// The scenarios of the counted files.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for line in COUNTED.iter().flat_map(|file| lines(file)) {
        let name = text(&line["scenario"]);
        if is_tunnelled(&name) {
            continue;
        }
        if line["kind"] == "scenario" {
            let commands = line["rules"].as_array().unwrap().iter().map(text).collect();
            scenarios.push(Scenario { name, commands, saved: None });
            continue;
        }
        let scenario = scenarios.last_mut().filter(|scenario| scenario.name == name).unwrap();
        if line["kind"] == "final" {
            scenario.saved = line.get("ipvsadm -Sn").map(text);
        } else if line["op"] == "ipvsadm" && !text(&line["args"]).contains("-daemon") {
            assert_eq!(line["rc"], 0, "{name}");
            scenario.commands.push(text(&line["args"]));
        }
    }
    scenarios
}

/// A listing of the scenario that has every kind of service.
pub(crate) fn layout(kind: &str) -> String {
    let lines = lines("cli");
    let mut dumps = lines.iter().filter(|line| line["scenario"] == "layout" && line["op"] == "dump");
    text(&dumps.next().unwrap()[kind])
}

/// The rules and attempts of the scenario about errors.
pub(crate) fn errors() -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for line in lines("cli").iter().filter(|line| line["scenario"] == "errors") {
        if let Some(rules) = line["rules"].as_array() {
            attempts.extend(rules.iter().map(|rule| Attempt { args: text(rule), rc: 0, err: String::new() }));
        }
        if line["op"] == "ipvsadm" {
            let rc = line["rc"].as_i64().unwrap();
            attempts.push(Attempt { args: text(&line["args"]), rc, err: text(&line["err"]) });
        }
    }
    attempts
}
