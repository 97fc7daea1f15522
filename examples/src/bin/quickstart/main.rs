//! `quickstart`: an LVS/DR cluster of real kernels in one process, at work before your eyes; or a simulated one.
//!
//! ```text
//!   options ─┬─► kernels ───┬─► requests ─► evidence ─► checks ─┬─► report
//!            └─► simulated ─┘                                   └─► json
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `options`, `failure` | what the user may choose; why it could not run |
//! | `blueprint` | what is built: addresses, pages, the director's rules |
//! | `kernels/` | the run over real kernels in network namespaces (Linux; `elsewhere` says that there are none) |
//! | `simulated` | the same run in a network inside the process, where namespaces are not allowed or not wanted |
//! | `requests`, `decisions`, `interrupt` | what is asked for, what the director decided, a signal that ends it all |
//! | `arp_problem/` | `--scenario arp-problem`: a story of its own over both networks |
//! | `evidence` | all that was seen, as plain data |
//! | `expected`, `checks`, `hops` | what follows from the evidence |
//! | `map`, `report`, `hops_view`, `json` | how it looks |
//!
//! It changes nothing outside its own namespaces, writes no file but those of `--pcap`, and needs no cleaning up:
//! everything it makes goes with the process, however that ends.

mod arp_problem;
mod blueprint;
mod checks;
mod decisions;
mod evidence;
mod expected;
mod failure;
mod hops;
mod hops_view;
mod interrupt;
mod json;
#[cfg(target_os = "linux")]
mod kernels;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod kernels;
mod map;
mod options;
mod report;
mod requests;
#[cfg(test)]
mod sample;
mod simulated;

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use checks::Findings;
use evidence::{Evidence, Network, Request};
use failure::Failure;
use interrupt::Interrupt;
use lvs_examples::layout::{self, Paint};
use options::{Io, Options, Scenario};
use simulated::Simulation;

/// It could not run. 1 is for checks that failed.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    let mut options = match Options::read(std::env::args_os()) {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    // A bug, too, ends in the promised status and object; its message is on stderr already.
    let outcome = catch_unwind(AssertUnwindSafe(|| perform(&mut options)));
    let failure = match outcome {
        Ok(Ok(true)) => return ExitCode::SUCCESS,
        Ok(Ok(false)) => return ExitCode::FAILURE,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::Panicked(panic_text(panic.as_ref())),
    };
    could_not_run(&options, &failure)
}

/// A wrong command line; or none, but `--help`.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args().skip(1).any(|argument| argument == "--json");
    if !error.use_stderr() {
        print(&error.render().to_string());
        return ExitCode::SUCCESS;
    }
    // The first line says what is wrong; the rest is advice for people.
    let text = error.to_string();
    if wants_json {
        let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        // The object has the shape of what was asked for, as far as that can be seen.
        let story = std::env::args().any(|argument| argument.ends_with(Scenario::ArpProblem.name()));
        let story = story.then_some("--scenario=arp-problem");
        let options = Options::parse_from(["quickstart"].into_iter().chain(story));
        print(&(json::of_failure(&options, &Failure::Usage(reason.to_owned())) + "\n"));
    }
    eprint!("{text}");
    ExitCode::from(COULD_NOT_RUN)
}

fn could_not_run(options: &Options, failure: &Failure) -> ExitCode {
    if options.json {
        print(&(json::of_failure(options, failure) + "\n"));
    }
    eprintln!("quickstart: {failure}");
    ExitCode::from(COULD_NOT_RUN)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

/// Chooses the network, then builds, runs, judges and shows. Answers whether all checks passed.
fn perform(options: &mut Options) -> Result<bool, Failure> {
    let interrupt =
        Interrupt::install().map_err(|source| Failure::System { what: "listening for signals", source })?;
    if options.io != Some(Io::Sim) {
        match kernels::enter() {
            Ok(entered) => return kernels::perform(entered, options, &interrupt),
            Err(refused) if options.may_simulate() => {
                let (reason, cure) = (refused.reason(), refused.cure());
                eprintln!(
                    "quickstart: namespaces are not allowed here ({reason}); running the simulated network instead. \
                     To allow them: {cure}"
                );
                options.io = Some(Io::Sim);
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    match options.scenario {
        None => simulate(options, &interrupt),
        Some(Scenario::ArpProblem) => arp_problem::simulate(options, &interrupt),
    }
}

/// The run inside the process.
fn simulate(options: &Options, interrupt: &Interrupt) -> Result<bool, Failure> {
    let mut simulation = Simulation::build(options)?;
    let network = simulation.network.clone();
    open(&network, options);
    simulation.wait_ready()?;
    let once = || simulation.fetch_once();
    let requests = requests::fetch(options.requests, interrupt, once, show(&network, options))?;
    let evidence = simulation.gather(requests)?;
    judge(&evidence, options, interrupt)
}

/// Shows what is known before the first request.
fn open(network: &Network, options: &Options) {
    if !options.json {
        print(&report::opening(network, options, Paint::for_stdout()));
    }
}

/// What shows a request as soon as it is over.
fn show(network: &Network, options: &Options) -> impl FnMut(&Request) {
    let paint = Paint::for_stdout();
    move |request| {
        if !options.json && request.number <= report::MOST_ROWS {
            print(&report::row(request, network, paint));
        }
    }
}

/// Judges and shows what was seen. Answers whether all checks passed.
fn judge(evidence: &Evidence, options: &Options, interrupt: &Interrupt) -> Result<bool, Failure> {
    let findings = Findings::of(evidence);
    if interrupt.caught() {
        return Err(Failure::Interrupted);
    }
    if options.json {
        print(&(json::of_run(options, evidence, &findings) + "\n"));
    } else {
        let paint = Paint::for_stdout();
        print(&report::rest(evidence, &findings, paint));
        print(&report::ending(&findings, evidence.network.simulated, paint));
    }
    Ok(findings.passed())
}

/// Writes to stdout. A reader that has gone (`| head`) is no reason to stop: the exit status still counts.
fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_keeps_its_words() {
        let text = |panic: fn()| panic_text(catch_unwind(panic).unwrap_err().as_ref());
        assert_eq!(text(|| panic!("plain")), "plain");
        assert_eq!(text(|| panic!("with {}", 1)), "with 1");
        assert_eq!(text(|| std::panic::panic_any(1)), "without a message");
    }
}
