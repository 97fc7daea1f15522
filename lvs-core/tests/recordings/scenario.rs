//! The recordings as values.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use flate2::read::GzDecoder;
use serde_json::Value;

/// One recorded history.
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// `ipvsadm` argument strings, in order.
    pub(crate) rules: Vec<String>,
    /// Knobs under `net.ipv4.vs`.
    pub(crate) sysctl: Vec<(String, String)>,
    /// Shell commands that were run on the director.
    pub(crate) extra: String,
    pub(crate) steps: Vec<Step>,
    /// Listings at the end, by the command that printed them.
    pub(crate) listings: Vec<(String, String)>,
    pub(crate) end: Duration,
}

pub(crate) struct Step {
    pub(crate) number: u64,
    pub(crate) at: Duration,
    pub(crate) action: Action,
    /// Listings taken after the step.
    pub(crate) listings: Vec<(String, String)>,
}

pub(crate) enum Action {
    /// A frame was sent by a node; these came out, each at a node.
    Send {
        frame: Vec<u8>,
        delivered: Vec<(String, Vec<u8>)>,
    },
    Ipvsadm {
        args: String,
        rc: i64,
        err: String,
    },
    Sleep,
    /// Anything that leaves no trace but time.
    Nothing,
}

pub(crate) fn load(file: &str) -> Vec<Scenario> {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/ipvs", &format!("{file}.jsonl.gz")].iter().collect();
    let reader = BufReader::new(GzDecoder::new(std::fs::File::open(path).unwrap()));
    let mut scenarios: Vec<Scenario> = Vec::new();
    for line in reader.lines() {
        let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match value["kind"].as_str().unwrap() {
            "scenario" => scenarios.push(begin(&value)),
            "step" => scenarios.last_mut().unwrap().steps.push(step(&value)),
            _ => {
                let scenario = scenarios.last_mut().unwrap();
                scenario.listings = listings(&value);
                scenario.end = seconds(&value["t"]);
            }
        }
    }
    scenarios
}

fn begin(value: &Value) -> Scenario {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Scenario {
        name: text(&value["scenario"]),
        rules: value["rules"].as_array().unwrap().iter().map(text).collect(),
        sysctl: value["sysctl"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), plain(v))).collect(),
        extra: text(&value["extra"]),
        steps: Vec::new(),
        listings: Vec::new(),
        end: Duration::ZERO,
    }
}

fn step(value: &Value) -> Step {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let action = match value["op"].as_str().unwrap() {
        "send" => Action::Send {
            frame: bytes(&value["sent"]),
            delivered: value["delivered"].as_array().unwrap().iter().map(delivered).collect(),
        },
        "ipvsadm" => {
            Action::Ipvsadm { args: text("args"), rc: value["rc"].as_i64().unwrap(), err: text("err") }
        }
        "sleep" => Action::Sleep,
        _ => Action::Nothing,
    };
    Step {
        number: value["step"].as_u64().unwrap(),
        at: seconds(&value["t"]),
        action,
        listings: listings(value),
    }
}

fn delivered(value: &Value) -> (String, Vec<u8>) {
    (value["node"].as_str().unwrap().to_owned(), bytes(&value["frame"]))
}

/// The keys that are commands or /proc files.
fn listings(value: &Value) -> Vec<(String, String)> {
    let object = value.as_object().unwrap();
    let is_listing = |key: &str| key.starts_with("ipvsadm ") || key.starts_with("/proc/");
    let entries = object.iter().filter(|(key, _)| is_listing(key));
    entries.map(|(key, text)| (key.clone(), text.as_str().unwrap_or_default().to_owned())).collect()
}

fn seconds(value: &Value) -> Duration {
    Duration::from_secs_f64(value.as_f64().unwrap())
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
