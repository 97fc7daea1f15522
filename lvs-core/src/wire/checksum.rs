//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use core::net::{Ipv4Addr, Ipv6Addr};

/// A ones' complement sum on its way to becoming a checksum.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes that begin at an even offset of what is summed; an odd last byte is padded with zero.
    #[must_use]
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut chunks = bytes.chunks_exact(4);
        for chunk in &mut chunks {
            if let Ok(word) = chunk.try_into() {
                self.0 += u64::from(u32::from_be_bytes(word));
            }
        }
        let rest = chunks.remainder();
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.0 += u64::from(u32::from_be_bytes(last));
        self
    }

    /// Adds a 32-bit number.
    #[must_use]
    pub(crate) const fn word(mut self, word: u32) -> Self {
        self.0 += word as u64;
        self
    }

    /// The sum folded to 16 bits, not complemented: 0xffff for a correct header with its checksum.
    #[must_use]
    pub(crate) const fn folded(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        sum = (sum >> 32) + (sum & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }

    /// The checksum: what to write into the field that was summed as zero.
    #[must_use]
    pub(crate) const fn finish(self) -> u16 {
        !self.folded()
    }
}

/// The sum over the pseudo-header of TCP, UDP and ICMPv6 over IPv6 (RFC 8200 section 8.1).
pub(crate) fn pseudo_header_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u32) -> Sum {
    Sum::default().bytes(&source.octets()).bytes(&destination.octets()).word(length).word(u32::from(protocol))
}

/// The sum over the pseudo-header of TCP and UDP over IPv4 (RFC 9293 section 3.1).
pub(crate) fn pseudo_header_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Sum {
    Sum::default()
        .word(source.to_bits())
        .word(destination.to_bits())
        .word(u32::from(protocol) << 16 | u32::from(length))
}

/// Whether a whole IPv4 header, options included, sums up right.
#[inline]
pub(crate) fn ipv4_header_is_valid(header: &[u8]) -> bool {
    Sum::default().bytes(header).folded() == 0xffff
}

/// The checksum after one 16-bit word that it covers has changed (RFC 1624, equation 3).
#[must_use]
pub(crate) const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = (!checksum) as u32 + (!old) as u32 + new as u32;
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// The definition, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    proptest! {
        #[test]
        fn equals_the_definition(bytes: Vec<u8>) {
            prop_assert_eq!(Sum::default().bytes(&bytes).finish(), naive(&bytes));
        }

        #[test]
        fn an_update_equals_a_new_sum(mut header: [u8; 20], at in 0usize..10, new: u16) {
            header[10] = 0;
            header[11] = 0;
            prop_assume!(at != 5);
            let before = Sum::default().bytes(&header).finish();
            let old = u16::from_be_bytes([header[2 * at], header[2 * at + 1]]);
            header[2 * at..2 * at + 2].copy_from_slice(&new.to_be_bytes());
            let after = update(before, old, new);
            header[10..12].copy_from_slice(&after.to_be_bytes());
            prop_assert!(ipv4_header_is_valid(&header));
        }
    }
}
