//! Frames of people who wish the director ill.
//!
//! Two attackers. One sends SYNs from random addresses until the table is full, and goes on. The other knows the code: it
//! runs the director's flow hash ([`Guess`], written down here from `lvs-core/src/connection/hash.rs`) with a key of its
//! own and sends the flows that collide there. If the key matters, its flows are as good as random to a director with
//! another key; a test shows that they are not to one with the same key, so this copy cannot go stale unnoticed.

use crate::traffic::{Flow, PORT, VIP4};

/// The flow hash with a key of the attacker's.
#[derive(Debug, Clone)]
pub struct Guess {
    secret: [u64; 4],
}

/// Both numbers that a hash gives for buckets must lie in the lowest 1/`NARROW` of their range.
const NARROW: u64 = 64;
const TCP: u64 = 6;

impl Guess {
    /// With this key.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut secret = [0; 4];
        for (word, bytes) in secret.iter_mut().zip(seed.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("8 bytes"));
        }
        Self { secret }
    }

    /// IPv4 flows to the service that want the same 1/64 of all buckets, both as their first and as their second. Finding one
    /// takes some 4000 tries.
    pub fn collisions(&self) -> impl Iterator<Item = Flow> + '_ {
        let all = (0x1000_0000u32..0x2000_0000)
            .flat_map(|address| [1024u16, 20_000, 40_000, 60_000].map(|port| Flow { address, port }));
        all.filter(|flow| {
            let hash = self.hash(*flow);
            (hash >> 32) < (1 << 32) / NARROW && (hash & 0xffff_ffff) < (1 << 32) / NARROW
        })
    }

    fn hash(&self, flow: Flow) -> u64 {
        let [a, b, c, d] = self.secret;
        let addresses = u64::from(flow.address) << 32 | u64::from(VIP4.to_bits());
        let ports = u64::from(flow.port) << 16 | u64::from(PORT);
        let rest = ports << 8 | TCP;
        folded(folded(addresses ^ a, rest ^ b) ^ c, addresses ^ d)
    }
}

const fn folded(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Ring;
    use crate::subject::{SEED, Subject};
    use crate::traffic::{Family, Kind, Traffic};

    /// How many of 3000 colliding flows get no connection in a table for 16,384.
    fn without_a_place(guessed: &[u8; 32], seed: &[u8; 32]) -> u32 {
        let mut subject = Subject::with_seed(Family::Ipv4, 1 << 14, *seed);
        let flows: Vec<Flow> = Guess::new(guessed).collisions().take(3000).collect();
        subject.send(&mut Ring::new(), &Traffic::new(Family::Ipv4, Kind::Syn), flows.iter().copied());
        assert_eq!(subject.director.statistics().transmitted, 3000, "all are served");
        3000 - subject.connections()
    }

    #[test]
    fn without_the_key_colliding_flows_are_like_any_others() {
        let guessed = [0x6b; 32];
        let known = without_a_place(&guessed, &guessed);
        assert!(
            known > 1000,
            "{known}: this copy of the flow hash no longer is lvs-core's; bring it up to date"
        );
        assert_eq!(without_a_place(&guessed, &SEED), 0);
    }
}
