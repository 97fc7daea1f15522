//! The program `doctor` against running kernels: each test builds a network of namespaces, breaks one thing in it as people
//! do, runs the program in the director's host, and looks at what it says; then it does what the program says, and asks
//! again.
//!
//! Needs root or unprivileged user namespaces; where there are neither, it says so and ignores every test but the one that
//! reads the documentation.
//!
//! | file | what |
//! | --- | --- |
//! | `clinic.rs` | a network with its rules; running the program and reading its report; doing what it says |
//! | `healthy.rs` | networks in which nothing is wrong |
//! | `arp.rs` | the ARP problem in its forms, each with its cure |
//! | `servers.rs` | real servers that lack something |
//! | `inside.rs` | the director's own host |
//! | `usage.rs` | the command line, its errors and exit codes, the documentation |

mod arp;
mod clinic;
mod healthy;
mod inside;
mod servers;
mod usage;

#[expect(dead_code, reason = "the tests of the director use more of it")]
#[path = "../director/cluster.rs"]
mod cluster;
#[expect(dead_code, reason = "the tests of the director use more of it")]
#[path = "../director/program.rs"]
mod program;

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
        eprintln!("SKIPPED, all tests of the doctor but one: {refused}");
    }
    let tests = [arp::TESTS, healthy::TESTS, servers::TESTS, inside::TESTS, usage::TESTS].concat();
    let mut trials: Vec<Trial> = tests
        .into_iter()
        .map(|(name, test)| Trial::test(name, test).with_ignored_flag(entered.is_err()))
        .collect();
    let can_filter = servers::can_filter();
    if !can_filter {
        eprintln!(
            "SKIPPED, tests of the doctor with packet filters: the program `nft` is not there (package nftables)"
        );
    }
    trials.extend(
        servers::FILTERING
            .iter()
            .map(|(name, test)| Trial::test(*name, *test).with_ignored_flag(entered.is_err() || !can_filter)),
    );
    trials.push(Trial::test("the_documentation_names_every_fault", usage::documented));
    libtest_mimic::run(&arguments, trials).exit_code()
}
