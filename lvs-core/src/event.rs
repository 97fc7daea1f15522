//! What a director reports to whoever runs it: rare things, for log lines and alarms.

use core::net::IpAddr;

use crate::addr::MacAddr;
use crate::config::InterfaceId;
use crate::io::PortId;

/// Something that the people who run a director want to know. Kept in a bounded queue; see
/// [`Director::poll_event`](crate::director::Director::poll_event).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A VIP was announced on an interface for the first time since it was added or the link came up.
    Announced {
        /// The VIP.
        address: IpAddr,
        /// Where.
        interface: InterfaceId,
    },
    /// The Ethernet address of a real server or gateway became known.
    NeighbourLearnt {
        /// Its IP address.
        address: IpAddr,
        /// Its Ethernet address.
        mac: MacAddr,
        /// Where.
        interface: InterfaceId,
    },
    /// A real server or gateway has another Ethernet address now.
    NeighbourChanged {
        /// Its IP address.
        address: IpAddr,
        /// What it was.
        old: MacAddr,
        /// What it is.
        new: MacAddr,
        /// Where.
        interface: InterfaceId,
    },
    /// A real server or gateway no longer answers (or has not from the start).
    NeighbourLost {
        /// Its IP address.
        address: IpAddr,
        /// Where.
        interface: InterfaceId,
    },
    /// Another station claims one of the director's addresses. Reported at a bounded rate.
    AddressConflict {
        /// The address.
        address: IpAddr,
        /// Whose claim it is.
        mac: MacAddr,
        /// Where.
        interface: InterfaceId,
    },
    /// A port carries no frames.
    LinkDown(PortId),
    /// A port carries frames again.
    LinkUp(PortId),
    /// Frames with unfinished checksums come in by a port that cannot carry them on; see
    /// [`IoEvent::UnfinishedChecksums`](crate::io::IoEvent::UnfinishedChecksums).
    UnfinishedChecksums(PortId),
    /// The connection table is full: new flows are served without an entry from now on. Reported once until
    /// it has had room for two minutes.
    TableFull,
    /// The connection table has had room for two minutes.
    TableHasRoom,
    /// Events were lost because nobody fetched them.
    Lost(u32),
}
