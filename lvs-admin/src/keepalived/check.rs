//! The checks of a real server.

use std::net::IpAddr;

use super::settings::Settings;
use super::tree::Node;
use super::{value, words};
use crate::config::health::{
    self, Check, CheckKind, CommandCheck, DnsCheck, HttpCheck, HttpVersion, Pattern, RecordType, Reply,
    Target, Tls, UdpCheck, Url,
};
use crate::config::{Assembly, FileError, Place};

/// A check, unless the node is none. `port` is asked if the check names none; nothing stands for the service's.
pub(super) fn read(
    node: &Node,
    settings: &Settings,
    port: Option<u16>,
    assembly: &mut Assembly,
) -> Result<Option<Check>, FileError> {
    let Some(block) = words::check(&node.keyword) else { return Ok(None) };
    let nodes = block.sort(node.only_block()?, assembly)?;
    let settings = settings.with(&nodes)?;
    let kind = match node.keyword.as_str() {
        "TCP_CHECK" => CheckKind::Tcp,
        "PING_CHECK" => CheckKind::Ping,
        "DNS_CHECK" => CheckKind::Dns(dns(&nodes)?),
        "UDP_CHECK" => CheckKind::Udp(udp(&nodes)?),
        "MISC_CHECK" => CheckKind::Command(misc(node, &nodes, &settings)?),
        name => CheckKind::Http(http(&nodes, name == "SSL_GET", &settings, assembly)?),
    };
    let target = match kind {
        CheckKind::Command(_) => Target::default(),
        CheckKind::Ping => target(&nodes, None)?,
        _ => target(&nodes, port)?,
    };
    Ok(Some(Check { target, timing: settings.timing(&kind), alpha: settings.alpha, kind }))
}

fn target(nodes: &[&Node], port: Option<u16>) -> Result<Target, FileError> {
    let mut target = Target { port, ..Target::default() };
    let address =
        |node: &Node| -> Result<Option<IpAddr>, FileError> { node.address(node.value()?).map(Some) };
    for node in nodes {
        match node.keyword.as_str() {
            "connect_ip" => target.address = address(node)?,
            "connect_port" => target.port = Some(node.port(node.value()?, 1)?),
            "bindto" => target.source = address(node)?,
            "bind_port" => target.source_port = Some(node.port(node.value()?, 1)?),
            _ => {}
        }
    }
    Ok(target)
}

fn http(
    nodes: &[&Node],
    tls: bool,
    settings: &Settings,
    assembly: &mut Assembly,
) -> Result<HttpCheck, FileError> {
    let mut check = HttpCheck {
        tls: tls.then(Tls::default),
        version: HttpVersion::default(),
        fast_recovery: false,
        urls: Vec::new(),
    };
    for node in nodes {
        match node.keyword.as_str() {
            "http_protocol" => {
                let value = node.value()?;
                let known = HttpVersion::ALL.into_iter().find(|version| version.name() == value);
                check.version = known.ok_or_else(|| node.wrong(value, "1.0, 1.0C or 1.1"))?;
            }
            "fast_recovery" => check.fast_recovery = node.switch()?,
            "url" if check.urls.len() >= health::MAX_URLS => {
                return Err(node
                    .error("there are too many pages", format!("at most {} in a check", health::MAX_URLS)));
            }
            "url" => check.urls.push(url(node, settings, assembly)?),
            _ => {}
        }
    }
    if let Some(tls) = &mut check.tls {
        for node in nodes {
            match node.keyword.as_str() {
                "enable_sni" => tls.send_sni = node.switch()?,
                "sni_name" => tls.sni = Some(node.text(false)?),
                _ => {}
            }
        }
        // A name is there to be said.
        tls.send_sni |= tls.sni.is_some();
    }
    if check.urls.is_empty() {
        check.urls.push(Url { virtual_host: settings.virtual_host.clone(), ..Url::default() });
    }
    Ok(check)
}

fn url(node: &Node, settings: &Settings, assembly: &mut Assembly) -> Result<Url, FileError> {
    let nodes = words::URL.sort(node.only_block()?, assembly)?;
    let mut url = Url { virtual_host: settings.virtual_host.clone(), ..Url::default() };
    let mut pattern = Pattern {
        expression: String::new(),
        no_match: false,
        caseless: false,
        multiline: false,
        dotall: false,
    };
    let (mut expression, mut option): (Option<&Node>, Option<&Node>) = (None, None);
    for node in nodes {
        match node.keyword.as_str() {
            "path" => url.path = node.text(false)?,
            "virtualhost" => url.virtual_host = Some(node.text(false)?),
            "digest" => url.digest = Some(digest(node)?),
            "status_code" => url.status = status(node)?,
            "regex" => (pattern.expression, expression) = (node.text(true)?, Some(node)),
            "regex_no_match" => {
                node.bare()?;
                (pattern.no_match, option) = (true, Some(node));
            }
            _ => {
                regex_options(node, &mut pattern)?;
                option = Some(node);
            }
        }
    }
    match (expression, option) {
        (Some(node), _) => match pattern.fault() {
            Some((problem, expected)) => return Err(node.error(problem, expected)),
            None => url.regex = Some(pattern),
        },
        (None, Some(node)) => return Err(node.error("there is no regex for it", "regex EXPRESSION besides")),
        (None, None) => {}
    }
    Ok(url)
}

fn digest(node: &Node) -> Result<[u8; 16], FileError> {
    let value = node.value()?;
    let bytes = Some(value).filter(|value| value.len() == 32).and_then(health::parse_hex);
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| node.wrong(value, "an MD5 sum in 32 hexadecimal digits"))
}

fn status(node: &Node) -> Result<Vec<(u16, u16)>, FileError> {
    let values = node.values()?;
    if values.is_empty() || values.len() > health::MAX_STATUS_RANGES {
        let expected = format!("1 to {} codes or ranges, as in 200 300-302", health::MAX_STATUS_RANGES);
        return Err(node.error("its codes are not to be made out", expected));
    }
    let code = |text: &str| value::number(text, &(100..=999u16));
    let one = |value: &String| {
        let (first, last) = value.split_once('-').unwrap_or((value, value));
        let range = code(first).zip(code(last)).filter(|(first, last)| first <= last);
        range.ok_or_else(|| node.wrong(value, "a status code or a range, as in 200 or 200-299"))
    };
    values.iter().map(one).collect()
}

fn regex_options(node: &Node, pattern: &mut Pattern) -> Result<(), FileError> {
    for value in node.values()? {
        match value.as_str() {
            "caseless" => pattern.caseless = true,
            "multiline" => pattern.multiline = true,
            "dotall" => pattern.dotall = true,
            _ => {
                return Err(node
                    .wrong(value, "caseless, multiline or dotall: the others would be another expression"));
            }
        }
    }
    Ok(())
}

fn dns(nodes: &[&Node]) -> Result<DnsCheck, FileError> {
    let mut check = DnsCheck { record: RecordType::default(), name: ".".to_owned() };
    for node in nodes {
        match node.keyword.as_str() {
            "type" => {
                let value = node.value()?;
                let known = RecordType::ALL.into_iter().find(|record| record.name() == value);
                let names = RecordType::ALL.map(RecordType::name).join(", ");
                check.record = known.ok_or_else(|| node.wrong(value, format!("one of {names}")))?;
            }
            "name" => check.name = node.text(false)?,
            _ => {}
        }
    }
    Ok(check)
}

fn udp(nodes: &[&Node]) -> Result<UdpCheck, FileError> {
    let mut check = UdpCheck { payload: None, reply: None };
    let (mut reply, mut bound): (Reply, Option<&Node>) = (Reply::default(), None);
    let expected = || format!("up to {} bytes in hexadecimal digits", health::MAX_PAYLOAD);
    for node in nodes {
        match node.keyword.as_str() {
            "payload" => {
                let text = node.values()?.join(" ");
                let bytes = health::parse_hex(&text).filter(|bytes| !bytes.is_empty());
                check.payload = Some(bytes.ok_or_else(|| node.wrong(&text, expected()))?);
            }
            "require_reply" => {
                let text = node.values()?.join(" ");
                reply.pattern = health::parse_masked_hex(&text).ok_or_else(|| {
                    node.wrong(&text, expected() + ", with x for one that does not count, or nothing")
                })?;
                check.reply = Some(Reply::default());
            }
            "min_reply_length" => {
                (reply.min_length, bound) = (node.number(0..=65_507)?, Some(*node));
            }
            "max_reply_length" => {
                (reply.max_length, bound) = (node.number(0..=65_507)?, Some(*node));
            }
            _ => {}
        }
    }
    match (check.reply.is_some(), bound) {
        (true, Some(node)) if reply.min_length > reply.max_length => {
            let value = format!("{}-{}", reply.min_length, reply.max_length);
            Err(node.wrong(&value, "a min_reply_length that is not above max_reply_length (255)"))
        }
        (true, _) => Ok(UdpCheck { reply: Some(reply), ..check }),
        (false, Some(node)) => Err(node.error("no answer is asked for", "require_reply besides")),
        (false, None) => Ok(check),
    }
}

fn misc(check: &Node, nodes: &[&Node], settings: &Settings) -> Result<CommandCheck, FileError> {
    let (mut command, mut timeout, mut dynamic, mut user) = (None, settings.delay_loop(), false, None);
    for node in nodes {
        match node.keyword.as_str() {
            "misc_path" => command = Some(node.text(true)?),
            "misc_timeout" => timeout = node.timer(false)?,
            "misc_dynamic" => dynamic = node.switch()?,
            "user" => {
                let text = node.values()?.join(" ");
                let words = (1..=2).contains(&node.values.len());
                if !words || health::unusable(&text, true).is_some() {
                    return Err(node.wrong(&text, "user NAME, or user NAME GROUP"));
                }
                user = Some(text);
            }
            _ => {}
        }
    }
    let command =
        command.ok_or_else(|| check.error("there is no misc_path", "misc_path \"PROGRAM ARGUMENTS\""))?;
    Ok(CommandCheck { command, timeout, dynamic, user })
}

/// Checks of a real server are not without bound.
pub(super) fn too_many(place: &Place) -> FileError {
    place.error("the real server has too many checks", format!("at most {}", health::MAX_CHECKS))
}
