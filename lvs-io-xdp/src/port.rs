//! What is known about one interface while its sockets come and go: its link, its counters, the groups asked
//! of it.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use lvs_core::MacAddr;
use lvs_core::io::{IoEvent, PortId};

use crate::error::OpenError;
use crate::interface;
use crate::link::Link;
use crate::sys::device;

/// What a frame may be longer than the MTU: the Ethernet header and two tags.
pub(crate) const AROUND_PACKET: usize = 14 + 2 * crate::tag::TAG;

/// A port.
pub(crate) struct Port {
    pub(crate) name: String,
    /// For questions about the interface.
    questions: UnixDatagram,
    /// The number of the interface that the sockets are bound to.
    pub(crate) index: u32,
    /// The longest frame that the interface sends.
    pub(crate) longest: usize,
    pub(crate) groups: Vec<MacAddr>,
    link: Link,
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

/// What a look at an interface found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Fine,
    /// The interface was deleted, and there is a new one of that name.
    Replaced,
}

impl Port {
    /// Asks about the interface; opens nothing.
    pub(crate) fn new(name: &str, now: Instant) -> Result<Self, OpenError> {
        let questions = interface::any_socket(name)?;
        interface::ethernet_address(&questions, name)?;
        let failed = |source| interface::lookup_failed(name, source);
        let index = device::index(&questions, name).map_err(failed)?;
        let mtu = device::mtu(&questions, name).map_err(failed)?;
        let up = is_running(&questions, name);
        Ok(Self {
            name: name.to_owned(),
            questions,
            index,
            longest: mtu as usize + AROUND_PACKET,
            groups: Vec::new(),
            link: Link::new(up, now),
            unfinished: Unfinished::NotSeen,
            transmitted: 0,
            lost: 0,
        })
    }

    /// A socket in the interface's network namespace.
    pub(crate) const fn questions(&self) -> &impl AsRawFd {
        &self.questions
    }

    /// Looks at the link if it is time to.
    pub(crate) fn look(&mut self, now: Instant) -> Look {
        if now < self.link.next_look() {
            return Look::Fine;
        }
        let found = device::index(&self.questions, &self.name);
        if let Ok(mtu) = device::mtu(&self.questions, &self.name) {
            self.longest = mtu as usize + AROUND_PACKET;
        }
        if found.is_ok_and(|index| index != self.index) {
            self.link.observe(false, now);
            return Look::Replaced;
        }
        self.link.observe(is_running(&self.questions, &self.name), now);
        Look::Fine
    }

    /// The number that the name has now.
    pub(crate) fn ask_index(&self) -> Option<u32> {
        device::index(&self.questions, &self.name).ok()
    }

    /// The sockets are bound anew, after a replacement.
    pub(crate) fn rebound(&mut self, index: u32, now: Instant) {
        self.index = index;
        self.link.observe(is_running(&self.questions, &self.name), now);
    }

    /// The kernel said that the link is down.
    pub(crate) fn went_down(&mut self, now: Instant) {
        self.link.observe(false, now);
    }

    /// When [`look`](Self::look) wants to be called.
    pub(crate) const fn next_look(&self) -> Instant {
        self.link.next_look()
    }

    /// Whether frames can leave.
    pub(crate) const fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// A frame with an unfinished checksum came in.
    pub(crate) fn saw_unfinished(&mut self) {
        if self.unfinished == Unfinished::NotSeen {
            self.unfinished = Unfinished::Seen;
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

fn is_running(questions: &UnixDatagram, name: &str) -> bool {
    const RUNNING: libc::c_int = libc::IFF_UP | libc::IFF_RUNNING;
    device::flags(questions, name).is_ok_and(|flags| flags & RUNNING == RUNNING)
}
