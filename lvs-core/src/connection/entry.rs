//! One connection in memory: a cache line, and a second one for the addresses of an IPv6 connection.
//!
//! ```text
//!   word  0  virtual IPv4 address         |  flow hash, lower half   (IPv6)
//!   word  1  client's IPv4 address        |  flow hash, upper half   (IPv6)
//!   word  2  client's port, virtual port
//!   word  3  protocol, kind, state
//!   word  4  destination
//!   word  6  last packet, in ticks           word  7  time-out, in ticks
//!   word  8  packets
//!   word  9  next in wheel slot or free list word 10  previous
//!   word 11  wheel slot
//!   word 12  its template (number + 1, or 0)  |  how many connections it has (template)
//!   second line (IPv6): words 4-7 client's address, 8-11 virtual address; word 3 stays zero
//! ```

use super::hash::FlowHash;
use super::memory::Line;
use super::record::ConnectionState;
use crate::classify::FlowKey;

/// The end of a list, and "no entry".
pub(super) const NIL: u32 = u32::MAX;

const HASH_LOW: usize = 0;
const HASH_HIGH: usize = 1;
const PORTS: usize = 2;
const KIND: usize = 3;
const DESTINATION: usize = 4;
const LAST_SEEN: usize = 6;
const TIMEOUT: usize = 7;
const PACKETS: usize = 8;
const NEXT: usize = 9;
const PREVIOUS: usize = 10;
const SLOT: usize = 11;
const CONTROL: usize = 12;
/// In a second line.
const CLIENT: usize = 4;
const VIRTUAL: usize = 8;

/// The first four words of an entry: whose it is and in which state. Two comparisons tell whether an entry is a flow's and goes
/// on as it is; of an IPv6 flow the second line has to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head(pub(super) [u64; 2]);

impl Head {
    /// That of no entry.
    pub(crate) const NONE: Self = Self([0; 2]);

    /// That of an IPv4 connection. With `None` as its state it is that of no entry.
    #[inline(always)]
    pub(crate) const fn v4(addresses: u64, ports: u32, protocol: u8, state: Option<ConnectionState>) -> Self {
        Self([addresses, Self::second(ports, protocol, LineKind::V4, state)])
    }

    /// That of an IPv6 connection.
    #[inline(always)]
    pub(crate) const fn v6(hash: FlowHash, ports: u32, protocol: u8, state: Option<ConnectionState>) -> Self {
        Self([hash.0, Self::second(ports, protocol, LineKind::V6, state)])
    }

    #[inline(always)]
    const fn second(ports: u32, protocol: u8, kind: LineKind, state: Option<ConnectionState>) -> u64 {
        const NO_STATE: u32 = 0xff;
        let state = match state {
            Some(state) => state as u32,
            None => NO_STATE,
        };
        let kind = protocol as u32 | (kind as u32) << 8 | state << 16;
        ports as u64 | (kind as u64) << 32
    }

    /// Client and virtual address, if it is that of an IPv4 connection.
    #[inline(always)]
    pub(crate) const fn addresses_v4(self) -> u64 {
        self.0[0]
    }

    /// The ports.
    #[inline(always)]
    pub(crate) const fn ports(self) -> u32 {
        self.0[1] as u32
    }

    /// The IP protocol.
    #[inline(always)]
    pub(crate) const fn protocol(self) -> u8 {
        (self.0[1] >> 32) as u8
    }
}

/// What a line is used for. A line that was never used is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineKind {
    Fresh,
    FreeSingle,
    FreePair,
    V4,
    V6,
}

impl Line {
    pub(super) const fn kind(&self) -> LineKind {
        match (self.0[KIND] >> 8) as u8 {
            1 => LineKind::FreeSingle,
            2 => LineKind::FreePair,
            3 => LineKind::V4,
            4 => LineKind::V6,
            _ => LineKind::Fresh,
        }
    }

    pub(super) const fn set_free(&mut self, kind: LineKind) {
        self.0[KIND] = (kind as u32) << 8;
    }

    /// Writes the key of a new connection; everything else of the entry is set by the caller.
    #[inline(always)]
    pub(super) fn set_key(&mut self, key: &FlowKey, hash: FlowHash) {
        match *key {
            FlowKey::V4 { addresses, ports, protocol } => {
                self.0[HASH_HIGH] = (addresses >> 32) as u32;
                self.0[HASH_LOW] = addresses as u32;
                self.0[PORTS] = ports;
                self.0[KIND] = u32::from(protocol) | (LineKind::V4 as u32) << 8;
            }
            FlowKey::V6 { ports, protocol, .. } => {
                self.0[HASH_HIGH] = (hash.0 >> 32) as u32;
                self.0[HASH_LOW] = hash.0 as u32;
                self.0[PORTS] = ports;
                self.0[KIND] = u32::from(protocol) | (LineKind::V6 as u32) << 8;
            }
        }
    }

    /// Writes another key with the same addresses, which must be of the same family; everything else stays.
    pub(super) fn rename(&mut self, key: &FlowKey, hash: FlowHash) {
        let state = self.state();
        self.set_key(key, hash);
        self.set_state(state);
    }

    /// Writes the addresses of an IPv6 connection into its second line. Not where the first line has its kind: clients
    /// choose their addresses, and a guess or a cursor from before may lead here.
    pub(super) fn set_addresses(&mut self, client: u128, virtual_address: u128) {
        for i in 0..4 {
            self.0[CLIENT + i] = (client >> (32 * i)) as u32;
            self.0[VIRTUAL + i] = (virtual_address >> (32 * i)) as u32;
        }
    }

    /// Client and virtual address out of the second line.
    pub(super) fn addresses(&self) -> (u128, u128) {
        let join = |at: usize| (0..4).fold(0u128, |sum, i| sum | u128::from(self.0[at + i]) << (32 * i));
        (join(CLIENT), join(VIRTUAL))
    }

    /// Whether this is the connection of an IPv4 flow.
    #[inline]
    pub(super) fn is_v4(&self, addresses: u64, ports: u32, protocol: u8) -> bool {
        let differs = (self.0[HASH_HIGH] ^ (addresses >> 32) as u32)
            | (self.0[HASH_LOW] ^ addresses as u32)
            | (self.0[PORTS] ^ ports)
            | ((self.0[KIND] & 0xffff) ^ (u32::from(protocol) | (LineKind::V4 as u32) << 8));
        differs == 0
    }

    /// The first four words, which hold the key and the state.
    #[inline(always)]
    pub(super) fn head(&self) -> Head {
        let join = |at: usize| u64::from(self.0[at]) | u64::from(self.0[at + 1]) << 32;
        Head([join(0), join(2)])
    }

    /// Whether these are the addresses in this second line.
    #[inline(always)]
    pub(super) fn is_addresses(&self, client: u128, virtual_address: u128) -> bool {
        let double = |at: usize| {
            let word = |i: usize| u64::from(self.0[at + i]) | u64::from(self.0[at + i + 1]) << 32;
            (word(0), word(2))
        };
        let ((a, b), (c, d)) = (double(CLIENT), double(VIRTUAL));
        (a ^ client as u64)
            | (b ^ (client >> 64) as u64)
            | (c ^ virtual_address as u64)
            | (d ^ (virtual_address >> 64) as u64)
            == 0
    }

    /// Whether this may be the connection of an IPv6 flow; the second line decides.
    #[inline]
    pub(super) fn may_be_v6(&self, hash: FlowHash, ports: u32, protocol: u8) -> bool {
        let differs = (self.0[HASH_HIGH] ^ (hash.0 >> 32) as u32)
            | (self.0[HASH_LOW] ^ hash.0 as u32)
            | (self.0[PORTS] ^ ports)
            | ((self.0[KIND] & 0xffff) ^ (u32::from(protocol) | (LineKind::V6 as u32) << 8));
        differs == 0
    }

    /// The key, given the second line for IPv6.
    pub(super) fn key(&self, second: Option<&Self>) -> FlowKey {
        let (ports, protocol) = (self.0[PORTS], self.0[KIND] as u8);
        if let (LineKind::V6, Some(second)) = (self.kind(), second) {
            let (client, virtual_address) = second.addresses();
            return FlowKey::V6 { client, virtual_address, ports, protocol };
        }
        let addresses = u64::from(self.0[HASH_HIGH]) << 32 | u64::from(self.0[HASH_LOW]);
        FlowKey::V4 { addresses, ports, protocol }
    }

    /// The flow hash that an IPv6 entry carries.
    pub(super) fn stored_hash(&self) -> FlowHash {
        FlowHash(u64::from(self.0[HASH_HIGH]) << 32 | u64::from(self.0[HASH_LOW]))
    }

    pub(super) const fn next(&self) -> u32 {
        self.0[NEXT]
    }

    pub(super) const fn set_next(&mut self, next: u32) {
        self.0[NEXT] = next;
    }

    pub(super) const fn previous(&self) -> u32 {
        self.0[PREVIOUS]
    }

    pub(super) const fn set_previous(&mut self, previous: u32) {
        self.0[PREVIOUS] = previous;
    }

    pub(super) const fn slot(&self) -> u32 {
        self.0[SLOT]
    }

    pub(super) const fn set_slot(&mut self, slot: u32) {
        self.0[SLOT] = slot;
    }
}

/// What the director reads and writes of a connection.
impl Line {
    #[inline]
    pub(crate) const fn state(&self) -> ConnectionState {
        ConnectionState::from_number((self.0[KIND] >> 16) as u8)
    }

    #[inline]
    pub(crate) const fn set_state(&mut self, state: ConnectionState) {
        self.0[KIND] = self.0[KIND] & 0xff00_ffff | (state as u32) << 16;
    }

    #[inline]
    pub(crate) const fn destination(&self) -> u32 {
        self.0[DESTINATION]
    }

    pub(crate) const fn set_destination(&mut self, destination: u32) {
        self.0[DESTINATION] = destination;
    }

    #[inline]
    pub(crate) const fn timeout(&self) -> u32 {
        self.0[TIMEOUT]
    }

    #[inline]
    pub(crate) const fn set_timeout(&mut self, ticks: u32) {
        self.0[TIMEOUT] = ticks;
    }

    #[inline]
    pub(crate) const fn packets(&self) -> u32 {
        self.0[PACKETS]
    }

    pub(crate) const fn set_packets(&mut self, packets: u32) {
        self.0[PACKETS] = packets;
    }

    /// The number of the template it was made by.
    pub(crate) const fn template(&self) -> Option<u32> {
        self.0[CONTROL].checked_sub(1)
    }

    pub(crate) const fn set_template(&mut self, template: Option<u32>) {
        self.0[CONTROL] = match template {
            Some(number) => number + 1,
            None => 0,
        };
    }

    /// How many connections a template has.
    pub(crate) const fn children(&self) -> u32 {
        self.0[CONTROL]
    }

    pub(crate) const fn set_children(&mut self, children: u32) {
        self.0[CONTROL] = children;
    }

    /// Notes a packet.
    #[inline]
    pub(crate) const fn touch(&mut self, now: u32) {
        self.0[LAST_SEEN] = now;
        self.0[PACKETS] = self.0[PACKETS].saturating_add(1);
    }

    pub(crate) const fn set_last_seen(&mut self, now: u32) {
        self.0[LAST_SEEN] = now;
    }

    /// When it is to be forgotten, in ticks.
    #[inline]
    pub(crate) const fn deadline(&self) -> u32 {
        self.0[LAST_SEEN].wrapping_add(self.0[TIMEOUT])
    }

    /// Whether its time is over.
    #[inline]
    pub(crate) const fn is_expired(&self, now: u32) -> bool {
        self.deadline().wrapping_sub(now) as i32 <= 0
    }
}
