//! The program `director` against running kernels: each test builds a network of namespaces, starts the program in the
//! director's host as an operator would, and looks at the service from outside, at the log and at the listing.
//!
//! Needs root or unprivileged user namespaces; where there are neither, it says so and ignores every test. It measures
//! nothing and simulates nothing: time is real, so tests that wait run beside the others.
//!
//! | file | what |
//! | --- | --- |
//! | `program.rs` | the running program: started, read, ended |
//! | `cluster.rs` | a network with web servers and the rules for them |
//! | `listing.rs` | the listing at the end, as numbers |
//! | `balancing.rs` | HTTP: sequences, many at once, two interfaces, the smallest director |
//! | `protocols.rs` | IPv6 behind a snooping switch, UDP, ping, DIPs that the program owns |
//! | `transfers.rs` | 64 MiB each way, and an interface that goes down meanwhile |
//! | `neighbours.rs` | real servers that fall silent, move, or claim the VIP |
//! | `control.rs` | edits and listings while clients use it |
//! | `trace.rs` | `lvsadm --trace` beside clients |
//! | `health.rs` | real servers that fail in each way while clients fetch |
//! | `checks.rs` | what checks ask, and from where; what a thousand of them cost |
//! | `operating.rs` | docs/operating.md, run as it stands |
//! | `files.rs` | TOML, keepalived.conf, reload, check, plan |
//! | `tap.rs` | on a TAP device of a bridge |
//! | `xdp.rs` | the same over AF_XDP sockets |
//! | `usage.rs` | the command line, its errors, warnings and exit codes |

mod balancing;
mod checks;
mod cluster;
mod control;
mod files;
mod health;
mod listing;
mod neighbours;
mod operating;
mod program;
mod protocols;
mod tap;
mod trace;
mod transfers;
mod usage;
mod workers;
mod xdp;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use lvs_testkit::lab;

type Outcome = Result<(), Failed>;

/// A name and what to run.
type Test = (&'static str, fn() -> Outcome);

/// Tests that wait most of their time: so many run at once, whatever the number of processors.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    if let Some(refused) = program::become_the_program() {
        return refused;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let entered = lab::enter();
    if let Err(refused) = &entered {
        eprintln!("SKIPPED, all tests of the director: {refused}");
    }
    // The longest first.
    let tests = [
        neighbours::TESTS,
        transfers::TESTS,
        protocols::TESTS,
        balancing::TESTS,
        control::TESTS,
        trace::TESTS,
        files::TESTS,
        health::TESTS,
        checks::TESTS,
        operating::TESTS,
        workers::TESTS,
        usage::TESTS,
    ]
    .concat();
    let without_xdp = entered.as_ref().ok().and_then(|()| xdp::refusal());
    if let Some(reason) = &without_xdp {
        eprintln!("SKIPPED, tests of the director over AF_XDP: {reason}");
    }
    let trial = |(name, test), ignored| Trial::test(name, test).with_ignored_flag(ignored);
    let without_tap = entered.as_ref().ok().and_then(|()| tap::refusal());
    if let Some(reason) = &without_tap {
        eprintln!("SKIPPED, tests of the director on TAP devices: {reason}");
    }
    let on_taps = tap::TESTS.iter().map(|test| trial(*test, entered.is_err() || without_tap.is_some()));
    let over_xdp = xdp::TESTS.iter().map(|test| trial(*test, entered.is_err() || without_xdp.is_some()));
    let trials =
        tests.into_iter().map(|test| trial(test, entered.is_err())).chain(over_xdp).chain(on_taps).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
