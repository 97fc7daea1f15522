//! Services, connections and counters as JSON: what `--json` prints and the control socket carries.
//!
//! Each value of `lvs-core` that operators see has a twin here that can be written and read; both ways are `From` and
//! `TryFrom`, so that a client can print a listing as the director would have. Times are whole seconds, rounded up, but for
//! `expires_in`, which is rounded down as in listings. Field names are those of `ipvsadm`'s options and columns, spelled out.

mod connection;
mod explained;
mod health;
mod plan;
mod service;

pub use connection::{Connection, Usage};
pub use explained::{Explained, Sent};
pub use health::{ForcedState, HealthCheck, HealthServer, HealthService};
pub use plan::{Plan, PlanEdit, PlanKind, ServicePlan};
pub use service::{Key, Persistence, Rates, Server, Service, Statistics, Timeouts};

/// A value that was read is none that a director could have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text:?} is not {expected}")]
pub struct ValueError {
    /// The field.
    pub field: &'static str,
    /// What stands there.
    pub text: String,
    /// What should.
    pub expected: &'static str,
}

impl ValueError {
    fn new(field: &'static str, text: impl ToString, expected: &'static str) -> Self {
        Self { field, text: text.to_string(), expected }
    }
}

#[cfg(test)]
mod tests;
