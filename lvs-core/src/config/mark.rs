//! Firewall marks of the director's own: what groups several ports into one service.

use crate::addr::Subnet;
use crate::config::Protocol;

/// The most port ranges of one rule.
pub const MAX_PORT_RANGES: usize = 16;

/// Ports from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

/// Up to 16 ranges of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortRanges {
    ranges: [PortRange; MAX_PORT_RANGES],
    count: u8,
}

impl PortRanges {
    /// These ranges. `None` if there are none, more than 16, or one that ends before it begins.
    #[must_use]
    pub fn new(ranges: &[PortRange]) -> Option<Self> {
        if ranges.is_empty() || ranges.iter().any(|range| range.first > range.last) {
            return None;
        }
        let mut all = [PortRange::default(); MAX_PORT_RANGES];
        all.get_mut(..ranges.len())?.copy_from_slice(ranges);
        Some(Self { ranges: all, count: ranges.len() as u8 })
    }

    /// The ranges, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[PortRange] {
        self.ranges.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Whether a port is in one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.as_slice().iter().any(|range| (range.first..=range.last).contains(&port))
    }
}

/// Marks the packets of a protocol to a subnet's addresses and some ports. Of several rules the first that fits counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkRule {
    /// The mark, not 0.
    pub mark: u32,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The destination addresses. The director answers ARP and NDP for all of them while the rule exists, unless one of its
    /// own addresses is among them: then they are taken to be routed to it.
    pub destination: Subnet,
    /// The destination ports.
    pub ports: PortRanges,
}
