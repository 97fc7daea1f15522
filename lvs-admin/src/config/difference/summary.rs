//! A difference in words: what comes, what goes, what changes, field by field.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lvs_core::config::{
    ClientMask, Knobs, MarkRule, OnMiss, Persistence, Protocol, SchedulerFlags, SchedulerKind, ServiceKey,
    Timeouts,
};

use super::Difference;
use crate::config::health::SorryServer;
use crate::config::{Configuration, Interface, Server, Service, duration, vlan_text};
use crate::flags;

/// What an edit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject {
    /// The knobs.
    Knobs,
    /// The director's time-outs.
    Timeouts,
    /// The fixed Ethernet address of a neighbour.
    Neighbour(IpAddr),
    /// The rules that mark packets.
    MarkRules,
    /// A service.
    Service(ServiceKey),
    /// A real server of a service.
    Server(ServiceKey, IpAddr),
}

impl Subject {
    /// Where it stands among others: a service before its servers.
    pub(super) const fn rank(self) -> (u8, Option<ServiceKey>, Option<IpAddr>) {
        match self {
            Self::Knobs => (0, None, None),
            Self::Timeouts => (1, None, None),
            Self::Neighbour(address) => (2, None, Some(address)),
            Self::MarkRules => (3, None, None),
            Self::Service(key) => (4, Some(key), None),
            Self::Server(key, address) => (4, Some(key), Some(address)),
        }
    }
}

impl Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Knobs => f.write_str("knobs"),
            Self::Timeouts => f.write_str("time-outs"),
            Self::Neighbour(address) => write!(f, "neighbour {address}"),
            Self::MarkRules => f.write_str("mark rules"),
            Self::Service(key) => write!(f, "service {key}"),
            Self::Server(key, address) => {
                write!(f, "server {} of {key}", SocketAddr::new(*address, key.port()))
            }
        }
    }
}

/// Something that differs, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What it is about.
    pub subject: Subject,
    /// What becomes of it.
    pub kind: Kind,
}

/// What becomes of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It comes, and is like this.
    Added(String),
    /// It goes, and was like this.
    Removed(String),
    /// It stays, with other values.
    Changed {
        /// The values that differ.
        fields: Vec<FieldChange>,
        /// Whether a real server is removed and added again, for the sake of the order.
        moves: bool,
    },
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Its name, as in the TOML file.
    pub field: String,
    /// The old value.
    pub old: String,
    /// The new value.
    pub new: String,
}

impl Edit {
    pub(super) const fn added(subject: Subject, text: String) -> Self {
        Self { subject, kind: Kind::Added(text) }
    }

    pub(super) const fn removed(subject: Subject, text: String) -> Self {
        Self { subject, kind: Kind::Removed(text) }
    }

    /// The values that differ, in words; nothing unless it stays.
    pub(crate) fn fields_text(&self) -> String {
        let Kind::Changed { fields, moves } = &self.kind else { return String::new() };
        let moved = moves.then(|| "removed and added again for its place".to_owned());
        fields.iter().map(ToString::to_string).chain(moved).collect::<Vec<_>>().join(", ")
    }

    pub(super) const fn changed(subject: Subject, fields: Vec<FieldChange>) -> Self {
        Self { subject, kind: Kind::Changed { fields, moves: false } }
    }
}

impl Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, old, new } = self;
        write!(f, "{field} {old} -> {new}")
    }
}

/// One line: `+`, `-` or `~`, the subject, and what there is to say.
impl Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Added(text) => write!(f, "+ {}: {text}", self.subject),
            Kind::Removed(text) => write!(f, "- {}: {text}", self.subject),
            Kind::Changed { .. } => write!(f, "~ {}: {}", self.subject, self.fields_text()),
        }
    }
}

/// A line for each edit, then what takes a restart, then what differs from a fresh start.
impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.edits.iter().try_for_each(|edit| writeln!(f, "{edit}"))?;
        for change in &self.fixed {
            writeln!(f, "! {change}: takes a restart, and stays as it is until then")?;
        }
        for key in &self.order_kept {
            writeln!(
                f,
                "! service {key}: the real servers keep their order, which a fresh start would change"
            )?;
        }
        Ok(())
    }
}

/// A field, if its value differs.
pub(super) fn field<T: PartialEq + Display>(name: &str, old: &T, new: &T) -> Option<FieldChange> {
    (old != new).then(|| FieldChange { field: name.to_owned(), old: old.to_string(), new: new.to_string() })
}

pub(super) fn knobs(old: &Knobs, new: &Knobs) -> Vec<FieldChange> {
    let pairs = knob_values(old).into_iter().zip(knob_values(new));
    pairs.filter_map(|((name, old), (_, new))| field(name, &old, &new)).collect()
}

/// Every knob with its value as it is written.
pub(crate) fn knob_values(knobs: &Knobs) -> Vec<(&'static str, String)> {
    let Knobs {
        conn_reuse_mode,
        expire_nodest_conn,
        sloppy_tcp,
        sloppy_sctp,
        expire_quiescent_template,
        schedule_icmp,
        secure_tcp,
        drop_entry,
        drop_packet,
        seeded_start,
        maglev_entries,
        lblc_expiration,
        lblcr_expiration,
        on_miss,
        decrement_ttl,
        answers_per_second,
    } = *knobs;
    let switch = |on: bool| u8::from(on).to_string();
    let defence = |on: bool| if on { "3" } else { "0" }.to_owned();
    let on_miss = match on_miss {
        OnMiss::Refuse => "refuse",
        OnMiss::Hash => "hash",
    };
    vec![
        ("conn_reuse_mode", conn_reuse_mode.to_string()),
        ("expire_nodest_conn", switch(expire_nodest_conn)),
        ("expire_quiescent_template", switch(expire_quiescent_template)),
        ("sloppy_tcp", switch(sloppy_tcp)),
        ("sloppy_sctp", switch(sloppy_sctp)),
        ("schedule_icmp", switch(schedule_icmp)),
        ("secure_tcp", defence(secure_tcp)),
        ("drop_entry", defence(drop_entry)),
        ("drop_packet", defence(drop_packet)),
        ("lblc_expiration", lblc_expiration.to_string()),
        ("lblcr_expiration", lblcr_expiration.to_string()),
        ("on_miss", on_miss.to_owned()),
        ("decrement_ttl", switch(decrement_ttl)),
        ("seeded_start", switch(seeded_start)),
        ("maglev_entries", maglev_entries.to_string()),
        ("answers_per_second", answers_per_second.to_string()),
    ]
}

pub(super) fn timeouts(prefix: &str, old: Option<&Timeouts>, new: Option<&Timeouts>) -> Vec<FieldChange> {
    let text = |of: Option<&Timeouts>, pick: fn(&Timeouts) -> std::time::Duration| {
        of.map_or_else(|| "the director's".to_owned(), |set| duration::text(pick(set)))
    };
    let one = |name: &str, pick| field(&format!("{prefix}{name}"), &text(old, pick), &text(new, pick));
    [one("tcp", |set| set.tcp), one("tcp_fin", |set| set.tcp_fin), one("udp", |set| set.udp)]
        .into_iter()
        .flatten()
        .collect()
}

pub(super) fn service(old: &Service, new: &Service) -> Vec<FieldChange> {
    let (was, is) = (&old.config, &new.config);
    let mut fields: Vec<FieldChange> = [
        field("scheduler", &was.scheduler, &is.scheduler),
        field("flags", &flags_text(was.scheduler, was.flags), &flags_text(is.scheduler, is.flags)),
        field("persistence", &persistence(was.persistence), &persistence(is.persistence)),
        field("one_packet", &was.one_packet, &is.one_packet),
        field("slow_start", &optional_time(was.slow_start), &optional_time(is.slow_start)),
        field("on_down", &old.health.on_down, &new.health.on_down),
        field("damping", &old.health.damping, &new.health.damping),
        field("quorum", &old.health.quorum, &new.health.quorum),
        field("hysteresis", &old.health.hysteresis, &new.health.hysteresis),
        field("sorry_server", &sorry(old.health.sorry_server), &sorry(new.health.sorry_server)),
    ]
    .into_iter()
    .flatten()
    .collect();
    fields.extend(timeouts("timeouts.", was.timeouts.as_ref(), is.timeouts.as_ref()));
    fields
}

pub(super) fn server(old: &Server, new: &Server) -> Vec<FieldChange> {
    let (was, is) = (&old.config, &new.config);
    [
        field("weight", &was.weight, &is.weight),
        field("upper_threshold", &was.upper_threshold, &is.upper_threshold),
        field("lower_threshold", &was.lower_threshold, &is.lower_threshold),
        field("inhibit_on_failure", &old.inhibit_on_failure, &new.inhibit_on_failure),
        field("check", &checks(old), &checks(new)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn service_text(service: &Service) -> String {
    let config = &service.config;
    let mut text = config.scheduler.to_string();
    if config.flags != SchedulerFlags::NONE {
        text += &format!(" ({})", flags::list(config.scheduler, config.flags));
    }
    if config.persistence.is_some() {
        text += &format!(", persistent {}", persistence(config.persistence));
    }
    if config.one_packet {
        text += ", one-packet";
    }
    let servers: Vec<_> = service.servers.iter().map(|server| server.config.address.to_string()).collect();
    text + &match servers.len() {
        0 => ", no real servers".to_owned(),
        1..=8 => format!(", real servers {}", servers.join(" ")),
        more => format!(", {more} real servers"),
    }
}

pub(super) fn server_text(server: &Server) -> String {
    let mut text = format!("weight {}", server.config.weight);
    let (upper, lower) = (server.config.upper_threshold, server.config.lower_threshold);
    if upper != 0 || lower != 0 {
        text += &format!(", thresholds {upper} {lower}");
    }
    if server.checks.is_empty() { text } else { text + ", check " + &checks(server) }
}

fn flags_text(scheduler: SchedulerKind, set: SchedulerFlags) -> String {
    if set == SchedulerFlags::NONE { "none".to_owned() } else { flags::list(scheduler, set) }
}

fn persistence(of: Option<Persistence>) -> String {
    let Some(Persistence { timeout, mask }) = of else { return "none".to_owned() };
    let time = duration::text(timeout);
    match mask {
        mask if mask.is_whole() => time,
        ClientMask::V4(mask) => format!("{time} mask {}", Ipv4Addr::from(mask)),
        ClientMask::V6(length) => format!("{time} mask {length}"),
    }
}

fn optional_time(time: Option<std::time::Duration>) -> String {
    time.map_or_else(|| "none".to_owned(), duration::text)
}

fn sorry(of: Option<SorryServer>) -> String {
    of.map_or_else(
        || "none".to_owned(),
        |server| format!("{}{}", server.address, if server.inhibit { " (inhibit)" } else { "" }),
    )
}

fn checks(server: &Server) -> String {
    let all: Vec<_> = server.checks.iter().map(ToString::to_string).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(" and ") }
}

pub(super) fn mark_rules(old: &[MarkRule], new: &[MarkRule]) -> Vec<FieldChange> {
    let text =
        |rules: &[MarkRule], at: usize| rules.get(at).map_or_else(|| "none".to_owned(), mark_rule_text);
    let each = (0..old.len().max(new.len()))
        .filter_map(|at| field(&format!("{}.", at + 1), &text(old, at), &text(new, at)));
    each.collect()
}

fn mark_rule_text(rule: &MarkRule) -> String {
    let ports =
        rule.ports.as_slice().iter().map(|ports| crate::config::health::range(ports.first, ports.last));
    let ports: Vec<_> = ports.collect();
    let protocol = protocol_name(rule.protocol);
    format!("{} for {protocol} {} {}", rule.mark, rule.destination, ports.join(","))
}

/// As in the files.
pub(crate) const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
        _ => "tcp",
    }
}

/// What a director is made with and keeps.
pub(super) fn fixed(old: &Configuration, new: &Configuration) -> Vec<FieldChange> {
    let mut fields: Vec<FieldChange> = [
        field("director.io", &old.io, &new.io),
        field("director.workers", &old.workers, &new.workers),
        field("director.probe_addresses", &listed(&old.probe_addresses), &listed(&new.probe_addresses)),
        field("director.pool_buffers", &old.capacities.pool_buffers, &new.capacities.pool_buffers),
    ]
    .into_iter()
    .flatten()
    .collect();
    let (mut was, mut is) = (old.capacities, new.capacities);
    let pairs = was.named().into_iter().zip(is.named());
    fields.extend(
        pairs.filter_map(|((name, was, ..), (_, is, ..))| field(&format!("director.{name}"), was, is)),
    );
    let names = |configuration: &Configuration| {
        listed(&configuration.interfaces.iter().map(interface_name).collect::<Vec<_>>())
    };
    match field("interface", &names(old), &names(new)) {
        Some(other) => fields.push(other),
        None => fields
            .extend(old.interfaces.iter().zip(&new.interfaces).flat_map(|(old, new)| interface(old, new))),
    }
    fields
}

fn interface(old: &Interface, new: &Interface) -> Vec<FieldChange> {
    let name = interface_name(old);
    let one = |what: &str, old: String, new: String| field(&format!("interface {name}: {what}"), &old, &new);
    [
        one("dips", listed(&old.dips), listed(&new.dips)),
        one("gateways", listed(&old.gateways), listed(&new.gateways)),
        one("mac", optional(old.mac), optional(new.mac)),
        one("bridge", optional(old.bridge.as_deref()), optional(new.bridge.as_deref())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// With its VLAN, since an interface can be there once for each.
fn interface_name(interface: &Interface) -> String {
    match vlan_text(interface.vlan) {
        vlan if vlan.is_empty() => interface.name.clone(),
        vlan => format!("{} vlan {vlan}", interface.name),
    }
}

fn optional<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn listed<T: Display>(all: &[T]) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
