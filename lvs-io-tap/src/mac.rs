//! An Ethernet address for the program's end of a TAP device.
//!
//! A TAP device is a cable with two ends. The kernel's end is the interface that `ip link` shows, with an address that belongs to
//! the host: a bridge takes frames to it for the host's own. So the program at the other end needs another one. It should be the
//! same after a restart, or everybody around would have to learn it anew.

use std::fs;

use lvs_core::addr::MacAddr;

/// An address for the program's end of the device of this name: locally administered, unicast, and always the same on this
/// host. Two hosts, or two containers on one, have different ones, as far as their machine ids or names differ.
#[must_use]
pub fn stable_mac(device: &str) -> MacAddr {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    derive([&read("/etc/machine-id"), &read("/proc/sys/kernel/hostname"), device])
}

/// The 64-bit FNV-1a hash of the texts: no secret, and the same in every version of this crate.
fn derive(texts: [&str; 3]) -> MacAddr {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for text in texts {
        // What ends a text is in none.
        for byte in text.trim().bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
    // Locally administered (2), not a group (1).
    MacAddr([a & 0xfc | 0x02, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_unicast_local_and_differ() {
        let mut seen = Vec::new();
        for machine in ["3d12", "3d13"] {
            for host in ["a", "b\n"] {
                for device in 0..100 {
                    let mac = derive([machine, host, &format!("tap{device}")]);
                    assert!(mac.is_unicast() && mac.0[0] & 2 != 0, "{mac}");
                    assert!(!seen.contains(&mac), "{mac}");
                    seen.push(mac);
                }
            }
        }
    }

    #[test]
    fn an_address_stays_what_it_is() {
        // Whoever changes this number makes every director a stranger to its neighbours.
        assert_eq!(derive(["3d1219c7\n", "vm\n", "tap0"]), derive(["3d1219c7", "vm", "tap0"]));
        assert_eq!(derive(["3d1219c7", "vm", "tap0"]).to_string(), "7e:2d:db:e7:c6:63");
        assert_ne!(derive(["a", "b", "c"]), derive(["ab", "", "c"]));
        assert_eq!(stable_mac("tap0"), stable_mac("tap0"));
    }
}
