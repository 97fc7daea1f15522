//! Networks in which nothing is wrong: no finding, whatever runs beside, however often.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use lvs_core::Subnet;
use lvs_testkit::lab::{Topology, TopologyOptions, udp};
use nix::sys::signal::Signal;

use crate::clinic::{DOCTOR, examine, run, web, web_with};
use crate::cluster::{Cluster, Family, RULES, in_turn};
use crate::program::{PATIENCE, Start};
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
    ("it_sleeps_while_it_waits_for_answers", sleeps),
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
    let start = Start::program(DOCTOR, &cluster.net.director, cluster.directory.path(), &options);
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

fn sleeps() -> Outcome {
    let cluster = web(Family::V4)?;
    let options = format!("{} --rules {RULES}", cluster.interfaces(Family::V4));
    let started = Instant::now();
    let program = Start::program(DOCTOR, &cluster.net.director, cluster.directory.path(), &options).run()?;
    // Nobody takes its last state away before it is waited for.
    let (mut ended, mut worked) = processor_time(program.id())?;
    while !ended && started.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
        (ended, worked) = processor_time(program.id())?;
    }
    let lasted = started.elapsed();
    assert_eq!(program.wait()?.status.code(), Some(0));
    // It takes a hundredth; one that asks again and again whether something came takes all it gets, and beside other tests
    // that is a quarter.
    assert!(worked < lasted / 10, "it worked for {worked:?} of {lasted:?}");
    Ok(())
}

/// Whether a process of ours has ended, and how long processors worked for it.
fn processor_time(process: u32) -> Result<(bool, Duration), Failed> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // proc_pid_stat(5): the second field is a name in parentheses, which may contain anything.
    let (_, fields) = text.rsplit_once(')').ok_or("a name in parentheses was expected")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [state, .., user, system] = fields[..13] else { return Err("too few fields".into()) };
    let ticks = user.parse::<u64>()? + system.parse::<u64>()?;
    Ok((state == "Z", Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)))
}

/// USER_HZ: 100 on every architecture in use.
const TICKS_PER_SECOND: u64 = 100;
