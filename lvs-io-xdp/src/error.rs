//! Why AF_XDP sockets cannot be opened or cannot go on. Every message names what is at fault and the cure.

use std::io;

use lvs_netdev::DeviceError;

use crate::rights;

/// Why an interface could not be opened or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// `interfaces` is empty.
    #[error("interfaces: there is none; name at least one")]
    NoInterface,
    /// An interface is named twice.
    #[error("interfaces: {0} is named twice; a queue belongs to one socket")]
    DuplicateInterface(String),
    /// More queues than can be numbered.
    #[error(
        "the interfaces have {0} receive queues together, 4096 at most are served; use fewer \
         (`ethtool -L IF combined N`)"
    )]
    TooManyQueues(usize),
    /// An interface has fewer queues than there are workers.
    #[error(
        "{name} receives and sends by {queues} queue{}, and {workers} workers need one each: {}",
        if *queues == 1 { "" } else { "s" },
        describe_queues(name, *workers, *most, *combined)
    )]
    TooFewQueues {
        /// The interface.
        name: String,
        /// How many queues receive and send.
        queues: u32,
        /// How many workers were asked for.
        workers: u16,
        /// The most that the driver can be set to.
        most: u32,
        /// Whether the driver counts queues that do both.
        combined: bool,
    },
    /// There is no such interface, or it is of another kind.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Frames of the interface are longer than AF_XDP frames can be.
    #[error("{name}: an MTU of {mtu} is too large, frames have to fit 4 KiB; set it to {most} or less")]
    MtuTooLarge {
        /// The interface.
        name: String,
        /// Its MTU.
        mtu: u32,
        /// The largest that fits.
        most: u32,
    },
    /// A number is out of range.
    #[error("{field}: {value} is out of range; allowed are {least} to {most}{more}")]
    OutOfRange {
        /// The field of [`XdpConfig`](crate::XdpConfig).
        field: &'static str,
        /// What it was set to.
        value: u32,
        /// The least it may be.
        least: u32,
        /// The most it may be.
        most: u32,
        /// What else is asked of it, for the message.
        more: &'static str,
    },
    /// The program lacks rights.
    #[error(
        "AF_XDP needs {NEEDED}; {}",
        describe_rights(missing, *user_namespace)
    )]
    MissingRights {
        /// The names of those that are missing; empty if the process has them, but in a user namespace.
        missing: Vec<&'static str>,
        /// Whether the process is in a user namespace, where these rights do not count.
        user_namespace: bool,
    },
    /// The memory for frames is more than may be locked.
    #[error(
        "{bytes} bytes of memory for frames, with what else is locked, are more than this user may lock \
         ({limit} bytes): raise the limit (`ulimit -l unlimited`, LimitMEMLOCK=infinity for \
         systemd), give the program CAP_IPC_LOCK, or choose smaller receive_entries and transmit_entries"
    )]
    MemoryLimit {
        /// What is needed.
        bytes: u64,
        /// What is allowed (RLIMIT_MEMLOCK).
        limit: u64,
    },
    /// Another XDP program is attached.
    #[error(
        "{name}: another XDP program is attached, or another program uses one of its queues ({source}); end \
         that program, or take its XDP program off (`ip link set {name} xdp off`, `bpftool link`)"
    )]
    InUse {
        /// The interface.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The driver cannot run the program, and `attachment` asks for that.
    #[error("{name}: its driver cannot run XDP programs now ({source}); use Attachment::NativeOrGeneric")]
    NotNative {
        /// The interface.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel lacks what is needed.
    #[error(
        "the kernel lacks {what} ({source}); Linux 5.10 or later is needed, with CONFIG_XDP_SOCKETS and \
         CONFIG_BPF_SYSCALL"
    )]
    Unsupported {
        /// What is missing.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else that the kernel refused.
    #[error("{name}: {operation} failed ({source})")]
    Kernel {
        /// The interface.
        name: String,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// For the message.
const NEEDED: &str = "CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF in the initial user namespace";

/// What is missing, and the cure.
fn describe_rights(missing: &[&str], user_namespace: bool) -> String {
    if user_namespace {
        return "this process is in another one, where its rights do not count: run it outside of user \
                namespaces (a container with --privileged), or use AF_PACKET, which works there"
            .to_owned();
    }
    if missing.is_empty() {
        return "this process has them, and the kernel refused: a security module or a seccomp filter forbids \
                bpf(2) or AF_XDP sockets; allow them"
            .to_owned();
    }
    format!(
        "missing {}: run as root, or give the program the rights with \
         `setcap cap_net_admin,cap_net_raw,cap_bpf+ep PROGRAM`",
        missing.join(" and ")
    )
}

/// The cure for too few queues.
fn describe_queues(name: &str, workers: u16, most: u32, combined: bool) -> String {
    if most >= u32::from(workers) {
        return if combined {
            format!("`ethtool -L {name} combined {workers}`")
        } else {
            format!("`ethtool -L {name} rx {workers} tx {workers}`, and for veth the same at the other end")
        };
    }
    format!(
        "the driver has {most} at the most, so use no more workers than that; a veth pair gets its queues when it is \
         made (`ip link add A numtxqueues {workers} numrxqueues {workers} type veth peer name B numtxqueues {workers} \
         numrxqueues {workers}`)"
    )
}

/// The error for a step that takes rights, or a part of the kernel that may be missing.
pub(crate) fn refused(name: &str, operation: &'static str, source: io::Error) -> OpenError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => rights::missing(),
        Some(libc::ENOSYS | libc::EAFNOSUPPORT | libc::ENOPROTOOPT) => {
            OpenError::Unsupported { what: operation, source }
        }
        _ => OpenError::Kernel { name: name.to_owned(), operation, source },
    }
}

/// Whether somebody else has what was asked for.
pub(crate) fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

/// Why an open [`XdpIo`](crate::XdpIo) cannot go on.
///
/// Lost frames, links that are down and interfaces that were deleted are not errors; see
/// [`XdpIo`](crate::XdpIo).
#[derive(Debug, thiserror::Error)]
#[error("{}: {operation} failed ({source})", interface.as_deref().unwrap_or("all interfaces"))]
pub struct IoError {
    interface: Option<String>,
    operation: &'static str,
    source: io::Error,
}

impl IoError {
    pub(crate) fn new(interface: Option<&str>, operation: &'static str, source: io::Error) -> Self {
        Self { interface: interface.map(str::to_owned), operation, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_queues_are_told_with_the_cure_that_fits() {
        let text = |queues, workers, most, combined| {
            OpenError::TooFewQueues { name: "eth7".to_owned(), queues, workers, most, combined }.to_string()
        };
        assert_eq!(
            text(1, 4, 8, true),
            "eth7 receives and sends by 1 queue, and 4 workers need one each: `ethtool -L eth7 combined 4`"
        );
        assert!(text(2, 3, 4, false).contains("by 2 queues, and 3 workers"));
        assert!(text(2, 3, 4, false).contains("`ethtool -L eth7 rx 3 tx 3`"));
        let fixed = text(1, 3, 2, false);
        assert!(fixed.contains("2 at the most") && fixed.contains("numrxqueues 3"), "{fixed}");
    }

    #[test]
    fn missing_rights_are_named_with_the_cure_that_fits() {
        let text = |missing: &[&'static str], user_namespace| {
            OpenError::MissingRights { missing: missing.to_vec(), user_namespace }.to_string()
        };
        let some = text(&["CAP_BPF", "CAP_NET_RAW"], false);
        assert!(some.contains("missing CAP_BPF and CAP_NET_RAW") && some.contains("setcap"), "{some}");
        assert!(text(&[], true).contains("is in another one, where its rights do not count"));
        assert!(text(&[], false).contains("seccomp"));
    }
}
