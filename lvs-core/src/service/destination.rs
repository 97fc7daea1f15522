//! Real servers by number: counts, and what a frame to each of them needs.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::MacAddr;
use crate::config::{DestinationConfig, InterfaceConfig, InterfaceId, ServiceKey, VlanPath};
use crate::io::PortId;
use crate::listing::Statistics;
use crate::neighbour::NeighbourId;
use crate::quick_hash::QuickMap;
use crate::time::Instant;

use super::table::ServiceId;

/// Whether and how a real server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reach {
    /// Its Ethernet address is known.
    Ready,
    /// It is being asked for.
    Unresolved,
    /// No interface leads there.
    NoRoute,
    /// It was removed from its service.
    Gone,
    /// Its connections were to be over by now.
    Drained,
}

/// What the data path needs of a real server: one cache line, read and written for every frame. Every worker has its own, which
/// follows the common one and holds what the worker has counted since it last reported.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Lane {
    /// The Ethernet destination and source of frames to it, as they stand in the frame.
    pub(crate) macs: [u8; 12],
    pub(crate) port: PortId,
    /// The longest IP packet that fits.
    mtu: u16,
    vlan: VlanPath,
    reach: Reach,
    /// Whether its service has time-outs of its own.
    own_timeouts: bool,
    /// The longest IP packet that needs nothing but new addresses: the MTU where frames leave untagged, the Ethernet address is
    /// known and time-outs are everybody's; else 0.
    straight: u16,
    /// The interface by which it is reached.
    interface: InterfaceId,
    /// Through whom it is reached.
    neighbour: Option<NeighbourId>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// The connections of a real server, and whom it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: u64,
    pub(crate) active: u32,
    pub(crate) inactive: u32,
    /// The service that it serves, and its place in that one's list.
    pub(crate) serves: Serves,
}

/// A server's service and its place in that one's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serves {
    pub(crate) service: ServiceId,
    pub(crate) place: u32,
}

impl Serves {
    /// Removed.
    pub(crate) const NOBODY: Self = Self { service: ServiceId(u32::MAX), place: 0 };
}

// One cache line, or an established frame gets dearer.
const _: () = assert!(size_of::<Lane>() == 64);

/// The rest of a real server.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) config: DestinationConfig,
    /// The service it belongs or belonged to.
    pub(crate) service: ServiceKey,
    /// What `--zero` subtracts.
    pub(crate) zero: Statistics,
    /// Templates that lead here.
    pub(crate) persistent: u32,
    /// Whether it has reached its upper threshold and not fallen below the lower one since.
    pub(crate) overloaded: bool,
    /// When it was last told of that it leaves SYNs unanswered.
    pub(crate) suspected: Option<Instant>,
}

type Key = (ServiceKey, IpAddr, u16);

/// All real servers, by number. Numbers of servers that connections remember are not given to others.
pub(crate) struct Destinations {
    lanes: Vec<Lane>,
    loads: Vec<Load>,
    rest: Vec<Destination>,
    free: Vec<u32>,
    /// Removed ones that connections remember.
    removed: QuickMap<Key, u32>,
    capacity: u32,
}

impl Destinations {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            lanes: Vec::with_capacity(capacity as usize),
            loads: Vec::with_capacity(capacity as usize),
            rest: Vec::with_capacity(capacity as usize),
            free: Vec::with_capacity(capacity as usize),
            removed: QuickMap::default(),
            capacity,
        }
    }

    /// How many more can be added that are not remembered.
    pub(crate) fn vacancies(&self) -> u32 {
        self.capacity - self.rest.len() as u32 + self.free.len() as u32
    }

    /// The number of a removed server that connections remember.
    pub(crate) fn remembered(&self, service: ServiceKey, address: IpAddr, port: u16) -> Option<u32> {
        self.removed.get(&(service, address, port)).copied()
    }

    /// A number for a server; the old one if connections remember it. `None` if there is no room.
    pub(crate) fn add(&mut self, service: ServiceKey, config: DestinationConfig) -> Option<u32> {
        if let Some(id) = self.removed.remove(&(service, config.address, config.port)) {
            self.edit(id, config);
            return Some(id);
        }
        let (lane, load) = (Lane::NOWHERE, Load::NONE);
        let rest = Destination {
            config,
            service,
            zero: Statistics::default(),
            persistent: 0,
            overloaded: false,
            suspected: None,
        };
        if let Some(id) = self.free.pop() {
            self.lanes[id as usize] = lane;
            self.loads[id as usize] = load;
            self.rest[id as usize] = rest;
            return Some(id);
        }
        if self.rest.len() as u32 == self.capacity {
            return None;
        }
        self.lanes.push(lane);
        self.loads.push(load);
        self.rest.push(rest);
        Some(self.rest.len() as u32 - 1)
    }

    /// Takes a server out of its service. It is forgotten with its last connection.
    pub(crate) fn remove(&mut self, id: u32) -> Option<NeighbourId> {
        let lane = &mut self.lanes[id as usize];
        lane.set_reach(Reach::Gone);
        let neighbour = lane.neighbour.take();
        self.loads[id as usize].serves = Serves::NOBODY;
        let rest = &self.rest[id as usize];
        let key = (rest.service, rest.config.address, rest.config.port);
        if self.is_remembered(id) {
            self.removed.insert(key, id);
        } else {
            self.forget(id);
        }
        neighbour
    }

    fn is_remembered(&self, id: u32) -> bool {
        self.loads[id as usize].total() > 0 || self.rest[id as usize].persistent > 0
    }

    fn forget(&mut self, id: u32) {
        let rest = &self.rest[id as usize];
        self.removed.remove(&(rest.service, rest.config.address, rest.config.port));
        self.free.push(id);
    }

    /// Whether connections remember this server.
    pub(crate) fn has_connections(&self, id: u32) -> bool {
        self.is_remembered(id)
    }

    #[inline]
    pub(crate) fn lane(&self, id: u32) -> &Lane {
        &self.lanes[id as usize]
    }

    #[inline]
    pub(crate) fn lane_mut(&mut self, id: u32) -> &mut Lane {
        &mut self.lanes[id as usize]
    }

    /// All lanes, by number.
    pub(crate) fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    #[inline]
    pub(crate) fn load(&self, id: u32) -> &Load {
        &self.loads[id as usize]
    }

    pub(crate) fn load_mut(&mut self, id: u32) -> &mut Load {
        &mut self.loads[id as usize]
    }

    pub(crate) fn get(&self, id: u32) -> &Destination {
        &self.rest[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut Destination {
        &mut self.rest[id as usize]
    }

    /// Counts a connection that began.
    #[inline(always)]
    pub(crate) fn connection_added(&mut self, id: u32, active: bool) {
        self.loads[id as usize].connections += 1;
        self.connection_restored(id, active);
    }

    /// Counts a connection that began elsewhere.
    #[inline(always)]
    pub(crate) fn connection_restored(&mut self, id: u32, active: bool) {
        let load = &mut self.loads[id as usize];
        *if active { &mut load.active } else { &mut load.inactive } += 1;
        self.look_at_upper_threshold(id);
    }

    /// Counts a connection that is not remembered. As in IPVS it is one while its packet is on its way, which may be the
    /// one that reaches the upper threshold.
    pub(crate) fn connection_passed(&mut self, id: u32) {
        self.loads[id as usize].inactive += 1;
        self.loads[id as usize].connections += 1;
        self.look_at_upper_threshold(id);
        self.loads[id as usize].inactive -= 1;
        self.look_at_lower_threshold(id);
    }

    /// Counts a connection that became active or inactive.
    pub(crate) fn connection_changed(&mut self, id: u32, active: bool) {
        let load = &mut self.loads[id as usize];
        if active {
            load.active += 1;
            load.inactive -= 1;
        } else {
            load.active -= 1;
            load.inactive += 1;
        }
    }

    /// Counts a connection that was forgotten.
    pub(crate) fn connection_removed(&mut self, id: u32, active: bool) {
        let load = &mut self.loads[id as usize];
        *if active { &mut load.active } else { &mut load.inactive } -= 1;
        self.look_at_lower_threshold(id);
        self.forget_if_unused(id);
    }

    /// Counts a template that leads here.
    pub(crate) fn template_added(&mut self, id: u32) {
        self.rest[id as usize].persistent += 1;
        self.look_at_upper_threshold(id);
    }

    /// Counts a template that was forgotten.
    pub(crate) fn template_removed(&mut self, id: u32) {
        self.rest[id as usize].persistent -= 1;
        self.look_at_lower_threshold(id);
        self.forget_if_unused(id);
    }

    fn forget_if_unused(&mut self, id: u32) {
        if self.lanes[id as usize].reach == Reach::Gone && !self.is_remembered(id) {
            self.forget(id);
        }
    }

    /// As IPVS: overloaded from the connection on that reaches the upper threshold...
    #[inline(always)]
    fn look_at_upper_threshold(&mut self, id: u32) {
        let (load, rest) = (&self.loads[id as usize], &mut self.rest[id as usize]);
        let upper = rest.config.upper_threshold;
        if upper != 0 && load.total() >= upper {
            rest.overloaded = true;
        }
    }

    /// ... until there are fewer than the lower one, or than three quarters of the upper one.
    fn look_at_lower_threshold(&mut self, id: u32) {
        let (load, rest) = (&self.loads[id as usize], &mut self.rest[id as usize]);
        let total = u64::from(load.total());
        let (upper, lower) = (u64::from(rest.config.upper_threshold), u64::from(rest.config.lower_threshold));
        let relieved = match (upper, lower) {
            (0, 0) => true,
            (upper, 0) => total * 4 < upper * 3,
            (_, lower) => total < lower,
        };
        if relieved {
            rest.overloaded = false;
        }
    }

    /// Takes over edited options.
    pub(crate) fn edit(&mut self, id: u32, config: DestinationConfig) {
        let rest = &mut self.rest[id as usize];
        // As IPVS: more room relieves at once, less room shows with the next connection.
        if config.upper_threshold == 0 || config.upper_threshold > rest.config.upper_threshold {
            rest.overloaded = false;
        }
        rest.config = config;
    }

    /// Totals of a server since it was added.
    pub(crate) fn totals(&self, id: u32) -> Statistics {
        let (lane, load) = (&self.lanes[id as usize], &self.loads[id as usize]);
        Statistics {
            connections: load.connections,
            in_packets: lane.packets,
            in_bytes: lane.bytes,
            ..Statistics::default()
        }
    }

    /// Totals of a server since the last zero.
    pub(crate) fn statistics(&self, id: u32) -> Statistics {
        let (mut total, zero) = (self.totals(id), &self.rest[id as usize].zero);
        total.connections -= zero.connections;
        total.in_packets -= zero.in_packets;
        total.in_bytes -= zero.in_bytes;
        total
    }

    /// Begins counting from zero.
    pub(crate) fn zero(&mut self, id: u32) {
        self.rest[id as usize].zero = self.totals(id);
    }
}

impl Load {
    /// That of a server that was just added.
    const NONE: Self = Self { connections: 0, active: 0, inactive: 0, serves: Serves::NOBODY };

    /// Connections that are remembered.
    pub(crate) const fn total(&self) -> u32 {
        self.active + self.inactive
    }
}

impl Lane {
    /// That of a server to which no way is known.
    pub(crate) const NOWHERE: Self = Self {
        macs: [0; 12],
        port: PortId(0),
        mtu: 0,
        vlan: VlanPath::UNTAGGED,
        reach: Reach::NoRoute,
        own_timeouts: false,
        straight: 0,
        interface: InterfaceId(0),
        neighbour: None,
        packets: 0,
        bytes: 0,
    };

    /// Becomes like the common one, but for what it has counted.
    pub(crate) const fn follow(&mut self, common: &Self) {
        let (packets, bytes) = (self.packets, self.bytes);
        *self = *common;
        (self.packets, self.bytes) = (packets, bytes);
    }

    /// Counts a packet.
    #[inline(always)]
    pub(crate) const fn count(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Hands over what another has counted.
    pub(crate) const fn take_over(&mut self, other: &mut Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        (other.packets, other.bytes) = (0, 0);
    }

    /// The interface by which the server is reached.
    #[inline]
    pub(crate) const fn interface(&self) -> InterfaceId {
        self.interface
    }

    /// Through whom it is reached.
    #[inline]
    pub(crate) const fn neighbour(&self) -> Option<NeighbourId> {
        self.neighbour
    }

    #[inline]
    pub(crate) const fn reach(&self) -> Reach {
        self.reach
    }

    #[inline]
    pub(crate) const fn own_timeouts(&self) -> bool {
        self.own_timeouts
    }

    /// The longest IP packet that fits.
    #[inline]
    pub(crate) const fn mtu(&self) -> u16 {
        self.mtu
    }

    #[inline]
    pub(crate) const fn vlan(&self) -> VlanPath {
        self.vlan
    }

    /// The longest IP packet that needs nothing but new addresses.
    #[inline(always)]
    pub(crate) const fn straight(&self) -> u16 {
        self.straight
    }

    pub(crate) fn set_reach(&mut self, reach: Reach) {
        self.reach = reach;
        self.settle();
    }

    pub(crate) fn set_own_timeouts(&mut self, own: bool) {
        self.own_timeouts = own;
        self.settle();
    }

    /// Sets by which interface and through whom the server is reached.
    pub(crate) fn set_way(&mut self, id: InterfaceId, interface: &InterfaceConfig, neighbour: NeighbourId) {
        (self.interface, self.neighbour) = (id, Some(neighbour));
        (self.port, self.mtu, self.vlan) = (interface.port, interface.mtu, interface.vlan);
        self.settle();
    }

    fn settle(&mut self) {
        let is_straight = self.reach == Reach::Ready && self.vlan == VlanPath::UNTAGGED && !self.own_timeouts;
        self.straight = if is_straight { self.mtu } else { 0 };
    }

    /// Takes over what is known of the neighbour through which this server is reached.
    pub(crate) fn set_next_hop(&mut self, mac: Option<MacAddr>, own: MacAddr) {
        if matches!(self.reach, Reach::Gone | Reach::Drained) {
            return;
        }
        if let Some(mac) = mac {
            self.set_macs(mac, own);
        }
        self.set_reach(if mac.is_some() { Reach::Ready } else { Reach::Unresolved });
    }

    /// Writes the Ethernet addresses of frames to this server.
    fn set_macs(&mut self, destination: MacAddr, source: MacAddr) {
        let [a, b, c, d, e, f] = destination.0;
        let [g, h, i, j, k, l] = source.0;
        self.macs = [a, b, c, d, e, f, g, h, i, j, k, l];
    }
}
