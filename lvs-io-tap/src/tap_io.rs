//! The queues of several TAP devices as one [`FrameIo`].

use std::io;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use lvs_core::io::{
    BatchHandler, Capabilities, Frame, FrameIo, IoEvent, IoStatistics, Meta, PortId, Verdicts,
};
use lvs_core::verdict::Verdict;

use crate::arena::{Arena, HEADROOM};
use crate::config::TapConfig;
use crate::error::{IoError, OpenError};
use crate::open;
use crate::port::Port;
use crate::sys;

/// Frames in and out of TAP devices.
///
/// Ports are numbered in the order of [`TapConfig::ports`]. A verdict of `Pass` hands a frame to the port that
/// [`pass_to`](crate::TapPort::pass_to) names, or drops it where none is named; [`passed`](Self::passed) counts both.
///
/// **Time.** A frame is there as soon as the kernel has sent it. It takes a system call to receive and one to send. A batch has
/// up to 64 frames, or 16 of the longest.
///
/// **Links.** [`poll_event`](FrameIo::poll_event) tells the state of each link once after opening, and each change within a
/// second, since the kernel's end of a TAP device can be set down like any interface. A device that is deleted ends it all: the
/// next call is an error ([`IoError::is_gone`]).
///
/// **VLAN tags** stay in the bytes. A tag in `Meta` is written there on transmit.
///
/// **Loss.** `receive_lost` counts frames that the kernel had no room for (all queues of a device are counted by the first
/// member of a group), and those that cannot be handed out whole. `transmit_lost` counts frames that the kernel did not take:
/// its end is down, offsets that lie, metadata on a port without offloads, for a port that does not exist.
pub struct TapIo {
    ports: Vec<Port>,
    arena: Arena,
    poll_entries: Vec<libc::pollfd>,
    /// The port that is read first.
    turn: usize,
    /// Batches until the links are looked at even though there is no pause.
    until_look: u32,
    received: u64,
    receive_lost: u64,
    /// Frames lost that belong to no port.
    transmit_lost: u64,
    passed: Passed,
}

/// What became of frames with the verdict `Pass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Handed to another port; they are also counted as transmitted, or as lost on the way.
    pub handed_on: u64,
    /// Dropped, since their port passes to none.
    pub dropped: u64,
}

impl TapIo {
    /// Opens the devices, and makes those that are not there.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing stays open then, and what was made is gone.
    pub fn open(config: TapConfig) -> Result<Self, OpenError> {
        let mut group = Self::open_group(config, NonZeroU16::MIN)?;
        // A group of one has one member.
        Ok(group.swap_remove(0))
    }

    /// Opens the devices with so many queues, for so many workers: each gets one queue of each device. The kernel spreads flows
    /// over the queues by a hash of its own, and moves a flow to the queue whose worker sends its frames. So with direct
    /// routing a flow comes to its owner by itself after the first frames, which go through the owner's inbox.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing stays open then, and what was made is gone.
    pub fn open_group(config: TapConfig, workers: NonZeroU16) -> Result<Vec<Self>, OpenError> {
        let devices = open::devices(config, workers)?;
        let now = Instant::now();
        let mut members: Vec<Vec<Port>> = (0..workers.get()).map(|_| Vec::new()).collect();
        for queues in devices {
            for (member, opened) in members.iter_mut().zip(queues) {
                member.push(Port::new(opened, now));
            }
        }
        Ok(members.into_iter().map(Self::of).collect())
    }

    fn of(ports: Vec<Port>) -> Self {
        Self {
            arena: Arena::new(ports.iter().map(Port::shape)),
            poll_entries: ports.iter().map(|port| sys::poll_entry(port.descriptor())).collect(),
            ports,
            turn: 0,
            until_look: BATCHES_BETWEEN_LOOKS,
            received: 0,
            receive_lost: 0,
            transmit_lost: 0,
            passed: Passed::default(),
        }
    }

    /// The name of a port's device.
    #[must_use]
    pub fn interface(&self, port: PortId) -> Option<&str> {
        self.ports.get(usize::from(port.0)).map(Port::name)
    }

    /// What became of frames with the verdict `Pass`.
    #[must_use]
    pub const fn passed(&self) -> Passed {
        self.passed
    }

    /// Looks at the links where it is time to.
    fn look(&mut self) -> Result<(), IoError> {
        self.until_look = BATCHES_BETWEEN_LOOKS;
        let now = Instant::now();
        self.ports.iter_mut().try_for_each(|port| port.look(now))
    }

    /// Reads a batch from the next port that has frames, in turns. Answers which, if one has.
    fn fill(&mut self) -> Result<Option<usize>, IoError> {
        let count = self.ports.len();
        for index in (0..count).map(|i| (self.turn + i) % count) {
            let port = &self.ports[index];
            match self.arena.fill(port.shape(), |room| port.read(room)) {
                Ok(lost) => {
                    self.receive_lost += lost;
                    self.turn = (index + 1) % count;
                    return Ok(Some(index));
                }
                Err(error) => port.no_frame(error)?,
            }
        }
        Ok(None)
    }
}

impl FrameIo for TapIo {
    type Error = IoError;

    fn ports(&self) -> u16 {
        // Opening has checked that they can be numbered.
        self.ports.len() as u16
    }

    fn capabilities(&self, port: PortId) -> Capabilities {
        let shape = self.ports[usize::from(port.0)].shape();
        Capabilities { longest_frame: shape.longest, headroom: HEADROOM, offload: shape.header != 0 }
    }

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, IoError> {
        self.until_look -= 1;
        if self.until_look == 0 {
            self.look()?;
        }
        let Some(index) = self.fill()? else {
            self.look()?;
            return Ok(0);
        };
        let mut frames = self.arena.frames(PortId(index as u16));
        let count = frames.len();
        if count == 0 {
            return Ok(0);
        }
        self.received += count as u64;
        let verdicts = handler(&mut frames);
        carry_out(&mut self.ports, &mut self.transmit_lost, &mut self.passed, &mut frames, &verdicts)?;
        Ok(count)
    }

    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), IoError> {
        let Some(port) = self.ports.get_mut(usize::from(port.0)) else {
            self.transmit_lost += 1;
            return Ok(());
        };
        port.send_copy(meta, frame)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), IoError> {
        self.look()?;
        if self.ports.iter().any(Port::has_event) {
            return Ok(());
        }
        let now = Instant::now();
        let until_look = self.ports.iter().map(|port| port.next_look().saturating_duration_since(now)).min();
        // No time-out is longer than any.
        let timeout = timeout.into_iter().chain(until_look).min();
        match sys::poll(&mut self.poll_entries, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(IoError::new(None, "poll", error)),
        }
        let now = Instant::now();
        for (port, entry) in self.ports.iter_mut().zip(&self.poll_entries) {
            if entry.revents & !libc::POLLIN != 0 {
                port.look_soon(now)?;
            }
        }
        self.look()
    }

    fn poll_event(&mut self) -> Option<IoEvent> {
        self.ports.iter_mut().zip(0..).find_map(|(port, number)| port.poll_event(PortId(number)))
    }

    fn statistics(&self) -> IoStatistics {
        let mut statistics = IoStatistics {
            received: self.received,
            transmitted: 0,
            receive_lost: self.receive_lost,
            transmit_lost: self.transmit_lost,
        };
        for port in &self.ports {
            statistics.transmitted += port.transmitted;
            statistics.transmit_lost += port.lost;
            statistics.receive_lost += port.drops();
        }
        statistics
    }
}

impl std::fmt::Debug for TapIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ports.iter().map(Port::name)).finish()
    }
}

/// Sends the frames of a batch where their verdicts say.
fn carry_out(
    ports: &mut [Port],
    transmit_lost: &mut u64,
    passed: &mut Passed,
    frames: &mut [Frame<'_>],
    verdicts: &Verdicts,
) -> Result<(), IoError> {
    for (frame, verdict) in frames.iter_mut().zip(verdicts) {
        let target = match *verdict {
            Verdict::Transmit(target) => target,
            Verdict::Pass => match ports.get(usize::from(frame.port().0)).and_then(|port| port.pass_to) {
                Some(target) => {
                    passed.handed_on += 1;
                    target
                }
                None => {
                    passed.dropped += 1;
                    continue;
                }
            },
            _ => continue,
        };
        match ports.get_mut(usize::from(target.0)) {
            Some(port) => port.send(frame)?,
            None => *transmit_lost += 1,
        }
    }
    Ok(())
}

/// Looking costs a clock reading and a system call a port; in a pause it is made at every call.
const BATCHES_BETWEEN_LOOKS: u32 = 256;
