//! Which worker a frame belongs to.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use lvs_core::classify::owner;
use lvs_core::io::{Meta, VlanTag};
use lvs_testkit::frames::{self, IcmpError, addr, socket, tcp, udp, v4};

use crate::world::{VIP, VIP6};

const FOUR: NonZeroU16 = NonZeroU16::new(4).unwrap();

fn worker(frame: &[u8]) -> u16 {
    owner(frame, &Meta::default(), FOUR)
}

/// All that a client sends, and what others send about it, belongs to one worker.
#[test]
fn everything_of_a_client_has_one_owner() {
    for (client, other, vip, router) in [
        ("110.0.0.7:4000", "110.0.0.7:4001", VIP, "10.5.5.5"),
        ("[fd00:110::7]:4000", "[fd00:110::7]:4001", VIP6, "fd00:5::5"),
    ] {
        let (client, other, vip) = (socket(client), socket(other), socket(vip));
        let expected = worker(&tcp(client, vip).build());
        let reply = tcp(vip, client).payload(&[0; 500]).build();
        let error = frames::icmp_error(addr(router), vip.ip(), IcmpError::TooBig { mtu: 1400 }, &reply);
        let mut frames = vec![
            tcp(other, vip).build(),
            udp(client, vip).build(),
            tcp(client, vip).vlan(5).build(),
            tcp(client, vip).vlan(5).vlan(6).build(),
            frames::echo_request(client.ip(), vip.ip(), 1, 2).build(),
            error.build(),
        ];
        frames.extend(udp(client, vip).payload(&[0; 4000]).fragments(1500));
        for frame in &frames {
            assert_eq!(worker(frame), expected, "{}", frames::describe(frame));
        }
        let beside = Meta { vlan: Some(VlanTag { tpid: 0x8100, tci: 5 }), ..Meta::default() };
        assert_eq!(owner(&tcp(client, vip).build(), &beside, FOUR), expected);
    }
}

/// The rule is simple enough for a BPF program: it is written down here a second time.
#[test]
fn the_rule_is_the_documented_one_and_spreads() {
    let mut counts = BTreeMap::new();
    for n in 0..4096u32 {
        let address = 0x6e00_0000 + n;
        let client = std::net::SocketAddr::from((address.to_be_bytes(), 999));
        let got = worker(&tcp(client, socket(VIP)).build());
        assert_eq!(u32::from(got), (address.wrapping_mul(0x9e37_79b1) >> 16) % 4);
        *counts.entry(got).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 4);
    assert!(counts.values().all(|count| (900..1150).contains(count)), "{counts:?}");
}

#[test]
fn what_is_no_ip_belongs_to_the_first() {
    let arp = frames::arp_request(frames::station(1), v4("10.0.0.1"), v4("10.0.0.2")).build();
    for frame in [&arp[..], &[0; 60], &[], &[0xff; 13]] {
        assert_eq!(worker(frame), 0);
    }
    assert_eq!(owner(&tcp(socket("1.2.3.4:5"), socket(VIP)).build(), &Meta::default(), NonZeroU16::MIN), 0);
}
