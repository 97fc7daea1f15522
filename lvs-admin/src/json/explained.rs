//! What became of a frame, and why: what `explain --json` prints and a live trace carries.

use lvs_core::{DropReason, MacAddr, Verdict};
use serde::{Deserialize, Serialize};

use crate::explain::{Explanation, Plain};

/// A frame and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Its number, from 1: in a capture, or among those that a trace has told.
    pub frame: u64,
    /// When it came, in seconds since 1970.
    pub time: f64,
    /// The worker that decided about it; nothing where there is one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u16>,
    /// What it is.
    pub what: String,
    /// The service that took it, where one was asked for: when a connection begins.
    pub service: Option<String>,
    /// `new`, `known` or `none`.
    pub connection: String,
    /// The real server that was chosen.
    pub server: Option<String>,
    /// What was decided, from what.
    pub why: String,
    /// `transmit`, `pass` or `drop`. A frame that the director holds is `transmit`: it leaves, if only later or in pieces.
    pub verdict: String,
    /// The drop reason.
    pub reason: Option<String>,
    /// What leaves because of it.
    pub out: Vec<Sent>,
}

/// A frame that leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// To this Ethernet address.
    pub dst_mac: String,
    /// From this one.
    pub src_mac: String,
    /// Its length.
    pub bytes: usize,
}

impl Sent {
    /// To, from, and how long.
    #[must_use]
    pub fn new(destination: MacAddr, source: MacAddr, bytes: usize) -> Self {
        Self { dst_mac: destination.to_string(), src_mac: source.to_string(), bytes }
    }
}

impl Explained {
    /// With this number and time in seconds since 1970. What leaves is the frame itself, if it is transmitted.
    #[must_use]
    pub fn new(frame: u64, time: f64, explanation: &Explanation) -> Self {
        let (to, from) = explanation.macs;
        let verdict = match explanation.verdict {
            Verdict::Hold => "transmit",
            _ => explanation.verdict_name(),
        };
        let itself = matches!(explanation.verdict, Verdict::Transmit(_));
        Self {
            frame,
            time,
            worker: None,
            what: explanation.what(),
            service: explanation.service().map(|key| key.to_string()),
            connection: explanation.connection().name().to_owned(),
            server: explanation.server().map(|address| address.to_string()),
            why: explanation.why(&Plain),
            verdict: verdict.to_owned(),
            reason: explanation.reason().map(DropReason::slug).map(ToOwned::to_owned),
            out: itself.then(|| Sent::new(to, from, explanation.length)).into_iter().collect(),
        }
    }
}
