//! What a new configuration would do to a running director.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Key;
use crate::config::difference::{Difference, Kind};
use crate::config::forecast::{Fate, Forecast};

/// The difference, and what becomes of those who are connected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// What differs.
    pub edits: Vec<PlanEdit>,
    /// What the operator should know all the same.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Why it would be refused; nothing if it would be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The services that run, and what becomes of their connections.
    pub services: Vec<ServicePlan>,
}

/// Something that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEdit {
    /// What becomes of it.
    pub kind: PlanKind,
    /// What it is about: `service TCP 192.0.2.1:80`.
    pub subject: String,
    /// The values.
    pub text: String,
}

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlanKind {
    /// It comes.
    Added,
    /// It goes.
    Removed,
    /// It stays with other values.
    Changed,
    /// It would change only with a restart.
    Restart,
    /// The order of a service's servers stays, though a fresh start would change it.
    OrderKept,
}

/// What becomes of a service's connections; see [`Fate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// The service.
    pub service: Key,
    /// Connections that nothing happens to.
    pub stay: u64,
    /// Connections that go on, while their client's next one goes to another server.
    #[serde(rename = "move")]
    pub moves: u64,
    /// Connections that end, since their server leaves.
    pub end: u64,
    /// The share of all clients that a hash gives to another server.
    pub clients_moved: Option<f64>,
}

impl Plan {
    /// This difference, and what was forecast of it.
    #[must_use]
    pub fn new(difference: &Difference, forecast: &Forecast<'_>) -> Self {
        let edits = difference.edits.iter().map(|edit| {
            let (kind, text) = match &edit.kind {
                Kind::Added(text) => (PlanKind::Added, text.clone()),
                Kind::Removed(text) => (PlanKind::Removed, text.clone()),
                Kind::Changed { .. } => (PlanKind::Changed, edit.fields_text()),
            };
            PlanEdit { kind, subject: edit.subject.to_string(), text }
        });
        let fixed = difference.fixed.iter().map(|change| PlanEdit {
            kind: PlanKind::Restart,
            subject: change.field.clone(),
            text: format!("{} -> {}", change.old, change.new),
        });
        let order = difference.order_kept.iter().map(|key| PlanEdit {
            kind: PlanKind::OrderKept,
            subject: format!("service {key}"),
            text: "the real servers keep their order, which a fresh start would change".to_owned(),
        });
        Self {
            edits: edits.chain(fixed).chain(order).collect(),
            services: forecast.fates().map(ServicePlan::from).collect(),
            ..Self::default()
        }
    }
}

impl From<Fate> for ServicePlan {
    fn from(fate: Fate) -> Self {
        let Fate { service, stay, moves, end, clients_moved } = fate;
        Self { service: service.into(), stay, moves, end, clients_moved }
    }
}

/// Lines: `+`, `-`, `~` or `!`, then the connections of each service.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PlanEdit { kind, subject, text } in &self.edits {
            match kind {
                PlanKind::Added => writeln!(f, "+ {subject}: {text}")?,
                PlanKind::Removed => writeln!(f, "- {subject}: {text}")?,
                PlanKind::Changed => writeln!(f, "~ {subject}: {text}")?,
                PlanKind::Restart => {
                    writeln!(f, "! {subject} {text}: takes a restart, and stays as it is until then")?;
                }
                PlanKind::OrderKept => writeln!(f, "! {subject}: {text}")?,
            }
        }
        if self.edits.is_empty() {
            writeln!(f, "nothing differs")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        self.services.iter().try_for_each(|service| writeln!(f, "{service}"))?;
        self.refused.iter().try_for_each(|why| writeln!(f, "refused: {why}"))
    }
}

impl fmt::Display for ServicePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, stay, moves, end, clients_moved } = self;
        let key = lvs_core::config::ServiceKey::from(*service);
        write!(f, "{key}: connections: {stay} stay, {end} end")?;
        if let Some(share) = clients_moved {
            write!(
                f,
                "; {moves} go on, but their clients go elsewhere next time, as {:.1} % of all clients do",
                share * 100.0
            )?;
        }
        Ok(())
    }
}
