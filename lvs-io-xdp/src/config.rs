//! What a [`XdpIo`](crate::XdpIo) is opened with. Checked by opening, not here.

/// Where in the kernel the redirect program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Attachment {
    /// In the driver if it can, else behind it. The default.
    #[default]
    NativeOrGeneric,
    /// In the driver. Opening fails if the driver cannot.
    Native,
    /// Behind the driver, in code for all of them: works everywhere, takes longer for each frame, and sees
    /// frames only after the kernel has merged segments (GRO).
    Generic,
}

/// How AF_XDP sockets are opened. Make one with [`new`](Self::new) and change what is not to your liking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct XdpConfig {
    /// Names of the interfaces, one port each, numbered in this order. At least one, none twice. All receive
    /// queues of an interface are used, with a socket each.
    pub interfaces: Vec<String>,
    /// Where the program runs. Default: in the driver if it can.
    pub attachment: Attachment,
    /// Frames that may wait to be received, for each queue: a power of two, 64 to 32,768. Default 8192, which
    /// lasts for 5 ms at 1.5 million frames a second. Each takes 2 KiB (4 KiB where an MTU is above 1770).
    pub receive_entries: u32,
    /// Frames that may wait to be transmitted, for each queue: a power of two, 64 to 32,768. Default 2048.
    /// Each takes as much memory as above.
    pub transmit_entries: u32,
    /// The most addresses and prefixes of each family that [`set_addresses`](crate::XdpIo::set_addresses) takes: 1 to
    /// 1,048,576. Default 16,384. Room that is not used costs nothing.
    pub max_addresses: u32,
}

impl XdpConfig {
    /// These interfaces, and the defaults.
    #[must_use]
    pub fn new<I>(interfaces: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self {
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            attachment: Attachment::default(),
            receive_entries: 8192,
            transmit_entries: 2048,
            max_addresses: 16_384,
        }
    }
}

/// The least and the most that the numbers of entries may be.
pub(crate) const ENTRIES: std::ops::RangeInclusive<u32> = 64..=32_768;
/// The least and the most that `max_addresses` may be.
pub(crate) const ADDRESSES: std::ops::RangeInclusive<u32> = 1..=1_048_576;
