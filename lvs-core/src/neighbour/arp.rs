//! ARP for IPv4 over Ethernet (RFC 826): the 28 bytes and their meaning. Other hardware and protocol
//! types, and operations other than request and reply, are refused.

use core::net::Ipv4Addr;

use crate::addr::MacAddr;

/// Length of an ARP packet for IPv4 over Ethernet.
pub(super) const LENGTH: usize = 28;

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Request,
    Reply,
}

/// What an ARP packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) operation: Operation,
    pub(super) sender_mac: MacAddr,
    pub(super) sender: Ipv4Addr,
    pub(super) target_mac: MacAddr,
    pub(super) target: Ipv4Addr,
}

impl Message {
    /// `None` if it is not ARP for IPv4 over Ethernet, or something that no honest sender writes: a group
    /// or zero Ethernet address as sender, or an IP address that no host can have.
    pub(super) fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        let (prefix, rest) = bytes.split_first_chunk::<6>()?;
        let (operation, rest) = rest.split_first_chunk::<2>()?;
        let (sender_mac, rest) = rest.split_first_chunk::<6>()?;
        let (sender, rest) = rest.split_first_chunk::<4>()?;
        let (target_mac, rest) = rest.split_first_chunk::<6>()?;
        let target = rest.first_chunk::<4>()?;
        let operation = match operation {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let message = Self {
            operation,
            sender_mac: MacAddr(*sender_mac),
            sender: Ipv4Addr::from_octets(*sender),
            target_mac: MacAddr(*target_mac),
            target: Ipv4Addr::from_octets(*target),
        };
        (*prefix == PREFIX && message.is_honest()).then_some(message)
    }

    fn is_honest(&self) -> bool {
        let sender = self.sender;
        // RFC 5227 section 1.1: a probe is a request with an all-zero sender IP address.
        let probe_or_known = !sender.is_unspecified() || self.operation == Operation::Request;
        let host = !(sender.is_multicast() || sender.is_broadcast() || sender.is_loopback());
        self.sender_mac.is_unicast() && host && probe_or_known
    }

    /// Writes the packet.
    pub(super) fn emit(&self, bytes: &mut [u8; LENGTH]) {
        let operation = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        bytes[..6].copy_from_slice(&PREFIX);
        bytes[6..8].copy_from_slice(&[0, operation]);
        bytes[8..14].copy_from_slice(&self.sender_mac.0);
        bytes[14..18].copy_from_slice(&self.sender.octets());
        bytes[18..24].copy_from_slice(&self.target_mac.0);
        bytes[24..].copy_from_slice(&self.target.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

    fn oracle(bytes: &[u8; LENGTH]) -> Option<Message> {
        let packet = ArpPacket::new_checked(&bytes[..]).ok()?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_hardware_addr,
            target_protocol_addr,
        } = ArpRepr::parse(&packet).ok()?
        else {
            return None;
        };
        let operation = match operation {
            ArpOperation::Request => Operation::Request,
            ArpOperation::Reply => Operation::Reply,
            ArpOperation::Unknown(_) => return None,
        };
        Some(Message {
            operation,
            sender_mac: MacAddr(source_hardware_addr.0),
            sender: source_protocol_addr,
            target_mac: MacAddr(target_hardware_addr.0),
            target: target_protocol_addr,
        })
    }

    proptest! {
        #[test]
        fn reads_as_smoltcp_does_and_refuses_more(
            mut bytes in prop::array::uniform28(any::<u8>()),
            wrong in prop::option::weighted(0.3, (0usize..8, any::<u8>())),
            operation in 0u8..4,
        ) {
            bytes[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, operation]);
            if let Some((at, value)) = wrong {
                bytes[at] = value;
            }
            let expected = oracle(&bytes).filter(Message::is_honest);
            prop_assert_eq!(Message::parse(&bytes), expected);
        }

        #[test]
        fn writes_what_smoltcp_writes(
            reply in any::<bool>(), macs in any::<[[u8; 6]; 2]>(), ips in any::<[[u8; 4]; 2]>(),
        ) {
            let message = Message {
                operation: if reply { Operation::Reply } else { Operation::Request },
                sender_mac: MacAddr(macs[0]),
                sender: ips[0].into(),
                target_mac: MacAddr(macs[1]),
                target: ips[1].into(),
            };
            let mut ours = [0xaa; LENGTH];
            message.emit(&mut ours);
            let mut theirs = [0x55; LENGTH];
            let repr = ArpRepr::EthernetIpv4 {
                operation: if reply { ArpOperation::Reply } else { ArpOperation::Request },
                source_hardware_addr: EthernetAddress(macs[0]),
                source_protocol_addr: ips[0].into(),
                target_hardware_addr: EthernetAddress(macs[1]),
                target_protocol_addr: ips[1].into(),
            };
            repr.emit(&mut ArpPacket::new_unchecked(&mut theirs[..]));
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn dishonest_senders_are_refused() {
        let good = Message {
            operation: Operation::Request,
            sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            sender: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: MacAddr::ZERO,
            target: Ipv4Addr::new(10, 0, 0, 2),
        };
        let parse = |message: Message| {
            let mut bytes = [0; LENGTH];
            message.emit(&mut bytes);
            Message::parse(&bytes)
        };
        assert_eq!(parse(good), Some(good));
        let probe = Message { sender: Ipv4Addr::UNSPECIFIED, ..good };
        assert_eq!(parse(probe), Some(probe));
        for bad in [
            Message { operation: Operation::Reply, ..probe },
            Message { sender_mac: MacAddr::BROADCAST, ..good },
            Message { sender_mac: MacAddr([1, 0, 0x5e, 0, 0, 1]), ..good },
            Message { sender_mac: MacAddr::ZERO, ..good },
            Message { sender: Ipv4Addr::BROADCAST, ..good },
            Message { sender: Ipv4Addr::new(224, 0, 0, 1), ..good },
            Message { sender: Ipv4Addr::LOCALHOST, ..good },
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
