//! Frames between the program and one socket's four rings. Safe code over the rings; no system calls.
//!
//! Frames for receiving are bounded by the size of the receive ring, fill and receive ring counted together:
//! so the receive ring has room for every frame that the kernel can fill, and loses none.

use arrayvec::ArrayVec;
use lvs_core::io::MAX_BATCH;

use crate::ledger::{Borrower, FrameIndex, Ledger};
use crate::ring::{Consumer, Producer};
use crate::umem::Umem;

/// A frame that the kernel has filled; now the program's.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) frame: FrameIndex,
    /// Where the bytes begin in the frame's memory, and how many there are.
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Received frames that are handed out together.
pub(crate) type Batch = ArrayVec<Received, MAX_BATCH>;

/// The rings of a socket.
pub(crate) struct Rings {
    pub(crate) receive: Consumer<2>,
    pub(crate) fill: Producer<1>,
    pub(crate) transmit: Producer<2>,
    pub(crate) completion: Consumer<1>,
}

/// A socket's rings with what is known about the frames in them.
pub(crate) struct Exchange {
    rings: Rings,
    /// The socket's number in the ledger.
    number: u16,
    /// Frames lent for receiving, and how many that may be.
    lent: u32,
    most: u32,
}

impl Exchange {
    /// Rings in which nothing is yet. `most` is the size of the receive and the fill ring.
    pub(crate) const fn new(rings: Rings, number: u16, most: u32) -> Self {
        Self { rings, number, lent: 0, most }
    }

    /// Gives the kernel frames to receive into, as many as there are and may be. Answers whether it wants to
    /// be woken for them.
    pub(crate) fn refill(&mut self, umem: &Umem, ledger: &mut Ledger) -> bool {
        let before = self.lent;
        while self.lent < self.most {
            let Some(frame) = ledger.take() else { break };
            if !self.rings.fill.push([umem.address(frame.number(), 0)]) {
                ledger.put_back(frame);
                break;
            }
            ledger.lend(frame, Borrower::Receive(self.number));
            self.lent += 1;
        }
        if self.lent > before {
            self.rings.fill.publish();
        }
        self.lent > before && self.rings.fill.needs_wakeup()
    }

    /// Whether a frame was received.
    pub(crate) fn is_ready(&self) -> bool {
        self.rings.receive.is_ready()
    }

    /// Takes received frames until `batch` is full. Answers how many descriptors made no sense.
    pub(crate) fn receive(&mut self, umem: &Umem, ledger: &mut Ledger, batch: &mut Batch) -> u64 {
        let mut nonsense = 0;
        while !batch.is_full() {
            let Some([address, rest]) = self.rings.receive.pop() else { break };
            let (len, options) = split(rest);
            let Some((number, start)) = umem.locate(address) else {
                nonsense += 1;
                continue;
            };
            let Some(frame) = ledger.reclaim(number, Borrower::Receive(self.number)) else {
                nonsense += 1;
                continue;
            };
            self.lent -= 1;
            let whole = options & libc::XDP_PKT_CONTD == 0;
            if whole && len > 0 && start + len as usize <= umem.longest_frame() + crate::umem::HEADROOM {
                batch.push(Received { frame, start, len: len as usize });
            } else {
                ledger.put_back(frame);
                nonsense += 1;
            }
        }
        self.rings.receive.release();
        nonsense
    }

    /// Puts a frame into the transmit ring, to be seen after [`publish`](Self::publish); gives it back if
    /// there is no room.
    pub(crate) fn send(
        &mut self,
        umem: &Umem,
        ledger: &mut Ledger,
        frame: FrameIndex,
        start: usize,
        len: usize,
    ) -> Result<(), FrameIndex> {
        // Frames are shorter than 4 KiB.
        let descriptor = [umem.address(frame.number(), start), join(len as u32, 0)];
        if !self.rings.transmit.push(descriptor) {
            return Err(frame);
        }
        ledger.lend(frame, Borrower::Transmit(self.number));
        Ok(())
    }

    /// Shows the kernel what [`send`](Self::send) has put in.
    pub(crate) fn publish(&self) {
        self.rings.transmit.publish();
    }

    /// Frames that the kernel has not begun to transmit.
    pub(crate) fn pending(&self) -> u32 {
        self.rings.transmit.pending()
    }

    /// Whether the kernel wants to be called to transmit.
    pub(crate) fn wants_send(&self) -> bool {
        self.rings.transmit.needs_wakeup()
    }

    /// Takes transmitted frames back. Answers how many completions made no sense.
    pub(crate) fn reap(&mut self, umem: &Umem, ledger: &mut Ledger) -> u64 {
        if !self.rings.completion.is_ready() {
            return 0;
        }
        let mut nonsense = 0;
        while let Some([address]) = self.rings.completion.pop() {
            let located = umem.locate(address);
            let borrower = Borrower::Transmit(self.number);
            match located.and_then(|(number, _)| ledger.reclaim(number, borrower)) {
                Some(frame) => ledger.put_back(frame),
                None => nonsense += 1,
            }
        }
        self.rings.completion.release();
        nonsense
    }
}

/// Length and options of a descriptor (`struct xdp_desc`), which lie in its second word in this order.
const fn split(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

const fn join(len: u32, options: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (len.to_ne_bytes(), options.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests;
