//! What is not an error, but makes frames go wrong or slow. Every message names the cure.

use std::fmt;

/// Something about an interface that the people who run a program want to know before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The driver refused the program, which runs behind it now.
    Generic {
        /// The interface.
        interface: String,
        /// What the kernel said.
        reason: String,
    },
    /// The device merges TCP segments (LRO) into frames that do not fit the memory.
    Lro {
        /// The interface.
        interface: String,
    },
    /// The kernel merges segments (GRO) before the program in generic mode sees them; merged frames do not fit the
    /// memory.
    Gro {
        /// The interface.
        interface: String,
    },
    /// The device takes VLAN tags out of the bytes, and AF_XDP does not carry them beside: tagged frames look
    /// untagged. Matters only where VLANs are used.
    VlanOffload {
        /// The interface.
        interface: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generic { interface, reason } => write!(
                f,
                "{interface}: the driver cannot run XDP programs now ({reason}); the program runs in generic \
                 mode, which takes longer for each frame"
            ),
            Self::Lro { interface } => write!(
                f,
                "{interface}: LRO is on, so TCP segments are merged into frames that are too long for AF_XDP \
                 and get lost; turn it off (`ethtool -K {interface} lro off`)"
            ),
            Self::Gro { interface } => write!(
                f,
                "{interface}: GRO is on, and generic XDP sees frames after it: merged segments are too long \
                 for AF_XDP and get lost; turn it off (`ethtool -K {interface} gro off`)"
            ),
            Self::VlanOffload { interface } => write!(
                f,
                "{interface}: the device takes VLAN tags out of frames, and AF_XDP does not carry them beside: \
                 tagged frames would look untagged; turn it off (`ethtool -K {interface} rxvlan off`)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_names_the_interface_and_the_cure() {
        let interface = "eth7".to_owned();
        let table = [
            (Warning::Lro { interface: interface.clone() }, "ethtool -K eth7 lro off"),
            (Warning::Gro { interface: interface.clone() }, "ethtool -K eth7 gro off"),
            (Warning::VlanOffload { interface: interface.clone() }, "ethtool -K eth7 rxvlan off"),
            (Warning::Generic { interface, reason: "no".to_owned() }, "eth7: the driver cannot"),
        ];
        for (warning, expected) in table {
            assert!(warning.to_string().contains(expected), "{warning}");
        }
    }
}
