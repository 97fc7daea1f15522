//! A connection as a plain value: how listings, snapshots and synchronisation see it.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::config::Protocol;

/// Where a connection stands. A director in direct routing hears only the client: there is no state that
/// waits for a server's segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ConnectionState {
    /// Just made, or a template.
    None,
    /// TCP: the client opened it.
    SynReceived,
    /// TCP: the client has acknowledged.
    Established,
    /// TCP: the client has closed its side.
    FinWait,
    /// TCP: opened and closed at once.
    TimeWait,
    /// TCP: reset.
    Close,
    /// UDP has one state only.
    Udp,
    /// TCP with `secure_tcp`: the client opened it.
    SynAck,
    /// A template one of whose connections was established.
    Assured,
    /// SCTP: the client sent INIT.
    SctpInit1,
    /// SCTP: the client sent INIT again.
    SctpInit,
    /// SCTP: the client answered an INIT.
    SctpCookieSent,
    /// SCTP: the client sent COOKIE ECHO, or data.
    SctpEstablished,
    /// SCTP: the client sent SHUTDOWN.
    SctpShutdownReceived,
    /// SCTP: the client acknowledged a shutdown.
    SctpShutdownAckSent,
    /// SCTP: the client refused with ERROR.
    SctpRejected,
    /// SCTP: over.
    SctpClosed,
}

impl ConnectionState {
    /// The state with this number, as `self as u8` gave it.
    pub(crate) const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::SynReceived,
            2 => Self::Established,
            3 => Self::FinWait,
            4 => Self::TimeWait,
            5 => Self::Close,
            6 => Self::Udp,
            7 => Self::SynAck,
            8 => Self::Assured,
            9 => Self::SctpInit1,
            10 => Self::SctpInit,
            11 => Self::SctpCookieSent,
            12 => Self::SctpEstablished,
            13 => Self::SctpShutdownReceived,
            14 => Self::SctpShutdownAckSent,
            15 => Self::SctpRejected,
            16 => Self::SctpClosed,
            _ => Self::None,
        }
    }

    /// As `ipvsadm -Lc` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynReceived => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::Udp => "UDP",
            Self::SynAck => "SYNACK",
            Self::Assured => "ASSURED",
            Self::SctpInit1 => "INIT1",
            Self::SctpInit => "INIT",
            Self::SctpCookieSent => "C-SENT",
            Self::SctpEstablished => "ESTABLISHED",
            Self::SctpShutdownReceived => "S-RECEIVED",
            Self::SctpShutdownAckSent => "S-ACK_SENT",
            Self::SctpRejected => "REJECTED",
            Self::SctpClosed => "CLOSED",
        }
    }

    /// Whether it counts as an active connection of its server.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::SynReceived | Self::SynAck | Self::Established | Self::SctpEstablished)
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A connection as a plain value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The transport protocol; `None` for a template of a marked service, which holds for all protocols.
    pub protocol: Option<Protocol>,
    /// Whether it is a persistence template: not a connection, but where the connections of a client go.
    pub template: bool,
    /// The client's address and port (CIP); for a template its masked address and port 0.
    pub client: SocketAddr,
    /// The virtual service's (VIP). For a template of a marked service the mark in the last 32 bits of the address, and
    /// port 0; for a template that was given up port 65535.
    pub virtual_address: SocketAddr,
    /// The real server's (RIP).
    pub destination: SocketAddr,
    /// Where it stands.
    pub state: ConnectionState,
    /// When it will be forgotten if nothing more is heard.
    pub expires_in: Duration,
    /// How long it is remembered after each packet in this state.
    pub timeout: Duration,
    /// Packets forwarded, up to `u32::MAX`.
    pub packets: u32,
}
