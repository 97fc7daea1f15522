//! An interface by its name, and what can be asked about it.

use std::io;
use std::os::unix::net::UnixDatagram;

use lvs_core::MacAddr;

use crate::error::DeviceError;
use crate::name::{LONGEST_NAME, is_possible};
use crate::sys;

/// Something that is asked about an interface by its name, each time anew: when the interface is deleted and another of the
/// same name is made, the answers are about that one.
///
/// Answers come from the network namespace of the thread that made this, wherever it is used later.
#[derive(Debug)]
pub struct Device {
    name: String,
    /// Interface requests work on any socket; one of this kind needs no rights.
    socket: UnixDatagram,
}

/// How many queues an interface has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// That receive, now; at least 1.
    pub used: u32,
    /// That send, now; at least 1. Where both kinds are the same queues, this is the same number.
    pub sending: u32,
    /// The most of both kinds that the driver can be set to (`ethtool -L`).
    pub most: u32,
    /// Whether a queue receives and sends, as with most cards (`ethtool -L IF combined N`), or there are queues of either kind
    /// (`rx N tx N`, as with veth).
    pub combined: bool,
}

/// What becomes of received frames before a program sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiveOffloads {
    /// The device merges TCP segments (`ethtool -K IF lro`).
    pub lro: bool,
    /// The kernel merges segments (`gro`).
    pub gro: bool,
    /// The device takes VLAN tags out of the bytes (`rxvlan`).
    pub vlan: bool,
}

impl Device {
    /// The interface of this name.
    ///
    /// # Errors
    /// If there is none, or there cannot be one.
    pub fn find(name: &str) -> Result<Self, DeviceError> {
        if name.len() > LONGEST_NAME {
            return Err(DeviceError::NameTooLong { name: name.to_owned() });
        }
        if !is_possible(name) {
            return Err(no_such_interface(name));
        }
        let socket = UnixDatagram::unbound().map_err(|source| DeviceError::Kernel {
            name: name.to_owned(),
            operation: "opening a socket",
            source,
        })?;
        let device = Self { name: name.to_owned(), socket };
        device.index()?;
        Ok(device)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's number in the kernel.
    ///
    /// # Errors
    /// If there is no such interface any more.
    pub fn index(&self) -> Result<u32, DeviceError> {
        sys::index(&self.socket, &self.name).map_err(|source| self.refused(source))
    }

    /// The Ethernet address.
    ///
    /// # Errors
    /// If there is no such interface any more, or it is not an Ethernet interface.
    pub fn mac(&self) -> Result<MacAddr, DeviceError> {
        let address =
            sys::hardware_address(&self.socket, &self.name).map_err(|source| self.refused(source))?;
        if address.kind != libc::ARPHRD_ETHER {
            return Err(DeviceError::NotEthernet { name: self.name.clone(), hardware_type: address.kind });
        }
        Ok(MacAddr(address.bytes))
    }

    /// The longest IP packet that the interface sends, in bytes.
    ///
    /// # Errors
    /// If there is no such interface any more.
    pub fn mtu(&self) -> Result<u32, DeviceError> {
        sys::mtu(&self.socket, &self.name).map_err(|source| self.refused(source))
    }

    /// The flags, `IFF_*` of netdevice(7).
    ///
    /// # Errors
    /// If there is no such interface any more.
    pub fn flags(&self) -> Result<i32, DeviceError> {
        sys::flags(&self.socket, &self.name).map_err(|source| self.refused(source))
    }

    /// Whether frames can come and go: the interface is there, set up, and has a carrier.
    #[must_use]
    pub fn is_running(&self) -> bool {
        const RUNNING: libc::c_int = libc::IFF_UP | libc::IFF_RUNNING;
        sys::flags(&self.socket, &self.name).is_ok_and(|flags| flags & RUNNING == RUNNING)
    }

    /// The queues of the interface; `None` if its driver does not say, as those with one do.
    ///
    /// # Errors
    /// If there is no such interface any more, or the kernel refuses.
    pub fn queues(&self) -> Result<Option<Queues>, DeviceError> {
        match sys::channels(&self.socket, &self.name) {
            Ok(channels) => Ok(Some(Queues::of(channels))),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
            Err(source) => match source.raw_os_error() {
                Some(libc::ENODEV | libc::ENXIO) => Err(no_such_interface(&self.name)),
                _ => Err(DeviceError::Kernel {
                    name: self.name.clone(),
                    operation: "asking for the number of queues",
                    source,
                }),
            },
        }
    }

    /// What becomes of received frames; what a driver does not say is off.
    #[must_use]
    pub fn receive_offloads(&self) -> ReceiveOffloads {
        const RECEIVE_VLAN: u32 = 1 << 8;
        const LRO: u32 = 1 << 15;
        let flags = sys::offload_flags(&self.socket, &self.name).unwrap_or(0);
        ReceiveOffloads {
            lro: flags & LRO != 0,
            gro: sys::gro(&self.socket, &self.name).unwrap_or(false),
            vlan: flags & RECEIVE_VLAN != 0,
        }
    }

    fn refused(&self, source: io::Error) -> DeviceError {
        lookup_failed(&self.name, source)
    }
}

impl Queues {
    fn of(channels: sys::Channels) -> Self {
        let sys::Channels { receive, most_receive, send, most_send, combined, most_combined } = channels;
        Self {
            used: receive.saturating_add(combined).max(1),
            sending: send.saturating_add(combined).max(1),
            most: most_receive.min(most_send).max(most_combined).max(1),
            combined: most_combined > 0,
        }
    }
}

/// The Ethernet address of an interface in the calling thread's network namespace.
///
/// # Errors
/// If there is no such interface, or it is not an Ethernet interface.
pub fn interface_mac(name: &str) -> Result<MacAddr, DeviceError> {
    Device::find(name)?.mac()
}

/// The longest IP packet that an interface in the calling thread's network namespace sends, in bytes.
///
/// # Errors
/// If there is no such interface.
pub fn interface_mtu(name: &str) -> Result<u32, DeviceError> {
    Device::find(name)?.mtu()
}

/// The names of all interfaces in the calling thread's network namespace, in the kernel's order; empty if the kernel does not
/// tell.
#[must_use]
pub fn interface_names() -> Vec<String> {
    sys::interface_names().unwrap_or_default()
}

/// The error for something asked about an interface by name, or done to it, that the kernel refused with `source`.
#[must_use]
pub fn lookup_failed(name: &str, source: io::Error) -> DeviceError {
    match source.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => no_such_interface(name),
        _ => DeviceError::Kernel { name: name.to_owned(), operation: "asking about the interface", source },
    }
}

fn no_such_interface(name: &str) -> DeviceError {
    DeviceError::NoSuchInterface { name: name.to_owned(), available: interface_names() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused_before_the_kernel_sees_them() {
        assert!(matches!(interface_mac("sixteen-bytes-xx"), Err(DeviceError::NameTooLong { .. })));
        assert!(matches!(interface_mtu("sixteen-bytes-xx"), Err(DeviceError::NameTooLong { .. })));
        for name in ["", "a\0b", "lo:1", "no-such-if"] {
            let Err(error) = interface_mtu(name) else { panic!("{name:?} was found") };
            let DeviceError::NoSuchInterface { available, .. } = &error else { panic!("{error:?}") };
            assert!(available.iter().any(|name| name == "lo"), "{available:?}");
            assert!(error.to_string().contains("lo"), "{error}");
        }
    }

    #[test]
    fn loopback_is_not_ethernet() {
        let error = interface_mac("lo").unwrap_err();
        assert!(matches!(error, DeviceError::NotEthernet { hardware_type: 772, .. }), "{error:?}");
        assert!(interface_mtu("lo").unwrap() >= 1500);
        assert_eq!(Device::find("lo").unwrap().index().unwrap(), 1);
    }

    #[test]
    fn queues_are_those_that_receive_alone_or_combined() {
        let of = |[receive, most_receive]: [u32; 2],
                  [send, most_send]: [u32; 2],
                  [combined, most_combined]: [u32; 2]| {
            Queues::of(sys::Channels { receive, most_receive, send, most_send, combined, most_combined })
        };
        let queues = |used, sending, most, combined| Queues { used, sending, most, combined };
        assert_eq!(of([2, 4], [1, 3], [0, 0]), queues(2, 1, 3, false));
        assert_eq!(of([0, 0], [0, 0], [3, 16]), queues(3, 3, 16, true));
        assert_eq!(of([1, 8], [0, 8], [3, 8]), queues(4, 3, 8, true));
        assert_eq!(of([0, 0], [0, 0], [0, 0]), queues(1, 1, 1, false));
        assert_eq!(of([u32::MAX, 1], [0, 1], [u32::MAX, 1]).used, u32::MAX);
    }
}
