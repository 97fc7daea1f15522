//! A station that a test drives by hand.

use std::collections::VecDeque;

use lvs_core::{Instant, PortId};

use super::node::Node;

/// A station without a will of its own: it sends what it is told to and keeps what it receives.
#[derive(Debug, Default)]
pub struct Station {
    outgoing: VecDeque<(PortId, Vec<u8>)>,
    received: Vec<(Instant, PortId, Vec<u8>)>,
}

impl Station {
    /// A silent station.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a frame as soon as the network runs.
    pub fn send(&mut self, port: PortId, frame: Vec<u8>) {
        self.outgoing.push_back((port, frame));
    }

    /// All that has come in since this was last called, oldest first; frames to other stations, too.
    pub fn take_received(&mut self) -> Vec<(Instant, PortId, Vec<u8>)> {
        std::mem::take(&mut self.received)
    }
}

impl Node for Station {
    fn handle_frame(&mut self, now: Instant, port: PortId, frame: Vec<u8>) {
        self.received.push((now, port, frame));
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(PortId, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    fn state(&self) -> String {
        format!("{} frames received", self.received.len())
    }
}
