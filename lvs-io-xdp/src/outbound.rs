//! The way out: what a verdict means for a frame's memory, and into which ring a frame goes.

use std::time::Instant;

use arrayvec::ArrayVec;
use lvs_core::io::{Frame, MAX_BATCH, PortId};
use lvs_core::verdict::Verdict;

use crate::engine::Engine;
use crate::error::IoError;
use crate::exchange::Received;
use crate::port::Port;
use crate::queue::Queue;
use crate::tag;

/// What becomes of a frame after the handler has seen it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// Its memory is free.
    Back,
    /// The same, and the host's kernel should have had it.
    Pass,
    /// It should leave by this port, and cannot.
    Impossible(PortId),
    /// It leaves.
    Out {
        port: PortId,
        /// Where its bytes begin in its memory, and how many there are.
        start: usize,
        len: usize,
    },
}

/// The ways of a batch, in its order.
pub(crate) type Ways = ArrayVec<Way, MAX_BATCH>;

impl Way {
    /// The way that a verdict means. A tag beside the frame goes into its bytes.
    pub(crate) fn of(frame: &mut Frame<'_>, verdict: Verdict) -> Self {
        match verdict {
            Verdict::Transmit(port) => {
                let unfinished = frame.meta().checksum.is_some() || frame.meta().gso.is_some();
                if unfinished || tag::write(frame).is_err() {
                    return Self::Impossible(port);
                }
                Self::Out { port, start: frame.start(), len: frame.len() }
            }
            Verdict::Pass => Self::Pass,
            Verdict::Hold | Verdict::Drop(_) => Self::Back,
        }
    }
}

/// How often a frame is offered to a transmit ring.
const ATTEMPTS: u32 = 3;
/// An Ethernet header; the kernel refuses less.
const SHORTEST: usize = 14;

/// Puts a frame into a transmit ring of port number `at`: of the queue in the same place as the one it came by,
/// if there is one that sends. It leaves with the next [`kick`]. Answers how many completions made no sense.
pub(crate) fn send(
    engine: &mut Engine,
    port: &mut Port,
    at: usize,
    place: usize,
    sent: Received,
) -> Result<u64, IoError> {
    let Received { mut frame, start, len } = sent;
    let Engine { gates, queues, ledger, umem } = engine;
    let gate = &gates[at];
    let queue = &mut queues[gate.queues.start + place % gate.sending];
    let mut nonsense = 0;
    let mut result = Ok(());
    if len >= SHORTEST && len <= port.longest && port.link.is_up() {
        for _ in 0..ATTEMPTS {
            match queue.send(umem, ledger, frame, start, len) {
                Ok(()) => {
                    port.transmitted += 1;
                    return Ok(nonsense);
                }
                Err(refused) => frame = refused,
            }
            // Full: have some transmitted first.
            result = kick(queue, port);
            nonsense += queue.reap(umem, ledger);
            if result.is_err() {
                break;
            }
        }
    }
    ledger.put_back(frame);
    port.lost += 1;
    result.map(|()| nonsense)
}

/// Makes the kernel transmit what is in a queue's ring.
pub(crate) fn kick(queue: &mut Queue, port: &mut Port) -> Result<(), IoError> {
    let outcome = queue.kick().map_err(|error| IoError::new(Some(&port.name), "sending", error))?;
    // They were counted when the ring took them.
    port.transmitted = port.transmitted.saturating_sub(outcome.lost);
    port.lost += outcome.lost;
    if outcome.link_down {
        port.link.went_down(Instant::now());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lvs_core::io::{Meta, PartialChecksum, VlanTag};
    use lvs_core::verdict::DropReason;

    use super::*;

    #[test]
    fn each_verdict_has_its_way() {
        let plain = Meta::default();
        let tagged = Meta { vlan: Some(VlanTag { tpid: 0x8100, tci: 5 }), ..plain };
        let partial = Some(PartialChecksum { start: 34, offset: 16 });
        let unfinished = Meta { checksum: partial, ..plain };
        let transmit = Verdict::Transmit(PortId(3));
        let table = [
            (plain, transmit, "Out { port: PortId(3), start: 4, len: 60 }"),
            (tagged, transmit, "Out { port: PortId(3), start: 0, len: 64 }"),
            (unfinished, transmit, "Impossible(PortId(3))"),
            (unfinished, Verdict::Pass, "Pass"),
            (plain, Verdict::Hold, "Back"),
            (plain, Verdict::Drop(DropReason::NoService), "Back"),
        ];
        for (meta, verdict, expected) in table {
            let mut buffer = [0; 64];
            let mut frame = Frame::within(&mut buffer, 4, 60, PortId(0), meta).unwrap();
            assert_eq!(format!("{:?}", Way::of(&mut frame, verdict)), expected);
        }
        let mut buffer = [0; 60];
        let mut frame = Frame::within(&mut buffer, 0, 60, PortId(0), tagged).unwrap();
        assert!(matches!(Way::of(&mut frame, transmit), Way::Impossible(_)), "no headroom for the tag");
    }
}
