//! The ARP problem, each cure, and the recipe that is none.
//!
//! Real servers hold the VIP too. With the kernel's defaults they answer when the router asks for it, and announce it when
//! they ask for the router: they take the router's cache over, and the cluster is bypassed. Every story begins there.

use std::net::SocketAddr;

use lvs_core::{Event, MacAddr};
use lvs_testkit::frames::Summary;
use lvs_testkit::sim::{ArpRule, Topology, TopologyOptions};

use super::{SECOND, made, web};

/// Real servers as the kernel makes them.
fn noisy() -> TopologyOptions {
    TopologyOptions { quiet_arp: false, seed: 3, ..TopologyOptions::default() }
}

/// Whom the router takes for the VIP.
fn taken_for_vip(net: &Topology) -> Option<MacAddr> {
    let router = net.router.unwrap();
    net.net[router].neighbour(net.net.now(), "eth1", net.vips.v4)?.mac
}

/// Fetches pages, some seconds apart, and answers how many of them the director has not seen.
fn bypasses(net: &mut Topology, vip: SocketAddr, fetches: u64) -> u64 {
    let before = made(net);
    for _ in 0..fetches {
        assert!(net.fetch(vip, "/").is_some(), "every page is served, by whomever: {}", net.net.state());
        net.net.run_for(7 * SECOND);
    }
    fetches - (made(net) - before)
}

/// Forgets what the router and the real servers know of each other, as if they had been silent for long.
fn forget(net: &mut Topology) {
    let router = net.router.unwrap();
    net.net[router].flush_neighbours("eth1");
    for server in net.servers.clone() {
        net.net[server.host].flush_neighbours("eth0");
    }
}

/// A cluster that has been taken over.
fn taken_over() -> (Topology, SocketAddr) {
    let (mut net, vip) = web(noisy());
    assert_eq!(bypasses(&mut net, vip, 10), 10, "{}", net.net.state());
    assert!(is_server(&net, taken_for_vip(&net)), "{:?}", taken_for_vip(&net));
    (net, vip)
}

fn is_server(net: &Topology, mac: Option<MacAddr>) -> bool {
    net.servers.iter().any(|server| Some(server.mac) == mac)
}

/// How often servers claim the VIP towards the router while some pages are fetched: answers, and announcements.
fn claims(net: &mut Topology, vip: SocketAddr) -> (usize, usize) {
    let capture = net.net.capture(net.router.unwrap(), 1);
    for _ in 0..4 {
        forget(net);
        // A connection that two servers get pieces of is reset.
        let _ = net.fetch(vip, "/");
        net.net.run_for(SECOND);
    }
    let frames = net.net.take_captured(capture);
    let claims = frames.iter().filter_map(|frame| Summary::of(&frame.bytes)?.arp);
    let claims = claims.filter(|arp| arp.sender == vip.ip() && is_server(net, Some(arp.sender_mac)));
    let (answers, announcements): (Vec<_>, Vec<_>) = claims.partition(|arp| arp.operation == 2);
    (answers.len(), announcements.len())
}

/// A cure works if after it, and after all has been forgotten, no page is fetched past the director.
fn assert_cured(net: &mut Topology, vip: SocketAddr) {
    for _ in 0..3 {
        forget(net);
        assert_eq!(bypasses(net, vip, 12), 0, "{}", net.net.state());
        assert_eq!(taken_for_vip(net), Some(net.director_macs[0]));
    }
}

#[test]
fn quiet_servers_have_no_problem() {
    let (mut net, vip) = web(TopologyOptions { quiet_arp: true, ..noisy() });
    assert_cured(&mut net, vip);
}

/// A server that has forgotten its router announces the VIP when it answers a client. The director hears that, reports
/// it and takes the VIP back; but not for long.
#[test]
fn the_director_hears_of_it_and_cannot_win() {
    let (mut net, vip) = taken_over();
    net.net[net.director].take_events();
    for server in net.servers.clone() {
        net.net[server.host].flush_neighbours("eth0");
    }
    // The connection itself may end up at two servers, and is reset then.
    let _ = net.fetch(vip, "/");
    net.net.run_for(SECOND);
    let events = net.net[net.director].take_events();
    let conflict = |event: &Event| {
        matches!(event, Event::AddressConflict { address, mac, .. }
            if *address == vip.ip() && is_server(&net, Some(*mac)))
    };
    assert!(events.iter().any(conflict), "{events:?}");
    assert_eq!(taken_for_vip(&net), Some(net.director_macs[0]));
    forget(&mut net);
    assert_eq!(bypasses(&mut net, vip, 4), 4);
}

#[test]
fn a_static_entry_on_the_router_is_a_cure() {
    let (mut net, vip) = taken_over();
    let (router, now, mac) = (net.router.unwrap(), net.net.now(), net.director_macs[0]);
    let address = net.vips.v4;
    net.net[router].set_neighbour(now, "eth1", address, Some(mac));
    assert_cured(&mut net, vip);
}

#[test]
fn sysctls_on_the_servers_are_a_cure() {
    let (mut net, vip) = taken_over();
    for server in net.servers.clone() {
        net.net[server.host].quiet_arp(true);
    }
    assert_cured(&mut net, vip);
}

#[test]
fn the_sysctls_work_on_the_interface_as_well_but_not_half_of_them() {
    let (mut net, vip) = taken_over();
    for server in net.servers.clone() {
        net.net[server.host].conf_mut("eth0").arp_ignore = 1;
    }
    let (answers, announcements) = claims(&mut net, vip);
    assert!(answers == 0 && announcements > 0, "who does not answer may still announce");
    for server in net.servers.clone() {
        let conf = net.net[server.host].conf_mut("eth0");
        (conf.arp_ignore, conf.arp_announce) = (0, 2);
    }
    let (answers, announcements) = claims(&mut net, vip);
    assert!(answers > 0 && announcements == 0, "and the other way round");
    for server in net.servers.clone() {
        net.net[server.host].conf_mut("eth0").arp_ignore = 1;
    }
    assert_eq!(claims(&mut net, vip), (0, 0));
    assert_cured(&mut net, vip);
}

#[test]
fn rules_as_of_arptables_are_a_cure() {
    let (mut net, vip) = taken_over();
    for server in net.servers.clone() {
        let host = &mut net.net[server.host];
        host.add_arp_rule(ArpRule::DropIn(vip.ip()));
        host.add_arp_rule(ArpRule::MangleOut { sender: vip.ip(), instead: server.addresses.v4 });
    }
    assert_eq!(claims(&mut net, vip), (0, 0));
    assert_cured(&mut net, vip);
}

/// The rule alone that LVS texts give (`-A IN -d VIP -j DROP`) silences the answers; a server that has to ask for its
/// router when it answers a client still announces the VIP. One that knows its router does not.
#[test]
fn the_drop_rule_alone_stops_the_answers_only() {
    let (mut net, vip) = taken_over();
    for server in net.servers.clone() {
        net.net[server.host].add_arp_rule(ArpRule::DropIn(vip.ip()));
    }
    let (answers, announcements) = claims(&mut net, vip);
    assert!(answers == 0 && announcements > 0, "{announcements}");
    let (gateway, mac) = (net.gateway.unwrap().v4, MacAddr([2, 0, 0, 0, 0, 15]));
    for server in net.servers.clone() {
        let now = net.net.now();
        net.net[server.host].set_neighbour(now, "eth0", gateway, Some(mac));
    }
    assert_eq!(claims(&mut net, vip), (0, 0));
    assert_cured(&mut net, vip);
}

/// `lo.arp_ignore=0, lo.arp_announce=1, lo.arp_filter=1`: what `lo` says of itself counts for nothing, because no request
/// comes in by it.
#[test]
fn the_recipe_about_lo_is_no_cure() {
    let (mut net, vip) = taken_over();
    for server in net.servers.clone() {
        let conf = net.net[server.host].conf_mut("lo");
        (conf.arp_ignore, conf.arp_announce, conf.arp_filter) = (0, 1, true);
    }
    forget(&mut net);
    assert_eq!(bypasses(&mut net, vip, 10), 10);
    // Nor does it help where it would count: the VIP lies in the subnet, so that announce 1 lets it pass.
    for server in net.servers.clone() {
        net.net[server.host].conf_mut("all").arp_announce = 1;
    }
    forget(&mut net);
    assert_eq!(bypasses(&mut net, vip, 10), 10);
}
