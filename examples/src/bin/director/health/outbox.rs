//! Frames of probes on their way from the thread that makes them to the worker that sends them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Waker;

use lvs_core::PortId;
use lvs_core::io::Meta;

/// How many may wait; more are lost like frames on a wire, and probes repeat themselves.
const PLACES: usize = 1024;

/// A frame.
pub(crate) struct Letter {
    pub(crate) port: PortId,
    pub(crate) meta: Meta,
    pub(crate) bytes: Box<[u8]>,
}

/// Frames that wait. Empty, it costs a worker one load a turn.
#[derive(Default)]
pub(crate) struct Outbox {
    count: AtomicUsize,
    letters: Mutex<VecDeque<Letter>>,
    /// Ends the wait of the worker that sends them, where its device can be woken.
    waker: OnceLock<Waker>,
}

impl Outbox {
    pub(crate) fn push(&self, letter: Letter) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.len() < PLACES {
            letters.push_back(letter);
        }
        self.count.store(letters.len(), Ordering::Release);
        drop(letters);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// What to wake when there is something to send.
    pub(crate) fn set_waker(&self, waker: Waker) {
        // There is one worker that sends, and it says so once.
        let _ = self.waker.set(waker);
    }

    /// All that wait.
    pub(crate) fn take(&self) -> VecDeque<Letter> {
        if self.count.load(Ordering::Acquire) == 0 {
            return VecDeque::new();
        }
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        self.count.store(0, Ordering::Release);
        std::mem::take(&mut letters)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn letter() -> Letter {
        Letter { port: PortId(0), meta: Meta::default(), bytes: Box::new([0; 60]) }
    }

    #[test]
    fn a_letter_wakes_whoever_waits_and_is_there_by_then() {
        let (outbox, bell) = (Outbox::default(), Arc::<Bell>::default());
        outbox.push(letter());
        outbox.set_waker(Waker::from(Arc::clone(&bell)));
        assert_eq!((outbox.take().len(), bell.0.load(Ordering::Relaxed)), (1, 0));
        for letters in 1..=3 {
            outbox.push(letter());
            assert_eq!(bell.0.load(Ordering::Relaxed), letters);
        }
        assert_eq!((outbox.take().len(), outbox.take().len()), (3, 0));
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let outbox = Outbox::default();
        (0..2 * PLACES).for_each(|_| outbox.push(letter()));
        assert_eq!(outbox.take().len(), PLACES);
    }
}
