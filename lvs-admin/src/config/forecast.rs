//! What a new configuration would do to those who are connected, before it is carried out.
//!
//! An established connection keeps its server whatever is edited, unless that server leaves: then the connection ends. What an edit
//! can do to others is to send their *next* connection elsewhere, where a hash of the client's address chooses the server (sh, mh).
//! Both are counted here. Persistence is not: a client with a template stays with its server until the template ends.
//!
//! It assumes that servers which stay keep their places in the list, as [`ServerOrder::Kept`](super::ServerOrder::Kept) does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lvs_core::Instant;
use lvs_core::classify::FlowKey;
use lvs_core::config::{Knobs, MarkRule, Protocol, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::connection::ConnectionRecord;
use lvs_core::scheduler::{self, ListChange, Request, Scheduler, SchedulerOptions};

use super::{Configuration, Service};

/// How many made-up clients are asked where they would go.
const CLIENTS: u32 = 1 << 16;

/// What becomes of a service's connections and clients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fate {
    /// The service.
    pub service: ServiceKey,
    /// Connections that nothing happens to.
    pub stay: u64,
    /// Connections that go on, but whose client's next connection goes to another server, because a hash says so.
    pub moves: u64,
    /// Connections that end, because their server leaves.
    pub end: u64,
    /// The share of all clients, from 0 to 1, that a hash gives to another server than before. `None` where no hash
    /// chooses, before or after. Measured with 65,536 addresses, so exact to about half a percent.
    pub clients_moved: Option<f64>,
}

/// Follows the step from one configuration to another. Costs, for each service whose hash table differs, what filling it twice
/// and 131,072 choices cost; for each connection a look-up and, in such a service, a choice.
pub struct Forecast<'a> {
    mark_rules: &'a [MarkRule],
    services: BTreeMap<ServiceKey, Outlook>,
}

/// A service on its way.
struct Outlook {
    /// By address, sorted: the servers there will be.
    remaining: Vec<IpAddr>,
    hashing: Option<Hashing>,
    fate: Fate,
}

impl<'a> Forecast<'a> {
    /// From `old`, which runs, to `new`.
    #[must_use]
    pub fn new(old: &'a Configuration, new: &Configuration) -> Self {
        let after: BTreeMap<_, _> =
            new.services.iter().map(|service| (service.config.key, service)).collect();
        let outlook = |service: &Service| {
            let key = service.config.key;
            (key, Outlook::new(service, after.get(&key).copied(), &old.knobs, &new.knobs))
        };
        Self { mark_rules: &old.mark_rules, services: old.services.iter().map(outlook).collect() }
    }

    /// Counts a connection of the running director. Templates count nothing.
    pub fn connection(&mut self, record: &ConnectionRecord) {
        let Some(outlook) = self.service_of(record) else { return };
        let server = record.destination.ip();
        if outlook.remaining.binary_search(&server).is_err() {
            outlook.fate.end += 1;
            return;
        }
        let next = outlook.hashing.as_mut().and_then(|hashing| {
            let protocol = record.protocol?;
            let flow = FlowKey::new(protocol.number(), record.client, record.virtual_address)?;
            hashing.pick(&flow)
        });
        match next {
            Some(next) if next != server => outlook.fate.moves += 1,
            _ => outlook.fate.stay += 1,
        }
    }

    /// What becomes of each service that runs, by key.
    pub fn fates(&self) -> impl Iterator<Item = Fate> + '_ {
        self.services.values().map(|outlook| outlook.fate)
    }

    /// The service that a connection belongs to: a mark comes before an address, an exact port before all ports.
    fn service_of(&mut self, record: &ConnectionRecord) -> Option<&mut Outlook> {
        if record.template {
            return None;
        }
        let (protocol, to) = (record.protocol?, record.virtual_address);
        let marked = self.mark_rules.iter().find(|rule| fits(rule, protocol, to));
        let keys = [
            marked.map(|rule| ServiceKey::Mark { mark: rule.mark, ipv6: to.is_ipv6() }),
            Some(ServiceKey::Address { protocol, address: to.ip(), port: to.port() }),
            Some(ServiceKey::Address { protocol, address: to.ip(), port: 0 }),
        ];
        let key = keys.into_iter().flatten().find(|key| self.services.contains_key(key))?;
        self.services.get_mut(&key)
    }
}

fn fits(rule: &MarkRule, protocol: Protocol, to: SocketAddr) -> bool {
    rule.protocol == protocol && rule.destination.contains(to.ip()) && rule.ports.contains(to.port())
}

impl Outlook {
    fn new(old: &Service, new: Option<&Service>, knobs: &Knobs, new_knobs: &Knobs) -> Self {
        let servers = new.map(|service| &service.servers[..]).unwrap_or_default();
        let mut remaining: Vec<IpAddr> = servers.iter().map(|server| server.config.address).collect();
        // It stays at hand, whether it serves now or not.
        remaining.extend(new.and_then(|service| service.health.sorry_server).map(|sorry| sorry.address));
        remaining.sort_unstable();
        let key = old.config.key;
        let before = list(old);
        let mut was = Hashing::new(&old.config, before.clone(), &before, knobs);
        let mut will = new.and_then(|service| {
            Hashing::new(&service.config, list_after(&before, service), &before, new_knobs)
        });
        let clients_moved = (was.is_some() || will.is_some())
            .then(|| share_moved(key, was.as_mut(), will.as_mut()))
            .filter(|_| new.is_some());
        let fate = Fate { service: key, stay: 0, moves: 0, end: 0, clients_moved };
        Self { remaining, hashing: will, fate }
    }
}

/// The share of clients that are given to another server. Where no hash chose before or will choose, all are.
fn share_moved(key: ServiceKey, was: Option<&mut Hashing>, will: Option<&mut Hashing>) -> f64 {
    let (Some(was), Some(will)) = (was, will) else { return 1.0 };
    if was.servers == will.servers && was.options() == will.options() {
        return 0.0;
    }
    let protocol = match key {
        ServiceKey::Address { protocol, .. } => protocol.number(),
        _ => Protocol::Tcp.number(),
    };
    let port = key.port();
    let moved = (0..CLIENTS).filter(|number| {
        // The multiplier spreads them over all addresses.
        let bits = number.wrapping_mul(0x9e37_79b1);
        let (client, virtual_address): (IpAddr, IpAddr) = if key.is_ipv6() {
            (Ipv6Addr::from_bits(0x2000 << 112 | u128::from(bits)).into(), Ipv6Addr::UNSPECIFIED.into())
        } else {
            (Ipv4Addr::from_bits(bits).into(), Ipv4Addr::UNSPECIFIED.into())
        };
        let client = SocketAddr::new(client, (bits >> 8) as u16);
        let flow = FlowKey::new(protocol, client, SocketAddr::new(virtual_address, port));
        flow.is_some_and(|flow| was.pick(&flow) != will.pick(&flow))
    });
    moved.count() as f64 / f64::from(CLIENTS)
}

/// A hashing scheduler with its servers.
struct Hashing {
    config: ServiceConfig,
    scheduler: Box<dyn Scheduler>,
    servers: Vec<scheduler::Server>,
    entries: u32,
}

impl Hashing {
    /// `None` for a service whose scheduler does not hash clients. `before` is the list that the weights come from which servers
    /// of weight 0 had: mh leaves them their entries.
    fn new(
        config: &ServiceConfig,
        servers: Vec<scheduler::Server>,
        before: &[scheduler::Server],
        knobs: &Knobs,
    ) -> Option<Self> {
        if !matches!(config.scheduler, SchedulerKind::SourceHashing | SchedulerKind::Maglev) {
            return None;
        }
        let entries = knobs.maglev_entries;
        let options =
            SchedulerOptions { flags: config.flags, maglev_entries: entries, ..SchedulerOptions::default() };
        let mut scheduler = scheduler::new_scheduler(config.scheduler, &options);
        let mut weighted = servers.clone();
        for server in weighted.iter_mut().filter(|server| server.weight == 0) {
            let had = before.iter().find(|had| had.address == server.address);
            server.weight = had.map_or(0, |had| had.weight);
        }
        scheduler.list_changed(ListChange::Replaced, &weighted);
        if weighted != servers {
            scheduler.list_changed(ListChange::Edited(0), &servers);
        }
        Some(Self { config: *config, scheduler, servers, entries })
    }

    /// What besides the servers makes the choice.
    fn options(&self) -> (SchedulerKind, lvs_core::config::SchedulerFlags, u32) {
        (self.config.scheduler, self.config.flags, self.entries)
    }

    fn pick(&mut self, flow: &FlowKey) -> Option<IpAddr> {
        let request = Request { flow, now: Instant::ZERO };
        let place = self.scheduler.pick(&request, &self.servers)?;
        self.servers.get(place).map(|server| server.address)
    }
}

/// A service's servers in list order: last added first.
fn list(service: &Service) -> Vec<scheduler::Server> {
    let server = |server: &super::Server| {
        scheduler::Server::new(server.config.address, server.config.port, server.config.weight)
    };
    service.servers.iter().rev().map(server).collect()
}

/// The list after the step: who stays keeps its place, who comes stands at the head.
fn list_after(before: &[scheduler::Server], service: &Service) -> Vec<scheduler::Server> {
    let wanted: BTreeMap<IpAddr, scheduler::Server> =
        list(service).into_iter().map(|server| (server.address, server)).collect();
    let stays = |server: &scheduler::Server| before.iter().any(|had| had.address == server.address);
    let new = list(service).into_iter().filter(|server| !stays(server));
    let old = before.iter().filter_map(|had| wanted.get(&had.address).copied());
    new.chain(old).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lvs_core::connection::ConnectionState;

    use super::*;
    use crate::config::from_rules;
    use crate::config::health::SorryServer;

    fn configuration(rules: &str) -> Configuration {
        from_rules("r", rules.as_bytes()).unwrap().configuration
    }

    /// A service with servers 192.0.2.1 to n, each of these weights.
    fn service(scheduler: &str, weights: &[u32]) -> Configuration {
        let mut rules = format!("-A -t 192.0.2.100:80 -s {scheduler}\n");
        for (index, weight) in weights.iter().enumerate() {
            rules += &format!("-a -t 192.0.2.100:80 -r 192.0.2.{} -w {weight}\n", index + 1);
        }
        configuration(&rules)
    }

    fn record(client: &str, server: u8) -> ConnectionRecord {
        ConnectionRecord {
            protocol: Some(Protocol::Tcp),
            template: false,
            client: client.parse().unwrap(),
            virtual_address: "192.0.2.100:80".parse().unwrap(),
            destination: SocketAddr::new(IpAddr::from([192, 0, 2, server]), 80),
            state: ConnectionState::Established,
            expires_in: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            packets: 1,
        }
    }

    fn fate(old: &Configuration, new: &Configuration, records: &[ConnectionRecord]) -> Fate {
        let mut forecast = Forecast::new(old, new);
        records.iter().for_each(|record| forecast.connection(record));
        let fates: Vec<_> = forecast.fates().collect();
        let [fate] = fates[..] else { panic!("{fates:?}") };
        fate
    }

    #[test]
    fn connections_of_servers_that_leave_end_and_others_stay() {
        let (old, new) = (service("rr", &[1, 1, 1]), service("rr", &[1, 0]));
        let records = [record("198.51.100.1:1", 1), record("198.51.100.1:2", 2), record("198.51.100.1:3", 3)];
        let found = fate(&old, &new, &records);
        assert_eq!((found.stay, found.moves, found.end, found.clients_moved), (2, 0, 1, None));
        let gone = fate(&old, &Configuration::default(), &records);
        assert_eq!((gone.stay, gone.end), (0, 3));
    }

    #[test]
    fn connections_to_a_sorry_server_stay_as_long_as_it_is_one() {
        let mut old = service("rr", &[1]);
        old.services[0].health.sorry_server =
            Some(SorryServer { address: [192, 0, 2, 9].into(), inhibit: false });
        let records = [record("198.51.100.1:1", 9)];
        assert_eq!(fate(&old, &old, &records).stay, 1);
        assert_eq!(fate(&old, &service("rr", &[1]), &records).end, 1);
    }

    #[test]
    fn a_template_is_no_connection() {
        let old = service("rr", &[1]);
        let template = ConnectionRecord { template: true, ..record("198.51.100.0:0", 1) };
        assert_eq!(fate(&old, &old, &[template]).stay, 0);
    }

    #[test]
    fn a_hash_table_moves_by_what_leaves_or_comes() {
        for (scheduler, most) in [("mh", 0.15), ("sh", 0.95)] {
            let ten = service(scheduler, &[1; 10]);
            assert_eq!(fate(&ten, &ten, &[]).clients_moved, Some(0.0));
            let nine = fate(&ten, &service(scheduler, &[1; 9]), &[]).clients_moved.unwrap();
            assert!((0.09..most).contains(&nine), "{scheduler}: {nine}");
            let eleven = fate(&ten, &service(scheduler, &[1; 11]), &[]).clients_moved.unwrap();
            assert!((0.08..most).contains(&eleven), "{scheduler}: {eleven}");
        }
        let (rr, mh) = (service("rr", &[1, 1]), service("mh", &[1, 1]));
        assert_eq!(fate(&rr, &mh, &[]).clients_moved, Some(1.0));
    }

    /// mh leaves a server of weight 0 its entries, and with mh-fallback only its clients go elsewhere.
    #[test]
    fn a_quiesced_server_moves_its_own_clients_only() {
        let old = service("mh -b mh-fallback", &[1; 10]);
        let mut weights = [1; 10];
        weights[3] = 0;
        let moved = fate(&old, &service("mh -b mh-fallback", &weights), &[]).clients_moved.unwrap();
        assert!((0.09..0.11).contains(&moved), "{moved}");
    }

    /// Each client is connected where the hash sends it: those that it sends elsewhere afterwards are those that move.
    #[test]
    fn clients_that_move_are_counted_among_those_connected() {
        let (old, new) = (service("mh", &[1; 4]), service("mh", &[1; 5]));
        let before = list(&old.services[0]);
        let mut hashing = Hashing::new(&old.services[0].config, before.clone(), &before, &old.knobs).unwrap();
        let mut records = Vec::new();
        for last in 0..=255u8 {
            let mut one = record(&format!("198.51.100.{last}:4000"), 1);
            let flow = FlowKey::new(6, one.client, one.virtual_address).unwrap();
            one.destination.set_ip(hashing.pick(&flow).unwrap());
            records.push(one);
        }
        let found = fate(&old, &new, &records);
        assert_eq!(found.stay + found.moves, 256);
        assert!((20..100).contains(&found.moves), "{found:?}");
        assert_eq!(found.end, 0);
    }

    #[test]
    fn a_marked_connection_belongs_to_its_mark() {
        let rules = "--mark 7 tcp 192.0.2.100/32 80\n-A -f 7 -s rr\n-a -f 7 -r 192.0.2.1\n-A -t 192.0.2.100:80 -s rr\n";
        let old = configuration(rules);
        let forecast = &mut Forecast::new(&old, &old);
        forecast.connection(&record("198.51.100.1:1", 1));
        let stay: Vec<_> = forecast.fates().map(|fate| (fate.service, fate.stay)).collect();
        assert!(stay.contains(&(ServiceKey::Mark { mark: 7, ipv6: false }, 1)), "{stay:?}");
    }
}
