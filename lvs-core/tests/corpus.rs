//! The committed fuzz corpora, replayed: what was found once stays found.

use std::fs;
use std::path::{Path, PathBuf};

use lvs_testkit::fuzz;

/// The files of a corpus. They must be small, or nobody looks at them.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files: Vec<(PathBuf, Vec<u8>)> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert!((10..100).contains(&files.len()), "{}: {} files", folder.display(), files.len());
    for (path, bytes) in &files {
        assert!(bytes.len() < 4096, "{}: {} bytes", path.display(), bytes.len());
    }
    files
}

fn replay(target: &str, body: fn(&[u8])) {
    for (path, bytes) in corpus(target) {
        let outcome = std::panic::catch_unwind(|| body(&bytes));
        assert!(outcome.is_ok(), "failed on {}", path.display());
    }
}

#[test]
fn classify() {
    replay("classify", fuzz::classify);
}

#[test]
fn director() {
    replay("director", fuzz::director);
}

#[test]
fn model() {
    replay("model", fuzz::model);
}

#[test]
fn pcap() {
    replay("pcap", fuzz::pcap);
}
