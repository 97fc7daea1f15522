//! The Ethernet header with its tags, and what may be wrong with a frame as a whole.

use lvs_core::MacAddr;
use lvs_core::io::VlanTag;

use super::station;

/// What every builder shares. Its methods appear on the builders through [`link_methods`].
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) source: MacAddr,
    pub(super) destination: MacAddr,
    pub(super) tags: Vec<VlanTag>,
    pub(super) pad: usize,
    pub(super) truncate: Option<usize>,
}

impl Default for Link {
    fn default() -> Self {
        Self { source: station(1), destination: station(2), tags: Vec::new(), pad: 0, truncate: None }
    }
}

impl Link {
    /// Bytes in front of the payload.
    pub(super) const fn header_len(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// The finished frame.
    pub(super) fn wrap(&self, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.header_len() + payload.len().max(self.pad));
        frame.extend(self.destination.0);
        frame.extend(self.source.0);
        for tag in &self.tags {
            frame.extend(tag.tpid.to_be_bytes());
            frame.extend(tag.tci.to_be_bytes());
        }
        frame.extend(ether_type.to_be_bytes());
        frame.extend(payload);
        if frame.len() < self.pad {
            frame.resize(self.pad, 0);
        }
        frame.truncate(self.truncate.unwrap_or(usize::MAX));
        frame
    }
}

/// The methods that all builders have; the builder needs a field `link`.
macro_rules! link_methods {
    () => {
        /// The Ethernet addresses: of the sender and of the receiver of this hop.
        pub const fn macs(mut self, source: MacAddr, destination: MacAddr) -> Self {
            self.link.source = source;
            self.link.destination = destination;
            self
        }

        /// Adds an 802.1Q tag with this VLAN id; called twice, the first call's tag is the outer one.
        pub fn vlan(self, id: u16) -> Self {
            self.tag(VlanTag { tpid: crate::frames::VLAN, tci: id })
        }

        /// Adds a tag; called twice, the first call's tag is the outer one.
        pub fn tag(mut self, tag: VlanTag) -> Self {
            self.link.tags.push(tag);
            self
        }

        /// Fills the frame with zeros to at least `len` bytes; 60 is what a network card would do.
        pub const fn pad_to(mut self, len: usize) -> Self {
            self.link.pad = len;
            self
        }

        /// Breaks the frame: cuts it off after `len` bytes.
        pub const fn truncate(mut self, len: usize) -> Self {
            self.link.truncate = Some(len);
            self
        }
    };
}
pub(super) use link_methods;
