//! From what a file says of health checks to what carries them out.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use lvs_admin::config::health::{
    Check, CheckKind, CommandCheck, HttpCheck, HttpVersion, OnDown, Pattern, RecordType, Target, UdpCheck,
    Url, Via,
};
use lvs_admin::config::{Configuration, Server, Service};
use lvs_core::config::{DestinationConfig, Protocol, ServiceKey};
use lvs_health::config as health;
use lvs_health::config::{
    Assume, BodyMatch, CheckConfig, CommandProbe, DnsProbe, HttpProbe, PathMethod, PathProbe, PatternOptions,
    Probe, Quorum, ServerHealth, ServiceHealth, SocketMethod, SocketProbe, TlsProbe, Trust, UdpProbe,
    UdpReply,
};
use nix::unistd::{Group, User, getegid, geteuid};

/// Whether somebody has to look after a service's servers.
pub(crate) fn is_monitored(service: &Service) -> bool {
    service.health.sorry_server.is_some() || service.servers.iter().any(|server| !server.checks.is_empty())
}

/// All services that somebody has to look after.
///
/// # Errors
/// A check that cannot be carried out, with its service and server.
pub(crate) fn services(configuration: &Configuration) -> Result<Vec<ServiceHealth>, String> {
    let mut patterns = Patterns::default();
    let monitored = configuration.services.iter().filter(|service| is_monitored(service));
    monitored.map(|one| service(one, &mut patterns)).collect()
}

/// Regular expressions, each compiled once: most servers are asked alike.
#[derive(Default)]
struct Patterns(HashMap<(String, PatternOptions), health::Pattern>);

impl Patterns {
    fn get(&mut self, pattern: &Pattern) -> Result<health::Pattern, String> {
        let Pattern { ref expression, no_match: _, caseless, multiline, dotall } = *pattern;
        let options = PatternOptions { caseless, multiline, dotall };
        if let Some(known) = self.0.get(&(expression.clone(), options)) {
            return Ok(known.clone());
        }
        let made = health::Pattern::new(expression, options)
            .map_err(|error| format!("regex {expression:?}: {error}"))?;
        self.0.insert((expression.clone(), options), made.clone());
        Ok(made)
    }
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
        let weight: u32 =
            service.servers.iter().fold(0, |sum, server| server.config.weight.saturating_add(sum));
        if is_monitored(service) && service.health.quorum > weight {
            notes.push(format!(
                "{key}: quorum {}: all real servers together weigh {weight}, so there will never be one",
                service.health.quorum
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

fn service(service: &Service, patterns: &mut Patterns) -> Result<ServiceHealth, String> {
    let key = service.config.key;
    let servers = service.servers.iter().map(|one| server(key, one, patterns)).collect::<Result<_, _>>()?;
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

fn server(key: ServiceKey, server: &Server, patterns: &mut Patterns) -> Result<ServerHealth, String> {
    let at = |text: String| format!("{key}, {}: {text}", server.config.address);
    let mut checks = Vec::new();
    let mut flows = HashSet::new();
    for check in server.checks.iter() {
        let timing = timing(check);
        for probe in probes(key, check, patterns).map_err(at)? {
            if fixed_flow(&probe).is_some_and(|flow| !flows.insert(flow)) {
                return Err(at(
                    "bind_port: two checks or pages of a server from one port are in each other's way; \
                               give each a port of its own"
                        .to_owned(),
                ));
            }
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
fn probes(key: ServiceKey, check: &Check, patterns: &mut Patterns) -> Result<Vec<Probe>, String> {
    let Target { via, address, port, source, source_port } = check.target;
    let source_port = source_port.and_then(NonZeroU16::new);
    let over_sockets = |method| Probe::Socket(SocketProbe { address, port, source, source_port, method });
    let vip = match key {
        ServiceKey::Address { protocol: Protocol::Tcp, address, .. } => Some(address),
        _ => None,
    };
    let is_path = via == Via::Vip && address.is_none() && source.is_none() && vip.is_some();
    if let Some(port) = source_port {
        let goes_the_path =
            is_path && matches!(check.kind, CheckKind::Tcp | CheckKind::Http(HttpCheck { tls: None, .. }));
        may_be_bound(port, &check.kind, goes_the_path)?;
    }
    let through_path = |method| Probe::Path(PathProbe { vip, port, method });
    Ok(match &check.kind {
        CheckKind::Tcp if is_path => vec![through_path(PathMethod::Connect)],
        CheckKind::Tcp => vec![over_sockets(SocketMethod::Tcp)],
        CheckKind::Ping => vec![over_sockets(SocketMethod::Ping)],
        CheckKind::Http(http) => {
            let probes = http.urls.iter().map(|url| page(http, url, patterns));
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
            command.user.as_deref().map_or(Ok(()), own_user)?;
            let arguments = words(&command.command);
            let probe = CommandProbe { arguments, dynamic_weight: command.dynamic };
            vec![over_sockets(SocketMethod::Command(probe))]
        }
        _ => return Err(format!("{}: no such check is carried out", check.kind.name())),
    })
}

/// Whether it is of datagrams, the addresses that are asked and ask, the port that is asked and the one that asks.
type Flow = (bool, [Option<IpAddr>; 2], Option<u16>, NonZeroU16);

/// What a probe over sockets from a fixed port shares with no other of its server: two at a time would be one flow.
fn fixed_flow(probe: &Probe) -> Option<Flow> {
    let Probe::Socket(SocketProbe { address, port, source, source_port: Some(source_port), method }) = probe
    else {
        return None;
    };
    let is_datagram = matches!(method, SocketMethod::Udp(_) | SocketMethod::Dns(_));
    Some((is_datagram, [*address, *source], *port, *source_port))
}

/// Refuses a port to ask from where it would do harm, or nothing.
fn may_be_bound(port: NonZeroU16, kind: &CheckKind, goes_the_path: bool) -> Result<(), String> {
    let why = match kind {
        CheckKind::Ping | CheckKind::Command(_) => "this check has no port to ask from; leave it out",
        _ if goes_the_path => {
            "a probe for the VIP chooses its port itself, since a server that closed a connection may refuse the next one from the \
             same port for a minute (TIME-WAIT); leave it out, or ask the server's own address (via = \"rip\", or bindto in a \
             keepalived.conf)"
        }
        _ if port.get() < 1024 => {
            "below 1024 it takes a right that this director gives up; take a higher one"
        }
        _ => return Ok(()),
    };
    Err(format!("bind_port {port}: {why}"))
}

/// Refuses every user, and group behind a space, but those that this director runs as: it has given up the right to be another.
fn own_user(text: &str) -> Result<(), String> {
    let (user, group) = text.split_once(' ').map_or((text, None), |(user, group)| (user, Some(group.trim())));
    let is_own = |user: &str| User::from_name(user).ok().flatten().is_some_and(|user| user.uid == geteuid());
    let is_own_group =
        |group: &str| Group::from_name(group).ok().flatten().is_some_and(|group| group.gid == getegid());
    if is_own(user) && group.is_none_or(is_own_group) {
        return Ok(());
    }
    let name =
        User::from_uid(geteuid()).ok().flatten().map_or_else(|| geteuid().to_string(), |user| user.name);
    Err(format!(
        "user {text:?}: commands run as the director's own user and group, and that is {name} here; leave it out, or run the \
         director as that user"
    ))
}

fn page(check: &HttpCheck, url: &Url, patterns: &mut Patterns) -> Result<HttpProbe, String> {
    let mut probe = HttpProbe::new(&url.path);
    probe.host.clone_from(&url.virtual_host);
    if check.version == HttpVersion::V1_1 {
        probe.version = health::HttpVersion::Http11;
    }
    probe.status = url.status.iter().map(|&(first, last)| first..=last).collect();
    probe.body = match (&url.digest, &url.regex) {
        (Some(_), Some(_)) => return Err("url: a digest and a regex; use one of them".to_owned()),
        (Some(digest), None) => BodyMatch::Md5(*digest),
        (None, Some(pattern)) => match plain(pattern) {
            Some(text) => BodyMatch::Contains(text),
            None => BodyMatch::Pattern { pattern: patterns.get(pattern)?, wanted: !pattern.no_match },
        },
        (None, None) => BodyMatch::Any,
    };
    Ok(probe)
}

/// The text of an expression that means nothing but itself: found without states that are remembered.
fn plain(pattern: &Pattern) -> Option<Vec<u8>> {
    /// The longest that is looked for as a text.
    const LONGEST: usize = 1024;
    let mut text = String::new();
    let mut signs = pattern.expression.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => text.push(signs.next().filter(char::is_ascii_punctuation)?),
            '.' | '*' | '+' | '?' | '[' | ']' | '(' | ')' | '{' | '}' | '|' | '^' | '$' => return None,
            sign => text.push(sign),
        }
    }
    (!pattern.no_match && !pattern.caseless && text.len() <= LONGEST).then(|| text.into_bytes())
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
    fn plain_text_is_looked_for_as_such_and_more_as_an_expression() {
        let body = |more: &str| {
            let probes = check(&format!("kind = \"http\", url = [{{ path = \"/\", {more} }}]")).unwrap();
            match &probes[0] {
                Probe::Path(PathProbe { method: PathMethod::Http(http), .. }) => http.body.clone(),
                other => panic!("{other:?}"),
            }
        };
        for (regex, text) in [("all is well", "all is well"), ("a\\.b\\<", "a.b<"), ("déjà", "déjà")] {
            assert_eq!(body(&format!("regex = '{regex}'")), BodyMatch::Contains(text.into()), "{regex}");
        }
        for (more, options, wanted) in [
            ("regex = 'a.b'", [false; 3], true),
            ("regex = '\\d'", [false; 3], true),
            ("regex = 'ab', regex_no_match = true", [false; 3], false),
            ("regex = 'ab', regex_caseless = true", [true, false, false], true),
            ("regex = '^ab', regex_multiline = true", [false, true, false], true),
            ("regex = 'a.b', regex_dotall = true, regex_no_match = true", [false, false, true], false),
        ] {
            let BodyMatch::Pattern { pattern, wanted: found } = body(more) else { panic!("{more}") };
            let [caseless, multiline, dotall] = options;
            assert_eq!(pattern.options(), PatternOptions { caseless, multiline, dotall }, "{more}");
            assert_eq!(found, wanted, "{more}");
            assert!(more.contains(&format!("'{}'", pattern.expression())), "{more}");
        }
    }

    #[test]
    fn a_port_to_ask_from_is_taken_where_it_does_no_harm() {
        let port = |text: &str| {
            let probes = check(text)?;
            let port = |probe: &Probe| match probe {
                Probe::Socket(socket) => socket.source_port.map(NonZeroU16::get),
                _ => None,
            };
            Ok::<_, String>(probes.iter().filter_map(port).collect::<Vec<_>>())
        };
        let bound = "bind_port = 5000";
        for good in [
            "kind = \"tcp\", via = \"rip\"",
            "kind = \"http\", bind_address = \"192.0.2.9\"",
            "kind = \"https\"",
            "kind = \"dns\"",
            "kind = \"udp\"",
        ] {
            assert_eq!(port(&format!("{good}, {bound}")), Ok(vec![5000]), "{good}");
        }
        for (bad, why) in [
            (
                "kind = \"tcp\", bind_port = 5000",
                "bind_port 5000: a probe for the VIP chooses its port itself",
            ),
            (
                "kind = \"http\", bind_port = 5000",
                "bind_port 5000: a probe for the VIP chooses its port itself",
            ),
            ("kind = \"dns\", bind_port = 53", "bind_port 53: below 1024 it takes a right"),
            ("kind = \"ping\", bind_port = 5000", "bind_port 5000: this check has no port"),
            (
                "kind = \"command\", command = \"true\", bind_port = 5000",
                "bind_port 5000: this check has no port",
            ),
            (
                "kind = \"https\", url = [\"/a\", \"/b\"], bind_port = 5000",
                "bind_port: two checks or pages of a server",
            ),
            (
                "kind = \"dns\", bind_port = 5000 }, { kind = \"udp\", bind_port = 5000",
                "bind_port: two checks or pages",
            ),
        ] {
            let error = port(bad).unwrap_err();
            assert!(error.contains(&format!("192.0.2.1: {why}")), "{error}");
        }
        let both = "kind = \"dns\", bind_port = 5000 }, { kind = \"tcp\", via = \"rip\", bind_port = 5000";
        assert_eq!(port(both), Ok(vec![5000, 5000]), "UDP and TCP have ports of their own");
    }

    #[test]
    fn commands_run_as_the_directors_user_and_as_nobody_else() {
        let command =
            |user: &str| check(&format!("kind = \"command\", command = \"true\", user = \"{user}\""));
        for other in ["no-such-user", "no-such-user no-such-group"] {
            let error = command(other).unwrap_err();
            assert!(error.contains(&format!("192.0.2.1: user {other:?}: commands run as")), "{error}");
        }
        let (Ok(Some(user)), Ok(Some(group))) = (User::from_uid(geteuid()), Group::from_gid(getegid()))
        else {
            println!("SKIPPED, the tests' own user: it has no name here");
            return;
        };
        assert!(command(&user.name).is_ok());
        assert!(command(&format!("{} {}", user.name, group.name)).is_ok());
        assert!(command(&format!("{} no-such-group", user.name)).is_err());
    }

    #[test]
    fn a_command_is_split_or_given_to_a_shell() {
        assert_eq!(words("/bin/true a  b"), ["/bin/true", "a", "b"]);
        assert_eq!(words("test -e /x && echo"), ["/bin/sh", "-c", "test -e /x && echo"]);
    }
}
