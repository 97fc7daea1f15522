//! HTTP through the director: who answers, in which order, and what the listing says of it.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use libtest_mimic::Failed;
use lvs_testkit::lab::{Topology, TopologyOptions, http};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family, in_turn};
use crate::program::{MINIMAL, PATIENCE, Start};
use crate::{Outcome, Test, listing};

pub(crate) const TESTS: &[Test] = &[
    ("two_servers_answer_in_turn", two_servers),
    ("four_servers_answer_in_turn", four_servers),
    ("weights_are_kept_exactly", weights),
    ("two_hundred_connections_at_once_are_shared_exactly", at_once),
    ("one_segment_without_a_router", one_segment),
    ("requests_on_one_interface_servers_on_the_other", two_interfaces),
    ("the_smallest_director_forwards", minimal),
];

fn two_servers() -> Outcome {
    let cluster = Cluster::b(2)?;
    let director = cluster.start_web()?;
    // As in IPVS the server added last stands first in the list.
    assert_eq!(cluster.fetch_in_turn(Family::V4, 20)?, in_turn(&["server2", "server1"], 20));
    // Requests on one connection stay with its server.
    let mut kept = http::Client::connect(&cluster.net.client, cluster.web(Family::V4), PATIENCE)?;
    for _ in 0..5 {
        assert_eq!(kept.get("/", PATIENCE)?.body, "server2");
    }
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.total.name, "TCP 192.168.0.250:80");
    assert_eq!(service.connections(), [("192.168.0.111:80", 11), ("192.168.0.188:80", 10)]);
    // A fetch is six segments of the client at least: SYN, ACK, request, ACK, FIN and the ACK of the server's FIN may
    // come together, but never less than five.
    assert!(service.total.in_packets >= 20 * 5, "{service:?}");
    assert!(service.total.in_bytes >= service.total.in_packets * 40, "{service:?}");
    Ok(())
}

fn four_servers() -> Outcome {
    let cluster = Cluster::b(4)?;
    let director = cluster.start_web()?;
    let order = ["server4", "server3", "server2", "server1"];
    assert_eq!(cluster.fetch_in_turn(Family::V4, 12)?, in_turn(&order, 12));
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.servers.len(), 4);
    assert!(service.servers.iter().all(|server| server.connections == 3), "{service:?}");
    Ok(())
}

fn weights() -> Outcome {
    let cluster = Cluster::b(4)?;
    let director = cluster.start(Family::V4, &cluster.rules("-t", Family::V4, 80, "wrr", &[1, 2, 1, 0]))?;
    // The list is server4 (0), server3 (1), server2 (2), server1 (1). As in IPVS the first round takes in all of weight 1
    // or more, which was the highest weight when the first server was added; then those of 2 and of 1 in turns.
    let round = ["server3", "server2", "server1", "server2"];
    assert_eq!(cluster.fetch_in_turn(Family::V4, 16)?, in_turn(&round, 16));
    let ended = director.stop(Signal::SIGINT)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    let expected =
        [("192.168.0.101:80", 4), ("192.168.0.102:80", 0), ("192.168.0.111:80", 8), ("192.168.0.188:80", 4)];
    assert_eq!(service.connections(), expected);
    Ok(())
}

fn at_once() -> Outcome {
    const CLIENTS: usize = 200;
    let cluster = Cluster::b(4)?;
    let director = cluster.start_web()?;
    let barrier = Barrier::new(CLIENTS);
    let fetch = || -> Result<String, std::io::Error> {
        let client = http::Client::connect(&cluster.net.client, cluster.web(Family::V4), PATIENCE);
        // Whoever failed must not leave the others waiting: all are connected, or have failed, from here on.
        barrier.wait();
        Ok(client?.get("/", PATIENCE)?.body)
    };
    let answers = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(fetch)).collect();
        let results = clients.into_iter().map(|client| client.join().map_err(|_| "a client panicked"));
        results.map(|result| Ok(result??)).collect::<Result<Vec<_>, Failed>>()
    })?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in &answers {
        *counts.entry(answer).or_default() += 1;
    }
    let expected = ["server1", "server2", "server3", "server4"].map(|name| (name, CLIENTS / 4));
    assert_eq!(counts, BTreeMap::from(expected));
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert!(service.servers.iter().all(|server| server.connections == 50), "{service:?}");
    Ok(())
}

fn one_segment() -> Outcome {
    let cluster = Cluster::of(Topology::a(TopologyOptions::default())?)?;
    let director = cluster.start_web()?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 6)?, in_turn(&["server2", "server1"], 6));
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.connections(), [("192.168.31.30:80", 3), ("192.168.31.50:80", 3)]);
    Ok(())
}

fn two_interfaces() -> Outcome {
    let cluster = Cluster::of(Topology::c(TopologyOptions::default())?)?;
    let director = cluster.start_web()?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 10)?, in_turn(&["server2", "server1"], 10));
    for server in &cluster.net.servers {
        let line = format!("{} is at {} on eth1", server.addresses.v4, server.mac);
        assert_eq!(director.lines(&line).len(), 1, "{line}");
    }
    // The VIP is in the subnet of the first interface, and announced nowhere else.
    assert_eq!(director.lines("192.168.0.250 announced on eth0").len(), 1);
    assert_eq!(director.lines("announced on eth1"), [""; 0]);
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.connections(), [("192.168.1.111:80", 5), ("192.168.1.188:80", 5)]);
    Ok(())
}

fn minimal() -> Outcome {
    let cluster = Cluster::of(Topology::a(TopologyOptions::default())?)?;
    let arguments = "eth0 192.168.31.20/24 192.168.31.100:80 192.168.31.30 192.168.31.50";
    let program =
        Start::program(MINIMAL, &cluster.net.director, cluster.directory.path(), arguments).run()?;
    // It says nothing; the client's kernel asks for the VIP until somebody answers.
    assert_eq!(cluster.fetch_in_turn(Family::V4, 6)?, in_turn(&["server2", "server1"], 6));
    let ended = program.stop(Signal::SIGTERM)?;
    assert_eq!((ended.log, ended.stdout.as_str()), (Vec::new(), ""));
    Ok(())
}
