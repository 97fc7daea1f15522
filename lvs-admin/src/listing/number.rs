//! Counters in a column nine characters wide.

use std::fmt;

/// A counter as `--stats` and `--rate` print it.
///
/// Below 100,000,000 in full; above in thousands (K), millions (M), thousand millions (G) or more (T),
/// truncated. With `exact` in full, at least one space in front however long it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counter {
    pub(super) value: u64,
    pub(super) exact: bool,
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, exact } = *self;
        let (divisor, suffix) = match value {
            _ if exact => return write!(f, " {value:>8}"),
            0..100_000_000 => return write!(f, "{value:>9}"),
            100_000_000..1_000_000_000 => (1_000, 'K'),
            1_000_000_000..100_000_000_000 => (1_000_000, 'M'),
            100_000_000_000..100_000_000_000_000 => (1_000_000_000, 'G'),
            100_000_000_000_000.. => (1_000_000_000_000, 'T'),
        };
        write!(f, "{:>8}{suffix}", value / divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_change_their_unit_at_the_limits() {
        let text = |value| Counter { value, exact: false }.to_string();
        assert_eq!(text(0), "        0");
        assert_eq!(text(99_999_999), " 99999999");
        assert_eq!(text(100_000_000), "  100000K");
        assert_eq!(text(999_999_999), "  999999K");
        assert_eq!(text(1_000_000_000), "    1000M");
        assert_eq!(text(99_999_999_999), "   99999M");
        assert_eq!(text(100_000_000_000), "     100G");
        assert_eq!(text(99_999_999_999_999), "   99999G");
        assert_eq!(text(100_000_000_000_000), "     100T");
        assert_eq!(text(u64::MAX), "18446744T");
    }

    #[test]
    fn exact_counters_stay_apart() {
        let text = |value| Counter { value, exact: true }.to_string();
        assert_eq!(text(7), "        7");
        assert_eq!(text(99_999_999), " 99999999");
        assert_eq!(text(123_456_789), " 123456789");
        assert_eq!(text(u64::MAX), " 18446744073709551615");
    }
}
