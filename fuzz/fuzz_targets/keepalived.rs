//! Any bytes as a keepalived.conf, which may include itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| lvs_admin::config::fuzzing::keepalived(text));
