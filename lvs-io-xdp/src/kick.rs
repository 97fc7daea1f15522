//! How often the kernel is asked to transmit what lies in a ring, and what its answers mean.
//!
//! Decides only; the calls themselves are handed in, so that every answer of the kernel can be played.

use std::io;

/// Frames that a call transmits at least, in copy mode, before it answers "again".
const FRAMES_A_CALL: u32 = 32;
/// How many times one kick asks in vain.
const PATIENCE: u32 = 8;

/// What became of a kick. Frames that are still in the ring stay there for the next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Frames that the device threw away; their memory comes back as if they were sent.
    pub(crate) lost: u64,
    /// The kernel said that the link is down, or the interface gone.
    pub(crate) link_down: bool,
}

/// Calls `send` until `pending` says 0, or it is in vain.
///
/// # Errors
/// When the socket itself is unusable.
pub(crate) fn all(
    mut pending: impl FnMut() -> u32,
    mut send: impl FnMut() -> io::Result<()>,
    mut pause: impl FnMut(),
) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut before = pending();
    let mut calls = before / FRAMES_A_CALL + 2 * PATIENCE;
    let mut patience = PATIENCE;
    while before > 0 && calls > 0 && patience > 0 {
        calls -= 1;
        let result = send();
        let after = pending();
        let Err(error) = result else {
            // A driver that was woken goes on by itself.
            break;
        };
        match error.raw_os_error() {
            // The call's share is done, or the device or the socket's buffer is full.
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR) => {
                if after >= before {
                    patience -= 1;
                    pause();
                }
            }
            // The device took a frame out of the ring and threw it away (NET_XMIT_DROP).
            Some(libc::EBUSY) => outcome.lost += 1,
            Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => {
                outcome.link_down = true;
                break;
            }
            _ => return Err(error),
        }
        before = after;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays the kernel: an answer (0 or an error number) and what is left in the ring after it.
    fn play(at_first: u32, answers: &[(i32, u32)]) -> (io::Result<Outcome>, usize, usize) {
        let rest = std::cell::Cell::new(at_first);
        let (mut calls, mut pauses) = (0, 0);
        let result = all(
            || rest.get(),
            || {
                let (error, left) = answers[calls.min(answers.len() - 1)];
                calls += 1;
                rest.set(left);
                if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
            },
            || pauses += 1,
        );
        (result, calls, pauses)
    }

    fn outcome(lost: u64, link_down: bool) -> Outcome {
        Outcome { lost, link_down }
    }

    #[test]
    fn an_empty_ring_costs_no_call() {
        let (result, calls, _) = play(0, &[(0, 0)]);
        assert_eq!((result.unwrap(), calls), (outcome(0, false), 0));
    }

    #[test]
    fn a_kernel_that_sends_32_at_a_time_is_asked_until_all_are_sent() {
        let again = libc::EAGAIN;
        let (result, calls, pauses) = play(100, &[(again, 68), (again, 36), (again, 4), (0, 0)]);
        assert_eq!((result.unwrap(), calls, pauses), (outcome(0, false), 4, 0));
        let long: Vec<_> = (1..=64).map(|n| (again, 2048 - n * 32)).collect();
        assert_eq!(play(2048, &long).1, 64);
    }

    #[test]
    fn a_full_device_is_waited_for_a_bounded_number_of_times() {
        let (result, calls, pauses) = play(10, &[(libc::ENOBUFS, 10)]);
        assert_eq!((result.unwrap(), calls, pauses), (outcome(0, false), 8, 8));
        // Signals that come all the time do not hold it up for ever.
        assert_eq!(play(10, &[(libc::EINTR, 10)]).1, 8);
    }

    #[test]
    fn frames_that_the_device_throws_away_are_counted() {
        let busy = libc::EBUSY;
        let (result, calls, _) = play(3, &[(busy, 2), (busy, 1), (0, 0)]);
        assert_eq!((result.unwrap(), calls), (outcome(2, false), 3));
    }

    #[test]
    fn a_link_that_is_down_ends_it_and_an_unusable_socket_is_an_error() {
        assert_eq!(play(5, &[(libc::ENETDOWN, 5)]).0.unwrap(), outcome(0, true));
        assert_eq!(play(5, &[(libc::EBADF, 5)]).0.unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
