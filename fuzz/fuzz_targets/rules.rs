//! Any bytes as a file of rules; what is refused has to say so.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if let Err(error) = lvs_admin::rules::load(text) {
        let message = error.display("rules.ipvs").with_excerpt().to_string();
        assert!(message.starts_with("rules.ipvs:"), "{message}");
    }
});
