//! Properties of the rules grammar: no bytes disturb it, and what is saved reads back as it was.

use std::net::IpAddr;

use lvs_admin::model::{Model, Service};
use lvs_admin::{rules, save};
use lvs_core::config::{Change, DestinationConfig, Protocol, SchedulerKind, ServiceConfig, ServiceKey};
use proptest::collection::{btree_map, hash_map, vec};
use proptest::prelude::*;

/// Whatever the outcome: positions lie inside the file, and messages are one line of text that a terminal
/// only shows.
fn check(file: &[u8]) -> Result<(), TestCaseError> {
    let lines: Vec<&[u8]> = file.split(|&byte| byte == b'\n').collect();
    match rules::load(file) {
        Ok(loaded) => {
            let parsed = rules::parse(file);
            prop_assert_eq!(Ok(&loaded), parsed.as_ref());
            prop_assert!(loaded.iter().all(|rule| (1..=lines.len()).contains(&rule.line)));
        }
        Err(error) => {
            prop_assert!((1..=lines.len()).contains(&error.line()));
            let column = error.column();
            prop_assert!(column.start <= column.end && column.end <= lines[error.line() - 1].len());
            prop_assert!(!error.to_string().contains(|c: char| c.is_control()), "{error}");
            let shown = error.display("f").with_excerpt().to_string();
            prop_assert_eq!(shown.lines().count(), 3, "{}", shown);
            prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");
            prop_assert!(shown.ends_with('^'));
        }
    }
    Ok(())
}

/// Words that occur in rules, and some that nearly do.
fn word() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "-A",
        "-E",
        "-D",
        "-a",
        "-e",
        "-d",
        "-C",
        "-Z",
        "--set",
        "--add-service",
        "--add-server",
        "-t",
        "-u",
        "--tcp-service=1.2.3.4:80",
        "-r",
        "-w",
        "-g",
        "-s",
        "rr",
        "wrr",
        "wlc",
        "1.2.3.4:80",
        "1.2.3.4",
        "5.6.7.8",
        "[2001:db8::1]:80",
        "[2001:db8::1]",
        "0",
        "1",
        "900",
        "-1",
        "ipvsadm",
        "#",
        "-p",
        "-i",
        "--",
        "-",
        "-L",
        "-gw2",
        "-at",
        "--weight=",
        "--weight=x",
        "1.2.3.4:http",
        "[",
        "]:",
        "--=",
        "-=",
    ];
    prop_oneof![
        12 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ]
}

fn address(ipv6: bool) -> BoxedStrategy<IpAddr> {
    if ipv6 {
        // The first byte keeps it unicast.
        any::<u128>().prop_map(|bits| IpAddr::from(((bits >> 8) | (0x20 << 120)).to_be_bytes())).boxed()
    } else {
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| IpAddr::from([a % 223 + 1, b, c, d])).boxed()
    }
}

fn key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    (protocol, any::<bool>().prop_flat_map(address), 1..=u16::MAX)
        .prop_map(|(protocol, address, port)| ServiceKey::Address { protocol, address, port })
}

/// A service with servers of its family on its port, in any list order.
fn servers(key: ServiceKey) -> impl Strategy<Value = Vec<DestinationConfig>> {
    let ServiceKey::Address { address: vip, port, .. } = key else { unreachable!("only addresses are made") };
    let weight = prop_oneof![Just(1), Just(0), 0..=DestinationConfig::MAX_WEIGHT];
    hash_map(address(vip.is_ipv6()), weight, 0..6).prop_map(move |servers| {
        servers.into_iter().map(|(rip, weight)| DestinationConfig::new(rip, port).weight(weight)).collect()
    })
}

fn configuration() -> impl Strategy<Value = Vec<Service>> {
    let service = |key| (prop::sample::select(SchedulerKind::ALL.to_vec()), servers(key));
    btree_map(key(), any::<()>(), 0..6).prop_flat_map(move |keys| {
        let services: Vec<_> = keys.into_keys().map(|key| (Just(key), service(key))).collect();
        services.prop_map(|services| {
            let made = services.into_iter().map(|(key, (scheduler, destinations))| Service {
                config: ServiceConfig::new(key, scheduler),
                destinations,
            });
            made.collect()
        })
    })
}

fn saved(services: &[Service], order: save::Order) -> String {
    let mut text = String::new();
    save(&mut text, services, order).unwrap();
    text
}

fn loaded(text: &str) -> Vec<Service> {
    let mut model = Model::new();
    rules::load_onto(text.as_bytes(), &mut model).unwrap();
    model.services().collect()
}

proptest! {
    #[test]
    fn any_bytes_are_safe(file in vec(any::<u8>(), 0..400)) {
        check(&file)?;
    }

    #[test]
    fn nearly_right_rules_are_safe(lines in vec(vec(word(), 0..8), 0..12)) {
        let lines: Vec<Vec<u8>> = lines.into_iter().map(|words| words.join(&b' ')).collect();
        check(&lines.join(&b'\n'))?;
    }

    #[test]
    fn a_saved_configuration_reads_back(services in configuration()) {
        let text = saved(&services, save::Order::Restorable);
        prop_assert_eq!(&loaded(&text), &services, "{}", text);
        let rules = rules::load(text.as_bytes()).unwrap();
        prop_assert!(rules.iter().all(|rule| rule.warning.is_none()));
        let added = rules.iter().filter(|rule| matches!(rule.change, Change::AddService(_)));
        prop_assert_eq!(added.count(), services.len());
    }

    #[test]
    fn a_sorted_one_holds_the_same_servers(services in configuration()) {
        let mut again = loaded(&saved(&services, save::Order::Sorted));
        let mut services = services;
        for service in services.iter_mut().chain(&mut again) {
            service.destinations.sort_by_key(|server| server.address);
        }
        prop_assert_eq!(again, services);
    }
}
