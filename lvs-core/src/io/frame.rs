//! A frame in a borrowed buffer with room at both ends, edited in place.

use super::{Meta, PortId};

/// An Ethernet frame in a buffer that a backend lends for the length of a call.
///
/// ```text
///   buffer  | headroom | frame bytes (Ethernet header first) | tailroom |
///                      ^ start                               ^ start + len
/// ```
#[derive(Debug)]
pub struct Frame<'a> {
    buffer: &'a mut [u8],
    start: usize,
    /// Not beyond the buffer.
    end: usize,
    port: PortId,
    meta: Meta,
}

/// The buffer has not that much room at that end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame's buffer has no room for that many bytes")]
pub struct NoRoomError;

impl<'a> Frame<'a> {
    /// A frame that fills `buffer`, received on `port`, without metadata.
    #[must_use]
    pub fn new(buffer: &'a mut [u8], port: PortId) -> Self {
        let end = buffer.len();
        Self { buffer, start: 0, end, port, meta: Meta::default() }
    }

    /// A frame of `len` bytes that begins at `start` in `buffer`.
    ///
    /// # Errors
    /// If the frame would not lie within the buffer.
    pub fn within(
        buffer: &'a mut [u8],
        start: usize,
        len: usize,
        port: PortId,
        meta: Meta,
    ) -> Result<Self, NoRoomError> {
        match start.checked_add(len) {
            Some(end) if end <= buffer.len() => Ok(Self { buffer, start, end, port, meta }),
            _ => Err(NoRoomError),
        }
    }

    /// The port the frame came in by.
    #[must_use]
    pub const fn port(&self) -> PortId {
        self.port
    }

    /// The frame's bytes, Ethernet header first, without frame check sequence.
    #[must_use]
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The frame's first bytes and its length, if it has so many.
    #[inline(always)]
    pub(crate) fn head<const N: usize>(&self) -> Option<(&[u8; N], usize)> {
        let bytes = self.buffer.get(self.start..self.end)?;
        Some((bytes.first_chunk()?, bytes.len()))
    }

    /// The same, to be changed in place, of a frame that is known to have so many: only the buffer is asked.
    #[inline(always)]
    pub(crate) fn head_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.buffer.get_mut(self.start..)?.first_chunk_mut()
    }

    /// The frame's bytes, to be changed in place.
    #[must_use]
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Length in bytes, Ethernet header included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "whether a frame is empty is no question anybody asks")]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// What it carries besides its bytes.
    #[must_use]
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// What it carries besides its bytes, to be changed.
    #[must_use]
    pub const fn meta_mut(&mut self) -> &mut Meta {
        &mut self.meta
    }

    /// Where the frame begins in its buffer; a backend that lent the buffer finds it again by this.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }

    /// Unused bytes in front.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.start
    }

    /// Unused bytes behind.
    #[must_use]
    pub const fn tailroom(&self) -> usize {
        self.buffer.len() - self.end
    }

    /// Makes the frame `count` bytes longer at the front. The new bytes hold whatever lay there.
    ///
    /// # Errors
    /// If the headroom is smaller; the frame is as before.
    pub const fn grow_front(&mut self, count: usize) -> Result<(), NoRoomError> {
        if count > self.start {
            return Err(NoRoomError);
        }
        self.start -= count;
        Ok(())
    }

    /// Takes up to `count` bytes off the front.
    pub const fn shrink_front(&mut self, count: usize) {
        self.start += if count < self.len() { count } else { self.len() };
    }

    /// Makes the frame exactly `len` bytes long, at its end. Bytes that are new hold whatever lay there.
    ///
    /// # Errors
    /// If the tailroom is smaller; the frame is as before.
    pub const fn set_len(&mut self, len: usize) -> Result<(), NoRoomError> {
        if len > self.buffer.len() - self.start {
            return Err(NoRoomError);
        }
        self.end = self.start + len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_within_its_buffer_only() {
        let mut buffer = [0u8; 100];
        let mut frame = Frame::within(&mut buffer, 10, 60, PortId(3), Meta::default()).unwrap();
        assert_eq!((frame.headroom(), frame.len(), frame.tailroom()), (10, 60, 30));
        assert_eq!(frame.grow_front(11), Err(NoRoomError));
        frame.grow_front(4).unwrap();
        assert_eq!((frame.headroom(), frame.len(), frame.tailroom()), (6, 64, 30));
        assert_eq!(frame.set_len(95), Err(NoRoomError));
        frame.set_len(94).unwrap();
        assert_eq!(frame.tailroom(), 0);
        frame.shrink_front(1000);
        assert!(frame.bytes().is_empty());
        assert_eq!(frame.bytes_mut().len(), 0);
    }

    #[test]
    fn a_frame_lies_within_its_buffer() {
        let mut buffer = [0u8; 10];
        assert!(Frame::within(&mut buffer, 5, 6, PortId(0), Meta::default()).is_err());
        assert!(Frame::within(&mut buffer, usize::MAX, 2, PortId(0), Meta::default()).is_err());
    }
}
