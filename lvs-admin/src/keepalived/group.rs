//! `virtual_server_group`: addresses, ranges of them, and marks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tree::Node;
use super::value;
use crate::config::{FileError, Place};

/// A line of a group.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) place: Place,
    pub(super) what: What,
}

/// What a line of a group stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// Addresses from the first to the last, with a port; 0 if there is none.
    Addresses { ipv6: bool, first: u128, last: u128, port: u16 },
    /// A mark, and its family if that is said.
    Mark { mark: u32, ipv6: Option<bool> },
}

/// What a group consists of.
pub(super) fn members(node: &Node) -> Result<Vec<Member>, FileError> {
    let Some(block) = &node.block else {
        return Err(node.error("it has no block", "virtual_server_group NAME { ADDRESS PORT ... }"));
    };
    let members: Vec<_> = block.iter().map(member).collect::<Result<_, _>>()?;
    if members.is_empty() {
        return Err(node.error(
            "the group is empty",
            "ADDRESS PORT, ADDRESS-ADDRESS PORT, ADDRESS/LEN PORT or fwmark N",
        ));
    }
    Ok(members)
}

fn member(node: &Node) -> Result<Member, FileError> {
    let place = node.place.clone();
    let values = node.values()?;
    if node.keyword == "fwmark" {
        return Ok(Member { place, what: fwmark(node, values)? });
    }
    let (ipv6, first, last) = range(node)?;
    let port = match values {
        [] => 0,
        [port] => node.port(port, 0)?,
        [_, more, ..] => return Err(node.wrong(more, "ADDRESS PORT")),
    };
    Ok(Member { place, what: What::Addresses { ipv6, first, last, port } })
}

fn fwmark(node: &Node, values: &[String]) -> Result<What, FileError> {
    let (mark, family) = match values {
        [mark] => (mark, None),
        [mark, family] => (mark, Some(family)),
        _ => return Err(node.error("the mark is not to be made out", "fwmark NUMBER")),
    };
    let ipv6 = family.map(|family| self::family(node, family)).transpose()?;
    Ok(What::Mark { mark: self::mark(node, mark)?, ipv6 })
}

pub(super) fn mark(node: &Node, text: &str) -> Result<u32, FileError> {
    value::number(text, &(1..=u32::MAX))
        .ok_or_else(|| node.wrong(text, "a mark, as a number from 1 to 4294967295"))
}

/// Whether `inet6` is said.
pub(super) fn family(node: &Node, text: &str) -> Result<bool, FileError> {
    match text {
        "inet" => Ok(false),
        "inet6" => Ok(true),
        _ => Err(node.wrong(text, "inet or inet6")),
    }
}

/// `A`, `A-B` (B whole or its last part) or `A/LEN`: the family, the first and the last address.
fn range(node: &Node) -> Result<(bool, u128, u128), FileError> {
    let text = node.keyword.as_str();
    let expected = "ADDRESS, ADDRESS-ADDRESS, ADDRESS-LAST or ADDRESS/LEN, or fwmark NUMBER";
    if let Some((start, length)) = text.split_once('/') {
        let address = node.address(start)?;
        let bits = if address.is_ipv6() { 128 } else { 32 };
        let length = value::number(length, &(0..=bits)).ok_or_else(|| node.wrong(text, expected))?;
        let hosts = 1u128.checked_shl(bits - length).map_or(u128::MAX, |size| size - 1);
        let first = number_of(address) & !hosts;
        return Ok((address.is_ipv6(), first, first | hosts));
    }
    let Some((start, end)) = text.split_once('-') else {
        let address = node.address(text)?;
        return Ok((address.is_ipv6(), number_of(address), number_of(address)));
    };
    let first = node.address(start)?;
    let last = match (first, end.parse::<IpAddr>()) {
        (_, Ok(last)) if last.is_ipv6() == first.is_ipv6() => number_of(last),
        (IpAddr::V4(first), Err(_)) => {
            let last: u8 = value::number(end, &(0..=255)).ok_or_else(|| node.wrong(text, expected))?;
            let [a, b, c, _] = first.octets();
            Ipv4Addr::from([a, b, c, last]).to_bits().into()
        }
        (IpAddr::V6(first), Err(_)) if (1..=4).contains(&end.len()) => {
            let last = u16::from_str_radix(end, 16).map_err(|_| node.wrong(text, expected))?;
            (first.to_bits() & !0xffff) | u128::from(last)
        }
        _ => return Err(node.wrong(text, expected)),
    };
    let first_number = number_of(first);
    if last < first_number {
        return Err(node.wrong(text, "a range that ends behind its beginning"));
    }
    Ok((first.is_ipv6(), first_number, last))
}

fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with that number.
pub(super) fn address_of(ipv6: bool, number: u128) -> IpAddr {
    if ipv6 { Ipv6Addr::from_bits(number).into() } else { Ipv4Addr::from_bits(number as u32).into() }
}
