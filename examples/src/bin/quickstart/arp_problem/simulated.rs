//! The story in a network inside the process, in virtual time.

use std::time::Duration;

use lvs_core::{Frame, MacAddr, PortId};
use lvs_doctor::{Examination, Finding};
use lvs_testkit::frames::Summary;
use lvs_testkit::sim::{ArpRule, CaptureId, Direction, Host, NodeId};

use crate::evidence::{Answer, Network, Place};
use crate::failure::Failure;
use crate::simulated::Simulation;

use super::doctor;
use super::world::{Recipe, Said, World};

/// Chooses what the doctor sends; fixed, so that the same options give the same run.
const SEED: u64 = 1;

/// The network, and how far its captures have been read.
pub(crate) struct Simulated {
    simulation: Simulation,
    router: NodeId<Host>,
    at_router: CaptureId,
    at_director: CaptureId,
    read: usize,
}

impl Simulated {
    /// Takes a simulation that is ready.
    ///
    /// # Panics
    /// If it is not of topology B, with a capture at router and director.
    pub(crate) fn new(simulation: Simulation) -> Self {
        let capture = |wanted| simulation.captures.iter().find(|(place, _)| *place == wanted);
        let id = |wanted| capture(wanted).expect("every hop is captured").1;
        Self {
            router: simulation.topology.router.expect("topology B has a router"),
            at_router: id(Place::Router),
            at_director: id(Place::Director),
            read: 0,
            simulation,
        }
    }

    /// Writes the capture files, if they are wanted.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.simulation.end_captures().map(drop)
    }

    fn for_each_server(&mut self, change: impl Fn(&mut Host, std::net::IpAddr)) {
        for server in self.simulation.topology.servers.clone() {
            change(&mut self.simulation.topology.net[server.host], server.addresses.v4);
        }
    }

    /// Lets the next thing happen, or the time come at which the doctor has something to do.
    fn advance(&mut self, examination: &Examination) {
        let net = &mut self.simulation.topology.net;
        let (due, next) = (examination.poll_timeout(), net.next_event());
        match (due, next) {
            (Some(due), next) if next.is_none_or(|next| due < next) => {
                net.run_for(due.saturating_duration_since(net.now()));
            }
            _ => {
                net.step();
            }
        }
    }
}

impl World for Simulated {
    fn network(&self) -> &Network {
        &self.simulation.network
    }

    fn fetch(&mut self) -> Result<Answer, String> {
        self.simulation.fetch_once().1
    }

    fn pass(&mut self, time: Duration) {
        self.simulation.topology.net.run_for(time);
    }

    fn router_believes(&mut self) -> Result<Option<MacAddr>, Failure> {
        let Network { router_inside, virtual_service, .. } = &self.simulation.network;
        let net = &self.simulation.topology.net;
        let held = net[self.router].neighbour(net.now(), &router_inside.interface, virtual_service.ip());
        Ok(held.and_then(|neighbour| neighbour.mac))
    }

    fn router_forgets(&mut self) -> Result<(), Failure> {
        let Simulation { network, topology, .. } = &mut self.simulation;
        topology.net[self.router].flush_neighbours(&network.router_inside.interface);
        Ok(())
    }

    fn servers_forget(&mut self) -> Result<(), Failure> {
        self.for_each_server(|host, _| host.flush_neighbours("eth0"));
        Ok(())
    }

    fn set(&mut self, recipe: Recipe, on: bool) -> Result<(), Failure> {
        let Simulation { network, topology, .. } = &mut self.simulation;
        let vip = network.virtual_service.ip();
        match recipe {
            Recipe::StaticEntry => {
                let (now, mac) = (topology.net.now(), on.then_some(network.director.mac));
                let router = &mut topology.net[self.router];
                router.set_neighbour(now, &network.router_inside.interface, vip, mac);
            }
            Recipe::Sysctl => self.for_each_server(|host, _| {
                for place in ["all", "eth0"] {
                    let conf = host.conf_mut(place);
                    (conf.arp_ignore, conf.arp_announce) = if on { (1, 2) } else { (0, 0) };
                }
            }),
            Recipe::Arptables => self.for_each_server(|host, rip| {
                host.clear_arp_rules();
                if on {
                    host.add_arp_rule(ArpRule::DropIn(vip));
                    host.add_arp_rule(ArpRule::MangleOut { sender: vip, instead: rip });
                }
            }),
            Recipe::AboutLo => self.for_each_server(|host, _| {
                let lo = host.conf_mut("lo");
                (lo.arp_ignore, lo.arp_announce, lo.arp_filter) = (0, u8::from(on), on);
            }),
        }
        Ok(())
    }

    fn made(&mut self) -> Result<Vec<u64>, Failure> {
        let Simulation { network, topology, .. } = &self.simulation;
        Ok(network.made_by(&topology.net[topology.director].director().services()))
    }

    fn overheard(&mut self) -> Vec<Said> {
        let frames = self.simulation.topology.net.captured(self.at_router);
        let new = frames.get(self.read..).unwrap_or_default();
        self.read = frames.len();
        let summaries = new.iter().filter_map(|frame| Summary::of(&frame.bytes));
        summaries.filter_map(|frame| Said::about_vip(&frame, &self.simulation.network)).collect()
    }

    fn examine(&mut self) -> Result<Vec<Finding>, Failure> {
        let config = doctor::config(&self.simulation.network, SEED);
        let director = self.simulation.topology.director;
        let mut examination = Examination::new(config, self.simulation.topology.net.now())?;
        let mut read = self.simulation.topology.net.captured(self.at_director).len();
        while !examination.is_finished() {
            let now = self.simulation.topology.net.now();
            while let Some(frame) = examination.poll_transmit(now) {
                self.simulation.topology.net[director].transmit(frame.port, frame.bytes.to_vec());
            }
            self.advance(&examination);
            // It hears a copy of what comes in, as a packet socket does.
            let frames = self.simulation.topology.net.captured(self.at_director);
            for frame in frames.get(read..).unwrap_or_default() {
                if frame.direction == Direction::In {
                    let mut bytes = frame.bytes.clone();
                    examination.handle_frame(frame.at, &Frame::new(&mut bytes, PortId(0)));
                }
            }
            read = frames.len();
        }
        Ok(examination.findings().to_vec())
    }
}
