//! Pieces of fragmented packets follow their first piece, which alone carries ports.
//!
//! IPVS puts IPv4 packets together before it looks at them; here a first piece is forwarded at once, and its server is
//! remembered for the others. Pieces that come before it wait, a second at most. Memory is fixed: when all of it is
//! used, the packet that has been known longest is forgotten.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::common::Access;
use super::worker::Worker;
use crate::classify::{FlowKey, Packet};
use crate::config::InterfaceId;
use crate::connection::TableMemory;
use crate::io::Frame;
use crate::observe::{Observation, Observer};
use crate::pool::{Entrance, Origin, Queue};
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};
use crate::wire::{be16, be32, ip_protocol};

/// How long a packet's server is remembered after its last piece (Linux: 30 s to put a packet together).
const MEMORY: Duration = Duration::from_secs(30);
/// How long a piece waits for the first one.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many pieces of one packet wait.
const WAITING: u16 = 16;
/// Pieces of memory that a look-up goes through.
const WAYS: usize = 8;

/// What makes pieces belong to one packet (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    flow: FlowKey,
    id: u32,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    name: Name,
    /// Where the first piece went; `None` while it has not come.
    destination: Option<u32>,
    waiting: Queue,
    seen: Instant,
}

/// The packets whose pieces are under way: sets of eight, in which the oldest makes room.
pub(super) struct Fragments {
    sets: Box<[Option<Known>]>,
    seed: u64,
    /// Pieces that wait, in all.
    waiting: u32,
}

impl Fragments {
    pub(super) fn new(capacity: u32, seed: u64) -> Self {
        let sets: Vec<Option<Known>> =
            core::iter::repeat_n(None, (capacity as usize).next_multiple_of(WAYS)).collect();
        Self { sets: sets.into_boxed_slice(), seed, waiting: 0 }
    }

    /// The set that a packet belongs to.
    fn set(&mut self, name: &Name) -> &mut [Option<Known>] {
        let (client, vip) = (name.flow.folded_client(), name.flow.folded_virtual());
        let word = (u64::from(client) << 32 | u64::from(vip)) ^ self.seed;
        let mixed =
            (u128::from(word) * u128::from(self.seed | 1)) ^ (u128::from(name.id) * 0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed as u64) ^ (mixed >> 64) as u64;
        let sets = (self.sets.len() / WAYS) as u64;
        let start = ((u128::from(mixed.wrapping_mul(0xd6e8_feb8_6659_fd93)) * u128::from(sets)) >> 64)
            as usize
            * WAYS;
        &mut self.sets[start..start + WAYS]
    }

    /// What is known of a packet, or a fresh place for it. The second is a packet that had to make room.
    fn know(&mut self, now: Instant, name: &Name) -> (&mut Known, Option<Known>) {
        let set = self.set(name);
        let fresh = Known { name: *name, destination: None, waiting: Queue::EMPTY, seen: now };
        let found = set.iter().position(|one| one.is_some_and(|known| known.name == *name));
        let at = found.unwrap_or_else(|| {
            let age = |one: &Option<Known>| one.map_or(Instant::ZERO, |known| known.seen);
            let oldest = (0..WAYS).min_by_key(|at| (set[*at].is_some(), age(&set[*at])));
            oldest.unwrap_or(0)
        });
        let stale =
            set[at].filter(|known| known.name != *name || now.saturating_duration_since(known.seen) > MEMORY);
        if stale.is_some() || set[at].is_none() {
            set[at] = Some(fresh);
        }
        (set[at].get_or_insert(fresh), stale)
    }
}

impl<M: TableMemory> Worker<M> {
    /// A piece that is not the first: to where the first one went, or it waits.
    pub(super) fn handle_fragment<A: Access<M>, O: Observer>(
        &mut self,
        common: &mut A,
        frame: &mut Frame<'_>,
        interface: InterfaceId,
        packet: &Packet,
        observer: &mut O,
    ) -> Verdict {
        let Some(name) = name_of(frame.bytes(), packet) else {
            return Verdict::Drop(DropReason::Malformed);
        };
        let now = self.now;
        let (known, stale) = self.fragments.know(now, &name);
        known.seen = now;
        let destination = known.destination;
        let mut waiting = known.waiting;
        self.give_up_pieces(stale);
        if O::ENABLED {
            let destination = destination.map(|id| common.get().socket_of(id, &packet.flow).ip());
            observer.observe(&Observation::Piece { destination });
        }
        if let Some(destination) = destination {
            return self.forward(common, frame, interface, packet, destination, observer);
        }
        if waiting.len() >= WAITING {
            return Verdict::Drop(DropReason::Fragment);
        }
        let meta = *frame.meta();
        let bytes = frame.bytes();
        let fill = |buffer: &mut [u8]| buffer.copy_from_slice(bytes);
        let entrance = Entrance { now, origin: Origin::Piece(frame.port()), interface, meta };
        if !self.pool.push(&mut waiting, entrance, bytes.len(), fill) {
            return Verdict::Drop(DropReason::PoolFull);
        }
        self.fragments.know(now, &name).0.waiting = waiting;
        self.fragments.waiting += 1;
        self.pieces_due.get_or_insert(now + PATIENCE);
        Verdict::Hold
    }

    /// A first piece was forwarded: the others may follow.
    pub(super) fn note_first_fragment(&mut self, bytes: &[u8], packet: &Packet, destination: u32) {
        let Some(name) = name_of(bytes, packet) else {
            return;
        };
        let now = self.now;
        let (known, stale) = self.fragments.know(now, &name);
        (known.destination, known.seen) = (Some(destination), now);
        let mut waiting = core::mem::replace(&mut known.waiting, Queue::EMPTY);
        self.give_up_pieces(stale);
        while waiting.len() > 0 {
            self.pool.shift(&mut waiting, &mut self.pieces);
            self.fragments.waiting -= 1;
        }
    }

    /// Forgets the pieces of a packet that made room.
    fn give_up_pieces(&mut self, stale: Option<Known>) {
        let Some(mut known) = stale else {
            return;
        };
        while known.waiting.len() > 0 {
            self.pool.release(&mut known.waiting);
            self.fragments.waiting -= 1;
            self.statistics.given_up += 1;
        }
    }

    /// Gives up pieces whose first one has not come in time. Looks at all of the memory, once a second at most and only
    /// while pieces wait.
    pub(super) fn give_up_old_pieces(&mut self) {
        if self.pieces_due.is_none_or(|due| due > self.now) {
            return;
        }
        for at in 0..self.fragments.sets.len() {
            // By when the first of them came: others that follow it must not keep it here.
            let old = self.fragments.sets[at].filter(|known| {
                let since = self.pool.first(&known.waiting).map(|(held, _)| held.since);
                since.is_some_and(|since| self.now.saturating_duration_since(since) >= PATIENCE)
            });
            if old.is_some() {
                self.fragments.sets[at] = None;
                self.give_up_pieces(old);
            }
        }
        self.pieces_due = (self.fragments.waiting > 0).then(|| self.now + PATIENCE);
    }
}

/// The name of the packet that a piece belongs to.
fn name_of(bytes: &[u8], packet: &Packet) -> Option<Name> {
    let network = usize::from(packet.network);
    let (id, protocol) = if packet.is_ipv6() {
        // The fragment header is the last of the chain that was walked.
        (be32(bytes, fragment_header(bytes, packet)? + 4)?, 0)
    } else {
        (u32::from(be16(bytes, network + 4)?), packet.flow.protocol())
    };
    let flow = match packet.flow {
        FlowKey::V4 { addresses, .. } => FlowKey::V4 { addresses, ports: 0, protocol },
        FlowKey::V6 { client, virtual_address, .. } => {
            FlowKey::V6 { client, virtual_address, ports: 0, protocol }
        }
    };
    Some(Name { flow, id })
}

/// Where the fragment header of an IPv6 packet begins.
fn fragment_header(bytes: &[u8], packet: &Packet) -> Option<usize> {
    let network = usize::from(packet.network);
    let mut next = *bytes.get(network + 6)?;
    let mut at = network + crate::wire::IPV6_HEADER;
    while next != ip_protocol::FRAGMENT {
        let [following, length] = *bytes.get(at..)?.first_chunk()?;
        if at >= usize::from(packet.transport) {
            return None;
        }
        (next, at) = (following, at + (usize::from(length) + 1) * 8);
    }
    Some(at)
}
