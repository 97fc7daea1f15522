//! The addresses of the reference networks, which the lab and the simulated networks share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::{MacAddr, Subnet};

/// An address of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: IpAddr,
    /// Its IPv6 companion.
    pub v6: IpAddr,
}

/// A subnet of the reference networks: three bytes of IPv4, a group of IPv6, a byte of the MACs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    v4: [u8; 3],
    v6: u16,
    mac: u8,
}

pub(crate) const SINGLE: Segment = Segment { v4: [192, 168, 31], v6: 0x31, mac: 0x31 };
pub(crate) const OUTSIDE: Segment = Segment { v4: [110, 0, 0], v6: 0x110, mac: 1 };
pub(crate) const FRONT: Segment = Segment { v4: [192, 168, 0], v6: 0x192, mac: 0 };
pub(crate) const BACK: Segment = Segment { v4: [192, 168, 1], v6: 0x193, mac: 2 };

impl Segment {
    pub(crate) fn addresses(self, host: u8) -> Addresses {
        let [a, b, c] = self.v4;
        // The digits are the same, not the number: 250 becomes 0x250.
        let digits = u16::from(host / 100) << 8 | u16::from(host / 10 % 10) << 4 | u16::from(host % 10);
        Addresses {
            v4: Ipv4Addr::new(a, b, c, host).into(),
            v6: Ipv6Addr::new(0xfd00, self.v6, 0, 0, 0, 0, 0, digits).into(),
        }
    }

    pub(crate) fn subnets(self, host: u8) -> [Subnet; 2] {
        let Addresses { v4, v6 } = self.addresses(host);
        [Subnet::new(v4, 24).expect("24 of 32"), Subnet::new(v6, 64).expect("64 of 128")]
    }

    pub(crate) const fn mac(self, host: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, self.mac, host])
    }
}

/// The last bytes of the real servers' addresses: two of the reference, then 101, 102 ...
///
/// # Panics
/// If the number of servers is not 1 to 16.
#[track_caller]
pub(crate) fn server_numbers(first: [u8; 2], count: usize) -> impl Iterator<Item = u8> {
    assert!((1..=16).contains(&count), "1 to 16 real servers, not {count}");
    first.into_iter().chain((101..).filter(move |number| !first.contains(number))).take(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_have_the_same_digits() {
        assert_eq!(FRONT.addresses(250).v6, "fd00:192::250".parse::<IpAddr>().unwrap());
        assert_eq!(OUTSIDE.addresses(1).v6, "fd00:110::1".parse::<IpAddr>().unwrap());
        assert_eq!(FRONT.addresses(15).v6, "fd00:192::15".parse::<IpAddr>().unwrap());
        assert_eq!(FRONT.mac(188).to_string(), "02:00:00:00:00:bc");
    }

    #[test]
    fn sixteen_servers_have_sixteen_addresses() {
        let numbers: std::collections::BTreeSet<u8> = server_numbers([188, 111], 16).collect();
        assert_eq!(numbers.len(), 16);
    }
}
