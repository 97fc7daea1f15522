//! The host model against what a Linux 6.1 kernel did: `tests/fixtures/arp.jsonl.gz`.
//!
//! Each scenario is replayed with simulated hosts in place of the recorded ones; the ARP frames that reach the
//! client must be the recorded ones, byte for byte. IPv6 chatter of the recorded hosts' start is passed over. The format is
//! told in `lvs-core/tests/fixtures/ipvs/README.md`.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use flate2::read::GzDecoder;
use lvs_core::{Instant, PortId, Subnet};
use lvs_testkit::frames::{ARP, Summary, addr, station};
use lvs_testkit::sim::{Host, Interface, LinkOptions, Network, NodeId, Station, Switch};
use serde_json::Value;

/// Scenarios that are left out, with the reason.
const LEFT_OUT: [(&str, &str); 1] =
    [("director_gratuitous", "it is about arp_notify at link up, a sysctl that the model does not have")];

#[test]
fn recordings() {
    let scenarios = load();
    let (mut matching, mut total, mut faults) = (0, 0, Vec::new());
    for (name, steps) in &scenarios {
        if let Some((_, why)) = LEFT_OUT.iter().find(|(left_out, _)| left_out == name) {
            println!("{name} left out: {why}");
            continue;
        }
        total += 1;
        match replay(steps) {
            Ok(compared) if compared > 0 => matching += 1,
            Ok(_) => faults.push(format!("{name}: nothing was compared")),
            Err(fault) => faults.push(format!("{name}: {fault}")),
        }
    }
    println!("recordings arp: {matching} of {total} scenarios match");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(total + LEFT_OUT.len(), scenarios.len());
    assert!(total >= 25, "{total} scenarios are too few: has the file changed?");
}

fn load() -> Vec<(String, Vec<Value>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/arp.jsonl.gz");
    let mut scenarios: Vec<(String, Vec<Value>)> = Vec::new();
    for line in BufReader::new(GzDecoder::new(std::fs::File::open(path).unwrap())).lines() {
        let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match value["kind"].as_str().unwrap() {
            "scenario" => scenarios.push((value["scenario"].as_str().unwrap().to_owned(), Vec::new())),
            "step" => scenarios.last_mut().unwrap().1.push(value),
            _ => {}
        }
    }
    scenarios
}

/// The recorded lab: a client, a director's kernel and four real servers on one switch.
struct Lab {
    net: Network,
    client: NodeId<Station>,
    /// `dir`, then `rs1` to `rs4`.
    hosts: Vec<(String, NodeId<Host>)>,
}

impl Lab {
    fn new() -> Self {
        let mut net = Network::new(1);
        let switch = net.add("bridge", Switch::new(6));
        let client = net.add("cl", Station::new());
        net.connect((client, 0), (switch, 0), LinkOptions::default());
        let mut hosts = Vec::new();
        for (port, (name, number)) in
            [("dir", 2), ("rs1", 11), ("rs2", 12), ("rs3", 13), ("rs4", 14)].into_iter().enumerate()
        {
            let mut host = Host::new();
            let subnet = format!("10.9.0.{number}/24").parse().unwrap();
            host.add_interface(Interface::new("eth0", station(number)).address(subnet));
            // Where a scenario puts the VIP on a dummy: a card that is not plugged in.
            host.add_interface(Interface::new("dummy0", station(100 + number)).port(9));
            if number == 2 {
                host.add_address("eth0", vip());
            } else {
                host.add_address("lo", vip());
                host.quiet_arp(true);
            }
            let host = net.add(name, host);
            net.connect((host, 0), (switch, 1 + port as u16), LinkOptions::default());
            hosts.push((name.to_owned(), host));
        }
        Self { net, client, hosts }
    }

    fn host(&mut self, name: &str) -> &mut Host {
        let id = self.hosts.iter().find(|(known, _)| known == name).unwrap().1;
        &mut self.net[id]
    }

    /// Does what a recorded shell command did.
    fn command(&mut self, node: &str, line: &str) -> Result<(), String> {
        let host = self.host(node);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["ip", "addr", "add", subnet, "dev", interface] => {
                host.add_address(interface, subnet.parse().unwrap());
            }
            ["ip", "addr", "del", subnet, "dev", interface] => {
                let subnet: Subnet = subnet.parse().unwrap();
                assert!(host.remove_address(interface, subnet.address()), "{line}");
            }
            ["ip", "link", ..] if words.contains(&"dummy0") => {}
            ["for", "c", "in", "all", "eth0", "lo"] | ["done"] => {}
            ["do", "echo", value, ">", path] => {
                let value = value.parse().unwrap();
                for interface in ["all", "eth0", "lo"] {
                    let conf = host.conf_mut(interface);
                    match path.rsplit('/').next() {
                        Some("arp_ignore") => conf.arp_ignore = value,
                        Some("arp_announce") => conf.arp_announce = value,
                        _ => return Err(format!("no such sysctl: {path}")),
                    }
                }
            }
            _ => return Err(format!("a command that the replay does not know: {line}")),
        }
        Ok(())
    }

    /// The ARP frames that the client has got.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        self.net.run_until_idle(Duration::from_secs(1));
        let received = self.net[self.client].take_received();
        received.into_iter().map(|(_, _, frame)| frame).filter(|frame| is_arp(frame)).collect()
    }
}

fn vip() -> Subnet {
    "10.9.0.10/32".parse().unwrap()
}

fn is_arp(frame: &[u8]) -> bool {
    Summary::of(frame).is_some_and(|summary| summary.ether_type == ARP)
}

/// Answers how many frames were compared.
fn replay(steps: &[Value]) -> Result<usize, String> {
    let mut lab = Lab::new();
    let mut compared = 0;
    for step in steps {
        let at = Instant::from_micros((step["t"].as_f64().unwrap() * 1e6) as u64);
        lab.net.run_for(at.saturating_duration_since(lab.net.now()));
        let before = lab.heard();
        match step["op"].as_str().unwrap() {
            "cmd" => {
                let node = step["node"].as_str().unwrap();
                for command in step["cmd"].as_str().unwrap().split(';') {
                    lab.command(node, command.trim())?;
                }
            }
            "send" => {
                let sent = bytes(&step["sent"]);
                lab.net[lab.client].send(PortId(0), sent);
                let (recorded, seen) = (at_client(step), lab.heard());
                if recorded != seen {
                    return Err(format!(
                        "step {}: {} instead of {}",
                        step["step"],
                        text(&seen),
                        text(&recorded)
                    ));
                }
                // Silence is an answer, too.
                compared += recorded.len().max(1);
            }
            "rs-send" => {
                let target: IpAddr = addr(step["target"].as_str().unwrap());
                let host = lab.host(step["node"].as_str().unwrap());
                let source = step["src_ip"].as_str().map(addr).or_else(|| host.source_for(target)).unwrap();
                host.send_udp_from(SocketAddr::new(source, 4000), SocketAddr::new(target, 9), b"x");
                let seen = lab.heard();
                // Questions for earlier targets are repeated meanwhile; both ways they count by what they are.
                let about = |frames: Vec<Vec<u8>>, target| -> Vec<Vec<u8>> {
                    let is_it = |frame: &Vec<u8>| Summary::of(frame).unwrap().arp.unwrap().target == target;
                    let mut frames: Vec<_> = frames.into_iter().filter(is_it).collect();
                    frames.dedup();
                    frames
                };
                let (recorded, seen) = (about(at_client(step), target), about(seen, target));
                if recorded != seen || seen.is_empty() {
                    return Err(format!(
                        "step {}: {} instead of {}",
                        step["step"],
                        text(&seen),
                        text(&recorded)
                    ));
                }
                for repeated in before.iter().chain(&at_client(step)) {
                    let sender = Summary::of(repeated).unwrap().arp.unwrap().sender;
                    let allowed = step["sender_ips"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|ip| addr(ip.as_str().unwrap()) == sender);
                    if !allowed && sender != addr("10.9.0.10") && sender != addr("10.9.0.11") {
                        return Err(format!("step {}: a question with the sender {sender}", step["step"]));
                    }
                }
                compared += recorded.len();
            }
            other => return Err(format!("a step that the replay does not know: {other}")),
        }
    }
    Ok(compared)
}

/// The recorded ARP frames at the client.
fn at_client(step: &Value) -> Vec<Vec<u8>> {
    let delivered = step["delivered"].as_array().unwrap().iter();
    let client = delivered.filter(|one| one["node"] == "cl").map(|one| bytes(&one["frame"]));
    client.filter(|frame| is_arp(frame)).collect()
}

fn text(frames: &[Vec<u8>]) -> String {
    let lines: Vec<_> = frames.iter().map(|frame| lvs_testkit::frames::describe(frame)).collect();
    format!("[{}]", lines.join("; "))
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
