//! A fixed number of 2 KiB buffers for frames that wait, and for frames of the director's own.
//!
//! It never grows. Buffers form queues, linked by number, so that any queue may have any of them.

use alloc::boxed::Box;
use alloc::vec;

use crate::config::InterfaceId;
use crate::io::{Meta, PortId};
use crate::time::Instant;

/// Bytes in a buffer.
pub(crate) const BUFFER: usize = 2048;

const NIL: u16 = u16::MAX;

/// Where a frame in the pool comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It came in and waits; it has the tags of its way out already.
    Forwarded,
    /// The director made it, without tags.
    MadeHere,
    /// Part of a packet that was cut; it has the tags of its way out already.
    Cut,
    /// A piece of a packet as it came in by this port.
    Piece(PortId),
}

/// What is noted of a frame that enters the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entrance {
    pub(crate) now: Instant,
    pub(crate) origin: Origin,
    /// Where it leaves.
    pub(crate) interface: InterfaceId,
    pub(crate) meta: Meta,
}

/// A frame in the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) len: u16,
    pub(crate) origin: Origin,
    pub(crate) interface: InterfaceId,
    pub(crate) meta: Meta,
    /// Since when.
    pub(crate) since: Instant,
    next: u16,
}

/// A first-in first-out list of buffers of one pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    head: u16,
    tail: u16,
    len: u16,
}

impl Queue {
    pub(crate) const EMPTY: Self = Self { head: NIL, tail: NIL, len: 0 };

    pub(crate) const fn len(self) -> u16 {
        self.len
    }
}

pub(crate) struct FramePool {
    bytes: Box<[u8]>,
    held: Box<[Held]>,
    free: Queue,
}

impl FramePool {
    pub(crate) fn new(buffers: u16) -> Self {
        let none = Held {
            len: 0,
            origin: Origin::MadeHere,
            interface: InterfaceId(0),
            meta: Meta::default(),
            since: Instant::ZERO,
            next: NIL,
        };
        let mut pool = Self {
            bytes: vec![0; usize::from(buffers) * BUFFER].into_boxed_slice(),
            held: vec![none; usize::from(buffers)].into_boxed_slice(),
            free: Queue::EMPTY,
        };
        let mut free = Queue::EMPTY;
        for buffer in 0..buffers {
            pool.link(&mut free, buffer);
        }
        pool.free = free;
        pool
    }

    /// Puts a frame of `len` bytes at the end of `queue`; `fill` writes its bytes. `false` if it is too long or no buffer
    /// is free.
    pub(crate) fn push(
        &mut self,
        queue: &mut Queue,
        entrance: Entrance,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        if len > BUFFER {
            return false;
        }
        let mut free = self.free;
        let Some(buffer) = self.unlink(&mut free) else {
            return false;
        };
        self.free = free;
        let start = usize::from(buffer) * BUFFER;
        if let Some(bytes) = self.bytes.get_mut(start..start + len) {
            fill(bytes);
        }
        let Entrance { now, origin, interface, meta } = entrance;
        self.held[usize::from(buffer)] =
            Held { len: len as u16, origin, interface, meta, since: now, next: NIL };
        self.link(queue, buffer);
        true
    }

    /// The first frame of `queue`.
    pub(crate) fn first(&self, queue: &Queue) -> Option<(&Held, &[u8])> {
        let held = self.held.get(usize::from(queue.head))?;
        let start = usize::from(queue.head) * BUFFER;
        Some((held, self.bytes.get(start..start + usize::from(held.len))?))
    }

    /// The bytes of the first frame of `queue`, to be changed.
    pub(crate) fn first_bytes_mut(&mut self, queue: &Queue) -> Option<&mut [u8]> {
        let held = self.held.get(usize::from(queue.head))?;
        let start = usize::from(queue.head) * BUFFER;
        self.bytes.get_mut(start..start + usize::from(held.len))
    }

    /// Gives the first buffer of `queue` back.
    pub(crate) fn release(&mut self, queue: &mut Queue) {
        if let Some(buffer) = self.unlink(queue) {
            let mut free = self.free;
            self.link(&mut free, buffer);
            self.free = free;
        }
    }

    /// Moves the first buffer of one queue to the end of another.
    pub(crate) fn shift(&mut self, from: &mut Queue, to: &mut Queue) {
        if let Some(buffer) = self.unlink(from) {
            self.link(to, buffer);
        }
    }

    fn link(&mut self, queue: &mut Queue, buffer: u16) {
        self.held[usize::from(buffer)].next = NIL;
        if queue.tail == NIL {
            queue.head = buffer;
        } else {
            self.held[usize::from(queue.tail)].next = buffer;
        }
        queue.tail = buffer;
        queue.len += 1;
    }

    fn unlink(&mut self, queue: &mut Queue) -> Option<u16> {
        let buffer = queue.head;
        let held = self.held.get(usize::from(buffer))?;
        queue.head = held.next;
        if queue.head == NIL {
            queue.tail = NIL;
        }
        queue.len -= 1;
        Some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRANCE: Entrance = Entrance {
        now: Instant::ZERO,
        origin: Origin::MadeHere,
        interface: InterfaceId(0),
        meta: Meta { vlan: None, checksum: None, gso: None, checksum_valid: false },
    };

    fn push(pool: &mut FramePool, queue: &mut Queue, byte: u8) -> bool {
        pool.push(queue, ENTRANCE, 100, |bytes| bytes.fill(byte))
    }

    #[test]
    fn queues_share_the_buffers_and_keep_their_order() {
        let mut pool = FramePool::new(3);
        let (mut one, mut other) = (Queue::EMPTY, Queue::EMPTY);
        assert!(push(&mut pool, &mut one, 1));
        assert!(push(&mut pool, &mut other, 2));
        assert!(push(&mut pool, &mut one, 3));
        assert!(!push(&mut pool, &mut one, 4));
        pool.shift(&mut one, &mut other);
        assert_eq!((one.len(), other.len()), (1, 2));
        for expected in [2, 1] {
            assert_eq!(pool.first(&other).map(|(held, bytes)| (held.len, bytes[0])), Some((100, expected)));
            pool.release(&mut other);
        }
        assert!(pool.first(&other).is_none());
        pool.release(&mut other);
        assert!(push(&mut pool, &mut other, 5));
        assert!(push(&mut pool, &mut other, 6));
        assert!(!push(&mut pool, &mut other, 7));
    }

    #[test]
    fn a_frame_that_is_too_long_takes_no_buffer() {
        let mut pool = FramePool::new(1);
        let mut queue = Queue::EMPTY;
        let long = pool.push(&mut queue, ENTRANCE, BUFFER + 1, |_| {});
        assert!(!long);
        assert!(push(&mut pool, &mut queue, 1));
    }
}
