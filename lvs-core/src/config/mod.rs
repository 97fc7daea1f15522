//! What a director is told: plain data with documented defaults, checked as a whole before use.
//!
//! [`DirectorConfig`] is fixed for a director's life (interfaces, capacities). Everything else is edited
//! while it runs, by lists of [`Change`]s that are carried out whole or not at all.

mod change;
mod director;
mod mark;
mod probe;
mod service;

pub use change::{ApplyError, Change, ChangeError};
pub use director::{
    ConfigError, DirectorConfig, InterfaceConfig, InterfaceId, Knobs, OnMiss, Timeouts, VlanPath,
};
pub use mark::{MAX_PORT_RANGES, MarkRule, PortRange, PortRanges};
pub use probe::ProbeConfig;
pub use service::{
    ClientMask, DestinationConfig, ForwardingMethod, Persistence, Protocol, SchedulerFlags, SchedulerKind,
    ServiceConfig, ServiceKey, UnknownSchedulerError,
};
