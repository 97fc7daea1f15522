//! Networks in which nothing is wrong: no finding, whatever runs beside, however often.

use std::net::SocketAddr;

use lvs_core::Subnet;
use lvs_testkit::lab::{Topology, TopologyOptions, udp};
use nix::sys::signal::Signal;

use crate::clinic::{examine, run, web, web_with};
use crate::cluster::{Cluster, Family, RULES, in_turn};
use crate::program::Start;
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_healthy_network_has_no_findings_however_often", repeated),
    ("a_healthy_network_of_both_families_in_one_segment", both_families),
    ("a_healthy_network_with_two_interfaces", two_interfaces),
    ("a_healthy_network_while_a_director_runs_undisturbed", beside_a_director),
    ("a_healthy_network_whose_dip_the_running_director_owns", owned_dip),
    ("a_healthy_network_with_jumbo_frames", jumbo),
    ("udp_services_that_are_silent_are_no_finding", silent_udp),
    ("without_offloads_af_xdp_can_live", complete_checksums),
];

fn repeated() -> Outcome {
    for family in [Family::V4, Family::V6] {
        let cluster = web(family)?;
        for _ in 0..3 {
            examine(&cluster, family, "")?.assert_healthy();
        }
        let ended = run(&cluster, family, "")?;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stdout);
        // The servers know the DIP since the first run; another address makes them look.
        let expected = "2 of 2 real servers were seen looking for";
        if family == Family::V4 {
            assert!(ended.stdout.contains(expected) && !ended.stdout.contains("\n? "), "{}", ended.stdout);
        }
        assert!(ended.stdout.contains("\n✓ ") && !ended.stdout.contains('✗'), "{}", ended.stdout);
        assert!(ended.stdout.contains("\nnothing is wrong"), "{}", ended.stdout);
    }
    Ok(())
}

fn both_families() -> Outcome {
    let cluster = Cluster::of(Topology::a(TopologyOptions { servers: 3, ..Default::default() })?)?;
    let rules = [Family::V4, Family::V6].map(|family| cluster.rules("-t", family, 80, "rr", &[]));
    cluster.write_rules(&rules.concat())?;
    let [v4, v6] = cluster.net.dips[0];
    let options = format!("--interface eth0 --dip {v4} --dip {v6} --rules {RULES} --json");
    let start =
        Start::program(crate::clinic::DOCTOR, &cluster.net.director, cluster.directory.path(), &options);
    crate::clinic::report(start.run()?.wait()?)?.assert_healthy();
    Ok(())
}

fn two_interfaces() -> Outcome {
    let cluster = Cluster::of(Topology::c(TopologyOptions::default())?)?;
    for family in [Family::V4, Family::V6] {
        cluster.write_rules(&cluster.rules("-t", family, 80, "rr", &[]))?;
        examine(&cluster, family, "")?.assert_healthy();
    }
    Ok(())
}

fn beside_a_director() -> Outcome {
    for family in [Family::V4, Family::V6] {
        let cluster = web(family)?;
        let director = cluster.start(family, &cluster.rules("-t", family, 80, "rr", &[]))?;
        assert_eq!(cluster.fetch_in_turn(family, 2)?, in_turn(&["server2", "server1"], 2));
        examine(&cluster, family, "")?.assert_healthy();
        assert_eq!(cluster.fetch_in_turn(family, 4)?, in_turn(&["server2", "server1"], 4));
        let ended = director.stop(Signal::SIGTERM)?;
        for trouble in ["claims", "moved", "does not answer", "WARN"] {
            assert_eq!(ended.lines(trouble), [""; 0], "{:#?}", ended.log);
        }
    }
    Ok(())
}

/// The kernel has no address then: director and doctor answer for the DIP.
fn owned_dip() -> Outcome {
    let cluster = web(Family::V4)?;
    let [v4, _] = cluster.net.dips[0];
    cluster.net.director.remove_address("eth0", v4)?;
    let director = cluster.start_web()?;
    examine(&cluster, Family::V4, "")?.assert_healthy();
    assert_eq!(cluster.fetch_in_turn(Family::V4, 2)?, in_turn(&["server2", "server1"], 2));
    director.stop(Signal::SIGTERM)?;
    Ok(())
}

fn jumbo() -> Outcome {
    let cluster = web_with(Family::V4, TopologyOptions { mtu: 9000, ..Default::default() })?;
    examine(&cluster, Family::V4, "")?.assert_healthy();
    Ok(())
}

fn silent_udp() -> Outcome {
    let cluster = web(Family::V4)?;
    let everywhere = SocketAddr::new([0; 4].into(), 53);
    let hosts = cluster.net.servers.iter().map(|server| &server.host);
    // Both kinds of service in one file. An echo server answers even an empty datagram; the other one's port is closed.
    let _echoes: Vec<_> = hosts.map(|host| udp::Echo::start(host, everywhere)).collect::<Result<_, _>>()?;
    let rules =
        [cluster.rules("-u", Family::V4, 53, "rr", &[]), cluster.rules("-t", Family::V4, 80, "rr", &[])];
    cluster.write_rules(&rules.concat())?;
    examine(&cluster, Family::V4, "")?.assert_healthy();
    Ok(())
}

fn complete_checksums() -> Outcome {
    let cluster = web_with(Family::V4, TopologyOptions { offload: false, ..Default::default() })?;
    examine(&cluster, Family::V4, "--io xdp")?.assert_healthy();
    // What AF_PACKET carries is no finding for AF_PACKET.
    let cluster = web(Family::V4)?;
    let free: Subnet = "192.168.0.77/24".parse()?;
    let probe = format!("--probe-address {}", free.address());
    examine(&cluster, Family::V4, &probe)?.assert_healthy();
    Ok(())
}
