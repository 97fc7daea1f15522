//! The values of options that are numbers, masks or fixed words.

use std::net::Ipv4Addr;
use std::time::Duration;

use lvs_core::config::{ClientMask, DestinationConfig, Protocol, SchedulerKind};

use super::error::{Fault, Problem};
use super::problem::excerpt;
use super::words::Word;

/// A weight, 0 to [`DestinationConfig::MAX_WEIGHT`].
pub(super) fn weight(word: Word<'_>) -> Result<u32, Fault> {
    number(word.bytes)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|&weight| weight <= DestinationConfig::MAX_WEIGHT)
        .ok_or_else(|| fault(word, |text| Problem::NotAWeight { text }))
}

/// A number of connections.
pub(super) fn threshold(word: Word<'_>) -> Result<u32, Fault> {
    let number = number(word.bytes).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| fault(word, |text| Problem::NotAThreshold { text }))
}

/// A firewall mark; 0 means unmarked and is none.
pub(super) fn mark(word: Word<'_>) -> Result<u32, Fault> {
    let mark = number(word.bytes).and_then(|number| u32::try_from(number).ok()).filter(|&mark| mark != 0);
    mark.ok_or_else(|| fault(word, |text| Problem::NotAMark { text }))
}

/// A time-out of `--set` in seconds, 0 to 31 days; `None` for 0.
pub(super) fn timeout_or_zero(word: Word<'_>) -> Result<Option<Duration>, Fault> {
    match number(word.bytes) {
        Some(0) => Ok(None),
        Some(seconds) if seconds <= LONGEST_TIMEOUT => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(fault(word, |text| Problem::NotATimeout { text, zero: true })),
    }
}

/// A time-out in seconds, 1 to 31 days.
pub(super) fn timeout(word: Word<'_>) -> Result<Duration, Fault> {
    number(word.bytes)
        .filter(|seconds| (1..=LONGEST_TIMEOUT).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| fault(word, |text| Problem::NotATimeout { text, zero: false }))
}

const LONGEST_TIMEOUT: u64 = 31 * 24 * 3600;

/// The length of a slow start in seconds, 1 to a day.
pub(super) fn slow_start(word: Word<'_>) -> Result<Duration, Fault> {
    number(word.bytes)
        .filter(|seconds| (1..=86_400).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| fault(word, |text| Problem::NotASlowStart { text }))
}

/// An IPv4 mask as an address (not 0.0.0.0; gaps are allowed, as in ipvsadm), or an IPv6 prefix length, 1 to 128.
///
/// A plain number is no IPv4 mask: to ipvsadm `24` is 0.0.0.24, to anybody else 255.255.255.0.
pub(super) fn mask(word: Word<'_>, ipv6: bool) -> Result<ClientMask, Fault> {
    let mask = if ipv6 {
        number(word.bytes).and_then(|length| u8::try_from(length).ok()).map(ClientMask::V6)
    } else {
        parse::<Ipv4Addr>(word.bytes).map(|mask| ClientMask::V4(mask.to_bits()))
    };
    mask.filter(|mask| match *mask {
        ClientMask::V4(bits) => bits != 0,
        ClientMask::V6(length) => (1..=128).contains(&length),
    })
    .ok_or_else(|| fault(word, |text| Problem::NotAMask { text, ipv6 }))
}

/// The name of a transport protocol in small letters.
pub(super) fn protocol(word: Word<'_>) -> Result<Protocol, Fault> {
    match word.bytes {
        b"tcp" => Ok(Protocol::Tcp),
        b"udp" => Ok(Protocol::Udp),
        b"sctp" => Ok(Protocol::Sctp),
        _ => Err(fault(word, |text| Problem::NotAProtocol { text })),
    }
}

/// The name of a scheduler.
pub(super) fn scheduler(word: Word<'_>) -> Result<SchedulerKind, Fault> {
    let kind = SchedulerKind::ALL.iter().find(|kind| kind.name().as_bytes() == word.bytes);
    kind.copied().ok_or_else(|| fault(word, |name| Problem::UnknownScheduler { name }))
}

/// Decimal digits and nothing else: no sign, no spaces; `None` also if it does not fit.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    parse(text)
}

pub(super) fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What is wrong with a word, quoting it.
pub(super) fn fault(word: Word<'_>, problem: impl FnOnce(String) -> Problem) -> Fault {
    Fault::new(word.range(), problem(excerpt(word.bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word<'_> {
        Word { bytes: text.as_bytes(), start: 7 }
    }

    #[test]
    fn numbers_end_where_they_must() {
        assert_eq!(weight(word("2147483647")).unwrap(), 2_147_483_647);
        assert_eq!(weight(word("007")).unwrap(), 7);
        for bad in ["2147483648", "-1", "", "1.5", "+1", "99999999999999999999"] {
            assert!(matches!(weight(word(bad)).unwrap_err().problem, Problem::NotAWeight { .. }), "{bad}");
        }
        assert_eq!(threshold(word("4294967295")).unwrap(), u32::MAX);
        assert!(threshold(word("4294967296")).is_err());
        assert_eq!(mark(word("4294967295")).unwrap(), u32::MAX);
        for bad in ["0", "4294967296", "0x1", "-1", ""] {
            assert_eq!(mark(word(bad)).unwrap_err().problem, Problem::NotAMark { text: bad.to_owned() });
        }
    }

    #[test]
    fn times_end_where_they_must() {
        let seconds = Duration::from_secs;
        assert_eq!(timeout_or_zero(word("0")).unwrap(), None);
        assert_eq!(timeout_or_zero(word("2678400")).unwrap(), Some(seconds(2_678_400)));
        assert_eq!(
            (timeout(word("1")).unwrap(), timeout(word("2678400")).unwrap()),
            (seconds(1), seconds(2_678_400))
        );
        for bad in ["2678401", "-1", "", "1s"] {
            assert!(timeout_or_zero(word(bad)).is_err() && timeout(word(bad)).is_err(), "{bad}");
        }
        assert!(timeout(word("0")).is_err());
        assert_eq!(
            (slow_start(word("1")).unwrap(), slow_start(word("86400")).unwrap()),
            (seconds(1), seconds(86_400))
        );
        assert!(slow_start(word("0")).is_err() && slow_start(word("86401")).is_err());
    }

    #[test]
    fn masks_are_those_of_the_family() {
        assert_eq!(mask(word("255.255.255.0"), false).unwrap(), ClientMask::V4(0xffff_ff00));
        assert_eq!(mask(word("255.0.0.255"), false).unwrap(), ClientMask::V4(0xff00_00ff));
        assert_eq!(mask(word("64"), true).unwrap(), ClientMask::V6(64));
        assert_eq!(mask(word("128"), true).unwrap(), ClientMask::V6(128));
        for (bad, ipv6) in
            [("24", false), ("0.0.0.0", false), ("0", true), ("129", true), ("255.255.255.0", true)]
        {
            let problem = Problem::NotAMask { text: bad.to_owned(), ipv6 };
            assert_eq!(mask(word(bad), ipv6).unwrap_err().problem, problem);
        }
    }

    #[test]
    fn schedulers_are_known_or_unknown() {
        for kind in SchedulerKind::ALL {
            assert_eq!(scheduler(word(kind.name())).unwrap(), *kind);
        }
        assert_eq!(SchedulerKind::ALL.len(), 14);
        for bad in ["RR", "", "wl"] {
            assert!(matches!(scheduler(word(bad)).unwrap_err().problem, Problem::UnknownScheduler { .. }));
        }
    }
}
