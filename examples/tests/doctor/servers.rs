//! Real servers that lack something, one fault each.

use std::net::IpAddr;
use std::process::Command;

use lvs_core::Subnet;

use crate::clinic::{examine, web};
use crate::cluster::Family;
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_real_server_without_the_vip_is_found", without_vip),
    ("a_closed_port_is_found", closed),
    ("a_closed_udp_port_is_found", closed_udp),
    ("a_real_server_that_is_not_there_is_found", absent),
    ("a_gateway_that_is_not_there_is_found", absent_gateway),
    ("two_machines_with_one_rip_are_found", duplicate_rip),
    ("another_machine_with_the_dip_is_found", duplicate_dip),
    ("a_real_server_off_the_segment_is_found", off_segment),
    ("a_real_server_behind_a_router_that_answers_for_it_is_found", proxied),
    ("a_smaller_mtu_on_a_real_server_is_found", narrow),
];

/// Those that need the program `nft`.
pub(crate) const FILTERING: &[Test] = &[("a_filtered_port_is_found", filtered)];

/// Whether there is `nft`.
pub(crate) fn can_filter() -> bool {
    Command::new("nft").arg("--version").output().is_ok_and(|output| output.status.success())
}

fn filtered() -> Outcome {
    for family in [Family::V4, Family::V6] {
        let cluster = web(family)?;
        let server = &cluster.net.servers[0];
        let filter = |rule: &str| {
            let rules =
                format!("table inet t {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}");
            server.host.run(|| Command::new("nft").args(["flush ruleset;", &rules]).status())
        };
        // Nothing at all, and by ICMP.
        for (rule, evidence) in [
            ("tcp dport 80 drop", "3 times, without an answer, although it answered something else"),
            (
                "tcp dport 80 reject with icmpx type admin-prohibited",
                "answered with ICMP destination unreachable",
            ),
        ] {
            assert!(filter(rule)?.success());
            let finding = examine(&cluster, family, "")?.only("port-filtered");
            assert_eq!((finding.vip, finding.mac), (Some(cluster.vip(family)), Some(server.mac)));
            assert!(finding.evidence.contains(evidence), "{finding:#?}");
        }
        // Everything that is sent to the VIP: as if it were missing.
        let all =
            if family == Family::V4 { "ip daddr 192.168.0.250 drop" } else { "ip6 daddr fd00:192::250 drop" };
        assert!(filter(all)?.success());
        examine(&cluster, family, "")?.only("vip-missing");
    }
    Ok(())
}

fn without_vip() -> Outcome {
    for family in [Family::V4, Family::V6] {
        let cluster = web(family)?;
        let (server, vip) = (&cluster.net.servers[0], cluster.vip(family));
        server.host.release_vip(vip)?;
        let finding = examine(&cluster, family, "")?.only("vip-missing");
        let address = if family == Family::V4 { server.addresses.v4 } else { server.addresses.v6 };
        assert_eq!((finding.vip, finding.mac, finding.address), (Some(vip), Some(server.mac), Some(address)));
        let cure = match vip {
            IpAddr::V4(_) => format!("ip address add {vip}/32 dev lo"),
            IpAddr::V6(_) => format!("ip -6 address add {vip}/128 dev lo"),
        };
        assert!(finding.cure.contains(&cure), "{finding:#?}");
        server.host.hold_vip(vip)?;
        examine(&cluster, family, "")?.assert_healthy();
    }
    Ok(())
}

fn closed() -> Outcome {
    let cluster = web(Family::V4)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 81, "rr", &[]))?;
    let report = examine(&cluster, Family::V4, "")?;
    assert_eq!(report.ids(), ["port-closed", "port-closed"], "{:#}", report.object);
    for (finding, server) in report.findings().iter().zip(&cluster.net.servers) {
        assert_eq!((finding.mac, finding.address), (Some(server.mac), Some(server.addresses.v4)));
        assert!(finding.evidence.contains("answered with RST"), "{finding:#?}");
        assert!(finding.cure.contains(&"ss -lnt sport = :81".to_owned()), "{finding:#?}");
    }
    Ok(())
}

fn closed_udp() -> Outcome {
    for family in [Family::V4, Family::V6] {
        let cluster = web(family)?;
        cluster.write_rules(&cluster.rules("-u", family, 53, "rr", &[]))?;
        let report = examine(&cluster, family, "")?;
        assert_eq!(report.ids(), ["port-closed", "port-closed"], "{:#}", report.object);
        let finding = &report.findings()[0];
        assert!(finding.evidence.contains("ICMP port unreachable"), "{finding:#?}");
    }
    Ok(())
}

fn absent() -> Outcome {
    let cluster = web(Family::V4)?;
    let rules = cluster.rules("-t", Family::V4, 80, "rr", &[]);
    cluster.write_rules(&format!("{rules}-a -t 192.168.0.250:80 -r 192.168.0.77:80 -g\n"))?;
    let finding = examine(&cluster, Family::V4, "")?.only("rip-unresolved");
    assert_eq!((finding.mac, finding.address), (None, Some("192.168.0.77".parse()?)));
    assert!(finding.evidence.starts_with("asked 3 times on eth0"), "{finding:#?}");
    Ok(())
}

fn absent_gateway() -> Outcome {
    let cluster = web(Family::V4)?;
    cluster.net.switches[0].set_cable("router", "eth1", false)?;
    let finding = examine(&cluster, Family::V4, "")?.only("gateway-unresolved");
    assert_eq!(finding.address, Some("192.168.0.15".parse()?));
    Ok(())
}

fn duplicate_rip() -> Outcome {
    let cluster = web(Family::V4)?;
    let [first, second] = &cluster.net.servers[..] else { return Err("two servers".into()) };
    let rip: Subnet = "192.168.0.188/24".parse()?;
    second.host.add_address("eth0", rip)?;
    let finding = examine(&cluster, Family::V4, "")?.only("duplicate-address");
    assert_eq!(finding.address, Some(first.addresses.v4));
    for mac in [first.mac, second.mac] {
        assert!(finding.evidence.contains(&mac.to_string()), "{finding:#?}");
    }
    second.host.remove_address("eth0", rip)?;
    examine(&cluster, Family::V4, "")?.assert_healthy();
    Ok(())
}

fn duplicate_dip() -> Outcome {
    for family in [Family::V4, Family::V6] {
        let cluster = web(family)?;
        let server = &cluster.net.servers[1];
        let [v4, v6] = cluster.net.dips[0];
        let dip = if family == Family::V4 { v4 } else { v6 };
        server.host.add_address("eth0", dip)?;
        let report = examine(&cluster, family, "")?;
        // What the server answers to the DIP it keeps for itself, so its services look dead as well.
        let finding = report.findings().into_iter().find(|one| one.id == "duplicate-address");
        let finding = finding.ok_or_else(|| format!("{:#}", report.object))?;
        assert_eq!((finding.mac, finding.address), (Some(server.mac), Some(dip.address())));
    }
    Ok(())
}

fn off_segment() -> Outcome {
    let cluster = web(Family::V4)?;
    let rules = cluster.rules("-t", Family::V4, 80, "rr", &[]);
    cluster.write_rules(&format!("{rules}-a -t 192.168.0.250:80 -r 110.0.0.77:80 -g\n"))?;
    let finding = examine(&cluster, Family::V4, "")?.only("rip-off-segment");
    assert_eq!((finding.mac, finding.address), (None, Some("110.0.0.77".parse()?)));
    assert!(finding.evidence.contains("none of the director's subnets (192.168.0.208/24)"), "{finding:#?}");
    Ok(())
}

/// Proxy ARP: the real server seems to be there, and is where direct routing cannot reach it.
fn proxied() -> Outcome {
    let cluster = web(Family::V4)?;
    let router = cluster.net.router.as_ref().ok_or("topology B has a router")?;
    router.sysctl("net.ipv4.conf.eth1.proxy_arp", "1")?;
    let rules = cluster.rules("-t", Family::V4, 80, "rr", &[]);
    cluster.write_rules(&format!("{rules}-a -t 192.168.0.250:80 -r 110.0.0.1:80 -g\n"))?;
    let finding = examine(&cluster, Family::V4, "")?.only("rip-off-segment");
    assert_eq!(finding.address, Some("110.0.0.1".parse()?));
    assert!(finding.evidence.contains("the gateway 192.168.0.15"), "{finding:#?}");
    Ok(())
}

fn narrow() -> Outcome {
    for family in [Family::V4, Family::V6] {
        let cluster = web(family)?;
        let server = &cluster.net.servers[1];
        server.host.set_mtu("eth0", 1400)?;
        let finding = examine(&cluster, family, "")?.only("mtu-smaller");
        assert_eq!(finding.mac, Some(server.mac));
        assert!(finding.evidence.contains("one of 1400 was"), "{finding:#?}");
        assert!(finding.cure[1].starts_with("ip link set mtu 1500 dev "), "{finding:#?}");
        server.host.set_mtu("eth0", 1500)?;
        examine(&cluster, family, "")?.assert_healthy();
    }
    Ok(())
}
