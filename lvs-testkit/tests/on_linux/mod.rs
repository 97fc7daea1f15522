//! What the lab promises, each promise checked on a network built for it.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Failed, Trial};
use lvs_core::{MacAddr, Subnet};
use lvs_testkit::frames::{
    self, Summary, TcpFlags, arp_request, describe, finish_checksum, socket, station, v4,
};
use lvs_testkit::lab::{
    self, Capture, CaptureOptions, CapturedFrame, Direction, Host, NeighbourState, Nic, Switch,
    SwitchOptions, Topology, TopologyOptions, bulk, cable, http, send_frame, udp,
};

use crate::trial;

const SHORT: Duration = Duration::from_secs(3);
const PAGES: [&str; 2] = ["<h1>wawawaw<h1>", "<h1>hahahaha<h1>"];

/// Set for the process that a test kills.
const VICTIM: &str = "LVS_TESTKIT_LAB_VICTIM";

type Outcome = Result<(), Failed>;
type Test = (&'static str, fn() -> Outcome);

pub(crate) fn trials() -> Vec<Trial> {
    let entered = lab::enter();
    if let Err(refused) = &entered {
        eprintln!("SKIPPED, all tests of the lab: {refused}");
    }
    if std::env::var_os(VICTIM).is_some() {
        be_a_victim();
    }
    let tests: [Test; 17] = [
        ("a_client_reaches_real_servers_through_the_router", http_through_the_router),
        ("with_the_cure_nobody_answers_for_the_vip", quiet_servers),
        ("without_the_cure_a_real_server_answers_for_the_vip", loud_servers),
        ("filter_rules_keep_a_real_server_quiet_too", filtered_servers),
        ("ipv6_works_and_keeps_quiet_about_the_vip", ipv6),
        ("captures_are_whole_and_in_both_directions", captures),
        ("captures_lose_nothing_at_a_few_thousand_frames", captures_keep_up),
        ("vlan_tags_are_put_back_into_captures", captures_show_tags),
        ("without_offload_frames_are_complete", offload),
        ("bulk_transfers_are_compared_byte_for_byte", bulk_both_ways),
        ("udp_echo_says_who_answered", udp_echo),
        ("a_pulled_cable_is_noticed_and_mends", pulled_cable),
        ("static_neighbours_and_learned_addresses", neighbours),
        ("a_host_can_be_entered_from_outside", a_host_can_be_entered_from_outside),
        ("sixteen_servers_are_built_quickly", sixteen),
        ("topologies_a_and_c_are_connected", a_and_c),
        ("nothing_stays_after_a_kill", nothing_stays),
    ];
    tests.into_iter().map(|(name, test)| trial(name, entered.is_ok(), test)).collect()
}

fn http_through_the_router() -> Outcome {
    let net = Topology::b(TopologyOptions::default())?;
    let mut servers = Vec::new();
    for (server, page) in net.servers.iter().zip(PAGES) {
        servers.push(http::Server::start(&server.host, socket("0.0.0.0:80"), page)?);
    }
    for (server, page) in net.servers.iter().zip(PAGES) {
        let address = SocketAddr::new(server.addresses.v4, 80);
        let answer = http::get(&net.client, address, "/", SHORT)?;
        assert_eq!((answer.status, answer.body.as_str()), (200, page));
        assert_eq!(answer.local.ip(), net.client_addresses.v4);
        let mut kept = http::Client::connect(&net.client, address, SHORT)?;
        for _ in 0..3 {
            assert_eq!(kept.get("/again", SHORT)?.body, page);
        }
    }
    for server in &servers {
        assert_eq!((server.connections(), server.requests()), (2, 4));
    }
    // The director's kernel is none of this: no VIP, no forwarding.
    assert_eq!(net.director.read_sysctl("net.ipv4.ip_forward")?, "0");
    let refused = http::get(&net.client, SocketAddr::new(net.vips.v4, 80), "/", Duration::from_millis(300));
    assert!(refused.is_err(), "nobody serves the VIP before a director runs");
    Ok(())
}

/// Asks for the VIP from the router's place and returns the Ethernet addresses that answered.
fn who_has_the_vip(net: &Topology) -> Result<Vec<MacAddr>, Failed> {
    let router = net.router.as_ref().expect("topology B has a router");
    let capture = Capture::start(router, "eth1")?;
    let sender = router.interface("eth1")?.mac;
    let question = arp_request(sender, v4("192.168.0.15"), v4("192.168.0.250")).build();
    send_frame(router, "eth1", &question)?;
    std::thread::sleep(Duration::from_millis(200));
    let frames = capture.stop()?.frames;
    let answers =
        frames.iter().filter(|f| f.direction == Direction::In).filter_map(|f| Summary::of(&f.bytes)?.arp);
    Ok(answers
        .filter(|arp| arp.operation == 2 && arp.sender == net.vips.v4)
        .map(|arp| arp.sender_mac)
        .collect())
}

fn quiet_servers() -> Outcome {
    let net = Topology::b(TopologyOptions::default())?;
    assert_eq!(who_has_the_vip(&net)?, []);
    Ok(())
}

fn loud_servers() -> Outcome {
    let net = Topology::b(TopologyOptions { quiet_arp: false, ..Default::default() })?;
    let mut answered = who_has_the_vip(&net)?;
    answered.sort();
    let mut all: Vec<MacAddr> = net.servers.iter().map(|server| server.mac).collect();
    all.sort();
    assert_eq!(answered, all);
    // And the client's request for the VIP lands on a real server, past any director.
    let _server = http::Server::start(&net.servers[0].host, socket("0.0.0.0:80"), PAGES[0])?;
    net.servers[1].host.quiet_arp("eth0", true)?;
    let page = http::get(&net.client, SocketAddr::new(net.vips.v4, 80), "/", SHORT)?;
    assert_eq!(page.body, PAGES[0]);
    Ok(())
}

/// A real server that answers a client asks for its router, with the VIP as the sender: the other half of the ARP problem.
fn filtered_servers() -> Outcome {
    let net = Topology::b(TopologyOptions { servers: 1, quiet_arp: false, ..Default::default() })?;
    let (server, IpAddr::V4(vip)) = (&net.servers[0], net.vips.v4) else { unreachable!() };
    let IpAddr::V4(rip) = server.addresses.v4 else { unreachable!() };
    // Replies to the VIP's clients leave by the router, which is not known yet.
    let senders = || -> Result<Vec<String>, Failed> {
        for neighbour in server.host.neighbours()? {
            server.host.remove_neighbour("eth0", neighbour.address)?;
        }
        let capture = Capture::start(&server.host, "eth0")?;
        server.host.run(|| {
            let socket = std::net::UdpSocket::bind((vip, 4000))?;
            socket.send_to(b"an answer", (net.client_addresses.v4, 4000))
        })?;
        std::thread::sleep(Duration::from_millis(200));
        let lines = capture.stop()?.frames;
        let asked = lines.iter().map(|frame| describe(&frame.bytes)).filter(|line| line.contains("who-has"));
        Ok(asked
            .filter_map(|line| Some(line.split_once(" tell ")?.1.split(',').next()?.to_owned()))
            .collect())
    };
    assert!(senders()?.contains(&vip.to_string()), "without a filter the VIP is announced");
    assert_eq!(who_has_the_vip(&net)?, [server.mac]);
    server.host.add_arp_filter(vip, rip)?;
    assert_eq!(senders()?, [rip.to_string()]);
    assert_eq!(who_has_the_vip(&net)?, []);
    assert!(server.host.add_arp_filter(vip, rip).is_err(), "there are rules already");
    server.host.remove_arp_filter()?;
    assert_eq!(who_has_the_vip(&net)?, [server.mac]);
    assert!(server.host.remove_arp_filter().is_err(), "there are none");
    Ok(())
}

fn ipv6() -> Outcome {
    let net = Topology::b(TopologyOptions::default())?;
    let _server = http::Server::start(&net.servers[0].host, socket("[::]:80"), PAGES[0])?;
    let address = SocketAddr::new(net.servers[0].addresses.v6, 80);
    assert_eq!(http::get(&net.client, address, "/", SHORT)?.body, PAGES[0]);
    // Linux answers solicitations for the interface's own addresses only, so `lo` needs no cure.
    let vip = SocketAddr::new(net.vips.v6, 80);
    assert!(http::get(&net.client, vip, "/", Duration::from_millis(300)).is_err());
    Ok(())
}

/// A directory that goes even if the test fails.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("lvs-testkit-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn captures() -> Outcome {
    let net = Topology::b(TopologyOptions::default())?;
    let directory = Scratch::new()?;
    let file = directory.0.join("router.pcap");
    let options = CaptureOptions { pcap: Some(file.clone()), ..Default::default() };
    let router = net.router.as_ref().expect("topology B has a router");
    let capture = Capture::start_with(router, "eth1", options)?;
    let _server = http::Server::start(&net.servers[0].host, socket("0.0.0.0:80"), PAGES[0])?;
    http::get(&net.client, SocketAddr::new(net.servers[0].addresses.v4, 80), "/", SHORT)?;
    let syn = |frame: &CapturedFrame| {
        let tcp = Summary::of(&frame.bytes).and_then(|s| s.ip?.tcp);
        tcp.is_some_and(|tcp| tcp.flags == TcpFlags::SYN)
    };
    let first = capture.wait_for(SHORT, syn).ok_or("no SYN passed the router")?;
    let recording = capture.stop()?;
    let text: Vec<String> = recording.frames.iter().map(CapturedFrame::describe).collect();
    assert!(!text.iter().any(|line| line.contains("bad cksum")), "{text:#?}");
    assert_eq!(recording.lost, 0);
    assert_eq!(first.direction, Direction::Out);
    let summary = Summary::of(&first.bytes).expect("a whole frame");
    assert_eq!(
        (summary.source_mac, summary.destination_mac),
        (router.interface("eth1")?.mac, net.servers[0].mac)
    );
    // The client sent it with 64; the router is one hop.
    assert_eq!(summary.ip.expect("an IP packet").ttl, 63);
    assert!(recording.frames.iter().any(|f| f.direction == Direction::In), "{text:#?}");
    let order =
        recording.frames.windows(2).all(|pair| pair[0].time <= pair[1].time + Duration::from_millis(50));
    assert!(order, "{text:#?}");
    let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.abs_diff(first.time);
    assert!(age < Duration::from_secs(60), "{age:?}");

    let mut reader = pcap_file::pcap::PcapReader::new(std::fs::File::open(&file)?)?;
    let mut in_file = Vec::new();
    while let Some(packet) = reader.next_packet() {
        in_file.push(packet?.data.into_owned());
    }
    let in_memory: Vec<Vec<u8>> = recording.frames.into_iter().map(|f| f.bytes).collect();
    assert!(in_file == in_memory, "{} frames in the file, {} in memory", in_file.len(), in_memory.len());
    Ok(())
}

/// Two hosts and a cable: 10.0.0.1 and 10.0.0.2.
fn pair(offload: bool) -> Result<(Host, Host), Failed> {
    let (a, b) = (Host::new("a")?, Host::new("b")?);
    let address = |text: &str| text.parse::<Subnet>().expect("a subnet");
    let left = Nic::new(&a, "eth0").address(address("10.0.0.1/24")).offload(offload);
    let right = Nic::new(&b, "eth0").address(address("10.0.0.2/24")).offload(offload);
    cable(left, right)?;
    Ok((a, b))
}

fn captures_keep_up() -> Outcome {
    const FRAMES: usize = 10_000;
    let (a, b) = pair(true)?;
    let capture = Capture::start(&b, "eth0")?;
    let start = Instant::now();
    a.run(|| -> std::io::Result<()> {
        let sender = std::net::UdpSocket::bind("10.0.0.1:0")?;
        for n in 0..FRAMES {
            sender.send_to(&[n as u8; 1000], "10.0.0.2:9")?;
            if n % 50 == 49 {
                // 5000 frames a second.
                let due = start + Duration::from_micros(200) * n as u32;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        Ok(())
    })?;
    std::thread::sleep(Duration::from_millis(20));
    let recording = capture.stop()?;
    let datagram = |f: &&CapturedFrame| f.direction == Direction::In && f.bytes.len() == 14 + 28 + 1000;
    assert_eq!((recording.frames.iter().filter(datagram).count(), recording.lost), (FRAMES, 0));
    Ok(())
}

fn captures_show_tags() -> Outcome {
    let (a, b) = pair(true)?;
    let capture = Capture::start(&b, "eth0")?;
    let frame = frames::tcp(socket("10.9.9.1:1"), socket("10.9.9.2:2")).macs(station(7), station(8));
    let frames = [frame.clone().build(), frame.clone().vlan(5).build(), frame.vlan(100).vlan(5).build()];
    for frame in &frames {
        send_frame(&a, "eth0", frame)?;
        let same = |captured: &CapturedFrame| captured.bytes == *frame;
        assert!(capture.wait_for(SHORT, same).is_some(), "{} did not arrive as it was", describe(frame));
    }
    Ok(())
}

fn offload() -> Outcome {
    for offload in [true, false] {
        let (a, b) = pair(offload)?;
        let _server = bulk::Server::start(&b, socket("10.0.0.2:9000"))?;
        let capture = Capture::start(&b, "eth0")?;
        bulk::upload(&a, socket("10.0.0.2:9000"), 1 << 20, SHORT)?;
        let recording = capture.stop()?;
        let data = recording.frames.iter().filter(|f| f.direction == Direction::In && f.bytes.len() > 1000);
        let data: Vec<&CapturedFrame> = data.collect();
        let longest = data.iter().map(|f| f.bytes.len()).max().unwrap_or(0);
        let unfinished = data.iter().filter(|f| f.checksum_unfinished).count();
        if offload {
            assert!(longest > 1514, "merged frames cross the cable: longest {longest}");
            assert_eq!(unfinished, data.len());
            // Finished by hand the sum must be right: the kernel's start and offset are the usual ones.
            let mut frame = data[0].bytes.clone();
            finish_checksum(&mut frame, lvs_core::io::PartialChecksum { start: 34, offset: 16 });
            assert_eq!(Summary::of(&frame).and_then(|s| s.ip?.checksum_right), Some(true));
        } else {
            assert_eq!((longest, unfinished), (1514, 0));
            for frame in data {
                assert!(!describe(&frame.bytes).contains("bad cksum"), "{}", describe(&frame.bytes));
            }
        }
    }
    Ok(())
}

fn bulk_both_ways() -> Outcome {
    let net = Topology::b(TopologyOptions::default())?;
    let address = SocketAddr::new(net.servers[0].addresses.v4, 9000);
    let _server = bulk::Server::start(&net.servers[0].host, address)?;
    let patience = Duration::from_secs(20);
    let up = bulk::upload(&net.client, address, 64 << 20, patience)?;
    let down = bulk::download(&net.client, address, 64 << 20, patience)?;
    assert_eq!((up.bytes, down.bytes), (64 << 20, 64 << 20));
    eprintln!(
        "64 MiB through the router: up {:.1} Gbit/s, down {:.1} Gbit/s",
        up.gigabits_per_second(),
        down.gigabits_per_second()
    );
    Ok(())
}

fn udp_echo() -> Outcome {
    let net = Topology::b(TopologyOptions::default())?;
    let address = SocketAddr::new(net.servers[1].addresses.v4, 5000);
    let echo = udp::Echo::start(&net.servers[1].host, address)?;
    assert_eq!(udp::ask(&net.client, address, b"hello", SHORT)?, b"server2:hello");
    assert_eq!(echo.answered(), 1);
    let nobody = SocketAddr::new(net.servers[1].addresses.v4, 5001);
    assert!(udp::ask(&net.client, nobody, b"hello", SHORT).is_err());
    Ok(())
}

fn pulled_cable() -> Outcome {
    let net = Topology::b(TopologyOptions::default())?;
    let server = &net.servers[0];
    let _server = http::Server::start(&server.host, socket("0.0.0.0:80"), PAGES[0])?;
    let address = SocketAddr::new(server.addresses.v4, 80);
    let switch = &net.switches[0];
    http::get(&net.client, address, "/", SHORT)?;
    switch.set_cable("server1", "eth0", false)?;
    let state = server.host.interface("eth0")?;
    assert!(state.up && !state.carrier, "{state:?}");
    assert!(http::get(&net.client, address, "/", Duration::from_millis(200)).is_err());
    switch.set_cable("server1", "eth0", true)?;
    assert_eq!(http::get(&net.client, address, "/", SHORT)?.body, PAGES[0]);
    // The card itself: its addresses stay, and so does its default route once it is given again.
    server.host.set_link("eth0", false)?;
    assert!(!server.host.interface("eth0")?.up);
    server.host.set_link("eth0", true)?;
    server.host.default_gateway("192.168.0.15".parse()?)?;
    assert_eq!(http::get(&net.client, address, "/", SHORT)?.body, PAGES[0]);
    assert!(switch.set_cable("server9", "eth0", true).is_err());
    Ok(())
}

fn a_host_can_be_entered_from_outside() -> Outcome {
    let (a, _b) = pair(true)?;
    let command = format!("{} cat /proc/net/fib_trie", a.enter_command());
    // In this process's place: a shell that is a child is inside the user namespace already.
    let inside =
        command.replace(&format!(" --preserve-credentials --user=/proc/{}/ns/user", std::process::id()), "");
    let output = Command::new("sh").args(["-c", &inside]).output()?;
    if output.status.code() == Some(127) {
        eprintln!("SKIPPED: nsenter is not installed");
        return Ok(());
    }
    assert!(String::from_utf8(output.stdout)?.contains("10.0.0.1"), "{command}");
    Ok(())
}

fn neighbours() -> Outcome {
    let switch = Switch::new("lan", SwitchOptions { snooping: true, querier: true })?;
    let (a, b) = (Host::new("a")?, Host::new("b")?);
    switch.connect(Nic::new(&a, "eth0").mac(station(1)).address("10.0.0.1/24".parse()?))?;
    switch.connect(Nic::new(&b, "eth0").mac(station(2)).address("10.0.0.2/24".parse()?).mtu(9000))?;
    assert_eq!((a.interface("eth0")?.mac, b.interface("eth0")?.mtu), (station(1), 9000));
    let (mine, other): (IpAddr, IpAddr) = ("10.0.0.1".parse()?, "10.0.0.2".parse()?);
    let _echo = udp::Echo::start(&b, SocketAddr::new(other, 7))?;
    udp::ask(&a, SocketAddr::new(other, 7), b"x", SHORT)?;
    let learned = a.neighbour(other)?.ok_or("b answered, so a knows b")?;
    assert_eq!((learned.mac, learned.state), (Some(station(2)), NeighbourState::Reachable));
    assert_eq!(b.neighbour(mine)?.and_then(|n| n.mac), Some(station(1)));
    let behind = switch.learned()?.into_iter().find(|l| l.mac == station(2)).ok_or("the switch heard b")?;
    assert_eq!((behind.host.as_str(), behind.nic.as_str()), ("b", "eth0"));

    a.add_neighbour("eth0", other, station(99))?;
    let set = a.neighbour(other)?.ok_or("the entry was just set")?;
    assert_eq!((set.mac, set.state), (Some(station(99)), NeighbourState::Permanent));
    assert!(udp::ask(&a, SocketAddr::new(other, 7), b"x", Duration::from_millis(200)).is_err());
    a.remove_neighbour("eth0", other)?;
    udp::ask(&a, SocketAddr::new(other, 7), b"x", SHORT)?;

    a.remove_address("eth0", "10.0.0.1/24".parse()?)?;
    assert!(a.remove_address("eth0", "10.0.0.1/24".parse()?).is_err());
    a.set_mac("eth0", station(5))?;
    a.set_mtu("eth0", 1400)?;
    assert_eq!((a.interface("eth0")?.mac, a.interface("eth0")?.mtu), (station(5), 1400));
    a.remove_link("eth0")?;
    assert!(a.interface("eth0").is_err());
    let error = a.set_link("eth7", true).unwrap_err().to_string();
    assert!(error.starts_with("a: switch eth7 on: "), "{error}");
    Ok(())
}

fn sixteen() -> Outcome {
    let start = Instant::now();
    let net = Topology::b(TopologyOptions { servers: 16, ..Default::default() })?;
    let took = start.elapsed();
    assert!(took < SHORT, "{took:?}");
    let names: Vec<String> = net.servers.iter().map(|s| s.addresses.v4.to_string()).collect();
    assert_eq!(names[..3], ["192.168.0.188", "192.168.0.111", "192.168.0.101"]);
    assert_eq!((names.len(), names[15].as_str()), (16, "192.168.0.115"));
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), 16, "{names:?}");
    let last = &net.servers[15];
    let _server = http::Server::start(&last.host, socket("0.0.0.0:80"), "last")?;
    assert_eq!(http::get(&net.client, SocketAddr::new(last.addresses.v4, 80), "/", SHORT)?.body, "last");
    eprintln!("topology B with 16 servers: built in {took:?}");
    Ok(())
}

fn a_and_c() -> Outcome {
    for net in [Topology::a(TopologyOptions::default())?, Topology::c(TopologyOptions::default())?] {
        for server in &net.servers {
            let _server = http::Server::start(&server.host, socket("[::]:80"), "here")?;
            for address in [server.addresses.v4, server.addresses.v6] {
                assert_eq!(http::get(&net.client, SocketAddr::new(address, 80), "/", SHORT)?.body, "here");
                // The director reaches every real server over the card whose subnet holds it.
                assert_eq!(http::get(&net.director, SocketAddr::new(address, 80), "/", SHORT)?.body, "here");
            }
            let by = net.dips.len() as u32;
            let neighbour = net.director.neighbour(server.addresses.v4)?.ok_or("on the same segment")?;
            assert_eq!(neighbour.interface, net.director.interface(&format!("eth{}", by - 1))?.index);
            assert_eq!(neighbour.mac, Some(server.mac));
        }
    }
    Ok(())
}

/// The process that is killed: builds a network, says so, and waits.
fn be_a_victim() -> ! {
    let net = Topology::b(TopologyOptions::default()).expect("the test's parent could build one");
    let _server = http::Server::start(&net.servers[0].host, socket("0.0.0.0:80"), "x").expect("a free port");
    println!("ready: {}", net.client.enter_command());
    // Nobody came to kill it: the test that started it was killed itself.
    std::thread::sleep(Duration::from_secs(30));
    std::process::exit(1)
}

/// A namespace lives as long as a process is in it, a descriptor or a mount holds it. So: while the
/// process lives nobody but itself holds its namespaces, and after the kill no process of it is left.
/// (Looking for the namespaces afterwards would prove nothing: their numbers are given out again.)
fn nothing_stays() -> Outcome {
    let child = Command::new(std::env::current_exe()?)
        .env(VICTIM, "1")
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut victim = Victim(child);
    let process = victim.0.id();
    let output = victim.0.stdout.take().ok_or("stdout was piped")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    assert!(line.starts_with("ready: nsenter "), "{line:?}");
    nobody_else_holds_namespaces_of(process)?;
    assert_eq!(processes_in_group(process), 1, "the process itself is found");
    drop(victim);
    assert_eq!(processes_in_group(process), 0);
    Ok(())
}

/// A process that is killed and waited for, also if the test fails before.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn nobody_else_holds_namespaces_of(process: u32) -> Outcome {
    let links = |directory: PathBuf, name: Option<&str>| -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
        let paths = entries.map(|entry| name.map_or_else(|| entry.path(), |name| entry.path().join(name)));
        let targets = paths.filter_map(|path| std::fs::read_link(path).ok());
        targets
            .map(|target| target.display().to_string())
            .filter(|target| target.starts_with("net:"))
            .collect()
    };
    let own = PathBuf::from(format!("/proc/{process}"));
    let held = links(own.join("fd"), None);
    assert_eq!(held.len(), 6, "client, router, director, two servers, switch: {held:?}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    for namespace in &held {
        assert!(!mounts.contains(namespace.as_str()), "{namespace} is mounted");
    }
    for other in std::fs::read_dir("/proc")?.filter_map(Result::ok).map(|entry| entry.path()) {
        if other != own {
            let theirs = [links(other.join("fd"), None), links(other.join("task"), Some("ns/net"))].concat();
            assert!(!theirs.iter().any(|ns| held.contains(ns)), "{} holds one of {held:?}", other.display());
        }
    }
    Ok(())
}

fn processes_in_group(group: u32) -> usize {
    let group = group.to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
    // After the name, which may contain anything: state, parent, process group (proc_pid_stat(5)).
    stats
        .filter(|stat| stat.rsplit(')').next().and_then(|s| s.split_whitespace().nth(2)) == Some(&group))
        .count()
}
