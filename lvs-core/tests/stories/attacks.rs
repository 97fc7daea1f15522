//! What somebody outside may try. Each of these once did harm.

use lvs_core::io::Frame;
use lvs_core::{DropReason, Instant, PortId, Verdict};
use lvs_testkit::frames::{self, TcpFlags, addr, mac, socket, v4};

use crate::world::{DIRECTOR, ROUTER, VIP, VIP6, World, config, key, segment, service};

/// An IPv6 client whose address, written to memory, looks like the IPv4 connection of another flow.
///
/// Memory of an IPv6 connection's addresses begins with the address's last word. In one batch an old connection
/// ends, the IPv6 flow takes its memory, and another segment of the old flow is looked up by what was guessed
/// before.
#[test]
fn an_address_that_imitates_a_connection_is_not_taken_for_one() {
    let mut config = config();
    config.max_connections = 64;
    let mut world = World::new(config);
    world.apply(&service(key(VIP), &["192.168.0.188"]));
    world.apply(&service(key(VIP6), &["fd00::bc"]));
    // Two connections in neighbouring memory, both over at the same time.
    world.now = Instant::from_micros(1 << 14);
    for client in ["110.0.0.1:4000", "110.0.0.1:4001"] {
        world.tcp(client, VIP, "S");
    }
    assert_eq!(world.director.connection_usage().connections, 2);
    // SYN_RECV ends after 60 s, which is tick 3664 of 2^14 microseconds; nobody has noticed yet.
    let now = Instant::from_micros(3666 << 14);
    // 110.0.0.1 and 192.168.0.250, ports 4001 and 80, TCP over IPv4.
    let imitation = "[2001:306:fa1:50:c0a8:fa:6e00:1]:5000";
    let syn6 = frames::tcp(socket(imitation), socket(VIP6)).flags(TcpFlags::SYN);
    let mut bytes = [
        segment("110.0.0.1:4000", VIP, "A"),
        segment("110.0.0.1:4001", VIP, "A"),
        syn6.macs(mac(ROUTER), mac(DIRECTOR)).build(),
        segment("110.0.0.1:4001", VIP, "A"),
        segment("110.0.0.1:4000", VIP, "A"),
    ];
    let mut frames: Vec<Frame<'_>> = bytes.iter_mut().map(|b| Frame::new(b, PortId(0))).collect();
    let verdicts = world.director.handle_batch(now, &mut frames);
    let refused = Verdict::Drop(DropReason::NotSyn);
    assert_eq!(verdicts[..], [refused, refused, Verdict::Hold, refused, refused]);
    assert_eq!(world.director.all_connections(now).len(), 1);
    // A reader that was interrupted between the two connections meets the same memory.
    let mut records = arrayvec::ArrayVec::<_, 8>::new();
    assert_eq!(world.director.connections(now, 1, u32::MAX, &mut records), None);
    assert!(records.iter().all(|record: &lvs_core::connection::ConnectionRecord| record.client.is_ipv6()));
}

/// A frame that claims to come from everybody is not answered: the answer would go to everybody.
#[test]
fn a_group_address_as_sender_is_not_answered() {
    let mut world = World::ready(socket(VIP), &["192.168.0.188"]);
    let ping = frames::echo_request(addr("110.0.0.1"), addr("192.168.0.250"), 1, 1);
    let frames = [
        segment("110.0.0.1:4000", VIP, "A"),
        segment("110.0.0.1:4000", VIP, "S"),
        ping.macs(mac(ROUTER), mac(DIRECTOR)).build(),
        frames::arp_request(mac(ROUTER), v4("192.168.0.15"), v4("192.168.0.250")).build(),
    ];
    for mut frame in frames {
        for group in ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01"] {
            frame[6..12].copy_from_slice(&mac(group).0);
            assert!(world.send(&frame).is_empty(), "{}", frames::describe(&frame));
        }
    }
    assert_eq!(world.director.statistics().dropped(DropReason::Martian), 12);
}
