//! How frames reach a director: the choice of a backend, what AF_XDP has to be told, and TAP devices with their bridges.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use clap::ValueEnum;
use lvs_core::config::ServiceKey;
use lvs_core::{FrameIo, InterfaceConfig, MacAddr, PortId, Subnet};
use lvs_io_tap::{KernelEnd, KernelEndConfig, TapConfig, TapIo};
use lvs_io_xdp::{AddressError, OpenError, Warning, XdpConfig, XdpIo};

/// The ways in which frames can reach a director.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Io {
    /// Linux packet sockets: run everywhere
    #[default]
    Afpacket,
    /// Linux AF_XDP sockets: faster, take root's rights, and no unfinished checksums from other ends of veth pairs
    Xdp,
    /// A Linux TAP device, which is made if it is not there: a director on a bridge, in front of containers and virtual machines
    Tap,
}

impl Io {
    /// The name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Afpacket => "afpacket",
            Self::Xdp => "xdp",
            Self::Tap => "tap",
        }
    }
}

/// Which addresses come to a director's AF_XDP sockets, and which stay with the host's kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// VIPs, prefixes of mark rules, and the director's own addresses.
    pub take: Vec<Subnet>,
    /// Addresses of the host's kernel.
    pub leave: Vec<Subnet>,
}

impl Addresses {
    /// The director's own addresses on these interfaces. `host_has` says which of them the host's kernel has.
    #[must_use]
    pub fn of(interfaces: &[InterfaceConfig], host_has: impl Fn(IpAddr) -> bool) -> Self {
        let own = interfaces.iter().flat_map(|interface| &interface.addresses);
        let (left, taken): (Vec<_>, Vec<_>) =
            own.map(|dip| dip.address()).partition(|address| host_has(*address));
        let subnets = |addresses: Vec<IpAddr>| addresses.into_iter().filter_map(single).collect();
        Self { take: subnets(taken), leave: subnets(left) }
    }

    /// The same with these services and these destinations of mark rules besides.
    #[must_use]
    pub fn and(
        &self,
        services: impl IntoIterator<Item = ServiceKey>,
        marks: impl IntoIterator<Item = Subnet>,
    ) -> Self {
        let vips = services.into_iter().filter_map(|key| single(key.address()?));
        let mut take: Vec<Subnet> = self.take.iter().copied().chain(vips).chain(marks).collect();
        take.sort_by_key(|subnet| (subnet.address(), subnet.prefix_len()));
        take.dedup();
        Self { take, leave: self.leave.clone() }
    }
}

/// An address as a subnet of its own.
#[must_use]
pub fn single(address: IpAddr) -> Option<Subnet> {
    Subnet::new(address, if address.is_ipv4() { 32 } else { 128 })
}

/// Why AF_XDP sockets could not be opened and told what to take.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// They could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// They could not be told.
    #[error(transparent)]
    Addresses(#[from] AddressError),
}

/// Opens AF_XDP sockets on these interfaces for these addresses, and logs how.
///
/// # Errors
/// If the kernel refuses; the text says what is missing.
pub fn open_xdp(
    names: &[String],
    interfaces: &[InterfaceConfig],
    addresses: &Addresses,
) -> Result<XdpIo, XdpError> {
    let mut io = XdpIo::open(&XdpConfig::new(names.iter().cloned()))?;
    prepare(&mut io, interfaces, addresses)?;
    Ok(io)
}

/// The same for so many workers.
///
/// # Errors
/// As there, and if an interface has fewer queues than there are workers.
pub fn open_xdp_group(
    names: &[String],
    interfaces: &[InterfaceConfig],
    addresses: &Addresses,
    workers: NonZeroU16,
) -> Result<Vec<XdpIo>, XdpError> {
    let mut group = XdpIo::open_group(&XdpConfig::new(names.iter().cloned()), workers)?;
    // What concerns the devices is one for all, and the first has it.
    if let Some(first) = group.first_mut() {
        prepare(first, interfaces, addresses)?;
    }
    Ok(group)
}

fn prepare(
    io: &mut XdpIo,
    interfaces: &[InterfaceConfig],
    addresses: &Addresses,
) -> Result<(), AddressError> {
    io.set_addresses(&addresses.take, &addresses.leave)?;
    for port in (0..io.ports()).map(PortId) {
        if let (Some(name), Some(mode)) = (io.interface(port), io.mode(port)) {
            tracing::info!("{name}: AF_XDP {mode}");
        }
    }
    let uses_vlans = interfaces.iter().any(|interface| interface.vlan.outer != 0);
    for warning in io.warnings() {
        // Nearly every device takes tags out, which matters only where there are any.
        if uses_vlans || !matches!(warning, Warning::VlanOffload { .. }) {
            tracing::warn!("{warning}");
        }
    }
    Ok(())
}

/// A TAP device to be: the director's Ethernet address is its own, not that of the kernel's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// The name of the device to make or open.
    pub name: String,
    /// The director's Ethernet address on it.
    pub mac: MacAddr,
    /// The bridge that it is to be a port of.
    pub bridge: Option<String>,
}

/// Why TAP devices cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// They could not be opened or set up.
    #[error(transparent)]
    Open(#[from] lvs_io_tap::OpenError),
    /// The director would have the address of the kernel's end.
    #[error(
        "--mac {mac}: the kernel's end of {name} has this address, and the bridge would keep the director's frames for the \
         host; choose another one, or leave --mac out"
    )]
    SameMac {
        /// The device.
        name: String,
        /// The address.
        mac: MacAddr,
    },
}

/// Opens TAP devices with a queue for each worker, sets them up, and logs everything that was done to them. What comes second
/// puts it back when it is dropped.
///
/// # Errors
/// If the kernel refuses; the text says what is missing.
pub fn open_taps(taps: &[Tap], workers: NonZeroU16) -> Result<(Vec<TapIo>, Vec<KernelEnd>), TapError> {
    let there: Vec<bool> = taps.iter().map(|tap| lvs_netdev::Device::find(&tap.name).is_ok()).collect();
    let devices = TapIo::open_group(TapConfig::new(taps.iter().map(|tap| tap.name.as_str())), workers)?;
    let mut ends = Vec::new();
    for (at, tap) in taps.iter().enumerate() {
        let Tap { name, mac, bridge } = tap;
        if there[at] {
            tracing::info!("{name}: opened, it was there");
        } else {
            tracing::info!("{name}: made, goes when this program ends");
        }
        if lvs_netdev::interface_mac(name).is_ok_and(|kernels| kernels == *mac) {
            return Err(TapError::SameMac { name: name.clone(), mac: *mac });
        }
        let mut config = KernelEndConfig::default();
        config.bridge.clone_from(bridge);
        let end = KernelEnd::set_up(name, &config)?;
        for step in end.steps() {
            tracing::info!("{name}: {step}");
        }
        if let Some(bridge) = bridge
            && lvs_netdev::Device::find(bridge).is_ok_and(|found| !is_up(&found))
        {
            tracing::warn!("{bridge} is down, and carries nothing: `ip link set dev {bridge} up`");
        }
        ends.push(end);
    }
    Ok((devices, ends))
}

fn is_up(device: &lvs_netdev::Device) -> bool {
    device.flags().is_ok_and(|flags| flags & nix::libc::IFF_UP != 0)
}

/// The link-local address that belongs to an Ethernet address (RFC 4291 appendix A).
#[must_use]
pub const fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_link_local_address_has_the_ethernet_address_in_it() {
        let mac = "34:56:78:9a:bc:de".parse().unwrap();
        // The example of RFC 4291.
        assert_eq!(link_local(mac), "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
    }

    fn interface(dips: &[&str]) -> InterfaceConfig {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let addresses = subnets(dips);
        InterfaceConfig { addresses, ..InterfaceConfig::new(PortId(0), mac, "10.0.0.1/8".parse().unwrap()) }
    }

    #[test]
    fn services_marks_and_own_addresses_are_taken_and_the_hosts_left() {
        let key = |address: &str, port| ServiceKey::tcp(address.parse().unwrap(), port);
        let interfaces = [interface(&["10.0.0.208/24", "fd00::208/64"])];
        let own = Addresses::of(&interfaces, |address| address.is_ipv6());
        assert_eq!(own.take, subnets(&["10.0.0.208/32"]));
        // Two services of one address are one address.
        let services = [key("10.0.0.250", 80), key("10.0.0.250", 443), key("fd00::250", 80)];
        let expected = Addresses {
            take: subnets(&["10.0.0.208/32", "10.0.0.250/32", "10.9.0.0/16", "fd00::250/128"]),
            leave: subnets(&["fd00::208/128"]),
        };
        assert_eq!(own.and(services, ["10.9.0.0/16".parse().unwrap()]), expected);
    }
}
