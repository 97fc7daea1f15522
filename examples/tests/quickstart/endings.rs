//! How it ends, and that nothing stays: no namespace, no process, no interface.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{LAB, LONGEST, Outcome, PROGRAM, Running, run_well};

/// The network namespaces that a process holds, as `net:[4026532...]`.
fn namespaces(process: u32) -> BTreeSet<String> {
    links(&PathBuf::from(format!("/proc/{process}/fd")), "")
}

/// Where the links of a directory lead, or those called `name` in its subdirectories, if that is a namespace.
fn links(directory: &Path, name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let path = |entry: fs::DirEntry| if name.is_empty() { entry.path() } else { entry.path().join(name) };
    let targets = entries.filter_map(|entry| fs::read_link(path(entry)).ok());
    let targets = targets.map(|target| target.to_string_lossy().into_owned());
    targets.filter(|target| target.starts_with("net:")).collect()
}

/// Nothing on this machine holds one of the namespaces: no process, no thread, no descriptor, no mount.
fn assert_gone(held: &BTreeSet<String>) -> Outcome {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for namespace in held {
        assert!(!mounts.contains(namespace.as_str()), "{namespace} is mounted");
    }
    for process in fs::read_dir("/proc")?.filter_map(Result::ok).map(|entry| entry.path()) {
        let fds = links(&process.join("fd"), "");
        let threads = links(&process.join("task"), "ns/net");
        let mut found = fds.union(&threads).filter(|ns| held.contains(*ns));
        assert_eq!(found.next(), None, "{} holds it", process.display());
    }
    Ok(())
}

/// The names of this namespace's interfaces.
fn interfaces() -> std::io::Result<BTreeSet<String>> {
    let table = fs::read_to_string("/proc/net/dev")?;
    let names = table.lines().filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
}

/// Client, router, director, two real servers, the switch.
const HOSTS: usize = 6;

pub(crate) fn sigint_in_the_middle() -> Outcome {
    let before = interfaces()?;
    let mut running = Running::start(&["--json", "--requests", "10000"])?;
    let deadline = Instant::now() + LONGEST;
    let mut held = namespaces(running.0.id());
    while held.len() < HOSTS {
        assert!(Instant::now() < deadline, "the network is not built: {held:?}");
        std::thread::sleep(Duration::from_millis(5));
        held = namespaces(running.0.id());
    }
    // Somewhere among the requests: 10000 of them take many seconds.
    std::thread::sleep(Duration::from_millis(700));
    running.signal(Signal::SIGINT)?;
    let (code, message) = running.finish()?;
    let mut text = String::new();
    running.0.stdout.as_mut().ok_or("stdout is piped")?.read_to_string(&mut text)?;
    assert_eq!(code, Some(2), "{text} {message}");
    let object: Value = serde_json::from_str(&text)?;
    assert_eq!(object["ok"], false);
    assert_eq!(object["error"], "interrupted by a signal before the end");
    assert_gone(&held)?;
    assert_eq!(interfaces()?, before);
    Ok(())
}

pub(crate) fn sigkill() -> Outcome {
    let before = interfaces()?;
    let mut running = Running::start(&["--requests", "10000"])?;
    running.read_until("192.168.0.188    ● ·")?;
    let held = namespaces(running.0.id());
    assert_eq!(held.len(), HOSTS, "{held:?}");
    running.signal(Signal::SIGKILL)?;
    assert_eq!(running.0.wait()?.signal(), Some(Signal::SIGKILL as i32));
    assert_gone(&held)?;
    assert_eq!(interfaces()?, before);
    Ok(())
}

pub(crate) fn keep() -> Outcome {
    let mut running = Running::start(&["--keep", "--requests", "2"])?;
    let text = running.read_until("tcpdump")?;
    assert!(text.contains("All 5 checks passed."), "{text}");
    let held = namespaces(running.0.id());
    assert_eq!(held.len(), HOSTS, "{held:?}");
    for host in ["client", "router", "director", "server1", "server2"] {
        assert!(text.contains(&format!("\n  {host}\n    nsenter ")), "{host}: {text}");
    }
    enter_as_told(&text)?;
    running.signal(Signal::SIGTERM)?;
    assert_eq!(running.finish()?, (Some(0), String::new()));
    assert_gone(&held)
}

/// The cluster without a director says how to enter its hosts, too; and nobody has the VIP in it.
pub(crate) fn lab() -> Outcome {
    let mut running = Running::start_program(LAB, &["--servers", "1"])?;
    let text = running.read_until("Ctrl-C")?;
    let held = namespaces(running.0.id());
    for host in ["client", "router", "director", "server1"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{host} "))), "{host}: {text}");
    }
    let mut lines = text.lines().skip_while(|line| !line.starts_with("server1 "));
    let enter = lines.nth(1).ok_or("how to enter")?;
    let output = Command::new("sh").args(["-c", &format!("{enter} cat /proc/net/fib_trie")]).output()?;
    if output.status.success() {
        assert!(String::from_utf8_lossy(&output.stdout).contains("192.168.0.250"), "{output:?}");
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("not found"), "nsenter is there and does not work: {complaint}");
        eprintln!("SKIPPED, entering a host: {complaint}");
    }
    running.signal(Signal::SIGTERM)?;
    assert_eq!(running.finish()?, (Some(0), String::new()));
    assert_gone(&held)
}

/// Carries out the command that asks the router for its neighbours, as a user would.
fn enter_as_told(text: &str) -> Outcome {
    let wanted = |line: &&str| line.contains("nsenter") && line.ends_with("cat /proc/net/arp");
    let line = text.lines().find(wanted).ok_or("a command that shows the router's neighbours")?;
    let output = Command::new("sh").args(["-c", line]).output()?;
    let table = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("not found"), "nsenter is there and does not work: {complaint}");
        eprintln!("SKIPPED, entering a host: {complaint}");
        return Ok(());
    }
    let vip = table.lines().find(|line| line.starts_with("192.168.0.250 "));
    assert!(vip.is_some_and(|line| line.contains("02:00:00:00:00:d0")), "the director has the VIP: {table}");
    Ok(())
}

pub(crate) fn broken_pipe() -> Outcome {
    let mut running = Running::start(&["--requests", "3"])?;
    drop(running.0.stdout.take());
    assert_eq!(running.finish()?, (Some(0), String::new()));
    Ok(())
}

pub(crate) fn two_at_once() -> Outcome {
    let mut first = Running::start(&["--keep", "--requests", "1"])?;
    first.read_until("All 5 checks passed.")?;
    run_well(Command::new(PROGRAM).args(["--json", "--requests", "4"])).map(drop)
}
