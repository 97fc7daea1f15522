//! Each misconfiguration on a running real server, once: `check` finds it and nothing else, its cure ends it where it can be
//! carried out here, and without one there is nothing to find.

use std::collections::BTreeSet;

use libtest_mimic::Failed;
use lvs_core::Subnet;
use lvs_testkit::lab::{Nic, cable};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::machine::{DIP, Machine, VIP, VIP6, ip};
use crate::netlink::Netlink;
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_healthy_real_server_has_no_findings", healthy),
    ("a_bare_host_has_the_faults_that_start_ends", bare),
    ("settings_that_answer_or_announce_are_found", settings),
    ("recipes_that_are_no_cure_are_named", recipes),
    ("a_vip_in_the_wrong_place_is_found", places),
    ("a_packet_that_would_not_be_taken_is_foreseen", reverse_path),
    ("gateways_that_are_none_are_found", gateways),
    ("an_ndp_proxy_for_the_vip_is_found", proxy),
    ("ipv6_that_is_off_is_found", ipv6_off),
];

/// A real server of both VIPs, and what `check` is asked.
fn real_server() -> Result<(Machine, String), Failed> {
    let machine = Machine::new()?;
    machine.run_well(&format!("start --vip {VIP} --vip {VIP6}"))?;
    Ok((machine, format!("--vip {VIP} --vip {VIP6} --director {DIP}")))
}

/// What is found, as `id severity`.
fn found(machine: &Machine, words: &str) -> Result<BTreeSet<String>, Failed> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let found = machine.findings(words)?;
    for finding in &found {
        let cure = finding["cure"].as_array().ok_or("a cure")?;
        assert!(!cure.is_empty() && !text(&finding["evidence"]).is_empty(), "{finding}");
    }
    Ok(found.iter().map(|it| format!("{} {}", text(&it["id"]), text(&it["severity"]))).collect())
}

fn ids(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn healthy() -> Outcome {
    let (machine, question) = real_server()?;
    assert_eq!(found(&machine, &question)?, ids(&[]));
    let text = machine.run_well(&format!("check {question}"))?;
    assert!(
        text.stdout.ends_with("healthy: packets for the VIPs are taken, and nothing tells of them\n"),
        "{text:#?}"
    );
    Ok(())
}

fn bare() -> Outcome {
    let machine = Machine::new()?;
    let before = machine.everything()?;
    let all = ids(&["arp-announces error", "arp-answers error", "vip-missing error"]);
    assert_eq!(found(&machine, &format!("--vip {VIP}"))?, all);
    let text = machine.run(&format!("check --vip {VIP}"))?;
    assert_eq!(text.code, Some(1));
    for line in [
        "    ip address add 192.168.0.250/32 dev lo",
        "    sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "    sysctl -w net.ipv4.conf.eth0.arp_announce=2",
    ] {
        assert!(text.stdout.lines().any(|it| it == line), "{line} is missing: {text:#?}");
    }
    before.is_still(&machine.everything()?)?;
    Ok(())
}

/// What is found when settings have these values, and words of the evidence.
type Row = (&'static str, &'static [(&'static str, i32)], &'static str);

fn settings() -> Outcome {
    let (machine, question) = real_server()?;
    let table: [Row; 5] = [
        ("arp-answers error", &[("all.arp_ignore", 0), ("eth0.arp_ignore", 0)], "something changed it since"),
        ("arp-answers error", &[("all.arp_ignore", 3)], "arp_ignore is 3 (all 3, eth0 1"),
        ("arp-silent warning", &[("eth0.arp_ignore", 8)], "no address at all"),
        (
            "arp-announces error",
            &[("all.arp_announce", 0), ("eth0.arp_announce", 0)],
            "192.168.0.250 as their sender",
        ),
        (
            "arp-announce-1 error",
            &[("all.arp_announce", 1), ("eth0.arp_announce", 1)],
            "subnet 192.168.0.0/24",
        ),
    ];
    for (id, values, evidence) in table {
        let mut former = Vec::new();
        for (name, value) in values {
            former.push((*name, machine.value(name)?));
            machine.set(name, *value)?;
        }
        assert_eq!(found(&machine, &question)?, ids(&[id]), "{values:?}");
        let first = &machine.findings(&question)?[0];
        assert!(first["evidence"].as_str().is_some_and(|text| text.contains(evidence)), "{first}");
        // The cures are sysctls: carried out, they end it.
        for command in first["cure"].as_array().ok_or("a cure")? {
            let command =
                command.as_str().and_then(|text| text.strip_prefix("sysctl -w ")).ok_or("a sysctl")?;
            let (name, value) = command.split_once('=').ok_or("a value")?;
            machine.host.sysctl(name, value)?;
        }
        assert_eq!(found(&machine, &question)?, ids(&[]), "{values:?}");
        for (name, value) in former {
            machine.set(name, value)?;
        }
    }
    Ok(())
}

fn recipes() -> Outcome {
    let machine = Machine::new()?;
    machine.host.hold_vip(ip(VIP))?;
    machine.set("lo.arp_announce", 1)?;
    machine.set("lo.arp_filter", 1)?;
    let question = format!("--vip {VIP}");
    let all =
        ids(&["arp-announces error", "arp-answers error", "recipe-arp-filter warning", "recipe-lo warning"]);
    assert_eq!(found(&machine, &question)?, all);
    machine.set("lo.arp_ignore", 1)?;
    machine.set("lo.arp_announce", 2)?;
    assert_eq!(found(&machine, &question)?, all, "only on lo");
    Ok(())
}

fn places() -> Outcome {
    let (machine, question) = real_server()?;
    let label: Subnet = "192.168.0.250/24".parse()?;
    for (interface, subnet, id) in [
        ("eth0", "192.168.0.250/32", "vip-on-interface error"),
        ("eth0", "fd00:192::250/128", "vip-on-interface error"),
        ("lo", "192.168.0.250/24", "vip-prefix error"),
    ] {
        machine.host.add_address(interface, subnet.parse()?)?;
        assert_eq!(found(&machine, &question)?, ids(&[id]), "{interface} {subnet}");
        machine.host.remove_address(interface, subnet.parse()?)?;
    }
    machine.host.set_link("lo", false)?;
    assert_eq!(
        found(&machine, &question)?,
        ids(&["holder-down error", "vip-missing error"]),
        "IPv6 addresses go with it"
    );
    machine.host.set_link("lo", true)?;
    machine.run_well("stop")?;
    // A start that would be in vain says so and changes nothing.
    machine.host.add_address("eth0", label)?;
    let before = machine.everything()?;
    let ran = machine.run(&format!("start --vip {VIP}"))?;
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("ip address del 192.168.0.250/24 dev eth0"), "{ran:#?}");
    before.is_still(&machine.everything()?)?;
    Ok(())
}

fn reverse_path() -> Outcome {
    let (machine, question) = real_server()?;
    machine.set("all.rp_filter", 1)?;
    assert_eq!(found(&machine, &question)?, ids(&[]), "requests come in where replies leave");
    // A second card, by which the replies go.
    let router = machine.net.router.as_ref().ok_or("there is one in B")?;
    let near = Nic::new(&machine.host, "eth1").address("192.168.7.2/24".parse()?);
    cable(near, Nic::new(router, "eth9").address("192.168.7.1/24".parse()?))?;
    machine.host.remove_route("0.0.0.0/0".parse()?, ip("192.168.0.15"))?;
    machine.host.default_gateway(ip("192.168.7.1"))?;
    assert_eq!(found(&machine, &question)?, ids(&["rp-filter error"]));
    machine.set("eth0.rp_filter", 2)?;
    assert_eq!(found(&machine, &question)?, ids(&[]));
    // The filter is none of start's business, but it is said.
    machine.set("eth0.rp_filter", 0)?;
    let ran = machine.run(&format!("start --vip {VIP} --interface eth0"))?;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.stderr.contains("warning: rp-filter: eth0"), "{ran:#?}");
    assert_eq!(machine.value("eth0.rp_filter")?, 0);
    Ok(())
}

fn gateways() -> Outcome {
    let (machine, question) = real_server()?;
    let default: Subnet = "0.0.0.0/0".parse()?;
    machine.host.remove_route(default, ip("192.168.0.15"))?;
    assert_eq!(found(&machine, &question)?, ids(&["no-default-route warning"]));
    machine.host.default_gateway(ip(DIP))?;
    assert_eq!(found(&machine, &question)?, ids(&["gateway-is-director error"]));
    assert_eq!(found(&machine, &format!("--vip {VIP}"))?, ids(&[]), "which is the director, must be said");
    Ok(())
}

fn proxy() -> Outcome {
    let (machine, question) = real_server()?;
    let index = machine.host.interface("eth0")?.index;
    machine.host.run(|| {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.ifindex = index;
        message.header.flags = NeighbourFlags::Proxy;
        let address = NeighbourAddress::Inet6(VIP6.parse().expect("an address"));
        message.attributes.push(NeighbourAttribute::Destination(address));
        let request = RouteNetlinkMessage::NewNeighbour(message);
        let mut netlink = Netlink::open()?;
        assert!(netlink.dump(RouteNetlinkMessage::GetLink(Default::default()))?.len() >= 2);
        netlink.request(request, NLM_F_CREATE | NLM_F_REPLACE)
    })?;
    assert_eq!(found(&machine, &question)?, ids(&[]), "the entry alone does nothing");
    assert!(!crate::wire::answers_solicitation(&machine)?);
    machine.host.sysctl("net.ipv6.conf.eth0.proxy_ndp", "1")?;
    machine.host.sysctl("net.ipv6.conf.eth0.forwarding", "1")?;
    assert_eq!(found(&machine, &question)?, ids(&["ndp-proxy error"]));
    assert!(crate::wire::answers_solicitation(&machine)?, "as the kernel does");
    Ok(())
}

fn ipv6_off() -> Outcome {
    let (machine, question) = real_server()?;
    machine.host.sysctl("net.ipv6.conf.lo.disable_ipv6", "1")?;
    let all = found(&machine, &question)?;
    assert!(all.contains("ipv6-off error"), "{all:?}");
    let ran = machine.run("start --vip fd00:192::251")?;
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("sysctl -w net.ipv6.conf.lo.disable_ipv6=0"), "{ran:#?}");
    Ok(())
}
