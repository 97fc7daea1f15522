//! Checks in words: what is asked, of whom, how often.

use std::fmt::{self, Write};

use super::{
    Check, CheckKind, CommandCheck, HttpCheck, OnDown, Pattern, Reply, ServiceHealth, SorryServer, Target,
    Tls, UdpCheck, Url, Via, hex, masked_hex, ranges,
};
use crate::config::{Configuration, Server, duration};

/// Everything about a check, so that two which differ read differently.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, target, timing, alpha } = self;
        f.write_str(kind.name())?;
        write!(f, "{target}")?;
        let [every, timeout, after, warmup] =
            [timing.delay_loop, timing.connect_timeout, timing.delay_before_retry, timing.warmup]
                .map(duration::text);
        write!(f, " every {every} timeout {timeout} retry {} after {after} warmup {warmup}", timing.retry)?;
        if timing.rise != 1 {
            write!(f, " rise {}", timing.rise)?;
        }
        if *alpha {
            f.write_str(" alpha")?;
        }
        match kind {
            CheckKind::Tcp | CheckKind::Ping => Ok(()),
            CheckKind::Http(check) => check.fmt(f),
            CheckKind::Udp(check) => check.fmt(f),
            CheckKind::Dns(check) => write!(f, " {} {:?}", check.record.name(), check.name),
            CheckKind::Command(check) => check.fmt(f),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { via, address, port, source, source_port } = self;
        let mut part = |name: &str, value: Option<String>| match value {
            Some(value) => write!(f, " {name} {value}"),
            None => Ok(()),
        };
        part("via", (*via == Via::Rip).then(|| "rip".to_owned()))?;
        part("to", address.map(|address| address.to_string()))?;
        part("port", port.map(|port| port.to_string()))?;
        part("from", source.map(|source| source.to_string()))?;
        part("source-port", source_port.map(|port| port.to_string()))
    }
}

impl fmt::Display for HttpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, version, fast_recovery, urls } = self;
        write!(f, " HTTP/{}", version.name())?;
        if let Some(Tls { send_sni, sni, verify }) = tls {
            f.write_str(if *send_sni { " sni" } else { "" })?;
            f.write_str(if *verify { " verified" } else { "" })?;
            if let Some(name) = sni {
                write!(f, " sni-name {name:?}")?;
            }
        }
        f.write_str(if *fast_recovery { " fast-recovery" } else { "" })?;
        urls.iter().try_for_each(|url| url.fmt(f))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " GET {:?} status {}", self.path, ranges(&self.status))?;
        if let Some(host) = &self.virtual_host {
            write!(f, " host {host:?}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, " digest {}", hex(digest))?;
        }
        let Some(Pattern { expression, no_match, caseless, multiline, dotall }) = &self.regex else {
            return Ok(());
        };
        write!(f, " {}regex {expression:?}", if *no_match { "not " } else { "" })?;
        for (set, name) in [(caseless, " caseless"), (multiline, " multiline"), (dotall, " dotall")] {
            f.write_str(if *set { name } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for UdpCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(payload) = &self.payload {
            write!(f, " payload {:?}", hex(payload))?;
        }
        match &self.reply {
            Some(Reply { pattern, min_length, max_length }) => {
                write!(f, " reply {:?} of {min_length}-{max_length} bytes", masked_hex(pattern))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for CommandCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " for {} {:?}", duration::text(self.timeout), self.command)?;
        f.write_str(if self.dynamic { " dynamic" } else { "" })?;
        self.user.as_ref().map_or(Ok(()), |user| write!(f, " as {user:?}"))
    }
}

/// Writes what is asked about every service and server, a line for each and for every check below it. Services without
/// checks and with nothing but defaults are left out.
///
/// # Errors
/// Those of `out`.
pub fn listing(out: &mut impl Write, configuration: &Configuration) -> fmt::Result {
    for service in &configuration.services {
        let plain = |server: &Server| server.checks.is_empty() && !server.inhibit_on_failure;
        // Both kinds of file have their own default for servers that are down.
        let is_usual = matches!(service.health.on_down, OnDown::Automatic | OnDown::Remove);
        let rest = ServiceHealth { on_down: OnDown::default(), ..service.health };
        if is_usual && rest == ServiceHealth::default() && service.servers.iter().all(plain) {
            continue;
        }
        let ServiceHealth { on_down, damping, quorum, hysteresis, sorry_server } = service.health;
        write!(out, "{} quorum {quorum} hysteresis {hysteresis}", service.config.key)?;
        if !is_usual {
            write!(out, " on-down {on_down}")?;
        }
        out.write_str(if damping { "" } else { " no-damping" })?;
        if let Some(SorryServer { address, inhibit }) = sorry_server {
            write!(out, " sorry {address}{}", if inhibit { " inhibit" } else { "" })?;
        }
        out.write_char('\n')?;
        for server in &service.servers {
            let inhibit = if server.inhibit_on_failure { " inhibit-on-failure" } else { "" };
            writeln!(out, "  {}{inhibit}", server.config.address)?;
            server.checks.iter().try_for_each(|check| writeln!(out, "    {check}"))?;
        }
    }
    Ok(())
}
