//! The crate against the running kernel, in network namespaces of its own. Needs root or unprivileged user namespaces, and a
//! /dev/net/tun that may be opened; where they are missing, says so and ignores every test.
//!
//! | file | what |
//! | --- | --- |
//! | `bench.rs` | two devices on a bridge |
//! | `forwarding.rs` | frames, verdicts, tags, merged frames, links, deletion |
//! | `opening.rs` | names, rights, kept devices, several queues, the kernel's end |
//! | `adopting.rs` | descriptors that somebody else has opened |
//! | `director.rs` | directors on a bridge, between a client and real servers |

mod adopting;
mod bench;
mod director;
mod forwarding;
mod opening;

use libtest_mimic::{Arguments, Failed, Trial};
use lvs_io_tap::{OpenError, TapConfig, TapIo};
use lvs_testkit::lab::{self, Host};

type Outcome = Result<(), Failed>;

/// A name and what to run.
type Test = (&'static str, fn() -> Outcome);

fn main() {
    let mut arguments = Arguments::from_args();
    // One after the other: they use the same two processors.
    arguments.test_threads.get_or_insert(1);
    let missing = lab::enter().err().map(|refused| refused.to_string()).or_else(without_tap);
    if let Some(reason) = &missing {
        eprintln!("SKIPPED, all tests of TAP devices: {reason}");
    }
    let tests = [forwarding::TESTS, opening::TESTS, adopting::TESTS, director::TESTS].concat();
    let trial = |(name, test)| Trial::test(name, test).with_ignored_flag(missing.is_some());
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit();
}

/// Why there are no TAP devices here, if there are none.
fn without_tap() -> Option<String> {
    let host = match Host::new("probe") {
        Ok(host) => host,
        Err(error) => return Some(error.to_string()),
    };
    match host.run(|| TapIo::open(TapConfig::new(["probe0"]))) {
        Err(error @ (OpenError::NoTun { .. } | OpenError::TunDenied)) => Some(error.to_string()),
        _ => None,
    }
}
