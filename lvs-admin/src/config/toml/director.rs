//! `[director]`, `[[interface]]`, `[knobs]`, `[timeouts]`, `[neighbours]` and `[[mark_rule]]`.

use std::net::IpAddr;

use lvs_core::config::{
    Change, MAX_PORT_RANGES, MarkRule, PortRange, PortRanges, Protocol, Timeouts, VlanPath,
};
use lvs_core::{MacAddr, Subnet};

use super::table::{Table, Value};
use crate::config::{Assembly, Configuration, FileError, Interface, cure, nearest};
use crate::knobs::{self, KnobError};

/// Reads all of it.
pub(super) fn read(top: &Table<'_>, assembly: &mut Assembly) -> Result<(), FileError> {
    let configuration = &mut assembly.loaded.configuration;
    if let Some(value) = top.get("director") {
        director(&value.table()?, configuration)?;
    }
    for table in top.tables("interface")? {
        let interface = interface(&table)?;
        let same = |other: &Interface| other.name == interface.name && other.vlan == interface.vlan;
        if configuration.interfaces.iter().any(same) {
            let problem = format!("interface: {} is there twice with the same VLAN", interface.name);
            return Err(table.place().error(problem, "each interface once for each of its VLANs"));
        }
        configuration.interfaces.push(interface);
    }
    if let Some(value) = top.get("timeouts") {
        configuration.timeouts = timeouts(&value.table()?, configuration.timeouts)?;
    }
    knobs(top, assembly)?;
    neighbours(top, &mut assembly.loaded.configuration)?;
    top.tables("mark_rule")?.iter().try_for_each(|table| mark_rule(table, assembly))
}

fn director(table: &Table<'_>, configuration: &mut Configuration) -> Result<(), FileError> {
    let capacities = configuration.capacities.named().map(|(name, ..)| name);
    let mut known = vec!["io", "workers", "allow_local_vip", "probe_addresses", "pool_buffers"];
    known.extend(capacities);
    table.known(&known)?;
    if let Some(value) = table.get("io") {
        configuration.io = value.text(false)?;
    }
    configuration.workers = table.or("workers", configuration.workers, |value| {
        value.whole::<u16>(1..=1024)?.try_into().map_err(|_| value.wrong("at least 1"))
    })?;
    configuration.allow_local_vip = table.or("allow_local_vip", false, Value::switch)?;
    if let Some(value) = table.get("probe_addresses") {
        configuration.probe_addresses = addresses(&value)?;
    }
    let buffers = configuration.capacities.pool_buffers;
    configuration.capacities.pool_buffers =
        table.or("pool_buffers", buffers, |value| value.whole(8..=4096))?;
    for (name, room, least, most) in configuration.capacities.named() {
        *room = table.or(name, *room, |value| value.whole(least.into()..=most.into()))?;
    }
    Ok(())
}

/// Addresses that a host can have, at most one a family.
fn addresses(value: &Value<'_>) -> Result<Vec<IpAddr>, FileError> {
    let mut all: Vec<IpAddr> = Vec::new();
    for value in value.list()? {
        let address = value.address()?;
        let second = all.iter().any(|other| other.is_ipv4() == address.is_ipv4());
        if second || !is_unicast(address) {
            return Err(value.wrong("unicast addresses, at most one of each family"));
        }
        all.push(address);
    }
    Ok(all)
}

fn is_unicast(address: IpAddr) -> bool {
    let broadcast = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    !address.is_unspecified() && !address.is_multicast() && address != broadcast
}

fn interface(table: &Table<'_>) -> Result<Interface, FileError> {
    table.known(&["name", "dips", "gateways", "vlan", "mac", "bridge"])?;
    let name = table.get("name").ok_or_else(|| table.missing("name", "name = \"eth0\""))?.text(false)?;
    let dips = table.get("dips").ok_or_else(|| {
        table.missing("dips", "dips = [\"192.168.0.208/24\"]: the director's own addresses on this interface")
    })?;
    let (list, mut own) = (dips.list()?, Vec::<Subnet>::new());
    for value in &list {
        let dip: Subnet = value.parsed("an address with its prefix length, as in \"192.168.0.208/24\"")?;
        if !is_unicast(dip.address()) || own.iter().any(|other| kind(*other) == kind(dip)) {
            let expected = "unicast addresses, at most one IPv4, one IPv6 and one IPv6 link-local";
            return Err(value.wrong(expected));
        }
        own.push(dip);
    }
    if own.is_empty() {
        return Err(dips.wrong("at least one address: real servers are asked for with it"));
    }
    let gateways = match table.get("gateways") {
        Some(value) => {
            let list = addresses(&value)?;
            let outside = list.iter().find(|gateway| !own.iter().any(|dip| dip.contains(**gateway)));
            if let Some(gateway) = outside {
                return Err(value.error(
                    format!("{gateway} is in no subnet of this interface"),
                    "a router in the subnet of one of the dips",
                ));
            }
            list
        }
        None => Vec::new(),
    };
    let vlan = table.or("vlan", VlanPath::UNTAGGED, vlan)?;
    let mac = table.get("mac").map(|value| station(&value)).transpose()?;
    let bridge = table.get("bridge").map(|value| value.text(false)).transpose()?;
    Ok(Interface { name, dips: own, gateways, vlan, mac, bridge })
}

/// The Ethernet address of a single station.
fn station(value: &Value<'_>) -> Result<MacAddr, FileError> {
    let mac: MacAddr = value.parsed("an Ethernet address, as in \"02:00:00:00:00:0b\"")?;
    if mac.is_unicast() { Ok(mac) } else { Err(value.wrong("the Ethernet address of a single station")) }
}

/// IPv4, IPv6 or IPv6 link-local.
fn kind(dip: Subnet) -> u8 {
    match dip.address() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) if address.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 2,
    }
}

/// `5`, `"5"`, or `"5.10"` for two tags.
fn vlan(value: &Value<'_>) -> Result<VlanPath, FileError> {
    const EXPECTED: &str = "a VLAN id from 1 to 4094, or \"OUTER.INNER\" for two tags";
    if let Ok(id) = value.whole(1..=4094) {
        return Ok(VlanPath::tagged(id));
    }
    let id = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let id = text.parse::<u16>().ok().filter(|id| digits && (1..=4094).contains(id));
        id.ok_or_else(|| value.wrong(EXPECTED))
    };
    let text = value.as_str().ok_or_else(|| value.wrong(EXPECTED))?;
    match text.split_once('.') {
        Some((outer, inner)) => Ok(VlanPath { outer: id(outer)?, inner: id(inner)? }),
        None => Ok(VlanPath::tagged(id(text)?)),
    }
}

/// Three time-outs; those that are not there are as in `default`.
pub(super) fn timeouts(table: &Table<'_>, default: Timeouts) -> Result<Timeouts, FileError> {
    table.known(&["tcp", "tcp_fin", "udp"])?;
    let one = |key, default| table.or(key, default, |value| value.time(false));
    Ok(Timeouts {
        tcp: one("tcp", default.tcp)?,
        tcp_fin: one("tcp_fin", default.tcp_fin)?,
        udp: one("udp", default.udp)?,
    })
}

fn knobs(top: &Table<'_>, assembly: &mut Assembly) -> Result<(), FileError> {
    let Some(value) = top.get("knobs") else { return Ok(()) };
    for (name, value) in value.table()?.entries() {
        let given = match (value.as_switch(), value.as_str()) {
            (Some(on), _) => u8::from(on).to_string(),
            (_, Some(text)) => text.to_owned(),
            _ => value.to_string(),
        };
        let knobs = &mut assembly.loaded.configuration.knobs;
        let note = knobs::set(knobs, &format!("{name}={given}")).map_err(|error| match error {
            KnobError::BadValue { takes, .. } => value.wrong(takes),
            KnobError::NotYet { .. } => {
                value.error("the kernel has it, this director has not", "no such line")
            }
            _ => {
                let known: Vec<_> = knobs::KNOBS.iter().map(|knob| knob.name).collect();
                value.error("there is no such knob", nearest::suggestion(name, &known))
            }
        })?;
        if let Some(note) = note {
            assembly.notice(&value.place(), format!("knobs.{name}: {note}"));
        }
    }
    Ok(())
}

fn neighbours(top: &Table<'_>, configuration: &mut Configuration) -> Result<(), FileError> {
    let Some(value) = top.get("neighbours") else { return Ok(()) };
    for (name, value) in value.table()?.entries() {
        let address: IpAddr = name
            .parse()
            .map_err(|_| value.error("the key is no address", "\"192.0.2.11\" = \"02:00:00:00:00:0b\""))?;
        let mac = station(&value)?;
        let mut dips = configuration.interfaces.iter().flat_map(|interface| &interface.dips);
        if !configuration.interfaces.is_empty() && !dips.any(|dip| dip.contains(address)) {
            return Err(
                value.error("no interface's subnet holds this address", "a neighbour in the subnet of a dip")
            );
        }
        configuration.neighbours.insert(address, mac);
    }
    Ok(())
}

fn mark_rule(table: &Table<'_>, assembly: &mut Assembly) -> Result<(), FileError> {
    table.known(&["mark", "protocol", "destination", "ports"])?;
    let needed = |key: &str, expected: &str| table.get(key).ok_or_else(|| table.missing(key, expected));
    let protocol = needed("protocol", "protocol = \"tcp\"")?;
    let ports = needed("ports", "ports = [80, \"8000-8099\"]")?;
    let rule = MarkRule {
        mark: needed("mark", "mark = 1")?.whole(1..=i64::from(u32::MAX))?,
        protocol: match protocol.as_str() {
            Some("tcp") => Protocol::Tcp,
            Some("udp") => Protocol::Udp,
            Some("sctp") => Protocol::Sctp,
            _ => return Err(protocol.wrong("\"tcp\", \"udp\" or \"sctp\"")),
        },
        destination: needed("destination", "destination = \"192.0.2.10/32\"")?
            .parsed("addresses with their prefix length, as in \"192.0.2.10/32\"")?,
        ports: {
            let list = ports.list()?;
            let ranges = list.iter().map(|value| {
                let (first, last) = number_range(value, 65_535)?;
                Ok(PortRange { first, last })
            });
            let ranges: Vec<_> = ranges.collect::<Result<_, FileError>>()?;
            let expected = || ports.wrong(format!("1 to {MAX_PORT_RANGES} ports or ranges"));
            PortRanges::new(&ranges).ok_or_else(expected)?
        },
    };
    assembly
        .mark_rule(&table.place(), rule)
        .map_err(|error| table.place().error(format!("mark_rule: {error}"), cure(error)))
}

/// A number, or a range of them as in `"200-299"`.
pub(super) fn number_range(value: &Value<'_>, most: u16) -> Result<(u16, u16), FileError> {
    if let Ok(number) = value.whole(0..=i64::from(most)) {
        return Ok((number, number));
    }
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|number| digits && *number <= most)
    };
    let range = value.as_str().and_then(|text| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some((number(first)?, number(last)?))
    });
    range
        .filter(|(first, last)| first <= last)
        .ok_or_else(|| value.wrong(format!("a number from 0 to {most}, or a range as in \"200-299\"")))
}

/// Looks for real servers that no interface leads to: every packet for them would be lost.
pub(super) fn check_reach(assembly: &Assembly, top: &Table<'_>) -> Result<(), FileError> {
    let configuration = &assembly.loaded.configuration;
    if configuration.interfaces.is_empty() {
        return Ok(());
    }
    let leads = |address: IpAddr| {
        configuration.interfaces.iter().any(|interface| {
            interface.dips.iter().any(|dip| dip.contains(address))
                || interface.gateways.iter().any(|gateway| gateway.is_ipv4() == address.is_ipv4())
        })
    };
    for service in &configuration.services {
        let sorry = service.health.sorry_server.filter(|sorry| !leads(sorry.address));
        let lost = service.servers.iter().find(|server| !leads(server.config.address));
        let (change, address) = match (sorry, lost) {
            (Some(sorry), _) => (Change::AddService(service.config), sorry.address),
            (None, Some(lost)) => {
                (Change::AddDestination(service.config.key, lost.config), lost.config.address)
            }
            (None, None) => continue,
        };
        let place = assembly.loaded.origin(&change).cloned().unwrap_or_else(|| top.place());
        return Err(place.error(
            format!("no interface leads to {address}"),
            "a real server in the subnet of a dip, or a gateway of its family",
        ));
    }
    Ok(())
}
