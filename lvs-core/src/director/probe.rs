//! Answers to health probes: told apart from clients' packets, and handed to whoever probes.
//!
//! ```text
//!   VIP ──────────► probe address, one of the ports       the answer                    ─┐
//!   probe address ► VIP, a SYN from one of the ports      a probe that was sent back     ├─► queue ──► poll_probe_reply
//!   anybody ──────► probe address, ICMP error about one   a filter or a router says no  ─┘
//! ```
//! None of them is of a connection, so all are found where a flow has none: established frames do not come here. The queue has
//! a fixed number of buffers, and what finds none free is dropped and counted. Whether a probe waits for an answer is the
//! prober's business; nothing is remembered of it here.
//!
//! Anybody can send what looks like an answer. One sender (an Ethernet address: whoever is not on the link comes by a router's)
//! gets a quarter of the buffers, so that a flood from outside leaves room for what real servers say.

use alloc::boxed::Box;
use alloc::vec;
use core::net::IpAddr;

use super::Director;
use super::common::Access;
use super::locals::Local;
use super::worker::Worker;
use crate::classify::{Packet, PacketKind, quoted_flow};
use crate::config::ProbeConfig;
use crate::connection::TableMemory;
use crate::io::{Frame, Meta, PortId};
use crate::verdict::{DropReason, Verdict};
use crate::wire::{ip_protocol, tcp_flag};

/// Bytes that [`Director::poll_probe_reply`] may need: segments that a card has merged fill a window of 4 KiB.
pub const PROBE_BUFFER: usize = 4096 + 256;

/// A frame for whoever made a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "the frame was taken out of the director's queue"]
pub struct ProbeReply {
    /// The port it came in by.
    pub port: PortId,
    /// How many bytes of the buffer it takes, Ethernet header first.
    pub len: usize,
    /// What came with it.
    pub meta: Meta,
}

/// Senders are told apart by a hash with so many values.
const SENDERS: usize = 256;

/// Frames that wait to be fetched: a ring of buffers that are taken once.
pub(super) struct ProbeQueue {
    bytes: Box<[u8]>,
    replies: Box<[ProbeReply]>,
    first: usize,
    len: usize,
    /// How many there are of each sender.
    senders: [u16; SENDERS],
}

impl ProbeQueue {
    /// Without room where nobody probes.
    pub(super) fn new(config: Option<&ProbeConfig>) -> Self {
        const NOTHING: ProbeReply = ProbeReply {
            port: PortId(0),
            len: 0,
            meta: Meta { vlan: None, checksum: None, gso: None, checksum_valid: false },
        };
        let room = config.map_or(0, |config| usize::from(config.queue));
        Self {
            bytes: vec![0; room * PROBE_BUFFER].into_boxed_slice(),
            replies: vec![NOTHING; room].into_boxed_slice(),
            first: 0,
            len: 0,
            senders: [0; SENDERS],
        }
    }

    /// `false` if no buffer is free for this sender, or the frame is longer than one.
    pub(super) fn push(&mut self, frame: &Frame<'_>) -> bool {
        let bytes = frame.bytes();
        let sender = sender(bytes);
        let most = self.replies.len().div_ceil(4);
        if self.len == self.replies.len()
            || usize::from(self.senders[sender]) >= most
            || bytes.len() > PROBE_BUFFER
        {
            return false;
        }
        self.senders[sender] += 1;
        let at = (self.first + self.len) % self.replies.len();
        self.bytes[at * PROBE_BUFFER..][..bytes.len()].copy_from_slice(bytes);
        self.replies[at] = ProbeReply { port: frame.port(), len: bytes.len(), meta: *frame.meta() };
        self.len += 1;
        true
    }

    pub(super) fn pop(&mut self, buffer: &mut [u8]) -> Option<ProbeReply> {
        while self.len > 0 {
            let (at, reply) = (self.first, self.replies[self.first]);
            self.first = (at + 1) % self.replies.len();
            self.len -= 1;
            let bytes = &self.bytes[at * PROBE_BUFFER..][..reply.len];
            self.senders[sender(bytes)] -= 1;
            if let Some(out) = buffer.get_mut(..reply.len) {
                out.copy_from_slice(bytes);
                return Some(reply);
            }
        }
        None
    }

    #[cfg(feature = "std")]
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

/// The place of a frame's sender among the counts.
fn sender(bytes: &[u8]) -> usize {
    let mac = bytes.get(6..12).unwrap_or_default();
    mac.iter().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte)).into()
}

impl<M: TableMemory> Worker<M> {
    /// What becomes of a packet without a connection that belongs to a probe, or to the host's kernel.
    #[inline(always)]
    pub(super) fn handle_probe<A: Access<M>>(
        &self,
        common: &mut A,
        frame: &Frame<'_>,
        packet: &Packet,
    ) -> Option<Verdict> {
        self.probe_ports.as_ref()?;
        self.handle_what_may_be_a_probe(common, frame, packet)
    }

    #[inline(never)]
    fn handle_what_may_be_a_probe<A: Access<M>>(
        &self,
        common: &mut A,
        frame: &Frame<'_>,
        packet: &Packet,
    ) -> Option<Verdict> {
        if self.is_answer(packet) || self.is_sent_back(packet) {
            return Some(take_probe(common, frame));
        }
        self.is_hosts(packet).then_some(Verdict::Pass)
    }

    /// A segment from a VIP to where probes come from.
    fn is_answer(&self, packet: &Packet) -> bool {
        is_whole_segment(packet)
            && self.is_probe_port(packet.flow.virtual_port())
            && self.is_probe_address(packet.flow.virtual_address())
            && self.is_vip(packet.flow.client_address())
    }

    /// A SYN of ours: a server without the VIP that forwards packets takes it for somebody else's.
    fn is_sent_back(&self, packet: &Packet) -> bool {
        is_whole_segment(packet)
            && packet.tcp_flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN
            && self.is_probe_port(packet.flow.client_port())
            && self.is_probe_address(packet.flow.client_address())
    }

    /// Whether a packet that is no TCP, UDP or SCTP is an ICMP error about a probe of ours. It may come from anybody on the way.
    pub(super) fn is_about_probe(&self, bytes: &[u8], packet: &Packet) -> bool {
        if self.probe_ports.is_none()
            || packet.first_fragment
            || !matches!(packet.kind, PacketKind::Icmp | PacketKind::Icmpv6)
        {
            return false;
        }
        let address = packet.flow.virtual_address();
        self.is_probe_address(address)
            && quoted_flow(bytes, packet).is_some_and(|flow| {
                flow.protocol() == ip_protocol::TCP
                    && flow.virtual_address() == address
                    && self.is_probe_port(flow.virtual_port())
            })
    }

    /// Whether a packet is for an address of the host's kernel, which is known here only because probes leave with it.
    pub(super) fn is_hosts(&self, packet: &Packet) -> bool {
        self.probe_ports.is_some()
            && self.locals.get(packet.flow.virtual_address()).is_some_and(Local::is_hosts)
            && !self.is_marked(packet)
    }

    fn is_probe_port(&self, port: u16) -> bool {
        self.probe_ports.as_ref().is_some_and(|ports| ports.contains(&port))
    }

    fn is_probe_address(&self, address: IpAddr) -> bool {
        self.locals.get(address).is_some_and(|local| local.probe)
    }

    fn is_vip(&self, address: IpAddr) -> bool {
        self.locals.get(address).is_some_and(|local| local.services > 0) || self.is_in_marked(address)
    }
}

/// Hands a frame to whoever probes.
pub(super) fn take_probe<M: TableMemory, A: Access<M>>(common: &mut A, frame: &Frame<'_>) -> Verdict {
    let is_taken = common.take_probe(frame);
    Verdict::Drop(if is_taken { DropReason::Consumed } else { DropReason::ProbeQueueFull })
}

const fn is_whole_segment(packet: &Packet) -> bool {
    matches!(packet.kind, PacketKind::Tcp) && !packet.first_fragment
}

impl<M: TableMemory> Director<M> {
    /// The next frame that answers a health probe, written to `buffer`, which should be [`PROBE_BUFFER`] bytes long; one that does
    /// not fit is lost. Frames come here where [`DirectorConfig::probes`](crate::DirectorConfig::probes) is set: segments from a
    /// VIP to the probe address, ICMP errors about a probe, and probes that a server sent back. Anybody can forge them.
    pub fn poll_probe_reply(&mut self, buffer: &mut [u8]) -> Option<ProbeReply> {
        self.common.probe_replies.pop(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(room: u16) -> ProbeQueue {
        ProbeQueue::new(Some(&ProbeConfig { queue: room, ..ProbeConfig::default() }))
    }

    fn push(queue: &mut ProbeQueue, sender: u8, len: usize) -> bool {
        let mut bytes = vec![sender; len];
        queue.push(&Frame::new(&mut bytes, PortId(sender.into())))
    }

    #[test]
    fn the_queue_keeps_order_and_refuses_what_it_has_no_room_for() {
        let mut queue = queue(3);
        let mut buffer = [0; PROBE_BUFFER];
        assert!(!push(&mut queue, 1, PROBE_BUFFER + 1));
        for round in 0..5 {
            for n in 0..3 {
                assert!(push(&mut queue, round + n, PROBE_BUFFER - usize::from(n)));
            }
            assert!(!push(&mut queue, 9, 60));
            // What is longer than the caller's buffer is lost, and nothing else.
            assert_eq!(queue.pop(&mut buffer[..PROBE_BUFFER - 1]).unwrap().port, PortId((round + 1).into()));
            let last = queue.pop(&mut buffer).unwrap();
            let expected = (PortId((round + 2).into()), PROBE_BUFFER - 2, round + 2);
            assert_eq!((last.port, last.len, buffer[0]), expected);
            assert_eq!(queue.pop(&mut buffer), None);
        }
        assert!(!push(&mut ProbeQueue::new(None), 1, 60));
    }

    #[test]
    fn one_sender_gets_a_quarter_and_others_the_rest() {
        let mut queue = queue(40);
        let mut buffer = [0; PROBE_BUFFER];
        for _ in 0..3 {
            let loud = (0..100).filter(|_| push(&mut queue, 7, 60)).count();
            let others = (100..150).filter(|&n| push(&mut queue, n, 60)).count();
            assert_eq!((loud, others), (10, 30));
            // Too short to have a sender: no worse than another.
            assert!(!push(&mut queue, 7, 3));
            while queue.pop(&mut buffer).is_some() {}
        }
        assert!(push(&mut queue, 7, 3) && queue.pop(&mut buffer).is_some());
    }
}
