//! The router: its cache ages and is refreshed, and it says what goes no further.

use std::net::SocketAddr;

use lvs_testkit::frames::{Summary, addr, station};
use lvs_testkit::sim::{ArpRule, Interface, NeighbourState, Phase, Topology, TopologyOptions};

use super::{SECOND, made, web};

#[test]
fn the_entry_for_the_vip_ages_and_is_refreshed() {
    let (mut net, vip) = web(TopologyOptions::default());
    let router = net.router.unwrap();
    let state = |net: &Topology| {
        net.net[router].neighbour(net.net.now(), "eth1", vip.ip()).map(|neighbour| neighbour.state)
    };
    assert_eq!(state(&net), None, "the announcement alone makes no entry");
    net.fetch(vip, "/").unwrap();
    assert_eq!(state(&net), Some(NeighbourState::Reachable));
    net.net.run_for(46 * SECOND);
    assert_eq!(state(&net), Some(NeighbourState::Stale));
    let questions = net.net.capture(router, 1);
    net.fetch(vip, "/").unwrap();
    assert_eq!(state(&net), Some(NeighbourState::Delay), "a stale entry is used");
    net.net.run_for(5 * SECOND);
    assert_eq!(state(&net), Some(NeighbourState::Reachable), "it was asked, and has answered");
    let asked = net.net.captured(questions).iter().filter(|frame| {
        let arp = Summary::of(&frame.bytes).unwrap().arp;
        arp.is_some_and(|arp| arp.operation == 1 && arp.target == vip.ip())
            && frame.bytes[..6] == net.director_macs[0].0
    });
    assert_eq!(asked.count(), 1, "it was asked alone, not all stations");
    assert_eq!(made(&net), 2);
}

#[test]
fn a_director_that_is_silent_is_forgotten_and_found_again() {
    let (mut net, vip) = web(TopologyOptions::default());
    let (router, client) = (net.router.unwrap(), net.client);
    net.fetch(vip, "/").unwrap();
    let link = net.net.link_of(net.director, 0).unwrap();
    net.net.set_link(link, false);
    net.net.run_for(60 * SECOND);
    let id = net.net[client].fetch(vip, "/");
    net.net.run_for(9 * SECOND);
    let state = net.net[router].neighbour(net.net.now(), "eth1", vip.ip()).unwrap();
    assert_eq!(state.mac, None, "{state:?}");
    // The client tries again meanwhile, and that question fails, too.
    net.net.run_for(12 * SECOND);
    let messages = net.net[client].take_messages();
    assert!(messages.iter().any(|message| message.kind == (3, 1)), "host unreachable: {messages:?}");
    net.net.set_link(link, true);
    net.net.run_until(60 * SECOND, |net| net[client].connection(id).phase().is_over());
    assert_eq!(net.net[client].connection(id).phase(), Phase::Closed);
}

/// Whoever announces the VIP is believed, at once; the director hears it, and takes the VIP back.
#[test]
fn an_announcement_moves_the_entry_and_the_director_defends_it() {
    let (mut net, vip) = web(TopologyOptions::default());
    let router = net.router.unwrap();
    net.fetch(vip, "/").unwrap();
    let believed = |net: &Topology| net.net[router].neighbour(net.net.now(), "eth1", vip.ip()).unwrap();
    let server = net.servers[1];
    net.net[server.host].announce("eth0", vip.ip());
    net.net.run_until(SECOND, |net| {
        net[router].neighbour(net.now(), "eth1", vip.ip()).unwrap().mac == Some(server.mac)
    });
    assert_eq!(believed(&net).state, NeighbourState::Stale);
    net.net.run_for(SECOND);
    assert_eq!(believed(&net).mac, Some(net.director_macs[0]));
    // Where the director does not hear it, nobody takes it back.
    let link = net.net.link_of(net.director, 0).unwrap();
    net.net.set_link(link, false);
    net.net[server.host].announce("eth0", vip.ip());
    net.net.run_for(SECOND);
    net.net.set_link(link, true);
    assert_eq!(believed(&net).mac, Some(server.mac));
}

#[test]
fn it_says_that_the_time_to_live_is_over_and_that_there_is_no_way() {
    let (mut net, vip) = web(TopologyOptions::default());
    let client = net.client;
    let now = net.net.now();
    net.net[client].ping(now, net.gateway.unwrap().v4, 1, 1);
    net.net[client].ping(now, addr("8.8.8.8"), 1, 2);
    net.net[client].ping(now, vip.ip(), 1, 3);
    net.net.run_until_idle(SECOND);
    let mut kinds: Vec<_> =
        net.net[client].take_messages().iter().map(|m| (m.from.to_string(), m.kind)).collect();
    kinds.sort_unstable();
    let expected = [("110.0.0.254", (3, 0)), ("192.168.0.15", (0, 0)), ("192.168.0.250", (0, 0))];
    assert_eq!(kinds, expected.map(|(from, kind)| (from.to_owned(), kind)));
}

/// A request whose reply would leave by another interface is refused by `rp_filter`, and let in without.
#[test]
fn reverse_path_filtering_is_off_until_it_is_set() {
    let (mut net, vip) = web(TopologyOptions { servers: 1, ..TopologyOptions::default() });
    let server = net.servers[0].host;
    // The server has a second card, by which it would reach the client.
    let second = Interface::new("eth1", station(77)).port(1);
    net.net[server].add_interface(second.address("110.0.0.77/24".parse().unwrap()));
    let client = net.client;
    let before = net.net[server].accepted(80);
    let id = net.net[client].fetch(vip, "/");
    net.net.run_for(2 * SECOND);
    assert_eq!(net.net[server].accepted(80), before + 1, "it comes in, though the reply goes nowhere");
    net.net[client].take_connection(id);
    net.net[server].conf_mut("all").rp_filter = 1;
    net.net[client].fetch(vip, "/");
    net.net.run_for(2 * SECOND);
    assert_eq!(net.net[server].accepted(80), before + 1);
    assert!(net.net[server].statistics().dropped > 0);
    net.net[server].conf_mut("eth0").rp_filter = 2;
    net.net.run_for(30 * SECOND);
    assert_eq!(net.net[server].accepted(80), before + 2, "loose: the source is reached by some interface");
}

#[test]
fn rules_can_be_taken_away() {
    let (mut net, vip) = web(TopologyOptions::default());
    let router = net.router.unwrap();
    net.net[router].add_arp_rule(ArpRule::DropIn(addr("192.168.0.15")));
    for server in net.servers.clone() {
        net.net[server.host].flush_neighbours("eth0");
    }
    let client = net.client;
    let id = net.net[client].fetch(SocketAddr::new(vip.ip(), 80), "/");
    net.net.run_for(3 * SECOND);
    assert_eq!(
        net.net[client].connection(id).phase(),
        Phase::Connecting,
        "the server does not find its router"
    );
    net.net[router].clear_arp_rules();
    net.net.run_until(60 * SECOND, |net| net[client].connection(id).phase() == Phase::Closed);
}
