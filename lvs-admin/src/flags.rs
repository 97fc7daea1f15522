//! The names of scheduler flags: what `-b` takes and listings show.
//!
//! sh and mh have names of their own for the first two flags. The flags of all other schedulers are only numbered.

use lvs_core::config::{SchedulerFlags, SchedulerKind};

/// Flags with the names that a scheduler has for them, lowest bit first.
const NUMBERED: [(SchedulerFlags, &str); 3] = [
    (SchedulerFlags::FALLBACK, "flag-1"),
    (SchedulerFlags::PORT, "flag-2"),
    (SchedulerFlags::THIRD, "flag-3"),
];
const SOURCE_HASHING: [(SchedulerFlags, &str); 2] =
    [(SchedulerFlags::FALLBACK, "sh-fallback"), (SchedulerFlags::PORT, "sh-port")];
const MAGLEV: [(SchedulerFlags, &str); 2] =
    [(SchedulerFlags::FALLBACK, "mh-fallback"), (SchedulerFlags::PORT, "mh-port")];

/// The names that only one scheduler has.
pub(crate) const fn own(scheduler: SchedulerKind) -> &'static [(SchedulerFlags, &'static str)] {
    match scheduler {
        SchedulerKind::SourceHashing => &SOURCE_HASHING,
        SchedulerKind::Maglev => &MAGLEV,
        _ => &[],
    }
}

/// The flag of that name, the name itself, and the scheduler that it belongs to if it does not fit every one.
pub(crate) fn named(name: &[u8]) -> Option<(SchedulerFlags, &'static str, Option<SchedulerKind>)> {
    let numbered = NUMBERED.iter().map(|(flag, name)| (*flag, *name, None));
    let owners = [SchedulerKind::SourceHashing, SchedulerKind::Maglev];
    let owned = owners
        .into_iter()
        .flat_map(|kind| own(kind).iter().map(move |(flag, name)| (*flag, *name, Some(kind))));
    numbered.chain(owned).find(|(_, known, _)| known.as_bytes() == name)
}

/// The names of a scheduler's flags with commas between them; empty if there is none.
pub(crate) fn list(scheduler: SchedulerKind, flags: SchedulerFlags) -> String {
    let names: Vec<_> = NUMBERED
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(flag, number)| {
            own(scheduler).iter().find(|(own, _)| own == flag).map_or(*number, |(_, name)| name)
        })
        .collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_as_their_scheduler_does() {
        let all = SchedulerFlags::FALLBACK.with(SchedulerFlags::PORT).with(SchedulerFlags::THIRD);
        assert_eq!(list(SchedulerKind::RoundRobin, all), "flag-1,flag-2,flag-3");
        assert_eq!(list(SchedulerKind::SourceHashing, all), "sh-fallback,sh-port,flag-3");
        assert_eq!(list(SchedulerKind::Maglev, SchedulerFlags::PORT), "mh-port");
        assert_eq!(list(SchedulerKind::Maglev, SchedulerFlags::NONE), "");
        assert_eq!(named(b"flag-2"), Some((SchedulerFlags::PORT, "flag-2", None)));
        let found = named(b"mh-fallback");
        assert_eq!(found, Some((SchedulerFlags::FALLBACK, "mh-fallback", Some(SchedulerKind::Maglev))));
        assert_eq!(named(b"sh"), None);
    }
}
