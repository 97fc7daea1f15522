//! What a frame carries besides its bytes: a VLAN tag that the device took out, and work left to the
//! hardware. It travels from receive to transmit.

/// An 802.1Q or 802.1ad tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanTag {
    /// The tag protocol: 0x8100 or 0x88a8.
    pub tpid: u16,
    /// Priority (3 bits), drop eligible (1), VLAN id (12).
    pub tci: u16,
}

impl VlanTag {
    /// The VLAN id, 0 to 4095; 0 is a priority tag without a VLAN.
    #[must_use]
    pub const fn id(self) -> u16 {
        self.tci & 0x0fff
    }
}

/// A transport checksum that the sender left to the hardware: sum from `start` to the end, and put it
/// at `start + offset`. Both count from the first byte of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialChecksum {
    /// Where summing begins.
    pub start: u16,
    /// Where the sum belongs, counted from `start`.
    pub offset: u16,
}

/// How a merged frame is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP, each piece with a header of its own.
    UdpL4,
    /// UDP, as IP fragments.
    UdpFragments,
}

/// A frame of up to 64 KiB that stands for many; the hardware or the receiver's kernel cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gso {
    /// How it is cut.
    pub kind: GsoKind,
    /// Payload bytes in each piece.
    pub size: u16,
    /// Bytes of headers repeated in front of each piece, Ethernet included. A hint: senders may leave 0.
    pub header_length: u16,
    /// The TCP segment carries an ECN mark that only the first piece may keep.
    pub ecn: bool,
}

/// Everything a frame carries besides its bytes. The default is a plain, complete, untagged frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meta {
    /// The outer VLAN tag, where the device keeps it out of the bytes.
    pub vlan: Option<VlanTag>,
    /// The unfinished transport checksum, if there is one.
    pub checksum: Option<PartialChecksum>,
    /// Set if the frame stands for many.
    pub gso: Option<Gso>,
    /// The device has verified the transport checksum.
    pub checksum_valid: bool,
}
