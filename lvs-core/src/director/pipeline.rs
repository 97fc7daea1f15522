//! From a batch of frames to a verdict each.
//!
//! ```text
//!   stage 1   what is it, is it ours, which flow: at a glance, or thoroughly; its index bucket is asked for
//!   stage 2   which connection the bucket points to, and that is asked for
//!   stage 3   confirm the connection or make one; rewrite; verdict
//!
//!   frames  0-15   1     2     3
//!          16-31         1     2     3
//!          32-47               1     2     3
//! ```
//! Memory of one frame's bucket and connection arrives while others are being worked on. A batch goes through in groups, of which
//! each is a stage behind the one in front of it: what is asked for at one time is what a processor can wait for at one time, and
//! there is always work meanwhile. Decisions are taken in stage 3 only, in order: a batch decides exactly as its frames would
//! one by one.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::num::NonZeroU16;
use core::ops::Range;
use core::time::Duration;

use super::Director;
use super::common::Access;
use super::probe::take_probe;
use super::worker::Worker;
use crate::addr::MacAddr;
use crate::classify::{FlowKey, Packet, PacketKind, classify, owner_of_packet};
use crate::config::{InterfaceId, Protocol, VlanPath};
use crate::connection::{Bucket, ConnectionState, FlowHash, Guess, Head, TableMemory, duration_ticks};
use crate::io::{Frame, MAX_BATCH, Verdicts};
use crate::neighbour::Outcome;
use crate::observe::{Answer, Held, Observation, Observer};
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};

/// How many frames go through a stage together. A processor waits for some 10 to 24 lines of memory at one time; whoever
/// asks for more stands still.
const GROUP: usize = 16;

/// How many connections and wheel slots are looked at for expiry before a batch.
const EXPIRY_BUDGET: u32 = 64;

/// How long a flow is remembered that is known by an ICMP error only.
const QUOTED_FLOW: Duration = Duration::from_secs(3);

/// What stages 1 and 2 found out about a frame. Small and flat: a batch of these is written once and read once.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Of the flow, if it is of one.
    pub(super) hash: FlowHash,
    /// Where it is looked for first.
    bucket: Bucket,
    /// Of a usual frame: how its connection begins if it goes on as it is.
    pub(super) head: Head,
    pub(super) guess: Guess,
    /// Of a usual frame: the length of the IP packet.
    pub(super) ip_len: u16,
    pub(super) way: Way,
    /// Of one that goes the thorough way: where its packet lies.
    at: u8,
    /// Of one that is done with.
    pub(super) verdict: Verdict,
}

/// How a frame goes on after stage 1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A usual TCP or UDP frame over IPv4 to an address of the director's.
    PlainV4,
    /// The same over IPv6.
    PlainV6,
    /// Not a usual frame: it is yet to be looked at thoroughly.
    Unusual,
    /// It was looked at thoroughly, and there is a packet to decide about.
    Thorough,
    /// There is nothing to decide.
    Done,
}

impl Seen {
    const NOTHING: Self = Self {
        hash: FlowHash::NONE,
        bucket: Bucket::FIRST,
        head: Head::NONE,
        guess: Guess::NONE,
        ip_len: 0,
        way: Way::Done,
        at: 0,
        verdict: Verdict::Pass,
    };
}

/// A frame that goes the thorough way.
#[derive(Clone, Copy)]
struct Thorough {
    step: Step,
    interface: InterfaceId,
    packet: Packet,
}

/// What is to be done with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// TCP, UDP or SCTP to an address of the director's.
    Flow,
    Arp,
    Icmpv6Neighbour,
    Icmp,
    Fragment,
    OtherIp,
    /// An ICMP error about a health probe.
    Probe,
    Done(Verdict),
}

/// A batch on its way through the stages: memory that is taken once and written anew for each batch.
#[derive(Default)]
pub(super) struct Batch {
    /// One for each frame.
    seen: Vec<Seen>,
    /// Frames that are not usual ones.
    thorough: Vec<Thorough>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { seen: alloc::vec![Seen::NOTHING; MAX_BATCH], thorough: Vec::with_capacity(MAX_BATCH) }
    }
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
        if O::ENABLED && !observer.watches(now) {
            return self.worker.handle_batch(&mut self.common, now, frames, &mut ());
        }
        self.worker.handle_batch(&mut self.common, now, frames, observer)
    }
}

impl<M: TableMemory> Worker<M> {
    /// See [`Director::handle_batch_observed`].
    #[inline(always)]
    pub(super) fn handle_batch<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        now: Instant,
        frames: &mut [Frame<'_>],
        observer: &mut O,
    ) -> Verdicts {
        assert!(frames.len() <= MAX_BATCH, "a batch has at most {MAX_BATCH} frames");
        self.now = self.now.max(now);
        self.batch_sizes.count(frames.len());
        self.catch_up(common);
        let mut budget = EXPIRY_BUDGET;
        self.expire_connections(common, &mut budget);

        let mut batch = core::mem::take(&mut self.batch);
        if batch.seen.is_empty() {
            // A panic of an observer or a scheduler took the last one along.
            batch = Batch::new();
        }
        let verdicts = self.handle_stages(common, frames, &mut batch, observer);
        self.batch = batch;
        verdicts
    }

    #[inline(always)]
    fn handle_stages<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frames: &mut [Frame<'_>],
        batch: &mut Batch,
        observer: &mut O,
    ) -> Verdicts {
        let Batch { seen, thorough } = batch;
        thorough.clear();
        let mut verdicts = Verdicts::new();
        let Some(seen) = seen.get_mut(..frames.len()) else {
            return verdicts;
        };
        // How many have been looked at, and of how many the connections have been asked for.
        let (mut looked, mut fetched, mut has_flows) = (0, 0, false);
        while verdicts.len() < frames.len() {
            let (fetch, decide) = (fetched..looked, verdicts.len()..fetched);
            let look = looked..frames.len().min(looked + GROUP);
            (looked, fetched) = (look.end, fetch.end);
            let fetch_some = has_flows;
            has_flows = self.look_at(&frames[look.clone()], &mut seen[look], thorough);
            if fetch_some {
                self.fetch(&mut seen[fetch]);
            }
            self.decide_about(common, decide, (frames, seen, thorough), &mut verdicts, observer);
        }
        verdicts
    }

    /// Stage 1 for some frames. Answers whether any of them is of a flow.
    #[inline(never)]
    fn look_at(&self, frames: &[Frame<'_>], seen: &mut [Seen], thorough: &mut Vec<Thorough>) -> bool {
        let eye = self.eye();
        let mut has_flows = false;
        for (frame, one) in frames.iter().zip(seen) {
            let is_flow =
                eye.glance(frame, one) || (one.way == Way::Unusual && self.look(frame, one, thorough));
            if is_flow {
                one.bucket = self.connections.fetch_bucket(one.hash);
            }
            has_flows |= is_flow;
        }
        has_flows
    }

    /// Stage 2. What is asked for in vain, for a frame that is no flow, costs less than to find out.
    #[inline(never)]
    fn fetch(&self, seen: &mut [Seen]) {
        for one in seen {
            one.guess = self.connections.guess(one.bucket, one.hash);
            self.connections.fetch(one.guess, one.way == Way::PlainV6);
        }
    }

    /// Stage 3 for the frames in these places.
    #[inline(always)]
    fn decide_about<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        places: Range<usize>,
        (frames, seen, thorough): (&mut [Frame<'_>], &[Seen], &[Thorough]),
        verdicts: &mut Verdicts,
        observer: &mut O,
    ) {
        let times = self.times();
        let mut straight = 0;
        let numbered = places.clone().zip(&mut frames[places.clone()]).zip(&seen[places]);
        for ((index, frame), one) in numbered {
            if O::ENABLED {
                self.show_frame(index, frame, observer);
            }
            let port = match one.way {
                Way::PlainV4 => self.forward_v4(common, &times, frame, one, observer),
                Way::PlainV6 => self.forward_v6(common, &times, frame, one, observer),
                _ => None,
            };
            if let Some(port) = port {
                straight += 1;
                verdicts.push(Verdict::Transmit(port));
            } else {
                let verdict = match one.way {
                    Way::Done => one.verdict,
                    _ => self.decide(common, frame, one, thorough, observer),
                };
                self.statistics.count(verdict);
                verdicts.push(verdict);
            }
            if O::ENABLED
                && let Some(verdict) = verdicts.last()
            {
                observer.observe(&Observation::Verdict { verdict: *verdict, bytes: frame.bytes() });
            }
        }
        self.statistics.transmitted += straight;
    }

    /// Gives a frame to the worker that its client belongs to, if that is another one; whether the kernel has shared out frames
    /// rightly is not relied upon where nothing is known of the flow.
    pub(super) fn hand_over<A: Access<M>, O: Observer>(
        &self,
        common: &mut A,
        frame: &Frame<'_>,
        packet: &Packet,
        observer: &mut O,
    ) -> Option<Verdict> {
        if self.team.size == NonZeroU16::MIN {
            return None;
        }
        let owner = owner_of_packet(frame.bytes(), packet, self.team.size);
        if owner == self.team.place {
            return None;
        }
        let is_taken = common.hand_over(owner, frame);
        if O::ENABLED && is_taken {
            observer.observe(&Observation::Held { because: Held::HandedOver { owner } });
        }
        Some(if is_taken { Verdict::Hold } else { Verdict::Drop(DropReason::OwnerBusy) })
    }

    /// Stage 1 for a frame that is not a usual one: everything that needs no connection. Answers whether it is of a flow.
    #[inline(never)]
    fn look(&self, frame: &Frame<'_>, seen: &mut Seen, thorough: &mut Vec<Thorough>) -> bool {
        let bytes = frame.bytes();
        seen.way = Way::Done;
        let packet = match classify(bytes, frame.meta()) {
            Ok(packet) => packet,
            Err(reason) => {
                seen.verdict = Verdict::Drop(reason);
                return false;
            }
        };
        let Some(interface) = self.interface_of(frame.port(), packet.vlan) else {
            seen.verdict = Verdict::Pass;
            return false;
        };
        let step = self.step(bytes, &packet, self.mac_of(interface));
        if let Step::Done(verdict) = step {
            seen.verdict = verdict;
            return false;
        }
        seen.way = Way::Thorough;
        seen.at = thorough.len() as u8;
        thorough.push(Thorough { step, interface, packet });
        if step == Step::Flow {
            seen.hash = self.connections.hash(&packet.flow);
        }
        step == Step::Flow
    }

    /// Tells the observer of a frame before anything is decided about it.
    fn show_frame<O: Observer>(&self, index: usize, frame: &Frame<'_>, observer: &mut O) {
        let (bytes, meta) = (frame.bytes(), frame.meta());
        let packet = classify(bytes, meta);
        let vlan = packet.map_or(VlanPath::UNTAGGED, |packet| packet.vlan);
        let interface = self.interface_of(frame.port(), vlan);
        let packet = packet.as_ref().map_err(|reason| *reason);
        observer.observe(&Observation::Frame { index, bytes, meta, packet, interface });
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
            let group = MacAddr(to).is_multicast() && !self.is_hosts(packet);
            return Step::Done(if group { Verdict::Drop(DropReason::NotUnicast) } else { Verdict::Pass });
        }
        // Whoever has a connection was looked at when it was made.
        if matches!(packet.kind, PacketKind::Tcp | PacketKind::Udp | PacketKind::Sctp) {
            return Step::Flow;
        }
        if self.is_about_probe(bytes, packet) {
            return Step::Probe;
        }
        if self.is_hosts(packet) {
            return Step::Done(Verdict::Pass);
        }
        if let Some(verdict) = self.strange_source(packet) {
            return Step::Done(verdict);
        }
        match packet.kind {
            PacketKind::Icmp | PacketKind::Icmpv6 => Step::Icmp,
            PacketKind::Fragment => Step::Fragment,
            PacketKind::OtherIp => Step::OtherIp,
            _ => Step::Done(Verdict::Pass),
        }
    }

    /// Whether packets to this address are marked for a service.
    #[inline]
    pub(super) fn is_marked(&self, packet: &Packet) -> bool {
        !self.marked.is_empty() && self.is_in_marked(packet.flow.virtual_address())
    }

    #[cold]
    pub(super) fn is_in_marked(&self, address: IpAddr) -> bool {
        self.marked.iter().any(|prefix| prefix.contains(address))
    }

    /// Sources that no packet to the director can have: group addresses, loopback, nobody, and the director itself.
    #[inline(always)]
    pub(super) fn strange_source(&self, packet: &Packet) -> Option<Verdict> {
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
            // A real server answers a probe with the VIP as its source, to the address the probe came from. This one does not
            // come to where probes are waited for.
            return Some(Verdict::Drop(DropReason::ProbeReply));
        }
        // As Linux, which lets its own IPv6 addresses in from outside but not its IPv4 addresses.
        (local.own && !packet.is_ipv6()).then_some(Verdict::Drop(DropReason::Martian))
    }

    /// Stage 3 for a frame that does not go straight on.
    #[inline(never)]
    fn decide<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        seen: &Seen,
        thorough: &[Thorough],
        observer: &mut O,
    ) -> Verdict {
        let Seen { hash, guess, .. } = *seen;
        if matches!(seen.way, Way::PlainV4 | Way::PlainV6) {
            let (packet, interface) = self.plain_packet(frame, seen);
            return self.handle_flow(common, frame, interface, &packet, (hash, guess), observer);
        }
        let Some(Thorough { step, interface, packet }) = thorough.get(usize::from(seen.at)) else {
            return Verdict::Pass;
        };
        if matches!(step, Step::Icmp | Step::Fragment | Step::OtherIp)
            && let Some(verdict) = self.hand_over(common, frame, packet, observer)
        {
            return verdict;
        }
        match step {
            Step::Flow => self.handle_flow(common, frame, *interface, packet, (hash, guess), observer),
            Step::Arp | Step::Icmpv6Neighbour => self.handle_neighbour(common, frame, *interface, packet),
            Step::Icmp => self.handle_icmp(common, frame, *interface, packet, observer),
            Step::Fragment => self.handle_fragment(common, frame, *interface, packet, observer),
            Step::OtherIp => {
                self.refuse(frame, *interface, packet, observer);
                Verdict::Drop(DropReason::NoProtocol)
            }
            Step::Probe => take_probe(common, frame),
            Step::Done(verdict) => *verdict,
        }
    }

    fn handle_neighbour<A: Access<M>>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
    ) -> Verdict {
        let (network, transport) = (usize::from(packet.network), usize::from(packet.transport));
        let port = frame.port();
        let bytes = frame.bytes_mut();
        let mut shared = common.get();
        let outcome = if packet.kind == PacketKind::Arp {
            shared.neighbours.handle_arp(self.now, interface, bytes, network)
        } else {
            shared.neighbours.handle_icmpv6(
                self.now,
                interface,
                bytes,
                network,
                transport,
                packet.end as usize,
            )
        };
        shared.take_neighbour_updates(self.now);
        drop(shared);
        self.catch_up(common);
        match outcome {
            Outcome::Reply => Verdict::Transmit(port),
            Outcome::Consumed => Verdict::Drop(DropReason::Consumed),
            Outcome::Pass => Verdict::Pass,
            Outcome::Bad => Verdict::Drop(DropReason::BadNeighbourMessage),
        }
    }

    /// ICMP to one of the director's addresses: an echo request is answered, an error goes to the server of the flow
    /// that it quotes.
    fn handle_icmp<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
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
            destination = self.connect_for_icmp(common, &flow, packet, observer);
        }
        if O::ENABLED {
            let destination = destination.map(|id| common.get().socket_of(id, &flow));
            observer.observe(&Observation::Quoted { flow: &flow, destination });
        }
        match destination {
            Some(destination) => self.forward(common, frame, interface, packet, destination, observer),
            None => Verdict::Drop(DropReason::IcmpUnrelated),
        }
    }

    /// With `schedule_icmp` an error about an unknown flow opens a connection for that flow, as if the flow had begun; it
    /// is remembered for three seconds only.
    fn connect_for_icmp<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        flow: &FlowKey,
        packet: &Packet,
        observer: &mut O,
    ) -> Option<u32> {
        let service = common.get().services.find(flow)?;
        let (kind, state) = match Protocol::from_number(flow.protocol())? {
            Protocol::Tcp => (PacketKind::Tcp, ConnectionState::None),
            Protocol::Udp => (PacketKind::Udp, ConnectionState::Udp),
            Protocol::Sctp => (PacketKind::Sctp, ConnectionState::None),
        };
        let quoted = Packet { kind, flow: *flow, ..*packet };
        let hash = self.connections.hash(flow);
        let destination = self.open(common, hash, service, &quoted, state, observer)?.ok()?;
        if let Some(id) = self.connections.find(hash, flow) {
            self.connections.entry_mut(id).set_timeout(duration_ticks(QUOTED_FLOW));
            self.connections.hasten(id);
        }
        Some(destination)
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
