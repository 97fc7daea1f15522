use super::*;
use crate::frames::{ethernet, station};
use crate::sim::{LinkOptions, Network, NodeId, Station};

struct Segment {
    net: Network,
    switch: NodeId<Switch>,
    stations: Vec<NodeId<Station>>,
}

impl Segment {
    fn new(switch: Switch) -> Self {
        let mut net = Network::new(1);
        let ports = switch.ports() as u16;
        let switch = net.add("switch", switch);
        let stations: Vec<_> = (0..ports).map(|n| net.add(&format!("station {n}"), Station::new())).collect();
        for (station, port) in stations.iter().zip(0..) {
            net.connect((*station, 0), (switch, port), LinkOptions::default());
        }
        Self { net, switch, stations }
    }

    /// Sends a frame and answers who gets it.
    fn send(&mut self, from: usize, frame: Vec<u8>) -> Vec<usize> {
        self.net[self.stations[from]].send(PortId(0), frame);
        self.net.run_until_idle(Duration::from_secs(1));
        let got = |at: &usize| !self.net[self.stations[*at]].take_received().is_empty();
        (0..self.stations.len()).filter(got).collect()
    }

    fn plain(&mut self, from: usize, to: u16) -> Vec<usize> {
        self.send(from, ethernet(station(from as u16), station(to), 0x1234, &[0; 46]))
    }
}

#[test]
fn it_learns_and_forgets() {
    let mut segment = Segment::new(Switch::new(3));
    assert_eq!(segment.plain(0, 1), [1, 2], "nobody knows where 1 is");
    assert_eq!(segment.plain(1, 0), [0]);
    assert_eq!(segment.plain(0, 1), [1]);
    assert_eq!(segment.plain(2, 2), [] as [usize; 0], "it does not send back");
    segment.net.run_for(Duration::from_secs(300));
    assert_eq!(segment.plain(0, 1), [1, 2], "1 was silent for too long");
    let now = segment.net.now();
    assert_eq!(segment.net[segment.switch].station(now, 1, station(0)), Some(PortId(0)));
}

#[test]
fn a_port_that_goes_down_is_forgotten_and_a_station_may_move() {
    let mut segment = Segment::new(Switch::new(3));
    segment.plain(1, 0);
    assert_eq!(segment.plain(0, 1), [1]);
    let link = segment.net.link_of(segment.stations[1], 0).unwrap();
    segment.net.set_link(link, false);
    assert_eq!(segment.plain(0, 1), [2]);
    // It comes back behind another port.
    segment.send(2, ethernet(station(1), station(0), 0x1234, &[0; 46]));
    assert_eq!(segment.plain(0, 1), [2]);
}

#[test]
fn a_full_table_floods() {
    let mut segment = Segment::new(Switch::new(3).capacity(1).ageing(Duration::from_secs(10)));
    segment.plain(0, 9);
    segment.plain(1, 9);
    assert_eq!(segment.plain(2, 0), [0]);
    assert_eq!(segment.plain(2, 1), [0, 1]);
    assert!(segment.net[segment.switch].flooded() >= 3);
    segment.net.run_for(Duration::from_secs(10));
    segment.plain(1, 9);
    assert_eq!(segment.plain(2, 1), [1], "what was too old made room");
}

#[test]
fn vlans_are_kept_apart() {
    let trunk = PortMode::Trunk { tagged: vec![10, 20], native: Some(30) };
    let switch = Switch::new(4).port(0, PortMode::Access(10)).port(1, PortMode::Access(20)).port(2, trunk);
    let mut segment = Segment::new(switch);
    let broadcast = |from: u16| ethernet(station(from), MacAddr::BROADCAST, 0x1234, &[0; 46]);
    assert_eq!(segment.send(0, broadcast(0)), [2]);
    assert_eq!(segment.send(1, broadcast(1)), [2]);
    assert_eq!(segment.send(3, broadcast(3)), [] as [usize; 0]);
    let tagged = |id: u16| {
        let mut frame = broadcast(2);
        let [a, b] = id.to_be_bytes();
        frame.splice(12..12, [0x81, 0, a, b]);
        frame
    };
    assert_eq!(segment.send(2, tagged(10)), [0]);
    assert_eq!(segment.send(2, tagged(20)), [1]);
    assert_eq!(segment.send(2, tagged(99)), [] as [usize; 0]);
    assert_eq!(segment.send(2, broadcast(2)), [] as [usize; 0], "nobody else is in the native VLAN");
    assert_eq!(segment.send(0, tagged(10)), [] as [usize; 0], "an access port takes no tags");
    assert_eq!(segment.send(0, tagged(0)), [2], "but a priority");
    assert_eq!(segment.net[segment.switch].refused(), 2);
    // Tags are taken off and put on.
    segment.net[segment.stations[0]].send(PortId(0), broadcast(0));
    segment.net.run_until_idle(Duration::from_secs(1));
    assert_eq!(segment.net[segment.stations[2]].take_received()[0].2, tagged_as(10, broadcast(0)));
}

fn tagged_as(id: u16, mut frame: Vec<u8>) -> Vec<u8> {
    let [a, b] = id.to_be_bytes();
    frame.splice(12..12, [0x81, 0, a, b]);
    frame
}
