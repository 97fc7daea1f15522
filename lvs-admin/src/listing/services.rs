//! Virtual services and their real servers: `ipvsadm -Ln`, `--stats`, `--rate`, `--thresholds`, `--persistent-conn`.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};

use lvs_core::config::{ClientMask, ServiceConfig, ServiceKey};
use lvs_core::listing::{DestinationListing, Rates, ServiceListing, Statistics};

use super::number::Counter;
use crate::{collation, flags};

/// Which figures a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Columns {
    /// Scheduler, forwarding method, weight and numbers of connections: `ipvsadm -Ln`.
    #[default]
    Connections,
    /// Totals: `--stats`.
    Statistics,
    /// Per-second rates: `--rate`.
    Rates,
    /// Thresholds and numbers of connections: `--thresholds`.
    Thresholds,
    /// Weights, numbers of persistence templates and of connections: `--persistent-conn`.
    PersistentConnections,
}

/// The order of services and real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As ipvsadm: IPv4 before IPv6, then by protocol, address and port; marks last; servers by address and port.
    /// Addresses more than 2^31 apart may stand the other way round, because ipvsadm's comparison wraps.
    #[default]
    Sorted,
    /// As given: `--nosort`. A director gives servers in list order, last added first.
    AsGiven,
}

/// How services are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Which figures.
    pub columns: Columns,
    /// Large counters in full instead of in thousands, millions and so on: `--exact`.
    pub exact: bool,
    /// In which order.
    pub order: Order,
}

/// Lists all services, with a first line that shows `table_size`, the size of the connection table.
///
/// # Errors
/// Those of `out`.
pub fn services(
    out: &mut impl Write,
    services: &[ServiceListing],
    table_size: u32,
    style: Style,
) -> fmt::Result {
    writeln!(out, "IP Virtual Server version 1.2.1 (size={table_size})")?;
    column_header(out, style.columns)?;
    let mut ordered: Vec<&ServiceListing> = services.iter().collect();
    if style.order == Order::Sorted {
        collation::sort(&mut ordered, |a, b| collation::services(&a.config.key, &b.config.key));
    }
    ordered.into_iter().try_for_each(|service| rows(out, service, style))
}

/// Lists one service, as `ipvsadm -Ln -t VIP:PORT` or `-f MARK`: without the first line.
///
/// # Errors
/// Those of `out`.
pub fn service(out: &mut impl Write, service: &ServiceListing, style: Style) -> fmt::Result {
    column_header(out, style.columns)?;
    rows(out, service, style)
}

fn column_header(out: &mut impl Write, columns: Columns) -> fmt::Result {
    out.write_str(match columns {
        Columns::Connections => {
            "Prot LocalAddress:Port Scheduler Flags\n  \
             -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        }
        Columns::Statistics => {
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
             -> RemoteAddress:Port\n"
        }
        Columns::Rates => {
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  \
             -> RemoteAddress:Port\n"
        }
        Columns::Thresholds => {
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  \
             -> RemoteAddress:Port\n"
        }
        Columns::PersistentConnections => {
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  \
             -> RemoteAddress:Port\n"
        }
    })
}

/// A service's line and those of its servers.
fn rows(out: &mut impl Write, service: &ServiceListing, style: Style) -> fmt::Result {
    let name = service_name(&service.config.key);
    match style.columns {
        Columns::Connections | Columns::Thresholds | Columns::PersistentConnections => {
            writeln!(out, "{name} {}", properties(&service.config))?;
        }
        Columns::Statistics => figures(out, &name, statistics(&service.statistics), style.exact)?,
        Columns::Rates => figures(out, &name, rates(&service.rates), style.exact)?,
    }
    let mut destinations: Vec<&DestinationListing> = service.destinations.iter().collect();
    if style.order == Order::Sorted {
        collation::sort(&mut destinations, |a, b| collation::destinations(&a.config, &b.config));
    }
    destinations.into_iter().try_for_each(|destination| row(out, destination, style))
}

/// A real server's line.
fn row(out: &mut impl Write, destination: &DestinationListing, style: Style) -> fmt::Result {
    let config = &destination.config;
    let server = SocketAddr::new(config.address, config.port);
    let DestinationListing { active, inactive, persistent, .. } = *destination;
    match style.columns {
        Columns::Connections => writeln!(
            out,
            "  -> {server:<28} {:<7} {:<6} {:<10} {:<10}",
            config.forwarding.name(),
            config.weight,
            active,
            inactive,
        ),
        Columns::Thresholds => writeln!(
            out,
            "  -> {server:<28} {:<10} {:<10} {active:<10} {inactive:<10}",
            config.upper_threshold, config.lower_threshold,
        ),
        Columns::PersistentConnections => {
            writeln!(
                out,
                "  -> {server:<28} {:<9} {persistent:<11} {active:<10} {inactive:<10}",
                config.weight
            )
        }
        Columns::Statistics => {
            figures(out, &format!("  -> {server}"), statistics(&destination.statistics), style.exact)
        }
        Columns::Rates => figures(out, &format!("  -> {server}"), rates(&destination.rates), style.exact),
    }
}

/// `TCP  192.0.2.10:80`, `FWM  7` or `FWM  7 IPv6`
fn service_name(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Address { protocol, address, port } => {
            format!("{protocol:<4} {}", SocketAddr::new(address, port))
        }
        ServiceKey::Mark { mark, ipv6 } => format!("FWM  {mark}{}", if ipv6 { " IPv6" } else { "" }),
        ref other => other.to_string(),
    }
}

/// `sh (sh-port) persistent 300 mask 255.255.255.0 ops`
fn properties(config: &ServiceConfig) -> String {
    let mut text = config.scheduler.to_string();
    let flags = flags::list(config.scheduler, config.flags);
    if !flags.is_empty() {
        text += &format!(" ({flags})");
    }
    if let Some(persistence) = &config.persistence {
        text += &format!(" persistent {}", persistence.timeout.as_secs());
        match persistence.mask {
            mask if mask.is_whole() => {}
            ClientMask::V4(mask) => text += &format!(" mask {}", Ipv4Addr::from(mask)),
            ClientMask::V6(length) => text += &format!(" mask {length}"),
        }
    }
    if config.one_packet {
        text += " ops";
    }
    text
}

/// A name, 33 wide, and five counters.
fn figures(out: &mut impl Write, name: &str, values: [u64; 5], exact: bool) -> fmt::Result {
    write!(out, "{name:<33}")?;
    for value in values {
        write!(out, "{}", Counter { value, exact })?;
    }
    out.write_char('\n')
}

const fn statistics(of: &Statistics) -> [u64; 5] {
    [of.connections, of.in_packets, of.out_packets, of.in_bytes, of.out_bytes]
}

const fn rates(of: &Rates) -> [u64; 5] {
    [of.connections, of.in_packets, of.out_packets, of.in_bytes, of.out_bytes]
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig};

    fn destination(address: &str, weight: u32, active: u32) -> DestinationListing {
        DestinationListing {
            config: DestinationConfig::new(address.parse().unwrap(), 443).weight(weight),
            active,
            inactive: 17,
            persistent: 0,
            overloaded: false,
            effective_weight: weight,
            statistics: Statistics { in_bytes: 123_456_789, ..Statistics::default() },
            rates: Rates { in_packets: 3400, ..Rates::default() },
        }
    }

    fn listed(style: Style) -> String {
        let key = ServiceKey::tcp("2001:db8::10".parse().unwrap(), 443);
        let listing = ServiceListing {
            config: ServiceConfig::new(key, SchedulerKind::WeightedRoundRobin),
            statistics: Statistics { connections: u64::MAX, ..Statistics::default() },
            rates: Rates::default(),
            destinations: vec![
                destination("2001:db8:1111:2222:3333:4444:5555:6666", 2_147_483_647, 4_294_967_295),
                destination("2001:db8::b", 0, 3),
            ],
        };
        let mut text = String::new();
        service(&mut text, &listing, style).unwrap();
        text.split_once("RemoteAddress:Port").unwrap().1.split_once('\n').unwrap().1.to_owned()
    }

    /// What is wider than its column pushes the rest to the right; nothing is cut.
    #[test]
    fn wide_values_are_kept_whole() {
        assert_eq!(
            listed(Style::default()),
            "TCP  [2001:db8::10]:443 wrr\n\
             \x20 -> [2001:db8::b]:443            Route   0      3          17        \n\
             \x20 -> [2001:db8:1111:2222:3333:4444:5555:6666]:443 Route   2147483647 4294967295 17        \n",
        );
        let statistics = Style { columns: Columns::Statistics, exact: true, order: Order::AsGiven };
        assert_eq!(
            listed(statistics),
            "TCP  [2001:db8::10]:443           18446744073709551615        0        0        0        0\n\
             \x20 -> [2001:db8:1111:2222:3333:4444:5555:6666]:443        0        0        0 123456789        0\n\
             \x20 -> [2001:db8::b]:443                   0        0        0 123456789        0\n",
        );
    }

    #[test]
    fn unsorted_servers_stay_in_list_order() {
        let style = Style { columns: Columns::Rates, exact: false, order: Order::AsGiven };
        assert_eq!(
            listed(style),
            "TCP  [2001:db8::10]:443                  0        0        0        0        0\n\
             \x20 -> [2001:db8:1111:2222:3333:4444:5555:6666]:443        0     3400        0        0        0\n\
             \x20 -> [2001:db8::b]:443                   0     3400        0        0        0\n",
        );
    }
}
