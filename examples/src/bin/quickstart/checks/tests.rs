//! Each check passes on faultless evidence and fails on the fault it is there for.

use lvs_core::MacAddr;
use lvs_testkit::frames;

use super::*;
use crate::evidence::Recording;
use crate::sample;

fn recording(evidence: &mut Evidence, place: Place) -> &mut Recording {
    evidence.recordings.iter_mut().find(|recording| recording.place == place).unwrap()
}

/// Changes a recorded frame; the summary follows.
fn spoil(
    evidence: &mut Evidence,
    place: Place,
    wanted: impl Fn(&Seen) -> bool,
    change: impl Fn(&mut Vec<u8>),
) {
    let frame = recording(evidence, place).frames.iter_mut().find(|frame| wanted(frame));
    let frame = frame.expect("there is such a frame");
    let mut bytes = frame.bytes.clone();
    change(&mut bytes);
    *frame = Seen::new(frame.time, frame.way, bytes).unwrap();
}

/// Adds a frame to a recording.
fn add(evidence: &mut Evidence, place: Place, way: Way, bytes: Vec<u8>) {
    let frames = &mut recording(evidence, place).frames;
    let time = frames.last().unwrap().time;
    frames.push(Seen::new(time, way, bytes).unwrap());
}

/// Which checks fail, with their reasons.
fn failures(evidence: &Evidence) -> Vec<(&'static str, String)> {
    let findings = Findings::of(evidence);
    let failed = findings.all().into_iter().filter(|(_, finding)| !finding.passed);
    failed.map(|(name, finding)| (name, finding.because.clone())).collect()
}

#[track_caller]
fn assert_fails(evidence: &Evidence, check: &str, because: &str) {
    let failures = failures(evidence);
    let [(name, reason)] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!(*name, check);
    assert!(reason.contains(because), "{reason}");
}

const OUT_AT_DIRECTOR: fn(&Seen) -> bool = |frame| frame.way == Way::Out && frame.packet().is_some();

#[test]
fn a_faultless_run_passes() {
    for (servers, count) in [(1, 1), (2, 5), (16, 40)] {
        let evidence = sample::evidence(servers, count);
        assert_eq!(failures(&evidence), []);
        assert!(Findings::of(&evidence).passed());
    }
}

#[test]
fn nothing_passes_without_evidence() {
    let mut evidence = sample::evidence(2, 2);
    evidence.requests.clear();
    evidence.recordings.clear();
    assert_eq!(failures(&evidence).len(), 5);
    assert!(!Findings::of(&evidence).passed());
}

#[test]
fn another_server_than_the_schedulers_is_no_distribution() {
    let mut evidence = sample::evidence(2, 4);
    evidence.requests[2].outcome.as_mut().unwrap().server = 0;
    assert_fails(&evidence, "distribution", "request 3 was answered by 192.168.0.188, 192.168.0.111 was due");
}

#[test]
fn equal_shares_in_another_order_are_no_distribution() {
    let mut evidence = sample::evidence(2, 4);
    for request in &mut evidence.requests {
        let answer = request.outcome.as_mut().unwrap();
        answer.server = 1 - answer.server;
    }
    assert_fails(&evidence, "distribution", "request 1 ");
}

#[test]
fn a_changed_ttl_is_named() {
    let mut evidence = sample::evidence(2, 2);
    spoil(&mut evidence, Place::Director, OUT_AT_DIRECTOR, |bytes| bytes[22] -= 1);
    assert_fails(&evidence, "packet_untouched", "the TTL (byte 22) was 0x3f and is 0x3e");
}

#[test]
fn a_changed_checksum_payload_or_length_is_found() {
    for (at, name) in [(19, "the IP id"), (24, "the IP checksum"), (50, "a byte (byte 50)")] {
        let mut evidence = sample::evidence(2, 2);
        spoil(&mut evidence, Place::Director, OUT_AT_DIRECTOR, |bytes| bytes[at] ^= 1);
        assert_fails(&evidence, "packet_untouched", name);
    }
    let mut evidence = sample::evidence(2, 2);
    spoil(&mut evidence, Place::Director, OUT_AT_DIRECTOR, |bytes| bytes.push(0));
    assert_fails(&evidence, "packet_untouched", "54 bytes became 55");
}

#[test]
fn a_packet_changed_on_the_way_to_the_server_is_found() {
    let mut evidence = sample::evidence(1, 2);
    let request = |frame: &Seen| frame.way == Way::In && frame.packet().is_some();
    spoil(&mut evidence, Place::Server(0), request, |bytes| bytes[22] -= 1);
    assert_fails(&evidence, "packet_untouched", "that reached a real server");
}

#[test]
fn a_packet_from_nowhere_or_to_nobody_is_found() {
    let mut evidence = sample::evidence(2, 2);
    let twin =
        evidence.at(Place::Director).iter().find(|frame| OUT_AT_DIRECTOR(frame)).unwrap().bytes.clone();
    add(&mut evidence, Place::Director, Way::Out, twin);
    assert_fails(&evidence, "packet_untouched", "left the director");

    let mut evidence = sample::evidence(2, 2);
    spoil(&mut evidence, Place::Director, OUT_AT_DIRECTOR, |bytes| bytes[5] = 0xee);
    let failures = failures(&evidence);
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].0, "packet_untouched");
}

#[test]
fn a_reply_through_the_director_is_found() {
    let mut evidence = sample::evidence(2, 2);
    let reply = frames::tcp(frames::socket("192.168.0.250:80"), frames::socket("110.0.0.1:40000")).build();
    add(&mut evidence, Place::Director, Way::Out, reply);
    assert_fails(&evidence, "no_reply_through_director", "a packet from 192.168.0.250 passed the director");
}

#[test]
fn a_reply_that_is_not_a_real_servers_is_found() {
    let mut evidence = sample::evidence(2, 2);
    let reply = |frame: &Seen| frame.way == Way::In && frame.packet().is_some();
    spoil(&mut evidence, Place::Router, reply, |bytes| bytes[11] = 0xee);
    assert_fails(&evidence, "no_reply_through_director", "02:00:00:00:00:ee, which is no real server");
}

#[test]
fn a_real_server_that_claims_the_vip_is_found() {
    let server = MacAddr([2, 0, 0, 0, 0, 188]);
    let (vip, router) = (frames::v4("192.168.0.250"), frames::v4("192.168.0.15"));
    for claim in [
        frames::arp_reply(server, vip, frames::mac("02:00:00:00:00:0f"), router),
        frames::arp_announcement(server, vip),
        // The ARP problem's other half: a question that carries the VIP as its sender.
        frames::arp_request(server, vip, router),
    ] {
        let mut evidence = sample::evidence(2, 2);
        add(&mut evidence, Place::Router, Way::In, claim.build());
        assert_fails(
            &evidence,
            "only_director_answers_arp",
            "02:00:00:00:00:bc (server1) claims 192.168.0.250",
        );
    }
}

#[test]
fn silence_and_a_wrong_belief_are_no_answer() {
    let mut evidence = sample::evidence(2, 2);
    recording(&mut evidence, Place::Router).frames.retain(|frame| frame.summary.arp.is_none());
    assert_fails(&evidence, "only_director_answers_arp", "nobody answered");

    let mut evidence = sample::evidence(2, 2);
    evidence.router_believes = Some(MacAddr([2, 0, 0, 0, 0, 188]));
    assert_fails(&evidence, "only_director_answers_arp", "the router holds 02:00:00:00:00:bc");
}

#[test]
fn a_failed_request_fails_its_check_and_the_distribution() {
    let mut evidence = sample::evidence(2, 4);
    evidence.requests[3].outcome = Err("timed out".to_owned());
    let failures = failures(&evidence);
    let names: Vec<_> = failures.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["distribution", "no_request_failed"]);
    assert_eq!(failures[1].1, "1 request of 4 failed; number 4: timed out");
}
