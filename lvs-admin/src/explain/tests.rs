//! Every scheduler's sentence, every ending of a frame, and filters.

use std::num::NonZeroU32;

use lvs_core::config::{DestinationConfig, OnMiss, Persistence, SchedulerKind, ServiceConfig, ServiceKey};
use lvs_core::scheduler::Server;
use lvs_core::{Change, Director, DirectorConfig, Frame, Instant, InterfaceConfig, PortId};
use lvs_testkit::frames::{self, Body, Packet, TcpFlags, addr, mac, socket, station};
use proptest::prelude::*;

use super::*;

const VIP: &str = "192.168.0.250:80";
const CLIENT: &str = "110.0.0.1:40000";
const RIPS: [&str; 3] = ["192.168.0.1", "192.168.0.2", "192.168.0.3"];

const PERSISTENCE: Persistence = Persistence {
    timeout: std::time::Duration::from_secs(360),
    mask: lvs_core::config::ClientMask::V4(u32::MAX),
};

/// A director with a service of three real servers, the last of weight 3 and the others of weight 1.
struct World {
    director: Director,
    now: Instant,
}

fn key() -> ServiceKey {
    ServiceKey::tcp(socket(VIP).ip(), 80)
}

impl World {
    fn new(scheduler: SchedulerKind) -> Self {
        Self::with(ServiceConfig::new(key(), scheduler))
    }

    fn with(service: ServiceConfig) -> Self {
        let eth0 =
            InterfaceConfig::new(PortId(0), mac("02:00:00:00:00:d0"), "192.168.0.208/24".parse().unwrap());
        let mut config = DirectorConfig::new(vec![eth0], [7; 32]);
        (config.max_connections, config.max_templates) = (64, 64);
        let mut director = Director::new(config, Instant::ZERO).unwrap();
        let mut changes = vec![Change::AddService(service)];
        for (n, rip) in (1..).zip(RIPS) {
            let weight = if n == 3 { 3 } else { 1 };
            changes.push(Change::AddDestination(
                service.key,
                DestinationConfig::new(addr(rip), 80).weight(weight),
            ));
            changes.push(Change::SetStaticNeighbour { address: addr(rip), mac: Some(station(n)) });
        }
        director.apply(Instant::ZERO, &changes).unwrap();
        Self { director, now: Instant::ZERO }
    }

    fn apply(&mut self, change: Change) {
        self.director.apply(self.now, &[change]).unwrap();
    }

    fn give<B: Body>(&mut self, packet: Packet<B>) -> Explanation {
        self.give_bytes(packet.macs(mac("02:00:00:00:00:0f"), mac("02:00:00:00:00:d0")).build())
    }

    fn give_bytes(&mut self, mut bytes: Vec<u8>) -> Explanation {
        let mut found = Vec::new();
        let mut explainer = Explainer::new(Filter::default(), |explanation: &Explanation| {
            found.push(explanation.clone());
        });
        let mut frame = Frame::new(&mut bytes, PortId(0));
        let _ = self.director.handle_frame_observed(self.now, &mut frame, &mut explainer);
        assert_eq!(found.len(), 1, "one explanation a frame");
        found.remove(0)
    }

    fn syn(&mut self, from: &str) -> Explanation {
        self.give(frames::tcp(socket(from), socket(VIP)).flags(TcpFlags::SYN))
    }
}

/// The sentence about the scheduler.
fn scheduler_line(explanation: &Explanation) -> String {
    let lines = explanation.lines(&Plain);
    lines.into_iter().find(|line| line.label == "scheduler").map(|line| line.text).unwrap_or_default()
}

#[test]
fn all_fourteen_schedulers_have_a_sentence_with_their_inputs() {
    use SchedulerKind as Kind;
    let least = "192.168.0.3 256/3, 192.168.0.2 0/1, 192.168.0.1 0/1; so it goes to 192.168.0.2";
    let expected = [
        (Kind::RoundRobin, "rr: the last pick was 192.168.0.3; so it is the turn of 192.168.0.2".to_owned()),
        (
            Kind::WeightedRoundRobin,
            "wrr: the last pick was 192.168.0.3, this round asks for weight 1 (from 3 down by 1); so it is the \
             turn of 192.168.0.2"
                .to_owned(),
        ),
        (
            Kind::LeastConnection,
            "lc: the least of 256*active+inactive: 192.168.0.3 256, 192.168.0.2 0, 192.168.0.1 0; so it goes to \
             192.168.0.2"
                .to_owned(),
        ),
        (Kind::WeightedLeastConnection, format!("wlc: the least of (256*active+inactive)/weight: {least}")),
        (Kind::Locality, "lblc: 192.168.0.250 went to 192.168.0.3 before; so it goes to 192.168.0.3".to_owned()),
        (
            Kind::LocalityWithReplication,
            "lblcr: 192.168.0.250 has a set of servers, of which 192.168.0.3 is the least loaded; so it goes to \
             192.168.0.3"
                .to_owned(),
        ),
        (Kind::DestinationHashing, "dh: the hash of the virtual address 192.168.0.250 gives entry ".to_owned()),
        (Kind::SourceHashing, "sh: the hash of the client 110.0.0.2 gives entry ".to_owned()),
        (
            Kind::ShortestExpectedDelay,
            "sed: the least of (active+1)/weight: 192.168.0.3 2/3, 192.168.0.2 1/1, 192.168.0.1 1/1; so it goes \
             to 192.168.0.3"
                .to_owned(),
        ),
        (
            Kind::NeverQueue,
            "nq: the first without an active connection: 192.168.0.3 1, 192.168.0.2 0, 192.168.0.1 0; so it goes \
             to 192.168.0.2"
                .to_owned(),
        ),
        (
            Kind::WeightedFailover,
            "fo: the largest weight: 192.168.0.3 3, 192.168.0.2 1, 192.168.0.1 1; so it goes to 192.168.0.3"
                .to_owned(),
        ),
        (
            Kind::WeightedOverflow,
            "ovf: the largest weight that no more connections are active than: 192.168.0.3 3 (1 active), \
             192.168.0.2 1 (0 active), 192.168.0.1 1 (0 active); so it goes to 192.168.0.3"
                .to_owned(),
        ),
        (Kind::Maglev, "mh: the hash of the client 110.0.0.2 gives entry ".to_owned()),
        (Kind::TwoChoices, "twos: ".to_owned()),
    ];
    assert_eq!(expected.len(), Kind::ALL.len());
    for (kind, sentence) in expected {
        let mut world = World::new(kind);
        // The first connection is active at the server that the scheduler gave it; for lc and others that is .3.
        let first = world.syn(CLIENT);
        assert_eq!(first.connection(), Connection::New, "{kind}");
        world.give(frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::ACK));
        let second = world.syn("110.0.0.2:40000");
        let line = scheduler_line(&second);
        assert!(line.starts_with(&sentence), "{kind}: {line}\nexpected {sentence}");
        let server = second.server().unwrap().to_string();
        assert!(line.ends_with(&format!(" {server}")), "{kind}: {line}");
        if let Kind::DestinationHashing | Kind::SourceHashing | Kind::Maglev = kind {
            assert!(line.contains(&format!(", which is {server}'s; so it goes to")), "{line}");
        }
        if kind == Kind::TwoChoices {
            assert!(line.contains("lots gave"), "{line}");
        }
    }
}

#[test]
fn whoever_is_passed_over_is_named() {
    let mut world = World::new(SchedulerKind::RoundRobin);
    world.apply(Change::EditDestination(key(), DestinationConfig::new(addr(RIPS[2]), 80).weight(0)));
    let line = scheduler_line(&world.syn(CLIENT));
    assert_eq!(
        line,
        "rr: it begins with the first of them; 192.168.0.3 is passed over (weight 0); so it is the turn of \
         192.168.0.2"
    );
    for rip in RIPS {
        world.apply(Change::EditDestination(key(), DestinationConfig::new(addr(rip), 80).weight(0)));
    }
    let refused = world.syn("110.0.0.9:1");
    assert_eq!(refused.reason(), Some(DropReason::NoDestination));
    assert_eq!((refused.connection(), refused.server()), (Connection::None, None));
    let line = scheduler_line(&refused);
    assert!(line.ends_with("nobody may be chosen: 192.168.0.3 is out (weight 0), 192.168.0.2 is out (weight 0), 192.168.0.1 is out (weight 0)"), "{line}");
    assert!(refused.why(&Plain).contains("the director answers the sender: ICMP port unreachable"));
}

#[test]
fn a_hash_that_falls_back_says_whose_entry_it_was() {
    let mut service = ServiceConfig::new(key(), SchedulerKind::SourceHashing);
    service.flags = lvs_core::config::SchedulerFlags::FALLBACK;
    let mut world = World::with(service);
    for rip in &RIPS[1..] {
        world.apply(Change::EditDestination(key(), DestinationConfig::new(addr(rip), 80).weight(0)));
    }
    let mut holders = std::collections::BTreeSet::new();
    for client in 1..40 {
        let explanation = world.syn(&format!("110.0.0.{client}:1"));
        assert_eq!(explanation.server(), Some(addr(RIPS[0])), "the only one left");
        let line = scheduler_line(&explanation);
        let holder = line.split_once("which is ").and_then(|(_, rest)| rest.split_once("'s")).unwrap();
        let falls_back = holder.1.starts_with(", who is weight 0: the next entry");
        assert_eq!(falls_back, holder.0 != RIPS[0], "{line}");
        holders.insert(holder.0.to_owned());
    }
    assert_eq!(holders.len(), 3, "entries of all three were hit: {holders:?}");
}

#[test]
fn a_connection_from_its_beginning_to_its_end() {
    let mut world = World::new(SchedulerKind::RoundRobin);
    let syn = world.syn(CLIENT);
    assert_eq!(syn.what(), "TCP SYN 110.0.0.1:40000 > 192.168.0.250:80, 54 bytes");
    assert_eq!((syn.service(), syn.server()), (Some(key()), Some(addr(RIPS[2]))));
    let labels: Vec<&str> = syn.lines(&Plain).iter().map(|line| line.label).collect();
    assert_eq!(labels, ["connection", "service", "servers", "scheduler", "verdict", "rewritten"]);
    let ack = world.give(frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::ACK));
    assert_eq!((ack.connection(), ack.service()), (Connection::Known, None));
    assert_eq!(ack.why(&Plain), "known, to 192.168.0.3; state SYN_RECV becomes ESTABLISHED");
    let more = world.give(frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::ACK));
    assert_eq!(more.why(&Plain), "known, to 192.168.0.3; its state stays ESTABLISHED");
    world.give(frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::RST));
    let again = world.syn(CLIENT);
    assert_eq!(again.connection(), Connection::New);
    let why = again.why(&Plain);
    assert!(
        why.starts_with("an old one is forgotten: the client opens a new one from the same port"),
        "{why}"
    );
}

#[test]
fn what_goes_no_further_says_why() {
    let mut world = World::new(SchedulerKind::RoundRobin);
    let stray = world.give(frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::ACK));
    assert_eq!(stray.reason().map(DropReason::slug), Some("not_syn"));
    assert!(stray.why(&Plain).contains("only the beginning of a connection"), "{}", stray.why(&Plain));
    let other = world.give(frames::tcp(socket(CLIENT), socket("192.168.0.250:81")).flags(TcpFlags::SYN));
    assert_eq!(
        other.why(&Plain),
        "none is known for this client and port; the director answers the sender: TCP RST; no virtual service \
         has this protocol, address and port"
    );
    let strange = world.give(frames::udp(socket("110.0.0.1:5"), socket("192.168.0.9:53")));
    assert_eq!(strange.verdict, Verdict::Pass);
    assert!(strange.why(&Plain).contains("for none of the director's addresses"));
    let bad = world.give(frames::tcp(socket(CLIENT), socket(VIP)).bad_ip_checksum());
    assert_eq!(bad.what(), "broken IPv4 packet 110.0.0.1 > 192.168.0.250, 54 bytes");
    assert_eq!(bad.why(&Plain), "the IPv4 header checksum is wrong");
    let short = world.give_bytes(vec![1; 7]);
    assert_eq!(short.why(&Plain), "the frame is shorter than its headers say");
    let asked = world.give_bytes(
        frames::arp_request(station(15), frames::v4("192.168.0.15"), frames::v4("192.168.0.250")).build(),
    );
    assert_eq!(asked.what(), "ARP who has 192.168.0.250, tell 192.168.0.15, 42 bytes");
    assert!(matches!(asked.verdict, Verdict::Transmit(_)));
    assert_eq!(asked.why(&Plain), "it asks for an address that the director answers for");
}

#[test]
fn persistence_hash_and_one_packet() {
    let mut service = ServiceConfig::new(key(), SchedulerKind::RoundRobin);
    service.persistence = Some(PERSISTENCE);
    let mut world = World::with(service);
    let first = world.syn("110.0.0.1:1").server();
    let second = world.syn("110.0.0.1:2");
    assert_eq!((second.server(), second.connection()), (first, Connection::New));
    assert!(second.why(&Plain).contains("the client has been here before: again to"));

    let mut world = World::new(SchedulerKind::RoundRobin);
    let mut knobs = *world.director.knobs();
    knobs.on_miss = OnMiss::Hash;
    world.apply(Change::SetKnobs(knobs));
    let hashed = world.give(frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::ACK));
    assert_eq!(hashed.connection(), Connection::None);
    assert!(hashed.why(&Plain).contains("by a hash of the client") && hashed.why(&Plain).contains("on_miss"));

    let dns = ServiceKey::udp(socket(VIP).ip(), 53);
    let mut service = ServiceConfig::new(dns, SchedulerKind::RoundRobin);
    service.one_packet = true;
    let mut world = World::with(service);
    let one = world.give(frames::udp(socket("110.0.0.1:9"), socket("192.168.0.250:53")));
    assert_eq!((one.connection(), one.server()), (Connection::None, Some(addr(RIPS[2]))));
    assert!(one.why(&Plain).contains("one-packet scheduling"));
}

#[test]
fn held_frames_and_pieces_say_why() {
    let mut world = World::new(SchedulerKind::RoundRobin);
    world.apply(Change::AddDestination(key(), DestinationConfig::new(addr("192.168.0.77"), 80)));
    let waits = world.syn(CLIENT);
    assert_eq!((waits.verdict, waits.connection()), (Verdict::Hold, Connection::New));
    assert!(waits.why(&Plain).ends_with("Ethernet address is not known yet: it waits until it is"));

    let dns = ServiceKey::udp(socket(VIP).ip(), 53);
    let mut world = World::with(ServiceConfig::new(dns, SchedulerKind::RoundRobin));
    let question = |size: usize| {
        frames::udp(socket("110.0.0.1:9"), socket("192.168.0.250:53"))
            .payload(&vec![1; size])
            .dont_fragment(false)
            .macs(mac("02:00:00:00:00:0f"), mac("02:00:00:00:00:d0"))
    };
    let cut = world.give_bytes(question(2000).build());
    assert_eq!(cut.verdict, Verdict::Hold);
    assert!(
        cut.why(&Plain)
            .ends_with("longer than the 1500 bytes that the way out allows: it leaves in 2 pieces")
    );
    let pieces = question(1000).id(9).fragments(600);
    let early = world.give_bytes(pieces[1].clone());
    assert_eq!(early.what(), "piece at 576 of UDP 110.0.0.1 > 192.168.0.250, 466 bytes");
    assert!(
        early.why(&Plain).starts_with("of a packet whose first piece has not come"),
        "{}",
        early.why(&Plain)
    );
    let first = world.give_bytes(pieces[0].clone());
    assert!(first.what().starts_with("first piece of UDP 110.0.0.1:9 > "), "{}", first.what());
    let late = world.give_bytes(pieces[1].clone());
    assert_eq!((late.connection(), late.server()), (Connection::Known, first.server()));
}

#[test]
fn long_lists_are_cut_but_never_the_pick() {
    let servers: Vec<Server> =
        (1..=9).map(|n| Server::new([10, 0, 0, n].into(), 80, u32::from(n == 7) * 4 + 1)).collect();
    let scheduled = Scheduled {
        scheduler: SchedulerKind::WeightedFailover,
        flow: (socket(CLIENT), socket(VIP)),
        state: SchedulerState::Least { measure: lvs_core::scheduler::Measure::Failover },
        servers,
        picked: Some(6),
        grounds: Grounds::List,
    };
    assert_eq!(
        scheduled.sentence(&Plain),
        "fo: the largest weight: 10.0.0.1 1, 10.0.0.2 1, 10.0.0.3 1, 10.0.0.7 5, 5 more; so it goes to 10.0.0.7"
    );
    assert_eq!(scheduled.list(), "10.0.0.1, 10.0.0.2 ... 10.0.0.9 (9 in all)");
}

#[test]
fn filters_by_everything() {
    let mut world = World::new(SchedulerKind::RoundRobin);
    let syn = world.syn(CLIENT);
    let drop = world.give(frames::udp(socket("110.0.0.2:9"), socket("192.168.0.250:53")));
    let fits = |text: &str, explanation: &Explanation| {
        let filter: Filter = text.parse().unwrap();
        let matches = filter.matches(explanation);
        assert!(!matches || filter.wants(&explanation.frame), "{text}: thrown away too early");
        matches
    };
    for (text, of_syn, of_drop) in [
        ("", true, true),
        ("address=110.0.0.1", true, false),
        ("address=192.168.0.3", true, false),
        ("address=110.0.0.0/24", true, true),
        ("source=110.0.0.2", false, true),
        ("destination=192.168.0.0/24 !source=110.0.0.2", true, false),
        ("server=192.168.0.3", true, false),
        ("!server=192.168.0.3", false, true),
        ("port=80", true, false),
        ("port=50-60,443", false, true),
        ("protocol=tcp,arp", true, false),
        ("service=tcp:192.168.0.250:80", true, false),
        ("connection=new", true, false),
        ("connection=none", false, true),
        ("verdict=drop", false, true),
        ("verdict=transmit,pass,hold", true, false),
        ("reason=no_service", false, true),
        ("reason=not_syn", false, false),
        ("!reason=no_service verdict=drop", false, false),
    ] {
        assert_eq!((fits(text, &syn), fits(text, &drop)), (of_syn, of_drop), "{text}");
    }
}

#[test]
fn what_is_no_filter_is_refused_with_what_would_be_right() {
    for (text, expected) in [
        ("drop", "drop: expected KEY=VALUE"),
        ("verdict=", "verdict=: `` is no verdict; expected transmit"),
        ("vip=1.2.3.4", "`vip` is no key; expected one of address"),
        ("address=1.2.3", "`1.2.3` is no address"),
        ("address=1.2.3.4/33", "is no address; expected ADDRESS or ADDRESS/LEN"),
        ("port=90-80", "is no port"),
        ("port=65536", "is no port"),
        ("protocol=gre", "expected tcp, udp"),
        ("service=192.168.0.250:80", "expected tcp:VIP:PORT"),
        ("reason=lost", "expected one of truncated"),
        ("sample=0", "expected 1 or more"),
        ("sample=2 sample=3", "sample stands once"),
        ("!sample=2", "sample stands once"),
    ] {
        let error = text.parse::<Filter>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!("port=1 ".repeat(1000).parse::<Filter>().unwrap_err().to_string().contains("4096 bytes"));
}

#[test]
fn sampling_tells_of_every_nth() {
    let mut world = World::new(SchedulerKind::RoundRobin);
    let mut told = 0;
    let filter: Filter = "sample=3 port=80".parse().unwrap();
    assert_eq!(filter.sample(), NonZeroU32::new(3).unwrap());
    let mut explainer = Explainer::new(filter, |_: &Explanation| told += 1);
    for n in 0..9 {
        let port = if n % 2 == 0 { 80 } else { 81 };
        let to = SocketAddr::new(socket(VIP).ip(), port);
        let packet = frames::tcp(socket(CLIENT), to).flags(TcpFlags::SYN);
        let mut bytes = packet.macs(station(15), mac("02:00:00:00:00:d0")).build();
        let mut frame = Frame::new(&mut bytes, PortId(0));
        let _ = world.director.handle_frame_observed(world.now, &mut frame, &mut explainer);
    }
    assert_eq!(told, 2, "the first and the fourth of five");
}

proptest! {
    /// Any text is a filter or refused, and a message shows no control characters.
    #[test]
    fn any_text_is_safe(text in "\\PC*", prefix in "(|address=|port=|service=tcp:|!reason=|sample=)", tail in prop::collection::vec(any::<char>(), 0..20)) {
        let tail: String = tail.into_iter().collect();
        if let Err(error) = format!("{prefix}{text}{tail}").parse::<Filter>() {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    /// Whatever a frame is, there are words for it.
    #[test]
    fn any_bytes_are_explained(bytes in prop::collection::vec(any::<u8>(), 0..90), kind in prop::sample::select(&[0x0800u16, 0x86dd, 0x0806, 0x8100, 0x88cc][..])) {
        let mut world = World::new(SchedulerKind::RoundRobin);
        let mut bytes = bytes;
        if bytes.len() >= 14 {
            bytes[12..14].copy_from_slice(&kind.to_be_bytes());
        }
        let explanation = world.give_bytes(bytes);
        prop_assert!(!explanation.what().is_empty());
        prop_assert!(!explanation.why(&Plain).is_empty() || matches!(explanation.verdict, Verdict::Transmit(_)));
    }
}

#[test]
fn every_drop_reason_has_words() {
    for reason in DropReason::ALL {
        assert_ne!(drop_words(*reason), "for a reason that has no words yet", "{reason:?}");
    }
}

/// What the headers alone decide is sure; what they do not is not.
#[test]
fn what_is_surely_wanted() {
    let mut world = World::new(SchedulerKind::RoundRobin);
    let one = world.give(frames::tcp(socket(CLIENT), socket(VIP)).flags(TcpFlags::SYN));
    let answer = |filter: &str| {
        let filter: Filter = filter.parse().unwrap();
        (filter.wants(&one.frame), filter.surely_wants(&one.frame))
    };
    for sure in ["", "port=80", "address=110.0.0.1 protocol=udp,tcp", "!port=81", "!protocol=udp"] {
        assert_eq!(answer(sure), (true, true), "{sure}");
    }
    for perhaps in ["verdict=transmit", "port=80 server=192.168.0.1", "!verdict=drop", "address=192.168.0.1"]
    {
        assert_eq!(answer(perhaps), (true, false), "{perhaps}");
    }
    assert_eq!(answer("port=81"), (false, false));
}

/// What the help shows can be written.
#[test]
fn examples_of_filters_are_filters() {
    let help = filter_help();
    let (_, examples) = help.split_once("Examples:\n\n").unwrap();
    assert!(examples.lines().count() > 3);
    for line in examples.lines() {
        let (filter, _) = line.split_once("  ").unwrap();
        assert!(filter.parse::<Filter>().is_ok(), "{line}");
    }
}
