//! The memory that frames are read into: one piece, frame behind frame, with a bounded number of reads a batch.
//!
//! ```text
//!   | headroom, 64 | offload header | frame | padding | headroom, 64 | offload header | frame ...
//!   ^ slot, a multiple of 64        ^ what a handler sees
//! ```
//! A read always has room for the longest frame and a byte beyond, so a frame that was cut short is known by its length.
//! Short frames lie close together, whatever the longest may be: a batch of them stays in the fastest cache.

use std::io;

use arrayvec::ArrayVec;
use lvs_core::io::{Frame, MAX_BATCH, Meta, PortId};
use lvs_netdev::offload;

/// Bytes in front of each frame that a handler may use.
pub(crate) const HEADROOM: usize = 64;

/// Frames that are handed out together.
pub(crate) type Batch<'a> = ArrayVec<Frame<'a>, MAX_BATCH>;

/// What frames of a device look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes of the offload header in front of each; 0 if there is none.
    pub(crate) header: usize,
    /// The longest frame.
    pub(crate) longest: usize,
}

/// Memory for one batch. It never grows.
pub(crate) struct Arena {
    bytes: Box<[u8]>,
    slots: ArrayVec<Slot, MAX_BATCH>,
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Where its headroom begins.
    begin: usize,
    start: usize,
    len: usize,
    meta: Meta,
}

impl Arena {
    /// Room for a batch of frames of these shapes, or for 16 of them where they can be very long.
    pub(crate) fn new(shapes: impl Iterator<Item = Shape>) -> Self {
        let needed =
            shapes.map(|shape| shape.room() * if shape.longest > LONG { FEW } else { MAX_BATCH }).max();
        Self { bytes: vec![0; needed.unwrap_or(0)].into(), slots: ArrayVec::new() }
    }

    /// Reads frames until there are no more, or no room. `read` reads one. Answers how many are lost: cut short, too short
    /// for an Ethernet header, or with an offload header that does not fit them.
    ///
    /// # Errors
    /// What the first read says; after that what was read counts, and the error will come again.
    pub(crate) fn fill(
        &mut self,
        shape: Shape,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<u64> {
        self.slots.clear();
        let (mut begin, mut lost) = (0, 0);
        for attempt in 0..MAX_BATCH {
            let head = begin + HEADROOM;
            let Some(room) = self.bytes.get_mut(head..begin + shape.room()) else { break };
            let count = match read(room) {
                Ok(count) => count.min(room.len()),
                Err(error) if attempt == 0 => return Err(error),
                Err(_) => break,
            };
            match parse(&room[..count], shape) {
                Some(meta) => {
                    let (start, len) = (head + shape.header, count - shape.header);
                    self.slots.push(Slot { begin, start, len, meta });
                    begin = (head + count).next_multiple_of(ALIGNMENT);
                }
                None => lost += 1,
            }
        }
        Ok(lost)
    }

    /// The frames that were read last.
    pub(crate) fn frames(&mut self, port: PortId) -> Batch<'_> {
        let mut frames = Batch::new();
        let (mut rest, mut rest_begins) = (&mut *self.bytes, 0);
        let ends = self.slots.iter().skip(1).map(|slot| slot.begin).chain([rest.len()]);
        for (slot, end) in self.slots.iter().zip(ends) {
            let Some((buffer, after)) = rest.split_at_mut_checked(end - rest_begins) else { break };
            (rest, rest_begins) = (after, end);
            let Ok(frame) = Frame::within(buffer, slot.start - slot.begin, slot.len, port, slot.meta) else {
                break;
            };
            frames.push(frame);
        }
        frames
    }
}

impl Shape {
    /// What one read needs, headroom included.
    const fn room(self) -> usize {
        (HEADROOM + self.header + self.longest + 1).next_multiple_of(ALIGNMENT)
    }
}

/// What stands in the header; `None` if header and frame do not go together.
fn parse(bytes: &[u8], shape: Shape) -> Option<Meta> {
    let (header, frame) = bytes.split_at_checked(shape.header)?;
    if frame.len() < ETHERNET || frame.len() > shape.longest {
        return None;
    }
    if header.is_empty() {
        return Some(Meta::default());
    }
    offload::decode(header.first_chunk()?).filter(|meta| offload::fits(meta, frame.len()))
}

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// A cache line.
const ALIGNMENT: usize = 64;
/// Of frames that can be longer than this, [`FEW`] have room at once: a megabyte, which a second-level cache holds.
const LONG: usize = 16 << 10;
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Shape = Shape { header: 0, longest: 1522 };
    const OFFLOADS: Shape = Shape { header: 10, longest: 65_553 };

    /// Plays messages, then that there are no more.
    fn play<'m>(messages: &'m [Vec<u8>]) -> impl FnMut(&mut [u8]) -> io::Result<usize> + 'm {
        let mut messages = messages.iter();
        move |room| {
            let message = messages.next().ok_or(io::ErrorKind::WouldBlock)?;
            // As the kernel does it: what does not fit is cut off.
            let count = message.len().min(room.len());
            room[..count].copy_from_slice(&message[..count]);
            Ok(count)
        }
    }

    fn plain_header() -> Vec<u8> {
        vec![0; 10]
    }

    #[test]
    fn a_full_batch_of_either_shape_comes_out_as_it_went_in() {
        let mut arena = Arena::new([PLAIN, OFFLOADS].into_iter());
        let short: Vec<Vec<u8>> = (0..70u8).map(|i| vec![i; 60 + usize::from(i)]).collect();
        assert_eq!(arena.fill(PLAIN, play(&short)).unwrap(), 0);
        let frames = arena.frames(PortId(3));
        assert_eq!(frames.len(), MAX_BATCH);
        for (frame, sent) in frames.iter().zip(&short) {
            assert_eq!((frame.bytes(), frame.port()), (&sent[..], PortId(3)));
            assert_eq!(frame.headroom(), HEADROOM);
        }
        drop(frames);
        let long: Vec<Vec<u8>> = (0..20u8).map(|i| [plain_header(), vec![i; 65_553]].concat()).collect();
        assert_eq!(arena.fill(OFFLOADS, play(&long)).unwrap(), 0);
        let frames = arena.frames(PortId(0));
        assert_eq!(frames.len(), FEW);
        for (frame, sent) in frames.iter().zip(&long) {
            assert!(frame.bytes() == &sent[10..]);
            assert_eq!(frame.headroom(), HEADROOM + 10);
        }
    }

    #[test]
    fn a_full_batch_of_the_longest_plain_frames_fits() {
        let mut arena = Arena::new([PLAIN].into_iter());
        let messages = vec![vec![7; 1522]; MAX_BATCH];
        assert_eq!(arena.fill(PLAIN, play(&messages)).unwrap(), 0);
        assert_eq!(arena.frames(PortId(0)).len(), MAX_BATCH);
    }

    #[test]
    fn what_is_cut_short_or_too_short_is_lost_and_the_rest_is_not() {
        let mut arena = Arena::new([PLAIN].into_iter());
        let lengths = [60, 13, 1523, 0, 9000, 1522];
        let messages: Vec<Vec<u8>> = lengths.iter().map(|len| vec![1; *len]).collect();
        assert_eq!(arena.fill(PLAIN, play(&messages)).unwrap(), 4);
        let lengths: Vec<_> = arena.frames(PortId(0)).iter().map(Frame::len).collect();
        assert_eq!(lengths, [60, 1522]);
    }

    #[test]
    fn nothing_but_bad_frames_ends_a_batch_all_the_same() {
        let mut arena = Arena::new([PLAIN].into_iter());
        let mut calls = 0;
        let lost = arena.fill(PLAIN, |_| {
            calls += 1;
            Ok(1)
        });
        assert_eq!((lost.unwrap(), calls), (MAX_BATCH as u64, MAX_BATCH));
        assert!(arena.frames(PortId(0)).is_empty());
    }

    #[test]
    fn an_error_counts_once_what_was_read_is_handed_out() {
        let mut arena = Arena::new([PLAIN].into_iter());
        let gone = || io::Error::from_raw_os_error(libc::EBADFD);
        let mut answers = [Ok(60), Err(gone()), Err(gone())].into_iter();
        assert_eq!(arena.fill(PLAIN, |_| answers.next().unwrap()).unwrap(), 0);
        assert_eq!(arena.frames(PortId(0)).len(), 1);
        let error = arena.fill(PLAIN, |_| answers.next().unwrap()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADFD));
        assert!(arena.frames(PortId(0)).is_empty());
    }

    proptest! {
        /// Whatever headers say and however long frames are: those that are handed out are those that a plain reading of
        /// the rules lets through, in order, and none can write into another.
        #[test]
        fn hostile_messages_are_sorted_as_by_a_naive_reader(
            messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 12), 0usize..200), 0..80),
            header in prop::sample::select(vec![0usize, 10, 12]),
        ) {
            let shape = Shape { header, longest: 150 };
            let mut arena = Arena::new([shape].into_iter());
            let messages: Vec<Vec<u8>> = messages
                .iter()
                .enumerate()
                .map(|(i, (head, len))| {
                    // Half of the headers say nothing unusual but in one byte.
                    let mut head = head.clone();
                    if i % 2 == 0 { head[1] &= 5; for high in [3, 7, 9] { head[high] = 0; } }
                    head.truncate(header);
                    head.extend(vec![i as u8; *len]);
                    head
                })
                .collect();
            let word = |message: &[u8], at: usize| usize::from(u16::from_ne_bytes([message[at], message[at + 1]]));
            let good = |message: &&Vec<u8>| {
                let Some(len) = message.len().checked_sub(header) else { return false };
                if !(14..=150).contains(&len) { return false }
                if header == 0 { return true }
                let kind = message[1] & 0x7f;
                let known = [0, 1, 3, 4, 5].contains(&kind);
                let unfinished = message[0] & 1 != 0;
                let sum_inside = !unfinished || word(message, 6) + word(message, 8) + 2 <= len;
                let cut = kind == 0 || word(message, 4) > 0 && word(message, 2) <= len;
                known && sum_inside && cut
            };
            let seen = messages.len().min(MAX_BATCH);
            let expected: Vec<&Vec<u8>> = messages[..seen].iter().filter(good).collect();
            let lost = match arena.fill(shape, play(&messages)) {
                Ok(lost) => lost,
                Err(_) => { prop_assert!(messages.is_empty()); 0 }
            };
            prop_assert_eq!(lost as usize, seen - expected.len());
            let mut frames = arena.frames(PortId(0));
            prop_assert_eq!(frames.len(), expected.len());
            for frame in &mut frames {
                let all = frame.headroom();
                frame.grow_front(all).unwrap();
                let tail = frame.tailroom();
                frame.set_len(frame.len() + tail).unwrap();
                frame.shrink_front(all);
                frame.set_len(frame.len() - tail).unwrap();
            }
            for (frame, sent) in frames.iter().zip(&expected) {
                prop_assert_eq!(frame.bytes(), &sent[header..]);
            }
        }
    }
}
