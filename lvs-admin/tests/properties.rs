//! Properties of the rules grammar: no bytes disturb it, and what is saved reads back as it was.

use std::net::IpAddr;
use std::time::Duration;

use lvs_admin::model::{Model, Service};
use lvs_admin::rules::Warning;
use lvs_admin::{rules, save};
use lvs_core::Subnet;
use lvs_core::config::{
    Change, ClientMask, DestinationConfig, MarkRule, Persistence, PortRange, PortRanges, Protocol,
    SchedulerFlags, SchedulerKind, ServiceConfig, ServiceKey, Timeouts,
};
use proptest::collection::{btree_map, hash_map, vec};
use proptest::option;
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
const WORDS: &str = "-A -E -D -a -e -d -C -Z --set --add-service --add-server -t -u --tcp-service=1.2.3.4:80 -r -w -g -s \
    rr wrr wlc 1.2.3.4:80 1.2.3.4 5.6.7.8 [2001:db8::1]:80 [2001:db8::1] 0 1 900 -1 ipvsadm # -p -i -- - -L -gw2 -at \
    --weight= --weight=x 1.2.3.4:http [ ]: --= -= --mark tcp sctp 1.2.3.4/24 2001:db8::/64 80-90,7 -80 9-1, ,, -f -6 \
    --fwmark-service=7 --sctp-service -M 255.255.255.0 64 -b sh-port flag-1,mh-port -o -x -y --timeout --timeout=5 \
    --slow-start mh sh --pe -p300 --persistent=";

fn word() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    prop_oneof![
        12 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
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

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

fn key() -> impl Strategy<Value = ServiceKey> {
    let port = prop_oneof![4 => 1..=u16::MAX, 1 => Just(0)];
    let by_address = (protocol(), any::<bool>().prop_flat_map(address), port)
        .prop_map(|(protocol, address, port)| ServiceKey::Address { protocol, address, port });
    let by_mark = (1..=u32::MAX, any::<bool>()).prop_map(|(mark, ipv6)| ServiceKey::Mark { mark, ipv6 });
    prop_oneof![3 => by_address, 1 => by_mark]
}

/// From a second to 31 days.
fn seconds() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(1), Just(2_678_400), 1..=2_678_400u64].prop_map(Duration::from_secs)
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    (seconds(), seconds(), seconds()).prop_map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp })
}

fn persistence(ipv6: bool) -> impl Strategy<Value = Persistence> {
    let mask = if ipv6 {
        (1..=128u8).prop_map(ClientMask::V6).boxed()
    } else {
        prop_oneof![Just(u32::MAX), (0..32u32).prop_map(|bits| u32::MAX << bits), 1..=u32::MAX]
            .prop_map(ClientMask::V4)
            .boxed()
    };
    (seconds(), mask).prop_map(|(timeout, mask)| Persistence { timeout, mask })
}

fn flags() -> impl Strategy<Value = SchedulerFlags> {
    let each = [SchedulerFlags::FALLBACK, SchedulerFlags::PORT, SchedulerFlags::THIRD];
    prop::sample::subsequence(each.to_vec(), 0..=3)
        .prop_map(|flags| flags.into_iter().fold(SchedulerFlags::NONE, SchedulerFlags::with))
}

/// Any service that a director takes.
fn service(key: ServiceKey) -> impl Strategy<Value = ServiceConfig> {
    let persistence = match key {
        ServiceKey::Address { port: 0, .. } => persistence(key.is_ipv6()).prop_map(Some).boxed(),
        _ => option::of(persistence(key.is_ipv6())).boxed(),
    };
    let may_be_one_packet =
        matches!(key, ServiceKey::Mark { .. } | ServiceKey::Address { protocol: Protocol::Udp, .. });
    let one_packet = any::<bool>().prop_map(move |one| one && may_be_one_packet);
    let scheduler = prop::sample::select(SchedulerKind::ALL.to_vec());
    let slow_start = option::of((1..=86_400u64).prop_map(Duration::from_secs));
    (scheduler, flags(), persistence, one_packet, option::of(timeouts()), slow_start).prop_map(
        move |(scheduler, flags, persistence, one_packet, timeouts, slow_start)| ServiceConfig {
            flags,
            persistence,
            one_packet,
            timeouts,
            slow_start,
            ..ServiceConfig::new(key, scheduler)
        },
    )
}

/// Servers of the service's family on its port, in any list order.
fn servers(key: ServiceKey) -> impl Strategy<Value = Vec<DestinationConfig>> {
    let weight = prop_oneof![Just(1), Just(0), 0..=DestinationConfig::MAX_WEIGHT];
    let limits = prop_oneof![Just((0, 0)), any::<u32>().prop_flat_map(|upper| (Just(upper), 0..=upper)),];
    hash_map(address(key.is_ipv6()), (weight, limits), 0..6).prop_map(move |servers| {
        let made = servers.into_iter().map(|(rip, (weight, (upper, lower)))| {
            DestinationConfig::new(rip, key.port()).weight(weight).thresholds(upper, lower)
        });
        made.collect()
    })
}

fn mark_rule() -> impl Strategy<Value = MarkRule> {
    let destination = any::<bool>().prop_flat_map(|ipv6| {
        let longest = if ipv6 { 128u8 } else { 32 };
        (address(ipv6), 0..=longest).prop_map(|(address, length)| Subnet::new(address, length).unwrap())
    });
    let range = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) });
    let port = any::<u16>().prop_map(|port| PortRange { first: port, last: port });
    let ports = vec(prop_oneof![range, port], 1..=16).prop_map(|ranges| PortRanges::new(&ranges).unwrap());
    (1..=u32::MAX, protocol(), destination, ports).prop_map(|(mark, protocol, destination, ports)| MarkRule {
        mark,
        protocol,
        destination,
        ports,
    })
}

/// Everything that rules can say.
#[derive(Debug, Clone, PartialEq)]
struct Whole {
    services: Vec<Service>,
    mark_rules: Vec<MarkRule>,
    timeouts: Timeouts,
}

fn configuration() -> impl Strategy<Value = Whole> {
    let services = btree_map(key(), any::<()>(), 0..6).prop_flat_map(move |keys| {
        let services: Vec<_> = keys.into_keys().map(|key| (service(key), servers(key))).collect();
        services.prop_map(|services| {
            let made = services.into_iter().map(|(config, destinations)| Service { config, destinations });
            made.collect()
        })
    });
    (services, vec(mark_rule(), 0..4), timeouts()).prop_map(|(services, mark_rules, timeouts)| Whole {
        services,
        mark_rules,
        timeouts,
    })
}

fn saved(whole: &Whole, style: save::Style) -> String {
    let Whole { services, mark_rules, timeouts } = whole;
    let mut text = String::new();
    let configuration = save::Configuration { services, mark_rules, timeouts: Some(timeouts) };
    save(&mut text, &configuration, style).unwrap();
    text
}

fn loaded(text: &str) -> Whole {
    let mut model = Model::new();
    rules::load_onto(text.as_bytes(), &mut model).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Whole {
        services: model.services().collect(),
        mark_rules: model.mark_rules().to_vec(),
        timeouts: *model.timeouts(),
    }
}

fn sorted(mut whole: Whole) -> Whole {
    for service in &mut whole.services {
        service.destinations.sort_by_key(|server| server.address);
    }
    whole
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
    fn a_saved_configuration_reads_back(whole in configuration()) {
        let text = saved(&whole, save::Style::BACKUP);
        prop_assert_eq!(&loaded(&text), &whole, "{}", text);
        let rules = rules::load(text.as_bytes()).unwrap();
        let odd = |warning: &Warning| !matches!(warning, Warning::SlowStartUnused { .. });
        prop_assert!(!rules.iter().filter_map(|rule| rule.warning.as_ref()).any(odd));
        let added = rules.iter().filter(|rule| matches!(rule.change, Change::AddService(_)));
        prop_assert_eq!(added.count(), whole.services.len());
    }

    #[test]
    fn a_sorted_one_holds_the_same_servers(whole in configuration()) {
        let again = loaded(&saved(&whole, save::Style::default()));
        prop_assert_eq!(sorted(again), sorted(whole));
    }

    /// What ipvsadm could read lacks what ipvsadm has no words for, and nothing else.
    #[test]
    fn the_form_of_ipvsadm_reads_back_without_what_it_lacks(whole in configuration()) {
        let again = loaded(&saved(&whole, save::Style::IPVSADM));
        let mut whole = Whole { mark_rules: Vec::new(), timeouts: Timeouts::default(), ..whole };
        for service in &mut whole.services {
            service.config.timeouts = None;
            service.config.slow_start = None;
            for server in &mut service.destinations {
                *server = server.thresholds(0, 0);
            }
        }
        prop_assert_eq!(sorted(again), sorted(whole));
    }
}
