//! A cluster on a VLAN: the director and one server are tagged on a trunk, the other server is not.

use std::net::SocketAddr;

use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey, VlanPath};
use lvs_core::{Change, DirectorConfig, InterfaceConfig, PortId};
use lvs_testkit::frames::{addr, station};
use lvs_testkit::sim::{DirectorNode, Host, Interface, LinkOptions, Network, Phase, PortMode, Switch};

use super::SECOND;

#[test]
fn a_tagged_segment_serves() {
    let mut net = Network::new(1);
    let trunk = || PortMode::Trunk { tagged: vec![5, 7], native: None };
    let switch = Switch::new(4)
        .port(0, PortMode::Access(7))
        .port(1, trunk())
        .port(2, trunk())
        .port(3, PortMode::Access(7));
    let switch = net.add("switch", switch);
    let vip: SocketAddr = "192.168.31.100:80".parse().unwrap();

    let card = |number: u16| {
        let subnet = format!("192.168.31.{number}/24").parse().unwrap();
        Interface::new("eth0", station(number)).address(subnet)
    };
    let mut client = Host::new();
    client.add_interface(card(10));
    let client = net.add("client", client);
    net.connect((client, 0), (switch, 0), LinkOptions::default());

    let mut interface = InterfaceConfig::new(PortId(0), station(20), "192.168.31.20/24".parse().unwrap());
    (interface.vlan, interface.owns_addresses) = (VlanPath::tagged(7), true);
    let mut config = DirectorConfig::new(vec![interface], [7; 32]);
    config.max_connections = 1024;
    let mut director = DirectorNode::new(config, net.now()).unwrap();
    let key = ServiceKey::tcp(vip.ip(), 80);
    let mut changes = vec![Change::AddService(ServiceConfig::new(key, SchedulerKind::RoundRobin))];
    for rip in ["192.168.31.30", "192.168.31.50"] {
        changes.push(Change::AddDestination(key, DestinationConfig::new(addr(rip), 80)));
    }
    director.director_mut().apply(net.now(), &changes).unwrap();
    let director = net.add("director", director);
    net.connect((director, 0), (switch, 1), LinkOptions::default());

    for (number, port) in [(30, 2), (50, 3)] {
        let mut server = Host::new();
        // On the trunk the server has the VLAN as an interface of its own.
        server.add_interface(if port == 2 { card(number).vlan(7) } else { card(number) });
        server.hold_vip(vip.ip());
        server.quiet_arp(true);
        server.serve_page(80, &number.to_string());
        let server = net.add(&format!("server{number}"), server);
        net.connect((server, 0), (switch, port), LinkOptions::default());
    }
    let trunk = net.capture(director, 0);
    net.run_for(10 * SECOND);
    let mut pages = Vec::new();
    for _ in 0..4 {
        let id = net[client].fetch(vip, "/");
        net.run_until(10 * SECOND, |net| net[client].connection(id).phase().is_over());
        let connection = net[client].take_connection(id);
        assert_eq!(connection.phase(), Phase::Closed);
        pages.push(connection.page().unwrap().to_owned());
    }
    pages.sort_unstable();
    assert_eq!(pages, ["30", "30", "50", "50"]);
    let frames = net.captured(trunk);
    assert!(!frames.is_empty() && frames.iter().all(|frame| frame.bytes[12..16] == [0x81, 0, 0, 7]));
}
