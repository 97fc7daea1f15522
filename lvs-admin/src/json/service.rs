//! Services with their real servers.

use std::net::IpAddr;
use std::time::Duration;

use lvs_core::config::{
    self, ClientMask, DestinationConfig, ForwardingMethod, Protocol, ServiceConfig, ServiceKey,
};
use lvs_core::listing::{self, DestinationListing, ServiceListing};
use serde::{Deserialize, Serialize};

use super::ValueError;
use crate::flags;

/// What makes a service: an address or a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Key {
    /// Traffic of one protocol to one address and port.
    Address {
        /// `tcp`, `udp` or `sctp`.
        #[serde(with = "protocol")]
        protocol: Protocol,
        /// The virtual address.
        address: IpAddr,
        /// The port; 0 for all.
        port: u16,
    },
    /// Traffic with a firewall mark.
    Mark {
        /// The mark.
        mark: u32,
        /// Whether it is IPv6.
        ipv6: bool,
    },
}

impl From<ServiceKey> for Key {
    fn from(key: ServiceKey) -> Self {
        match key {
            ServiceKey::Mark { mark, ipv6 } => Self::Mark { mark, ipv6 },
            ServiceKey::Address { protocol, address, port } => Self::Address { protocol, address, port },
            _ => Self::Mark { mark: 0, ipv6: false },
        }
    }
}

impl From<Key> for ServiceKey {
    fn from(key: Key) -> Self {
        match key {
            Key::Mark { mark, ipv6: false } => Self::mark(mark),
            Key::Mark { mark, ipv6: true } => Self::mark_v6(mark),
            Key::Address { protocol: Protocol::Udp, address, port } => Self::udp(address, port),
            Key::Address { protocol: Protocol::Sctp, address, port } => Self::sctp(address, port),
            Key::Address { address, port, .. } => Self::tcp(address, port),
        }
    }
}

/// A virtual service as configured, what it has counted, and its real servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What traffic it takes.
    #[serde(flatten)]
    pub key: Key,
    /// The name of its scheduler.
    pub scheduler: String,
    /// The names of flags for it.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Whether and how clients stay with a server.
    pub persistence: Option<Persistence>,
    /// Whether every packet is scheduled anew.
    pub one_packet: bool,
    /// Time-outs of its own.
    pub timeouts: Option<Timeouts>,
    /// Seconds until a new server has its whole weight.
    pub slow_start: Option<u64>,
    /// Totals.
    pub statistics: Statistics,
    /// Per second.
    pub rates: Rates,
    /// Its real servers in list order: last added first.
    pub servers: Vec<Server>,
}

/// How clients stay with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// Seconds.
    pub timeout: u64,
    /// How many leading bits of a client's address count, where that can be said; an IPv4 mask with holes otherwise.
    pub mask: Mask,
}

/// Which clients are held to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Mask {
    /// IPv4: `"255.255.255.0"`.
    V4(std::net::Ipv4Addr),
    /// IPv6: 64.
    V6(u8),
}

/// Time-outs in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Established TCP connections.
    pub tcp: u64,
    /// TCP connections after a FIN.
    pub tcp_fin: u64,
    /// UDP.
    pub udp: u64,
}

/// Totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of lvs_core::listing::Statistics")]
pub struct Statistics {
    pub connections: u64,
    pub in_packets: u64,
    pub out_packets: u64,
    pub in_bytes: u64,
    pub out_bytes: u64,
}

/// The same per second.
pub type Rates = Statistics;

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its own address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How frames reach it: `route`.
    pub forwarding: String,
    /// Its weight as configured.
    pub weight: u32,
    /// The weight that counts now.
    pub effective_weight: u32,
    /// With that many connections it gets no new ones; 0: never.
    pub upper_threshold: u32,
    /// With fewer it gets some again.
    pub lower_threshold: u32,
    /// Whether it is overloaded.
    pub overloaded: bool,
    /// Active connections.
    pub active: u32,
    /// Others that are remembered.
    pub inactive: u32,
    /// Templates.
    pub persistent: u32,
    /// Totals.
    pub statistics: Statistics,
    /// Per second.
    pub rates: Rates,
}

impl From<&ServiceListing> for Service {
    fn from(listing: &ServiceListing) -> Self {
        let config = &listing.config;
        let flags = flags::list(config.scheduler, config.flags);
        Self {
            key: config.key.into(),
            scheduler: config.scheduler.name().to_owned(),
            flags: flags.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            persistence: config.persistence.map(Into::into),
            one_packet: config.one_packet,
            timeouts: config.timeouts.map(Into::into),
            slow_start: config.slow_start.map(seconds),
            statistics: listing.statistics.into(),
            rates: listing.rates.into(),
            servers: listing.destinations.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<Service> for ServiceListing {
    type Error = ValueError;

    fn try_from(service: Service) -> Result<Self, ValueError> {
        let scheduler = service.scheduler.parse();
        let scheduler =
            scheduler.map_err(|_| ValueError::new("scheduler", &service.scheduler, "a scheduler"))?;
        let mut config = ServiceConfig::new(service.key.into(), scheduler);
        for name in &service.flags {
            let (flag, _, _) = flags::named(name.as_bytes())
                .ok_or_else(|| ValueError::new("flags", name, "a flag of a scheduler"))?;
            config.flags = config.flags.with(flag);
        }
        config.persistence = service.persistence.map(Into::into);
        config.one_packet = service.one_packet;
        config.timeouts = service.timeouts.map(Into::into);
        config.slow_start = service.slow_start.map(Duration::from_secs);
        let servers = service.servers.into_iter().map(TryInto::try_into);
        Ok(Self {
            config,
            statistics: service.statistics.into(),
            rates: service.rates.into(),
            destinations: servers.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&DestinationListing> for Server {
    fn from(listing: &DestinationListing) -> Self {
        let config = &listing.config;
        Self {
            address: config.address,
            port: config.port,
            forwarding: config.forwarding.name().to_ascii_lowercase(),
            weight: config.weight,
            effective_weight: listing.effective_weight,
            upper_threshold: config.upper_threshold,
            lower_threshold: config.lower_threshold,
            overloaded: listing.overloaded,
            active: listing.active,
            inactive: listing.inactive,
            persistent: listing.persistent,
            statistics: listing.statistics.into(),
            rates: listing.rates.into(),
        }
    }
}

impl TryFrom<Server> for DestinationListing {
    type Error = ValueError;

    fn try_from(server: Server) -> Result<Self, ValueError> {
        const METHODS: [ForwardingMethod; 1] = [ForwardingMethod::DirectRouting];
        let named = |method: &&ForwardingMethod| method.name().eq_ignore_ascii_case(&server.forwarding);
        let forwarding = METHODS.iter().find(named).copied();
        let forwarding =
            forwarding.ok_or_else(|| ValueError::new("forwarding", &server.forwarding, "route"))?;
        let config = DestinationConfig::new(server.address, server.port)
            .weight(server.weight)
            .thresholds(server.upper_threshold, server.lower_threshold);
        Ok(Self {
            config: DestinationConfig { forwarding, ..config },
            active: server.active,
            inactive: server.inactive,
            persistent: server.persistent,
            overloaded: server.overloaded,
            effective_weight: server.effective_weight,
            statistics: server.statistics.into(),
            rates: server.rates.into(),
        })
    }
}

impl From<config::Persistence> for Persistence {
    fn from(persistence: config::Persistence) -> Self {
        let mask = match persistence.mask {
            ClientMask::V4(mask) => Mask::V4(std::net::Ipv4Addr::from_bits(mask)),
            ClientMask::V6(length) => Mask::V6(length),
        };
        Self { timeout: seconds(persistence.timeout), mask }
    }
}

impl From<Persistence> for config::Persistence {
    fn from(persistence: Persistence) -> Self {
        let mask = match persistence.mask {
            Mask::V4(mask) => ClientMask::V4(mask.to_bits()),
            Mask::V6(length) => ClientMask::V6(length),
        };
        Self { timeout: Duration::from_secs(persistence.timeout), mask }
    }
}

impl From<config::Timeouts> for Timeouts {
    fn from(timeouts: config::Timeouts) -> Self {
        let config::Timeouts { tcp, tcp_fin, udp, .. } = timeouts;
        Self { tcp: seconds(tcp), tcp_fin: seconds(tcp_fin), udp: seconds(udp) }
    }
}

impl From<Timeouts> for config::Timeouts {
    fn from(timeouts: Timeouts) -> Self {
        let Timeouts { tcp, tcp_fin, udp } = timeouts;
        let whole = Duration::from_secs;
        Self { tcp: whole(tcp), tcp_fin: whole(tcp_fin), udp: whole(udp) }
    }
}

macro_rules! counters {
    ($($theirs:ty),*) => { $(
        impl From<$theirs> for Statistics {
            fn from(of: $theirs) -> Self {
                Self {
                    connections: of.connections,
                    in_packets: of.in_packets,
                    out_packets: of.out_packets,
                    in_bytes: of.in_bytes,
                    out_bytes: of.out_bytes,
                }
            }
        }

        impl From<Statistics> for $theirs {
            fn from(of: Statistics) -> Self {
                Self {
                    connections: of.connections,
                    in_packets: of.in_packets,
                    out_packets: of.out_packets,
                    in_bytes: of.in_bytes,
                    out_bytes: of.out_bytes,
                }
            }
        }
    )* };
}
counters!(listing::Statistics, listing::Rates);

/// Whole seconds, rounded up.
const fn seconds(time: Duration) -> u64 {
    time.as_secs() + (time.subsec_nanos() > 0) as u64
}

/// A protocol by its name in lower case.
pub(super) mod protocol {
    use lvs_core::config::Protocol;
    use serde::{Deserialize, Deserializer, Serializer, de};

    const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    pub(crate) fn serialize<S: Serializer>(protocol: &Protocol, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&protocol.name().to_ascii_lowercase())
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Protocol, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = ALL.iter().find(|protocol| protocol.name().to_ascii_lowercase() == name);
        found.copied().ok_or_else(|| de::Error::custom(format!("{name:?} is not tcp, udp or sctp")))
    }
}
