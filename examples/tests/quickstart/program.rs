//! The program as a child: runs that end by themselves and runs that do not.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_quickstart");
/// A cluster without a director.
pub(crate) const LAB: &str = env!("CARGO_BIN_EXE_lab");
/// What the program promises.
pub(crate) const LONGEST: Duration = Duration::from_secs(15);
pub(crate) const REFUSED: &str = "no network namespaces here";
pub(crate) const CHECKS: [&str; 5] = [
    "distribution",
    "packet_untouched",
    "no_reply_through_director",
    "only_director_answers_arp",
    "no_request_failed",
];

pub(crate) type Outcome = Result<(), Failed>;

/// The one object on stdout.
pub(crate) fn object(output: &Output) -> Result<Value, Failed> {
    let text = String::from_utf8(output.stdout.clone())?;
    if text.lines().count() != 1 {
        return Err(format!("not one line: {text:?}").into());
    }
    Ok(serde_json::from_str(&text)?)
}

/// A run with `--json` that must succeed.
pub(crate) fn run_well(command: &mut Command) -> Result<Value, Failed> {
    let start = Instant::now();
    let output = command.output()?;
    let took = start.elapsed();
    let object = object(&output)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{object} {complaint}");
    assert_eq!(complaint, "");
    assert!(took < LONGEST, "{took:?}");
    assert_eq!(object["ok"], true, "{object}");
    for check in CHECKS {
        assert_eq!(object["checks"][check], true, "{object}");
    }
    assert_eq!(object["failed"], 0);
    assert_eq!(object["error"], Value::Null);
    Ok(object)
}

/// A child that is killed if a test gives up.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Failed> {
        Self::start_program(PROGRAM, arguments)
    }

    pub(crate) fn start_program(program: &str, arguments: &[&str]) -> Result<Self, Failed> {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Ok(Self(command.spawn()?))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill(Pid::from_raw(i32::try_from(self.0.id())?), signal)?)
    }

    /// Reads stdout up to a line that contains `part`; answers what was read.
    pub(crate) fn read_until(&mut self, part: &str) -> Result<String, Failed> {
        let mut output = BufReader::new(self.0.stdout.as_mut().ok_or("stdout is piped")?);
        let mut text = String::new();
        while !text.contains(part) {
            if output.read_line(&mut text)? == 0 {
                return Err(format!("{part:?} never came: {text}").into());
            }
        }
        Ok(text)
    }

    /// Waits for the end; the exit code, if it was not killed, and what came on stderr.
    pub(crate) fn finish(&mut self) -> Result<(Option<i32>, String), Failed> {
        let deadline = Instant::now() + LONGEST;
        while self.0.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err("it does not end".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut message = String::new();
        self.0.stderr.as_mut().ok_or("stderr is piped")?.read_to_string(&mut message)?;
        Ok((self.0.wait()?.code(), message))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
