//! Where the connection table's memory comes from.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::DerefMut;

/// One cache line of a table: an index bucket, a connection, or the second half of an IPv6 connection.
/// Plain integers: any bytes are a line, and zeros are an unused one.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct Line(pub(crate) [u32; 16]);

/// Gives a director the memory for its tables.
///
/// The default takes it from the global allocator. Others give memory that is aligned to 2 MiB and backed by
/// huge pages, which saves a good part of the cost of a frame when there are millions of connections.
pub trait TableMemory {
    /// The memory of one table. Dropping it gives the memory back.
    type Lines: DerefMut<Target = [Line]>;

    /// `count` lines, all zero. `None` if they are not to be had. Called only while a director is made.
    fn lines(&self, count: usize) -> Option<Self::Lines>;
}

/// Table memory from the global allocator.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeapMemory;

impl TableMemory for HeapMemory {
    type Lines = Box<[Line]>;

    fn lines(&self, count: usize) -> Option<Box<[Line]>> {
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line::default());
        Some(lines.into_boxed_slice())
    }
}
