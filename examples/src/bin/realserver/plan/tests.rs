//! Plans, carried out on a model of a host; among them any sequence of starts and stops with failures in between.

use std::collections::BTreeSet;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::execute::{self, System};
use crate::facts::samples::{held, host, ip};
use crate::facts::{Held, Ipv4Settings};

/// A host that is only values. It checks that at no moment a VIP is held that would be answered for.
#[derive(Clone)]
struct Model {
    facts: Facts,
    state: State,
    /// The interfaces that `start` was told last: they must be quiet before it adds an IPv4 VIP.
    interfaces: Vec<String>,
    stopping: bool,
    /// Steps that succeed before one fails; the failures that follow one another then.
    fail_after: Option<(usize, usize)>,
}

impl Model {
    fn new(facts: Facts) -> Self {
        Self { facts, state: State::default(), interfaces: Vec::new(), stopping: false, fail_after: None }
    }

    fn start(&mut self, vips: &[IpAddr], interfaces: &[String]) -> execute::Outcome {
        (self.interfaces, self.stopping) = (interfaces.to_vec(), false);
        let former = self.state.clone();
        let plan = start(vips, interfaces, &self.facts, &former).expect("nothing to refuse");
        execute::start(self, &plan, &former)
    }

    fn stop(&mut self, vips: &[IpAddr]) -> execute::Outcome {
        self.stopping = true;
        let former = self.state.clone();
        let plan = stop(vips, &self.facts, &former);
        execute::stop(self, &plan, &former)
    }

    fn set(&mut self, interface: &str, key: Key, value: i32) {
        let settings = self.facts.ipv4.get_mut(interface).expect("an interface");
        match key {
            Key::ArpIgnore => settings.arp_ignore = value,
            Key::ArpAnnounce => settings.arp_announce = value,
        }
    }

    fn addresses(&self) -> BTreeSet<String> {
        self.facts.addresses.iter().map(|it| format!("{} {}", it.interface, it.subnet)).collect()
    }

    fn is_quiet(&self) -> bool {
        let safe = |name: &String, key: &Key| key.is_safe(self.facts.effective(name, |it| key.of(it)));
        self.interfaces.iter().all(|name| Key::ALL.iter().all(|key| safe(name, key)))
    }

    /// Whether there is an IPv4 VIP on lo that is to be removed.
    fn exposes(&self) -> bool {
        let there = |it: &Started| it.added && it.vip.is_ipv4() && self.facts.has_on_lo(it.vip);
        self.stopping && self.state.vips.iter().any(there)
    }
}

impl System for Model {
    fn apply(&mut self, step: &Step) -> io::Result<()> {
        if let Some((before, failures)) = &mut self.fail_after {
            if *before > 0 {
                *before -= 1;
            } else if *failures > 0 {
                *failures -= 1;
                return Err(io::Error::other("refused by the model"));
            }
        }
        match step {
            Step::Set { interface, key, from, to } => {
                assert_eq!(self.facts.value(interface, *key), Some(*from), "{step}");
                assert!(!self.exposes(), "{step} while a VIP is on lo");
                self.set(interface, *key, *to);
            }
            Step::Add(vip) => {
                assert!(!self.facts.has_on_lo(*vip), "{step}");
                assert!(self.stopping || vip.is_ipv6() || self.is_quiet(), "{step} before it is quiet");
                self.facts.addresses.push(Held { subnet: alone(*vip), ..held("lo", "::/0") });
            }
            Step::Remove(vip) => {
                assert!(self.facts.has_on_lo(*vip), "{step}");
                self.facts.addresses.retain(|it| it.interface != "lo" || it.subnet != alone(*vip));
            }
        }
        Ok(())
    }

    fn save(&mut self, state: &State) -> io::Result<()> {
        self.state = state.clone();
        Ok(())
    }
}

fn eth0() -> Vec<String> {
    vec!["eth0".to_owned()]
}

fn words(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn settings_come_before_the_address_and_go_after_it() {
    let mut model = Model::new(host());
    let started = model.start(&[ip("192.168.0.250")], &eth0());
    assert_eq!(
        words(&started.done),
        [
            "net.ipv4.conf.all.arp_ignore: 0 -> 1",
            "net.ipv4.conf.all.arp_announce: 0 -> 2",
            "net.ipv4.conf.eth0.arp_ignore: 0 -> 1",
            "net.ipv4.conf.eth0.arp_announce: 0 -> 2",
            "lo: 192.168.0.250/32 added",
        ]
    );
    let stopped = model.stop(&[]);
    assert_eq!(words(&stopped.done)[0], "lo: 192.168.0.250/32 removed");
    assert_eq!((model.facts, model.state), (host(), State::default()));
}

#[test]
fn ipv6_needs_no_settings() {
    let plan = start(&[ip("fd00:192::250")], &eth0(), &host(), &State::default()).unwrap();
    assert_eq!(words(&plan.steps), ["lo: fd00:192::250/128 added"]);
}

#[test]
fn a_second_start_does_nothing_and_keeps_what_was_before() {
    let mut model = Model::new(host());
    model.start(&[ip("192.168.0.250")], &eth0());
    let state = model.state.clone();
    assert_eq!(model.start(&[ip("192.168.0.250")], &eth0()).done, []);
    assert_eq!(model.state, state);
    // Put back to 0 by somebody, it is set again; 0 is what was before all the same.
    model.set("all", Key::ArpIgnore, 3);
    assert_eq!(
        words(&model.start(&[ip("192.168.0.250")], &eth0()).done),
        ["net.ipv4.conf.all.arp_ignore: 3 -> 1"]
    );
    assert_eq!(model.state, state);
    model.stop(&[]);
    assert_eq!(model.facts, host());
}

#[test]
fn safe_values_are_not_touched_and_harmful_ones_are() {
    let mut facts = host();
    let settings =
        |arp_ignore, arp_announce| Ipv4Settings { arp_ignore, arp_announce, ..Ipv4Settings::default() };
    facts.ipv4.insert("all".into(), settings(8, 2));
    facts.ipv4.insert("eth0".into(), settings(3, 7));
    let plan = start(&[ip("192.168.0.250")], &eth0(), &facts, &State::default()).unwrap();
    assert_eq!(
        words(&plan.steps)[..2],
        ["net.ipv4.conf.eth0.arp_ignore: 3 -> 1", "net.ipv4.conf.eth0.arp_announce: 7 -> 2"]
    );
    assert_eq!(
        plan.notes,
        ["net.ipv4.conf.all.arp_ignore is 8 already", "net.ipv4.conf.all.arp_announce is 2 already"]
    );
}

#[test]
fn what_was_there_before_stays() {
    let mut facts = host();
    facts.addresses.push(held("lo", "192.168.0.250/32"));
    let mut model = Model::new(facts.clone());
    model.start(&[ip("192.168.0.250"), ip("192.168.0.251")], &eth0());
    let plan = stop(&[], &model.facts, &model.state);
    assert_eq!(plan.notes, ["192.168.0.250 was there before start: it stays"]);
    model.stop(&[]);
    assert_eq!(model.facts, facts);
}

#[test]
fn settings_go_back_with_the_last_vip_only() {
    let mut model = Model::new(host());
    model.start(&[ip("192.168.0.250")], &eth0());
    model.start(&[ip("192.168.0.251"), ip("fd00::1")], &eth0());
    assert_eq!(words(&model.stop(&[ip("192.168.0.250")]).done), ["lo: 192.168.0.250/32 removed"]);
    assert_eq!(model.stop(&[ip("192.168.0.251")]).done.len(), 5);
    assert_eq!(words(&model.stop(&[ip("fd00::1")]).done), ["lo: fd00::1/128 removed"]);
    assert_eq!((model.facts, model.state), (host(), State::default()));
}

#[test]
fn changes_of_others_are_left_alone_and_said() {
    let mut model = Model::new(host());
    model.start(&[ip("192.168.0.250"), ip("192.168.0.251")], &eth0());
    model.set("all", Key::ArpIgnore, 2);
    model.set("all", Key::ArpAnnounce, 0);
    model.facts.addresses.retain(|it| it.subnet.address() != ip("192.168.0.251"));
    model.facts.ipv4.remove("eth0");
    let plan = stop(
        &[ip("192.168.0.250"), ip("192.168.0.251"), ip("10.0.0.7"), ip("192.168.0.188")],
        &model.facts,
        &model.state,
    );
    assert_eq!(
        plan.notes,
        [
            "10.0.0.7 was not started and is not there",
            "192.168.0.188 was not started here: it stays on eth0",
            "192.168.0.251/32 is not on lo any more",
            "net.ipv4.conf.all.arp_ignore was changed to 2 since start, which set 1 (before: 0): left alone",
            "net.ipv4.conf.all.arp_announce is 0 already, as before start",
            "net.ipv4.conf.eth0.arp_ignore is gone with its interface",
            "net.ipv4.conf.eth0.arp_announce is gone with its interface",
        ]
    );
    assert_eq!(words(&plan.steps), ["lo: 192.168.0.250/32 removed"]);
    assert_eq!(plan.state, State::default());
}

#[test]
fn what_cannot_become_a_real_server_is_refused_with_the_cure() {
    let refusal =
        |vip: &str, facts: &Facts| start(&[ip(vip)], &eth0(), facts, &State::default()).unwrap_err();
    let own = refusal("192.168.0.188", &host());
    assert!(own.contains("on eth0") && own.contains("ip address del 192.168.0.188/24 dev eth0"), "{own}");
    let mut off = host();
    off.ipv6.get_mut("lo").unwrap().disable_ipv6 = 1;
    assert!(refusal("fd00::1", &off).contains("sysctl -w net.ipv6.conf.lo.disable_ipv6=0"));
    off.ipv6.clear();
    assert!(refusal("fd00::1", &off).contains("no IPv6"));
}

#[test]
fn a_failed_start_takes_everything_back() {
    for before in 0..6 {
        let mut model = Model::new(host());
        model.fail_after = Some((before, 1));
        let outcome = model.start(&[ip("192.168.0.250"), ip("fd00::1")], &eth0());
        assert_eq!((outcome.failures.len(), outcome.done.len(), outcome.undone.len()), (1, 0, before));
        assert_eq!((model.facts, model.state), (host(), State::default()));
    }
}

#[test]
fn what_cannot_be_taken_back_is_said_and_stop_can_do_it_later() {
    let mut model = Model::new(host());
    // The second VIP fails, and then the removal of the first.
    model.fail_after = Some((5, 2));
    let outcome = model.start(&[ip("192.168.0.250"), ip("192.168.0.251")], &eth0());
    assert_eq!(
        outcome.failures,
        [
            "ip address add 192.168.0.251/32 dev lo: refused by the model",
            "not taken back: ip address del 192.168.0.250/32 dev lo: refused by the model",
        ]
    );
    assert_eq!(words(&outcome.done).last().unwrap(), "lo: 192.168.0.250/32 added");
    assert_eq!((outcome.done.len(), outcome.undone.len()), (5, 0), "the settings stay with it");
    assert_eq!(model.stop(&[]).failures, [""; 0]);
    assert_eq!((model.facts, model.state), (host(), State::default()));
}

#[test]
fn a_stop_that_fails_stays_safe_and_can_be_repeated() {
    let mut model = Model::new(host());
    model.start(&[ip("192.168.0.250")], &eth0());
    model.fail_after = Some((0, 1));
    let outcome = model.stop(&[]);
    assert_eq!(outcome.done, []);
    assert_eq!(outcome.failures.len(), 5, "{:?}", outcome.failures);
    assert_eq!((model.state.vips.len(), model.state.settings.len()), (1, 4));
    model.fail_after = Some((2, 1));
    assert_eq!((model.stop(&[]).done.len(), model.state.settings.len()), (4, 1));
    assert_eq!(model.stop(&[]).done.len(), 1);
    assert_eq!((model.facts, model.state), (host(), State::default()));
}

/// A call of the program.
#[derive(Debug, Clone)]
enum Call {
    Start(Vec<IpAddr>, Vec<String>, Option<(usize, usize)>),
    Stop(Vec<IpAddr>, Option<(usize, usize)>),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let vips = ["192.168.0.250", "192.168.0.251", "10.0.0.9", "fd00::1", "fd00::2"].map(ip).to_vec();
    let some = proptest::sample::subsequence(vips, 0..=5);
    let cards = proptest::sample::subsequence(vec!["eth0".to_owned(), "eth1".to_owned()], 1..=2);
    // A call fails once at most: what cannot be taken back either has a test of its own.
    let failure = proptest::option::weighted(0.3, (0..8_usize, Just(1_usize)));
    let call = prop_oneof![
        (some.clone(), cards, failure.clone())
            .prop_map(|(vips, cards, failure)| Call::Start(vips, cards, failure)),
        (some, failure).prop_map(|(vips, failure)| Call::Stop(vips, failure)),
    ];
    proptest::collection::vec(call, 0..12)
}

fn hosts() -> impl Strategy<Value = Facts> {
    let value = || prop_oneof![3 => Just(0), 1 => 0..=9];
    let settings = proptest::collection::vec((value(), value()), 3);
    let there = proptest::sample::subsequence(vec!["192.168.0.251/32", "10.0.0.9/24", "fd00::2/128"], 0..=3);
    (settings, there).prop_map(|(settings, there)| {
        let mut facts = host();
        for (place, (arp_ignore, arp_announce)) in ["all", "eth0", "eth1"].into_iter().zip(settings) {
            facts
                .ipv4
                .insert(place.into(), Ipv4Settings { arp_ignore, arp_announce, ..Ipv4Settings::default() });
        }
        facts.addresses.extend(there.into_iter().map(|subnet| held("lo", subnet)));
        facts
    })
}

proptest! {
    #[test]
    fn any_sequence_of_calls_ends_in_the_former_state(facts in hosts(), calls in calls()) {
        let mut model = Model::new(facts.clone());
        for call in calls {
            match call {
                Call::Start(vips, cards, failure) => {
                    let before = (model.addresses(), model.facts.ipv4.clone(), model.state.clone());
                    model.fail_after = failure;
                    if !model.start(&vips, &cards).failures.is_empty() {
                        prop_assert_eq!((model.addresses(), model.facts.ipv4.clone(), model.state.clone()), before);
                    }
                }
                Call::Stop(vips, failure) => {
                    model.fail_after = failure;
                    model.stop(&vips);
                }
            }
        }
        model.fail_after = None;
        prop_assert_eq!(model.stop(&[]).failures, Vec::<String>::new());
        prop_assert_eq!(model.addresses(), Model::new(facts.clone()).addresses());
        prop_assert_eq!((model.facts.ipv4, model.state), (facts.ipv4, State::default()));
    }
}
