//! Asks for memory before it is needed. The only unsafe code of this crate.
//!
//! A batch asks for what its frames will need of the table, and by the time it looks the memory has come. Early loads do the
//! same without unsafe code, but a load has to wait for its value before the processor can forget it, and few fit into its
//! window: with a million flows they cost several nanoseconds a frame more (docs/performance.md).

use super::memory::Line;

/// Has a line fetched into the nearest cache, where the processor can be told so.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "there is no safe way to ask for memory without waiting for it")]
pub(super) fn prefetch(line: &Line) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: the instruction needs SSE, which every x86-64 processor has; it reads nothing and faults nowhere, and the
    // address is that of a reference.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(line).cast()) }
}

/// Has a line fetched into the nearest cache, where the processor can be told so.
#[inline(always)]
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn prefetch(line: &Line) {
    // Other processors get an early load.
    core::hint::black_box(line.0[0]);
}
