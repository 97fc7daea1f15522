//! keepalived.conf: the part of it that is about virtual servers.
//!
//! ```text
//!  files ─► lines ─────────────────────► words, braces ─► blocks ─► Configuration, notices
//!           comments, @conditions,       split.rs         tree.rs   global.rs, group.rs, service.rs, check.rs,
//!           $DEFINITIONS, include                                   with words.rs (what is known) and value.rs
//!           source.rs, files.rs
//! ```
//! Old words (`lb_algo`, `lb_kind`, `nb_get_retry`) and defaults are keepalived's. What keepalived knows and this director does
//! not do (VRRP, notification, mail, SNMP, some checks) is left out with a [`Notice`](crate::config::Notice). Where leaving it
//! out would make the director do something else than the file says, it is an error: above all a virtual server that is not
//! `lvs_method DR`. keepalived's own default is NAT, so a file that says nothing is refused too: its real servers do not hold
//! the VIP, and would refuse every client. Words that keepalived does not know are errors. Nothing of a file with an error is
//! used.
//!
//! The parser opens no files: it asks [`Files`]. Any bytes are safe to read; how much of everything there may be is in the
//! constants here, and what comes out is bounded by [`Options::capacities`].
//!
//! ```
//! use std::collections::BTreeMap;
//! use lvs_admin::keepalived;
//!
//! let mut files = BTreeMap::from([("k.conf".to_owned(), b"\
//! virtual_server 192.168.0.250 80 {
//!     lb_algo wrr
//!     lb_kind DR
//!     real_server 192.168.0.188 80 {
//!         weight 2
//!         notify_down /bin/false
//!         TCP_CHECK { }
//!     }
//! }".to_vec())]);
//! let loaded = keepalived::read("k.conf", &mut files, &keepalived::Options::default())?;
//! assert_eq!(loaded.configuration.services[0].servers[0].config.weight, 2);
//! assert!(loaded.notices[0].to_string().starts_with("k.conf:6: notify_down: "));
//! # Ok::<(), lvs_admin::config::FileError>(())
//! ```

mod check;
mod files;
mod global;
mod group;
mod service;
mod settings;
mod source;
mod split;
mod tree;
mod value;
mod words;

use std::sync::Arc;

pub use self::files::Files;
use self::source::Source;
use crate::config::{Assembly, Capacities, FileError, Loaded, Place};

/// The most bytes of all files together.
pub const MAX_BYTES: usize = 8 << 20;
/// The most bytes of all lines, after definitions were replaced.
pub const MAX_EXPANDED_BYTES: usize = 16 << 20;
/// The most files.
pub const MAX_FILES: usize = 1024;
/// How many files or definitions may be inside each other.
pub const MAX_DEPTH: usize = 16;
/// How many blocks may be inside each other.
pub const MAX_BLOCK_DEPTH: usize = 16;
/// The longest line in bytes, after definitions were replaced.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// The most lines, after definitions were replaced.
pub const MAX_LINES: usize = 1 << 19;
/// The most definitions.
pub const MAX_DEFINITIONS: usize = 4096;
/// The most parameters that are replaced by their definitions.
pub const MAX_SUBSTITUTIONS: usize = 1 << 16;

/// What a file does not say about itself.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which lines `@ID ...` count; in keepalived the option `-i` or the first part of the host's name. Default none of them.
    pub config_id: Option<String>,
    /// The room there is. More services and real servers are an error with the line that is too much.
    pub capacities: Capacities,
}

/// Reads a file and those that it includes.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(path: &str, files: &mut dyn Files, options: &Options) -> Result<Loaded, FileError> {
    let name: Arc<str> = path.into();
    let mut source = Source::new(files, options);
    source.file(path, &Place::new(&name, 1))?;
    let Source { lines, notices, .. } = source;
    let nodes = tree::build(lines)?;
    let mut assembly = Assembly::default();
    assembly.loaded.notices = notices;
    assembly.loaded.configuration.capacities = options.capacities;
    global::read(&nodes, &mut assembly)?;
    assembly.loaded.notices.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(assembly.loaded)
}
