//! What becomes of a frame. Every frame that enters ends in exactly one verdict, counted once.

use crate::io::PortId;

/// What the caller has to do with a frame after the director has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a verdict says what to do with the frame; dropping it loses the frame silently"]
pub enum Verdict {
    /// Send the frame, as it is now, out of this port.
    Transmit(PortId),
    /// Not the director's business: the host's own stack may have it.
    Pass,
    /// The director kept a copy (an address is being resolved, or the frame leaves in pieces); what
    /// becomes of it leaves through `poll_transmit`. Nothing is to be done with the frame itself.
    Hold,
    /// Do nothing with it; the reason is counted.
    Drop(DropReason),
}

macro_rules! drop_reasons {
    ($( $(#[$doc:meta])* $name:ident = $slug:literal, )*) => {
        /// Why a frame went no further. Each has a counter and a stable slug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum DropReason { $( $(#[$doc])* $name, )* }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The stable name for listings, metrics and JSON: lower case, underscores.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $( Self::$name => $slug, )* }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than the headers it claims to have.
    Truncated = "truncated",
    /// A header contradicts itself: a version, a length or an option that cannot be.
    Malformed = "malformed",
    /// The IPv4 header checksum is wrong.
    BadChecksum = "bad_checksum",
    /// Source or destination addresses that may not appear on a wire in that place.
    Martian = "martian",
    /// The director's own frame came back (a loop, or a reflecting switch port).
    OwnFrame = "own_frame",
    /// For a VIP, but sent to a group Ethernet address.
    NotUnicast = "not_unicast",
    /// An ARP or NDP message with fields that no honest sender would write.
    BadNeighbourMessage = "bad_neighbour_message",
    /// Heard and used (an answer to our question, a learnt address); nothing is left to send.
    Consumed = "consumed",
    /// For one of the director's addresses, but no virtual service has that protocol and port.
    NoService = "no_service",
    /// A TCP segment that belongs to no connection and does not open one.
    NotSyn = "not_syn",
    /// The virtual service has no real server that may be chosen now.
    NoDestination = "no_destination",
    /// The connection's real server has been removed.
    DestinationGone = "destination_gone",
    /// The connection's real server was drained, and its deadline has passed.
    Drained = "drained",
    /// One of those that `drop_packet` refuses.
    Shed = "shed",
    /// An SCTP packet that belongs to no association and does not open one.
    NotInit = "not_init",
    /// A transport protocol that is not balanced, to an address of the director's.
    NoProtocol = "no_protocol",
    /// No interface leads to the real server.
    NoRoute = "no_route",
    /// The real server's Ethernet address did not become known in time.
    Unresolved = "unresolved",
    /// As many frames wait for this real server's Ethernet address as may.
    WaitingFull = "waiting_full",
    /// All buffers for frames that wait are taken, or the frame is longer than one.
    PoolFull = "pool_full",
    /// Longer than the way out allows; its sender was told, or the limit on answers was reached.
    TooBig = "too_big",
    /// The time to live ran out here; its sender was told, or the limit on answers was reached.
    TtlExceeded = "ttl_exceeded",
    /// A fragment whose first part has not been seen.
    Fragment = "fragment",
    /// An ICMP message about no connection of ours.
    IcmpUnrelated = "icmp_unrelated",
    /// An own answer was suppressed because too many were sent lately.
    RateLimited = "rate_limited",
    /// The buffer has no room for what had to be added.
    NoRoom = "no_room",
    /// Sent from a VIP to an address of the director's, as an answer to a probe, and not to where probes are waited for.
    ProbeReply = "probe_reply",
    /// It belongs to another worker, and that one has no room for it.
    OwnerBusy = "owner_busy",
    /// It is about a health probe, and as many such frames wait to be fetched as may (of all, or of its sender), or it is longer
    /// than a buffer.
    ProbeQueueFull = "probe_queue_full",
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_distinct_and_in_counter_order() {
        for (i, a) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*a as usize, i);
            assert!(DropReason::ALL[..i].iter().all(|b| b.slug() != a.slug()));
        }
    }

    #[test]
    fn a_verdict_stays_small() {
        assert!(size_of::<Verdict>() <= 4);
    }
}
