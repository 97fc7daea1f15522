//! How a running director is edited and looked at: a Unix socket that carries JSON, a line a message.
//!
//! ```text
//!   lvsadm ──┐                          ┌─ Handler (the director program): edits, listings, reload
//!   program ─┼─► Client ═ socket ═ Server
//!   nc -U ───┘     {"lvs":1,"do":"services"}  ►  {"ok":{"services":[...],"more":false}}
//! ```
//!
//! # The protocol, version 1
//!
//! A client sends a [`Request`] as one line of JSON, with `"lvs":1` for the version and `"do"` for what is wanted, and gets one
//! line for it: `{"ok":...}` with a [`Reply`], or `{"error":{...}}` with a [`Refusal`]. Then it may send the next one. Listings come
//! in portions; a reply with `"more":true` is followed by another line, or for connections by a cursor for the next request.
//! A [trace](Request::Trace) is answered by line after line until the client closes the connection; what it says meanwhile is not read.
//! A director that ends in good order takes leave of it with the fault [`ended`](Fault::Ended).
//! Unknown fields and unknown requests are refused; a server of another version says which it has.
//!
//! # Bounds
//!
//! A request has at most [`MAX_REQUEST`] bytes and, once it has begun, five seconds to arrive. At most [`MAX_CLIENTS`] clients are
//! served at one time, others are told so and turned away; one that says nothing for a minute is let go, and so is one that does not
//! read. Each client has a thread of its own, so that none can hold up another; frames are never held up by any, but for the
//! moment of an edit. At most [`MAX_TRACES`] clients watch frames, and are told [`TOLD_PER_SECOND`] each; the rest is counted.
//!
//! # Who may
//!
//! The socket has mode 0600, and the server asks the kernel who the client is: root, and the user the director runs as.

mod client;
mod command;
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod message;
mod server;
mod trace;

pub use client::{CallError, Client};
pub use command::{Command, CommandLine, Name, UsageError, call};
pub use group::{Check, File, Follower, GroupHandler, Health, Teller, followed};
pub use message::{Fault, Knob, MAX_REQUEST, Refusal, Reply, Request, Said, Traced, TracedFrame, VERSION};
pub use server::{Caller, Handler, MAX_CLIENTS, Server, ServerError};
pub use trace::{
    LOOKED_AT_PER_SECOND, MAX_TRACES, Portion, TOLD_PER_SECOND, Told, TooManyTraces, Trace, Tracer, Witness,
};

use std::path::PathBuf;

/// The socket of a director that was not told another one: `/run/lvs/director.sock` for root, else
/// `$XDG_RUNTIME_DIR/lvs/director.sock`; `None` for others without that variable.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    let directory = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/run")
    } else {
        PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty())?)
    };
    Some(directory.join("lvs/director.sock"))
}

/// The socket that a client is to use: `given`, or what the environment variable `LVS_SOCKET` says, or the
/// [`default_path`].
#[must_use]
pub fn chosen_path(given: Option<PathBuf>) -> Option<PathBuf> {
    let named = || std::env::var_os("LVS_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
    given.or_else(named).or_else(default_path)
}

#[cfg(test)]
mod tests;
