//! Explanations in words. Each sentence stands here once, for every program that shows them.

use std::net::IpAddr;

use lvs_core::observe::{Answer, Forgotten, Hashed, Held};
use lvs_core::{DropReason, MacAddr, Verdict};

use super::{Connection, Explanation, FrameProtocol, Step};

/// How real servers and stations are called. By default by their addresses.
pub trait Names {
    /// The real server with this address.
    fn server(&self, address: IpAddr) -> String {
        address.to_string()
    }

    /// The station with this Ethernet address.
    fn station(&self, mac: MacAddr) -> String {
        mac.to_string()
    }
}

/// Addresses as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plain;

impl Names for Plain {}

/// One sentence of an explanation, and what it is about: a word for the margin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `connection`, `service`, `servers`, `scheduler`, `answer`, `verdict`, `rewritten` ...
    pub label: &'static str,
    /// The sentence, without a full stop.
    pub text: String,
}

impl Explanation {
    /// Everything, the verdict included, for display with labels in the margin.
    #[must_use]
    pub fn lines(&self, names: &impl Names) -> Vec<Line> {
        let mut lines = self.reasons(names);
        lines.push(Line { label: "verdict", text: self.outcome(names) });
        if let (Verdict::Transmit(_), Connection::New | Connection::Known) = (self.verdict, self.met()) {
            lines.push(Line { label: "rewritten", text: self.rewritten() });
        }
        lines
    }

    /// Why the frame has this verdict, in one line.
    #[must_use]
    pub fn why(&self, names: &impl Names) -> String {
        let mut parts: Vec<String> = self.reasons(names).into_iter().map(|line| line.text).collect();
        match self.verdict {
            Verdict::Drop(reason) => parts.push(drop_words(reason).to_owned()),
            Verdict::Hold if !self.steps.iter().any(|step| matches!(step, Step::Held(_))) => {
                parts.push(HELD.to_owned());
            }
            _ => {}
        }
        parts.join("; ")
    }

    /// For a flow that is served without a connection, too, the packet is one that is balanced.
    fn met(&self) -> Connection {
        match self.connection() {
            Connection::None if self.server().is_some() => Connection::Known,
            met => met,
        }
    }

    /// What was decided, without the verdict.
    fn reasons(&self, names: &impl Names) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut say = |label, text: String| lines.push(Line { label, text });
        let unknown = "none is known for this client and port";
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Known { before, after, destination } => {
                    let server = names.server(destination.ip());
                    let state = if before == after {
                        format!("its state stays {after}")
                    } else {
                        format!("state {before} becomes {after}")
                    };
                    say("connection", format!("known, to {server}; {state}"));
                }
                Step::Forgotten(because) => say("connection", forgotten(*because).to_owned()),
                Step::Service(key) => {
                    if at == 0 {
                        say("connection", unknown.to_owned());
                    }
                    say("service", format!("{key} is a virtual service, {}", self.may_open()));
                }
                Step::OnePacket => {
                    say("connection", "the service remembers none (one-packet scheduling)".to_owned());
                }
                Step::Persisted { destination } => {
                    let server = names.server(destination.ip());
                    say("persistence", format!("the client has been here before: again to {server}"));
                }
                Step::Scheduled(scheduled) => {
                    say("servers", format!("last added first, as in IPVS: {}", scheduled.list()));
                    say("scheduler", scheduled.sentence(names));
                }
                Step::Hashed { destination, because } => {
                    let server = names.server(*destination);
                    let why = hashed(*because);
                    say(
                        "scheduler",
                        format!("without a connection, by a hash of the client: {server}; {why}"),
                    );
                }
                Step::Quoted { protocol, flow, destination } => {
                    let (client, to) = flow;
                    let protocol = protocol_name(*protocol);
                    let known = destination.map_or_else(
                        || "which has no connection".to_owned(),
                        |server| format!("whose real server is {}", names.server(server.ip())),
                    );
                    say("quotes", format!("it reports on {protocol} {client} > {to}, {known}"));
                }
                Step::Piece { destination } => {
                    let first = destination.map_or_else(
                        || "of a packet whose first piece has not come".to_owned(),
                        |server| format!("it follows its packet's first piece, to {}", names.server(server)),
                    );
                    say("piece", first);
                }
                Step::Held(because) => say("held", held(*because)),
                Step::Answered(answer) => {
                    say("answer", format!("the director answers the sender: {}", answered(*answer)));
                }
            }
        }
        if self.steps.is_empty() || matches!(self.steps[..], [Step::Answered(_)]) {
            self.without_steps(&mut lines, unknown);
        }
        lines
    }

    /// Of a frame about which nothing but the verdict was decided: what that means.
    fn without_steps(&self, lines: &mut Vec<Line>, unknown: &str) {
        let frame = &self.frame;
        let (label, text) = match self.verdict {
            Verdict::Drop(DropReason::NoService) => {
                lines.insert(0, Line { label: "connection", text: unknown.to_owned() });
                return;
            }
            Verdict::Pass if !frame.has_interface => {
                ("interface", "the director has no interface on this port and VLAN".to_owned())
            }
            Verdict::Pass if frame.is_neighbour_message() => {
                ("neighbours", "about none of the addresses that the director answers for".to_owned())
            }
            Verdict::Pass if frame.source.is_some() => (
                "address",
                "for none of the director's addresses, or sent to another machine's Ethernet address"
                    .to_owned(),
            ),
            Verdict::Pass => ("address", "nothing that a director balances".to_owned()),
            Verdict::Transmit(_) if frame.asks() => {
                ("neighbours", "it asks for an address that the director answers for".to_owned())
            }
            _ => return,
        };
        lines.push(Line { label, text });
    }

    /// Whether this packet may open a connection.
    fn may_open(&self) -> &'static str {
        match (self.verdict, self.frame.protocol) {
            (Verdict::Drop(DropReason::NotSyn | DropReason::NotInit), _) => {
                "but only the beginning of a connection may open one"
            }
            _ if self.steps.iter().any(|step| matches!(step, Step::Hashed { .. }))
                && !self.frame.is_syn() =>
            {
                "and this packet would open no connection"
            }
            (_, FrameProtocol::Tcp) if self.frame.is_syn() => "and a SYN may open a connection",
            (_, FrameProtocol::Udp) => "and a datagram may open a connection",
            _ => "and this packet may open a connection",
        }
    }

    /// What became of the frame.
    fn outcome(&self, names: &impl Names) -> String {
        let (to, from) = self.macs;
        match self.verdict {
            Verdict::Transmit(_) => {
                format!("transmit, to {} from {}", names.station(to), names.station(from))
            }
            Verdict::Pass => "pass: not the director's business".to_owned(),
            Verdict::Hold if self.steps.iter().any(|step| matches!(step, Step::Held(Held::Unresolved))) => {
                "hold until the real server's Ethernet address is known, then transmit".to_owned()
            }
            Verdict::Hold if self.is_handed_over() => "hold: it has been handed over".to_owned(),
            Verdict::Hold => format!("hold: {HELD}"),
            Verdict::Drop(reason) => format!("drop, {}: {}", reason.slug(), drop_words(reason)),
        }
    }

    /// How much of a forwarded frame is as it came.
    fn rewritten(&self) -> String {
        let Self { changed, length, .. } = self;
        let rest = length.saturating_sub(12);
        match changed {
            0 => {
                format!("12 bytes of Ethernet addresses; the other {rest} of {length} bytes are as they came")
            }
            _ => format!("{changed} bytes behind the Ethernet addresses"),
        }
    }
}

const HELD: &str = "the director keeps a copy, which leaves later or is given up";

const fn forgotten(because: Forgotten) -> &'static str {
    match because {
        Forgotten::Expired => "an old one is forgotten: its time was over",
        Forgotten::PortReused => "an old one is forgotten: the client opens a new one from the same port",
        Forgotten::DestinationGone => "an old one is forgotten: its real server was removed or quiesced",
        _ => "an old one is forgotten",
    }
}

const fn hashed(because: Hashed) -> &'static str {
    match because {
        Hashed::TableFull => "the connection table is full",
        Hashed::TableWasFull => "the connection table was full lately, and the flow may have begun then",
        Hashed::OnMiss => "the director was told to (on_miss=hash)",
        _ => "the director keeps no connection",
    }
}

fn held(because: Held) -> String {
    match because {
        Held::Unresolved => {
            "the real server's Ethernet address is not known yet: it waits until it is".to_owned()
        }
        Held::Cut { pieces, mtu } => {
            format!("longer than the {mtu} bytes that the way out allows: it leaves in {pieces} pieces")
        }
        Held::HandedOver { owner } => format!("it belongs to worker {owner}, which decides about it"),
        other => format!("{other:?}"),
    }
}

fn answered(answer: Answer) -> String {
    match answer {
        Answer::Reset => "TCP RST".to_owned(),
        Answer::PortUnreachable => "ICMP port unreachable".to_owned(),
        Answer::ProtocolUnreachable => "ICMP protocol unreachable".to_owned(),
        Answer::HostUnreachable => "ICMP host unreachable".to_owned(),
        Answer::TooBig { mtu } => format!("ICMP packet too big, {mtu} bytes would fit"),
        Answer::TimeExceeded => "ICMP time exceeded".to_owned(),
        Answer::EchoReply => "ICMP echo reply".to_owned(),
        other => format!("{other:?}"),
    }
}

fn protocol_name(number: u8) -> String {
    match number {
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        132 => "SCTP".to_owned(),
        other => format!("protocol {other}"),
    }
}

/// What a drop reason means, in a few words.
#[must_use]
pub const fn drop_words(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Truncated => "the frame is shorter than its headers say",
        DropReason::Malformed => "a header contradicts itself",
        DropReason::BadChecksum => "the IPv4 header checksum is wrong",
        DropReason::Martian => "its source address cannot be a sender's on this wire",
        DropReason::OwnFrame => "the director itself has sent it",
        DropReason::NotUnicast => "for a VIP, but sent to a group Ethernet address",
        DropReason::BadNeighbourMessage => "an ARP or NDP message that no honest sender writes",
        DropReason::Consumed => "heard and used; there is nothing to send",
        DropReason::NoService => "no virtual service has this protocol, address and port",
        DropReason::NotSyn => "a segment that belongs to no connection and opens none",
        DropReason::NoDestination => "the virtual service has no real server that may be chosen",
        DropReason::DestinationGone => "the connection's real server was removed",
        DropReason::Drained => "the connection's real server was drained, and its deadline is over",
        DropReason::Shed => "one of those that drop_packet refuses",
        DropReason::NotInit => "a packet that belongs to no association and opens none",
        DropReason::NoProtocol => "a protocol that is not balanced",
        DropReason::NoRoute => "no interface leads to the real server",
        DropReason::Unresolved => "the real server's Ethernet address did not become known in time",
        DropReason::WaitingFull => "as many frames wait for the real server's Ethernet address as may",
        DropReason::PoolFull => "no buffer is left for a frame that waits, or it is longer than one",
        DropReason::TooBig => "longer than the way out allows, and not to be cut",
        DropReason::TtlExceeded => "its time to live ran out",
        DropReason::Fragment => "too many pieces wait for this packet's first one",
        DropReason::IcmpUnrelated => "an ICMP message about no connection of this director's",
        DropReason::RateLimited => "too many answers were sent lately",
        DropReason::NoRoom => "the buffer has no room for what had to be added",
        DropReason::ProbeReply => "an answer to a probe, and no probe waits for it",
        DropReason::OwnerBusy => "it belongs to another worker, which has no room for it",
        DropReason::ProbeQueueFull => {
            "about a health probe, and as many such frames wait as may, or it is longer than a buffer"
        }
        _ => "for a reason that has no words yet",
    }
}
