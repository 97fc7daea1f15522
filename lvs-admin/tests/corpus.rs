//! Replays the rule files that the fuzz target `rules` starts from (`fuzz/corpus/rules`).
//!
//! A file `ok-*` must load. A file `bad-*` says in its first line, after `# expect: `, the message that it
//! must be refused with. Files of other names (finds of the fuzzer) must only do no harm.

use std::path::Path;
use std::{fs, str};

use lvs_admin::rules;

#[test]
fn every_file_of_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/rules");
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read(&path).unwrap();
        let loaded = rules::load(&text);
        if name.starts_with("ok-") {
            good += 1;
            let loaded = loaded.unwrap_or_else(|error| panic!("{}", error.display(&name).with_excerpt()));
            assert!(!loaded.is_empty(), "{name}: no rules");
        } else if name.starts_with("bad-") {
            bad += 1;
            let first = text.split(|&byte| byte == b'\n').next().unwrap();
            let expected = str::from_utf8(first).unwrap().trim_end().strip_prefix("# expect: ").unwrap();
            let Err(error) = loaded else { panic!("{name}: loads, though {expected}") };
            assert_eq!(error.to_string(), expected, "{name}");
        }
    }
    assert!(good >= 13 && bad >= 28, "{good} good and {bad} bad files");
}
