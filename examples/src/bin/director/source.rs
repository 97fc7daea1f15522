//! The file that says what to balance: rules, TOML or a keepalived.conf, read to one and the same thing.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use lvs_admin::config::{self, Loaded};
use lvs_admin::keepalived::{self, Files};

/// A file, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
}

/// What a file can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rules,
    Config,
    Keepalived,
}

/// As on the command line: `--rules FILE`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = match self.kind {
            Kind::Rules => "rules",
            Kind::Config => "config",
            Kind::Keepalived => "keepalived",
        };
        write!(f, "--{option} {}", self.path.display())
    }
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Unreadable(String, String),
    /// It is wrong; the text begins with its name and line.
    #[error("{0}")]
    Wrong(String),
}

impl Source {
    /// Reads it.
    pub(crate) fn read(&self) -> Result<Loaded, SourceError> {
        let name = self.path.display().to_string();
        let bytes =
            read(&name, limit(self.kind)).map_err(|text| SourceError::Unreadable(self.to_string(), text))?;
        match self.kind {
            Kind::Rules => config::from_rules(&name, &bytes)
                .map_err(|error| SourceError::Wrong(error.display(&name).with_excerpt().to_string())),
            Kind::Config => {
                config::toml::read(&name, &bytes).map_err(|error| SourceError::Wrong(error.to_string()))
            }
            Kind::Keepalived => {
                let options = keepalived::Options { config_id: config_id(), ..Default::default() };
                keepalived::read(&name, &mut Disk, &options)
                    .map_err(|error| SourceError::Wrong(error.to_string()))
            }
        }
    }
}

/// More than any sensible file of that kind; the readers have bounds of their own.
const fn limit(kind: Kind) -> usize {
    match kind {
        Kind::Rules => 64 << 20,
        Kind::Config => config::toml::MAX_BYTES,
        Kind::Keepalived => keepalived::MAX_BYTES,
    }
}

/// The first part of the host's name, which keepalived takes for lines that begin with `@`.
fn config_id() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    name.split('.').next().map(ToOwned::to_owned)
}

/// Files where their paths say, seen from the working directory.
struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        read(path, keepalived::MAX_BYTES)
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        let names = entries.map_while(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
        // A folder larger than that is none of configuration files.
        Ok(names.take(1 << 16).collect())
    }
}

/// The bytes of a file, or of a pipe (`--rules /dev/stdin`); refuses what is too long.
fn read(path: &str, most: usize) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let kind = file.metadata().map_err(|error| error.to_string())?.file_type();
    if kind.is_dir() {
        return Err("this is a directory".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("it is longer than {most} bytes"));
    }
    Ok(bytes)
}
