//! The way into the lab: a network namespace for this process, with a user namespace around it where
//! root's rights are missing. And where that is refused: why, and how to allow it.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

static ENTERED: AtomicBool = AtomicBool::new(false);
static IN_USER_NAMESPACE: AtomicBool = AtomicBool::new(false);

/// Namespaces are not to be had here. Its text is what to show the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    reason: String,
    cure: String,
}

impl Refused {
    fn new(reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { reason: reason.into(), cure: cure.into() }
    }

    /// What is missing.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> &str {
        &self.cure
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no network namespaces here: {}. To allow it: {}", self.reason, self.cure)
    }
}

impl std::error::Error for Refused {}

/// Moves this process into a network namespace of its own, in which it may do everything. With the
/// right to (root, mostly) only that; otherwise into a user namespace too, in which it appears as root.
///
/// Call it before any other thread exists: the kernel gives a user namespace to single-threaded
/// processes only, and a thread left behind would work in the old network. Hosts can be made after it.
/// The namespace the process came from is not changed in any way, and cannot be reached any more.
///
/// # Errors
/// [`Refused`] says what is missing and how to allow it. The process is then where it was, except that
/// in the rare case of a write-protected `/proc/sys` it is in namespaces that are of no use.
pub fn enter() -> Result<(), Refused> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        let reason = format!("the process has {threads} threads already");
        return Err(Refused::new(reason, "call `lab::enter` first thing in `main`"));
    }
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        enter_as_user()?;
    }
    check_sysctls()?;
    ENTERED.store(true, Ordering::SeqCst);
    Ok(())
}

/// Whether hosts may be made.
pub(super) fn entered() -> io::Result<()> {
    if ENTERED.load(Ordering::SeqCst) {
        return Ok(());
    }
    Err(io::Error::other("the process is not in the lab: call `lab::enter` first thing in `main`"))
}

/// Whether the process had to make a user namespace.
pub(super) fn in_user_namespace() -> bool {
    IN_USER_NAMESPACE.load(Ordering::SeqCst)
}

fn enter_as_user() -> Result<(), Refused> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).map_err(|errno| explain(errno, &read))?;
    IN_USER_NAMESPACE.store(true, Ordering::SeqCst);
    // Without the right to change groups an own mapping is allowed (user_namespaces(7)).
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ];
    for (path, text) in maps {
        fs::write(path, text).map_err(|error| {
            let reason = format!("writing {path}: {error}");
            Refused::new(reason, "run as root, or where /proc is the system's own and writable")
        })?;
    }
    Ok(())
}

/// A read-only /proc/sys (containers) lets namespaces be made that cannot be configured.
fn check_sysctls() -> Result<(), Refused> {
    let path = "/proc/sys/net/ipv4/ip_forward";
    fs::write(path, "0").map_err(|error| {
        let reason = format!("{path} cannot be written ({error})");
        Refused::new(reason, "in a container, mount /proc/sys writable (docker run --privileged)")
    })
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Why a user namespace was refused. `read` reads a file of /proc; a test reads others.
fn explain(errno: Errno, read: &dyn Fn(&str) -> Option<String>) -> Refused {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    let root = "or run as root";
    if is("/proc/sys/user/max_user_namespaces", "0") {
        let cure = format!("sysctl -w user.max_user_namespaces=15000, {root}");
        return Refused::new("user.max_user_namespaces is 0", cure);
    }
    if is("/proc/sys/user/max_net_namespaces", "0") {
        return Refused::new("user.max_net_namespaces is 0", "sysctl -w user.max_net_namespaces=15000");
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        let cure = format!("sysctl -w kernel.unprivileged_userns_clone=1, {root}");
        return Refused::new("kernel.unprivileged_userns_clone is 0", cure);
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        let cure = format!("sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, {root}");
        return Refused::new("AppArmor restricts user namespaces of users", cure);
    }
    let filtered = read("/proc/self/status")
        .is_some_and(|text| text.lines().any(|l| l.starts_with("Seccomp:") && l.trim_end().ends_with('2')));
    if filtered {
        let cure = "in a container, docker run --privileged (or --security-opt seccomp=unconfined \
                    --cap-add SYS_ADMIN --cap-add NET_ADMIN)";
        return Refused::new(format!("a seccomp filter forbids unshare ({})", errno.desc()), cure);
    }
    match errno {
        Errno::ENOSPC | Errno::EUSERS => Refused::new(
            "the limit on namespaces is reached",
            "raise user.max_user_namespaces and user.max_net_namespaces",
        ),
        Errno::EINVAL | Errno::ENOSYS => Refused::new(
            format!("this kernel has no user or network namespaces ({})", errno.desc()),
            "use a kernel with CONFIG_USER_NS and CONFIG_NET_NS, or run as root if only the former is missing",
        ),
        _ => Refused::new(
            format!("unshare: {}", errno.desc()),
            "run as root outside of a chroot, or in a container with CAP_SYS_ADMIN and CAP_NET_ADMIN",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_its_cause_and_its_cure() {
        let table: [(Errno, &str, &str, &str, &str); 6] = [
            (
                Errno::ENOSPC,
                "/proc/sys/user/max_user_namespaces",
                "0\n",
                "max_user_namespaces is 0",
                "=15000",
            ),
            (Errno::ENOSPC, "/proc/sys/user/max_net_namespaces", "0\n", "max_net_namespaces is 0", "=15000"),
            (Errno::EPERM, "/proc/sys/kernel/unprivileged_userns_clone", "0\n", "userns_clone is 0", "=1"),
            (
                Errno::EPERM,
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                "AppArmor",
                "userns=0",
            ),
            (
                Errno::EPERM,
                "/proc/self/status",
                "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n",
                "seccomp",
                "docker",
            ),
            (Errno::ENOSPC, "/proc/sys/user/max_user_namespaces", "8\n", "limit", "raise"),
        ];
        for (errno, path, content, reason, cure) in table {
            let refused = explain(errno, &|asked| (asked == path).then(|| content.to_owned()));
            assert!(refused.reason().contains(reason), "{refused}");
            assert!(refused.cure().contains(cure), "{refused}");
        }
        let bare = explain(Errno::EPERM, &|_| None);
        assert!(bare.to_string().contains("run as root outside of a chroot"), "{bare}");
    }

    #[test]
    fn a_process_with_threads_is_refused_and_hosts_need_the_lab() {
        // The test harness runs this on a thread of its own.
        assert!(enter().unwrap_err().reason().contains("threads already"));
        assert!(crate::lab::Host::new("outside").is_err());
    }
}
