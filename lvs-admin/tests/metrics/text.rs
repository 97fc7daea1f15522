//! `/metrics`: names, labels and values.

use std::io::Write;
use std::process::{Command, Stdio};

use lvs_admin::metrics::{Snapshot, prometheus};

use crate::invention::{EVIL, snapshot};
use crate::strict;

#[test]
fn every_rule_of_the_format_is_kept() {
    strict::read(&prometheus(&snapshot(5))).unwrap();
    strict::read(&prometheus(&snapshot(0))).unwrap();
    strict::read(&prometheus(&snapshot(255))).unwrap();
    strict::read(&prometheus(&Snapshot::default())).unwrap();
}

#[test]
fn node_exporters_names_and_labels() {
    let families = strict::read(&prometheus(&snapshot(2))).unwrap();
    for name in [
        "node_ipvs_connections_total",
        "node_ipvs_incoming_packets_total",
        "node_ipvs_outgoing_packets_total",
        "node_ipvs_incoming_bytes_total",
        "node_ipvs_outgoing_bytes_total",
    ] {
        let (kind, samples) = &families[name];
        assert_eq!((kind.as_str(), samples.len(), samples[0].1.len()), ("counter", 1, 0), "{name}");
    }
    for name in [
        "node_ipvs_backend_connections_active",
        "node_ipvs_backend_connections_inactive",
        "node_ipvs_backend_weight",
    ] {
        let (kind, samples) = &families[name];
        // Three services of two; the one that was taken out is none of ip_vs'.
        assert_eq!((kind.as_str(), samples.len()), ("gauge", 6), "{name}");
    }
    let mut labels: Vec<String> = families["node_ipvs_backend_weight"]
        .1
        .iter()
        .map(|(_, labels, value)| {
            let mut labels = labels.clone();
            labels.sort();
            format!("{labels:?} {value}").replace(['(', ')', '"'], "")
        })
        .collect();
    labels.sort();
    assert_eq!(
        labels[0],
        "[local_address, , local_mark, 0000001F, local_port, 0, proto, FWM, remote_address, 192.0.3.0, remote_port, 0] 2"
    );
    assert_eq!(
        labels[2],
        "[local_address, 192.0.2.250, local_mark, , local_port, 80, proto, TCP, remote_address, 192.0.3.0, remote_port, 80] 2"
    );
    assert_eq!(
        labels[4],
        "[local_address, 2001:db8::250, local_mark, , local_port, 53, proto, UDP, remote_address, 2001:db8::, remote_port, 53] 2"
    );
}

#[test]
fn health_drops_devices_and_batches() {
    let families = strict::read(&prometheus(&snapshot(2))).unwrap();
    let ups: Vec<f64> = families["lvs_server_up"].1.iter().map(|sample| sample.2).collect();
    assert_eq!(ups, [1.0, 0.0, 0.0], "up, maintenance, down and taken out");
    assert_eq!(families["lvs_server_state_timestamp_seconds"].1[0].2, 1_800_000_000.0 - 60.0);
    assert_eq!(families["lvs_start_time_seconds"].1[0].2, 1_800_000_000.0 - 5000.0);
    assert_eq!(families["lvs_dropped_frames_total"].1.len(), lvs_core::DropReason::COUNT);
    let device = &families["lvs_device_receive_lost_frames_total"].1[0];
    assert_eq!(device.1, [("device".to_owned(), EVIL.to_owned())], "escaped and back");
    assert_eq!(device.2, 2.0);
    let histogram = &families["lvs_batch_frames"].1;
    let sum: u32 = (0..64).map(|count| count * (count + 1)).sum();
    assert!(histogram.contains(&("lvs_batch_frames_sum".into(), Vec::new(), f64::from(sum))));
    assert!(histogram.contains(&(
        "lvs_batch_frames_count".into(),
        Vec::new(),
        f64::from((0..64).sum::<u32>())
    )));
    let reasons = families.values().flat_map(|(_, samples)| samples).flat_map(|(_, labels, _)| labels);
    let evil = reasons.filter(|(name, value)| name != "device" && value == EVIL).count();
    assert_eq!(evil, 0, "a reason of a failure is no label");
}

#[test]
fn promtool_has_nothing_to_say() {
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!(
            "SKIPPED: there is no promtool here (package prometheus); the rules are checked by the tests' own reader"
        );
        return;
    };
    let text = prometheus(&snapshot(5));
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
