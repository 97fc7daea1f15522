//! How real servers are, as health checks see them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Key;

/// A service whose real servers are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthService {
    /// The service.
    pub service: Key,
    /// The weight that is up.
    pub weight_up: u64,
    /// Whether that is enough.
    pub quorum: bool,
    /// Whether the sorry server stands in.
    pub sorry: bool,
    /// Its real servers in the order of the configuration, the sorry server last.
    pub servers: Vec<HealthServer>,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthServer {
    /// Its address.
    pub address: IpAddr,
    /// `up`, `down`, `assumed_up`, `assumed_down`, `held` (it went up and down too often), `forced_up`, `forced_down`,
    /// `maintenance`; of a sorry server `waiting` or `in_use`.
    pub state: String,
    /// For how many seconds.
    pub since: u64,
    /// The weight it has in the director; nothing while it is out of the service.
    pub weight: Option<u32>,
    /// Why it is down, or what its latest failure was.
    pub reason: Option<String>,
    /// For how many seconds a held server is held yet.
    pub held_for: Option<u64>,
    /// Its checks.
    pub checks: Vec<HealthCheck>,
}

/// A check of a real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What is asked, in words.
    pub check: String,
    /// Whether the server is up as far as this check goes.
    pub up: bool,
    /// How many seconds ago it was asked last; nothing before the first answer.
    pub last: Option<u64>,
    /// Results in a row that speak against the state, and how many it takes to change it.
    pub progress: (u32, u32),
    /// Why the latest one failed, or could not be asked.
    pub failure: Option<String>,
}

/// What an operator says of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForcedState {
    /// It is up, whatever its checks say.
    Up,
    /// It is down.
    Down,
    /// It is being worked on: no new connections.
    Maintenance,
    /// Nothing any more: its checks count.
    None,
}

impl ForcedState {
    /// All of them with their names on the command line.
    pub const NAMES: [(&'static str, Self); 4] =
        [("up", Self::Up), ("down", Self::Down), ("maintenance", Self::Maintenance), ("none", Self::None)];
}
