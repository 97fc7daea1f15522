//! What a director shows of itself: plain values, copied out.

use alloc::vec::Vec;

use crate::config::{DestinationConfig, ServiceConfig};

/// Counters of a service or a server, as `ipvsadm --stats` shows them.
///
/// Under direct routing the director sees only the way to the server: the out counters stay 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets to the server.
    pub in_packets: u64,
    /// Packets from the server.
    pub out_packets: u64,
    /// Bytes to the server, counted from the IP header.
    pub in_bytes: u64,
    /// Bytes from the server.
    pub out_bytes: u64,
}

impl Statistics {
    /// Adds the counts of another.
    pub(crate) const fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.in_packets += other.in_packets;
        self.out_packets += other.out_packets;
        self.in_bytes += other.in_bytes;
        self.out_bytes += other.out_bytes;
    }
}

/// Per-second rates, as `ipvsadm --rate` shows them: every two seconds a quarter of the way to the latest
/// value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Connections per second.
    pub connections: u64,
    /// Packets per second to the server.
    pub in_packets: u64,
    /// Packets per second from the server.
    pub out_packets: u64,
    /// Bytes per second to the server.
    pub in_bytes: u64,
    /// Bytes per second from the server.
    pub out_bytes: u64,
}

/// A virtual service and its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceListing {
    /// As configured.
    pub config: ServiceConfig,
    /// Totals of the service.
    pub statistics: Statistics,
    /// Its rates.
    pub rates: Rates,
    /// Its servers in list order: last added first.
    pub destinations: Vec<DestinationListing>,
}

/// A real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationListing {
    /// As configured.
    pub config: DestinationConfig,
    /// Connections that count as active (TCP before a FIN or RST).
    pub active: u32,
    /// All other connections that are remembered.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Whether it is overloaded: it reached its upper threshold and has not fallen below the lower one since.
    pub overloaded: bool,
    /// The weight that counts now: the configured one, or less while the server starts slowly.
    pub effective_weight: u32,
    /// Totals of the server.
    pub statistics: Statistics,
    /// Its rates.
    pub rates: Rates,
}

/// How full a connection table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionUsage {
    /// Connections that are remembered.
    pub connections: u32,
    /// Table lines in use: one an IPv4 connection, two an IPv6 connection.
    pub used: u32,
    /// Table lines there are.
    pub capacity: u32,
}

/// How full the table of neighbours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourUsage {
    /// Neighbours that are known or asked for: real servers, gateways, watched and fixed ones.
    pub neighbours: u32,
    /// How many of them have an Ethernet address.
    pub resolved: u32,
    /// How many there may be.
    pub capacity: u32,
}

impl NeighbourUsage {
    /// How many are being asked for.
    #[must_use]
    pub const fn unresolved(&self) -> u32 {
        self.neighbours - self.resolved
    }
}
