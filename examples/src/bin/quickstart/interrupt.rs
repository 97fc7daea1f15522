//! A signal that ends the run early.

#[cfg(target_os = "linux")]
pub(crate) use lvs_testkit::lab::Interrupt;

/// Elsewhere a signal ends the process, as it would without this program's doing: a simulated network leaves nothing behind.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Interrupt;

#[cfg(not(target_os = "linux"))]
impl Interrupt {
    /// Leaves signals as they are.
    ///
    /// # Errors
    /// None.
    pub(crate) fn install() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Whether a signal has come: none that the process is there to see.
    pub(crate) const fn caught(&self) -> bool {
        false
    }
}
