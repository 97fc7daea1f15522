//! What the model shows of itself, in the shapes in which a director does.

use std::net::SocketAddr;
use std::time::Duration;

use lvs_core::config::{Protocol, ServiceConfig};
use lvs_core::connection::{ConnectionRecord, ConnectionState};
use lvs_core::listing::{DestinationListing, Rates, ServiceListing};

use super::{Model, Template};

/// A connection or a template, and how exactly its end is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelRecord {
    /// As a director shows it; packets of templates are not counted.
    pub record: ConnectionRecord,
    /// How much later than it says it may end.
    pub lateness: Duration,
}

impl Model {
    /// All services, without rates, by key.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceListing> {
        let mut all: Vec<ServiceListing> = self
            .services
            .iter()
            .map(|service| ServiceListing {
                config: service.config,
                statistics: service.counted,
                rates: Rates::default(),
                destinations: service.list.iter().map(|number| self.destination(*number)).collect(),
            })
            .collect();
        all.sort_by_key(|service| service.config.key);
        all
    }

    fn destination(&self, number: usize) -> DestinationListing {
        let server = &self.servers[number];
        let (active, inactive) = self.load(number);
        DestinationListing {
            config: server.config,
            active,
            inactive,
            persistent: self.templates.iter().filter(|template| template.server == number).count() as u32,
            overloaded: server.overloaded,
            effective_weight: server.config.weight,
            statistics: server.counted,
            rates: Rates::default(),
        }
    }

    /// All connections and templates, in no particular order.
    #[must_use]
    pub fn records(&self) -> Vec<ModelRecord> {
        let connections = self.connections.iter().map(|one| ModelRecord {
            record: ConnectionRecord {
                protocol: Some(one.protocol),
                template: false,
                client: one.client,
                virtual_address: one.virtual_address,
                destination: self.socket(one.server, one.virtual_address),
                state: one.state,
                expires_in: one.deadline.saturating_duration_since(self.now),
                timeout: one.timeout,
                packets: one.packets,
            },
            lateness: Duration::ZERO,
        });
        let templates = self.templates.iter().map(|one| self.template(one));
        connections.chain(templates).collect()
    }

    fn template(&self, one: &Template) -> ModelRecord {
        let (protocol, client, virtual_address): (Option<Protocol>, _, _) = one.key;
        ModelRecord {
            record: ConnectionRecord {
                protocol,
                template: true,
                client: SocketAddr::new(client, 0),
                virtual_address,
                destination: self.socket(one.server, virtual_address),
                state: if one.assured { ConnectionState::Assured } else { ConnectionState::None },
                expires_in: one.deadline.saturating_duration_since(self.now),
                timeout: one.timeout,
                packets: 0,
            },
            lateness: one.lateness(),
        }
    }

    fn socket(&self, server: usize, virtual_address: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.servers[server].config.address, virtual_address.port())
    }

    /// Templates that may have ended already, because their last connection ended in the same moment: `is_there` says
    /// which have not.
    pub fn settle(&mut self, is_there: impl Fn(&ConnectionRecord) -> bool) {
        let doubtful: Vec<u64> =
            self.templates.iter().filter(|one| one.doubtful).map(|one| one.number).collect();
        for number in doubtful {
            let at = self.templates.iter().position(|one| one.number == number).expect("it was there");
            self.templates[at].doubtful = false;
            let record = self.template(&self.templates[at]).record;
            if self.templates[at].extended > 0 && !is_there(&record) {
                let server = self.templates.remove(at).server;
                self.look_at_lower_threshold(server);
            }
        }
    }

    /// The configuration of a service, if there is one.
    #[must_use]
    pub fn service(&self, key: lvs_core::config::ServiceKey) -> Option<&ServiceConfig> {
        self.services.iter().map(|service| &service.config).find(|config| config.key == key)
    }
}
