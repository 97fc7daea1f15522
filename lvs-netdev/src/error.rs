//! Why an interface cannot be asked. Every message names what is at fault.

use std::io;

/// Why nothing can be said about an interface.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No interface has this name.
    #[error("there is no interface {name:?} in this network namespace; there are: {}", available.join(", "))]
    NoSuchInterface {
        /// The name asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// The name is longer than the kernel allows.
    #[error("the interface name {name:?} has {} bytes; the kernel allows 15", name.len())]
    NameTooLong {
        /// The name asked for.
        name: String,
    },
    /// No interface can have this name.
    #[error(
        "the interface name {name:?} is none that the kernel allows: names are not empty, not \".\" or \"..\", and \
         without '/', ':' and white space"
    )]
    ImpossibleName {
        /// The name asked for.
        name: String,
    },
    /// The interface does not carry Ethernet frames.
    #[error(
        "{name} does not carry Ethernet frames (ARPHRD type {hardware_type}, Ethernet is 1); choose an \
         Ethernet interface: a network card, veth, bridge, bond, macvlan or TAP"
    )]
    NotEthernet {
        /// The interface.
        name: String,
        /// Its ARPHRD number.
        hardware_type: u16,
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
