//! ARP that came in: what we are asked is answered in the same frame, what neighbours say is learnt.

use core::net::IpAddr;

use super::arp::{self, Message, Operation};
use super::{Neighbours, Outcome};
use crate::addr::MacAddr;
use crate::config::InterfaceId;
use crate::time::Instant;
use crate::wire::ETHERNET_HEADER;

impl Neighbours {
    /// An ARP packet came in by an interface; `frame` begins with the Ethernet header, `arp_offset` is
    /// where the 28 bytes of ARP begin. The Ethernet type and tags between are the caller's matter.
    ///
    /// On [`Outcome::Reply`] both Ethernet addresses and the ARP bytes have been rewritten, nothing else,
    /// and the frame is as long as it was; otherwise it is untouched.
    ///
    /// ARP's own sender address counts, not the Ethernet source, as in Linux. Who announces or asks is
    /// learnt from if it is tracked (RFC 826: "merge"), whatever it asks about.
    pub(crate) fn handle_arp(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        frame: &mut [u8],
        arp_offset: usize,
    ) -> Outcome {
        let Some(mac) = self.interfaces.get(interface).map(|interface| interface.mac) else {
            return Outcome::Pass;
        };
        let Some(message) = parse(frame, arp_offset) else { return Outcome::Bad };
        if !is_for(frame, mac) {
            return Outcome::Pass;
        }
        if self.interfaces.is_own(message.sender_mac) {
            return Outcome::Consumed;
        }
        let sender = IpAddr::V4(message.sender);
        let claimed = self.local_on(interface, sender);
        match claimed {
            Some(slot) => self.conflict(now, interface, slot, message.sender_mac),
            None => self.learn_from_arp(now, interface, &message),
        }
        let asked = self.answers_for(interface, IpAddr::V4(message.target));
        match message.operation {
            // An announcement asks nothing; the claim in it has been dealt with.
            Operation::Request if asked && message.sender != message.target => {
                answer(frame, arp_offset, mac, &message);
                Outcome::Reply
            }
            Operation::Request | Operation::Reply if asked || claimed.is_some() => Outcome::Consumed,
            Operation::Request | Operation::Reply => Outcome::Pass,
        }
    }

    fn learn_from_arp(&mut self, now: Instant, interface: InterfaceId, message: &Message) {
        let Some(id) = self.table.find(interface, IpAddr::V4(message.sender)) else { return };
        let to_us = message.operation == Operation::Reply
            && self.interfaces.get(interface).is_some_and(|interface| interface.dip == message.target);
        self.edit(now, id, |entry, random| {
            if to_us {
                entry.answered(now, Some(message.sender_mac), random);
            } else {
                entry.heard(now, message.sender_mac);
            }
        });
    }
}

fn parse(frame: &[u8], offset: usize) -> Option<Message> {
    if offset < ETHERNET_HEADER {
        return None;
    }
    Message::parse(frame.get(offset..)?.first_chunk::<{ arp::LENGTH }>()?)
}

/// Whether the frame is for everybody, a group, or us. Others come along when a switch floods or the device
/// is promiscuous.
pub(super) fn is_for(frame: &[u8], mac: MacAddr) -> bool {
    let Some(destination) = frame.first_chunk::<6>() else { return false };
    let destination = MacAddr(*destination);
    destination.is_multicast() || destination == mac
}

/// RFC 826: swaps sender and target, puts the local addresses in the sender fields. RFC 5227 section 2.1.1:
/// a probe for an address in use is answered like any request.
fn answer(frame: &mut [u8], offset: usize, mac: MacAddr, request: &Message) {
    let reply = Message {
        operation: Operation::Reply,
        sender_mac: mac,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    };
    frame[..6].copy_from_slice(&request.sender_mac.0);
    frame[6..12].copy_from_slice(&mac.0);
    if let Some(bytes) = frame.get_mut(offset..).and_then(|bytes| bytes.first_chunk_mut()) {
        reply.emit(bytes);
    }
}
