//! What is wrong on the director's own host.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lvs_testkit::lab::{Topology, TopologyOptions, bulk};

use crate::clinic::{DOCTOR, examine, report, web, web_with};
use crate::cluster::{Cluster, Family};
use crate::program::Start;
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("a_vip_on_the_directors_kernel_is_found", vip_on_kernel),
    ("a_kernel_that_forwards_is_found_and_cured", forwards),
    ("a_dip_without_owner_is_found", dip_missing),
    ("a_strict_reverse_path_filter_is_found_where_it_hurts", strict),
    ("interfaces_of_different_mtu_are_found", mtus),
    ("a_link_that_is_down_is_found_and_nothing_sent", link_down),
    ("unfinished_checksums_are_found_for_af_xdp", unfinished),
    ("merged_frames_are_found_for_af_xdp", merged),
];

fn vip_on_kernel() -> Outcome {
    let cluster = web(Family::V4)?;
    cluster.net.director.add_address("eth0", "192.168.0.250/24".parse()?)?;
    let finding = examine(&cluster, Family::V4, "")?.only("vip-on-kernel");
    assert_eq!(finding.vip, Some(cluster.net.vips.v4));
    assert_eq!(finding.cure, ["ip address del 192.168.0.250/24 dev eth0"]);
    Ok(())
}

fn forwards() -> Outcome {
    for (family, switch) in
        [(Family::V4, "net.ipv4.ip_forward"), (Family::V6, "net.ipv6.conf.all.forwarding")]
    {
        let cluster = web(family)?;
        let director = &cluster.net.director;
        director.forward()?;
        let finding = examine(&cluster, family, "")?.only("kernel-forwards");
        assert_eq!(finding.cure, [format!("sysctl -w {switch}=0")]);
        assert_eq!(finding.apply_sysctls(director)?, 1);
        examine(&cluster, family, "")?.assert_healthy();
    }
    Ok(())
}

fn dip_missing() -> Outcome {
    let cluster = web(Family::V4)?;
    let options = "--interface eth0 --dip 192.168.0.209/24 --rules rules.ipvs --json";
    let start = Start::program(DOCTOR, &cluster.net.director, cluster.directory.path(), options);
    let finding = report(start.run()?.wait()?)?.only("dip-missing");
    assert_eq!(finding.address, Some("192.168.0.209".parse()?));
    assert_eq!(finding.cure[0], "ip address add 192.168.0.209/24 dev eth0");
    assert_eq!(
        finding.evidence,
        "the DIP 192.168.0.209 is not among the addresses of eth0 (192.168.0.208, fd00:192::208, fe80::ff:fe00:d0), and \
         no director runs there that could answer for it"
    );
    Ok(())
}

fn strict() -> Outcome {
    // With one interface it hurts nobody.
    let cluster = web(Family::V4)?;
    cluster.net.director.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
    examine(&cluster, Family::V4, "")?.assert_healthy();

    let cluster = Cluster::of(Topology::c(TopologyOptions::default())?)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let director = &cluster.net.director;
    director.sysctl("net.ipv4.conf.all.rp_filter", "1")?;
    let finding = examine(&cluster, Family::V4, "")?.only("rp-filter");
    assert!(
        finding.evidence.contains("rp_filter of eth1 is 1") && finding.evidence.contains("is by eth0"),
        "{finding:#?}"
    );
    assert_eq!(finding.apply_sysctls(director)?, 1);
    examine(&cluster, Family::V4, "")?.assert_healthy();
    Ok(())
}

fn mtus() -> Outcome {
    let cluster = Cluster::of(Topology::c(TopologyOptions::default())?)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    cluster.net.director.set_mtu("eth1", 1400)?;
    let finding = examine(&cluster, Family::V4, "")?.only("mtu-differs");
    assert_eq!(finding.cure, ["ip link set dev eth1 mtu 1500"]);
    Ok(())
}

fn link_down() -> Outcome {
    let cluster = web(Family::V4)?;
    cluster.net.switches[0].set_cable("director", "eth0", false)?;
    // The kernel tells of lost carriers up to a second late.
    std::thread::sleep(Duration::from_millis(1100));
    let finding = examine(&cluster, Family::V4, "")?.only("link-down");
    assert!(finding.evidence.contains("no carrier"), "{finding:#?}");
    cluster.net.director.set_link("eth0", false)?;
    let finding = examine(&cluster, Family::V4, "")?.only("link-down");
    assert_eq!(finding.cure, ["ip link set dev eth0 up"]);
    Ok(())
}

fn unfinished() -> Outcome {
    let cluster = web(Family::V4)?;
    let finding = examine(&cluster, Family::V4, "--io xdp")?.only("unfinished-checksums");
    assert!(finding.cure.contains(&"ethtool -K PEER tx off".to_owned()), "{finding:#?}");
    Ok(())
}

fn merged() -> Outcome {
    // Checksums are complete and frames as long as the MTU, until the director's own kernel merges them.
    let cluster = web_with(Family::V4, TopologyOptions { offload: false, ..Default::default() })?;
    let director = &cluster.net.director;
    let sink = SocketAddr::new(cluster.net.dips[0][0].address(), 9);
    let _server = bulk::Server::start(director, sink)?;
    let examined_while_uploading = || {
        let examined = AtomicBool::new(false);
        let upload = || bulk::upload(&cluster.net.client, sink, 1 << 20, Duration::from_secs(10));
        std::thread::scope(|scope| {
            let traffic = scope.spawn(|| {
                while !examined.load(Ordering::Relaxed) {
                    upload()?;
                }
                Ok::<_, std::io::Error>(())
            });
            let report = examine(&cluster, Family::V4, "--io xdp");
            examined.store(true, Ordering::Relaxed);
            traffic.join().map_err(|_| "the upload panicked")??;
            report
        })
    };
    examined_while_uploading()?.assert_healthy();

    // Veth merges only what comes from an end that could not have sent it in one piece.
    let switch = &cluster.net.switches[0];
    let port = switch.port_of(director.name(), "eth0").ok_or("the director has a cable")?;
    switch.host().set_offload(&port, false)?;
    director.set_features("eth0", &[("rx-gro", true)])?;
    // The setting alone is no fault: most drivers run the program before the kernel merges.
    examine(&cluster, Family::V4, "--io xdp")?.assert_healthy();
    let finding = examined_while_uploading()?.only("merged-frames");
    assert!(finding.evidence.contains(" merged frames came in on eth0"), "{finding:#?}");
    assert_eq!(finding.cure, ["ethtool -K eth0 lro off gro off"]);
    director.set_features("eth0", &[("rx-gro", false)])?;
    examined_while_uploading()?.assert_healthy();
    Ok(())
}
