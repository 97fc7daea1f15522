//! Which tests there are, and which of them can run here.

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

use crate::program::{Outcome, PROGRAM};
use crate::{arp_problem, endings, output, rights};

type Test = (&'static str, fn() -> Outcome);

pub(crate) fn run() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test is a network of up to twenty hosts: one after the other, on machines with few cores.
    arguments.test_threads.get_or_insert(1);
    let refusal = rights::refusal(&mut Command::new(PROGRAM));
    if let Some(refusal) = &refusal {
        eprintln!("SKIPPED, all tests of quickstart that need namespaces: {refusal}");
    }
    let mut trials: Vec<Trial> = Vec::new();
    for servers in [2, 4, 16] {
        for scheduler in ["rr", "wrr"] {
            let test = move || output::balances(servers, scheduler);
            trials.push(Trial::test(format!("{servers}_servers_by_{scheduler}"), test));
        }
    }
    let tests: [Test; 11] = [
        ("the_report_is_plain_text_in_100_columns", output::report),
        ("captures_are_written_for_each_hop", output::captures),
        ("sigint_in_the_middle_leaves_nothing", endings::sigint_in_the_middle),
        ("sigkill_leaves_nothing", endings::sigkill),
        ("keep_stays_until_sigterm_and_says_how_to_enter", endings::keep),
        ("a_lab_stays_until_sigterm_and_says_how_to_enter", endings::lab),
        ("a_reader_that_goes_away_does_not_matter", endings::broken_pipe),
        ("a_second_run_beside_the_first_is_no_trouble", endings::two_at_once),
        ("arp_problem_each_cure_ends_it", arp_problem::over_kernels),
        ("arp_problem_the_story_is_told_in_order", arp_problem::report),
        ("arp_problem_sigint_ends_it", arp_problem::interrupted),
    ];
    trials.extend(tests.map(|(name, test)| Trial::test(name, test)));
    let mut trials: Vec<Trial> =
        trials.into_iter().map(|trial| trial.with_ignored_flag(refusal.is_some())).collect();
    let without_xdp = refusal.clone().or_else(rights::xdp_refusal);
    if let Some(reason) = &without_xdp {
        eprintln!("SKIPPED, over_xdp_*: {reason}");
    }
    let over_xdp: [Test; 3] = [
        ("over_xdp_it_balances", output::balances_over_xdp),
        ("over_xdp_captures_are_written", output::captures_over_xdp),
        ("over_xdp_the_arp_problem_is_cured", arp_problem::over_xdp),
    ];
    trials.extend(
        over_xdp.map(|(name, test)| Trial::test(name, test).with_ignored_flag(without_xdp.is_some())),
    );
    let user = rights::user_refusal();
    if let Some(refusal) = &user {
        eprintln!("SKIPPED, an_ordinary_user_can_run_it: {refusal}");
    }
    let ordinary = Trial::test("an_ordinary_user_can_run_it", rights::ordinary_user);
    trials.push(ordinary.with_ignored_flag(user.is_some()));
    let ordinary = Trial::test("arp_problem_an_ordinary_user_can_run_it", rights::ordinary_user_arp_problem);
    trials.push(ordinary.with_ignored_flag(user.is_some()));
    trials.push(Trial::test("a_wrong_option_is_an_object_too", output::wrong_option));
    trials.extend(simulated());
    let possible = rights::can_refuse();
    if !possible {
        eprintln!("SKIPPED, where_namespaces_are_refused*: unshare or setpriv cannot take the rights away");
    }
    let where_refused: [Test; 3] = [
        ("where_namespaces_are_refused", rights::where_refused),
        ("where_namespaces_are_refused_it_simulates", rights::simulates_where_refused),
        ("where_namespaces_are_refused_it_simulates_the_arp_problem", rights::arp_problem_where_refused),
    ];
    trials.extend(where_refused.map(|(name, test)| Trial::test(name, test).with_ignored_flag(!possible)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What runs everywhere: the network inside the process.
fn simulated() -> Vec<Trial> {
    let mut trials = Vec::new();
    for servers in [2, 4, 16] {
        for scheduler in ["rr", "wrr"] {
            let test = move || output::balances_simulated(servers, scheduler);
            trials.push(Trial::test(format!("simulated_{servers}_servers_by_{scheduler}"), test));
        }
    }
    let tests: [Test; 8] = [
        ("simulated_the_report_says_so_and_is_the_same_each_time", output::report_simulated),
        ("simulated_captures_are_written_for_each_hop", output::captures_simulated),
        ("simulated_captures_that_cannot_be_written_are_an_error", output::unwritable_captures_simulated),
        ("simulated_there_is_nothing_to_keep", output::keep_simulated),
        ("simulated_arp_problem_each_cure_ends_it", arp_problem::simulated),
        ("simulated_arp_problem_the_story_is_told_in_order", arp_problem::report_simulated),
        ("simulated_arp_problem_captures_are_written", arp_problem::captures_simulated),
        ("arp_problem_options_that_make_no_sense_are_refused", arp_problem::senseless_options),
    ];
    trials.extend(tests.map(|(name, test)| Trial::test(name, test)));
    trials
}
