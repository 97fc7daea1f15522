//! The ARP problem in its forms. Each is found with the machine's addresses, and what the program says ends it.

use lvs_core::Subnet;
use lvs_testkit::frames::mac;
use lvs_testkit::lab::{Host, Nic};

use crate::clinic::{Finding, examine, web};
use crate::cluster::{Cluster, Family};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("default_sysctls_on_a_real_server_are_found_and_cured", default_sysctls),
    ("arp_announce_0_is_found_and_cured", || announces("0")),
    ("arp_announce_1_is_found_and_cured", || announces("1")),
    ("the_recipe_that_is_no_cure_is_none", no_cure),
    ("a_vip_on_the_card_of_a_real_server_is_found_over_ipv6", on_the_card),
    ("another_machine_that_answers_for_the_vip_is_found_unless_it_is_a_director", other_director),
    ("a_fault_is_found_while_a_director_runs", beside_a_director),
];

/// That of the second server, with the VIP.
#[track_caller]
fn is_of_second(cluster: &Cluster, finding: &Finding) {
    let server = &cluster.net.servers[1];
    let found = (finding.vip, finding.mac, finding.address);
    assert_eq!(
        found,
        (Some(cluster.net.vips.v4), Some(server.mac), Some(server.addresses.v4)),
        "{finding:#?}"
    );
    assert!(finding.cure[0].contains("192.168.0.111 (02:00:00:00:00:6f)"), "{finding:#?}");
    assert!(finding.evidence.contains("192.168.0.250"), "{finding:#?}");
}

fn default_sysctls() -> Outcome {
    let cluster = web(Family::V4)?;
    let server = &cluster.net.servers[1].host;
    server.quiet_arp("eth0", false)?;
    let report = examine(&cluster, Family::V4, "")?;
    assert_eq!(
        (report.exit, report.ids()),
        (Some(1), vec!["vip-answered".to_owned(), "vip-announced".to_owned()])
    );
    for finding in report.findings() {
        is_of_second(&cluster, &finding);
    }
    assert_eq!(report.findings()[0].apply_sysctls(server)?, 2);
    examine(&cluster, Family::V4, "")?.assert_healthy();
    Ok(())
}

fn announces(value: &str) -> Outcome {
    let cluster = web(Family::V4)?;
    let server = &cluster.net.servers[1].host;
    for place in ["all", "eth0"] {
        server.sysctl(&format!("net.ipv4.conf.{place}.arp_announce"), value)?;
    }
    // Also when it has met the DIP before.
    for _ in 0..2 {
        let finding = examine(&cluster, Family::V4, "")?.only("vip-announced");
        is_of_second(&cluster, &finding);
    }
    let finding = examine(&cluster, Family::V4, "")?.only("vip-announced");
    assert_eq!(finding.apply_sysctls(server)?, 2);
    examine(&cluster, Family::V4, "")?.assert_healthy();
    Ok(())
}

/// `lo.arp_ignore=0, lo.arp_announce=1, lo.arp_filter=1`, found in the wild: the larger of `all` and eth0 counts.
fn no_cure() -> Outcome {
    let cluster = web(Family::V4)?;
    let server = &cluster.net.servers[1].host;
    server.quiet_arp("eth0", false)?;
    for (name, value) in [("arp_ignore", "0"), ("arp_announce", "1"), ("arp_filter", "1")] {
        server.sysctl(&format!("net.ipv4.conf.lo.{name}"), value)?;
    }
    assert_eq!(examine(&cluster, Family::V4, "")?.ids(), ["vip-answered", "vip-announced"]);
    Ok(())
}

/// A VIP on `lo` is not announced by neighbour discovery; one on a card is.
fn on_the_card() -> Outcome {
    let cluster = web(Family::V6)?;
    let (server, vip) = (&cluster.net.servers[1], cluster.net.vips.v6);
    server.host.release_vip(vip)?;
    let subnet = Subnet::new(vip, 64).ok_or("64 of 128")?;
    server.host.add_address("eth0", subnet)?;
    let report = examine(&cluster, Family::V6, "")?;
    let finding = report.findings().into_iter().find(|one| one.id == "vip-answered").ok_or("it answers")?;
    assert_eq!(
        (finding.vip, finding.mac, finding.address),
        (Some(vip), Some(server.mac), Some(server.addresses.v6))
    );
    assert!(finding.cure.contains(&format!("ip -6 address add {vip}/128 dev lo")), "{finding:#?}");
    // What the cure says, without the program `ip`.
    server.host.remove_address("eth0", subnet)?;
    server.host.hold_vip(vip)?;
    examine(&cluster, Family::V6, "")?.assert_healthy();
    Ok(())
}

fn other_director() -> Outcome {
    let cluster = web(Family::V4)?;
    let other = Host::new("other")?;
    let card = Nic::new(&other, "eth0").mac(mac("02:00:00:00:00:99"));
    cluster.net.switches[0].connect(card.address("192.168.0.250/24".parse()?))?;
    let finding = examine(&cluster, Family::V4, "")?.only("vip-answered");
    assert_eq!((finding.mac, finding.address), (Some(mac("02:00:00:00:00:99")), None));
    let hint = finding.cure.last().ok_or("there is a cure")?;
    assert!(hint.ends_with("--director-mac 02:00:00:00:00:99"), "{finding:#?}");
    examine(&cluster, Family::V4, "--director-mac 02:00:00:00:00:99")?.assert_healthy();
    Ok(())
}

fn beside_a_director() -> Outcome {
    let cluster = web(Family::V4)?;
    let _director = cluster.start_web()?;
    cluster.net.servers[1].host.quiet_arp("eth0", false)?;
    let report = examine(&cluster, Family::V4, "")?;
    assert_eq!(report.ids(), ["vip-answered", "vip-announced"], "{:#}", report.object);
    Ok(())
}
