//! Two hosts on a cable: what their sockets and their ARP do in corners that the stories do not reach.

use lvs_core::PortId;
use lvs_testkit::frames::{self, Summary, TcpFlags, addr, socket, station, v4};
use lvs_testkit::sim::{Host, Interface, LinkOptions, Network, NodeId, Phase, Scope, Station};

use super::SECOND;

const SERVER: &str = "10.0.0.2:80";

fn host(number: u16) -> Host {
    let mut host = Host::new();
    let subnet = format!("10.0.0.{number}/24").parse().unwrap();
    host.add_interface(Interface::new("eth0", station(number)).address(subnet));
    host
}

/// A client and a server with a page.
fn pair(options: LinkOptions) -> (Network, NodeId<Host>, NodeId<Host>) {
    let mut net = Network::new(1);
    let (client, server) = (net.add("client", host(1)), net.add("server", host(2)));
    net.connect((client, 0), (server, 0), options);
    net[server].serve_page(80, "page");
    (net, client, server)
}

fn phase_of(net: &mut Network, client: NodeId<Host>, remote: &str) -> Phase {
    let id = net[client].fetch(socket(remote), "/");
    net.run_until(200 * SECOND, |net| net[client].connection(id).phase().is_over());
    net[client].connection(id).phase()
}

#[test]
fn each_end_of_a_connection_has_its_name() {
    let (mut net, client, server) = pair(LinkOptions::default());
    assert_eq!(phase_of(&mut net, client, SERVER), Phase::Closed);
    assert_eq!(phase_of(&mut net, client, "10.0.0.2:81"), Phase::Refused);
    assert_eq!(phase_of(&mut net, client, "10.0.0.9:80"), Phase::Unreachable, "nobody answers ARP");
    assert_eq!(phase_of(&mut net, client, "8.8.8.8:80"), Phase::Unreachable, "there is no route");
    // Whoever is known and silent is waited for.
    let link = net.link_of(server, 0).unwrap();
    net.set_link_options(link, LinkOptions { loss: 1.0, ..LinkOptions::default() });
    let now = net.now();
    net[client].set_neighbour(now, "eth0", addr("10.0.0.2"), Some(station(2)));
    assert_eq!(phase_of(&mut net, client, SERVER), Phase::TimedOut);
}

#[test]
fn a_host_reaches_itself() {
    let (mut net, _, server) = pair(LinkOptions::default());
    let capture = net.capture(server, 0);
    assert_eq!(phase_of(&mut net, server, SERVER), Phase::Closed);
    assert_eq!(phase_of(&mut net, server, "127.0.0.1:80"), Phase::Closed);
    assert!(net.captured(capture).is_empty(), "nothing of it leaves");
}

#[test]
fn a_connection_that_is_dropped_is_reset() {
    let (mut net, client, server) = pair(LinkOptions::default());
    let id = net[client].open(socket(SERVER));
    net.run_until(SECOND, |net| net[client].connection(id).phase() == Phase::Open);
    let capture = net.capture(server, 0);
    net[client].take_connection(id);
    net.run_until_idle(SECOND);
    let resets = net.captured(capture).iter().filter(|frame| {
        let tcp = Summary::of(&frame.bytes).and_then(|summary| summary.ip).and_then(|ip| ip.tcp);
        tcp.is_some_and(|tcp| tcp.flags.0 & TcpFlags::RST.0 != 0)
    });
    assert_eq!(resets.count(), 1);
}

/// The server has closed first and waits for stragglers; the client comes again from the same port.
#[test]
fn a_port_may_be_used_again_at_once() {
    let (mut net, client, server) = pair(LinkOptions::default());
    for n in 1..=3 {
        let id = net[client].open_from(socket("10.0.0.1:5000"), socket(SERVER));
        net[client].write(id, b"GET / HTTP/1.0\r\n\r\n");
        net.run_until(5 * SECOND, |net| net[client].connection(id).phase().is_over());
        assert_eq!(net[client].take_connection(id).page(), Some("page"));
        assert_eq!(net[server].accepted(80), n);
    }
}

/// Every frame comes twice, and each connection is one all the same.
#[test]
fn a_segment_that_comes_twice_opens_no_second_connection() {
    let (mut net, client, server) = pair(LinkOptions { duplication: 1.0, ..LinkOptions::default() });
    for n in 1..=20 {
        assert_eq!(phase_of(&mut net, client, SERVER), Phase::Closed);
        assert_eq!(net[server].accepted(80), n);
    }
}

#[test]
fn a_closed_udp_port_is_unreachable() {
    let (mut net, client, _) = pair(LinkOptions::default());
    assert!(net[client].send_udp(5000, socket("10.0.0.2:99"), b"anybody?"));
    net.run_until_idle(SECOND);
    let messages = net[client].take_messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!((messages[0].kind, messages[0].about), ((3, 3), Some(addr("10.0.0.2"))));
}

/// Asks by hand, on a card of a host, and answers whether there was a reply.
fn answers(host: Host, card: u16, sender: &str, target: &str) -> bool {
    let mut net = Network::new(1);
    let (asker, host) = (net.add("asker", Station::new()), net.add("host", host));
    net.connect((asker, 0), (host, card), LinkOptions::default());
    net[asker].send(PortId(0), frames::arp_request(station(9), v4(sender), v4(target)).build());
    net.run_until_idle(SECOND);
    !net[asker].take_received().is_empty()
}

#[test]
fn scopes_count_for_arp_ignore_3_only() {
    let table =
        [(0, Scope::Host, true), (3, Scope::Host, false), (3, Scope::Link, true), (8, Scope::Global, false)];
    for (arp_ignore, scope, expected) in table {
        let mut host = host(2);
        host.add_scoped_address("lo", "10.9.9.9/32".parse().unwrap(), scope);
        host.conf_mut("eth0").arp_ignore = arp_ignore;
        assert_eq!(answers(host, 0, "10.0.0.1", "10.9.9.9"), expected, "arp_ignore={arp_ignore}, {scope:?}");
    }
}

#[test]
fn the_larger_of_all_and_the_interface_counts() {
    for (all, own, expected) in [(0, 0, true), (1, 0, false), (0, 1, false), (1, 1, false)] {
        let mut host = host(2);
        host.hold_vip(addr("10.9.9.9"));
        host.conf_mut("all").arp_ignore = all;
        host.conf_mut("eth0").arp_ignore = own;
        host.conf_mut("lo").arp_ignore = 8;
        assert_eq!(answers(host, 0, "10.0.0.1", "10.9.9.9"), expected, "all={all}, eth0={own}");
    }
}

#[test]
fn arp_filter_answers_by_the_card_that_leads_back() {
    for (filter, card, expected) in [(false, 0, true), (true, 0, false), (true, 1, true)] {
        let mut host = host(2);
        let second = Interface::new("eth1", station(3)).port(1);
        host.add_interface(second.address("10.1.0.2/24".parse().unwrap()));
        host.conf_mut("all").arp_filter = filter;
        assert_eq!(answers(host, card, "10.1.0.9", "10.0.0.2"), expected, "filter {filter}, card {card}");
    }
}

#[test]
fn what_is_only_overheard_is_not_learnt() {
    let mut net = Network::new(1);
    let (talker, host) = (net.add("talker", Station::new()), net.add("host", host(2)));
    net.connect((talker, 0), (host, 0), LinkOptions::default());
    let other = addr("10.0.0.7");
    let known = |net: &Network| net[host].neighbour(net.now(), "eth0", other).and_then(|known| known.mac);
    // A question to somebody else, an announcement, an answer that nobody asked for.
    for frame in [
        frames::arp_request(station(7), v4("10.0.0.7"), v4("10.0.0.5")).build(),
        frames::arp_announcement(station(7), v4("10.0.0.7")).build(),
        frames::arp_reply(station(7), v4("10.0.0.7"), station(2), v4("10.0.0.2")).build(),
    ] {
        net[talker].send(PortId(0), frame);
        net.run_until_idle(SECOND);
        assert_eq!(known(&net), None);
    }
    // A question to the host.
    net[talker].send(PortId(0), frames::arp_request(station(7), v4("10.0.0.7"), v4("10.0.0.2")).build());
    net.run_until_idle(SECOND);
    assert_eq!(known(&net), Some(station(7)));
    // From now on an announcement changes it; of several answers in a row the first counts.
    net[talker].send(PortId(0), frames::arp_announcement(station(8), v4("10.0.0.7")).build());
    net.run_until_idle(SECOND);
    assert_eq!(known(&net), Some(station(8)));
    let answer = |mac| frames::arp_reply(mac, v4("10.0.0.7"), station(2), v4("10.0.0.2")).build();
    net[talker].send(PortId(0), answer(station(9)));
    net.run_until_idle(SECOND);
    assert_eq!(known(&net), Some(station(8)));
    net.run_for(2 * SECOND);
    net[talker].send(PortId(0), answer(station(9)));
    net.run_until_idle(SECOND);
    assert_eq!(known(&net), Some(station(9)));
}
