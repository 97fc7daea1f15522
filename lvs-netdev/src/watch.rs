//! Watches an interface that sockets are bound to.

use std::time::Instant;

use lvs_core::io::{IoEvent, PortId};

use crate::device::Device;
use crate::error::DeviceError;
use crate::link::Link;

/// Watches the link of an interface for a backend whose sockets are bound to it: up or down, deleted, replaced.
///
/// It never waits and has no thread. A backend calls [`look`](Self::look) as often as it likes; the kernel is asked when it is
/// time to, once a second, ten times a second while the link is down (two to three system calls).
/// [`next_look`](Self::next_look) says when that will be. What changed comes out of [`poll_event`](Self::poll_event).
///
/// Sockets are bound to an interface, not to a name. When an interface was deleted and another one has its name, `look` says
/// so; the backend binds anew, and calls [`follow`](Self::follow) or [`lost`](Self::lost).
#[derive(Debug)]
pub struct LinkWatch {
    device: Device,
    /// The number of the interface that the sockets are bound to; 0 is nobody's.
    index: u32,
    link: Link,
}

/// What a look at an interface found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Look {
    /// It was not time to look.
    NotDue,
    /// The interface is the same, or there is none now.
    Same,
    /// There is another interface of that name, with this number. Sockets have to be bound anew.
    Replaced(u32),
}

impl LinkWatch {
    /// Watches the interface that has the name now. The state at the start is the first event.
    ///
    /// # Errors
    /// If there is no such interface any more.
    pub fn new(device: Device, now: Instant) -> Result<Self, DeviceError> {
        let index = device.index()?;
        let link = Link::new(device.is_running(), now);
        Ok(Self { device, index, link })
    }

    /// For other questions about the interface.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// The number of the interface that is watched; 0 after [`lost`](Self::lost).
    #[must_use]
    pub const fn index(&self) -> u32 {
        self.index
    }

    /// Looks at the link if it is time to.
    pub fn look(&mut self, now: Instant) -> Look {
        if now < self.link.next_look() {
            return Look::NotDue;
        }
        if let Ok(index) = self.device.index()
            && index != self.index
        {
            self.link.observe(false, now);
            return Look::Replaced(index);
        }
        self.link.observe(self.device.is_running(), now);
        Look::Same
    }

    /// The sockets are bound to the interface with this number: watches that one.
    pub fn follow(&mut self, index: u32, now: Instant) {
        self.index = index;
        self.link.observe(self.device.is_running(), now);
    }

    /// The sockets could not be bound anew: the next look finds a replacement again.
    pub fn lost(&mut self) {
        self.index = 0;
    }

    /// Something else said that the link is down, such as an error of a socket.
    pub fn went_down(&mut self, now: Instant) {
        self.link.observe(false, now);
    }

    /// Whether the link was up when it was looked at last.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// When [`look`](Self::look) wants to be called.
    #[must_use]
    pub const fn next_look(&self) -> Instant {
        self.link.next_look()
    }

    /// Whether [`poll_event`](Self::poll_event) has something to say.
    #[must_use]
    pub fn has_event(&self) -> bool {
        self.link.has_event()
    }

    /// Down and up in turns, the state at the start first. A link that was down and is up again between two calls is reported
    /// as both.
    pub fn poll_event(&mut self, port: PortId) -> Option<IoEvent> {
        self.link.poll_event(port)
    }
}
