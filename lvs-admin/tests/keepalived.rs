//! keepalived.conf as people write it: the files that the fuzz target `keepalived` starts from (`fuzz/corpus/keepalived`).
//!
//! What a file `ok-*` becomes (rules, checks, notices) is in `tests/fixtures/keepalived`; with `UPDATE_EXPECTED=1` in the
//! environment it is written there anew. A file `bad-*` says in its first line, after `# expect: `, the message that it must
//! be refused with (and that is written anew likewise). Files of other names (finds of the fuzzer) must only do no harm.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use lvs_admin::config::{FileError, Loaded, fuzzing, health, toml};
use lvs_admin::keepalived::{self, Files, Options};
use lvs_admin::save;
use proptest::collection::vec;
use proptest::prelude::*;

/// Files below a folder on the disk.
struct Disk(PathBuf);

impl Files for Disk {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(self.0.join(path)).map_err(|error| error.kind().to_string())
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(self.0.join(folder)).map_err(|error| error.kind().to_string())?;
        Ok(entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
    }
}

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn main_options() -> Options {
    Options { config_id: Some("main".to_owned()), ..Options::default() }
}

/// What came of a file, as text.
fn described(loaded: &Loaded) -> String {
    let configuration = &loaded.configuration;
    let mut text = String::new();
    save::model(&mut text, &configuration.model().unwrap()).unwrap();
    text += "\n";
    health::listing(&mut text, configuration).unwrap();
    text += "\n";
    loaded.notices.iter().for_each(|notice| writeln!(text, "{notice}").unwrap());
    text
}

/// Whether what is expected is written anew, to be looked through before it is committed.
fn update() -> bool {
    std::env::var_os("UPDATE_EXPECTED").is_some()
}

fn compare(name: &str, loaded: &Loaded) {
    let path = folder("tests/fixtures/keepalived").join(name).with_extension("txt");
    let text = described(loaded);
    if update() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, expected, "{name}");
    // It can be had as TOML, too.
    let toml = toml::write(&loaded.configuration);
    let again = toml::read(name, toml.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{toml}"));
    assert_eq!(again.configuration, loaded.configuration, "{name}");
}

#[test]
fn every_file_of_the_corpus() {
    let corpus = folder("../fuzz/corpus/keepalived");
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(&corpus).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        fuzzing::keepalived(&fs::read(corpus.join(&name)).unwrap());
        let loaded = keepalived::read(&name, &mut Disk(corpus.clone()), &main_options());
        if name.starts_with("ok-") {
            good += 1;
            compare(&name, &loaded.unwrap_or_else(|error| panic!("{error}")));
        } else if name.starts_with("bad-") {
            bad += 1;
            let text = fs::read(corpus.join(&name)).unwrap();
            let first =
                String::from_utf8_lossy(text.split(|&byte| byte == b'\n').next().unwrap()).into_owned();
            let expected = first.strip_prefix("# expect: ").unwrap();
            let Err(error) = loaded else { panic!("{name}: loads, though {expected}") };
            if update() {
                let rest = &text[first.len()..];
                fs::write(corpus.join(&name), [format!("# expect: {error}").as_bytes(), rest].concat())
                    .unwrap();
                continue;
            }
            assert_eq!(error.to_string(), expected, "{name}");
        }
    }
    assert!(good >= 16 && bad >= 40, "{good} good and {bad} bad files");
}

#[test]
fn files_include_others_relative_to_themselves() {
    let mut disk = Disk(folder("tests/fixtures/keepalived/include"));
    let loaded = keepalived::read("keepalived.conf", &mut disk, &main_options()).unwrap();
    compare("include", &loaded);
    let change = loaded.configuration.changes().into_iter().next_back().unwrap();
    assert_eq!(loaded.origin(&change).unwrap().to_string(), "conf.d/servers/web.conf:1");
}

fn in_memory(files: &[(&str, &str)]) -> Result<Loaded, FileError> {
    let mut files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    keepalived::read("k", &mut files, &Options::default())
}

#[test]
fn includes_are_bounded() {
    let error = in_memory(&[("k", "\ninclude a"), ("a", "include k")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a:1: k includes itself; expected files that do not include each other in a circle"
    );
    let error = in_memory(&[("k", "include k")]).unwrap_err();
    assert!(error.to_string().starts_with("k:1: k includes itself"), "{error}");
    let nested: Vec<(String, String)> =
        (0..20).map(|number| (format!("f{number}"), format!("include f{}", number + 1))).collect();
    let mut nested: Vec<(&str, &str)> =
        nested.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    nested.push(("k", "include f0"));
    let error = in_memory(&nested).unwrap_err();
    assert_eq!(
        error.to_string(),
        "f14:1: includes are nested too deep; expected at most 16 files inside each other"
    );
    // Each file is read again for each line that asks for it: 2^30 times without the bound.
    let wide: Vec<(String, String)> = (0..14)
        .map(|number| (format!("f{number}"), format!("include f{0}\ninclude f{0}", number + 1)))
        .collect();
    let mut wide: Vec<(&str, &str)> =
        wide.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    wide.extend([("k", "include f0"), ("f14", "")]);
    assert!(in_memory(&wide).unwrap_err().to_string().contains("too many files are included"));
}

/// Found by `nearly_right_files_are_safe`.
#[test]
fn a_file_name_does_not_reach_the_terminal_as_it_is() {
    let error = in_memory(&[("k", "include \"\\x1b1\""), ("\x1b1", "nonsense")]).unwrap_err();
    assert!(error.to_string().starts_with("\u{fffd}1:1: nonsense is not known here"), "{error}");
}

#[test]
fn definitions_and_blocks_are_bounded() {
    let mut doubling = String::from("$A0=x\n");
    for number in 0..14 {
        writeln!(doubling, "$A{}=${{A{number}}}${{A{number}}}", number + 1).unwrap();
    }
    let one = in_memory(&[("k", &format!("{doubling}vrrp_script ${{A13}} {{\n}}\n"))]);
    assert_eq!(one.unwrap().notices.len(), 1);
    let many = "${A13}\n".repeat(9);
    let error = in_memory(&[("k", &format!("{doubling}{many}"))]).unwrap_err().to_string();
    assert!(error.starts_with("k:20: too many parameters are replaced"), "{error}");

    let mut lines = String::from("$A0= \\\nvrrp_script a {\\\n}\n");
    for number in 0..15 {
        writeln!(lines, "$A{}= \\\n${{A{number}}} \\\n${{A{number}}} \\\n${{A{number}}}", number + 1)
            .unwrap();
    }
    let error = in_memory(&[("k", &format!("{lines}$A15\n"))]).unwrap_err().to_string();
    assert!(error.contains("the configuration has too many lines"), "{error}");

    let error = in_memory(&[("k", &"vrrp_instance {\n".repeat(1000))]).unwrap_err().to_string();
    assert!(error.starts_with("k:17: blocks are nested too deep"), "{error}");
    let error = in_memory(&[("k", &"x".repeat(20_000))]).unwrap_err().to_string();
    assert!(error.starts_with("k:1: the line is too long"), "{error}");
}

#[test]
fn groups_and_servers_are_bounded_by_the_capacities() {
    let options = Options {
        capacities: lvs_admin::config::Capacities {
            max_services: 3,
            max_destinations: 5,
            ..Default::default()
        },
        ..Options::default()
    };
    let read = |text: &str| {
        let mut files = BTreeMap::from([("k".to_owned(), text.as_bytes().to_vec())]);
        keepalived::read("k", &mut files, &options).map(|loaded| loaded.configuration.services.len())
    };
    let group = |range: &str, servers: usize| {
        let servers: String = (1..=servers).map(|last| format!("real_server 10.0.0.{last} 80\n")).collect();
        format!(
            "virtual_server_group A {{\n{range} 80\n}}\nvirtual_server group A {{\nlvs_method DR\n{servers}}}\n"
        )
    };
    assert_eq!(read(&group("192.0.2.1-3", 1)), Ok(3));
    let error = read(&group("192.0.2.1-4", 1)).unwrap_err().to_string();
    assert!(error.starts_with("k:2: the range has more addresses than there may be services"), "{error}");
    let error = read(&group("192.0.2.1-3", 2)).unwrap_err().to_string();
    assert!(error.starts_with("k:7: real_server: no room for another real server"), "{error}");
}

fn good_files() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = fs::read_dir(folder("../fuzz/corpus/keepalived"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("ok-"));
    all.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Words that occur, and some that nearly do.
const WORDS: &str = "virtual_server virtual_server_group real_server group fwmark { } {} 192.0.2.10 80 2001:db8::1 10.0.0.1-5 10.0.0.0/30 \
    lvs_method DR NAT lvs_sched rr sh sh-port TCP_CHECK HTTP_GET url path / status_code 200-299 MISC_CHECK misc_path \"a b\" \
    ' \" \\ # ! $A=1 $A ${A} $A=${A}${A} @main @^main include includea a a* ~SEQ(a,1,2) weight 1 -1 persistence_timeout ops \
    global_defs lvs_timeouts tcp udp UDP_CHECK payload require_reply 0xZ ${_HASH} ${_PWD} quorum sorry_server A";

fn line() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let word = prop_oneof![
        12 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(word, 0..6).prop_map(|words| words.join(&b' '))
}

proptest! {
    #[test]
    fn any_bytes_are_safe(file in vec(any::<u8>(), 0..400)) {
        fuzzing::keepalived(&file);
    }

    #[test]
    fn nearly_right_files_are_safe(lines in vec(line(), 0..20)) {
        fuzzing::keepalived(&lines.join(&b'\n'));
    }

    #[test]
    fn good_files_gone_wrong_are_safe(
        mut file in prop::sample::select(good_files()),
        edits in vec((any::<prop::sample::Index>(), 0..4u8, line()), 1..5),
    ) {
        for (at, kind, line) in edits {
            let at = at.index(file.len().max(1)).min(file.len());
            match kind {
                0 => file.truncate(at),
                1 => drop(file.drain(at..(at + 7).min(file.len()))),
                2 => drop(file.splice(at..at, line)),
                _ => if let Some(byte) = file.get_mut(at) { *byte ^= 1 << (line.len() % 8) },
            }
        }
        fuzzing::keepalived(&file);
    }
}
