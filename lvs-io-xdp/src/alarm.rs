//! Wakes a worker that waits for frames.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::task::Wake;

use crate::sys;

/// A descriptor that is readable from the first wake until somebody has noticed.
#[derive(Debug)]
pub(crate) struct Alarm(File);

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(File::from(sys::event_descriptor()?)))
    }

    /// For poll(2).
    pub(crate) const fn descriptor(&self) -> &File {
        &self.0
    }

    /// It was noticed.
    pub(crate) fn clear(&self) {
        // It does not wait; that nobody has rung is no trouble.
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Fails if nobody has noticed for 2^64 times.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_rings_until_it_is_noticed() {
        let alarm = Arc::new(Alarm::new().unwrap());
        let rings = || {
            let mut entry = [sys::poll_entry(alarm.descriptor())];
            sys::poll(&mut entry, Some(Duration::ZERO)).unwrap();
            entry[0].revents != 0
        };
        alarm.clear();
        assert!(!rings());
        let waker = Waker::from(Arc::clone(&alarm));
        waker.wake_by_ref();
        waker.wake();
        assert!(rings() && rings());
        alarm.clear();
        assert!(!rings());
    }
}
