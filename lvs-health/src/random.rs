//! Seeded numbers for jitter, ports and sequence numbers (SplitMix64). For what an attacker must not guess, the caller seeds it
//! from the operating system.

/// A sequence of numbers that looks random.
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
