//! The packet sockets of several interfaces as one [`FrameIo`].

use std::io::{self, IoSlice};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use lvs_core::addr::MacAddr;
use lvs_core::io::{
    BatchHandler, Capabilities, Frame, FrameIo, IoEvent, IoStatistics, MAX_BATCH, Meta, PortId, Verdicts,
};
use lvs_core::verdict::Verdict;
use lvs_netdev::compose::Composed;

use crate::config::{PacketConfig, RING_BYTES};
use crate::error::{IoError, OpenError};
use crate::port::Port;
use crate::ring::Ring;
use crate::sys;
use crate::walk::{Batch, COMPOSER, HEADROOM, LONGEST_FRAME};

/// Frames in and out of network interfaces through packet sockets.
///
/// Ports are numbered in the order of [`PacketConfig::interfaces`]. Verdicts other than `Transmit` leave a
/// frame alone: `Pass` needs nothing done, since the host's kernel has its own copy of every frame.
///
/// **Time.** A received frame is handed over when its block of the ring is full or one millisecond old: the
/// first frame after a pause waits up to that long (older kernels count in timer ticks and may take two, 8 ms
/// at 250 Hz). A batch of 64 costs two or three system calls at most, and none to
/// receive it.
///
/// **Links.** [`poll_event`](FrameIo::poll_event) tells the state of each link once after opening, and each
/// change: at once when an interface is set down, within a second when a cable is pulled. A deleted interface
/// is a link that is down; when there is one of the same name again it is used.
///
/// **Loss.** `receive_lost` counts frames that the ring had no room for, and those that cannot be handed out
/// whole. `transmit_lost` counts frames that the kernel did not take: its queue stayed full, the link is
/// down, longer than the MTU and not marked as merged, for a port that does not exist.
pub struct PacketIo {
    ports: Vec<Port>,
    /// The rings of the ports, apart from them: while frames of one are lent out, all ports send.
    rings: Vec<Ring>,
    poll_entries: Vec<libc::pollfd>,
    /// The ring that is looked at first.
    turn: usize,
    /// Batches until the links are looked at even though there is no pause.
    until_look: u32,
    received: u64,
    receive_lost: u64,
    /// Frames lost that belong to no port.
    transmit_lost: u64,
}

impl PacketIo {
    /// Opens the interfaces. Takes the memory of their rings at once.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing stays open then.
    pub fn open(config: &PacketConfig) -> Result<Self, OpenError> {
        if config.interfaces.is_empty() {
            return Err(OpenError::NoInterface);
        }
        if config.interfaces.len() > usize::from(u16::MAX) {
            return Err(OpenError::TooManyInterfaces(config.interfaces.len()));
        }
        if !RING_BYTES.contains(&config.ring_bytes) {
            return Err(OpenError::RingBytes(config.ring_bytes));
        }
        let now = Instant::now();
        let (mut ports, mut rings) = (Vec::new(), Vec::new());
        for (i, name) in config.interfaces.iter().enumerate() {
            if config.interfaces[..i].contains(name) {
                return Err(OpenError::DuplicateInterface(name.clone()));
            }
            let (port, ring) = Port::open(name, config, now)?;
            ports.push(port);
            rings.push(ring);
        }
        let poll_entries =
            ports.iter().map(|port| sys::poll_entry(port.descriptor(), libc::POLLIN)).collect();
        Ok(Self {
            ports,
            rings,
            poll_entries,
            turn: 0,
            until_look: BATCHES_BETWEEN_LOOKS,
            received: 0,
            receive_lost: 0,
            transmit_lost: 0,
        })
    }

    /// Opens the interfaces so many times over, for so many workers: the kernel gives all frames of a client to the same one of
    /// them, which is the one that [`owner`](lvs_core::classify::owner) says. Each takes the memory of its rings.
    ///
    /// An interface that is deleted stays lost for a group, also if another one of that name is made.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing stays open then.
    pub fn open_group(config: &PacketConfig, workers: NonZeroU16) -> Result<Vec<Self>, OpenError> {
        let group = (0..workers.get()).map(|_| Self::open(config)).collect::<Result<Vec<_>, _>>()?;
        let Some((first, others)) = group.split_first() else {
            return Ok(group);
        };
        // The kernel numbers the members as they come.
        for (at, port) in first.ports.iter().enumerate() {
            let number = port.found_group(workers)?;
            for other in others {
                other.ports[at].join_group(number, workers)?;
            }
        }
        Ok(group)
    }

    /// The name of a port's interface.
    #[must_use]
    pub fn interface(&self, port: PortId) -> Option<&str> {
        self.ports.get(usize::from(port.0)).map(Port::name)
    }

    /// Looks at the links where it is time to.
    fn look(&mut self) {
        self.until_look = BATCHES_BETWEEN_LOOKS;
        let now = Instant::now();
        for port in &mut self.ports {
            port.look(now);
        }
    }

    /// The next ring with frames, in turns.
    fn next_ready(&mut self) -> Option<usize> {
        let count = self.rings.len();
        let ready = (0..count).map(|i| (self.turn + i) % count).find(|&i| self.rings[i].is_ready())?;
        self.turn = (ready + 1) % count;
        Some(ready)
    }
}

impl FrameIo for PacketIo {
    type Error = IoError;

    fn ports(&self) -> u16 {
        // `open` has checked that they can be numbered.
        self.ports.len() as u16
    }

    fn capabilities(&self, _port: PortId) -> Capabilities {
        Capabilities { longest_frame: LONGEST_FRAME, headroom: HEADROOM, offload: true }
    }

    fn receive(&mut self, handler: &mut BatchHandler<'_>) -> Result<usize, IoError> {
        self.until_look -= 1;
        if self.until_look == 0 {
            self.look();
        }
        let Some(index) = self.next_ready() else {
            self.look();
            return Ok(0);
        };
        let ring = &mut self.rings[index];
        let mut frames = Batch::new();
        self.receive_lost += ring.frames(PortId(index as u16), &mut frames);
        let count = frames.len();
        self.received += count as u64;
        let mut result = Ok(());
        if count > 0 {
            let verdicts = handler(&mut frames);
            result = carry_out(&mut self.ports, &mut self.transmit_lost, &mut frames, &verdicts);
        }
        drop(frames);
        ring.release();
        result.and_then(|()| self.flush()).map(|()| count)
    }

    fn transmit(&mut self, port: PortId, meta: &Meta, frame: &[u8]) -> Result<(), IoError> {
        let Some(port) = self.ports.get_mut(usize::from(port.0)) else {
            self.transmit_lost += 1;
            return Ok(());
        };
        port.send_copy(meta, frame)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.ports.iter_mut().try_for_each(Port::flush)
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), IoError> {
        self.flush()?;
        self.look();
        if self.rings.iter().any(Ring::is_ready) || self.ports.iter().any(Port::has_event) {
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
                port.take_error(now)?;
            }
        }
        self.look();
        Ok(())
    }

    fn join_multicast(&mut self, port: PortId, group: MacAddr) -> Result<(), IoError> {
        match self.ports.get_mut(usize::from(port.0)) {
            Some(port) => port.join(group),
            None => Err(IoError::new(None, "join_multicast: no such port", io::ErrorKind::NotFound.into())),
        }
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
            statistics.receive_lost += port.ring_drops();
        }
        statistics
    }
}

impl std::fmt::Debug for PacketIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ports.iter().map(Port::name)).finish()
    }
}

/// Sends the frames of a batch where their verdicts say, with one call for each port that occurs.
fn carry_out(
    ports: &mut [Port],
    transmit_lost: &mut u64,
    frames: &mut [Frame<'_>],
    verdicts: &Verdicts,
) -> Result<(), IoError> {
    // First make messages of all frames: after this they are only read.
    let mut ready = 0u64;
    for (i, (frame, verdict)) in frames.iter_mut().zip(verdicts).enumerate() {
        let Verdict::Transmit(port) = *verdict else { continue };
        let Some(port) = ports.get_mut(usize::from(port.0)) else {
            *transmit_lost += 1;
            continue;
        };
        match COMPOSER.in_place(frame) {
            Composed::Yes => ready |= 1 << i,
            Composed::NoRoom => port.send_copy(frame.meta(), frame.bytes())?,
            Composed::Impossible => port.lost += 1,
        }
    }
    while ready != 0 {
        let first = verdicts[ready.trailing_zeros() as usize];
        let mut messages = ArrayVec::<IoSlice<'_>, MAX_BATCH>::new();
        for (i, (frame, verdict)) in frames.iter().zip(verdicts).enumerate() {
            if ready & (1 << i) != 0 && *verdict == first {
                ready &= !(1 << i);
                messages.push(IoSlice::new(frame.bytes()));
            }
        }
        if let Verdict::Transmit(port) = first {
            ports[usize::from(port.0)].send(&messages)?;
        }
    }
    Ok(())
}

/// Looking costs a clock reading; in a pause it is made at every call.
const BATCHES_BETWEEN_LOOKS: u32 = 256;
