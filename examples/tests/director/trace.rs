//! `lvsadm --trace` beside clients: what it says of their frames, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family};
use crate::program::{PATIENCE, Program};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_trace_looks_like_explain", layout),
    ("a_trace_in_json_says_the_same", objects),
    ("a_trace_ends_when_its_time_is_over", seconds),
    ("a_trace_says_that_the_director_has_ended", end),
    ("a_wrong_trace_is_told_the_cure", wrong),
];

const BEGUN: &str = "lvsadm: the trace has begun";

/// A web service with two servers behind a director of two workers, which knows their Ethernet addresses.
struct World {
    cluster: Cluster,
    socket: PathBuf,
}

impl World {
    fn new() -> Result<(Self, Program), Failed> {
        let cluster = Cluster::b(2)?;
        cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
        let socket = cluster.directory.path().join("d.sock");
        let options = format!("--workers 2 --control {}", socket.display());
        let director = cluster.director(Family::V4, &options).run()?;
        director.wait_ready()?;
        cluster.fetch_in_turn(Family::V4, 2)?;
        Ok((Self { cluster, socket }, director))
    }

    fn lvsadm(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvsadm"));
        command.args(words.split_whitespace()).arg("--socket").arg(&self.socket);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A trace that has begun: each frame that comes now is looked at.
    fn trace(&self, words: &str) -> Result<Tracing, Failed> {
        let mut child = self.lvsadm(&format!("--trace {words}")).spawn()?;
        let stderr = BufReader::new(child.stderr.take().ok_or("it was piped")?);
        let mut tracing = Tracing { child, stderr };
        let mut line = String::new();
        tracing.stderr.read_line(&mut line)?;
        assert_eq!(line.trim_end(), BEGUN);
        Ok(tracing)
    }
}

struct Tracing {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Tracing {
    /// Waits for its end: status, standard output, and the rest of standard error.
    fn end(mut self) -> Result<(Option<i32>, String, String), Failed> {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                return Err("the trace goes on".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (mut said, mut rest) = (String::new(), String::new());
        self.child.stdout.take().ok_or("it was piped")?.read_to_string(&mut said)?;
        self.stderr.read_to_string(&mut rest)?;
        Ok((status.code(), said, rest))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // In vain if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A headline with the time of day, and labels in a column under it.
fn layout() -> Outcome {
    let (world, director) = World::new()?;
    let tracing = world.trace("protocol=tcp connection=new --count 1")?;
    world.cluster.fetch(Family::V4)?;
    let (status, said, rest) = tracing.end()?;
    assert_eq!((status, rest.as_str()), (Some(0), ""), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let ["", headline, decided @ ..] = &lines[..] else { return Err(format!("no headline:\n{said}").into()) };
    let digits: String =
        headline.chars().take(22).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(digits, "    0 00:00:00.000000Z", "{said}");
    for words in ["    1 ", "Z  TCP SYN ", " > 192.168.0.250:80, ", " bytes, by worker "] {
        assert!(headline.contains(words), "`{words}` is missing:\n{said}");
    }
    let labels: Vec<&str> =
        decided.iter().map(|line| line[..19].trim()).filter(|label| !label.is_empty()).collect();
    assert_eq!(labels, ["connection", "service", "servers", "scheduler", "verdict", "rewritten"], "{said}");
    assert!(decided.iter().all(|line| line.starts_with("      ") && line.len() <= 100), "{said}");
    let line = |label: &str| decided.iter().find_map(|line| line.trim().strip_prefix(label)).unwrap_or("");
    assert_eq!(
        line("service").trim(),
        "TCP 192.168.0.250:80 is a virtual service, and a SYN may open a connection"
    );
    assert!(line("verdict").contains("transmit, to 02:00:00:00:00:"), "{said}");
    director.stop(Signal::SIGTERM)?;
    Ok(())
}

fn objects() -> Outcome {
    let (world, _director) = World::new()?;
    let tracing = world.trace("connection=new --json --count 2")?;
    world.cluster.fetch_in_turn(Family::V4, 2)?;
    let (status, said, _) = tracing.end()?;
    let objects: Result<Vec<serde_json::Value>, _> = said.lines().map(serde_json::from_str).collect();
    let objects = objects?;
    assert_eq!((status, objects.len()), (Some(0), 2), "{said}");
    for (at, object) in objects.iter().enumerate() {
        assert_eq!((&object["frame"], &object["verdict"]), (&(at + 1).into(), &"transmit".into()), "{said}");
        assert!(object["worker"].as_u64().is_some_and(|worker| worker < 2), "{said}");
    }
    assert_ne!(objects[0]["server"], objects[1]["server"], "{said}");
    Ok(())
}

/// Whether something comes or nothing does; and the sooner of two ends is the one.
fn seconds() -> Outcome {
    let (world, _director) = World::new()?;
    let begun = Instant::now();
    let silent = world.trace("port=9 --seconds 1")?;
    let busy = world.trace("connection=new --seconds 2 --count 1000")?;
    let counted = world.trace("connection=new --seconds 3600 --count 1")?;
    world.cluster.fetch(Family::V4)?;
    let (status, said, rest) = counted.end()?;
    assert_eq!((status, rest.as_str()), (Some(0), ""), "{said}");
    let (status, said, rest) = silent.end()?;
    assert_eq!((status, said.as_str(), rest.as_str()), (Some(0), "", "lvsadm: 0 frames in 1 s\n"));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let (status, said, rest) = busy.end()?;
    assert_eq!((status, rest.as_str()), (Some(0), "lvsadm: 1 frame in 2 s\n"), "{said}");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(said.matches(" TCP SYN ").count(), 1, "{said}");
    Ok(())
}

/// In good order or killed, it is said in a line, and by the exit status.
fn end() -> Outcome {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let (world, director) = World::new()?;
        let tracing = world.trace("connection=new")?;
        world.cluster.fetch(Family::V4)?;
        director.stop(signal)?;
        let (status, said, rest) = tracing.end()?;
        assert_eq!(
            (status, rest.as_str()),
            (Some(1), "lvsadm: the director has ended\n"),
            "{signal}: {said}"
        );
        if signal == Signal::SIGTERM {
            assert_eq!(said.matches(" TCP SYN ").count(), 1, "{said}");
        }
    }
    Ok(())
}

fn wrong() -> Outcome {
    let (world, _director) = World::new()?;
    let output = world.lvsadm("--trace colour=red").output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
    for words in
        ["--trace colour=red: `colour` is no key; expected one of address, ", "see lvsadm --trace help"]
    {
        assert!(said.contains(words), "{said}");
    }
    Ok(())
}
