//! The command `--mark N tcp|udp|sctp PREFIX PORT[-PORT][,...]`: marks packets, so that one service takes several ports.
//!
//! ipvsadm has none like it: there the kernel's packet filter sets the marks.

use std::net::{IpAddr, Ipv6Addr};

use lvs_core::Subnet;
use lvs_core::config::{MAX_PORT_RANGES, MarkRule, PortRange, PortRanges};

use super::error::{Fault, Problem};
use super::scan::Scanned;
use super::value::{self, fault, number, parse};
use super::words::Word;

/// The rule that a line's four arguments make.
pub(super) fn rule(line: &Scanned<'_>) -> Result<MarkRule, Fault> {
    let [mark, protocol, prefix, ports] = *line.arguments.as_slice() else {
        let problem = Problem::IncompleteMark { given: line.arguments.len() };
        return Err(Fault::new(line.command.range.clone(), problem));
    };
    Ok(MarkRule {
        mark: value::mark(mark)?,
        protocol: value::protocol(protocol)?,
        destination: subnet(prefix)?,
        ports: port_ranges(ports)?,
    })
}

/// `ADDRESS/LENGTH`, or an address alone, which stands for itself. IPv6 with brackets or without.
fn subnet(word: Word<'_>) -> Result<Subnet, Fault> {
    let read = || {
        let slash = word.bytes.iter().position(|&byte| byte == b'/');
        let address = &word.bytes[..slash.unwrap_or(word.bytes.len())];
        let bare = address.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
        let address = match bare {
            Some(bare) => parse::<Ipv6Addr>(bare)?.into(),
            None => parse::<IpAddr>(address)?,
        };
        let length = match slash {
            Some(slash) => u8::try_from(number(&word.bytes[slash + 1..])?).ok()?,
            None if address.is_ipv6() => 128,
            None => 32,
        };
        Subnet::new(address, length)
    };
    read().ok_or_else(|| fault(word, |text| Problem::NotAPrefix { text }))
}

/// `PORT[-PORT][,...]`, each from 0 to 65535 and no range backwards.
fn port_ranges(word: Word<'_>) -> Result<PortRanges, Fault> {
    let ranges: Vec<PortRange> =
        word.split(b',').take(MAX_PORT_RANGES + 1).map(port_range).collect::<Result<_, _>>()?;
    PortRanges::new(&ranges).ok_or_else(|| Fault::new(word.range(), Problem::TooManyPortRanges))
}

fn port_range(word: Word<'_>) -> Result<PortRange, Fault> {
    let port = |text| u16::try_from(number(text)?).ok();
    let read = || {
        let dash = word.bytes.iter().position(|&byte| byte == b'-');
        let first = port(&word.bytes[..dash.unwrap_or(word.bytes.len())])?;
        let last = dash.map_or(Some(first), |dash| port(&word.bytes[dash + 1..]))?;
        (first <= last).then_some(PortRange { first, last })
    };
    read().ok_or_else(|| fault(word, |text| Problem::NotPorts { text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word<'_> {
        Word { bytes: text.as_bytes(), start: 0 }
    }

    #[test]
    fn prefixes_of_both_families() {
        for (text, same) in [
            ("192.0.2.10/32", "192.0.2.10/32"),
            ("192.0.2.10", "192.0.2.10/32"),
            ("192.0.2.77/24", "192.0.2.77/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("[2001:db8::10]", "2001:db8::10/128"),
            ("[2001:db8::10]/127", "2001:db8::10/127"),
        ] {
            assert_eq!(subnet(word(text)).unwrap().to_string(), same);
        }
        for bad in [
            "",
            "/",
            "192.0.2.10/33",
            "192.0.2.10/",
            "192.0.2.10/+1",
            "[192.0.2.10]",
            "::1/129",
            "[::1",
            "www/32",
        ] {
            let problem = Problem::NotAPrefix { text: bad.to_owned() };
            assert_eq!(subnet(word(bad)).unwrap_err().problem, problem);
        }
    }

    #[test]
    fn ports_and_ranges() {
        let ranges = port_ranges(word("21,10000-20000,0-0,65535")).unwrap();
        let ends: Vec<_> = ranges.as_slice().iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(ends, [(21, 21), (10_000, 20_000), (0, 0), (65_535, 65_535)]);
        for (bad, part, start) in [
            ("", "", 0),
            ("80,", "", 3),
            ("80,81-80", "81-80", 3),
            ("1-2-3", "1-2-3", 0),
            ("-5", "-5", 0),
            ("5-", "5-", 0),
            ("65536", "65536", 0),
            ("http", "http", 0),
        ] {
            let fault = port_ranges(word(bad)).unwrap_err();
            assert_eq!(fault.problem, Problem::NotPorts { text: part.to_owned() });
            assert_eq!(fault.range, start..start + part.len());
        }
        assert!(port_ranges(word(&["7"; 16].join(","))).is_ok());
        let fault = port_ranges(word(&["7"; 17].join(","))).unwrap_err();
        assert_eq!(fault.problem, Problem::TooManyPortRanges);
    }
}
