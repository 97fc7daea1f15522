//! A configuration as TOML text. Values that are defaults are left out.

use std::fmt::{Display, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

use lvs_core::config::{
    ClientMask, Knobs, MarkRule, Persistence, SchedulerFlags, ServiceKey, Timeouts, VlanPath,
};

use crate::config::difference::{knob_values, protocol_name};
use crate::config::health::{
    self, Check, CheckKind, CommandCheck, DnsCheck, HttpCheck, HttpVersion, OnDown, Pattern, RecordType,
    Reply, Timing, Url, Via,
};
use crate::config::{
    Capacities, Configuration, Interface, Server, Service, ServiceHealth, duration, vlan_text,
};
use crate::flags;

/// Writes a configuration so that [`read`](super::read) gives it back as it is.
///
/// That holds for whatever was read from a file. A configuration that was made otherwise can hold what a file cannot say (an
/// interface without DIP, two services with the same key); the text is then refused when it is read.
#[must_use]
pub fn write(configuration: &Configuration) -> String {
    let mut out = Out(String::new());
    director(&mut out, configuration);
    configuration.interfaces.iter().for_each(|one| interface(&mut out, one));
    if configuration.timeouts != Timeouts::default() {
        out.heading("[timeouts]");
        for (name, time) in timeouts(&configuration.timeouts) {
            out.line(name, time);
        }
    }
    knobs(&mut out, &configuration.knobs);
    if !configuration.neighbours.is_empty() {
        out.heading("[neighbours]");
        for (address, mac) in &configuration.neighbours {
            out.line(&quoted(address), quoted(mac));
        }
    }
    configuration.mark_rules.iter().for_each(|rule| mark_rule(&mut out, rule));
    configuration.services.iter().for_each(|one| service(&mut out, one));
    out.0
}

/// Text that grows by lines. Writing to a `String` cannot fail.
struct Out(String);

impl Out {
    fn heading(&mut self, heading: &str) {
        let blank = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{blank}{heading}");
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    /// Unless it is the default.
    fn other<T: PartialEq + Display>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.line(key, value);
        }
    }
}

/// A basic string.
fn quoted(text: impl Display) -> String {
    let mut out = "\"".to_owned();
    for c in text.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

fn list<T>(values: impl IntoIterator<Item = T>, text: impl Fn(T) -> String) -> String {
    format!("[{}]", values.into_iter().map(text).collect::<Vec<_>>().join(", "))
}

fn time(time: Duration) -> String {
    quoted(duration::text(time))
}

fn timeouts(set: &Timeouts) -> [(&'static str, String); 3] {
    [("tcp", time(set.tcp)), ("tcp_fin", time(set.tcp_fin)), ("udp", time(set.udp))]
}

fn director(out: &mut Out, configuration: &Configuration) {
    let default = Configuration::default();
    let mut lines = Out(String::new());
    lines.other("io", quoted(&configuration.io), quoted(&default.io));
    lines.other("workers", configuration.workers, default.workers);
    lines.other("allow_local_vip", configuration.allow_local_vip, false);
    lines.other("probe_addresses", list(&configuration.probe_addresses, quoted), "[]".to_owned());
    let (mut room, mut usual) = (configuration.capacities, Capacities::default());
    lines.other("pool_buffers", room.pool_buffers, usual.pool_buffers);
    for ((name, value, ..), (_, usual, ..)) in room.named().into_iter().zip(usual.named()) {
        lines.other(name, *value, *usual);
    }
    if !lines.0.is_empty() {
        out.heading("[director]");
        out.0 += &lines.0;
    }
}

fn interface(out: &mut Out, interface: &Interface) {
    let Interface { name, dips, gateways, vlan, mac, bridge } = interface;
    out.heading("[[interface]]");
    out.line("name", quoted(name));
    out.line("dips", list(dips, quoted));
    out.other("gateways", list(gateways, quoted), "[]".to_owned());
    if *vlan != VlanPath::UNTAGGED {
        out.line("vlan", quoted(vlan_text(*vlan)));
    }
    mac.iter().for_each(|mac| out.line("mac", quoted(mac)));
    bridge.iter().for_each(|bridge| out.line("bridge", quoted(bridge)));
}

fn knobs(out: &mut Out, knobs: &Knobs) {
    if *knobs == Knobs::default() {
        return;
    }
    out.heading("[knobs]");
    for ((name, value), (_, default)) in knob_values(knobs).into_iter().zip(knob_values(&Knobs::default())) {
        let text = |value: String| if value.parse::<u32>().is_ok() { value } else { quoted(value) };
        out.other(name, text(value), text(default));
    }
}

fn mark_rule(out: &mut Out, rule: &MarkRule) {
    out.heading("[[mark_rule]]");
    out.line("mark", rule.mark);
    out.line("protocol", quoted(protocol_name(rule.protocol)));
    out.line("destination", quoted(rule.destination));
    out.line("ports", list(rule.ports.as_slice(), |ports| number_range(ports.first, ports.last)));
}

fn number_range(first: u16, last: u16) -> String {
    let range = health::range(first, last);
    if first == last { range } else { quoted(range) }
}

fn service(out: &mut Out, service: &Service) {
    let config = &service.config;
    out.heading("[[service]]");
    match config.key {
        ServiceKey::Mark { mark, ipv6 } => {
            out.line("mark", mark);
            out.other("ipv6", ipv6, false);
        }
        ServiceKey::Address { protocol, address, port } => {
            out.line(protocol_name(protocol), quoted(std::net::SocketAddr::new(address, port)));
        }
        // The key of a kind that came later: without a key the text is refused, which is better than another service.
        _ => {}
    }
    out.line("scheduler", quoted(config.scheduler));
    if config.flags != SchedulerFlags::NONE {
        out.line("flags", list(flags::list(config.scheduler, config.flags).split(','), quoted));
    }
    if let Some(Persistence { timeout, mask }) = config.persistence {
        out.line("persistence", time(timeout));
        match mask {
            mask if mask.is_whole() => {}
            ClientMask::V4(mask) => out.line("persistence_mask", quoted(Ipv4Addr::from(mask))),
            ClientMask::V6(length) => out.line("persistence_mask", length),
        }
    }
    out.other("one_packet", config.one_packet, false);
    if let Some(set) = &config.timeouts {
        let each = timeouts(set).map(|(name, time)| format!("{name} = {time}"));
        out.line("timeouts", format!("{{ {} }}", each.join(", ")));
    }
    if let Some(takes) = config.slow_start {
        out.line("slow_start", time(takes));
    }
    let ServiceHealth { on_down, damping, quorum, hysteresis, sorry_server } = service.health;
    out.other("on_down", quoted(on_down), quoted(OnDown::default()));
    out.other("damping", damping, true);
    out.other("quorum", quorum, 1);
    out.other("hysteresis", hysteresis, 0);
    if let Some(sorry) = sorry_server {
        out.line("sorry_server", quoted(sorry.address));
        out.other("sorry_server_inhibit", sorry.inhibit, false);
    }
    let shared = match &service.servers[..] {
        [first, rest @ ..] if rest.iter().all(|server| server.checks == first.checks) => &first.checks[..],
        _ => &[],
    };
    checks(out, shared);
    service.servers.iter().for_each(|one| server(out, one, shared));
}

fn server(out: &mut Out, server: &Server, shared: &[Check]) {
    out.heading("[[service.server]]");
    out.line("address", quoted(server.config.address));
    out.other("weight", server.config.weight, 1);
    out.other("upper_threshold", server.config.upper_threshold, 0);
    out.other("lower_threshold", server.config.lower_threshold, 0);
    out.other("inhibit_on_failure", server.inhibit_on_failure, false);
    if server.checks[..] != *shared {
        checks(out, &server.checks);
    }
}

fn checks(out: &mut Out, checks: &[Check]) {
    match checks {
        [] => {}
        [one] => out.line("check", format!("[{}]", check(one))),
        all => {
            let each: Vec<_> = all.iter().map(|one| format!("    {},\n", check(one))).collect();
            out.line("check", format!("[\n{}]", each.concat()));
        }
    }
}

/// The entries of an inline table.
struct Entries(Vec<String>);

impl Entries {
    fn put(&mut self, key: &str, value: impl Display) {
        self.0.push(format!("{key} = {value}"));
    }

    fn text(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(key, quoted(value));
        }
    }

    fn other<T: PartialEq + Display>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.put(key, value);
        }
    }

    fn braced(self) -> String {
        format!("{{ {} }}", self.0.join(", "))
    }
}

fn check(check: &Check) -> String {
    let Check { kind, target, timing, alpha } = check;
    let mut entries = Entries(Vec::new());
    entries.put("kind", quoted(kind.name()));
    match kind {
        CheckKind::Tcp | CheckKind::Ping => {}
        CheckKind::Http(check) => http(&mut entries, check),
        CheckKind::Udp(check) => {
            entries.text("payload", check.payload.as_deref().map(health::hex));
            if let Some(Reply { pattern, min_length, max_length }) = &check.reply {
                let bytes = quoted(health::masked_hex(pattern));
                entries.put("require_reply", if pattern.is_empty() { "true".to_owned() } else { bytes });
                entries.other("min_reply_length", *min_length, 0);
                entries.other("max_reply_length", *max_length, 255);
            }
        }
        CheckKind::Dns(DnsCheck { record, name }) => {
            entries.other("type", quoted(record.name()), quoted(RecordType::default().name()));
            entries.other("name", quoted(name), quoted("."));
        }
        CheckKind::Command(CommandCheck { command, timeout, dynamic, user }) => {
            entries.put("command", quoted(command));
            entries.other("timeout", time(*timeout), time(timing.delay_loop));
            entries.other("dynamic", *dynamic, false);
            entries.text("user", user.as_ref());
        }
    }
    if target.via == Via::Rip {
        entries.put("via", quoted("rip"));
    }
    entries.text("connect_address", target.address);
    entries.other("connect_port", target.port.unwrap_or(0), 0);
    entries.text("bind_address", target.source);
    entries.other("bind_port", target.source_port.unwrap_or(0), 0);
    let Timing { delay_loop, connect_timeout, retry, rise, delay_before_retry, warmup } = *timing;
    entries.other("delay_loop", time(delay_loop), time(Timing::DELAY_LOOP));
    entries.other("connect_timeout", time(connect_timeout), time(Timing::CONNECT_TIMEOUT));
    entries.other("retry", retry, kind.default_retry());
    entries.other("rise", rise, 1);
    let usual = kind.default_delay_before_retry(delay_loop);
    entries.other("delay_before_retry", time(delay_before_retry), time(usual));
    entries.other("warmup", time(warmup), time(delay_loop));
    entries.other("alpha", *alpha, false);
    entries.braced()
}

fn http(entries: &mut Entries, check: &HttpCheck) {
    let HttpCheck { tls, version, fast_recovery, urls } = check;
    entries.put("url", list(urls, url));
    entries.other("http_version", quoted(version.name()), quoted(HttpVersion::default().name()));
    entries.other("fast_recovery", *fast_recovery, false);
    if let Some(tls) = tls {
        entries.other("send_sni", tls.send_sni, false);
        entries.text("sni", tls.sni.as_ref());
        entries.other("verify", tls.verify, true);
    }
}

fn url(url: &Url) -> String {
    let plain = Url { path: url.path.clone(), ..Url::default() };
    if *url == plain {
        return quoted(&url.path);
    }
    let mut entries = Entries(Vec::new());
    entries.put("path", quoted(&url.path));
    entries.text("virtual_host", url.virtual_host.as_ref());
    if url.status != plain.status {
        entries.put("status", list(&url.status, |&(first, last)| number_range(first, last)));
    }
    entries.text("digest", url.digest.as_ref().map(|digest| health::hex(digest)));
    if let Some(Pattern { expression, no_match, caseless, multiline, dotall }) = &url.regex {
        entries.put("regex", quoted(expression));
        entries.other("regex_no_match", *no_match, false);
        entries.other("regex_caseless", *caseless, false);
        entries.other("regex_multiline", *multiline, false);
        entries.other("regex_dotall", *dotall, false);
    }
    entries.braced()
}
