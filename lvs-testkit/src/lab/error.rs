//! What goes wrong in a lab, in a sentence that says where.

use std::fmt;
use std::io;

/// A step of building or using a lab failed.
#[derive(Debug)]
pub struct LabError {
    what: String,
    source: io::Error,
}

impl LabError {
    pub(super) fn new(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { what: what.into(), source: source.into() }
    }

    /// What the system said.
    #[must_use]
    pub const fn io(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Says what was being done when an I/O call failed.
pub(super) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|error| LabError::new(what(), error))
    }
}
