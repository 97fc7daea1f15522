//! Whether a link is up, what was said about it, and when to look again. Does no I/O.

use std::time::{Duration, Instant};

use lvs_core::io::{IoEvent, PortId};

/// How long to wait before looking again at a link that is down, and at one that is up.
const WHILE_DOWN: Duration = Duration::from_millis(100);
const WHILE_UP: Duration = Duration::from_secs(1);

/// The state of one link, for backends that find out by themselves what it is. [`LinkWatch`](crate::LinkWatch) does that for
/// those with sockets that are bound to an interface.
#[derive(Debug)]
pub struct Link {
    up: bool,
    /// What the last event said; nothing at the start.
    reported: Option<bool>,
    /// The link was down since it was last reported up.
    interrupted: bool,
    next_look: Instant,
}

impl Link {
    /// A link that is up or down at the start, which is the first thing told.
    #[must_use]
    pub fn new(up: bool, now: Instant) -> Self {
        let mut link = Self { up, reported: None, interrupted: false, next_look: now };
        link.observe(up, now);
        link
    }

    /// The link was seen up or down.
    pub fn observe(&mut self, up: bool, now: Instant) {
        self.up = up;
        self.interrupted |= !up;
        self.next_look = now + if up { WHILE_UP } else { WHILE_DOWN };
    }

    /// Whether it was up when it was looked at last.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// When to look again.
    #[must_use]
    pub const fn next_look(&self) -> Instant {
        self.next_look
    }

    /// Whether [`poll_event`](Self::poll_event) has something to say.
    #[must_use]
    pub fn has_event(&self) -> bool {
        match self.reported {
            Some(true) => self.interrupted,
            Some(false) => self.up,
            None => true,
        }
    }

    /// Down and up in turns, the state at the start first. A link that was down and is up again between two
    /// calls is reported as both.
    pub fn poll_event(&mut self, port: PortId) -> Option<IoEvent> {
        if !self.has_event() {
            return None;
        }
        let up = self.up && self.reported != Some(true);
        self.reported = Some(up);
        self.interrupted = false;
        Some(if up { IoEvent::LinkUp(port) } else { IoEvent::LinkDown(port) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortId = PortId(2);

    #[test]
    fn each_change_is_reported_once() {
        let now = Instant::now();
        let mut link = Link::new(true, now);
        assert_eq!(link.poll_event(PORT), Some(IoEvent::LinkUp(PORT)));
        assert_eq!(link.poll_event(PORT), None);
        for _ in 0..3 {
            link.observe(false, now);
        }
        assert_eq!(link.poll_event(PORT), Some(IoEvent::LinkDown(PORT)));
        link.observe(false, now);
        assert_eq!(link.poll_event(PORT), None);
        link.observe(true, now);
        assert_eq!(link.poll_event(PORT), Some(IoEvent::LinkUp(PORT)));
        assert!(!link.has_event());
    }

    #[test]
    fn a_short_interruption_is_not_hidden() {
        let now = Instant::now();
        let mut link = Link::new(true, now);
        link.poll_event(PORT);
        link.observe(false, now);
        link.observe(true, now);
        assert_eq!(link.poll_event(PORT), Some(IoEvent::LinkDown(PORT)));
        assert_eq!(link.poll_event(PORT), Some(IoEvent::LinkUp(PORT)));
        assert_eq!(link.poll_event(PORT), None);
    }

    #[test]
    fn a_link_that_starts_down_says_so() {
        let now = Instant::now();
        let mut link = Link::new(false, now);
        assert_eq!(link.poll_event(PORT), Some(IoEvent::LinkDown(PORT)));
        assert_eq!(link.poll_event(PORT), None);
        link.observe(true, now);
        assert_eq!(link.poll_event(PORT), Some(IoEvent::LinkUp(PORT)));
        assert_eq!(link.poll_event(PORT), None);
    }

    #[test]
    fn a_link_that_is_down_is_looked_at_more_often() {
        let now = Instant::now();
        let mut link = Link::new(true, now);
        assert_eq!(link.next_look() - now, WHILE_UP);
        link.observe(false, now);
        assert_eq!(link.next_look() - now, WHILE_DOWN);
    }
}
