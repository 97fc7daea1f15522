//! IPv4 and IPv6 packets around a body, whole, in fragments, or with the work left to the hardware.

use std::net::IpAddr;
use std::ops::Range;

use lvs_core::MacAddr;
use lvs_core::io::{Gso, GsoKind, Meta, PartialChecksum, VlanTag};

use super::checksum::{checksum, pseudo_header};
use super::link::{Link, link_methods};
use super::transport::ChecksumField;
use super::{FRAGMENT, HOP_BY_HOP, IPV4, IPV6, ROUTING, TCP};

/// What an IP packet carries: [`Tcp`](super::Tcp), [`Udp`](super::Udp), [`Icmp`](super::Icmp) or
/// [`Raw`](super::Raw).
pub trait Body {
    /// The protocol number.
    fn protocol(&self) -> u8;
    /// Header and payload, with a checksum field of zero.
    fn emit(&self) -> Vec<u8>;
    /// Where the checksum is and what it covers; `None` if there is none to compute.
    fn checksum_field(&self) -> Option<ChecksumField>;
}

/// An IP packet on its way to a frame.
///
/// Defaults: TTL 64, TOS 0, id 0, DF set (IPv4), no options, a flow label of 0, checksums right.
#[derive(Debug, Clone)]
#[must_use = "nothing is built until `build` is called"]
pub struct Packet<B> {
    pub(super) link: Link,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) body: B,
    ttl: u8,
    tos: u8,
    id: u32,
    dont_fragment: bool,
    flow_label: u32,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    faults: Faults,
}

/// What shall be wrong.
#[derive(Debug, Clone, Default)]
struct Faults {
    ip_checksum: bool,
    body_checksum: bool,
    ip_length: Option<u16>,
    header_words: Option<u8>,
    version: Option<u8>,
}

impl<B: Body> Packet<B> {
    /// # Panics
    /// If the addresses are of different families.
    #[track_caller]
    pub(super) fn new(source: IpAddr, destination: IpAddr, body: B) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "{source} and {destination}: two families");
        Self {
            link: Link::default(),
            source,
            destination,
            body,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: true,
            flow_label: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            faults: Faults::default(),
        }
    }

    link_methods!();

    /// Time to live, or hop limit.
    pub const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Type of service, or traffic class.
    pub const fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Identification: the low 16 bits in IPv4, all 32 in an IPv6 fragment header.
    pub const fn id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Whether the packet must not be fragmented (IPv4; set by default).
    pub const fn dont_fragment(mut self, yes: bool) -> Self {
        self.dont_fragment = yes;
        self
    }

    /// The flow label, 20 bits (IPv6).
    pub const fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label & 0xf_ffff;
        self
    }

    /// IPv4 options, filled with zeros to whole words.
    ///
    /// # Panics
    /// If they are longer than 40 bytes.
    pub fn options(mut self, options: &[u8]) -> Self {
        assert!(options.len() <= 40, "{} bytes of IPv4 options; 40 fit", options.len());
        self.options = options.to_vec();
        self.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an IPv6 extension header: `kind` is its protocol number, `content` what follows the next
    /// header and length bytes, filled with zeros to whole 8 bytes. Headers appear in call order.
    pub fn extension(mut self, kind: u8, content: &[u8]) -> Self {
        let mut bytes = content.to_vec();
        bytes.resize((content.len() + 2).next_multiple_of(8) - 2, 0);
        self.extensions.push((kind, bytes));
        self
    }

    /// Breaks the IPv4 header checksum.
    pub const fn bad_ip_checksum(mut self) -> Self {
        self.faults.ip_checksum = true;
        self
    }

    /// Breaks the checksum of the body, if it has one.
    pub const fn bad_checksum(mut self) -> Self {
        self.faults.body_checksum = true;
        self
    }

    /// Breaks the length: IPv4 total length, IPv6 payload length.
    pub const fn ip_length(mut self, length: u16) -> Self {
        self.faults.ip_length = Some(length);
        self
    }

    /// Breaks the IPv4 header length field (right without options: 5 words).
    pub const fn header_words(mut self, words: u8) -> Self {
        self.faults.header_words = Some(words & 15);
        self
    }

    /// Breaks the version field.
    pub const fn version(mut self, version: u8) -> Self {
        self.faults.version = Some(version & 15);
        self
    }

    /// The frame.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let body = self.finished_body();
        self.frame(&body, None)
    }

    /// The frame as a kernel hands it to a device that computes transport checksums: the checksum
    /// field holds the pseudo-header sum, and the metadata says where the rest belongs.
    ///
    /// # Panics
    /// If the body has no checksum with a pseudo header.
    #[must_use]
    pub fn build_offloaded(&self) -> (Vec<u8>, Meta) {
        let field = self.body.checksum_field().filter(|f| f.pseudo_header).expect("a TCP or UDP body");
        let mut body = self.body.emit();
        let sum = !self.pseudo_sum(body.len()).ones_complement().to_be();
        body[field.offset..field.offset + 2].copy_from_slice(&sum.to_be_bytes());
        let frame = self.frame(&body, None);
        let start = u16::try_from(frame.len() - body.len()).expect("headers are short");
        let offset = u16::try_from(field.offset).expect("headers are short");
        (frame, Meta { checksum: Some(PartialChecksum { start, offset }), ..Meta::default() })
    }

    /// As [`build_offloaded`](Self::build_offloaded), with the request to cut the payload into pieces of
    /// `size` bytes.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn build_merged(&self, size: u16) -> (Vec<u8>, Meta) {
        let (frame, mut meta) = self.build_offloaded();
        let kind = match (self.body.protocol(), self.source) {
            (TCP, IpAddr::V4(_)) => GsoKind::Tcp4,
            (TCP, IpAddr::V6(_)) => GsoKind::Tcp6,
            _ => GsoKind::UdpL4,
        };
        let transport = meta.checksum.map_or(0, |c| c.start);
        let body =
            if kind == GsoKind::UdpL4 { 8 } else { u16::from(frame[usize::from(transport) + 12] >> 4) * 4 };
        meta.gso = Some(Gso { kind, size, header_length: transport + body, ecn: false });
        (frame, meta)
    }

    /// The packet in fragments that fit `mtu` bytes of IP, in order.
    ///
    /// # Panics
    /// If not even 8 bytes of payload fit.
    #[must_use]
    pub fn fragments(&self, mtu: usize) -> Vec<Vec<u8>> {
        let whole = self.fragmentable().1.len();
        let header = self.frame(&[], None).len() - self.link.header_len()
            + if self.source.is_ipv6() { 8 } else { 0 }
            - self.fragmentable_extensions_len();
        let room = mtu.saturating_sub(header) / 8 * 8;
        assert!(room > 0, "no payload fits an MTU of {mtu} with {header} bytes of headers");
        (0..whole)
            .step_by(room)
            .map(|at| self.fragment(at..whole.min(at + room), at + room < whole))
            .collect()
    }

    /// One fragment: the bytes `range` of what may be cut (transport header first), `more` to come.
    ///
    /// # Panics
    /// If the range does not begin at a multiple of 8 or does not lie within the packet.
    #[must_use]
    pub fn fragment(&self, range: Range<usize>, more: bool) -> Vec<u8> {
        assert!(
            range.start.is_multiple_of(8),
            "a fragment begins at a multiple of 8, not at {}",
            range.start
        );
        let (first, bytes) = self.fragmentable();
        self.frame(&bytes[range.clone()], Some(Fragment { first, offset: range.start, more }))
    }

    /// Header and payload of the body with their checksum.
    fn finished_body(&self) -> Vec<u8> {
        let mut body = self.body.emit();
        let Some(field) = self.body.checksum_field() else { return body };
        let sum = if field.pseudo_header {
            self.pseudo_sum(body.len())
        } else {
            etherparse::checksum::Sum16BitWords::new()
        }
        .add_slice(&body);
        let sum =
            if field.never_zero { sum.to_ones_complement_with_no_zero() } else { sum.ones_complement() };
        let sum = sum.to_be() ^ if self.faults.body_checksum { 0x5555 } else { 0 };
        body[field.offset..field.offset + 2].copy_from_slice(&sum.to_be_bytes());
        body
    }

    fn pseudo_sum(&self, length: usize) -> etherparse::checksum::Sum16BitWords {
        pseudo_header(self.source, self.destination, self.body.protocol(), length)
    }

    /// What fragments are cut from, and the protocol number it begins with.
    fn fragmentable(&self) -> (u8, Vec<u8>) {
        let mut bytes = self.finished_body();
        let mut next = self.body.protocol();
        if self.source.is_ipv6() {
            for (kind, content) in self.extensions.iter().rev().filter(|(kind, _)| !stays_in_front(*kind)) {
                let mut header = extension_header(next, content);
                header.append(&mut bytes);
                (bytes, next) = (header, *kind);
            }
        }
        (next, bytes)
    }

    fn fragmentable_extensions_len(&self) -> usize {
        let cut = |(kind, _): &&(u8, Vec<u8>)| !stays_in_front(*kind);
        if self.source.is_ipv4() {
            0
        } else {
            self.extensions.iter().filter(cut).map(|(_, c)| c.len() + 2).sum()
        }
    }

    fn frame(&self, payload: &[u8], fragment: Option<Fragment>) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut packet = self.ipv4_header(payload.len(), fragment);
                packet[12..16].copy_from_slice(&source.octets());
                packet[16..20].copy_from_slice(&destination.octets());
                let sum = checksum(&packet) ^ if self.faults.ip_checksum { 0x5555 } else { 0 };
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                packet.extend(payload);
                self.link.wrap(IPV4, &packet)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (first, headers) = self.ipv6_extensions(fragment);
                let length = u16::try_from(headers.len() + payload.len()).unwrap_or(0);
                let version = u32::from(self.faults.version.unwrap_or(6));
                let mut packet =
                    (version << 28 | u32::from(self.tos) << 20 | self.flow_label).to_be_bytes().to_vec();
                packet.extend(self.faults.ip_length.unwrap_or(length).to_be_bytes());
                packet.extend([first, self.ttl]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
                packet.extend(headers);
                packet.extend(payload);
                self.link.wrap(IPV6, &packet)
            }
            _ => unreachable!("`new` refuses two families"),
        }
    }

    /// The IPv4 header without addresses and checksum.
    fn ipv4_header(&self, payload: usize, fragment: Option<Fragment>) -> Vec<u8> {
        let length = 20 + self.options.len();
        let words = self.faults.header_words.unwrap_or((length / 4) as u8);
        let total = u16::try_from(length + payload).unwrap_or(0);
        let flags = match fragment {
            Some(f) => (f.offset / 8) as u16 | if f.more { 0x2000 } else { 0 },
            None if self.dont_fragment => 0x4000,
            None => 0,
        };
        let mut header = vec![self.faults.version.unwrap_or(4) << 4 | words, self.tos];
        header.extend(self.faults.ip_length.unwrap_or(total).to_be_bytes());
        header.extend((self.id as u16).to_be_bytes());
        header.extend(flags.to_be_bytes());
        header.extend([self.ttl, self.body.protocol()]);
        header.resize(20, 0);
        header.extend(&self.options);
        header
    }

    /// The extension headers in front of the payload, and the protocol number of the first header.
    fn ipv6_extensions(&self, fragment: Option<Fragment>) -> (u8, Vec<u8>) {
        let mut next = fragment.as_ref().map_or(self.body.protocol(), |f| f.first);
        let mut bytes = Vec::new();
        if let Some(f) = &fragment {
            let offset = f.offset as u16 | u16::from(f.more);
            bytes.extend([next, 0]);
            bytes.extend(offset.to_be_bytes());
            bytes.extend(self.id.to_be_bytes());
            next = FRAGMENT;
        }
        for (kind, content) in self.extensions.iter().rev() {
            if fragment.is_none() || stays_in_front(*kind) {
                let mut header = extension_header(next, content);
                header.append(&mut bytes);
                (bytes, next) = (header, *kind);
            }
        }
        (next, bytes)
    }
}

#[derive(Debug)]
struct Fragment {
    /// Protocol number of what the fragments are cut from.
    first: u8,
    offset: usize,
    more: bool,
}

/// Headers that routers on the way read are repeated in each fragment (RFC 8200 section 4.5).
const fn stays_in_front(kind: u8) -> bool {
    matches!(kind, HOP_BY_HOP | ROUTING)
}

fn extension_header(next: u8, content: &[u8]) -> Vec<u8> {
    let mut header = vec![next, ((content.len() + 2) / 8 - 1) as u8];
    header.extend(content);
    header
}
