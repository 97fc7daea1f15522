//! Flows, and the frames they send.
//!
//! A frame is a template with the client's address and port written into it. Transport checksums are zero: a load
//! balancer in direct routing neither reads nor changes them. The IPv4 header checksum is right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::MacAddr;

/// The director's Ethernet address.
pub const DIRECTOR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// The Ethernet address of the router that all clients are behind.
pub const ROUTER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 15]);
/// The virtual service's address, IPv4.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 250);
/// The virtual service's address, IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0xfa);
/// The virtual service's port.
pub const PORT: u16 = 80;
/// Length of the IPv4 and ARP frames: the shortest Ethernet has, without frame check sequence.
pub const SHORTEST_FRAME: usize = 60;

const ETHERNET: usize = 14;
const IPV4_CHECKSUM: usize = ETHERNET + 10;
const IPV4_SOURCE: usize = ETHERNET + 12;
const IPV4_PORT: usize = ETHERNET + 20;
/// The last 32 bits of the source.
const IPV6_SOURCE: usize = ETHERNET + 8 + 12;
const IPV6_PORT: usize = ETHERNET + 40;
const ARP_SENDER: usize = ETHERNET + 14;
/// Longest frame of all.
const LONGEST_FRAME: usize = ETHERNET + 40 + 20;

const SYN: u8 = 2;
const ACK: u8 = 16;

/// An IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IP version 4.
    Ipv4,
    /// IP version 6.
    Ipv6,
}

impl Family {
    /// The virtual service's address.
    #[must_use]
    pub const fn vip(self) -> IpAddr {
        match self {
            Self::Ipv4 => IpAddr::V4(VIP4),
            Self::Ipv6 => IpAddr::V6(VIP6),
        }
    }

    /// The address of real server `n`, from 0.
    #[must_use]
    pub fn server(self, n: u8) -> IpAddr {
        match self {
            Self::Ipv4 => Ipv4Addr::new(192, 168, 0, n + 1).into(),
            Self::Ipv6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n) + 1).into(),
        }
    }

    /// As tables print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }
}

/// What kind of frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TCP to the service, opening a connection.
    Syn,
    /// TCP to the service, in a connection.
    Ack,
    /// TCP to the director's Ethernet address and an IP address that it does not serve.
    NotOurs,
    /// An ARP question for the VIP (IPv4 only).
    ArpRequest,
}

/// A client's address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The IPv4 address, or the last 32 bits of the IPv6 address in 2001:db8::/96.
    pub address: u32,
    /// The port.
    pub port: u16,
}

impl Flow {
    /// Flow number `n`: all of 2^24 are different, in 10.0.0.0/8.
    #[must_use]
    pub const fn number(n: u32) -> Self {
        let port = 1024 + (n.wrapping_mul(0x9e37_79b1) >> 17) as u16;
        Self { address: 0x0a00_0000 | (n & 0x00ff_ffff), port }
    }

    /// The client's address.
    #[must_use]
    pub const fn client(self, family: Family) -> IpAddr {
        match family {
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(self.address)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | self.address as u128)),
        }
    }

    /// One of 2^44 that no numbered flow is, from 44 random bits.
    #[must_use]
    pub const fn random(bits: u64) -> Self {
        Self { address: 0x1000_0000 | (bits as u32 & 0x0fff_ffff), port: (bits >> 32) as u16 }
    }
}

/// Random numbers that cost next to nothing (wyrand). Always the same ones, so that runs compare.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    #[inline]
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        let product = self.0 as u128 * (self.0 ^ 0xe703_7ed1_a0b4_28db) as u128;
        (product >> 64) as u64 ^ product as u64
    }

    /// A number below `limit`.
    #[inline]
    pub const fn below(&mut self, limit: u32) -> u32 {
        (((self.bits() >> 32) * limit as u64) >> 32) as u32
    }
}

/// Writes frames of one kind.
#[derive(Debug, Clone)]
pub struct Traffic {
    family: Family,
    kind: Kind,
    template: [u8; LONGEST_FRAME],
    len: usize,
    /// Sum of the IPv4 header without the source address.
    sum: u32,
}

impl Traffic {
    /// Frames of this kind and family.
    ///
    /// # Panics
    /// If ARP is to be IPv6.
    #[must_use]
    pub fn new(family: Family, kind: Kind) -> Self {
        let mut traffic = Self { family, kind, template: [0; LONGEST_FRAME], len: SHORTEST_FRAME, sum: 0 };
        let frame = &mut traffic.template;
        put(frame, 0, &DIRECTOR_MAC.0);
        put(frame, 6, &ROUTER_MAC.0);
        match (family, kind) {
            (Family::Ipv4, Kind::ArpRequest) => arp(frame),
            (Family::Ipv6, Kind::ArpRequest) => panic!("ARP is for IPv4"),
            (Family::Ipv4, _) => traffic.sum = ipv4(frame, kind),
            (Family::Ipv6, _) => {
                traffic.len = LONGEST_FRAME;
                ipv6(frame, kind);
            }
        }
        traffic
    }

    /// Length of its frames in bytes.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        self.len
    }

    /// Writes the frame of a flow to the beginning of `buffer`.
    ///
    /// # Panics
    /// If there is less room than [`frame_len`](Self::frame_len).
    #[inline]
    pub fn write(&self, flow: Flow, buffer: &mut [u8]) {
        let address = flow.address.to_be_bytes();
        let port = flow.port.to_be_bytes();
        match (self.family, self.kind) {
            (Family::Ipv4, Kind::ArpRequest) => {
                let frame = self.template::<SHORTEST_FRAME>(buffer);
                put(frame, ARP_SENDER, &address);
            }
            (Family::Ipv4, _) => {
                let frame = self.template::<SHORTEST_FRAME>(buffer);
                put(frame, IPV4_SOURCE, &address);
                put(frame, IPV4_PORT, &port);
                let sum = self.sum + (flow.address >> 16) + (flow.address & 0xffff);
                put(frame, IPV4_CHECKSUM, &finish(sum).to_be_bytes());
            }
            (Family::Ipv6, _) => {
                let frame = self.template::<LONGEST_FRAME>(buffer);
                put(frame, IPV6_SOURCE, &address);
                put(frame, IPV6_PORT, &port);
            }
        }
    }

    #[inline]
    fn template<'b, const N: usize>(&self, buffer: &'b mut [u8]) -> &'b mut [u8; N] {
        let frame = buffer.first_chunk_mut::<N>().expect("room for a frame");
        frame.copy_from_slice(&self.template[..N]);
        frame
    }
}

/// The sum of 16-bit words `sum`, as an internet checksum (RFC 1071).
const fn finish(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[inline]
fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

fn tcp(frame: &mut [u8], at: usize, kind: Kind) {
    put(frame, at + 2, &PORT.to_be_bytes());
    frame[at + 12] = 5 << 4;
    frame[at + 13] = if kind == Kind::Syn { SYN } else { ACK };
    put(frame, at + 14, &64240u16.to_be_bytes());
}

/// A header of 40 bytes of IPv4 and TCP; answers the sum of its IPv4 words without source.
fn ipv4(frame: &mut [u8], kind: Kind) -> u32 {
    put(frame, 12, &[0x08, 0x00, 0x45, 0, 0, 40]);
    // Don't fragment; TTL 63; TCP.
    put(frame, ETHERNET + 6, &[0x40, 0, 63, 6]);
    let to = if kind == Kind::NotOurs { Ipv4Addr::new(192, 168, 0, 77) } else { VIP4 };
    put(frame, ETHERNET + 16, &to.octets());
    tcp(frame, ETHERNET + 20, kind);
    frame[ETHERNET..ETHERNET + 20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum()
}

fn ipv6(frame: &mut [u8], kind: Kind) {
    put(frame, 12, &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 63]);
    put(frame, ETHERNET + 8, &Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets());
    let to = if kind == Kind::NotOurs { Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x77) } else { VIP6 };
    put(frame, ETHERNET + 24, &to.octets());
    tcp(frame, ETHERNET + 40, kind);
}

/// RFC 826, Ethernet and IPv4.
fn arp(frame: &mut [u8]) {
    put(frame, 0, &[0xff; 6]);
    put(frame, 12, &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    put(frame, ETHERNET + 8, &ROUTER_MAC.0);
    put(frame, ETHERNET + 24, &VIP4.octets());
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_testkit::frames::describe;

    fn described(family: Family, kind: Kind, flow: Flow) -> String {
        let traffic = Traffic::new(family, kind);
        let mut buffer = [0xee; 100];
        traffic.write(flow, &mut buffer);
        assert_eq!(buffer[traffic.frame_len()], 0xee);
        describe(&buffer[..traffic.frame_len()])
    }

    #[test]
    fn frames_are_what_they_say() {
        let flow = Flow { address: 0x0a01_0203, port: 4711 };
        let of = |family, kind| described(family, kind, flow);
        let syn = of(Family::Ipv4, Kind::Syn);
        assert!(syn.contains("10.1.2.3.4711 > 192.168.0.250.80: Flags [S]"), "{syn}");
        assert!(syn.contains("length 60") && !syn.contains("bad cksum 0"), "{syn}");
        assert!(of(Family::Ipv4, Kind::NotOurs).contains("10.1.2.3.4711 > 192.168.0.77.80: Flags [.]"));
        let six = of(Family::Ipv6, Kind::Ack);
        assert!(six.contains("2001:db8::a01:203.4711 > fd00::fa.80: Flags [.]"), "{six}");
        let arp = of(Family::Ipv4, Kind::ArpRequest);
        assert!(arp.contains("who-has 192.168.0.250 tell 10.1.2.3"), "{arp}");
    }

    #[test]
    fn the_header_checksum_is_right() {
        let traffic = Traffic::new(Family::Ipv4, Kind::Ack);
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            let mut frame = [0; SHORTEST_FRAME];
            traffic.write(Flow::random(random.bits()), &mut frame);
            let sum: u32 = frame[14..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
            assert_eq!(finish(sum), 0);
        }
    }

    #[test]
    fn flows_differ() {
        let mut flows: Vec<_> = (0..100_000).map(|n| Flow::number(n * 167)).collect();
        let mut random = Random::new(2);
        flows.extend((0..100_000).map(|_| Flow::random(random.bits())));
        let distinct: std::collections::HashSet<_> = flows.iter().collect();
        assert_eq!(distinct.len(), flows.len());
        assert!((0..1000).all(|_| random.below(7) < 7));
    }
}
