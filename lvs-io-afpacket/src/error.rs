//! Why packet sockets cannot be opened or cannot go on. Every message names what is at fault and the cure.

use std::io;

use lvs_netdev::DeviceError;

/// Why an interface could not be opened or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// `interfaces` is empty.
    #[error("interfaces: there is none; name at least one")]
    NoInterface,
    /// More interfaces than there are port numbers.
    #[error("interfaces: {0} are more than the 65535 that can be numbered")]
    TooManyInterfaces(usize),
    /// An interface is named twice.
    #[error("interfaces: {0} is named twice; every frame would come in twice")]
    DuplicateInterface(String),
    /// There is no such interface, or it is of another kind.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The program may not open packet sockets.
    #[error(
        "opening a packet socket needs CAP_NET_RAW in the network namespace: run as root, or give the \
         program the right with `setcap cap_net_raw+ep PROGRAM`, or run it in a user and network namespace \
         of its own (`unshare --user --map-root-user --net`)"
    )]
    MissingRights,
    /// `ring_bytes` is out of range.
    #[error("ring_bytes: {0} is out of range; allowed are 1 MiB (1048576) to 1 GiB (1073741824)")]
    RingBytes(usize),
    /// The kernel has no memory for the receive ring, or does not know its kind.
    #[error(
        "{name}: the kernel refused a receive ring of {bytes} bytes ({source}); choose a smaller ring_bytes"
    )]
    Ring {
        /// The interface.
        name: String,
        /// The size asked for.
        bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused an option of the socket.
    #[error("{name}: the kernel refused {option} ({source}); {cure}")]
    Option {
        /// The interface.
        name: String,
        /// The option's name in packet(7) or socket(7).
        option: &'static str,
        /// What to do about it.
        cure: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else that the kernel refused.
    #[error("{name}: {operation} failed ({source})")]
    Kernel {
        /// The interface.
        name: String,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why an open [`PacketIo`](crate::PacketIo) cannot go on.
///
/// Lost frames, links that are down and interfaces that were deleted are not errors; see
/// [`PacketIo`](crate::PacketIo).
#[derive(Debug, thiserror::Error)]
#[error("{}: {operation} failed ({source})", interface.as_deref().unwrap_or("all interfaces"))]
pub struct IoError {
    interface: Option<String>,
    operation: &'static str,
    source: io::Error,
}

impl IoError {
    pub(crate) fn new(interface: Option<&str>, operation: &'static str, source: io::Error) -> Self {
        Self { interface: interface.map(str::to_owned), operation, source }
    }
}
