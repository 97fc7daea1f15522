//! The client's side.

use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use lvs_core::connection::ConnectionRecord;
use lvs_core::listing::ServiceListing;

use super::message::{Answer, Refusal, Reply, Request, Traced, write_request};
use crate::json::HealthService;

/// How long a director may take for an answer. An edit waits for all workers; a reload reads files.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line of an answer, in bytes: more than any portion has.
const MAX_ANSWER: u64 = 64 << 20;

/// A connection to a director's control socket.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no director at that path.
    #[error(
        "no director listens at {path}: {source}; start one with --control {path}, or name its socket by --socket or LVS_SOCKET"
    )]
    Nobody {
        /// The path.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the director does not answer: {0}")]
    Io(#[from] io::Error),
    /// The director sent something that is no answer to the question.
    #[error("the director's answer cannot be read: {0}")]
    Strange(String),
    /// The director refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens there, or this user may not.
    pub fn connect(path: &Path) -> Result<Self, CallError> {
        let nobody = |source| CallError::Nobody { path: path.display().to_string(), source };
        let stream = UnixStream::connect(path).map_err(nobody)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and reads the first line of the answer.
    ///
    /// # Errors
    /// A refusal, or trouble with the connection.
    pub fn call(&mut self, request: &Request) -> Result<Reply, CallError> {
        let mut line = write_request(request).map_err(|error| CallError::Strange(error.to_string()))?;
        line.push('\n');
        // A server that turns a client away has said so and gone; its words are worth more than the broken pipe.
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        let answer = self.next();
        if matches!(answer, Err(CallError::Io(_))) {
            sent?;
        }
        answer
    }

    /// Reads another line of an answer.
    fn next(&mut self) -> Result<Reply, CallError> {
        let mut line = Vec::new();
        io::Read::take(&mut self.stream, MAX_ANSWER).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Ok(reply)) => Ok(reply),
            Ok(Answer::Error(refusal)) => Err(refusal.into()),
            Err(error) => Err(CallError::Strange(error.to_string())),
        }
    }

    /// Carries out lines in the grammar of `ipvsadm -R`, all or none. Answers what the operator should know all the same.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn rules(&mut self, text: &str) -> Result<Vec<String>, CallError> {
        self.done(&Request::Rules { text: text.to_owned() })
    }

    /// A request that is answered with [`Reply::Done`].
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn done(&mut self, request: &Request) -> Result<Vec<String>, CallError> {
        match self.call(request)? {
            Reply::Done { notes } => Ok(notes),
            other => Err(strange(&other)),
        }
    }

    /// All services, and how many connections fit.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn services(&mut self) -> Result<(Vec<ServiceListing>, u32), CallError> {
        let mut all = Vec::new();
        let mut reply = self.call(&Request::Services)?;
        loop {
            let Reply::Services { services, size, more } = reply else {
                return Err(strange(&reply));
            };
            for service in services {
                all.push(
                    service
                        .try_into()
                        .map_err(|error: crate::json::ValueError| CallError::Strange(error.to_string()))?,
                );
            }
            if !more {
                return Ok((all, size));
            }
            reply = self.next()?;
        }
    }

    /// How the services that are checked are.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn health(&mut self) -> Result<Vec<HealthService>, CallError> {
        let mut all = Vec::new();
        let mut reply = self.call(&Request::Health)?;
        loop {
            let Reply::Health { services, more } = reply else {
                return Err(strange(&reply));
            };
            all.extend(services);
            if !more {
                return Ok(all);
            }
            reply = self.next()?;
        }
    }

    /// Hands all connections to `each`, some at a time.
    ///
    /// # Errors
    /// As [`call`](Self::call), and those of `each`.
    pub fn connections<E: From<CallError>>(
        &mut self,
        mut each: impl FnMut(ConnectionRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = 0;
        loop {
            let (connections, next) = match self.call(&Request::Connections { cursor })? {
                Reply::Connections { connections, next } => (connections, next),
                other => return Err(strange(&other).into()),
            };
            for connection in connections {
                let record = ConnectionRecord::try_from(connection);
                each(record.map_err(|error| CallError::Strange(error.to_string()))?)?;
            }
            match next {
                Some(next) => cursor = next,
                None => return Ok(()),
            }
        }
    }

    /// Hands what a [trace](Request::Trace) tells to `each`, until that has enough or the time is over. The first portion is empty
    /// and says that the trace has begun; it ends with this conversation.
    ///
    /// # Errors
    /// As [`call`](Self::call), and those of `each`. A director that ends says so: a refusal with
    /// [`Fault::Ended`](super::Fault::Ended). One that is killed, or that lets a client go which has not read for five seconds, does
    /// not: an [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
    pub fn trace<E: From<CallError>>(
        mut self,
        filter: &str,
        until: Option<Instant>,
        mut each: impl FnMut(Traced) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        let mut reply = self.call(&Request::Trace { filter: filter.to_owned() })?;
        loop {
            let Reply::Traced(traced) = reply else {
                return Err(strange(&reply).into());
            };
            if each(traced)?.is_break() {
                return Ok(());
            }
            // The director gives signs of life sooner than its client loses patience.
            let left = until.map_or(PATIENCE, |until| until.saturating_duration_since(Instant::now()));
            let patience = left.min(PATIENCE);
            if patience.is_zero() {
                return Ok(());
            }
            let wait = self.stream.get_ref().set_read_timeout(Some(patience));
            wait.map_err(CallError::Io)?;
            reply = match self.next() {
                Err(CallError::Io(error)) if is_timeout(&error) && patience == left && until.is_some() => {
                    return Ok(());
                }
                next => next?,
            };
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn strange(reply: &Reply) -> CallError {
    let text = format!("{reply:?}");
    CallError::Strange(text.chars().take(80).collect())
}
