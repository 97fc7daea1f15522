//! The director on a TAP device of a bridge: an appliance on a host of containers. It runs in the host of the switch; what
//! topology B has for a director stands by.

use std::net::SocketAddr;

use caps::Capability;
use lvs_core::Subnet;
use lvs_io_tap::{OpenError, TapConfig, TapIo, TapPort};
use lvs_testkit::lab::{Host, bulk};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family, RULES, in_turn};
use crate::program::{PATIENCE, Start};
use crate::usage::refused;
use crate::{Outcome, Test, listing};

pub(crate) const TESTS: &[Test] = &[
    ("on_a_tap_two_servers_answer_in_turn_and_nothing_stays_behind", two_servers),
    ("on_a_tap_ipv6_and_uploads_work_with_workers", uploads),
    ("on_a_tap_that_is_there_no_rights_are_needed", kept),
    ("on_a_tap_that_is_deleted_the_director_ends", deleted),
    ("on_a_tap_what_is_wrong_is_named_with_its_cure", wrong),
    ("on_a_tap_a_server_that_loses_its_vip_is_found", lost_vip),
];

fn lost_vip() -> Outcome {
    let cluster = Cluster::b(2)?;
    firewall(&cluster, "0");
    let options = format!("{OPTIONS} --dip 192.168.0.207/24 --gateway 192.168.0.15");
    crate::health::finds_a_lost_vip(&cluster, host(&cluster), &options)
}

/// The bridge of a switch of the lab.
const BRIDGE: &str = "bridge";
const OPTIONS: &str = "--io tap --interface tap0 --bridge bridge";

/// Why there are no TAP devices here, if there are none.
pub(crate) fn refusal() -> Option<String> {
    match Host::new("probe").ok()?.run(|| TapIo::open(TapConfig::new(["probe0"]))) {
        Err(error @ (OpenError::NoTun { .. } | OpenError::TunDenied)) => Some(error.to_string()),
        _ => None,
    }
}

/// Bridges without a firewall. Where the kernel has none for them there is nothing to turn off.
fn firewall(cluster: &Cluster, value: &str) -> bool {
    let set = |family| host(cluster).sysctl(&format!("net.bridge.bridge-nf-call-{family}"), value).is_ok();
    ["iptables", "ip6tables"].map(set) == [true; 2]
}

fn host(cluster: &Cluster) -> &Host {
    cluster.net.switches[0].host()
}

fn director<'a>(cluster: &'a Cluster, options: &str) -> Start<'a> {
    let options = format!("{options} --gateway 192.168.0.15 --rules {RULES}");
    Start::director(host(cluster), cluster.directory.path(), &options)
}

fn two_servers() -> Outcome {
    let cluster = Cluster::b(2)?;
    firewall(&cluster, "0");
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let mut macs = Vec::new();
    for _ in 0..2 {
        let director = director(&cluster, &format!("{OPTIONS} --dip 192.168.0.209/24")).run()?;
        director.wait_ready()?;
        assert_eq!(cluster.fetch_in_turn(Family::V4, 10)?, in_turn(&["server2", "server1"], 10));
        let kernels = host(&cluster).interface("tap0")?;
        assert!(kernels.up && kernels.mtu == 65_521, "{kernels:?}");
        let ended = director.stop(Signal::SIGTERM)?;
        assert_eq!(ended.status.code(), Some(0));
        for line in [
            "tap0: made, goes when this program ends",
            "tap0: MTU set to 65521",
            "tap0: joined to bridge bridge",
            "tap0: set up",
            "tap0 is up",
        ] {
            assert_eq!(ended.lines(line).len(), 1, "{line}: {:#?}", ended.log);
        }
        assert_eq!(ended.lines("WARN"), [""; 0]);
        assert_eq!(
            ended.lines("; lost: 0 before they were read, 0 on the way out").len(),
            1,
            "{:#?}",
            ended.log
        );
        let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
        assert_eq!(service.connections(), [("192.168.0.111:80", 5), ("192.168.0.188:80", 5)]);
        assert!(host(&cluster).interface("tap0").is_err(), "what was made is gone");
        let [line] = ended.lines("DIP 192.168.0.209/24 (answered for by this director)")[..] else {
            return Err("one line".into());
        };
        let mac =
            line.split_whitespace().find_map(|word| word.strip_suffix(',')).unwrap_or_default().to_owned();
        assert_ne!(mac, kernels.mac.to_string());
        macs.push(mac);
    }
    assert_eq!(macs[0], macs[1], "the director's address is the same after a restart");
    Ok(())
}

fn uploads() -> Outcome {
    const BYTES: u64 = 32 << 20;
    let cluster = Cluster::b(2)?;
    let service = SocketAddr::new(cluster.vip(Family::V6), 9000);
    let servers = cluster.net.servers.iter().map(|server| bulk::Server::start(&server.host, service));
    let _servers = servers.collect::<Result<Vec<_>, _>>()?;
    let rules =
        cluster.rules("-t", Family::V6, 9000, "rr", &[]) + &cluster.rules("-t", Family::V6, 80, "rr", &[]);
    cluster.write_rules(&rules)?;
    let options =
        format!("{OPTIONS} --mac 02:00:00:00:00:d1 --dip fd00:192::209/64 --rules {RULES} --workers 2");
    let director = Start::director(host(&cluster), cluster.directory.path(), &options).run()?;
    director.wait_ready()?;
    assert_eq!(director.lines("2 workers; room for").len(), 1);
    assert_eq!(cluster.fetch_in_turn(Family::V6, 20)?, in_turn(&["server2", "server1"], 20));
    for _ in 0..4 {
        let up = bulk::upload(&cluster.net.client, service, BYTES, 4 * PATIENCE)?;
        assert_eq!(up.bytes, BYTES);
    }
    let learned = cluster.net.switches[0].learned()?;
    // The bridge has heard the director, though it is the card of nobody in the lab.
    assert!(learned.iter().all(|one| one.mac.to_string() != "02:00:00:00:00:d1"));
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.lines("02:00:00:00:00:d1, MTU 65521").len(), 1, "{:#?}", ended.log);
    Ok(())
}

fn kept() -> Outcome {
    let cluster = Cluster::b(2)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let options = format!("{OPTIONS} --dip 192.168.0.209/24");
    let ended = refused(
        director(&cluster, &options).without(Capability::CAP_NET_ADMIN),
        &["tap0: making a TAP device", "CAP_NET_ADMIN", "ip tuntap add dev tap0 mode tap user $USER"],
    )?;
    assert_eq!(ended.lines("announced"), [""; 0]);
    // An administrator makes it once. Then only the bridge is missing.
    let mut port = TapPort::new("tap0");
    port.keep = true;
    host(&cluster).run(|| TapIo::open(TapConfig::of([port])).map(drop))?;
    refused(
        director(&cluster, &options).without(Capability::CAP_NET_ADMIN),
        &["setting the MTU needs CAP_NET_ADMIN", "`ip link set dev tap0 mtu 65521`"],
    )?;
    // With rights it is joined, and taken out again at the end.
    let first = director(&cluster, &options).run()?;
    first.wait_ready()?;
    let ended = first.stop(Signal::SIGTERM)?;
    for line in
        ["tap0: opened, it was there", "tap0: put back: set up", "tap0: put back: joined to bridge bridge"]
    {
        assert_eq!(ended.lines(line).len(), 1, "{line}: {:#?}", ended.log);
    }
    assert!(!host(&cluster).interface("tap0")?.up);
    // The administrator joins it: no right is needed any more.
    let mut config = lvs_io_tap::KernelEndConfig::default();
    config.bridge = Some(BRIDGE.to_owned());
    let end = host(&cluster).run(|| lvs_io_tap::KernelEnd::set_up("tap0", &config))?;
    let director = director(&cluster, &options).without(Capability::CAP_NET_ADMIN).run()?;
    director.wait_ready()?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2", "server1"], 4));
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!((ended.status.code(), ended.lines("put back").len()), (Some(0), 0), "{:#?}", ended.log);
    drop(end);
    Ok(())
}

fn deleted() -> Outcome {
    let cluster = Cluster::b(1)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let director = director(&cluster, &format!("{OPTIONS} --dip 192.168.0.209/24")).run()?;
    director.wait_ready()?;
    host(&cluster).remove_link("tap0")?;
    let ended = director.wait()?;
    assert_eq!(ended.status.code(), Some(1), "{:#?}", ended.log);
    assert_eq!(ended.lines("the TAP device was deleted").len(), 1, "{:#?}", ended.log);
    Ok(())
}

fn wrong() -> Outcome {
    let cluster = Cluster::b(1)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let dip = "--dip 192.168.0.209/24";
    let table: [(&str, &[&str]); 6] = [
        (
            "--io tap --interface sixteen-bytes-xx",
            &["--interface sixteen-bytes-xx", "16 bytes; the kernel allows 15"],
        ),
        (
            "--io tap --interface tap0 --bridge br7",
            &["--bridge br7: there is no interface", "ip link add dev br7 type bridge"],
        ),
        ("--io tap --interface tap0 --bridge p1", &["p1 is no bridge"]),
        ("--io tap --interface p1", &["p1 is there already and is no TAP device"]),
        ("--interface tap0 --bridge bridge", &["--bridge and --mac are for --io tap"]),
        ("--io tap --interface tap0 --mac 01:00:5e:00:00:01", &["no address of one station"]),
    ];
    for (options, words) in table {
        refused(director(&cluster, &format!("{options} {dip}")), words)?;
        assert!(host(&cluster).interface("tap0").is_err(), "{options}: nothing is left behind");
    }
    // The host's own address is no director's.
    let address: Subnet = "192.168.0.209/24".parse()?;
    host(&cluster).add_address(BRIDGE, address)?;
    let words = &[
        "--dip 192.168.0.209: this host has the address on bridge",
        "ip address del 192.168.0.209/24 dev bridge",
    ];
    refused(director(&cluster, &format!("{OPTIONS} {dip}")), words)?;
    host(&cluster).remove_address(BRIDGE, address)?;
    // The kernel's end has an address of its own, and the director must not take it.
    let mut port = TapPort::new("tap0");
    port.keep = true;
    host(&cluster).run(|| TapIo::open(TapConfig::of([port])).map(drop))?;
    let mac = host(&cluster).interface("tap0")?.mac;
    refused(
        director(&cluster, &format!("{OPTIONS} --mac {mac} {dip}")),
        &["the kernel's end of tap0 has this address"],
    )?;
    // A bridge that is down carries nothing.
    host(&cluster).set_link(BRIDGE, false)?;
    let program = director(&cluster, &format!("{OPTIONS} {dip}")).run()?;
    program.wait_for("bridge is down, and carries nothing: `ip link set dev bridge up`", 1, PATIENCE)?;
    program.stop(Signal::SIGINT)?;
    host(&cluster).set_link(BRIDGE, true)?;
    // A host that forwards, as hosts of containers do, is nothing to warn of.
    host(&cluster).forward()?;
    for on in [false, true] {
        let there = firewall(&cluster, if on { "1" } else { "0" });
        let program = director(&cluster, &format!("{OPTIONS} {dip}")).run()?;
        program.wait_ready()?;
        let ended = program.stop(Signal::SIGINT)?;
        // But a firewall on bridges is.
        let expected = if there && on { 2 } else { 0 };
        // A kept device that is opened again has its carrier after up to a second.
        let warnings = ended.lines("WARN").iter().filter(|line| !line.ends_with("tap0 is down")).count();
        assert_eq!(
            (warnings, ended.lines("sysctl -w net.bridge").len()),
            (expected, expected),
            "{:#?}",
            ended.log
        );
    }
    Ok(())
}
