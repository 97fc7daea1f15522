//! The memory of one table on systems that are not Linux: the global allocator's.

use std::ops::{Deref, DerefMut};

use lvs_core::connection::{HeapMemory, Line, TableMemory};

use crate::{HugePages, Registration};

/// The memory of one table: zeroed lines.
#[derive(Debug)]
pub struct Region {
    _registration: Registration,
    lines: Box<[Line]>,
}

impl Region {
    pub(crate) fn new(count: usize, options: &HugePages) -> Option<Self> {
        // The allocator's memory is written when it is zeroed: nothing is left to prefault.
        let lines = HeapMemory.lines(count)?;
        let range = lines.as_ptr_range();
        let registration = options.live.register(range.start.addr()..range.end.addr());
        Some(Self { _registration: registration, lines })
    }
}

impl Deref for Region {
    type Target = [Line];

    #[inline]
    fn deref(&self) -> &[Line] {
        &self.lines
    }
}

impl DerefMut for Region {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Line] {
        &mut self.lines
    }
}
