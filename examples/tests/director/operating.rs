//! docs/operating.md, run as it stands: files are written, commands run in the director's host, and what they print is held against
//! the text. `…` stands for whatever is there. What the reader cannot do to a real cluster for a lesson is in comments of the text:
//! `<!-- lab: stop_web 0 -->`.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::cluster::{Cluster, Family};
use crate::program::{DIRECTOR, PATIENCE, Program, Start};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[("operating_md_is_true_to_the_letter", walk)];

const TEXT: &str = include_str!("../../../docs/operating.md");
const SOCKET: &str = "d.sock";

fn walk() -> Outcome {
    let mut cluster = Cluster::b(3)?;
    let mut director: Option<Program> = None;
    let (mut commands, mut lines) = (0, TEXT.lines());
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("```toml ") {
            let text: String =
                lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            std::fs::write(cluster.directory.path().join(name), text)?;
        } else if line == "```console" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            for call in block.chunk_by(|_, next| !next.starts_with("$ ")) {
                let (command, expected) = call.split_first().ok_or("a command")?;
                let command = command.strip_prefix("$ ").ok_or("a block begins with a command")?;
                commands += 1;
                match command.strip_suffix(" &") {
                    Some(words) => {
                        let words = words.strip_prefix("director ").ok_or("only a director runs on")?;
                        let words = format!("{words} --control {SOCKET}");
                        let started =
                            Start::director(&cluster.net.director, cluster.directory.path(), &words).run()?;
                        started.wait_ready()?;
                        director = Some(started);
                    }
                    None => says(&cluster, command, expected)?,
                }
            }
        } else if let Some(order) = line.strip_prefix("<!-- lab: ") {
            let (what, server) =
                order.strip_suffix(" -->").and_then(|order| order.split_once(' ')).ok_or("an order")?;
            let (server, vip): (usize, _) = (server.parse()?, cluster.vip(Family::V4));
            match what {
                "stop_web" => cluster.stop_web(server),
                "start_web" => cluster.restart_web(server)?,
                "release_vip" => cluster.net.servers[server].host.release_vip(vip)?,
                "hold_vip" => cluster.net.servers[server].host.hold_vip(vip)?,
                other => return Err(format!("the lab knows no {other}").into()),
            }
        }
    }
    assert!(commands >= 12, "only {commands} commands");
    assert!(director.is_some());
    Ok(())
}

/// Runs a command until it says what it should: what checks find takes a moment.
fn says(cluster: &Cluster, command: &str, expected: &[&str]) -> Result<(), Failed> {
    let programs = PathBuf::from(DIRECTOR);
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.parent().ok_or("a folder")?.display());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(cluster.directory.path());
        shell.env("LVS_SOCKET", SOCKET).env("PATH", &path);
        let output = cluster.net.director.run(|| shell.output())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && fits(&said.lines().collect::<Vec<_>>(), expected) {
            return Ok(());
        }
        let asks_checks = command.contains("--health") || command.contains("-Ln");
        if !asks_checks || Instant::now() > deadline {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!(
                "{command}: {}\n{said}{error}expected:\n{}",
                output.status,
                expected.join("\n")
            )
            .into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether lines are as expected; a line `…` alone stands for any number of them.
fn fits(said: &[&str], expected: &[&str]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| fits(&said[skipped..], rest)),
        Some((line, rest)) => {
            said.first().is_some_and(|first| line_fits(first.trim_end(), line)) && fits(&said[1..], rest)
        }
    }
}

/// `…` stands for any text.
fn line_fits(said: &str, expected: &str) -> bool {
    match expected.split_once('…') {
        None => said == expected,
        Some((before, after)) => said.strip_prefix(before.trim_end()).is_some_and(|rest| {
            after.is_empty()
                || (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| line_fits(rest, after)))
        }),
    }
}
