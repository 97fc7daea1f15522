//! How a followed request looks: a table of the first packet and its answer, what the director decided, and the
//! packets of the whole connection.

use std::net::IpAddr;

use lvs_admin::explain::{Names, Step};
use lvs_core::MacAddr;
use lvs_testkit::frames::TcpFlags;

use crate::decisions::Decision;
use crate::evidence::{Card, Network, Seen, Way};
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
    let Card { host, interface, .. } = network.card_at(place);
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
    for line in decision.explanation.lines(&network) {
        text += &labelled(5, 12, line.label, &line.text);
    }
    text
}

impl Names for &Network {
    fn server(&self, address: IpAddr) -> String {
        let server = self.servers.iter().find(|server| server.address() == address);
        server.map_or_else(|| address.to_string(), |server| format!("{} ({address})", server.card.host))
    }

    fn station(&self, mac: MacAddr) -> String {
        match self.card_with(mac) {
            Some(card) => format!("{mac} ({})", card.host),
            None => mac.to_string(),
        }
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
    let note = decision.explanation.steps.iter().find_map(|step| match step {
        Step::Known { before, after, .. } if before != after => Some(format!("{before} ─▶ {after}")),
        Step::Known { after, .. } => Some(after.to_string()),
        Step::Scheduled(_) => Some("new ─▶ SYN_RECV".to_owned()),
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
