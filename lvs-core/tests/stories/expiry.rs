//! How long each state is remembered, and what is left afterwards.

use lvs_core::Change;
use lvs_core::config::Timeouts;
use lvs_testkit::frames::socket;

use crate::world::{
    CLIENT, FIRST, SECOND, VIP, World, config, key, millis, seconds, segment, service, udp_key,
};

/// Segments, the state they lead to, its time-out in seconds, and whether it counts as active.
const STATES: [(&[&str], &str, u64, bool); 8] = [
    (&["S"], "SYN_RECV", 60, true),
    (&["S", "A"], "ESTABLISHED", 900, true),
    (&["S", "A", "PA", "S"], "ESTABLISHED", 900, true),
    (&["S", "A", "FA"], "FIN_WAIT", 120, false),
    (&["S", "FA"], "TIME_WAIT", 120, false),
    (&["S", "A", "R"], "CLOSE", 10, false),
    (&["S", "A", "FA", "R"], "CLOSE", 10, false),
    (&["S", "R"], "SYN_RECV", 60, true),
];

#[test]
fn each_state_has_its_time() {
    for (segments, state, timeout, active) in STATES {
        let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
        for letters in segments {
            assert_eq!(world.chosen(CLIENT, VIP, letters), Some(188));
            world.pass(millis(700));
        }
        let record = world.record(CLIENT).unwrap();
        assert_eq!((record.state.name(), record.packets), (state, segments.len() as u32));
        assert!(record.timeout.abs_diff(seconds(timeout)) < millis(17), "{record:?}");
        assert!(record.expires_in.abs_diff(record.timeout - millis(700)) < millis(34), "{record:?}");
        let counts = if active { (1, 0) } else { (0, 1) };
        assert_eq!(world.counts(key(VIP)), counts, "{state}");
        world.pass(seconds(timeout) - millis(700) - millis(50));
        assert_eq!(world.record(CLIENT).map(|record| record.state.name()), Some(state));
        // A slot of the timer wheel is a quarter of a second.
        world.pass(millis(50 + 300));
        assert_eq!(world.record(CLIENT), None, "{state} after {timeout} s");
        assert_eq!(world.counts(key(VIP)), (0, 0), "{state}");
        assert_eq!(world.director.connection_usage().used, 0);
        let statistics = world.director.service(key(VIP)).unwrap().statistics;
        assert_eq!((statistics.connections, statistics.in_packets), (1, segments.len() as u64));
    }
}

#[test]
fn udp_is_remembered_for_five_minutes_after_each_datagram() {
    let udp = "192.168.0.250:53";
    let mut world = World::ready_with(config(), udp_key(udp), &[FIRST, SECOND]);
    for _ in 0..3 {
        assert_eq!(world.chosen_udp(CLIENT, udp), Some(188));
        assert_eq!(world.counts(udp_key(udp)), (0, 1));
        world.pass(seconds(299));
    }
    assert_eq!(world.record(CLIENT).unwrap().state.name(), "UDP");
    world.pass(millis(1300));
    assert_eq!(world.record(CLIENT), None);
    assert_eq!(world.counts(udp_key(udp)), (0, 0));
    assert_eq!(world.chosen_udp(CLIENT, udp), Some(111), "it is a new flow now");
}

#[test]
fn traffic_keeps_a_connection_alive() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    world.chosen(CLIENT, VIP, "S");
    for _ in 0..20 {
        assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
        world.pass(seconds(890));
    }
    // After the client's FIN, a download that goes on for long lives on the client's acknowledgements.
    world.chosen(CLIENT, VIP, "FA");
    for _ in 0..20 {
        world.pass(seconds(110));
        assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(188));
    }
    assert_eq!(world.record(CLIENT).unwrap().state.name(), "FIN_WAIT");
}

#[test]
fn a_shorter_time_out_of_a_new_state_counts_at_once() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    for letters in ["S", "A", "R"] {
        world.tcp(CLIENT, VIP, letters);
    }
    world.pass(millis(10_400));
    assert_eq!(world.record(CLIENT), None);
}

#[test]
fn time_outs_that_are_set_count_from_the_next_packet_on() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    for letters in ["S", "A"] {
        world.tcp(CLIENT, VIP, letters);
    }
    world.apply(&[Change::SetTimeouts(Timeouts { tcp: seconds(30), tcp_fin: seconds(5), udp: seconds(7) })]);
    world.pass(seconds(100));
    assert!(world.record(CLIENT).is_some());
    world.tcp(CLIENT, VIP, "A");
    world.pass(millis(29_900));
    assert!(world.record(CLIENT).is_some());
    world.pass(millis(500));
    assert_eq!(world.record(CLIENT), None);
    for letters in ["S", "A", "FA"] {
        world.tcp(CLIENT, VIP, letters);
    }
    world.pass(millis(5400));
    assert_eq!(world.record(CLIENT), None);
    world.apply(&service(udp_key("192.168.0.250:53"), &[FIRST]));
    world.chosen_udp(CLIENT, "192.168.0.250:53");
    world.pass(millis(7400));
    assert_eq!(world.record(CLIENT), None);
}

#[test]
fn a_time_out_of_zero_forgets_at_once_and_does_not_spin() {
    let mut world = World::ready(socket(VIP), &[FIRST]);
    let zero = seconds(0);
    world.apply(&[Change::SetTimeouts(Timeouts { tcp: zero, tcp_fin: zero, udp: zero })]);
    world.tcp(CLIENT, VIP, "S");
    assert_eq!(world.chosen(CLIENT, VIP, "A"), Some(111));
    assert_eq!(world.chosen(CLIENT, VIP, "A"), None, "the connection is over");
    world.pass(seconds(3));
    assert_eq!(world.director.connection_usage().used, 0);
}

/// A connection is over when its time is, not when the director gets round to it.
#[test]
fn what_is_over_is_not_revived() {
    let mut world = World::ready(socket(VIP), &[FIRST, SECOND]);
    assert_eq!(world.chosen(CLIENT, VIP, "S"), Some(188));
    world.now = world.now + seconds(61);
    // No timer was served: the frame comes first.
    let mut bytes = segment(CLIENT, VIP, "A");
    let mut frame = lvs_core::Frame::new(&mut bytes, lvs_core::PortId(0));
    let verdict = world.director.handle_frame(world.now, &mut frame);
    assert_eq!(verdict, lvs_core::Verdict::Drop(lvs_core::DropReason::NotSyn));
    assert_eq!(world.counts(key(VIP)), (0, 0));
}

/// Many connections that end at once are forgotten over several calls, each of which does a bounded amount of work.
#[test]
fn many_that_end_together_are_all_forgotten() {
    let mut config = config();
    config.max_connections = 8192;
    let mut world = World::ready_with(config, key(VIP), &[FIRST]);
    for port in 0..6000 {
        world.tcp(&format!("110.0.0.1:{}", 4000 + port), VIP, "S");
    }
    assert_eq!(world.counts(key(VIP)), (6000, 0));
    let now = world.now + seconds(62);
    world.director.handle_timeout(now);
    let left = world.director.connection_usage().connections;
    assert!((4900..6000).contains(&left), "{left} left after one call");
    assert!(world.director.poll_timeout() <= Some(now), "the rest is due at once");
    world.pass(seconds(62));
    assert_eq!(world.director.connection_usage().connections, 0);
    assert_eq!(world.counts(key(VIP)), (0, 0));
}
