//! The program run by the kernel over given frames. Where bpf(2) is not allowed, says so.

use std::io;

use lvs_testkit::frames::{
    IcmpError, arp_announcement, arp_reply, arp_request, echo_request, icmp_error, mld_query,
    neighbour_advertisement, neighbour_solicitation, router_solicitation, socket, station, tcp, udp, v4, v6,
};

use super::*;
use crate::addresses::Addresses;
use crate::sys::bpf::{self, MapDescription, MapKind, trial};

/// XDP_DROP stands for "redirected": no socket is there, and nothing else of the program answers it.
const REDIRECTED: i32 = 1;

struct Loaded {
    program: std::os::fd::OwnedFd,
    addresses: Addresses,
}

impl Loaded {
    fn answers(&self, frame: &[u8]) -> i32 {
        trial::run(&self.program, frame).expect("a run").cast_signed()
    }

    fn redirects(&self, frame: &[u8]) -> bool {
        match self.answers(frame) {
            REDIRECTED => true,
            XDP_PASS => false,
            other => panic!("the program answered {other} for {frame:02x?}"),
        }
    }

    fn set(&mut self, take: &[&str], leave: &[&str]) {
        let parse = |text: &[&str]| text.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        self.addresses.set(&parse(take), &parse(leave)).unwrap();
    }
}

/// The program with some addresses, or nothing where it may not be loaded.
fn load() -> Option<Loaded> {
    let make = || -> io::Result<Loaded> {
        let mut addresses = Addresses::new(1000)?;
        let description = MapDescription {
            kind: MapKind::Sockets,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            name: "lvs_test",
        };
        let sockets = bpf::create_map(&description)?;
        let program = bpf::load_program(&redirect_program(addresses.maps(&sockets), REDIRECTED), "lvs_test")?;
        let subnets = TAKEN.map(|text| text.parse().unwrap());
        addresses.set(&subnets, &["10.7.0.9/32".parse().unwrap()]).map_err(io::Error::other)?;
        Ok(Loaded { program, addresses })
    };
    match make() {
        Ok(loaded) => Some(loaded),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: bpf(2) is not allowed here ({error})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

const TAKEN: [&str; 3] = ["192.168.0.250/32", "fd00::250/128", "10.7.0.0/16"];
const VIP: &str = "192.168.0.250";
const VIP6: &str = "fd00::250";

#[test]
fn ip_goes_by_its_destination() {
    let Some(loaded) = load() else { return };
    let to = |text: &str| tcp(socket("1.2.3.4:5"), socket(text));
    let to6 = |text: &str| udp(socket("[2001:db8::1]:5"), socket(text));
    assert!(loaded.redirects(&to("192.168.0.250:80").build()));
    assert!(!loaded.redirects(&to("192.168.0.251:80").build()));
    assert!(!loaded.redirects(&tcp(socket("192.168.0.250:80"), socket("1.2.3.4:5")).build()), "its source");
    assert!(loaded.redirects(&to("10.7.255.1:80").build()), "a prefix");
    assert!(!loaded.redirects(&to("10.7.0.9:80").build()), "what is left of it");
    assert!(!loaded.redirects(&to("10.8.0.1:80").build()));
    assert!(loaded.redirects(&to6("[fd00::250]:53").build()));
    assert!(!loaded.redirects(&to6("[fd00::251]:53").build()));
    assert!(loaded.redirects(&echo_request("1.2.3.4".parse().unwrap(), VIP.parse().unwrap(), 1, 1).build()));
    let about = tcp(socket("192.168.0.250:80"), socket("1.2.3.4:5")).build();
    let (router, vip) = ("9.9.9.9".parse().unwrap(), VIP.parse().unwrap());
    let error = icmp_error(router, vip, IcmpError::TooBig { mtu: 1400 }, &about);
    assert!(loaded.redirects(&error.build()));
    let with_options = to("192.168.0.250:80").options(&[1, 1, 1, 1]);
    assert!(loaded.redirects(&with_options.build()));
    let with_extension = to6("[fd00::250]:53").extension(0, &[0; 6]);
    assert!(loaded.redirects(&with_extension.build()));
}

#[test]
fn arp_goes_by_the_address_it_asks_for() {
    let Some(loaded) = load() else { return };
    let (host, vip, rip) = (v4("192.168.0.208"), v4(VIP), v4("192.168.0.188"));
    let mac = station(1);
    assert!(loaded.redirects(&arp_request(mac, rip, vip).build()));
    assert!(loaded.redirects(&arp_announcement(mac, vip).build()), "a claim");
    assert!(loaded.redirects(&arp_request(mac, rip, v4("10.7.1.1")).build()));
    // What the kernel has to hear: it would lose its neighbours otherwise. A packet socket hears it too.
    assert!(!loaded.redirects(&arp_request(mac, rip, host).build()));
    assert!(!loaded.redirects(&arp_reply(mac, rip, station(2), host).build()));
    assert!(!loaded.redirects(&arp_request(mac, vip, rip).build()), "somebody asks as the VIP");
    assert!(!loaded.redirects(&arp_request(mac, rip, v4("10.7.0.9")).build()));
}

#[test]
fn neighbour_discovery_goes_by_the_address_it_asks_for() {
    let Some(loaded) = load() else { return };
    let (mac, host, vip, rip) = (station(1), v6("fd00::208"), v6(VIP6), v6("fd00::188"));
    assert!(loaded.redirects(&neighbour_solicitation(mac, rip, vip).build()));
    assert!(!loaded.redirects(&neighbour_solicitation(mac, rip, host).build()));
    assert!(loaded.redirects(&neighbour_advertisement(mac, vip, station(2), rip).build()), "a claim");
    assert!(!loaded.redirects(&neighbour_advertisement(mac, rip, station(2), host).build()));
    assert!(!loaded.redirects(&router_solicitation(mac, rip).build()));
    assert!(!loaded.redirects(&mld_query(mac, v6("fe80::1")).build()));
}

#[test]
fn up_to_two_tags_are_looked_behind() {
    let Some(loaded) = load() else { return };
    let frame = tcp(socket("1.2.3.4:5"), socket("192.168.0.250:80"));
    let solicitation = neighbour_solicitation(station(1), v6("fd00::1"), v6(VIP6));
    let question = arp_request(station(1), v4("192.168.0.1"), v4(VIP));
    let inner = lvs_core::io::VlanTag { tpid: 0x8100, tci: 0x6005 };
    let outer = lvs_core::io::VlanTag { tpid: 0x88a8, tci: 7 };
    for (one, two, three) in [
        (
            frame.clone().tag(inner).build(),
            frame.clone().tag(inner).tag(outer).build(),
            frame.tag(inner).tag(outer).tag(outer).build(),
        ),
        (
            solicitation.clone().tag(inner).build(),
            solicitation.clone().tag(inner).tag(outer).build(),
            solicitation.tag(inner).tag(outer).tag(outer).build(),
        ),
        (
            question.clone().tag(inner).build(),
            question.clone().tag(inner).tag(outer).build(),
            question.tag(inner).tag(outer).tag(outer).build(),
        ),
    ] {
        assert!(loaded.redirects(&one) && loaded.redirects(&two));
        assert!(!loaded.redirects(&three));
    }
}

#[test]
fn frames_that_end_early_stay_with_the_kernel() {
    let Some(loaded) = load() else { return };
    let frames = [
        (tcp(socket("1.2.3.4:5"), socket("192.168.0.250:80")).build(), 14 + 20),
        (tcp(socket("1.2.3.4:5"), socket("192.168.0.250:80")).vlan(5).build(), 18 + 20),
        (udp(socket("[fd00::1]:5"), socket("[fd00::250]:80")).build(), 14 + 40),
        (arp_request(station(1), v4("192.168.0.1"), v4(VIP)).build(), 14 + 28),
        (neighbour_solicitation(station(1), v6("fd00::1"), v6(VIP6)).build(), 14 + 40 + 24),
    ];
    for (frame, needed) in frames {
        for len in 14..frame.len() {
            assert_eq!(loaded.redirects(&frame[..len]), len >= needed, "{len} of {frame:02x?}");
        }
    }
    // Types that are not known, and lengths (IEEE 802.3).
    for kind in [0x88cc_u16, 0x0805, 46, 0] {
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&kind.to_be_bytes());
        assert!(!loaded.redirects(&frame));
    }
}

#[test]
fn addresses_change_under_a_loaded_program() {
    let Some(mut loaded) = load() else { return };
    let to = |text: &str| tcp(socket("1.2.3.4:5"), socket(text)).build();
    loaded.set(&["192.168.0.251/32", "fd00::/64"], &[]);
    assert!(!loaded.redirects(&to("192.168.0.250:80")) && loaded.redirects(&to("192.168.0.251:80")));
    assert!(!loaded.redirects(&to("10.7.255.1:80")));
    loaded.set(&["0.0.0.0/0"], &["192.168.0.0/24"]);
    assert!(loaded.redirects(&to("8.8.8.8:53")) && !loaded.redirects(&to("192.168.0.251:80")));
    loaded.set(&[], &[]);
    assert!(!loaded.redirects(&to("8.8.8.8:53")));
    let many: Vec<String> = (0..1000).map(|i| format!("10.1.{}.{}/32", i / 250, i % 250)).collect();
    loaded.set(&many.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    // All of them are exchanged for as many others.
    let others: Vec<String> = (0..1000).map(|i| format!("10.2.{}.{}/32", i / 250, i % 250)).collect();
    loaded.set(&others.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert!(loaded.redirects(&to("10.2.3.249:80")) && !loaded.redirects(&to("10.1.3.249:80")));
    let error = loaded.addresses.set(&["10.9.9.0/24".parse().unwrap()], &[]);
    assert!(error.is_ok());
    let too_many: Vec<_> =
        (0..1001).map(|i| format!("10.{}.{}.1/32", i / 250, i % 250).parse().unwrap()).collect();
    let error = loaded.addresses.set(&too_many, &[]).unwrap_err().to_string();
    assert!(error.contains("1001") && error.contains("max_addresses (1000)"), "{error}");
    assert!(loaded.redirects(&to("10.9.9.9:80")), "nothing was changed");
}
