//! Why TAP devices cannot be opened or cannot go on. Every message names what is at fault and the cure.

use std::io;

use lvs_core::io::PortId;
use lvs_netdev::DeviceError;

/// Why a device could not be opened or set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// `ports` is empty.
    #[error("ports: there is none; name at least one TAP device")]
    NoPort,
    /// More devices than there are port numbers.
    #[error("ports: {0} are more than the 65535 that can be numbered")]
    TooManyPorts(usize),
    /// A device is named twice.
    #[error("ports: {0} is named twice; a port each is needed once")]
    DuplicateDevice(String),
    /// `queue_frames` is out of range.
    #[error("queue_frames: {0} is out of range; allowed are 1 to 65536")]
    QueueFrames(u32),
    /// `pass_to` names no other port.
    #[error("pass_to: {} is no other port; there are 0 to {last}, and a port does not pass to itself", port.0)]
    PassTo {
        /// What was named.
        port: PortId,
        /// The last port.
        last: u16,
    },
    /// No interface can have the name, or there is none of it.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// There is no /dev/net/tun.
    #[error(
        "the kernel offers no TAP devices: /dev/net/tun {source}; load the module (`modprobe tun`), and in a container hand the \
         device in (`docker run --device /dev/net/tun`)"
    )]
    NoTun {
        /// What the kernel said.
        source: io::Error,
    },
    /// /dev/net/tun may not be opened.
    #[error(
        "/dev/net/tun may not be opened by this user: run as root, or have an administrator open it to all (`chmod 666 \
         /dev/net/tun`, as most distributions do; making devices still takes rights)"
    )]
    TunDenied,
    /// The program may not make the device, and may not open one that is another user's.
    #[error(
        "{name}: making a TAP device, or opening another user's, needs CAP_NET_ADMIN in the network namespace: run as root, or \
         give the program the right with `setcap cap_net_admin+ep PROGRAM`, or have an administrator make the device once, which \
         then needs no right any more: `ip tuntap add dev {name} mode tap user $USER`{}",
        if *.queues > 1 { " multi_queue" } else { "" }
    )]
    MissingRights {
        /// The device.
        name: String,
        /// How many queues were to be opened.
        queues: u16,
    },
    /// Another program has the device.
    #[error("{name}: another program has it open; end that one, or choose another name")]
    Busy {
        /// The device.
        name: String,
    },
    /// An interface of that name is no TAP device.
    #[error("{name} is there already and is no TAP device; choose another name")]
    NotTap {
        /// The interface.
        name: String,
    },
    /// The device was made for one queue.
    #[error(
        "{name} was made with one queue, and {queues} are needed; make it anew with `ip tuntap del dev {name} mode tap` and `ip \
         tuntap add dev {name} mode tap multi_queue`, or use one worker"
    )]
    SingleQueue {
        /// The device.
        name: String,
        /// How many queues were to be opened.
        queues: u16,
    },
    /// More queues than the kernel gives to a device.
    #[error("{name}: the kernel gives a TAP device no {queues} queues (256 are the most)")]
    TooManyQueues {
        /// The device.
        name: String,
        /// How many queues were to be opened.
        queues: u16,
    },
    /// As many descriptors have to be handed in as there are workers.
    #[error("adopted descriptors: there are {given}, and {workers} are needed, one for each worker")]
    Descriptors {
        /// How many were handed in.
        given: usize,
        /// How many workers there are.
        workers: u16,
    },
    /// An adopted descriptor is none of a TAP device.
    #[error(
        "the adopted descriptor is none of a TAP device ({reason}); open /dev/net/tun and attach it with IFF_TAP | IFF_NO_PI"
    )]
    NotTapDescriptor {
        /// What it is instead.
        reason: String,
    },
    /// An adopted descriptor has offload headers of a size that nobody uses.
    #[error("{name}: offload headers of {size} bytes; 10 to 24 are known")]
    HeaderSize {
        /// The device.
        name: String,
        /// Their size.
        size: i32,
    },
    /// No interface of that name is a bridge.
    #[error(
        "{bridge} is no bridge; make one with `ip link add dev {bridge} type bridge` and `ip link set dev {bridge} up`, or name another"
    )]
    NotBridge {
        /// The name asked for.
        bridge: String,
    },
    /// The device is a port of another bridge, or of a bond.
    #[error("{name} belongs to another bridge already; take it out with `ip link set dev {name} nomaster`")]
    OtherBridge {
        /// The device.
        name: String,
    },
    /// The kernel's end of the device may not be changed.
    #[error(
        "{name}: {operation} needs CAP_NET_ADMIN: give the program the right with `setcap cap_net_admin+ep PROGRAM`, or have an \
         administrator do it once: `{command}`"
    )]
    SetUp {
        /// The device.
        name: String,
        /// What was tried.
        operation: &'static str,
        /// What does the same.
        command: String,
    },
    /// Anything else that the kernel refused.
    #[error("{name}: {operation} failed ({source})")]
    Kernel {
        /// The device.
        name: String,
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why an open [`TapIo`](crate::TapIo) cannot go on: a device was deleted, or the kernel refuses to wait.
///
/// Lost frames and links that are down are not errors; see [`TapIo`](crate::TapIo).
#[derive(Debug, thiserror::Error)]
#[error("{}: {operation} failed ({source}){}", device.as_deref().unwrap_or("all devices"), if *.gone { "; the TAP device was deleted" } else { "" })]
pub struct IoError {
    device: Option<String>,
    operation: &'static str,
    gone: bool,
    source: io::Error,
}

impl IoError {
    pub(crate) fn new(device: Option<&str>, operation: &'static str, source: io::Error) -> Self {
        Self { device: device.map(str::to_owned), operation, gone: false, source }
    }

    /// The device does not exist any more.
    pub(crate) fn gone(device: &str, operation: &'static str, source: io::Error) -> Self {
        Self { gone: true, ..Self::new(Some(device), operation, source) }
    }

    /// Whether a device does not exist any more.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.gone
    }
}
