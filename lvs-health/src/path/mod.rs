//! Probes along the way that clients' packets take: to the real server's Ethernet address, for the VIP, answered to the probe
//! address.
//!
//! ```text
//!   director                                        real server
//!   probe address ── SYN to VIP:80, MAC of the server ──►  takes it only if the VIP is on lo
//!                 ◄── SYN+ACK from VIP:80, to the probe address
//! ```
//!
//! Frames in, frames out, no I/O. Half-open probes are a packet of our own making; connections are smoltcp's, one small stack each,
//! so that a hostile answer reaches nothing but its own probe.

mod frame;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use lvs_core::config::VlanPath;
use lvs_core::director::Outgoing;
use lvs_core::io::Meta;
use lvs_core::{Instant, MacAddr, PortId};

use crate::config::{PathMethod, Probe};
use crate::deadlines::Deadlines;
use crate::http::Share;
use crate::monitor::{ProbeId, ProbeOrder};
use crate::outcome::{FailureKind, Outcome};
use crate::random::Secret;
use frame::{Arrival, Segment};
use stream::Stream;

/// What is fixed for a prober's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathConfig {
    /// The most probes under way at a time. Default 1024. At most half of the source ports, so that a port rests before it is used again.
    pub max_in_flight: u16,
    /// Source ports. Default 61000 to 65535, which Linux does not use for connections of its own. Probers with the same probe address
    /// need ranges that do not overlap.
    pub ports: RangeInclusive<u16>,
    /// Seed of sequence numbers; from the operating system's random numbers, or others can forge answers.
    pub seed: u64,
}

impl PathConfig {
    /// The defaults with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { max_in_flight: 1024, ports: 61000..=65535, seed }
    }
}

/// How a real server is reached, as the director knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The port its frames leave by.
    pub port: PortId,
    /// The VLAN on that port.
    pub vlan: VlanPath,
    /// The director's Ethernet address there.
    pub mac: MacAddr,
    /// The longest IP packet there, in bytes.
    pub mtu: u16,
    /// The probe address: the DIP, or another address of the director's, of the service's family.
    pub source: IpAddr,
    /// Whether the director owns the probe address. Where the host's kernel does, it ends connections that it does not know by RST:
    /// then every probe is made half-open, which is not harmed by that, and counted as a fallback.
    pub owned: bool,
    /// The next hop's Ethernet address, the real server's as a rule. `None` if it is not known.
    pub server_mac: Option<MacAddr>,
}

/// Counters of a prober.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathStatistics {
    /// Probes made half-open because the director does not own the probe address.
    pub fallbacks: u64,
    /// Frames for a probe that came from another Ethernet address than the probe went to.
    pub other_mac: u64,
    /// Frames for no probe, or that say nothing: late, forged, cut or damaged ones.
    pub ignored: u64,
    /// Probes that found no room.
    pub no_room: u64,
}

/// A prober. `handle_*` takes input, `poll_*` yields output and is called until it answers `None`.
pub struct PathProber {
    first_port: u16,
    /// How many times each place can take another port.
    rounds: u16,
    random: Secret,
    slots: Vec<Option<Slot>>,
    free: VecDeque<u16>,
    /// The round of each place's next port.
    round: Vec<u16>,
    deadlines: Deadlines,
    /// Slots with something to send, or to look after.
    ready: VecDeque<u16>,
    /// What may be read until the next [`handle_timeout`](Self::handle_timeout), by all together.
    share: Share,
    /// Slots that have to read and wait for the next share, one after the other.
    laborious: VecDeque<u16>,
    outcomes: VecDeque<(ProbeId, Outcome)>,
    statistics: PathStatistics,
}

struct Slot {
    id: ProbeId,
    server: IpAddr,
    route: Route,
    server_mac: MacAddr,
    source: SocketAddr,
    target: SocketAddr,
    ends: Instant,
    work: Work,
    /// The outcome was reported; only the end of the connection is left.
    over: bool,
    queued: bool,
    /// Somebody else that answered.
    stranger: Option<MacAddr>,
}

enum Work {
    HalfOpen { sequence: u32, again: Option<Instant>, send: Option<Segment> },
    Stream(Box<Stream>),
}

impl PathProber {
    /// A prober.
    #[must_use]
    pub fn new(config: &PathConfig) -> Self {
        let ports = config.ports.end().saturating_sub(*config.ports.start()).saturating_add(1);
        let places = config.max_in_flight.min(ports / 2).max(1);
        Self {
            first_port: *config.ports.start(),
            rounds: (ports / places).max(1),
            random: Secret::new(config.seed),
            slots: (0..places).map(|_| None).collect(),
            free: (0..places).collect(),
            round: vec![0; usize::from(places)],
            deadlines: Deadlines::new(usize::from(places)),
            ready: VecDeque::with_capacity(usize::from(places)),
            share: Share::OF_WORK,
            laborious: VecDeque::new(),
            outcomes: VecDeque::with_capacity(usize::from(places)),
            statistics: PathStatistics::default(),
        }
    }

    /// Starts a probe that a monitor ordered. Whatever comes of it is told by [`poll_outcome`](Self::poll_outcome).
    pub fn start(&mut self, now: Instant, order: &ProbeOrder, route: &Route) {
        if let Err(outcome) = self.try_start(now, order, route) {
            self.outcomes.push_back((order.id, outcome));
        }
    }

    fn try_start(&mut self, now: Instant, order: &ProbeOrder, route: &Route) -> Result<(), Outcome> {
        let Probe::Path(probe) = &*order.probe else {
            return Err(Outcome::undecided("this probe does not go through the DR path"));
        };
        let vip = probe.vip.or(order.service.address()).filter(|vip| vip.is_ipv6() == route.source.is_ipv6());
        let vip = vip.ok_or_else(|| Outcome::undecided("no probe address of the VIP's family: set one"))?;
        let target = SocketAddr::new(vip, probe.port.unwrap_or(order.service.port()));
        let Some(server_mac) = route.server_mac else {
            let how = if vip.is_ipv6() { "NDP" } else { "ARP" };
            let text =
                format!("the Ethernet address of {} is not known: it does not answer {how}", order.server);
            return Err(Outcome::failure(FailureKind::NoNeighbour, text));
        };
        let Some(place) = self.free.pop_front() else {
            self.statistics.no_room += 1;
            return Err(Outcome::undecided("too many probes are under way: raise max_in_flight"));
        };
        let round = &mut self.round[usize::from(place)];
        let port = self.first_port + *round * self.slots.len() as u16 + place;
        *round = (*round + 1) % self.rounds;
        let source = SocketAddr::new(route.source, port);
        let seed = self.random.next();
        let ends = now + order.timeout;
        let work = match &probe.method {
            PathMethod::Connect if route.owned => {
                Work::Stream(Box::new(Stream::new(now, seed, source, target, route.mtu, None)))
            }
            PathMethod::Http(http) if route.owned => {
                Work::Stream(Box::new(Stream::new(now, seed, source, target, route.mtu, Some(http))))
            }
            method => {
                self.statistics.fallbacks += u64::from(*method != PathMethod::HalfOpen);
                let sequence = seed as u32;
                Work::HalfOpen {
                    sequence,
                    again: Some(now + order.timeout / 2),
                    send: Some(Segment::syn(sequence, target.is_ipv6(), route.mtu)),
                }
            }
        };
        self.slots[usize::from(place)] = Some(Slot {
            id: order.id,
            server: order.server,
            route: *route,
            server_mac,
            source,
            target,
            ends,
            work,
            over: false,
            queued: false,
            stranger: None,
        });
        self.look_after(now, place);
        Ok(())
    }

    /// A frame whose destination is the probe address, or that one of ours may have become. Answers whether it belongs to a probe: if
    /// not, nothing has been done. O(1).
    pub fn handle_frame(&mut self, now: Instant, meta: &Meta, bytes: &[u8]) -> bool {
        let finished = meta.checksum.is_some() || meta.checksum_valid;
        let Some(arrival) = Arrival::parse(bytes, finished) else {
            self.statistics.ignored += 1;
            return false;
        };
        let Some(offset) = arrival.ours.port().checked_sub(self.first_port) else {
            return false;
        };
        let place = offset % self.slots.len() as u16;
        let Some(slot) = &mut self.slots[usize::from(place)] else {
            return false;
        };
        if slot.source != arrival.ours || slot.target != arrival.theirs {
            return false;
        }
        if arrival.mac != slot.server_mac && !arrival.is_error() {
            slot.stranger = Some(arrival.mac);
            self.statistics.other_mac += 1;
            return true;
        }
        let outcome = slot.handle_arrival(now, &arrival, &mut self.share);
        self.report(place, outcome);
        self.look_after(now, place);
        true
    }

    /// Does what is due. Too early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.share = Share::OF_WORK;
        for _ in 0..self.slots.len() {
            let Some(place) = self.deadlines.pop(now) else {
                break;
            };
            let place = place as u16;
            let outcome = self.slots[usize::from(place)].as_mut().and_then(|slot| slot.handle_timeout(now));
            self.report(place, outcome);
            self.look_after(now, place);
        }
        for _ in 0..self.laborious.len() {
            if self.share.is_over() {
                break;
            }
            let Some(place) = self.laborious.pop_front() else { break };
            if let Some(Slot { work: Work::Stream(stream), .. }) = &mut self.slots[usize::from(place)] {
                stream.begin_turn();
            }
            self.look_after(now, place);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next: in the past if a page is being searched.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.laborious.is_empty() { self.deadlines.next() } else { Some(Instant::ZERO) }
    }

    /// The next frame to send, written to `buffer`, which takes 2048 bytes ([`TRANSMIT_BUFFER`](lvs_core::director::TRANSMIT_BUFFER)).
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Outgoing> {
        while let Some(&place) = self.ready.front() {
            let slot = self.slots[usize::from(place)].as_mut();
            if let Some(outgoing) = slot.and_then(|slot| slot.write_frame(buffer)) {
                return Some(outgoing);
            }
            self.ready.pop_front();
            if let Some(slot) = &mut self.slots[usize::from(place)] {
                slot.queued = false;
            }
            self.look_after(now, place);
        }
        None
    }

    /// The next probe that has ended.
    pub fn poll_outcome(&mut self) -> Option<(ProbeId, Outcome)> {
        self.outcomes.pop_front()
    }

    /// Probes under way, those included of which only the end of a connection is left.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Counters.
    #[must_use]
    pub const fn statistics(&self) -> &PathStatistics {
        &self.statistics
    }

    fn report(&mut self, place: u16, outcome: Option<Outcome>) {
        if let Some(slot) = &mut self.slots[usize::from(place)]
            && let Some(outcome) = outcome
            && !std::mem::replace(&mut slot.over, true)
        {
            self.outcomes.push_back((slot.id, outcome));
        }
    }

    /// After anything has happened to a slot: lets it work, queues it to send, sets its deadline, or frees it.
    fn look_after(&mut self, now: Instant, place: u16) {
        let Some(slot) = &mut self.slots[usize::from(place)] else {
            return;
        };
        let outcome = match &mut slot.work {
            Work::Stream(stream) => {
                let outcome = stream.drive(now, slot.over, &mut self.share);
                if stream.is_laborious() && !self.laborious.contains(&place) {
                    self.laborious.push_back(place);
                }
                outcome
            }
            Work::HalfOpen { .. } => None,
        };
        self.report(place, outcome);
        let Some(slot) = &mut self.slots[usize::from(place)] else {
            return;
        };
        if slot.has_output() {
            if !std::mem::replace(&mut slot.queued, true) {
                self.ready.push_back(place);
            }
        } else if slot.over && slot.is_done() && !slot.queued {
            self.slots[usize::from(place)] = None;
            self.laborious.retain(|laborious| *laborious != place);
            self.deadlines.clear(u32::from(place));
            self.free.push_back(place);
            return;
        }
        match slot.next_deadline(now) {
            Some(at) => self.deadlines.set(u32::from(place), at),
            None => self.deadlines.clear(u32::from(place)),
        }
    }
}

/// How long the end of a connection may take before RST ends it.
const LINGER: std::time::Duration = std::time::Duration::from_millis(500);

impl Slot {
    fn handle_arrival(&mut self, now: Instant, arrival: &Arrival<'_>, share: &mut Share) -> Option<Outcome> {
        if self.over && matches!(self.work, Work::HalfOpen { .. }) {
            return None;
        }
        let forged = match &self.work {
            Work::HalfOpen { sequence, .. } => arrival.quotes_other_than(Some(*sequence)),
            // RFC 1122, 4.2.3.9, lets hosts end a connection that is being made for it, and no other; RFC 5927, section 4.1, wants
            // them to look at the sequence number first, as anybody can send such an error.
            Work::Stream(stream) => {
                arrival.is_error() && stream.was_connected() || arrival.quotes_other_than(stream.sequence())
            }
        };
        if forged {
            return None;
        }
        if let Some(text) = arrival.error(&self.server) {
            return Some(Outcome::failure(arrival.failure_kind(), text));
        }
        match &mut self.work {
            Work::HalfOpen { sequence, send, .. } => {
                let answers = arrival.acknowledges(sequence.wrapping_add(1));
                if !answers {
                    return None;
                }
                if arrival.is_reset() {
                    return Some(refused(&self.server, self.target));
                }
                if arrival.is_syn_ack() {
                    *send = Some(Segment::reset(sequence.wrapping_add(1)));
                    return Some(Outcome::SUCCESS);
                }
                None
            }
            Work::Stream(stream) => {
                let outcome = stream.handle_packet(now, arrival.packet, self.over, share);
                outcome.map(|outcome| self.with_names(outcome))
            }
        }
    }

    /// A stack knows that it was refused, but not by whom.
    fn with_names(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failure(failure) if failure.kind == FailureKind::Refused => {
                refused(&self.server, self.target)
            }
            other => other,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Option<Outcome> {
        if self.over {
            if let Work::Stream(stream) = &mut self.work
                && now >= self.ends + LINGER
            {
                stream.abort();
            }
            return None;
        }
        if now >= self.ends {
            if let Work::Stream(stream) = &mut self.work {
                let connected = stream.was_connected();
                stream.abort();
                if connected {
                    let text =
                        format!("{} took the connection, but did not answer completely in time", self.server);
                    return Some(Outcome::failure(FailureKind::Slow, text));
                }
            }
            return Some(self.no_answer());
        }
        if let Work::HalfOpen { sequence, again, send } = &mut self.work
            && again.is_some_and(|at| at <= now)
        {
            *again = None;
            *send = Some(Segment::syn(*sequence, self.target.is_ipv6(), self.route.mtu));
        }
        None
    }

    fn no_answer(&self) -> Outcome {
        let vip = self.target.ip();
        let mut text =
            format!("no answer from {}: the VIP {vip} is not on lo, or a filter drops it", self.server_mac);
        if let Some(stranger) = self.stranger {
            text = format!("{text}; {stranger} answered in its place");
        }
        Outcome::failure(FailureKind::NoAnswer, text)
    }

    fn has_output(&self) -> bool {
        match &self.work {
            Work::HalfOpen { send, .. } => send.is_some(),
            Work::Stream(stream) => stream.has_output(),
        }
    }

    /// Whether nothing is left to do once the outcome is known.
    fn is_done(&self) -> bool {
        match &self.work {
            Work::HalfOpen { .. } => true,
            Work::Stream(stream) => stream.is_closed(),
        }
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let end = if self.over { self.ends + LINGER } else { self.ends };
        let other = match &mut self.work {
            Work::HalfOpen { again, .. } => again.filter(|_| !self.over),
            Work::Stream(stream) => stream.poll_timeout(now),
        };
        Instant::earliest(Some(end), other)
    }

    fn write_frame(&mut self, buffer: &mut [u8]) -> Option<Outgoing> {
        let header = frame::header_len(self.route.vlan);
        let room = buffer.get_mut(header..)?;
        let len = match &mut self.work {
            Work::HalfOpen { send, .. } => send.take()?.write(self.source, self.target, room)?,
            Work::Stream(stream) => stream.take_output(room)?,
        };
        let meta = frame::write_header(
            self.route.vlan,
            self.server_mac,
            self.route.mac,
            self.target.is_ipv6(),
            buffer,
        )?;
        Some(Outgoing { port: self.route.port, len: header + len, meta })
    }
}

fn refused(server: &IpAddr, target: SocketAddr) -> Outcome {
    Outcome::failure(FailureKind::Refused, format!("{server} has the VIP, but nothing listens at {target}"))
}
