//! Properties of configurations: their differences lead where they should, and TOML text loses nothing.

mod generators;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use lvs_admin::config::health::{
    CheckKind, CommandCheck, DnsCheck, HttpCheck, HttpVersion, MaskedByte, OnDown, Pattern, RecordType,
    Reply, SorryServer, Target, Timing, Tls, UdpCheck, Url, Via,
};
use lvs_admin::config::{
    Capacities, Check, Configuration, Difference, Interface, Server, ServerOrder, Service, ServiceHealth,
    difference, fuzzing, toml,
};
use lvs_admin::model::Model;
use lvs_core::config::{Change, DestinationConfig, Knobs, MarkRule, OnMiss, ServiceKey, VlanPath};
use lvs_core::{MacAddr, Subnet};
use proptest::collection::{btree_map, hash_map, vec};
use proptest::option;
use proptest::prelude::*;

use generators::{address, key, mark_rule, service, timeouts};

fn time(zero: bool) -> impl Strategy<Value = Duration> {
    let least = u64::from(!zero);
    prop_oneof![
        (least..=120).prop_map(Duration::from_secs),
        (least..=10_000_000_000).prop_map(Duration::from_nanos)
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{1,12}", "[a-z\\\\\"'#\u{e4}]{1,6}"]
}

fn sentence() -> impl Strategy<Value = String> {
    prop_oneof![word(), "[ -~]{1,20}"]
}

fn url() -> impl Strategy<Value = Url> {
    // Any text, with its signs made to mean themselves, and expressions.
    let plain = |text: String| {
        let escaped = |sign: char| sign.is_ascii_punctuation().then_some('\\').into_iter().chain([sign]);
        text.chars().flat_map(escaped).collect::<String>()
    };
    let expression = prop_oneof![sentence().prop_map(plain), r#"[a-z]{1,3}(\.|\[x\]|a\|"b"|\\d\+)\$?"#];
    let pattern =
        (expression, any::<[bool; 4]>()).prop_map(|(expression, [no_match, caseless, multiline, dotall])| {
            Pattern { expression, no_match, caseless, multiline, dotall }
        });
    let range = (0..=999u16, 0..=999u16).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let status = prop_oneof![Just(vec![(200, 299)]), vec(range, 1..4)];
    (word(), option::of(word()), status, option::of(any::<[u8; 16]>()), option::of(pattern)).prop_map(
        |(path, virtual_host, status, digest, regex)| Url { path, virtual_host, status, digest, regex },
    )
}

fn kind() -> impl Strategy<Value = CheckKind> {
    let tls = (any::<[bool; 2]>(), option::of(word())).prop_map(|([send_sni, verify], sni)| Tls {
        send_sni,
        sni,
        verify,
    });
    let version = prop::sample::select(vec![HttpVersion::V1_0, HttpVersion::V1_0Close, HttpVersion::V1_1]);
    let http = (option::of(tls), version, any::<bool>(), vec(url(), 1..4))
        .prop_map(|(tls, version, fast_recovery, urls)| HttpCheck { tls, version, fast_recovery, urls });
    let masked = (any::<u8>(), prop::sample::select(vec![0xff, 0xf0, 0x0f, 0]))
        .prop_map(|(value, mask)| MaskedByte { value: value & mask, mask });
    let reply = (vec(masked, 0..5), 0..=255u16, 255..=65_507u16)
        .prop_map(|(pattern, min_length, max_length)| Reply { pattern, min_length, max_length });
    let udp = (option::of(vec(any::<u8>(), 0..5)), option::of(reply))
        .prop_map(|(payload, reply)| UdpCheck { payload, reply });
    let records = vec![RecordType::A, RecordType::Soa, RecordType::Txt];
    let dns = (prop::sample::select(records), word()).prop_map(|(record, name)| DnsCheck { record, name });
    let command = (sentence(), time(false), any::<bool>(), option::of(sentence()))
        .prop_map(|(command, timeout, dynamic, user)| CommandCheck { command, timeout, dynamic, user });
    prop_oneof![
        Just(CheckKind::Tcp),
        Just(CheckKind::Ping),
        http.prop_map(CheckKind::Http),
        udp.prop_map(CheckKind::Udp),
        dns.prop_map(CheckKind::Dns),
        command.prop_map(CheckKind::Command),
    ]
}

fn check() -> impl Strategy<Value = Check> {
    let any_address = || any::<bool>().prop_flat_map(address);
    let port = || option::of(1..=u16::MAX);
    let via = prop::sample::select(vec![Via::Vip, Via::Rip]);
    let target = (via, option::of(any_address()), port(), option::of(any_address()), port()).prop_map(
        |(via, address, port, source, source_port)| Target { via, address, port, source, source_port },
    );
    let timing = (time(false), time(false), (0..5u32, 1..5u32), time(true), time(true)).prop_map(
        |(delay_loop, connect_timeout, (retry, rise), delay_before_retry, warmup)| Timing {
            delay_loop,
            connect_timeout,
            retry,
            rise,
            delay_before_retry,
            warmup,
        },
    );
    (kind(), target, timing, any::<bool>()).prop_map(|(kind, mut target, timing, alpha)| {
        // Only these can take either way.
        if !matches!(kind, CheckKind::Tcp | CheckKind::Http(HttpCheck { tls: None, .. })) {
            target.via = Via::Vip;
        }
        Check { kind, target, timing, alpha }
    })
}

/// Of few addresses, so that two configurations have some in common.
fn server(key: ServiceKey) -> impl Strategy<Value = Vec<Server>> {
    let weight = prop_oneof![Just(1), 0..4u32, 0..=DestinationConfig::MAX_WEIGHT];
    let limits = prop_oneof![Just((0, 0)), any::<u32>().prop_flat_map(|upper| (Just(upper), 0..=upper))];
    let checks = prop_oneof![2 => Just(Vec::new()), 1 => vec(check(), 1..3)];
    hash_map(1..12u8, (weight, limits, any::<bool>(), checks), 0..7).prop_map(move |servers| {
        let made = servers.into_iter().map(|(last, (weight, (upper, lower), inhibit_on_failure, checks))| {
            let address = if key.is_ipv6() {
                IpAddr::from([0x20, 0, 0, 0, 0, 0, 0, last.into()])
            } else {
                [10, 0, 0, last].into()
            };
            let config = DestinationConfig::new(address, key.port()).weight(weight).thresholds(upper, lower);
            Server { config, inhibit_on_failure, checks: Arc::from(checks) }
        });
        made.collect()
    })
}

/// Of few keys, so that two configurations have some in common.
fn near_key() -> impl Strategy<Value = ServiceKey> {
    let near = (1..4u8, any::<bool>()).prop_map(|(last, ipv6)| match (last, ipv6) {
        (3, ipv6) => ServiceKey::Mark { mark: 7, ipv6 },
        (last, false) => ServiceKey::tcp([192, 0, 2, last].into(), 80),
        (last, true) => ServiceKey::udp(IpAddr::from([0x20, 1, 0, 0, 0, 0, 0, last.into()]), 53),
    });
    prop_oneof![5 => near, 1 => key()]
}

fn whole_service(key: ServiceKey) -> impl Strategy<Value = Service> {
    let sorry = (address(key.is_ipv6()), any::<bool>())
        .prop_map(|(address, inhibit)| SorryServer { address, inhibit });
    let on_down = prop_oneof![
        Just(OnDown::Automatic),
        Just(OnDown::Quiesce),
        Just(OnDown::Remove),
        time(true).prop_map(OnDown::Drain),
    ];
    let health = (on_down, any::<bool>(), 1..5u32, 0..5u32, option::of(sorry)).prop_map(
        |(on_down, damping, quorum, hysteresis, sorry_server)| ServiceHealth {
            on_down,
            damping,
            quorum,
            hysteresis: hysteresis.min(quorum - 1),
            sorry_server,
        },
    );
    (service(key), server(key), health).prop_map(|(config, servers, health)| Service {
        config,
        servers,
        health,
    })
}

fn knobs() -> impl Strategy<Value = Knobs> {
    (0..4u8, any::<[bool; 4]>(), 251..=131_071u32, any::<u32>()).prop_map(
        |(mode, on, entries, expiration)| Knobs {
            conn_reuse_mode: mode,
            sloppy_tcp: on[0],
            drop_entry: on[1],
            on_miss: if on[2] { OnMiss::Hash } else { OnMiss::Refuse },
            decrement_ttl: on[3],
            maglev_entries: entries,
            lblc_expiration: expiration,
            ..Knobs::default()
        },
    )
}

fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    let one = (any::<[bool; 3]>(), prop::sample::select(vec![(0, 0), (5, 0), (5, 10)])).prop_map(
        |([gateways, mac, bridge], (outer, inner))| {
            let dip = |text: &str| -> Subnet { text.parse().unwrap() };
            let all = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
            Interface {
                name: String::new(),
                dips: vec![dip("192.0.2.208/24"), dip("2001:db8::d0/64"), dip("fe80::d0/64")],
                gateways: if gateways { all } else { Vec::new() },
                vlan: VlanPath { outer, inner },
                mac: mac.then_some(MacAddr([2, 0, 0, 0, 0, 9])),
                bridge: bridge.then(|| "br0".to_owned()),
            }
        },
    );
    vec(one, 0..3).prop_map(|mut all| {
        // Somebody has to lead everywhere.
        if let Some(first) = all.first_mut() {
            first.gateways = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        }
        for (number, interface) in all.iter_mut().enumerate() {
            interface.name = format!("eth{number}");
        }
        all
    })
}

fn neighbours() -> impl Strategy<Value = BTreeMap<IpAddr, MacAddr>> {
    btree_map(
        (1..6u8).prop_map(|last| IpAddr::from([192, 0, 2, last])),
        (1..9u8).prop_map(|last| MacAddr([2, 0, 0, 0, 0, last])),
        0..4,
    )
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let services = btree_map(near_key(), any::<()>(), 0..5)
        .prop_flat_map(|keys| keys.into_keys().map(whole_service).collect::<Vec<_>>());
    let fixed = (1..4u16, any::<bool>(), 64..9999u32, interfaces());
    let mark_rules = prop_oneof![Just(Vec::new()), vec(mark_rule(), 0..3)];
    (services.prop_shuffle(), mark_rules, timeouts(), knobs(), neighbours(), fixed).prop_map(
        |(services, mark_rules, timeouts, knobs, neighbours, (workers, allow, room, interfaces))| {
            Configuration {
                io: "xdp".to_owned(),
                workers: NonZeroU16::new(workers).unwrap(),
                allow_local_vip: allow,
                probe_addresses: vec!["192.0.2.209".parse().unwrap()],
                capacities: Capacities { max_connections: room, ..Capacities::default() },
                interfaces,
                knobs,
                timeouts,
                neighbours,
                mark_rules,
                services: services
                    .into_iter()
                    .map(|mut service| {
                        if service.config.key.port() == 0 {
                            for server in &mut service.servers {
                                let ported = server.checks.iter().cloned().map(|mut check| {
                                    check.target.port = check.target.port.or(Some(80));
                                    check
                                });
                                server.checks = ported.collect();
                            }
                        }
                        // A sorry server is none of the others.
                        let address = |server: &Server| server.config.address;
                        let same = |sorry: &SorryServer| {
                            service.servers.iter().any(|at| address(at) == sorry.address)
                        };
                        service.health.sorry_server =
                            service.health.sorry_server.filter(|sorry| !same(sorry));
                        service
                    })
                    .collect(),
            }
        },
    )
}

/// What a director would have: the model, and what the model does not hold.
#[derive(Debug, Clone, Default)]
struct Director {
    model: Model,
    knobs: Knobs,
    neighbours: BTreeMap<IpAddr, MacAddr>,
}

/// What can be seen of it.
type Seen = (Vec<lvs_admin::model::Service>, Vec<MarkRule>, String, Knobs, BTreeMap<IpAddr, MacAddr>);

impl Director {
    fn after(mut self, changes: &[Change]) -> Self {
        for change in changes {
            self.model.apply(change).unwrap_or_else(|error| panic!("{error}: {change:?}\nof {changes:#?}"));
            match *change {
                Change::SetKnobs(knobs) => self.knobs = knobs,
                Change::SetStaticNeighbour { address, mac: Some(mac) } => {
                    self.neighbours.insert(address, mac);
                }
                Change::SetStaticNeighbour { address, mac: None } => {
                    assert!(self.neighbours.remove(&address).is_some());
                }
                _ => {}
            }
        }
        self
    }

    fn seen(&self) -> Seen {
        let Self { model, knobs, neighbours } = self;
        let timeouts = format!("{:?}", model.timeouts());
        (model.services().collect(), model.mark_rules().to_vec(), timeouts, *knobs, neighbours.clone())
    }

    fn sorted(&self) -> Seen {
        let mut seen = self.seen();
        seen.0.iter_mut().for_each(|service| service.destinations.sort_by_key(|server| server.address));
        seen
    }
}

/// Lines that occur in a file, and some that nearly do.
fn toml_line() -> impl Strategy<Value = String> {
    const KEYS: &str =
        "tcp udp mark name dips address weight check url kind persistence retry payload status timeouts x";
    const VALUES: [&str; 16] = [
        "\"192.0.2.10:80\"",
        "\"10.0.0.1\"",
        "[\"10.0.0.208/24\"]",
        "1",
        "-1",
        "\"5s\"",
        "1.5",
        "true",
        "[]",
        "[{ kind = \"tcp\" }]",
        "[{ kind = \"http\", url = [{ status = [200] }] }]",
        "\"\"",
        "{ tcp = 5 }",
        "1979-05-27",
        "[[[",
        "99999999999999999999",
    ];
    const HEADINGS: [&str; 8] = [
        "[[service]]",
        "[[service.server]]",
        "[director]",
        "[[interface]]",
        "[knobs]",
        "[service]",
        "[[mark_rule]]",
        "[x.y.z]",
    ];
    let key = prop::sample::select(KEYS.split(' ').collect::<Vec<_>>());
    let entry =
        (key, prop::sample::select(VALUES.to_vec())).prop_map(|(key, value)| format!("{key} = {value}"));
    prop_oneof![3 => entry, 2 => prop::sample::select(HEADINGS.to_vec()).prop_map(str::to_owned), 1 => ".{0,12}"]
}

/// What a change is about, if it is about a server.
fn about(change: &Change) -> Option<(ServiceKey, IpAddr)> {
    match *change {
        Change::AddDestination(key, server) | Change::EditDestination(key, server) => {
            Some((key, server.address))
        }
        Change::RemoveDestination { service, address, .. } => Some((service, address)),
        _ => None,
    }
}

/// The servers that stay in both, with their configuration.
fn staying(old: &Configuration, new: &Configuration) -> Vec<(ServiceKey, IpAddr, bool)> {
    let all = |configuration: &Configuration| -> BTreeMap<(ServiceKey, IpAddr), DestinationConfig> {
        let services = configuration.services.iter();
        services
            .flat_map(|service| {
                service
                    .servers
                    .iter()
                    .map(|server| ((service.config.key, server.config.address), server.config))
            })
            .collect()
    };
    let new = all(new);
    let both = all(old)
        .into_iter()
        .filter_map(|((key, address), was)| new.get(&(key, address)).map(|is| (key, address, *is == was)));
    both.collect()
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_to_the_other(old in configuration(), new in configuration()) {
        let before = Director::default().after(&old.changes());
        let fresh = Director::default().after(&new.changes());

        let found = difference(&old, &new, ServerOrder::AsWritten);
        prop_assert_eq!(before.clone().after(&found.changes).seen(), fresh.seen());
        prop_assert!(found.order_kept.is_empty());

        let found = difference(&old, &new, ServerOrder::Kept);
        let after = before.clone().after(&found.changes);
        prop_assert_eq!(after.sorted(), fresh.sorted());
        for (at, is) in after.model.services().zip(fresh.model.services()) {
            let differs = at.destinations != is.destinations;
            prop_assert_eq!(found.order_kept.contains(&at.config.key), differs, "{:?}", at);
        }
        // Who stays is edited at most, and who does not differ is not touched.
        for (key, address, same) in staying(&old, &new) {
            let touching: Vec<_> =
                found.changes.iter().filter(|change| about(change) == Some((key, address))).collect();
            match touching[..] {
                [] => prop_assert!(same),
                [Change::EditDestination(..)] => prop_assert!(!same),
                _ => prop_assert!(false, "{touching:?}"),
            }
        }
    }

    #[test]
    fn equal_configurations_do_not_differ(configuration in configuration()) {
        for order in [ServerOrder::Kept, ServerOrder::AsWritten] {
            let found = difference(&configuration, &configuration, order);
            prop_assert!(found.is_empty(), "{found}");
            prop_assert_eq!(found, Difference::default());
        }
    }

    #[test]
    fn whatever_differs_is_told(old in configuration(), new in configuration()) {
        let found = difference(&old, &new, ServerOrder::AsWritten);
        let sorted = |configuration: &Configuration| {
            let mut configuration = configuration.clone();
            // The order of services says nothing, and this counts at the start only.
            configuration.services.sort_by_key(|service| service.config.key);
            configuration.allow_local_vip = false;
            configuration
        };
        prop_assert_eq!(sorted(&old) == sorted(&new), found.is_empty(), "{}", found);
        let lines = found.to_string().lines().count();
        prop_assert_eq!(lines, found.edits.len() + found.fixed.len());
    }

    #[test]
    fn any_bytes_are_safe(file in vec(any::<u8>(), 0..400)) {
        fuzzing::toml(&file);
    }

    #[test]
    fn nearly_right_toml_is_safe(lines in vec(toml_line(), 0..20)) {
        fuzzing::toml(lines.join("\n").as_bytes());
    }

    #[test]
    fn a_good_file_gone_wrong_is_safe(edits in vec((any::<prop::sample::Index>(), 0..4u8, toml_line()), 1..5)) {
        let mut file = include_bytes!("../../examples/etc/lvs.toml").to_vec();
        for (at, kind, line) in edits {
            let at = at.index(file.len().max(1)).min(file.len());
            match kind {
                0 => file.truncate(at),
                1 => drop(file.drain(at..(at + 7).min(file.len()))),
                2 => drop(file.splice(at..at, line.into_bytes())),
                _ => if let Some(byte) = file.get_mut(at) { *byte ^= 1 << (line.len() % 8) },
            }
        }
        fuzzing::toml(&file);
    }

    #[test]
    fn toml_text_reads_back(configuration in configuration()) {
        let text = toml::write(&configuration);
        let loaded = toml::read("f", text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        prop_assert!(loaded.notices.is_empty());
        prop_assert_eq!(&loaded.configuration, &configuration, "{}", text);
        let servers = configuration.changes();
        let added = servers.iter().filter(|change| matches!(change, Change::AddService(_) | Change::AddDestination(..)));
        for change in added {
            prop_assert!(loaded.origin(change).is_some(), "{change:?}");
        }
    }
}
