//! Why a director did with a frame what it did, as a value and in words.
//!
//! ```text
//!   Observer calls of the code that decides ─► Notes ─► Explanation ─┬─► lines, why, what
//!                                 Filter, sampling ─► Explainer ─────┴─► whoever listens
//! ```
//! [`Notes`] takes the observations of one frame after the other and makes an [`Explanation`] of each; [`Explainer`] is
//! the observer for a live trace: it hands on the explanations that a [`Filter`] wants. Nothing is worked out
//! afterwards: what was not observed is not explained. One kind of sentence is about what was seen of the frame alone
//! (why a frame is not the director's business), and says no more than that.
//!
//! ```
//! use lvs_admin::explain::{Explainer, Filter, Plain};
//! use lvs_core::config::{DestinationConfig, SchedulerKind, ServiceConfig, ServiceKey};
//! use lvs_core::{Change, Director, DirectorConfig, Frame, Instant, InterfaceConfig, PortId};
//! use lvs_testkit::frames::{self, TcpFlags, mac, socket};
//!
//! let eth0 = InterfaceConfig::new(PortId(0), mac("02:00:00:00:00:d0"), "192.168.0.208/24".parse()?);
//! let mut director = Director::new(DirectorConfig::new(vec![eth0], [7; 32]), Instant::ZERO)?;
//! let http = ServiceKey::tcp("192.168.0.250".parse()?, 80);
//! director.apply(Instant::ZERO, &[
//!     Change::AddService(ServiceConfig::new(http, SchedulerKind::RoundRobin)),
//!     Change::AddDestination(http, DestinationConfig::new("192.168.0.188".parse()?, 80)),
//!     Change::SetStaticNeighbour {
//!         address: "192.168.0.188".parse()?,
//!         mac: Some(mac("02:00:00:00:00:bc")),
//!     },
//! ])?;
//!
//! let mut told = Vec::new();
//! let filter: Filter = "verdict=transmit,drop port=80".parse()?;
//! let mut explainer = Explainer::new(filter, |explanation| {
//!     told.push(format!("{}: {}", explanation.what(), explanation.why(&Plain)));
//! });
//! let mut syn = frames::tcp(socket("110.0.0.1:40000"), socket("192.168.0.250:80"))
//!     .flags(TcpFlags::SYN)
//!     .macs(mac("02:00:00:00:00:0f"), mac("02:00:00:00:00:d0"))
//!     .build();
//! let mut frame = Frame::new(&mut syn, PortId(0));
//! let _ = director.handle_frame_observed(Instant::ZERO, &mut frame, &mut explainer);
//! assert_eq!(told, [
//!     "TCP SYN 110.0.0.1:40000 > 192.168.0.250:80, 54 bytes: none is known for this client and port; \
//!      TCP 192.168.0.250:80 is a virtual service, and a SYN may open a connection; \
//!      last added first, as in IPVS: 192.168.0.188; \
//!      rr: it begins with the first of them; so it is the turn of 192.168.0.188",
//! ]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It does no I/O, keeps one frame in mind at a time, and decides nothing.

mod explainer;
mod filter;
mod notes;
mod scheduler;
#[cfg(test)]
mod tests;
mod what;
mod words;

use std::net::{IpAddr, SocketAddr};

use lvs_core::config::{SchedulerKind, ServiceKey};
use lvs_core::connection::ConnectionState;
use lvs_core::observe::{Answer, Forgotten, Hashed, Held};
use lvs_core::scheduler::{Grounds, SchedulerState, Server};
use lvs_core::{DropReason, MacAddr, Verdict};

pub use explainer::Explainer;
#[cfg(target_os = "linux")]
pub(crate) use filter::shortened;
pub use filter::{Filter, FilterError, GRAMMAR, filter_help};
pub use notes::Notes;
pub use what::{FrameProtocol, What};
pub use words::{Line, Names, Plain, drop_words};

/// What was decided about one frame, and from what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The frame as it came.
    pub frame: What,
    /// In the order in which the director took them.
    pub steps: Vec<Step>,
    /// What became of it.
    pub verdict: Verdict,
    /// Its Ethernet addresses after the decision: destination and source.
    pub macs: (MacAddr, MacAddr),
    /// How many of the bytes behind the Ethernet addresses were changed.
    pub changed: usize,
    /// Its length in bytes after the decision.
    pub length: usize,
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The flow has a connection.
    Known {
        /// Its state before this packet.
        before: ConnectionState,
        /// Its state after it.
        after: ConnectionState,
        /// The real server.
        destination: SocketAddr,
    },
    /// The flow had a connection that is over.
    Forgotten(Forgotten),
    /// A virtual service takes the flow.
    Service(ServiceKey),
    /// Its connections are not remembered.
    OnePacket,
    /// The client has been here before.
    Persisted {
        /// The real server.
        destination: SocketAddr,
    },
    /// A scheduler was asked.
    Scheduled(Scheduled),
    /// The real server was picked by the hash of the client.
    Hashed {
        /// The real server's address.
        destination: IpAddr,
        /// Why there is no connection.
        because: Hashed,
    },
    /// An ICMP message reports on a flow.
    Quoted {
        /// The protocol's number.
        protocol: u8,
        /// Client and virtual address of the flow.
        flow: (SocketAddr, SocketAddr),
        /// Its real server, if it has a connection.
        destination: Option<SocketAddr>,
    },
    /// A piece of a packet follows its first piece, if that has come.
    Piece {
        /// The real server's address.
        destination: Option<IpAddr>,
    },
    /// The director keeps a copy.
    Held(Held),
    /// The director answered by a packet of its own.
    Answered(Answer),
}

/// What a scheduler was asked, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// Which one.
    pub scheduler: SchedulerKind,
    /// Client and virtual address of the flow.
    pub flow: (SocketAddr, SocketAddr),
    /// What it had in mind before.
    pub state: SchedulerState,
    /// The servers in list order, as they stood.
    pub servers: Vec<Server>,
    /// The place it picked.
    pub picked: Option<usize>,
    /// What it picked from besides.
    pub grounds: Grounds,
}

impl Scheduled {
    /// The server it picked.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        self.servers.get(self.picked?)
    }
}

/// Which connection a frame met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It opened one.
    New,
    /// It belongs to one, or reports on one.
    Known,
    /// Neither.
    None,
}

impl Connection {
    /// `new`, `known` or `none`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Known => "known",
            Self::None => "none",
        }
    }
}

impl Explanation {
    /// The service that took the frame. A known connection is not asked for its service, so there is none for its frames.
    #[must_use]
    pub fn service(&self) -> Option<ServiceKey> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Service(key) => Some(*key),
            _ => None,
        })
    }

    /// Which connection it met.
    #[must_use]
    pub fn connection(&self) -> Connection {
        let mut met = Connection::None;
        let mut is_remembered = true;
        for step in &self.steps {
            met = match step {
                Step::Known { .. } => Connection::Known,
                Step::Piece { destination } if destination.is_some() => Connection::Known,
                // One that it opened itself (`schedule_icmp`) stays new.
                Step::Quoted { destination, .. } if destination.is_some() && met == Connection::None => {
                    Connection::Known
                }
                Step::Scheduled(scheduled) if scheduled.picked.is_some() && is_remembered => Connection::New,
                Step::Persisted { .. } if is_remembered => Connection::New,
                Step::Hashed { .. } | Step::Forgotten(_) => Connection::None,
                Step::OnePacket => {
                    is_remembered = false;
                    Connection::None
                }
                _ => met,
            };
        }
        met
    }

    /// The real server that was chosen, whether the frame reached it or not.
    #[must_use]
    pub fn server(&self) -> Option<IpAddr> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Known { destination, .. } | Step::Persisted { destination } => Some(destination.ip()),
            Step::Scheduled(scheduled) => scheduled.server().map(|server| server.address),
            Step::Hashed { destination, .. } => Some(*destination),
            Step::Quoted { destination, .. } => destination.map(|destination| destination.ip()),
            Step::Piece { destination } => *destination,
            _ => None,
        })
    }

    /// Why it was dropped, if it was.
    #[must_use]
    pub const fn reason(&self) -> Option<DropReason> {
        match self.verdict {
            Verdict::Drop(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether another worker has it now, which will explain the rest.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Held(Held::HandedOver { .. })))
    }

    /// `transmit`, `pass`, `hold` or `drop`.
    #[must_use]
    pub const fn verdict_name(&self) -> &'static str {
        verdict_name(self.verdict)
    }

    /// What the frame is, in one line.
    #[must_use]
    pub fn what(&self) -> String {
        self.frame.to_string()
    }
}

/// `transmit`, `pass`, `hold` or `drop`.
const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Transmit(_) => "transmit",
        Verdict::Pass => "pass",
        Verdict::Hold => "hold",
        Verdict::Drop(_) => "drop",
    }
}
