//! A network with a web server in each real server, and a place for the rules of its director.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use libtest_mimic::Failed;
use lvs_testkit::lab::{Topology, TopologyOptions, http};
use tempfile::TempDir;

use crate::program::{PATIENCE, Program, Start};

/// The name of the rules file in the director's working directory.
pub(crate) const RULES: &str = "rules.ipvs";

/// A network, its web servers, and a working directory for the director. Each server's page is its name: `server1`...
pub(crate) struct Cluster {
    pub(crate) net: Topology,
    pub(crate) directory: TempDir,
    web: Vec<Option<http::Server>>,
}

/// The addresses of which family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Cluster {
    /// Topology B with so many servers.
    pub(crate) fn b(servers: usize) -> Result<Self, Failed> {
        Self::of(Topology::b(TopologyOptions { servers, ..Default::default() })?)
    }

    pub(crate) fn of(net: Topology) -> Result<Self, Failed> {
        let everywhere = SocketAddr::new([0; 16].into(), 80);
        let web: Result<Vec<_>, _> = net
            .servers
            .iter()
            .map(|server| http::Server::start(&server.host, everywhere, server.host.name()).map(Some))
            .collect();
        Ok(Self { net, directory: TempDir::new()?, web: web? })
    }

    /// Ends a web server: its host refuses connections.
    pub(crate) fn stop_web(&mut self, server: usize) {
        self.web[server] = None;
    }

    /// Starts it again.
    pub(crate) fn restart_web(&mut self, server: usize) -> Result<(), Failed> {
        let everywhere = SocketAddr::new([0; 16].into(), 80);
        let host = &self.net.servers[server].host;
        self.web[server] = Some(http::Server::start(host, everywhere, host.name())?);
        Ok(())
    }

    pub(crate) fn vip(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.net.vips.v4,
            Family::V6 => self.net.vips.v6,
        }
    }

    /// Where the web service is.
    pub(crate) fn web(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.vip(family), 80)
    }

    /// The interfaces of the director with their DIPs, and the gateway on the first, as options.
    pub(crate) fn interfaces(&self, family: Family) -> String {
        let mut options = String::new();
        for (at, [v4, v6]) in self.net.dips.iter().enumerate() {
            let dip = if family == Family::V4 { v4 } else { v6 };
            let _ = write!(options, " --interface eth{at} --dip {dip}");
            if let (0, Some(gateway)) = (at, &self.net.gateway) {
                let gateway = if family == Family::V4 { gateway.v4 } else { gateway.v6 };
                let _ = write!(options, " --gateway {gateway}");
            }
        }
        options
    }

    /// Rules for a service (`-t` or `-u`) on all real servers, with a weight each if there are any.
    pub(crate) fn rules(
        &self,
        kind: &str,
        family: Family,
        port: u16,
        scheduler: &str,
        weights: &[u32],
    ) -> String {
        let service = SocketAddr::new(self.vip(family), port);
        let mut rules = format!("-A {kind} {service} -s {scheduler}\n");
        for (at, server) in self.net.servers.iter().enumerate() {
            let address = if family == Family::V4 { server.addresses.v4 } else { server.addresses.v6 };
            let _ = write!(rules, "-a {kind} {service} -r {} -g", SocketAddr::new(address, port));
            if let Some(weight) = weights.get(at) {
                let _ = write!(rules, " -w {weight}");
            }
            rules.push('\n');
        }
        rules
    }

    pub(crate) fn write_rules(&self, rules: &str) -> io::Result<()> {
        fs::write(self.directory.path().join(RULES), rules)
    }

    /// The director with these options after those of the interfaces and the rules.
    pub(crate) fn director(&self, family: Family, options: &str) -> Start<'_> {
        let all = format!("{} --rules {RULES} {options}", self.interfaces(family));
        Start::director(&self.net.director, self.directory.path(), &all)
    }

    /// Writes the rules, starts the director, and waits until it is ready.
    pub(crate) fn start(&self, family: Family, rules: &str) -> Result<Program, Failed> {
        self.write_rules(rules)?;
        let director = self.director(family, "").run()?;
        director.wait_ready()?;
        Ok(director)
    }

    /// The web service over IPv4 with `rr`, ready.
    pub(crate) fn start_web(&self) -> Result<Program, Failed> {
        self.start(Family::V4, &self.rules("-t", Family::V4, 80, "rr", &[]))
    }

    /// The client fetches the page once, over a connection of its own: which server answered.
    pub(crate) fn fetch(&self, family: Family) -> Result<String, Failed> {
        Ok(http::get(&self.net.client, self.web(family), "/", PATIENCE)?.body)
    }

    /// The same, so many times one after the other.
    pub(crate) fn fetch_in_turn(&self, family: Family, times: usize) -> Result<Vec<String>, Failed> {
        (0..times).map(|_| self.fetch(family)).collect()
    }

    /// Whether the page is refused, or not answered, for `time`.
    pub(crate) fn is_silent(&self, time: Duration) -> bool {
        http::get(&self.net.client, self.web(Family::V4), "/", time).is_err()
    }
}

/// The names repeated in turn, `times` in all.
pub(crate) fn in_turn(names: &[&str], times: usize) -> Vec<String> {
    names.iter().cycle().take(times).map(|name| (*name).to_owned()).collect()
}
