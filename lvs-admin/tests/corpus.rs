//! Replays the files that the fuzz targets `rules` and `toml` start from (`fuzz/corpus`); those of `keepalived` have a test of
//! their own.
//!
//! A file `ok-*` must load. A file `bad-*` says in its first line, after `# expect: `, the message that it
//! must be refused with. Files of other names (finds of the fuzzer) must only do no harm.

use std::path::Path;
use std::{fs, str};

use lvs_admin::config::{fuzzing, toml};
use lvs_admin::rules;

#[test]
fn every_rules_file() {
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

#[test]
fn every_toml_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/toml");
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read(&path).unwrap();
        fuzzing::toml(&text);
        let loaded = toml::read(&name, &text);
        if name.starts_with("ok-") {
            good += 1;
            loaded.unwrap_or_else(|error| panic!("{error}"));
        } else if name.starts_with("bad-") {
            bad += 1;
            let first = str::from_utf8(&text).unwrap().lines().next().unwrap();
            let expected = first.strip_prefix("# expect: ").unwrap();
            let Err(error) = loaded else { panic!("{name}: loads, though {expected}") };
            assert_eq!(error.to_string(), expected, "{name}");
        }
    }
    assert!(good >= 3 && bad >= 4, "{good} good and {bad} bad files");
}
