//! `check = [{ kind = "http", ... }]` of services and servers.

use std::time::Duration;

use super::director::number_range;
use super::table::{Table, Value};
use crate::config::health::{
    self, Check, CheckKind, CommandCheck, DnsCheck, HttpCheck, HttpVersion, Pattern, RecordType, Reply,
    Target, Timing, Tls, UdpCheck, Url, Via,
};
use crate::config::{FileError, nearest};

/// What a service says for all checks of its servers.
pub(super) struct Defaults {
    alpha: bool,
    delay_loop: Duration,
    connect_timeout: Duration,
    retry: Option<u32>,
    rise: u32,
    delay_before_retry: Option<Duration>,
    warmup: Option<Duration>,
    virtual_host: Option<String>,
}

const COMMON: &[&str] = &[
    "kind",
    "connect_address",
    "connect_port",
    "bind_address",
    "bind_port",
    "alpha",
    "delay_loop",
    "connect_timeout",
    "retry",
    "rise",
    "delay_before_retry",
    "warmup",
];

const KINDS: &[&str] = &["tcp", "ping", "http", "https", "udp", "dns", "command"];

impl Defaults {
    pub(super) fn read(table: &Table<'_>) -> Result<Self, FileError> {
        Ok(Self {
            alpha: table.or("alpha", false, Value::switch)?,
            delay_loop: table.or("delay_loop", Timing::DELAY_LOOP, |value| value.time(false))?,
            connect_timeout: table
                .or("connect_timeout", Timing::CONNECT_TIMEOUT, |value| value.time(false))?,
            retry: table.maybe("retry", retry)?,
            rise: table.or("rise", 1, rise)?,
            delay_before_retry: table.maybe("delay_before_retry", |value| value.time(true))?,
            warmup: table.maybe("warmup", |value| value.time(true))?,
            virtual_host: table.maybe("virtual_host", |value| value.text(false))?,
        })
    }
}

fn retry(value: &Value<'_>) -> Result<u32, FileError> {
    value.whole(0..=i64::from(health::MAX_RETRY))
}

fn rise(value: &Value<'_>) -> Result<u32, FileError> {
    value.whole(1..=i64::from(health::MAX_RETRY))
}

fn via(value: &Value<'_>) -> Result<Via, FileError> {
    match value.as_str() {
        Some("vip") => Ok(Via::Vip),
        Some("rip") => Ok(Via::Rip),
        _ => Err(value.wrong("\"vip\", the way of clients, or \"rip\", the server's own address")),
    }
}

/// All checks of a list.
pub(super) fn list(value: &Value<'_>, defaults: &Defaults) -> Result<Vec<Check>, FileError> {
    let list = value.list()?;
    if list.len() > health::MAX_CHECKS {
        return Err(value.wrong(format!("at most {} checks", health::MAX_CHECKS)));
    }
    list.iter().map(|value| check(&value.table()?, defaults)).collect()
}

fn check(table: &Table<'_>, defaults: &Defaults) -> Result<Check, FileError> {
    let needed = || table.missing("kind", &format!("kind = \"NAME\", one of {}", KINDS.join(", ")));
    let kind = table.get("kind").ok_or_else(needed)?;
    let name = kind.as_str().ok_or_else(|| kind.wrong(format!("one of {}", KINDS.join(", "))))?;
    let own: &[&str] = match name {
        "tcp" => &["via"],
        "ping" => &[],
        "http" => &["via", "http_version", "fast_recovery", "url"],
        "https" => &["http_version", "fast_recovery", "url", "send_sni", "sni", "verify"],
        "udp" => &["payload", "require_reply", "min_reply_length", "max_reply_length"],
        "dns" => &["type", "name"],
        "command" => &["command", "timeout", "dynamic", "user"],
        _ => return Err(kind.wrong(nearest::suggestion(name, KINDS))),
    };
    table.known(&[COMMON, own].concat())?;
    let delay_loop = table.or("delay_loop", defaults.delay_loop, |value| value.time(false))?;
    let kind = match name {
        "tcp" => CheckKind::Tcp,
        "ping" => CheckKind::Ping,
        "udp" => CheckKind::Udp(udp(table)?),
        "dns" => CheckKind::Dns(dns(table)?),
        "command" => CheckKind::Command(command(table, delay_loop)?),
        _ => CheckKind::Http(http(table, name == "https", defaults)?),
    };
    let timing = Timing {
        delay_loop,
        connect_timeout: table.or("connect_timeout", defaults.connect_timeout, |value| value.time(false))?,
        retry: table.or("retry", defaults.retry.unwrap_or(kind.default_retry()), retry)?,
        rise: table.or("rise", defaults.rise, rise)?,
        delay_before_retry: {
            let usual = kind.default_delay_before_retry(delay_loop);
            let default = defaults.delay_before_retry.unwrap_or(usual);
            table.or("delay_before_retry", default, |value| value.time(true))?
        },
        warmup: table.or("warmup", defaults.warmup.unwrap_or(delay_loop), |value| value.time(true))?,
    };
    let target = Target {
        via: table.or("via", Via::default(), via)?,
        address: table.maybe("connect_address", Value::address)?,
        port: table.maybe("connect_port", Value::port)?,
        source: table.maybe("bind_address", Value::address)?,
        source_port: table.maybe("bind_port", Value::port)?,
    };
    Ok(Check { kind, target, timing, alpha: table.or("alpha", defaults.alpha, Value::switch)? })
}

fn http(table: &Table<'_>, tls: bool, defaults: &Defaults) -> Result<HttpCheck, FileError> {
    let names = HttpVersion::ALL.map(HttpVersion::name);
    let version = table.or("http_version", HttpVersion::default(), |value| {
        let known = HttpVersion::ALL.into_iter().find(|version| value.as_str() == Some(version.name()));
        known.ok_or_else(|| value.wrong(format!("one of \"{}\" in quotes", names.join("\", \""))))
    })?;
    let tls = if tls {
        let sni = table.maybe("sni", |value| value.text(false))?;
        let verify = table.or("verify", true, Value::switch)?;
        Some(Tls { send_sni: table.or("send_sni", false, Value::switch)?, sni, verify })
    } else {
        None
    };
    let base = Url { virtual_host: defaults.virtual_host.clone(), ..Url::default() };
    let urls = match table.get("url") {
        Some(value) => {
            let list = value.list()?;
            if list.is_empty() || list.len() > health::MAX_URLS {
                return Err(value.wrong(format!("1 to {} pages", health::MAX_URLS)));
            }
            list.iter().map(|value| url(value, &base)).collect::<Result<_, _>>()?
        }
        None => vec![base],
    };
    Ok(HttpCheck { tls, version, fast_recovery: table.or("fast_recovery", false, Value::switch)?, urls })
}

/// A path, or a table.
fn url(value: &Value<'_>, base: &Url) -> Result<Url, FileError> {
    if !value.is_table() {
        return Ok(Url { path: value.text(false)?, ..base.clone() });
    }
    let table = value.table()?;
    table.known(&[
        "path",
        "virtual_host",
        "status",
        "digest",
        "regex",
        "regex_no_match",
        "regex_caseless",
        "regex_multiline",
        "regex_dotall",
    ])?;
    let host = table.maybe("virtual_host", |value| value.text(false))?;
    let status = table.or("status", base.status.clone(), |value| {
        let list = value.list()?;
        if list.is_empty() || list.len() > health::MAX_STATUS_RANGES {
            return Err(value.wrong(format!("1 to {} codes or ranges", health::MAX_STATUS_RANGES)));
        }
        list.iter().map(|value| number_range(value, 999)).collect()
    })?;
    let digest = table.maybe("digest", |value| {
        let bytes = value.as_str().filter(|text| text.len() == 32).and_then(health::parse_hex);
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| value.wrong("an MD5 sum in 32 hexadecimal digits"))
    })?;
    let switch = |key| table.or(key, false, Value::switch);
    let options = [
        switch("regex_no_match")?,
        switch("regex_caseless")?,
        switch("regex_multiline")?,
        switch("regex_dotall")?,
    ];
    let [no_match, caseless, multiline, dotall] = options;
    let regex = table.maybe("regex", |value| {
        let pattern = Pattern { expression: value.text(true)?, no_match, caseless, multiline, dotall };
        match pattern.fault() {
            Some((problem, expected)) => Err(value.error(problem, expected)),
            None => Ok(pattern),
        }
    })?;
    if regex.is_none() && options.contains(&true) {
        return Err(table.missing("regex", "a regular expression, as there are options for it"));
    }
    Ok(Url {
        path: table.or("path", base.path.clone(), |value| value.text(false))?,
        virtual_host: host.or_else(|| base.virtual_host.clone()),
        status,
        digest,
        regex,
    })
}

fn udp(table: &Table<'_>) -> Result<UdpCheck, FileError> {
    let expected = || format!("up to {} bytes in hexadecimal digits", health::MAX_PAYLOAD);
    let payload = table.maybe("payload", |value| {
        value.as_str().and_then(health::parse_hex).ok_or_else(|| value.wrong(expected()))
    })?;
    let length = |key, default| table.or(key, default, |value: &Value<'_>| value.whole(0..=65_507));
    let (min_length, max_length) = (length("min_reply_length", 0)?, length("max_reply_length", 255)?);
    let wanted = table.or("require_reply", None, |value| match (value.as_switch(), value.as_str()) {
        (Some(wanted), _) => Ok(wanted.then(Vec::new)),
        (_, Some(text)) => health::parse_masked_hex(text).map(Some).ok_or_else(|| value.wrong(expected())),
        _ => {
            Err(value
                .wrong("true, false, or the answer's first bytes, with x for a digit that does not count"))
        }
    })?;
    let Some(pattern) = wanted else {
        return match table.get("min_reply_length").or_else(|| table.get("max_reply_length")) {
            Some(value) => Err(value.error("no answer is asked for", "require_reply = true besides")),
            None => Ok(UdpCheck { payload, reply: None }),
        };
    };
    if let Some(value) = table.get("min_reply_length")
        && min_length > max_length
    {
        return Err(value.wrong(format!("at most max_reply_length, which is {max_length}")));
    }
    Ok(UdpCheck { payload, reply: Some(Reply { pattern, min_length, max_length }) })
}

fn dns(table: &Table<'_>) -> Result<DnsCheck, FileError> {
    let record = table.or("type", RecordType::default(), |value| {
        let known = RecordType::ALL.into_iter().find(|record| value.as_str() == Some(record.name()));
        known.ok_or_else(|| {
            value.wrong(format!("one of {}", RecordType::ALL.map(RecordType::name).join(", ")))
        })
    })?;
    Ok(DnsCheck { record, name: table.or("name", ".".to_owned(), |value| value.text(false))? })
}

fn command(table: &Table<'_>, delay_loop: Duration) -> Result<CommandCheck, FileError> {
    let needed = || table.missing("command", "command = \"/usr/local/bin/check-shop\"");
    Ok(CommandCheck {
        command: table.get("command").ok_or_else(needed)?.text(true)?,
        timeout: table.or("timeout", delay_loop, |value| value.time(false))?,
        dynamic: table.or("dynamic", false, Value::switch)?,
        user: table.maybe("user", |value| value.text(true))?,
    })
}
