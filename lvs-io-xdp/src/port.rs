//! What is known about one interface while its sockets come and go: its link, its counters, the groups asked
//! of it.

use std::time::Instant;

use lvs_core::MacAddr;
use lvs_core::io::{IoEvent, PortId};
use lvs_netdev::{Device, LinkWatch, Look};

use crate::error::OpenError;

/// What a frame may be longer than the MTU: the Ethernet header and two tags.
pub(crate) const AROUND_PACKET: usize = 14 + 2 * crate::tag::TAG;

/// A port.
pub(crate) struct Port {
    pub(crate) name: String,
    /// The longest frame that the interface sends.
    pub(crate) longest: usize,
    pub(crate) groups: Vec<MacAddr>,
    pub(crate) link: LinkWatch,
    /// Whether unfinished checksums were seen, and whether that was told.
    unfinished: Unfinished,
    /// Frames taken by the wire, and not.
    pub(crate) transmitted: u64,
    pub(crate) lost: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unfinished {
    NotSeen,
    Seen,
    Told,
}

impl Port {
    /// Asks about the interface; opens nothing.
    pub(crate) fn new(name: &str, now: Instant) -> Result<Self, OpenError> {
        let device = Device::find(name)?;
        device.mac()?;
        let longest = device.mtu()? as usize + AROUND_PACKET;
        Ok(Self {
            name: name.to_owned(),
            longest,
            groups: Vec::new(),
            link: LinkWatch::new(device, now)?,
            unfinished: Unfinished::NotSeen,
            transmitted: 0,
            lost: 0,
        })
    }

    /// For questions about the interface.
    pub(crate) const fn device(&self) -> &Device {
        self.link.device()
    }

    /// Looks at the link if it is time to.
    pub(crate) fn look(&mut self, now: Instant) -> Look {
        let look = self.link.look(now);
        if look != Look::NotDue
            && let Ok(mtu) = self.device().mtu()
        {
            self.longest = mtu as usize + AROUND_PACKET;
        }
        look
    }

    /// A frame with an unfinished checksum came in. `is_first` says whether this is news: another worker may have told it.
    pub(crate) fn saw_unfinished(&mut self, is_first: impl FnOnce() -> bool) {
        if self.unfinished == Unfinished::NotSeen {
            self.unfinished = if is_first() { Unfinished::Seen } else { Unfinished::Told };
        }
    }

    pub(crate) fn has_event(&self) -> bool {
        self.link.has_event() || self.unfinished == Unfinished::Seen
    }

    pub(crate) fn poll_event(&mut self, port: PortId) -> Option<IoEvent> {
        if let Some(event) = self.link.poll_event(port) {
            return Some(event);
        }
        if self.unfinished == Unfinished::Seen {
            self.unfinished = Unfinished::Told;
            return Some(IoEvent::UnfinishedChecksums(port));
        }
        None
    }
}
