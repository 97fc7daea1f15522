use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lvs_core::config::{
    self, ClientMask, DestinationConfig, Protocol, SchedulerFlags, SchedulerKind, ServiceConfig, ServiceKey,
};
use lvs_core::connection::{ConnectionRecord, ConnectionState};
use lvs_core::listing::{self, DestinationListing, ServiceListing};
use proptest::prelude::*;

use super::{Connection, Service, ValueError};

fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 {
        any::<u128>().prop_map(|bits| IpAddr::from(bits.to_be_bytes())).boxed()
    } else {
        any::<u32>().prop_map(|bits| IpAddr::from(bits.to_be_bytes())).boxed()
    }
}

fn protocol() -> impl Strategy<Value = Protocol> {
    proptest::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

fn key() -> impl Strategy<Value = ServiceKey> {
    let by_address = (any::<bool>().prop_flat_map(address), any::<u16>(), protocol());
    prop_oneof![
        by_address.prop_map(|(address, port, protocol)| match protocol {
            Protocol::Udp => ServiceKey::udp(address, port),
            Protocol::Sctp => ServiceKey::sctp(address, port),
            _ => ServiceKey::tcp(address, port),
        }),
        any::<u32>().prop_map(ServiceKey::mark),
        any::<u32>().prop_map(ServiceKey::mark_v6),
    ]
}

fn statistics() -> impl Strategy<Value = listing::Statistics> {
    any::<[u64; 5]>().prop_map(|[connections, in_packets, out_packets, in_bytes, out_bytes]| {
        listing::Statistics { connections, in_packets, out_packets, in_bytes, out_bytes }
    })
}

prop_compose! {
    fn server()(
        address in any::<bool>().prop_flat_map(address),
        port: u16,
        numbers: [u32; 7],
        overloaded: bool,
        statistics in statistics(),
    ) -> DestinationListing {
        let [weight, upper, lower, active, inactive, persistent, effective_weight] = numbers;
        DestinationListing {
            config: DestinationConfig::new(address, port).weight(weight).thresholds(upper, lower),
            active,
            inactive,
            persistent,
            overloaded,
            effective_weight,
            statistics,
            rates: listing::Rates { in_bytes: statistics.in_bytes / 2, ..listing::Rates::default() },
        }
    }
}

prop_compose! {
    fn service()(
        key in key(),
        scheduler in proptest::sample::select(SchedulerKind::ALL.to_vec()),
        bits in 0u8..8,
        persistence in proptest::option::of((any::<u32>(), any::<u32>(), any::<u8>(), any::<bool>())),
        one_packet: bool,
        own in proptest::option::of(any::<[u32; 3]>()),
        slow_start in proptest::option::of(any::<u32>()),
        statistics in statistics(),
        destinations in proptest::collection::vec(server(), 0..4),
    ) -> ServiceListing {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let mut config = ServiceConfig::new(key, scheduler);
        for (bit, flag) in [SchedulerFlags::FALLBACK, SchedulerFlags::PORT, SchedulerFlags::THIRD].into_iter().enumerate() {
            if bits >> bit & 1 == 1 {
                config.flags = config.flags.with(flag);
            }
        }
        config.persistence = persistence.map(|(timeout, mask, length, v6)| config::Persistence {
            timeout: seconds(timeout),
            mask: if v6 { ClientMask::V6(length) } else { ClientMask::V4(mask) },
        });
        config.one_packet = one_packet;
        config.timeouts = own.map(|[tcp, tcp_fin, udp]| config::Timeouts {
            tcp: seconds(tcp),
            tcp_fin: seconds(tcp_fin),
            udp: seconds(udp),
        });
        config.slow_start = slow_start.map(seconds);
        ServiceListing { config, statistics, rates: listing::Rates::default(), destinations }
    }
}

proptest! {
    #[test]
    fn a_service_survives_the_way_through_json(listing in service()) {
        let text = serde_json::to_string(&Service::from(&listing)).unwrap();
        let read: Service = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(ServiceListing::try_from(read).unwrap(), listing, "{}", text);
    }

    #[test]
    fn a_connection_too(
        protocol in proptest::option::of(protocol()),
        template: bool,
        addresses: [(u32, u16); 3],
        state in proptest::sample::select(super::connection::STATES.to_vec()),
        expires_in: u32,
        packets: u32,
    ) {
        // Both protocols have a state of this name.
        let state = match (state, protocol == Some(Protocol::Sctp)) {
            (ConnectionState::Established, true) => ConnectionState::SctpEstablished,
            (ConnectionState::SctpEstablished, false) => ConnectionState::Established,
            (state, _) => state,
        };
        let [client, virtual_address, destination] =
            addresses.map(|(address, port)| SocketAddr::new(IpAddr::from(address.to_be_bytes()), port));
        let record = ConnectionRecord {
            protocol,
            template,
            client,
            virtual_address,
            destination,
            state,
            expires_in: Duration::from_secs(u64::from(expires_in)),
            timeout: Duration::from_secs(7),
            packets,
        };
        let text = serde_json::to_string(&Connection::from(&record)).unwrap();
        let read: Connection = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(ConnectionRecord::try_from(read).unwrap(), record);
    }
}

/// The names that other programs rely on.
#[test]
fn fields_have_these_names() {
    let vip = "192.168.0.250".parse().unwrap();
    let mut config = ServiceConfig::new(ServiceKey::tcp(vip, 80), SchedulerKind::Maglev);
    config.flags = SchedulerFlags::PORT;
    config.persistence = Some(config::Persistence {
        timeout: Duration::from_millis(359_001),
        mask: ClientMask::V4(0xffff_ff00),
    });
    let server = DestinationConfig::new("192.168.0.188".parse().unwrap(), 80);
    let listing = ServiceListing {
        config,
        statistics: listing::Statistics::default(),
        rates: listing::Rates::default(),
        destinations: vec![DestinationListing {
            config: server,
            active: 1,
            inactive: 2,
            persistent: 3,
            overloaded: false,
            effective_weight: 1,
            statistics: listing::Statistics::default(),
            rates: listing::Rates::default(),
        }],
    };
    let zero = r#"{"connections":0,"in_packets":0,"out_packets":0,"in_bytes":0,"out_bytes":0}"#;
    let expected = format!(
        "{}{}",
        r#"{"protocol":"tcp","address":"192.168.0.250","port":80,"scheduler":"mh","flags":["mh-port"],"persistence":{"timeout":360,"mask":"255.255.255.0"},"one_packet":false,"timeouts":null,"slow_start":null,"#,
        format_args!(
            r#""statistics":{zero},"rates":{zero},"servers":[{{"address":"192.168.0.188","port":80,"forwarding":"route","weight":1,"effective_weight":1,"upper_threshold":0,"lower_threshold":0,"overloaded":false,"active":1,"inactive":2,"persistent":3,"statistics":{zero},"rates":{zero}}}]}}"#
        )
    );
    assert_eq!(serde_json::to_string(&Service::from(&listing)).unwrap(), expected);
}

#[test]
fn what_cannot_be_is_named() {
    let vip = "192.168.0.250".parse().unwrap();
    let config = ServiceConfig::new(ServiceKey::tcp(vip, 80), SchedulerKind::RoundRobin);
    let plain = Service::from(&ServiceListing {
        config,
        statistics: listing::Statistics::default(),
        rates: listing::Rates::default(),
        destinations: Vec::new(),
    });
    let wrong = |service: Service| -> ValueError { ServiceListing::try_from(service).unwrap_err() };
    assert_eq!(
        wrong(Service { scheduler: "fast".to_owned(), ..plain.clone() }).to_string(),
        "scheduler: \"fast\" is not a scheduler"
    );
    let flags = vec!["mh-prot".to_owned()];
    assert_eq!(
        wrong(Service { flags, ..plain }).to_string(),
        "flags: \"mh-prot\" is not a flag of a scheduler"
    );
}
