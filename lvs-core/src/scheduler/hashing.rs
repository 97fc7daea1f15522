//! Schedulers that give an address always the same server: sh by the client's, dh by the virtual one.
//!
//! Both look into 256 buckets that are filled by walking the list round and round; the hash and the order are the
//! kernel's, so that a kernel director with the same list agrees. They do not depend on servers' addresses.

use super::{Grounds, ListChange, Request, Scheduler, SchedulerState, Server};
use crate::config::SchedulerFlags;

const BUCKETS: usize = 256;
/// The multiplier of the kernel's 32-bit hash; the top eight bits of the product are the bucket.
const MULTIPLIER: u32 = 0x61c8_8647;

/// What sh and mh hash, and what they do when the server is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HashFlags {
    /// Hash the client's port too (`sh-port`, `mh-port`).
    pub port: bool,
    /// Look for another server if the one that is meant is not available (`sh-fallback`, `mh-fallback`). Without it
    /// the client is refused.
    pub fallback: bool,
}

impl From<SchedulerFlags> for HashFlags {
    fn from(flags: SchedulerFlags) -> Self {
        Self {
            port: flags.contains(SchedulerFlags::PORT),
            fallback: flags.contains(SchedulerFlags::FALLBACK),
        }
    }
}

impl HashFlags {
    /// What is hashed of a flow.
    pub(super) fn value(self, request: &Request<'_>) -> u32 {
        let port = if self.port { u32::from(request.flow.client_port()) } else { 0 };
        request.flow.folded_client().wrapping_add(port)
    }
}

/// The places of servers, by bucket.
#[derive(Debug, Clone)]
struct Buckets([u16; BUCKETS]);

const NOBODY: u16 = u16::MAX;

impl Buckets {
    const EMPTY: Self = Self([NOBODY; BUCKETS]);

    /// Fills them by walking the list; each server takes as many as `width` says before it is the next one's turn.
    fn fill(&mut self, servers: &[Server], width: impl Fn(&Server) -> u32) {
        let places = servers.iter().take(usize::from(NOBODY)).enumerate();
        let turns = places.cycle().flat_map(|(place, server)| {
            core::iter::repeat_n(place as u16, width(server).min(BUCKETS as u32) as usize)
        });
        self.0.fill(NOBODY);
        for (bucket, place) in self.0.iter_mut().zip(turns) {
            *bucket = place;
        }
    }

    /// For explanations: this bucket, and who has it.
    fn grounds(&self, bucket: u8, with_port: bool) -> Grounds {
        let place = self.0[usize::from(bucket)];
        let holder = (place != NOBODY).then_some(usize::from(place));
        Grounds::Entry { number: bucket.into(), of: BUCKETS as u32, holder, with_port }
    }

    fn available(&self, bucket: usize, servers: &[Server]) -> Option<usize> {
        let place = usize::from(self.0[bucket % BUCKETS]);
        servers.get(place)?.is_available().then_some(place)
    }
}

const fn bucket_of(value: u32) -> usize {
    (value.wrapping_mul(MULTIPLIER) >> 24) as usize
}

/// The scheduler `sh`: by the client's address. A server takes as many buckets as its weight, one at least; a server of
/// weight 0 keeps its bucket, and its clients are refused or sent elsewhere.
#[derive(Debug, Clone)]
pub struct SourceHashing {
    flags: HashFlags,
    buckets: Buckets,
    /// The last pick's.
    bucket: u8,
}

impl SourceHashing {
    /// For an empty list.
    #[must_use]
    pub const fn new(flags: HashFlags) -> Self {
        Self { flags, buckets: Buckets::EMPTY, bucket: 0 }
    }
}

impl Scheduler for SourceHashing {
    fn list_changed(&mut self, _change: ListChange, servers: &[Server]) {
        self.buckets.fill(servers, |server| server.weight.max(1));
    }

    fn pick(&mut self, request: &Request<'_>, servers: &[Server]) -> Option<usize> {
        let bucket = bucket_of(self.flags.value(request));
        self.bucket = bucket as u8;
        let first = self.buckets.available(bucket, servers);
        if first.is_some() || !self.flags.fallback {
            return first;
        }
        // As in IPVS the n-th try adds the first bucket's number and n after hashing.
        (0..BUCKETS).find_map(|n| self.buckets.available(bucket + (bucket + n) % BUCKETS, servers))
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::Hash
    }

    fn grounds(&self) -> Grounds {
        self.buckets.grounds(self.bucket, self.flags.port)
    }
}

/// The scheduler `dh`: by the virtual address. Every server takes one bucket at a turn, whatever its weight; there is no
/// second choice.
#[derive(Debug, Clone)]
pub struct DestinationHashing {
    buckets: Buckets,
    /// The last pick's.
    bucket: u8,
}

impl DestinationHashing {
    /// For an empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: Buckets::EMPTY, bucket: 0 }
    }
}

impl Default for DestinationHashing {
    fn default() -> Self {
        Self::new()
    }
}

impl Scheduler for DestinationHashing {
    fn list_changed(&mut self, _change: ListChange, servers: &[Server]) {
        self.buckets.fill(servers, |_| 1);
    }

    fn pick(&mut self, request: &Request<'_>, servers: &[Server]) -> Option<usize> {
        let bucket = bucket_of(request.flow.folded_virtual());
        self.bucket = bucket as u8;
        self.buckets.available(bucket, servers)
    }

    fn state(&self) -> SchedulerState {
        SchedulerState::Hash
    }

    fn grounds(&self) -> Grounds {
        self.buckets.grounds(self.bucket, false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, flow};
    use super::*;

    #[test]
    fn an_empty_list_and_one_without_weights_have_nobody() {
        let flags = HashFlags { port: false, fallback: true };
        let mut bench = Bench::new(SourceHashing::new(flags));
        assert_eq!(bench.pick(&flow(1)), None);
        bench.add(1, 0);
        assert_eq!(bench.pick(&flow(1)), None);
    }

    #[test]
    fn weights_are_shares_of_the_buckets() {
        let mut bench = Bench::new(SourceHashing::new(HashFlags::default()));
        bench.add(1, 1);
        bench.add(2, 3);
        let of_second = bench.scheduler.buckets.0.iter().filter(|place| **place == 0).count();
        assert_eq!(of_second, 192);
    }

    #[test]
    fn fallback_finds_the_last_one_left() {
        for fallback in [false, true] {
            let mut bench = Bench::new(SourceHashing::new(HashFlags { port: false, fallback }));
            for rip in 1..=4 {
                bench.add(rip, u32::from(rip == 2));
            }
            let found = (0..100).filter(|n| bench.pick(&flow(*n * 77)).is_some()).count();
            assert!(if fallback { found == 100 } else { found < 60 }, "{found}");
        }
    }
}
