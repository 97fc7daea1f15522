//! What other programs ask about interfaces before they open them: names, Ethernet addresses, MTUs.
//!
//! Answers are for the network namespace of the calling thread. Nothing is changed.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use lvs_core::MacAddr;

use crate::error::OpenError;
use crate::sys::device;

/// The Ethernet address of an interface.
///
/// # Errors
/// If there is no such interface, or it is not an Ethernet interface.
pub fn interface_mac(name: &str) -> Result<MacAddr, OpenError> {
    ethernet_address(&any_socket(name)?, name)
}

/// The longest IP packet that an interface sends, in bytes.
///
/// # Errors
/// If there is no such interface.
pub fn interface_mtu(name: &str) -> Result<u32, OpenError> {
    check_name(name)?;
    device::mtu(&any_socket(name)?, name).map_err(|source| lookup_failed(name, source))
}

/// The Ethernet address of an interface, asked through `socket`.
pub(crate) fn ethernet_address(socket: &impl AsRawFd, name: &str) -> Result<MacAddr, OpenError> {
    check_name(name)?;
    let address = device::hardware_address(socket, name).map_err(|source| lookup_failed(name, source))?;
    if address.kind != libc::ARPHRD_ETHER {
        return Err(OpenError::NotEthernet { name: name.to_owned(), hardware_type: address.kind });
    }
    Ok(MacAddr(address.bytes))
}

/// Interface requests work on any socket; one of this kind needs no rights.
pub(crate) fn any_socket(name: &str) -> Result<UnixDatagram, OpenError> {
    UnixDatagram::unbound().map_err(|source| OpenError::Kernel {
        name: name.to_owned(),
        operation: "opening a socket",
        source,
    })
}

/// The error for an interface that the kernel did not find.
pub(crate) fn lookup_failed(name: &str, source: io::Error) -> OpenError {
    match source.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => no_such_interface(name),
        _ => OpenError::Kernel { name: name.to_owned(), operation: "asking about the interface", source },
    }
}

/// Names go to the kernel in fields of 16 bytes with a terminator: what does not fit must not get there.
fn check_name(name: &str) -> Result<(), OpenError> {
    if name.len() >= libc::IFNAMSIZ {
        return Err(OpenError::NameTooLong { name: name.to_owned() });
    }
    if name.is_empty() || name.contains('\0') {
        return Err(no_such_interface(name));
    }
    Ok(())
}

fn no_such_interface(name: &str) -> OpenError {
    let available = device::interface_names().unwrap_or_default();
    OpenError::NoSuchInterface { name: name.to_owned(), available }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused_before_the_kernel_sees_them() {
        assert!(matches!(interface_mac("sixteen-bytes-xx"), Err(OpenError::NameTooLong { .. })));
        assert!(matches!(interface_mtu("sixteen-bytes-xx"), Err(OpenError::NameTooLong { .. })));
        for name in ["", "a\0b", "no-such-if"] {
            let Err(error) = interface_mtu(name) else { panic!("{name:?} was found") };
            let OpenError::NoSuchInterface { available, .. } = &error else { panic!("{error:?}") };
            assert!(available.iter().any(|name| name == "lo"), "{available:?}");
            assert!(error.to_string().contains("lo"), "{error}");
        }
    }

    #[test]
    fn loopback_is_not_ethernet() {
        let error = interface_mac("lo").unwrap_err();
        assert!(matches!(error, OpenError::NotEthernet { hardware_type: 772, .. }), "{error:?}");
        assert!(interface_mtu("lo").unwrap() >= 1500);
    }
}
