use super::*;
use crate::facts::samples::{held, ip, real_server};
use crate::facts::{DefaultRoute, Interface, Key};
use crate::state::Setting;

const VIP: &str = "192.168.0.250";
const VIP6: &str = "fd00:192::250";

/// What `check` says of a real server of both VIPs once `edit` has spoilt it: ids and severities.
fn findings(edit: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = real_server(&[VIP, VIP6]);
    edit(&mut facts);
    let (vips, interfaces) = ([ip(VIP), ip(VIP6)], ["eth0".to_owned()]);
    let director = Some(ip("192.168.0.208"));
    check(Question { vips: &vips, interfaces: &interfaces, director }, &facts, &State::default())
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|it| it.id).collect()
}

fn set(facts: &mut Facts, places: &[&str], key: Key, value: i32) {
    for place in places {
        let settings = facts.ipv4.get_mut(*place).unwrap();
        match key {
            Key::ArpIgnore => settings.arp_ignore = value,
            Key::ArpAnnounce => settings.arp_announce = value,
        }
    }
}

#[test]
fn a_healthy_real_server_has_none() {
    assert_eq!(findings(|_| ()), []);
    // `all` or the card alone is enough for the card, and other safe values are.
    assert_eq!(findings(|facts| set(facts, &["eth0"], Key::ArpIgnore, 0)), []);
    assert_eq!(findings(|facts| set(facts, &["all", "eth0"], Key::ArpIgnore, 2)), []);
    // A dummy interface is as quiet as lo.
    let dummy = |facts: &mut Facts| {
        let name = "dummy0".to_owned();
        facts.interfaces.push(Interface { name, up: true, loopback: false, resolves: false });
        facts.addresses.retain(|it| it.subnet.address() != ip(VIP));
        facts.addresses.push(held("dummy0", "192.168.0.250/32"));
    };
    assert_eq!(findings(dummy), []);
}

#[test]
fn each_fault_has_its_id_its_evidence_and_its_cure() {
    type Edit = fn(&mut Facts);
    let table: [(&str, Severity, Edit, &str, &[&str]); 13] = [
        (
            "vip-missing",
            Error,
            |facts| facts.addresses.retain(|it| it.subnet.address() != ip(VIP)),
            "no interface holds 192.168.0.250",
            &["ip address add 192.168.0.250/32 dev lo"],
        ),
        (
            "vip-prefix",
            Error,
            |facts| {
                facts.addresses.retain(|it| it.subnet.address() != ip(VIP));
                facts.addresses.push(held("lo", "192.168.0.250/24"));
            },
            "all of 192.168.0.0/24",
            &["ip address del 192.168.0.250/24 dev lo", "ip address add 192.168.0.250/32 dev lo"],
        ),
        (
            "vip-on-interface",
            Error,
            |facts| {
                let label = Some("eth0:0".to_owned());
                facts.addresses.push(Held { label, ..held("eth0", "192.168.0.250/24") });
            },
            "on eth0 (label eth0:0), so ARP is answered",
            &["ip address del 192.168.0.250/24 dev eth0"],
        ),
        (
            "vip-on-interface",
            Warning,
            |facts| facts.addresses.push(held("eth1", "fd00:192::250/128")),
            "on eth1, so NDP is answered",
            &["ip address del fd00:192::250/128 dev eth1"],
        ),
        (
            "holder-down",
            Error,
            |facts| facts.interfaces[0].up = false,
            "lo, which holds 192.168.0.250, is down",
            &["ip link set lo up"],
        ),
        (
            "ipv6-off",
            Error,
            |facts| facts.ipv6.get_mut("eth0").unwrap().disable_ipv6 = 1,
            "switched off on eth0",
            &["sysctl -w net.ipv6.conf.eth0.disable_ipv6=0"],
        ),
        (
            "arp-answers",
            Error,
            |facts| set(facts, &["all"], Key::ArpIgnore, 3),
            "arp_ignore is 3 (all 3, eth0 1)",
            &["sysctl -w net.ipv4.conf.all.arp_ignore=1"],
        ),
        (
            "arp-silent",
            Warning,
            |facts| set(facts, &["eth0"], Key::ArpIgnore, 8),
            "no address at all",
            &["sysctl -w net.ipv4.conf.eth0.arp_ignore=1"],
        ),
        (
            "arp-announces",
            Error,
            |facts| set(facts, &["eth0"], Key::ArpAnnounce, 3),
            "takes this reserved value for 0",
            &["sysctl -w net.ipv4.conf.eth0.arp_announce=2"],
        ),
        (
            "interface-without-address",
            Warning,
            |facts| facts.addresses.retain(|it| it.interface != "eth0" || it.subnet.address().is_ipv6()),
            "eth0 has no IPv4 address",
            &["ip address add RIP/LENGTH dev eth0"],
        ),
        (
            "ndp-proxy",
            Error,
            |facts| {
                facts.proxied.push(("eth0".into(), ip(VIP6)));
                let settings = facts.ipv6.get_mut("eth0").unwrap();
                (settings.forwarding, settings.proxy_ndp) = (1, 1);
            },
            "NDP proxy for fd00:192::250",
            &["ip -6 neighbour del proxy fd00:192::250 dev eth0"],
        ),
        (
            "gateway-is-director",
            Error,
            |facts| facts.default_routes[0].gateway = Some(ip("192.168.0.208")),
            "192.168.0.208 is the director",
            &["ip route replace default via ROUTER"],
        ),
        (
            "no-default-route",
            Warning,
            |facts| facts.default_routes.retain(|it| !it.ipv6),
            "no IPv6 default route",
            &["ip -6 route add default via ROUTER"],
        ),
    ];
    for (id, severity, edit, evidence, cure) in table {
        let found = findings(edit);
        let same =
            found.iter().find(|it| it.id == id).unwrap_or_else(|| panic!("{id} is missing: {found:#?}"));
        assert_eq!(
            (same.severity, &same.cure[..]),
            (severity, &cure.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>()[..]),
            "{id}"
        );
        assert!(same.evidence.contains(evidence), "{id}: {}", same.evidence);
        assert!(found.iter().all(|it| it.id == id), "nothing else than {id}: {found:#?}");
    }
}

#[test]
fn reverse_path_filters_count_where_the_way_back_is_another() {
    let strict = |facts: &mut Facts| facts.ipv4.get_mut("all").unwrap().rp_filter = 1;
    assert_eq!(findings(strict), [], "the way back is the same");
    let elsewhere = |facts: &mut Facts| facts.default_routes[0].interface = "eth1".into();
    assert_eq!(findings(elsewhere), [], "not filtered");
    let found = findings(|facts| {
        strict(facts);
        elsewhere(facts);
    });
    assert_eq!(ids(&found), ["rp-filter"]);
    assert_eq!(found[0].cure, ["sysctl -w net.ipv4.conf.eth0.rp_filter=2"]);
    let loose = findings(|facts| {
        strict(facts);
        elsewhere(facts);
        facts.ipv4.get_mut("eth0").unwrap().rp_filter = 2;
    });
    assert_eq!(loose, []);
}

#[test]
fn announce_1_leaks_where_the_vip_is_in_the_subnet() {
    let one = |facts: &mut Facts| {
        set(facts, &["all"], Key::ArpAnnounce, 0);
        set(facts, &["eth0"], Key::ArpAnnounce, 1);
    };
    let found = findings(one);
    let (first, rest) = found.split_first().unwrap();
    assert_eq!((first.id, first.severity), ("arp-announce-1", Error));
    assert!(first.evidence.contains("lies in its subnet 192.168.0.0/24"), "{}", first.evidence);
    assert_eq!(
        first.cure,
        ["sysctl -w net.ipv4.conf.all.arp_announce=2", "sysctl -w net.ipv4.conf.eth0.arp_announce=2"]
    );
    // eth1 has nothing at all.
    assert_eq!(ids(rest), ["arp-announces"]);
    assert_eq!(rest[0].severity, Warning);
    let far = findings(|facts| {
        one(facts);
        facts.addresses.retain(|it| it.subnet.address() != ip("192.168.0.188"));
        facts.addresses.push(held("eth0", "10.9.0.1/24"));
    });
    assert_eq!((far[0].id, far[0].severity), ("arp-announce-1", Warning));
}

#[test]
fn recipes_that_are_no_cure_are_named() {
    let recipe = |facts: &mut Facts| {
        set(facts, &["all", "eth0"], Key::ArpIgnore, 0);
        set(facts, &["all", "eth0"], Key::ArpAnnounce, 0);
        let lo = facts.ipv4.get_mut("lo").unwrap();
        (lo.arp_ignore, lo.arp_announce, lo.arp_filter) = (0, 1, 1);
    };
    let found = findings(recipe);
    let errors: Vec<&str> = found.iter().filter(|it| it.severity == Error).map(|it| it.id).collect();
    assert_eq!(errors, ["arp-answers", "arp-announces"]);
    for (id, evidence) in [("recipe-lo", "no effect"), ("recipe-arp-filter", "(lo)")] {
        let recipe = found.iter().find(|it| it.id == id).unwrap();
        assert!(recipe.evidence.contains(evidence), "{}", recipe.evidence);
        assert_eq!(recipe.cure.len(), 4, "{:?}", recipe.cure);
    }
    // Where nothing leaks, they do no harm.
    assert_eq!(findings(|facts| facts.ipv4.get_mut("lo").unwrap().arp_announce = 1), []);
}

#[test]
fn a_vip_as_gateway_and_every_hop_of_a_multipath_route_are_seen() {
    let found = findings(|facts| {
        let hop =
            |gateway| DefaultRoute { ipv6: false, interface: "eth0".into(), gateway: Some(ip(gateway)) };
        facts.default_routes.extend([hop(VIP), hop("192.168.0.208")]);
    });
    assert_eq!(ids(&found), ["gateway-is-director", "gateway-is-director"]);
    assert!(
        found[0].evidence.contains("is a VIP") && found[1].evidence.contains("is the director"),
        "{found:#?}"
    );
}

#[test]
fn what_was_changed_since_start_is_said() {
    let mut facts = real_server(&[VIP]);
    set(&mut facts, &["all", "eth0"], Key::ArpIgnore, 0);
    let setting = Setting { interface: "eth0".into(), key: Key::ArpIgnore, before: 0, set: 1 };
    let state = State { settings: vec![setting], ..State::default() };
    let (vips, interfaces) = ([ip(VIP)], ["eth0".to_owned()]);
    let found = check(Question { vips: &vips, interfaces: &interfaces, director: None }, &facts, &state);
    assert!(found[0].evidence.contains("start had set 1 on eth0, something changed it since"), "{found:#?}");
}
