//! systemd, if it started this process: it is told when the director runs, reads its file again, and ends.
//!
//! Without it (`NOTIFY_SOCKET` is not set) nothing is said. What cannot be said is left unsaid: a director does not end for that.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The service manager.
pub(crate) struct ServiceManager {
    /// How often it wants to hear that the director lives, and when it heard it last.
    watchdog: Option<(Duration, Cell<Instant>)>,
}

impl ServiceManager {
    /// Says that the director runs. Clients may still have to wait for a link to carry frames.
    pub(crate) fn ready() -> Self {
        say(&[NotifyState::Ready]);
        // Twice as often as asked.
        let watchdog = sd_notify::watchdog_enabled().map(|every| (every / 2, Cell::new(Instant::now())));
        Self { watchdog }
    }

    /// Says that the file is read again, while `read` does.
    pub(crate) fn reloading(&self, read: impl FnOnce()) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            say(&[NotifyState::Reloading, now]);
        }
        read();
        say(&[NotifyState::Ready]);
    }

    /// Says, when it is time to, that the director lives.
    pub(crate) fn alive(&self) {
        if let Some((every, last)) = &self.watchdog
            && last.get().elapsed() >= *every
        {
            last.set(Instant::now());
            say(&[NotifyState::Watchdog]);
        }
    }

    /// Says that the director ends.
    pub(crate) fn stopping(&self) {
        say(&[NotifyState::Stopping]);
    }
}

fn say(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
