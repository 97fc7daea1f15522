//! One queue of one device: frames to it, the state of its link, and what it has counted.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use lvs_core::io::{Frame, IoEvent, Meta, PortId};
use lvs_netdev::compose::{Composed, Composer};
use lvs_netdev::{Device, Link};

use crate::arena::Shape;
use crate::counters;
use crate::error::IoError;
use crate::sys;

/// An open queue.
pub(crate) struct Port {
    /// The name that the device had when it was looked at last.
    name: String,
    queue: File,
    shape: Shape,
    composer: Composer,
    /// The device in this network namespace; `None` if it is in another, and nothing can be asked about it.
    device: Option<Device>,
    link: Link,
    /// Nobody has asked for the state of the link yet.
    untold: bool,
    pub(crate) pass_to: Option<PortId>,
    /// Where frames are put together that cannot be in their own place. Keeps its memory.
    copy: Vec<u8>,
    /// Frames that the device took, and did not.
    pub(crate) transmitted: u64,
    pub(crate) lost: u64,
    /// Frames that the kernel had no room for, if this queue counts those of the device.
    drops: Option<Drops>,
}

/// The kernel's count when the device was opened, and the last that was seen.
struct Drops {
    before: u64,
    last: AtomicU64,
}

/// What opening found out.
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) queue: File,
    pub(crate) shape: Shape,
    pub(crate) device: Option<Device>,
    pub(crate) pass_to: Option<PortId>,
    /// The first queue of the device.
    pub(crate) first: bool,
}

impl Port {
    pub(crate) fn new(opened: Opened, now: Instant) -> Self {
        let Opened { name, queue, shape, device, pass_to, first } = opened;
        let composer = Composer { header: shape.header, longest: shape.longest };
        let up = device.as_ref().is_none_or(Device::is_running);
        let drops = first.then(|| {
            let before = counters::dropped(&name).unwrap_or(0);
            Drops { before, last: AtomicU64::new(before) }
        });
        Self {
            name,
            queue,
            shape,
            composer,
            device,
            link: Link::new(up, now),
            untold: true,
            pass_to,
            copy: Vec::with_capacity(composer.most_added() + shape.longest),
            transmitted: 0,
            lost: 0,
            drops,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// For poll(2).
    pub(crate) fn descriptor(&self) -> RawFd {
        self.queue.as_raw_fd()
    }

    pub(crate) const fn shape(&self) -> Shape {
        self.shape
    }

    /// Reads one frame with its header; an error of kind `WouldBlock` if there is none.
    pub(crate) fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        (&self.queue).read(room)
    }

    /// What an error of [`read`](Self::read) means: nothing to read, or the end.
    pub(crate) fn no_frame(&self, error: io::Error) -> Result<(), IoError> {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
            _ => Err(self.failed("reading", error)),
        }
    }

    /// Sends a received frame, in its place if there is room for what goes in front.
    #[inline]
    pub(crate) fn send(&mut self, frame: &mut Frame<'_>) -> Result<(), IoError> {
        match self.composer.in_place(frame) {
            Composed::Yes => self.write(frame.bytes()),
            Composed::NoRoom => self.send_copy(frame.meta(), frame.bytes()),
            Composed::Impossible => {
                self.lost += 1;
                Ok(())
            }
        }
    }

    /// Sends a frame from elsewhere.
    pub(crate) fn send_copy(&mut self, meta: &Meta, frame: &[u8]) -> Result<(), IoError> {
        let mut copy = std::mem::take(&mut self.copy);
        copy.clear();
        let result = if self.composer.append(meta, frame, &mut copy) {
            self.write(&copy)
        } else {
            self.lost += 1;
            Ok(())
        };
        self.copy = copy;
        result
    }

    fn write(&mut self, message: &[u8]) -> Result<(), IoError> {
        for _ in 0..ATTEMPTS {
            let Err(error) = (&self.queue).write(message) else {
                self.transmitted += 1;
                return Ok(());
            };
            match refusal(&error) {
                Refusal::Again => {}
                Refusal::Down => {
                    self.link.observe(false, Instant::now());
                    break;
                }
                Refusal::Frame => break,
                Refusal::Device => return Err(self.failed("sending", error)),
            }
        }
        self.lost += 1;
        Ok(())
    }

    /// Looks at the link if it is time to.
    ///
    /// # Errors
    /// If the device was deleted.
    pub(crate) fn look(&mut self, now: Instant) -> Result<(), IoError> {
        if now < self.link.next_look() {
            return Ok(());
        }
        let identity =
            sys::identity(&self.queue).map_err(|error| self.failed("looking at the link", error))?;
        let renamed = identity.name != self.name;
        if renamed {
            self.name = identity.name;
        }
        if let Some(device) = &mut self.device {
            if renamed {
                match Device::find(&self.name) {
                    Ok(found) => *device = found,
                    // It has another name again by now: the next look tells.
                    Err(_) => return Ok(()),
                }
            }
            self.link.observe(device.is_running(), now);
        } else {
            self.link.observe(true, now);
        }
        Ok(())
    }

    pub(crate) const fn next_look(&self) -> Instant {
        self.link.next_look()
    }

    /// Wants to be looked at now.
    pub(crate) fn look_soon(&mut self, now: Instant) -> Result<(), IoError> {
        match sys::identity(&self.queue) {
            Ok(_) => self.look(now),
            Err(error) => Err(self.failed("waiting", error)),
        }
    }

    pub(crate) fn has_event(&self) -> bool {
        self.link.has_event()
    }

    pub(crate) fn poll_event(&mut self, port: PortId) -> Option<IoEvent> {
        if self.untold {
            // A device is made first and set up then: what it was before that is of no interest.
            self.untold = false;
            let up = self.device.as_ref().is_none_or(Device::is_running);
            self.link = Link::new(up, Instant::now());
        }
        self.link.poll_event(port)
    }

    /// Frames that the kernel had no room for.
    pub(crate) fn drops(&self) -> u64 {
        let Some(drops) = &self.drops else { return 0 };
        // A device that is gone or elsewhere says nothing any more.
        let now = counters::dropped(&self.name).unwrap_or(0);
        drops.last.fetch_max(now, Ordering::Relaxed).max(now) - drops.before
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> IoError {
        match error.raw_os_error() {
            Some(libc::EBADFD | libc::ENODEV | libc::EFAULT) => IoError::gone(&self.name, operation, error),
            _ => IoError::new(Some(&self.name), operation, error),
        }
    }
}

/// Whom an error of write(2) is about.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Nobody: a signal came, or there is no room now.
    Again,
    /// The kernel's end is set down.
    Down,
    /// This one frame.
    Frame,
    /// The device, or this program.
    Device,
}

fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(libc::EINTR | libc::EAGAIN) => Refusal::Again,
        Some(libc::EIO) => Refusal::Down,
        Some(libc::EBADFD | libc::EBADF | libc::ENODEV) => Refusal::Device,
        _ => Refusal::Frame,
    }
}

/// How often a frame is tried.
const ATTEMPTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_frame_and_a_link_that_is_down_are_no_errors_of_the_device() {
        let of = |number| refusal(&io::Error::from_raw_os_error(number));
        assert_eq!(of(libc::EINVAL), Refusal::Frame);
        assert_eq!(of(libc::ENOMEM), Refusal::Frame);
        assert_eq!(of(libc::EIO), Refusal::Down);
        assert_eq!(of(libc::EBADFD), Refusal::Device);
        assert_eq!(of(libc::EAGAIN), Refusal::Again);
    }
}
