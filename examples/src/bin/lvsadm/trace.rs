//! `--trace`: frames as a running director decides about them.

use std::fmt::Write as _;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lvs_admin::control::{self, CallError, Client, Fault, Request, Traced, TracedFrame};
use lvs_examples::explained::{self, Headline};
use lvs_examples::layout::Paint;

use crate::{Failure, NO_DIRECTOR, connect, print};

/// What is to be told, and when it is enough.
pub(crate) struct Wish<'a> {
    pub(crate) filter: &'a str,
    /// Frames.
    pub(crate) count: u64,
    pub(crate) seconds: Option<u64>,
    pub(crate) as_json: bool,
}

/// Why it ended before it was enough.
enum Broken {
    Call(CallError),
    Other(Failure),
}

impl From<CallError> for Broken {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// Tells of frames until there were enough, the time is over, or for ever.
pub(crate) fn trace(socket: Option<PathBuf>, wish: &Wish<'_>) -> Result<(), Failure> {
    let client = connect(socket.clone())?;
    let until = wish.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut told = Told { wish, paint: Paint::for_stdout(), begun: false, frames: 0 };
    match client.trace(wish.filter, until, |traced| told.tell(&traced).map_err(Broken::Other)) {
        Ok(()) => {
            if let (Some(seconds), true) = (wish.seconds, told.frames < wish.count) {
                let plural = if told.frames == 1 { "" } else { "s" };
                eprintln!("lvsadm: {} frame{plural} in {seconds} s", told.frames);
            }
            Ok(())
        }
        Err(Broken::Other(failure)) => Err(failure),
        Err(Broken::Call(error)) => Err(ended(error, socket)),
    }
}

struct Told<'a> {
    wish: &'a Wish<'a>,
    paint: Paint,
    begun: bool,
    frames: u64,
}

impl Told<'_> {
    fn tell(&mut self, traced: &Traced) -> Result<ControlFlow<()>, Failure> {
        if !self.begun {
            self.begun = true;
            eprintln!("lvsadm: the trace has begun");
        }
        let left = usize::try_from(self.wish.count - self.frames).unwrap_or(usize::MAX);
        let mut text = String::new();
        for frame in traced.frames.iter().take(left) {
            self.frames += 1;
            text += &self.one(frame)?;
        }
        print(&text)?;
        if self.frames == self.wish.count {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(missed) = missed(traced) {
            eprintln!("lvsadm: {missed}");
        }
        Ok(ControlFlow::Continue(()))
    }

    fn one(&self, frame: &TracedFrame) -> Result<String, Failure> {
        let is = &frame.explained;
        if self.wish.as_json {
            let line = serde_json::to_string(is);
            return Ok(line.map_err(|error| Failure::new(NO_DIRECTOR, error.to_string()))? + "\n");
        }
        let mut what = is.what.clone();
        if let Some(worker) = is.worker {
            // Writing into a string does not fail.
            let _ = write!(what, ", by worker {worker}");
        }
        let time = explained::time_of_day(is.time);
        let headline = Headline { number: is.frame, time: &time, what: &what, verdict: &is.verdict };
        Ok(explained::frame(&headline, frame.lines.iter().map(|(label, line)| (label, line)), self.paint))
    }
}

/// How many frames were not told of.
fn missed(traced: &Traced) -> Option<String> {
    let Traced { untold, unlooked, .. } = *traced;
    Some(match (untold, unlooked) {
        (0, 0) => return None,
        (untold, 0) => format!("{untold} more frames matched"),
        (0, unlooked) => {
            format!("{unlooked} more frames may have matched: only their headers were looked at")
        }
        (untold, unlooked) => format!(
            "{untold} more frames matched, and {unlooked} may have: only their headers were looked at"
        ),
    })
}

/// The other side has gone.
fn ended(error: CallError, socket: Option<PathBuf>) -> Failure {
    match error {
        CallError::Refused(refusal) if refusal.fault == Fault::Ended => {
            Failure::new(NO_DIRECTOR, format!("lvsadm: {}", refusal.text))
        }
        // A director that was killed says nothing, and is not there any more.
        CallError::Io(error) if is_end(&error) => Failure::new(
            NO_DIRECTOR,
            if is_there(socket) {
                "lvsadm: the director has let this program go, which did not take what it was told for five seconds"
            } else {
                "lvsadm: the director has ended"
            },
        ),
        other => other.into(),
    }
}

/// Whether a director answers. To be connected is not enough: the socket of one that was killed stays for a moment.
fn is_there(socket: Option<PathBuf>) -> bool {
    let Some(path) = control::chosen_path(socket) else { return false };
    let answer = Client::connect(&path).and_then(|mut client| client.call(&Request::Hello));
    matches!(answer, Ok(_) | Err(CallError::Refused(_)))
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_is_said_if_anything_was() {
        let missed = |untold, unlooked| missed(&Traced { frames: Vec::new(), untold, unlooked });
        assert_eq!(missed(0, 0), None);
        assert_eq!(missed(3, 0).unwrap(), "3 more frames matched");
        assert!(missed(0, 4).unwrap().starts_with("4 more frames may have matched: only"));
        assert!(missed(3, 4).unwrap().starts_with("3 more frames matched, and 4 may have: only"));
    }
}
