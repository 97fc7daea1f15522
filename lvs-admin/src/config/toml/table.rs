//! Tables and values of a TOML document that know where they stand and what they are called.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use lvs_core::config::Timeouts;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::{FileError, Place, duration, excerpt, health, nearest};

/// A document with the places of its lines.
pub(super) struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Where each line but the first begins.
    lines: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: Arc<str>, text: &'a str) -> Self {
        let lines =
            text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1).collect();
        Self { file, text, lines }
    }

    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'a>>, FileError> {
        DeTable::parse(self.text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let (problem, expected) = message.split_once(", expected ").unwrap_or((&message, ""));
            let expected = if expected.is_empty() { "TOML as in examples/etc/lvs.toml" } else { expected };
            let start = error.span().map_or(0, |span| span.start);
            self.place(start).error(format!("not TOML: {problem}"), expected)
        })
    }

    fn place(&self, offset: usize) -> Place {
        Place::new(&self.file, 1 + self.lines.partition_point(|&start| start <= offset))
    }

    pub(super) fn top<'t>(&'t self, table: &'t DeTable<'t>) -> Table<'t> {
        Table { reader: self, path: String::new(), table, offset: 0 }
    }
}

/// A table: its entries, its name, and where it begins.
pub(super) struct Table<'t> {
    reader: &'t Reader<'t>,
    path: String,
    table: &'t DeTable<'t>,
    offset: usize,
}

impl<'t> Table<'t> {
    pub(super) fn place(&self) -> Place {
        self.reader.place(self.offset)
    }

    fn join(&self, key: &str) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.path, excerpt(key))
    }

    /// Makes sure that there are only these keys.
    pub(super) fn known(&self, keys: &[&str]) -> Result<(), FileError> {
        let odd = self.table.iter().filter(|(key, _)| !keys.contains(&key.get_ref().as_ref()));
        let Some((key, _)) = odd.min_by_key(|(key, _)| key.span().start) else { return Ok(()) };
        let problem = format!("{}: there is no such key", self.join(key.get_ref()));
        Err(self.reader.place(key.span().start).error(problem, nearest::suggestion(key.get_ref(), keys)))
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        let value = self.table.get(key)?;
        let (offset, path) = (value.span().start, self.join(key));
        Some(Value { reader: self.reader, path, value: value.get_ref(), offset })
    }

    /// Every entry, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'t str, Value<'t>)> {
        let mut keys: Vec<_> = self.table.keys().collect();
        keys.sort_by_key(|key| key.span().start);
        keys.into_iter().filter_map(|key| Some((key.get_ref().as_ref(), self.get(key.get_ref())?))).collect()
    }

    pub(super) fn missing(&self, key: &str, expected: &str) -> FileError {
        self.place().error(format!("{}: it is missing", self.join(key)), expected)
    }

    /// What `read` makes of the value, or the default if there is none.
    pub(super) fn or<T>(
        &self,
        key: &str,
        default: T,
        read: impl FnOnce(&Value<'t>) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        self.get(key).map_or(Ok(default), |value| read(&value))
    }

    /// What `read` makes of the value, if there is one.
    pub(super) fn maybe<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Value<'t>) -> Result<T, FileError>,
    ) -> Result<Option<T>, FileError> {
        self.get(key).map(|value| read(&value)).transpose()
    }

    /// The tables of a list `[[key]]`; none if there is no such key.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<Table<'t>>, FileError> {
        self.or(key, Vec::new(), |value| value.list()?.iter().map(Value::table).collect())
    }
}

/// A value: itself, its name, and where it begins.
pub(super) struct Value<'t> {
    reader: &'t Reader<'t>,
    path: String,
    value: &'t DeValue<'t>,
    offset: usize,
}

impl<'t> Value<'t> {
    pub(super) fn place(&self) -> Place {
        self.reader.place(self.offset)
    }

    /// The value is not what it should be.
    pub(super) fn wrong(&self, expected: impl Into<String>) -> FileError {
        self.error(format!("{self} is not usable"), expected)
    }

    /// Something else is wrong with it.
    pub(super) fn error(&self, problem: impl fmt::Display, expected: impl Into<String>) -> FileError {
        self.place().error(format!("{}: {problem}", self.path), expected)
    }

    pub(super) fn as_str(&self) -> Option<&'t str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_switch(&self) -> Option<bool> {
        match *self.value {
            DeValue::Boolean(on) => Some(on),
            _ => None,
        }
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    fn as_whole(&self) -> Option<i64> {
        match self.value {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        }
    }

    /// A string that `T` can be read from.
    pub(super) fn parsed<T: FromStr>(&self, expected: &str) -> Result<T, FileError> {
        self.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| self.wrong(expected))
    }

    pub(super) fn address(&self) -> Result<IpAddr, FileError> {
        self.parsed("an address in quotes, as in \"192.0.2.10\" or \"2001:db8::10\"")
    }

    /// Text for a check: not empty, not too long, without control characters.
    pub(super) fn text(&self, spaces: bool) -> Result<String, FileError> {
        let text = self.as_str().ok_or_else(|| self.wrong("a text in quotes"))?;
        match health::unusable(text, spaces) {
            Some(expected) => Err(self.wrong(expected)),
            None => Ok(text.to_owned()),
        }
    }

    pub(super) fn switch(&self) -> Result<bool, FileError> {
        self.as_switch().ok_or_else(|| self.wrong("true or false"))
    }

    pub(super) fn whole<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Result<T, FileError> {
        let number = self.as_whole().filter(|number| range.contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.wrong(format!("a whole number from {} to {}", range.start(), range.end())))
    }

    pub(super) fn port(&self) -> Result<u16, FileError> {
        self.whole(1..=65_535)
    }

    /// A time of at most 31 days; `zero` says whether it may be none.
    pub(super) fn time(&self, zero: bool) -> Result<Duration, FileError> {
        let time = match self.value {
            DeValue::String(text) => duration::parse(text),
            DeValue::Float(number) => duration::parse(number.as_str()),
            _ => self.as_whole().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
        };
        let good = |time: &Duration| *time <= Timeouts::MAX && (zero || !time.is_zero());
        time.filter(good).ok_or_else(|| {
            let least = if zero { "" } else { " more than 0 and" };
            self.wrong(format!(
                "a time of{least} at most 31 days, as in \"5s\", \"500ms\", \"2m\" or 5 (seconds)"
            ))
        })
    }

    pub(super) fn list(&self) -> Result<Vec<Value<'t>>, FileError> {
        let DeValue::Array(values) = self.value else { return Err(self.wrong("a list")) };
        let each = values.iter().map(|value| Value {
            reader: self.reader,
            path: self.path.clone(),
            value: value.get_ref(),
            offset: value.span().start,
        });
        Ok(each.collect())
    }

    pub(super) fn table(&self) -> Result<Table<'t>, FileError> {
        let DeValue::Table(table) = self.value else { return Err(self.wrong("a table")) };
        Ok(Table { reader: self.reader, path: self.path.clone(), table, offset: self.offset })
    }
}

/// As in the file, shortened.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            DeValue::String(text) => write!(f, "\"{}\"", excerpt(text)),
            DeValue::Integer(number) => f.write_str(&excerpt(&number.to_string())),
            DeValue::Float(number) => f.write_str(&excerpt(number.as_str())),
            DeValue::Boolean(on) => write!(f, "{on}"),
            DeValue::Datetime(date) => write!(f, "{date}"),
            DeValue::Array(_) => f.write_str("a list"),
            DeValue::Table(_) => f.write_str("a table"),
        }
    }
}
