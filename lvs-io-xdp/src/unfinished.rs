//! Recognises frames whose checksum the sender has left to the hardware.
//!
//! Such a frame carries the sum of its pseudo-header where the checksum belongs (that is what Linux writes
//! for hardware to go on from), and only metadata that AF_XDP does not carry say so. On a wire it would have
//! been finished; between veth ends it is not, and its receiver throws it away.
//!
//! Does no I/O. The frames to look at are chosen by the caller; one costs some 20 ns, one whose field matches
//! a sum over all its bytes.

/// Whether a frame is TCP or UDP with an unfinished checksum. Fragments and frames with IPv6 extension headers are not
/// looked at.
pub(crate) fn is_unfinished(frame: &[u8]) -> bool {
    segment(frame).is_some_and(|(pseudo_header, segment, field)| {
        let Some(&[a, b]) = segment.get(field..).and_then(|bytes| bytes.first_chunk()) else { return false };
        // A finished checksum may have that value by chance: then the sum over everything is right.
        u16::from_be_bytes([a, b]) == fold(pseudo_header) && fold(pseudo_header + sum(segment)) != 0xffff
    })
}

/// The sum of the pseudo-header, the transport segment, and where its checksum lies.
fn segment(frame: &[u8]) -> Option<(u64, &[u8], usize)> {
    let mut at = 12;
    let mut kind = half(frame, at)?;
    while matches!(kind, 0x8100 | 0x88a8) {
        at += 4;
        kind = half(frame, at)?;
    }
    let packet = frame.get(at + 2..)?;
    let (protocol, addresses, segment) = match kind {
        0x0800 => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let fragment = half(packet, 6)? & 0x3fff;
            let total = usize::from(half(packet, 2)?);
            (*packet.get(9).filter(|_| fragment == 0)?, packet.get(12..20)?, packet.get(header..total)?)
        }
        0x86dd => {
            let end = 40 + usize::from(half(packet, 4)?);
            (*packet.get(6)?, packet.get(8..40)?, packet.get(40..end)?)
        }
        _ => return None,
    };
    let field = match protocol {
        6 => 16,
        17 => 6,
        _ => return None,
    };
    Some((sum(addresses) + u64::from(protocol) + segment.len() as u64, segment, field))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|half| u16::from_be_bytes(*half))
}

fn sum(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>() + last
}

/// The one's complement sum in 16 bits (RFC 1071).
const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests;
