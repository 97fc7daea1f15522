//! Bytes of a file, counted.

use std::io::{self, Read};

use super::CaptureProblem;

/// A source that knows how far it has come.
#[derive(Debug)]
pub(super) struct Input<R> {
    source: R,
    pub(super) offset: u64,
}

impl<R: Read> Input<R> {
    pub(super) const fn new(source: R) -> Self {
        Self { source, offset: 0 }
    }

    /// Fills `buffer` as far as the file goes; answers how far that is.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, CaptureProblem> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.source.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CaptureProblem::Io(error)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    /// So many bytes, or the file is cut off.
    pub(super) fn array<const N: usize>(&mut self, within: &'static str) -> Result<[u8; N], CaptureProblem> {
        let mut bytes = [0; N];
        if self.fill(&mut bytes)? == N { Ok(bytes) } else { Err(CaptureProblem::CutOff { within }) }
    }

    /// `count` bytes, or the file is cut off. Takes no more memory than the file has bytes.
    pub(super) fn bytes(&mut self, count: usize, within: &'static str) -> Result<Vec<u8>, CaptureProblem> {
        let mut bytes = Vec::new();
        let read = self.source.by_ref().take(count as u64).read_to_end(&mut bytes);
        self.offset += bytes.len() as u64;
        read.map_err(CaptureProblem::Io)?;
        if bytes.len() == count { Ok(bytes) } else { Err(CaptureProblem::CutOff { within }) }
    }

    /// Leaves `count` bytes out.
    pub(super) fn skip(&mut self, count: u64, within: &'static str) -> Result<(), CaptureProblem> {
        let skipped = io::copy(&mut self.source.by_ref().take(count), &mut io::sink());
        let skipped = skipped.map_err(CaptureProblem::Io)?;
        self.offset += skipped;
        if skipped == count { Ok(()) } else { Err(CaptureProblem::CutOff { within }) }
    }
}

/// The order of bytes in a file's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    pub(super) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(super) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    /// The 32-bit number at a place; `None` beyond the end.
    pub(super) fn u32_at(self, bytes: &[u8], at: usize) -> Option<u32> {
        Some(self.u32(*bytes.get(at..)?.first_chunk()?))
    }

    /// The 16-bit number at a place; `None` beyond the end.
    pub(super) fn u16_at(self, bytes: &[u8], at: usize) -> Option<u16> {
        Some(self.u16(*bytes.get(at..)?.first_chunk()?))
    }
}
