//! Virtual services and their real servers, as they are configured.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// A transport protocol that can be balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// As `ipvsadm` prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
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
        /// The port, 1 to 65535.
        port: u16,
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
}

impl fmt::Display for ServiceKey {
    /// As in `TCP 192.168.0.250:80` or `UDP [fd00::10]:53`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address { protocol, address, port } => {
                write!(f, "{protocol} {}", core::net::SocketAddr::new(address, port))
            }
        }
    }
}

/// Which rule picks the real server of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchedulerKind {
    /// Round robin: each in turn.
    RoundRobin,
    /// Weighted round robin: each in turn, heavier ones more often.
    WeightedRoundRobin,
}

impl SchedulerKind {
    /// Every scheduler there is.
    pub const ALL: &'static [Self] = &[Self::RoundRobin, Self::WeightedRoundRobin];

    /// The name that `ipvsadm -s` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin => "wrr",
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
#[error("no such scheduler: expected rr or wrr")]
pub struct UnknownSchedulerError;

impl FromStr for SchedulerKind {
    type Err = UnknownSchedulerError;

    fn from_str(name: &str) -> Result<Self, UnknownSchedulerError> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or(UnknownSchedulerError)
    }
}

/// A virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceConfig {
    /// What traffic it takes.
    pub key: ServiceKey,
    /// How it picks real servers.
    pub scheduler: SchedulerKind,
}

impl ServiceConfig {
    /// A service with this key and scheduler and no further options.
    #[must_use]
    pub const fn new(key: ServiceKey, scheduler: SchedulerKind) -> Self {
        Self { key, scheduler }
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
}

impl DestinationConfig {
    /// The largest weight; IPVS keeps weights in a signed 32-bit number.
    pub const MAX_WEIGHT: u32 = i32::MAX as u32;

    /// A directly routed server of weight 1.
    #[must_use]
    pub const fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port, weight: 1, forwarding: ForwardingMethod::DirectRouting }
    }

    /// The same with another weight.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }
}
