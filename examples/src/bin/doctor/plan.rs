//! What is to be examined: everything read and checked before a socket is opened.

use std::net::IpAddr;
use std::path::Path;

use lvs_admin::rules;
use lvs_core::{Change, MacAddr, PortId};
use lvs_doctor::{Interface, Service, services};
use lvs_examples::backend::Io;
use lvs_examples::host::Host;
use lvs_io_afpacket::{interface_mac, interface_mtu};

use crate::Error;
use crate::options::{InterfaceOptions, Options};

/// Everything that the examination is told, and the host.
pub(crate) struct Plan {
    pub(crate) host: Host,
    /// Names of the devices to open, one a port.
    pub(crate) ports: Vec<String>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) services: Vec<Service>,
    pub(crate) director_macs: Vec<MacAddr>,
    pub(crate) io: Io,
}

impl Plan {
    pub(crate) fn make(options: &Options) -> Result<Self, Error> {
        let mut plan = Self {
            host: Host::look()?,
            ports: Vec::new(),
            interfaces: Vec::new(),
            services: load(&options.rules)?,
            director_macs: options.director_macs.clone(),
            io: options.io,
        };
        for interface in &options.interfaces {
            plan.add_interface(interface)?;
        }
        Ok(plan)
    }

    fn add_interface(&mut self, options: &InterfaceOptions) -> Result<(), Error> {
        let name = &options.name;
        let wrong = |error| format!("--interface {name}: {error}");
        let mac = interface_mac(name).map_err(wrong)?;
        let mtu = interface_mtu(name).map_err(wrong)?;
        let port = self.ports.iter().position(|port| port == name).unwrap_or_else(|| {
            self.ports.push(name.clone());
            self.ports.len() - 1
        });
        let mine =
            options.dips.iter().map(|dip| dip.address()).chain(options.probe_addresses.iter().copied());
        let is_free = |address: &IpAddr| self.host.holder_of(*address).is_none();
        let answer_for: Vec<IpAddr> = mine.filter(is_free).collect();
        let dips_are_held = options.dips.iter().all(|dip| !is_free(&dip.address()));
        if self.io == Io::Xdp && !dips_are_held && options.probe_addresses.is_empty() {
            return Err(format!(
                "--interface {name}: the host's kernel does not hold the --dip, and a director with --io xdp takes what is \
                 sent to it away from everybody else; give a free address to send probes from (--probe-address)"
            )
            .into());
        }
        let link_local = self.host.link_local_of(name).and_then(|address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        self.interfaces.push(Interface {
            name: name.clone(),
            port: PortId(u16::try_from(port)?),
            vlan: options.vlan,
            mac,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            addresses: options.dips.clone(),
            link_local,
            gateways: options.gateways.clone(),
            probe_addresses: options.probe_addresses.clone(),
            answer_for,
        });
        Ok(())
    }

    /// Whether all interfaces carry frames.
    pub(crate) fn is_connected(&self) -> bool {
        self.ports.iter().all(|name| self.host.link(name) == (true, true))
    }

    /// What is examined, in a line each.
    pub(crate) fn subject(&self) -> Vec<String> {
        let interfaces = self.interfaces.iter().map(|one| {
            let dips: Vec<String> = one.addresses.iter().map(ToString::to_string).collect();
            format!("{} ({}, MTU {}) as {}", one.name, one.mac, one.mtu, dips.join(", "))
        });
        let services = self.services.iter().map(|one| {
            let servers: Vec<String> = one.servers.iter().map(ToString::to_string).collect();
            let socket = std::net::SocketAddr::new(one.vip, one.port.number());
            let servers = if servers.len() <= 8 {
                servers.join(", ")
            } else {
                format!("{} real servers", servers.len())
            };
            format!("{} {socket} on {servers}", one.protocol.name())
        });
        interfaces.chain(services).collect()
    }
}

fn load(path: &Path) -> Result<Vec<Service>, Error> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(|error| format!("--rules {name}: {error}"))?;
    let rules = rules::load(&text).map_err(|error| error.display(&name).with_excerpt().to_string())?;
    let changes: Vec<Change> = rules.into_iter().map(|rule| rule.change).collect();
    let services = services(&changes);
    if services.is_empty() {
        return Err(format!(
            "--rules {name}: there is no service; expected -A and -a lines as `ipvsadm -S -n` prints them"
        )
        .into());
    }
    Ok(services)
}
