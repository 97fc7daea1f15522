//! Any bytes as a history of edits, packets and times, for a director and the naive model.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lvs_testkit::fuzz::model(bytes));
