use std::num::NonZeroU16;

use super::*;
use crate::config::{from_rules, toml};

fn rules(text: &str) -> Configuration {
    from_rules("rules", text.as_bytes()).unwrap().configuration
}

const OLD: &str = "\
-A -t 192.0.2.10:80 -s wrr
-a -t 192.0.2.10:80 -r 10.0.0.1 -w 1
-a -t 192.0.2.10:80 -r 10.0.0.2 -w 1
-a -t 192.0.2.10:80 -r 10.0.0.3 -w 1
-A -u 192.0.2.10:53 -s rr
";

#[test]
fn a_changed_weight_is_one_edit() {
    let new = OLD.replace("10.0.0.2 -w 1", "10.0.0.2 -w 5");
    let found = difference(&rules(OLD), &rules(&new), ServerOrder::Kept);
    assert!(matches!(found.changes[..], [Change::EditDestination(_, server)] if server.weight == 5));
    assert_eq!(found.to_string(), "~ server 10.0.0.2:80 of TCP 192.0.2.10:80: weight 1 -> 5\n");
    assert_eq!(found.health, [rules(OLD).services[0].config.key]);
}

#[test]
fn everything_is_told_in_words() {
    let mut old = rules(OLD);
    let mut new = rules(
        "-A -t 192.0.2.10:80 -s mh -b mh-port -p 300 -M 255.255.255.0
         -a -t 192.0.2.10:80 -r 10.0.0.2 -w 1 -x 9 -y 3
         -a -t 192.0.2.10:80 -r 10.0.0.4
         -a -t 192.0.2.10:80 -r 10.0.0.1
         -A -f 7 -s wlc
         --mark 7 tcp 192.0.2.11/32 80,443-444
         --set 600 120 300",
    );
    old.capacities.max_connections = 1000;
    new.workers = NonZeroU16::new(2).unwrap();
    new.knobs.sloppy_tcp = true;
    new.neighbours.insert("10.0.0.1".parse().unwrap(), "02:00:00:00:00:01".parse().unwrap());
    let found = difference(&old, &new, ServerOrder::Kept);
    assert_eq!(
        found.to_string(),
        "\
~ knobs: sloppy_tcp 0 -> 1
~ time-outs: tcp 900s -> 600s
+ neighbour 10.0.0.1: 02:00:00:00:00:01
~ mark rules: 1. none -> 7 for tcp 192.0.2.11/32 80,443-444
~ service TCP 192.0.2.10:80: scheduler wrr -> mh, flags none -> mh-port, persistence none -> 300s mask 255.255.255.0
~ server 10.0.0.2:80 of TCP 192.0.2.10:80: upper_threshold 0 -> 9, lower_threshold 0 -> 3
- server 10.0.0.3:80 of TCP 192.0.2.10:80: weight 1
+ server 10.0.0.4:80 of TCP 192.0.2.10:80: weight 1
- service UDP 192.0.2.10:53: rr, no real servers
+ service FWM 7: wlc, no real servers
! director.workers 1 -> 2: takes a restart, and stays as it is until then
! director.max_connections 1000 -> 1048576: takes a restart, and stays as it is until then
! service TCP 192.0.2.10:80: the real servers keep their order, which a fresh start would change
"
    );
}

#[test]
fn the_order_as_written_moves_only_who_stands_in_the_way() {
    let new = "\
-A -t 192.0.2.10:80 -s wrr
-a -t 192.0.2.10:80 -r 10.0.0.1
-a -t 192.0.2.10:80 -r 10.0.0.3
-a -t 192.0.2.10:80 -r 10.0.0.2 -w 2
-A -u 192.0.2.10:53 -s rr
";
    let found = difference(&rules(OLD), &rules(new), ServerOrder::AsWritten);
    assert_eq!(found.changes.len(), 2, "{:?}", found.changes);
    assert_eq!(
        found.to_string(),
        "~ server 10.0.0.2:80 of TCP 192.0.2.10:80: weight 1 -> 2, removed and added again for its place\n"
    );
}

#[test]
fn mark_rules_that_only_follow_are_added() {
    let one = "--mark 1 tcp 192.0.2.10/32 80\n";
    let two = format!("{one}--mark 2 udp 192.0.2.10/32 53\n");
    let found = difference(&rules(one), &rules(&two), ServerOrder::Kept);
    assert!(matches!(found.changes[..], [Change::AddMarkRule(rule)] if rule.mark == 2));
    let found = difference(&rules(&two), &rules(one), ServerOrder::Kept);
    assert!(
        matches!(found.changes[..], [Change::ClearMarkRules, Change::AddMarkRule(rule)] if rule.mark == 1)
    );
}

#[test]
fn interfaces_and_checks_differ_by_their_fields() {
    let text = "\
[[interface]]
name = \"eth0\"
dips = [\"10.0.0.208/24\"]
[[service]]
tcp = \"192.0.2.10:80\"
quorum = 2
check = [{ kind = \"tcp\" }]
[[service.server]]
address = \"10.0.0.1\"
";
    let read = |text: &str| toml::read("f", text.as_bytes()).unwrap().configuration;
    let new =
        text.replace("208/24", "209/24").replace("quorum = 2", "").replace("{ kind", "{ retry = 2, kind");
    let found = difference(&read(text), &read(&new), ServerOrder::Kept);
    assert!(found.changes.is_empty());
    assert_eq!(found.health.len(), 1);
    let times = "timeout 5s retry";
    assert_eq!(
        found.to_string(),
        format!(
            "~ service TCP 192.0.2.10:80: quorum 2 -> 1\n\
             ~ server 10.0.0.1:80 of TCP 192.0.2.10:80: check tcp every 60s {times} 1 after 1s warmup 60s -> \
             tcp every 60s {times} 2 after 1s warmup 60s\n\
             ! interface eth0: dips 10.0.0.208/24 -> 10.0.0.209/24: takes a restart, and stays as it is until then\n"
        )
    );
}
