//! What a [`TapIo`](crate::TapIo) is opened with. Checked by opening, not here.

use std::os::fd::OwnedFd;

use lvs_core::io::PortId;

/// How TAP devices are opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct TapConfig {
    /// The devices, one port each, numbered in this order. At least one, none twice.
    pub ports: Vec<TapPort>,
}

impl TapConfig {
    /// These devices by their names, each with the defaults of [`TapPort::new`].
    #[must_use]
    pub fn new<I>(names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self::of(names.into_iter().map(TapPort::new))
    }

    /// These devices.
    #[must_use]
    pub fn of(ports: impl IntoIterator<Item = TapPort>) -> Self {
        Self { ports: ports.into_iter().collect() }
    }
}

/// One device. Make one with [`new`](Self::new) or [`adopt`](Self::adopt) and change what is not to your liking.
#[derive(Debug)]
#[non_exhaustive]
pub struct TapPort {
    pub(crate) source: Source,
    /// Let the kernel hand over frames whose checksums are not computed and which are up to 64 KiB long, and hand such frames
    /// back to it. Default on: TCP from the same machine is several times faster. Off, the kernel finishes every frame before
    /// it hands it over. An adopted descriptor without offload headers cannot have it, whatever is said here.
    pub offloads: bool,
    /// Keep the device when the last program that has it open ends. Default off: a device that is made goes with its program.
    /// One that was kept before stays so.
    pub keep: bool,
    /// The user who may open a kept device without rights of his own. Default: nobody is named.
    pub owner: Option<u32>,
    /// How many frames may wait in the kernel for being read, in each queue: 1 to 65,536. Default 4096, 1.5 ms of the most
    /// frames that can be read; the kernel's own is 500 or 1000. Frames beyond it are lost. Only of a device that is made.
    pub queue_frames: u32,
    /// Where frames go about which the verdict is `Pass`: to another port, as it is where the director stands between a bridge
    /// and whoever is to have what it does not want. Default: nowhere, they are dropped.
    pub pass_to: Option<PortId>,
}

/// Where a device comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Name(String),
    /// One for each worker.
    Descriptors(Vec<OwnedFd>),
}

impl TapPort {
    /// The device of this name, which is made if there is none. With `%d` in the name the kernel chooses a number.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::from(Source::Name(name.into()))
    }

    /// A device that somebody else has opened, with or without IFF_VNET_HDR. It must have been opened with IFF_NO_PI, which the
    /// kernel does not tell: otherwise four bytes stand in front of each frame that are taken for addresses.
    #[must_use]
    pub fn adopt(descriptor: OwnedFd) -> Self {
        Self::adopt_queues([descriptor])
    }

    /// The queues of a device that somebody else has opened, one for each worker of a group.
    #[must_use]
    pub fn adopt_queues(descriptors: impl IntoIterator<Item = OwnedFd>) -> Self {
        Self::from(Source::Descriptors(descriptors.into_iter().collect()))
    }

    const fn from(source: Source) -> Self {
        Self { source, offloads: true, keep: false, owner: None, queue_frames: 4096, pass_to: None }
    }
}

/// The least and the most that `queue_frames` may be.
pub(crate) const QUEUE_FRAMES: std::ops::RangeInclusive<u32> = 1..=1 << 16;
