//! What operators of an lvs director touch: the ipvsadm rules grammar and listings.
//!
//! - [`rules`] reads the files that `ipvsadm -R` reads, into [`Change`](lvs_core::config::Change)s;
//! - [`model`] follows a sequence of changes without a director;
//! - [`save`](mod@save) writes a configuration as rules, completely or as `ipvsadm -S -n`;
//! - [`listing`] prints services and connections as `ipvsadm -L -n`, [`proc`] as the kernel in `/proc/net`;
//! - [`explain`] says why a director did with a frame what it did;
//! - [`knobs`] sets knobs by the kernel's names;
//! - [`config`] is one configuration for whatever file it came from, its TOML file, and the difference of two;
//! - [`keepalived`] reads keepalived.conf;
//! - [`json`] has services, connections and counters as JSON, [`control`] the socket by which a running director is edited.
//!
//! - `metrics` (a feature) shows everything that can be seen of a director, over HTTP.
//!
//! But for the control socket and the metrics server it does no I/O and opens no files: bytes and plain values in, text out. Host and port names are not
//! looked up.
//!
//! ```
//! use lvs_admin::{listing, model::Model, rules, save};
//!
//! let file = b"\
//! ## the shop
//! -A -t 192.168.0.250:80 -s wrr
//! -a -t 192.168.0.250:80 -r 192.168.0.188
//! -a -t 192.168.0.250:80 -r 192.168.0.111:8080 -w 2
//! ";
//! let mut model = Model::new();
//! let rules = rules::load_onto(file, &mut model)?;
//! assert_eq!(rules.len(), 3); // `rule.change` of each is what `Director::apply` takes
//! for warning in rules.iter().filter_map(|rule| rule.warning) {
//!     eprintln!("{}", warning.display("rules.ipvs")); // port 8080 becomes 80
//! }
//!
//! let mut saved = String::new();
//! save::model(&mut saved, &model)?;
//! assert_eq!(saved, "\
//! --set 900 120 300
//! -A -t 192.168.0.250:80 -s wrr
//! -a -t 192.168.0.250:80 -r 192.168.0.188:80 -g -w 1
//! -a -t 192.168.0.250:80 -r 192.168.0.111:80 -g -w 2
//! ");
//!
//! let wrong = rules::load(b"-A -t 192.168.0.250:80 -s rr\n-a -t 192.168.0.250:81 -r 192.168.0.188").unwrap_err();
//! assert_eq!(
//!     wrong.display("rules.ipvs").to_string(),
//!     "rules.ipvs:2: Service not defined: TCP 192.168.0.250:81; \
//!      expected an -A for this service on an earlier line",
//! );
//!
//! let mut text = String::new();
//! listing::services(&mut text, &[], 1_048_576, listing::Style::default())?;
//! assert!(text.starts_with("IP Virtual Server version 1.2.1 (size=1048576)\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod collation;
pub mod config;
#[cfg(target_os = "linux")]
pub mod control;
pub mod explain;
mod flags;
pub mod json;
pub mod keepalived;
pub mod knobs;
pub mod listing;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod model;
pub mod proc;
pub mod rules;
pub mod save;

pub use save::save;

/// The examples in the crate's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
