//! Many servers, and long times.

use std::net::SocketAddr;
use std::time::Duration;

use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::{Change, DirectorConfig, InterfaceConfig, PortId};
use lvs_testkit::frames::station;
use lvs_testkit::sim::{DirectorNode, Host, Interface, LinkOptions, Network, Switch, TopologyOptions};

use super::{SECOND, made, web};

#[test]
fn a_thousand_real_servers() {
    const SERVERS: u16 = 1000;
    let mut net = Network::new(1);
    let switch = net.add("switch", Switch::new(SERVERS + 2));
    let vip: SocketAddr = "10.0.255.250:80".parse().unwrap();
    let key = ServiceKey::tcp(vip.ip(), 80);
    let mut changes = vec![Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin))];
    let mut servers = Vec::new();
    for n in 0..SERVERS {
        let mut host = Host::new();
        let address = std::net::IpAddr::from([10, 0, 1 + (n / 250) as u8, 1 + (n % 250) as u8]);
        let subnet = lvs_core::Subnet::new(address, 16).unwrap();
        host.add_interface(Interface::new("eth0", station(1000 + n)).address(subnet));
        host.hold_vip(vip.ip());
        host.quiet_arp(true);
        host.serve_page(80, &n.to_string());
        let host = net.add(&format!("server{n}"), host);
        net.connect((host, 0), (switch, n), LinkOptions::default());
        changes.push(Change::AddDestination(key, DestinationConfig::new(address, 80)));
        servers.push(host);
    }
    let mut interface = InterfaceConfig::new(PortId(0), station(1), "10.0.0.2/16".parse().unwrap());
    interface.owns_addresses = true;
    let mut config = DirectorConfig::new(vec![interface], [7; 32]);
    config.max_connections = 65_536;
    let director = net.add("director", DirectorNode::new(config, net.now()).unwrap());
    net.connect((director, 0), (switch, SERVERS), LinkOptions::default());
    let mut client = Host::new();
    client.add_interface(Interface::new("eth0", station(2)).address("10.0.0.3/16".parse().unwrap()));
    let client = net.add("client", client);
    net.connect((client, 0), (switch, SERVERS + 1), LinkOptions::default());
    let now = net.now();
    net[director].director_mut().apply(now, &changes).unwrap();
    net.run_for(30 * SECOND);
    let ids: Vec<_> = (0..SERVERS).map(|_| net[client].fetch(vip, "/")).collect();
    net.run_until_quiet(SECOND, 60 * SECOND);
    let mut pages: Vec<u16> =
        ids.iter().map(|id| net[client].connection(*id).page().unwrap().parse().unwrap()).collect();
    pages.sort_unstable();
    assert_eq!(pages, (0..SERVERS).collect::<Vec<_>>(), "each server has served one page");
}

#[test]
fn a_day_in_seconds() {
    let started = std::time::Instant::now();
    let (mut net, vip) = web(TopologyOptions::default());
    for minute in 0..24 * 60 {
        assert!(net.fetch(vip, "/").is_some(), "minute {minute}: {}", net.net.state());
        let next = Duration::from_secs(60 * (minute + 1)) + 10 * SECOND;
        let now = Duration::from_micros(net.net.now().as_micros());
        net.net.run_for(next.saturating_sub(now));
    }
    assert!(net.net.now().as_micros() >= 24 * 3600 * 1_000_000);
    assert_eq!(made(&net), 24 * 60);
    let director = net.net[net.director].director();
    assert_eq!(director.connection_usage().connections, 2, "the rest has been forgotten in time");
    println!("a day took {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
