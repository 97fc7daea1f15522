//! What is checked, how often, and what follows from it: plain values with documented defaults.
//!
//! Every structure can be filled from a file of any grammar. How keepalived's words map onto them is in the crate's README.

#[cfg(feature = "regex")]
mod pattern;
mod probe;
mod service;
mod timing;

#[cfg(feature = "regex")]
pub(crate) use pattern::PatternSearch;
#[cfg(feature = "regex")]
pub use pattern::{Pattern, PatternError, PatternOptions};
pub use probe::{
    BodyMatch, CommandProbe, DnsProbe, HttpProbe, HttpVersion, PathMethod, PathProbe, Probe, SocketMethod,
    SocketProbe, TlsProbe, Trust, UdpProbe, UdpReply,
};
pub use service::{CheckConfig, OnDown, Quorum, ServerHealth, ServiceHealth};
pub use timing::{Assume, Damping, Timing};

/// What is fixed for a monitor's life. All memory for state is taken when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonitorConfig {
    /// The most services. Default 1024.
    pub max_services: u32,
    /// The most real servers, over all services, sorry servers included. Default 8192.
    pub max_servers: u32,
    /// The most checks. Default 8192.
    pub max_checks: u32,
    /// The most probes under way at a time; others start late. Raise it if a listing says that they do: a probe of a dead
    /// server lasts its whole time-out. Default 1024.
    pub max_in_flight: u32,
    /// Seed of jitter and spread. Two directors with different seeds do not probe in step.
    pub seed: u64,
}

impl MonitorConfig {
    /// The defaults with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { max_services: 1024, max_servers: 8192, max_checks: 8192, max_in_flight: 1024, seed }
    }
}

/// Why a configuration is refused: the field, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Interval out of range.
    #[error("interval is out of range: 10 ms to 1 day")]
    Interval,
    /// Time-out out of range.
    #[error("timeout is out of range: 1 ms to 10 minutes")]
    Timeout,
    /// Retry delay out of range.
    #[error("retry_delay is longer than 1 day")]
    RetryDelay,
    /// Warm-up out of range.
    #[error("warmup is longer than 1 day")]
    Warmup,
    /// Fall count out of range.
    #[error("fall is out of range: 1 to 1000")]
    Fall,
    /// Rise count out of range.
    #[error("rise is out of range: 1 to 1000")]
    Rise,
    /// Jitter out of range.
    #[error("jitter_percent is out of range: 0 to 50")]
    Jitter,
    /// Damping that never holds, never ends, or lasts too long.
    #[error("damping needs reuse < suppress < max, and max at most 1 day")]
    Damping,
    /// Hysteresis without sense.
    #[error("hysteresis must be smaller than quorum")]
    Hysteresis,
    /// The same service twice.
    #[error("a service is given twice")]
    ServiceTwice,
    /// The same server twice in a service.
    #[error("a service has a real server twice, or its sorry server is one of its real servers")]
    ServerTwice,
    /// A server of the other family.
    #[error("a real server is not of the service's address family")]
    Family,
    /// A weight out of range.
    #[error("a weight is larger than 2147483647")]
    Weight,
    /// A drain out of range.
    #[error("the deadline of a drain is longer than 31 days")]
    DrainDeadline,
    /// A path probe of something that is not a TCP service's VIP.
    #[error(
        "a probe through the DR path needs a TCP port and a VIP of the service's family: set vip and port, or use sockets"
    )]
    PathTarget,
    /// A socket probe without a port.
    #[error("a probe over sockets needs a port here: set port")]
    SocketTarget,
    /// A source port of what has none.
    #[error("neither a ping nor a command has a source port: leave it out")]
    SourcePort,
    /// An HTTP path that cannot be sent.
    #[error(
        "http path must begin with /, be at most 1024 long and have neither spaces nor control characters"
    )]
    HttpPath,
    /// An HTTP host that cannot be sent.
    #[error("http host must be 1 to 255 printable characters without spaces")]
    HttpHost,
    /// Status ranges that nothing satisfies.
    #[error("http status needs at least one range, and none that ends before it begins")]
    HttpStatus,
    /// A text to look for that is empty or long.
    #[error("http body text must be 1 to 1024 bytes")]
    HttpBody,
    /// A body limit that is too high.
    #[error("http body_limit is larger than 16 MiB")]
    HttpBodyLimit,
    /// An empty list of authorities.
    #[error("tls trust needs at least one certificate; to check none, say so")]
    NoAuthorities,
    /// A UDP payload that is too long.
    #[error("udp payload is longer than 1400 bytes")]
    UdpPayload,
    /// A name that is not one.
    #[error("dns name must be labels of 1 to 63 characters, 253 in all, or a dot")]
    DnsName,
    /// A command that cannot be started.
    #[error("command needs a program, and no argument with a zero byte")]
    Command,
    /// Too many services.
    #[error("no room for another service: raise max_services")]
    TooManyServices,
    /// Too many servers.
    #[error("no room for another real server: raise max_servers")]
    TooManyServers,
    /// Too many checks.
    #[error("no room for another check: raise max_checks")]
    TooManyChecks,
}

/// A configuration was refused; the monitor goes on as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {error}")]
pub struct ConfigureError {
    /// Which service and, where it is one's fault, which server.
    pub place: String,
    /// What is wrong.
    pub error: ConfigError,
}
