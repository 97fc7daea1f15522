//! One configuration of a director, whichever file it came from.
//!
//! ```text
//!  lvs.toml ────────► toml::read ───────┐
//!  keepalived.conf ─► keepalived::read ─┼─► Loaded { Configuration, notices, where each part stands }
//!  rules.ipvs ──────► from_rules ───────┘            │
//!                                                    ├─► difference(old, new) ─► Changes, a summary
//!                                                    └─► toml::write, health::listing, model
//! ```
//!
//! [`Configuration`] is plain data: nothing in it is a handle. What a file does not say has its documented default, so two
//! configurations can be held against each other field by field. [`difference`](fn@difference) tells how to get from one
//! to the other while a director runs, and what of it takes a restart; [`forecast`] tells what that does to those who are
//! connected.
//!
//! It opens no files, asks no kernel and checks no real server. Whether an interface exists, or a real server can be reached
//! through one, is for the program that starts the director.

mod assembly;
pub mod difference;
pub(crate) mod duration;
mod error;
pub mod forecast;
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub(crate) mod nearest;
pub mod toml;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use lvs_core::config::{
    ApplyError, Change, DestinationConfig, DirectorConfig, Knobs, MarkRule, ServiceConfig, Timeouts, VlanPath,
};
use lvs_core::{MacAddr, Subnet};

pub use self::assembly::Loaded;
pub(crate) use self::assembly::{Assembly, cure};
pub use self::difference::{Difference, ServerOrder, difference};
pub(crate) use self::error::excerpt;
pub use self::error::{FileError, Notice, Place};
pub use self::health::{Check, ServiceHealth};
use crate::model::{self, Model};
use crate::rules::{self, RulesError};

/// Everything that a director is told. The default has no interface and no service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// How frames reach the director: the name of a backend, which the program that runs it knows. Default `afpacket`.
    pub io: String,
    /// How many threads take frames. Default 1.
    pub workers: NonZeroU16,
    /// Start although the host's kernel holds a VIP. Default no.
    pub allow_local_vip: bool,
    /// The addresses that checks come from, at most one a family. Default the DIPs.
    pub probe_addresses: Vec<IpAddr>,
    /// How much there may be of everything.
    pub capacities: Capacities,
    /// The interfaces. A keepalived.conf and a rules file name none: whoever reads them fills them in.
    pub interfaces: Vec<Interface>,
    /// The knobs.
    pub knobs: Knobs,
    /// The time-outs of connections.
    pub timeouts: Timeouts,
    /// Ethernet addresses that are fixed.
    pub neighbours: BTreeMap<IpAddr, MacAddr>,
    /// The rules that mark packets, in the order in which they are tried.
    pub mark_rules: Vec<MarkRule>,
    /// The services, no two with the same key.
    pub services: Vec<Service>,
}

/// An interface of the director.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name on the host.
    pub name: String,
    /// The director's own addresses on it, at least one, at most one a family.
    pub dips: Vec<Subnet>,
    /// Routers that lead to real servers outside the DIPs' subnets, at most one a family.
    pub gateways: Vec<IpAddr>,
    /// The VLAN on it. Default none.
    pub vlan: VlanPath,
    /// The director's Ethernet address on it, on TAP devices: elsewhere it is the device's own. Default one that the program
    /// makes.
    pub mac: Option<MacAddr>,
    /// The bridge that a TAP device is a port of. Default none.
    pub bridge: Option<String>,
}

/// How much of everything a director has room for. Ranges and defaults are those of [`DirectorConfig`]; this is fixed while a
/// director runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names and meanings are those of DirectorConfig")]
pub struct Capacities {
    pub max_connections: u32,
    pub max_templates: u32,
    pub max_fragmented: u32,
    pub max_mark_rules: u32,
    pub max_services: u32,
    pub max_destinations: u32,
    pub pool_buffers: u16,
}

impl Default for Capacities {
    fn default() -> Self {
        let DirectorConfig {
            max_connections,
            max_templates,
            max_fragmented,
            max_mark_rules,
            max_services,
            max_destinations,
            pool_buffers,
            ..
        } = DirectorConfig::new(Vec::new(), [0; 32]);
        Self {
            max_connections,
            max_templates,
            max_fragmented,
            max_mark_rules,
            max_services,
            max_destinations,
            pool_buffers,
        }
    }
}

/// A capacity by its name: `(name, value, least, most)`.
type NamedCapacity<'a> = (&'static str, &'a mut u32, u32, u32);

impl Capacities {
    /// All but `pool_buffers` with their ranges, for reading, writing and comparing.
    pub(crate) fn named(&mut self) -> [NamedCapacity<'_>; 6] {
        [
            ("max_connections", &mut self.max_connections, 64, 1 << 30),
            ("max_templates", &mut self.max_templates, 64, 1 << 30),
            ("max_fragmented", &mut self.max_fragmented, 16, 1 << 16),
            ("max_mark_rules", &mut self.max_mark_rules, 0, 1024),
            ("max_services", &mut self.max_services, 1, 1 << 16),
            ("max_destinations", &mut self.max_destinations, 1, 1 << 20),
        ]
    }

    /// Puts them into what a director is made with.
    pub fn give_to(&self, config: &mut DirectorConfig) {
        config.max_connections = self.max_connections;
        config.max_templates = self.max_templates;
        config.max_fragmented = self.max_fragmented;
        config.max_mark_rules = self.max_mark_rules;
        config.max_services = self.max_services;
        config.max_destinations = self.max_destinations;
        config.pool_buffers = self.pool_buffers;
    }
}

/// A virtual service with its real servers and what is asked about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The service.
    pub config: ServiceConfig,
    /// Its real servers in the order in which they are added, so the last one is first in its list. No two with the same address.
    pub servers: Vec<Server>,
    /// When it has enough of them.
    pub health: ServiceHealth,
}

/// A real server and what is asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The server.
    pub config: DestinationConfig,
    /// When a check fails it stays with weight 0, so that its connections go on, instead of leaving. Default no.
    pub inhibit_on_failure: bool,
    /// The checks; all of them have to be good. Default none: it counts as up. Shared by the services of a group.
    pub checks: Arc<[Check]>,
}

impl Server {
    /// A server without checks.
    #[must_use]
    pub fn new(config: DestinationConfig) -> Self {
        Self { config, inhibit_on_failure: false, checks: Arc::new([]) }
    }
}

impl From<model::Service> for Service {
    fn from(service: model::Service) -> Self {
        let servers = service.destinations.into_iter().rev().map(Server::new).collect();
        Self { config: service.config, servers, health: ServiceHealth::default() }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            io: "afpacket".to_owned(),
            workers: NonZeroU16::MIN,
            allow_local_vip: false,
            probe_addresses: Vec::new(),
            capacities: Capacities::default(),
            interfaces: Vec::new(),
            knobs: Knobs::default(),
            timeouts: Timeouts::default(),
            neighbours: BTreeMap::new(),
            mark_rules: Vec::new(),
            services: Vec::new(),
        }
    }
}

impl Configuration {
    /// The changes that bring a director that was just made, with default knobs and time-outs, to this configuration.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        difference(&Self::default(), self, ServerOrder::AsWritten).changes
    }

    /// The services, mark rules and time-outs as a director would have them.
    ///
    /// # Errors
    /// The first of [`changes`](Self::changes) that no director would take. There is none after a file was read.
    pub fn model(&self) -> Result<Model, ApplyError> {
        let mut model = Model::new();
        for (index, change) in self.changes().iter().enumerate() {
            model.apply(change).map_err(|error| ApplyError { index, error })?;
        }
        Ok(model)
    }
}

impl From<&Model> for Configuration {
    fn from(model: &Model) -> Self {
        Self {
            timeouts: *model.timeouts(),
            mark_rules: model.mark_rules().to_vec(),
            services: model.services().map(Service::from).collect(),
            ..Self::default()
        }
    }
}

/// Reads a rules file as a configuration. What it leaves at its end counts, not how it got there.
///
/// # Errors
/// As [`rules::load`].
pub fn from_rules(file: &str, text: &[u8]) -> Result<Loaded, RulesError> {
    let mut model = Model::new();
    let rules = rules::load_onto(text, &mut model)?;
    Ok(Loaded::from_rules(file, &model, &rules))
}

/// `5`, or `5.10` for two tags; nothing for none.
pub(crate) fn vlan_text(vlan: VlanPath) -> String {
    match vlan {
        VlanPath { outer: 0, .. } => String::new(),
        VlanPath { outer, inner: 0 } => outer.to_string(),
        VlanPath { outer, inner } => format!("{outer}.{inner}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rules_file_becomes_what_it_leaves() {
        let text = b"-A -t 192.0.2.10:80 -s rr\n-a -t 192.0.2.10:80 -r 192.0.2.1:81\n-a -t 192.0.2.10:80 -r 192.0.2.2\n\
            -A -t 192.0.2.11:80\n-D -t 192.0.2.11:80\n--set 1 2 3\n";
        let loaded = from_rules("r", text).unwrap();
        let configuration = &loaded.configuration;
        let [service] = &configuration.services[..] else { panic!("one service") };
        let order: Vec<_> = service.servers.iter().map(|server| server.config.address.to_string()).collect();
        assert_eq!(order, ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(configuration.timeouts.udp.as_secs(), 3);
        let places: Vec<_> =
            configuration.changes().iter().map(|change| loaded.origin(change).map(|at| at.line)).collect();
        assert_eq!(places, [None, Some(1), Some(2), Some(3)]);
        let notices: Vec<_> = loaded.notices.iter().map(ToString::to_string).collect();
        assert!(notices[0].starts_with("r:2: real server 192.0.2.1:81 is served on port 80"), "{notices:?}");
        let mut text_again = String::new();
        crate::save::model(&mut text_again, &configuration.model().unwrap()).unwrap();
        assert!(text_again.starts_with("--set 1 2 3\n-A -t 192.0.2.10:80 -s rr\n"), "{text_again}");
    }

    #[test]
    fn capacities_are_those_of_a_director() {
        let mut config = DirectorConfig::new(Vec::new(), [0; 32]);
        let before = config.clone();
        Capacities::default().give_to(&mut config);
        assert_eq!(config, before);
    }
}
