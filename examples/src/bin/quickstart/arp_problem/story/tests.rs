//! The story over a network that is made up: one where all goes as it should, and some where something does not.

use std::cell::Cell;
use std::time::Duration;

use clap::Parser;
use lvs_core::MacAddr;
use lvs_doctor::{Fault, Finding as Diagnosis};
use lvs_testkit::frames::{self, Summary};

use super::super::words;
use super::*;
use crate::evidence::{Answer, Network};
use crate::json;
use crate::layout::Paint;
use crate::options::Options;
use crate::sample;

/// A router that believes the first answer, real servers that claim the VIP unless something keeps them from it, a director that
/// takes it back every other time.
struct Scripted {
    network: Network,
    believed: Option<MacAddr>,
    in_force: Vec<Recipe>,
    /// Recipes that do something here.
    effective: Vec<Recipe>,
    /// Whether real servers claim the VIP if nothing is done about it.
    noisy: bool,
    /// Whether the client gets its pages.
    served: bool,
    servers_know: bool,
    defended: bool,
    made: Vec<u64>,
    said: Vec<Said>,
    fetched: usize,
}

impl Scripted {
    fn new(servers: usize) -> Self {
        let network = sample::network(&vec![1; servers]);
        Self {
            believed: Some(network.director.mac),
            network,
            in_force: Vec::new(),
            effective: Recipe::CURES.to_vec(),
            noisy: true,
            served: true,
            servers_know: true,
            defended: false,
            made: vec![0; servers],
            said: Vec::new(),
            fetched: 0,
        }
    }

    fn works(&self, recipe: Recipe) -> bool {
        self.in_force.contains(&recipe) && self.effective.contains(&recipe)
    }

    fn claims(&self) -> bool {
        self.noisy && ![Recipe::Sysctl, Recipe::Arptables, Recipe::AboutLo].iter().any(|r| self.works(*r))
    }

    fn says(&mut self, message: frames::Arp) {
        let summary = Summary::of(&message.build()).unwrap();
        self.said.extend(Said::about_vip(&summary, &self.network));
    }

    /// Somebody says that he has the VIP: the router learns it, if it was not told by hand.
    fn learn(&mut self, mac: MacAddr) {
        if !self.works(Recipe::StaticEntry) {
            self.believed = Some(mac);
        }
    }
}

impl World for Scripted {
    fn network(&self) -> &Network {
        &self.network
    }

    fn fetch(&mut self) -> Result<Answer, String> {
        let (vip, first) = (self.network.virtual_service.ip(), self.network.servers[0].card.mac);
        let (director, router) = (self.network.director.mac, self.network.router_inside.clone());
        let (std::net::IpAddr::V4(vip), std::net::IpAddr::V4(gateway)) = (vip, router.address.address())
        else {
            return Err("IPv4 only".to_owned());
        };
        if self.believed.is_none() {
            let first = if self.claims() { first } else { director };
            self.says(frames::arp_request(router.mac, gateway, vip));
            self.says(frames::arp_reply(first, vip, router.mac, gateway));
            self.learn(first);
        }
        let at = match self.believed.and_then(|mac| self.network.server_with(mac)) {
            Some(server) => server,
            None => {
                self.fetched += 1;
                let next = self.fetched % self.made.len();
                self.made[next] += 1;
                next
            }
        };
        if !std::mem::replace(&mut self.servers_know, true) && self.claims() {
            let mac = self.network.servers[at].card.mac;
            self.says(frames::arp_request(mac, vip, gateway));
            self.defended = !self.defended;
            if self.defended {
                self.says(frames::arp_announcement(director, vip));
            }
            self.learn(if self.defended { director } else { mac });
        }
        let client = "110.0.0.1:40000".parse().unwrap();
        if self.served { Ok(Answer { client, server: at }) } else { Err("timed out".to_owned()) }
    }

    fn pass(&mut self, _: Duration) {}

    fn router_believes(&mut self) -> Result<Option<MacAddr>, Failure> {
        Ok(self.believed)
    }

    fn router_forgets(&mut self) -> Result<(), Failure> {
        if !self.works(Recipe::StaticEntry) {
            self.believed = None;
        }
        Ok(())
    }

    fn servers_forget(&mut self) -> Result<(), Failure> {
        self.servers_know = false;
        Ok(())
    }

    fn set(&mut self, recipe: Recipe, on: bool) -> Result<(), Failure> {
        self.in_force.retain(|one| *one != recipe);
        if on {
            self.in_force.push(recipe);
        }
        if self.effective.contains(&recipe) && recipe == Recipe::StaticEntry {
            self.believed = on.then_some(self.network.director.mac);
        }
        Ok(())
    }

    fn made(&mut self) -> Result<Vec<u64>, Failure> {
        Ok(self.made.clone())
    }

    fn overheard(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    fn examine(&mut self) -> Result<Vec<Diagnosis>, Failure> {
        if !self.claims() {
            return Ok(Vec::new());
        }
        let finding = |fault: Fault, mac: MacAddr| Diagnosis {
            mac: Some(mac),
            cure: vec!["sysctl -w net.ipv4.conf.all.arp_ignore=1".to_owned()],
            ..Diagnosis::new(fault, "it says so itself")
        };
        let servers = &self.network.servers;
        let of = |fault| servers.iter().map(move |server| finding(fault, server.card.mac));
        Ok(of(Fault::VipAnswered).chain(of(Fault::VipAnnounced)).collect())
    }
}

fn tell_of(mut world: Scripted) -> (Outcome, String) {
    let mut text = String::new();
    let mut write = |more: &str| text.push_str(more);
    let outcome = tell(&mut world, 20, Narrator::new(Paint::off(), &mut write), &|| false).unwrap();
    assert_eq!(world.in_force, [], "what was done is undone");
    (outcome, text)
}

/// The names of the checks that failed.
fn failed(outcome: &Outcome) -> Vec<&'static str> {
    outcome.all().into_iter().filter(|(_, finding)| !finding.passed).map(|(name, _)| name).collect()
}

fn object(outcome: &Outcome) -> serde_json::Value {
    let options = Options::parse_from(["quickstart", "--scenario", "arp-problem"]);
    let network = sample::network(&vec![1; outcome.per_server.len()]);
    serde_json::from_str(&json::of_arp_problem(&options, &network, outcome)).unwrap()
}

#[test]
fn where_all_goes_as_it_should_it_is_told_in_100_columns() {
    for servers in [2, 16] {
        let (outcome, text) = tell_of(Scripted::new(servers));
        assert_eq!(failed(&outcome), [""; 0], "{outcome:#?}");
        assert_eq!((outcome.requests, outcome.failed), (180, 0));
        assert_eq!(outcome.per_server.iter().sum::<usize>(), 180);
        let network = sample::network(&vec![1; servers]);
        let options = Options::parse_from(["quickstart", "--scenario", "arp-problem"]);
        let text = words::opening(&network, &options, Paint::off())
            + &text
            + &words::ending(&outcome, false, Paint::off())
            + &words::ending(&outcome, true, Paint::off());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "to everybody who has 192.168.0.15? tell 192.168.0.250",
            "The director has heard it and has taken the VIP back",
            "server1 to router 192.168.0.250 is at 02:00:00:00:00:bc",
            "THE CLUSTER IS BYPASSED",
            "error vip-announced: ",
            "4 CURE 1: A STATIC ENTRY ON THE ROUTER",
            "although real servers claimed the VIP",
            "No real server claims 192.168.0.250:",
            "7 A RECIPE THAT IS NO CURE",
            "NO CURE: with it in force, the router takes server1",
        ] {
            assert!(joined.contains(part), "{part:?} is not in\n{text}");
        }
    }
}

#[test]
fn the_object_has_the_cures() {
    let (outcome, _) = tell_of(Scripted::new(2));
    let options = Options::parse_from(["quickstart", "--scenario", "arp-problem"]);
    assert_eq!(
        json::of_arp_problem(&options, &sample::network(&[1, 1]), &outcome),
        r#"{"ok":true,"scenario":"arp-problem","io":"afpacket","scheduler":"rr","requests":180,"failed":0,"#
            .to_owned()
            + r#""per_real_server":{"192.168.0.188":140,"192.168.0.111":40},"checks":{"balanced_at_first":true,"#
            + r#""takeover":true,"doctor_finds_it":true,"doctor_is_silent_when_cured":true,"lo_recipe_is_no_cure":true},"#
            + r#""cures":{"static_entry":true,"sysctl":true,"arptables":true},"error":null}"#
    );
    let nothing = json::of_failure(&options, &Failure::Interrupted);
    let (nothing, object) = (serde_json::from_str(&nothing).unwrap(), object(&outcome));
    let keys =
        |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<String>>();
    assert_eq!(keys(&nothing), keys(&object));
    for part in ["checks", "cures"] {
        assert_eq!(keys(&nothing[part]), keys(&object[part]));
        assert!(nothing[part].as_object().unwrap().values().all(|value| value == false), "{nothing}");
    }
}

#[test]
fn a_cure_that_does_nothing_is_none() {
    for (cure, name) in Recipe::CURES.into_iter().zip(["static_entry", "sysctl", "arptables"]) {
        let mut world = Scripted::new(2);
        world.effective.retain(|one| *one != cure);
        let (outcome, text) = tell_of(world);
        let silent = (cure != Recipe::StaticEntry).then_some("doctor_is_silent_when_cured");
        assert_eq!(failed(&outcome), [name].into_iter().chain(silent).collect::<Vec<_>>(), "{outcome:#?}");
        assert!(
            !outcome.passed() && text.contains("NOT CURED: the router took server1 for the VIP"),
            "{text}"
        );
        let object = object(&outcome);
        assert_eq!((&object["ok"], &object["cures"][name]), (&false.into(), &false.into()));
        let cured = object["cures"].as_object().unwrap().values().filter(|value| **value == true).count();
        assert_eq!(cured, 2, "{object}");
    }
}

#[test]
fn without_a_takeover_nothing_was_cured() {
    let (outcome, _) = tell_of(Scripted { noisy: false, ..Scripted::new(2) });
    let expected =
        ["takeover", "doctor_finds_it", "static_entry", "sysctl", "arptables", "lo_recipe_is_no_cure"];
    assert_eq!(failed(&outcome), expected);
    for cure in &outcome.cures {
        assert_eq!(cure.because, "there was nothing to cure: the router takes the director for the VIP");
    }
    let object = object(&outcome);
    assert_eq!((&object["ok"], &object["checks"]["takeover"]), (&false.into(), &false.into()));
}

#[test]
fn a_recipe_about_lo_that_helps_is_a_surprise() {
    let mut world = Scripted::new(2);
    world.effective.push(Recipe::AboutLo);
    let (outcome, text) = tell_of(world);
    assert_eq!(failed(&outcome), ["lo_recipe_is_no_cure"]);
    assert!(text.contains("UNEXPECTED: the router takes the director for the VIP."), "{text}");
}

#[test]
fn where_nobody_serves_it_gives_up_soon_and_says_so() {
    let (outcome, text) = tell_of(Scripted { served: false, ..Scripted::new(2) });
    assert_eq!((outcome.requests, outcome.failed), (180, 180));
    assert!(!outcome.balanced_at_first.passed && !outcome.takeover.passed, "{outcome:#?}");
    assert!(text.contains("20 of 20 requests failed: timed out"), "{text}");
}

#[test]
fn a_signal_ends_it() {
    let left = Cell::new(30);
    let interrupted = || {
        left.set(left.get() - 1);
        left.get() == 0
    };
    let mut world = Scripted::new(2);
    let result = tell(&mut world, 20, Narrator::new(Paint::off(), &mut |_| {}), &interrupted);
    assert!(matches!(result, Err(Failure::Interrupted)), "{result:?}");
}
