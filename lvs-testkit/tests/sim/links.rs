//! Bytes arrive whole and in order, whatever the links do.

use std::net::SocketAddr;
use std::time::Duration;

use lvs_core::config::{SchedulerKind, ServiceKey};
use lvs_testkit::sim::{LinkOptions, Phase, Topology, TopologyOptions};

use super::{SECOND, pattern};

/// A cluster with an echo server behind the VIP, TCP and UDP.
fn echo(options: TopologyOptions) -> (Topology, SocketAddr) {
    let mut net = Topology::b(options);
    let vip = SocketAddr::new(net.vips.v4, 7);
    for server in net.servers.clone() {
        net.net[server.host].serve_echo(7);
        net.net[server.host].serve_udp_echo(7);
    }
    net.add_service(ServiceKey::tcp(vip.ip(), 7), SchedulerKind::RoundRobin);
    net.add_service(ServiceKey::udp(vip.ip(), 7), SchedulerKind::RoundRobin);
    net.settle();
    (net, vip)
}

/// Sends bytes there and back; they must come back as they went. Answers the time it took.
fn transfer(net: &mut Topology, vip: SocketAddr, bytes: &[u8]) -> Duration {
    let client = net.client;
    let id = net.net[client].open(vip);
    net.net[client].write(id, bytes);
    net.net[client].finish(id);
    net.net.run_until(3600 * SECOND, |net| net[client].connection(id).phase().is_over());
    let connection = net.net[client].take_connection(id);
    assert_eq!(connection.phase(), Phase::Closed, "{}", net.net.state());
    assert!(connection.received() == bytes, "{} of {} bytes", connection.received().len(), bytes.len());
    connection.ended().unwrap().saturating_duration_since(connection.started().unwrap())
}

#[test]
fn bytes_are_exact_on_good_links() {
    let (mut net, vip) = echo(TopologyOptions::default());
    transfer(&mut net, vip, &pattern(3_000_000));
    transfer(&mut net, vip, b"");
}

/// Loss, duplication, reordering and jitter on every link at once, with several seeds.
#[test]
fn bytes_are_exact_on_bad_links() {
    for seed in 1..=5 {
        let (mut net, vip) = echo(TopologyOptions { seed, ..TopologyOptions::default() });
        let bad = LinkOptions {
            delay: Duration::from_millis(2),
            jitter: Duration::from_micros(500),
            loss: 0.01,
            duplication: 0.02,
            reordering: 0.03,
            ..LinkOptions::default()
        };
        let ends =
            [(net.client, 0), (net.router.unwrap(), 1), (net.servers[0].host, 0), (net.servers[1].host, 0)];
        let links = ends.map(|(node, port)| net.net.link_of(node, port).unwrap());
        for link in links {
            net.net.set_link_options(link, bad);
        }
        for _ in 0..4 {
            transfer(&mut net, vip, &pattern(200_000));
        }
        let lost: u64 = links.iter().map(|link| net.net.link_statistics(*link).lost).sum();
        let twice: u64 = links.iter().map(|link| net.net.link_statistics(*link).duplicated).sum();
        assert!(lost > 10 && twice > 20, "seed {seed}: {lost} lost, {twice} twice");
    }
}

#[test]
fn a_slow_link_takes_its_time() {
    let (mut net, vip) = echo(TopologyOptions::default());
    let link = net.net.link_of(net.client, 0).unwrap();
    net.net.set_link_options(link, LinkOptions { rate: Some(8_000_000), ..LinkOptions::default() });
    let took = transfer(&mut net, vip, &pattern(1_000_000));
    // A million bytes a second, with headers; there and back at the same time.
    assert!((SECOND..3 * SECOND).contains(&took), "{took:?}");
}

#[test]
fn datagrams_come_back_from_the_vip() {
    let (mut net, vip) = echo(TopologyOptions::default());
    let client = net.client;
    for n in 0..10u8 {
        assert!(net.net[client].send_udp(5000 + u16::from(n), vip, &[n; 900]));
    }
    net.net.run_until_idle(SECOND);
    let mut datagrams = net.net[client].take_datagrams();
    assert_eq!(datagrams.len(), 10);
    // What waited for a server's Ethernet address has been overtaken.
    datagrams.sort_by_key(|datagram| datagram.local.port());
    for (datagram, n) in datagrams.iter().zip(0u8..) {
        assert_eq!((datagram.remote, &datagram.bytes), (vip, &vec![n; 900]));
        assert_eq!(datagram.local.port(), 5000 + u16::from(n));
    }
}

/// A frame that is longer than a link's MTU is lost there; the router says so where its own card is narrower.
#[test]
fn too_long_is_said_by_a_router_and_lost_on_a_link() {
    let (mut net, vip) = echo(TopologyOptions::default());
    let client = net.client;
    let link = net.net.link_of(net.router.unwrap(), 1).unwrap();
    net.net.set_link_options(link, LinkOptions { mtu: 1000, ..LinkOptions::default() });
    net.net[client].send_udp(5000, vip, &[1; 1200]);
    net.net.run_until_idle(SECOND);
    assert_eq!(net.net.link_statistics(link).too_long, 1);
    assert!(net.net[client].take_datagrams().is_empty() && net.net[client].take_messages().is_empty());
}
