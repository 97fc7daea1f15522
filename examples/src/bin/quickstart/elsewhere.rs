//! In the place of `kernels` where there are no network namespaces: says so.

use std::convert::Infallible;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::options::Options;

/// That there are no namespaces.
#[derive(Debug, thiserror::Error)]
#[error("no network namespaces here: {}. To have them: {}", self.reason(), self.cure())]
pub(crate) struct Refused;

impl Refused {
    /// What is missing.
    pub(crate) const fn reason(&self) -> &'static str {
        "only Linux has them"
    }

    /// What to do about it.
    pub(crate) const fn cure(&self) -> &'static str {
        "run this on Linux, or in a virtual machine or container with it"
    }
}

/// Nothing can be proved here.
pub(crate) type Entered = Infallible;

/// Refuses.
///
/// # Errors
/// Always.
pub(crate) const fn enter() -> Result<Entered, Refused> {
    Err(Refused)
}

/// Cannot be called.
///
/// # Errors
/// None.
pub(crate) fn perform(entered: Entered, _: &Options, _: &Interrupt) -> Result<bool, Failure> {
    match entered {}
}
