//! Why there is nothing to report: each a sentence for the user, with the cure where there is one.

use lvs_core::config::{ApplyError, ConfigError};
#[cfg(target_os = "linux")]
use lvs_examples::backend::XdpError;
#[cfg(target_os = "linux")]
use lvs_io_afpacket::{DeviceError, OpenError};
use lvs_testkit::capture::CaptureError;
#[cfg(target_os = "linux")]
use lvs_testkit::lab::LabError;

use crate::kernels::Refused;

/// It could not run (exit status 2).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Namespaces are not allowed here; the text says what is missing and how to allow it.
    #[error("{0}")]
    Refused(#[from] Refused),
    #[cfg(target_os = "linux")]
    /// The kernel refused a step of building the network.
    #[error("the network could not be built: {0}")]
    Lab(#[from] LabError),
    /// The directory for capture files cannot be made.
    #[error("--pcap {directory}: {source}")]
    Pcap {
        /// As the user gave it.
        directory: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A capture file cannot be written.
    #[error("--pcap {file}: {source}")]
    PcapFile {
        /// Its path.
        file: String,
        /// What went wrong.
        source: CaptureError,
    },
    #[cfg(target_os = "linux")]
    /// The director's interface could not be asked for its addresses.
    #[error("the director could not open its interface: {0}")]
    Device(#[from] DeviceError),
    #[cfg(target_os = "linux")]
    /// The director's interface could not be opened.
    #[error("the director could not open its interface: {0}")]
    Open(#[from] OpenError),
    #[cfg(target_os = "linux")]
    /// The same over AF_XDP.
    #[error("the director could not open its interface: {0}")]
    Xdp(#[from] XdpError),
    /// The director refused its configuration.
    #[error("the director refused its configuration: {0}")]
    Config(#[from] ConfigError),
    /// The director refused its services.
    #[error("the director refused its services: {0}")]
    Apply(#[from] ApplyError),
    #[cfg(target_os = "linux")]
    /// The director ended before it was told to.
    #[error("the director ended: {0}")]
    DirectorEnded(String),
    /// The director was not ready in time.
    #[error("the director was not ready within {seconds} s: {missing}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// What had not happened.
        missing: String,
    },
    #[cfg(target_os = "linux")]
    /// The kernel has no packet filter for ARP, or does not let this user have one.
    #[error(
        "the kernel does not filter ARP, which one of the cures needs ({0}); load its module (modprobe nf_tables), \
         take a kernel with CONFIG_NF_TABLES_ARP, or simulate it with --io sim"
    )]
    NoArpFilter(LabError),
    /// The doctor refused its configuration.
    #[error("the network could not be examined: {0}")]
    Examination(#[from] lvs_doctor::ConfigError),
    #[cfg(target_os = "linux")]
    /// The doctor could not send or hear.
    #[error("the network could not be examined: {0}")]
    Doctor(String),
    #[cfg(target_os = "linux")]
    /// A capture missed frames, so nothing can be said about all of them.
    #[error(
        "the capture at {place} lost {lost} frames; try again on a less busy machine or with fewer --requests"
    )]
    CaptureLost {
        /// Where.
        place: String,
        /// How many.
        lost: u64,
    },
    /// The system refused something that is not of the network.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// SIGINT or SIGTERM came before the end.
    #[error("interrupted by a signal before the end")]
    Interrupted,
    /// A bug of this program.
    #[error("a bug in this program: {0}")]
    Panicked(String),
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
}
