//! The way of nearly every frame: a usual one, of a connection that goes on as it is.
//!
//! It takes the decisions of `flow.rs` and `outbound.rs` where they are plain: the connection keeps its state, its server is
//! reached by one known Ethernet address, the packet fits. At anything else it stands back before it has changed anything,
//! and the frame goes the thorough way.

use alloc::vec::Vec;

use super::Locals;
use super::common::Access;
use super::pipeline::{Seen, Way};
use super::worker::Worker;
use crate::addr::MacAddr;
use crate::classify::{
    GLANCE_V4, GLANCE_V6, Packet, PlainKind, addresses_v6, plain_packet_v4, plain_packet_v6, plain_v4,
    plain_v6,
};
use crate::config::{InterfaceConfig, InterfaceId, VlanPath};
use crate::connection::{ConnectionState, FlowHasher, Head, Line, TableMemory, ticks};
use crate::io::{Frame, PortId};
use crate::observe::{Observation, Observer};
use crate::service::Lane;
use crate::verdict::Verdict;
use crate::wire::ip_protocol;

/// The interface of a port whose frames have no tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entrance {
    interface: InterfaceId,
    /// Its Ethernet address as the low 48 bits of a number.
    mac: u64,
}

/// By port.
pub(super) fn entrances(interfaces: &[InterfaceConfig]) -> Vec<Option<Entrance>> {
    let ports = interfaces.iter().map(|interface| usize::from(interface.port.0) + 1).max().unwrap_or(0);
    let mut entrances = alloc::vec![None; ports];
    for (id, interface) in (0..).map(InterfaceId).zip(interfaces) {
        if interface.vlan == VlanPath::UNTAGGED {
            let slot: &mut Option<Entrance> = &mut entrances[usize::from(interface.port.0)];
            slot.get_or_insert(Entrance { interface: id, mac: number(interface.mac) });
        }
    }
    entrances
}

/// The first byte lowest, as eight bytes of a frame are read.
const fn number(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

const LOW_48: u64 = (1 << 48) - 1;

/// What a glance needs of the director. Copied out once a batch, so that the compiler knows that nothing here changes.
#[derive(Clone, Copy)]
pub(super) struct Eye<'a> {
    entrances: &'a [Option<Entrance>],
    locals: &'a Locals,
    hasher: FlowHasher,
    has_marks: bool,
}

impl Eye<'_> {
    /// Looks at a frame and writes down what it found. Answers whether the frame is of a flow of the director's.
    #[inline(always)]
    pub(super) fn glance(&self, frame: &Frame<'_>, seen: &mut Seen) -> bool {
        seen.way = Way::Unusual;
        let Some(Some(entrance)) = self.entrances.get(usize::from(frame.port().0)) else {
            return false;
        };
        let Some((head, len)) = frame.head::<GLANCE_V4>() else {
            return false;
        };
        let meta = frame.meta();
        let from = eight(head, 4) >> 16;
        const GROUP: u64 = 1;
        if from == entrance.mac || from & GROUP != 0 || meta.vlan.is_some() || meta.gso.is_some() {
            return false;
        }
        let is_for_us = eight(head, 0) & LOW_48 == entrance.mac;
        let Some(plain) = plain_v4(head, len) else {
            return self.glance_v6(frame.bytes(), is_for_us, seen);
        };
        if !self.locals.contains_v4(plain.addresses as u32) {
            if !self.has_marks {
                seen.way = Way::Done;
                seen.verdict = Verdict::Pass;
            }
            return false;
        }
        if !is_for_us {
            return false;
        }
        let (addresses, ports, protocol) = (plain.addresses, plain.ports, plain.kind.protocol());
        seen.hash = self.hasher.hash_v4(addresses, ports, protocol);
        seen.head = Head::v4(addresses, ports, protocol, steady_state(plain.kind));
        seen.ip_len = plain.ip_len as u16;
        seen.way = Way::PlainV4;
        true
    }

    #[inline(never)]
    fn glance_v6(&self, bytes: &[u8], is_for_us: bool, seen: &mut Seen) -> bool {
        let plain = bytes.first_chunk::<GLANCE_V6>().and_then(|head| plain_v6(head, bytes.len()));
        let Some(plain) = plain else {
            return false;
        };
        let (client, virtual_address) = addresses_v6(bytes);
        if !self.locals.contains_v6(virtual_address) {
            if !self.has_marks {
                seen.way = Way::Done;
                seen.verdict = Verdict::Pass;
            }
            return false;
        }
        if !is_for_us {
            return false;
        }
        let Ok(ip_len) = u16::try_from(plain.ip_len) else {
            return false;
        };
        let (ports, protocol) = (plain.ports, plain.kind.protocol());
        seen.hash = self.hasher.hash_v6(client, virtual_address, ports, protocol);
        seen.head = Head::v6(seen.hash, ports, protocol, steady_state(plain.kind));
        seen.ip_len = ip_len;
        seen.way = Way::PlainV6;
        true
    }
}

/// The state in which a connection goes on as it is with such a packet.
#[inline(always)]
const fn steady_state(kind: PlainKind) -> Option<ConnectionState> {
    match kind {
        PlainKind::TcpAck => Some(ConnectionState::Established),
        PlainKind::TcpOther => None,
        PlainKind::Udp => Some(ConnectionState::Udp),
    }
}

/// Eight bytes of a frame, the first one lowest.
#[inline(always)]
fn eight(head: &[u8; GLANCE_V4], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&head[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The time now and time-outs, in ticks.
#[derive(Clone, Copy)]
pub(super) struct Times {
    now: u32,
    established: u32,
    udp: u32,
}

impl<M: TableMemory> Worker<M> {
    #[inline(always)]
    pub(super) fn eye(&self) -> Eye<'_> {
        Eye {
            entrances: &self.entrances,
            locals: &self.locals,
            hasher: self.connections.hasher(),
            has_marks: !self.marked.is_empty(),
        }
    }

    #[inline(always)]
    pub(super) fn times(&self) -> Times {
        let timeout = |state| {
            // A packet whose TTL changes needs more than new addresses. No connection has so short a time-out, so none
            // goes straight on.
            if self.knobs.decrement_ttl { 0 } else { self.state_timeouts.of(state) }
        };
        Times {
            now: ticks(self.now),
            established: timeout(ConnectionState::Established),
            udp: timeout(ConnectionState::Udp),
        }
    }

    /// The packet and the interface of a usual frame.
    #[inline(always)]
    pub(super) fn plain_packet(&self, frame: &Frame<'_>, seen: &Seen) -> (Packet, InterfaceId) {
        let (bytes, head, ip_len) = (frame.bytes(), &seen.head, u32::from(seen.ip_len));
        let packet = if seen.way == Way::PlainV4 {
            plain_packet_v4(bytes, head.addresses_v4(), head.ports(), head.protocol(), ip_len)
        } else {
            plain_packet_v6(bytes, head.ports(), head.protocol(), ip_len)
        };
        let entrance = self.entrances.get(usize::from(frame.port().0)).copied().flatten();
        (packet, entrance.map_or(InterfaceId(0), |entrance| entrance.interface))
    }

    /// Forwards a usual frame over IPv4 if its connection was guessed right and goes on as it is.
    #[inline(always)]
    pub(super) fn forward_v4<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        times: &Times,
        frame: &mut Frame<'_>,
        seen: &Seen,
        observer: &mut O,
    ) -> Option<PortId> {
        let entry = self.connections.steady_v4(seen.guess, seen.head)?;
        let lane = self.lanes.get_mut(entry.destination() as usize)?;
        let port = go_on(times, frame, seen, entry, lane)?;
        if O::ENABLED {
            let destination = entry.destination();
            self.show_steady(common, frame, seen, destination, observer);
        }
        Some(port)
    }

    /// The same over IPv6.
    #[inline(never)]
    pub(super) fn forward_v6<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        times: &Times,
        frame: &mut Frame<'_>,
        seen: &Seen,
        observer: &mut O,
    ) -> Option<PortId> {
        let addresses = addresses_v6(frame.bytes());
        let entry = self.connections.steady_v6(seen.guess, seen.head, addresses)?;
        let lane = self.lanes.get_mut(entry.destination() as usize)?;
        let port = go_on(times, frame, seen, entry, lane)?;
        if O::ENABLED {
            let destination = entry.destination();
            self.show_steady(common, frame, seen, destination, observer);
        }
        Some(port)
    }

    fn show_steady<A: Access<M>, O: Observer>(
        &self,
        common: &mut A,
        frame: &Frame<'_>,
        seen: &Seen,
        destination: u32,
        observer: &mut O,
    ) {
        let (packet, _) = self.plain_packet(frame, seen);
        let is_tcp = seen.head.protocol() == ip_protocol::TCP;
        let state = if is_tcp { ConnectionState::Established } else { ConnectionState::Udp };
        let destination = common.get().socket_of(destination, &packet.flow);
        observer.observe(&Observation::Known {
            flow: &packet.flow,
            before: state,
            after: state,
            destination,
        });
    }
}

/// Forwards a frame whose connection keeps its state, if its server is reached straight on.
#[inline(always)]
fn go_on(
    times: &Times,
    frame: &mut Frame<'_>,
    seen: &Seen,
    entry: &mut Line,
    lane: &mut Lane,
) -> Option<PortId> {
    let is_tcp = seen.head.protocol() == ip_protocol::TCP;
    let timeout = if is_tcp { times.established } else { times.udp };
    // A shorter time-out has to be told to the wheel.
    if entry.timeout() > timeout || entry.is_expired(times.now) || seen.ip_len > lane.straight() {
        return None;
    }
    *frame.head_mut()? = lane.macs;
    entry.touch(times.now);
    entry.set_timeout(timeout);
    lane.count(u32::from(seen.ip_len));
    Some(lane.port)
}
