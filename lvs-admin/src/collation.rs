//! The order in which ipvsadm shows services and real servers.
//!
//! ipvsadm subtracts addresses as 32-bit numbers and looks at the sign of the difference, which wraps: with
//! 10.9.0.12 and 192.0.2.77 the larger one comes first (recording `rs_unroutable`). Listings are to be the
//! same byte for byte, so it is done like that here, IPv6 in four such words. Among addresses that lie more
//! than half the address space apart the comparison can go in a circle. The sort below is content with that;
//! `slice::sort` may panic.

use std::cmp::Ordering;
use std::net::IpAddr;

use lvs_core::config::{DestinationConfig, ServiceKey};

/// Services: by family (IPv4 first), protocol number, address and port; firewall marks after all addresses.
pub(crate) fn services(a: &ServiceKey, b: &ServiceKey) -> Ordering {
    match (*a, *b) {
        (
            ServiceKey::Address { protocol: p, address: x, port: m },
            ServiceKey::Address { protocol: q, address: y, port: n },
        ) => {
            let family = x.is_ipv6().cmp(&y.is_ipv6());
            family.then(p.number().cmp(&q.number())).then_with(|| addresses(x, y)).then(m.cmp(&n))
        }
        (ServiceKey::Address { .. }, _) => Ordering::Less,
        (_, ServiceKey::Address { .. }) => Ordering::Greater,
        (other, another) => other.cmp(&another),
    }
}

/// Real servers: by address, then port.
pub(crate) fn destinations(a: &DestinationConfig, b: &DestinationConfig) -> Ordering {
    addresses(a.address, b.address).then(a.port.cmp(&b.port))
}

fn addresses(a: IpAddr, b: IpAddr) -> Ordering {
    let difference = |a: u32, b: u32| a.wrapping_sub(b).cast_signed().cmp(&0);
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => difference(a.to_bits(), b.to_bits()),
        (IpAddr::V6(a), IpAddr::V6(b)) => [96, 64, 32, 0]
            .map(|shift| difference((a.to_bits() >> shift) as u32, (b.to_bits() >> shift) as u32))
            .into_iter()
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal),
        (IpAddr::V4(_), IpAddr::V6(_)) => Ordering::Less,
        (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Greater,
    }
}

/// A stable merge sort that takes any comparison: n log n calls of it, one copy of the items.
pub(crate) fn sort<T: Copy>(items: &mut [T], compare: impl Fn(T, T) -> Ordering) {
    sort_halves(items, &mut Vec::with_capacity(items.len()), &compare);
}

fn sort_halves<T: Copy>(items: &mut [T], merged: &mut Vec<T>, compare: &impl Fn(T, T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let (left, right) = items.split_at_mut(items.len() / 2);
    sort_halves(left, merged, compare);
    sort_halves(right, merged, compare);
    let (mut left, mut right) = (&*left, &*right);
    merged.clear();
    while let ([a, more_left @ ..], [b, more_right @ ..]) = (left, right) {
        if compare(*a, *b).is_le() {
            merged.push(*a);
            left = more_left;
        } else {
            merged.push(*b);
            right = more_right;
        }
    }
    merged.extend_from_slice(left);
    merged.extend_from_slice(right);
    items.copy_from_slice(merged);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(list: &[&str]) -> Vec<String> {
        let mut list: Vec<IpAddr> = list.iter().map(|text| text.parse().unwrap()).collect();
        sort(&mut list, addresses);
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn neighbouring_addresses_ascend_and_distant_ones_wrap() {
        assert_eq!(sorted(&["10.0.0.10", "10.0.0.9", "10.0.1.1"]), ["10.0.0.9", "10.0.0.10", "10.0.1.1"]);
        assert_eq!(sorted(&["10.9.0.12", "192.0.2.77"]), ["192.0.2.77", "10.9.0.12"]);
        assert_eq!(sorted(&["fd00::1:0", "fd00::2", "fd00::ffff"]), ["fd00::2", "fd00::ffff", "fd00::1:0"]);
        assert_eq!(sorted(&["fd00::ffff:0", "fd00::1"]), ["fd00::ffff:0", "fd00::1"]);
    }

    proptest! {
        #[test]
        fn sorts_like_the_standard_library_where_that_can(mut items: Vec<(u8, u8)>) {
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            sort(&mut items, |a, b| a.0.cmp(&b.0));
            prop_assert_eq!(items, expected);
        }

        #[test]
        fn a_circular_comparison_loses_nothing(mut items: Vec<u32>) {
            let mut before = items.clone();
            sort(&mut items, |a, b| a.wrapping_sub(b).cast_signed().cmp(&0));
            before.sort_unstable();
            items.sort_unstable();
            prop_assert_eq!(items, before);
        }
    }
}
