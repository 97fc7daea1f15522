//! The five properties of direct routing, judged from the evidence.
//!
//! Each answers a [`Finding`]: whether it holds, and a sentence with the figures it rests on. Nothing passes for
//! want of evidence.

use std::collections::HashMap;

use lvs_testkit::frames::ArpSummary;

use crate::evidence::{Evidence, Place, Seen, Way};
use crate::expected;

/// What was found out about one property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) passed: bool,
    /// Why, in a sentence without full stop.
    pub(crate) because: String,
}

/// All properties, under the names they have in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) distribution: Finding,
    pub(crate) packet_untouched: Finding,
    pub(crate) no_reply_through_director: Finding,
    pub(crate) only_director_answers_arp: Finding,
    pub(crate) no_request_failed: Finding,
}

impl Findings {
    /// Judges the evidence.
    pub(crate) fn of(evidence: &Evidence) -> Self {
        let finding = |result: Result<String, String>| match result {
            Ok(because) => Finding { passed: true, because },
            Err(because) => Finding { passed: false, because },
        };
        Self {
            distribution: finding(distribution(evidence)),
            packet_untouched: finding(packet_untouched(evidence)),
            no_reply_through_director: finding(no_reply_through_director(evidence)),
            only_director_answers_arp: finding(only_director_answers_arp(evidence)),
            no_request_failed: finding(no_request_failed(evidence)),
        }
    }

    /// With their names.
    pub(crate) const fn all(&self) -> [(&'static str, &Finding); 5] {
        [
            ("distribution", &self.distribution),
            ("packet_untouched", &self.packet_untouched),
            ("no_reply_through_director", &self.no_reply_through_director),
            ("only_director_answers_arp", &self.only_director_answers_arp),
            ("no_request_failed", &self.no_request_failed),
        ]
    }

    /// Whether all hold.
    pub(crate) fn passed(&self) -> bool {
        self.all().iter().all(|(_, finding)| finding.passed)
    }
}

/// Each request was answered by the server that the scheduler, asked alone, picks for it.
fn distribution(evidence: &Evidence) -> Result<String, String> {
    let network = &evidence.network;
    let count = evidence.requests.len();
    let client = network.client.address.address();
    let expected = expected::servers(evidence.scheduler, network, client, count);
    let name = |place: Option<usize>| {
        place.map_or_else(|| "nobody".to_owned(), |place| network.servers[place].address().to_string())
    };
    for (request, expected) in evidence.requests.iter().zip(expected) {
        if request.server() != expected || expected.is_none() {
            let (number, got) = (request.number, name(request.server()));
            return Err(format!("request {number} was answered by {got}, {} was due", name(expected)));
        }
    }
    if count == 0 {
        return Err("there was no request".to_owned());
    }
    Ok(format!(
        "the servers took turns exactly as the scheduler {} says, {}",
        evidence.scheduler,
        times(count, "request")
    ))
}

/// What left the director is what came in, but for the Ethernet addresses; and what came in is what the router
/// sent, what arrived at a real server is what the director sent, to the last bit.
fn packet_untouched(evidence: &Evidence) -> Result<String, String> {
    let network = &evidence.network;
    let vip = network.virtual_service;
    let director = network.director.mac;
    let requests = |place, way| evidence.at(place).iter().filter(move |f| f.way == way && f.is_to(vip));

    let sent_by_router: Vec<&Seen> = requests(Place::Router, Way::Out).collect();
    let entered: Vec<&Seen> =
        requests(Place::Director, Way::In).filter(|f| f.summary.destination_mac == director).collect();
    let left: Vec<&Seen> = requests(Place::Director, Way::Out).collect();
    let arrived: Vec<&Seen> = (0..network.servers.len())
        .flat_map(|at| {
            let mac = network.servers[at].card.mac;
            requests(Place::Server(at), Way::In).filter(move |f| f.summary.destination_mac == mac)
        })
        .collect();
    if left.is_empty() {
        return Err("the director forwarded nothing".to_owned());
    }
    each_is_among(&entered, &sent_by_router, 0, "reached the director", "the router sent")?;
    each_is_among(&left, &entered, BOTH_MACS, "left the director", "came in")?;
    each_is_among(&arrived, &left, 0, "reached a real server", "the director sent")?;
    if let Some(stray) = left.iter().find(|f| network.server_with(f.summary.destination_mac).is_none()) {
        return Err(format!("the director sent a request to {}", stray.summary.destination_mac));
    }
    if let Some(stray) = left.iter().find(|f| f.summary.source_mac != director) {
        return Err(format!("the director sent from {}", stray.summary.source_mac));
    }
    if arrived.len() != left.len() {
        return Err(format!("the director sent {} packets, {} arrived", left.len(), arrived.len()));
    }
    Ok(format!(
        "{} forwarded with no byte changed but the 12 of the Ethernet addresses (TTL, id, checksums ... compared \
         at router, director, real server)",
        times(left.len(), "packet")
    ))
}

/// Destination and source.
const BOTH_MACS: usize = 12;

/// Whether each of `after` is equal to one of `before`, each used once, not counting the first `skip` bytes.
fn each_is_among(
    after: &[&Seen],
    before: &[&Seen],
    skip: usize,
    what: &str,
    whence: &str,
) -> Result<(), String> {
    let mut stock: HashMap<&[u8], usize> = HashMap::new();
    for frame in before {
        *stock.entry(frame.bytes.get(skip..).unwrap_or_default()).or_default() += 1;
    }
    for frame in after {
        match stock.get_mut(frame.bytes.get(skip..).unwrap_or_default()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => {
                let id = frame.summary.ip.as_ref().and_then(|ip| ip.id).unwrap_or_default();
                let what = format!("a packet that {what} (id {id})");
                let twin = before.iter().find(|other| same_segment(other, frame));
                return Err(match twin.and_then(|twin| first_difference(twin, frame, skip)) {
                    Some(difference) => format!("{what} is not what {whence}: {difference}"),
                    None => format!("{what} is nothing that {whence}"),
                });
            }
        }
    }
    Ok(())
}

/// Whether two frames carry the same segment, whatever became of the rest.
fn same_segment(a: &Seen, b: &Seen) -> bool {
    let tcp = |frame: &Seen| frame.summary.ip.as_ref().and_then(|ip| ip.tcp).map(|tcp| (tcp.seq, tcp.flags));
    a.summary.sockets() == b.summary.sockets() && tcp(a) == tcp(b)
}

/// The first byte in which two frames differ, with a name where it has a well-known one.
fn first_difference(before: &Seen, after: &Seen, skip: usize) -> Option<String> {
    if before.bytes.len() != after.bytes.len() {
        return Some(format!("{} bytes became {}", before.bytes.len(), after.bytes.len()));
    }
    let pairs = before.bytes.iter().zip(&after.bytes).enumerate().skip(skip);
    let (at, (was, is)) = pairs.into_iter().find(|(_, (was, is))| was != is)?;
    let name = match at.checked_sub(before.summary.network_offset) {
        Some(4 | 5) => "the IP id",
        Some(8) => "the TTL",
        Some(10 | 11) => "the IP checksum",
        Some(12..=15) => "the source address",
        Some(16..=19) => "the destination address",
        _ => "a byte",
    };
    Some(format!("{name} (byte {at}) was {was:#04x} and is {is:#04x}"))
}

/// Nothing with the VIP as its source passes the director; and the router gets every reply from a real server.
fn no_reply_through_director(evidence: &Evidence) -> Result<String, String> {
    let network = &evidence.network;
    let vip = network.virtual_service.ip();
    if let Some(frame) = evidence.at(Place::Director).iter().find(|frame| frame.is_from(vip)) {
        let (from, to) = (frame.summary.source_mac, frame.summary.destination_mac);
        return Err(format!("a packet from {vip} passed the director, {from} to {to}"));
    }
    let mut replies = 0;
    for frame in evidence.at(Place::Router).iter().filter(|frame| frame.way == Way::In && frame.is_from(vip))
    {
        let from = frame.summary.source_mac;
        if network.server_with(from).is_none() {
            return Err(format!("a reply came to the router from {from}, which is no real server"));
        }
        replies += 1;
    }
    if replies == 0 {
        return Err("no reply reached the router".to_owned());
    }
    Ok(format!(
        "{} came to the router straight from a real server; no packet from {vip} passed the director",
        times(replies, "reply")
    ))
}

/// Whoever says in the LAN that the VIP is his has the director's Ethernet address; and somebody says so.
fn only_director_answers_arp(evidence: &Evidence) -> Result<String, String> {
    let network = &evidence.network;
    let (vip, director) = (network.virtual_service.ip(), network.director.mac);
    for frame in evidence.lan().flat_map(|recording| &recording.frames) {
        let Some(arp) = frame.summary.arp.filter(|arp| arp.sender == vip) else { continue };
        for claimed in [arp.sender_mac, frame.summary.source_mac] {
            if claimed != director {
                let who = network.card_with(claimed).map_or("a stranger", |card| &card.host);
                return Err(format!("{claimed} ({who}) claims {vip}: the ARP problem"));
            }
        }
    }
    let answers =
        arp_at(evidence, Place::Router, Way::In).filter(|a| a.operation == REPLY && a.sender == vip);
    let answers = answers.count();
    if answers == 0 {
        return Err(format!("nobody answered the router's question for {vip}"));
    }
    let asks = |arp: &ArpSummary| arp.operation == REQUEST && arp.target == vip && arp.sender != vip;
    let servers = 0..network.servers.len();
    let heard =
        servers.filter(|at| arp_at(evidence, Place::Server(*at), Way::In).any(|arp| asks(&arp))).count();
    match evidence.router_believes {
        Some(mac) if mac == director => {}
        other => {
            let held = other.map_or_else(|| "nobody".to_owned(), |mac| mac.to_string());
            return Err(format!("the router holds {held} for {vip}, not the director's {director}"));
        }
    }
    Ok(format!(
        "the router asked who has {vip}; {} heard it, {} came, from the director",
        times(heard, "real server"),
        times(answers, "answer")
    ))
}

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

fn arp_at(evidence: &Evidence, place: Place, way: Way) -> impl Iterator<Item = ArpSummary> + '_ {
    evidence.at(place).iter().filter(move |frame| frame.way == way).filter_map(|frame| frame.summary.arp)
}

/// Every request brought a page.
fn no_request_failed(evidence: &Evidence) -> Result<String, String> {
    let mut failures = evidence.requests.iter().filter_map(|r| Some((r.number, r.outcome.as_ref().err()?)));
    if let Some((number, first)) = failures.next() {
        let failed = times(evidence.failed(), "request");
        return Err(format!("{failed} of {} failed; number {number}: {first}", evidence.requests.len()));
    }
    if evidence.requests.is_empty() {
        return Err("there was no request".to_owned());
    }
    Ok(format!("{} brought a page of a real server", times(evidence.requests.len(), "request")))
}

/// A count with its noun.
fn times(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests;
