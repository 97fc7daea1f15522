//! The crate against the running kernel, in network namespaces of its own. Needs root outside of user
//! namespaces; where AF_XDP is not allowed or not there, says so and ignores every test.

mod bench;
mod forwarding;
mod host;
mod links;
mod opening;
mod queues;
mod waiting;

use libtest_mimic::{Arguments, Trial};
use lvs_io_xdp::Attachment;
use lvs_testkit::lab;

fn main() {
    let mut arguments = Arguments::from_args();
    // One after the other: rights and limits are taken away for some.
    arguments.test_threads = Some(1);
    let refusal = lab::enter().err().map(|refused| refused.to_string()).or_else(bench::refusal);
    if let Some(reason) = &refusal {
        eprintln!("SKIPPED, all tests of AF_XDP sockets with the kernel: {reason}");
    }
    let mut trials = Vec::new();
    for attachment in [Attachment::Native, Attachment::Generic] {
        for (name, test) in forwarding::TESTS {
            let place = if attachment == Attachment::Native { "native" } else { "generic" };
            trials.push(Trial::test(format!("{place}::{name}"), move || {
                test(attachment);
                Ok(())
            }));
        }
    }
    for (name, test) in [host::TESTS, links::TESTS, opening::TESTS, queues::TESTS, waiting::TESTS].concat() {
        trials.push(Trial::test(name, move || {
            test();
            Ok(())
        }));
    }
    let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(refusal.is_some())).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// A name and what to run; failures panic.
type Test = (&'static str, fn());
