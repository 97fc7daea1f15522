//! What `start` remembers for `stop`: a small JSON file that outlives neither the boot nor the network namespace that it
//! speaks of. What stands in it is checked like any other input.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::facts::Key;

/// What was started and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) vips: Vec<Started>,
    pub(crate) settings: Vec<Setting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Started {
    pub(crate) vip: IpAddr,
    /// Whether `start` put it on `lo`; otherwise it was there before and stays.
    pub(crate) added: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setting {
    /// `all` or an interface.
    pub(crate) interface: String,
    pub(crate) key: Key,
    /// The value before the first `start`.
    pub(crate) before: i32,
    /// The value that `start` set.
    pub(crate) set: i32,
}

/// The file: a state and what it belongs to.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    boot_id: String,
    /// Namespaces share `/run`, but neither addresses nor settings.
    network_namespace: String,
    #[serde(flatten)]
    state: State,
}

/// Which kernel and which network a state speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) boot_id: String,
    pub(crate) network_namespace: String,
}

/// What was found in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    State(State),
    /// Of an earlier boot: nothing of it is left in this kernel.
    EarlierBoot,
}

/// Where the state is kept.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    place: Place,
}

/// Thousands of VIPs.
const LONGEST: u64 = 1 << 20;

impl Place {
    /// Of this process.
    pub(crate) fn here() -> io::Result<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let namespace = fs::read_link("/proc/self/ns/net")?;
        Ok(Self { boot_id, network_namespace: namespace.display().to_string() })
    }
}

impl StateFile {
    pub(crate) fn new(path: &Path, place: Place) -> Self {
        Self { path: path.to_owned(), place }
    }

    /// Makes the directory if there is none, and keeps other runs out of it while the returned file lives.
    pub(crate) fn lock(&self) -> io::Result<File> {
        let directory = self.directory();
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(|error| name(directory, error))?;
        let file = File::open(directory).map_err(|error| name(directory, error))?;
        file.lock().map_err(|error| name(directory, error))?;
        Ok(file)
    }

    pub(crate) fn load(&self) -> io::Result<Found> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(name(&self.path, error)),
        };
        self.read(file).map_err(|error| name(&self.path, error))
    }

    fn read(&self, file: File) -> io::Result<Found> {
        let mode = file.metadata()?.mode();
        if mode & 0o022 != 0 {
            let mode = mode & 0o7777;
            return Err(invalid(format!(
                "mode {mode:o}: others may write it, so it cannot be trusted; remove it"
            )));
        }
        let mut text = Vec::new();
        file.take(LONGEST + 1).read_to_end(&mut text)?;
        if text.len() as u64 > LONGEST {
            return Err(invalid(format!("longer than {LONGEST} bytes: not a state of this program")));
        }
        let document: Document = serde_json::from_slice(&text)
            .map_err(|error| invalid(format!("not a state of this program ({error}); remove it")))?;
        if document.boot_id != self.place.boot_id {
            return Ok(Found::EarlierBoot);
        }
        let (there, here) = (&document.network_namespace, &self.place.network_namespace);
        if there != here {
            let cure = "use a --state of its own for each network namespace";
            return Err(invalid(format!(
                "of another network namespace ({there}, this one is {here}); {cure}"
            )));
        }
        if let Some(setting) =
            document.state.settings.iter().find(|setting| !is_interface(&setting.interface))
        {
            return Err(invalid(format!(
                "{:?} is no name of an interface; remove the file",
                setting.interface
            )));
        }
        Ok(Found::State(document.state))
    }

    /// Writes the state as a whole, or leaves the file as it was. A state with nothing in it removes the file.
    pub(crate) fn save(&self, state: &State) -> io::Result<()> {
        if state.vips.is_empty() && state.settings.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(name(&self.path, error)),
                _ => Ok(()),
            };
        }
        let document = Document {
            boot_id: self.place.boot_id.clone(),
            network_namespace: self.place.network_namespace.clone(),
            state: state.clone(),
        };
        let text = serde_json::to_string_pretty(&document)? + "\n";
        let mut draft = self.path.clone().into_os_string();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let written = write_new(&draft, text.as_bytes()).and_then(|()| fs::rename(&draft, &self.path));
        if written.is_err() {
            // The draft may not even exist.
            let _ = fs::remove_file(&draft);
        }
        written.map_err(|error| name(&self.path, error))
    }

    fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }
}

/// Readable for `status` of everybody: there is no secret in it.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether a name stays inside its directory under /proc/sys.
fn is_interface(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() < 16 && !name.contains(['/', '\0'])
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn name(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::facts::samples::ip;

    fn here() -> Place {
        Place { boot_id: "b1".into(), network_namespace: "net:[1]".into() }
    }

    fn state() -> State {
        State {
            vips: vec![
                Started { vip: ip("192.168.0.250"), added: true },
                Started { vip: ip("fd00::1"), added: false },
            ],
            settings: vec![Setting { interface: "all".into(), key: Key::ArpIgnore, before: 0, set: 1 }],
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_an_empty_state_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/state.json");
        let file = StateFile::new(&path, here());
        let lock = file.lock().unwrap();
        assert_eq!(file.load().unwrap(), Found::Nothing);
        file.save(&state()).unwrap();
        file.save(&state()).unwrap();
        assert_eq!(file.load().unwrap(), Found::State(state()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        file.save(&State::default()).unwrap();
        file.save(&State::default()).unwrap();
        drop(lock);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_state_of_another_boot_or_network_is_not_put_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        StateFile::new(&path, here()).save(&state()).unwrap();
        let later = Place { boot_id: "b2".into(), ..here() };
        assert_eq!(StateFile::new(&path, later).load().unwrap(), Found::EarlierBoot);
        let elsewhere = Place { network_namespace: "net:[2]".into(), ..here() };
        let error = StateFile::new(&path, elsewhere).load().unwrap_err().to_string();
        assert!(error.contains("another network namespace (net:[1], this one is net:[2])"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_state_is_named_and_never_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let file = StateFile::new(&path, here());
        let write = |text: &str| fs::write(&path, text).unwrap();
        let document = |interface: &str| {
            format!(
                r#"{{"boot_id":"b1","network_namespace":"net:[1]","vips":[],"settings":[{{"interface":"{interface}",
                "key":"arp_ignore","before":0,"set":1}}]}}"#
            )
        };
        write(&document("eth0.5"));
        assert!(matches!(file.load(), Ok(Found::State(_))));
        for (text, expected) in [
            ("", "not a state of this program"),
            ("{}", "missing field"),
            (r#"{"boot_id":"b1","network_namespace":"net:[1]","vips":["x"],"settings":[]}"#, "not a state"),
            (&document("../../kernel"), "is no name of an interface"),
            (&document(".."), "is no name of an interface"),
            (&" ".repeat(LONGEST as usize + 1), "longer than"),
        ] {
            write(text);
            let error = file.load().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("state: "), "{error}");
        }
        write(&document("eth0"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(file.load().unwrap_err().to_string().contains("others may write it"));
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let path = directory.path().join("file/state");
        let error = StateFile::new(&path, here()).lock().unwrap_err().to_string();
        assert!(error.contains("/file: "), "{error}");
    }
}
