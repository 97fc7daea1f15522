//! By which names the server may be called.
//!
//! A page from elsewhere may not read our answers (same-origin policy), unless its own host name is made to point at us: DNS
//! rebinding. Such requests carry that name; an IP address or `localhost` cannot be made to point anywhere else.

use std::net::{IpAddr, Ipv6Addr};

/// Whether a `Host` header names this server.
pub(super) fn is_ours(host: &str, names: &[String]) -> bool {
    let Some(name) = without_port(host) else {
        return false;
    };
    if let Some(address) = name.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4())
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

/// The host without its port; `None` if what follows it is no port.
fn without_port(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(end);
    let is_port = |port: &str| port.is_empty() || port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names_are_ours() {
        let names = ["lb1.example.net".to_owned()];
        for ours in [
            "127.0.0.1",
            "127.0.0.1:9798",
            "192.0.2.1:80",
            "[::1]",
            "[2001:db8::1]:9798",
            "localhost",
            "LocalHost:80",
            "localhost.",
            "lb1.example.net:9798",
            "LB1.Example.Net",
        ] {
            assert!(is_ours(ours, &names), "{ours}");
        }
        for others in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "lb2.example.net",
            "[::1",
            "[::1]evil",
            "[lb1.example.net]",
            "localhost:80:80",
            "localhost:evil",
            "::1",
            "0x7f.1",
        ] {
            assert!(!is_ours(others, &names), "{others}");
        }
    }
}
