//! A segment with machines as simple as can be, in virtual time: what goes out is answered a millisecond later.

use std::net::IpAddr;
use std::time::Duration;

use lvs_core::{Frame, Instant, MacAddr, PortId};
use lvs_testkit::frames::{self, IcmpError, Summary, TcpFlags};

use crate::{Examination, ExaminationConfig, Finding};

/// A machine with one card.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) mac: MacAddr,
    /// Its own addresses, which it answers for.
    pub(super) addresses: Vec<IpAddr>,
    /// The VIP, if it holds it.
    pub(super) vip: Option<IpAddr>,
    /// Answers ARP and neighbour discovery for the VIP too.
    pub(super) answers_for_vip: bool,
    /// Looks for others under the VIP's name.
    pub(super) announces_vip: bool,
    /// The port where somebody listens, TCP and UDP; UDP never answers.
    pub(super) open: u16,
    /// Takes nothing for this port.
    pub(super) filtered: Option<u16>,
    /// Answers pings.
    pub(super) pings: bool,
    /// The longest packet that it takes.
    pub(super) mtu: usize,
    /// The card by which it sends.
    pub(super) answers_by: MacAddr,
}

impl Machine {
    /// A healthy real server with port 80 open.
    pub(super) fn server(n: u16, address: IpAddr, vip: IpAddr) -> Self {
        let mac = frames::station(n);
        Self {
            mac,
            addresses: vec![address],
            vip: Some(vip),
            answers_for_vip: false,
            announces_vip: false,
            open: 80,
            filtered: None,
            pings: true,
            mtu: 1500,
            answers_by: mac,
        }
    }

    /// What it sends when it gets a frame.
    pub(super) fn answer(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let Some(frame) = Summary::of(bytes) else { return Vec::new() };
        if frame.destination_mac != self.mac && !frame.destination_mac.is_multicast() {
            return Vec::new();
        }
        let has = |address: IpAddr| {
            self.addresses.contains(&address) || (self.answers_for_vip && self.vip == Some(address))
        };
        if let Some(arp) = frame.arp {
            let (IpAddr::V4(target), IpAddr::V4(asker)) = (arp.target, arp.sender) else { return Vec::new() };
            let reply = frames::arp_reply(self.mac, target, arp.sender_mac, asker).build();
            return if arp.operation == 1 && has(arp.target) { vec![reply] } else { Vec::new() };
        }
        let Some(ip) = &frame.ip else { return Vec::new() };
        if let (Some((135, _)), Some(IpAddr::V6(target)), IpAddr::V6(asker)) =
            (ip.icmp, ip.neighbour_target, ip.source)
        {
            let reply = frames::neighbour_advertisement(self.mac, target, frame.source_mac, asker).build();
            return if has(target.into()) { vec![reply] } else { Vec::new() };
        }
        let is_mine = self.addresses.contains(&ip.destination) || self.vip == Some(ip.destination);
        if !is_mine || ip.length > self.mtu || ip.ports.is_some_and(|(_, port)| Some(port) == self.filtered) {
            return Vec::new();
        }
        self.deliver(bytes, &frame)
    }

    /// An IP packet for one of its addresses.
    fn deliver(&self, bytes: &[u8], frame: &Summary) -> Vec<Vec<u8>> {
        let Some(ip) = &frame.ip else { return Vec::new() };
        let back = (self.answers_by, frame.source_mac);
        let mut out = Vec::new();
        if let (Some(tcp), Some((source, destination))) = (ip.tcp, frame.sockets()) {
            if tcp.flags.contains(TcpFlags::RST) {
                return out;
            }
            let flags = if destination.port() == self.open { TcpFlags::SYN } else { TcpFlags::RST };
            let reply =
                frames::tcp(destination, source).flags(flags | TcpFlags::ACK).ack(tcp.seq.wrapping_add(1));
            out.extend(self.looks_for(source.ip(), destination.ip()));
            out.push(reply.macs(back.0, back.1).build());
        } else if ip.icmp.is_some_and(|(kind, _)| kind == 8 || kind == 128) && self.pings {
            let at = frame.network_offset + if ip.source.is_ipv4() { 20 } else { 40 } + 4;
            let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let reply = frames::echo_reply(ip.destination, ip.source, number(at), number(at + 2));
            out.extend(self.looks_for(ip.source, ip.destination));
            out.push(reply.macs(back.0, back.1).build());
        } else if let Some((_, destination)) = frame.sockets()
            && destination.port() != self.open
        {
            let error = frames::icmp_error(ip.destination, ip.source, IcmpError::PortUnreachable, bytes);
            out.push(error.macs(back.0, back.1).build());
        }
        out
    }

    /// It knows nobody but the DIP, so it looks for whom it answers: with one address or the other.
    fn looks_for(&self, whom: IpAddr, as_which: IpAddr) -> Option<Vec<u8>> {
        if whom == dip() {
            return None;
        }
        let own = if self.announces_vip { as_which } else { *self.addresses.first()? };
        match (own, whom) {
            (IpAddr::V4(own), IpAddr::V4(whom)) => Some(frames::arp_request(self.mac, own, whom).build()),
            _ => None,
        }
    }
}

pub(super) fn dip() -> IpAddr {
    [192, 168, 0, 208].into()
}

/// Runs an examination to its end. Answers it, the frames it sent with their times, and when it ended.
pub(super) fn run(
    config: ExaminationConfig,
    machines: &[Machine],
) -> (Examination, Vec<(Instant, Vec<u8>)>, Instant) {
    let mut now = Instant::from_secs(7);
    let mut examination = Examination::new(config, now).unwrap();
    let mut sent = Vec::new();
    for _ in 0..1_000_000 {
        let mut replies: Vec<Vec<u8>> = Vec::new();
        while let Some(frame) = examination.poll_transmit(now) {
            sent.push((now, frame.bytes.to_vec()));
            replies.extend(machines.iter().flat_map(|machine| machine.answer(frame.bytes)));
        }
        if !replies.is_empty() {
            now = now + Duration::from_millis(1);
            for mut bytes in replies {
                examination.handle_frame(now, &Frame::new(&mut bytes, PortId(0)));
            }
            continue;
        }
        let Some(due) = examination.poll_timeout() else { return (examination, sent, now) };
        assert!(due > now, "due {due:?} is not after {now:?}, and nothing was sent");
        now = due;
    }
    panic!("it does not end");
}

/// Slugs with the address at fault.
pub(super) fn faults(findings: &[Finding]) -> Vec<(&'static str, Option<IpAddr>)> {
    findings.iter().map(|finding| (finding.fault.slug(), finding.address)).collect()
}
