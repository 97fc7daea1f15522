//! The director's own configuration file, in TOML.
//!
//! ```
//! use lvs_admin::config::toml;
//!
//! let loaded = toml::read("lvs.toml", br#"
//! [[interface]]
//! name = "eth0"
//! dips = ["192.168.0.208/24"]
//!
//! [[service]]
//! tcp = "192.168.0.250:80"
//! scheduler = "wrr"
//! check = [{ kind = "http", url = ["/health"], delay_loop = "5s" }]
//! [[service.server]]
//! address = "192.168.0.188"
//! weight = 2
//! "#)?;
//! let text = toml::write(&loaded.configuration);
//! assert_eq!(toml::read("again", text.as_bytes())?.configuration, loaded.configuration);
//!
//! let wrong = toml::read("lvs.toml", b"[[service]]\ntcp = \"192.168.0.250:80\"\nsheduler = \"rr\"").unwrap_err();
//! assert_eq!(
//!     wrong.to_string(),
//!     "lvs.toml:3: service.sheduler: there is no such key; expected `scheduler`, which is the nearest known word",
//! );
//! # Ok::<(), lvs_admin::config::FileError>(())
//! ```
//! Every key with its default is in `docs/configuration.md`. A key that is not known is an error, as is every value that no
//! director would take; nothing of a file with an error is used. Any bytes are safe to read; time and memory are
//! bounded by the size of the file, which is bounded by [`MAX_BYTES`].

mod check;
mod director;
mod service;
mod table;
mod write;

use std::sync::Arc;

use self::table::Reader;
pub use self::write::write;
use super::{Assembly, FileError, Loaded, Place};

/// The largest file, in bytes. 10,000 services of five real servers take about as much. The TOML
/// parser needs many times a file's size in memory, so that more would not be safe.
pub const MAX_BYTES: usize = 4 << 20;

/// Reads a file. `file` is its name, for messages.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(file: &str, bytes: &[u8]) -> Result<Loaded, FileError> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let file: Arc<str> = file.into();
    if bytes.len() > MAX_BYTES {
        return Err(Place::new(&file, 1).error("the file is too long", format!("at most {MAX_BYTES} bytes")));
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Place::new(&file, line).error("a byte is not UTF-8", "text in UTF-8")
    })?;
    let reader = Reader::new(file, text);
    let document = reader.parse()?;
    let top = reader.top(document.get_ref());
    top.known(&["director", "interface", "knobs", "timeouts", "neighbours", "mark_rule", "service"])?;
    let mut assembly = Assembly::default();
    director::read(&top, &mut assembly)?;
    service::read_all(&top, &mut assembly)?;
    director::check_reach(&assembly, &top)?;
    Ok(assembly.loaded)
}

#[cfg(test)]
mod tests;
