//! Virtual services and their real servers, as they are configured.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use core::time::Duration;

use super::Timeouts;

/// A transport protocol that can be balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
    /// SCTP, IP protocol 132.
    Sctp,
}

impl Protocol {
    /// The number in the IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol with that number, if it can be balanced.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// As `ipvsadm` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What makes a virtual service: no two services have the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ServiceKey {
    /// Traffic of one protocol to one address and port.
    Address {
        /// The transport protocol.
        protocol: Protocol,
        /// The virtual address (VIP).
        address: IpAddr,
        /// The port; 0 takes every port that no other service takes, and needs persistence.
        port: u16,
    },
    /// Traffic that a [`MarkRule`](super::MarkRule) has marked.
    Mark {
        /// The firewall mark, not 0.
        mark: u32,
        /// Whether it is IPv6 traffic.
        ipv6: bool,
    },
}

impl ServiceKey {
    /// TCP to `address` and `port`.
    #[must_use]
    pub const fn tcp(address: IpAddr, port: u16) -> Self {
        Self::Address { protocol: Protocol::Tcp, address, port }
    }

    /// UDP to `address` and `port`.
    #[must_use]
    pub const fn udp(address: IpAddr, port: u16) -> Self {
        Self::Address { protocol: Protocol::Udp, address, port }
    }

    /// SCTP to `address` and `port`.
    #[must_use]
    pub const fn sctp(address: IpAddr, port: u16) -> Self {
        Self::Address { protocol: Protocol::Sctp, address, port }
    }

    /// IPv4 traffic marked with `mark`.
    #[must_use]
    pub const fn mark(mark: u32) -> Self {
        Self::Mark { mark, ipv6: false }
    }

    /// IPv6 traffic marked with `mark`.
    #[must_use]
    pub const fn mark_v6(mark: u32) -> Self {
        Self::Mark { mark, ipv6: true }
    }

    /// The virtual address; `None` for a mark.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address { address, .. } => Some(*address),
            Self::Mark { .. } => None,
        }
    }

    /// The port; 0 for a mark.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address { port, .. } => *port,
            Self::Mark { .. } => 0,
        }
    }

    /// Whether it takes IPv6 traffic.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        match self {
            Self::Address { address, .. } => address.is_ipv6(),
            Self::Mark { ipv6, .. } => *ipv6,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// As in `TCP 192.168.0.250:80`, `UDP [fd00::10]:53`, `FWM 7` or `FWM 7 IPv6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address { protocol, address, port } => {
                write!(f, "{protocol} {}", core::net::SocketAddr::new(address, port))
            }
            Self::Mark { mark, ipv6 } => write!(f, "FWM {mark}{}", if ipv6 { " IPv6" } else { "" }),
        }
    }
}

/// Which rule picks the real server of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchedulerKind {
    /// `rr`: each in turn.
    RoundRobin,
    /// `wrr`: each in turn, heavier ones more often.
    WeightedRoundRobin,
    /// `lc`: the fewest connections.
    LeastConnection,
    /// `wlc`: the fewest connections relative to the weight.
    WeightedLeastConnection,
    /// `lblc`: the server that a destination address had before, unless it is overloaded.
    Locality,
    /// `lblcr`: the same with a set of servers for each destination address.
    LocalityWithReplication,
    /// `dh`: by a hash of the destination address.
    DestinationHashing,
    /// `sh`: by a hash of the client's address.
    SourceHashing,
    /// `sed`: the shortest expected delay.
    ShortestExpectedDelay,
    /// `nq`: an idle server, or else the shortest expected delay.
    NeverQueue,
    /// `fo`: the largest weight.
    WeightedFailover,
    /// `ovf`: the largest weight until that many connections are active.
    WeightedOverflow,
    /// `mh`: by a Maglev table.
    Maglev,
    /// `twos`: the less loaded of two drawn by lot.
    TwoChoices,
}

impl SchedulerKind {
    /// Every scheduler there is.
    pub const ALL: &'static [Self] = &[
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnection,
        Self::WeightedLeastConnection,
        Self::Locality,
        Self::LocalityWithReplication,
        Self::DestinationHashing,
        Self::SourceHashing,
        Self::ShortestExpectedDelay,
        Self::NeverQueue,
        Self::WeightedFailover,
        Self::WeightedOverflow,
        Self::Maglev,
        Self::TwoChoices,
    ];

    /// The name that `ipvsadm -s` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin => "wrr",
            Self::LeastConnection => "lc",
            Self::WeightedLeastConnection => "wlc",
            Self::Locality => "lblc",
            Self::LocalityWithReplication => "lblcr",
            Self::DestinationHashing => "dh",
            Self::SourceHashing => "sh",
            Self::ShortestExpectedDelay => "sed",
            Self::NeverQueue => "nq",
            Self::WeightedFailover => "fo",
            Self::WeightedOverflow => "ovf",
            Self::Maglev => "mh",
            Self::TwoChoices => "twos",
        }
    }
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no scheduler of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such scheduler: expected rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh or twos")]
pub struct UnknownSchedulerError;

impl FromStr for SchedulerKind {
    type Err = UnknownSchedulerError;

    fn from_str(name: &str) -> Result<Self, UnknownSchedulerError> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or(UnknownSchedulerError)
    }
}

/// Flags of a service for its scheduler (`ipvsadm -b`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SchedulerFlags(u8);

impl SchedulerFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// `flag-1`; to sh and mh: take another server if the one that is meant is not available.
    pub const FALLBACK: Self = Self(1);
    /// `flag-2`; to sh and mh: hash the client's port too.
    pub const PORT: Self = Self(2);
    /// `flag-3`, which means nothing to any scheduler here.
    pub const THIRD: Self = Self(4);

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Which clients a persistent service holds to be the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientMask {
    /// Clients that agree in these bits. IPv4.
    V4(u32),
    /// Clients that agree in that many leading bits, 1 to 128. IPv6.
    V6(u8),
}

impl ClientMask {
    /// Every client is one of its own.
    #[must_use]
    pub const fn whole(ipv6: bool) -> Self {
        if ipv6 { Self::V6(128) } else { Self::V4(u32::MAX) }
    }

    /// Whether it distinguishes all clients.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::V4(u32::MAX) | Self::V6(128))
    }
}

/// A client's connections go to the server of its first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Persistence {
    /// For how long after the last of them, 1 s to 31 days. Default of `ipvsadm -p`: 360 s.
    pub timeout: Duration,
    /// Which clients are held to be one.
    pub mask: ClientMask,
}

/// A virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceConfig {
    /// What traffic it takes.
    pub key: ServiceKey,
    /// How it picks real servers.
    pub scheduler: SchedulerKind,
    /// Flags for the scheduler.
    pub flags: SchedulerFlags,
    /// Whether and how clients stay with a server. Default no.
    pub persistence: Option<Persistence>,
    /// Schedule every packet anew and remember none (`-o`). UDP only, or a mark, where it counts for UDP. Default off.
    pub one_packet: bool,
    /// Time-outs of this service's connections. Default: those of the director. IPVS has only those, and people wait
    /// 300 s for the wrong UDP server.
    pub timeouts: Option<Timeouts>,
    /// A server that is added, or whose weight was 0, starts with a small part of its weight and has all of it after this
    /// long. Default: at once, as IPVS, which buries a fresh server under least-connection schedulers.
    pub slow_start: Option<Duration>,
}

impl ServiceConfig {
    /// A service with this key and scheduler and no further options.
    #[must_use]
    pub const fn new(key: ServiceKey, scheduler: SchedulerKind) -> Self {
        Self {
            key,
            scheduler,
            flags: SchedulerFlags::NONE,
            persistence: None,
            one_packet: false,
            timeouts: None,
            slow_start: None,
        }
    }

    /// The same with persistence.
    #[must_use]
    pub const fn persistent(mut self, timeout: Duration, mask: ClientMask) -> Self {
        self.persistence = Some(Persistence { timeout, mask });
        self
    }
}

/// How a frame reaches its real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ForwardingMethod {
    /// Direct routing: only the Ethernet addresses change. The real server holds the VIP and answers
    /// the client itself.
    #[default]
    DirectRouting,
}

impl ForwardingMethod {
    /// As `ipvsadm -L` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DirectRouting => "Route",
        }
    }
}

/// A real server of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationConfig {
    /// Its own address (RIP), of the service's family.
    pub address: IpAddr,
    /// Its port. Under direct routing no port can be mapped: it is always the service's, and
    /// [`Change::AddDestination`](super::Change::AddDestination) sets it so, as IPVS does.
    pub port: u16,
    /// Its share of new connections relative to its peers, 0 to 2,147,483,647. 0: no new connections,
    /// established ones go on.
    pub weight: u32,
    /// How frames reach it.
    pub forwarding: ForwardingMethod,
    /// With that many connections it is overloaded and gets no new ones (`-x`). 0: never.
    pub upper_threshold: u32,
    /// An overloaded server gets new connections again when it has fewer than that many (`-y`); 0: fewer than three
    /// quarters of the upper threshold. Not above the upper one.
    pub lower_threshold: u32,
}

impl DestinationConfig {
    /// The largest weight; IPVS keeps weights in a signed 32-bit number.
    pub const MAX_WEIGHT: u32 = i32::MAX as u32;

    /// A directly routed server of weight 1.
    #[must_use]
    pub const fn new(address: IpAddr, port: u16) -> Self {
        Self {
            address,
            port,
            weight: 1,
            forwarding: ForwardingMethod::DirectRouting,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }

    /// The same with another weight.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The same with thresholds.
    #[must_use]
    pub const fn thresholds(mut self, upper: u32, lower: u32) -> Self {
        self.upper_threshold = upper;
        self.lower_threshold = lower;
        self
    }
}
