//! The options of `-A` and `-E`: what a service is and how it is served.
//!
//! Here is decided which of them belong together; the values themselves are read in `value.rs`. Checks that a
//! director makes as well are the model's.

use std::time::Duration;

use lvs_core::config::{
    ChangeError, ClientMask, Persistence, Protocol, SchedulerFlags, SchedulerKind, ServiceConfig, ServiceKey,
    Timeouts,
};

use super::command::{Meaning, Odd, option, required, value_of};
use super::endpoint::{Role, endpoint};
use super::error::{Fault, Problem};
use super::scan::Scanned;
use super::table::{self, Slot};
use super::value;
use crate::{flags, model};

/// What `-p` alone stands for, in seconds.
const DEFAULT_PERSISTENCE: u64 = 360;

/// The service that a rule is about.
pub(super) fn key(line: &Scanned<'_>, found: &mut Meaning) -> Result<ServiceKey, Fault> {
    const WRITTEN: &str = "-t VIP:PORT, -u VIP:PORT, --sctp-service VIP:PORT or -f MARK";
    let (given, word) = required(line, Slot::Service, "service-address", WRITTEN)?;
    found.service = word.range();
    let family = option(line, Slot::Ipv6);
    let protocol = match given.spec.long {
        "--tcp-service" => Protocol::Tcp,
        "--udp-service" => Protocol::Udp,
        "--sctp-service" => Protocol::Sctp,
        _ => return Ok(ServiceKey::Mark { mark: value::mark(word)?, ipv6: family.is_some() }),
    };
    if let Some(option) = family {
        return Err(Fault::new(option.range.clone(), Problem::FamilyOfAddress));
    }
    let (address, port) = endpoint(word, Role::VirtualServer)?;
    Ok(ServiceKey::Address { protocol, address, port: port.unwrap_or(0) })
}

/// The whole service.
pub(super) fn config(line: &Scanned<'_>, found: &mut Meaning) -> Result<ServiceConfig, Fault> {
    let key = key(line, found)?;
    let scheduler = match value_of(line, Slot::Scheduler) {
        Some(name) => value::scheduler(name)?,
        None => SchedulerKind::WeightedLeastConnection,
    };
    let mut config = ServiceConfig::new(key, scheduler);
    config.flags = scheduler_flags(line, scheduler)?;
    config.persistence = persistence(line, key.is_ipv6(), found)?;
    config.one_packet = option(line, Slot::OnePacket).is_some();
    config.timeouts = timeouts(line)?;
    config.slow_start = value_of(line, Slot::SlowStart).map(value::slow_start).transpose()?;
    let weightless =
        [SchedulerKind::RoundRobin, SchedulerKind::LeastConnection, SchedulerKind::DestinationHashing];
    if config.slow_start.is_some() && weightless.contains(&scheduler) {
        found.odd = found.odd.or(Some(Odd::SlowStartUnused(scheduler)));
    }
    model::check_service(&config).map_err(|error| refused(error, line, found, key))?;
    Ok(config)
}

fn scheduler_flags(line: &Scanned<'_>, scheduler: SchedulerKind) -> Result<SchedulerFlags, Fault> {
    let Some(list) = value_of(line, Slot::SchedulerFlags) else {
        return Ok(SchedulerFlags::NONE);
    };
    list.split(b',').try_fold(SchedulerFlags::NONE, |flags, word| match flags::named(word.bytes) {
        Some((_, flag, Some(owner))) if owner != scheduler => {
            Err(Fault::new(word.range(), Problem::FlagOfAnother { flag, scheduler }))
        }
        Some((flag, ..)) => Ok(flags.with(flag)),
        None => Err(value::fault(word, |name| Problem::UnknownFlag { name })),
    })
}

/// The names of the flags that a scheduler has, for messages.
pub(super) fn flag_names(scheduler: SchedulerKind) -> String {
    let own = flags::own(scheduler).iter().map(|(_, name)| *name);
    table::listed(own.chain(["flag-1", "flag-2", "flag-3"]))
}

/// A mask without `-p` is read and then left alone, as in ipvsadm.
fn persistence(line: &Scanned<'_>, ipv6: bool, found: &mut Meaning) -> Result<Option<Persistence>, Fault> {
    let mask = value_of(line, Slot::Netmask);
    let mask = mask.map(|word| value::mask(word, ipv6)).transpose()?;
    let Some(given) = option(line, Slot::Persistence) else {
        if mask.is_some() {
            found.odd = Some(Odd::MaskUnused);
        }
        return Ok(None);
    };
    let timeout = match given.value() {
        Some(word) => value::timeout(word)?,
        None => Duration::from_secs(DEFAULT_PERSISTENCE),
    };
    Ok(Some(Persistence { timeout, mask: mask.unwrap_or(ClientMask::whole(ipv6)) }))
}

fn timeouts(line: &Scanned<'_>) -> Result<Option<Timeouts>, Fault> {
    let Some(given) = option(line, Slot::Timeouts) else { return Ok(None) };
    let [tcp, tcp_fin, udp] = *given.values.as_slice() else { return Ok(None) };
    Ok(Some(Timeouts {
        tcp: value::timeout(tcp)?,
        tcp_fin: value::timeout(tcp_fin)?,
        udp: value::timeout(udp)?,
    }))
}

/// What no director would take, at the option that it is about.
fn refused(error: ChangeError, line: &Scanned<'_>, found: &Meaning, key: ServiceKey) -> Fault {
    let range = match error {
        ChangeError::OnePacketNotUdp => option(line, Slot::OnePacket).map(|option| option.range.clone()),
        _ => None,
    };
    Fault::new(range.unwrap_or(found.service.clone()), Problem::Refused { error, subject: key.to_string() })
}
