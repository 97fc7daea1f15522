//! Connections that a host has opened, as their user sees them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use lvs_core::Instant;

/// The name of a connection on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

/// What has become of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The handshake is under way.
    Connecting,
    /// It can carry data.
    Open,
    /// Both sides have said all they had to, and everything has arrived.
    Closed,
    /// Nobody listens there: the first segment was answered with a reset.
    Refused,
    /// It was reset while open, or this side gave up on it.
    Reset,
    /// The other side did not answer for two minutes.
    TimedOut,
    /// There is no route, or the next hop does not answer.
    Unreachable,
}

impl Phase {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Connecting | Self::Open)
    }
}

/// A TCP connection from the side that opened it.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) phase: Phase,
    pub(super) received: Vec<u8>,
    pub(super) to_send: VecDeque<u8>,
    /// Nothing follows behind `to_send`.
    pub(super) finished: bool,
    /// The other side will say no more.
    pub(super) peer_ended: bool,
    pub(super) started: Option<Instant>,
    pub(super) opened: Option<Instant>,
    pub(super) ended: Option<Instant>,
}

impl Connection {
    pub(super) const fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            phase: Phase::Connecting,
            received: Vec::new(),
            to_send: VecDeque::new(),
            finished: false,
            peer_ended: false,
            started: None,
            opened: None,
            ended: None,
        }
    }

    /// The own address and port.
    #[must_use]
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// The other side's address and port.
    #[must_use]
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// What has become of it.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// All that has come in so far.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        &self.received
    }

    /// Bytes that were written and are not yet on their way.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.to_send.len()
    }

    /// When its first segment left.
    #[must_use]
    pub const fn started(&self) -> Option<Instant> {
        self.started
    }

    /// When the handshake was over.
    #[must_use]
    pub const fn opened(&self) -> Option<Instant> {
        self.opened
    }

    /// When it was over.
    #[must_use]
    pub const fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// The body of the HTTP answer that came in: what stands behind the first empty line. `None` while the connection
    /// is not closed in order, or if there is no such line.
    #[must_use]
    pub fn page(&self) -> Option<&str> {
        if self.phase != Phase::Closed {
            return None;
        }
        let text = std::str::from_utf8(&self.received).ok()?;
        text.split_once("\r\n\r\n").map(|(_, body)| body)
    }

    pub(super) fn end(&mut self, now: Instant, phase: Phase) {
        if !self.phase.is_over() {
            (self.phase, self.ended) = (phase, Some(now));
        }
    }
}
