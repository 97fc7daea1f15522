//! Another station claims an address of the director's.

use lvs_core::io::Meta;
use lvs_core::{Event, MacAddr, PortId};
use lvs_testkit::frames::{self, Summary, addr, mac, socket, v4, v6};
use lvs_testkit::memory::StoredFrame;

use crate::world::{
    CLIENT, CLIENT6, SECOND, VIP, VIP6, World, config, key, millis, seconds, segment, server_of,
};

const THIEF: &str = "02:00:00:00:66:66";

fn announced(frames: &[StoredFrame], vip: &str) -> usize {
    let is_announcement = |frame: &&StoredFrame| {
        let summary = Summary::of(&frame.bytes).unwrap();
        let arp = summary.arp.is_some_and(|arp| arp.sender == addr(vip) && arp.target == addr(vip));
        let advertisement = summary.ip.is_some_and(|ip| {
            ip.neighbour_target == Some(addr(vip))
                && ip.icmp == Some((136, 0))
                && ip.destination == addr("ff02::1")
        });
        arp || advertisement
    };
    frames.iter().filter(is_announcement).count()
}

fn conflicts(world: &mut World, vip: &str, thief: &str) -> usize {
    let (vip, thief) = (addr(vip), mac(thief));
    world.count_events(
        |e| matches!(e, Event::AddressConflict { address, mac, .. } if *address == vip && *mac == thief),
    )
}

/// Every form of the claim: announcement, gratuitous reply, a request with the VIP as sender, a reply to somebody.
#[test]
fn each_form_of_the_claim_is_reported_and_defended() {
    let vip = v4("192.168.0.250");
    let thief = mac(THIEF);
    let claims = [
        frames::arp_announcement(thief, vip),
        frames::gratuitous_reply(thief, vip),
        frames::arp_request(thief, vip, v4("192.168.0.15")),
        frames::arp_reply(thief, vip, MacAddr::BROADCAST, v4("192.168.0.15")),
    ];
    for claim in claims {
        let mut world = World::ready(socket(VIP), &[SECOND]);
        let out = world.send(&claim.build());
        assert_eq!(conflicts(&mut world, "192.168.0.250", THIEF), 1, "{claim:?}");
        assert_eq!(announced(&out, "192.168.0.250"), 1, "{claim:?}");
        assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188), "the service goes on");
    }
}

#[test]
fn a_stubborn_thief_is_reported_at_a_bounded_rate() {
    let mut world = World::ready(socket(VIP), &[SECOND]);
    let claim = frames::arp_announcement(mac(THIEF), v4("192.168.0.250")).build();
    let start = world.now;
    world.take_sent();
    for _ in 0..1000 {
        world.inject(PortId(0), Meta::default(), &claim);
        world.pass(millis(10));
    }
    assert_eq!(world.now.saturating_duration_since(start), seconds(10));
    let sent = world.take_sent();
    let defended = announced(&sent, "192.168.0.250");
    assert!((9..=11).contains(&defended), "{defended} announcements in 10 s");
    let reported = conflicts(&mut world, "192.168.0.250", THIEF);
    assert!((1..=2).contains(&reported), "{reported} reports in 10 s");
}

/// A thief that invents an Ethernet address for every claim gets no more than 64 reports in ten seconds.
#[test]
fn many_thieves_do_not_flood_the_log() {
    let mut world = World::ready(socket(VIP), &[SECOND]);
    for n in 0..1000u16 {
        let thief = frames::station(0x1000 + n);
        world.inject(
            PortId(0),
            Meta::default(),
            &frames::arp_announcement(thief, v4("192.168.0.250")).build(),
        );
        world.pass(millis(5));
    }
    let reported = world.count_events(|e| matches!(e, Event::AddressConflict { .. }));
    assert_eq!(reported, 64);
    assert!(announced(&world.take_sent(), "192.168.0.250") <= 6);
}

#[test]
fn an_advertisement_for_an_ipv6_vip_is_a_claim_too() {
    let mut world = World::ready_with(config(), key(VIP6), &["fd00::bc"]);
    let all_nodes = v6("ff02::1");
    let claim = frames::neighbour_advertisement(mac(THIEF), v6("fd00::fa"), MacAddr::ZERO, all_nodes).build();
    let out = world.send(&claim);
    assert_eq!(conflicts(&mut world, "fd00::fa", THIEF), 1);
    assert_eq!(announced(&out, "fd00::fa"), 1);
    // So is somebody's question whether the address is free (RFC 4862 section 5.4.3).
    world.pass(seconds(20));
    let probe = frames::neighbour_solicitation(mac(THIEF), v6("::"), v6("fd00::fa")).build();
    let out = world.send(&probe);
    assert_eq!(conflicts(&mut world, "fd00::fa", THIEF), 1);
    assert!(announced(&out, "fd00::fa") >= 1, "whoever asks is told");
    assert_eq!(world.chosen(CLIENT6, VIP6, "S"), Some(188));
}

/// A frame that the director sent and that comes back is neither a claim nor forwarded again.
#[test]
fn own_frames_that_come_back_are_dropped() {
    let mut world = World::ready(socket(VIP), &[SECOND]);
    let announcement = frames::arp_announcement(mac(crate::world::DIRECTOR), v4("192.168.0.250")).build();
    let forwarded = world.tcp(CLIENT, VIP, "S").remove(0).bytes;
    let mut looped = segment(CLIENT, VIP, "S");
    looped[6..12].copy_from_slice(&mac(crate::world::DIRECTOR).0);
    for frame in [announcement, forwarded, looped] {
        let out = world.send(&frame);
        assert!(out.iter().all(|frame| server_of(frame).is_none()) && out.is_empty());
    }
    assert!(world.events.is_empty(), "{:?}", world.events);
    assert_eq!(world.director.statistics().dropped(lvs_core::DropReason::OwnFrame), 3);
}
