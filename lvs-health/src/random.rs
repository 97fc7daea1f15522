//! Seeded numbers: for jitter, and for what nobody must guess.

use sha2::{Digest as _, Sha256};

/// A sequence of numbers that looks random (SplitMix64). Whoever sees one knows the next.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        // The high half of a product: the bias is below one in 2^32 for the bounds used here.
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }
}

/// A sequence of numbers of which those that were seen do not tell the next: real servers see the sequence numbers of their own
/// probes, and one that is hostile could otherwise answer for the others. The seed is from the operating system's random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Secret {
    seed: u64,
    count: u64,
}

impl Secret {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.count += 1;
        let digest =
            Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(self.count.to_be_bytes());
        digest.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a number of [`Random`]'s was made of.
    fn state_of(number: u64) -> u64 {
        let unshift = |z: u64, by: u32| (0..64 / by).fold(z, |known, _| z ^ (known >> by));
        let z = unshift(number, 31).wrapping_mul(0x3196_42b2_d24d_8ec3);
        let z = unshift(z, 27).wrapping_mul(0x96de_1b17_3f11_9089);
        unshift(z, 30)
    }

    #[test]
    fn a_secret_is_not_told_by_what_was_seen() {
        let mut random = Random::new(7);
        let seen = random.next();
        assert_eq!(Random::new(state_of(seen)).next(), random.next(), "the attack works");
        let mut secret = Secret::new(7);
        let seen = secret.next();
        assert_ne!(Random::new(state_of(seen)).next(), secret.next());
        let numbers: std::collections::BTreeSet<u64> = (0..1000).map(|_| secret.next()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
