//! The run loop of a director.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lvs_core::connection::TableMemory;
use lvs_core::director::TurnBuffers;
use lvs_core::observe::Observer;
use lvs_core::{Director, Event, FrameIo};

use crate::clock::Clock;

/// The longest wait: a signal may come between the look at `stop` and the wait, and is noticed after it.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// 32 random bytes from the operating system.
///
/// # Errors
/// If it has none.
pub fn seed() -> Result<[u8; 32], getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

/// Runs a director over `io` until `stop` is set. Hands every event to `on_event`; `observer` watches every frame (the
/// unit type watches nothing and costs nothing).
///
/// # Errors
/// When the device is gone for good.
pub fn run<M: TableMemory, I: FrameIo, O: Observer>(
    director: &mut Director<M>,
    io: &mut I,
    clock: Clock,
    stop: &AtomicBool,
    observer: &mut O,
    mut on_event: impl FnMut(&Director<M>, Event),
) -> Result<(), I::Error> {
    let mut buffers = TurnBuffers::new();
    while !stop.load(Ordering::Relaxed) {
        let received = director.turn_observed(io, &mut buffers, || clock.now(), observer)?;
        while let Some(event) = director.poll_event() {
            on_event(director, event);
        }
        if received == 0 {
            let due = director.poll_timeout().map(|due| due.saturating_duration_since(clock.now()));
            io.wait(Some(due.map_or(LONGEST_WAIT, |due| due.min(LONGEST_WAIT))))?;
        }
    }
    Ok(())
}
