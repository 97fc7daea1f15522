//! What has to be equal, and what cannot be.

use std::collections::BTreeSet;
use std::time::Duration;

use lvs_admin::listing::{self, Columns, Order, Style};
use lvs_admin::model::Service;
use lvs_admin::proc;
use lvs_admin::save::{self, Configuration, save};
use lvs_testkit::frames::describe;

use crate::replay::Lab;

/// The table size that the recorded kernel prints.
const SIZE: u32 = 4096;

/// Compares the frames that left with the recorded ones.
pub(crate) fn frames(
    sent: &[u8],
    ours: &[(String, &[u8])],
    recorded: &[(String, Vec<u8>)],
) -> Result<(), String> {
    let show = |frames: &[(String, String)]| {
        let lines: Vec<_> = frames.iter().map(|(node, text)| format!("\n      {node}: {text}")).collect();
        lines.concat()
    };
    let equal = ours.len() == recorded.len()
        && ours.iter().zip(recorded).all(|(ours, theirs)| {
            ours.0 == theirs.0 && comparable(sent, ours.1) == comparable(sent, &theirs.1)
        });
    if equal {
        return Ok(());
    }
    let ours: Vec<_> = ours.iter().map(|(node, frame)| (node.clone(), text(frame))).collect();
    let theirs: Vec<_> = recorded.iter().map(|(node, frame)| (node.clone(), text(frame))).collect();
    Err(format!("sent {}\n    ours: {}\n    recorded: {}", text(sent), show(&ours), show(&theirs)))
}

fn text(frame: &[u8]) -> String {
    let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex: String = hex.chars().take(200).collect();
    format!("{} [{hex}]", describe(frame))
}

/// The bytes that must be equal: up to the IP packet's end; in frames that the director made, without IP id, flow label
/// and the checksums over them.
fn comparable(sent: &[u8], frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let is_v4 = frame[12..14] == [0x08, 0x00];
    let end = if is_v4 {
        14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]))
    } else {
        14 + 40 + usize::from(u16::from_be_bytes([frame[18], frame[19]]))
    };
    frame.truncate(end);
    let source = if is_v4 { 26..30 } else { 22..38 };
    let forwarded = sent.len() >= source.end && sent[source.clone()] == frame[source];
    if !forwarded {
        let (protocol, transport) = if is_v4 {
            frame[18..20].fill(0);
            frame[24..26].fill(0);
            (frame[23], 14 + usize::from(frame[14] & 15) * 4)
        } else {
            frame[15] &= 0xf0;
            frame[16..18].fill(0);
            (frame[20], 54)
        };
        let sum = match protocol {
            6 => transport + 16,
            17 => transport + 6,
            _ => transport + 2,
        };
        frame[sum..sum + 2].fill(0);
    }
    frame
}

/// Whether a frame is ARP, neighbour discovery or a group report.
pub(crate) fn is_neighbour_talk(frame: &[u8]) -> bool {
    let is_group_report = frame[12..14] == [0x86, 0xdd] && frame[20] == 0 && frame[38] == 0xff;
    let is_discovery = frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && matches!(frame[54], 130..=137);
    frame[12..14] == [0x08, 0x06] || is_group_report || is_discovery
}

/// Compares a listing with the recorded one. It may be up to `slack` older than our clock says.
pub(crate) fn listing(
    lab: &Lab,
    command: &str,
    recorded: &str,
    settled: bool,
    slack: Duration,
) -> Result<(), String> {
    let services = lab.director.services();
    let style = |columns| Style { columns, exact: command.ends_with("--exact"), order: Order::Sorted };
    let with = |columns| {
        let mut text = String::new();
        listing::services(&mut text, &services, SIZE, style(columns)).map(|()| text)
    };
    let mut ours = String::new();
    let ours = match command {
        "ipvsadm -Ln" => with(Columns::Connections),
        "ipvsadm -Ln --thresholds" => with(Columns::Thresholds),
        "ipvsadm -Ln --persistent-conn" => with(Columns::PersistentConnections),
        "ipvsadm -Ln --stats" | "ipvsadm -Ln --stats --exact" if settled => with(Columns::Statistics),
        "ipvsadm -Ln --timeout" => listing::timeouts(&mut ours, lab.director.timeouts()).map(|()| ours),
        "ipvsadm -Sn" => {
            let services: Vec<Service> = services.iter().map(Service::from).collect();
            let all = Configuration { services: &services, mark_rules: &[], timeouts: None };
            save(&mut ours, &all, save::Style::IPVSADM).map(|()| ours)
        }
        "/proc/net/ip_vs" => {
            proc::services(&mut ours, &services, SIZE).unwrap();
            return lines(&ours, recorded);
        }
        "/proc/net/ip_vs_conn" => {
            proc::connections(&mut ours, lab.director.all_connections(lab.now).iter()).unwrap();
            return connections(&ours, recorded, slack, 1, proc_row);
        }
        "ipvsadm -Lnc" => {
            listing::connections(&mut ours, lab.director.all_connections(lab.now).iter()).unwrap();
            return connections(&ours, recorded, slack, 2, row);
        }
        // Rates and unsettled statistics depend on when the kernel's timers ran; the state of the sync daemon and
        // the totals of all services are not a matter of decisions.
        "ipvsadm -Ln --stats"
        | "ipvsadm -Ln --stats --exact"
        | "ipvsadm -Ln --rate"
        | "ipvsadm -Ln --daemon"
        | "/proc/net/ip_vs_stats" => return Ok(()),
        other => return Err(format!("nobody knows how to compare {other}")),
    };
    let ours = ours.unwrap();
    if ours == recorded { Ok(()) } else { Err(format!("ours:\n{ours}recorded:\n{recorded}")) }
}

/// Compares texts as sets of lines.
fn lines(ours: &str, recorded: &str) -> Result<(), String> {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    if sorted(ours) == sorted(recorded) {
        return Ok(());
    }
    Err(format!("ours:\n{ours}recorded:\n{recorded}"))
}

/// Compares tables of connections as sets, expiry to two seconds. `row` takes a line apart.
fn connections(
    ours: &str,
    recorded: &str,
    slack: Duration,
    header: usize,
    row: impl Fn(&str) -> (String, i64) + Copy,
) -> Result<(), String> {
    let rows = |text: &str| -> Vec<(String, i64)> {
        text.lines().skip(header).map(row).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let (left, mut right) = (rows(ours), rows(recorded));
    // The kernel's timer had not come round yet to remove these.
    right.retain(|recorded| recorded.1 > 0 || left.iter().any(|ours| ours.0 == recorded.0));
    let slack = slack.as_secs() as i64;
    let close =
        |(a, b): (&(String, i64), &(String, i64))| a.0 == b.0 && (-2..=2 + slack).contains(&(b.1 - a.1));
    if left.len() == right.len() && left.iter().zip(&right).all(close) {
        return Ok(());
    }
    Err(format!("ours:\n{ours}recorded:\n{recorded}"))
}

/// A line of `ipvsadm -Lnc` without its expiry, and the expiry in seconds.
fn row(line: &str) -> (String, i64) {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (minutes, seconds) = fields[1].split_once(':').unwrap();
    let expiry = minutes.parse::<i64>().unwrap() * 60 + seconds.parse::<i64>().unwrap();
    (format!("{} {}", fields[0], fields[2..].join(" ")), expiry)
}

/// The same of `/proc/net/ip_vs_conn`.
fn proc_row(line: &str) -> (String, i64) {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (expiry, rest) = fields.split_last().unwrap();
    (rest.join(" "), expiry.parse().unwrap())
}
