//! What is known about one neighbour, and when to ask it again.
//!
//! ```text
//!              link down (any state) ──► Suspended ── link up ──┬─► Asking   (address unknown)
//!                                                               └─► Probing  (address known)
//!
//!                 answer                     refresh due
//!   ┌► Asking ───────────────► Reachable ────────────────► Probing ── answer ──► Reachable
//!   │   1 s, 1 s, 1 s,             ▲      unicast x3, broadcast x3,    │
//!   │   2, 4, 8, 16, 30 s, 30...   │              1 s apart            │ silence
//!   │                              └── answer ──┐                      │
//!   └─────────────────────────────────────────  │  ◄───────────────────┘  (address forgotten)
//! ```
//!
//! The address is kept and used while a neighbour is probed. What a neighbour says unasked is believed (it
//! moves in a failover), but verified at once; it never counts as an answer. A static address is neither
//! asked for nor learnt.
//!
//! This is pure state: it sends nothing and knows neither packets nor addresses of IP.

use core::time::Duration;

use super::pace::Random;
use crate::addr::MacAddr;
use crate::time::Instant;

/// How long after an answer a neighbour is asked again; up to a tenth more or less. RFC 4861 section 10
/// holds an answer good for 30 s (`REACHABLE_TIME`).
const REFRESH: Duration = Duration::from_secs(25);
/// Between two questions while an answer is expected (RFC 4861 section 10, `RETRANS_TIMER`).
const RETRY: Duration = Duration::from_secs(1);
/// The longest pause between two questions to a neighbour that does not answer.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Questions to a neighbour never heard of, before it is reported as lost.
const FIRST_TRIES: u8 = 3;
/// Questions to the known address before everybody is asked.
const UNICAST_TRIES: u8 = 3;
/// Questions before a neighbour that was known is given up.
const PROBE_TRIES: u8 = 6;
/// A new address stands for this long before another may replace it: when two stations claim one IP address,
/// the first counts (as with `locktime` in Linux).
const LOCK: Duration = Duration::from_secs(1);
/// Between two reports that a neighbour's address changed.
const REPORT_GAP: Duration = Duration::from_secs(10);

/// Where the knowledge about a neighbour stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its port is down: nothing is asked. An address that was known is kept.
    Suspended,
    /// Its address is not known.
    Asking,
    /// It answered lately.
    Reachable,
    /// Its address is known but has to be confirmed.
    Probing,
    /// The operator fixed its address.
    Static,
}

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Everybody (ARP), or the solicited-node group (NDP).
    Everybody,
    /// Only this station.
    One(MacAddr),
}

/// What there is to report about a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Learnt(MacAddr),
    Changed { old: MacAddr, new: MacAddr },
    Lost,
}

/// One neighbour.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    state: State,
    mac: Option<MacAddr>,
    /// Questions asked since this state was entered.
    tries: u8,
    deadline: Option<Instant>,
    asked: Option<Instant>,
    answered: Option<Instant>,
    changed: Option<Instant>,
    given_up: bool,
    /// What the last report said.
    reported: Option<MacAddr>,
    reported_lost: bool,
    reported_change: Option<Instant>,
}

impl Entry {
    /// A neighbour to be asked at once, if its link is up.
    pub(super) const fn new(now: Instant, up: bool) -> Self {
        Self {
            state: if up { State::Asking } else { State::Suspended },
            mac: None,
            tries: 0,
            deadline: if up { Some(now) } else { None },
            asked: None,
            answered: None,
            changed: None,
            given_up: false,
            reported: None,
            reported_lost: false,
            reported_change: None,
        }
    }

    pub(super) const fn mac(&self) -> Option<MacAddr> {
        self.mac
    }

    /// When [`due`](Self::due) wants to be called.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) const fn is_static(&self) -> bool {
        matches!(self.state, State::Static)
    }

    /// Whether a question is open, so that something heard now may be its answer.
    const fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Asking | State::Probing) && self.asked.is_some()
    }

    /// The deadline has come: whom to ask now. The next deadline lies at least a second ahead.
    pub(super) fn due(&mut self, now: Instant, random: &mut Random) -> Option<Ask> {
        let ask = match self.state {
            State::Suspended | State::Static => {
                self.deadline = None;
                return None;
            }
            State::Asking => Ask::Everybody,
            State::Reachable => self.probe(0),
            State::Probing if self.tries >= PROBE_TRIES => {
                self.state = State::Asking;
                self.mac = None;
                self.tries = FIRST_TRIES;
                Ask::Everybody
            }
            State::Probing => self.probe(self.tries),
        };
        self.given_up |= self.state == State::Asking && self.tries >= FIRST_TRIES;
        self.tries = self.tries.saturating_add(1);
        let pause = if self.state == State::Asking { back_off(self.tries) } else { RETRY };
        self.deadline = Some(now + random.stretch(pause));
        self.asked = Some(now);
        Some(ask)
    }

    fn probe(&mut self, tries: u8) -> Ask {
        self.state = State::Probing;
        self.tries = tries;
        match self.mac {
            Some(mac) if tries < UNICAST_TRIES => Ask::One(mac),
            _ => Ask::Everybody,
        }
    }

    /// The neighbour spoke to us as one does who was asked; with its address, or (NDP to one station)
    /// without.
    pub(super) fn answered(&mut self, now: Instant, mac: Option<MacAddr>, random: &mut Random) {
        let Some(mac) = mac.or(self.mac) else { return };
        let differs = self.mac.is_some_and(|known| known != mac);
        if differs && (recent(self.answered, now) || recent(self.changed, now)) {
            // The second answer to one question: the first counts.
            return;
        }
        if !self.awaits_answer() {
            self.heard(now, mac);
            return;
        }
        self.set_mac(now, mac);
        self.answered = Some(now);
        self.state = State::Reachable;
        self.tries = 0;
        let spread = REFRESH / 5;
        self.deadline = Some(now + (REFRESH - spread / 2) + random.below(spread));
    }

    /// The neighbour's address was heard without an answer to us: a request, an announcement.
    pub(super) fn heard(&mut self, now: Instant, mac: MacAddr) {
        if matches!(self.state, State::Suspended | State::Static) || self.mac == Some(mac) {
            return;
        }
        if self.mac.is_some() && recent(self.changed, now) {
            // Two stations, or a move that came right after another: let everybody speak once more.
            self.doubt(self.changed.map_or(now, |changed| changed + LOCK), UNICAST_TRIES);
            return;
        }
        self.set_mac(now, mac);
        self.verify(now, 0);
    }

    /// Another address was heard that may not replace the known one (NDP without override): RFC 4861
    /// section 7.2.5 has the known one confirmed.
    pub(super) fn suspect(&mut self, now: Instant) {
        self.doubt(self.answered.map_or(now, |answered| now.max(answered + RETRY)), 0);
    }

    /// Has a known address confirmed at `at`, as if `tries` questions had been asked.
    fn doubt(&mut self, at: Instant, tries: u8) {
        if self.state == State::Reachable {
            self.verify(at, tries);
        } else if self.state == State::Probing {
            self.tries = self.tries.max(tries);
        }
    }

    /// A frame waits for the address: ask as soon as a second has passed since the last question.
    pub(super) fn wanted(&mut self, now: Instant) {
        if self.state != State::Asking {
            return;
        }
        let soonest = self.asked.map_or(now, |asked| now.max(asked + RETRY));
        self.deadline = self.deadline.map(|deadline| deadline.min(soonest));
    }

    pub(super) const fn link_down(&mut self) {
        if !self.is_static() {
            self.state = State::Suspended;
            self.deadline = None;
        }
    }

    /// Asks from the start; an address that is known has to be confirmed.
    pub(super) const fn link_up(&mut self, now: Instant) {
        if self.is_static() {
            return;
        }
        self.verify(now, 0);
        if self.mac.is_none() {
            self.state = State::Asking;
        }
    }

    /// Fixes the address, without a report: whoever did it knows.
    pub(super) const fn fix(&mut self, mac: MacAddr) {
        self.state = State::Static;
        self.mac = Some(mac);
        self.deadline = None;
        self.reported = self.mac;
        self.reported_lost = false;
    }

    /// Goes back to asking. The fixed address is used until everybody was asked in vain.
    pub(super) const fn release(&mut self, now: Instant, up: bool) {
        if self.is_static() {
            self.verify(now, UNICAST_TRIES);
            if !up {
                self.link_down();
            }
        }
    }

    /// What changed since the last report, if it may be said now.
    pub(super) fn report(&mut self, now: Instant) -> Option<Report> {
        let report = match (self.reported, self.mac) {
            (None, Some(mac)) => Report::Learnt(mac),
            (Some(_), None) => Report::Lost,
            (None, None) if self.given_up && !self.reported_lost => Report::Lost,
            (Some(old), Some(new)) if old != new => {
                if self.reported_change.is_some_and(|last| now < last + REPORT_GAP) {
                    return None;
                }
                self.reported_change = Some(now);
                Report::Changed { old, new }
            }
            _ => return None,
        };
        self.reported = self.mac;
        self.reported_lost = self.mac.is_none();
        Some(report)
    }

    const fn verify(&mut self, at: Instant, tries: u8) {
        self.state = State::Probing;
        self.tries = tries;
        self.deadline = Some(at);
        // What is said before the question is asked is no answer to it.
        self.asked = None;
    }

    fn set_mac(&mut self, now: Instant, mac: MacAddr) {
        if self.mac != Some(mac) {
            self.mac = Some(mac);
            self.changed = Some(now);
            self.given_up = false;
        }
    }
}

/// The pause after the `tries`-th question to somebody who never answered.
fn back_off(tries: u8) -> Duration {
    let doublings = u32::from(tries.saturating_sub(FIRST_TRIES)).min(5);
    (RETRY * (1 << doublings)).min(LONGEST_RETRY)
}

fn recent(at: Option<Instant>, now: Instant) -> bool {
    at.is_some_and(|at| now < at + LOCK)
}

#[cfg(test)]
mod tests;
