//! A fast hash for control-plane tables whose keys the operator chooses (services, local addresses). Not for keys
//! that outsiders choose: it has no secret.

use core::hash::{BuildHasherDefault, Hasher};

/// A map with this hash.
pub(crate) type QuickMap<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<QuickHasher>>;
/// A set with this hash.
pub(crate) type QuickSet<K> = hashbrown::HashSet<K, BuildHasherDefault<QuickHasher>>;

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct QuickHasher(u64);

impl QuickHasher {
    /// With a secret, for keys that outsiders may choose among.
    pub(crate) const fn keyed(secret: u64) -> Self {
        Self(secret)
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.mix(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_u128(&mut self, n: u128) {
        self.mix(n as u64);
        self.mix((n >> 64) as u64);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
}
