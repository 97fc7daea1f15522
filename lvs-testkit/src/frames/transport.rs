//! The bodies of packets that carry data: TCP, UDP, and bytes without further meaning.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::BitOr;

use super::packet::{Body, Packet};
use super::{TCP, UDP};

/// Where a checksum is and what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChecksumField {
    /// Bytes from the beginning of the body to the field.
    pub offset: usize,
    /// Whether it covers the pseudo header.
    pub pseudo_header: bool,
    /// Whether zero means "none" and a sum of zero is written as ffff.
    pub never_zero: bool,
}

/// The control bits of a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No bit set.
    pub const NONE: Self = Self(0);
    /// The sender has no more to send.
    pub const FIN: Self = Self(1);
    /// Opens a connection.
    pub const SYN: Self = Self(2);
    /// Breaks the connection off.
    pub const RST: Self = Self(4);
    /// The receiver shall hand the data on.
    pub const PSH: Self = Self(8);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(16);
    /// The urgent pointer counts.
    pub const URG: Self = Self(32);
    /// Congestion was seen (ECN).
    pub const ECE: Self = Self(64);
    /// The congestion window was reduced (ECN).
    pub const CWR: Self = Self(128);

    /// Whether all bits of `other` are set here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// As tcpdump writes them: `S`, `S.`, `P.`, `F.`, `R`; `none` if no bit is set.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("none");
        }
        for (bit, letter) in
            [(1, "F"), (2, "S"), (4, "R"), (8, "P"), (16, "."), (32, "U"), (64, "E"), (128, "W")]
        {
            if self.0 & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// A TCP segment. Defaults: flags ACK, sequence number 1, acknowledgement 0, window 64240, no options.
#[derive(Debug, Clone)]
pub struct Tcp {
    ports: (u16, u16),
    flags: TcpFlags,
    seq: u32,
    ack: u32,
    window: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
    data_offset: Option<u8>,
}

/// A TCP segment from `source` to `destination`.
///
/// # Panics
/// If the addresses are of different families.
#[track_caller]
pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Packet<Tcp> {
    let body = Tcp {
        ports: (source.port(), destination.port()),
        flags: TcpFlags::ACK,
        seq: 1,
        ack: 0,
        window: 64240,
        options: Vec::new(),
        payload: Vec::new(),
        data_offset: None,
    };
    Packet::new(source.ip(), destination.ip(), body)
}

impl Packet<Tcp> {
    /// The control bits.
    pub const fn flags(mut self, flags: TcpFlags) -> Self {
        self.body.flags = flags;
        self
    }

    /// The sequence number.
    pub const fn seq(mut self, seq: u32) -> Self {
        self.body.seq = seq;
        self
    }

    /// The acknowledgement number; sets the ACK bit too.
    pub fn ack(mut self, ack: u32) -> Self {
        self.body.ack = ack;
        self.body.flags = self.body.flags | TcpFlags::ACK;
        self
    }

    /// The window.
    pub const fn window(mut self, window: u16) -> Self {
        self.body.window = window;
        self
    }

    /// TCP options, filled with zeros to whole words.
    ///
    /// # Panics
    /// If they are longer than 40 bytes.
    pub fn tcp_options(mut self, options: &[u8]) -> Self {
        assert!(options.len() <= 40, "{} bytes of TCP options; 40 fit", options.len());
        self.body.options = options.to_vec();
        self.body.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// The data.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.body.payload = payload.to_vec();
        self
    }

    /// Breaks the data offset (right without options: 5 words).
    pub const fn data_offset(mut self, words: u8) -> Self {
        self.body.data_offset = Some(words & 15);
        self
    }
}

impl Body for Tcp {
    fn protocol(&self) -> u8 {
        TCP
    }

    fn emit(&self) -> Vec<u8> {
        let words = self.data_offset.unwrap_or(5 + (self.options.len() / 4) as u8);
        let mut bytes = Vec::with_capacity(20 + self.options.len() + self.payload.len());
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([words << 4, self.flags.0]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        bytes
    }

    fn checksum_field(&self) -> Option<ChecksumField> {
        Some(ChecksumField { offset: 16, pseudo_header: true, never_zero: false })
    }
}

/// A UDP datagram.
#[derive(Debug, Clone)]
pub struct Udp {
    ports: (u16, u16),
    payload: Vec<u8>,
    length: Option<u16>,
    checksum: bool,
}

/// A UDP datagram from `source` to `destination`, empty unless it is given a payload.
///
/// # Panics
/// If the addresses are of different families.
#[track_caller]
pub fn udp(source: SocketAddr, destination: SocketAddr) -> Packet<Udp> {
    let ports = (source.port(), destination.port());
    Packet::new(
        source.ip(),
        destination.ip(),
        Udp { ports, payload: Vec::new(), length: None, checksum: true },
    )
}

impl Packet<Udp> {
    /// The data.
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.body.payload = payload.to_vec();
        self
    }

    /// Sends no checksum: the field is 0 (allowed with IPv4).
    pub const fn without_checksum(mut self) -> Self {
        self.body.checksum = false;
        self
    }

    /// Breaks the UDP length field.
    pub const fn udp_length(mut self, length: u16) -> Self {
        self.body.length = Some(length);
        self
    }
}

impl Body for Udp {
    fn protocol(&self) -> u8 {
        UDP
    }

    fn emit(&self) -> Vec<u8> {
        let length = self.length.unwrap_or_else(|| u16::try_from(8 + self.payload.len()).unwrap_or(0));
        let mut bytes = Vec::with_capacity(8 + self.payload.len());
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(&self.payload);
        bytes
    }

    fn checksum_field(&self) -> Option<ChecksumField> {
        self.checksum.then_some(ChecksumField { offset: 6, pseudo_header: true, never_zero: true })
    }
}

/// Bytes of a protocol that needs no builder (SCTP, GRE, IP in IP, protocol 59...).
#[derive(Debug, Clone)]
pub struct Raw {
    protocol: u8,
    bytes: Vec<u8>,
}

/// An IP packet that carries `bytes` as protocol number `protocol`, without any checksum of their own.
///
/// # Panics
/// If the addresses are of different families.
#[track_caller]
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, bytes: &[u8]) -> Packet<Raw> {
    Packet::new(source, destination, Raw { protocol, bytes: bytes.to_vec() })
}

impl Body for Raw {
    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn emit(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    fn checksum_field(&self) -> Option<ChecksumField> {
        None
    }
}
