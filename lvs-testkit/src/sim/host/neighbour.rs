//! The neighbour cache, for ARP and NDP alike: who is behind which Ethernet address, and how sure that is.
//!
//! ```text
//!            first use              answer                     30 s +- half
//!   (none) ──────────► Incomplete ─────────► Reachable ───────────────────────► Stale ◄── heard of
//!      ▲                   │ 3 questions        ▲                                 │ used
//!      └───── Failed ◄─────┘                    │ answer                          ▼ 5 s
//!                ▲───────── 3 questions ────── Probe ◄──────────────────────── Delay
//! ```
//!
//! As in Linux, except that nobody confirms a neighbour by what TCP hears from it: a busy neighbour is asked
//! again every half minute or so, to its known address.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use lvs_core::{Instant, MacAddr};

use super::super::random::Random;

/// How sure an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourState {
    /// It was asked for; nobody has answered.
    Incomplete,
    /// It has answered a short time ago.
    Reachable,
    /// It was heard of, or its answer is old. It is used all the same.
    Stale,
    /// It was used while stale; soon it will be asked.
    Delay,
    /// It is being asked, at its known address.
    Probe,
    /// Nobody has answered.
    Failed,
    /// It was set by hand and stays.
    Permanent,
}

/// What a host knows about a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its Ethernet address, if one is known.
    pub mac: Option<MacAddr>,
    /// How sure that is.
    pub state: NeighbourState,
}

/// The number of an interface and an address.
pub(super) type Key = (usize, IpAddr);

/// A packet that waits for its next hop's Ethernet address.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) packet: Vec<u8>,
    /// The interface it came in by, if it is another host's packet.
    pub(super) forwarded: bool,
}

#[derive(Debug)]
struct Entry {
    mac: Option<MacAddr>,
    state: NeighbourState,
    updated: Instant,
    /// When the state changes by itself, or the next question is due. In `Reachable`: when it will be stale.
    due: Option<Instant>,
    asked: u8,
    waiting: VecDeque<Waiting>,
}

/// What is to be done about a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    /// Send it there.
    To(MacAddr),
    /// It waits; ask, with this packet in mind.
    Ask,
    /// It waits, and the question is under way.
    Waits,
    /// There is no room for another neighbour.
    Full,
}

/// What time brings about.
#[derive(Debug)]
pub(super) enum Due {
    /// Ask again: all stations, or this one.
    Ask(Key, Option<MacAddr>),
    /// Nobody has answered; these packets waited.
    Lost(VecDeque<Waiting>),
}

/// What is heard about a neighbour.
#[derive(Debug, Clone, Copy)]
pub(super) struct News {
    pub(super) mac: MacAddr,
    /// It answers our question, so that it hears us.
    pub(super) reachable: bool,
    /// It may take the place of a different address.
    pub(super) replaces: bool,
    /// It makes an entry where there is none.
    pub(super) creates: bool,
}

#[derive(Debug)]
pub(super) struct Neighbours {
    entries: BTreeMap<Key, Entry>,
    capacity: usize,
    reachable_time: Duration,
    random: Random,
}

/// Questions before nobody is there (`mcast_solicit`, `ucast_solicit`), and the time between them.
const QUESTIONS: u8 = 3;
const RETRANS: Duration = Duration::from_secs(1);
/// How long a stale entry is used before it is asked (`delay_first_probe_time`).
const DELAY: Duration = Duration::from_secs(5);
/// Packets that wait for one neighbour; the oldest go (`unres_qlen`).
const QUEUE: usize = 101;
/// A second, different claim so soon after the first is not believed (`locktime`).
pub(super) const LOCK_TIME: Duration = Duration::from_secs(1);

impl Neighbours {
    pub(super) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            // gc_thresh3
            capacity: 1024,
            reachable_time: Duration::from_secs(30),
            random: Random::new(1),
        }
    }

    pub(super) const fn seed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    pub(super) const fn set_reachable_time(&mut self, base: Duration) {
        self.reachable_time = base;
    }

    pub(super) fn get(&self, now: Instant, key: Key) -> Option<Neighbour> {
        let entry = self.entries.get(&key)?;
        let stale = entry.state == NeighbourState::Reachable && entry.due.is_some_and(|due| due <= now);
        let state = if stale { NeighbourState::Stale } else { entry.state };
        Some(Neighbour { mac: entry.mac, state })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an entry was changed so lately that a different claim is not believed.
    pub(super) fn is_locked(&self, now: Instant, key: Key) -> bool {
        let entry = self.entries.get(&key);
        entry.is_some_and(|entry| now.saturating_duration_since(entry.updated) <= LOCK_TIME)
    }

    /// Sets an entry by hand, or takes it away with all that waits for it.
    pub(super) fn set(&mut self, now: Instant, key: Key, mac: Option<MacAddr>) {
        self.entries.remove(&key);
        if mac.is_some() {
            self.entries.insert(key, Entry::new(now, mac, NeighbourState::Permanent));
        }
    }

    /// Forgets all but the permanent entries of an interface.
    pub(super) fn flush(&mut self, interface: usize) {
        self.entries.retain(|key, entry| key.0 != interface || entry.state == NeighbourState::Permanent);
    }

    /// Where to send a packet; if that is not known yet the packet is kept.
    pub(super) fn resolve(&mut self, now: Instant, key: Key, waiting: &mut Option<Waiting>) -> Resolved {
        if !self.entries.contains_key(&key) {
            if !self.make_room() {
                return Resolved::Full;
            }
            self.entries.insert(key, Entry::new(now, None, NeighbourState::Failed));
        }
        let Some(entry) = self.entries.get_mut(&key) else { return Resolved::Full };
        entry.let_age(now);
        match (entry.state, entry.mac) {
            (NeighbourState::Stale, Some(mac)) => {
                entry.state = NeighbourState::Delay;
                entry.due = Some(now + DELAY);
                Resolved::To(mac)
            }
            (NeighbourState::Incomplete, _) => {
                entry.keep(waiting);
                Resolved::Waits
            }
            (NeighbourState::Failed, _) | (_, None) => {
                entry.state = NeighbourState::Incomplete;
                entry.due = Some(now + RETRANS);
                entry.asked = 1;
                entry.keep(waiting);
                Resolved::Ask
            }
            (_, Some(mac)) => Resolved::To(mac),
        }
    }

    /// Takes in what is heard about a neighbour. Answers the packets that can leave now.
    pub(super) fn learn(&mut self, now: Instant, key: Key, news: News) -> VecDeque<Waiting> {
        if !self.entries.contains_key(&key) {
            if !news.creates || !self.make_room() {
                return VecDeque::new();
            }
            self.entries.insert(key, Entry::new(now, None, NeighbourState::Failed));
        }
        let reachable_for = self.reachable_for();
        let Some(entry) = self.entries.get_mut(&key) else { return VecDeque::new() };
        if entry.state == NeighbourState::Permanent {
            return VecDeque::new();
        }
        entry.let_age(now);
        let same = entry.mac == Some(news.mac);
        if entry.mac.is_some() && !same && !news.replaces {
            return VecDeque::new();
        }
        entry.mac = Some(news.mac);
        if news.reachable {
            entry.state = NeighbourState::Reachable;
            entry.due = Some(now + reachable_for);
        } else if !same || matches!(entry.state, NeighbourState::Incomplete | NeighbourState::Failed) {
            entry.state = NeighbourState::Stale;
            entry.due = None;
        }
        // What confirms an address that is known does not renew the lock on it.
        if !same || news.reachable {
            entry.updated = now;
        }
        let ready = std::mem::take(&mut entry.waiting);
        if !ready.is_empty() && entry.state == NeighbourState::Stale {
            // They are sent now, and that is a use.
            entry.state = NeighbourState::Delay;
            entry.due = Some(now + DELAY);
        }
        ready
    }

    /// The next thing that is due by now.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<Due> {
        let is_due = |entry: &Entry| {
            entry.state != NeighbourState::Reachable && entry.due.is_some_and(|due| due <= now)
        };
        let (&key, entry) = self.entries.iter_mut().find(|(_, entry)| is_due(entry))?;
        match entry.state {
            NeighbourState::Delay => {
                entry.state = NeighbourState::Probe;
                entry.asked = 1;
            }
            _ if entry.asked < QUESTIONS => entry.asked += 1,
            _ => {
                entry.state = NeighbourState::Failed;
                (entry.mac, entry.due) = (None, None);
                return Some(Due::Lost(std::mem::take(&mut entry.waiting)));
            }
        }
        entry.due = Some(now + RETRANS);
        let to = entry.mac.filter(|_| entry.state == NeighbourState::Probe);
        Some(Due::Ask(key, to))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timed = self.entries.values().filter(|entry| entry.state != NeighbourState::Reachable);
        timed.filter_map(|entry| entry.due).min()
    }

    /// The newest packet that waits for a neighbour: questions are asked on its behalf.
    pub(super) fn newest_waiting(&self, key: Key) -> Option<&[u8]> {
        Some(&self.entries.get(&key)?.waiting.back()?.packet)
    }

    /// Between half and one and a half of the base, drawn anew each time so that hosts do not ask in step.
    fn reachable_for(&mut self) -> Duration {
        let base = u64::try_from(self.reachable_time.as_micros()).unwrap_or(u64::MAX / 2);
        Duration::from_micros(base / 2 + self.random.up_to(base))
    }

    /// Makes room for one more: whoever nobody waits for and was not heard of for longest must go.
    fn make_room(&mut self) -> bool {
        if self.entries.len() < self.capacity {
            return true;
        }
        let may_go = |entry: &Entry| entry.state != NeighbourState::Permanent && entry.waiting.is_empty();
        let oldest = self.entries.iter().filter(|(_, entry)| may_go(entry)).min_by_key(|(_, e)| e.updated);
        let Some((&key, _)) = oldest else { return false };
        self.entries.remove(&key);
        true
    }
}

impl Entry {
    const fn new(now: Instant, mac: Option<MacAddr>, state: NeighbourState) -> Self {
        Self { mac, state, updated: now, due: None, asked: 0, waiting: VecDeque::new() }
    }

    fn let_age(&mut self, now: Instant) {
        if self.state == NeighbourState::Reachable && self.due.is_some_and(|due| due <= now) {
            (self.state, self.due) = (NeighbourState::Stale, None);
        }
    }

    fn keep(&mut self, waiting: &mut Option<Waiting>) {
        if let Some(waiting) = waiting.take() {
            if self.waiting.len() == QUEUE {
                self.waiting.pop_front();
            }
            self.waiting.push_back(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{addr, station};

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    fn packet(n: u8) -> Option<Waiting> {
        Some(Waiting { packet: vec![n], forwarded: false })
    }

    const HEARD: News = News { mac: station(9), reachable: false, replaces: true, creates: false };
    const ANSWER: News = News { mac: station(9), reachable: true, replaces: true, creates: false };

    #[test]
    fn three_questions_then_all_that_waits_is_lost() {
        let (mut cache, key) = (Neighbours::new(), (1, addr("10.0.0.1")));
        assert_eq!(cache.resolve(at(0), key, &mut packet(1)), Resolved::Ask);
        assert_eq!(cache.resolve(at(0), key, &mut packet(2)), Resolved::Waits);
        assert!(cache.poll_due(at(0)).is_none());
        for second in [1, 2] {
            assert!(matches!(cache.poll_due(at(second)), Some(Due::Ask(_, None))));
            assert!(cache.poll_due(at(second)).is_none());
        }
        let Some(Due::Lost(waiting)) = cache.poll_due(at(3)) else { panic!("still hoping") };
        assert_eq!(waiting.iter().map(|w| w.packet[0]).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(cache.resolve(at(4), key, &mut packet(3)), Resolved::Ask);
    }

    #[test]
    fn an_old_answer_is_used_then_asked_for_then_forgotten() {
        let (mut cache, key) = (Neighbours::new(), (1, addr("10.0.0.1")));
        cache.resolve(at(0), key, &mut packet(1));
        assert_eq!(cache.learn(at(0), key, ANSWER).len(), 1);
        let to = Resolved::To(station(9));
        assert_eq!(cache.resolve(at(14), key, &mut packet(2)), to);
        assert_eq!(cache.get(at(14), key).unwrap().state, NeighbourState::Reachable);
        assert_eq!(cache.poll_timeout(), None, "an entry that nobody uses costs nothing");
        assert_eq!(cache.resolve(at(46), key, &mut packet(2)), to);
        assert_eq!(cache.get(at(46), key).unwrap().state, NeighbourState::Delay);
        assert!(cache.poll_due(at(50)).is_none());
        for second in [51, 52, 53] {
            assert!(matches!(cache.poll_due(at(second)), Some(Due::Ask(_, Some(_)))));
            assert_eq!(cache.resolve(at(second), key, &mut packet(2)), to);
        }
        assert!(matches!(cache.poll_due(at(54)), Some(Due::Lost(..))));
        assert_eq!(cache.get(at(54), key), Some(Neighbour { mac: None, state: NeighbourState::Failed }));
    }

    #[test]
    fn what_is_overheard_makes_no_entry_and_permanent_ones_stay() {
        let (mut cache, key) = (Neighbours::new(), (1, addr("10.0.0.1")));
        cache.learn(at(0), key, HEARD);
        assert_eq!(cache.get(at(0), key), None);
        cache.set(at(0), key, Some(station(4)));
        cache.learn(at(0), key, ANSWER);
        cache.flush(1);
        assert_eq!(cache.get(at(0), key).unwrap().mac, Some(station(4)));
        cache.set(at(0), key, None);
        cache.learn(at(0), key, News { creates: true, ..HEARD });
        assert_eq!(cache.get(at(0), key).unwrap().state, NeighbourState::Stale);
    }

    #[test]
    fn queue_and_table_are_bounded() {
        let (mut cache, key) = (Neighbours::new(), (1, addr("10.0.0.1")));
        for n in 0..150 {
            cache.resolve(at(0), key, &mut packet(n));
        }
        let ready = cache.learn(at(0), key, HEARD);
        assert_eq!((ready.len(), ready[0].packet[0]), (QUEUE, 49));
        for n in 0..3000u32 {
            let key = (1, IpAddr::V4((0x0a00_0000 + n).into()));
            cache.learn(at(1), key, News { creates: true, ..HEARD });
        }
        assert_eq!(cache.len(), 1024);
    }
}
