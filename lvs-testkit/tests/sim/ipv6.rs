//! The same by IPv6: a VIP on `lo` is quiet by itself, and one on the card is not.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lvs_core::Subnet;
use lvs_core::config::{SchedulerKind, ServiceKey};
use lvs_testkit::frames::Summary;
use lvs_testkit::sim::{ArpRule, NeighbourState, Phase, Topology, TopologyOptions};

use super::{SECOND, made};

fn web6(options: TopologyOptions) -> (Topology, SocketAddr) {
    let mut net = Topology::b(options);
    let vip = SocketAddr::new(net.vips.v6, 80);
    net.serve_pages(80);
    net.add_service(ServiceKey::tcp(vip.ip(), 80), SchedulerKind::RoundRobin);
    net.settle();
    (net, vip)
}

fn router_believes(net: &Topology) -> Option<lvs_core::MacAddr> {
    net.net[net.router.unwrap()].neighbour(net.net.now(), "eth1", net.vips.v6)?.mac
}

#[test]
fn pages_alternate_and_no_sysctl_is_needed() {
    let (mut net, vip) = web6(TopologyOptions { quiet_arp: false, ..TopologyOptions::default() });
    let pages: Vec<_> = (0..6).map(|_| net.fetch(vip, "/").unwrap()).collect();
    assert!(pages[0] == pages[2] && pages[1] == pages[3] && pages[0] != pages[1], "{pages:?}");
    for _ in 0..20 {
        net.net.run_for(20 * SECOND);
        net.fetch(vip, "/").unwrap();
        assert_eq!(router_believes(&net), Some(net.director_macs[0]));
    }
    assert_eq!(made(&net), 26);
}

/// The VIP on the card itself: every server answers solicitations for it, until it is told not to.
#[test]
fn a_vip_on_the_card_is_answered_for() {
    let (mut net, vip) = web6(TopologyOptions { hold_vip: false, ..TopologyOptions::default() });
    for server in net.servers.clone() {
        net.net[server.host].add_address("eth0", Subnet::new(vip.ip(), 128).unwrap());
    }
    let router = net.router.unwrap();
    let capture = net.net.capture(router, 1);
    // Who says that it has the VIP.
    let answers = |net: &mut Topology| {
        net.net[router].flush_neighbours("eth1");
        net.net.take_captured(capture);
        // Where several claim the VIP a connection may end up at two servers, and then it is reset.
        let _ = net.fetch(vip, "/");
        net.net.run_for(SECOND);
        let mut macs = BTreeSet::new();
        for frame in net.net.captured(capture) {
            let summary = Summary::of(&frame.bytes).unwrap();
            let ip = summary.ip.unwrap();
            if ip.icmp == Some((136, 0)) && ip.neighbour_target == Some(vip.ip()) {
                macs.insert(summary.source_mac);
            }
        }
        macs
    };
    let all: BTreeSet<_> =
        net.servers.iter().map(|server| server.mac).chain([net.director_macs[0]]).collect();
    assert_eq!(answers(&mut net), all);
    for server in net.servers.clone() {
        net.net[server.host].add_arp_rule(ArpRule::DropIn(vip.ip()));
    }
    assert_eq!(answers(&mut net), BTreeSet::from([net.director_macs[0]]));
}

#[test]
fn a_neighbour_that_is_silent_is_asked_and_given_up() {
    let (mut net, _) = web6(TopologyOptions::default());
    let (router, gone) = (net.router.unwrap(), "fd00:192::77".parse().unwrap());
    let client = net.client;
    let id = net.net[client].open(SocketAddr::new(gone, 80));
    net.net.run_for(SECOND / 2);
    let now = net.net.now();
    assert_eq!(net.net[router].neighbour(now, "eth1", gone).unwrap().state, NeighbourState::Incomplete);
    net.net.run_for(3 * SECOND);
    let now = net.net.now();
    assert_eq!(net.net[router].neighbour(now, "eth1", gone).unwrap().state, NeighbourState::Failed);
    let messages = net.net[client].take_messages();
    assert!(
        messages.iter().any(|message| message.kind == (1, 3) && message.about == Some(gone)),
        "{messages:?}"
    );
    assert_eq!(net.net[client].connection(id).phase(), Phase::Connecting, "the news is a hint, as in Linux");
}
