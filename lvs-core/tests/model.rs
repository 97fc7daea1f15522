//! The director against the naive model of the test kit: random edits, packets and times, the same decisions and
//! listings. proptest prints the bytes that failed, made small, and its seed; the history is on standard error.

use lvs_testkit::fuzz;
use proptest::prelude::*;

/// How many schedulers the model knows, in the order of their first byte.
const SCHEDULERS: u8 = 13;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn decides_as_the_model_does(
        scheduler in 0..SCHEDULERS,
        families in 0u8..3,
        history in prop::collection::vec(any::<u8>(), 0..900),
    ) {
        fuzz::model(&[&[scheduler, families][..], &history].concat());
    }
}
