//! SIGINT and SIGTERM as a question instead of an end, so that a program can say goodbye.
//!
//! A lab needs no cleaning up: its namespaces go with the process. This is for programs with something
//! to print or to write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Whether the user wants the program to end. A second signal ends it at once.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts listening for SIGINT and SIGTERM.
    ///
    /// # Errors
    /// If the system refuses to install the handlers.
    pub fn install() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Order matters: on the first signal the flag is not set yet, so the first action does nothing.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, flag.clone())?;
            signal_hook::flag::register(signal, flag.clone())?;
        }
        Ok(Self(flag))
    }

    /// Whether a signal has come.
    #[must_use]
    pub fn caught(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits for a signal; `false` if none has come within `timeout`. Notices within 20 ms.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if self.caught() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_noticed() {
        let interrupt = Interrupt::install().unwrap();
        assert!(!interrupt.wait(Duration::from_millis(1)));
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(interrupt.wait(Duration::from_secs(2)));
    }
}
