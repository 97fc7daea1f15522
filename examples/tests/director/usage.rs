//! The command line: what is refused and with which words, what is only warned of, and how the program ends.

use caps::Capability;
use lvs_core::Subnet;
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Family, in_turn};
use crate::program::{Ended, Start};
use crate::{Outcome, Test, listing};

pub(crate) const TESTS: &[Test] = &[
    ("a_wrong_rule_is_named_before_anything_starts", wrong_rules),
    ("what_is_not_there_is_named", missing),
    ("what_is_out_of_place_is_named", out_of_place),
    ("without_the_right_to_packet_sockets_the_right_is_named", rights),
    ("a_vip_that_the_kernel_holds_is_refused_unless_allowed", local_vip),
    ("a_kernel_that_forwards_is_warned_of", forwarding),
    ("another_port_of_a_real_server_is_warned_of", other_port),
    ("either_signal_ends_it_with_the_listing", signals),
];

/// Checks that the program refuses to start, with exit code 2, nothing on standard output, and these words.
pub(crate) fn refused(start: Start<'_>, words: &[&str]) -> Result<Ended, libtest_mimic::Failed> {
    let ended = start.run()?.wait()?;
    let log = ended.log.join("\n");
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{log}");
    for word in words {
        assert!(log.contains(word), "`{word}` is missing:\n{log}");
    }
    Ok(ended)
}

fn wrong_rules() -> Outcome {
    let cluster = Cluster::b(2)?;
    let table: [(&str, &[&str]); 5] = [
        (
            "# two services\n-A -t 192.168.0.250:80 -s rr\n-a -t 192.168.0.250:80 -r 192.168.0.300\n",
            &["rules.ipvs:3: ", "192.168.0.300", "; expected "],
        ),
        (
            "-A -t 192.168.0.250:80 -s fastest\n",
            &["rules.ipvs:1: Scheduler or persistence engine not found: `fastest`; expected -s rr"],
        ),
        ("-A -t 192.168.0.250:80 -s rr --pe sip\n", &["rules.ipvs:1: ", "is not supported yet; expected "]),
        (
            "-A -t 192.168.0.250:80 -s rr\n\n-a -t 192.168.0.250:81 -r 192.168.0.188 -g\n",
            &["rules.ipvs:3: ", "192.168.0.250:81"],
        ),
        (
            "-A -t 192.168.0.250:80 -s rr\n-a -t 192.168.0.250:80 -r 192.168.0.188 -m\n",
            &["rules.ipvs:2: ", "is not supported yet; expected "],
        ),
    ];
    for (rules, words) in table {
        cluster.write_rules(rules)?;
        let ended = refused(cluster.director(Family::V4, ""), words)?;
        assert_eq!((ended.lines("announced"), ended.lines("DIP")), (vec![], vec![]), "{:#?}", ended.log);
    }
    Ok(())
}

fn missing() -> Outcome {
    let cluster = Cluster::b(1)?;
    let director = &cluster.net.director;
    let place = cluster.directory.path();
    let start = |options: &str| Start::director(director, place, options);
    refused(
        start("--interface eth0 --dip 192.168.0.208/24 --rules nowhere.ipvs"),
        &["--rules nowhere.ipvs: ", "No such file"],
    )?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    refused(
        start("--interface eth7 --dip 192.168.0.208/24 --rules rules.ipvs"),
        &["--interface eth7: there is no interface \"eth7\"", "there are: lo, eth0"],
    )?;
    refused(
        start("--interface lo --dip 192.168.0.208/24 --rules rules.ipvs"),
        &["--interface lo: lo does not carry Ethernet frames"],
    )?;
    for (vip, server) in [("192.168.0.250:80", "10.9.9.9"), ("[fd00:192::250]:80", "[fd00:192::188]")] {
        cluster.write_rules(&format!("-A -t {vip} -s rr\n-a -t {vip} -r {server} -g\n"))?;
        let leads = format!("rules.ipvs:2: no --interface leads to {}; ", server.trim_matches(['[', ']']));
        refused(
            start("--interface eth0 --dip 192.168.0.208/24 --rules rules.ipvs"),
            &[&leads, "expected", "--gateway"],
        )?;
    }
    Ok(())
}

fn out_of_place() -> Outcome {
    let cluster = Cluster::b(1)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let table: [(&str, &[&str]); 9] = [
        ("", &["--interface", "--dip", "--rules"]),
        ("--interface eth0 --rules rules.ipvs", &["--dip"]),
        (
            "--interface eth0 --interface eth1 --dip 192.168.0.208/24 --rules rules.ipvs",
            &["--interface eth0 is not followed by a --dip"],
        ),
        ("--interface eth0 --dip 192.168.0.208 --rules rules.ipvs", &["192.168.0.208", "--dip"]),
        (
            "--interface eth0 --dip 192.168.0.208/24 --gateway 10.0.0.1 --rules rules.ipvs",
            &["gateway", "10.0.0.1"],
        ),
        (
            "--interface eth0 --dip 192.168.0.208/24 --rules rules.ipvs --sysctl nonsense=1",
            &["--sysctl: there is no knob \"nonsense\"; there are: conn_reuse_mode"],
        ),
        (
            "--interface eth0 --dip 192.168.0.208/24 --rules rules.ipvs --sysctl conntrack=1",
            &["--sysctl: conntrack is not supported yet; supported are: conn_reuse_mode"],
        ),
        (
            "--interface eth0 --dip 192.168.0.208/24 --rules rules.ipvs --sysctl conn_reuse_mode=7",
            &["--sysctl: conn_reuse_mode=7: it takes a number from 0 to 3"],
        ),
        (
            "--interface eth0 --dip 192.168.0.208/24 --rules rules.ipvs --max-connections 5",
            &["5 is out of range", "64"],
        ),
    ];
    for (options, words) in table {
        refused(Start::director(&cluster.net.director, cluster.directory.path(), options), words)?;
    }
    let good = "--sysctl conn_reuse_mode=0 --sysctl net.ipv4.vs.sloppy_tcp=1 --max-connections 64";
    let director = cluster.director(Family::V4, good).run()?;
    director.wait_ready()?;
    let ended = director.stop(Signal::SIGTERM)?;
    assert!(ended.stdout.contains("(size=64)"), "{}", ended.stdout);
    Ok(())
}

fn rights() -> Outcome {
    let cluster = Cluster::b(1)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let start = cluster.director(Family::V4, "").without(Capability::CAP_NET_RAW);
    refused(start, &["CAP_NET_RAW", "setcap cap_net_raw+ep"])?;
    Ok(())
}

fn local_vip() -> Outcome {
    let cluster = Cluster::b(2)?;
    cluster.write_rules(&cluster.rules("-t", Family::V4, 80, "rr", &[]))?;
    let vip = Subnet::new(cluster.vip(Family::V4), 32).ok_or("32 of 32 bits")?;
    for interface in ["eth0", "lo"] {
        cluster.net.director.add_address(interface, vip)?;
        let held = format!("the VIP 192.168.0.250 is configured on this host's {interface}");
        let cure = format!("ip address del 192.168.0.250/32 dev {interface}");
        refused(cluster.director(Family::V4, ""), &[&held, &cure, "--allow-local-vip"])?;
        let director = cluster.director(Family::V4, "--allow-local-vip").run()?;
        director.wait_ready()?;
        let ended = director.stop(Signal::SIGTERM)?;
        assert_eq!(ended.status.code(), Some(0));
        let warnings = ended.lines(&held);
        assert!(warnings.len() == 1 && warnings[0].contains("WARN"), "{:#?}", ended.log);
        cluster.net.director.remove_address(interface, vip)?;
    }
    Ok(())
}

fn forwarding() -> Outcome {
    let cluster = Cluster::b(2)?;
    let director = cluster.start_web()?;
    assert_eq!(director.stop(Signal::SIGTERM)?.lines("WARN"), [""; 0], "nothing to warn of");
    cluster.net.director.forward()?;
    let director = cluster.start_web()?;
    let ended = director.stop(Signal::SIGTERM)?;
    for switch in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        let warnings = ended.lines(&format!("{switch} is on"));
        assert!(warnings.len() == 1 && warnings[0].contains("WARN"), "{:#?}", ended.log);
        assert!(warnings[0].contains(&format!("sysctl -w {switch}=0")), "{warnings:?}");
    }
    Ok(())
}

fn other_port() -> Outcome {
    let cluster = Cluster::b(2)?;
    let rules = "-A -t 192.168.0.250:80 -s rr\n-a -t 192.168.0.250:80 -r 192.168.0.188:8080 -g\n\
                 -a -t 192.168.0.250:80 -r 192.168.0.111 -g\n";
    let director = cluster.start(Family::V4, rules)?;
    assert_eq!(cluster.fetch_in_turn(Family::V4, 4)?, in_turn(&["server2", "server1"], 4));
    let ended = director.stop(Signal::SIGTERM)?;
    let warnings = ended.lines("WARN");
    assert!(
        warnings.len() == 1 && warnings[0].contains("rules.ipvs:2: ") && warnings[0].contains("8080"),
        "{:#?}",
        ended.log
    );
    let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
    assert_eq!(service.connections(), [("192.168.0.111:80", 2), ("192.168.0.188:80", 2)]);
    Ok(())
}

fn signals() -> Outcome {
    let cluster = Cluster::b(1)?;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let director = cluster.start_web()?;
        assert_eq!(cluster.fetch(Family::V4)?, "server1");
        let ended = director.stop(signal)?;
        assert_eq!(ended.status.code(), Some(0), "{signal}");
        // Once each: the log has the story, standard output the listing and nothing else.
        for line in [" ready", "192.168.0.250 announced on eth0", "192.168.0.188 is at 02:00:00:00:00:bc"] {
            assert_eq!(ended.lines(line).len(), 1, "{line}: {:#?}", ended.log);
        }
        let [service] = &listing::read(&ended.stdout)?[..] else { return Err("one service".into()) };
        assert_eq!(service.total.connections, 1);
    }
    Ok(())
}
