//! What was seen, as plain data: the network, the answers, the frames at each hop, the director's decisions.
//!
//! Whoever runs a cluster fills it in; checks, hop view and report read nothing else. It judges nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs_core::config::SchedulerKind;
use lvs_core::connection::ConnectionRecord;
use lvs_core::listing::ServiceListing;
use lvs_core::{MacAddr, Subnet};
use lvs_testkit::frames::{Summary, TcpFlags};

use crate::decisions::Decision;

/// All that is known after a run.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) network: Network,
    /// The scheduler of the virtual service.
    pub(crate) scheduler: SchedulerKind,
    /// One entry a request, in order.
    pub(crate) requests: Vec<Request>,
    /// What was recorded at each hop.
    pub(crate) recordings: Vec<Recording>,
    /// What the director decided about packets to the VIP, the first ones of the run.
    pub(crate) decisions: Vec<Decision>,
    pub(crate) services: Vec<ServiceListing>,
    /// In the order of the requests.
    pub(crate) connections: Vec<ConnectionRecord>,
    /// Places in the director's connection table.
    pub(crate) table_size: u32,
    /// Whose Ethernet address the router holds for the VIP after the run.
    pub(crate) router_believes: Option<MacAddr>,
}

/// Who is where.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// Whether its hosts are simulated, in virtual time. Otherwise they are namespaces of a kernel.
    pub(crate) simulated: bool,
    pub(crate) client: Card,
    pub(crate) router_outside: Card,
    pub(crate) router_inside: Card,
    /// The director's card, with the DIP.
    pub(crate) director: Card,
    pub(crate) virtual_service: SocketAddr,
    /// In the order in which they are added to the virtual service.
    pub(crate) servers: Vec<Server>,
}

/// An interface of a host.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    /// The host's name.
    pub(crate) host: String,
    pub(crate) interface: String,
    pub(crate) address: Subnet,
    pub(crate) mac: MacAddr,
}

/// A real server.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) card: Card,
    pub(crate) weight: u32,
    /// The page that only this server has.
    pub(crate) page: String,
}

impl Server {
    /// Its address (RIP).
    pub(crate) const fn address(&self) -> IpAddr {
        self.card.address.address()
    }
}

impl Card {
    /// The name of the file for its frames, the `at`th hop from 0.
    pub(crate) fn capture_file(&self, at: usize) -> String {
        format!("{:02}-{}-{}.pcap", at + 1, self.host, self.interface)
    }
}

impl Network {
    /// The card at which frames are recorded.
    pub(crate) fn card_at(&self, place: Place) -> &Card {
        match place {
            Place::Client => &self.client,
            Place::Router => &self.router_inside,
            Place::Director => &self.director,
            Place::Server(at) => &self.servers[at].card,
        }
    }

    /// Whose page it is that the client got.
    ///
    /// # Errors
    /// If it is nobody's.
    pub(crate) fn answer(&self, client: SocketAddr, page: &str) -> Result<Answer, String> {
        let server = self.server_of_page(page);
        let server = server.ok_or_else(|| format!("a page that no real server has: {page:?}"))?;
        Ok(Answer { client, server })
    }

    /// How many connections a director with these listings has given to each real server, in their order.
    pub(crate) fn made_by(&self, services: &[ServiceListing]) -> Vec<u64> {
        let listed = || services.iter().flat_map(|service| &service.destinations);
        let of = |server: &Server| {
            let own = listed().filter(|destination| destination.config.address == server.address());
            own.map(|destination| destination.statistics.connections).sum()
        };
        self.servers.iter().map(of).collect()
    }

    /// The place of the real server with this Ethernet address.
    pub(crate) fn server_with(&self, mac: MacAddr) -> Option<usize> {
        self.servers.iter().position(|server| server.card.mac == mac)
    }

    /// The card with this Ethernet address.
    pub(crate) fn card_with(&self, mac: MacAddr) -> Option<&Card> {
        let own = [&self.client, &self.router_outside, &self.router_inside, &self.director];
        own.into_iter().chain(self.servers.iter().map(|server| &server.card)).find(|card| card.mac == mac)
    }

    /// The place of the real server with this page.
    pub(crate) fn server_of_page(&self, page: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.page == page)
    }
}

/// What became of one request of the client.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) took: Duration,
    pub(crate) outcome: Result<Answer, String>,
}

/// A page came back, and it is one of the real servers'.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The client's address and port.
    pub(crate) client: SocketAddr,
    /// The place of the real server whose page it is.
    pub(crate) server: usize,
}

impl Request {
    /// The place of the real server that answered.
    pub(crate) fn server(&self) -> Option<usize> {
        self.outcome.as_ref().ok().map(|answer| answer.server)
    }
}

/// Where frames were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Client,
    /// The router's card in the LAN.
    Router,
    Director,
    /// The real server in this place.
    Server(usize),
}

/// The frames that passed one card.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) place: Place,
    /// In the order in which they passed.
    pub(crate) frames: Vec<Seen>,
}

/// Which way a frame went, seen from the host whose card it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

/// A frame that passed a card.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// On a clock that all recordings share.
    pub(crate) time: Duration,
    pub(crate) way: Way,
    pub(crate) bytes: Vec<u8>,
    pub(crate) summary: Summary,
}

impl Seen {
    /// `None` for what is no Ethernet frame.
    pub(crate) fn new(time: Duration, way: Way, bytes: Vec<u8>) -> Option<Self> {
        let summary = Summary::of(&bytes)?;
        Some(Self { time, way, bytes, summary })
    }

    /// What makes it the same packet at every hop.
    pub(crate) fn packet(&self) -> Option<PacketId> {
        PacketId::of(&self.summary)
    }

    /// Whether it is TCP to `address`.
    pub(crate) fn is_to(&self, address: SocketAddr) -> bool {
        self.summary.sockets().is_some_and(|(_, to)| to == address)
    }

    /// Whether it is an IP packet from `address`.
    pub(crate) fn is_from(&self, address: IpAddr) -> bool {
        self.summary.ip.as_ref().is_some_and(|ip| ip.source == address)
    }

    /// The TCP payload.
    pub(crate) fn payload(&self) -> &[u8] {
        let Some(ip) = &self.summary.ip else { return &[] };
        let end = self.summary.network_offset + ip.length;
        self.bytes.get(end.saturating_sub(ip.payload_len)..end).unwrap_or_default()
    }
}

/// What tells one TCP segment from all others, and does not change on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PacketId {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    /// Of the IP header.
    pub(crate) id: u32,
    pub(crate) flags: TcpFlags,
    pub(crate) seq: u32,
    /// Where all ids are 0 it tells one acknowledgement from the next.
    ack: u32,
    payload_len: usize,
}

impl PacketId {
    /// `None` if it is not TCP over IPv4.
    pub(crate) fn of(summary: &Summary) -> Option<Self> {
        let (source, destination) = summary.sockets()?;
        let ip = summary.ip.as_ref()?;
        let tcp = ip.tcp?;
        let (id, payload_len) = (ip.id?, ip.payload_len);
        let (flags, seq, ack) = (tcp.flags, tcp.seq, tcp.ack);
        Some(Self { source, destination, id, flags, seq, ack, payload_len })
    }
}

impl Evidence {
    /// The frames recorded at a place; none if nobody recorded there.
    pub(crate) fn at(&self, place: Place) -> &[Seen] {
        let recording = self.recordings.iter().find(|recording| recording.place == place);
        recording.map_or(&[], |recording| &recording.frames)
    }

    /// All places in the LAN: what an ARP broadcast reaches.
    pub(crate) fn lan(&self) -> impl Iterator<Item = &Recording> {
        self.recordings.iter().filter(|recording| recording.place != Place::Client)
    }

    /// The requests that brought no page.
    pub(crate) fn failed(&self) -> usize {
        self.requests.iter().filter(|request| request.outcome.is_err()).count()
    }

    /// How many requests each real server answered, in their order.
    pub(crate) fn per_server(&self) -> Vec<usize> {
        let mut counts = vec![0; self.network.servers.len()];
        for server in self.requests.iter().filter_map(Request::server) {
            counts[server] += 1;
        }
        counts
    }
}

/// Puts connections into the order of the requests that opened them.
pub(crate) fn sort_by_request(connections: &mut [ConnectionRecord], requests: &[Request]) {
    let answers =
        requests.iter().filter_map(|request| Some((request.outcome.as_ref().ok()?.client, request.number)));
    let order: HashMap<SocketAddr, u32> = answers.collect();
    connections.sort_by_key(|record| order.get(&record.client).copied().unwrap_or(u32::MAX));
}
