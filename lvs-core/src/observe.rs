//! Watching decisions as they are made.
//!
//! The data path calls an [`Observer`] at each decision with what it decided from. Explanations, hop views and traces
//! are observers; they are recorded by the code that decides, never worked out afterwards. With the unit type, which is the
//! default, all of it is compiled away.

use core::net::{IpAddr, SocketAddr};

use crate::classify::{FlowKey, Packet};
use crate::config::{InterfaceId, SchedulerKind, ServiceKey};
use crate::connection::ConnectionState;
use crate::io::Meta;
use crate::scheduler::{Grounds, SchedulerState, Server};
use crate::time::Instant;
use crate::verdict::{DropReason, Verdict};

/// Sees the decisions about each frame, in order: one [`Observation::Frame`] first, one [`Observation::Verdict`] last.
/// Where frames come in a batch the observations of one frame follow each other without a gap.
pub trait Observer {
    /// Whether anybody listens. Where it is `false` the calls are not compiled.
    const ENABLED: bool = true;

    /// Whether the next batch of frames is to be watched. It is asked once a batch; after `false` the code that nobody watches
    /// decides about it, at the price of this question.
    fn watches(&mut self, now: Instant) -> bool {
        let _ = now;
        Self::ENABLED
    }

    /// Something was decided.
    fn observe(&mut self, observation: &Observation<'_>);
}

/// Nobody listens.
impl Observer for () {
    const ENABLED: bool = false;

    fn observe(&mut self, _: &Observation<'_>) {}
}

impl<O: Observer> Observer for &mut O {
    const ENABLED: bool = O::ENABLED;

    fn watches(&mut self, now: Instant) -> bool {
        (**self).watches(now)
    }

    fn observe(&mut self, observation: &Observation<'_>) {
        (**self).observe(observation);
    }
}

/// One decision and what it was decided from.
#[derive(Debug)]
#[non_exhaustive]
pub enum Observation<'a> {
    /// A frame is looked at.
    Frame {
        /// Its place in the batch.
        index: usize,
        /// Its bytes as they came.
        bytes: &'a [u8],
        /// What came with it.
        meta: &'a Meta,
        /// What it is, or why it cannot be used.
        packet: Result<&'a Packet, DropReason>,
        /// The interface it belongs to, if any.
        interface: Option<InterfaceId>,
    },
    /// The flow has a connection.
    Known {
        /// The flow.
        flow: &'a FlowKey,
        /// The state before this packet.
        before: ConnectionState,
        /// The state after it.
        after: ConnectionState,
        /// The real server.
        destination: SocketAddr,
    },
    /// The flow had a connection, which was forgotten because of this packet.
    Forgotten {
        /// The flow.
        flow: &'a FlowKey,
        /// Why.
        because: Forgotten,
    },
    /// A virtual service takes the flow.
    Service {
        /// Which one.
        key: ServiceKey,
    },
    /// A scheduler was asked.
    Scheduled {
        /// For this flow.
        flow: &'a FlowKey,
        /// Which one.
        scheduler: SchedulerKind,
        /// What it had in mind before.
        state: SchedulerState,
        /// The servers in list order.
        servers: &'a [Server],
        /// The place it picked, or `None` if there is nobody to be had.
        picked: Option<usize>,
        /// What it was picked from besides.
        grounds: Grounds,
    },
    /// The service remembers no connections (one-packet scheduling): the next packet of this flow chooses anew.
    OnePacket,
    /// The client has been here before, and its service is persistent: it goes to the same server.
    Persisted {
        /// The service.
        key: ServiceKey,
        /// The server.
        destination: SocketAddr,
    },
    /// The server was picked by the hash of the client, without a connection.
    Hashed {
        /// The servers in list order.
        servers: &'a [Server],
        /// The place the hash gave.
        picked: usize,
        /// Why there is no connection.
        because: Hashed,
    },
    /// An ICMP message reports on a flow.
    Quoted {
        /// The flow.
        flow: &'a FlowKey,
        /// The flow's real server, if it has a connection.
        destination: Option<SocketAddr>,
    },
    /// A piece of a packet, and not its first one: it goes where that one went.
    Piece {
        /// The real server's address; `None` if the first piece has not come.
        destination: Option<IpAddr>,
    },
    /// The director keeps a copy of the frame, which leaves later or in another shape.
    Held {
        /// Why.
        because: Held,
    },
    /// The director answers the sender by a frame of its own.
    Answered {
        /// What it says.
        answer: Answer,
    },
    /// What becomes of the frame.
    Verdict {
        /// The verdict.
        verdict: Verdict,
        /// The bytes as they are now.
        bytes: &'a [u8],
    },
}

/// Why a connection was forgotten before its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forgotten {
    /// Its time was over, and this packet came before anybody had noticed.
    Expired,
    /// The client opens a new connection from the same port (`conn_reuse_mode`).
    PortReused,
    /// Its server was removed or quiesced (`expire_nodest_conn`).
    DestinationGone,
}

/// Why a flow is served without a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hashed {
    /// The connection table is full.
    TableFull,
    /// The connection table was full a short time ago: the flow may have begun then.
    TableWasFull,
    /// The director was told to (`on_miss`).
    OnMiss,
}

/// Why a frame does not leave as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Held {
    /// The Ethernet address of its next hop is not known yet.
    Unresolved,
    /// It is longer than the way out allows, and leaves in pieces.
    Cut {
        /// How many.
        pieces: usize,
        /// The longest IP packet that fits, in bytes.
        mtu: u16,
    },
    /// It belongs to another worker, which has it now and decides about it; that one's observer sees the rest.
    HandedOver {
        /// That worker's number.
        owner: u16,
    },
}

/// What the director says to a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// TCP RST.
    Reset,
    /// ICMP port unreachable.
    PortUnreachable,
    /// ICMP protocol unreachable, or ICMPv6 parameter problem: unrecognized next header.
    ProtocolUnreachable,
    /// ICMP host unreachable.
    HostUnreachable,
    /// ICMP fragmentation needed, or ICMPv6 packet too big, with the largest size that fits.
    TooBig {
        /// Bytes.
        mtu: u16,
    },
    /// ICMP time exceeded.
    TimeExceeded,
    /// ICMP echo reply.
    EchoReply,
}
