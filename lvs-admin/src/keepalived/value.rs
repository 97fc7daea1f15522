//! The values of keywords.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use lvs_core::config::Timeouts;

use super::tree::Node;
use crate::config::{FileError, duration, excerpt, health};

impl Node {
    /// Something is wrong with the keyword.
    pub(super) fn error(&self, problem: impl std::fmt::Display, expected: impl Into<String>) -> FileError {
        self.place.error(format!("{}: {problem}", excerpt(&self.keyword)), expected)
    }

    /// A value is not what it should be.
    pub(super) fn wrong(&self, value: &str, expected: impl Into<String>) -> FileError {
        self.error(format!("`{}` is not usable", excerpt(value)), expected)
    }

    /// The values of a keyword that has no block.
    pub(super) fn values(&self) -> Result<&[String], FileError> {
        match self.block {
            Some(_) => Err(self.error("it has a block", "values on its line")),
            None => Ok(&self.values),
        }
    }

    /// The only value.
    pub(super) fn value(&self) -> Result<&str, FileError> {
        match self.values()? {
            [value] => Ok(value),
            [] => Err(self.error("it has no value", "one value")),
            _ => Err(self.error(
                "it has several values",
                "one value, in quotes if it has spaces in it, and the end of the line",
            )),
        }
    }

    /// The block of a keyword that has no values.
    pub(super) fn only_block(&self) -> Result<&[Node], FileError> {
        match (&self.values[..], &self.block) {
            ([], Some(nodes)) => Ok(nodes),
            ([value, ..], _) => Err(self.wrong(value, format!("{} {{", self.keyword))),
            ([], None) => Err(self.error("it has no block", format!("{} {{ ... }}", self.keyword))),
        }
    }

    pub(super) fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &self,
        range: RangeInclusive<T>,
    ) -> Result<T, FileError> {
        let value = self.value()?;
        number(value, &range).ok_or_else(|| {
            self.wrong(value, format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A number of seconds of at most 31 days; `zero` says whether it may be 0.
    pub(super) fn timer(&self, zero: bool) -> Result<Duration, FileError> {
        let value = self.value()?;
        let plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let time = duration::parse(value).filter(|time| *time <= Timeouts::MAX && (zero || !time.is_zero()));
        time.filter(|_| plain).ok_or_else(|| {
            let least = if zero { "from 0" } else { "above 0" };
            self.wrong(value, format!("a number of seconds {least}, at most 2678400 (31 days)"))
        })
    }

    /// `on`, `off` and so on; nothing is on.
    pub(super) fn switch(&self) -> Result<bool, FileError> {
        match self.values()? {
            [] => Ok(true),
            [value] => match value.as_str() {
                "on" | "true" | "yes" => Ok(true),
                "off" | "false" | "no" => Ok(false),
                _ => Err(self.wrong(value, "on, off, true, false, yes, no or nothing")),
            },
            _ => Err(self.error("it has several values", "on, off or nothing")),
        }
    }

    /// A keyword that only is there or not.
    pub(super) fn bare(&self) -> Result<(), FileError> {
        match self.values()? {
            [] => Ok(()),
            [value, ..] => Err(self.wrong(value, "nothing behind it")),
        }
    }

    pub(super) fn address(&self, text: &str) -> Result<IpAddr, FileError> {
        text.parse().map_err(|_| {
            let name = text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains(':');
            let hint = if name { "; names are not looked up" } else { "" };
            self.wrong(text, format!("an address, as in 192.0.2.10 or 2001:db8::10{hint}"))
        })
    }

    pub(super) fn port(&self, text: &str, least: u16) -> Result<u16, FileError> {
        number(text, &(least..=u16::MAX))
            .ok_or_else(|| self.wrong(text, format!("a port, as a number from {least} to 65535")))
    }

    /// `ADDRESS [PORT]`; port 0 if there is none.
    pub(super) fn endpoint(&self) -> Result<(IpAddr, u16), FileError> {
        match &self.values[..] {
            [address] => Ok((self.address(address)?, 0)),
            [address, port] => Ok((self.address(address)?, self.port(port, 0)?)),
            _ => Err(self.error("its address and port are not to be made out", "ADDRESS PORT")),
        }
    }

    /// Text for a check: not empty, not too long, without control characters.
    pub(super) fn text(&self, spaces: bool) -> Result<String, FileError> {
        let value = self.value()?;
        match health::unusable(value, spaces) {
            Some(expected) => Err(self.wrong(value, expected)),
            None => Ok(value.to_owned()),
        }
    }
}

/// A number in digits.
pub(super) fn number<T: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<T>) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}
