//! ICMP and ICMPv6: echo, and errors that quote a packet.

use std::net::IpAddr;

use super::packet::{Body, Packet};
use super::summary::Summary;
use super::transport::ChecksumField;
use super::{ICMP, ICMPV6};

/// An ICMP or ICMPv6 message.
#[derive(Debug, Clone)]
pub struct Icmp {
    ipv6: bool,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    data: Vec<u8>,
}

/// Errors that quote the packet they are about; each has its place in both families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IcmpError {
    /// No route to the destination.
    NoRoute,
    /// The destination does not answer.
    HostUnreachable,
    /// Nobody listens on the port.
    PortUnreachable,
    /// A filter forbids it.
    Prohibited,
    /// The packet is longer than a link on the way takes, which is this many bytes (IPv4: 16 bits).
    TooBig {
        /// The MTU of that link.
        mtu: u32,
    },
    /// The time to live ran out.
    TtlExceeded,
    /// Fragments were missing when the time for them ran out.
    ReassemblyTimeout,
    /// The byte at this offset makes no sense (IPv4: 8 bits).
    ParameterProblem {
        /// Offset into the quoted packet.
        pointer: u32,
    },
}

/// An ICMP message of any type; `rest` are the four bytes behind the checksum.
///
/// # Panics
/// If the addresses are of different families.
#[track_caller]
pub fn icmp(
    source: IpAddr,
    destination: IpAddr,
    kind: u8,
    code: u8,
    rest: [u8; 4],
    data: &[u8],
) -> Packet<Icmp> {
    let body = Icmp { ipv6: source.is_ipv6(), kind, code, rest, data: data.to_vec() };
    Packet::new(source, destination, body)
}

/// A ping.
///
/// # Panics
/// If the addresses are of different families.
#[track_caller]
pub fn echo_request(source: IpAddr, destination: IpAddr, id: u16, sequence: u16) -> Packet<Icmp> {
    icmp(source, destination, if source.is_ipv6() { 128 } else { 8 }, 0, echo_rest(id, sequence), b"")
}

/// The answer to a ping.
///
/// # Panics
/// If the addresses are of different families.
#[track_caller]
pub fn echo_reply(source: IpAddr, destination: IpAddr, id: u16, sequence: u16) -> Packet<Icmp> {
    icmp(source, destination, if source.is_ipv6() { 129 } else { 0 }, 0, echo_rest(id, sequence), b"")
}

/// An error from `source` to `destination` about the packet in the Ethernet frame `about`, which is
/// quoted as far as today's systems do: up to 576 bytes of error packet (RFC 1812 section 4.3.2.3), 1280
/// for IPv6 (RFC 4443 section 2.4). See [`quote`](Packet::quote) for less.
///
/// # Panics
/// If `about` is no frame with an IP packet, or the families differ.
#[track_caller]
pub fn icmp_error(source: IpAddr, destination: IpAddr, error: IcmpError, about: &[u8]) -> Packet<Icmp> {
    let at = Summary::of(about).filter(|s| s.ip.is_some()).expect("a frame with an IP packet").network_offset;
    let limit = if source.is_ipv6() { 1280 - 48 } else { 576 - 28 };
    let quoted = &about[at..about.len().min(at + limit)];
    let (kind, code, rest) = if source.is_ipv6() { error.icmpv6() } else { error.icmpv4() };
    icmp(source, destination, kind, code, rest, quoted)
}

impl IcmpError {
    /// Type, code and the four bytes behind the checksum (RFC 792, RFC 1191, RFC 1812).
    const fn icmpv4(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::NoRoute => (3, 0, [0; 4]),
            Self::HostUnreachable => (3, 1, [0; 4]),
            Self::PortUnreachable => (3, 3, [0; 4]),
            Self::Prohibited => (3, 13, [0; 4]),
            Self::TooBig { mtu } => (3, 4, (mtu & 0xffff).to_be_bytes()),
            Self::TtlExceeded => (11, 0, [0; 4]),
            Self::ReassemblyTimeout => (11, 1, [0; 4]),
            Self::ParameterProblem { pointer } => (12, 0, [pointer as u8, 0, 0, 0]),
        }
    }

    /// Type, code and the four bytes behind the checksum (RFC 4443 section 3).
    const fn icmpv6(self) -> (u8, u8, [u8; 4]) {
        match self {
            Self::NoRoute => (1, 0, [0; 4]),
            Self::Prohibited => (1, 1, [0; 4]),
            Self::HostUnreachable => (1, 3, [0; 4]),
            Self::PortUnreachable => (1, 4, [0; 4]),
            Self::TooBig { mtu } => (2, 0, mtu.to_be_bytes()),
            Self::TtlExceeded => (3, 0, [0; 4]),
            Self::ReassemblyTimeout => (3, 1, [0; 4]),
            Self::ParameterProblem { pointer } => (4, 0, pointer.to_be_bytes()),
        }
    }
}

impl Packet<Icmp> {
    /// The bytes behind the first eight: an echo's data, an error's quotation, an NDP message's body.
    pub fn payload(mut self, data: &[u8]) -> Self {
        self.body.data = data.to_vec();
        self
    }

    /// Shortens the data to at most `len` bytes: 28 is the least that an IPv4 error quotes (RFC 792).
    pub fn quote(mut self, len: usize) -> Self {
        self.body.data.truncate(len);
        self
    }

    /// Type and code.
    pub const fn kind(mut self, kind: u8, code: u8) -> Self {
        self.body.kind = kind;
        self.body.code = code;
        self
    }

    /// The four bytes behind the checksum.
    pub const fn rest(mut self, rest: [u8; 4]) -> Self {
        self.body.rest = rest;
        self
    }
}

impl Body for Icmp {
    fn protocol(&self) -> u8 {
        if self.ipv6 { ICMPV6 } else { ICMP }
    }

    fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.code, 0, 0];
        bytes.extend(self.rest);
        bytes.extend(&self.data);
        bytes
    }

    fn checksum_field(&self) -> Option<ChecksumField> {
        Some(ChecksumField { offset: 2, pseudo_header: self.ipv6, never_zero: false })
    }
}

const fn echo_rest(id: u16, sequence: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (id.to_be_bytes(), sequence.to_be_bytes());
    [a, b, c, d]
}
