//! Two interfaces (topology C), and VLANs in the bytes and in the metadata.

use lvs_core::config::VlanPath;
use lvs_core::io::{Meta, VlanTag};
use lvs_core::{DirectorConfig, DropReason, InterfaceConfig, PortId};
use lvs_testkit::frames::{self, SERVICE_VLAN, Summary, TcpFlags, VLAN, addr, mac, socket, tcp, udp, v4};
use lvs_testkit::memory::{MemoryIo, StoredFrame};

use crate::world::{
    CLIENT, DIRECTOR, ROUTER, SECOND, VIP, World, config, key, mac_of, seconds, segment, server_of, service,
    summary,
};

const INSIDE: &str = "02:00:00:00:00:03";
const INNER: &str = "10.1.0.30";

/// The first interface faces the router, the second one the real servers.
fn two() -> DirectorConfig {
    let mut config = config();
    let inside = InterfaceConfig::new(PortId(1), mac(INSIDE), "10.1.0.1/24".parse().unwrap());
    config.interfaces.push(inside);
    config
}

#[test]
fn servers_are_reached_by_the_interface_whose_subnet_holds_them() {
    let mut world = World::new(two());
    world.serve(socket(VIP), &[INNER, SECOND]);
    let asked = world.take_sent();
    let arp = |target: &str| {
        let of = |f: &StoredFrame| {
            Summary::of(&f.bytes)?.arp.filter(|arp| arp.target == addr(target)).map(|a| (f.port, a))
        };
        asked.iter().find_map(of).unwrap()
    };
    let (port, inside) = arp(INNER);
    assert_eq!((port, inside.sender, inside.sender_mac), (PortId(1), addr("10.1.0.1"), mac(INSIDE)));
    let (port, outside) = arp(SECOND);
    assert_eq!((port, outside.sender_mac), (PortId(0), mac(DIRECTOR)));
    world.live(&[INNER, SECOND]);
    world.pass(seconds(5));
    let syn = segment(CLIENT, VIP, "S");
    assert_eq!(world.send(&syn)[0].port, PortId(0), "the last added is on the outside");
    let out = world.send(&segment("110.0.0.1:4001", VIP, "S"));
    assert_eq!(out[0].port, PortId(1));
    assert_eq!(out[0].bytes[..6], mac_of(addr(INNER)).0);
    assert_eq!(out[0].bytes[6..12], mac(INSIDE).0);
}

/// The VIP is in the outer subnet: it is announced there only, and each interface answers with its own address.
#[test]
fn the_vip_is_announced_where_it_belongs() {
    let mut world = World::new(two());
    world.serve(socket(VIP), &[INNER]);
    world.pass(seconds(5));
    let announced =
        |f: &&StoredFrame| Summary::of(&f.bytes).unwrap().arp.is_some_and(|arp| arp.sender == arp.target);
    let sent = world.take_sent();
    assert!(sent.iter().filter(announced).all(|frame| frame.port == PortId(0)));
    assert_eq!(sent.iter().filter(announced).count(), 3);
    for (port, own) in [(PortId(0), DIRECTOR), (PortId(1), INSIDE)] {
        let question = frames::arp_request(mac(ROUTER), v4("192.168.0.15"), v4("192.168.0.250")).build();
        let out = world.send_by(port, Meta::default(), &question);
        assert_eq!(
            (out[0].port, Summary::of(&out[0].bytes).unwrap().arp.unwrap().sender_mac),
            (port, mac(own))
        );
    }
}

#[test]
fn a_link_that_goes_down_concerns_its_own_neighbours_only() {
    let mut world = World::new(two());
    world.live(&[INNER, SECOND]);
    world.serve(socket(VIP), &[INNER, SECOND]);
    world.pass(seconds(5));
    world.take_sent();
    world.io.set_link(PortId(1), false);
    world.pass(seconds(60));
    assert!(world.take_sent().iter().all(|frame| frame.port == PortId(0)));
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    world.io.set_link(PortId(1), true);
    world.pass(seconds(1));
    let out = world.tcp("110.0.0.1:4001", VIP, "S");
    assert_eq!(out[0].port, PortId(1));
}

/// A director with one interface for each path on port 0: from the outside through `way_in`, to servers through
/// `way_out`.
fn tagged(way_in: VlanPath, way_out: VlanPath) -> World {
    let mut config = two();
    config.interfaces[0].vlan = way_in;
    config.interfaces[1].vlan = way_out;
    config.interfaces[1].port = PortId(0);
    let mut world = World::new(config);
    world.live(&[INNER]);
    world.serve(socket(VIP), &[INNER]);
    world.pass(seconds(5));
    world.take_sent();
    world
}

fn tag(tpid: u16, tci: u16) -> VlanTag {
    VlanTag { tpid, tci }
}

/// The tags that a frame travels with, outer first.
fn tags_of(frame: &StoredFrame) -> Vec<VlanTag> {
    let inside = Summary::of(&frame.bytes).unwrap().tags;
    frame.meta.vlan.into_iter().chain(inside).collect()
}

/// Both ways in which a device can hand over a tagged frame: all tags in the bytes, or the outer one beside them.
fn handed_over(tags: &[VlanTag], packet: &frames::Packet<frames::Tcp>) -> Vec<(Meta, Vec<u8>)> {
    let build = |tags: &[VlanTag]| tags.iter().fold(packet.clone(), |p, tag| p.tag(*tag)).build();
    let mut forms = vec![(Meta::default(), build(tags))];
    if let Some((outer, rest)) = tags.split_first() {
        forms.push((Meta { vlan: Some(*outer), ..Meta::default() }, build(rest)));
    }
    forms
}

#[test]
fn frames_change_vlans_on_their_way() {
    let untagged = VlanPath::UNTAGGED;
    let (one, two) = (VlanPath::tagged(5), VlanPath { outer: 7, inner: 9 });
    let other = VlanPath { outer: 7, inner: 10 };
    for (way_in, way_out) in [
        (untagged, one),
        (one, untagged),
        (one, VlanPath::tagged(6)),
        (one, two),
        (two, one),
        (two, untagged),
        (untagged, two),
        (two, other),
    ] {
        let mut world = tagged(way_in, way_out);
        let syn = tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::SYN).macs(mac(ROUTER), mac(DIRECTOR));
        let tags: Vec<VlanTag> = way_in.tags().into_iter().flatten().collect();
        for (meta, frame) in handed_over(&tags, &syn) {
            let out = world.send_by(PortId(0), meta, &frame);
            assert_eq!(out.len(), 1, "{way_in:?} to {way_out:?}");
            let expected: Vec<VlanTag> = way_out.tags().into_iter().flatten().collect();
            assert_eq!(tags_of(&out[0]), expected, "{way_in:?} to {way_out:?}");
            assert_eq!(out[0].bytes[..6], mac_of(addr(INNER)).0);
            assert_eq!(out[0].bytes[6..12], mac(INSIDE).0);
            let at = Summary::of(&out[0].bytes).unwrap().network_offset;
            assert_eq!(out[0].bytes[at..], syn.build()[14..], "the packet itself is untouched");
        }
    }
}

/// Where the way out has the tags of the way in, not even their priority changes, nor where they are kept.
#[test]
fn tags_that_stay_are_left_alone() {
    for (vlan, tags) in [
        (VlanPath::tagged(5), vec![tag(VLAN, 0xa005)]),
        (VlanPath { outer: 7, inner: 9 }, vec![tag(SERVICE_VLAN, 0x6007), tag(VLAN, 0x2009)]),
        (VlanPath::UNTAGGED, vec![tag(VLAN, 0xe000)]),
    ] {
        let mut config = config();
        config.interfaces[0].vlan = vlan;
        let mut world = World::new(config);
        world.live(&[SECOND]);
        world.serve(socket(VIP), &[SECOND]);
        world.pass(seconds(5));
        let syn = tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::SYN).macs(mac(ROUTER), mac(DIRECTOR));
        for (meta, frame) in handed_over(&tags, &syn) {
            let out = world.send_by(PortId(0), meta, &frame);
            assert_eq!((out[0].meta, &out[0].bytes[12..]), (meta, &frame[12..]));
        }
    }
}

#[test]
fn frames_of_other_vlans_are_not_ours() {
    let mut world = tagged(VlanPath::tagged(5), VlanPath::tagged(6));
    let before = world.director.statistics().passed;
    let syn = tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::SYN).macs(mac(ROUTER), mac(DIRECTOR));
    let foreign = [
        syn.build(),
        syn.clone().vlan(4).build(),
        syn.clone().vlan(5).vlan(5).build(),
        syn.clone().vlan(5).vlan(6).vlan(7).build(),
    ];
    for frame in &foreign {
        assert!(world.send(frame).is_empty());
    }
    assert_eq!(world.director.statistics().passed - before, foreign.len() as u64);
}

/// Questions, announcements and answers of the director's own carry the interface's tags.
#[test]
fn own_frames_are_tagged() {
    for vlan in [VlanPath::tagged(5), VlanPath { outer: 7, inner: 9 }] {
        let expected: Vec<VlanTag> = vlan.tags().into_iter().flatten().collect();
        let mut config = config();
        config.interfaces[0].vlan = vlan;
        let mut world = World::new(config);
        world.serve(socket(VIP), &[SECOND]);
        world.apply(&service(key("[fd00::fa]:80"), &["fd00::bc"]));
        world.pass(seconds(5));
        let sent = world.take_sent();
        assert!(sent.len() > 10);
        assert!(sent.iter().all(|frame| tags_of(frame) == expected));
        let with_tags =
            |packet: frames::Packet<frames::Tcp>| expected.iter().fold(packet, |p, tag| p.tag(*tag)).build();
        let ack = tcp(socket(CLIENT), socket(VIP)).macs(mac(ROUTER), mac(DIRECTOR));
        let out = world.send(&with_tags(ack));
        assert_eq!((tags_of(&out[0]), summary(&out[0]).checksum_right), (expected.clone(), Some(true)));
        let lost = udp(socket(CLIENT), socket("192.168.0.250:9")).macs(mac(ROUTER), mac(DIRECTOR));
        let out = world.send(&expected.iter().fold(lost, |p, tag| p.tag(*tag)).build());
        assert_eq!((tags_of(&out[0]), summary(&out[0]).icmp), (expected.clone(), Some((3, 3))));
        // A frame that waited leaves with its tags too.
        let syn = tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::SYN).macs(mac(ROUTER), mac(DIRECTOR));
        world.live(&[SECOND]);
        world.send(&with_tags(syn));
        world.pass(seconds(3));
        let released: Vec<_> = world.take_sent().into_iter().filter(|f| server_of(f).is_some()).collect();
        assert_eq!(world.director.statistics().released, 1);
        assert!(released.iter().all(|frame| tags_of(frame) == expected));
    }
}

/// Offload metadata counts from the first byte of the frame, which moves.
#[test]
fn metadata_moves_with_the_tags() {
    let mut world = tagged(VlanPath::UNTAGGED, VlanPath { outer: 7, inner: 9 });
    let merged = tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::SYN).payload(&[1; 9000]);
    let (frame, meta) = merged.macs(mac(ROUTER), mac(DIRECTOR)).build_merged(1448);
    let out = world.send_by(PortId(0), meta, &frame);
    let (before, after) = (meta.checksum.unwrap(), out[0].meta.checksum.unwrap());
    assert_eq!((after.start, after.offset), (before.start + 4, before.offset));
    assert_eq!(out[0].meta.gso.unwrap().header_length, meta.gso.unwrap().header_length + 4);
    let start = usize::from(after.start);
    assert_eq!(out[0].bytes[start..], frame[usize::from(before.start)..]);
}

#[test]
fn without_room_for_a_tag_the_frame_is_dropped() {
    let mut world = tagged(VlanPath::UNTAGGED, VlanPath { outer: 7, inner: 9 });
    world.io = MemoryIo::new(2).with_room(3, 0);
    assert!(world.send(&segment(CLIENT, VIP, "S")).is_empty());
    assert_eq!(world.director.statistics().dropped(DropReason::NoRoom), 1);
}
