//! How often a message is tried that the kernel did not take, and when it is lost.
//!
//! Decides only; the calls themselves are handed in, so that every answer of the kernel can be played.

use std::io;

/// How many times one batch waits for room in the device's queue.
const PATIENCE: u32 = 8;

/// What became of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// The kernel said that the link is or was down.
    pub(crate) link_down: bool,
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Too much of the socket's is on its way (EAGAIN): the socket says when there is room.
    Socket,
    /// The device's queue is full (ENOBUFS), or memory is short: nobody says when that ends.
    Device,
}

/// Sends all `messages` with `send`, which answers how many it took from the front, or why the first was not
/// taken; waits with `wait`.
///
/// # Errors
/// When the socket itself is unusable.
pub(crate) fn all<M>(
    messages: &[M],
    mut send: impl FnMut(&[M]) -> io::Result<usize>,
    mut wait: impl FnMut(Busy),
) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut patience = PATIENCE;
    let mut rest = messages;
    while let Some((_, after)) = rest.split_first() {
        let error = match send(rest) {
            Ok(0) => io::ErrorKind::WouldBlock.into(),
            Ok(taken) => {
                outcome.sent += taken.min(rest.len()) as u64;
                rest = rest.get(taken..).unwrap_or_default();
                continue;
            }
            Err(error) => error,
        };
        match refusal(&error) {
            Refusal::Again => {}
            Refusal::Busy(busy) if patience > 0 => {
                patience -= 1;
                wait(busy);
            }
            // That the link went down may be old news, told once to the next caller: try once more.
            Refusal::Down if !outcome.link_down => outcome.link_down = true,
            Refusal::Down => {
                outcome.lost += rest.len() as u64;
                rest = &[];
            }
            Refusal::Busy(_) | Refusal::Message => {
                outcome.lost += 1;
                rest = after;
            }
            Refusal::Socket => return Err(error),
        }
    }
    Ok(outcome)
}

/// Whom an error is about.
enum Refusal {
    /// Nobody: a signal came.
    Again,
    Busy(Busy),
    Down,
    /// This one message: too long, malformed, refused by a filter.
    Message,
    Socket,
}

fn refusal(error: &io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::WouldBlock {
        return Refusal::Busy(Busy::Socket);
    }
    match error.raw_os_error() {
        Some(libc::EINTR) => Refusal::Again,
        Some(libc::ENOBUFS | libc::ENOMEM) => Refusal::Busy(Busy::Device),
        Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => Refusal::Down,
        Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EOPNOTSUPP) => Refusal::Socket,
        _ => Refusal::Message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays the kernel's answers: a count, or an error number below zero.
    fn play(messages: usize, answers: &[i32]) -> (io::Result<Outcome>, usize, Vec<Busy>) {
        let messages = vec![(); messages];
        let mut answers = answers.iter();
        let mut waits = Vec::new();
        let mut calls = 0;
        let result = all(
            &messages,
            |_| {
                calls += 1;
                match answers.next().copied().expect("tried more often than planned") {
                    count if count >= 0 => Ok(count as usize),
                    error => Err(io::Error::from_raw_os_error(-error)),
                }
            },
            |busy| waits.push(busy),
        );
        (result, calls, waits)
    }

    fn outcome(messages: usize, answers: &[i32]) -> (u64, u64, bool) {
        let (result, calls, _) = play(messages, answers);
        assert_eq!(calls, answers.len());
        let outcome = result.unwrap();
        (outcome.sent, outcome.lost, outcome.link_down)
    }

    #[test]
    fn partial_sends_go_on_where_they_stopped() {
        assert_eq!(outcome(64, &[64]), (64, 0, false));
        assert_eq!(outcome(64, &[20, -libc::EINTR, 40, 4]), (64, 0, false));
    }

    #[test]
    fn one_bad_message_costs_itself_only() {
        assert_eq!(outcome(10, &[3, -libc::EMSGSIZE, 6]), (9, 1, false));
        assert_eq!(outcome(2, &[-libc::EINVAL, -libc::EPERM]), (0, 2, false));
    }

    #[test]
    fn a_full_queue_is_waited_for_a_bounded_number_of_times() {
        let (result, _, waits) = play(4, &[-libc::ENOBUFS, -libc::EAGAIN, 0, 4]);
        assert_eq!(result.unwrap(), Outcome { sent: 4, lost: 0, link_down: false });
        assert_eq!(waits, [Busy::Device, Busy::Socket, Busy::Socket]);
        let never = [-libc::ENOBUFS; PATIENCE as usize + 3];
        assert_eq!(outcome(3, &never), (0, 3, false));
    }

    #[test]
    fn a_link_that_is_down_loses_the_batch_and_one_that_was_does_not() {
        assert_eq!(outcome(64, &[-libc::ENETDOWN, -libc::ENETDOWN]), (0, 64, true));
        assert_eq!(outcome(64, &[-libc::ENETDOWN, 64]), (64, 0, true));
        assert_eq!(outcome(64, &[8, -libc::ENXIO, -libc::ENXIO]), (8, 56, true));
    }

    #[test]
    fn an_unusable_socket_is_an_error() {
        let (result, ..) = play(2, &[-libc::EBADF]);
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
