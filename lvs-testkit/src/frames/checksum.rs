//! The Internet checksum (RFC 1071), summed by etherparse, and what a network card would do with an
//! unfinished one.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;
use lvs_core::io::PartialChecksum;

/// The Internet checksum over `bytes`, as it stands in a header whose checksum field was zero. Over
/// bytes that contain a right checksum it is 0.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum16BitWords::new().add_slice(bytes).ones_complement().to_be()
}

/// Does what the hardware does with an unfinished transport checksum: sums from `partial.start` to the
/// end and stores the result.
///
/// # Panics
/// If the field does not lie within the frame.
pub fn finish_checksum(frame: &mut [u8], partial: PartialChecksum) {
    let start = usize::from(partial.start);
    let at = start + usize::from(partial.offset);
    assert!(at + 2 <= frame.len(), "the checksum field lies at {at}, the frame has {} bytes", frame.len());
    let sum = Sum16BitWords::new().add_slice(&frame[start..]).to_ones_complement_with_no_zero().to_be();
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The sum over the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub(super) fn pseudo_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    length: usize,
) -> Sum16BitWords {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let sum = match (source, destination) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Sum16BitWords::new().add_slice(&a.octets()).add_slice(&b.octets()),
        (IpAddr::V6(a), IpAddr::V6(b)) => Sum16BitWords::new().add_slice(&a.octets()).add_slice(&b.octets()),
        _ => unreachable!("a packet's addresses are of one family"),
    };
    sum.add_slice(&length.to_be_bytes()).add_2bytes([0, protocol])
}
