//! The program `realserver` on running kernels: each test builds a network of namespaces, runs the program in a real server
//! as an operator would, and looks at the wire and at the kernel.
//!
//! Needs root or unprivileged user namespaces; where there are neither, it says so and ignores every test. State files are
//! in directories of the tests' own.
//!
//! | file | what |
//! | --- | --- |
//! | `machine.rs` | a real server in its network, the program run in it, and everything that it may change |
//! | `wire.rs` | what neighbours hear: ARP and NDP, before and after |
//! | `undo.rs` | start and stop in all orders, changes of others, failures |
//! | `faults.rs` | misconfigurations that `check` finds, one by one |
//! | `usage.rs` | status, print, rights, exit codes |

// The program's own client of the kernel, for what the lab has no words for.
#[path = "../../src/bin/realserver/netlink.rs"]
mod netlink;

mod faults;
mod machine;
mod undo;
mod usage;
mod wire;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use lvs_testkit::lab;

type Outcome = Result<(), Failed>;

/// A name and what to run.
type Test = (&'static str, fn() -> Outcome);

fn main() -> ExitCode {
    if let Some(refused) = machine::become_the_program() {
        return refused;
    }
    let arguments = Arguments::from_args();
    let entered = lab::enter();
    if let Err(refused) = &entered {
        eprintln!("SKIPPED, all tests of realserver: {refused}");
    }
    let tests = [wire::TESTS, undo::TESTS, faults::TESTS, usage::TESTS].concat();
    let trial = |(name, test)| Trial::test(name, test).with_ignored_flag(entered.is_err());
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}
