//! Answers to health probes are told apart from clients' packets, and handed over.

use lvs_core::config::{
    ConfigError, MarkRule, PortRange, PortRanges, ProbeConfig, Protocol, SchedulerKind, ServiceConfig,
    ServiceKey,
};
use lvs_core::director::{PROBE_BUFFER, ProbeReply};
use lvs_core::io::{Meta, VlanTag};
use lvs_core::{Change, Director, DirectorConfig, DropReason, Instant, MacAddr, PortId};
use lvs_testkit::frames::{
    self, Body, IcmpError, Packet, Summary, TcpFlags, addr, mac, socket, tcp, udp, v4, v6,
};

use crate::world::{
    CLIENT, DIP, DIRECTOR, ROUTER, SECOND, VIP, VIP6, World, add, config, key, mac_of, seconds, segment,
    server_of, service,
};

const PROBE: &str = "192.168.0.209";
const PROBE6: &str = "fd00::d1";
const DIP6: &str = "fd00::d0";
const SECOND6: &str = "fd00::188";

/// VIP, address that probes leave with, and real server of each family.
const OWNED: [(&str, &str, &str); 2] = [(VIP, PROBE, SECOND), (VIP6, PROBE6, SECOND6)];
const KERNELS: [(&str, &str, &str); 2] = [(VIP, DIP, SECOND), (VIP6, DIP6, SECOND6)];

fn syn_ack() -> TcpFlags {
    TcpFlags::SYN | TcpFlags::ACK
}

fn probing(addresses: &[&str]) -> DirectorConfig {
    let addresses = addresses.iter().map(|text| addr(text)).collect();
    DirectorConfig { probes: Some(ProbeConfig { addresses, ..ProbeConfig::default() }), ..config() }
}

/// A director with a service of each family; probes leave with these addresses, or with the DIPs, which are the kernel's.
fn world_of(config: DirectorConfig) -> World {
    let mut world = World::new(config);
    world.live(&[SECOND, SECOND6]);
    world.apply(&service(key(VIP), &[SECOND]));
    world.apply(&service(key(VIP6), &[SECOND6]));
    world.pass(seconds(5));
    world.take_sent();
    world
}

fn world(addresses: &[&str]) -> World {
    world_of(probing(addresses))
}

/// What becomes of a frame: the one counter that counts it.
fn fate(world: &mut World, frame: &[u8]) -> &'static str {
    fate_with(world, Meta::default(), frame)
}

fn fate_with(world: &mut World, meta: Meta, frame: &[u8]) -> &'static str {
    let before = world.director.statistics();
    world.send_by(PortId(0), meta, frame);
    let after = world.director.statistics();
    assert_eq!(after.frames(), before.frames() + 1);
    let reason = DropReason::ALL.iter().find(|reason| after.dropped(**reason) > before.dropped(**reason));
    match reason {
        Some(reason) => reason.slug(),
        None if after.passed > before.passed => "passed",
        None => "transmitted",
    }
}

fn replies(world: &mut World) -> Vec<(ProbeReply, Vec<u8>)> {
    let mut buffer = [0; PROBE_BUFFER];
    std::iter::from_fn(|| world.director.poll_probe_reply(&mut buffer).map(|r| (r, buffer[..r.len].to_vec())))
        .collect()
}

fn from<B: Body>(sender: MacAddr, packet: Packet<B>) -> Vec<u8> {
    packet.macs(sender, mac(DIRECTOR)).build()
}

fn at(address: &str, port: u16) -> std::net::SocketAddr {
    (addr(address), port).into()
}

#[test]
fn answers_of_servers_are_handed_over_as_they_came() {
    for (addresses, ways) in [(&[PROBE, PROBE6][..], OWNED), (&[], KERNELS)] {
        let mut world = world(addresses);
        for (vip, probe, rip) in ways {
            for (port, flags) in
                [(61_000, syn_ack()), (65_535, TcpFlags::RST | TcpFlags::ACK), (63_000, TcpFlags::ACK)]
            {
                let answer = from(mac_of(addr(rip)), tcp(socket(vip), at(probe, port)).flags(flags));
                assert_eq!(fate(&mut world, &answer), "consumed", "{vip} to {probe}");
                let [(reply, bytes)] = &replies(&mut world)[..] else { panic!("one frame") };
                assert_eq!((reply.port, reply.meta), (PortId(0), Meta::default()));
                assert_eq!(*bytes, answer);
            }
        }
        assert_eq!(world.director.connection_usage().connections, 0);
    }
}

#[test]
fn tags_and_merged_segments_come_along() {
    let mut config = probing(&[PROBE]);
    config.interfaces[0].vlan = lvs_core::config::VlanPath::tagged(7);
    let mut world = World::new(config);
    world.apply(&service(key(VIP), &[SECOND]));
    let answer =
        tcp(socket(VIP), at(PROBE, 61_000)).flags(syn_ack()).macs(mac_of(addr(SECOND)), mac(DIRECTOR));
    let meta = Meta { vlan: Some(VlanTag { tpid: 0x8100, tci: 7 }), checksum_valid: true, ..Meta::default() };
    assert_eq!(fate_with(&mut world, meta, &answer.build()), "consumed");
    let inside = answer.clone().vlan(7).build();
    assert_eq!(fate(&mut world, &inside), "consumed");
    let (merged, more) = answer.payload(&[9; 4096]).build_merged(1448);
    let more = Meta { vlan: meta.vlan, ..more };
    assert_eq!(fate_with(&mut world, more, &merged), "consumed");
    let got = replies(&mut world);
    assert_eq!(got.iter().map(|(reply, _)| reply.meta).collect::<Vec<_>>(), [meta, Meta::default(), more]);
    assert!(got[1].1 == inside && got[2].1 == merged);
}

/// A filter at the server or on the way says so, from whatever address.
#[test]
fn icmp_errors_about_probes_are_handed_over_and_others_are_not() {
    for (addresses, ways) in [(&[PROBE, PROBE6][..], OWNED), (&[], KERNELS)] {
        let mut world = world(addresses);
        for (vip, probe, rip) in ways {
            let vip = socket(vip);
            let syn = |port| tcp(at(probe, port), vip).flags(TcpFlags::SYN).build();
            for sender in [addr(rip), vip.ip()] {
                let error = |about: &[u8]| {
                    let error = frames::icmp_error(sender, addr(probe), IcmpError::Prohibited, about);
                    from(mac_of(addr(rip)), error)
                };
                let ours = error(&syn(61_007));
                assert_eq!(fate(&mut world, &ours), "consumed");
                assert_eq!(replies(&mut world).iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), [&ours]);
                for other in [
                    error(&syn(40_000)),
                    error(&udp(at(probe, 61_007), vip).build()),
                    error(&tcp(vip, at(probe, 61_007)).build()),
                ] {
                    let expected = match (addresses.is_empty(), sender == vip.ip()) {
                        (true, _) => "passed",
                        (false, true) => "probe_reply",
                        (false, false) => "icmp_unrelated",
                    };
                    assert_eq!(fate(&mut world, &other), expected);
                }
            }
        }
        assert!(replies(&mut world).is_empty());
    }
}

/// A server that forwards packets and lacks the VIP routes the probe back: it is no client's SYN.
#[test]
fn a_probe_that_was_sent_back_is_handed_over_and_not_balanced() {
    for (addresses, ways) in [(&[PROBE, PROBE6][..], OWNED), (&[], KERNELS)] {
        let mut world = world(addresses);
        for (vip, probe, rip) in ways {
            let back = tcp(at(probe, 61_001), socket(vip)).flags(TcpFlags::SYN).ttl(63);
            let back = from(mac_of(addr(rip)), back);
            assert_eq!(fate(&mut world, &back), "consumed");
            assert_eq!(replies(&mut world)[0].1, back);
        }
        assert_eq!(world.director.connection_usage().connections, 0);
    }
}

/// With AF_PACKET nobody sees what he sent; on a bridge that floods it, it is known by its sender.
#[test]
fn a_probe_that_comes_back_unchanged_is_the_directors_own_frame() {
    let mut world = world(&[PROBE]);
    let probe = tcp(at(PROBE, 61_001), socket(VIP)).flags(TcpFlags::SYN);
    for to in [mac_of(addr(SECOND)), mac(DIRECTOR)] {
        let probe = probe.clone().macs(mac(DIRECTOR), to).build();
        assert_eq!(fate(&mut world, &probe), "own_frame");
    }
    assert!(replies(&mut world).is_empty());
}

#[test]
fn without_probes_all_is_as_before() {
    let mut off = world_of(config());
    let answer = |dip| from(mac_of(addr(SECOND)), tcp(socket(VIP), at(dip, 61_000)).flags(syn_ack()));
    assert_eq!(fate(&mut off, &answer(DIP)), "passed");
    let mut owning = config();
    owning.interfaces[0].owns_addresses = true;
    let mut owning = world_of(owning);
    assert_eq!(fate(&mut owning, &answer(DIP)), "probe_reply");
    assert!(replies(&mut off).is_empty() && replies(&mut owning).is_empty());
    let watch = Change::WatchNeighbour { address: addr(SECOND), watched: true };
    assert!(off.director.apply(off.now, &[watch]).is_err());
}

/// The kernel's DIP is looked at for answers only: its own traffic goes on, and clients that share it are served.
#[test]
fn all_else_to_the_kernels_dip_is_the_kernels() {
    let (mut on, mut off) = (world(&[]), world_of(config()));
    let (server, router) = (mac_of(addr(SECOND)), mac(ROUTER));
    let fragments = udp(socket(CLIENT), at(DIP, 53)).payload(&[0; 3000]).macs(router, mac(DIRECTOR));
    let group = tcp(socket(CLIENT), at(DIP, 22)).flags(TcpFlags::SYN).macs(router, mac("01:00:5e:00:00:01"));
    let mut frames = fragments.fragments(1500);
    frames.extend([
        from(router, tcp(socket(CLIENT), at(DIP, 22)).flags(TcpFlags::SYN)),
        from(router, tcp(socket(CLIENT), at(DIP, 61_000)).flags(TcpFlags::ACK)),
        from(server, tcp(socket(VIP), at(DIP, 40_000)).flags(syn_ack())),
        from(router, udp(socket(CLIENT), at(DIP, 61_000))),
        from(router, frames::echo_request(addr("192.168.0.15"), addr(DIP), 1, 1)),
        from(router, frames::echo_request(addr("fd00::f"), addr(DIP6), 1, 1)),
        from(router, tcp(socket("[fd00::f]:999"), at(DIP6, 22)).flags(TcpFlags::SYN)),
        from(router, frames::ip(addr("192.168.0.15"), addr(DIP), 47, &[0; 20])),
        group.build(),
    ]);
    for frame in &frames {
        assert_eq!(fate(&mut off, frame), "passed", "{}", frames::describe(frame));
        assert_eq!(fate(&mut on, frame), "passed", "{}", frames::describe(frame));
    }
    // Somebody with the DIP as source: served before, served now.
    for world in [&mut off, &mut on] {
        let frame = from(router, tcp(at(DIP, 40_000), socket(VIP)).flags(TcpFlags::SYN));
        assert_eq!(fate(world, &frame), "transmitted");
    }
    assert!(replies(&mut on).is_empty());
    let question = frames::arp_request(router, v4("192.168.0.15"), v4(DIP)).build();
    assert_eq!(fate(&mut on, &question), "passed");
}

#[test]
fn what_is_no_answer_to_an_owned_address_is_refused_as_everywhere() {
    let mut world = world(&[PROBE]);
    let (server, router) = (mac_of(addr(SECOND)), mac(ROUTER));
    for (frame, expected) in [
        (from(server, tcp(socket(VIP), at(PROBE, 60_999)).flags(syn_ack())), "probe_reply"),
        (from(server, udp(socket(VIP), at(PROBE, 61_000))), "probe_reply"),
        (from(server, tcp(at(SECOND, 80), at(PROBE, 61_000)).flags(syn_ack())), "no_service"),
        (from(router, tcp(socket(CLIENT), at(PROBE, 61_000)).flags(TcpFlags::SYN)), "no_service"),
        (from(router, tcp(at(PROBE, 40_000), socket(VIP)).flags(TcpFlags::SYN)), "martian"),
        (from(router, tcp(at(PROBE, 61_000), socket(VIP)).flags(TcpFlags::ACK)), "martian"),
    ] {
        assert_eq!(fate(&mut world, &frame), expected, "{}", frames::describe(&frame));
    }
    assert!(replies(&mut world).is_empty());
}

#[test]
fn the_director_answers_for_its_probe_addresses_and_announces_them() {
    let mut world = World::new(probing(&[PROBE, PROBE6]));
    world.pass(seconds(5));
    let sent = world.take_sent();
    let summaries = || sent.iter().filter_map(|frame| Summary::of(&frame.bytes));
    let arp =
        summaries().filter(|s| s.arp.is_some_and(|a| a.sender == addr(PROBE) && a.target == addr(PROBE)));
    let ndp = summaries().filter_map(|s| s.ip).filter(|ip| ip.neighbour_target == Some(addr(PROBE6)));
    assert_eq!((arp.count(), ndp.count()), (3, 3));
    let question = frames::arp_request(mac(ROUTER), v4("192.168.0.15"), v4(PROBE)).build();
    assert_eq!(fate(&mut world, &question), "transmitted");
    let question = frames::neighbour_solicitation(mac(ROUTER), v6("fd00::f"), v6(PROBE6)).build();
    assert_eq!(fate(&mut world, &question), "transmitted");
    for (asker, probe) in [("192.168.0.15", PROBE), ("fd00::f", PROBE6)] {
        let ping = from(mac(ROUTER), frames::echo_request(addr(asker), addr(probe), 1, 1));
        assert_eq!(fate(&mut world, &ping), "transmitted");
    }
}

/// The VIP of a firewall mark is known by the rule only.
#[test]
fn answers_from_the_vip_of_a_mark_are_handed_over() {
    let mut world = world(&[PROBE]);
    let mark = ServiceKey::Mark { mark: 5, ipv6: false };
    world.apply(&[
        Change::AddMarkRule(MarkRule {
            mark: 5,
            protocol: Protocol::Tcp,
            destination: "10.9.0.0/16".parse().unwrap(),
            ports: PortRanges::new(&[PortRange { first: 80, last: 80 }]).unwrap(),
        }),
        Change::AddService(ServiceConfig::new(mark, SchedulerKind::RoundRobin)),
        add(mark, SECOND, 1),
    ]);
    let server = mac_of(addr(SECOND));
    let answer = |vip| from(server, tcp(socket(vip), at(PROBE, 61_000)).flags(syn_ack()));
    assert_eq!(fate(&mut world, &answer("10.9.1.1:80")), "consumed");
    assert_eq!(fate(&mut world, &answer("10.8.1.1:80")), "no_service");
    let back = from(server, tcp(at(PROBE, 61_000), socket("10.9.1.1:80")).flags(TcpFlags::SYN));
    assert_eq!(fate(&mut world, &back), "consumed");
}

/// A flood of forged answers: bounded, counted, and neither clients nor real servers' answers suffer.
#[test]
fn a_flood_leaves_room_for_others() {
    let mut world = world(&[PROBE]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    let forged = from(mac(ROUTER), tcp(socket(VIP), at(PROBE, 61_000)).flags(syn_ack()));
    for _ in 0..1000 {
        world.inject(PortId(0), Meta::default(), &forged);
        world.inject(PortId(0), Meta::default(), &segment(CLIENT, VIP, "A"));
    }
    world.turn();
    let sent = world.take_sent();
    assert_eq!(sent.iter().filter(|frame| server_of(frame) == Some(188)).count(), 1000);
    let statistics = world.director.statistics();
    assert_eq!(statistics.dropped(DropReason::ProbeQueueFull), 1000 - 64);
    let honest = from(mac_of(addr(SECOND)), tcp(socket(VIP), at(PROBE, 61_001)).flags(syn_ack()));
    assert_eq!(fate(&mut world, &honest), "consumed");
    let got = replies(&mut world);
    assert_eq!(got.len(), 65);
    assert_eq!(got[64].1, honest);
    assert_eq!(fate(&mut world, &forged), "consumed", "room again");
}

#[test]
fn a_wrong_configuration_names_its_field() {
    let refused = |turn: &dyn Fn(&mut ProbeConfig)| {
        let mut config = probing(&[PROBE]);
        turn(config.probes.as_mut().unwrap());
        Director::new(config, Instant::ZERO).err().unwrap()
    };
    assert_eq!(
        refused(&|p| p.addresses.push(addr("224.0.0.1"))),
        ConfigError::ProbeAddress(addr("224.0.0.1"))
    );
    let broadcast = addr("192.168.0.255");
    assert_eq!(refused(&|p| p.addresses.push(broadcast)), ConfigError::ProbeAddress(broadcast));
    assert_eq!(refused(&|p| p.addresses.push(addr(DIP6))), ConfigError::ProbeAddressIsDip(addr(DIP6)));
    assert_eq!(refused(&|p| p.ports = 0..=100), ConfigError::ProbePorts(0, 100));
    #[expect(clippy::reversed_empty_ranges, reason = "that is the mistake")]
    let reversed = refused(&|p| p.ports = 100..=99);
    assert_eq!(reversed.to_string(), "probes.ports: 100 to 99 has no port from 1 on");
    assert!(refused(&|p| p.queue = 0).to_string().starts_with("probes.queue: 0 is out of range"));
}
