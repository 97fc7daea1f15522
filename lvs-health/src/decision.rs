//! What a director is to do with a real server, as an edit of its configuration.

use lvs_core::config::{Change, DestinationConfig, ServiceKey};

use crate::config::OnDown;

/// Whether a server is to get new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// With this weight.
    In(u32),
    /// Not, in this way. Never [`OnDown::Automatic`].
    Out(OnDown),
}

/// How the director has a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    Absent,
    Present { config: DestinationConfig, draining: bool },
}

impl Membership {
    /// The weight it has, if it is there.
    pub(crate) const fn weight(&self) -> Option<u32> {
        match self {
            Self::Absent => None,
            Self::Present { config, .. } => Some(config.weight),
        }
    }

    /// What it is to be after an admission.
    pub(crate) fn after(&self, config: DestinationConfig, admission: Admission) -> Self {
        match admission {
            Admission::In(weight) => Self::Present { config: config.weight(weight), draining: false },
            Admission::Out(OnDown::Remove) => Self::Absent,
            Admission::Out(OnDown::Drain(_)) => Self::Present {
                config: config.weight(0),
                // Who had no weight has nothing to drain.
                draining: matches!(self, Self::Present { config, draining } if *draining || config.weight > 0),
            },
            Admission::Out(OnDown::Quiesce | OnDown::Automatic) => {
                Self::Present { config: config.weight(0), draining: false }
            }
        }
    }
}

/// One edit that the monitor wants of the director.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the monitor takes a decision for carried out once it has been fetched"]
pub struct Decision {
    /// The service.
    pub service: ServiceKey,
    /// The real server, with the weight it is to have.
    pub destination: DestinationConfig,
    /// The edit, for [`Director::apply`](lvs_core::Director::apply). It concerns this server only.
    pub change: Change,
    /// How it was, so that a refused edit can be taken back.
    pub(crate) before: Membership,
}

impl Decision {
    /// The edit that leads from one to the other. `None` if there is nothing to do.
    pub(crate) fn between(
        service: ServiceKey,
        config: DestinationConfig,
        before: Membership,
        after: Membership,
        admission: Admission,
    ) -> Option<Self> {
        let (address, port) = (config.address, service.port());
        let (destination, change) = match (before, after) {
            _ if before == after => return None,
            (Membership::Absent, Membership::Present { config, .. }) => {
                (config, Change::AddDestination(service, config))
            }
            (_, Membership::Absent) => {
                (config.weight(0), Change::RemoveDestination { service, address, port })
            }
            (Membership::Present { draining: false, .. }, Membership::Present { config, draining: true }) => {
                let Admission::Out(OnDown::Drain(deadline)) = admission else {
                    return None;
                };
                (config, Change::DrainDestination { service, address, port, deadline })
            }
            (_, Membership::Present { config, .. }) => (config, Change::EditDestination(service, config)),
        };
        Some(Self { service, destination, change, before })
    }
}
