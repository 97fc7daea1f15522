//! A receive queue of an interface, and a way out of it: one socket with its rings.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::exchange::{Batch, Exchange, Rings};
use crate::kick::{self, Outcome};
use crate::ledger::{FrameIndex, Ledger};
use crate::ring::{Consumer, Producer};
use crate::sys;
use crate::sys::xsk::{self, Binding, Losses, RingKind};
use crate::umem::Umem;

/// How many frames may be in a queue's rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) receive: u32,
    pub(crate) transmit: u32,
}

impl Sizes {
    /// Frames that a queue can have at most: in its rings, and a batch with the program.
    pub(crate) const fn frames(self) -> u32 {
        self.receive + self.transmit + lvs_core::io::MAX_BATCH as u32
    }
}

/// An open queue.
pub(crate) struct Queue {
    // Before the socket: rings are mappings of it.
    exchange: Exchange,
    socket: OwnedFd,
    /// Which port it belongs to, which of this worker's queues there it is, and its number at the interface.
    pub(crate) port: usize,
    pub(crate) place: usize,
    pub(crate) number: u32,
    /// Something was put into the transmit ring that the kernel has not been shown.
    unpublished: bool,
    /// What the kernel had counted when it was asked last.
    losses: Cell<Losses>,
}

/// How the first queue of a memory is bound; the others follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copying {
    /// Frames go between memory and device directly if the driver can.
    UnlessDriverCan,
    /// The kernel copies each frame once.
    Always,
}

/// Where a queue belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The interface's number in the kernel.
    pub(crate) interface: u32,
    /// Its port.
    pub(crate) port: usize,
    /// Which of the queues that this worker has of the interface it is.
    pub(crate) place: usize,
    /// The queue's number at the interface.
    pub(crate) queue: u32,
    /// The socket's number in the ledger.
    pub(crate) number: u16,
}

/// Bytes of frames that may be on their way in copy mode; the default stops at some hundred small ones.
const SEND_BUFFER: libc::c_int = 8 << 20;

impl Queue {
    /// Makes the rings of a socket and binds it. `first` is the queue whose memory is shared; without one,
    /// `socket` has registered the memory.
    pub(crate) fn open(
        socket: OwnedFd,
        first: Option<&Self>,
        copying: Copying,
        sizes: Sizes,
        seat: Seat,
    ) -> io::Result<Self> {
        let rings = Self::rings(&socket, sizes)?;
        let binding = match first {
            Some(first) => Binding::Sharing(first.socket.as_fd()),
            // Without a flag the kernel tries zero-copy first.
            None => Binding::First(match copying {
                Copying::UnlessDriverCan => libc::XDP_USE_NEED_WAKEUP,
                Copying::Always => libc::XDP_USE_NEED_WAKEUP | libc::XDP_COPY,
            }),
        };
        xsk::bind_queue(&socket, seat.interface, seat.queue, &binding)?;
        // Kernels that do not know it send 32 frames a call and are called more often.
        let _ = xsk::set_transmit_budget(&socket, sizes.transmit);
        let _ = sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER);
        Ok(Self {
            exchange: Exchange::new(rings, seat.number, sizes.receive),
            socket,
            port: seat.port,
            place: seat.place,
            number: seat.queue,
            unpublished: false,
            losses: Cell::default(),
        })
    }

    /// Makes and maps the four rings.
    fn rings(socket: &OwnedFd, sizes: Sizes) -> io::Result<Rings> {
        let make = |kind, entries| {
            xsk::make_ring(socket, kind, entries)?;
            xsk::map_ring(socket, kind, entries)
        };
        let (fill, fill_at) = make(RingKind::Fill, sizes.receive)?;
        let (completion, completion_at) = make(RingKind::Completion, sizes.transmit)?;
        let (receive, receive_at) = make(RingKind::Receive, sizes.receive)?;
        let (transmit, transmit_at) = make(RingKind::Transmit, sizes.transmit)?;
        let impossible = || io::Error::other("the kernel's offsets of a ring cannot be");
        Ok(Rings {
            receive: Consumer::new(receive, receive_at, sizes.receive).ok_or_else(impossible)?,
            fill: Producer::new(fill, fill_at, sizes.receive).ok_or_else(impossible)?,
            transmit: Producer::new(transmit, transmit_at, sizes.transmit).ok_or_else(impossible)?,
            completion: Consumer::new(completion, completion_at, sizes.transmit).ok_or_else(impossible)?,
        })
    }

    pub(crate) const fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Gives the kernel frames to receive into.
    pub(crate) fn refill(&mut self, umem: &Umem, ledger: &mut Ledger) {
        if self.exchange.refill(umem, ledger) {
            // If the device is down it will look when it comes up.
            let _ = xsk::wake_receive(self.socket.as_fd());
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.exchange.is_ready()
    }

    /// Takes received frames until `batch` is full. Answers how many descriptors made no sense.
    pub(crate) fn receive(&mut self, umem: &Umem, ledger: &mut Ledger, batch: &mut Batch) -> u64 {
        self.exchange.receive(umem, ledger, batch)
    }

    /// Takes transmitted frames back. Answers how many completions made no sense.
    pub(crate) fn reap(&mut self, umem: &Umem, ledger: &mut Ledger) -> u64 {
        self.exchange.reap(umem, ledger)
    }

    /// Puts a frame into the transmit ring; it leaves with the next [`kick`](Self::kick).
    pub(crate) fn send(
        &mut self,
        umem: &Umem,
        ledger: &mut Ledger,
        frame: FrameIndex,
        start: usize,
        len: usize,
    ) -> Result<(), FrameIndex> {
        self.exchange.send(umem, ledger, frame, start, len)?;
        self.unpublished = true;
        Ok(())
    }

    /// Whether the kernel has to be told of frames, or asked once more.
    pub(crate) fn wants_kick(&self) -> bool {
        self.unpublished || self.exchange.pending() > 0
    }

    /// Makes the kernel transmit what is in the ring.
    pub(crate) fn kick(&mut self) -> io::Result<Outcome> {
        if self.unpublished {
            self.exchange.publish();
            self.unpublished = false;
        }
        if !self.exchange.wants_send() {
            return Ok(Outcome::default());
        }
        kick::all(|| self.exchange.pending(), || xsk::send(self.socket.as_fd()), std::thread::yield_now)
    }

    /// What the kernel has counted as lost.
    pub(crate) fn losses(&self) -> Losses {
        if let Ok(losses) = xsk::losses(&self.socket) {
            self.losses.set(losses);
        }
        self.losses.get()
    }
}
