//! Clients that repeat their SYN: their server did not answer the first one.
//!
//! Told of once a connection, by its second packet; and once a second for a server, so that a dead one does not fill the queue.

use alloc::collections::VecDeque;
use core::net::IpAddr;
use core::time::Duration;

use super::Director;
use super::common::Common;
use crate::classify::{Packet, PacketKind};
use crate::config::ServiceKey;
use crate::connection::{ConnectionState, Line, TableMemory};
use crate::time::Instant;
use crate::wire::tcp_flag;

/// Reports that wait to be fetched.
const ROOM: usize = 256;
/// Between two reports of one server.
const GAP: Duration = Duration::from_secs(1);

/// A client has repeated its SYN: the first one was not answered, or the answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatedSyn {
    /// The virtual service.
    pub service: ServiceKey,
    /// The real server that both SYNs were sent to.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
}

/// Reports that wait. What finds no room is not told: who is silent is suspected again by the next client.
pub(super) struct Suspects(VecDeque<RepeatedSyn>);

impl Suspects {
    pub(super) fn new(is_wanted: bool) -> Self {
        Self(if is_wanted { VecDeque::with_capacity(ROOM) } else { VecDeque::new() })
    }

    pub(super) fn pop(&mut self) -> Option<RepeatedSyn> {
        self.0.pop_front()
    }
}

/// Whether a packet repeats the SYN that its connection began with; the connection has not been told of the packet yet.
pub(super) fn repeats_syn(connection: &Line, packet: &Packet) -> bool {
    packet.kind == PacketKind::Tcp
        && packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK | tcp_flag::RST) == tcp_flag::SYN
        && matches!(connection.state(), ConnectionState::SynReceived | ConnectionState::SynAck)
        && connection.packets() == 1
}

impl<M: TableMemory> Common<M> {
    /// A client repeats its SYN to this server. Answers whether somebody has to be told now who was not before.
    pub(super) fn suspect(&mut self, now: Instant, destination: u32) -> bool {
        self.now = self.now.max(now);
        let now = self.now;
        let one = self.destinations.get_mut(destination);
        if one.suspected.is_some_and(|last| now < last + GAP) || self.suspects.0.len() == ROOM {
            return false;
        }
        one.suspected = Some(now);
        let (address, port) = (one.config.address, one.config.port);
        self.suspects.0.push_back(RepeatedSyn { service: one.service, address, port });
        self.suspects.0.len() == 1
    }
}

impl<M: TableMemory> Director<M> {
    /// The next real server that has left a client's SYN unanswered, as far as one can tell from the client's side: once a
    /// connection, and at most once a second for each server; 256 are kept. Told where
    /// [`DirectorConfig::probes`](crate::DirectorConfig::probes) is set. A hint, which anybody can give who sends a SYN twice.
    pub fn poll_repeated_syn(&mut self) -> Option<RepeatedSyn> {
        self.common.suspects.pop()
    }
}
