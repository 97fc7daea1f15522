//! The same network inside the process, in virtual time: topology B of the simulated networks, which has the addresses
//! of the lab's, a page on each real server, a capture at each hop. It takes no rights and opens nothing.
//!
//! The director is the same code as over an interface; hosts, switch and links are simulated. The seed is fixed, and
//! time passes only when something happens: the same options give the same run, frame for frame.

use std::cell::RefCell;
use std::fs::File;
use std::io::BufWriter;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use lvs_core::config::SchedulerKind;
use lvs_core::observe::Observer;
use lvs_core::{Instant, MacAddr, Subnet};
use lvs_testkit::capture::{CaptureFormat, CaptureWriter};
use lvs_testkit::sim::{CaptureId, Direction, LinkOptions, Phase, Topology, TopologyOptions};

use crate::blueprint::{PORT, ROUTER_OUTSIDE, make_directory, missing, page, rules};
use crate::decisions::Recorder;
use crate::evidence::{self, Answer, Card, Evidence, Network, Place, Recording, Request, Seen, Server, Way};
use crate::failure::Failure;
use crate::options::{Options, Scenario};

/// How long a frame is on a link: long enough to be seen in milliseconds with one decimal. The report says it.
const LINK_DELAY: Duration = Duration::from_micros(100);
/// How long announcing the VIP and finding the real servers may take.
const READY: Duration = Duration::from_secs(5);
/// How long the client waits for a page, as over kernels.
const PATIENCE: Duration = Duration::from_secs(3);
/// What the client waits before each request. A server's side of a connection lives on for ten seconds after its end,
/// and a simulated host has room for some thousands of them. 10,000 requests are over all the same before the director
/// forgets the first connection, two minutes after its end.
const PAUSE: Duration = Duration::from_millis(8);
/// After so much time what was on its way has arrived.
const SETTLING: Duration = Duration::from_millis(50);

/// A simulated network that is up.
pub(crate) struct Simulation {
    pub(crate) network: Network,
    scheduler: SchedulerKind,
    pub(crate) topology: Topology,
    /// What is kept of the frames at each hop.
    pub(crate) captures: Vec<(Place, CaptureId)>,
    recorder: Rc<RefCell<Recorder>>,
    /// Where capture files are to be.
    directory: Option<PathBuf>,
}

impl Simulation {
    /// Builds it; the director has its service and has not begun to announce it.
    ///
    /// # Errors
    /// If the directory for capture files cannot be made, or the director refuses its service.
    pub(crate) fn build(options: &Options) -> Result<Self, Failure> {
        if let Some(directory) = &options.pcap {
            make_directory(directory)?;
        }
        let mut topology = Topology::b(TopologyOptions {
            servers: usize::from(options.servers),
            quiet_arp: options.scenario != Some(Scenario::ArpProblem),
            link: LinkOptions { delay: LINK_DELAY, ..LinkOptions::default() },
            ..TopologyOptions::default()
        });
        let network = describe(&topology, options);
        let captures = capture(&mut topology);
        for (server, described) in topology.servers.iter().zip(&network.servers) {
            topology.net[server.host].serve_page(PORT, &described.page);
        }
        let recorder = Rc::new(RefCell::new(Recorder::new(network.virtual_service)));
        let observer = Rc::clone(&recorder);
        let director = topology.director;
        topology.net[director].observe(move |_, observation| observer.borrow_mut().observe(observation));
        topology.apply(&rules(&network, options.scheduler))?;
        let (scheduler, directory) = (options.scheduler, options.pcap.clone());
        Ok(Self { network, scheduler, topology, captures, recorder, directory })
    }

    /// Lets time pass until the VIP is announced and every real server's Ethernet address is known.
    ///
    /// # Errors
    /// If that takes too long.
    pub(crate) fn wait_ready(&mut self) -> Result<(), Failure> {
        let end = self.topology.net.now() + READY;
        let director = self.topology.director;
        let mut events = Vec::new();
        loop {
            events.extend(self.topology.net[director].take_events());
            let Some(missing) = missing(&events, &self.network) else { return Ok(()) };
            if !self.step(end) {
                return Err(Failure::NotReady { seconds: READY.as_secs(), missing });
            }
        }
    }

    /// Fetches the page once. Answers how long it took, until the connection was closed, and what came.
    pub(crate) fn fetch_once(&mut self) -> (Duration, Result<Answer, String>) {
        let (client, vip) = (self.topology.client, self.network.virtual_service);
        self.topology.net.run_for(PAUSE);
        let start = self.topology.net.now();
        let id = self.topology.net[client].fetch(vip, "/");
        let over = |topology: &Topology| topology.net[client].connection(id).phase().is_over();
        while !over(&self.topology) && self.step(start + PATIENCE) {}
        let took = self.topology.net.now().saturating_duration_since(start);
        let connection = self.topology.net[client].take_connection(id);
        let outcome = match (connection.phase(), connection.page()) {
            (Phase::Closed, Some(page)) => self.network.answer(connection.local(), page),
            (Phase::Closed, None) => Err("what came is no HTTP answer".to_owned()),
            (Phase::Refused, _) => Err("connection refused".to_owned()),
            (Phase::Reset, _) => Err("connection reset by peer".to_owned()),
            (Phase::Unreachable, _) => Err("no route to host".to_owned()),
            (Phase::Connecting | Phase::Open | Phase::TimedOut, _) => Err("timed out".to_owned()),
        };
        (took, outcome)
    }

    /// Lets everything arrive that is on its way, asks everybody what he knows, and writes the capture files.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn gather(mut self, requests: Vec<Request>) -> Result<Evidence, Failure> {
        self.topology.net.run_for(SETTLING);
        let recordings = self.end_captures()?;
        let net = &self.topology.net;
        let now = net.now();
        let director = net[self.topology.director].director();
        let (services, mut connections) = (director.services(), director.all_connections(now));
        let table_size = director.connection_usage().capacity;
        evidence::sort_by_request(&mut connections, &requests);
        let vip = self.network.virtual_service.ip();
        let router = self.topology.router.map(|router| &net[router]);
        let held =
            router.and_then(|router| router.neighbour(now, &self.network.router_inside.interface, vip));
        let decisions = self.recorder.borrow().decisions().to_vec();
        Ok(Evidence {
            network: self.network,
            scheduler: self.scheduler,
            requests,
            recordings,
            decisions,
            services,
            connections,
            table_size,
            router_believes: held.and_then(|neighbour| neighbour.mac),
        })
    }

    /// Takes what was kept at each hop, and writes the capture files if they are wanted.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn end_captures(&mut self) -> Result<Vec<Recording>, Failure> {
        let net = &mut self.topology.net;
        let recordings: Vec<Recording> =
            self.captures.iter().map(|(place, id)| recording(*place, net.take_captured(*id))).collect();
        if let Some(directory) = &self.directory {
            write(directory, &recordings, &self.network)?;
        }
        Ok(recordings)
    }

    /// Lets the next thing happen if it does so before `end`. `false` if nothing does.
    fn step(&mut self, end: Instant) -> bool {
        let net = &mut self.topology.net;
        net.next_event().is_some_and(|at| at <= end) && net.step()
    }
}

/// Begins to keep the frames at every hop.
fn capture(topology: &mut Topology) -> Vec<(Place, CaptureId)> {
    let net = &mut topology.net;
    let mut captures = vec![(Place::Client, net.capture(topology.client, 0))];
    captures.extend(topology.router.map(|router| (Place::Router, net.capture(router, 1))));
    captures.push((Place::Director, net.capture(topology.director, 0)));
    for (at, server) in topology.servers.iter().enumerate() {
        captures.push((Place::Server(at), net.capture(server.host, 0)));
    }
    captures
}

fn recording(place: Place, frames: Vec<lvs_testkit::sim::CapturedFrame>) -> Recording {
    let seen = frames.into_iter().filter_map(|frame| {
        let way = match frame.direction {
            Direction::In => Way::In,
            Direction::Out => Way::Out,
        };
        Seen::new(frame.at.saturating_duration_since(Instant::ZERO), way, frame.bytes)
    });
    Recording { place, frames: seen.collect() }
}

/// Writes a capture file for each hop. Their clock is that of the simulation, and begins in 1970.
fn write(directory: &Path, recordings: &[Recording], network: &Network) -> Result<(), Failure> {
    for (at, recording) in recordings.iter().enumerate() {
        let path = directory.join(network.card_at(recording.place).capture_file(at));
        let create = File::create(&path);
        let file =
            create.map_err(|source| Failure::Pcap { directory: path.display().to_string(), source })?;
        let written =
            CaptureWriter::new(BufWriter::new(file), CaptureFormat::Pcap, 1).and_then(|mut writer| {
                for frame in &recording.frames {
                    writer.write(frame.time, 0, &frame.bytes, None)?;
                }
                writer.finish()
            });
        written.map_err(|source| Failure::PcapFile { file: path.display().to_string(), source })?;
    }
    Ok(())
}

fn describe(topology: &Topology, options: &Options) -> Network {
    let subnet = |address| Subnet::new(address, 24).expect("24 of 32");
    let card = |host: &str, interface: &str, address, mac| Card {
        host: host.to_owned(),
        interface: interface.to_owned(),
        address,
        mac,
    };
    let gateway = topology.gateway.expect("topology B has a router").v4;
    let outside: Subnet = ROUTER_OUTSIDE.parse().expect("an address with its prefix");
    let servers = topology.servers.iter().enumerate().map(|(at, server)| {
        let address = server.addresses.v4;
        let card = card(&format!("server{}", at + 1), "eth0", subnet(address), server.mac);
        Server { card, weight: options.weight(at), page: page(at, address) }
    });
    let client = topology.client_addresses.v4;
    Network {
        simulated: true,
        client: card("client", "eth0", subnet(client), station(CLIENTS_SIDE, client)),
        router_outside: card("router", "eth0", outside, station(CLIENTS_SIDE, outside.address())),
        router_inside: card("router", "eth1", subnet(gateway), station(LAN, gateway)),
        director: card("director", "eth0", topology.dips[0][0], topology.director_macs[0]),
        virtual_service: (topology.vips.v4, PORT).into(),
        servers: servers.collect(),
    }
}

/// The number of the segment between client and router in Ethernet addresses, and that of the LAN.
const CLIENTS_SIDE: u8 = 1;
const LAN: u8 = 0;

/// The Ethernet address of a card in the reference networks: the segment, and the last byte of the IPv4 address.
fn station(segment: u8, address: IpAddr) -> MacAddr {
    let host = match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    MacAddr([2, 0, 0, 0, segment, host])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Findings;

    fn run(line: &str) -> Evidence {
        let options = Options::read(line.split_whitespace()).unwrap();
        let mut simulation = Simulation::build(&options).unwrap();
        simulation.wait_ready().unwrap();
        let mut requests = Vec::new();
        for number in 1..=options.requests {
            let (took, outcome) = simulation.fetch_once();
            requests.push(Request { number, took, outcome });
        }
        simulation.gather(requests).unwrap()
    }

    #[test]
    fn all_checks_pass_and_every_frame_has_a_known_sender() {
        let evidence = run("quickstart --io sim --servers 3 --requests 9");
        let findings = Findings::of(&evidence);
        assert!(findings.passed(), "{findings:?}");
        assert_eq!(evidence.recordings.len(), 6);
        for recording in &evidence.recordings {
            assert!(!recording.frames.is_empty(), "{:?}", recording.place);
            for frame in &recording.frames {
                let sender = frame.summary.source_mac;
                let known = evidence.network.card_with(sender).is_some();
                assert!(known, "{sender} at {:?} is on nobody's card", recording.place);
            }
        }
        assert_eq!(evidence.connections.len(), 9);
    }

    #[test]
    fn a_server_that_is_gone_fails_the_checks() {
        let options = Options::read(["quickstart", "--io", "sim"]).unwrap();
        let mut simulation = Simulation::build(&options).unwrap();
        simulation.wait_ready().unwrap();
        let host = simulation.topology.servers[0].host;
        simulation.topology.net[host].stop_listening(PORT);
        let requests: Vec<Request> = (1..=2)
            .map(|number| {
                let (took, outcome) = simulation.fetch_once();
                Request { number, took, outcome }
            })
            .collect();
        assert_eq!(requests[1].outcome.as_ref().unwrap_err(), "connection refused");
        let findings = Findings::of(&simulation.gather(requests).unwrap());
        assert!(!findings.no_request_failed.passed && !findings.distribution.passed, "{findings:?}");
        assert!(findings.packet_untouched.passed, "{findings:?}");
    }

    #[test]
    fn the_same_options_give_the_same_frames() {
        let frames = || {
            let evidence = run("quickstart --io sim --requests 4");
            let of = |recording: &Recording| -> Vec<(Duration, Vec<u8>)> {
                recording.frames.iter().map(|frame| (frame.time, frame.bytes.clone())).collect()
            };
            evidence.recordings.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(frames(), frames());
    }
}
