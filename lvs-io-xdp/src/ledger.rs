//! Whose each frame of the memory is. Does no I/O.
//!
//! ```text
//!            take                lend(Receive)              kernel
//!   free ──────────► FrameIndex ───────────────► fill ring ────────► receive ring ─┐
//!    ▲                 │  ▲  │  ▲                                                  │
//!    └─────────────────┘  │  │  └────────────────── reclaim(Receive) ──────────────┘
//!        put_back         │  └─► transmit ring ──► completion ring ─┐
//!                         │ lend(Transmit)   kernel                 │
//!                         └──────────── reclaim(Transmit) ──────────┘
//! ```
//! A frame is in exactly one place. What comes back from the kernel is taken only if it was lent to that
//! ring of that socket; anything else would be a frame with two owners.

/// A frame that is the program's. There is never more than one of a number, so it can be neither copied nor
/// made anew.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FrameIndex(u32);

impl FrameIndex {
    /// The frame's number.
    pub(crate) const fn number(&self) -> u32 {
        self.0
    }
}

/// To whom a frame is lent: the number of a socket, and by which of its two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Borrower {
    /// Fill ring, kernel, receive ring.
    Receive(u16),
    /// Transmit ring, kernel, completion ring.
    Transmit(u16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Free,
    Program,
    Kernel(Borrower),
}

/// The owners of all frames.
#[derive(Debug)]
pub(crate) struct Ledger {
    owners: Vec<Owner>,
    /// The last one in is the first one out: its bytes are still in the processor's cache.
    free: Vec<u32>,
}

impl Ledger {
    /// All frames are free.
    pub(crate) fn new(count: u32) -> Self {
        Self { owners: vec![Owner::Free; count as usize], free: (0..count).rev().collect() }
    }

    /// A free frame, if there is one.
    pub(crate) fn take(&mut self) -> Option<FrameIndex> {
        let number = self.free.pop()?;
        self.owners[number as usize] = Owner::Program;
        Some(FrameIndex(number))
    }

    /// The frame is free.
    pub(crate) fn put_back(&mut self, frame: FrameIndex) {
        self.owners[frame.0 as usize] = Owner::Free;
        self.free.push(frame.0);
    }

    /// The frame goes to the kernel. Answers its number, for the ring.
    pub(crate) fn lend(&mut self, frame: FrameIndex, to: Borrower) -> u32 {
        self.owners[frame.0 as usize] = Owner::Kernel(to);
        frame.0
    }

    /// The kernel gives a frame back. `None` if it was not lent there, or there is no such frame.
    pub(crate) fn reclaim(&mut self, number: u32, from: Borrower) -> Option<FrameIndex> {
        let owner = self.owners.get_mut(number as usize)?;
        if *owner != Owner::Kernel(from) {
            return None;
        }
        *owner = Owner::Program;
        Some(FrameIndex(number))
    }

    /// How many frames are free, with the program, and lent to the kernel. Counts all frames.
    #[cfg(test)]
    pub(crate) fn census(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Owner) -> bool| self.owners.iter().filter(|owner| is(owner)).count();
        let free = count(|owner| *owner == Owner::Free);
        assert_eq!(free, self.free.len(), "the list of free frames and their owners agree");
        (free, count(|owner| *owner == Owner::Program), count(|owner| matches!(owner, Owner::Kernel(_))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_from_where_it_went_and_once() {
        let mut ledger = Ledger::new(3);
        let (first, second) = (ledger.take().unwrap(), ledger.take().unwrap());
        assert_ne!(first, second);
        let number = ledger.lend(first, Borrower::Receive(1));
        assert_eq!(ledger.census(), (1, 1, 1));
        for wrong in [Borrower::Receive(0), Borrower::Transmit(1), Borrower::Transmit(0)] {
            assert_eq!(ledger.reclaim(number, wrong), None);
        }
        assert_eq!(ledger.reclaim(second.number(), Borrower::Receive(1)), None, "it is the program's");
        assert_eq!(ledger.reclaim(3, Borrower::Receive(1)), None, "there is none");
        let first = ledger.reclaim(number, Borrower::Receive(1)).unwrap();
        assert_eq!(ledger.reclaim(number, Borrower::Receive(1)), None, "twice");
        ledger.put_back(first);
        ledger.put_back(second);
        assert_eq!(ledger.census(), (3, 0, 0));
    }

    #[test]
    fn frames_run_out_and_the_last_one_in_is_the_first_one_out() {
        let mut ledger = Ledger::new(2);
        let (first, second) = (ledger.take().unwrap(), ledger.take().unwrap());
        assert_eq!(ledger.take(), None);
        ledger.put_back(first);
        let number = second.number();
        ledger.put_back(second);
        assert_eq!(ledger.take().unwrap().number(), number);
    }
}
