//! How to get from one configuration to another while a director runs.
//!
//! The changes touch only what differs, in this order: knobs, time-outs, what leaves (real servers, services), what is
//! edited, what comes, mark rules, fixed neighbours. They are meant for one call of
//! [`Director::apply`](lvs_core::Director::apply), which carries out all or none.
//!
//! A director keeps its real servers last added first, and some schedulers go by that order (rr, wrr, ties of the others; sh
//! by nothing else). A file can say another order than the running director has: by a new server above old ones, or by the same
//! ones rearranged. [`ServerOrder`] says what then happens. Mark rules are tried in order and have no state: if new ones only
//! follow the old ones they are added, otherwise all are made anew.

mod summary;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use lvs_core::config::{Change, MarkRule, ServiceKey};

use super::{Configuration, Server, Service};
pub use summary::{Edit, FieldChange, Kind, Subject};
pub(crate) use summary::{knob_values, protocol_name};

/// What becomes of the order of a service's real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerOrder {
    /// Real servers that stay are left alone, new ones come to the head of the list. The order then differs from that of a
    /// fresh start with the same file if a new server stands above an old one in it, or if old ones were rearranged; the summary
    /// says so. Nothing happens to anyone's connections, counters and slow start. For live edits.
    #[default]
    Kept,
    /// The order becomes that of a fresh start: real servers that stand in the way of it are removed and added again. Their
    /// connections find them again; their counters and slow start begin anew. For a director that must choose as another one
    /// with the same file.
    AsWritten,
}

/// What differs between two configurations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// What a running director has to be told, in order.
    pub changes: Vec<Change>,
    /// The same for people, with what concerns health checks: knobs, time-outs, neighbours, mark rules, then each service
    /// with its servers.
    pub edits: Vec<Edit>,
    /// What takes a restart; `changes` leave it as it was.
    pub fixed: Vec<FieldChange>,
    /// Services whose checks, quorum, sorry server or real servers differ: what carries out checks has to look at them anew.
    pub health: Vec<ServiceKey>,
    /// Services whose list order will not be that of a fresh start.
    pub order_kept: Vec<ServiceKey>,
}

impl Difference {
    /// Whether the configurations are the same as far as a director is concerned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.edits.is_empty()
            && self.fixed.is_empty()
            && self.order_kept.is_empty()
    }
}

/// What differs, and the changes that turn `old` into `new`. Takes time proportional to the size of both, times its logarithm.
#[must_use]
pub fn difference(old: &Configuration, new: &Configuration, order: ServerOrder) -> Difference {
    let mut found = Difference { fixed: summary::fixed(old, new), ..Difference::default() };
    if old.knobs != new.knobs {
        found.changes.push(Change::SetKnobs(new.knobs));
        found.edits.push(Edit::changed(Subject::Knobs, summary::knobs(&old.knobs, &new.knobs)));
    }
    if old.timeouts != new.timeouts {
        found.changes.push(Change::SetTimeouts(new.timeouts));
        let fields = summary::timeouts("", Some(&old.timeouts), Some(&new.timeouts));
        found.edits.push(Edit::changed(Subject::Timeouts, fields));
    }
    services(old, new, order, &mut found);
    mark_rules(&old.mark_rules, &new.mark_rules, &mut found);
    neighbours(old, new, &mut found);
    found.edits.sort_by_key(|edit| edit.subject.rank());
    found
}

/// Changes of services, by when they are made.
#[derive(Default)]
struct Stages {
    removals: Vec<Change>,
    edits: Vec<Change>,
    additions: Vec<Change>,
}

fn services(old: &Configuration, new: &Configuration, order: ServerOrder, found: &mut Difference) {
    let (before, after) = (by_key(&old.services), by_key(&new.services));
    let mut stages = Stages::default();
    for (key, service) in &before {
        if !after.contains_key(key) {
            stages.removals.push(Change::RemoveService(*key));
            found.edits.push(Edit::removed(Subject::Service(*key), summary::service_text(service)));
            found.health.push(*key);
        }
    }
    // In the order of the file, as a fresh start would add them.
    for service in &new.services {
        let key = service.config.key;
        match before.get(&key) {
            Some(old) => edit_service(old, service, order, &mut stages, found),
            None => {
                stages.additions.push(Change::AddService(service.config));
                let servers = service.servers.iter();
                stages.additions.extend(servers.map(|server| Change::AddDestination(key, server.config)));
                found.edits.push(Edit::added(Subject::Service(key), summary::service_text(service)));
                found.health.push(key);
            }
        }
    }
    let Stages { removals, edits, additions } = stages;
    found.changes.extend(removals.into_iter().chain(edits).chain(additions));
}

fn by_key(services: &[Service]) -> BTreeMap<ServiceKey, &Service> {
    services.iter().map(|service| (service.config.key, service)).collect()
}

/// A service that stays.
fn edit_service(
    old: &Service,
    new: &Service,
    order: ServerOrder,
    stages: &mut Stages,
    found: &mut Difference,
) {
    let key = new.config.key;
    if old.config != new.config {
        stages.edits.push(Change::EditService(new.config));
    }
    let fields = summary::service(old, new);
    if !fields.is_empty() {
        found.edits.push(Edit::changed(Subject::Service(key), fields));
    }
    let edits_before = found.edits.len();
    servers(key, &old.servers, &new.servers, order, stages, found);
    if old.health != new.health || found.edits.len() > edits_before {
        found.health.push(key);
    }
}

fn servers(
    key: ServiceKey,
    old: &[Server],
    new: &[Server],
    order: ServerOrder,
    stages: &mut Stages,
    found: &mut Difference,
) {
    let subject = |server: &Server| Subject::Server(key, server.config.address);
    let remove = |server: &Server| Change::RemoveDestination {
        service: key,
        address: server.config.address,
        port: server.config.port,
    };
    let before: HashMap<IpAddr, &Server> = old.iter().map(|server| (server.config.address, server)).collect();
    let wanted: HashSet<IpAddr> = new.iter().map(|server| server.config.address).collect();
    let in_place = staying(old, new);
    if order == ServerOrder::Kept && !order_is_fresh(&before, in_place, new) {
        found.order_kept.push(key);
    }
    for server in old.iter().filter(|server| !wanted.contains(&server.config.address)) {
        stages.removals.push(remove(server));
        found.edits.push(Edit::removed(subject(server), summary::server_text(server)));
    }
    for (index, server) in new.iter().enumerate() {
        let Some(old) = before.get(&server.config.address) else {
            stages.additions.push(Change::AddDestination(key, server.config));
            found.edits.push(Edit::added(subject(server), summary::server_text(server)));
            continue;
        };
        let fields = summary::server(old, server);
        let moves = order == ServerOrder::AsWritten && index >= in_place;
        if moves {
            stages.removals.push(remove(old));
            stages.additions.push(Change::AddDestination(key, server.config));
        } else if old.config != server.config {
            stages.edits.push(Change::EditDestination(key, server.config));
        }
        if moves || !fields.is_empty() {
            found.edits.push(Edit { subject: subject(server), kind: Kind::Changed { fields, moves } });
        }
    }
}

/// How many servers at the beginning of `new` may stay as they are if all others are added behind them: those that `old` has
/// in the same order.
fn staying(old: &[Server], new: &[Server]) -> usize {
    let mut rest = old.iter();
    let stays = |server: &&Server| rest.any(|old| old.config.address == server.config.address);
    new.iter().take_while(stays).count()
}

/// Whether the order is that of a fresh start if servers that stay keep their places: none of them stands behind one that is
/// new or moved.
fn order_is_fresh(before: &HashMap<IpAddr, &Server>, in_place: usize, new: &[Server]) -> bool {
    !new.iter().skip(in_place).any(|server| before.contains_key(&server.config.address))
}

fn mark_rules(old: &[MarkRule], new: &[MarkRule], found: &mut Difference) {
    if old == new {
        return;
    }
    let added = new.strip_prefix(old).unwrap_or_else(|| {
        found.changes.push(Change::ClearMarkRules);
        new
    });
    found.changes.extend(added.iter().copied().map(Change::AddMarkRule));
    found.edits.push(Edit::changed(Subject::MarkRules, summary::mark_rules(old, new)));
}

fn neighbours(old: &Configuration, new: &Configuration, found: &mut Difference) {
    for (&address, was) in &old.neighbours {
        if !new.neighbours.contains_key(&address) {
            found.changes.push(Change::SetStaticNeighbour { address, mac: None });
            found.edits.push(Edit::removed(Subject::Neighbour(address), was.to_string()));
        }
    }
    for (&address, &mac) in &new.neighbours {
        let edit = match old.neighbours.get(&address) {
            Some(was) if *was == mac => continue,
            Some(was) => {
                let fields = summary::field("mac", was, &mac).into_iter().collect();
                Edit::changed(Subject::Neighbour(address), fields)
            }
            None => Edit::added(Subject::Neighbour(address), mac.to_string()),
        };
        found.changes.push(Change::SetStaticNeighbour { address, mac: Some(mac) });
        found.edits.push(edit);
    }
}

#[cfg(test)]
mod tests;
