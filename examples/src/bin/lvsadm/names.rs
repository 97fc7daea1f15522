//! Names of hosts and ports, out of `/etc/hosts` and `/etc/services`. Names that only a name server knows are asked for on the way
//! in, as any program does; on the way out nobody is asked, so that a listing never waits for a network that is down.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The names that this host knows.
#[derive(Debug, Default)]
pub(crate) struct Names {
    hosts: HashMap<IpAddr, String>,
    /// By number, and whether it is UDP.
    ports: HashMap<(u16, bool), String>,
}

impl Names {
    /// Those of this host. Files that are not there hold no names.
    pub(crate) fn of_this_host() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::new(&read("/etc/hosts"), &read("/etc/services"))
    }

    fn new(hosts: &str, services: &str) -> Self {
        let mut names = Self::default();
        let lines = |text: &str| -> Vec<Vec<String>> {
            let uncommented = text.lines().map(|line| line.split('#').next().unwrap_or_default());
            uncommented.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
        };
        for words in lines(hosts) {
            if let [address, name, ..] = &words[..]
                && let Ok(address) = address.parse()
            {
                names.hosts.entry(address).or_insert_with(|| name.clone());
            }
        }
        for words in lines(services) {
            if let [name, port, ..] = &words[..]
                && let Some((number, protocol)) = port.split_once('/')
                && let Ok(number) = number.parse()
            {
                names.ports.entry((number, protocol == "udp")).or_insert_with(|| name.clone());
            }
        }
        names
    }

    /// The address of a host, written as in a rule.
    pub(crate) fn address(&self, name: &str) -> Option<String> {
        let known = self.hosts.iter().find(|(_, known)| *known == name).map(|(address, _)| *address);
        let asked = || (name, 0).to_socket_addrs().ok()?.next().map(|address| address.ip());
        Some(match known.or_else(asked)? {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        })
    }

    /// The number of a port.
    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(_, known)| *known == name).map(|((number, _), _)| *number)
    }

    /// A listing with names instead of the numbers that have any. Columns stay where they were as far as names leave room.
    pub(crate) fn put_into(&self, listing: &str) -> String {
        let mut udp = false;
        let mut text = String::new();
        for line in listing.lines() {
            // A server's line does not say the protocol; its service's, above, does.
            if !line.starts_with(' ') {
                udp = line.starts_with("UDP");
            }
            text.push_str(&self.in_line(line, udp));
            text.push('\n');
        }
        text
    }

    fn in_line(&self, line: &str, udp: bool) -> String {
        let mut out = String::new();
        let mut rest = line;
        // How much longer the line has become, and may become shorter again where spaces follow.
        let mut grown = 0isize;
        while !rest.is_empty() {
            let word_len = rest.find(' ').unwrap_or(rest.len());
            let (word, behind) = rest.split_at(word_len);
            let shown = word.parse().ok().and_then(|socket| self.name(socket, udp));
            let shown = shown.unwrap_or_else(|| word.to_owned());
            grown += shown.len() as isize - word.len() as isize;
            out.push_str(&shown);
            let spaces = behind.len() - behind.trim_start_matches(' ').len();
            let wanted = (spaces as isize - grown).max(isize::from(spaces > 0));
            out.push_str(&" ".repeat(if spaces > 0 { wanted as usize } else { 0 }));
            grown -= spaces as isize - if spaces > 0 { wanted } else { spaces as isize };
            rest = &behind[spaces..];
        }
        out
    }

    /// `None` if neither part has a name.
    fn name(&self, socket: SocketAddr, udp: bool) -> Option<String> {
        let host = self.hosts.get(&socket.ip());
        let port = self.ports.get(&(socket.port(), udp));
        if host.is_none() && port.is_none() {
            return None;
        }
        let host = host.cloned().unwrap_or_else(|| match socket.ip() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        });
        Some(format!("{host}:{}", port.cloned().unwrap_or_else(|| socket.port().to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let hosts = "127.0.0.1 localhost\n192.168.0.250 shop shop.example # the VIP\nfd00::1 six\nnonsense\n";
        Names::new(hosts, "http 80/tcp www\ndomain 53/udp\ndomain 53/tcp\n# x 1/tcp\n")
    }

    #[test]
    fn names_are_found_both_ways() {
        let names = names();
        assert_eq!(names.address("shop"), Some("192.168.0.250".to_owned()));
        assert_eq!(names.address("six"), Some("[fd00::1]".to_owned()));
        assert_eq!((names.port("http"), names.port("x")), (Some(80), None));
    }

    #[test]
    fn columns_stay_in_their_places() {
        let listing = "\
TCP  192.168.0.250:80 wlc
  -> 192.168.0.250:80             Route   1      0          0         
  -> 192.168.0.111:81             Route   1      0          0         
UDP  [fd00::1]:53 rr
";
        let named = "\
TCP  shop:http wlc
  -> shop:http                    Route   1      0          0         
  -> 192.168.0.111:81             Route   1      0          0         
UDP  six:domain rr
";
        // Behind a service there are no columns, only words.
        let shown: Vec<String> = names().put_into(listing).lines().map(str::to_owned).collect();
        let expected: Vec<&str> = named.lines().collect();
        assert_eq!(shown[1..3], expected[1..3]);
        assert_eq!(shown[0].split_whitespace().collect::<Vec<_>>(), ["TCP", "shop:http", "wlc"]);
        assert_eq!(shown[3].split_whitespace().collect::<Vec<_>>(), ["UDP", "six:domain", "rr"]);
    }
}
