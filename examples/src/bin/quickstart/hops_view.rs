//! How a followed request looks: a table of the first packet and its answer, what the director decided, and the
//! packets of the whole connection.

use std::net::IpAddr;

use lvs_core::scheduler::SchedulerState;
use lvs_core::{MacAddr, Verdict};
use lvs_testkit::frames::TcpFlags;

use crate::decisions::{Decision, Step};
use crate::evidence::{Card, Network, Place, Seen, Way};
use crate::hops::{Followed, Hop, Packet};
use crate::layout::{Paint, labelled};

/// Draws it.
pub(crate) fn draw(followed: &Followed<'_>, network: &Network, paint: Paint) -> String {
    let mut text = String::new();
    let mut packets = followed.packets.iter();
    if let Some(first) = packets.next() {
        let title = format!("Request {} opens its connection:", followed.request.number);
        text += &table(first, network, paint, &title, 1);
        if let Some(decision) = first.decision {
            text += &explanation(decision, network, paint);
        }
    }
    if let Some(answer) = packets.find(|packet| !packet.is_request) {
        text.push('\n');
        text += &table(answer, network, paint, "The real server answers, past the director:", 4);
    }
    text.push('\n');
    text += &whole(followed, network, paint);
    text
}

/// One packet's hops, numbered from `first`.
fn table(packet: &Packet<'_>, network: &Network, paint: Paint, title: &str, first: usize) -> String {
    let (flags, from, to) = (flags(packet.id.flags), packet.id.source, packet.id.destination);
    let mut text = format!(
        "  {}  {flags}  {from} ─▶ {to}
",
        paint.strong(title)
    );
    let head = format!(
        "     {:<20}  {:<17}  {:<17}  {:>3}  {:>5}  {:<6}  {:<7}",
        "hop", "from MAC", "to MAC", "TTL", "IP id", "IP sum", "TCP sum"
    );
    text += &format!("{}\n", paint.dim(head.trim_end()));
    let mut before = None;
    for (at, hop) in packet.hops.iter().enumerate() {
        let (addresses, fields) = hop_row(hop, network);
        // What a router leaves alone is not worth a word; that a director does, is the point.
        let same = before.as_ref() == Some(&fields);
        let note = if same { format!("  = hop {}", first + at - 1) } else { String::new() };
        let shown = if same { paint.good(&format!("{fields}{note}")) } else { fields.clone() };
        text += &format!("  {:>2} {addresses}  {shown}\n", first + at);
        before = Some(fields);
    }
    let places: Vec<String> = packet.hops.iter().map(|hop| recorded(hop, network)).collect();
    text + &format!("{}\n", paint.dim(&format!("     seen at: {}", places.join(", "))))
}

/// The row of a hop: who to whom, and the fields of the packet.
fn hop_row(hop: &Hop<'_>, network: &Network) -> (String, String) {
    let summary = &hop.frame.summary;
    let (from, to) = (summary.source_mac, summary.destination_mac);
    let way = format!("{} ─▶ {}", host(from, network), host(to, network));
    let (mut ttl, mut id, mut sums) = (0, 0, (0, 0));
    if let Some(ip) = &summary.ip {
        (ttl, id) = (ip.ttl, ip.id.unwrap_or_default());
        sums = (ip.header_checksum.unwrap_or_default(), ip.checksum.unwrap_or_default());
    }
    let (ip_sum, tcp_sum) = sums;
    let addresses = format!("{way:<20}  {from}  {to}");
    (addresses, format!("{ttl:>3}  {id:>5}  {ip_sum:#06x}  {tcp_sum:#06x}"))
}

/// Where a frame was recorded.
fn recorded(hop: &Hop<'_>, network: &Network) -> String {
    let (place, way) = hop.recorded_at;
    let Card { host, interface, .. } = match place {
        Place::Client => &network.client,
        Place::Router => &network.router_inside,
        Place::Director => &network.director,
        Place::Server(at) => &network.servers[at].card,
    };
    let way = match way {
        Way::In => "in",
        Way::Out => "out",
    };
    format!("{host} {interface} {way}")
}

/// The host with this Ethernet address.
fn host(mac: MacAddr, network: &Network) -> &str {
    network.card_with(mac).map_or("?", |card| &card.host)
}

/// What the director decided about a packet, and why.
fn explanation(decision: &Decision, network: &Network, paint: Paint) -> String {
    let mut text = format!("  {}\n", paint.strong("Between hop 2 and hop 3 the director decides"));
    for (label, sentence) in
        decision.steps.iter().flat_map(|step| sentences(step, network)).chain(ending(decision, network))
    {
        text += &labelled(5, 12, label, &sentence);
    }
    text
}

/// A step in words, with a label each.
fn sentences(step: &Step, network: &Network) -> Vec<(&'static str, String)> {
    match step {
        Step::Known { before, after, destination } => {
            let server = server_name(destination.ip(), network);
            vec![("connection", format!("known, to {server}; state {before} becomes {after}"))]
        }
        Step::Forgotten(because) => vec![("connection", format!("an old one is forgotten ({because:?})"))],
        Step::Service(key) => vec![
            ("connection", "none is known for this client and port".to_owned()),
            ("service", format!("{key} is a virtual service, and a SYN may open a connection")),
        ],
        Step::Scheduled { scheduler, state, servers, picked } => {
            let order = servers.iter().map(|(address, weight)| {
                let number = address.to_string();
                if *scheduler == lvs_core::config::SchedulerKind::WeightedRoundRobin {
                    format!("{number} (weight {weight})")
                } else {
                    number
                }
            });
            let order: Vec<String> = order.collect();
            let history = history(*state, servers);
            let picked = picked.and_then(|at| servers.get(at)).map_or_else(
                || "nobody may be chosen".to_owned(),
                |(address, _)| format!("so it is the turn of {}", server_name(*address, network)),
            );
            vec![
                ("servers", format!("last added first, as in IPVS: {}", abbreviated(&order))),
                ("scheduler", format!("{scheduler}: {history}; {picked}")),
            ]
        }
        Step::Hashed { destination, because } => {
            let server = server_name(*destination, network);
            vec![(
                "scheduler",
                format!("without a connection, by a hash of the client: {server} ({because:?})"),
            )]
        }
        Step::Answered(answer) => vec![("answer", format!("the director answers the client: {answer:?}"))],
    }
}

/// The end of a decision: what became of the packet.
fn ending(decision: &Decision, network: &Network) -> Vec<(&'static str, String)> {
    let Decision { verdict, macs: (to, from), changed, length, .. } = decision;
    let sentence = match verdict {
        Verdict::Transmit(_) => {
            format!("transmit, to {} from {}", mac_name(*to, network), mac_name(*from, network))
        }
        Verdict::Pass => "pass: not the director's business".to_owned(),
        Verdict::Hold => "hold until the real server's Ethernet address is known, then transmit".to_owned(),
        Verdict::Drop(reason) => format!("drop: {}", reason.slug()),
    };
    let rest = length.saturating_sub(12);
    let untouched = match changed {
        0 => format!("12 bytes of Ethernet addresses; the other {rest} of {length} bytes are as they came"),
        _ => format!("{changed} bytes behind the Ethernet addresses"),
    };
    let mut lines = vec![("verdict", sentence)];
    if matches!(verdict, Verdict::Transmit(_)) {
        lines.push(("rewritten", untouched));
    }
    lines
}

/// What a scheduler had in mind.
fn history(state: SchedulerState, servers: &[(IpAddr, u32)]) -> String {
    let name = |at: usize| servers.get(at).map_or_else(|| "?".to_owned(), |(address, _)| address.to_string());
    match state {
        SchedulerState::RoundRobin { last: None } => "it begins with the first of them".to_owned(),
        SchedulerState::RoundRobin { last: Some(at) } => format!("the last pick was {}", name(at)),
        SchedulerState::WeightedRoundRobin { last, current_weight, max_weight, step } => {
            let last = last.map_or_else(
                || "nobody was picked yet".to_owned(),
                |at| format!("the last pick was {}", name(at)),
            );
            format!("{last}, this round asks for weight {current_weight} (from {max_weight} down by {step})")
        }
        _ => "no history".to_owned(),
    }
}

/// A list of which the middle is left out if it is long.
fn abbreviated(names: &[String]) -> String {
    match names {
        [first, second, .., last] if names.len() > 4 => {
            format!("{first}, {second} ... {last} ({} in all)", names.len())
        }
        _ => names.join(", "),
    }
}

fn server_name(address: IpAddr, network: &Network) -> String {
    let server = network.servers.iter().find(|server| server.address() == address);
    server.map_or_else(|| address.to_string(), |server| format!("{} ({address})", server.card.host))
}

fn mac_name(mac: MacAddr, network: &Network) -> String {
    match network.card_with(mac) {
        Some(card) => format!("{mac} ({})", card.host),
        None => mac.to_string(),
    }
}

/// All packets of the connection, a line each.
fn whole(followed: &Followed<'_>, network: &Network, paint: Paint) -> String {
    let count = followed.packets.len();
    let mut text = format!(
        "  {}\n",
        paint.strong(&format!("The whole connection, {count} packets as the client sees them"))
    );
    for packet in followed.packets.iter().take(MOST_PACKETS) {
        text += &format!("{}\n", packet_row(packet, network));
    }
    if count > MOST_PACKETS {
        text += &format!("     ... and {} more\n", count - MOST_PACKETS);
    }
    text
}

/// A request takes some ten packets; more are retransmissions.
const MOST_PACKETS: usize = 16;

fn packet_row(packet: &Packet<'_>, network: &Network) -> String {
    let millis = packet.after.as_secs_f64() * 1000.0;
    let mut way: Vec<&str> =
        packet.hops.iter().map(|hop| host(hop.frame.summary.source_mac, network)).collect();
    way.extend(packet.hops.last().map(|hop| host(hop.frame.summary.destination_mac, network)));
    let (way, flags) = (way.join(" ─▶ "), flags(packet.id.flags));
    let note = packet.decision.map_or_else(String::new, state_note);
    let content = packet.hops.first().map(|hop| content(hop.frame)).unwrap_or_default();
    let what = if content.is_empty() { flags } else { content };
    let row = format!("   {millis:>5.1} ms  {what:<16} {way:<46} {note}");
    row.trim_end().to_owned()
}

/// What the packet did to the state of its connection.
fn state_note(decision: &Decision) -> String {
    let note = decision.steps.iter().find_map(|step| match step {
        Step::Known { before, after, .. } if before != after => Some(format!("{before} ─▶ {after}")),
        Step::Known { after, .. } => Some(after.to_string()),
        Step::Scheduled { .. } => Some("new ─▶ SYN_RECV".to_owned()),
        _ => None,
    });
    note.unwrap_or_default()
}

/// The flags of a segment as people say them.
fn flags(flags: TcpFlags) -> String {
    let names =
        [(TcpFlags::SYN, "SYN"), (TcpFlags::FIN, "FIN"), (TcpFlags::RST, "RST"), (TcpFlags::ACK, "ACK")];
    let set: Vec<&str> =
        names.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name).collect();
    set.join("-")
}

/// The first line of a segment's payload.
fn content(frame: &Seen) -> String {
    let line = frame.payload().split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).chars().take(15).collect()
}
