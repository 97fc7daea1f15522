//! What the programs in this folder share: the choice of a backend, a clock, what the host's kernel has configured, a seed, the run
//! loop of a director on real interfaces, the words for what happens in it, explained frames, and plain text in columns.

#[cfg(target_os = "linux")]
pub mod backend;
pub mod clock;
pub mod explained;
#[cfg(target_os = "linux")]
pub mod host;
pub mod layout;
pub mod run;
pub mod words;
