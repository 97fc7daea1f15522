//! Stories in simulated networks, and the host model against recordings of a real kernel.

mod arp_problem;
mod directors;
mod hosts;
mod ipv6;
mod links;
mod recordings;
mod router;
mod scale;
mod vlan;

use std::net::SocketAddr;
use std::time::Duration;

use lvs_core::config::{SchedulerKind, ServiceKey};
use lvs_testkit::sim::{Topology, TopologyOptions};

const SECOND: Duration = Duration::from_secs(1);

/// Topology B with pages on port 80 of the VIP, by round robin, and everybody ready.
fn web(options: TopologyOptions) -> (Topology, SocketAddr) {
    let mut net = Topology::b(options);
    let vip = SocketAddr::new(net.vips.v4, 80);
    net.serve_pages(80);
    net.add_service(ServiceKey::tcp(vip.ip(), vip.port()), SchedulerKind::RoundRobin);
    net.settle();
    (net, vip)
}

/// How many connections the director has made since its start.
fn made(net: &Topology) -> u64 {
    net.net[net.director].director().services().iter().map(|service| service.statistics.connections).sum()
}

/// Bytes that tell their place, so that none can be missing, double or in another order.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect()
}
