//! One neighbour in virtual time.

extern crate std;

use alloc::string::String;
use alloc::vec::Vec;
use std::{format, println};

use super::*;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Runs an entry's timers up to `until`; answers when it asked whom.
fn run(entry: &mut Entry, random: &mut Random, until: Instant) -> Vec<(Instant, Ask)> {
    let mut asked = Vec::new();
    while let Some(deadline) = entry.deadline().filter(|deadline| *deadline <= until) {
        asked.extend(entry.due(deadline, random).map(|ask| (deadline, ask)));
        assert!(asked.len() < 1000, "an entry that never rests");
    }
    asked
}

fn gaps(asked: &[(Instant, Ask)]) -> Vec<f64> {
    asked.windows(2).map(|pair| pair[1].0.saturating_duration_since(pair[0].0).as_secs_f64()).collect()
}

fn reachable(random: &mut Random) -> Entry {
    let mut entry = Entry::new(at(0), true);
    entry.due(at(0), random);
    entry.answered(at(1), Some(A), random);
    assert_eq!(entry.report(at(1)), Some(Report::Learnt(A)));
    entry
}

#[test]
fn a_silent_neighbour_is_asked_less_and_less_but_for_ever() {
    let random = &mut Random::new(1);
    let mut entry = Entry::new(at(0), true);
    let asked = run(&mut entry, random, Instant::from_secs(300));
    assert!(asked.iter().all(|(_, ask)| *ask == Ask::Everybody));
    for (gap, least) in
        gaps(&asked).into_iter().zip([1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0])
    {
        assert!((least..least * 1.125).contains(&gap), "{gap} where {least} is due");
    }
    assert!(asked.len() >= 12);
}

#[test]
fn who_never_answered_is_reported_lost_once_after_three_questions() {
    let random = &mut Random::new(2);
    let mut entry = Entry::new(at(0), true);
    for _ in 0..3 {
        let now = entry.deadline().unwrap();
        entry.due(now, random);
        assert_eq!(entry.report(now), None);
    }
    let now = entry.deadline().unwrap();
    assert!(now >= at(3000) && now < at(3400));
    entry.due(now, random);
    assert_eq!(entry.report(now), Some(Report::Lost));
    entry.due(entry.deadline().unwrap(), random);
    assert_eq!(entry.report(now), None);
}

#[test]
fn an_answer_is_good_for_25_seconds_then_six_questions_decide() {
    for seed in 0..50 {
        let random = &mut Random::new(seed);
        let mut entry = reachable(random);
        let asked = run(&mut entry, random, at(27_600));
        let (first, _) = asked[0];
        assert!(first >= at(22_501) && first < at(27_501), "{first:?}");
        assert_eq!(entry.mac(), Some(A));
        let asked = [asked, run(&mut entry, random, first + Duration::from_secs(12))].concat();
        let kinds: Vec<Ask> = asked.iter().map(|(_, ask)| *ask).collect();
        let one = Ask::One(A);
        let all = Ask::Everybody;
        assert_eq!(kinds[..7], [one, one, one, all, all, all, all]);
        assert_eq!(entry.mac(), None);
        let lost = asked[6].0.saturating_duration_since(first).as_secs_f64();
        assert!((6.0..6.75).contains(&lost), "given up after {lost} s");
        assert_eq!(entry.report(at(60_000)), Some(Report::Lost));
        assert_eq!(entry.report(at(60_000)), None);
    }
}

#[test]
fn an_answer_to_a_probe_keeps_the_address_without_a_word() {
    let random = &mut Random::new(3);
    let mut entry = reachable(random);
    for _ in 0..100 {
        let now = entry.deadline().unwrap();
        assert_eq!(entry.due(now, random), Some(Ask::One(A)));
        entry.answered(now, None, random);
        assert_eq!(entry.report(now), None);
    }
}

#[test]
fn what_is_heard_unasked_is_used_and_verified_at_once() {
    let random = &mut Random::new(4);
    let mut entry = Entry::new(at(0), true);
    entry.heard(at(5), A);
    assert_eq!((entry.mac(), entry.deadline()), (Some(A), Some(at(5))));
    // Before the question is out, nothing is an answer to it.
    entry.answered(at(6), Some(A), random);
    assert_eq!(entry.deadline(), Some(at(5)));
    assert_eq!(entry.due(at(7), random), Some(Ask::One(A)));
    entry.answered(at(8), Some(A), random);
    assert!(entry.deadline().unwrap() > at(20_000));
}

#[test]
fn after_a_move_only_an_answer_to_a_new_question_counts() {
    let random = &mut Random::new(11);
    let mut entry = reachable(random);
    entry.heard(at(5_000), B);
    entry.answered(at(5_001), Some(B), random);
    assert_eq!(entry.deadline(), Some(at(5_000)));
}

#[test]
fn two_moves_within_a_second_have_everybody_asked_next() {
    let random = &mut Random::new(12);
    let mut entry = reachable(random);
    entry.heard(at(5_000), B);
    entry.due(at(5_000), random);
    entry.heard(at(5_100), A);
    assert_eq!(entry.mac(), Some(B));
    assert_eq!(entry.due(entry.deadline().unwrap(), random), Some(Ask::Everybody));
}

#[test]
fn of_two_answers_to_one_question_the_first_counts() {
    let random = &mut Random::new(5);
    let mut entry = reachable(random);
    let deadline = entry.deadline();
    entry.answered(at(2), Some(B), random);
    assert_eq!((entry.mac(), entry.deadline()), (Some(A), deadline));
    let refresh = deadline.unwrap();
    entry.due(refresh, random);
    entry.answered(refresh, Some(A), random);
    entry.answered(refresh + Duration::from_millis(5), Some(B), random);
    assert_eq!(entry.mac(), Some(A));
}

#[test]
fn a_move_is_believed_at_once_but_not_twice_a_second() {
    let random = &mut Random::new(6);
    let mut entry = reachable(random);
    entry.heard(at(5_000), B);
    assert_eq!(entry.mac(), Some(B));
    assert_eq!(entry.report(at(5_000)), Some(Report::Changed { old: A, new: B }));
    assert_eq!(entry.due(at(5_000), random), Some(Ask::One(B)));
    entry.answered(at(5_001), Some(B), random);
    // The old station speaks again: everybody is asked when the second is over.
    entry.heard(at(5_400), A);
    assert_eq!((entry.mac(), entry.deadline()), (Some(B), Some(at(6_000))));
    assert_eq!(entry.due(at(6_000), random), Some(Ask::Everybody));
}

#[test]
fn flapping_changes_the_address_once_a_second_and_is_reported_every_ten() {
    let random = &mut Random::new(7);
    let mut entry = reachable(random);
    let (mut changes, mut reports, mut questions) = (0, 0, 0);
    for tick in 20..600u64 {
        let now = at(tick * 100);
        let before = entry.mac();
        entry.heard(now, if tick % 2 == 0 { B } else { A });
        changes += u32::from(entry.mac() != before);
        reports += u32::from(entry.report(now).is_some());
        while entry.deadline().is_some_and(|deadline| deadline <= now) {
            questions += 1;
            entry.due(now, random);
        }
    }
    println!("58 s of flapping: {changes} changes, {reports} reports, {questions} questions");
    assert!((20..=58).contains(&changes), "{changes}");
    assert!((2..=6).contains(&reports), "{reports}");
    assert!(questions <= 120, "{questions}");
}

#[test]
fn a_waiting_frame_brings_the_question_forward_to_a_second_after_the_last() {
    let random = &mut Random::new(8);
    let mut entry = Entry::new(at(0), true);
    run(&mut entry, random, at(60_000));
    let asked = entry.asked.unwrap();
    let soonest = asked + Duration::from_secs(1);
    entry.wanted(asked + Duration::from_millis(200));
    assert_eq!(entry.deadline(), Some(soonest));
    entry.due(soonest, random);
    let late = soonest + Duration::from_secs(5);
    entry.wanted(late);
    assert_eq!(entry.deadline(), Some(late));
    let mut known = reachable(random);
    let deadline = known.deadline();
    known.wanted(at(10));
    assert_eq!(known.deadline(), deadline);
}

#[test]
fn an_address_without_override_has_the_known_one_confirmed() {
    let random = &mut Random::new(9);
    let mut entry = reachable(random);
    entry.suspect(at(300));
    assert_eq!(entry.deadline(), Some(at(1_001)));
    assert_eq!(entry.due(at(1_001), random), Some(Ask::One(A)));
}

/// What an entry is after each event in each state, as a table.
#[test]
fn the_table_of_states() {
    let random = &mut Random::new(10);
    let mut lost = Entry::new(at(0), true);
    run(&mut lost, random, at(10_000));
    let mut probing = reachable(random);
    probing.due(probing.deadline().unwrap(), random);
    let mut exhausted = probing.clone();
    while exhausted.tries < PROBE_TRIES {
        exhausted.due(exhausted.deadline().unwrap(), random);
    }
    let mut suspended = reachable(random);
    suspended.link_down();
    let mut fixed = Entry::new(at(0), true);
    fixed.fix(A);
    let states = [
        ("new", Entry::new(at(0), true)),
        ("asking", lost),
        ("reachable", reachable(random)),
        ("probing", probing),
        ("exhausted", exhausted),
        ("suspended", suspended),
        ("static", fixed),
    ];
    let now = at(40_000);
    type Act<'a> = &'a dyn Fn(&mut Entry, &mut Random);
    let acts: [(&str, Act<'_>); 9] = [
        ("due", &|entry, random| _ = entry.due(now, random)),
        ("answer A", &|entry, random| entry.answered(now, Some(A), random)),
        ("answer B", &|entry, random| entry.answered(now, Some(B), random)),
        ("heard A", &|entry, _| entry.heard(now, A)),
        ("heard B", &|entry, _| entry.heard(now, B)),
        ("down", &|entry, _| entry.link_down()),
        ("up", &|entry, _| entry.link_up(now)),
        ("fix B", &|entry, _| entry.fix(B)),
        ("release", &|entry, _| entry.release(now, true)),
    ];
    let mut table = format!("{:10}", "");
    for (name, _) in &acts {
        table += &format!(" {name:12}");
    }
    for (name, entry) in &states {
        table += &format!("\n{name:10}");
        for (_, act) in &acts {
            let mut entry = entry.clone();
            act(&mut entry, random);
            let mac = match entry.mac() {
                None => '-',
                Some(A) => 'A',
                Some(_) => 'B',
            };
            table += &format!(" {:12}", format!("{:?} {mac}", entry.state));
        }
    }
    println!("{table}");
    let lines: Vec<String> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "due answer A answer B heard A heard B down up fix B release",
        "new Asking - Probing A Probing B Probing A Probing B Suspended - Asking - Static B Asking -",
        "asking Asking - Reachable A Reachable B Probing A Probing B Suspended - Asking - Static B Asking -",
        "reachable Probing A Reachable A Probing B Reachable A Probing B Suspended A Probing A Static B Reachable A",
        "probing Probing A Reachable A Reachable B Probing A Probing B Suspended A Probing A Static B Probing A",
        "exhausted Asking - Reachable A Reachable B Probing A Probing B Suspended A Probing A Static B Probing A",
        "suspended Suspended A Suspended A Suspended A Suspended A Suspended A Suspended A Probing A Static B Suspended A",
        "static Static A Static A Static A Static A Static A Static A Static A Static B Probing A",
    ];
    assert_eq!(lines, expected);
}
