//! Schedulers by their definitions: each pick looks at all servers, and tables are filled anew for it.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::net::IpAddr;
use std::time::Duration;

use lvs_core::Instant;
use lvs_core::config::{Knobs, SchedulerFlags, SchedulerKind, ServiceConfig};
use siphasher::sip::SipHasher13;

use super::{Arrival, Model};

/// What a scheduler keeps in mind.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// The server picked last; `None` is the head of the list.
    last: Option<usize>,
    /// wrr: the current weight, where it starts and how it goes down.
    current: i64,
    top: i64,
    step: i64,
    /// mh: the last weight of each server that was not 0.
    weights: BTreeMap<usize, u32>,
    /// lblc, lblcr: servers by destination address, last added first.
    cache: BTreeMap<IpAddr, Remembered>,
    expiration: Duration,
}

#[derive(Debug, Clone)]
struct Remembered {
    servers: Vec<IpAddr>,
    used: Instant,
    changed: Instant,
}

impl Memory {
    pub(super) fn new(config: &ServiceConfig, knobs: &Knobs) -> Self {
        let expiration = match config.scheduler {
            SchedulerKind::LocalityWithReplication => knobs.lblcr_expiration,
            _ => knobs.lblc_expiration,
        };
        Self {
            last: None,
            current: 0,
            top: 0,
            step: 1,
            weights: BTreeMap::new(),
            cache: BTreeMap::new(),
            expiration: Duration::from_secs(expiration.into()),
        }
    }
}

/// A server as schedulers see it.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    number: usize,
    address: IpAddr,
    folded: u32,
    weight: u64,
    active: u64,
    overhead: u64,
    overloaded: bool,
}

impl Candidate {
    const fn is_available(&self) -> bool {
        self.weight > 0 && !self.overloaded
    }
}

impl Model {
    /// The service's servers in list order.
    fn candidates(&self, service: usize) -> Vec<Candidate> {
        let candidate = |number: &usize| {
            let server = &self.servers[*number];
            let (active, inactive) = self.load(*number);
            Candidate {
                number: *number,
                address: server.config.address,
                folded: fold(server.config.address).wrapping_add(server.config.port.into()),
                weight: server.config.weight.into(),
                active: active.into(),
                overhead: 256 * u64::from(active) + u64::from(inactive),
                overloaded: server.overloaded,
            }
        };
        self.services[service].list.iter().map(candidate).collect()
    }

    /// A server is about to leave the list: a cursor on it goes to the one before it.
    pub(super) fn step_back(&mut self, service: usize, place: usize) {
        let service = &mut self.services[service];
        if service.memory.last == Some(service.list[place]) {
            service.memory.last = place.checked_sub(1).map(|before| service.list[before]);
        }
    }

    /// The list or a weight in it has changed.
    pub(super) fn list_changed(&mut self, service: usize) {
        let list = self.candidates(service);
        let kind = self.services[service].config.scheduler;
        let memory = &mut self.services[service].memory;
        memory.weights.retain(|number, _| list.iter().any(|one| one.number == *number));
        for one in list.iter().filter(|one| one.weight > 0) {
            memory.weights.insert(one.number, one.weight as u32);
        }
        if kind == SchedulerKind::WeightedRoundRobin {
            let weights = || list.iter().map(|one| one.weight as i64).filter(|weight| *weight > 0);
            memory.step = weights().reduce(common_divisor).unwrap_or(1);
            memory.top = weights().max().unwrap_or(0) - (memory.step - 1);
            memory.last = None;
            if memory.current > memory.top || memory.current == 0 {
                memory.current = memory.top;
            } else if memory.step > 1 {
                memory.current = memory.current / memory.step * memory.step + 1;
            }
        }
    }

    /// Asks the scheduler for a server.
    ///
    /// # Panics
    /// If the scheduler is one that the model does not know: `twos`.
    pub(super) fn schedule(&mut self, service: usize, arrival: &Arrival) -> Option<usize> {
        let list = self.candidates(service);
        let config = self.services[service].config;
        let (client, vip) = (fold(arrival.client.ip()), arrival.virtual_address.ip());
        let hashes_port = config.flags.contains(SchedulerFlags::PORT);
        let value = client.wrapping_add(if hashes_port { arrival.client.port().into() } else { 0 });
        let fallback = config.flags.contains(SchedulerFlags::FALLBACK);
        let now = self.now;
        let memory = &mut self.services[service].memory;
        let picked = match config.scheduler {
            SchedulerKind::RoundRobin => round_robin(&list, memory),
            SchedulerKind::WeightedRoundRobin => weighted_round_robin(&list, memory),
            SchedulerKind::LeastConnection => least(&list, |one| Some((one.overhead, 1))),
            SchedulerKind::WeightedLeastConnection => weighted_least(&list),
            SchedulerKind::ShortestExpectedDelay => least(&list, |one| Some((one.active + 1, one.weight))),
            SchedulerKind::NeverQueue => {
                let idle = list.iter().copied().find(|one| one.is_available() && one.active == 0);
                idle.or_else(|| least(&list, |one| Some((one.active + 1, one.weight))))
            }
            SchedulerKind::WeightedFailover => least(&list, |one| Some((1, one.weight))),
            SchedulerKind::WeightedOverflow => {
                least(&list, |one| (one.active <= one.weight).then_some((1, one.weight)))
            }
            SchedulerKind::DestinationHashing => {
                let table = buckets(&list, |_| 1);
                table.get(bucket(fold(vip))).copied().filter(Candidate::is_available)
            }
            SchedulerKind::SourceHashing => source_hashing(&list, value, fallback),
            SchedulerKind::Maglev => maglev(&list, &memory.weights, value, fallback),
            SchedulerKind::Locality => locality(&list, memory, vip, now),
            SchedulerKind::LocalityWithReplication => locality_with_replication(&list, memory, vip, now),
            kind => panic!("the model does not know {kind}"),
        };
        picked.map(|one| one.number)
    }
}

/// An address as one 32-bit number.
fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from_be_bytes(address.octets()),
        IpAddr::V6(address) => {
            let words = address.octets();
            let words = words.chunks(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
            words.fold(0, |all, word| all ^ word)
        }
    }
}

fn common_divisor(a: i64, b: i64) -> i64 {
    (1..=a.min(b)).rev().find(|n| a % n == 0 && b % n == 0).unwrap_or(1)
}

/// The available server with the smallest ratio, the first of equals.
fn least(list: &[Candidate], ratio: impl Fn(&Candidate) -> Option<(u64, u64)>) -> Option<Candidate> {
    let mut best: Option<(Candidate, (u64, u64))> = None;
    for one in list.iter().filter(|one| one.is_available()) {
        let Some(new) = ratio(one) else { continue };
        if best.is_none_or(|(_, old)| new.0 * old.1 < old.0 * new.1) {
            best = Some((*one, new));
        }
    }
    best.map(|(one, _)| one)
}

fn weighted_least(list: &[Candidate]) -> Option<Candidate> {
    least(list, |one| Some((one.overhead, one.weight)))
}

fn round_robin(list: &[Candidate], memory: &mut Memory) -> Option<Candidate> {
    let behind = list.iter().position(|one| Some(one.number) == memory.last).map_or(0, |at| at + 1);
    let picked = list[behind..].iter().chain(&list[..behind]).copied().find(Candidate::is_available)?;
    memory.last = Some(picked.number);
    Some(picked)
}

/// The walk as it is defined: round after round with falling weight. It gives up when all have been seen in a round in
/// which every weight above 0 is enough.
fn weighted_round_robin(list: &[Candidate], memory: &mut Memory) -> Option<Candidate> {
    if memory.top == 0 {
        return None;
    }
    let last = list.iter().position(|one| Some(one.number) == memory.last);
    let mut next = last.map_or(0, |at| at + 1);
    let (mut stop, mut restarted, mut last_round) = (false, false, false);
    loop {
        for (at, one) in list.iter().enumerate().skip(next) {
            if !one.overloaded && one.weight as i64 >= memory.current {
                memory.last = Some(one.number);
                return Some(*one);
            }
            if stop && Some(at) == last {
                return None;
            }
        }
        next = 0;
        memory.current -= memory.step;
        if memory.current <= 0 {
            memory.current = memory.top;
            if last_round || last.is_none() {
                memory.last = None;
                return None;
            }
            restarted = true;
        }
        last_round = memory.current <= memory.step;
        stop = stop || (last_round && restarted && last.is_some());
    }
}

/// 256 buckets, filled by walking the list round and round.
fn buckets(list: &[Candidate], width: impl Fn(&Candidate) -> u64) -> Vec<Candidate> {
    let mut table = Vec::new();
    while table.len() < 256 && !list.is_empty() {
        for one in list {
            for _ in 0..width(one) {
                table.push(*one);
            }
        }
    }
    table.truncate(256);
    table
}

fn bucket(value: u32) -> usize {
    ((u64::from(value) * 0x61C8_8647) as u32 >> 24) as usize
}

fn source_hashing(list: &[Candidate], value: u32, fallback: bool) -> Option<Candidate> {
    let table = buckets(list, |one| one.weight.max(1));
    let first = bucket(value);
    let meant = *table.get(first)?;
    if meant.is_available() || !fallback {
        return Some(meant).filter(Candidate::is_available);
    }
    (0..256).map(|n| table[(first + (first + n) % 256) % 256]).find(Candidate::is_available)
}

const ENTRIES: usize = 4093;

/// SipHash-1-3 of the four bytes, lower half.
fn maglev_hash(value: u32, key: u64) -> u32 {
    let mut hasher = SipHasher13::new_with_keys(key, key);
    hasher.write(&value.to_le_bytes());
    hasher.finish() as u32
}

fn maglev_entry(value: u32) -> usize {
    maglev_hash(value, 2_654_435_761) as usize % ENTRIES
}

fn maglev_table(list: &[Candidate], weights: &BTreeMap<usize, u32>) -> Option<Vec<Candidate>> {
    let weighted: Vec<(Candidate, u32)> =
        list.iter().filter_map(|one| Some((*one, *weights.get(&one.number)?))).collect();
    let divisor = weighted.iter().map(|(_, weight)| i64::from(*weight)).reduce(common_divisor)? as u32;
    let most = weighted.iter().map(|(_, weight)| weight / divisor).max()?;
    let shift = (u32::BITS - most.leading_zeros()).saturating_sub(6);
    let mut table: Vec<Option<Candidate>> = vec![None; ENTRIES];
    let mut walks: Vec<usize> = weighted.iter().map(|(one, _)| maglev_entry(one.folded)).collect();
    let mut left = ENTRIES;
    loop {
        for ((one, weight), at) in weighted.iter().zip(&mut walks) {
            let skip = maglev_hash(one.folded, 2_654_446_892) as usize % (ENTRIES - 1) + 1;
            for _ in 0..((weight / divisor) >> shift).max(1) {
                while table[*at].is_some() {
                    *at = (*at + skip) % ENTRIES;
                }
                table[*at] = Some(*one);
                left -= 1;
                if left == 0 {
                    return table.into_iter().collect();
                }
            }
        }
    }
}

fn maglev(
    list: &[Candidate],
    weights: &BTreeMap<usize, u32>,
    value: u32,
    fallback: bool,
) -> Option<Candidate> {
    let table = maglev_table(list, weights)?;
    let first = maglev_entry(value);
    let meant = table[first];
    if meant.is_available() || !fallback {
        return Some(meant).filter(Candidate::is_available);
    }
    let retry = |n: usize| table[maglev_entry(value.wrapping_add(((first + n) % ENTRIES) as u32))];
    (0..ENTRIES).map(retry).find(Candidate::is_available)
}

/// More active connections than its weight while another server uses less than half of its own.
fn is_overloaded(one: &Candidate, list: &[Candidate]) -> bool {
    one.active > one.weight && list.iter().any(|other| other.active * 2 < other.weight)
}

fn locality(list: &[Candidate], memory: &mut Memory, vip: IpAddr, now: Instant) -> Option<Candidate> {
    let expiration = memory.expiration;
    if let Some(entry) = memory.cache.get_mut(&vip) {
        let fresh = now.saturating_duration_since(entry.used) <= expiration;
        entry.used = now;
        // Its thresholds do not count.
        let one = list.iter().copied().find(|one| one.address == entry.servers[0] && one.weight > 0);
        if let Some(one) = one.filter(|one| fresh && !is_overloaded(one, list)) {
            return Some(one);
        }
    }
    let picked = weighted_least(list)?;
    memory.cache.insert(vip, Remembered { servers: vec![picked.address], used: now, changed: now });
    Some(picked)
}

fn locality_with_replication(
    list: &[Candidate],
    memory: &mut Memory,
    vip: IpAddr,
    now: Instant,
) -> Option<Candidate> {
    let Some(entry) = memory.cache.get_mut(&vip) else {
        let picked = weighted_least(list)?;
        memory.cache.insert(vip, Remembered { servers: vec![picked.address], used: now, changed: now });
        return Some(picked);
    };
    entry.used = now;
    let of_set = |entry: &Remembered| -> Vec<Candidate> {
        let named = |address: &IpAddr| list.iter().copied().find(|one| one.address == *address);
        entry.servers.iter().filter_map(named).collect()
    };
    let picked = weighted_least(&of_set(entry));
    if entry.servers.len() > 1 && now.saturating_duration_since(entry.changed) > memory.expiration {
        let mut most: Option<Candidate> = None;
        for one in of_set(entry).into_iter().filter(|one| one.weight > 0) {
            if most.is_none_or(|most| most.overhead * one.weight < one.overhead * most.weight) {
                most = Some(one);
            }
        }
        if let Some(most) = most {
            entry.servers.retain(|address| *address != most.address);
            entry.changed = now;
        }
    }
    if let Some(picked) = picked.filter(|one| !is_overloaded(one, list)) {
        return Some(picked);
    }
    let picked = weighted_least(list)?;
    if !entry.servers.contains(&picked.address) {
        entry.servers.insert(0, picked.address);
        entry.changed = now;
    }
    Some(picked)
}
