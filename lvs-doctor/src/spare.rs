//! Addresses that nobody has. What a real server sends from the VIP to an address that it does not know yet makes it ask
//! for that address, and shows with which sender.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::Subnet;

/// A number that looks random (splitmix64).
pub(crate) const fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// An address in the subnet that is not `known`, neither the network's nor the broadcast address. `None` if eight tries
/// find none or the subnet is smaller than 8 addresses.
pub(crate) fn pick(subnet: Subnet, seed: u64, known: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    (0..8).map(|n| mix(seed, n)).find_map(|random| {
        let address = match subnet.address() {
            IpAddr::V4(address) => {
                let hosts = u32::MAX.checked_shr(u32::from(subnet.prefix_len())).unwrap_or(0);
                if hosts < 7 {
                    return None;
                }
                // 1 to hosts - 1: the first is the network's, the last the broadcast address.
                let host = 1 + (random % u64::from(hosts - 1)) as u32;
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & !hosts | host))
            }
            IpAddr::V6(address) => {
                let hosts = u128::MAX.checked_shr(u32::from(subnet.prefix_len())).unwrap_or(0);
                if hosts < 7 {
                    return None;
                }
                let wide = u128::from(random) << 64 | u128::from(mix(random, 0));
                // 0 is the routers' anycast address (RFC 4291 section 2.6.1).
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !hosts | (1 + wide % (hosts - 1))))
            }
        };
        (!known(address)).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spares_are_hosts_of_the_subnet(v6: bool, bits: u128, len in 0u8..=128, seed: u64, n: u64) {
            let subnet = if v6 {
                Subnet::new(IpAddr::V6(bits.into()), len).unwrap()
            } else {
                Subnet::new(IpAddr::V4((bits as u32).into()), len % 33).unwrap()
            };
            let room = if v6 { len <= 125 } else { len % 33 <= 29 };
            let found = pick(subnet, mix(seed, n), |_| false);
            prop_assert_eq!(found.is_some(), room);
            if let Some(found) = found {
                prop_assert!(subnet.contains(found));
                prop_assert!(Some(found) != subnet.broadcast());
            }
            prop_assert_eq!(pick(subnet, seed, |_| true), None);
        }
    }
}
