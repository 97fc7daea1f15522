//! `[[service]]` and its real servers.

use std::net::SocketAddr;
use std::sync::Arc;

use lvs_core::config::{
    ChangeError, ClientMask, DestinationConfig, Persistence, Protocol, SchedulerFlags, SchedulerKind,
    ServiceConfig, ServiceKey,
};

use super::check::{self, Defaults};
use super::director;
use super::table::{Table, Value};
use crate::config::health::{self, OnDown, SorryServer};
use crate::config::{Assembly, FileError, Server, ServiceHealth, cure, nearest};
use crate::flags;

pub(super) const KEYS: &[&str] = &[
    "tcp",
    "udp",
    "sctp",
    "mark",
    "ipv6",
    "scheduler",
    "flags",
    "persistence",
    "persistence_mask",
    "one_packet",
    "timeouts",
    "slow_start",
    "on_down",
    "damping",
    "quorum",
    "hysteresis",
    "sorry_server",
    "sorry_server_inhibit",
    "inhibit_on_failure",
    "alpha",
    "delay_loop",
    "connect_timeout",
    "retry",
    "rise",
    "delay_before_retry",
    "warmup",
    "virtual_host",
    "check",
    "server",
];

const SERVER_KEYS: &[&str] =
    &["address", "weight", "upper_threshold", "lower_threshold", "inhibit_on_failure", "check"];

pub(super) fn read_all(top: &Table<'_>, assembly: &mut Assembly) -> Result<(), FileError> {
    top.tables("service")?.iter().try_for_each(|table| service(table, assembly))
}

fn service(table: &Table<'_>, assembly: &mut Assembly) -> Result<(), FileError> {
    table.known(KEYS)?;
    let key = key(table)?;
    let scheduler = table.or("scheduler", SchedulerKind::WeightedLeastConnection, scheduler)?;
    let mut config = ServiceConfig::new(key, scheduler);
    config.flags = table.or("flags", SchedulerFlags::NONE, |value| scheduler_flags(value, scheduler))?;
    config.persistence = persistence(table, key.is_ipv6())?;
    config.one_packet = table.or("one_packet", false, Value::switch)?;
    config.slow_start = table.maybe("slow_start", |value| value.time(false))?;
    let default = assembly.loaded.configuration.timeouts;
    config.timeouts = table.maybe("timeouts", |value| director::timeouts(&value.table()?, default))?;

    let health = health(table)?;
    let place = table.place();
    assembly.service(&place, config, health).map_err(|error| refused(table, key, error))?;
    let defaults = Defaults::read(table)?;
    let checks: Arc<[_]> = table.or("check", Vec::new(), |value| check::list(value, &defaults))?.into();
    let inhibit = table.or("inhibit_on_failure", false, Value::switch)?;
    for table in table.tables("server")? {
        let server = server(&table, key, &defaults, &checks, inhibit)?;
        let address = server.config.address;
        assembly.server(&table.place(), server).map_err(|error| {
            let problem = format!("service.server: {error}: real server {address} of {key}");
            table.place().error(problem, cure(error))
        })?;
    }
    Ok(())
}

/// At the field that it is about, if it is about one.
fn refused(table: &Table<'_>, key: ServiceKey, error: ChangeError) -> FileError {
    let field = match error {
        ChangeError::OnePacketNotUdp => "one_packet",
        ChangeError::PersistenceOutOfRange => "persistence",
        ChangeError::MaskMismatch => "persistence_mask",
        ChangeError::SlowStartOutOfRange => "slow_start",
        ChangeError::FamilyMismatch
        | ChangeError::DestinationAddressNotUnicast
        | ChangeError::TooManyDestinations => "sorry_server",
        _ => "",
    };
    match table.get(field) {
        Some(value) => value.error(error, cure(error)),
        None => table.place().error(format!("service: {error}: {key}"), cure(error)),
    }
}

fn key(table: &Table<'_>) -> Result<ServiceKey, FileError> {
    const WHAT: [&str; 4] = ["tcp", "udp", "sctp", "mark"];
    let given: Vec<_> = WHAT.iter().filter_map(|name| Some((*name, table.get(name)?))).collect();
    let (name, value) = match &given[..] {
        [one] => one,
        [] => {
            return Err(table.place().error(
                "service: it has no address and no mark",
                "one of tcp = \"VIP:PORT\", udp = \"VIP:PORT\", sctp = \"VIP:PORT\" and mark = NUMBER",
            ));
        }
        [(first, _), (second, value), ..] => {
            let problem = format!("the service has {first} already");
            return Err(value.error(problem, format!("a service of its own for {second}")));
        }
    };
    let ipv6 = table.get("ipv6");
    let protocol = match *name {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => {
            let mark = value.whole(1..=i64::from(u32::MAX))?;
            return Ok(ServiceKey::Mark { mark, ipv6: ipv6.map_or(Ok(false), |value| value.switch())? });
        }
    };
    if let Some(value) = ipv6 {
        return Err(
            value.error("it tells the family of a mark, and this service has an address", "no such line")
        );
    }
    let at: SocketAddr = value.parsed("\"VIP:PORT\", as in \"192.0.2.10:80\" or \"[2001:db8::10]:80\"")?;
    if matches!(at, SocketAddr::V6(at) if at.scope_id() != 0) {
        return Err(value.wrong("an address without a zone"));
    }
    Ok(ServiceKey::Address { protocol, address: at.ip(), port: at.port() })
}

fn scheduler(value: &Value<'_>) -> Result<SchedulerKind, FileError> {
    let names: Vec<_> = SchedulerKind::ALL.iter().map(|kind| kind.name()).collect();
    value.parsed(&format!("one of {}", names.join(", ")))
}

fn scheduler_flags(value: &Value<'_>, scheduler: SchedulerKind) -> Result<SchedulerFlags, FileError> {
    let own = flags::own(scheduler).iter().map(|(_, name)| *name);
    let known: Vec<_> = own.chain(["flag-1", "flag-2", "flag-3"]).collect();
    value.list()?.iter().try_fold(SchedulerFlags::NONE, |all, value| {
        let name = value.as_str().unwrap_or_default();
        match flags::named(name.as_bytes()) {
            Some((flag, _, owner)) if owner.is_none_or(|owner| owner == scheduler) => Ok(all.with(flag)),
            Some(_) => Err(value.error(
                format!("{value} is no flag of the scheduler {scheduler}"),
                format!("one of {}", known.join(", ")),
            )),
            None => Err(value.wrong(nearest::suggestion(name, &known))),
        }
    })
}

fn persistence(table: &Table<'_>, ipv6: bool) -> Result<Option<Persistence>, FileError> {
    let mask = table.maybe("persistence_mask", |value| {
        if ipv6 {
            return value.whole(1..=128).map(ClientMask::V6);
        }
        let mask: std::net::Ipv4Addr = value.parsed("an IPv4 mask, as in \"255.255.255.0\"")?;
        Ok(ClientMask::V4(mask.to_bits()))
    })?;
    let timeout = table.maybe("persistence", |value| value.time(false))?;
    match (timeout, mask) {
        (Some(timeout), mask) => {
            Ok(Some(Persistence { timeout, mask: mask.unwrap_or(ClientMask::whole(ipv6)) }))
        }
        (None, None) => Ok(None),
        (None, Some(_)) => {
            Err(table.missing("persistence", "persistence = 360, as there is a persistence_mask"))
        }
    }
}

fn health(table: &Table<'_>) -> Result<ServiceHealth, FileError> {
    let number = |key, default, least| {
        table.or(key, default, |value: &Value<'_>| value.whole(least..=i64::from(i32::MAX)))
    };
    let quorum = number("quorum", 1, 1)?;
    let hysteresis = number("hysteresis", 0, 0)?;
    if hysteresis >= quorum
        && let Some(value) = table.get("hysteresis")
    {
        return Err(value.wrong(format!("a number below the quorum, which is {quorum}")));
    }
    let inhibit = table.or("sorry_server_inhibit", false, Value::switch)?;
    let address = table.maybe("sorry_server", Value::address)?;
    if address.is_none() && table.get("sorry_server_inhibit").is_some() {
        return Err(table.missing("sorry_server", "an address, as there is a sorry_server_inhibit"));
    }
    let sorry_server = address.map(|address| SorryServer { address, inhibit });
    let on_down = table.or("on_down", OnDown::default(), |value| {
        let expected =
            "\"auto\", \"quiesce\", \"remove\" or \"drain TIME\", as in \"drain 30s\", at most 31 days";
        value.as_str().and_then(OnDown::parse).ok_or_else(|| value.wrong(expected))
    })?;
    let damping = table.or("damping", true, Value::switch)?;
    Ok(ServiceHealth { on_down, damping, quorum, hysteresis, sorry_server })
}

fn server(
    table: &Table<'_>,
    key: ServiceKey,
    defaults: &Defaults,
    checks: &Arc<[crate::config::Check]>,
    inhibit: bool,
) -> Result<Server, FileError> {
    table.known(SERVER_KEYS)?;
    let needed = || table.missing("address", "address = \"192.0.2.11\", the real server's own address");
    let address = table.get("address").ok_or_else(needed)?.address()?;
    let limit = |key| table.or(key, 0, |value: &Value<'_>| value.whole(0..=i64::from(u32::MAX)));
    let most = i64::from(DestinationConfig::MAX_WEIGHT);
    let config = DestinationConfig::new(address, key.port())
        .weight(table.or("weight", 1, |value| value.whole(0..=most))?)
        .thresholds(limit("upper_threshold")?, limit("lower_threshold")?);
    let checks = match table.get("check") {
        Some(value) => check::list(&value, defaults)?.into(),
        None => Arc::clone(checks),
    };
    if health::lacks_port(&checks, key.port()) {
        let problem = format!("service.server: a check has no port to ask, as {key} has none");
        return Err(table.place().error(problem, "connect_port in the check"));
    }
    let inhibit_on_failure = table.or("inhibit_on_failure", inhibit, Value::switch)?;
    Ok(Server { config, inhibit_on_failure, checks })
}
