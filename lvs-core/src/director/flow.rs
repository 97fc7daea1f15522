//! TCP, UDP and SCTP to one of the director's addresses: known connections, and flows that have none.

use core::time::Duration;

use super::common::{Access, Common};
use super::suspects::repeats_syn;
use super::worker::Worker;
use crate::classify::{FlowKey, Packet, PacketKind};
use crate::config::{InterfaceId, OnMiss, ServiceKey};
use crate::connection::{
    ConnectionId, ConnectionState, FlowHash, Full, Guess, NewConnection, TableMemory, state, ticks,
};
use crate::event::Event;
use crate::io::Frame;
use crate::observe::{Answer, Forgotten, Hashed, Observation, Observer};
use crate::service::{FTP, FTP_DATA, Reach, ServiceId};
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{sctp_chunk, tcp_flag};

/// How long after the connection table was full flows are taken for ones that began then.
const FULL_MEMORY: Duration = Duration::from_secs(120);
/// What `conn_reuse_mode` bit 1 adds.
const REUSE_FIN_WAIT: u8 = 2;
/// `drop_packet` refuses every tenth.
const SHED_EVERY: u8 = 10;

impl<M: TableMemory> Worker<M> {
    #[inline]
    pub(super) fn handle_flow<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        (hash, guess): (FlowHash, Guess),
        observer: &mut O,
    ) -> Verdict {
        // The guess was made before the frames in front of this one were decided about: it may be too old.
        let known = self
            .connections
            .confirm(guess, hash, &packet.flow)
            .or_else(|| self.connections.find(hash, &packet.flow));
        if let Some(id) = known {
            match self.outlived(common, id, packet) {
                None => return self.handle_known(common, frame, interface, packet, id, observer),
                Some(because) => {
                    if O::ENABLED {
                        observer.observe(&Observation::Forgotten { flow: &packet.flow, because });
                    }
                    self.forget(common, id);
                }
            }
        }
        self.handle_unknown(common, frame, interface, packet, hash, observer)
    }

    /// Whether a connection is no longer the one that this packet belongs to, and why.
    #[inline]
    fn outlived<A: Access<M>>(&self, common: &mut A, id: ConnectionId, packet: &Packet) -> Option<Forgotten> {
        let entry = self.connections.entry(id);
        if entry.is_expired(ticks(self.now)) {
            return Some(Forgotten::Expired);
        }
        let destination = entry.destination();
        if self.knobs.expire_nodest_conn && self.lane(destination).reach() == Reach::Gone {
            return Some(Forgotten::DestinationGone);
        }
        let opens = match packet.kind {
            PacketKind::Tcp => packet.tcp_flags & tcp_flag::SYN != 0,
            PacketKind::Sctp => packet.sctp_chunk == sctp_chunk::INIT,
            _ => false,
        };
        if !opens {
            return None;
        }
        // As in IPVS, a quiesced server loses its old clients to this rule whatever conn_reuse_mode says.
        if self.knobs.expire_nodest_conn && common.get().destinations.get(destination).config.weight == 0 {
            return Some(Forgotten::DestinationGone);
        }
        let mode = self.knobs.conn_reuse_mode;
        let over = match entry.state() {
            ConnectionState::TimeWait | ConnectionState::Close | ConnectionState::SctpClosed => mode != 0,
            ConnectionState::FinWait => mode & REUSE_FIN_WAIT != 0,
            _ => false,
        };
        // A persistent client's connections stay with its template.
        (over && entry.template().is_none()).then_some(Forgotten::PortReused)
    }

    #[inline]
    fn handle_known<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        id: ConnectionId,
        observer: &mut O,
    ) -> Verdict {
        let now = ticks(self.now);
        let secure = self.knobs.secure_tcp;
        let entry = self.connections.entry_mut(id);
        let destination = entry.destination();
        let lane = &self.lanes[destination as usize];
        if matches!(lane.reach(), Reach::Gone | Reach::Drained) {
            return self.handle_orphan(common, frame, interface, packet, id, observer);
        }
        let before = entry.state();
        let repeats = self.probe_ports.is_some() && repeats_syn(entry, packet);
        let after = state_after(before, packet, secure);
        let timeout = if lane.own_timeouts() { common.get().timeout_at(destination, after) } else { None };
        let timeout = timeout.unwrap_or_else(|| self.state_timeouts.of(after));
        let shorter = timeout < entry.timeout();
        entry.touch(now);
        entry.set_timeout(timeout);
        if before != after {
            entry.set_state(after);
            let template = entry.template();
            common.get().note_state(destination, template, before, after);
        }
        if shorter {
            self.connections.hasten(id);
        }
        if repeats {
            self.statistics.repeated_syns += 1;
            common.suspect(self.now, destination);
        }
        if O::ENABLED {
            let destination = common.get().socket_of(destination, &packet.flow);
            observer.observe(&Observation::Known { flow: &packet.flow, before, after, destination });
        }
        self.forward(common, frame, interface, packet, destination, observer)
    }

    /// A known connection whose server has been removed, or was to be free of connections by now.
    fn handle_orphan<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frame: &Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        id: ConnectionId,
        observer: &mut O,
    ) -> Verdict {
        let destination = self.connections.entry(id).destination();
        if self.lane(destination).reach() == Reach::Drained {
            self.forget(common, id);
            self.refuse(frame, interface, packet, observer);
            return Verdict::Drop(DropReason::Drained);
        }
        // IPVS takes its hands off a family of which it has no service; the host answers.
        if !common.get().services.any_of_family(packet.is_ipv6()) {
            self.refuse(frame, interface, packet, observer);
        }
        Verdict::Drop(DropReason::DestinationGone)
    }

    /// A flow without a connection.
    #[inline(always)]
    fn handle_unknown<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        hash: FlowHash,
        observer: &mut O,
    ) -> Verdict {
        if let Some(verdict) = self.handle_probe(common, frame, packet) {
            return verdict;
        }
        if let Some(verdict) = self.strange_source(packet) {
            return verdict;
        }
        if let Some(verdict) = self.hand_over(common, frame, packet, observer) {
            return verdict;
        }
        let is_active_ftp = packet.kind == PacketKind::Tcp && packet.flow.client_port() == FTP_DATA;
        let service = if is_active_ftp { None } else { common.get().services.find(&packet.flow) };
        let Some(service) = service else {
            self.refuse(frame, interface, packet, observer);
            return Verdict::Drop(DropReason::NoService);
        };
        if O::ENABLED
            && let Some(key) = common.get().key_of(service)
        {
            observer.observe(&Observation::Service { key });
        }
        if let Err(reason) = self.opens(packet) {
            if reason == DropReason::NotSyn
                && let Some(because) = self.hashes_unknown()
            {
                return self.forward_hashed(common, frame, interface, packet, (service, because), observer);
            }
            self.refuse(frame, interface, packet, observer);
            return Verdict::Drop(reason);
        }
        if self.knobs.drop_packet && self.sheds() {
            return Verdict::Drop(DropReason::Shed);
        }
        let state = state_after(ConnectionState::None, packet, self.knobs.secure_tcp);
        let made = self.open(common, hash, service, packet, state, observer);
        let Some(made) = made else {
            // As IPVS: what FTP's service catches besides its own port, and has no server for, is the host's.
            if is_other_port_of_ftp(common.get().key_of(service), packet) {
                self.refuse(frame, interface, packet, observer);
                return Verdict::Drop(DropReason::NoService);
            }
            self.answer(frame, interface, packet, Answer::PortUnreachable, observer);
            return Verdict::Drop(DropReason::NoDestination);
        };
        match made {
            Ok(destination) => self.forward(common, frame, interface, packet, destination, observer),
            Err(Full) => {
                self.note_full();
                self.forward_hashed(common, frame, interface, packet, (service, Hashed::TableFull), observer)
            }
        }
    }

    /// Chooses a server for a flow and makes its connection, under one lock. `None` if there is no server to be had.
    #[inline(always)]
    pub(super) fn open<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        hash: FlowHash,
        service: ServiceId,
        packet: &Packet,
        state: ConnectionState,
        observer: &mut O,
    ) -> Option<Result<u32, Full>> {
        let mut common = common.get();
        common.now = common.now.max(self.now);
        let choice = common.choose(service, packet, observer)?;
        Some(
            self.connect(&mut common, &packet.flow, hash, service, choice, state)
                .map(|()| choice.destination),
        )
    }

    /// Whether a packet may open a connection; if not, why it is dropped.
    #[inline(always)]
    const fn opens(&self, packet: &Packet) -> Result<(), DropReason> {
        match packet.kind {
            PacketKind::Tcp => {
                let flags = packet.tcp_flags;
                let opens = flags & tcp_flag::SYN != 0 || self.knobs.sloppy_tcp;
                if opens && flags & tcp_flag::RST == 0 { Ok(()) } else { Err(DropReason::NotSyn) }
            }
            PacketKind::Sctp => {
                let chunk = packet.sctp_chunk;
                let opens = chunk == sctp_chunk::INIT || self.knobs.sloppy_sctp;
                if opens && chunk != sctp_chunk::ABORT { Ok(()) } else { Err(DropReason::NotInit) }
            }
            _ => Ok(()),
        }
    }

    /// Whether `drop_packet` hits this attempt: the first of every ten.
    const fn sheds(&mut self) -> bool {
        let hit = self.shed == 0;
        self.shed = (self.shed + 1) % SHED_EVERY;
        hit
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

    /// Makes the connection, unless the service remembers none.
    #[inline(always)]
    pub(super) fn connect(
        &mut self,
        common: &mut Common<M>,
        flow: &FlowKey,
        hash: FlowHash,
        service: ServiceId,
        choice: super::choose::Choice,
        state: ConnectionState,
    ) -> Result<(), Full> {
        let destination = choice.destination;
        self.statistics.connections_made += 1;
        if choice.one_packet {
            common.destinations.connection_passed(destination);
            common.note_load(destination);
            return Ok(());
        }
        let own = common.services.timeout_of(service, state);
        let timeout = own.unwrap_or_else(|| self.state_timeouts.of(state));
        let new = NewConnection { destination, state, timeout };
        let inserted = self.connections.insert(self.now, hash, flow, new);
        let id = inserted.inspect_err(|_| self.statistics.connections_made -= 1)?;
        let entry = self.connections.entry_mut(id);
        entry.touch(ticks(self.now));
        entry.set_template(choice.template);
        common.destinations.connection_added(destination, state.is_active());
        common.note_load(destination);
        if let Some(template) = choice.template {
            common.adopt(template);
            if matches!(state, ConnectionState::Established | ConnectionState::SctpEstablished) {
                common.assure(template);
            }
        }
        Ok(())
    }

    /// Sends a packet to the server that the hash of its client gives.
    fn forward_hashed<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        (service, because): (ServiceId, Hashed),
        observer: &mut O,
    ) -> Verdict {
        let picked = common.get().hashed(service, &packet.flow, because, observer);
        let Some(destination) = picked else {
            return Verdict::Drop(DropReason::NoDestination);
        };
        self.statistics.hashed += 1;
        self.forward(common, frame, interface, packet, destination, observer)
    }

    /// Answers a packet to an address of ours where nothing listens, as a host does.
    pub(super) fn refuse<O: Observer>(
        &mut self,
        frame: &Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        observer: &mut O,
    ) {
        let answer = match packet.kind {
            PacketKind::Tcp => Answer::Reset,
            PacketKind::Udp => Answer::PortUnreachable,
            _ => Answer::ProtocolUnreachable,
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
    pub(super) fn forget<A: Access<M>>(&mut self, common: &mut A, id: ConnectionId) {
        let entry = *self.connections.entry(id);
        self.connections.remove(id);
        common.get().release(&entry);
    }

    /// Forgets connections whose time is over.
    #[inline(always)]
    pub(super) fn expire_connections<A: Access<M>>(&mut self, common: &mut A, budget: &mut u32) {
        while let Some(entry) = self.connections.expire(self.now, budget) {
            common.get().release(&entry);
        }
    }
}

impl<M: TableMemory> Common<M> {
    /// A connection entered another state.
    pub(super) fn note_state(
        &mut self,
        destination: u32,
        template: Option<u32>,
        before: ConnectionState,
        after: ConnectionState,
    ) {
        if before.is_active() != after.is_active() {
            self.destinations.connection_changed(destination, after.is_active());
            self.note_load(destination);
        }
        if matches!(after, ConnectionState::Established | ConnectionState::SctpEstablished)
            && let Some(template) = template
        {
            self.assure(template);
        }
    }

    /// Takes a forgotten connection off the counts.
    pub(super) fn release(&mut self, entry: &crate::connection::Line) {
        self.destinations.connection_removed(entry.destination(), entry.state().is_active());
        self.note_load(entry.destination());
        if let Some(template) = entry.template() {
            self.disown(template);
        }
    }

    /// The time-out of a state at a server, if its service has time-outs of its own.
    fn timeout_at(&self, destination: u32, state: ConnectionState) -> Option<u32> {
        self.services.timeout_of(self.destinations.load(destination).serves.service, state)
    }

    fn key_of(&self, service: ServiceId) -> Option<ServiceKey> {
        self.services.get(service).map(|service| service.config.key)
    }

    /// The server that the hash of a client gives.
    fn hashed<O: Observer>(
        &self,
        service: ServiceId,
        flow: &FlowKey,
        because: Hashed,
        observer: &mut O,
    ) -> Option<u32> {
        let service = self.services.get(service)?;
        let (place, servers) = (service.hashed(flow)?, service.servers());
        let destination = servers.get(place)?.destination;
        if O::ENABLED {
            observer.observe(&Observation::Hashed { servers, picked: place, because });
        }
        Some(destination)
    }
}

/// Whether a packet is for another port than FTP's own, which FTP's service catches.
fn is_other_port_of_ftp(key: Option<ServiceKey>, packet: &Packet) -> bool {
    key.is_some_and(|key| key.port() == FTP && packet.flow.virtual_port() != FTP)
}

/// The state after a packet.
#[inline]
const fn state_after(before: ConnectionState, packet: &Packet, secure: bool) -> ConnectionState {
    match packet.kind {
        PacketKind::Tcp => state::after_segment(before, packet.tcp_flags, secure),
        PacketKind::Sctp => state::after_chunk(before, packet.sctp_chunk),
        _ => ConnectionState::Udp,
    }
}
