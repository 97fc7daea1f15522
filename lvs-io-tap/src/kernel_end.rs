//! The kernel's end of a TAP device: set up, given an MTU, made a port of a bridge; and put back as it was.

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::os::unix::net::UnixDatagram;

use lvs_netdev::Device;

use crate::error::OpenError;
use crate::sys;

/// What the kernel's end of a device is to be like. Make one with [`default`](Self::default), which only sets it up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct KernelEndConfig {
    /// The bridge that it is to be a port of, so that everybody there can reach the director. Its MTU becomes the device's, as
    /// far as TAP devices can have it (65,521 bytes). Default: none; the host's own stack is at the other end.
    pub bridge: Option<String>,
}

/// The kernel's end of a device as this program has set it up. What was changed is put back when this is dropped, which
/// matters to devices that were there before: others go with their program.
///
/// Needs CAP_NET_ADMIN only for what is not as it should be yet.
#[derive(Debug)]
pub struct KernelEnd {
    name: String,
    /// Asks in the network namespace in which it was set up, wherever it is dropped.
    device: Device,
    /// The device's number: another one of its name is none of ours.
    number: u32,
    socket: UnixDatagram,
    done: Vec<Step>,
}

/// Something that was done to a device. Its text is for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// It has another MTU.
    Mtu {
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// It was made a port of a bridge.
    Joined {
        /// The bridge.
        bridge: String,
    },
    /// It was set up.
    Up,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mtu { from, to } => write!(f, "MTU set to {to} (it was {from})"),
            Self::Joined { bridge } => write!(f, "joined to bridge {bridge}"),
            Self::Up => f.write_str("set up"),
        }
    }
}

impl KernelEnd {
    /// Sets up the device of this name in the calling thread's network namespace.
    ///
    /// # Errors
    /// If there is no such device or bridge, or rights are missing; then all is as before.
    pub fn set_up(name: &str, config: &KernelEndConfig) -> Result<Self, OpenError> {
        let device = Device::find(name)?;
        let socket = UnixDatagram::unbound().map_err(|source| OpenError::Kernel {
            name: name.to_owned(),
            operation: "opening a socket",
            source,
        })?;
        // From here on, an error undoes what was done.
        let number = device.index()?;
        let mut end = Self { name: name.to_owned(), device, number, socket, done: Vec::new() };
        if let Some(bridge) = &config.bridge {
            end.join(bridge)?;
        }
        let flags = end.device.flags()?;
        if flags & libc::IFF_UP == 0 {
            let command = format!("ip link set dev {name} up");
            sys::set_flags(&end.socket, name, flags | libc::IFF_UP)
                .map_err(|error| end.refused("setting it up", command, error))?;
            end.done.push(Step::Up);
        }
        Ok(end)
    }

    fn join(&mut self, bridge: &str) -> Result<(), OpenError> {
        let not_bridge = || OpenError::NotBridge { bridge: bridge.to_owned() };
        let found = Device::find(bridge).map_err(|_| not_bridge())?;
        let number = self.number as c_int;
        let ports = sys::ports(&self.socket, bridge).map_err(|_| not_bridge())?;
        let (from, to) = (self.device.mtu()?, found.mtu()?.min(LONGEST_MTU));
        if from != to {
            let command = format!("ip link set dev {} mtu {to}", self.name);
            sys::set_mtu(&self.socket, &self.name, to as c_int)
                .map_err(|error| self.refused("setting the MTU", command, error))?;
            self.done.push(Step::Mtu { from, to });
        }
        if ports.contains(&number) {
            return Ok(());
        }
        let command = format!("ip link set dev {} master {bridge}", self.name);
        sys::set_port(&self.socket, bridge, number, true).map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY) => OpenError::OtherBridge { name: self.name.clone() },
            Some(libc::EOPNOTSUPP) => not_bridge(),
            _ => self.refused("joining it to a bridge", command, error),
        })?;
        self.done.push(Step::Joined { bridge: bridge.to_owned() });
        Ok(())
    }

    /// What was changed, in order; nothing if all was as it should be.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.done
    }

    /// Puts everything back as it was, the last change first, and answers what was put back. A device that is gone has nothing
    /// to put back.
    pub fn undo(mut self) -> Vec<Step> {
        self.put_back()
    }

    fn put_back(&mut self) -> Vec<Step> {
        let mut undone = Vec::new();
        if self.device.index().ok() != Some(self.number) {
            return undone;
        }
        while let Some(step) = self.done.pop() {
            let result = match &step {
                Step::Up => self.device.flags().is_ok_and(|flags| {
                    sys::set_flags(&self.socket, &self.name, flags & !libc::IFF_UP).is_ok()
                }),
                Step::Joined { bridge } => {
                    sys::set_port(&self.socket, bridge, self.number as c_int, false).is_ok()
                }
                Step::Mtu { from, .. } => sys::set_mtu(&self.socket, &self.name, *from as c_int).is_ok(),
            };
            // Somebody else has changed it meanwhile, or the rights are gone: not ours to insist on.
            if result {
                undone.push(step);
            }
        }
        undone
    }

    fn refused(&self, operation: &'static str, command: String, source: io::Error) -> OpenError {
        let name = self.name.clone();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::SetUp { name, operation, command },
            _ => OpenError::Kernel { name, operation, source },
        }
    }
}

impl Drop for KernelEnd {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// The longest packet of a TAP device: a frame has 65,535 bytes at most.
const LONGEST_MTU: u32 = 65_535 - 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_say_what_was_done() {
        let said = [
            Step::Mtu { from: 1500, to: 1450 }.to_string(),
            Step::Joined { bridge: "br0".to_owned() }.to_string(),
            Step::Up.to_string(),
        ];
        assert_eq!(said, ["MTU set to 1450 (it was 1500)", "joined to bridge br0", "set up"]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = KernelEnd::set_up("no-such-tap", &KernelEndConfig::default()).unwrap_err();
        assert!(error.to_string().contains("no-such-tap"), "{error}");
        let config = KernelEndConfig { bridge: Some("no-such-br".to_owned()) };
        let error = KernelEnd::set_up("lo", &config).unwrap_err();
        assert!(matches!(&error, OpenError::NotBridge { bridge } if bridge == "no-such-br"), "{error:?}");
    }
}
