//! Nothing on the frame path allocates: not for established flows, new ones, answers, frames that wait, or timers.
//!
//! A counting allocator is what this test crate is for; it is the only place with `unsafe`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use lvs_core::config::{
    ClientMask, DestinationConfig, Knobs, MarkRule, PortRange, PortRanges, Protocol, SchedulerKind,
    ServiceConfig, ServiceKey,
};
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::io::{Frame, MAX_BATCH};
use lvs_core::{Change, Director, DirectorConfig, DropReason, Instant, InterfaceConfig, PortId, Verdict};
use lvs_testkit::frames::{self, IcmpError, Packet, TcpFlags, addr, mac, socket, station, tcp, udp, v4, v6};

thread_local! {
    /// Allocations of this thread. Tests run in threads of their own.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on unchanged to the system's allocator; counting touches a thread-local number that
// neither allocates nor has a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout, as all memory here does.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: as for `dealloc`; the caller keeps the contract on `size`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

#[test]
fn the_counter_counts() {
    let mut kept = Vec::<u8>::new();
    assert_eq!(allocations(|| kept.reserve_exact(10)), 1);
    assert_eq!(allocations(|| kept.reserve_exact(1000)), 1);
    assert_eq!(allocations(|| kept.push(1)), 0);
}

const OWN: &str = "02:00:00:00:00:02";
const VIP: &str = "192.168.0.250:80";
const VIP6: &str = "[fd00::fa]:80";
const SILENT: &str = "192.168.0.251:80";

/// Services over both families with servers that answered, and one whose server does not.
fn director(max_connections: u32) -> Director {
    let mut interface = InterfaceConfig::new(PortId(0), mac(OWN), "192.168.0.208/24".parse().unwrap());
    interface.addresses.push("fd00::d0/64".parse().unwrap());
    interface.owns_addresses = true;
    let mut config = DirectorConfig::new(vec![interface], [5; 32]);
    config.max_connections = max_connections;
    config.knobs.answers_per_second = 100_000;
    let mut director = Director::new(config, Instant::ZERO).unwrap();
    let mut changes = Vec::new();
    for (vip, rips) in [(VIP, ["192.168.0.1", "192.168.0.2"]), (VIP6, ["fd00::1", "fd00::2"])] {
        let vip = socket(vip);
        for key in [ServiceKey::tcp(vip.ip(), vip.port()), ServiceKey::udp(vip.ip(), vip.port())] {
            changes.push(Change::AddService(ServiceConfig::new(key, SchedulerKind::WeightedRoundRobin)));
            let server = |rip| Change::AddDestination(key, DestinationConfig::new(addr(rip), vip.port()));
            changes.extend(rips.map(server));
        }
    }
    let silent = ServiceKey::tcp(socket(SILENT).ip(), 80);
    changes.push(Change::AddService(ServiceConfig::new(silent, SchedulerKind::RoundRobin)));
    changes.push(Change::AddDestination(silent, DestinationConfig::new(addr("192.168.0.9"), 80)));
    director.apply(Instant::ZERO, &changes).unwrap();
    answer(&mut director, Instant::ZERO);
    director
}

/// All servers but the silent one tell their Ethernet addresses.
fn answer(director: &mut Director, now: Instant) {
    serve(director, now);
    let (dip, dip6) = (v4("192.168.0.208"), v6("fd00::d0"));
    let answers = [
        frames::arp_reply(station(0x101), v4("192.168.0.1"), mac(OWN), dip).build(),
        frames::arp_reply(station(0x102), v4("192.168.0.2"), mac(OWN), dip).build(),
        frames::neighbour_advertisement(station(0x101), v6("fd00::1"), mac(OWN), dip6).build(),
        frames::neighbour_advertisement(station(0x102), v6("fd00::2"), mac(OWN), dip6).build(),
    ];
    for mut bytes in answers {
        let verdict = director.handle_frame(now, &mut Frame::new(&mut bytes, PortId(0)));
        assert_eq!(verdict, Verdict::Drop(DropReason::Consumed));
    }
    serve(director, now);
}

/// Does what is due, and throws away what the director sends and says. Does not allocate itself.
fn serve(director: &mut Director, now: Instant) {
    director.handle_timeout(now);
    let mut buffer = [0; TRANSMIT_BUFFER];
    while director.poll_transmit(now, &mut buffer).is_some() {}
    while director.poll_event().is_some() {}
}

/// How many allocations a director makes for these frames, in batches and one by one, its own frames included.
fn cost(director: &mut Director, now: Instant, frames: &[Vec<u8>]) -> u64 {
    let mut buffers = frames.to_vec();
    let mut singles = frames.to_vec();
    let mut batches: Vec<Vec<Frame<'_>>> = buffers
        .chunks_mut(MAX_BATCH)
        .map(|chunk| chunk.iter_mut().map(|bytes| Frame::new(bytes, PortId(0))).collect())
        .collect();
    allocations(|| {
        for batch in &mut batches {
            let _ = director.handle_batch(now, batch);
            serve(director, now);
        }
        for bytes in &mut singles {
            let _ = director.handle_frame(now, &mut Frame::new(bytes, PortId(0)));
            serve(director, now);
        }
    })
}

fn to_director<B: frames::Body>(packet: Packet<B>) -> Vec<u8> {
    packet.macs(station(15), mac(OWN)).build()
}

fn client(vip: &str, n: u16) -> std::net::SocketAddr {
    let host = if vip.starts_with('[') { "[fd00:110::1]" } else { "110.0.0.1" };
    socket(&format!("{host}:{}", 2000 + n))
}

/// Segments with these flags of so many clients of each family.
fn segments(flags: TcpFlags, clients: u16) -> Vec<Vec<u8>> {
    let of = |vip| move |n| to_director(tcp(client(vip, n), socket(vip)).flags(flags));
    (0..clients).map(of(VIP)).chain((0..clients).map(of(VIP6))).collect()
}

fn datagrams(clients: u16) -> Vec<Vec<u8>> {
    let of = |vip| move |n| to_director(udp(client(vip, n), socket(vip)).payload(b"hello"));
    (0..clients).map(of(VIP)).chain((0..clients).map(of(VIP6))).collect()
}

#[test]
fn connections_from_beginning_to_end() {
    let mut director = director(8192);
    let mut now = Instant::from_secs(1);
    for (what, frames) in [
        ("new connections", segments(TcpFlags::SYN, 300)),
        ("established frames", segments(TcpFlags::ACK, 300)),
        ("datagrams", datagrams(300)),
        ("the end of connections", segments(TcpFlags::FIN | TcpFlags::ACK, 300)),
    ] {
        assert_eq!(cost(&mut director, now, &frames), 0, "{what}");
        now = now + Duration::from_millis(300);
    }
    assert_eq!(director.connection_usage().connections, 1200);
    let work = || {
        for _ in 0..400 {
            now = now + Duration::from_secs(1);
            serve(&mut director, now);
        }
    };
    assert_eq!(allocations(work), 0, "expiry, rates, neighbours");
    assert_eq!(director.connection_usage().connections, 0);
}

#[test]
fn a_full_table() {
    let mut director = director(64);
    let now = Instant::from_secs(1);
    assert_eq!(cost(&mut director, now, &segments(TcpFlags::SYN, 200)), 0);
    assert!(director.statistics().hashed > 200);
    assert_eq!(cost(&mut director, now, &segments(TcpFlags::ACK, 200)), 0);
    let mut later = now;
    let work = || {
        for _ in 0..200 {
            later = later + Duration::from_secs(1);
            serve(&mut director, later);
        }
    };
    assert_eq!(allocations(work), 0, "room again");
}

#[test]
fn questions_refusals_and_nonsense() {
    let mut director = director(1024);
    let now = Instant::from_secs(1);
    for syn in segments(TcpFlags::SYN, 1) {
        let _ = cost(&mut director, now, &[syn]);
    }
    let (router, router4, router6) = (station(15), v4("192.168.0.15"), v6("fd00::15"));
    let error = |vip: &str| {
        let about = tcp(socket(vip), client(vip, 0)).payload(&[0; 600]).build();
        let router = if vip.starts_with('[') { addr("fd00::15") } else { addr("192.168.0.15") };
        to_director(frames::icmp_error(router, socket(vip).ip(), IcmpError::TooBig { mtu: 1400 }, &about))
    };
    let frames = [
        frames::arp_request(router, router4, v4("192.168.0.250")).build(),
        frames::arp_announcement(station(66), v4("192.168.0.250")).build(),
        frames::arp_announcement(station(77), v4("192.168.0.1")).build(),
        frames::neighbour_solicitation(router, router6, v6("fd00::fa")).build(),
        frames::neighbour_solicitation(router, v6("::"), v6("fd00::fa")).build(),
        frames::neighbour_advertisement(station(66), v6("fd00::fa"), mac(OWN), v6("ff02::1")).build(),
        frames::mld_query(router, v6("fe80::15")).build(),
        to_director(frames::echo_request(addr("110.0.0.1"), addr("192.168.0.250"), 1, 1).payload(&[0; 900])),
        to_director(frames::echo_request(addr("fd00:110::1"), addr("fd00::fa"), 1, 1)),
        to_director(tcp(client(VIP, 500), socket(VIP))),
        to_director(tcp(client(VIP6, 500), socket(VIP6))),
        to_director(tcp(client(VIP, 500), socket("192.168.0.250:81")).flags(TcpFlags::SYN)),
        to_director(udp(client(VIP, 500), socket("192.168.0.250:81"))),
        to_director(udp(client(VIP6, 500), socket("[fd00::fa]:81")).payload(&[0; 1400])),
        to_director(tcp(client(VIP, 0), socket(VIP)).payload(&[0; 3000])),
        to_director(tcp(client(VIP6, 0), socket(VIP6)).payload(&[0; 3000])),
        error(VIP),
        error(VIP6),
        to_director(tcp(client(VIP, 0), socket(VIP)).bad_ip_checksum()),
        to_director(tcp(client(VIP, 0), socket(VIP)).truncate(30)),
        udp(client(VIP, 0), socket(VIP))
            .payload(&[0; 3000])
            .macs(station(15), mac(OWN))
            .fragments(1500)
            .remove(1),
        vec![0; 60],
    ];
    for frame in &frames {
        let cost = cost(&mut director, now, std::slice::from_ref(frame));
        assert_eq!(cost, 0, "{}", frames::describe(frame));
    }
    assert_eq!(director.statistics().frames(), 4 + 4 + 2 * frames.len() as u64);
    assert!(director.statistics().answers >= 14, "{:?}", director.statistics());
}

#[test]
fn frames_that_wait() {
    let mut director = director(1024);
    let mut now = Instant::from_secs(1);
    let syn = |n| to_director(tcp(client(VIP, n), socket(SILENT)).flags(TcpFlags::SYN));
    let waiting: Vec<Vec<u8>> = (0..10).map(syn).collect();
    assert_eq!(cost(&mut director, now, &waiting), 0, "they wait");
    assert_eq!(director.statistics().held, 3);
    let given_up = allocations(|| {
        now = now + Duration::from_secs(4);
        serve(&mut director, now);
    });
    assert_eq!((given_up, director.statistics().given_up), (0, 3));
    assert_eq!(cost(&mut director, now, &waiting[..1]), 0);
    let learnt = frames::arp_reply(station(0x109), v4("192.168.0.9"), mac(OWN), v4("192.168.0.208")).build();
    assert_eq!(cost(&mut director, now, &[learnt]), 0, "they leave");
    assert_eq!(director.statistics().released, 2);
}

#[test]
fn connections_of_a_removed_server_are_forgotten() {
    let mut director = director(1024);
    let mut now = Instant::from_secs(1);
    let _ = cost(&mut director, now, &segments(TcpFlags::SYN, 50));
    director.apply(now, &[Change::Clear]).unwrap();
    serve(&mut director, now);
    let work = || {
        for _ in 0..70 {
            now = now + Duration::from_secs(1);
            serve(&mut director, now);
        }
    };
    assert_eq!(allocations(work), 0);
    assert_eq!(director.connection_usage().connections, 0);
}

#[test]
fn neighbours_that_come_and_go() {
    let mut director = director(1024);
    let mut now = Instant::from_secs(1);
    let silence = || {
        for _ in 0..100 {
            now = now + Duration::from_secs(1);
            serve(&mut director, now);
        }
        for up in [false, true] {
            director.handle_link(now, PortId(0), up);
            serve(&mut director, now);
        }
    };
    assert_eq!(allocations(silence), 0);
    let announced = frames::arp_announcement(station(0x101), v4("192.168.0.1")).build();
    assert_eq!(cost(&mut director, now, &[announced]), 0);
}

/// One service of this kind for TCP and one for UDP over both families, with all that makes decisions dear.
fn decisive(scheduler: SchedulerKind, persistent: bool) -> Director {
    let mut director = director(8192);
    let mut changes = vec![Change::Clear];
    for (vip, rips) in [(VIP, ["192.168.0.1", "192.168.0.2"]), (VIP6, ["fd00::1", "fd00::2"])] {
        let vip = socket(vip);
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            let key = ServiceKey::Address { protocol, address: vip.ip(), port: vip.port() };
            let mut service = ServiceConfig::new(key, scheduler);
            if persistent {
                let mask = if vip.is_ipv4() { ClientMask::V4(0xffff_ff00) } else { ClientMask::V6(64) };
                service = service.persistent(Duration::from_secs(100), mask);
            }
            service.slow_start = Some(Duration::from_secs(60));
            changes.push(Change::AddService(service));
            let server = |rip| DestinationConfig::new(addr(rip), vip.port()).weight(40).thresholds(200, 100);
            changes.extend(rips.map(|rip| Change::AddDestination(key, server(rip))));
        }
    }
    director.apply(Instant::ZERO, &changes).unwrap();
    answer(&mut director, Instant::ZERO);
    director
}

fn sctp(chunk: u8, clients: u16) -> Vec<Vec<u8>> {
    let packet = |vip: &'static str| {
        move |n: u16| {
            let (client, vip) = (client(vip, n), socket(vip));
            let mut bytes = [client.port().to_be_bytes(), vip.port().to_be_bytes()].concat();
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, chunk, 0, 0, 4]);
            to_director(frames::ip(client.ip(), vip.ip(), Protocol::Sctp.number(), &bytes))
        }
    };
    (0..clients).map(packet(VIP)).chain((0..clients).map(packet(VIP6))).collect()
}

#[test]
fn all_schedulers_with_and_without_persistence() {
    for scheduler in SchedulerKind::ALL {
        for persistent in [false, true] {
            let mut director = decisive(*scheduler, persistent);
            let mut now = Instant::from_secs(1);
            for (what, frames) in [
                ("new connections", segments(TcpFlags::SYN, 100)),
                ("established frames", segments(TcpFlags::ACK, 100)),
                ("datagrams", datagrams(100)),
                ("associations", sctp(1, 100)),
                ("cookies", sctp(10, 100)),
                ("the end", segments(TcpFlags::FIN | TcpFlags::ACK, 100)),
            ] {
                assert_eq!(cost(&mut director, now, &frames), 0, "{scheduler}: {what}");
                now = now + Duration::from_secs(10);
            }
            assert!(director.connection_usage().connections > 0);
            let work = || {
                for _ in 0..1200 {
                    now = now + Duration::from_secs(1);
                    serve(&mut director, now);
                }
            };
            assert_eq!(allocations(work), 0, "{scheduler}: slow start, templates, expiry");
            assert_eq!(director.all_connections(now), []);
        }
    }
}

#[test]
fn marks_and_the_rest_of_the_ports() {
    let mut director = director(8192);
    let rule = MarkRule {
        mark: 7,
        protocol: Protocol::Tcp,
        destination: "192.168.0.250/32".parse().unwrap(),
        ports: PortRanges::new(&[
            PortRange { first: 21, last: 21 },
            PortRange { first: 10_000, last: 20_000 },
        ])
        .unwrap(),
    };
    let (mark, rest) = (ServiceKey::mark(7), ServiceKey::udp(addr("192.168.0.250"), 0));
    let mut changes = vec![Change::AddMarkRule(rule)];
    for key in [mark, rest] {
        let service = ServiceConfig::new(key, SchedulerKind::RoundRobin);
        let service = ServiceConfig { one_packet: key == rest, ..service };
        let whole = ClientMask::whole(false);
        changes.push(Change::AddService(service.persistent(Duration::from_secs(100), whole)));
        changes.push(Change::AddDestination(key, DestinationConfig::new(addr("192.168.0.1"), 0)));
    }
    director.apply(Instant::ZERO, &changes).unwrap();
    serve(&mut director, Instant::ZERO);
    let vip = |port| socket(&format!("192.168.0.250:{port}"));
    let frames: Vec<Vec<u8>> = (0..200u16)
        .flat_map(|n| {
            let data = tcp(client(VIP, n), vip(10_000 + n)).flags(TcpFlags::SYN);
            [to_director(data), to_director(udp(client(VIP, n), vip(n + 1)).payload(b"x"))]
        })
        .collect();
    assert_eq!(cost(&mut director, Instant::from_secs(1), &frames), 0);
    let listing = director.service(rest).unwrap();
    assert_eq!((listing.statistics.connections, listing.destinations[0].inactive), (400 - 2, 0));
    assert_eq!(director.service(mark).unwrap().statistics.connections, 200);
}

#[test]
fn pieces_of_packets() {
    let mut director = director(1024);
    let mut now = Instant::from_secs(1);
    let pieces = |vip: &str, id: u32| {
        let packet = udp(client(vip, 1), socket(vip)).payload(&[7; 5000]).id(id).dont_fragment(false);
        packet.macs(station(15), mac(OWN)).fragments(1500)
    };
    let mut frames = Vec::new();
    for vip in [VIP, VIP6] {
        frames.extend(pieces(vip, 1));
        frames.extend(pieces(vip, 2).into_iter().rev());
        // The first one never comes.
        frames.extend(pieces(vip, 3).split_off(1));
    }
    // One that is cut on its way out.
    frames.push(to_director(udp(client(VIP, 2), socket(VIP)).payload(&[7; 4000]).dont_fragment(false)));
    assert_eq!(cost(&mut director, now, &frames), 0);
    let before = director.statistics();
    assert!(before.held > 10 && before.released == 8, "{before:?}");
    let given_up = allocations(|| {
        for _ in 0..3 {
            now = now + Duration::from_secs(1);
            serve(&mut director, now);
        }
    });
    let after = director.statistics();
    assert_eq!((given_up, after.held), (0, after.released + after.given_up));
    assert!(after.given_up > 0);
}

/// Drained servers, removed ones whose connections are looked for, half-open connections under attack, errors that open
/// connections.
#[test]
fn what_goes_through_the_whole_table() {
    let mut director = director(8192);
    let mut now = Instant::from_secs(1);
    let knobs =
        Knobs { drop_entry: true, expire_nodest_conn: true, schedule_icmp: true, ..*director.knobs() };
    director.apply(now, &[Change::SetKnobs(knobs)]).unwrap();
    assert_eq!(cost(&mut director, now, &segments(TcpFlags::SYN, 500)), 0);
    let error = |n: u16| {
        let about = tcp(socket(VIP), client(VIP, n)).payload(&[0; 600]).build();
        to_director(frames::icmp_error(
            addr("192.168.0.15"),
            socket(VIP).ip(),
            IcmpError::TooBig { mtu: 1400 },
            &about,
        ))
    };
    let errors: Vec<Vec<u8>> = (0..600).map(error).collect();
    assert_eq!(cost(&mut director, now, &errors), 0, "errors about known and unknown flows");
    assert_eq!(director.connection_usage().connections, 1100);
    let (service, port) = (ServiceKey::tcp(socket(VIP).ip(), 80), 80);
    let drain = Change::DrainDestination {
        service,
        address: addr("192.168.0.1"),
        port,
        deadline: Duration::from_secs(2),
    };
    let gone = Change::RemoveDestination { service, address: addr("192.168.0.2"), port };
    director.apply(now, &[drain, gone]).unwrap();
    let work = || {
        for _ in 0..40 {
            now = now + Duration::from_millis(100);
            serve(&mut director, now);
        }
    };
    assert_eq!(allocations(work), 0);
    assert_eq!(cost(&mut director, now, &segments(TcpFlags::ACK, 500)), 0, "resets");
    assert!(director.statistics().dropped(DropReason::Drained) > 0);
    let listing = director.service(service).unwrap();
    assert!(listing.destinations.iter().all(|server| server.active == 0), "{listing:?}");
}
