//! Running the program.

use std::process::Command;

use serde_json::Value;

use crate::captures::Sample;

/// A run that has ended.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(arguments: &[&str]) -> Self {
        let output = Command::new(env!("CARGO_BIN_EXE_explain")).args(arguments).output().unwrap();
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Every line of stdout as an object.
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Stderr, but for what was taken for granted.
    pub(crate) fn stderr_without_notes(&self) -> String {
        let is_note = |line: &&str| line.contains("Ethernet address") || line.contains("ARP problem");
        self.stderr.lines().filter(|line| !is_note(line)).collect()
    }
}

/// Explains a sample.
pub(crate) fn explain(sample: &Sample, options: &[&str]) -> Run {
    run(sample, options, "192.168.0.208/24", None)
}

/// Explains these bytes with the rules of a sample.
pub(crate) fn explain_with(sample: &Sample, options: &[&str], dip: &str, capture: &[u8]) -> Run {
    run(sample, options, dip, Some(capture))
}

fn run(sample: &Sample, options: &[&str], dip: &str, capture: Option<&[u8]>) -> Run {
    let (rules, capture) = (sample.rules(), sample.write(capture));
    let mut arguments = vec!["--rules", rules.to_str().unwrap(), "--dip", dip];
    arguments.extend(options);
    arguments.push(capture.to_str().unwrap());
    Run::of(&arguments)
}
