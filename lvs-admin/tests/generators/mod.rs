//! Any services, servers and mark rules that a director takes, for properties.

// Each test program uses a part of it.
#![allow(dead_code, reason = "what is unused differs from program to program")]

use std::net::IpAddr;
use std::time::Duration;

use lvs_core::Subnet;
use lvs_core::config::{
    ClientMask, DestinationConfig, MarkRule, Persistence, PortRange, PortRanges, Protocol, SchedulerFlags,
    SchedulerKind, ServiceConfig, ServiceKey, Timeouts,
};
use proptest::collection::{hash_map, vec};
use proptest::option;
use proptest::prelude::*;

pub(crate) fn address(ipv6: bool) -> BoxedStrategy<IpAddr> {
    if ipv6 {
        // The first byte keeps it unicast.
        any::<u128>().prop_map(|bits| IpAddr::from(((bits >> 8) | (0x20 << 120)).to_be_bytes())).boxed()
    } else {
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| IpAddr::from([a % 223 + 1, b, c, d])).boxed()
    }
}

pub(crate) fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

pub(crate) fn key() -> impl Strategy<Value = ServiceKey> {
    let port = prop_oneof![4 => 1..=u16::MAX, 1 => Just(0)];
    let by_address = (protocol(), any::<bool>().prop_flat_map(address), port)
        .prop_map(|(protocol, address, port)| ServiceKey::Address { protocol, address, port });
    let by_mark = (1..=u32::MAX, any::<bool>()).prop_map(|(mark, ipv6)| ServiceKey::Mark { mark, ipv6 });
    prop_oneof![3 => by_address, 1 => by_mark]
}

/// From a second to 31 days.
pub(crate) fn seconds() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(1), Just(2_678_400), 1..=2_678_400u64].prop_map(Duration::from_secs)
}

pub(crate) fn timeouts() -> impl Strategy<Value = Timeouts> {
    (seconds(), seconds(), seconds()).prop_map(|(tcp, tcp_fin, udp)| Timeouts { tcp, tcp_fin, udp })
}

pub(crate) fn persistence(ipv6: bool) -> impl Strategy<Value = Persistence> {
    let mask = if ipv6 {
        (1..=128u8).prop_map(ClientMask::V6).boxed()
    } else {
        prop_oneof![Just(u32::MAX), (0..32u32).prop_map(|bits| u32::MAX << bits), 1..=u32::MAX]
            .prop_map(ClientMask::V4)
            .boxed()
    };
    (seconds(), mask).prop_map(|(timeout, mask)| Persistence { timeout, mask })
}

pub(crate) fn flags() -> impl Strategy<Value = SchedulerFlags> {
    let each = [SchedulerFlags::FALLBACK, SchedulerFlags::PORT, SchedulerFlags::THIRD];
    prop::sample::subsequence(each.to_vec(), 0..=3)
        .prop_map(|flags| flags.into_iter().fold(SchedulerFlags::NONE, SchedulerFlags::with))
}

/// Any service that a director takes.
pub(crate) fn service(key: ServiceKey) -> impl Strategy<Value = ServiceConfig> {
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
pub(crate) fn servers(key: ServiceKey) -> impl Strategy<Value = Vec<DestinationConfig>> {
    let weight = prop_oneof![Just(1), Just(0), 0..=DestinationConfig::MAX_WEIGHT];
    let limits = prop_oneof![Just((0, 0)), any::<u32>().prop_flat_map(|upper| (Just(upper), 0..=upper)),];
    hash_map(address(key.is_ipv6()), (weight, limits), 0..6).prop_map(move |servers| {
        let made = servers.into_iter().map(|(rip, (weight, (upper, lower)))| {
            DestinationConfig::new(rip, key.port()).weight(weight).thresholds(upper, lower)
        });
        made.collect()
    })
}

pub(crate) fn mark_rule() -> impl Strategy<Value = MarkRule> {
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
