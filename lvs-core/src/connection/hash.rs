//! The flow hash: fast, and keyed so that nobody outside can choose addresses that collide.
//!
//! Two folded multiplications (the 128-bit product's halves XORed) over the key's words, each XORed with secret
//! words first. SipHash would cost as much as all the rest of an established frame's way.

use crate::classify::FlowKey;

/// The secret of one director's life.
#[derive(Clone, Copy)]
pub(crate) struct FlowHasher {
    secret: [u64; 4],
}

/// The hash of a flow. Its bits are spent on: the first bucket (upper half), the second bucket (lower half), and
/// the tag (lowest 16 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FlowHash(pub(crate) u64);

impl FlowHash {
    /// Of nothing.
    pub(crate) const NONE: Self = Self(0);
}

impl FlowHasher {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let mut secret = [0; 4];
        for (word, bytes) in secret.iter_mut().zip(seed.chunks_exact(8)) {
            *word = bytes.try_into().map_or(0, u64::from_le_bytes);
        }
        Self { secret }
    }

    /// A number for other random choices (jitter, ids), distinct for each `purpose`.
    pub(crate) fn derive(&self, purpose: u64) -> u64 {
        let [a, b, c, d] = self.secret;
        folded(folded(purpose ^ a, b) ^ c, d | 1)
    }

    #[inline(always)]
    pub(crate) fn hash(&self, key: &FlowKey) -> FlowHash {
        match *key {
            FlowKey::V4 { addresses, ports, protocol } => self.hash_v4(addresses, ports, protocol),
            FlowKey::V6 { client, virtual_address, ports, protocol } => {
                self.hash_v6(client, virtual_address, ports, protocol)
            }
        }
    }

    #[inline(always)]
    pub(crate) fn hash_v4(&self, addresses: u64, ports: u32, protocol: u8) -> FlowHash {
        let [a, b, c, d] = self.secret;
        let rest = u64::from(ports) << 8 | u64::from(protocol);
        FlowHash(folded(folded(addresses ^ a, rest ^ b) ^ c, addresses ^ d))
    }

    #[inline(always)]
    pub(crate) fn hash_v6(&self, client: u128, virtual_address: u128, ports: u32, protocol: u8) -> FlowHash {
        let [a, b, c, d] = self.secret;
        let rest = u64::from(ports) << 8 | u64::from(protocol) | 1 << 63;
        let first = folded((client >> 64) as u64 ^ a, client as u64 ^ b);
        let second = folded((virtual_address >> 64) as u64 ^ c, virtual_address as u64 ^ d);
        FlowHash(folded(first ^ rest ^ c, second ^ rest.rotate_left(32) ^ a))
    }
}

#[inline(always)]
const fn folded(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn hasher(n: u8) -> FlowHasher {
        let mut seed = [0x5a_u8; 32];
        for (i, byte) in seed.iter_mut().enumerate() {
            *byte = byte.wrapping_mul(n.wrapping_add((i as u8).wrapping_mul(37)));
        }
        FlowHasher::new(&seed)
    }

    fn v4(client: u32, port: u16) -> FlowKey {
        FlowKey::V4 {
            addresses: u64::from(client) << 32 | 0xc0a8_00fa,
            ports: u32::from(port) << 16 | 80,
            protocol: 6,
        }
    }

    /// The keys that real networks have (runs of addresses and ports) spread over buckets as chance would.
    #[test]
    fn runs_of_addresses_and_ports_spread() {
        for seed in 1..20 {
            let hasher = hasher(seed);
            for (stride, shift) in [(1u32, 0), (256, 0), (65536, 0), (1, 16)] {
                let mut counts = vec![0u32; 4096];
                for n in 0..32768u32 {
                    let key = if shift == 0 {
                        v4(0x0a00_0000u32.wrapping_add(n.wrapping_mul(stride)), 4000)
                    } else {
                        v4(0x0a00_0001, n as u16)
                    };
                    let bucket = hasher.hash(&key).0 >> 52;
                    counts[bucket as usize] += 1;
                }
                let most = counts.iter().max().copied().unwrap_or(0);
                // 8 on average; chance exceeds 32 once in some 10^9 buckets.
                assert!(most <= 32, "seed {seed} stride {stride} shift {shift}: {most} in one bucket");
            }
        }
    }

    #[test]
    fn families_and_protocols_differ() {
        let hasher = hasher(3);
        let tcp = v4(1, 2);
        let udp = FlowKey::V4 { addresses: 1 << 32 | 0xc0a8_00fa, ports: 2 << 16 | 80, protocol: 17 };
        assert_ne!(hasher.hash(&tcp), hasher.hash(&udp));
        let six = FlowKey::V6 { client: 1, virtual_address: 0xc0a8_00fa, ports: 2 << 16 | 80, protocol: 6 };
        assert_ne!(hasher.hash(&tcp), hasher.hash(&six));
    }
}
