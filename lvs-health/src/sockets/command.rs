//! Programs that check. Each leads a process group of its own, which is killed when its leader has ended or its time is over.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::time::Duration;

use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::config::CommandProbe;
use crate::outcome::{FailureKind, Outcome};

/// Bytes of output that are kept.
const KEPT: usize = 4096;

pub(super) struct Command {
    child: Child,
    pipes: Vec<Receiver>,
    output: Vec<u8>,
    dynamic_weight: bool,
    /// Its group was killed, and its number may be another's by now.
    killed: bool,
}

impl Command {
    pub(super) fn start(probe: &CommandProbe, registry: &Registry, token: Token) -> Result<Self, Outcome> {
        let program = probe.arguments.first().map(String::as_str).unwrap_or_default();
        let failed = |error: io::Error| {
            Outcome::undecided(format!("the command {program} cannot be started: {error}"))
        };
        let mut child = std::process::Command::new(program)
            .args(probe.arguments.iter().skip(1))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let outputs = child.stdout.take().map(Receiver::from).into_iter();
        let mut pipes: Vec<Receiver> = outputs.chain(child.stderr.take().map(Receiver::from)).collect();
        for pipe in &mut pipes {
            // Without it the output is read when the command is looked at.
            let _ =
                pipe.set_nonblocking(true).and_then(|()| registry.register(pipe, token, Interest::READABLE));
        }
        Ok(Self { child, pipes, output: Vec::new(), dynamic_weight: probe.dynamic_weight, killed: false })
    }

    pub(super) fn advance(&mut self) -> Option<Outcome> {
        self.read();
        // Looked at before it is reaped: as long as it is a zombie, its number, and the group's, is nobody else's.
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        if matches!(waitid(Id::Pid(self.group()), look), Ok(WaitStatus::StillAlive)) {
            return None;
        }
        self.kill_group();
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                self.read();
                Some(self.judge(status))
            }
            Err(error) => Some(Outcome::undecided(format!("the command got lost: {error}"))),
        }
    }

    pub(super) fn time_out(&mut self, timeout: Duration) -> Outcome {
        self.read();
        Outcome::failure(
            FailureKind::Command,
            format!("did not end in {timeout:?} and was killed{}", self.said()),
        )
    }

    /// Ends the command and all that it started. What it is afterwards has to be waited for.
    pub(super) fn kill(mut self) -> Child {
        self.kill_group();
        self.child
    }

    fn kill_group(&mut self) {
        if !std::mem::replace(&mut self.killed, true) {
            // Whoever is gone already need not be killed.
            let _ = killpg(self.group(), Signal::SIGKILL);
        }
    }

    fn group(&self) -> Pid {
        // The system's numbers are small and positive.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Reads what there is, keeps the beginning, and throws the rest away so that the command does not stop for it.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        for pipe in &mut self.pipes {
            for _ in 0..16 {
                match pipe.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => {
                        let room = KEPT - self.output.len();
                        self.output.extend_from_slice(&buffer[..read.min(room)]);
                    }
                }
            }
        }
    }

    fn judge(&self, status: std::process::ExitStatus) -> Outcome {
        match status.code() {
            Some(0) => Outcome::SUCCESS,
            Some(code @ 2..=255) if self.dynamic_weight => Outcome::Success { weight: Some(code as u32 - 2) },
            Some(code) => {
                Outcome::failure(FailureKind::Command, format!("exit status {code}{}", self.said()))
            }
            None => {
                let signal = status.signal().unwrap_or(0);
                Outcome::failure(FailureKind::Command, format!("ended by signal {signal}{}", self.said()))
            }
        }
    }

    /// What it said, behind a colon.
    fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        let text = text.trim();
        if text.is_empty() { String::new() } else { format!(": {text}") }
    }
}
