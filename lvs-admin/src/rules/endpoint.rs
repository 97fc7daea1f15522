//! Addresses of services and real servers, with their ports.
//!
//! Numbers only. Names of hosts and ports are recognised as such, so that the message can say so, but not looked
//! up: what a rules file means must not hang on a name server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use super::error::{Fault, Problem};
use super::problem::excerpt;
use super::value::{number, parse};
use super::words::Word;

/// Whose address stands in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// That of a service, after `-t`, `-u` or `--sctp-service`.
    VirtualServer,
    /// That of a real server, after `-r`.
    RealServer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VirtualServer => "virtual server",
            Self::RealServer => "real server",
        })
    }
}

/// What is wrong with an address or its port.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressProblem {
    /// Neither an address nor something that could be a name.
    #[error("`{0}` is not an address")]
    NotAnAddress(String),
    /// A host name.
    #[error("`{0}` is a host name, and names are not looked up")]
    HostName(String),
    /// An IPv6 address without brackets: where the port begins could not be told.
    #[error("the IPv6 address `{0}` stands without brackets")]
    NoBrackets(String),
    /// An IPv6 address with the name of an interface.
    #[error("`{0}` names an interface; the director finds it by the DIP's subnet")]
    ZoneIndex(String),
    /// Not a port number.
    #[error("`{0}` is not a port")]
    NotAPort(String),
    /// A port's name.
    #[error("`{0}` is the name of a port, and names are not looked up")]
    PortName(String),
}

impl AddressProblem {
    /// What would have been right.
    pub(super) const fn expected(&self) -> &'static str {
        match self {
            Self::NotAnAddress(_) | Self::HostName(_) => {
                "an address in numbers, as in 192.0.2.10:80 or [2001:db8::10]:80"
            }
            Self::NoBrackets(_) => "[ADDRESS] or [ADDRESS]:PORT",
            Self::ZoneIndex(_) => "the address alone",
            Self::NotAPort(_) | Self::PortName(_) => "a number from 0 to 65535",
        }
    }
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`; the port from 0 to 65535.
pub(super) fn endpoint(word: Word<'_>, role: Role) -> Result<(IpAddr, Option<u16>), Fault> {
    read(word).map_err(|(place, reason)| Fault::new(place.range(), Problem::IllegalAddress { role, reason }))
}

/// Where the mistake is, and which.
type Wrong<'a> = (Word<'a>, AddressProblem);

fn read(word: Word<'_>) -> Result<(IpAddr, Option<u16>), Wrong<'_>> {
    let text = word.bytes;
    if text.starts_with(b"[") {
        let Some(end) = text.iter().position(|&byte| byte == b']') else {
            return Err(not_an_address(word));
        };
        let address = ipv6(Word { bytes: &text[1..end], start: word.start + 1 })?;
        let rest = word.tail(end + 1);
        return match rest.bytes {
            [] => Ok((address.into(), None)),
            [b':', ..] => Ok((address.into(), Some(port(rest.tail(1))?))),
            _ => Err(not_an_address(word)),
        };
    }
    let mut colons = text.iter().enumerate().filter(|&(_, &byte)| byte == b':').map(|(at, _)| at);
    match (colons.next(), colons.next()) {
        (None, _) => Ok((ipv4(word)?.into(), None)),
        (Some(colon), None) => {
            let host = Word { bytes: &text[..colon], ..word };
            Ok((ipv4(host)?.into(), Some(port(word.tail(colon + 1))?)))
        }
        (Some(_), Some(_)) => Err(match parse::<Ipv6Addr>(text) {
            Some(_) => (word, AddressProblem::NoBrackets(excerpt(text))),
            None => not_an_address(word),
        }),
    }
}

fn ipv4(word: Word<'_>) -> Result<Ipv4Addr, Wrong<'_>> {
    parse(word.bytes).ok_or_else(|| {
        let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = word.bytes.iter().all(name) && word.bytes.iter().any(u8::is_ascii_alphabetic);
        if is_name { (word, AddressProblem::HostName(excerpt(word.bytes))) } else { not_an_address(word) }
    })
}

fn ipv6(word: Word<'_>) -> Result<Ipv6Addr, Wrong<'_>> {
    parse(word.bytes).ok_or_else(|| {
        if word.bytes.contains(&b'%') {
            (word, AddressProblem::ZoneIndex(excerpt(word.bytes)))
        } else {
            not_an_address(word)
        }
    })
}

fn port(word: Word<'_>) -> Result<u16, Wrong<'_>> {
    if let Some(port) = number(word.bytes).and_then(|number| u16::try_from(number).ok()) {
        return Ok(port);
    }
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let is_name = word.bytes.iter().all(name) && word.bytes.iter().any(u8::is_ascii_alphabetic);
    let text = excerpt(word.bytes);
    Err((word, if is_name { AddressProblem::PortName(text) } else { AddressProblem::NotAPort(text) }))
}

fn not_an_address(word: Word<'_>) -> Wrong<'_> {
    (word, AddressProblem::NotAnAddress(excerpt(word.bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word<'_> {
        Word { bytes: text.as_bytes(), start: 7 }
    }

    #[test]
    fn endpoints_of_both_families() {
        let parsed = |text| endpoint(word(text), Role::RealServer).unwrap();
        assert_eq!(parsed("192.0.2.1"), ("192.0.2.1".parse().unwrap(), None));
        assert_eq!(parsed("192.0.2.1:80"), ("192.0.2.1".parse().unwrap(), Some(80)));
        assert_eq!(parsed("192.0.2.1:00080"), ("192.0.2.1".parse().unwrap(), Some(80)));
        assert_eq!(parsed("[2001:db8::1]"), ("2001:db8::1".parse().unwrap(), None));
        assert_eq!(parsed("[2001:db8::1]:65535"), ("2001:db8::1".parse().unwrap(), Some(65535)));
        assert_eq!(parsed("[2001:db8::1]:0"), ("2001:db8::1".parse().unwrap(), Some(0)));
    }

    #[test]
    fn bad_endpoints_say_which_part_is_wrong() {
        let fault = |text| {
            let fault = endpoint(word(text), Role::RealServer).unwrap_err();
            let Problem::IllegalAddress { reason, .. } = fault.problem else { panic!("{text}") };
            (reason.to_string(), fault.range.start - 7..fault.range.end - 7)
        };
        let not = |text: &str| format!("`{text}` is not an address");
        let port = |text: &str| format!("`{text}` is not a port");
        assert_eq!(fault(""), (not(""), 0..0));
        assert_eq!(fault("1.2.3"), (not("1.2.3"), 0..5));
        assert_eq!(fault("1.2.3.256:80"), (not("1.2.3.256"), 0..9));
        assert_eq!(fault("[::1"), (not("[::1"), 0..4));
        assert_eq!(fault("[::1]80"), (not("[::1]80"), 0..7));
        assert_eq!(fault("[1.2.3.4]:80"), (not("1.2.3.4"), 1..8));
        assert_eq!(fault("a:b:c:zzz"), (not("a:b:c:zzz"), 0..9));
        assert_eq!(fault("1.2.3.4:"), (port(""), 8..8));
        assert_eq!(fault("1.2.3.4:65536"), (port("65536"), 8..13));
        assert_eq!(fault("1.2.3.4:+80"), (port("+80"), 8..11));
        assert_eq!(fault("1.2.3.4:99999999999999999999999"), (port("99999999999999999999999"), 8..31));
        let name = "`http` is the name of a port, and names are not looked up";
        assert_eq!(fault("1.2.3.4:http"), (name.to_owned(), 8..12));
        let host = "`www.example.org` is a host name, and names are not looked up";
        assert_eq!(fault("www.example.org:80"), (host.to_owned(), 0..15));
        let bare = "the IPv6 address `2001:db8::1` stands without brackets";
        assert_eq!(fault("2001:db8::1"), (bare.to_owned(), 0..11));
        let zone = "`fe80::1%eth0` names an interface; the director finds it by the DIP's subnet";
        assert_eq!(fault("[fe80::1%eth0]:80"), (zone.to_owned(), 1..13));
    }
}
