//! The director over AF_XDP sockets. Where those are not allowed, says so and counts as ignored.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use libtest_mimic::Failed;
use lvs_admin::control::{Client, Request};
use lvs_io_xdp::{OpenError, XdpConfig, XdpIo};
use lvs_testkit::lab::{Host, Nic, SwitchOptions, Topology, TopologyOptions, bulk, cable, http, udp};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family, in_turn};
use crate::program::{PATIENCE, Program};
use crate::{Outcome, Test, listing};

pub(crate) const TESTS: &[Test] = &[
    ("over_xdp_two_servers_answer_in_turn_and_the_host_stays_reachable", two_servers),
    ("over_xdp_ipv6_is_balanced", ipv6),
    ("over_xdp_requests_on_one_interface_servers_on_the_other", two_interfaces),
    ("over_xdp_a_prefix_of_a_mark_rule_is_balanced", marked),
    ("over_xdp_an_upload_arrives_byte_for_byte", upload),
    ("over_xdp_senders_with_offloads_are_told_apart", unfinished),
    ("over_xdp_a_dip_that_the_kernel_does_not_have_is_answered_for", own_dip),
    ("over_xdp_three_workers_take_exact_turns", workers),
    ("over_xdp_workers_carry_an_upload_byte_for_byte", workers_upload),
    ("over_xdp_workers_without_queues_are_refused_with_the_cure", workers_refused),
    ("over_xdp_a_second_director_is_refused", second),
    ("over_xdp_new_vips_come_and_go_while_it_runs", new_vips),
    ("over_xdp_a_server_that_loses_its_vip_is_found", lost_vip),
    ("over_xdp_a_probe_wakes_the_worker_that_sends_it", probes_wake),
];

/// The probe address is the director's own: the kernel keeps what is for its DIP.
fn lost_vip() -> Outcome {
    let cluster = cluster()?;
    let options = format!("--io xdp {}", cluster.interfaces(Family::V4));
    crate::health::finds_a_lost_vip(&cluster, &cluster.net.director, &options)
}

/// With several workers, which wait for each other's frames longer than one does for its own.
fn probes_wake() -> Outcome {
    crate::checks::wakes_a_worker_that_waits(&cluster_of(2)?)
}

/// Why AF_XDP cannot be used here, if it cannot.
pub(crate) fn refusal() -> Option<String> {
    let tried = || -> Result<Option<String>, Failed> {
        let (a, b) = (Host::new("a")?, Host::new("b")?);
        cable(Nic::new(&a, "eth0"), Nic::new(&b, "eth0"))?;
        Ok(match a.run(|| XdpIo::open(&XdpConfig::new(["eth0"]))) {
            Err(error @ (OpenError::MissingRights { .. } | OpenError::Unsupported { .. })) => {
                Some(error.to_string())
            }
            _ => None,
        })
    };
    tried().ok().flatten()
}

/// Everybody finishes checksums and sends nothing longer than the MTU.
const FINISHED: TopologyOptions = TopologyOptions {
    servers: 2,
    quiet_arp: true,
    hold_vip: true,
    mtu: 1500,
    offload: false,
    queues: 1,
    switch: SwitchOptions { snooping: true, querier: false },
};

/// Topology B for the redirect program in the driver.
fn cluster() -> Result<Cluster, Failed> {
    native(Topology::b(FINISHED)?)
}

/// A veth driver runs XDP programs only if the MTU of the other end, a port that takes everything, is not too large.
fn native(net: Topology) -> Result<Cluster, Failed> {
    for switch in &net.switches {
        for card in ["eth0", "eth1"] {
            if let Some(port) = switch.port_of("director", card) {
                switch.host().set_mtu(&port, 1500)?;
            }
        }
    }
    Cluster::of(net)
}

fn start(cluster: &Cluster, family: Family, rules: &str) -> Result<Program, Failed> {
    cluster.write_rules(rules)?;
    let director = cluster.director(family, "--io xdp").run()?;
    director.wait_ready()?;
    Ok(director)
}

fn two_servers() -> Outcome {
    let cluster = cluster()?;
    let director = start(&cluster, Family::V4, &cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 20)?, in_turn(&["server2", "server1"], 20));
    let modes = director.lines("AF_XDP");
    assert!(modes.len() == 1 && modes[0].contains("eth0: AF_XDP native, copy mode, 1 queue"), "{modes:?}");
    // The host's kernel answers by its own address, also to the gateway and to real servers.
    let own: SocketAddr = "192.168.0.208:7".parse()?;
    let _echo = udp::Echo::start(&cluster.net.director, own)?;
    let router = cluster.net.router.as_ref().ok_or("topology B has a router")?;
    for host in [&cluster.net.client, router, &cluster.net.servers[0].host] {
        assert!(udp::ask(host, own, b"hello", PATIENCE)?.ends_with(b"hello"));
    }
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.lines("WARN"), [""; 0]);
    assert_eq!(ended.lines("; lost: 0 before they were read, 0 on the way out").len(), 1, "{:#?}", ended.log);
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.connections(), [("192.168.0.111:80", 10), ("192.168.0.188:80", 10)]);
    Ok(())
}

fn ipv6() -> Outcome {
    let cluster = Cluster::of(Topology::b(FINISHED)?)?;
    let director = start(&cluster, Family::V6, &cluster.rules("-t", Family::V6, 80, "rr", &[]))?;
    // Behind the driver, and why.
    assert_eq!(director.lines("eth0: AF_XDP generic").len(), 1);
    assert_eq!(director.lines("or of the other end of a veth pair, is too large").len(), 1);
    assert_eq!(cluster.fetch_in_turn(Family::V6, 10)?, in_turn(&["server2", "server1"], 10));
    let own: SocketAddr = "[fd00:192::208]:7".parse()?;
    let _echo = udp::Echo::start(&cluster.net.director, own)?;
    assert!(udp::ask(&cluster.net.client, own, b"hello", PATIENCE)?.ends_with(b"hello"));
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.connections(), [("[fd00:192::111]:80", 5), ("[fd00:192::188]:80", 5)]);
    Ok(())
}

fn two_interfaces() -> Outcome {
    let cluster = native(Topology::c(FINISHED)?)?;
    let director = start(&cluster, Family::V4, &cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 10)?, in_turn(&["server2", "server1"], 10));
    let modes = director.lines(": AF_XDP native");
    assert_eq!(modes.len(), 2, "{modes:?}");
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.connections(), [("192.168.1.111:80", 5), ("192.168.1.188:80", 5)]);
    Ok(())
}

/// The VIP is known by a prefix only, in which the director's own address lies not.
fn marked() -> Outcome {
    let cluster = cluster()?;
    let rules = "--mark 7 tcp 192.168.0.248/29 80\n-A -f 7 -s rr\n\
                 -a -f 7 -r 192.168.0.188 -g\n-a -f 7 -r 192.168.0.111 -g\n";
    cluster.write_rules(rules)?;
    let director = cluster.director(Family::V4, "--io xdp").run()?;
    // A prefix is not announced, so there is no line that says that it is ready.
    director.wait_for(" is at ", 2, PATIENCE)?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 6)?, in_turn(&["server2", "server1"], 6));
    director.stop(Signal::SIGTERM)?;
    Ok(())
}

fn upload() -> Outcome {
    const BYTES: u64 = 64 << 20;
    let cluster = cluster()?;
    let everywhere = SocketAddr::new([0; 4].into(), 9000);
    let servers = cluster.net.servers.iter().map(|server| bulk::Server::start(&server.host, everywhere));
    let _servers = servers.collect::<Result<Vec<_>, _>>()?;
    let director = start(&cluster, Family::V4, &cluster.rules("-t", Family::V4, 9000, "rr", &[]))?;
    let service = SocketAddr::new(cluster.vip(Family::V4), 9000);
    let up = bulk::upload(&cluster.net.client, service, BYTES, 2 * PATIENCE)?;
    assert_eq!(up.bytes, BYTES);
    eprintln!("64 MiB through the director over AF_XDP: {:.1} Gbit/s", up.gigabits_per_second());
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert!(service.total.in_bytes > BYTES && service.total.in_packets > 40_000, "{service:?}");
    Ok(())
}

/// By default the kernels of this network leave checksums to each other.
fn unfinished() -> Outcome {
    let cluster = Cluster::b(2)?;
    let director = start(&cluster, Family::V4, &cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    assert!(cluster.is_silent(std::time::Duration::from_secs(1)), "a SYN arrives with a broken checksum");
    director.wait_for("frames with unfinished checksums come in on eth0", 1, PATIENCE)?;
    director.wait_for("ethtool -K INTERFACE tx off", 1, PATIENCE)?;
    cluster.net.client.set_offload("eth0", false)?;
    assert_eq!(cluster.fetch(Family::V4)?.len(), "server1".len());
    director.stop(Signal::SIGTERM)?;
    Ok(())
}

fn own_dip() -> Outcome {
    let cluster = cluster()?;
    let net = &cluster.net;
    for dip in net.dips[0] {
        net.director.remove_address("eth0", dip)?;
    }
    let director = start(&cluster, Family::V4, &cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    assert_eq!(director.lines("DIP 192.168.0.208/24 (answered for by this director)").len(), 1);
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2", "server1"], 4));
    director.stop(Signal::SIGTERM)?;
    Ok(())
}

/// By an edit and by a reload; an address that is not served any more is the kernel's again.
fn new_vips() -> Outcome {
    let cluster = cluster()?;
    let net = &cluster.net;
    let first = cluster.web(Family::V4);
    let second: SocketAddr = "192.168.0.251:80".parse()?;
    let third: SocketAddr = "192.168.0.252:80".parse()?;
    for vip in [second, third] {
        for server in &net.servers {
            server.host.add_address("lo", format!("{}/32", vip.ip()).parse()?)?;
        }
    }
    let rules = |vip: SocketAddr| {
        let servers = net.servers.iter().map(|server| format!("-a -t {vip} -r {}\n", server.addresses.v4));
        format!("-A -t {vip} -s rr\n{}", servers.collect::<String>())
    };
    let fetch = |vip| http::get(&net.client, vip, "/", PATIENCE).map(|page| page.body);
    let path = cluster.directory.path().join("d.sock");
    cluster.write_rules(&rules(first))?;
    let director = cluster.director(Family::V4, &format!("--io xdp --control {}", path.display())).run()?;
    director.wait_ready()?;
    let mut client = Client::connect(&path)?;
    let mut kept = http::Client::connect(&net.client, first, PATIENCE)?;
    let page = kept.get("/", PATIENCE)?.body;

    client.rules(&rules(second))?;
    assert_eq!(fetch(second)?, "server2");
    cluster.write_rules(&(rules(first) + &rules(third)))?;
    client.done(&Request::Reload)?;
    assert_eq!(fetch(third)?, "server2");
    assert_eq!(kept.get("/", PATIENCE)?.body, page);

    // The reload has taken the second away.
    net.director.add_address("eth0", "192.168.0.251/32".parse()?)?;
    let own = SocketAddr::new(second.ip(), 7);
    let _echo = udp::Echo::start(&net.director, own)?;
    assert!(udp::ask(&net.client, own, b"hello", PATIENCE)?.ends_with(b"hello"));
    assert_eq!(fetch(first)?, "server1");
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.lines("rights kept: none").len(), 1, "{:#?}", ended.log);
    Ok(())
}

fn second() -> Outcome {
    let cluster = cluster()?;
    let director = start(&cluster, Family::V4, &cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let refused = cluster.director(Family::V4, "--io xdp").run()?.wait()?;
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(refused.lines("eth0: another XDP program is attached").len(), 1, "{:#?}", refused.log);
    // The first one has not noticed; when it is gone, another takes over.
    assert_eq!(cluster.fetch(Family::V4)?, "server2");
    director.stop(Signal::SIGKILL)?;
    let next = cluster.director(Family::V4, "--io xdp").run()?;
    next.wait_ready()?;
    assert_eq!(cluster.fetch(Family::V4)?, "server2");
    next.stop(Signal::SIGTERM)?;
    Ok(())
}

/// Topology B with so many queues everywhere: the kernels spread flows over them as a card does.
fn cluster_of(queues: u32) -> Result<Cluster, Failed> {
    native(Topology::b(TopologyOptions { queues, ..FINISHED })?)
}

/// Clients of all workers, whose frames come in by all queues: two of three are handed over.
fn workers() -> Outcome {
    const CLIENTS: u32 = 12;
    const EACH: u64 = 10;
    let cluster = cluster_of(3)?;
    let net = &cluster.net;
    let IpAddr::V4(first) = net.client_addresses.v4 else { return Err("an IPv4 client".into()) };
    let clients: Vec<IpAddr> =
        (1..=CLIENTS).map(|n| IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + n))).collect();
    for client in &clients {
        net.client.add_address("eth0", lvs_core::Subnet::new(*client, 24).ok_or("a subnet")?)?;
    }
    let udp_service = SocketAddr::new(cluster.vip(Family::V4), 5000);
    let echoes: Result<Vec<_>, _> =
        net.servers.iter().map(|server| udp::Echo::start(&server.host, udp_service)).collect();
    let echoes = echoes?;
    let rules =
        cluster.rules("-t", Family::V4, 80, "rr", &[]) + &cluster.rules("-u", Family::V4, 5000, "rr", &[]);
    cluster.write_rules(&rules)?;
    let director = cluster.director(Family::V4, "--io xdp --workers 3").run()?;
    director.wait_ready()?;
    assert_eq!(director.lines("3 workers; room for").len(), 1);
    let modes = director.lines("AF_XDP");
    assert!(modes.len() == 1 && modes[0].contains("eth0: AF_XDP native, copy mode, 3 queues"), "{modes:?}");
    assert_eq!(cluster.fetch_in_turn(Family::V4, 30)?, in_turn(&["server2", "server1"], 30));
    for question in 0..EACH {
        for client in &clients {
            let answer = net.client.run(|| crate::workers::ask(*client, question, udp_service))?;
            assert!(answer.ends_with(b"hello"), "{answer:?}");
        }
    }
    let half = EACH * u64::from(CLIENTS) / 2;
    assert_eq!(echoes.iter().map(udp::Echo::answered).collect::<Vec<_>>(), [half, half]);
    // The host's kernel stays reachable.
    let own: SocketAddr = "192.168.0.208:7".parse()?;
    let _echo = udp::Echo::start(&net.director, own)?;
    assert!(udp::ask(&net.client, own, b"hello", PATIENCE)?.ends_with(b"hello"));
    let ended = director.stop(Signal::SIGTERM)?;
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.lines("WARN"), [""; 0]);
    assert_eq!(ended.lines("eth0 is up").len(), 1, "{:#?}", ended.log);
    assert_eq!(ended.lines("; lost: 0 before they were read, 0 on the way out").len(), 1, "{:#?}", ended.log);
    let services = listing::read(&ended.stdout)?;
    let [web, datagrams] = &services[..] else { return Err("two services".into()) };
    assert_eq!(web.connections(), [("192.168.0.111:80", 15), ("192.168.0.188:80", 15)]);
    assert_eq!(datagrams.connections(), [("192.168.0.111:5000", half), ("192.168.0.188:5000", half)]);
    Ok(())
}

/// Several connections at a time, over all queues, in both families.
fn workers_upload() -> Outcome {
    const BYTES: u64 = 16 << 20;
    let cluster = cluster_of(2)?;
    let everywhere = SocketAddr::new([0; 16].into(), 9000);
    let servers = cluster.net.servers.iter().map(|server| bulk::Server::start(&server.host, everywhere));
    let _servers = servers.collect::<Result<Vec<_>, _>>()?;
    for family in [Family::V4, Family::V6] {
        cluster.write_rules(&cluster.rules("-t", family, 9000, "rr", &[]))?;
        let director = cluster.director(family, "--io xdp --workers 2").run()?;
        director.wait_ready()?;
        let service = SocketAddr::new(cluster.vip(family), 9000);
        std::thread::scope(|scope| -> Outcome {
            let client = &cluster.net.client;
            let threads: Vec<_> = (0..3)
                .map(|_| scope.spawn(move || bulk::upload(client, service, BYTES, 4 * PATIENCE)))
                .collect();
            for thread in threads {
                let up = thread.join().map_err(|_| "a panic")??;
                assert_eq!(up.bytes, BYTES);
                eprintln!("16 MiB through one of two workers: {:.1} Gbit/s", up.gigabits_per_second());
            }
            Ok(())
        })?;
        let ended = director.stop(Signal::SIGTERM)?;
        let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
        assert_eq!(service.total.connections, 3);
        assert!(service.total.in_bytes > 3 * BYTES, "{service:?}");
    }
    Ok(())
}

fn workers_refused() -> Outcome {
    let cluster = cluster_of(2)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let refused = |options| cluster.director(Family::V4, options).run()?.wait();
    let few = refused("--io xdp --workers 3")?;
    assert_eq!(few.status.code(), Some(2));
    let line = "eth0 receives and sends by 2 queues, and 3 workers need one each";
    assert_eq!(few.lines(line).len(), 1, "{:#?}", few.log);
    cluster.net.director.set_mtu("eth0", 2031)?;
    let long = refused("--io xdp --workers 2")?;
    assert_eq!(long.status.code(), Some(2));
    assert_eq!(long.lines("ip link set eth0 mtu 2030").len(), 1, "{:#?}", long.log);
    Ok(())
}
