//! TCP and UDP to one of the director's addresses: known connections, and new ones.

use core::net::SocketAddr;

use super::Director;
use crate::classify::{Packet, PacketKind};
use crate::config::{InterfaceId, OnMiss};
use crate::connection::{
    ConnectionId, ConnectionState, FlowHash, Full, Guess, NewConnection, TableMemory, state, ticks,
};
use crate::event::Event;
use crate::io::Frame;
use crate::observe::{Answer, Forgotten, Hashed, Observation, Observer};
use crate::service::{Reach, ServiceId};
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};
use crate::wire::tcp_flag;
use core::time::Duration;

/// How long after the connection table was full flows are taken for ones that began then.
const FULL_MEMORY: Duration = Duration::from_secs(120);

/// What `conn_reuse_mode` bit 1 adds.
const REUSE_FIN_WAIT: u8 = 2;

impl<M: TableMemory> Director<M> {
    #[inline]
    pub(super) fn handle_flow<O: Observer>(
        &mut self,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        hash: FlowHash,
        guess: Guess,
        observer: &mut O,
    ) -> Verdict {
        // The guess was made before the frames in front of this one were decided about: it may be too old.
        let known = self
            .connections
            .confirm(guess, hash, &packet.flow)
            .or_else(|| self.connections.find(hash, &packet.flow));
        if let Some(id) = known {
            match self.outlived(id, packet) {
                None => return self.handle_known(frame, interface, packet, id, observer),
                Some(because) => {
                    if O::ENABLED {
                        observer.observe(&Observation::Forgotten { flow: &packet.flow, because });
                    }
                    self.forget(id);
                }
            }
        }
        self.handle_unknown(frame, interface, packet, hash, observer)
    }

    /// Whether a connection is no longer the one that this packet belongs to, and why.
    #[inline]
    fn outlived(&self, id: ConnectionId, packet: &Packet) -> Option<Forgotten> {
        let entry = self.connections.entry(id);
        if entry.is_expired(ticks(self.now)) {
            return Some(Forgotten::Expired);
        }
        let destination = entry.destination();
        if self.knobs.expire_nodest_conn && self.destinations.lane(destination).reach == Reach::Gone {
            return Some(Forgotten::DestinationGone);
        }
        if packet.kind != PacketKind::Tcp || packet.tcp_flags & tcp_flag::SYN == 0 {
            return None;
        }
        // As in IPVS, a quiesced server loses its old clients to this rule whatever conn_reuse_mode says.
        if self.knobs.expire_nodest_conn && self.destinations.get(destination).config.weight == 0 {
            return Some(Forgotten::DestinationGone);
        }
        let mode = self.knobs.conn_reuse_mode;
        let over = match entry.state() {
            ConnectionState::TimeWait | ConnectionState::Close => mode != 0,
            ConnectionState::FinWait => mode & REUSE_FIN_WAIT != 0,
            _ => false,
        };
        over.then_some(Forgotten::PortReused)
    }

    #[inline]
    fn handle_known<O: Observer>(
        &mut self,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        id: ConnectionId,
        observer: &mut O,
    ) -> Verdict {
        let now = ticks(self.now);
        let entry = self.connections.entry_mut(id);
        let destination = entry.destination();
        if self.destinations.lane(destination).reach == Reach::Gone {
            return Verdict::Drop(DropReason::DestinationGone);
        }
        let before = entry.state();
        let after = match packet.kind {
            PacketKind::Tcp => state::after_segment(before, packet.tcp_flags),
            _ => ConnectionState::Udp,
        };
        let timeout = self.state_timeouts.of(after);
        let shorter = timeout < entry.timeout();
        entry.touch(now);
        entry.set_timeout(timeout);
        if before != after {
            entry.set_state(after);
            if before.is_active() != after.is_active() {
                self.destinations.connection_changed(destination, after.is_active());
            }
        }
        if shorter {
            self.connections.hasten(id);
        }
        if O::ENABLED {
            let destination = self.socket_of(destination);
            observer.observe(&Observation::Known { flow: &packet.flow, before, after, destination });
        }
        self.forward(frame, interface, packet, destination, observer)
    }

    /// A flow without a connection.
    fn handle_unknown<O: Observer>(
        &mut self,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        hash: FlowHash,
        observer: &mut O,
    ) -> Verdict {
        let Some(service) = self.services.find(&packet.flow) else {
            self.refuse(frame, interface, packet, observer);
            return Verdict::Drop(DropReason::NoService);
        };
        if O::ENABLED
            && let Some(key) = self.services.get(service).map(|service| service.config.key)
        {
            observer.observe(&Observation::Service { key });
        }
        if packet.kind == PacketKind::Tcp && !self.opens(packet.tcp_flags) {
            if let Some(because) = self.hashes_unknown() {
                return self.forward_hashed(frame, interface, packet, service, because, observer);
            }
            self.answer(frame, interface, packet, Answer::Reset, observer);
            return Verdict::Drop(DropReason::NotSyn);
        }
        let Some(destination) = self.schedule(service, packet, observer) else {
            // Silence for an RST; the answer itself sees to that only for RST answers.
            if packet.tcp_flags & tcp_flag::RST == 0 || packet.kind != PacketKind::Tcp {
                self.answer(frame, interface, packet, Answer::PortUnreachable, observer);
            }
            return Verdict::Drop(DropReason::NoDestination);
        };
        match self.connect(packet, hash, destination) {
            Ok(()) => self.forward(frame, interface, packet, destination, observer),
            Err(Full) => {
                self.note_full();
                self.forward_hashed(frame, interface, packet, service, Hashed::TableFull, observer)
            }
        }
    }

    /// Whether a segment may open a connection.
    const fn opens(&self, flags: u8) -> bool {
        flags & tcp_flag::RST == 0 && (flags & tcp_flag::SYN != 0 || self.knobs.sloppy_tcp)
    }

    /// Whether flows without a connection are served by the hash now, and why.
    fn hashes_unknown(&self) -> Option<Hashed> {
        if self.knobs.on_miss == OnMiss::Hash {
            return Some(Hashed::OnMiss);
        }
        let full_at = self.full_at?;
        let recently = self.now.saturating_duration_since(full_at) < FULL_MEMORY;
        recently.then_some(Hashed::TableWasFull)
    }

    /// Asks the service's scheduler for a server.
    fn schedule<O: Observer>(
        &mut self,
        service: ServiceId,
        packet: &Packet,
        observer: &mut O,
    ) -> Option<u32> {
        let service = self.services.get_mut(service)?;
        if !O::ENABLED {
            let place = service.schedule(&packet.flow)?;
            return Some(service.servers()[place].destination);
        }
        let state = service.scheduler_state();
        let picked = service.schedule(&packet.flow);
        let (scheduler, servers) = (service.config.scheduler, service.servers());
        observer.observe(&Observation::Scheduled { scheduler, state, servers, picked });
        picked.map(|place| servers[place].destination)
    }

    /// Makes the connection.
    fn connect(&mut self, packet: &Packet, hash: FlowHash, destination: u32) -> Result<(), Full> {
        let state = match packet.kind {
            PacketKind::Tcp => state::after_segment(ConnectionState::None, packet.tcp_flags),
            _ => ConnectionState::Udp,
        };
        let new = NewConnection { destination, state, timeout: self.state_timeouts.of(state) };
        let id = self.connections.insert(self.now, hash, &packet.flow, new)?;
        self.connections.entry_mut(id).touch(ticks(self.now));
        self.destinations.connection_added(destination, state.is_active());
        self.statistics.connections_made += 1;
        Ok(())
    }

    /// Sends a packet to the server that the hash of its client gives.
    fn forward_hashed<O: Observer>(
        &mut self,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        service: ServiceId,
        because: Hashed,
        observer: &mut O,
    ) -> Verdict {
        let service = self.services.get(service);
        let picked = service.and_then(|service| Some((service, service.hashed(&packet.flow)?)));
        let Some((service, place)) = picked else {
            return Verdict::Drop(DropReason::NoDestination);
        };
        let servers = service.servers();
        let Some(destination) = servers.get(place).map(|server| server.destination) else {
            return Verdict::Drop(DropReason::NoDestination);
        };
        if O::ENABLED {
            observer.observe(&Observation::Hashed { servers, picked: place, because });
        }
        self.statistics.hashed += 1;
        self.forward(frame, interface, packet, destination, observer)
    }

    /// Answers a packet to an address of ours where nothing listens, as a host does.
    fn refuse<O: Observer>(
        &mut self,
        frame: &Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        observer: &mut O,
    ) {
        let answer = match packet.kind {
            PacketKind::Tcp => Answer::Reset,
            _ => Answer::PortUnreachable,
        };
        self.answer(frame, interface, packet, answer, observer);
    }

    fn note_full(&mut self) {
        self.full_at = Some(self.now);
        self.statistics.table_full += 1;
        if !self.full_reported {
            self.full_reported = true;
            self.events.push(Event::TableFull);
        }
    }

    /// When [`note_room`](Self::note_room) has something to say, if nothing else happens.
    pub(super) fn room_due(&self) -> Option<Instant> {
        self.full_at.map(|full_at| full_at + FULL_MEMORY)
    }

    /// Whether "has room again" is due.
    pub(super) fn note_room(&mut self) {
        let Some(full_at) = self.full_at else {
            return;
        };
        if self.now.saturating_duration_since(full_at) >= FULL_MEMORY {
            self.full_at = None;
            self.full_reported = false;
            self.events.push(Event::TableHasRoom);
        }
    }

    /// Forgets a connection before its time.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        let entry = self.connections.entry(id);
        let (destination, active) = (entry.destination(), entry.state().is_active());
        self.connections.remove(id);
        self.destinations.connection_removed(destination, active);
    }

    /// Forgets connections whose time is over.
    pub(super) fn expire_connections(&mut self, budget: &mut u32) {
        while let Some(entry) = self.connections.expire(self.now, budget) {
            self.destinations.connection_removed(entry.destination(), entry.state().is_active());
        }
    }

    /// A server's address and port.
    pub(super) fn socket_of(&self, destination: u32) -> SocketAddr {
        let config = &self.destinations.get(destination).config;
        SocketAddr::new(config.address, config.port)
    }
}
