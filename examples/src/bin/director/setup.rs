//! What is to be run: the file, the command line and the host, held against each other before a socket is opened.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::num::NonZeroU16;

use clap::ValueEnum;
use lvs_admin::config::{Configuration, Interface, Loaded, ServerOrder, difference};
use lvs_core::config::{ApplyError, ProbeConfig, ServiceKey};
use lvs_core::director::TRANSMIT_BUFFER;
use lvs_core::{Change, DirectorConfig, InterfaceConfig, MacAddr, PortId, Subnet};
use lvs_examples::backend::{Addresses, Io, Tap, link_local, single};
use lvs_examples::host::{Held, Host};
use lvs_examples::run;
use lvs_health::config::ServiceHealth;
use lvs_io_afpacket::{interface_mac, interface_mtu};
use lvs_io_tap::stable_mac;
use lvs_netdev::check_name;

use crate::health;
use crate::options::Options;
use crate::source::Source;

/// Everything that a director is started with.
pub(crate) struct Setup {
    /// Names of the devices to open, one a port.
    pub(crate) ports: Vec<String>,
    /// Names of the interfaces by their number.
    pub(crate) interface_names: Vec<String>,
    /// A line about each interface.
    pub(crate) description: Vec<String>,
    pub(crate) config: DirectorConfig,
    /// How frames come and go.
    pub(crate) io: Io,
    /// How many threads take frames.
    pub(crate) workers: NonZeroU16,
    /// TAP devices to make or open, one a port; none with other backends.
    pub(crate) taps: Vec<Tap>,
    /// What AF_XDP has to take away from the host's kernel whatever the services are, and what not.
    pub(crate) addresses: Addresses,
    /// What the file and the command line say together.
    pub(crate) loaded: Loaded,
    /// The services whose real servers are checked.
    pub(crate) monitored: Vec<ServiceHealth>,
    pub(crate) warnings: Vec<String>,
}

type Error = Box<dyn std::error::Error>;

impl Setup {
    pub(crate) fn make(options: &Options) -> Result<Self, Error> {
        let mut loaded = options.source.read()?;
        let mut warnings: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
        warnings.extend(options.complete(&mut loaded)?);
        let configuration = &loaded.configuration;
        let io = io_of(&options.source, configuration)?;
        if configuration.workers > NonZeroU16::MIN
            && configuration.interfaces.iter().any(|one| one.vlan.inner != 0)
        {
            return Err("--workers: frames with two VLAN tags cannot be shared out among workers".into());
        }
        let host = Host::look()?;
        let mut setup = Self {
            ports: Vec::new(),
            interface_names: Vec::new(),
            description: Vec::new(),
            config: DirectorConfig::new(Vec::new(), run::seed()?),
            io,
            workers: configuration.workers,
            taps: Vec::new(),
            addresses: Addresses::default(),
            loaded: Loaded::default(),
            monitored: Vec::new(),
            warnings,
        };
        for interface in &configuration.interfaces {
            setup.add_interface(interface, &host)?;
        }
        setup.check_handover()?;
        configuration.capacities.give_to(&mut setup.config);
        setup.config.knobs = configuration.knobs;
        let addresses = configuration.probe_addresses.clone();
        if let Some(held) = addresses.iter().find_map(|address| host.holder_of(*address)) {
            let Held { interface, address, .. } = held;
            return Err(format!(
                "--probe-address {address}: this host has the address on {interface}; choose one that nobody has"
            )
            .into());
        }
        check_addresses(&loaded)?;
        setup.config.probes = Some(ProbeConfig { addresses, ..ProbeConfig::default() });
        setup.warnings.extend(health::notes(configuration));
        setup.monitored = health::services(configuration)?;
        health::validate(&setup.monitored)?;
        check_reach(&setup.config.interfaces, &loaded)?;
        let changes = loaded.configuration.changes();
        setup.check_host(&host, &changes, configuration.allow_local_vip)?;
        let mut own = Addresses::of(&setup.config.interfaces, |address| host.holder_of(address).is_some());
        let probes = setup.config.probes.iter().flat_map(|probes| &probes.addresses);
        own.take.extend(probes.filter_map(|address| single(*address)));
        setup.addresses = own;
        setup.loaded = loaded;
        Ok(setup)
    }

    /// What makes a director that was just made with [`config`](Self::config) what it should be, but for real servers that are
    /// checked: they come when the checks say so.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let configuration = &self.loaded.configuration;
        let fresh = Configuration { knobs: self.config.knobs, ..Configuration::default() };
        let all = difference(&fresh, configuration, ServerOrder::AsWritten).changes;
        health::without_servers_of(&health::monitored(configuration), &BTreeSet::new(), all)
    }

    fn add_interface(&mut self, options: &Interface, host: &Host) -> Result<(), Error> {
        let name = &options.name;
        let (mac, mtu) = if self.io == Io::Tap { self.add_tap(options)? } else { own_mac_and_mtu(name)? };
        let port = match self.ports.iter().position(|port| port == name) {
            Some(port) => port,
            None => {
                self.ports.push(name.clone());
                self.ports.len() - 1
            }
        };
        let mut addresses = options.dips.clone();
        let has_link_local =
            |subnet: &Subnet| matches!(subnet.address(), IpAddr::V6(a) if a.is_unicast_link_local());
        let wants_v6 = addresses.iter().any(|subnet| subnet.address().is_ipv6());
        if wants_v6 && !addresses.iter().any(has_link_local) {
            // Group reports must come from a link-local address; the kernel's own will do, where the director has its place.
            let link_local = match self.io {
                Io::Tap => Some(IpAddr::V6(link_local(mac))),
                _ => host.link_local_of(name),
            };
            addresses.extend(link_local.and_then(|address| Subnet::new(address, 64)));
        }
        let held = options.dips.iter().filter(|dip| host.holder_of(dip.address()).is_some()).count();
        if let (Io::Tap, Some(Held { address, interface, prefix_len })) =
            (self.io, options.dips.iter().find_map(|dip| host.holder_of(dip.address())))
        {
            return Err(format!(
                "--dip {address}: this host has the address on {interface}, and on a TAP device the director is another station \
                 beside it; choose a free address, or take it off (`ip address del {address}/{prefix_len} dev {interface}`)"
            )
            .into());
        }
        let owner = match held {
            0 => "this director",
            n if n == options.dips.len() => "the host's kernel",
            _ => {
                return Err(format!(
                    "--interface {name}: the host's kernel holds some of its --dip addresses and not others; \
                     configure all of them on the host, or none"
                )
                .into());
            }
        };
        let dips: Vec<_> = options.dips.iter().map(ToString::to_string).collect();
        let mut line = format!("{mac}, MTU {mtu}, DIP {} (answered for by {owner})", dips.join(", "));
        for gateway in &options.gateways {
            write!(line, ", gateway {gateway}")?;
        }
        self.description.push(line);
        self.interface_names.push(name.clone());
        self.config.interfaces.push(InterfaceConfig {
            port: PortId(port as u16),
            vlan: options.vlan,
            mac,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            addresses,
            gateways: options.gateways.clone(),
            owns_addresses: held == 0,
        });
        Ok(())
    }

    /// Over AF_XDP frames come to any worker, and go from one to another in buffers of a certain length.
    fn check_handover(&self) -> Result<(), Error> {
        /// An Ethernet header with a tag.
        const AROUND: usize = 18;
        const MOST: u16 = (TRANSMIT_BUFFER - AROUND) as u16;
        if self.workers == NonZeroU16::MIN || self.io != Io::Xdp {
            return Ok(());
        }
        match self.config.interfaces.iter().zip(&self.interface_names).find(|(one, _)| one.mtu > MOST) {
            None => Ok(()),
            Some((InterfaceConfig { mtu, .. }, name)) => Err(format!(
                "--workers: over AF_XDP workers hand each other frames, which may be 2 KiB long, and {name} has an MTU of \
                 {mtu}; set it to {MOST} or less (`ip link set {name} mtu {MOST}`), or use one worker, or --io afpacket"
            )
            .into()),
        }
    }

    /// Takes note of a TAP device, which may not be there yet. Answers the director's address and MTU on it.
    fn add_tap(&mut self, options: &Interface) -> Result<(MacAddr, u32), Error> {
        let Interface { name, mac, bridge, .. } = options;
        check_name(name).map_err(|error| format!("--interface {name}: {error}"))?;
        let tap = match self.taps.iter().find(|tap| tap.name == *name) {
            // Another VLAN of the same device.
            Some(known) => {
                if bridge.is_some() && known.bridge != *bridge || mac.is_some_and(|mac| known.mac != mac) {
                    let text = "its --bridge and --mac belong to the device, not to a VLAN: give them once";
                    return Err(format!("--interface {name}: {text}").into());
                }
                known.clone()
            }
            None => {
                let mac = mac.unwrap_or_else(|| stable_mac(name));
                let tap = Tap { name: name.clone(), mac, bridge: bridge.clone() };
                self.taps.push(tap.clone());
                tap
            }
        };
        let mtu = match &tap.bridge {
            Some(bridge) => interface_mtu(bridge).map_err(|error| {
                format!(
                    "--bridge {bridge}: {error}; a bridge is made with `ip link add dev {bridge} type bridge`"
                )
            })?,
            // That of a device that is there, or what the kernel gives to new ones.
            None => interface_mtu(name).unwrap_or(1500),
        };
        Ok((tap.mac, mtu.min(LONGEST_TAP_MTU)))
    }

    /// Looks for what on the host would spoil the balancing.
    fn check_host(&mut self, host: &Host, changes: &[Change], allow_local_vip: bool) -> Result<(), Error> {
        for change in changes {
            let Change::AddService(service) = change else { continue };
            let ServiceKey::Address { address, .. } = service.key else { continue };
            let Some(Held { interface, prefix_len, .. }) = host.holder_of(address) else { continue };
            let trouble = format!(
                "the VIP {address} is configured on this host's {interface}: the kernel would answer every \
                 client with RST. Take it off (`ip address del {address}/{prefix_len} dev {interface}`); this \
                 program answers for it"
            );
            if !allow_local_vip {
                return Err(format!("{trouble}; --allow-local-vip starts all the same").into());
            }
            if !self.warnings.contains(&trouble) {
                self.warnings.push(trouble);
            }
        }
        if self.io == Io::Tap {
            // The host's kernel gets no copy of what a bridge sends to a TAP device: it may forward.
            for switch in Host::bridge_firewall() {
                self.warnings.push(format!(
                    "{switch} is on: what bridges carry passes through this host's firewall, whose FORWARD chain may drop it, and \
                     whose connection tracking sees one direction only. Turn it off (`sysctl -w {switch}=0`) if clients get no \
                     answer"
                ));
            }
            return Ok(());
        }
        for switch in Host::forwarding() {
            self.warnings.push(format!(
                "{switch} is on: the kernel may forward a second copy of packets that this director forwards. \
                 Turn it off (`sysctl -w {switch}=0`) unless this host is a router besides"
            ));
        }
        Ok(())
    }
}

/// The longest packet of a TAP device.
const LONGEST_TAP_MTU: u32 = 65_535 - 14;

/// Of an interface that carries the host's address, too.
fn own_mac_and_mtu(name: &str) -> Result<(MacAddr, u32), Error> {
    let mac = interface_mac(name).map_err(|error| format!("--interface {name}: {error}"))?;
    let mtu = interface_mtu(name).map_err(|error| format!("--interface {name}: {error}"))?;
    Ok((mac, mtu))
}

/// How frames are to come and go.
fn io_of(source: &Source, configuration: &Configuration) -> Result<Io, String> {
    let unknown = |_| format!("{source}: director.io: {:?}; expected afpacket, xdp or tap", configuration.io);
    Io::from_str(&configuration.io, false).map_err(unknown)
}

/// What a start would refuse in a file whatever the host. Answers what the operator should know.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_file(source: &Source, loaded: &Loaded) -> Result<Vec<String>, String> {
    let configuration = &loaded.configuration;
    io_of(source, configuration)?;
    check_addresses(loaded)?;
    health::validate(&health::services(configuration)?)?;
    Ok(health::notes(configuration))
}

/// Whether an interface leads to an address.
pub(crate) fn leads(interfaces: &[InterfaceConfig], address: IpAddr) -> bool {
    interfaces.iter().any(|interface| {
        interface.addresses.iter().any(|subnet| subnet.contains(address))
            || interface.gateways.iter().any(|gateway| gateway.is_ipv4() == address.is_ipv4())
    })
}

/// That none does.
#[derive(Debug, thiserror::Error)]
#[error(
    "no --interface leads to {0}; expected a real server in the subnet of a --dip, or a --gateway of its family"
)]
pub(crate) struct NoWay(pub(crate) IpAddr);

/// Looks for addresses that are two things at once, and for probe addresses that servers could not answer.
///
/// # Errors
/// The first one, with its place where it has one.
pub(crate) fn check_addresses(loaded: &Loaded) -> Result<(), String> {
    let configuration = &loaded.configuration;
    let vips: BTreeSet<IpAddr> =
        configuration.services.iter().filter_map(|service| service.config.key.address()).collect();
    let mut rips = BTreeSet::new();
    for service in &configuration.services {
        for server in &service.servers {
            let address = server.config.address;
            if vips.contains(&address) {
                let change = Change::AddDestination(service.config.key, server.config);
                let problem = format!(
                    "{address} is a VIP of this file; a real server is named by an address of its own, at which it can be found"
                );
                return Err(located(loaded, &change, &problem));
            }
            rips.insert(address);
        }
        rips.extend(service.health.sorry_server.map(|sorry| sorry.address));
    }
    for address in &configuration.probe_addresses {
        let interfaces = &configuration.interfaces;
        let is_gateway = interfaces.iter().any(|interface| interface.gateways.contains(address));
        let in_subnet =
            || interfaces.iter().flat_map(|interface| &interface.dips).any(|dip| dip.contains(*address));
        let problem = if vips.contains(address) {
            "it is a VIP"
        } else if rips.contains(address) {
            "a real server has it"
        } else if is_gateway {
            "a gateway has it"
        } else if !interfaces.is_empty() && !in_subnet() {
            "it lies in no subnet of an interface, so that no answer would come back"
        } else {
            continue;
        };
        return Err(format!(
            "--probe-address {address}: {problem}; choose one in the subnet of a --dip that nobody has"
        ));
    }
    Ok(())
}

/// Looks for real servers that cannot be reached: every packet for them would be lost.
pub(crate) fn check_reach(interfaces: &[InterfaceConfig], loaded: &Loaded) -> Result<(), String> {
    let sorry = loaded.configuration.services.iter().filter_map(|service| {
        Some((Change::AddService(service.config), service.health.sorry_server?.address))
    });
    let servers = loaded.configuration.changes().into_iter().filter_map(|change| match change {
        Change::AddDestination(_, server) => Some((change, server.address)),
        _ => None,
    });
    for (change, address) in servers.chain(sorry) {
        if !leads(interfaces, address) {
            return Err(located(loaded, &change, &NoWay(address).to_string()));
        }
    }
    Ok(())
}

/// Says where a refused change comes from.
pub(crate) fn locate(loaded: &Loaded, changes: &[Change], error: ApplyError) -> String {
    match changes.get(error.index) {
        Some(change) => located(loaded, change, &error.error.to_string()),
        None => error.error.to_string(),
    }
}

fn located(loaded: &Loaded, change: &Change, problem: &str) -> String {
    match (loaded.origin(change), change) {
        (Some(place), _) => format!("{place}: {problem}"),
        (None, Change::SetStaticNeighbour { address, .. }) => format!("neighbour {address}: {problem}"),
        (None, _) => problem.to_owned(),
    }
}
