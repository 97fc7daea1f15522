//! Knobs by name, as operators write them: `NAME=VALUE` with the kernel's names of `net.ipv4.vs`.

use std::fmt;

use lvs_core::config::{Knobs, OnMiss};

/// A knob that can be set, with what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnobHelp {
    /// Its name.
    pub name: &'static str,
    /// What values it takes.
    pub takes: &'static str,
}

const SWITCH: &str = "0 or 1";
/// In the kernel 1 and 2 switch a defence on while memory is short. A director has taken its memory at the start and
/// looks at no other, so it cannot do what they say.
const DEFENCE: &str =
    "0 (off) or 3 (on); 1 and 2 go by the kernel's free memory, of which a director knows nothing";
const SECONDS: &str = "seconds from 0 to 4294967295";
const WITHOUT_EFFECT: &str = "a number from 0 to 4294967295, which has no effect";

/// Every knob that can be set. The last ones are the director's own; the kernel has none like them.
pub const KNOBS: &[KnobHelp] = &[
    KnobHelp { name: "conn_reuse_mode", takes: "a number from 0 to 3" },
    KnobHelp { name: "expire_nodest_conn", takes: SWITCH },
    KnobHelp { name: "expire_quiescent_template", takes: SWITCH },
    KnobHelp { name: "sloppy_tcp", takes: SWITCH },
    KnobHelp { name: "sloppy_sctp", takes: SWITCH },
    KnobHelp { name: "schedule_icmp", takes: SWITCH },
    KnobHelp { name: "secure_tcp", takes: DEFENCE },
    KnobHelp { name: "drop_entry", takes: DEFENCE },
    KnobHelp { name: "drop_packet", takes: DEFENCE },
    KnobHelp { name: "lblc_expiration", takes: SECONDS },
    KnobHelp { name: "lblcr_expiration", takes: SECONDS },
    KnobHelp { name: "amemthresh", takes: WITHOUT_EFFECT },
    KnobHelp { name: "am_droprate", takes: WITHOUT_EFFECT },
    KnobHelp { name: "on_miss", takes: "refuse or hash" },
    KnobHelp { name: "decrement_ttl", takes: SWITCH },
    KnobHelp { name: "seeded_start", takes: SWITCH },
    KnobHelp { name: "maglev_entries", takes: "a number from 251 to 131071" },
    KnobHelp { name: "answers_per_second", takes: "a number from 0 to 1000000" },
];

/// Names of `net.ipv4.vs` that this director does not have (yet).
const OF_THE_KERNEL: &[&str] = &[
    "backup_only",
    "cache_bypass",
    "conntrack",
    "debug_level",
    "est_cpulist",
    "est_nice",
    "ignore_tunneled",
    "nat_icmp_send",
    "pmtu_disc",
    "run_estimation",
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

/// What whoever set a knob should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The knob is taken so that files written for a kernel director can be used; it changes nothing.
    NoEffect {
        /// Its name.
        name: &'static str,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEffect { name } => write!(
                f,
                "{name} has no effect: a director takes its memory at the start, and drop_packet=3 drops every tenth"
            ),
        }
    }
}

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
/// `amemthresh` and `am_droprate` are read and then left alone; the note says so.
///
/// # Errors
/// If there is no such knob or it does not take that value; `knobs` is then as before.
pub fn set(knobs: &mut Knobs, assignment: &str) -> Result<Option<Note>, KnobError> {
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
    let either = |off: &str, on: &str| match value {
        _ if value == off => Ok(false),
        _ if value == on => Ok(true),
        _ => Err(bad()),
    };
    let switch = || either("0", "1");
    let defence = || either("0", "3");
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = |most: u32| value.parse().ok().filter(|n| digits && *n <= most).ok_or_else(bad);
    match name {
        "conn_reuse_mode" => knobs.conn_reuse_mode = number(3)? as u8,
        "expire_nodest_conn" => knobs.expire_nodest_conn = switch()?,
        "expire_quiescent_template" => knobs.expire_quiescent_template = switch()?,
        "sloppy_tcp" => knobs.sloppy_tcp = switch()?,
        "sloppy_sctp" => knobs.sloppy_sctp = switch()?,
        "schedule_icmp" => knobs.schedule_icmp = switch()?,
        "secure_tcp" => knobs.secure_tcp = defence()?,
        "drop_entry" => knobs.drop_entry = defence()?,
        "drop_packet" => knobs.drop_packet = defence()?,
        "lblc_expiration" => knobs.lblc_expiration = number(u32::MAX)?,
        "lblcr_expiration" => knobs.lblcr_expiration = number(u32::MAX)?,
        "amemthresh" | "am_droprate" => {
            number(u32::MAX)?;
            return Ok(Some(Note::NoEffect { name: help.name }));
        }
        "decrement_ttl" => knobs.decrement_ttl = switch()?,
        "seeded_start" => knobs.seeded_start = switch()?,
        "maglev_entries" => {
            let entries = number(131_071)?;
            if entries < 251 {
                return Err(bad());
            }
            knobs.maglev_entries = entries;
        }
        "answers_per_second" => knobs.answers_per_second = number(1_000_000)?,
        _ => knobs.on_miss = if either("refuse", "hash")? { OnMiss::Hash } else { OnMiss::Refuse },
    }
    Ok(None)
}

/// The value of a knob as it would be written; `None` for one that does not exist or has no effect.
#[must_use]
pub fn value(knobs: &Knobs, name: &str) -> Option<String> {
    let switch = |on: bool| u32::from(on);
    let defence = |on: bool| if on { 3 } else { 0 };
    let number = match name.strip_prefix("net.ipv4.vs.").unwrap_or(name) {
        "conn_reuse_mode" => u32::from(knobs.conn_reuse_mode),
        "expire_nodest_conn" => switch(knobs.expire_nodest_conn),
        "expire_quiescent_template" => switch(knobs.expire_quiescent_template),
        "sloppy_tcp" => switch(knobs.sloppy_tcp),
        "sloppy_sctp" => switch(knobs.sloppy_sctp),
        "schedule_icmp" => switch(knobs.schedule_icmp),
        "secure_tcp" => defence(knobs.secure_tcp),
        "drop_entry" => defence(knobs.drop_entry),
        "drop_packet" => defence(knobs.drop_packet),
        "lblc_expiration" => knobs.lblc_expiration,
        "lblcr_expiration" => knobs.lblcr_expiration,
        "decrement_ttl" => switch(knobs.decrement_ttl),
        "seeded_start" => switch(knobs.seeded_start),
        "maglev_entries" => knobs.maglev_entries,
        "answers_per_second" => knobs.answers_per_second,
        "on_miss" => {
            return Some(if knobs.on_miss == OnMiss::Hash { "hash" } else { "refuse" }.to_owned());
        }
        _ => return None,
    };
    Some(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_can_be_set_and_says_what_it_takes() {
        let good = [
            "2",
            "1",
            "1",
            "1",
            "1",
            "1",
            "3",
            "3",
            "3",
            "4294967295",
            "0",
            "1024",
            "10",
            "hash",
            "1",
            "1",
            "65537",
            "17",
        ];
        assert_eq!(KNOBS.len(), good.len());
        let mut knobs = Knobs::default();
        for (help, value) in KNOBS.iter().zip(good) {
            let before = knobs;
            let note = set(&mut knobs, &format!("net.ipv4.vs.{}={value}", help.name)).unwrap();
            // Either it changes something or it says that it does not.
            assert_eq!(note.is_some(), knobs == before, "{}", help.name);
            assert!(note.is_none_or(|note| note.to_string().starts_with(help.name)));
            assert_eq!(super::value(&knobs, help.name).as_deref(), note.is_none().then_some(value));
            let after = knobs;
            for bad in ["x", "", "-1", "+1", "4294967296"] {
                let error = set(&mut knobs, &format!("{}={bad}", help.name)).unwrap_err();
                assert!(error.to_string().contains(help.takes), "{error}");
            }
            assert_eq!(knobs, after);
        }
        let all = Knobs {
            conn_reuse_mode: 2,
            expire_nodest_conn: true,
            sloppy_tcp: true,
            sloppy_sctp: true,
            expire_quiescent_template: true,
            schedule_icmp: true,
            secure_tcp: true,
            drop_entry: true,
            drop_packet: true,
            lblc_expiration: u32::MAX,
            lblcr_expiration: 0,
            on_miss: OnMiss::Hash,
            decrement_ttl: true,
            seeded_start: true,
            maglev_entries: 65_537,
            answers_per_second: 17,
        };
        assert_eq!(knobs, all);
    }

    #[test]
    fn a_defence_is_on_or_off() {
        let mut knobs = Knobs::default();
        for name in ["secure_tcp", "drop_entry", "drop_packet"] {
            for automatic in [1, 2] {
                let error = set(&mut knobs, &format!("{name}={automatic}")).unwrap_err();
                assert!(error.to_string().contains("the kernel's free memory"), "{error}");
            }
            assert_eq!(set(&mut knobs, &format!("{name}=0")), Ok(None));
        }
        assert_eq!(knobs, Knobs::default());
    }

    #[test]
    fn tells_unknown_from_not_yet() {
        let mut knobs = Knobs::default();
        assert!(matches!(set(&mut knobs, "sync_ports=1"), Err(KnobError::NotYet { .. })));
        assert!(matches!(set(&mut knobs, "secure=1"), Err(KnobError::Unknown { .. })));
        assert!(matches!(set(&mut knobs, "sloppy_tcp"), Err(KnobError::NoValue(_))));
        assert!(set(&mut knobs, "conn_reuse_mode=4").is_err());
        assert_eq!(knobs, Knobs::default());
    }
}
