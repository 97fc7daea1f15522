//! Link-layer addresses and subnets. IP addresses are `core::net::IpAddr` at every edge.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 00:00:00:00:00:00, which no station may use.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether the group bit is set (broadcast included).
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether a single station may have this address: neither a group address nor zero.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        !self.is_multicast() && self != Self::ZERO
    }

    /// The group address that IPv6 multicast to `group` uses (RFC 2464 section 7).
    #[must_use]
    pub const fn for_ipv6_multicast(group: Ipv6Addr) -> Self {
        let o = group.octets();
        Self([0x33, 0x33, o[12], o[13], o[14], o[15]])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an Ethernet address of the form `02:00:00:00:00:0b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ethernet address: expected six hexadecimal bytes, as in 02:00:00:00:00:0b")]
pub struct ParseMacError;

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.is_empty() || part.len() > 2 || part.starts_with('+') {
                return Err(ParseMacError);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        if parts.next().is_some() {
            return Err(ParseMacError);
        }
        Ok(Self(bytes))
    }
}

/// An address with the length of its subnet's prefix, as in `192.168.0.208/24`.
///
/// The address keeps its host bits: this is how an interface is configured. Where only the subnet
/// counts they are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    address: IpAddr,
    prefix_len: u8,
}

impl Subnet {
    /// `None` if the prefix is longer than the address (32 bits, or 128 for IPv6).
    #[must_use]
    pub const fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let longest = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        if prefix_len > longest {
            return None;
        }
        Some(Self { address, prefix_len })
    }

    /// The address with its host bits.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The prefix length in bits.
    #[must_use]
    pub const fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// Whether `other` lies in this subnet; never for an address of the other family.
    #[must_use]
    pub fn contains(self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_len)).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & mask == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_len)).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & mask == 0
            }
            _ => false,
        }
    }

    /// The IPv4 broadcast address of this subnet, where it has one.
    #[must_use]
    pub fn broadcast(self) -> Option<IpAddr> {
        match self.address {
            IpAddr::V4(a) if self.prefix_len <= 30 => {
                let host = u32::MAX.checked_shr(u32::from(self.prefix_len)).unwrap_or(0);
                Some(IpAddr::V4((a.to_bits() | host).into()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// The text is not of the form `192.168.0.208/24` or `fd00::2/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address with its prefix length: expected something like 192.168.0.208/24 or fd00::2/64")]
pub struct ParseSubnetError;

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    fn from_str(text: &str) -> Result<Self, ParseSubnetError> {
        let (address, prefix_len) = text.split_once('/').ok_or(ParseSubnetError)?;
        let address = address.parse().map_err(|_| ParseSubnetError)?;
        if prefix_len.is_empty() || !prefix_len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ParseSubnetError);
        }
        let prefix_len = prefix_len.parse().map_err(|_| ParseSubnetError)?;
        Self::new(address, prefix_len).ok_or(ParseSubnetError)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn mac_text_round_trips_and_refuses_nonsense() {
        let mac: MacAddr = "02:00:00:00:00:0b".parse().unwrap();
        assert_eq!(mac, MacAddr([2, 0, 0, 0, 0, 0x0b]));
        assert_eq!(mac.to_string(), "02:00:00:00:00:0b");
        for bad in ["", "02:00", "02:00:00:00:00:0b:00", "02:00:00:00:00:0g", "2:+1:0:0:0:0", "::::::"] {
            assert_eq!(bad.parse::<MacAddr>(), Err(ParseMacError), "{bad}");
        }
    }

    #[test]
    fn subnets_contain_their_addresses_only() {
        let net: Subnet = "192.168.0.208/24".parse().unwrap();
        assert!(net.contains("192.168.0.1".parse().unwrap()));
        assert!(!net.contains("192.168.1.1".parse().unwrap()));
        assert!(!net.contains("fd00::1".parse().unwrap()));
        assert_eq!(net.broadcast(), Some("192.168.0.255".parse().unwrap()));
        let all: Subnet = "::/0".parse().unwrap();
        assert!(all.contains("fd00::1".parse().unwrap()));
        let host: Subnet = "10.0.0.1/32".parse().unwrap();
        assert!(host.contains("10.0.0.1".parse().unwrap()));
        assert!(!host.contains("10.0.0.2".parse().unwrap()));
        for bad in ["10.0.0.1", "10.0.0.1/33", "fd00::/129", "x/8", "10.0.0.1/", "10.0.0.1/+8"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }
}
