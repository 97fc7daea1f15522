//! The name of a flow: protocol, client and virtual address with their ports.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What makes two packets belong to the same connection. Compact, because one is compared for every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// Over IPv4.
    V4 {
        /// The client's address in the upper half, the virtual address in the lower.
        addresses: u64,
        /// The client's port in the upper half, the virtual service's in the lower.
        ports: u32,
        /// The IP protocol.
        protocol: u8,
    },
    /// Over IPv6.
    V6 {
        /// The client's address.
        client: u128,
        /// The virtual address.
        virtual_address: u128,
        /// As above.
        ports: u32,
        /// The IP protocol.
        protocol: u8,
    },
}

impl FlowKey {
    /// What is no flow.
    pub(crate) const NONE: Self = Self::V4 { addresses: 0, ports: 0, protocol: 0 };

    /// The key of what `client` sends to `virtual_address`. `None` if the families differ.
    #[must_use]
    pub fn new(protocol: u8, client: SocketAddr, virtual_address: SocketAddr) -> Option<Self> {
        let ports = u32::from(client.port()) << 16 | u32::from(virtual_address.port());
        match (client.ip(), virtual_address.ip()) {
            (IpAddr::V4(c), IpAddr::V4(v)) => Some(Self::V4 {
                addresses: u64::from(c.to_bits()) << 32 | u64::from(v.to_bits()),
                ports,
                protocol,
            }),
            (IpAddr::V6(c), IpAddr::V6(v)) => {
                Some(Self::V6 { client: c.to_bits(), virtual_address: v.to_bits(), ports, protocol })
            }
            _ => None,
        }
    }

    /// Whether it is an IPv6 flow.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        matches!(self, Self::V6 { .. })
    }

    /// The IP protocol.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        match self {
            Self::V4 { protocol, .. } | Self::V6 { protocol, .. } => *protocol,
        }
    }

    const fn ports(&self) -> u32 {
        match self {
            Self::V4 { ports, .. } | Self::V6 { ports, .. } => *ports,
        }
    }

    /// The client's address.
    #[must_use]
    pub const fn client_address(&self) -> IpAddr {
        match self {
            Self::V4 { addresses, .. } => IpAddr::V4(Ipv4Addr::from_bits((*addresses >> 32) as u32)),
            Self::V6 { client, .. } => IpAddr::V6(Ipv6Addr::from_bits(*client)),
        }
    }

    /// The virtual address.
    #[must_use]
    pub const fn virtual_address(&self) -> IpAddr {
        match self {
            Self::V4 { addresses, .. } => IpAddr::V4(Ipv4Addr::from_bits(*addresses as u32)),
            Self::V6 { virtual_address, .. } => IpAddr::V6(Ipv6Addr::from_bits(*virtual_address)),
        }
    }

    /// The client's port.
    #[must_use]
    pub const fn client_port(&self) -> u16 {
        (self.ports() >> 16) as u16
    }

    /// The virtual service's port.
    #[must_use]
    pub const fn virtual_port(&self) -> u16 {
        self.ports() as u16
    }

    /// The client's address and port.
    #[must_use]
    pub const fn client(&self) -> SocketAddr {
        SocketAddr::new(self.client_address(), self.client_port())
    }

    /// The virtual address and port.
    #[must_use]
    pub const fn virtual_socket(&self) -> SocketAddr {
        SocketAddr::new(self.virtual_address(), self.virtual_port())
    }

    /// The client's address as one 32-bit number; the four words of an IPv6 address are XORed. This is what the
    /// source-hashing schedulers of IPVS hash.
    #[must_use]
    pub const fn folded_client(&self) -> u32 {
        match self {
            Self::V4 { addresses, .. } => (*addresses >> 32) as u32,
            Self::V6 { client, .. } => fold(*client),
        }
    }

    /// The same of the virtual address.
    #[must_use]
    pub const fn folded_virtual(&self) -> u32 {
        match self {
            Self::V4 { addresses, .. } => *addresses as u32,
            Self::V6 { virtual_address, .. } => fold(*virtual_address),
        }
    }
}

/// XOR of the four words of an IPv6 address.
pub(crate) const fn fold(address: u128) -> u32 {
    ((address >> 96) ^ (address >> 64) ^ (address >> 32) ^ address) as u32
}
