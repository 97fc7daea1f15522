//! Health checks through the path that clients' packets take: what a director does for whoever makes them.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::RangeInclusive;

/// What a director does for health checks: answers to probes are handed over
/// ([`poll_probe_reply`](crate::Director::poll_probe_reply)), neighbours can be
/// [watched](super::Change::WatchNeighbour) that serve nobody, and clients that repeat their SYN are told of
/// ([`poll_repeated_syn`](crate::Director::poll_repeated_syn)).
///
/// Without addresses of its own, probes leave with the DIP of the interface. Where the host's kernel owns the DIP, it gets the
/// answers too, and ends connections that it does not know: only half-open probes work then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Addresses that probes leave with, besides the DIPs. The director owns them: it announces them and answers ARP, NDP and
    /// echo for them. Best one of each family in the subnet of the real servers, which no host has. Default none.
    pub addresses: Vec<IpAddr>,
    /// The source ports of probes; what comes to other ports is no answer. Default 61,000 to 65,535, which Linux does not use
    /// for connections of its own.
    pub ports: RangeInclusive<u16>,
    /// How many answers may wait to be fetched, 1 to 4096, and a quarter of them from one Ethernet address; what is too much is
    /// dropped and counted. Each takes 4352 bytes at once. Default 256.
    pub queue: u16,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { addresses: Vec::new(), ports: 61_000..=65_535, queue: 256 }
    }
}

impl ProbeConfig {
    /// The defaults with an address that the director owns.
    #[must_use]
    pub fn from_address(address: IpAddr) -> Self {
        Self { addresses: Vec::from([address]), ..Self::default() }
    }
}
