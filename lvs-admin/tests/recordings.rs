//! Listings and saved rules against those of a real kernel and ipvsadm 1.31.
//!
//! `fixtures/listings.txt` holds texts of many recorded scenarios, each under a line `=== SCENARIO KIND`. A
//! listing is read back into values by its columns and printed again; rules are loaded and saved again. The
//! text must come out byte for byte. Of what this crate can express every distinct text is there; of the
//! connection listings the short ones and a few long ones.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs_admin::listing::{self, Columns, Order, Style};
use lvs_admin::model::{Model, Service};
use lvs_admin::{rules, save};
use lvs_core::config::{DestinationConfig, Protocol, SchedulerKind, ServiceConfig, ServiceKey, Timeouts};
use lvs_core::connection::{ConnectionRecord, ConnectionState};
use lvs_core::listing::{DestinationListing, Rates, ServiceListing, Statistics};

const FIXTURE: &str = include_str!("fixtures/listings.txt");

/// The recorded texts of one kind, each with the name of its scenario.
fn recorded(kind: &str) -> Vec<(&'static str, &'static str)> {
    let texts = FIXTURE.split("=== ").skip(1).filter_map(|part| {
        let (title, text) = part.split_once('\n').unwrap();
        Some((title.strip_suffix(kind)?.strip_suffix(' ')?, text))
    });
    texts.collect()
}

/// The services of a listing, in reverse order, so that sorting has something to do.
fn services(text: &str, columns: Columns) -> Vec<ServiceListing> {
    let mut services: Vec<ServiceListing> = Vec::new();
    let lines = text.lines().skip_while(|line| !line.starts_with("  -> RemoteAddress")).skip(1);
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, values) = (endpoint(words[1]), &words[2..]);
        let (statistics, rates) = figures(values, columns);
        if words[0] == "->" {
            let weight = if columns == Columns::Connections { values[1].parse().unwrap() } else { 1 };
            let count =
                |at: usize| if columns == Columns::Connections { values[at].parse().unwrap() } else { 0 };
            services.last_mut().unwrap().destinations.insert(
                0,
                DestinationListing {
                    config: DestinationConfig::new(name.0, name.1).weight(weight),
                    active: count(2),
                    inactive: count(3),
                    statistics,
                    rates,
                },
            );
        } else {
            let protocol = protocol(words[0]);
            let key = ServiceKey::Address { protocol, address: name.0, port: name.1 };
            let scheduler = match columns {
                Columns::Connections => values[0].parse().unwrap(),
                Columns::Statistics | Columns::Rates => SchedulerKind::RoundRobin,
            };
            let config = ServiceConfig::new(key, scheduler);
            services.push(ServiceListing { config, statistics, rates, destinations: Vec::new() });
        }
    }
    services.reverse();
    services
}

fn figures(values: &[&str], columns: Columns) -> (Statistics, Rates) {
    let mut statistics = Statistics::default();
    let mut rates = Rates::default();
    let value = |at: usize| values[at].parse::<u64>().unwrap();
    match columns {
        Columns::Connections => {}
        Columns::Statistics => {
            statistics = Statistics {
                connections: value(0),
                in_packets: value(1),
                out_packets: value(2),
                in_bytes: value(3),
                out_bytes: value(4),
            }
        }
        Columns::Rates => {
            rates = Rates {
                connections: value(0),
                in_packets: value(1),
                out_packets: value(2),
                in_bytes: value(3),
                out_bytes: value(4),
            }
        }
    }
    (statistics, rates)
}

fn protocol(name: &str) -> Protocol {
    match name {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        other => panic!("protocol {other}"),
    }
}

fn endpoint(text: &str) -> (IpAddr, u16) {
    let endpoint: SocketAddr = text.parse().unwrap();
    (endpoint.ip(), endpoint.port())
}

fn record(line: &str) -> ConnectionRecord {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (minutes, seconds) = words[1].split_once(':').unwrap();
    let seconds = minutes.parse::<u64>().unwrap() * 60 + seconds.parse::<u64>().unwrap();
    let state = match words[2] {
        "NONE" => ConnectionState::None,
        "SYN_RECV" => ConnectionState::SynReceived,
        "ESTABLISHED" => ConnectionState::Established,
        "FIN_WAIT" => ConnectionState::FinWait,
        "TIME_WAIT" => ConnectionState::TimeWait,
        "CLOSE" => ConnectionState::Close,
        "UDP" => ConnectionState::Udp,
        other => panic!("state {other}"),
    };
    ConnectionRecord {
        protocol: protocol(words[0]),
        client: words[3].parse().unwrap(),
        virtual_address: words[4].parse().unwrap(),
        destination: words[5].parse().unwrap(),
        state,
        expires_in: Duration::from_millis(seconds * 1000 + 999),
        timeout: Duration::ZERO,
        packets: 0,
    }
}

#[track_caller]
fn same(scenario: &str, printed: &str, recorded: &str) {
    assert!(printed == recorded, "{scenario}: printed\n{printed}\nrecorded\n{recorded}");
}

/// Prints every recorded listing of a kind again.
fn print_again(kind: &str, least: usize, style: Style) {
    let texts = recorded(kind);
    assert!(texts.len() >= least, "{kind}: only {} texts", texts.len());
    for (scenario, text) in texts {
        let services = services(text, style.columns);
        assert!(!services.is_empty(), "{scenario}: nothing in it");
        let mut printed = String::new();
        listing::services(&mut printed, &services, 4096, style).unwrap();
        same(scenario, &printed, text);
    }
}

#[test]
fn services_with_their_connections() {
    print_again("-Ln", 60, Style::default());
}

#[test]
fn totals_and_rates() {
    let style = |columns, exact| Style { columns, exact, order: Order::Sorted };
    print_again("--stats", 15, style(Columns::Statistics, false));
    print_again("--stats --exact", 15, style(Columns::Statistics, true));
    print_again("--rate", 15, style(Columns::Rates, false));
}

#[test]
fn one_service_alone() {
    let texts = recorded("--stats -t");
    assert_eq!(texts.len(), 1);
    for (scenario, text) in texts {
        let services = services(text, Columns::Statistics);
        let mut printed = String::new();
        let style = Style { columns: Columns::Statistics, ..Style::default() };
        listing::service(&mut printed, &services[0], style).unwrap();
        same(scenario, &printed, text);
    }
}

#[test]
fn connections() {
    let texts = recorded("-Lnc");
    assert!(texts.len() >= 25, "only {} texts", texts.len());
    let mut lines = 0;
    for (scenario, text) in texts {
        let records: Vec<_> = text.lines().skip(2).map(record).collect();
        lines += records.len();
        let mut printed = String::new();
        listing::connections(&mut printed, &records).unwrap();
        same(scenario, &printed, text);
    }
    assert!(lines >= 150, "only {lines} connections");
}

#[test]
fn timeouts() {
    let texts = recorded("--timeout");
    assert!(texts.len() >= 3, "only {} texts", texts.len());
    for (scenario, text) in texts {
        let values: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [tcp, tcp_fin, udp] = values[..] else { panic!("{scenario}: {values:?}") };
        let seconds = Duration::from_secs;
        let timeouts = Timeouts { tcp: seconds(tcp), tcp_fin: seconds(tcp_fin), udp: seconds(udp) };
        let mut printed = String::new();
        listing::timeouts(&mut printed, &timeouts).unwrap();
        same(scenario, &printed, text);
    }
}

/// The rules and edits of a whole scenario, loaded and saved, give what ipvsadm saved at its end.
#[test]
fn rules_load_and_save() {
    let sources = recorded("rules");
    let saved = recorded("-Sn");
    assert!(sources.len() >= 25, "only {} texts", sources.len());
    assert_eq!(sources.len(), saved.len());
    for ((scenario, source), (_, expected)) in sources.into_iter().zip(saved) {
        let mut model = Model::new();
        rules::load_onto(source.as_bytes(), &mut model).unwrap_or_else(|error| panic!("{scenario}: {error}"));
        let services: Vec<Service> = model.services().collect();
        let mut printed = String::new();
        save(&mut printed, &services, save::Order::Sorted).unwrap();
        same(scenario, &printed, expected);
    }
}
