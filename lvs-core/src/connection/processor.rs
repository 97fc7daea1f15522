//! Two things that a processor can do and the language has no safe words for: asking for memory before it is needed, and
//! comparing eight numbers at once. The only unsafe code of this crate.
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

/// Which of the eight 16-bit numbers in these two words, lowest first, are `wanted`: a bit each.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the language does not take for granted what the target has")]
pub(super) fn equal(words: [u64; 2], wanted: u16) -> u32 {
    // SAFETY: it needs SSE2, which every x86-64 processor has.
    unsafe { equal_sse2(words, wanted) }
}

/// See [`equal`].
#[inline]
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn equal_sse2([low, high]: [u64; 2], wanted: u16) -> u32 {
    use core::arch::x86_64::{
        _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set_epi64x, _mm_set1_epi16,
        _mm_setzero_si128,
    };
    let lanes = _mm_set_epi64x(high as i64, low as i64);
    let found = _mm_cmpeq_epi16(lanes, _mm_set1_epi16(wanted as i16));
    _mm_movemask_epi8(_mm_packs_epi16(found, _mm_setzero_si128())) as u32
}

/// Which of the eight 16-bit numbers in these two words, lowest first, are `wanted`: a bit each.
#[inline(always)]
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn equal(words: [u64; 2], wanted: u16) -> u32 {
    equal_anywhere(words, wanted)
}

/// The same by arithmetic.
#[inline(always)]
#[cfg(any(test, not(target_arch = "x86_64")))]
const fn equal_anywhere([low, high]: [u64; 2], wanted: u16) -> u32 {
    const ONES: u64 = 0x0001_0001_0001_0001;
    const LOWS: u64 = 0x7fff_7fff_7fff_7fff;
    // Brings bits 0, 16, 32 and 48 next to each other, at the top: each factor's bit moves one of them there.
    const GATHER: u64 = 1 << 63 >> 48 | 1 << 62 >> 32 | 1 << 61 >> 16 | 1 << 60;
    const fn quarter(word: u64, wanted: u16) -> u64 {
        let differs = word ^ (wanted as u64 * ONES);
        // The highest bit of a lane stays 0 where nothing differs; no lane carries into the next.
        let some = ((differs & LOWS) + LOWS) | differs | LOWS;
        ((!some >> 15 & ONES).wrapping_mul(GATHER) >> 60) & 0xf
    }
    (quarter(low, wanted) | quarter(high, wanted) << 4) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_all_and_nothing_else(lanes in proptest::array::uniform8(prop_oneof![0u16..4, any::<u16>()]), wanted in 0u16..4) {
            let word = |four: &[u16]| four.iter().rev().fold(0u64, |word, lane| word << 16 | u64::from(*lane));
            let words = [word(&lanes[..4]), word(&lanes[4..])];
            let expected = lanes.iter().rev().fold(0, |bits, lane| bits << 1 | u32::from(*lane == wanted));
            prop_assert_eq!(equal(words, wanted), expected);
            prop_assert_eq!(equal_anywhere(words, wanted), expected);
        }
    }
}
