//! The kernel of this host: facts are read from it, steps are taken on it. By netlink and /proc/sys; no other program is run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use lvs_core::Subnet;

use crate::execute::System;
use crate::facts::{DefaultRoute, Facts, Held, Interface, Ipv4Settings, Ipv6Settings, Key, alone};
use crate::netlink::Netlink;
use crate::plan::Step;
use crate::state::{State, StateFile};

/// Bit of CAP_NET_ADMIN in the masks of /proc/self/status (capabilities(7)).
const CAP_NET_ADMIN: u32 = 12;

/// The kernel, and where the state is kept.
pub(crate) struct Kernel {
    netlink: Netlink,
    /// Of `lo`, by whatever name the first interface of a namespace has.
    loopback: u32,
    file: Option<StateFile>,
}

/// Interface names by number.
type Names = BTreeMap<u32, String>;

impl Kernel {
    pub(crate) fn open(file: Option<StateFile>) -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open()?, loopback: 1, file })
    }

    /// Everything at this moment.
    pub(crate) fn facts(&mut self) -> io::Result<Facts> {
        let (interfaces, names) = self.links()?;
        if let Some((index, _)) = names.iter().find(|(_, name)| *name == "lo") {
            self.loopback = *index;
        }
        let mut default_routes = self.default_routes(AddressFamily::Inet, &names)?;
        default_routes.extend(self.default_routes(AddressFamily::Inet6, &names)?);
        Ok(Facts {
            interfaces,
            addresses: self.addresses(&names)?,
            default_routes,
            ipv4: ipv4_settings()?,
            ipv6: ipv6_settings()?,
            proxied: self.proxied(&names)?,
        })
    }

    /// The interface by which the kernel would send to an address.
    pub(crate) fn way_to(&mut self, address: IpAddr, facts: &Facts) -> io::Result<Option<String>> {
        let (_, names) = self.links()?;
        let mut message = RouteMessage::default();
        message.header.address_family = family(address);
        message.header.destination_prefix_length = alone(address).prefix_len();
        message.attributes.push(RouteAttribute::Destination(match address {
            IpAddr::V4(address) => RouteAddress::Inet(address),
            IpAddr::V6(address) => RouteAddress::Inet6(address),
        }));
        let answers = match self.netlink.request(RouteNetlinkMessage::GetRoute(message), 0) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENETUNREACH) => return Ok(None),
            answers => answers?,
        };
        let out = answers.into_iter().find_map(|answer| {
            let RouteNetlinkMessage::NewRoute(route) = answer else { return None };
            route.attributes.into_iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => names.get(&index).cloned(),
                _ => None,
            })
        });
        Ok(out.filter(|name| facts.is_seen(name)))
    }

    fn links(&mut self) -> io::Result<(Vec<Interface>, Names)> {
        let (mut interfaces, mut names) = (Vec::new(), Names::new());
        for answer in self.netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))? {
            let RouteNetlinkMessage::NewLink(link) = answer else { continue };
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            let Some(name) = name else { continue };
            names.insert(link.header.index, name.clone());
            let flags = link.header.flags;
            interfaces.push(Interface {
                name,
                up: flags.contains(LinkFlags::Up),
                loopback: flags.contains(LinkFlags::Loopback),
                resolves: !flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback),
            });
        }
        Ok((interfaces, names))
    }

    fn addresses(&mut self, names: &Names) -> io::Result<Vec<Held>> {
        let answers = self.netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        Ok(answers.into_iter().filter_map(|answer| read_address(answer, names)).collect())
    }

    fn default_routes(&mut self, family: AddressFamily, names: &Names) -> io::Result<Vec<DefaultRoute>> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let answers = match self.netlink.dump(RouteNetlinkMessage::GetRoute(message)) {
            // A kernel without IPv6.
            Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => return Ok(Vec::new()),
            answers => answers?,
        };
        let mut routes = Vec::new();
        for answer in answers {
            let RouteNetlinkMessage::NewRoute(route) = answer else { continue };
            let header = &route.header;
            let main = header.table == RouteHeader::RT_TABLE_MAIN && header.kind == RouteType::Unicast;
            if main && header.destination_prefix_length == 0 && header.address_family == family {
                read_default_route(&route, names, &mut routes);
            }
        }
        Ok(routes)
    }

    fn proxied(&mut self, names: &Names) -> io::Result<Vec<(String, IpAddr)>> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet6;
        message.header.flags = NeighbourFlags::Proxy;
        let answers = match self.netlink.dump(RouteNetlinkMessage::GetNeighbour(message)) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => return Ok(Vec::new()),
            answers => answers?,
        };
        let read = |answer| {
            let RouteNetlinkMessage::NewNeighbour(entry) = answer else { return None };
            let name = names.get(&entry.header.ifindex)?.clone();
            entry.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                    Some((name.clone(), IpAddr::V6(*address)))
                }
                _ => None,
            })
        };
        Ok(answers.into_iter().filter_map(read).collect())
    }

    /// The message about a VIP on `lo`, as `ip address add VIP/32 dev lo` sends it.
    fn vip_message(&self, vip: IpAddr) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = self.loopback;
        message.header.prefix_len = alone(vip).prefix_len();
        message.header.family = family(vip);
        message.attributes = vec![AddressAttribute::Local(vip), AddressAttribute::Address(vip)];
        message
    }
}

impl System for Kernel {
    fn apply(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Set { interface, key, to, .. } => write_setting(interface, *key, *to),
            Step::Add(vip) => {
                let message = RouteNetlinkMessage::NewAddress(self.vip_message(*vip));
                self.netlink.request(message, NLM_F_CREATE | NLM_F_EXCL).map(drop)
            }
            Step::Remove(vip) => {
                let message = RouteNetlinkMessage::DelAddress(self.vip_message(*vip));
                self.netlink.request(message, 0).map(drop)
            }
        }
    }

    fn save(&mut self, state: &State) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.save(state))
    }
}

/// Whether this process has CAP_NET_ADMIN. (In a user namespace it may have it and still not over this network.)
pub(crate) fn has_net_admin() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // If it cannot be known, the kernel will say.
    mask.is_none_or(|mask| mask >> CAP_NET_ADMIN & 1 == 1)
}

const CONF: &str = "/proc/sys/net";

fn write_setting(interface: &str, key: Key, value: i32) -> io::Result<()> {
    let path = Path::new(CONF).join("ipv4/conf").join(interface).join(key.name());
    // Without `create`: an interface that is gone is an error, not a new file.
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    io::Write::write_all(&mut file, value.to_string().as_bytes())
}

fn ipv4_settings() -> io::Result<BTreeMap<String, Ipv4Settings>> {
    read_settings("ipv4", |directory| {
        let read = |key| read_number(directory, key);
        Some(Ipv4Settings {
            arp_ignore: read("arp_ignore")?,
            arp_announce: read("arp_announce")?,
            arp_filter: read("arp_filter")?,
            rp_filter: read("rp_filter")?,
        })
    })
}

fn ipv6_settings() -> io::Result<BTreeMap<String, Ipv6Settings>> {
    let settings = read_settings("ipv6", |directory| {
        let read = |key| read_number(directory, key);
        Some(Ipv6Settings {
            forwarding: read("forwarding")?,
            proxy_ndp: read("proxy_ndp")?,
            disable_ipv6: read("disable_ipv6")?,
        })
    });
    match settings {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        settings => settings,
    }
}

/// Interfaces that go away meanwhile are left out.
fn read_settings<T>(family: &str, read: impl Fn(&Path) -> Option<T>) -> io::Result<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(Path::new(CONF).join(family).join("conf"))? {
        let entry = entry?;
        if let (Ok(name), Some(settings)) = (entry.file_name().into_string(), read(&entry.path())) {
            all.insert(name, settings);
        }
    }
    Ok(all)
}

fn read_number(directory: &Path, key: &str) -> Option<i32> {
    fs::read_to_string(directory.join(key)).ok()?.trim().parse().ok()
}

fn read_address(answer: RouteNetlinkMessage, names: &Names) -> Option<Held> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    let interface = names.get(&message.header.index)?.clone();
    let (mut address, mut local, mut label) = (None, None, None);
    let mut duplicate = message.header.flags.contains(AddressHeaderFlags::Dadfailed);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Address(it) => address = Some(it),
            AddressAttribute::Local(it) => local = Some(it),
            AddressAttribute::Label(text) => label = Some(text).filter(|text| *text != interface),
            AddressAttribute::Flags(flags) => duplicate |= flags.contains(AddressFlags::Dadfailed),
            _ => {}
        }
    }
    // With a peer, `Address` is the other end's.
    let subnet = Subnet::new(local.or(address)?, message.header.prefix_len)?;
    Some(Held { interface, subnet, label, duplicate })
}

fn read_default_route(route: &RouteMessage, names: &Names, routes: &mut Vec<DefaultRoute>) {
    let ipv6 = route.header.address_family == AddressFamily::Inet6;
    let mut add = |index: Option<u32>, gateway| {
        if let Some(interface) = index.and_then(|index| names.get(&index)).cloned() {
            routes.push(DefaultRoute { ipv6, interface, gateway });
        }
    };
    let (mut index, mut gateway) = (None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(it) => index = Some(*it),
            RouteAttribute::Gateway(it) => gateway = ip_address(it),
            RouteAttribute::MultiPath(hops) => {
                for hop in hops {
                    let gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                        RouteAttribute::Gateway(it) => ip_address(it),
                        _ => None,
                    });
                    add(Some(hop.interface_index), gateway);
                }
            }
            _ => {}
        }
    }
    add(index, gateway);
}

const fn ip_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
