//! What is said over the socket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::json::{Connection, Explained, ForcedState, HealthService, Key, Plan, Service, Timeouts, Usage};

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// The longest request, in bytes.
pub const MAX_REQUEST: usize = 16 << 20;

/// A request. On the wire it has a field `"lvs"` besides, the [`VERSION`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Request {
    /// Who is there?
    Hello,
    /// Carries out lines in the grammar of `ipvsadm -R`, all or none.
    Rules {
        /// The lines.
        text: String,
    },
    /// The services with their servers; comes in portions.
    Services,
    /// Some connections from a cursor on, templates last.
    Connections {
        /// 0, or what the last reply said.
        #[serde(default)]
        cursor: u64,
    },
    /// The time-outs of the director.
    Timeouts,
    /// The knobs.
    Knobs,
    /// Sets a knob.
    SetKnob {
        /// `NAME=VALUE`.
        setting: String,
    },
    /// Gives a server no new connections, and ends those it has at a deadline.
    Drain {
        /// The service.
        service: Key,
        /// The real server.
        server: IpAddr,
        /// Seconds.
        deadline: u64,
    },
    /// Everything as rules, so that [`Request::Rules`] restores it into an empty director.
    Save,
    /// What the director has counted.
    Statistics,
    /// Reads its files again and carries out the difference.
    Reload,
    /// How the services that are checked are; comes in portions.
    Health,
    /// Takes an operator's word for how a server is, whatever its checks say, until it is taken back. It survives a reload.
    Force {
        /// The service; all that the server serves in, if none is named.
        #[serde(default)]
        service: Option<Key>,
        /// The real server.
        server: IpAddr,
        /// How it is.
        state: ForcedState,
        /// With maintenance: seconds until what is left of its connections is ended.
        #[serde(default)]
        deadline: Option<u64>,
    },
    /// What would another configuration do?
    Plan {
        /// The configuration as TOML text; what [`config::toml::write`](crate::config::toml::write) writes, whatever file it
        /// came from.
        configuration: String,
    },
    /// What happens to frames from now on, and why? It is answered until the client closes the connection.
    Trace {
        /// Which frames, in the grammar of [`explain::GRAMMAR`](crate::explain::GRAMMAR); all if it is empty.
        #[serde(default)]
        filter: String,
    },
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// To [`Request::Hello`].
    Hello {
        /// The version of the protocol.
        protocol: u32,
        /// That of the director.
        director: String,
        /// How many workers it has.
        workers: u16,
        /// How full its table is.
        usage: Usage,
    },
    /// It was done.
    Done {
        /// What the operator should know all the same.
        #[serde(default)]
        notes: Vec<String>,
    },
    /// To [`Request::Services`].
    Services {
        /// Some of them.
        services: Vec<Service>,
        /// How many connections fit, as the first line of a listing says.
        size: u32,
        /// Whether another line follows.
        more: bool,
    },
    /// To [`Request::Connections`].
    Connections {
        /// Some of them.
        connections: Vec<Connection>,
        /// Where to go on; nothing behind the last one.
        next: Option<u64>,
    },
    /// To [`Request::Timeouts`].
    Timeouts(Timeouts),
    /// To [`Request::Knobs`].
    Knobs(Vec<Knob>),
    /// To [`Request::Save`].
    Rules(String),
    /// To [`Request::Statistics`]: by name.
    Statistics(std::collections::BTreeMap<String, u64>),
    /// To [`Request::Plan`].
    Plan(Plan),
    /// To [`Request::Health`].
    Health {
        /// Some of them.
        services: Vec<HealthService>,
        /// Whether another line follows.
        more: bool,
    },
    /// To [`Request::Trace`], again and again: an empty one at once, and when nothing happened for some seconds.
    Traced(Traced),
}

/// What a trace has to tell since the last time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Traced {
    /// Frames and what became of them.
    pub frames: Vec<TracedFrame>,
    /// How many more matched: there were too many, or the client did not read.
    pub untold: u64,
    /// How many more may have matched: there were so many that only their headers were looked at.
    pub unlooked: u64,
}

/// A frame of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TracedFrame {
    /// As in `explain --json`.
    #[serde(flatten)]
    pub explained: Explained,
    /// The same for people: a word for the margin, and a sentence.
    pub lines: Vec<(String, String)>,
}

/// A knob and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knob {
    /// Its name.
    pub name: String,
    /// Its value, as it would be written.
    pub value: String,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// What kind of fault it is.
    pub fault: Fault,
    /// What is wrong, in words.
    pub text: String,
    /// The line of the rules that is at fault, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What `ipvsadm` would have said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipvsadm: Option<Said>,
}

/// What `ipvsadm` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What it prints.
    pub text: String,
    /// The status it exits with.
    pub status: u8,
}

impl From<(String, u8)> for Said {
    fn from((text, status): (String, u8)) -> Self {
        Self { text, status }
    }
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// It cannot be read: no JSON, an unknown request, a word out of place.
    Malformed,
    /// It was understood and cannot be carried out: something exists already, or does not, or there is no room.
    Refused,
    /// The server speaks another version.
    Version,
    /// There are too many clients.
    Busy,
    /// The director cannot do this as it was started.
    Unavailable,
    /// The director ends, and with it a trace.
    Ended,
}

impl Refusal {
    /// Of this kind, with these words. Whatever a terminal would act upon is taken out of them, but for the ends of lines.
    #[must_use]
    pub fn new(fault: Fault, text: impl Into<String>) -> Self {
        let shown = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
        let text = text.into().chars().map(shown).collect();
        Self { fault, text, line: None, ipvsadm: None }
    }
}

/// A request as it stands on the wire, without the end of the line.
pub(super) fn write_request(request: &Request) -> serde_json::Result<String> {
    let mut value = serde_json::to_value(request)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("lvs".to_owned(), VERSION.into());
    }
    serde_json::to_string(&value)
}

/// Reads a line.
pub(super) fn read_request(line: &[u8]) -> Result<Request, Refusal> {
    let malformed = |text: String| Refusal::new(Fault::Malformed, text);
    let mut value: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| malformed(format!("no JSON: {error}")))?;
    let object = value.as_object_mut().ok_or_else(|| malformed("expected a JSON object".to_owned()))?;
    let version = object
        .remove("lvs")
        .ok_or_else(|| malformed(format!("the field lvs is missing: the protocol's version, {VERSION}")))?;
    if version != VERSION {
        let text = format!("version {version} of the protocol is not spoken here, only {VERSION}");
        return Err(Refusal::new(Fault::Version, text));
    }
    serde_json::from_value(value).map_err(|error| malformed(error.to_string()))
}

/// An answer as it stands on the wire.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Ok(Reply),
    Error(Refusal),
}
