//! The values of options: addresses, ports, weights, time-outs, schedulers.
//!
//! Everything is a number or a fixed word. Names of hosts and ports are recognised as such, so that the
//! message can say so, but not looked up: what a rules file means must not hang on a name server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lvs_core::config::{DestinationConfig, SchedulerKind};

use super::error::{Fault, Problem};
use super::problem::{excerpt, schedulers};
use super::words::Word;

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`; the port from 0 to 65535.
pub(super) fn endpoint(word: Word<'_>) -> Result<(IpAddr, Option<u16>), Fault> {
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
            Some(_) => Fault::new(word.range(), Problem::NoBrackets { text: excerpt(text) }),
            None => not_an_address(word),
        }),
    }
}

fn ipv4(word: Word<'_>) -> Result<Ipv4Addr, Fault> {
    parse(word.bytes).ok_or_else(|| {
        let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = word.bytes.iter().all(name) && word.bytes.iter().any(u8::is_ascii_alphabetic);
        if is_name {
            Fault::new(word.range(), Problem::HostName { name: excerpt(word.bytes) })
        } else {
            not_an_address(word)
        }
    })
}

fn ipv6(word: Word<'_>) -> Result<Ipv6Addr, Fault> {
    parse(word.bytes).ok_or_else(|| {
        if word.bytes.contains(&b'%') {
            Fault::new(word.range(), Problem::ZoneIndex { text: excerpt(word.bytes) })
        } else {
            not_an_address(word)
        }
    })
}

fn port(word: Word<'_>) -> Result<u16, Fault> {
    if let Some(port) = number(word.bytes).and_then(|number| u16::try_from(number).ok()) {
        return Ok(port);
    }
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let is_name = word.bytes.iter().all(name) && word.bytes.iter().any(u8::is_ascii_alphabetic);
    let text = excerpt(word.bytes);
    let problem = if is_name { Problem::PortName { name: text } } else { Problem::NotAPort { text } };
    Err(Fault::new(word.range(), problem))
}

/// A weight, 0 to [`DestinationConfig::MAX_WEIGHT`].
pub(super) fn weight(word: Word<'_>) -> Result<u32, Fault> {
    number(word.bytes)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|&weight| weight <= DestinationConfig::MAX_WEIGHT)
        .ok_or_else(|| Fault::new(word.range(), Problem::NotAWeight { text: excerpt(word.bytes) }))
}

/// A time-out in seconds, 0 to 31 days; `None` for 0.
pub(super) fn timeout(word: Word<'_>) -> Result<Option<Duration>, Fault> {
    const LONGEST: u64 = 31 * 24 * 3600;
    match number(word.bytes) {
        Some(0) => Ok(None),
        Some(seconds) if seconds <= LONGEST => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(Fault::new(word.range(), Problem::NotATimeout { text: excerpt(word.bytes) })),
    }
}

/// The name of a scheduler.
pub(super) fn scheduler(word: Word<'_>) -> Result<SchedulerKind, Fault> {
    if let Some(kind) = SchedulerKind::ALL.iter().find(|kind| kind.name().as_bytes() == word.bytes) {
        return Ok(*kind);
    }
    let name = excerpt(word.bytes);
    let problem = if KERNEL_SCHEDULERS.contains(&name.as_str()) {
        let what = format!("the scheduler {name}");
        Problem::NotSupportedYet { what, instead: schedulers().into() }
    } else {
        Problem::UnknownScheduler { name }
    };
    Err(Fault::new(word.range(), problem))
}

/// The schedulers of Linux 6.1.
const KERNEL_SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"];

/// Decimal digits and nothing else: no sign, no spaces; `None` also if it does not fit.
fn number(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    parse(text)
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn not_an_address(word: Word<'_>) -> Fault {
    Fault::new(word.range(), Problem::NotAnAddress { text: excerpt(word.bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word<'_> {
        Word { bytes: text.as_bytes(), start: 7 }
    }

    #[test]
    fn endpoints_of_both_families() {
        let parsed = |text| endpoint(word(text)).map_err(|fault| fault.problem).unwrap();
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
            let fault = endpoint(word(text)).unwrap_err();
            (fault.problem.to_string(), fault.range.start - 7..fault.range.end - 7)
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

    #[test]
    fn numbers_end_where_they_must() {
        assert_eq!(weight(word("2147483647")).unwrap(), 2_147_483_647);
        assert_eq!(weight(word("007")).unwrap(), 7);
        for bad in ["2147483648", "-1", "", "1.5", "+1", "99999999999999999999"] {
            assert!(matches!(weight(word(bad)).unwrap_err().problem, Problem::NotAWeight { .. }), "{bad}");
        }
        assert_eq!(timeout(word("0")).unwrap(), None);
        assert_eq!(timeout(word("2678400")).unwrap(), Some(Duration::from_secs(2_678_400)));
        for bad in ["2678401", "-1", "", "1s"] {
            assert!(matches!(timeout(word(bad)).unwrap_err().problem, Problem::NotATimeout { .. }), "{bad}");
        }
    }

    #[test]
    fn schedulers_are_known_not_yet_supported_or_unknown() {
        assert_eq!(scheduler(word("wrr")).unwrap(), SchedulerKind::WeightedRoundRobin);
        let problem = |text| scheduler(word(text)).unwrap_err().problem;
        assert!(matches!(problem("wlc"), Problem::NotSupportedYet { .. }));
        assert!(matches!(problem("RR"), Problem::UnknownScheduler { .. }));
        assert!(matches!(problem(""), Problem::UnknownScheduler { .. }));
    }
}
