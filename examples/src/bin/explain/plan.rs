//! Rules and survey made into a director.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use lvs_admin::{knobs, rules};
use lvs_core::config::{Knobs, VlanPath};
use lvs_core::{Change, Director, DirectorConfig, Instant, InterfaceConfig, MacAddr, PortId, Subnet};

use crate::options::Options;
use crate::survey::Survey;

/// Not random: the same capture is explained in the same words each time, the lots of `twos` included.
const SEED: [u8; 32] = *b"explain the same way every time.";

/// Rules, read and checked.
pub(crate) struct Rules {
    changes: Vec<Change>,
    /// Where each change comes from.
    origins: Vec<String>,
    warnings: Vec<String>,
    vips: HashSet<IpAddr>,
    marked: Vec<Subnet>,
}

impl Rules {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| format!("--rules {name}: {error}"))?;
        let loaded = rules::load(&text).map_err(|error| error.display(&name).with_excerpt().to_string())?;
        let mut rules = Self {
            changes: Vec::new(),
            origins: Vec::new(),
            warnings: Vec::new(),
            vips: HashSet::new(),
            marked: Vec::new(),
        };
        for rule in loaded {
            rules.changes.push(rule.change);
            rules.origins.push(format!("{name}:{}", rule.line));
            rules.warnings.extend(rule.warning.map(|warning| warning.display(&name).to_string()));
            match rule.change {
                Change::AddService(service) => rules.vips.extend(service.key.address()),
                Change::AddMarkRule(mark) => rules.marked.push(mark.destination),
                _ => {}
            }
        }
        Ok(rules)
    }

    /// Whether it is an address that clients ask for.
    pub(crate) fn is_virtual(&self, address: IpAddr) -> bool {
        self.vips.contains(&address) || self.marked.iter().any(|prefix| prefix.contains(address))
    }

    /// The real servers and where they stand in the rules.
    fn servers(&self) -> impl Iterator<Item = (IpAddr, &str)> {
        let origins = self.origins.iter().map(String::as_str);
        self.changes.iter().zip(origins).filter_map(|(change, origin)| match change {
            Change::AddDestination(_, server) => Some((server.address, origin)),
            _ => None,
        })
    }
}

/// Everything that the capture is played with.
pub(crate) struct Plan {
    config: DirectorConfig,
    changes: Vec<Change>,
    origins: Vec<String>,
    /// What was taken for granted, for the reader.
    pub(crate) notes: Vec<String>,
    /// Next hops whose Ethernet address the capture may still change.
    pub(crate) learnt: HashSet<IpAddr>,
    /// What they have now.
    pub(crate) stations: HashMap<IpAddr, MacAddr>,
}

impl Plan {
    pub(crate) fn make(options: &Options, rules: Rules, survey: &Survey) -> Result<Self, String> {
        let mut notes = rules.warnings.clone();
        let mac = interface_mac(options, survey, &mut notes);
        let (port, vlan) = place(options, survey, mac, &mut notes);
        let first = *options.dip.first().ok_or("--dip: there is none")?;
        let mut interface = InterfaceConfig::new(PortId(port), mac, first);
        interface.addresses.clone_from(&options.dip);
        interface.gateways.clone_from(&options.gateway);
        (interface.vlan, interface.mtu) = (vlan, options.mtu);
        check_reach(&rules, &interface)?;
        let mut knobs = Knobs::default();
        for assignment in &options.sysctl {
            let note = knobs::set(&mut knobs, assignment).map_err(|error| format!("--sysctl {error}"))?;
            notes.extend(note.map(|note| format!("--sysctl {assignment}: {note}")));
        }
        let on_link = |address: &IpAddr| interface.addresses.iter().any(|subnet| subnet.contains(*address));
        let mut hops: Vec<IpAddr> = rules.servers().map(|(address, _)| address).filter(on_link).collect();
        hops.extend(&interface.gateways);
        let mut config = DirectorConfig::new(vec![interface], SEED);
        config.knobs = knobs;
        let Rules { changes, origins, .. } = rules;
        let mut plan =
            Self { config, changes, origins, notes, learnt: HashSet::new(), stations: HashMap::new() };
        plan.fix_neighbours(&hops, options, survey);
        Ok(plan)
    }

    /// Gives every next hop its Ethernet address.
    fn fix_neighbours(&mut self, hops: &[IpAddr], options: &Options, survey: &Survey) {
        let mut done = HashSet::new();
        for &address in hops {
            if !done.insert(address) {
                continue;
            }
            let given = options.mac.iter().rev().find(|(rip, _)| *rip == address).map(|(_, mac)| *mac);
            let mac = given.or_else(|| {
                self.learnt.insert(address);
                survey.stations.get(&address).copied()
            });
            let mac = mac.unwrap_or_else(|| {
                let derived = derived_mac(address);
                self.notes.push(format!(
                    "{address}: no --mac, and no ARP or NDP in the capture tells its Ethernet address; taken as {derived}"
                ));
                derived
            });
            self.stations.insert(address, mac);
            self.changes.push(Change::SetStaticNeighbour { address, mac: Some(mac) });
            self.origins.push(format!("--mac {address}={mac}"));
        }
        for (address, mac) in options.mac.iter().filter(|(address, _)| !done.contains(address)) {
            self.notes.push(format!("--mac {address}={mac}: no real server or gateway has this address"));
        }
    }

    /// Ports that frames may leave by.
    pub(crate) fn ports(&self) -> u16 {
        self.config.interfaces.iter().map(|interface| interface.port.0 + 1).max().unwrap_or(1)
    }

    pub(crate) fn mtu(&self) -> u16 {
        self.config.interfaces.first().map_or(1500, |interface| interface.mtu)
    }

    /// The director at the time zero.
    pub(crate) fn director(&self) -> Result<Director, String> {
        let director = Director::new(self.config.clone(), Instant::ZERO);
        let mut director = director.map_err(|error| format!("--dip, --gateway, --interface-mac: {error}"))?;
        director.apply(Instant::ZERO, &self.changes).map_err(|error| {
            let origin = self.origins.get(error.index).map_or("the rules", String::as_str);
            format!("{origin}: {}", error.error)
        })?;
        Ok(director)
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// The director's own Ethernet address, and where it comes from.
fn interface_mac(options: &Options, survey: &Survey, notes: &mut Vec<String>) -> MacAddr {
    if let Some(mac) = options.interface_mac {
        return mac;
    }
    let (claims, receivers) = (survey.claims.ranking(), survey.receivers.ranking());
    if let Some((mac, count)) = claims.first() {
        notes.push(format!(
            "the director's Ethernet address is {mac}: it says {} in the capture that it has a VIP",
            times(*count)
        ));
        for (other, count) in &claims[1..] {
            notes.push(format!(
                "{other} says so too, {}: if it is a real server, this is the ARP problem (it needs \
                 arp_ignore=1 and arp_announce=2)",
                times(*count)
            ));
        }
        return *mac;
    }
    if let Some((mac, count)) = receivers.first() {
        notes.push(format!(
            "the director's Ethernet address is {mac}: most frames for the VIPs are sent to it ({count})"
        ));
        return *mac;
    }
    let mac = options.dip.first().map_or_else(MacAddr::default, |dip| derived_mac(dip.address()));
    notes.push(format!(
        "the director's Ethernet address is taken as {mac}: no frame in the capture is for a VIP, and there is no \
         --interface-mac"
    ));
    mac
}

/// Where the director sits: the capture's interface and the VLAN.
fn place(options: &Options, survey: &Survey, mac: MacAddr, notes: &mut Vec<String>) -> (u16, VlanPath) {
    let ranking = survey.places.ranking();
    let wanted = |place: &VlanPath| options.vlan.is_none_or(|vlan| vlan == *place);
    let fits = ranking.iter().filter(|((_, (_, vlan)), _)| wanted(vlan));
    let found = fits.clone().find(|((station, _), _)| *station == mac).or_else(|| fits.clone().next());
    let (port, vlan) = found.map_or((0, VlanPath::UNTAGGED), |((_, place), _)| *place);
    let vlan = options.vlan.unwrap_or(vlan);
    if options.vlan.is_none() && vlan != VlanPath::UNTAGGED {
        let inner = if vlan.inner == 0 { String::new() } else { format!(".{}", vlan.inner) };
        notes.push(format!(
            "the director is in VLAN {}{inner}, by which most frames for the VIPs come",
            vlan.outer
        ));
    }
    if survey.interfaces > 1 {
        notes.push(format!("the director is on interface {port} of the capture's {}", survey.interfaces));
    }
    (port, vlan)
}

/// Looks for real servers that cannot be reached: every packet for them would be lost.
fn check_reach(rules: &Rules, interface: &InterfaceConfig) -> Result<(), String> {
    for (address, origin) in rules.servers() {
        let leads = interface.addresses.iter().any(|subnet| subnet.contains(address))
            || interface.gateways.iter().any(|gateway| gateway.is_ipv4() == address.is_ipv4());
        if !leads {
            return Err(format!(
                "{origin}: nothing leads to {address}; expected a real server in the subnet of a --dip, or a \
                 --gateway of its family"
            ));
        }
    }
    Ok(())
}

/// An Ethernet address for a station that the capture does not know.
fn derived_mac(address: IpAddr) -> MacAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            MacAddr([2, 0, a, b, c, d])
        }
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            MacAddr([2, 6, a, b, c, d])
        }
    }
}
