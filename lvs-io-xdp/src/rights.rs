//! Which of the rights that AF_XDP needs this process lacks, when the kernel has said no.

use std::fs;

use crate::error::OpenError;

/// Names and numbers (include/uapi/linux/capability.h).
const NEEDED: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13), ("CAP_BPF", 39)];
/// Stands in for CAP_BPF, as it did before Linux 5.8.
const CAP_SYS_ADMIN: u32 = 21;

/// The error that says what is missing.
pub(crate) fn missing() -> OpenError {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    OpenError::MissingRights { missing: missing_in(&status), user_namespace: is_user_namespace(&map) }
}

fn missing_in(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()) else {
        return Vec::new();
    };
    let has = |number: u32| effective & (1 << number) != 0;
    let suffices = |name, number| has(number) || name == "CAP_BPF" && has(CAP_SYS_ADMIN);
    NEEDED.iter().filter(|(name, number)| !suffices(*name, *number)).map(|(name, _)| *name).collect()
}

/// The initial user namespace maps all numbers to themselves; others map less.
fn is_user_namespace(map: &str) -> bool {
    let numbers: Vec<&str> = map.split_whitespace().collect();
    !numbers.is_empty() && numbers != ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_from_the_status_of_the_thread() {
        let status = |bits: u64| format!("Name:\tx\nCapEff:\t{bits:016x}\nCapBnd:\t0\n");
        assert_eq!(missing_in(&status(u64::MAX)), [""; 0]);
        assert_eq!(missing_in(&status(0)), ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"]);
        assert_eq!(missing_in(&status(1 << 12 | 1 << 39)), ["CAP_NET_RAW"]);
        assert_eq!(missing_in(&status(1 << 12 | 1 << 13 | 1 << 21)), [""; 0]);
        assert_eq!(missing_in("nothing"), [""; 0]);
    }

    #[test]
    fn user_namespaces_are_known_by_their_map() {
        assert!(!is_user_namespace("         0          0 4294967295\n"));
        assert!(is_user_namespace("         0       1000          1\n"));
        assert!(!is_user_namespace(""), "a kernel without user namespaces");
    }
}
