//! ARP messages (RFC 826, RFC 5227): Ethernet and IPv4 only.

use std::net::Ipv4Addr;

use lvs_core::MacAddr;
use lvs_core::io::VlanTag;

use super::ARP;
use super::link::{Link, link_methods};

/// An ARP message on its way to a frame.
#[derive(Debug, Clone)]
#[must_use = "nothing is built until `build` is called"]
pub struct Arp {
    link: Link,
    header: [u8; 6],
    operation: u16,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
}

/// "Who has `target`? Tell `sender`", to all stations.
pub fn arp_request(sender_mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Arp {
    Arp::new(1, (sender_mac, sender), (MacAddr::ZERO, target), MacAddr::BROADCAST)
}

/// "`sender` is at `sender_mac`", to the one who asked.
pub fn arp_reply(sender_mac: MacAddr, sender: Ipv4Addr, target_mac: MacAddr, target: Ipv4Addr) -> Arp {
    Arp::new(2, (sender_mac, sender), (target_mac, target), target_mac)
}

/// A request with the sender address 0.0.0.0: is anybody using `target`? (RFC 5227 section 2.1.1)
pub fn arp_probe(sender_mac: MacAddr, target: Ipv4Addr) -> Arp {
    arp_request(sender_mac, Ipv4Addr::UNSPECIFIED, target)
}

/// A request for the own address, to all stations: "I use `address`" (RFC 5227 section 2.3).
pub fn arp_announcement(mac: MacAddr, address: Ipv4Addr) -> Arp {
    arp_request(mac, address, address)
}

/// The other form of an announcement: a reply for the own address, to all stations.
pub fn gratuitous_reply(mac: MacAddr, address: Ipv4Addr) -> Arp {
    Arp::new(2, (mac, address), (MacAddr::BROADCAST, address), MacAddr::BROADCAST)
}

impl Arp {
    fn new(
        operation: u16,
        sender: (MacAddr, Ipv4Addr),
        target: (MacAddr, Ipv4Addr),
        destination: MacAddr,
    ) -> Self {
        let link = Link { source: sender.0, destination, ..Link::default() };
        Self { link, header: [0, 1, 8, 0, 6, 4], operation, sender, target }
    }

    link_methods!();

    /// The operation: 1 request, 2 reply.
    pub const fn operation(mut self, operation: u16) -> Self {
        self.operation = operation;
        self
    }

    /// The sender's Ethernet address inside the message, where it shall differ from the frame's.
    pub const fn sender_mac(mut self, mac: MacAddr) -> Self {
        self.sender.0 = mac;
        self
    }

    /// The target's Ethernet address inside the message.
    pub const fn target_mac(mut self, mac: MacAddr) -> Self {
        self.target.0 = mac;
        self
    }

    /// Sends the frame to one station, as a kernel does that refreshes an entry.
    pub const fn unicast(mut self, destination: MacAddr) -> Self {
        self.link.destination = destination;
        self
    }

    /// Breaks the message: hardware type (right: 1), protocol type (0x0800) and the two address
    /// lengths (6 and 4).
    pub const fn header(mut self, hardware: u16, protocol: u16, hardware_len: u8, protocol_len: u8) -> Self {
        let ([a, b], [c, d]) = (hardware.to_be_bytes(), protocol.to_be_bytes());
        self.header = [a, b, c, d, hardware_len, protocol_len];
        self
    }

    /// The frame.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(28);
        message.extend(self.header);
        message.extend(self.operation.to_be_bytes());
        for (mac, address) in [self.sender, self.target] {
            message.extend(mac.0);
            message.extend(address.octets());
        }
        self.link.wrap(ARP, &message)
    }
}
