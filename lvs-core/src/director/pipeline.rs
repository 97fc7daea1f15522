//! From a batch of frames to a verdict each.
//!
//! ```text
//!   stage 1, all frames   classify, find the interface, hash the flow
//!   stage 2, all frames   read the index bucket: which connection it probably is
//!   stage 3, one by one   confirm the connection or make one; rewrite; verdict
//! ```
//! The stages exist so that the memory of one frame's bucket and connection arrives while others are being worked on.
//! Decisions are taken in stage 3 only, in order: a batch decides exactly as its frames would one by one.

use core::time::Duration;

use arrayvec::ArrayVec;

use super::Director;
use crate::addr::MacAddr;
use crate::classify::{FlowKey, Packet, PacketKind, classify};
use crate::config::{InterfaceId, Protocol};
use crate::connection::{ConnectionState, FlowHash, Guess, TableMemory, duration_ticks};
use crate::io::{Frame, MAX_BATCH, Verdicts};
use crate::neighbour::Outcome;
use crate::observe::{Answer, Observation, Observer};
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};

/// How many connections and wheel slots are looked at for expiry before a batch.
const EXPIRY_BUDGET: u32 = 64;

/// How long a flow is remembered that is known by an ICMP error only.
const QUOTED_FLOW: Duration = Duration::from_secs(3);

/// What stage 1 found out about a frame.
#[derive(Clone, Copy)]
struct Staged {
    packet: Packet,
    interface: InterfaceId,
    hash: FlowHash,
    guess: Guess,
    step: Step,
}

/// What is to be done with a frame in stage 3.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// TCP or UDP to an address of the director's.
    Flow,
    Arp,
    Icmpv6Neighbour,
    Icmp,
    Fragment,
    OtherIp,
    Done(Verdict),
}

impl<M: TableMemory> Director<M> {
    /// Decides about one frame. The frame is changed in place if it is to be transmitted.
    pub fn handle_frame(&mut self, now: Instant, frame: &mut Frame<'_>) -> Verdict {
        self.handle_frame_observed(now, frame, &mut ())
    }

    /// The same, watched by an observer.
    pub fn handle_frame_observed<O: Observer>(
        &mut self,
        now: Instant,
        frame: &mut Frame<'_>,
        observer: &mut O,
    ) -> Verdict {
        let verdicts = self.handle_batch_observed(now, core::slice::from_mut(frame), observer);
        verdicts.first().copied().unwrap_or(Verdict::Pass)
    }

    /// Decides about a batch of frames as if they came one by one, but faster. Answers one verdict for each.
    ///
    /// # Panics
    /// If there are more than [`MAX_BATCH`] frames.
    pub fn handle_batch(&mut self, now: Instant, frames: &mut [Frame<'_>]) -> Verdicts {
        self.handle_batch_observed(now, frames, &mut ())
    }

    /// The same, watched by an observer.
    ///
    /// # Panics
    /// If there are more than [`MAX_BATCH`] frames.
    pub fn handle_batch_observed<O: Observer>(
        &mut self,
        now: Instant,
        frames: &mut [Frame<'_>],
        observer: &mut O,
    ) -> Verdicts {
        assert!(frames.len() <= MAX_BATCH, "a batch has at most {MAX_BATCH} frames");
        self.now = self.now.max(now);
        let mut budget = EXPIRY_BUDGET;
        self.expire_connections(&mut budget);

        let mut staged: ArrayVec<Staged, MAX_BATCH> = ArrayVec::new();
        staged.extend(frames.iter().map(|frame| self.stage(frame)));
        for one in &mut staged {
            if one.step == Step::Flow {
                one.guess = self.connections.guess(one.hash);
            }
        }
        let mut verdicts = Verdicts::new();
        for (index, (frame, one)) in frames.iter_mut().zip(&staged).enumerate() {
            if O::ENABLED {
                let packet = match one.step {
                    Step::Done(Verdict::Drop(reason)) => Err(reason),
                    _ => Ok(&one.packet),
                };
                let interface = self.interface_of(frame.port(), one.packet.vlan);
                let (bytes, meta) = (frame.bytes(), frame.meta());
                observer.observe(&Observation::Frame { index, bytes, meta, packet, interface });
            }
            let verdict = self.decide(frame, one, observer);
            self.statistics.count(verdict);
            if O::ENABLED {
                observer.observe(&Observation::Verdict { verdict, bytes: frame.bytes() });
            }
            verdicts.push(verdict);
        }
        verdicts
    }

    /// Stage 1: everything that needs no connection.
    #[inline]
    fn stage(&self, frame: &Frame<'_>) -> Staged {
        let bytes = frame.bytes();
        let mut staged = Staged {
            packet: Packet::NONE,
            interface: InterfaceId(0),
            hash: FlowHash::default(),
            guess: Guess::NONE,
            step: Step::Done(Verdict::Pass),
        };
        match classify(bytes, frame.meta()) {
            Ok(packet) => staged.packet = packet,
            Err(reason) => {
                staged.step = Step::Done(Verdict::Drop(reason));
                return staged;
            }
        }
        let Some(interface) = self.interface_of(frame.port(), staged.packet.vlan) else {
            return staged;
        };
        staged.interface = interface;
        staged.step = self.step(bytes, &staged.packet, self.mac_of(interface));
        if staged.step == Step::Flow {
            staged.hash = self.connections.hash(&staged.packet.flow);
        }
        staged
    }

    #[inline]
    fn step(&self, bytes: &[u8], packet: &Packet, own_mac: MacAddr) -> Step {
        let Some(addresses) = bytes.first_chunk::<12>() else {
            return Step::Done(Verdict::Drop(DropReason::Truncated));
        };
        let [to @ .., _, _, _, _, _, _] = *addresses;
        if addresses[6..] == own_mac.0 {
            return Step::Done(Verdict::Drop(DropReason::OwnFrame));
        }
        // IEEE 802.3 section 3.2.3: a source is a single station. An answer would go to the whole group.
        if addresses[6] & 1 != 0 {
            return Step::Done(Verdict::Drop(DropReason::Martian));
        }
        if packet.kind == PacketKind::Arp {
            return Step::Arp;
        }
        if packet.kind == PacketKind::Icmpv6 && is_neighbour_message(bytes, packet) {
            return Step::Icmpv6Neighbour;
        }
        let is_ours = match packet.flow {
            FlowKey::V4 { addresses, .. } => self.locals.contains_v4(addresses as u32),
            FlowKey::V6 { virtual_address, .. } => self.locals.contains_v6(virtual_address),
        };
        if !is_ours && !self.is_marked(packet) {
            return Step::Done(Verdict::Pass);
        }
        if to != own_mac.0 {
            let group = MacAddr(to).is_multicast();
            return Step::Done(if group { Verdict::Drop(DropReason::NotUnicast) } else { Verdict::Pass });
        }
        if let Some(verdict) = self.strange_source(packet) {
            return Step::Done(verdict);
        }
        match packet.kind {
            PacketKind::Tcp | PacketKind::Udp | PacketKind::Sctp => Step::Flow,
            PacketKind::Icmp | PacketKind::Icmpv6 => Step::Icmp,
            PacketKind::Fragment => Step::Fragment,
            PacketKind::OtherIp => Step::OtherIp,
            PacketKind::Arp | PacketKind::Other => Step::Done(Verdict::Pass),
        }
    }

    /// Whether packets to this address are marked for a service.
    #[inline]
    fn is_marked(&self, packet: &Packet) -> bool {
        !self.services.marks().is_empty() && self.services.takes_by_mark(packet.flow.virtual_address())
    }

    /// Sources that no packet to the director can have: group addresses, loopback, nobody, and the director itself.
    #[inline]
    fn strange_source(&self, packet: &Packet) -> Option<Verdict> {
        let (martian, own) = match packet.flow {
            FlowKey::V4 { addresses, .. } => {
                let source = (addresses >> 32) as u32;
                let first = source >> 24;
                (first == 0 || first == 127 || first >= 224, self.locals.contains_v4(source))
            }
            FlowKey::V6 { client, .. } => {
                (client <= 1 || client >> 120 == 0xff, self.locals.contains_v6(client))
            }
        };
        if martian {
            return Some(Verdict::Drop(DropReason::Martian));
        }
        own.then(|| self.own_source(packet)).flatten()
    }

    /// A packet that has one of the director's addresses as its source.
    fn own_source(&self, packet: &Packet) -> Option<Verdict> {
        let local = self.locals.get(packet.flow.client_address())?;
        if local.services > 0 {
            // A real server answers a probe with the VIP as its source, to the address the probe came from.
            return Some(Verdict::Drop(DropReason::ProbeReply));
        }
        // As Linux, which lets its own IPv6 addresses in from outside but not its IPv4 addresses.
        (!packet.is_ipv6()).then_some(Verdict::Drop(DropReason::Martian))
    }

    /// Stage 3 for one frame.
    fn decide<O: Observer>(&mut self, frame: &mut Frame<'_>, staged: &Staged, observer: &mut O) -> Verdict {
        match staged.step {
            Step::Flow => {
                self.handle_flow(frame, staged.interface, &staged.packet, staged.hash, staged.guess, observer)
            }
            Step::Done(verdict) => verdict,
            Step::Arp | Step::Icmpv6Neighbour => self.handle_neighbour(frame, staged),
            Step::Icmp => self.handle_icmp(frame, staged.interface, &staged.packet, observer),
            Step::Fragment => self.handle_fragment(frame, staged.interface, &staged.packet, observer),
            Step::OtherIp => {
                self.refuse(frame, staged.interface, &staged.packet, observer);
                Verdict::Drop(DropReason::NoProtocol)
            }
        }
    }

    fn handle_neighbour(&mut self, frame: &mut Frame<'_>, staged: &Staged) -> Verdict {
        let Packet { network, transport, end, .. } = staged.packet;
        let (network, transport) = (usize::from(network), usize::from(transport));
        let port = frame.port();
        let bytes = frame.bytes_mut();
        let outcome = if staged.step == Step::Arp {
            self.neighbours.handle_arp(self.now, staged.interface, bytes, network)
        } else {
            self.neighbours.handle_icmpv6(self.now, staged.interface, bytes, network, transport, end as usize)
        };
        self.take_neighbour_updates(self.now);
        match outcome {
            Outcome::Reply => Verdict::Transmit(port),
            Outcome::Consumed => Verdict::Drop(DropReason::Consumed),
            Outcome::Pass => Verdict::Pass,
            Outcome::Bad => Verdict::Drop(DropReason::BadNeighbourMessage),
        }
    }

    /// ICMP to one of the director's addresses: an echo request is answered, an error goes to the server of the flow
    /// that it quotes.
    fn handle_icmp<O: Observer>(
        &mut self,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        observer: &mut O,
    ) -> Verdict {
        let port = frame.port();
        let own_mac = self.mac_of(interface);
        let whole = !packet.first_fragment;
        if whole && crate::forward::answer::echo_reply(frame.bytes_mut(), packet, own_mac) {
            if O::ENABLED {
                observer.observe(&Observation::Answered { answer: Answer::EchoReply });
            }
            return Verdict::Transmit(port);
        }
        // What is quoted was sent by the address that the error comes to, or the error is made up.
        let quoted = crate::classify::quoted_flow(frame.bytes(), packet);
        let quoted = quoted.filter(|flow| flow.virtual_address() == packet.flow.virtual_address());
        let Some(flow) = quoted else {
            return Verdict::Drop(DropReason::IcmpUnrelated);
        };
        let known = self.connections.find(self.connections.hash(&flow), &flow);
        let mut destination = known.map(|id| self.connections.entry(id).destination());
        if destination.is_none() && self.knobs.schedule_icmp {
            destination = self.connect_for_icmp(&flow, packet, observer);
        }
        if O::ENABLED {
            let destination = destination.map(|id| self.socket_of(id, &flow));
            observer.observe(&Observation::Quoted { flow: &flow, destination });
        }
        match destination {
            Some(destination) => self.forward(frame, interface, packet, destination, observer),
            None => Verdict::Drop(DropReason::IcmpUnrelated),
        }
    }

    /// With `schedule_icmp` an error about an unknown flow opens a connection for that flow, as if the flow had begun; it
    /// is remembered for three seconds only.
    fn connect_for_icmp<O: Observer>(
        &mut self,
        flow: &FlowKey,
        packet: &Packet,
        observer: &mut O,
    ) -> Option<u32> {
        let service = self.services.find(flow)?;
        let (kind, state) = match Protocol::from_number(flow.protocol())? {
            Protocol::Tcp => (PacketKind::Tcp, ConnectionState::None),
            Protocol::Udp => (PacketKind::Udp, ConnectionState::Udp),
            Protocol::Sctp => (PacketKind::Sctp, ConnectionState::None),
        };
        let quoted = Packet { kind, flow: *flow, ..*packet };
        let choice = self.choose(service, &quoted, observer)?;
        let hash = self.connections.hash(flow);
        self.connect(flow, hash, service, choice, state).ok()?;
        if let Some(id) = self.connections.find(hash, flow) {
            self.connections.entry_mut(id).set_timeout(duration_ticks(QUOTED_FLOW));
            self.connections.hasten(id);
        }
        Some(choice.destination)
    }
}

/// Neighbour solicitation and advertisement, and listener queries: what the neighbour side wants to hear.
fn is_neighbour_message(bytes: &[u8], packet: &Packet) -> bool {
    const LISTENER_QUERY: u8 = 130;
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    let kind = bytes.get(usize::from(packet.transport)).copied().unwrap_or(0);
    matches!(kind, LISTENER_QUERY | SOLICITATION | ADVERTISEMENT)
}
