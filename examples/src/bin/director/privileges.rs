//! The rights that a director gives up once its devices are open: all that it does not need to go on.
//!
//! From then on neither a mistake in it nor a program that it starts can do to the host what only root may. It stays the user it is.

use caps::{CapSet, Capability, CapsHashSet};
use lvs_examples::backend::Io;
use nix::sys::prctl;

/// What is left.
#[derive(Debug)]
pub(crate) struct Kept {
    rights: Vec<Capability>,
    no_new_privileges: bool,
}

/// What a director with these devices needs while it runs. Sockets and queues stay open without any right; what was done to a TAP
/// device's bridge is to be put back at the end; an echo request over the host's kernel takes a right where the system does not
/// let this group send them.
pub(crate) fn needed(io: Io, pings: bool) -> CapsHashSet {
    let mut needed = CapsHashSet::new();
    if io == Io::Tap {
        needed.insert(Capability::CAP_NET_ADMIN);
    }
    if pings {
        needed.insert(Capability::CAP_NET_RAW);
    }
    needed
}

/// Gives up everything else, for the calling thread and those that it starts: call it before any other thread runs.
///
/// # Errors
/// What the system refuses. It does not refuse to take rights away, but a filter of system calls may.
pub(crate) fn keep_only(needed: &CapsHashSet) -> Result<Kept, caps::errors::CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet = held.intersection(needed).copied().collect();
    // What is not in the bounding set is not had by any program that is started, root's neither. Taking it out takes a right itself.
    if held.contains(&Capability::CAP_SETPCAP) {
        for right in caps::read(None, CapSet::Bounding)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *right)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    let no_new_privileges = prctl::set_no_new_privs().is_ok();
    let mut rights: Vec<_> = kept.into_iter().collect();
    rights.sort_by_key(ToString::to_string);
    Ok(Kept { rights, no_new_privileges })
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rights: Vec<_> = self.rights.iter().map(ToString::to_string).collect();
        let rights = if rights.is_empty() { "none".to_owned() } else { rights.join(", ") };
        write!(f, "rights kept: {rights}")?;
        f.write_str(if self.no_new_privileges { "; no new ones" } else { "; could not rule out new ones" })
    }
}
