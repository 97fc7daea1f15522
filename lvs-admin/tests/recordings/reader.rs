//! Listings read back into values by their columns.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use lvs_admin::listing::Columns;
use lvs_core::config::{
    ClientMask, DestinationConfig, Persistence, Protocol, SchedulerFlags, SchedulerKind, ServiceConfig,
    ServiceKey,
};
use lvs_core::listing::{DestinationListing, Rates, ServiceListing, Statistics};

/// The services of a listing, in reverse order, so that sorting has something to do.
pub(crate) fn services(text: &str, columns: Columns) -> Vec<ServiceListing> {
    let mut services: Vec<ServiceListing> = Vec::new();
    let lines = text.lines().skip_while(|line| !line.starts_with("  -> RemoteAddress")).skip(1);
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "->" {
            services.last_mut().unwrap().destinations.insert(0, destination(&words[1..], columns));
            continue;
        }
        let (key, rest) = key(&words);
        let config = match columns {
            Columns::Statistics | Columns::Rates => ServiceConfig::new(key, SchedulerKind::RoundRobin),
            _ => config(key, rest),
        };
        let (statistics, rates) = figures(rest, columns);
        services.push(ServiceListing { config, statistics, rates, destinations: Vec::new() });
    }
    services.reverse();
    services
}

/// The key at the beginning of a line, and the words behind it.
fn key<'l, 'w>(words: &'l [&'w str]) -> (ServiceKey, &'l [&'w str]) {
    if words[0] == "FWM" {
        let mark = words[1].parse().unwrap();
        let ipv6 = words.get(2) == Some(&"IPv6");
        return (ServiceKey::Mark { mark, ipv6 }, &words[if ipv6 { 3 } else { 2 }..]);
    }
    let endpoint: SocketAddr = words[1].parse().unwrap();
    let protocol = protocol(words[0]).unwrap();
    (ServiceKey::Address { protocol, address: endpoint.ip(), port: endpoint.port() }, &words[2..])
}

/// `mh (mh-port) persistent 300 mask 255.255.255.0 ops`
fn config(key: ServiceKey, words: &[&str]) -> ServiceConfig {
    let mut config = ServiceConfig::new(key, words[0].parse().unwrap());
    let mut words = words[1..].iter();
    while let Some(word) = words.next() {
        match *word {
            "persistent" => {
                let timeout = Duration::from_secs(words.next().unwrap().parse().unwrap());
                config.persistence = Some(Persistence { timeout, mask: ClientMask::whole(key.is_ipv6()) });
            }
            "mask" => {
                let text = words.next().unwrap();
                config.persistence.as_mut().unwrap().mask = match text.parse::<Ipv4Addr>() {
                    Ok(mask) => ClientMask::V4(mask.to_bits()),
                    Err(_) => ClientMask::V6(text.parse().unwrap()),
                };
            }
            "ops" => config.one_packet = true,
            flags => {
                let names = flags.trim_start_matches('(').trim_end_matches(')').split(',');
                config.flags = names.fold(SchedulerFlags::NONE, |flags, name| flags.with(flag(name)));
            }
        }
    }
    config
}

fn flag(name: &str) -> SchedulerFlags {
    match name {
        "sh-fallback" | "mh-fallback" | "flag-1" => SchedulerFlags::FALLBACK,
        "sh-port" | "mh-port" | "flag-2" => SchedulerFlags::PORT,
        "flag-3" => SchedulerFlags::THIRD,
        other => panic!("flag {other}"),
    }
}

fn destination(words: &[&str], columns: Columns) -> DestinationListing {
    let server: SocketAddr = words[0].parse().unwrap();
    let values = &words[1..];
    let (statistics, rates) = figures(values, columns);
    let number = |at: usize| values[at].parse::<u32>().unwrap();
    let mut config = DestinationConfig::new(server.ip(), server.port());
    let (mut persistent, mut connections) = (0, [0, 0]);
    match columns {
        Columns::Connections => {
            config.weight = number(1);
            connections = [number(2), number(3)];
        }
        Columns::Thresholds => {
            config = config.thresholds(number(0), number(1));
            connections = [number(2), number(3)];
        }
        Columns::PersistentConnections => {
            config.weight = number(0);
            persistent = number(1);
            connections = [number(2), number(3)];
        }
        Columns::Statistics | Columns::Rates => {}
    }
    let [active, inactive] = connections;
    let effective_weight = config.weight;
    DestinationListing {
        config,
        active,
        inactive,
        persistent,
        overloaded: false,
        effective_weight,
        statistics,
        rates,
    }
}

fn figures(values: &[&str], columns: Columns) -> (Statistics, Rates) {
    let none = (Statistics::default(), Rates::default());
    let five = || -> [u64; 5] { std::array::from_fn(|at| values[at].parse().unwrap()) };
    match columns {
        Columns::Statistics => (totals(five()), none.1),
        Columns::Rates => (none.0, rates(five())),
        _ => none,
    }
}

fn totals([connections, in_packets, out_packets, in_bytes, out_bytes]: [u64; 5]) -> Statistics {
    Statistics { connections, in_packets, out_packets, in_bytes, out_bytes }
}

fn rates([connections, in_packets, out_packets, in_bytes, out_bytes]: [u64; 5]) -> Rates {
    Rates { connections, in_packets, out_packets, in_bytes, out_bytes }
}

/// `None` for IP, which is any.
fn protocol(name: &str) -> Option<Protocol> {
    match name {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        "IP" => None,
        other => panic!("protocol {other}"),
    }
}

/// The services of `/proc/net/ip_vs`, in its order.
pub(crate) fn kernel_services(text: &str) -> Vec<ServiceListing> {
    let mut services: Vec<ServiceListing> = Vec::new();
    for line in text.lines().skip(3) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "->" {
            let (address, port) = kernel_endpoint(words[1]);
            let server = SocketAddr::new(address, port).to_string();
            let values = [&[server.as_str()], &words[2..]].concat();
            services.last_mut().unwrap().destinations.push(destination(&values, Columns::Connections));
            continue;
        }
        let key = if words[0] == "FWM" {
            // Which family it is the file does not say; a mask tells, where there is one.
            let ipv6 = words.last().is_some_and(|mask| mask.ends_with("000000") && words.len() > 3);
            ServiceKey::Mark { mark: u32::from_str_radix(words[1], 16).unwrap(), ipv6 }
        } else {
            let (address, port) = kernel_endpoint(words[1]);
            ServiceKey::Address { protocol: protocol(words[0]).unwrap(), address, port }
        };
        let mut config = ServiceConfig::new(key, words[2].parse().unwrap());
        config.one_packet = words.contains(&"ops");
        if let Some(at) = words.iter().position(|word| *word == "persistent") {
            let timeout = Duration::from_millis(words[at + 1].parse::<u64>().unwrap() * 10);
            let mask = u32::from_str_radix(words[at + 2], 16).unwrap();
            let mask = if key.is_ipv6() { ClientMask::V6((mask >> 24) as u8) } else { ClientMask::V4(mask) };
            config.persistence = Some(Persistence { timeout, mask });
        }
        let (statistics, rates) = (Statistics::default(), Rates::default());
        services.push(ServiceListing { config, statistics, rates, destinations: Vec::new() });
    }
    services
}

fn kernel_endpoint(text: &str) -> (IpAddr, u16) {
    let (address, port) = text.rsplit_once(':').unwrap();
    let address = address.trim_start_matches('[').trim_end_matches(']');
    (kernel_address(address), u16::from_str_radix(port, 16).unwrap())
}

fn kernel_address(text: &str) -> IpAddr {
    match text.parse() {
        Ok(address) => IpAddr::V6(address),
        Err(_) => IpAddr::V4(u32::from_str_radix(text, 16).unwrap().into()),
    }
}

/// Totals and rates of `/proc/net/ip_vs_stats`.
pub(crate) fn kernel_statistics(text: &str) -> (Statistics, Rates) {
    let five = |line: usize| -> [u64; 5] {
        let words: Vec<&str> = text.lines().nth(line).unwrap().split_whitespace().collect();
        std::array::from_fn(|at| u64::from_str_radix(words[at], 16).unwrap())
    };
    (totals(five(2)), rates(five(5)))
}

/// Connections and templates.
pub(crate) mod records {
    use super::{Duration, SocketAddr, kernel_address, protocol};
    use lvs_core::connection::{ConnectionRecord, ConnectionState};

    /// A line of `ipvsadm -Lnc`.
    pub(crate) fn from_listing(line: &str) -> ConnectionRecord {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (minutes, seconds) = words[1].split_once(':').unwrap();
        let seconds = minutes.parse::<u64>().unwrap() * 60 + seconds.parse::<u64>().unwrap();
        let ends = [words[3], words[4], words[5]].map(|end| end.parse().unwrap());
        record(words[0], words[2], ends, seconds)
    }

    /// A line of `/proc/net/ip_vs_conn`.
    pub(crate) fn from_kernel(line: &str) -> ConnectionRecord {
        let words: Vec<&str> = line.split_whitespace().collect();
        let end = |at: usize| {
            SocketAddr::new(kernel_address(words[at]), u16::from_str_radix(words[at + 1], 16).unwrap())
        };
        record(words[0], words[7], [end(1), end(3), end(5)], words[8].parse().unwrap())
    }

    fn record(name: &str, state: &str, ends: [SocketAddr; 3], seconds: u64) -> ConnectionRecord {
        let [client, virtual_address, destination] = ends;
        let is_sctp = name == "SCTP";
        let state = match state {
            "NONE" => ConnectionState::None,
            "ASSURED" => ConnectionState::Assured,
            "SYN_RECV" => ConnectionState::SynReceived,
            "SYNACK" => ConnectionState::SynAck,
            "ESTABLISHED" if is_sctp => ConnectionState::SctpEstablished,
            "ESTABLISHED" => ConnectionState::Established,
            "FIN_WAIT" => ConnectionState::FinWait,
            "TIME_WAIT" => ConnectionState::TimeWait,
            "CLOSE" => ConnectionState::Close,
            "UDP" => ConnectionState::Udp,
            "INIT1" => ConnectionState::SctpInit1,
            "INIT" => ConnectionState::SctpInit,
            "C-SENT" => ConnectionState::SctpCookieSent,
            "S-RECEIVED" => ConnectionState::SctpShutdownReceived,
            "S-ACK_SENT" => ConnectionState::SctpShutdownAckSent,
            "REJECTED" => ConnectionState::SctpRejected,
            "CLOSED" => ConnectionState::SctpClosed,
            other => panic!("state {other}"),
        };
        ConnectionRecord {
            protocol: protocol(name),
            template: client.port() == 0,
            client,
            virtual_address,
            destination,
            state,
            expires_in: Duration::from_millis(seconds * 1000 + 999),
            timeout: Duration::ZERO,
            packets: 0,
        }
    }
}
