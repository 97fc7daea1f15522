//! The network of kernels: topology B of the lab, a web server on each real server, a capture at each hop.
//!
//! The director is not part of it: its host has an interface and a DIP, and nobody answers for the VIP yet.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use lvs_core::Subnet;
use lvs_testkit::frames::Summary;
use lvs_testkit::lab::{Capture, CaptureOptions, Direction, Host, LabError, Topology, TopologyOptions, http};

use crate::blueprint::{PORT, ROUTER_OUTSIDE, make_directory, page};
use crate::evidence::{Card, Network, Place, Recording, Seen, Server, Way};
use crate::failure::Failure;
use crate::options::{Io, Options, Scenario};

/// A network that is up. It goes when this is dropped.
pub(crate) struct Cluster {
    pub(crate) topology: Topology,
    pub(crate) network: Network,
    io: Io,
    _web: Vec<http::Server>,
}

impl Cluster {
    /// Builds it. The process must be in the lab.
    ///
    /// # Errors
    /// If the kernel refuses a step.
    pub(crate) fn build(options: &Options) -> Result<Self, Failure> {
        // Without offloads the captures show checksums as they are on a wire: finished.
        let topology = Topology::b(TopologyOptions {
            servers: usize::from(options.servers),
            quiet_arp: options.scenario != Some(Scenario::ArpProblem),
            offload: false,
            ..TopologyOptions::default()
        })?;
        for host in topology.hosts() {
            silence_ipv6(host)?;
        }
        if options.io() == Io::Xdp {
            let director = &topology.director;
            for switch in &topology.switches {
                // With a port that takes frames of any length at the other end, the driver runs no XDP program.
                if let Some(port) = switch.port_of(director.name(), "eth0") {
                    switch.host().set_mtu(&port, director.interface("eth0")?.mtu)?;
                }
            }
        }
        let network = describe(&topology, options)?;
        let mut web = Vec::new();
        for (server, described) in topology.servers.iter().zip(&network.servers) {
            web.push(http::Server::start(&server.host, ([0, 0, 0, 0], PORT).into(), &described.page)?);
        }
        Ok(Self { topology, network, io: options.io(), _web: web })
    }

    /// The hosts at which frames are recorded, with the card.
    fn places(&self) -> Vec<(Place, &Host, &str)> {
        let router = self.topology.router.iter().map(|host| (Place::Router, host, "eth1"));
        let servers = self.topology.servers.iter().enumerate();
        [(Place::Client, &self.topology.client, "eth0")]
            .into_iter()
            .chain(router)
            .chain([(Place::Director, &self.topology.director, "eth0")])
            .chain(servers.map(|(at, server)| (Place::Server(at), &server.host, "eth0")))
            .collect()
    }

    /// Starts recording at every hop; into files too if a directory is given.
    ///
    /// # Errors
    /// If the directory or a file cannot be made.
    pub(crate) fn record(&self, directory: Option<&Path>) -> Result<Captures, Failure> {
        if let Some(directory) = directory {
            make_directory(directory)?;
        }
        let mut captures = Vec::new();
        for (at, (place, host, card)) in self.places().into_iter().enumerate() {
            let name = format!("{}'s {card}", host.name());
            let pcap =
                directory.map(|directory| directory.join(self.network.card_at(place).capture_file(at)));
            let options = CaptureOptions { pcap, ..CaptureOptions::default() };
            let far_end = if place == Place::Director { self.far_end(host, card) } else { None };
            let (host, card, end) = match &far_end {
                Some((host, port)) => (*host, port.as_str(), End::Far),
                None => (host, card, End::Near),
            };
            captures.push(Hop { place, name, end, capture: Capture::start_with(host, card, options)? });
        }
        Ok(Captures(captures))
    }

    /// Where the frames of the director's card are recorded if not there: AF_XDP takes and sends them past captures
    /// on the card itself.
    fn far_end(&self, host: &Host, card: &str) -> Option<(&Host, String)> {
        if self.io != Io::Xdp {
            return None;
        }
        let mut switches = self.topology.switches.iter();
        switches.find_map(|switch| Some((switch.host(), switch.port_of(host.name(), card)?)))
    }
}

/// Recordings that are being made.
pub(crate) struct Captures(Vec<Hop>);

/// One of them.
struct Hop {
    place: Place,
    /// For people.
    name: String,
    end: End,
    capture: Capture,
}

/// At which end of a card's cable it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Near,
    /// At the switch: what goes out there comes in at the card.
    Far,
}

impl End {
    /// Which way a frame goes, as seen from the card.
    const fn way(self, direction: Direction) -> Way {
        match (self, direction) {
            (Self::Near, Direction::In) | (Self::Far, Direction::Out) => Way::In,
            (Self::Near, Direction::Out) | (Self::Far, Direction::In) => Way::Out,
        }
    }
}

impl Captures {
    /// Ends them.
    ///
    /// # Errors
    /// If frames were lost or a file could not be written.
    pub(crate) fn stop(self) -> Result<Vec<Recording>, Failure> {
        let stop = |Hop { place, name, end, capture }: Hop| {
            let recorded = capture.stop()?;
            if recorded.lost > 0 {
                return Err(Failure::CaptureLost { place: name, lost: recorded.lost });
            }
            let frames = recorded
                .frames
                .into_iter()
                .filter_map(|frame| Seen::new(frame.time, end.way(frame.direction), frame.bytes));
            Ok(Recording { place, frames: frames.collect() })
        };
        self.0.into_iter().map(stop).collect()
    }

    /// Takes what has been recorded at a place until now. The recordings go on.
    pub(crate) fn drain(&self, place: Place) -> Vec<Seen> {
        let hops = self.0.iter().filter(|hop| hop.place == place);
        let frames = hops.flat_map(|hop| {
            hop.capture.drain().into_iter().map(|frame| (hop.end.way(frame.direction), frame))
        });
        frames.filter_map(|(way, frame)| Seen::new(frame.time, way, frame.bytes)).collect()
    }

    /// Waits until everything has arrived: nothing more passes, and what the router sent to the VIP has left the
    /// director and reached a real server. After `longest` it is left to the checks to say what is missing.
    pub(crate) fn settle(&self, virtual_service: SocketAddr, longest: Duration) {
        const QUIET: Duration = Duration::from_millis(50);
        let end = Instant::now() + longest;
        let mut before = self.tally(virtual_service);
        while Instant::now() < end {
            thread::sleep(QUIET);
            let after = self.tally(virtual_service);
            if after == before && after.sent == after.forwarded && after.forwarded == after.arrived {
                return;
            }
            before = after;
        }
    }

    fn tally(&self, virtual_service: SocketAddr) -> Tally {
        let mut tally = Tally::default();
        for Hop { place, end, capture, .. } in &self.0 {
            for frame in capture.frames() {
                tally.all += 1;
                let count = match (place, end.way(frame.direction)) {
                    (Place::Router, Way::Out) => &mut tally.sent,
                    (Place::Director, Way::Out) => &mut tally.forwarded,
                    (Place::Server(_), Way::In) => &mut tally.arrived,
                    _ => continue,
                };
                let sockets = Summary::of(&frame.bytes).and_then(|summary| summary.sockets());
                *count += usize::from(sockets.is_some_and(|(_, to)| to == virtual_service));
            }
        }
        tally
    }
}

/// How many frames have passed; of those to the virtual service, how far they have come.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    all: usize,
    sent: usize,
    forwarded: usize,
    arrived: usize,
}

/// The demonstration is about IPv4; a host that speaks IPv6 too sends reports that nobody asked for.
fn silence_ipv6(host: &Host) -> Result<(), LabError> {
    const NAME: &str = "net.ipv6.conf.all.disable_ipv6";
    match host.read_sysctl(NAME) {
        Ok(_) => host.sysctl(NAME, "1"),
        // A kernel without IPv6 is silent already.
        Err(_) => Ok(()),
    }
}

fn describe(topology: &Topology, options: &Options) -> Result<Network, Failure> {
    let subnet = |address| Subnet::new(address, 24).expect("24 of 32");
    let card = |host: &Host, interface: &str, address| -> Result<Card, LabError> {
        let mac = host.interface(interface)?.mac;
        Ok(Card { host: host.name().to_owned(), interface: interface.to_owned(), address, mac })
    };
    let router = topology.router.as_ref().expect("topology B has a router");
    let gateway = topology.gateway.expect("topology B has a router").v4;
    let mut servers = Vec::new();
    for (at, server) in topology.servers.iter().enumerate() {
        let address = server.addresses.v4;
        let card = card(&server.host, "eth0", subnet(address))?;
        servers.push(Server { card, weight: options.weight(at), page: page(at, address) });
    }
    let outside = ROUTER_OUTSIDE.parse().expect("an address with its prefix");
    Ok(Network {
        simulated: false,
        client: card(&topology.client, "eth0", subnet(topology.client_addresses.v4))?,
        router_outside: card(router, "eth0", outside)?,
        router_inside: card(router, "eth1", subnet(gateway))?,
        director: card(&topology.director, "eth0", topology.dips[0][0])?,
        virtual_service: (topology.vips.v4, PORT).into(),
        servers,
    })
}
