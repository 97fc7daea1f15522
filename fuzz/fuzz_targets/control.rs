//! Any bytes as lines to the control socket, and as command lines of lvsadm; all are carried out or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    lvs_admin::control::fuzzing::lines(bytes);
    lvs_admin::control::fuzzing::command_lines(bytes);
});
