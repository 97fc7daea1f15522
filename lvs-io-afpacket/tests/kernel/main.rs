//! The crate against the running kernel, in a network namespace of its own. Needs root or unprivileged user
//! namespaces; where there are neither, says so and ignores every test.

mod bench;
mod forwarding;
mod links;
mod namespace;
mod offloads;
mod opening;
mod waiting;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut arguments = Arguments::from_args();
    // One after the other, in this thread: rights and namespaces belong to threads.
    arguments.test_threads = Some(1);
    let entered = namespace::enter();
    if let Err(reason) = &entered {
        eprintln!(
            "SKIPPED: no network namespace can be made here ({reason}); no test of this program was run"
        );
    }
    let trials = [forwarding::TESTS, links::TESTS, offloads::TESTS, opening::TESTS, waiting::TESTS].concat();
    let trials = trials
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                test();
                Ok(())
            })
            .with_ignored_flag(entered.is_err())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// A name and what to run; failures panic.
type Test = (&'static str, fn());
