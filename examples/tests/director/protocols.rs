//! IPv6, UDP, ping, and addresses that the program answers for because the kernel does not have them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use lvs_core::MacAddr;
use lvs_testkit::frames::{Summary, echo_request, mld_query, neighbour_solicitation, v6};
use lvs_testkit::lab::{Capture, Direction, SwitchOptions, Topology, TopologyOptions, send_frame, udp};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family, in_turn};
use crate::program::PATIENCE;
use crate::{Outcome, Test, listing};

pub(crate) const TESTS: &[Test] = &[
    ("ipv6_works_behind_a_switch_that_snoops", ipv6),
    ("udp_is_balanced", udp_service),
    ("a_ping_to_a_vip_is_answered", ping_vip),
    ("a_dip_that_the_kernel_does_not_have_is_answered_for", own_dip),
];

/// A switch with snooping sends to a group only where it was joined, but only once a querier was heard. Then a
/// solicitation for the VIP reaches the director only because of its group reports.
fn ipv6() -> Outcome {
    let switch = SwitchOptions { snooping: true, querier: false };
    let cluster = Cluster::of(Topology::b(TopologyOptions { switch, ..Default::default() })?)?;
    let net = &cluster.net;
    let director = cluster.start(Family::V6, &cluster.rules("-t", Family::V6, 80, "rr", &[]))?;
    let router = net.router.as_ref().ok_or("topology B has a router")?;
    let router_mac = router.interface("eth1")?.mac;
    let link_local = modified_eui64(router_mac);
    // Answers are due within 100 ms; for as long the switch still floods.
    send_frame(router, "eth1", &mld_query(router_mac, link_local).rest([0, 100, 0, 0]).build())?;
    thread::sleep(Duration::from_millis(600));

    let capture = Capture::start(&net.director, "eth0")?;
    let IpAddr::V6(vip) = net.vips.v6 else { return Err("an IPv6 VIP".into()) };
    let nobody = v6("fd00:192::999");
    for target in [nobody, vip] {
        send_frame(router, "eth1", &neighbour_solicitation(router_mac, link_local, target).build())?;
    }
    let asked = |target: Ipv6Addr| {
        move |frame: &Summary| {
            frame.ip.as_ref().is_some_and(|ip| {
                ip.icmp == Some((135, 0)) && ip.neighbour_target == Some(IpAddr::V6(target))
            })
        }
    };
    let reached =
        capture.wait_for(PATIENCE, |frame| Summary::of(&frame.bytes).is_some_and(|s| asked(vip)(&s)));
    assert!(reached.is_some(), "the solicitation for the VIP reaches the director");
    let other =
        capture.stop()?.frames.iter().filter_map(|f| Summary::of(&f.bytes)).any(|s| asked(nobody)(&s));
    assert!(!other, "the switch floods: this test would prove nothing");

    assert_eq!(cluster.fetch_in_turn(Family::V6, 10)?, in_turn(&["server2", "server1"], 10));
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.total.name, "TCP [fd00:192::250]:80");
    assert_eq!(service.connections(), [("[fd00:192::111]:80", 5), ("[fd00:192::188]:80", 5)]);
    Ok(())
}

/// RFC 4291 appendix A.
fn modified_eui64(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

fn udp_service() -> Outcome {
    let cluster = Cluster::b(2)?;
    let service = SocketAddr::new(cluster.vip(Family::V4), 5000);
    let echoes: Result<Vec<_>, _> =
        cluster.net.servers.iter().map(|server| udp::Echo::start(&server.host, service)).collect();
    let echoes = echoes?;
    let director = cluster.start(Family::V4, &cluster.rules("-u", Family::V4, 5000, "rr", &[]))?;
    for expected in in_turn(&["server2:hello", "server1:hello"], 8) {
        let answer = udp::ask(&cluster.net.client, service, b"hello", PATIENCE)?;
        assert_eq!(String::from_utf8(answer)?, expected);
    }
    assert_eq!(echoes.iter().map(udp::Echo::answered).collect::<Vec<_>>(), [4, 4]);
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.total.name, "UDP 192.168.0.250:5000");
    // A datagram each: 20 bytes of IP header, 8 of UDP, 5 of payload.
    for server in &service.servers {
        assert_eq!((server.connections, server.in_packets, server.in_bytes), (4, 4, 4 * 33), "{service:?}");
    }
    Ok(())
}

/// Pings from the client by way of the router: how many answers came within a moment. Each ping is told from earlier
/// ones, which the router may have kept until somebody answered its ARP.
fn ping(cluster: &Cluster, target: IpAddr) -> Result<usize, Failed> {
    static SEQUENCE: AtomicU16 = AtomicU16::new(1);
    let net = &cluster.net;
    let router = net.router.as_ref().ok_or("topology B has a router")?;
    let own = match target {
        IpAddr::V4(_) => net.client_addresses.v4,
        IpAddr::V6(_) => net.client_addresses.v6,
    };
    let (from, to) = (net.client.interface("eth0")?.mac, router.interface("eth0")?.mac);
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let data = format!("ping number {sequence:05}").into_bytes();
    let request = echo_request(own, target, 77, sequence).payload(&data).macs(from, to).build();
    let capture = Capture::start(&net.client, "eth0")?;
    send_frame(&net.client, "eth0", &request)?;
    thread::sleep(Duration::from_millis(500));
    let answers = capture.stop()?.frames;
    let is_answer = |bytes: &[u8]| {
        Summary::of(bytes).and_then(|summary| summary.ip).is_some_and(|ip| {
            matches!(ip.icmp, Some((0 | 129, 0))) && (ip.source, ip.destination) == (target, own)
        }) && bytes.ends_with(&data)
    };
    Ok(answers.iter().filter(|frame| frame.direction == Direction::In && is_answer(&frame.bytes)).count())
}

fn ping_vip() -> Outcome {
    let cluster = Cluster::b(2)?;
    assert_eq!(ping(&cluster, cluster.vip(Family::V4))?, 0, "nobody else answers for the VIP");
    for family in [Family::V4, Family::V6] {
        let director = cluster.start(family, &cluster.rules("-t", family, 80, "rr", &[]))?;
        assert_eq!(ping(&cluster, cluster.vip(family))?, 1);
        director.stop(Signal::SIGTERM)?;
    }
    Ok(())
}

fn own_dip() -> Outcome {
    let cluster = Cluster::b(2)?;
    let [dip, dip6] = cluster.net.dips[0];
    cluster.net.director.remove_address("eth0", dip)?;
    cluster.net.director.remove_address("eth0", dip6)?;
    assert_eq!(ping(&cluster, dip.address())?, 0, "nobody has the DIP");
    let director = cluster.start_web()?;
    assert_eq!(director.lines("DIP 192.168.0.208/24 (answered for by this director)").len(), 1);
    assert_eq!(ping(&cluster, dip.address())?, 1);
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2", "server1"], 4));
    director.stop(Signal::SIGTERM)?;

    let director = cluster.start(Family::V6, &cluster.rules("-t", Family::V6, 80, "rr", &[]))?;
    assert_eq!(ping(&cluster, dip6.address())?, 1);
    assert_eq!(cluster.fetch_in_turn(Family::V6, 4)?, in_turn(&["server2", "server1"], 4));
    director.stop(Signal::SIGTERM)?;
    Ok(())
}
