//! Threads that end: each is told to stop and waited for when its handle goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a task may take to end after it was told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells a task to end. A task looks at it at least every 100 ms.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether it is time to end.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Tells everybody who holds a clone.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A thread in a host. Dropped, it is told to stop and waited for, at most 5 s.
#[derive(Debug)]
#[must_use = "a task ends when its handle is dropped"]
pub struct Task<T> {
    stop: Stop,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Task<T> {
    pub(super) fn start(name: &str, body: impl FnOnce(&Stop) -> T + Send + 'static) -> std::io::Result<Self> {
        let stop = Stop::default();
        let told = stop.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || body(&told))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl<T> Task<T> {
    /// Tells it to end, without waiting.
    pub fn request_stop(&self) {
        self.stop.request();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Tells it to end and waits for its result.
    ///
    /// # Panics
    /// With the task's own panic; or if it has not ended after 5 s.
    #[track_caller]
    pub fn stop(mut self) -> T {
        self.stop.request();
        assert!(self.wait(PATIENCE), "a task that was told to stop still runs after {PATIENCE:?}");
        let thread = self.thread.take().expect("only `stop` and `drop` take it, and both consume the handle");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Waits until it ends by itself; `false` if it has not within `timeout`.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while !self.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.stop.request();
        let in_time = self.wait(PATIENCE);
        let Some(thread) = self.thread.take() else { return };
        if !in_time {
            eprintln!("lab: thread {:?} does not end; it is left to itself", thread.thread().name());
        } else if thread.join().is_err() && !thread::panicking() {
            // Its message went to stderr when it happened; a drop must not hide it from the test.
            panic!("a task of the lab panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_told_and_waited_for() {
        let ended = Arc::new(AtomicBool::new(false));
        let flag = ended.clone();
        let task = Task::start("waits", move |stop| {
            while !stop.requested() {
                thread::sleep(Duration::from_millis(1));
            }
            flag.store(true, Ordering::SeqCst);
            7
        })
        .unwrap();
        assert!(!task.wait(Duration::from_millis(5)));
        assert_eq!(task.stop(), 7);
        assert!(ended.load(Ordering::SeqCst));
    }

    #[test]
    #[should_panic(expected = "the task's own words")]
    fn a_tasks_panic_comes_out_of_stop() {
        Task::start("panics", |_| panic!("the task's own words")).unwrap().stop();
    }
}
