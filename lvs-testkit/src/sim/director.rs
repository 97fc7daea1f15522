//! A director as a node.

use std::collections::VecDeque;

use lvs_core::config::ConfigError;
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::io::{Meta, VlanTag};
use lvs_core::observe::{Observation, Observer};
use lvs_core::{Director, DirectorConfig, Event, Frame, Instant, PortId, Verdict};

use super::node::Node;

/// A [`Director`] with its ports; port 0 of the director is port 0 of the node.
///
/// Frames that the director passes ([`Verdict::Pass`]) would be the host kernel's; there is none here, so they are
/// counted and gone. A director that is to answer ARP for its own address has `owns_addresses` set.
pub struct DirectorNode {
    director: Director,
    outgoing: VecDeque<(PortId, Vec<u8>)>,
    events: VecDeque<Event>,
    passed: u64,
    observer: Option<Box<ObserverFn>>,
}

type ObserverFn = dyn FnMut(Instant, &Observation<'_>);

/// Bytes in front of and behind a frame, for tags and whatever the director needs.
const ROOM: usize = 64;
/// Events that are kept if nobody fetches them; the oldest go.
const EVENTS: usize = 4096;

impl DirectorNode {
    /// A director that begins now.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn new(config: DirectorConfig, now: Instant) -> Result<Self, ConfigError> {
        Ok(Self::from(Director::new(config, now)?))
    }

    /// The director: listings, counters, connections.
    #[must_use]
    pub const fn director(&self) -> &Director {
        &self.director
    }

    /// The director, to be edited: [`Director::apply`] and the like. What it has to send leaves at the next step.
    pub const fn director_mut(&mut self) -> &mut Director {
        &mut self.director
    }

    /// What it has reported since this was last called, oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.collect();
        self.events.drain(..).collect()
    }

    /// How many frames were none of its business.
    #[must_use]
    pub const fn passed(&self) -> u64 {
        self.passed
    }

    /// Sends a frame as it is, past the director: as another program on its host would.
    pub fn transmit(&mut self, port: PortId, frame: Vec<u8>) {
        self.outgoing.push_back((port, frame));
    }

    /// Shows every decision from now on.
    pub fn observe(&mut self, observer: impl FnMut(Instant, &Observation<'_>) + 'static) {
        self.observer = Some(Box::new(observer));
    }

    fn collect(&mut self) {
        while let Some(event) = self.director.poll_event() {
            if self.events.len() == EVENTS {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }
}

impl From<Director> for DirectorNode {
    fn from(director: Director) -> Self {
        Self { director, outgoing: VecDeque::new(), events: VecDeque::new(), passed: 0, observer: None }
    }
}

/// Calls a closure, with the time of the frame.
struct Watch<'a>(Instant, &'a mut ObserverFn);

impl Observer for Watch<'_> {
    fn observe(&mut self, observation: &Observation<'_>) {
        (self.1)(self.0, observation);
    }
}

/// A frame as it stands on the wire: the tag that was kept outside is back in its bytes.
fn on_the_wire(meta: &Meta, bytes: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    if let (Some(VlanTag { tpid, tci }), 14..) = (meta.vlan, frame.len()) {
        let ([a, b], [c, d]) = (tpid.to_be_bytes(), tci.to_be_bytes());
        frame.splice(12..12, [a, b, c, d]);
    }
    frame
}

impl Node for DirectorNode {
    fn handle_frame(&mut self, now: Instant, port: PortId, frame: Vec<u8>) {
        let mut buffer = vec![0; ROOM + frame.len() + ROOM];
        buffer[ROOM..ROOM + frame.len()].copy_from_slice(&frame);
        let Ok(mut lent) = Frame::within(&mut buffer, ROOM, frame.len(), port, Meta::default()) else {
            return;
        };
        let verdict = match &mut self.observer {
            Some(observer) => {
                self.director.handle_frame_observed(now, &mut lent, &mut Watch(now, observer.as_mut()))
            }
            None => self.director.handle_frame(now, &mut lent),
        };
        match verdict {
            Verdict::Transmit(port) => {
                self.outgoing.push_back((port, on_the_wire(lent.meta(), lent.bytes())));
            }
            Verdict::Pass => self.passed += 1,
            Verdict::Hold | Verdict::Drop(_) => {}
        }
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<(PortId, Vec<u8>)> {
        if let Some(frame) = self.outgoing.pop_front() {
            return Some(frame);
        }
        let mut buffer = [0; TRANSMIT_BUFFER];
        let sent = self.director.poll_transmit(now, &mut buffer)?;
        Some((sent.port, on_the_wire(&sent.meta, &buffer[..sent.len])))
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.director.handle_timeout(now);
        self.collect();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.director.poll_timeout()
    }

    fn handle_link(&mut self, now: Instant, port: PortId, up: bool) {
        self.director.handle_link(now, port, up);
    }

    fn state(&self) -> String {
        let counters = self.director.statistics();
        let services: Vec<_> =
            self.director.services().into_iter().map(|service| service.config.key).collect();
        format!("services {services:?}; {counters:?}")
    }
}
