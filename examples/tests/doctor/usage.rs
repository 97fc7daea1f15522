//! What the program refuses and with which words; the text for people; the documentation.

use caps::Capability;
use lvs_doctor::Fault;

use crate::clinic::{DOCTOR, run, web};
use crate::cluster::Family;
use crate::program::Start;
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("what_cannot_be_examined_is_refused_with_a_reason", refused),
    ("the_text_has_checks_findings_evidence_and_cure", text),
];

fn refused() -> Outcome {
    let cluster = web(Family::V4)?;
    std::fs::write(cluster.directory.path().join("empty"), "")?;
    std::fs::write(cluster.directory.path().join("v6"), "-A -t [fd00:192::250]:80 -s rr\n")?;
    std::fs::write(cluster.directory.path().join("wrong"), "-A -t 192.168.0.250 -x\n")?;
    let table = [
        ("--interface eth0 --dip 192.168.0.208/24 --rules nowhere", "--rules nowhere: No such file"),
        ("--interface eth0 --dip 192.168.0.208/24 --rules empty", "there is no service"),
        ("--interface eth0 --dip 192.168.0.208/24 --rules wrong", "wrong:1: "),
        (
            "--interface eth0 --dip 192.168.0.208/24 --rules v6",
            "no interface has a DIP of the family of fd00:192::250",
        ),
        ("--interface eth9 --dip 192.168.0.208/24 --rules rules.ipvs", "there are: lo, eth0"),
        ("--interface eth0 --dip 192.168.0.209/24 --io xdp --rules rules.ipvs", "--probe-address"),
        ("--interface eth0 --rules rules.ipvs", "--dip"),
    ];
    for (options, expected) in table {
        let start = Start::program(DOCTOR, &cluster.net.director, cluster.directory.path(), options);
        let ended = start.run()?.wait()?;
        let log = ended.log.join("\n");
        assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{options}: {log}");
        assert!(log.contains(expected), "{options}: {log}");
    }
    let options = "--interface eth0 --dip 192.168.0.208/24 --rules rules.ipvs --json";
    let start = Start::program(DOCTOR, &cluster.net.director, cluster.directory.path(), options)
        .without(Capability::CAP_NET_RAW);
    let ended = start.run()?.wait()?;
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stdout);
    assert!(ended.stdout.starts_with("{\"ok\":false,\"findings\":[],\"error\":\""), "{}", ended.stdout);
    assert!(ended.log.join("\n").contains("setcap cap_net_raw+ep"), "{:#?}", ended.log);
    Ok(())
}

fn text() -> Outcome {
    let cluster = web(Family::V4)?;
    cluster.net.servers[1].host.quiet_arp("eth0", false)?;
    cluster.net.servers[0].host.release_vip(cluster.net.vips.v4)?;
    let ended = run(&cluster, Family::V4, "")?;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
    for expected in [
        "eth0 (02:00:00:00:00:d0, MTU 1500) as 192.168.0.208/24\n",
        "\n✓ this host's kernel holds no VIP\n",
        "\n✗ nobody but the director answers ARP for VIP 192.168.0.250 on eth0: machines that do: 1\n",
        "\nerror vip-answered: VIP 192.168.0.250, 192.168.0.111 at 02:00:00:00:00:6f\n  evidence  asked on eth0",
        "\n  cure      # on the real server 192.168.0.111 (02:00:00:00:00:6f):\n            sysctl -w",
        "\nerror vip-missing: VIP 192.168.0.250, 192.168.0.188 at 02:00:00:00:00:bc\n",
        "\nerrors: 3, warnings: 0",
    ] {
        assert!(ended.stdout.contains(expected), "`{expected}` is missing:\n{}", ended.stdout);
    }
    Ok(())
}

/// docs/doctor.md has a heading for each fault.
pub(crate) fn documented() -> Outcome {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/doctor.md");
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    for fault in Fault::ALL {
        let heading = format!("\n### `{fault}` ({})\n", fault.severity().name());
        assert!(text.contains(&heading), "docs/doctor.md has no heading `{}`", heading.trim());
    }
    Ok(())
}
