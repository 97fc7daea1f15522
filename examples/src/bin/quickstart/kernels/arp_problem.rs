//! `--scenario arp-problem` over real kernels.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use lvs_core::io::{FrameIo, Meta, Verdicts};
use lvs_core::{MacAddr, Verdict};
use lvs_doctor::{Examination, ExaminationConfig, Finding};
use lvs_examples::clock::Clock;
use lvs_examples::run::seed;
use lvs_io_afpacket::{IoError, PacketConfig, PacketIo};
use lvs_testkit::lab::{Host, Interrupt, LabError, NeighbourState, RealServer};

use crate::arp_problem::{self, Recipe, Said, World};
use crate::evidence::{Answer, Network, Place};
use crate::failure::Failure;
use crate::options::Options;

use super::client;
use super::cluster::{Captures, Cluster};
use super::director::RunningDirector;

/// Memory for what the doctor hears: all answers to one portion of its questions fit in, many times over.
const RING_BYTES: usize = 1 << 20;
/// What is set on `lo` by the recipe that is no cure, and what the kernel has there.
const ABOUT_LO: [(&str, &str); 3] = [("arp_ignore", "0"), ("arp_announce", "1"), ("arp_filter", "1")];

/// A cluster with its director at work.
pub(crate) struct Kernels {
    // First, so that its thread ends before its host goes.
    director: RunningDirector,
    captures: Captures,
    cluster: Cluster,
}

impl Kernels {
    /// Starts recording and the director, and waits until it is ready.
    ///
    /// # Errors
    /// If the kernel cannot filter ARP, a capture file cannot be made, or the director does not get ready.
    pub(crate) fn start(cluster: Cluster, options: &Options, interrupt: &Interrupt) -> Result<Self, Failure> {
        // What the third cure needs, before anybody has waited for it.
        filter(&cluster.topology.servers[0], &cluster.network, true).map_err(Failure::NoArpFilter)?;
        filter(&cluster.topology.servers[0], &cluster.network, false)?;
        let captures = cluster.record(options.pcap.as_deref())?;
        let director = RunningDirector::start(&cluster.topology.director, &cluster.network, options);
        director.wait_ready(&cluster.network, interrupt)?;
        Ok(Self { director, captures, cluster })
    }

    /// Ends the captures.
    ///
    /// # Errors
    /// If frames were lost or a file could not be written.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        self.captures.stop().map(drop)
    }

    fn router(&self) -> &Host {
        self.cluster.topology.router.as_ref().expect("topology B has a router")
    }

    fn vip(&self) -> IpAddr {
        self.cluster.network.virtual_service.ip()
    }

    fn for_each_server(&self, change: impl Fn(&RealServer) -> Result<(), LabError>) -> Result<(), Failure> {
        Ok(self.cluster.topology.servers.iter().try_for_each(change)?)
    }

    fn set_static_entry(&self, on: bool) -> Result<(), Failure> {
        let Network { router_inside, director, .. } = &self.cluster.network;
        if on {
            return Ok(self.router().add_neighbour(&router_inside.interface, self.vip(), director.mac)?);
        }
        Ok(self.router().remove_neighbour(&router_inside.interface, self.vip())?)
    }
}

impl World for Kernels {
    fn network(&self) -> &Network {
        &self.cluster.network
    }

    fn fetch(&mut self) -> Result<Answer, String> {
        client::fetch_once(&self.cluster.topology.client, &self.cluster.network).1
    }

    fn pass(&mut self, time: Duration) {
        thread::sleep(time);
    }

    fn router_believes(&mut self) -> Result<Option<MacAddr>, Failure> {
        Ok(self.router().neighbour(self.vip())?.and_then(|entry| entry.mac))
    }

    fn router_forgets(&mut self) -> Result<(), Failure> {
        let card = &self.cluster.network.router_inside.interface;
        Ok(forget(self.router(), card, self.vip())?)
    }

    fn servers_forget(&mut self) -> Result<(), Failure> {
        self.for_each_server(|server| {
            let known = server.host.neighbours()?;
            known.iter().try_for_each(|entry| forget(&server.host, "eth0", entry.address))
        })
    }

    fn set(&mut self, recipe: Recipe, on: bool) -> Result<(), Failure> {
        match recipe {
            Recipe::StaticEntry => self.set_static_entry(on),
            Recipe::Sysctl => self.for_each_server(|server| server.host.quiet_arp("eth0", on)),
            Recipe::Arptables => self.for_each_server(|server| filter(server, &self.cluster.network, on)),
            Recipe::AboutLo => self.for_each_server(|server| {
                ABOUT_LO.iter().try_for_each(|(name, value)| {
                    let value = if on { value } else { "0" };
                    server.host.sysctl(&format!("net.ipv4.conf.lo.{name}"), value)
                })
            }),
        }
    }

    fn made(&mut self) -> Result<Vec<u64>, Failure> {
        Ok(self.cluster.network.made_by(&self.director.snapshot()?.services))
    }

    fn overheard(&mut self) -> Vec<Said> {
        let frames = self.captures.drain(Place::Router);
        frames.iter().filter_map(|frame| Said::about_vip(&frame.summary, &self.cluster.network)).collect()
    }

    fn examine(&mut self) -> Result<Vec<Finding>, Failure> {
        let random = seed().map_err(|error| Failure::Doctor(error.to_string()))?;
        let [a, b, c, d, e, f, g, h, ..] = random;
        let config =
            arp_problem::doctor_config(&self.cluster.network, u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
        let card = &self.cluster.network.director.interface;
        self.cluster.topology.director.run(|| examine(card, config))
    }
}

/// The examination over a packet socket on the director's card: it hears copies, and the director loses nothing.
fn examine(card: &str, config: ExaminationConfig) -> Result<Vec<Finding>, Failure> {
    let failed = |error: IoError| Failure::Doctor(error.to_string());
    let clock = Clock::start();
    let mut examination = Examination::new(config, clock.now())?;
    let mut sockets = PacketConfig::new([card]);
    sockets.ring_bytes = RING_BYTES;
    let mut io = PacketIo::open(&sockets)?;
    while !examination.is_finished() {
        while let Some(frame) = examination.poll_transmit(clock.now()) {
            io.transmit(frame.port, &Meta::default(), frame.bytes).map_err(failed)?;
        }
        io.flush().map_err(failed)?;
        let received = io
            .receive(&mut |frames| {
                let now = clock.now();
                frames.iter().for_each(|frame| examination.handle_frame(now, frame));
                frames.iter().map(|_| Verdict::Pass).collect::<Verdicts>()
            })
            .map_err(failed)?;
        // A wait is over at once as long as there are events.
        while io.poll_event().is_some() {}
        if received == 0 {
            let due = examination.poll_timeout();
            let wait = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(clock.now()));
            io.wait(Some(wait)).map_err(failed)?;
        }
    }
    Ok(examination.findings().to_vec())
}

/// Removes what a host knows about a neighbour, if it knows something and was not told by hand.
fn forget(host: &Host, card: &str, address: IpAddr) -> Result<(), LabError> {
    match host.neighbour(address)? {
        Some(entry) if entry.state != NeighbourState::Permanent => host.remove_neighbour(card, address),
        _ => Ok(()),
    }
}

/// The rules of the third cure on a real server.
fn filter(server: &RealServer, network: &Network, on: bool) -> Result<(), LabError> {
    if !on {
        return server.host.remove_arp_filter();
    }
    server.host.add_arp_filter(v4(network.virtual_service.ip()), v4(server.addresses.v4))
}

/// The cluster has IPv4 addresses only.
fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}
