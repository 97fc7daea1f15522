//! What is not the director's to know: health, neighbours, devices, batches. The program that runs it says so, in these values.

use std::net::IpAddr;
use std::time::SystemTime;

use lvs_core::MacAddr;
use lvs_core::config::{DestinationConfig, ServiceKey};
use lvs_core::io::IoStatistics;
use serde::Serialize;

/// Everything that is shown besides what a director counts itself. What is not known stays empty or `None`, and is not shown.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What the health checks say; `None` where nobody checks.
    pub health: Option<HealthReport>,
    /// The neighbour table; `None` where it is not known.
    pub neighbours: Option<Vec<NeighbourReport>>,
    /// The devices that carry frames.
    pub devices: Vec<DeviceReport>,
    /// How many frames came at a time, since the start: at place `i` the number of batches of `i + 1` frames. Empty where nobody
    /// counts.
    pub batches: Vec<u64>,
}

/// What health checks say.
#[derive(Debug, Clone, Default)]
pub struct HealthReport {
    /// Every server that is checked. One that its service has not got at the moment is shown all the same.
    pub servers: Vec<ServerReport>,
    /// Every service that is checked.
    pub services: Vec<ServiceReport>,
    /// Counters.
    pub probes: Probes,
}

/// What checks say about a server.
#[derive(Debug, Clone)]
pub struct ServerReport {
    /// Its service.
    pub service: ServiceKey,
    /// The server as it was configured, with the weight that it has when it is up.
    pub destination: DestinationConfig,
    /// How it is.
    pub state: HealthState,
    /// Why it is down, or what its latest failure was. May have come from the network: it is shown as text, never as anything else.
    pub reason: Option<String>,
    /// Since when it is so.
    pub since: Option<SystemTime>,
    /// SYNs that clients had to repeat to it since the start; `None` where nobody counts.
    pub unanswered: Option<u64>,
}

/// What checks say about a service.
#[derive(Debug, Clone, Copy)]
pub struct ServiceReport {
    /// The service.
    pub service: ServiceKey,
    /// Whether enough of its servers are up.
    pub quorum: bool,
    /// Whether its sorry server is in use.
    pub sorry: bool,
}

/// Counters of health checks since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Probes {
    /// Probes started.
    pub started: u64,
    /// Of them, those that succeeded.
    pub successes: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that could not be carried out.
    pub undecided: u64,
    /// Those that did not end in time; they count as failures, too.
    pub overdue: u64,
    /// Those that started late, because as many others were under way as may be.
    pub late: u64,
    /// Probes that started early because a client had repeated its SYN.
    pub suspicions: u64,
}

macro_rules! states {
    ($enum:ident, $what:literal: $( $(#[$doc:meta])* $name:ident = $slug:literal, )*) => {
        #[doc = $what]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[non_exhaustive]
        pub enum $enum { $( $(#[$doc])* #[serde(rename = $slug)] $name, )* }

        impl $enum {
            /// All of them.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The stable name for metrics and JSON: lower case, underscores.
            #[must_use]
            pub const fn slug(self) -> &'static str {
                match self { $( Self::$name => $slug, )* }
            }

            /// The one with that name.
            #[must_use]
            pub fn from_slug(slug: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.slug() == slug)
            }
        }
    };
}

states! { HealthState, "How a server is. The names are those of `lvs-health`'s server states, and one more.":
    /// No check looks at it.
    Unchecked = "unchecked",
    /// Nothing is known yet; it is held to be up.
    AssumedUp = "assumed_up",
    /// Nothing is known yet; it is held to be down.
    AssumedDown = "assumed_down",
    /// Up.
    Up = "up",
    /// Down.
    Down = "down",
    /// Its checks say up, but it went up and down too often lately.
    Held = "held",
    /// An operator says that it is up.
    ForcedUp = "forced_up",
    /// An operator says that it is down.
    ForcedDown = "forced_down",
    /// It is being worked on.
    Maintenance = "maintenance",
    /// A sorry server that is not needed.
    Waiting = "waiting",
    /// A sorry server in use.
    InUse = "in_use",
}

impl HealthState {
    /// Whether it may have clients, as far as health goes.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Unchecked | Self::AssumedUp | Self::Up | Self::ForcedUp | Self::InUse)
    }
}

/// A neighbour: a real server or a gateway.
#[derive(Debug, Clone)]
pub struct NeighbourReport {
    /// Its IP address.
    pub address: IpAddr,
    /// The device behind which it is.
    pub device: String,
    /// Its Ethernet address, as far as known.
    pub mac: Option<MacAddr>,
    /// How well.
    pub state: NeighbourState,
    /// Frames that wait for the address.
    pub waiting: u32,
}

states! { NeighbourState, "How well a neighbour's Ethernet address is known.":
    /// Confirmed lately.
    Reachable = "reachable",
    /// Known, and being confirmed.
    Stale = "stale",
    /// Being asked for.
    Asking = "asking",
    /// It does not answer.
    Lost = "lost",
    /// Fixed by the operator.
    Fixed = "fixed",
}

/// A device that carries frames, with what all its sockets or queues have counted.
#[derive(Debug, Clone)]
pub struct DeviceReport {
    /// Its name.
    pub name: String,
    /// Whether it carries frames.
    pub up: bool,
    /// What was counted since the start.
    pub frames: IoStatistics,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_found_by_their_names() {
        for state in HealthState::ALL {
            assert_eq!(HealthState::from_slug(state.slug()), Some(*state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.slug());
        }
        for state in NeighbourState::ALL {
            assert_eq!(NeighbourState::from_slug(state.slug()), Some(*state));
        }
        assert_eq!(HealthState::from_slug("UP"), None);
    }
}
