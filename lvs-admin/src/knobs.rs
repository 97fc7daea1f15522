//! Knobs by name, as operators write them: `NAME=VALUE` with the kernel's names of `net.ipv4.vs`.

use lvs_core::config::{Knobs, OnMiss};

/// A knob that can be set, with what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnobHelp {
    /// Its name.
    pub name: &'static str,
    /// What values it takes.
    pub takes: &'static str,
}

/// Every knob that can be set. The last ones are the director's own; the kernel has none like them.
pub const KNOBS: &[KnobHelp] = &[
    KnobHelp { name: "conn_reuse_mode", takes: "a number from 0 to 3" },
    KnobHelp { name: "expire_nodest_conn", takes: "0 or 1" },
    KnobHelp { name: "sloppy_tcp", takes: "0 or 1" },
    KnobHelp { name: "on_miss", takes: "refuse or hash" },
    KnobHelp { name: "decrement_ttl", takes: "0 or 1" },
    KnobHelp { name: "answers_per_second", takes: "a number from 0 to 1000000" },
];

/// Names of `net.ipv4.vs` that this director does not have (yet).
const OF_THE_KERNEL: &[&str] = &[
    "am_droprate",
    "amemthresh",
    "backup_only",
    "cache_bypass",
    "conntrack",
    "debug_level",
    "drop_entry",
    "drop_packet",
    "est_cpulist",
    "est_nice",
    "expire_quiescent_template",
    "ignore_tunneled",
    "lblc_expiration",
    "lblcr_expiration",
    "nat_icmp_send",
    "pmtu_disc",
    "run_estimation",
    "schedule_icmp",
    "secure_tcp",
    "sloppy_sctp",
    "snat_reroute",
    "sync_persist_mode",
    "sync_ports",
    "sync_qlen_max",
    "sync_refresh_period",
    "sync_retries",
    "sync_sock_size",
    "sync_threshold",
    "sync_version",
];

/// Why a knob cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KnobError {
    /// There is no `=`.
    #[error("{0:?}: expected NAME=VALUE, as in conn_reuse_mode=1")]
    NoValue(String),
    /// Nobody knows the name.
    #[error("there is no knob {name:?}; there are: {}", names())]
    Unknown {
        /// The name.
        name: String,
    },
    /// The kernel has it, this director does not.
    #[error("{name} is not supported yet; supported are: {}", names())]
    NotYet {
        /// The name.
        name: String,
    },
    /// The value is not one it takes.
    #[error("{name}={value}: it takes {takes}")]
    BadValue {
        /// The name.
        name: &'static str,
        /// The value.
        value: String,
        /// What it takes.
        takes: &'static str,
    },
}

fn names() -> String {
    let names: Vec<_> = KNOBS.iter().map(|knob| knob.name).collect();
    names.join(", ")
}

/// Sets a knob from text like `conn_reuse_mode=2`. A leading `net.ipv4.vs.` is allowed.
///
/// # Errors
/// If there is no such knob or it does not take that value; `knobs` is then as before.
pub fn set(knobs: &mut Knobs, assignment: &str) -> Result<(), KnobError> {
    let (name, value) =
        assignment.split_once('=').ok_or_else(|| KnobError::NoValue(assignment.to_owned()))?;
    let (name, value) = (name.trim(), value.trim());
    let name = name.strip_prefix("net.ipv4.vs.").unwrap_or(name);
    let Some(help) = KNOBS.iter().find(|knob| knob.name == name) else {
        let name = name.to_owned();
        let known = OF_THE_KERNEL.contains(&name.as_str());
        return Err(if known { KnobError::NotYet { name } } else { KnobError::Unknown { name } });
    };
    let bad = || KnobError::BadValue { name: help.name, value: value.to_owned(), takes: help.takes };
    let switch = || match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(bad()),
    };
    let number = |most: u32| value.parse().ok().filter(|n| *n <= most).ok_or_else(bad);
    match name {
        "conn_reuse_mode" => knobs.conn_reuse_mode = number(3)? as u8,
        "expire_nodest_conn" => knobs.expire_nodest_conn = switch()?,
        "sloppy_tcp" => knobs.sloppy_tcp = switch()?,
        "decrement_ttl" => knobs.decrement_ttl = switch()?,
        "answers_per_second" => knobs.answers_per_second = number(1_000_000)?,
        _ => {
            knobs.on_miss = match value {
                "refuse" => OnMiss::Refuse,
                "hash" => OnMiss::Hash,
                _ => return Err(bad()),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_can_be_set_and_says_what_it_takes() {
        let good = ["2", "1", "1", "hash", "1", "17"];
        let mut knobs = Knobs::default();
        for (help, value) in KNOBS.iter().zip(good) {
            let before = knobs;
            set(&mut knobs, &format!("net.ipv4.vs.{}={value}", help.name)).unwrap();
            assert_ne!(knobs, before, "{}", help.name);
            let error = set(&mut knobs, &format!("{}=x", help.name)).unwrap_err();
            assert!(error.to_string().contains(help.takes), "{error}");
        }
        let all = Knobs {
            conn_reuse_mode: 2,
            expire_nodest_conn: true,
            sloppy_tcp: true,
            on_miss: OnMiss::Hash,
            decrement_ttl: true,
            answers_per_second: 17,
        };
        assert_eq!(knobs, all);
    }

    #[test]
    fn tells_unknown_from_not_yet() {
        let mut knobs = Knobs::default();
        assert!(matches!(set(&mut knobs, "secure_tcp=1"), Err(KnobError::NotYet { .. })));
        assert!(matches!(set(&mut knobs, "secure=1"), Err(KnobError::Unknown { .. })));
        assert!(matches!(set(&mut knobs, "sloppy_tcp"), Err(KnobError::NoValue(_))));
        assert!(set(&mut knobs, "conn_reuse_mode=4").is_err());
        assert_eq!(knobs, Knobs::default());
    }
}
