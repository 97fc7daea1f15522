//! From what a file says of health checks to what carries them out.

use std::sync::Arc;

use lvs_admin::config::health::{
    Check, CheckKind, CommandCheck, HttpCheck, HttpVersion, OnDown, Pattern, RecordType, Target, UdpCheck,
    Url, Via,
};
use lvs_admin::config::{Configuration, Server, Service};
use lvs_core::config::{DestinationConfig, Protocol, ServiceKey};
use lvs_health::config as health;
use lvs_health::config::{
    Assume, BodyMatch, CheckConfig, CommandProbe, DnsProbe, HttpProbe, PathMethod, PathProbe, Probe, Quorum,
    ServerHealth, ServiceHealth, SocketMethod, SocketProbe, TlsProbe, Trust, UdpProbe, UdpReply,
};

/// Whether somebody has to look after a service's servers.
pub(crate) fn is_monitored(service: &Service) -> bool {
    service.health.sorry_server.is_some() || service.servers.iter().any(|server| !server.checks.is_empty())
}

/// All services that somebody has to look after.
///
/// # Errors
/// A check that cannot be carried out, with its service and server.
pub(crate) fn services(configuration: &Configuration) -> Result<Vec<ServiceHealth>, String> {
    configuration.services.iter().filter(|service| is_monitored(service)).map(service).collect()
}

/// What in it is carried out otherwise than the file may mean.
pub(crate) fn notes(configuration: &Configuration) -> Vec<String> {
    let mut notes = Vec::new();
    for service in &configuration.services {
        let key = service.config.key;
        if service.health.sorry_server.is_some_and(|sorry| sorry.inhibit) {
            notes.push(format!(
                "{key}: sorry_server_inhibit: the sorry server leaves the service while it is not needed; what becomes of its \
                 connections is up to expire_nodest_conn"
            ));
        }
        let checks = service.servers.iter().flat_map(|server| server.checks.iter());
        if checks.filter_map(|check| command(&check.kind)).any(|command| command.user.is_some()) {
            notes.push(format!(
                "{key}: user: commands run as the user that this director runs as, without any rights"
            ));
        }
    }
    notes
}

/// Whether a ping is among the checks, which may take a right.
pub(crate) fn has_ping(configuration: &Configuration) -> bool {
    let servers = configuration.services.iter().flat_map(|service| &service.servers);
    servers.flat_map(|server| server.checks.iter()).any(|check| check.kind == CheckKind::Ping)
}

const fn command(kind: &CheckKind) -> Option<&CommandCheck> {
    match kind {
        CheckKind::Command(command) => Some(command),
        _ => None,
    }
}

fn service(service: &Service) -> Result<ServiceHealth, String> {
    let key = service.config.key;
    let servers = service.servers.iter().map(|one| server(key, one)).collect::<Result<_, _>>()?;
    let of = &service.health;
    let mut made = ServiceHealth::new(service.config, servers);
    made.on_down = on_down(of.on_down);
    made.quorum = Quorum { weight: of.quorum, hysteresis: of.hysteresis };
    made.sorry = of.sorry_server.map(|sorry| DestinationConfig::new(sorry.address, key.port()));
    if !of.damping {
        made.damping = None;
    }
    Ok(made)
}

const fn on_down(on_down: OnDown) -> health::OnDown {
    match on_down {
        OnDown::Automatic => health::OnDown::Automatic,
        OnDown::Quiesce => health::OnDown::Quiesce,
        OnDown::Remove => health::OnDown::Remove,
        OnDown::Drain(deadline) => health::OnDown::Drain(deadline),
    }
}

fn server(key: ServiceKey, server: &Server) -> Result<ServerHealth, String> {
    let at = |text: String| format!("{key}, {}: {text}", server.config.address);
    let mut checks = Vec::new();
    for check in server.checks.iter() {
        let timing = timing(check);
        for probe in probes(key, check).map_err(at)? {
            checks.push(CheckConfig { probe: Arc::new(probe), timing });
        }
    }
    let mut made = ServerHealth::new(server.config, checks);
    made.on_down = server.inhibit_on_failure.then_some(health::OnDown::Quiesce);
    Ok(made)
}

fn timing(check: &Check) -> health::Timing {
    let of = &check.timing;
    health::Timing {
        interval: of.delay_loop,
        timeout: command(&check.kind).map_or(of.connect_timeout, |command| command.timeout),
        fall: of.retry + 1,
        rise: of.rise,
        retry_delay: of.delay_before_retry,
        assume: if check.alpha { Assume::Down } else { Assume::Up },
        warmup: Some(of.warmup),
        ..health::Timing::default()
    }
}

/// One for each page, else one.
fn probes(key: ServiceKey, check: &Check) -> Result<Vec<Probe>, String> {
    let Target { via, address, port, source, source_port } = check.target;
    if source_port.is_some() {
        return Err("bind_port: probes choose their ports themselves; leave it out".to_owned());
    }
    let over_sockets = |method| Probe::Socket(SocketProbe { address, port, source, method });
    let vip = match key {
        ServiceKey::Address { protocol: Protocol::Tcp, address, .. } => Some(address),
        _ => None,
    };
    let is_path = via == Via::Vip && address.is_none() && source.is_none() && vip.is_some();
    let through_path = |method| Probe::Path(PathProbe { vip, port, method });
    Ok(match &check.kind {
        CheckKind::Tcp if is_path => vec![through_path(PathMethod::Connect)],
        CheckKind::Tcp => vec![over_sockets(SocketMethod::Tcp)],
        CheckKind::Ping => vec![over_sockets(SocketMethod::Ping)],
        CheckKind::Http(http) => {
            let probes = http.urls.iter().map(|url| page(http, url));
            let tls = http.tls.as_ref();
            let made = probes.map(|probe| {
                Ok(match tls {
                    None if is_path => through_path(PathMethod::Http(probe?)),
                    None => over_sockets(SocketMethod::Http(probe?)),
                    Some(tls) => {
                        let trust = if tls.verify { Trust::WebRoots } else { Trust::NotChecked };
                        let mut probe = probe?;
                        if let Some(name) = &tls.sni {
                            probe.host = Some(name.clone());
                        }
                        over_sockets(SocketMethod::Https(probe, TlsProbe { trust, send_name: tls.send_sni }))
                    }
                })
            });
            made.collect::<Result<_, String>>()?
        }
        CheckKind::Udp(udp) => vec![over_sockets(SocketMethod::Udp(datagram(udp)))],
        CheckKind::Dns(dns) => {
            let probe = DnsProbe { name: dns.name.clone(), record_type: record(dns.record) };
            vec![over_sockets(SocketMethod::Dns(probe))]
        }
        CheckKind::Command(command) => {
            let arguments = words(&command.command);
            let probe = CommandProbe { arguments, dynamic_weight: command.dynamic };
            vec![over_sockets(SocketMethod::Command(probe))]
        }
        _ => return Err(format!("{}: no such check is carried out", check.kind.name())),
    })
}

fn page(check: &HttpCheck, url: &Url) -> Result<HttpProbe, String> {
    let mut probe = HttpProbe::new(&url.path);
    probe.host.clone_from(&url.virtual_host);
    if check.version == HttpVersion::V1_1 {
        probe.version = health::HttpVersion::Http11;
    }
    probe.status = url.status.iter().map(|&(first, last)| first..=last).collect();
    probe.body = match (&url.digest, &url.regex) {
        (Some(_), Some(_)) => return Err("url: a digest and a regex; use one of them".to_owned()),
        (Some(digest), None) => BodyMatch::Md5(*digest),
        (None, Some(pattern)) => BodyMatch::Contains(plain(pattern)?),
        (None, None) => BodyMatch::Any,
    };
    Ok(probe)
}

/// An expression that means nothing but itself.
fn plain(pattern: &Pattern) -> Result<Vec<u8>, String> {
    let refused = |what: &str| {
        format!("regex {:?}: {what}; pages are searched for plain text only", pattern.expression)
    };
    if pattern.no_match {
        return Err(refused("regex_no_match is not carried out"));
    }
    if pattern.caseless {
        return Err(refused("regex_caseless is not carried out"));
    }
    let mut text = String::new();
    let mut letters = pattern.expression.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(next) if !next.is_alphanumeric() => text.push(next),
                _ => return Err(refused("this escape is not carried out")),
            },
            '.' | '*' | '+' | '?' | '[' | ']' | '(' | ')' | '{' | '}' | '|' | '^' | '$' => {
                return Err(refused("this is more than plain text"));
            }
            letter => text.push(letter),
        }
    }
    Ok(text.into_bytes())
}

fn datagram(check: &UdpCheck) -> UdpProbe {
    let reply = check.reply.as_ref().map_or(UdpReply::NotNeeded, |reply| UdpReply::Matches {
        pattern: reply.pattern.iter().map(|byte| (byte.value, byte.mask)).collect(),
        lengths: usize::from(reply.min_length)..=usize::from(reply.max_length),
    });
    UdpProbe { payload: check.payload.clone().unwrap_or_default(), reply }
}

/// Numbers of RFC 1035 section 3.2.2 and RFC 3596.
const fn record(of: RecordType) -> u16 {
    match of {
        RecordType::A => 1,
        RecordType::Ns => 2,
        RecordType::Cname => 5,
        RecordType::Soa => 6,
        RecordType::Mx => 15,
        RecordType::Txt => 16,
        RecordType::Aaaa => 28,
    }
}

/// A line for a shell is given to one, any other is a program and its arguments.
fn words(line: &str) -> Vec<String> {
    let for_a_shell = |c: char| "\"'\\$`|&;<>()*?[]~#{}!".contains(c);
    if line.contains(for_a_shell) {
        return ["/bin/sh", "-c", line].map(ToOwned::to_owned).to_vec();
    }
    line.split_whitespace().map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use lvs_admin::config::toml;

    use super::*;

    fn check(check: &str) -> Result<Vec<Probe>, String> {
        let text = format!(
            "[[service]]\ntcp = \"192.0.2.10:80\"\ncheck = [{{ {check} }}]\n[[service.server]]\naddress = \"192.0.2.1\"\n"
        );
        let loaded = toml::read("f", text.as_bytes()).map_err(|error| error.to_string())?;
        let services = services(&loaded.configuration)?;
        let checks = &services[0].servers[0].checks;
        Ok(checks.iter().map(|check| Probe::clone(&check.probe)).collect())
    }

    #[test]
    fn tcp_and_http_take_the_way_of_clients_unless_told_otherwise() {
        let path = |probe: &Probe| matches!(probe, Probe::Path(_));
        assert!(check("kind = \"tcp\"").unwrap().iter().all(path));
        assert!(check("kind = \"tcp\", connect_port = 81").unwrap().iter().all(path));
        let pages = check("kind = \"http\", url = [\"/a\", \"/b\"]").unwrap();
        assert!(pages.len() == 2 && pages.iter().all(path));
        for other in [
            "kind = \"tcp\", via = \"rip\"",
            "kind = \"tcp\", connect_address = \"192.0.2.1\"",
            "kind = \"tcp\", bind_address = \"192.0.2.9\"",
            "kind = \"https\"",
            "kind = \"ping\"",
        ] {
            assert!(!check(other).unwrap().iter().any(path), "{other}");
        }
    }

    #[test]
    fn plain_text_is_looked_for_and_more_is_refused() {
        let body = |regex: &str| {
            let probes = check(&format!("kind = \"http\", url = [{{ path = \"/\", regex = '{regex}' }}]"))?;
            match &probes[0] {
                Probe::Path(PathProbe { method: PathMethod::Http(http), .. }) => Ok(http.body.clone()),
                other => Err(format!("{other:?}")),
            }
        };
        assert_eq!(body("all is well"), Ok(BodyMatch::Contains(b"all is well".to_vec())));
        assert_eq!(body("a\\.b"), Ok(BodyMatch::Contains(b"a.b".to_vec())));
        let error = body("a.b").unwrap_err();
        assert!(
            error.starts_with("TCP 192.0.2.10:80, 192.0.2.1: regex \"a.b\": this is more than"),
            "{error}"
        );
    }

    #[test]
    fn a_command_is_split_or_given_to_a_shell() {
        assert_eq!(words("/bin/true a  b"), ["/bin/true", "a", "b"]);
        assert_eq!(words("test -e /x && echo"), ["/bin/sh", "-c", "test -e /x && echo"]);
    }
}
