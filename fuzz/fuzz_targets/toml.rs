//! Any bytes as a TOML configuration; what is taken must be written as it was read.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| lvs_admin::config::fuzzing::toml(text));
