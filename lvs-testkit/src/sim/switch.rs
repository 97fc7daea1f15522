//! A switch: it learns who is where, floods what it does not know, and keeps VLANs apart.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lvs_core::{Instant, MacAddr, PortId};

use super::node::Node;
use crate::frames::VLAN;

/// How a port of a switch treats VLANs (802.1Q).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMode {
    /// Untagged frames of one VLAN; tagged ones are refused, unless the tag is only a priority.
    Access(u16),
    /// Tagged frames of these VLANs; untagged ones belong to the native VLAN, if there is one.
    Trunk {
        /// The VLANs that are carried with a tag.
        tagged: Vec<u16>,
        /// The VLAN of untagged frames.
        native: Option<u16>,
    },
}

/// A learning switch with any number of ports. All are access ports of VLAN 1 until told otherwise.
#[derive(Debug)]
pub struct Switch {
    modes: Vec<PortMode>,
    stations: BTreeMap<(u16, MacAddr), Learned>,
    capacity: usize,
    ageing: Duration,
    outgoing: VecDeque<(PortId, Vec<u8>)>,
    flooded: u64,
    refused: u64,
}

#[derive(Debug, Clone, Copy)]
struct Learned {
    port: u16,
    seen: Instant,
}

impl Switch {
    /// A switch with `ports` ports, a table of 8192 stations, which are forgotten after 300 s of silence.
    #[must_use]
    pub fn new(ports: u16) -> Self {
        Self {
            modes: vec![PortMode::Access(1); usize::from(ports)],
            stations: BTreeMap::new(),
            capacity: 8192,
            ageing: Duration::from_secs(300),
            outgoing: VecDeque::new(),
            flooded: 0,
            refused: 0,
        }
    }

    /// How many stations it remembers. When the table is full nobody new is learnt, and frames to whoever is not in
    /// it go to all ports.
    #[must_use]
    pub const fn capacity(mut self, stations: usize) -> Self {
        self.capacity = stations;
        self
    }

    /// How long it remembers a station that is silent.
    #[must_use]
    pub const fn ageing(mut self, ageing: Duration) -> Self {
        self.ageing = ageing;
        self
    }

    /// How a port treats VLANs.
    ///
    /// # Panics
    /// If there is no such port, or a VLAN id is not 1 to 4094.
    #[must_use]
    pub fn port(mut self, port: u16, mode: PortMode) -> Self {
        let ids = match &mode {
            PortMode::Access(id) => vec![*id],
            PortMode::Trunk { tagged, native } => tagged.iter().copied().chain(*native).collect(),
        };
        for id in ids {
            assert!((1..=4094).contains(&id), "VLAN {id}: ids go from 1 to 4094");
        }
        let count = self.modes.len();
        let slot = self.modes.get_mut(usize::from(port));
        *slot.unwrap_or_else(|| panic!("no port {port} among {count}")) = mode;
        self
    }

    /// How many ports there are.
    #[must_use]
    pub const fn ports(&self) -> usize {
        self.modes.len()
    }

    /// The port behind which a station was last heard, if that is not forgotten.
    #[must_use]
    pub fn station(&self, now: Instant, vlan: u16, mac: MacAddr) -> Option<PortId> {
        let learned = self.stations.get(&(vlan, mac)).filter(|learned| self.is_fresh(now, learned))?;
        Some(PortId(learned.port))
    }

    /// How many frames to single stations went to all ports, because nobody knew where the station is.
    #[must_use]
    pub const fn flooded(&self) -> u64 {
        self.flooded
    }

    /// How many frames were of a VLAN that their port does not carry.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    fn is_fresh(&self, now: Instant, learned: &Learned) -> bool {
        now.saturating_duration_since(learned.seen) < self.ageing
    }

    fn learn(&mut self, now: Instant, vlan: u16, mac: MacAddr, port: u16) {
        if !mac.is_unicast() {
            return;
        }
        if self.stations.len() >= self.capacity && !self.stations.contains_key(&(vlan, mac)) {
            let ageing = self.ageing;
            self.stations.retain(|_, learned| now.saturating_duration_since(learned.seen) < ageing);
            if self.stations.len() >= self.capacity {
                return;
            }
        }
        self.stations.insert((vlan, mac), Learned { port, seen: now });
    }

    /// The VLAN of a frame that came in by a port, and the frame without its tag.
    fn untag(&self, port: PortId, mut frame: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        let mode = self.modes.get(usize::from(port.0))?;
        let tagged = frame.get(12..14)? == VLAN.to_be_bytes();
        let id = match frame.get(14..16) {
            Some(tci) if tagged => u16::from_be_bytes([tci[0], tci[1]]) & 0xfff,
            _ => 0,
        };
        if tagged {
            frame.get(16..18)?;
            frame.drain(12..16);
        }
        let vlan = match (mode, id) {
            (PortMode::Access(vlan), 0) => *vlan,
            (PortMode::Trunk { native, .. }, 0) => (*native)?,
            (PortMode::Trunk { tagged, .. }, id) if tagged.contains(&id) => id,
            _ => return None,
        };
        Some((vlan, frame))
    }

    /// Sends a frame of a VLAN out by a port, if the port carries it.
    fn send(&mut self, port: usize, vlan: u16, frame: &[u8]) {
        let tag = match &self.modes[port] {
            PortMode::Access(id) => (*id == vlan).then_some(false),
            PortMode::Trunk { native, .. } if *native == Some(vlan) => Some(false),
            PortMode::Trunk { tagged, .. } => tagged.contains(&vlan).then_some(true),
        };
        let Some(tag) = tag else { return };
        let mut bytes = Vec::with_capacity(frame.len() + 4);
        bytes.extend(&frame[..12]);
        if tag {
            bytes.extend(VLAN.to_be_bytes());
            bytes.extend(vlan.to_be_bytes());
        }
        bytes.extend(&frame[12..]);
        self.outgoing.push_back((PortId(port as u16), bytes));
    }
}

impl Node for Switch {
    fn handle_frame(&mut self, now: Instant, port: PortId, frame: Vec<u8>) {
        let Some((vlan, frame)) = self.untag(port, frame) else {
            self.refused += 1;
            return;
        };
        let (Some(&to), Some(&from)) =
            (frame.first_chunk(), frame.get(6..).and_then(<[u8]>::first_chunk::<6>))
        else {
            return;
        };
        self.learn(now, vlan, MacAddr(from), port.0);
        let to = MacAddr(to);
        if let Some(known) = self.station(now, vlan, to) {
            if known != port {
                self.send(usize::from(known.0), vlan, &frame);
            }
            return;
        }
        self.flooded += u64::from(to.is_unicast());
        for other in (0..self.modes.len()).filter(|other| *other != usize::from(port.0)) {
            self.send(other, vlan, &frame);
        }
    }

    fn poll_transmit(&mut self, _: Instant) -> Option<(PortId, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// Whoever was behind a port that is down may come back behind another.
    fn handle_link(&mut self, _: Instant, port: PortId, up: bool) {
        if !up {
            self.stations.retain(|_, learned| learned.port != port.0);
        }
    }

    fn state(&self) -> String {
        format!("{} stations known, {} frames flooded", self.stations.len(), self.flooded)
    }
}

#[cfg(test)]
mod tests;
