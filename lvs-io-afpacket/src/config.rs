//! What a [`PacketIo`](crate::PacketIo) is opened with. Checked by opening, not here.

/// How packet sockets are opened. Make one with [`new`](Self::new) and change what is not to your liking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketConfig {
    /// Names of the interfaces, one port each, numbered in this order. At least one, none twice.
    pub interfaces: Vec<String>,
    /// Memory for received frames, in bytes for each interface: 1 MiB to 1 GiB, rounded up to 256 KiB.
    /// Default 16 MiB, which holds some 100,000 of the shortest frames or some 190 merged ones of 64 KiB.
    /// More rides out longer pauses of the program; the kernel takes all of it at once.
    pub ring_bytes: usize,
    /// Let frames in that are addressed to other stations. Default off. Turn it on where the program
    /// answers for Ethernet addresses that the interface does not have.
    pub promiscuous: bool,
    /// Hand frames to the driver past the interface's queueing discipline. Default off: a full transmit
    /// queue then holds frames back instead of losing them, and traffic shaping stays in force. On saves the
    /// detour where the interface has a queueing discipline; veth has none, and it makes no difference.
    pub bypass_qdisc: bool,
}

impl PacketConfig {
    /// These interfaces, and the defaults.
    #[must_use]
    pub fn new<I>(interfaces: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self {
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            ring_bytes: 16 << 20,
            promiscuous: false,
            bypass_qdisc: false,
        }
    }
}

/// Bytes in a block of the ring. The kernel closes a block that has no room for the next frame, so it has
/// to hold several of the longest (64 KiB): three here, with a quarter wasted at worst.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;

/// The least and the most that `ring_bytes` may be.
pub(crate) const RING_BYTES: std::ops::RangeInclusive<usize> = (1 << 20)..=(1 << 30);
