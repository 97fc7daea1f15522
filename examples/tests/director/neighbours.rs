//! Real servers that fall silent, move to another Ethernet address, or claim the VIP.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use lvs_testkit::frames::{Summary, mac, v4};
use lvs_testkit::lab::{Capture, Direction, http};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family, in_turn};
use crate::program::{PATIENCE, Program};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_server_that_falls_silent_is_lost_and_one_that_moved_is_found", silent),
    ("a_server_that_comes_late_is_learnt", late),
    ("a_server_that_says_its_new_address_keeps_its_connections", moved),
    ("a_server_that_claims_the_vip_is_reported_and_the_vip_defended", conflict),
    ("a_fixed_neighbour_needs_no_arp", fixed),
];

/// A known server is asked again after at most 27.5 s, and six times in vain with at most 1.125 s between.
const LOST_AT_LATEST: Duration = Duration::from_secs(40);

const NEW_MAC: &str = "02:00:00:00:00:77";

/// The web service with all servers' Ethernet addresses known.
fn start_known(cluster: &Cluster) -> Result<Program, Failed> {
    let director = cluster.start_web()?;
    director.wait_for(" is at ", cluster.net.servers.len(), PATIENCE)?;
    Ok(director)
}

fn silent() -> Outcome {
    let cluster = Cluster::b(2)?;
    let director = start_known(&cluster)?;
    let [server1, server2] = &cluster.net.servers[..] else { return Err("two servers".into()) };
    let switch = &cluster.net.switches[0];
    switch.set_cable("server1", "eth0", false)?;
    server2.host.set_mac("eth0", mac(NEW_MAC))?;

    // Nobody tells the director; it notices when it asks again.
    let moved = format!("192.168.0.111 moved from {} to {NEW_MAC} on eth0", server2.mac);
    director.wait_for(&moved, 1, LOST_AT_LATEST)?;
    director.wait_for("192.168.0.188 does not answer on eth0", 1, LOST_AT_LATEST)?;
    assert_eq!(cluster.fetch(Family::V4)?, "server2");
    assert!(cluster.is_silent(Duration::from_millis(500)), "it is server1's turn, and that is off");
    assert_eq!(cluster.fetch(Family::V4)?, "server2");

    switch.set_cable("server1", "eth0", true)?;
    // The request makes the director ask at once.
    assert_eq!(cluster.fetch(Family::V4)?, "server1");
    director.wait_for(&format!("192.168.0.188 is at {} on eth0", server1.mac), 2, PATIENCE)?;
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.lines("does not answer").len(), 1, "{:#?}", ended.log);
    assert_eq!(ended.lines("moved").len(), 1, "{:#?}", ended.log);
    Ok(())
}

fn late() -> Outcome {
    let cluster = Cluster::b(2)?;
    let switch = &cluster.net.switches[0];
    switch.set_cable("server2", "eth0", false)?;
    let director = cluster.start_web()?;
    director.wait_for("192.168.0.111 does not answer on eth0", 1, PATIENCE)?;
    switch.set_cable("server2", "eth0", true)?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2", "server1"], 4));
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.lines("192.168.0.111 is at 02:00:00:00:00:6f on eth0").len(), 1, "{:#?}", ended.log);
    assert_eq!(ended.lines("does not answer").len(), 1, "{:#?}", ended.log);
    Ok(())
}

fn moved() -> Outcome {
    let cluster = Cluster::b(2)?;
    let director = start_known(&cluster)?;
    let server = &cluster.net.servers[1];
    let mut kept = http::Client::connect(&cluster.net.client, cluster.web(Family::V4), PATIENCE)?;
    assert_eq!(kept.get("/", PATIENCE)?.body, "server2");
    // As in a failover: the new card announces the address.
    server.host.sysctl("net.ipv4.conf.eth0.arp_notify", "1")?;
    server.host.set_mac("eth0", mac(NEW_MAC))?;
    let line = format!("192.168.0.111 moved from {} to {NEW_MAC} on eth0", server.mac);
    director.wait_for(&line, 1, PATIENCE)?;
    assert_eq!(kept.get("/", PATIENCE)?.body, "server2");
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server1", "server2"], 4));
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.lines("moved").len(), 1, "{:#?}", ended.log);
    Ok(())
}

/// A real server without the cure for the ARP problem tells everybody about the VIP as soon as it looks for its
/// gateway with an answer to a client in hand.
fn conflict() -> Outcome {
    let cluster = Cluster::b(2)?;
    let director = start_known(&cluster)?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 2)?, in_turn(&["server2", "server1"], 2));
    let (own_mac, server) = (cluster.net.director_macs[0], &cluster.net.servers[1]);
    let router = cluster.net.router.as_ref().ok_or("topology B has a router")?;
    let capture = Capture::start(router, "eth1")?;
    server.host.quiet_arp("eth0", false)?;
    server.host.remove_neighbour("eth0", v4("192.168.0.15").into())?;
    assert_eq!(cluster.fetch(Family::V4)?, "server2");

    let claim = format!("{} on eth0 claims 192.168.0.250", server.mac);
    director.wait_for(&claim, 1, PATIENCE)?;
    let defence = capture.wait_for(PATIENCE, |frame| {
        let arp = Summary::of(&frame.bytes).and_then(|summary| summary.arp);
        frame.direction == Direction::In
            && arp.is_some_and(|arp| {
                (arp.sender, arp.target, arp.sender_mac)
                    == (cluster.net.vips.v4, cluster.net.vips.v4, own_mac)
            })
    });
    assert!(defence.is_some(), "the director announces the VIP again");
    // The router is not fooled for long, and the service goes on as before.
    let deadline = Instant::now() + PATIENCE;
    while router.neighbour(cluster.net.vips.v4)?.and_then(|entry| entry.mac) != Some(own_mac) {
        assert!(
            Instant::now() < deadline,
            "the router sends to {:?}",
            router.neighbour(cluster.net.vips.v4)?
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(cluster.fetch_in_turn(Family::V4, 6)?, in_turn(&["server1", "server2"], 6));
    let ended = director.stop(Signal::SIGTERM)?;
    let conflicts = ended.lines("claims");
    assert_eq!(conflicts.len(), 1, "once in ten seconds: {conflicts:#?}");
    assert!(conflicts[0].contains("arp_ignore=1 and arp_announce=2"), "{conflicts:?}");
    Ok(())
}

fn fixed() -> Outcome {
    let cluster = Cluster::b(2)?;
    let server = &cluster.net.servers[0];
    // Never answers for any address (the kernel's ip-sysctl.rst).
    server.host.sysctl("net.ipv4.conf.all.arp_ignore", "8")?;
    let director = cluster.start_web()?;
    director.wait_for("192.168.0.188 does not answer on eth0", 1, PATIENCE)?;
    director.stop(Signal::SIGTERM)?;

    let fixed = format!("--neighbour 192.168.0.188={}", server.mac);
    let director = cluster.director(Family::V4, &fixed).run()?;
    director.wait_ready()?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2", "server1"], 4));
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.lines("192.168.0.188 "), [""; 0]);
    Ok(())
}
