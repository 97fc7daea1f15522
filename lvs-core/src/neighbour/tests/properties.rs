//! Whatever bytes come in: nothing panics, nothing gets longer, an answer differs only where it may.

use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::network::*;
use crate::addr::MacAddr;
use crate::config::InterfaceId;
use crate::io::PortId;
use crate::neighbour::{LocalKind, NeighbourId, Neighbours, Outcome};

/// A director with a bit of everything.
fn director() -> Network {
    let mut net = Network::with_capacity(8, 8);
    for (interface, address) in [(ETH0, "192.168.0.15"), (ETH1, "10.1.0.30"), (ETH1, "fd01::30")] {
        net.neighbours.track(net.now, interface, ip(address)).unwrap();
    }
    for address in ["192.168.0.250", "fd00::250", "fe80::1"] {
        net.neighbours.add_local(net.now, ip(address), LocalKind::Vip).unwrap();
    }
    net.run(ms(500));
    net
}

/// A frame that means something, with some bytes changed.
fn seeds() -> Vec<Vec<u8>> {
    let router = (PEER, v6("fe80::15"));
    let all = smoltcp::wire::NdiscNeighborFlags::all();
    Vec::from([
        arp_request(PEER, v4("192.168.0.15"), v4("192.168.0.250")),
        arp_request(PEER, v4("192.168.0.250"), v4("192.168.0.250")),
        arp_reply(PEER, v4("10.1.0.30"), DIRECTOR1, v4("10.1.0.1")),
        solicitation(router, None, v6("fd00::250"), Some(PEER)),
        solicitation((PEER, v6("::")), None, v6("fd00::250"), None),
        advertisement((PEER, v6("fd01::30")), (DIRECTOR1, v6("fe80::1")), v6("fd01::30"), all, Some(PEER)),
    ])
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let mutated = (prop::sample::select(seeds()), edits, any::<prop::sample::Index>(), 0u8..4).prop_map(
        |(mut frame, edits, cut, whole)| {
            for (at, value) in edits {
                *at.get_mut(&mut frame) = value;
            }
            if whole == 0 {
                frame.truncate(cut.index(frame.len()));
            } else if frame.len() > 56 && frame[12] == 0x86 {
                // Without a right checksum nothing is looked at.
                fix_checksum(&mut frame, 54);
            }
            frame
        },
    );
    prop_oneof![3 => mutated, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

/// Whether two frames are the same but for these bytes.
fn same_but(before: &[u8], after: &[u8], changed: &[core::ops::Range<usize>]) -> bool {
    before.len() == after.len()
        && (0..before.len())
            .all(|at| before[at] == after[at] || changed.iter().any(|range| range.contains(&at)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arp_of_any_bytes(frame in frames(), interface in 0u16..3, offset in prop_oneof![4 => Just(14usize), 1 => 0usize..220]) {
        let mut net = director();
        let mut after = frame.clone();
        let outcome = net.neighbours.handle_arp(net.now, InterfaceId(interface), &mut after, offset);
        if outcome == Outcome::Reply {
            prop_assert!(same_but(&frame, &after, &[0..12, offset + 6..offset + 28]));
            let before = arp_of_at(&frame, offset).unwrap();
            let reply = arp_of_at(&after, offset).unwrap();
            prop_assert_eq!((reply.sender, reply.target), (before.target, before.sender));
            prop_assert_eq!(reply.target_mac, before.sender_mac);
            prop_assert_eq!(&after[6..12], &reply.sender_mac.0[..]);
            prop_assert!(net.neighbours.is_local(reply.sender.into()));
        } else {
            prop_assert_eq!(&frame, &after);
        }
        net.run(ms(5_000));
    }

    #[test]
    fn icmpv6_of_any_bytes(
        frame in frames(),
        interface in 0u16..3,
        offsets in prop_oneof![
            4 => Just((14usize, 54usize, 0usize)),
            1 => (0usize..220, 0usize..220, 0usize..220),
            1 => (Just(14usize), 54usize..80, 0usize..20),
        ],
    ) {
        let mut net = director();
        let mut after = frame.clone();
        let (ip, icmp, missing) = offsets;
        let end = frame.len().saturating_sub(missing);
        let outcome = net.neighbours.handle_icmpv6(net.now, InterfaceId(interface), &mut after, ip, icmp, end);
        if outcome == Outcome::Reply {
            prop_assert!(same_but(&frame, &after, &[0..12, ip + 8..ip + 40, ip + 40..ip + 72]));
            prop_assert_eq!(&after[ip + 48..ip + 64], &frame[ip + 48..ip + 64]);
            prop_assert_eq!(&after[ip + 24..ip + 40], &frame[ip + 8..ip + 24]);
        } else {
            prop_assert_eq!(&frame, &after);
        }
        net.run(ms(5_000));
    }
}

fn arp_of_at(frame: &[u8], offset: usize) -> Option<crate::neighbour::arp::Message> {
    crate::neighbour::arp::Message::parse(frame.get(offset..)?.first_chunk()?)
}

/// Anything that can be done with the module.
#[derive(Debug, Clone)]
enum Act {
    Wait(u16),
    Arp(u16, Vec<u8>),
    Icmpv6(u16, Vec<u8>),
    Track(u16, u8),
    Untrack(u32),
    Wanted(u32),
    Static(u16, u8, Option<u8>),
    Add(u8, bool),
    Remove(u8, bool),
    Link(u16, bool),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0u16..20_000).prop_map(Act::Wait),
        2 => (0u16..3, frames()).prop_map(|(i, f)| Act::Arp(i, f)),
        2 => (0u16..3, frames()).prop_map(|(i, f)| Act::Icmpv6(i, f)),
        2 => (0u16..3, 0u8..8).prop_map(|(i, n)| Act::Track(i, n)),
        1 => (0u32..6).prop_map(Act::Untrack),
        1 => (0u32..6).prop_map(Act::Wanted),
        1 => (0u16..3, 0u8..8, prop::option::of(1u8..9)).prop_map(|(i, n, m)| Act::Static(i, n, m)),
        2 => (0u8..8, any::<bool>()).prop_map(|(n, v)| Act::Add(n, v)),
        1 => (0u8..8, any::<bool>()).prop_map(|(n, v)| Act::Remove(n, v)),
        1 => (0u16..3, any::<bool>()).prop_map(|(p, up)| Act::Link(p, up)),
    ]
}

fn address(n: u8) -> core::net::IpAddr {
    ip([
        "10.1.0.30",
        "192.168.0.15",
        "fd01::30",
        "fd00::15",
        "192.168.0.250",
        "fd00::250",
        "203.0.113.7",
        "fe80::1",
    ][usize::from(n)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Time goes on, frames come to an end, counts agree, and with everything taken back nothing is left to do.
    #[test]
    fn any_history_comes_to_rest(acts in prop::collection::vec(acts(), 0..60)) {
        let mut net = Network::with_capacity(4, 4);
        let mut users = [0u32; 6];
        let mut locals = Vec::new();
        for act in acts {
            match act {
                Act::Wait(millis) => {
                    let until = net.now + Duration::from_millis(millis.into());
                    let sent = net.sent_until(until);
                    prop_assert!(sent.len() <= 200 + usize::from(millis) / 10, "{} frames in {} ms", sent.len(), millis);
                    prop_assert!(net.neighbours.poll_timeout().is_none_or(|next| next > until));
                }
                Act::Arp(interface, mut frame) => _ = net.arp(InterfaceId(interface), &mut frame),
                Act::Icmpv6(interface, mut frame) => _ = net.icmpv6(InterfaceId(interface), &mut frame),
                Act::Track(interface, n) => {
                    if let Ok(id) = net.neighbours.track(net.now, InterfaceId(interface), address(n)) {
                        users[id.0 as usize] += 1;
                    }
                }
                Act::Untrack(id) => {
                    net.neighbours.untrack(NeighbourId(id));
                    users[id as usize] = users[id as usize].saturating_sub(1);
                }
                Act::Wanted(id) => net.neighbours.wanted(net.now, NeighbourId(id)),
                Act::Static(interface, n, mac) => {
                    let mac = mac.map(|n| MacAddr([2, 0, 0, 0, 9, n]));
                    _ = net.neighbours.set_static(net.now, InterfaceId(interface), address(n), mac);
                }
                Act::Add(n, vip) => {
                    let kind = if vip { LocalKind::Vip } else { LocalKind::Own };
                    if net.neighbours.add_local(net.now, address(n), kind).is_ok() {
                        locals.push((n, kind));
                    }
                }
                Act::Remove(n, vip) => {
                    let kind = if vip { LocalKind::Vip } else { LocalKind::Own };
                    if let Some(at) = locals.iter().position(|local| *local == (n, kind)) {
                        locals.swap_remove(at);
                        net.neighbours.remove_local(address(n), kind);
                    }
                }
                Act::Link(port, up) => net.neighbours.handle_link(net.now, PortId(port), up),
            }
            for n in 0..8 {
                let expected = locals.iter().any(|(other, _)| *other == n);
                prop_assert_eq!(net.neighbours.is_local(address(n)), expected);
            }
            while let Some(id) = net.neighbours.poll_update() {
                prop_assert!(users[id.0 as usize] > 0);
            }
            while net.neighbours.poll_join().is_some() {}
        }
        for (n, kind) in locals {
            net.neighbours.remove_local(address(n), kind);
        }
        prop_assert!(net.neighbours.all_announced());
        for interface in 0..3 {
            for n in 0..8 {
                _ = net.neighbours.set_static(net.now, InterfaceId(interface), address(n), None);
            }
        }
        for (id, users) in (0..).zip(users) {
            for _ in 0..users {
                net.neighbours.untrack(NeighbourId(id));
            }
        }
        net.run(net.now + Duration::from_secs(60));
        prop_assert_eq!(net.neighbours.poll_timeout(), None);
        prop_assert_eq!(net.neighbours.poll_join(), None);
    }
}

#[test]
fn the_buffer_may_be_as_short_as_it_says() {
    let mut net = director();
    net.buffer = std::vec![0; Neighbours::LEAST_BUFFER];
    assert!(!net.sent_until(ms(100_000)).is_empty());
}
