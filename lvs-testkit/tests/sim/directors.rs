//! Directors that restart, share a VIP, or have servers that fail.

use std::net::{IpAddr, SocketAddr};

use lvs_core::config::{
    DestinationConfig, Knobs, OnMiss, SchedulerFlags, SchedulerKind, ServiceConfig, ServiceKey,
};
use lvs_core::{Change, DirectorConfig, Event, MacAddr, PortId};
use lvs_testkit::frames::{self, Summary};
use lvs_testkit::sim::{
    CapturedFrame, Connection, ConnectionId, DirectorNode, LinkOptions, NodeId, Phase, Topology,
    TopologyOptions,
};

use super::{SECOND, made, web};

/// A connection that stays open, to an echo server behind the VIP; it has carried a first word.
fn open_echo(net: &mut Topology, vip: SocketAddr) -> ConnectionId {
    let client = net.client;
    let id = net.net[client].open(vip);
    net.net[client].write(id, b"before ");
    net.net.run_until(10 * SECOND, |net| net[client].connection(id).received() == b"before ");
    id
}

fn echo_cluster(knobs: Knobs) -> (Topology, SocketAddr, DirectorConfig) {
    let mut net = Topology::b(TopologyOptions { servers: 3, ..TopologyOptions::default() });
    let vip = SocketAddr::new(net.vips.v4, 7);
    for server in net.servers.clone() {
        net.net[server.host].serve_echo(7);
    }
    let interfaces = net.net[net.director].director().interfaces().to_vec();
    let mut config = DirectorConfig::new(interfaces, [9; 32]);
    (config.max_connections, config.knobs) = (4096, knobs);
    net.apply(&[Change::SetKnobs(knobs)]).unwrap();
    add_maglev(&mut net, vip);
    net.settle();
    (net, vip, config)
}

/// A service that hashes clients with their ports, as a director does that is told to hash what it does not know.
fn add_maglev(net: &mut Topology, vip: SocketAddr) {
    let key = ServiceKey::tcp(vip.ip(), vip.port());
    net.add_service(key, SchedulerKind::Maglev);
    let mut config = ServiceConfig::new(key, SchedulerKind::Maglev);
    config.flags = SchedulerFlags::PORT;
    net.apply(&[Change::EditService(config)]).unwrap();
}

/// The director is gone and another one begins with the same services and empty tables.
fn restart(net: &mut Topology, config: &DirectorConfig, vip: SocketAddr) {
    let now = net.net.now();
    net.net[net.director] = DirectorNode::new(config.clone(), now).unwrap();
    add_maglev(net, vip);
    net.settle();
}

fn finish(net: &mut Topology, id: ConnectionId) -> Connection {
    let client = net.client;
    net.net[client].write(id, b"after");
    net.net[client].finish(id);
    net.net.run_until(300 * SECOND, |net| net[client].connection(id).phase().is_over());
    net.net[client].take_connection(id)
}

#[test]
fn a_restarted_director_refuses_what_it_does_not_know_as_ipvs_does() {
    let (mut net, vip, config) = echo_cluster(Knobs::default());
    let id = open_echo(&mut net, vip);
    restart(&mut net, &config, vip);
    let connection = finish(&mut net, id);
    assert_eq!(connection.phase(), Phase::Reset);
    assert_eq!(connection.received(), b"before ");
}

#[test]
fn a_restarted_director_that_hashes_goes_on_where_it_was() {
    let (mut net, vip, config) = echo_cluster(Knobs { on_miss: OnMiss::Hash, ..Knobs::default() });
    let ids: Vec<_> = (0..20).map(|_| open_echo(&mut net, vip)).collect();
    restart(&mut net, &config, vip);
    for id in ids {
        let connection = finish(&mut net, id);
        assert_eq!((connection.phase(), connection.received()), (Phase::Closed, &b"before after"[..]));
    }
    assert_eq!(made(&net), 0, "what is hashed makes no connection");
}

#[test]
fn a_director_that_is_gone_leaves_a_connection_hanging_until_it_is_back() {
    let (mut net, vip, _) = echo_cluster(Knobs::default());
    let id = open_echo(&mut net, vip);
    let link = net.net.link_of(net.director, 0).unwrap();
    net.net.set_link(link, false);
    let client = net.client;
    net.net[client].write(id, b"meanwhile ");
    net.net.run_for(20 * SECOND);
    assert_eq!(net.net[client].connection(id).received(), b"before ");
    net.net.set_link(link, true);
    let connection = finish(&mut net, id);
    assert_eq!((connection.phase(), connection.received()), (Phase::Closed, &b"before meanwhile after"[..]));
}

#[test]
fn connections_to_a_failing_server_are_lost_until_it_is_taken_out() {
    let (mut net, vip) = web(TopologyOptions::default());
    let pages: Vec<_> = (0..4).map(|_| net.fetch(vip, "/").unwrap()).collect();
    assert_eq!(pages.iter().filter(|page| *page == "<h1>server 1</h1>").count(), 2, "{pages:?}");
    let dead = net.servers[0];
    let link = net.net.link_of(dead.host, 0).unwrap();
    net.net.set_link(link, false);
    let served = (0..6).filter(|_| net.fetch(vip, "/").is_some()).count();
    assert_eq!(served, 3, "every other one goes to the dead server");
    let lost = |event: &Event| matches!(event, Event::NeighbourLost { address, .. } if *address == dead.addresses.v4);
    net.net.run_for(60 * SECOND);
    let events = net.net[net.director].take_events();
    assert!(events.iter().any(lost), "{events:?}");

    let service = ServiceKey::tcp(vip.ip(), vip.port());
    let remove = Change::RemoveDestination { service, address: dead.addresses.v4, port: vip.port() };
    net.apply(&[remove]).unwrap();
    let pages: Vec<_> = (0..4).map(|_| net.fetch(vip, "/")).collect();
    assert_eq!(pages, vec![Some("<h1>server 2</h1>".to_owned()); 4]);
}

#[test]
fn a_service_that_stops_refuses() {
    let (mut net, vip) = web(TopologyOptions { servers: 1, ..TopologyOptions::default() });
    net.net[net.servers[0].host].stop_listening(80);
    let client = net.client;
    let id = net.net[client].open(vip);
    net.net.run_until(SECOND, |net| net[client].connection(id).phase().is_over());
    assert_eq!(net.net[client].connection(id).phase(), Phase::Refused);
}

/// A second director on the segment of the first, with an address of its own and the same VIP.
fn second_director(net: &mut Topology, vip: SocketAddr) -> NodeId<DirectorNode> {
    let mut interface = net.net[net.director].director().interfaces()[0].clone();
    interface.mac = MacAddr([2, 0, 0, 0, 0, 245]);
    interface.addresses = vec!["192.168.0.245/24".parse().unwrap()];
    let mut config = DirectorConfig::new(vec![interface], [3; 32]);
    config.max_connections = 4096;
    let now = net.net.now();
    let mut director = DirectorNode::new(config, now).unwrap();
    let key = ServiceKey::tcp(vip.ip(), vip.port());
    let service = ServiceConfig::new(key, SchedulerKind::RoundRobin);
    let server = DestinationConfig::new(net.servers[0].addresses.v4, vip.port());
    let changes = [Change::AddService(service), Change::AddDestination(key, server)];
    director.director_mut().apply(now, &changes).unwrap();
    let id = net.net.add("second", director);
    let port = 20;
    net.net.connect((id, 0), (net.switches[0], port), LinkOptions::default());
    id
}

#[test]
fn two_directors_with_one_vip_see_each_other() {
    let (mut net, vip) = web(TopologyOptions::default());
    net.net[net.director].take_events();
    let second = second_director(&mut net, vip);
    net.net.run_for(10 * SECOND);
    let saw = |events: Vec<Event>, other: MacAddr| {
        let conflict = |event: &Event| matches!(event, Event::AddressConflict { address, mac, .. } if *address == vip.ip() && *mac == other);
        assert!(events.iter().any(conflict), "{events:?}");
    };
    let macs = (net.director_macs[0], MacAddr([2, 0, 0, 0, 0, 245]));
    saw(net.net[net.director].take_events(), macs.1);
    saw(net.net[second].take_events(), macs.0);
    // Clients are served all the same, by whichever the router believes.
    for _ in 0..4 {
        assert!(net.fetch(vip, "/").is_some());
    }
}

/// Topology C: requests come by one card and go to the servers by the other.
#[test]
fn a_director_with_two_cards_serves() {
    let mut net = Topology::c(TopologyOptions::default());
    let vip = SocketAddr::new(net.vips.v4, 80);
    net.serve_pages(80);
    net.add_service(ServiceKey::tcp(vip.ip(), 80), SchedulerKind::RoundRobin);
    net.settle();
    let (front, back) = (net.net.capture(net.director, 0), net.net.capture(net.director, 1));
    let mut pages: Vec<_> = (0..4).map(|_| net.fetch(vip, "/").unwrap()).collect();
    pages.sort_unstable();
    assert_eq!(pages, ["<h1>server 1</h1>", "<h1>server 1</h1>", "<h1>server 2</h1>", "<h1>server 2</h1>"]);
    let from_vip = |frame: &CapturedFrame| {
        let ip = Summary::of(&frame.bytes).unwrap().ip;
        ip.is_some_and(|ip| ip.source == vip.ip())
    };
    let replies =
        [front, back].map(|capture| net.net.captured(capture).iter().filter(|f| from_vip(f)).count());
    assert_eq!(replies, [0, 0], "replies never pass the director");
}

/// Topology A: everybody in one segment, and the client sees the pages alternate.
#[test]
fn one_segment_serves() {
    let mut net = Topology::a(TopologyOptions::default());
    let vip = SocketAddr::new(net.vips.v4, 80);
    net.serve_pages(80);
    net.add_service(ServiceKey::tcp(vip.ip(), 80), SchedulerKind::RoundRobin);
    net.settle();
    let pages: Vec<_> = (0..4).map(|_| net.fetch(vip, "/").unwrap()).collect();
    assert!(pages[0] == pages[2] && pages[1] == pages[3] && pages[0] != pages[1], "{pages:?}");
}

/// What another program on the director's host sends leaves as it is, and neither the director nor its counters know of it.
#[test]
fn a_program_beside_the_director_can_send() {
    let (mut net, vip) = web(TopologyOptions::default());
    let (director, server) = (net.director, net.servers[0]);
    let (capture, before) = (net.net.capture(server.host, 0), net.net[director].director().statistics());
    let (IpAddr::V4(rip), IpAddr::V4(vip)) = (server.addresses.v4, vip.ip()) else {
        panic!("topology B has IPv4")
    };
    let frame = frames::arp_request(net.director_macs[0], vip, rip).build();
    net.net[director].transmit(PortId(0), frame.clone());
    net.net.run_until_idle(SECOND);
    assert!(net.net.captured(capture).iter().any(|seen| seen.bytes == frame));
    assert_eq!(net.net[director].director().statistics().transmitted, before.transmitted);
}
