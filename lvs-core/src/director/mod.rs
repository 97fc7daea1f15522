//! The director: everything put together.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the [`Director`] itself and how it is made |
//! | `validate.rs` | checks of a [`DirectorConfig`] |
//! | `common.rs` | what all workers of a director have in common |
//! | `worker.rs` | what one thread needs, and nobody else touches |
//! | `control.rs` | [`Director::apply`]: edits, whole or not at all |
//! | `scratch.rs` | whether edits may be carried out |
//! | `pipeline.rs` | batches and single frames, from classification to verdict |
//! | `steady.rs` | usual frames of connections that go on as they are |
//! | `flow.rs` | known connections, and flows that have none |
//! | `choose.rs` | persistence, then the scheduler |
//! | `outbound.rs` | forwarding, frames that wait, answers, `poll_transmit` |
//! | `timers.rs` | what is due when |
//! | `fragments.rs` | pieces of packets follow their first piece |
//! | `probe.rs` | answers to health probes, handed over |
//! | `suspects.rs` | servers that leave SYNs unanswered |
//! | `route.rs` | the ways to real servers, for those who probe them |
//! | `ramp.rs` | slow starts and drains |
//! | `sweep.rs` | looking through the table a piece at a time |
//! | `group/` | several workers, each on a thread of its own |
//! | `listing.rs` | what it shows of itself |
//! | `locals.rs` | the addresses it answers for |
//! | `records.rs` | connections as plain values, read and written |
//! | `turn.rs` | one turn of a run loop over a [`FrameIo`](crate::FrameIo) |

mod choose;
mod common;
mod control;
mod flow;
mod fragments;
#[cfg(feature = "std")]
mod group;
mod listing;
mod locals;
mod outbound;
mod pipeline;
mod probe;
mod ramp;
mod records;
mod route;
mod scratch;
mod steady;
mod suspects;
mod sweep;
mod timers;
mod turn;
mod validate;
mod worker;

use core::net::IpAddr;

use common::Common;
#[cfg(feature = "std")]
pub use group::{DirectorGroup, GroupMember};
use locals::Locals;
pub use outbound::Outgoing;
pub use probe::{PROBE_BUFFER, ProbeReply};
pub use records::RestoreError;
pub use route::ServerRoute;
pub use suspects::RepeatedSyn;
pub use turn::{TRANSMIT_BUFFER, TurnBuffers};
use worker::{Team, Worker};

use crate::config::{ConfigError, DirectorConfig, InterfaceConfig, Knobs, MarkRule, Timeouts};
use crate::connection::{FlowHasher, HeapMemory, TableMemory};
use crate::event::Event;
use crate::quick_hash::QuickSet;
use crate::time::Instant;

/// A load balancer in direct-routing style: give it frames, do what its verdicts say.
///
/// The names tell the kind of a call: `handle_*` takes input, `poll_*` yields output, plain nouns show something,
/// [`apply`](Self::apply) edits. No call blocks or reads a clock. After any input or edit, fetch frames by
/// [`poll_transmit`](Self::poll_transmit) and events by [`poll_event`](Self::poll_event) until they answer `None`, and
/// call [`handle_timeout`](Self::handle_timeout) no later than [`poll_timeout`](Self::poll_timeout) says; earlier or
/// repeated calls are harmless. [`turn`](Self::turn) does all that for a [`FrameIo`](crate::FrameIo).
pub struct Director<M: TableMemory = HeapMemory> {
    common: Common<M>,
    worker: Worker<M>,
}

/// How many neighbours may have a fixed Ethernet address.
const MAX_STATIC_NEIGHBOURS: usize = 1024;

type AddressSet = QuickSet<IpAddr>;

/// A bounded queue of events; the newest are lost if nobody fetches them.
struct EventQueue {
    events: arrayvec::ArrayVec<Event, 64>,
    lost: u32,
}

impl EventQueue {
    const fn new() -> Self {
        Self { events: arrayvec::ArrayVec::new_const(), lost: 0 }
    }

    fn push(&mut self, event: Event) {
        if self.events.try_push(event).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn pop(&mut self) -> Option<Event> {
        if !self.events.is_empty() {
            return Some(self.events.remove(0));
        }
        (self.lost > 0).then(|| Event::Lost(core::mem::take(&mut self.lost)))
    }
}

impl Director {
    /// A director whose tables live in the global allocator's memory.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn new(config: DirectorConfig, now: Instant) -> Result<Self, ConfigError> {
        Self::with_memory(config, now, &HeapMemory)
    }
}

impl<M: TableMemory> Director<M> {
    /// A director whose connection table lives in memory of the caller's choice. Services are added by
    /// [`apply`](Self::apply).
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn with_memory(config: DirectorConfig, now: Instant, memory: &M) -> Result<Self, ConfigError> {
        validate::check(&config)?;
        let hasher = FlowHasher::new(&config.seed);
        let mut common = Common::new(&config, memory, hasher, now)?;
        common.own_addresses(now, &config);
        let worker = Worker::new(Team::ALONE, &config, &common, memory, hasher, now)
            .ok_or(ConfigError::OutOfMemory(config.max_connections))?;
        Ok(Self { common, worker })
    }

    /// The interfaces, in the order of their numbers.
    #[must_use]
    pub fn interfaces(&self) -> &[InterfaceConfig] {
        &self.common.interfaces
    }

    /// The knobs as they are now.
    #[must_use]
    pub const fn knobs(&self) -> &Knobs {
        &self.common.knobs
    }

    /// The time-outs as they are now.
    #[must_use]
    pub const fn timeouts(&self) -> &Timeouts {
        &self.common.timeouts
    }

    /// The rules that mark packets, in the order in which they are tried.
    #[must_use]
    pub fn mark_rules(&self) -> &[MarkRule] {
        self.common.services.marks()
    }
}
