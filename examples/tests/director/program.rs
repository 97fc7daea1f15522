//! A director program that runs in a host of the lab.
//!
//! It is killed when its handle goes, and by the kernel when the thread that started it ends: the tests leave no
//! process behind, however they end. For that the test program starts itself again inside the host; the second self
//! asks the kernel for that favour and then becomes the director.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use libtest_mimic::Failed;
use lvs_testkit::lab::{Host, Task};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};

/// The program under test.
pub(crate) const DIRECTOR: &str = env!("CARGO_BIN_EXE_director");
/// The smallest director.
pub(crate) const MINIMAL: &str = env!("CARGO_BIN_EXE_minimal");

/// How long something may take that takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Set for the second self: the process that started it, and a right to give up.
const STARTED_BY: &str = "LVS_DIRECTOR_TEST_STARTED_BY";
const WITHOUT: &str = "LVS_DIRECTOR_TEST_WITHOUT";

/// In the second self: becomes the program that the arguments name. Elsewhere `None`.
pub(crate) fn become_the_program() -> Option<ExitCode> {
    let parent: i32 = std::env::var(STARTED_BY).ok()?.parse().ok()?;
    let become_it = || -> Result<std::convert::Infallible, Box<dyn std::error::Error>> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if getppid() != Pid::from_raw(parent) {
            return Err("the test program has ended".into());
        }
        if let Ok(right) = std::env::var(WITHOUT) {
            // What is not in the bounding set, root does not get with its next program either.
            caps::drop(None, CapSet::Bounding, right.parse::<Capability>()?)?;
        }
        let mut arguments = std::env::args_os().skip(1);
        let program = arguments.next().ok_or("no program is named")?;
        let mut command = Command::new(program);
        Err(command.args(arguments).env_remove(STARTED_BY).env_remove(WITHOUT).exec().into())
    };
    let Err(error) = become_it();
    eprintln!("the director could not be started: {error}");
    Some(ExitCode::FAILURE)
}

/// What to start.
pub(crate) struct Start<'a> {
    host: &'a Host,
    program: &'static str,
    directory: &'a Path,
    arguments: Vec<OsString>,
    without: Option<Capability>,
}

impl<'a> Start<'a> {
    /// `director` inside `host`, in a working directory, with words separated by spaces as arguments.
    pub(crate) fn director(host: &'a Host, directory: &'a Path, arguments: &str) -> Self {
        let mut start = Self::program(DIRECTOR, host, directory, arguments);
        // Many run at a time, and only one can have the usual place.
        if !arguments.contains("--control") {
            start.arguments.push("--no-control".into());
        }
        start
    }

    pub(crate) fn program(
        program: &'static str,
        host: &'a Host,
        directory: &'a Path,
        arguments: &str,
    ) -> Self {
        let arguments = arguments.split_whitespace().map(OsString::from).collect();
        Self { host, program, directory, arguments, without: None }
    }

    /// Without this right.
    pub(crate) const fn without(mut self, right: Capability) -> Self {
        self.without = Some(right);
        self
    }

    pub(crate) fn run(self) -> Result<Program, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(self.program).args(self.arguments).current_dir(self.directory);
        command.env(STARTED_BY, std::process::id().to_string());
        if let Some(right) = self.without {
            command.env(WITHOUT, right.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (sender, receiver) = mpsc::channel();
        let thread = self.host.spawn(move |stop| {
            let _ = sender.send(command.spawn());
            // The kernel ends the child with this thread.
            while !stop.requested() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut child = receiver.recv()??;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("both were piped".into());
        };
        let log = Arc::new(Log::default());
        let lines = log.clone();
        thread::spawn(move || lines.fill(BufReader::new(stderr)));
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            BufReader::new(stdout).read_to_string(&mut text).map(|_| text)
        });
        Ok(Program { child, stdout: Some(stdout), log, _thread: thread })
    }
}

/// The lines of standard error so far.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn fill(&self, stderr: impl BufRead) {
        for line in stderr.lines().map_while(Result::ok) {
            self.edit(|state| state.lines.push(line));
        }
        self.edit(|state| state.ended = true);
    }

    fn edit(&self, edit: impl FnOnce(&mut LogState)) {
        edit(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits until `done` or the end of the log. Answers whether it is done, and the lines.
    fn wait(&self, timeout: Duration, mut done: impl FnMut(&LogState) -> bool) -> (bool, Vec<String>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, timeout, |state| !state.ended && !done(state));
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (done(&state), state.lines.clone())
    }
}

/// A running program.
pub(crate) struct Program {
    child: Child,
    stdout: Option<JoinHandle<std::io::Result<String>>>,
    log: Arc<Log>,
    _thread: Task<()>,
}

/// What a program left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) log: Vec<String>,
}

impl Program {
    /// Waits until the log has `count` lines with this text.
    pub(crate) fn wait_for(&self, text: &str, count: usize, timeout: Duration) -> Result<(), Failed> {
        let has = |lines: &[String]| lines.iter().filter(|line| line.contains(text)).count() >= count;
        let (done, lines) = self.log.wait(timeout, |state| has(&state.lines));
        if done {
            return Ok(());
        }
        Err(format!("`{text}` stands not {count} times in the log after {timeout:?}:\n{}", lines.join("\n"))
            .into())
    }

    /// Waits until the program says that it is ready.
    pub(crate) fn wait_ready(&self) -> Result<(), Failed> {
        self.wait_for(" ready", 1, PATIENCE)
    }

    /// The lines with this text so far.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        let (_, lines) = self.log.wait(Duration::ZERO, |_| true);
        lines.into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        Ok(kill(Pid::from_raw(self.id().cast_signed()), signal)?)
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn stop(self, signal: Signal) -> Result<Ended, Failed> {
        self.signal(signal)?;
        self.wait()
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Result<Ended, Failed> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                let (_, lines) = self.log.wait(Duration::ZERO, |_| true);
                return Err(format!("the program still runs:\n{}", lines.join("\n")).into());
            }
            thread::sleep(Duration::from_millis(2));
        };
        let (_, log) = self.log.wait(PATIENCE, |state| state.ended);
        let Some(stdout) = self.stdout.take() else { return Err("it ends once".into()) };
        let stdout = stdout.join().map_err(|_| "reading standard output panicked")??;
        Ok(Ended { status, stdout, log })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // In vain if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The lines with this text.
    pub(crate) fn lines(&self, text: &str) -> Vec<&str> {
        self.log.iter().map(String::as_str).filter(|line| line.contains(text)).collect()
    }
}
