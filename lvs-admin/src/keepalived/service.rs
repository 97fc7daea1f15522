//! `virtual_server` and its real servers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use lvs_core::config::{
    ChangeError, ClientMask, DestinationConfig, Persistence, Protocol, SchedulerFlags, SchedulerKind,
    ServiceConfig, ServiceKey,
};

use super::group::{Member, What, address_of};
use super::settings::Settings;
use super::tree::Node;
use super::{check, group, value, words};
use crate::config::health::{self, OnDown, SorryServer};
use crate::config::{Assembly, Check, FileError, Place, Server, ServiceHealth, cure, excerpt, nearest};
use crate::flags;

/// What `persistence_timeout` alone stands for, and a service on all ports.
const DEFAULT_PERSISTENCE: Duration = Duration::from_secs(360);

/// A virtual server before it is known which services it stands for.
struct Draft<'n> {
    node: &'n Node,
    nodes: Vec<&'n Node>,
    /// What its forwarding is unless a real server says otherwise.
    method: Option<&'n Node>,
    servers: Vec<RealServer<'n>>,
    sorry: Option<&'n Node>,
}

/// A real server before it is known for which services.
struct RealServer<'n> {
    node: &'n Node,
    server: Server,
}

/// Reads a virtual server and adds all services that it stands for.
pub(super) fn read(
    node: &Node,
    groups: &HashMap<&str, Vec<Member>>,
    assembly: &mut Assembly,
) -> Result<(), FileError> {
    let members = members(node, groups)?;
    let Some(block) = &node.block else {
        return Err(node.error("it has no block", "virtual_server ADDRESS PORT { ... }"));
    };
    let nodes = words::VIRTUAL_SERVER.sort(block, assembly)?;
    let last =
        |names: &[&str]| nodes.iter().rev().copied().find(|node| names.contains(&node.keyword.as_str()));
    let draft = Draft {
        node,
        method: last(&["lvs_method", "lb_kind"]),
        sorry: last(&["sorry_server"]),
        servers: real_servers(&nodes, &members, assembly)?,
        nodes,
    };
    draft.check_methods()?;
    let common = draft.config(assembly)?;
    let health = draft.health(assembly)?;
    draft.add(&members, &common, health, assembly)
}

/// What the words behind `virtual_server` mean.
fn members(node: &Node, groups: &HashMap<&str, Vec<Member>>) -> Result<Vec<Member>, FileError> {
    let single = |what| Ok(vec![Member { place: node.place.clone(), what }]);
    match &node.values[..] {
        [word, mark] if word == "fwmark" => single(What::Mark { mark: group::mark(node, mark)?, ipv6: None }),
        [word, name] if word == "group" => groups.get(name.as_str()).cloned().ok_or_else(|| {
            let known: Vec<_> = groups.keys().copied().collect();
            let expected = match nearest::nearest(name, known) {
                Some(near) => format!("the name of a virtual_server_group, such as {near}"),
                None => "the name of a virtual_server_group".to_owned(),
            };
            node.error(format!("there is no group {}", excerpt(name)), expected)
        }),
        _ => {
            let (address, port) = node.endpoint().map_err(|error| {
                node.error(
                    error.problem().trim_start_matches("virtual_server: ").to_owned(),
                    "virtual_server ADDRESS PORT, virtual_server fwmark NUMBER or virtual_server group NAME",
                )
            })?;
            let first = match address {
                IpAddr::V4(address) => address.to_bits().into(),
                IpAddr::V6(address) => address.to_bits(),
            };
            single(What::Addresses { ipv6: address.is_ipv6(), first, last: first, port })
        }
    }
}

fn real_servers<'n>(
    nodes: &[&'n Node],
    members: &[Member],
    assembly: &mut Assembly,
) -> Result<Vec<RealServer<'n>>, FileError> {
    let settings = Settings::default().with(nodes)?;
    let ports: Vec<u16> = members
        .iter()
        .filter_map(|member| match member.what {
            What::Addresses { port, .. } => Some(port),
            What::Mark { .. } => None,
        })
        .collect();
    let each = nodes.iter().filter(|node| node.keyword == "real_server");
    each.map(|node| real_server(node, &settings, &ports, assembly)).collect()
}

fn real_server<'n>(
    node: &'n Node,
    settings: &Settings,
    ports: &[u16],
    assembly: &mut Assembly,
) -> Result<RealServer<'n>, FileError> {
    let (address, port) = node.endpoint()?;
    let nodes = words::REAL_SERVER.sort(node.block.as_deref().unwrap_or_default(), assembly)?;
    let settings = settings.with(&nodes)?;
    let (mut config, mut checks): (_, Vec<Check>) = (DestinationConfig::new(address, 0), Vec::new());
    // Checks ask the port that is written here, whatever the services' is.
    let elsewhere = port != 0 && ports.iter().any(|other| *other != port);
    let asked = (port != 0 && (elsewhere || ports.is_empty())).then_some(port);
    for node in nodes {
        match node.keyword.as_str() {
            "weight" => config.weight = node.number(0..=DestinationConfig::MAX_WEIGHT)?,
            "uthreshold" => config.upper_threshold = node.number(0..=u32::MAX)?,
            "lthreshold" => config.lower_threshold = node.number(0..=u32::MAX)?,
            _ => checks.extend(check::read(node, &settings, asked, assembly)?),
        }
        if checks.len() > health::MAX_CHECKS {
            return Err(check::too_many(&node.place));
        }
    }
    if elsewhere {
        assembly.notice(
            &node.place,
            format!(
                "real_server {address} {port}: it is served on the port that the client asks for, not on {port}: direct \
                 routing leaves the packet as it is and cannot map ports"
            ),
        );
    }
    let server = Server { config, inhibit_on_failure: settings.inhibit_on_failure, checks: checks.into() };
    Ok(RealServer { node, server })
}

/// What all services of a virtual server have in common.
struct Common {
    protocol: Protocol,
    scheduler: SchedulerKind,
    flags: SchedulerFlags,
    one_packet: bool,
    persistence: Option<Duration>,
    granularity: Option<ClientMask>,
}

impl<'n> Draft<'n> {
    fn find(&self, names: &[&str]) -> Option<&'n Node> {
        self.nodes.iter().rev().copied().find(|node| names.contains(&node.keyword.as_str()))
    }

    /// Makes sure that every real server is reached by direct routing.
    fn check_methods(&self) -> Result<(), FileError> {
        for server in &self.servers {
            let nodes = server.node.block.as_deref().unwrap_or_default();
            let own =
                nodes.iter().rev().find(|node| ["lvs_method", "lb_kind"].contains(&node.keyword.as_str()));
            self.check_method(own.or(self.method))?;
        }
        if self.sorry.is_some() {
            self.check_method(self.find(&["sorry_server_lvs_method"]).or(self.method))?;
        }
        Ok(())
    }

    fn check_method(&self, method: Option<&Node>) -> Result<(), FileError> {
        const CURE: &str = "lvs_method DR, and real servers that hold the VIP on lo";
        let Some(node) = method else {
            let problem =
                "there is no lvs_method, which means NAT to keepalived; this director routes directly only";
            return Err(self.node.error(problem, CURE));
        };
        match node.values()?.first().map(String::as_str) {
            Some("DR") if node.values.len() == 1 => Ok(()),
            Some(method @ ("NAT" | "TUN")) => {
                Err(node
                    .error(format!("{method} is not supported; this director routes directly only"), CURE))
            }
            other => Err(node.wrong(other.unwrap_or_default(), CURE)),
        }
    }

    fn config(&self, assembly: &mut Assembly) -> Result<Common, FileError> {
        let scheduler = self.scheduler(assembly)?;
        let mut common = Common {
            protocol: Protocol::Tcp,
            scheduler,
            flags: SchedulerFlags::NONE,
            one_packet: false,
            persistence: None,
            granularity: None,
        };
        for node in &self.nodes {
            match node.keyword.as_str() {
                "ops" => common.one_packet = node.switch()?,
                "persistence_timeout" if node.values()?.is_empty() => {
                    common.persistence = Some(DEFAULT_PERSISTENCE);
                }
                "persistence_timeout" => {
                    // 0 is often written for none.
                    let seconds = node.number(0..=2_678_400)?;
                    common.persistence = (seconds > 0).then(|| Duration::from_secs(seconds));
                }
                "persistence_granularity" => common.granularity = Some(granularity(node)?),
                name => {
                    let Some((flag, _, owner)) = flags::named(name.as_bytes()) else { continue };
                    node.bare()?;
                    if let Some(owner) = owner.filter(|owner| *owner != scheduler) {
                        let problem = format!("it is a flag of {owner}, and the scheduler is {scheduler}");
                        return Err(node.error(problem, format!("lvs_sched {owner}, or no {name}")));
                    }
                    common.flags = common.flags.with(flag);
                }
            }
        }
        if let Some(node) = self.find(&["persistence_granularity"])
            && common.persistence.is_none()
        {
            assembly
                .notice(&node.place, "persistence_granularity: without persistence_timeout it has no effect");
        }
        common.protocol = self.protocol(common.one_packet, assembly)?;
        Ok(common)
    }

    fn scheduler(&self, assembly: &mut Assembly) -> Result<SchedulerKind, FileError> {
        let Some(node) = self.find(&["lvs_sched", "lb_algo"]) else {
            assembly.notice(&self.node.place, "virtual_server: there is no lvs_sched; wlc, as in keepalived");
            return Ok(SchedulerKind::WeightedLeastConnection);
        };
        let value = node.value()?;
        value.parse().map_err(|_| {
            let names: Vec<_> = SchedulerKind::ALL.iter().map(|kind| kind.name()).collect();
            node.wrong(value, format!("one of {}", names.join(", ")))
        })
    }

    fn protocol(&self, one_packet: bool, assembly: &mut Assembly) -> Result<Protocol, FileError> {
        let Some(node) = self.find(&["protocol"]) else {
            if !one_packet {
                return Ok(Protocol::Tcp);
            }
            assembly.notice(&self.node.place, "virtual_server: ops without protocol; UDP, as in keepalived");
            return Ok(Protocol::Udp);
        };
        match node.value()? {
            "TCP" => Ok(Protocol::Tcp),
            "UDP" => Ok(Protocol::Udp),
            "SCTP" => Ok(Protocol::Sctp),
            other => Err(node.wrong(other, "TCP, UDP or SCTP")),
        }
    }

    fn health(&self, assembly: &mut Assembly) -> Result<ServiceHealth, FileError> {
        let mut health = ServiceHealth { on_down: OnDown::Remove, ..ServiceHealth::default() };
        let mut inhibit = false;
        for node in &self.nodes {
            match node.keyword.as_str() {
                "quorum" => health.quorum = node.number(1..=i32::MAX as u32)?,
                "hysteresis" => health.hysteresis = node.number(0..=i32::MAX as u32)?,
                "sorry_server_inhibit" => inhibit = node.switch()?,
                _ => {}
            }
        }
        if let Some(node) = self.find(&["hysteresis"])
            && health.hysteresis >= health.quorum
        {
            health.hysteresis = health.quorum - 1;
            let text = format!(
                "hysteresis: it is not below the quorum; {} is taken, as in keepalived",
                health.hysteresis
            );
            assembly.notice(&node.place, text);
        }
        if let Some(node) = self.sorry {
            let (address, _) = node.endpoint()?;
            health.sorry_server = Some(SorryServer { address, inhibit });
        }
        Ok(health)
    }

    /// Whether marks are of IPv6 traffic: as is said, or else as the real servers are.
    fn marks_ipv6(&self) -> Result<bool, FileError> {
        if let Some(node) = self.find(&["ip_family"]) {
            return group::family(node, node.value()?);
        }
        let first = self.servers.first().map(|server| server.server.config.address);
        let sorry = self.sorry.and_then(|node| node.endpoint().ok()).map(|(address, _)| address);
        Ok(first.or(sorry).is_some_and(|address| address.is_ipv6()))
    }

    fn add(
        &self,
        members: &[Member],
        common: &Common,
        health: ServiceHealth,
        assembly: &mut Assembly,
    ) -> Result<(), FileError> {
        let marks_ipv6 = self.marks_ipv6()?;
        for member in members {
            match member.what {
                What::Mark { mark, ipv6 } => {
                    let key = ServiceKey::Mark { mark, ipv6: ipv6.unwrap_or(marks_ipv6) };
                    assembly.notice(
                        &member.place,
                        format!("fwmark {mark}: the host's firewall does not mark packets for a director; mark rules do"),
                    );
                    self.service(&member.place, key, common, health, assembly)?;
                }
                What::Addresses { ipv6, first, last, port } => {
                    let most = assembly.loaded.configuration.capacities.max_services;
                    if last - first >= u128::from(most) {
                        let problem = "the range has more addresses than there may be services";
                        return Err(member
                            .place
                            .error(problem, format!("at most {most}, or a larger max_services")));
                    }
                    for number in first..=last {
                        let address = address_of(ipv6, number);
                        let key = ServiceKey::Address { protocol: common.protocol, address, port };
                        self.service(&member.place, key, common, health, assembly)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn service(
        &self,
        place: &Place,
        key: ServiceKey,
        common: &Common,
        health: ServiceHealth,
        assembly: &mut Assembly,
    ) -> Result<(), FileError> {
        let mut config = ServiceConfig::new(key, common.scheduler);
        config.flags = common.flags;
        config.one_packet = common.one_packet;
        let mut timeout = common.persistence;
        if timeout.is_none() && matches!(key, ServiceKey::Address { port: 0, .. }) {
            assembly.notice(place, "without a port a service has to be persistent; 360 s, as in keepalived");
            timeout = Some(DEFAULT_PERSISTENCE);
        }
        config.persistence = timeout.map(|timeout| Persistence {
            timeout,
            mask: common.granularity.unwrap_or(ClientMask::whole(key.is_ipv6())),
        });
        assembly.service(place, config, health).map_err(|error| self.refused(error, place, key))?;
        for RealServer { node, server } in &self.servers {
            if health::lacks_port(&server.checks, key.port()) {
                let problem = format!("a check has no port to ask, as {key} has none");
                return Err(node.error(problem, "a port behind the address, or connect_port in the check"));
            }
            assembly.server(&node.place, server.clone()).map_err(|error| {
                let address = server.config.address;
                node.error(format!("{error}: {address} of {key}"), cure(error))
            })?;
        }
        Ok(())
    }

    /// At the keyword that it is about, if it is about one.
    fn refused(&self, error: ChangeError, place: &Place, key: ServiceKey) -> FileError {
        let name = match error {
            ChangeError::OnePacketNotUdp => "ops",
            ChangeError::MaskMismatch => "persistence_granularity",
            ChangeError::FamilyMismatch
            | ChangeError::DestinationAddressNotUnicast
            | ChangeError::TooManyDestinations => "sorry_server",
            _ => "",
        };
        match self.find(&[name]) {
            Some(node) => node.error(format!("{error}: {key}"), cure(error)),
            None => place.error(format!("virtual_server: {error}: {key}"), cure(error)),
        }
    }
}

/// A mask for IPv4, a prefix length for IPv6.
fn granularity(node: &Node) -> Result<ClientMask, FileError> {
    let value = node.value()?;
    if let Some(length) = value::number(value, &(1..=128)) {
        return Ok(ClientMask::V6(length));
    }
    let mask: std::net::Ipv4Addr = value
        .parse()
        .map_err(|_| node.wrong(value, "a mask as in 255.255.255.0, or for IPv6 a prefix length"))?;
    Ok(ClientMask::V4(mask.to_bits()))
}
