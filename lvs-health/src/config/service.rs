//! A service with its servers, their checks, and what a failure leads to.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lvs_core::config::{
    DestinationConfig, Protocol, SchedulerFlags, SchedulerKind, ServiceConfig, ServiceKey,
};

use super::{ConfigError, ConfigureError, Damping, Probe, SocketMethod, Timing};

/// What becomes of a server that is down.
///
/// A server that is removed and added again is the *last added* one, as in IPVS: round robin and ties begin with it, and `sh` deals
/// its buckets anew. Weight 0 keeps its place, and keeps the director asking for its Ethernet address, which probes need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDown {
    /// [`Quiesce`](Self::Quiesce), but [`Remove`](Self::Remove) for `sh`, `mh` and `dh` without a fallback: with these the clients
    /// that a hash gives to a server of weight 0 are refused. The default.
    #[default]
    Automatic,
    /// Weight 0 (`inhibit_on_failure`): no new connections; established ones are left alone.
    Quiesce,
    /// Weight 0, and what is left of its connections ends with RST after this long; at most 31 days.
    Drain(Duration),
    /// Out of the service, as keepalived does without `inhibit_on_failure`. What becomes of its connections is the director's
    /// `expire_nodest_conn`.
    Remove,
}

impl OnDown {
    /// What it means for a service.
    #[must_use]
    pub fn resolve(self, service: &ServiceConfig) -> Self {
        if self != Self::Automatic {
            return self;
        }
        let fallback = service.flags.contains(SchedulerFlags::FALLBACK);
        match service.scheduler {
            SchedulerKind::SourceHashing | SchedulerKind::Maglev if !fallback => Self::Remove,
            SchedulerKind::DestinationHashing => Self::Remove,
            _ => Self::Quiesce,
        }
    }
}

/// How much weight must be up for a service to count as well.
///
/// With a sorry server, losing the quorum sends everybody there, and gaining it sends everybody back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// The sum of weights needed (`quorum`). Default 1: one server.
    pub weight: u32,
    /// Lost below `weight - hysteresis`, gained at `weight + hysteresis`. Smaller than the weight. Default 0.
    pub hysteresis: u32,
}

impl Default for Quorum {
    fn default() -> Self {
        Self { weight: 1, hysteresis: 0 }
    }
}

/// One check: what to ask, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// What to ask. Shared, so that handing it to a prober costs nothing.
    pub probe: Arc<Probe>,
    /// When.
    pub timing: Timing,
}

impl CheckConfig {
    /// This probe at the default times.
    #[must_use]
    pub fn new(probe: Probe) -> Self {
        Self { probe: Arc::new(probe), timing: Timing::default() }
    }

    /// The same at other times.
    #[must_use]
    pub const fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }
}

/// A real server and its checks. It is up while all of them say so; without checks it always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// As the director is to have it while it is up.
    pub destination: DestinationConfig,
    /// Its checks.
    pub checks: Vec<CheckConfig>,
    /// What becomes of it when it is down. Default: what the service says.
    pub on_down: Option<OnDown>,
}

impl ServerHealth {
    /// A server with these checks.
    #[must_use]
    pub const fn new(destination: DestinationConfig, checks: Vec<CheckConfig>) -> Self {
        Self { destination, checks, on_down: None }
    }
}

/// A virtual service whose real servers a monitor looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceHealth {
    /// The service, as the director has it.
    pub service: ServiceConfig,
    /// Its real servers, in the order in which they are to be added.
    pub servers: Vec<ServerHealth>,
    /// What becomes of a server that is down.
    pub on_down: OnDown,
    /// How much must be up.
    pub quorum: Quorum,
    /// The server that says sorry while the quorum is lost. It is not checked.
    pub sorry: Option<DestinationConfig>,
    /// Flap damping; `None` for none. On by default.
    pub damping: Option<Damping>,
}

impl ServiceHealth {
    /// A service with these servers and the defaults.
    #[must_use]
    pub fn new(service: ServiceConfig, servers: Vec<ServerHealth>) -> Self {
        Self {
            service,
            servers,
            on_down: OnDown::Automatic,
            quorum: Quorum::default(),
            sorry: None,
            damping: Some(Damping::default()),
        }
    }

    /// Looks for mistakes within the service.
    pub(crate) fn validate(&self) -> Result<(), ConfigureError> {
        let at = |error| ConfigureError { place: self.service.key.to_string(), error };
        if self.quorum.hysteresis > 0 && self.quorum.hysteresis >= self.quorum.weight {
            return Err(at(ConfigError::Hysteresis));
        }
        self.damping.as_ref().map_or(Ok(()), Damping::validate).map_err(at)?;
        validate_on_down(self.on_down).map_err(at)?;
        if let Some(sorry) = &self.sorry {
            self.validate_destination(sorry).map_err(at)?;
        }
        for (index, server) in self.servers.iter().enumerate() {
            let key = server_key(&self.service.key, &server.destination);
            let at = |error| ConfigureError { place: format!("{}, {}", self.service.key, key.0), error };
            let before = self.servers.iter().take(index).map(|other| &other.destination);
            if before.chain(&self.sorry).any(|other| server_key(&self.service.key, other) == key) {
                return Err(at(ConfigError::ServerTwice));
            }
            self.validate_server(server).map_err(at)?;
        }
        Ok(())
    }

    fn validate_server(&self, server: &ServerHealth) -> Result<(), ConfigError> {
        self.validate_destination(&server.destination)?;
        server.on_down.map_or(Ok(()), validate_on_down)?;
        for check in &server.checks {
            check.timing.validate()?;
            check.probe.validate()?;
            self.validate_target(&check.probe)?;
        }
        Ok(())
    }

    fn validate_destination(&self, destination: &DestinationConfig) -> Result<(), ConfigError> {
        if destination.address.is_ipv6() != self.service.key.is_ipv6() {
            return Err(ConfigError::Family);
        }
        if destination.weight > DestinationConfig::MAX_WEIGHT {
            return Err(ConfigError::Weight);
        }
        Ok(())
    }

    /// Whether a probe knows whom to ask.
    fn validate_target(&self, probe: &Probe) -> Result<(), ConfigError> {
        let key = &self.service.key;
        match probe {
            Probe::Path(path) => {
                let tcp = !matches!(key, ServiceKey::Address { protocol, .. } if *protocol != Protocol::Tcp);
                let vip = path.vip.or(key.address()).is_some_and(|vip| vip.is_ipv6() == key.is_ipv6());
                let port = path.port.unwrap_or(key.port()) != 0;
                // A service of another protocol may well be probed at a TCP port that is named.
                if vip && port && (tcp || path.port.is_some()) {
                    Ok(())
                } else {
                    Err(ConfigError::PathTarget)
                }
            }
            Probe::Socket(socket) => match socket.method {
                SocketMethod::Ping | SocketMethod::Command(_) => Ok(()),
                _ if socket.port.unwrap_or(key.port()) != 0 => Ok(()),
                _ => Err(ConfigError::SocketTarget),
            },
        }
    }
}

fn validate_on_down(on_down: OnDown) -> Result<(), ConfigError> {
    match on_down {
        OnDown::Drain(deadline) if deadline > Duration::from_secs(31 * 86_400) => {
            Err(ConfigError::DrainDeadline)
        }
        _ => Ok(()),
    }
}

/// What tells servers of a service apart. Under direct routing the port is the service's (0 for a mark), whatever was written.
pub(crate) const fn server_key(service: &ServiceKey, destination: &DestinationConfig) -> (IpAddr, u16) {
    (destination.address, service.port())
}
