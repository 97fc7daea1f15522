//! The examination itself: what is sent when, and what becomes of what is heard.
//!
//! ```text
//!   Neighbours ── who has the VIPs, RIPs, gateways, our own addresses, spare addresses?
//!       │
//!   Services ──── to each real server's Ethernet address: SYN or datagram to VIP and port, ping of the VIP, ARP for the
//!       │         VIP, one SYN from a spare address; pings of the RIP, short and as long as the MTU
//!       │
//!   Sizes ─────── pings of the lengths between, where only the short one came back
//!       │
//!   Finished
//! ```
//! Each phase ends a little after its last question.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use lvs_core::classify::classify;
use lvs_core::config::Protocol;
use lvs_core::{Frame, Instant, MacAddr, PortId};

use crate::config::{ConfigError, ExaminationConfig, MAX_SERVERS};
use crate::diagnose;
use crate::finding::{Check, Finding};
use crate::hear::{Heard, hear};
use crate::spare::mix;
use crate::state::{Long, Reply, Role, State};
use crate::write::{self, Ends, Segment};

/// A frame to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// By this port.
    pub port: PortId,
    /// Complete, with its VLAN tags, Ethernet header first.
    pub bytes: &'a [u8],
}

/// An examination of a network. See the [crate's](crate) first page for how to run one.
///
/// `handle_*` takes input, `poll_*` gives output, the rest are getters. Early and repeated polls are harmless. Its memory is
/// that of its configuration; what comes in can make neither it nor the number of frames grow.
#[derive(Debug)]
pub struct Examination {
    config: ExaminationConfig,
    state: State,
    phase: Phase,
    queue: BinaryHeap<Reverse<(Instant, u32, Task)>>,
    /// Orders tasks that are due at one time.
    numbered: u32,
    /// Answers to those who look for our addresses.
    answers: VecDeque<(PortId, Vec<u8>)>,
    started: Instant,
    last_sent: Instant,
    window: Instant,
    in_window: u32,
    sent: u32,
    out: Vec<u8>,
    findings: Vec<Finding>,
    checks: Vec<Check>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Neighbours,
    Services,
    Sizes,
    Finished,
}

/// Something to send, by the numbers of what it concerns; where it is repeated, with how many are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Ask(usize),
    AskSpare(usize, u8),
    /// ARP for the VIP to one real server only: what a switch that answers for others does not see.
    AskServer(usize),
    Probe(usize, u8),
    Ping(usize, u8),
    Provoke(usize),
    EndProvoked(usize),
    /// Ends a connection that was accepted, at this sequence number.
    End(usize, u32),
    Short(usize, u8),
    Long(usize, u8),
    Size(usize, usize),
}

/// Questions about an address, and the time between them.
const ASKS: u8 = 3;
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Questions about an address that nobody should have.
const ASKS_SPARE: u8 = 2;
/// Probes without an answer, and the time between them.
const PROBES: u8 = 3;
const PROBE_EVERY: Duration = Duration::from_millis(400);
/// How long a provoked connection stays before it is ended. The real server needs it to answer.
const PROVOKED_FOR: Duration = Duration::from_millis(600);
/// How long answers may take after the last question of a phase.
const PATIENCE: Duration = Duration::from_millis(400);
const WINDOW: Duration = Duration::from_millis(10);
/// Answers that wait; beyond that whoever asks asks again.
const MAX_ANSWERS: usize = 32;
/// Probes come from ports from this one on. Below those that hosts choose for connections of their own.
const FIRST_PORT: u16 = 10_000;
/// Lengths of IP packets to try where the longest is not answered.
pub(crate) const SIZES: [u16; 9] = [8000, 4000, 1492, 1480, 1450, 1400, 1358, 1280, 576];

impl Examination {
    /// Prepares an examination that begins now.
    ///
    /// # Errors
    /// If there is nothing to examine by; the error names what is missing.
    pub fn new(config: ExaminationConfig, now: Instant) -> Result<Self, ConfigError> {
        config.check()?;
        let state = State::new(&config);
        let mut examination = Self {
            config,
            state,
            phase: Phase::Neighbours,
            queue: BinaryHeap::new(),
            numbered: 0,
            answers: VecDeque::new(),
            started: now,
            last_sent: now,
            window: now,
            in_window: 0,
            sent: 0,
            out: Vec::new(),
            findings: Vec::new(),
            checks: Vec::new(),
        };
        for target in 0..examination.state.targets.len() {
            examination.plan(now, Task::Ask(target));
            if examination.state.targets[target].spare.is_some() {
                examination.plan(now, Task::AskSpare(target, ASKS_SPARE));
            }
        }
        Ok(examination)
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    /// The faults, when it is over: errors before warnings, otherwise in the order of [`Fault::ALL`](crate::Fault::ALL).
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What was looked at, when it is over.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Frames sent so far.
    #[must_use]
    pub const fn frames_sent(&self) -> u32 {
        self.sent
    }

    /// When [`poll_transmit`](Self::poll_transmit) has something to do, if nothing comes in before; `None` when it is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_finished() {
            return None;
        }
        let end = self.started + self.config.limits.time;
        let next = match self.queue.peek() {
            _ if !self.answers.is_empty() => self.last_sent,
            Some(Reverse((due, ..))) => *due,
            None => self.last_sent + PATIENCE,
        };
        let allowed = if self.in_window >= self.per_window() { self.window + WINDOW } else { next };
        Some(next.max(allowed).min(end))
    }

    /// The next frame to send. To be called until it answers `None`, whenever [`poll_timeout`](Self::poll_timeout) is due
    /// and after frames came in. It also leads from phase to phase.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing<'_>> {
        let (port, bytes) = self.next_frame(now)?;
        self.sent += 1;
        self.in_window += 1;
        self.last_sent = now;
        self.out = bytes;
        Some(Outgoing { port, bytes: &self.out })
    }

    /// Takes a frame in. What has nothing to do with the examination is ignored.
    pub fn handle_frame(&mut self, now: Instant, frame: &Frame<'_>) {
        if self.is_finished() {
            return;
        }
        let Ok(packet) = classify(frame.bytes(), frame.meta()) else { return };
        let mut interfaces = self.config.interfaces.iter();
        let Some(at) = interfaces.position(|one| one.port == frame.port() && one.vlan == packet.vlan) else {
            return;
        };
        let Some(from) = frame.bytes().get(6..).and_then(|rest| rest.first_chunk()) else { return };
        let from = MacAddr(*from);
        match hear(frame, &packet) {
            Some(Heard::Neighbour { purpose, mac, sender, target }) => {
                self.heard_neighbour(now, at, purpose, mac, sender, target);
            }
            Some(Heard::Tcp { source, destination, flags, ack }) => {
                self.heard_tcp(now, from, source, destination, flags, ack);
            }
            Some(Heard::Udp { source, destination }) => {
                if let Some(pair) = self.pair_of(Protocol::Udp, source, destination) {
                    self.answered(pair, from, Reply::Accepted);
                }
            }
            Some(Heard::Unreachable { by, source, destination, nobody_listens }) => {
                let reply = if nobody_listens { Reply::NobodyListens } else { Reply::Forbidden(by) };
                // Quoted as it was sent: from us to the VIP.
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    if let Some(pair) = self.pair_of(protocol, destination, source) {
                        self.answered(pair, from, reply);
                    }
                }
            }
            Some(Heard::Echo { source, ident, seq, fragmented }) => {
                self.heard_echo(from, source, ident.wrapping_sub(self.ident()), usize::from(seq), fragmented);
            }
            None => {}
        }
    }

    fn plan(&mut self, due: Instant, task: Task) {
        self.queue.push(Reverse((due, self.numbered, task)));
        self.numbered += 1;
    }

    fn per_window(&self) -> u32 {
        (self.config.limits.frames_per_second / 100).max(1)
    }

    fn next_frame(&mut self, now: Instant) -> Option<(PortId, Vec<u8>)> {
        if now >= self.window + WINDOW {
            self.window = now;
            self.in_window = 0;
        }
        loop {
            if self.is_finished() {
                return None;
            }
            let is_over = now >= self.started + self.config.limits.time;
            if is_over || self.sent >= self.config.limits.frames {
                self.finish(true);
                return None;
            }
            if self.in_window >= self.per_window() {
                return None;
            }
            if let Some(answer) = self.answers.pop_front() {
                return Some(answer);
            }
            match self.queue.peek() {
                Some(Reverse((due, ..))) if *due > now => return None,
                Some(_) => {
                    let Reverse((_, _, task)) = self.queue.pop()?;
                    if let Some((interface, frame)) = self.perform(now, task) {
                        return Some((self.config.interfaces[interface].port, frame));
                    }
                }
                None if now < self.last_sent + PATIENCE => return None,
                None => self.next_phase(now),
            }
        }
    }

    fn next_phase(&mut self, now: Instant) {
        match self.phase {
            Phase::Neighbours => {
                self.phase = Phase::Services;
                self.state.place_servers();
                self.plan_services(now);
            }
            Phase::Services => {
                self.phase = Phase::Sizes;
                for server in 0..self.state.servers.len() {
                    let state = &self.state.servers[server];
                    if state.short && state.long != Long::Whole {
                        for size in 0..SIZES.len() {
                            self.plan(now, Task::Size(server, size));
                        }
                    }
                }
            }
            Phase::Sizes | Phase::Finished => self.finish(false),
        }
    }

    fn plan_services(&mut self, now: Instant) {
        for server in 0..self.state.servers.len() {
            if self.state.servers[server].place.is_some() {
                self.plan(now, Task::Short(server, PROBES));
                self.plan(now, Task::Long(server, PROBES));
            }
        }
        for hold in 0..self.state.holds.len() {
            if self.state.servers[self.state.holds[hold].server].place.is_some() {
                self.plan(now, Task::AskServer(hold));
                self.plan(now, Task::Ping(hold, PROBES));
                self.plan(now, Task::Provoke(hold));
            }
        }
        for pair in 0..self.state.pairs.len() {
            let server = self.state.holds[self.state.pairs[pair].hold].server;
            if self.state.servers[server].place.is_some() {
                self.plan(now, Task::Probe(pair, PROBES));
            }
        }
    }

    fn finish(&mut self, incomplete: bool) {
        self.phase = Phase::Finished;
        self.queue.clear();
        self.answers.clear();
        (self.findings, self.checks) =
            diagnose::diagnose(&self.config, &self.state, incomplete.then_some(self.sent));
    }

    /// Does a task if it is still needed: the interface and the frame.
    fn perform(&mut self, now: Instant, task: Task) -> Option<(usize, Vec<u8>)> {
        match task {
            Task::Ask(target) => self.ask(now, target),
            Task::AskSpare(target, left) => {
                let target_state = &self.state.targets[target];
                let (interface, spare) =
                    (target_state.interface, target_state.spare.filter(|spare| !spare.taken)?);
                if left > 1 {
                    self.plan(now + ASK_EVERY, Task::AskSpare(target, left - 1));
                }
                self.ask_secretly(interface, spare.address)
            }
            Task::AskServer(hold) => {
                let vip = self.state.holds[hold].vip;
                let (interface, ends) = self.ends(self.state.holds[hold].server)?;
                let dip = self.config.interfaces[interface].dip(vip)?;
                Some((interface, question(ends, dip, vip)?))
            }
            Task::Probe(pair, left) => {
                if self.state.pairs[pair].reply.is_some() {
                    return None;
                }
                let frame = self.probe(pair)?;
                self.state.pairs[pair].sent += 1;
                self.repeat(now, left, |left| Task::Probe(pair, left));
                Some(frame)
            }
            Task::Provoke(hold) => self.provoke(now, hold),
            Task::EndProvoked(hold) => {
                let segment = Segment::Reset(self.sequence(MAX_SERVERS + hold).wrapping_add(1));
                self.provoking_segment(hold, segment)
            }
            Task::End(pair, sequence) => self.segment(pair, Segment::Reset(sequence)),
            Task::Ping(..) | Task::Short(..) | Task::Long(..) | Task::Size(..) => self.ping(now, task),
        }
    }

    /// Pings, where what is asked is not known yet.
    fn ping(&mut self, now: Instant, task: Task) -> Option<(usize, Vec<u8>)> {
        match task {
            Task::Ping(hold, left) => {
                if self.state.holds[hold].pinged {
                    return None;
                }
                self.repeat(now, left, |left| Task::Ping(hold, left));
                let (vip, server) = (self.state.holds[hold].vip, self.state.holds[hold].server);
                self.echo(server, vip, PING_VIP, hold, SHORT)
            }
            Task::Short(server, left) => {
                if self.state.servers[server].short {
                    return None;
                }
                self.repeat(now, left, |left| Task::Short(server, left));
                self.echo(server, self.state.servers[server].address, PING_SHORT, server, SHORT)
            }
            Task::Long(server, left) => {
                if self.state.servers[server].long != Long::Silence {
                    return None;
                }
                self.repeat(now, left, |left| Task::Long(server, left));
                let (interface, _) = self.state.servers[server].place?;
                let length = self.config.interfaces[interface].mtu;
                self.echo(server, self.state.servers[server].address, PING_LONG, server, length)
            }
            Task::Size(server, size) => {
                let (interface, _) = self.state.servers[server].place?;
                let address = self.state.servers[server].address;
                let least = if address.is_ipv4() { 68 } else { 1280 };
                let length = SIZES[size];
                if length < least || length >= self.config.interfaces[interface].mtu {
                    return None;
                }
                self.echo(server, address, PING_SIZES + size as u16, server, length)
            }
            _ => None,
        }
    }

    fn repeat(&mut self, now: Instant, left: u8, task: impl FnOnce(u8) -> Task) {
        if left > 1 {
            self.plan(now + PROBE_EVERY, task(left - 1));
        }
    }

    /// Asks for a target: as the DIP, as a director does; our own addresses and the last time VIPs with a question that
    /// teaches nobody anything, and that is answered whatever the way back to the DIP is.
    fn ask(&mut self, now: Instant, target: usize) -> Option<(usize, Vec<u8>)> {
        let state = &mut self.state.targets[target];
        let known = matches!(state.role, Role::Server | Role::Gateway) && !state.machines.is_empty();
        if known && state.asked >= 2 {
            return None;
        }
        state.asked += 1;
        let (interface, address, asked, role) = (state.interface, state.address, state.asked, state.role);
        if asked < ASKS {
            self.plan(now + ASK_EVERY, Task::Ask(target));
        }
        if role == Role::Own || (role == Role::Vip && asked == ASKS && address.is_ipv4()) {
            return self.ask_secretly(interface, address);
        }
        let dip = self.config.interfaces[interface].dip(address)?;
        Some((interface, question(self.to_all(interface), dip, address)?))
    }

    /// Asks without telling who asks (IPv4), or by the address of link scope.
    fn ask_secretly(&self, interface: usize, address: IpAddr) -> Option<(usize, Vec<u8>)> {
        let ends = self.to_all(interface);
        let frame = match address {
            IpAddr::V4(address) => write::arp_request(ends, [0; 4].into(), address),
            IpAddr::V6(target) => {
                let known = self.config.interfaces[interface].link_local;
                // Without one the DIP will do, except to ask for itself.
                let dip = || match self.config.interfaces[interface].dip(address)? {
                    IpAddr::V6(dip) if dip != target => Some(dip),
                    _ => None,
                };
                write::solicitation(ends, known.filter(|own| *own != target).or_else(dip)?, target)
            }
        };
        Some((interface, frame))
    }

    fn to_all(&self, interface: usize) -> Ends {
        let own = &self.config.interfaces[interface];
        Ends { vlan: own.vlan, from: own.mac, to: MacAddr::BROADCAST }
    }

    /// The interface by which a real server is reached, and the ends of a frame to it.
    fn ends(&self, server: usize) -> Option<(usize, Ends)> {
        let (interface, mac) = self.state.servers[server].place?;
        Some((interface, Ends { to: mac, ..self.to_all(interface) }))
    }

    /// The address that probes of `family` leave from.
    fn source(&self, interface: usize, family: IpAddr) -> Option<IpAddr> {
        let own = &self.config.interfaces[interface];
        let is_free = |address: IpAddr| {
            let target = self.state.by_address.get(&(interface, address));
            target.is_none_or(|target| self.state.targets[*target].machines.is_empty())
        };
        let mut candidates = own.probe_addresses.iter().copied();
        candidates.find(|one| one.is_ipv4() == family.is_ipv4() && is_free(*one)).or_else(|| own.dip(family))
    }

    fn probe(&self, pair: usize) -> Option<(usize, Vec<u8>)> {
        match self.state.pairs[pair].protocol {
            Protocol::Tcp => self.segment(pair, Segment::Syn(self.sequence(pair))),
            Protocol::Udp => {
                let hold = &self.state.holds[self.state.pairs[pair].hold];
                let (interface, ends) = self.ends(hold.server)?;
                let source = (self.source(interface, hold.vip)?, FIRST_PORT + pair as u16);
                let port = self.state.pairs[pair].port.number();
                Some((interface, write::udp(ends, source, (hold.vip, port))))
            }
            // An SCTP server that is asked keeps state, and nothing here speaks SCTP: the ping has to do.
            _ => None,
        }
    }

    fn segment(&self, pair: usize, segment: Segment) -> Option<(usize, Vec<u8>)> {
        let hold = &self.state.holds[self.state.pairs[pair].hold];
        let (interface, ends) = self.ends(hold.server)?;
        let source = (self.source(interface, hold.vip)?, FIRST_PORT + pair as u16);
        let port = self.state.pairs[pair].port.number();
        Some((interface, write::tcp(ends, source, (hold.vip, port), segment)))
    }

    /// Sends a real server something that it has to answer from the VIP to an address that it does not know.
    fn provoke(&mut self, now: Instant, hold: usize) -> Option<(usize, Vec<u8>)> {
        let frame = self.provoking_segment(hold, Segment::Syn(self.sequence(MAX_SERVERS + hold)));
        if let Some(frame) = frame {
            self.plan(now + PROVOKED_FOR, Task::EndProvoked(hold));
            self.state.holds[hold].provoked = true;
            return Some(frame);
        }
        let (interface, ends) = self.ends(self.state.holds[hold].server)?;
        let vip = self.state.holds[hold].vip;
        let spare = self.spare(interface, vip)?;
        self.state.holds[hold].provoked = true;
        Some((interface, write::echo(ends, spare, vip, self.ident(), 0, SHORT.into())))
    }

    /// A segment to a TCP service of the hold, if it has one, from the spare address.
    fn provoking_segment(&self, hold: usize, segment: Segment) -> Option<(usize, Vec<u8>)> {
        let port = self.state.holds[hold].tcp?;
        let (interface, ends) = self.ends(self.state.holds[hold].server)?;
        let vip = self.state.holds[hold].vip;
        let source = (self.spare(interface, vip)?, FIRST_PORT - 1);
        Some((interface, write::tcp(ends, source, (vip, port), segment)))
    }

    fn spare(&self, interface: usize, vip: IpAddr) -> Option<IpAddr> {
        let target = self.state.vip_target(interface, vip)?;
        self.state.targets[target].spare.filter(|spare| !spare.taken).map(|spare| spare.address)
    }

    fn echo(
        &self,
        server: usize,
        address: IpAddr,
        kind: u16,
        seq: usize,
        length: u16,
    ) -> Option<(usize, Vec<u8>)> {
        let (interface, ends) = self.ends(server)?;
        let source = self.source(interface, address)?;
        let ident = self.ident().wrapping_add(kind);
        Some((interface, write::echo(ends, source, address, ident, seq as u16, length.into())))
    }

    fn ident(&self) -> u16 {
        mix(self.config.seed, u64::MAX) as u16
    }

    /// The initial sequence number of a probe.
    fn sequence(&self, number: usize) -> u32 {
        mix(!self.config.seed, number as u64) as u32
    }
}

/// A question of `sender` for `target`; `None` if the families differ.
fn question(ends: Ends, sender: IpAddr, target: IpAddr) -> Option<Vec<u8>> {
    match (sender, target) {
        (IpAddr::V4(sender), IpAddr::V4(target)) => Some(write::arp_request(ends, sender, target)),
        (IpAddr::V6(sender), IpAddr::V6(target)) => Some(write::solicitation(ends, sender, target)),
        _ => None,
    }
}

/// What a ping is for: added to its identifier. Its sequence number says whom it concerns.
const PING_VIP: u16 = 0;
const PING_SHORT: u16 = 1;
const PING_LONG: u16 = 2;
const PING_SIZES: u16 = 3;

/// Length of a short ping's IP packet.
const SHORT: u16 = 84;

mod listen;
#[cfg(test)]
mod segment;
#[cfg(test)]
mod tests;
