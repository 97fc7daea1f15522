//! The director with several workers, each with packet sockets of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;

use lvs_core::Subnet;
use lvs_core::classify::owner_of;
use lvs_testkit::lab::{bulk, udp};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family, in_turn};
use crate::program::PATIENCE;
use crate::{Outcome, Test, listing};

pub(crate) const TESTS: &[Test] = &[
    ("three_workers_share_clients_and_take_exact_turns", exact_turns),
    ("with_workers_an_upload_arrives_byte_for_byte", upload),
];

const WORKERS: NonZeroU16 = NonZeroU16::new(3).unwrap();
/// Clients of each worker.
const CLIENTS: usize = 4;
const QUESTIONS: u64 = 10;

/// Clients of every worker ask by turns; round robin is exact over all of them.
fn exact_turns() -> Outcome {
    let cluster = Cluster::b(2)?;
    let net = &cluster.net;
    let service = SocketAddr::new(cluster.vip(Family::V4), 5000);
    let echoes: Result<Vec<_>, _> =
        net.servers.iter().map(|server| udp::Echo::start(&server.host, service)).collect();
    let echoes = echoes?;
    let IpAddr::V4(first) = net.client_addresses.v4 else { return Err("an IPv4 client".into()) };
    let near = |n| IpAddr::V4(Ipv4Addr::from_bits(first.to_bits() + n));
    let of = |worker| (1..200).map(near).filter(move |client| owner_of(*client, WORKERS) == worker);
    let clients: Vec<IpAddr> = (0..WORKERS.get()).flat_map(|worker| of(worker).take(CLIENTS)).collect();
    for client in &clients {
        net.client.add_address("eth0", Subnet::new(*client, 24).ok_or("a subnet")?)?;
    }

    cluster.write_rules(&cluster.rules("-u", Family::V4, 5000, "rr", &[]))?;
    let director = cluster.director(Family::V4, "--workers 3").run()?;
    director.wait_ready()?;
    assert!(director.lines("3 workers; room for").len() == 1);
    for question in 0..QUESTIONS {
        for client in &clients {
            let answer = net.client.run(|| ask(*client, question, service))?;
            assert!(answer == b"server1:hello" || answer == b"server2:hello", "{answer:?}");
        }
    }
    let half = QUESTIONS * clients.len() as u64 / 2;
    assert_eq!(echoes.iter().map(udp::Echo::answered).collect::<Vec<_>>(), [half, half]);
    let ended = director.stop(Signal::SIGTERM)?;
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    for server in &service.servers {
        assert_eq!((server.connections, server.in_packets), (half, half), "{service:?}");
    }
    Ok(())
}

/// Asks by a port that no other question of this client has: one that came round again would belong to a connection that is known.
pub(crate) fn ask(from: IpAddr, question: u64, service: SocketAddr) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((from, 20_000 + question as u16))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"hello", service)?;
    let mut answer = [0; 64];
    let len = socket.recv(&mut answer)?;
    Ok(answer[..len].to_vec())
}

/// Merged frames of 64 KiB reach their worker by themselves: they could not be handed over.
fn upload() -> Outcome {
    let cluster = Cluster::b(2)?;
    const BYTES: u64 = 32 << 20;
    let service = SocketAddr::new(cluster.vip(Family::V6), 9000);
    let servers = cluster.net.servers.iter().map(|server| bulk::Server::start(&server.host, service));
    let _servers = servers.collect::<Result<Vec<_>, _>>()?;
    cluster.write_rules(&cluster.rules("-t", Family::V6, 9000, "rr", &[]))?;
    let director = cluster.director(Family::V6, "--workers 3").run()?;
    director.wait_ready()?;
    let up = bulk::upload(&cluster.net.client, service, BYTES, 2 * PATIENCE)?;
    assert_eq!(up.bytes, BYTES);
    assert_eq!(director.stop(Signal::SIGTERM)?.status.code(), Some(0));
    let cluster = Cluster::b(2)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let director = cluster.director(Family::V4, "--workers 2").run()?;
    director.wait_ready()?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 10)?, in_turn(&["server2", "server1"], 10));
    director.stop(Signal::SIGINT)?;
    Ok(())
}
