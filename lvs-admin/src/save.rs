//! A configuration written as rules: the layout of `ipvsadm -S -n`, with or without what ipvsadm has no words for.
//!
//! Counters and connections are not written, and neither are knobs and fixed neighbours: they are no rules.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use lvs_core::config::{
    ClientMask, DestinationConfig, ForwardingMethod, MarkRule, PortRange, Protocol, ServiceConfig,
    ServiceKey, Timeouts,
};

use crate::model::{Model, Service};
use crate::{collation, flags};

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Configuration<'a> {
    /// The services with their real servers, in any order.
    pub services: &'a [Service],
    /// The rules that mark packets, in the order in which they are tried.
    pub mark_rules: &'a [MarkRule],
    /// The time-outs of the director; `None` writes no `--set`.
    pub timeouts: Option<&'a Timeouts>,
}

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// All of it, so that reading the rules again gives the same configuration. Times are rounded up to whole seconds.
    #[default]
    Complete,
    /// What `ipvsadm -S -n` writes, and as it does, so that ipvsadm can read it. That leaves out thresholds (`-x`,
    /// `-y`), all time-outs, slow starts and mark rules.
    Ipvsadm,
}

/// In which order a service's real servers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By address and port, as `ipvsadm -S -n`. Reading the rules again may give another list order than the
    /// director had, and so another sequence of choices.
    #[default]
    Sorted,
    /// In the order in which they were added, so that reading the rules again gives the same list order.
    Restorable,
}

/// How a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// How much of it.
    pub form: Form,
    /// In which order.
    pub order: Order,
}

impl Style {
    /// Byte for byte as `ipvsadm -S -n`.
    pub const IPVSADM: Self = Self { form: Form::Ipvsadm, order: Order::Sorted };
    /// Everything, in the order that restores it.
    pub const BACKUP: Self = Self { form: Form::Complete, order: Order::Restorable };
}

/// Writes a configuration as rules, each on a line of its own: time-outs, mark rules, then the services in the order of
/// a sorted listing, each followed by its real servers.
///
/// # Errors
/// Those of `out`, and a service or forwarding method that the rules have no words for: better no file than
/// one that lacks a service.
pub fn save(out: &mut impl Write, configuration: &Configuration<'_>, style: Style) -> fmt::Result {
    if style.form == Form::Complete {
        if let Some(set) = configuration.timeouts {
            writeln!(out, "--set {}", three(set))?;
        }
        configuration.mark_rules.iter().try_for_each(|rule| mark_rule(out, rule))?;
    }
    let mut sorted: Vec<&Service> = configuration.services.iter().collect();
    collation::sort(&mut sorted, |a, b| collation::services(&a.config.key, &b.config.key));
    sorted.into_iter().try_for_each(|service| rules(out, service, style))
}

/// Writes what a model holds, completely and in the order that restores it.
///
/// # Errors
/// Those of [`save`].
pub fn model(out: &mut impl Write, model: &Model) -> fmt::Result {
    let services: Vec<Service> = model.services().collect();
    let configuration = Configuration {
        services: &services,
        mark_rules: model.mark_rules(),
        timeouts: Some(model.timeouts()),
    };
    save(out, &configuration, Style::BACKUP)
}

/// The rules of a service and its real servers.
fn rules(out: &mut impl Write, service: &Service, style: Style) -> fmt::Result {
    let name = service_words(&service.config.key).ok_or(fmt::Error)?;
    write!(out, "-A {name} -s {}", service.config.scheduler)?;
    service_options(out, &service.config, style.form)?;
    let mut destinations: Vec<&DestinationConfig> = service.destinations.iter().collect();
    match style.order {
        Order::Sorted => collation::sort(&mut destinations, collation::destinations),
        Order::Restorable => destinations.reverse(),
    }
    for destination in destinations {
        let forwarding = forwarding_word(destination.forwarding).ok_or(fmt::Error)?;
        let server = SocketAddr::new(destination.address, destination.port);
        write!(out, "-a {name} -r {server} {forwarding} -w {}", destination.weight)?;
        if style.form == Form::Complete {
            for (option, limit) in [("-x", destination.upper_threshold), ("-y", destination.lower_threshold)]
            {
                if limit != 0 {
                    write!(out, " {option} {limit}")?;
                }
            }
        }
        out.write_char('\n')?;
    }
    Ok(())
}

/// What follows the scheduler.
fn service_options(out: &mut impl Write, config: &ServiceConfig, form: Form) -> fmt::Result {
    if let Some(persistence) = &config.persistence {
        write!(out, " -p {}", seconds(persistence.timeout))?;
        match persistence.mask {
            mask if mask.is_whole() => {}
            ClientMask::V4(mask) => write!(out, " -M {}", std::net::Ipv4Addr::from(mask))?,
            ClientMask::V6(length) => write!(out, " -M {length}")?,
        }
    }
    let flags = flags::list(config.scheduler, config.flags);
    if !flags.is_empty() {
        write!(out, " -b {flags}")?;
    }
    if config.one_packet {
        out.write_str(" -o")?;
    }
    if form == Form::Complete {
        if let Some(timeouts) = &config.timeouts {
            write!(out, " --timeout {}", three(timeouts))?;
        }
        if let Some(takes) = config.slow_start {
            write!(out, " --slow-start {}", seconds(takes))?;
        }
    }
    out.write_char('\n')
}

/// `--mark 1 tcp 192.0.2.10/32 21,10000-20000`
fn mark_rule(out: &mut impl Write, rule: &MarkRule) -> fmt::Result {
    let protocol = match rule.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
        _ => return Err(fmt::Error),
    };
    write!(out, "--mark {} {protocol} {}", rule.mark, rule.destination)?;
    for (number, PortRange { first, last }) in rule.ports.as_slice().iter().enumerate() {
        out.write_char(if number == 0 { ' ' } else { ',' })?;
        if first == last { write!(out, "{first}")? } else { write!(out, "{first}-{last}")? }
    }
    out.write_char('\n')
}

pub(crate) fn service_words(key: &ServiceKey) -> Option<String> {
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
                _ => return None,
            };
            Some(format!("{option} {}", SocketAddr::new(address, port)))
        }
        ServiceKey::Mark { mark, ipv6 } => Some(format!("-f {mark}{}", if ipv6 { " -6" } else { "" })),
        _ => None,
    }
}

fn forwarding_word(method: ForwardingMethod) -> Option<&'static str> {
    match method {
        ForwardingMethod::DirectRouting => Some("-g"),
        _ => None,
    }
}

fn three(timeouts: &Timeouts) -> String {
    let Timeouts { tcp, tcp_fin, udp } = *timeouts;
    format!("{} {} {}", seconds(tcp), seconds(tcp_fin), seconds(udp))
}

/// Whole seconds, rounded up and at least one: to `--set` 0 means something else.
fn seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    const ALL: &str = "\
--set 900 120 300
--mark 1 tcp 192.0.2.10/32 21,10000-20000
--mark 1 sctp 2001:db8::/64 0-65535
-A -t 192.0.2.10:80 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port --timeout 900 120 300 --slow-start 60
-a -t 192.0.2.10:80 -r 192.0.2.11:80 -g -w 2 -x 100 -y 50
-a -t 192.0.2.10:80 -r 192.0.2.12:80 -g -w 1 -x 7
-A -f 1 -s wlc -o
-a -f 1 -r 192.0.2.11:0 -g -w 1
-A -f 1 -6 -s rr -p 360 -M 64
-a -f 1 -6 -r [2001:db8::11]:0 -g -w 1
";

    fn loaded() -> Model {
        let mut model = Model::new();
        rules::load_onto(ALL.as_bytes(), &mut model).unwrap();
        model
    }

    #[test]
    fn the_complete_form_loses_nothing() {
        let mut text = String::new();
        model(&mut text, &loaded()).unwrap();
        assert_eq!(text, ALL);
    }

    #[test]
    fn the_form_of_ipvsadm_has_only_what_ipvsadm_reads() {
        let model = loaded();
        let services: Vec<Service> = model.services().collect();
        let configuration = Configuration {
            services: &services,
            mark_rules: model.mark_rules(),
            timeouts: Some(model.timeouts()),
        };
        let mut text = String::new();
        save(&mut text, &configuration, Style::IPVSADM).unwrap();
        let own = |line: &&str| !line.starts_with("--");
        let rest = ["--timeout", "--slow-start", "-x", "-y"];
        let kept = ALL.lines().filter(own).map(|line| {
            let end = rest.iter().filter_map(|option| line.find(&format!(" {option} "))).min();
            format!("{}\n", &line[..end.unwrap_or(line.len())])
        });
        assert_eq!(text, kept.collect::<String>());
    }

    #[test]
    fn parts_of_seconds_count_as_seconds() {
        let nanos = Duration::from_nanos;
        assert_eq!(
            [nanos(0), nanos(1), nanos(1_000_000_000), nanos(1_000_000_001)].map(seconds),
            [1, 1, 1, 2]
        );
    }
}
