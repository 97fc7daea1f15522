//! Any bytes as a history of edits, frames and clock steps.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lvs_testkit::fuzz::director(bytes));
