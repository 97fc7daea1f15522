//! A switch: a bridge in a namespace of its own.

use std::sync::{Mutex, PoisonError};

use lvs_core::MacAddr;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoData, InfoKind, LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::{Context, LabError};
use super::host::Host;
use super::link::{Nic, cable};
use super::neighbour::link_layer_address;

/// A learning switch. It goes, with all cables in it, when it is dropped.
#[derive(Debug)]
pub struct Switch {
    host: Host,
    ports: Mutex<Vec<Port>>,
}

/// How a switch treats group addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchOptions {
    /// Listen to MLD and IGMP, and send to a group only where somebody joined it. As in the kernel, it
    /// takes effect only once a querier is heard. Default: on.
    pub snooping: bool,
    /// Ask who is in which group, which makes snooping effective. Default: off.
    pub querier: bool,
}

impl Default for SwitchOptions {
    fn default() -> Self {
        Self { snooping: true, querier: false }
    }
}

/// A line of a switch's forwarding table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedAddress {
    /// The station.
    pub mac: MacAddr,
    /// The host behind the port on which it was heard.
    pub host: String,
    /// The card in that host.
    pub nic: String,
}

#[derive(Debug)]
struct Port {
    name: String,
    index: u32,
    host: String,
    nic: String,
}

const BRIDGE: &str = "bridge";

impl Switch {
    /// A switch without ports.
    ///
    /// # Errors
    /// If the kernel has no bridges, or as for [`Host::new`].
    pub fn new(name: &str, options: SwitchOptions) -> Result<Self, LabError> {
        let host = Host::new(name)?;
        // The switch is no station; but for the reports of a snooping switch it stays silent.
        host.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(BRIDGE.to_owned()),
            // Cards of any MTU may be plugged in; each card refuses what is too long for it.
            LinkAttribute::Mtu(65_535),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Bridge),
                LinkInfo::Data(InfoData::Bridge(settings(options))),
            ]),
        ];
        let request = RouteNetlinkMessage::NewLink(message);
        let made = host.netlink().change(request, NLM_F_CREATE | NLM_F_EXCL);
        made.context(|| format!("switch {name}"))?;
        host.set_link(BRIDGE, true)?;
        Ok(Self { host, ports: Mutex::default() })
    }

    /// Plugs a card in and waits until frames can pass. The port takes frames of any length; what is too
    /// long for another card is lost on the way to it, as on a real switch. It has as many queues as the card.
    ///
    /// # Errors
    /// If the card's host has a card of that name already, or the kernel refuses.
    pub fn connect(&self, nic: Nic) -> Result<(), LabError> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("p{}", ports.len() + 1);
        let (host, card) = (nic.host.name().to_owned(), nic.name.clone());
        let port = Nic::new(&self.host, &name).mtu(65_535).queues(nic.queues);
        cable(nic, port)?;
        let index = self.host.interface(&name)?.index;
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Controller(self.host.interface(BRIDGE)?.index));
        let joined = self.host.netlink().change(RouteNetlinkMessage::SetLink(message), 0);
        joined.context(|| format!("switch {}: port {name} for {host}", self.host.name()))?;
        ports.push(Port { name, index, host, nic: card });
        Ok(())
    }

    /// The namespace the bridge is in.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The bridge port into which a host's card is plugged, for captures; `None` if it is not.
    #[must_use]
    pub fn port_of(&self, host: &str, nic: &str) -> Option<String> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.iter().find(|p| p.host == host && p.nic == nic).map(|p| p.name.clone())
    }

    /// Pulls the cable of a host's card, or plugs it in again: the card loses or regains its carrier.
    ///
    /// # Errors
    /// If that card is not plugged in here, or is switched off in its host when it is plugged in again.
    pub fn set_cable(&self, host: &str, nic: &str, plugged: bool) -> Result<(), LabError> {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let port = self.port_of(host, nic).ok_or_else(missing);
        let port = port.context(|| format!("switch {}: {host}'s {nic}", self.host.name()))?;
        self.host.set_link(&port, plugged)?;
        if plugged { self.host.wait_running(&port) } else { Ok(()) }
    }

    /// What the switch has learned: which station is behind which port.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn learned(&self) -> Result<Vec<LearnedAddress>, LabError> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        let dump = self.host.netlink().dump(RouteNetlinkMessage::GetNeighbour(message));
        let entries = dump.context(|| format!("switch {}: forwarding table", self.host.name()))?;
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let learned = entries.iter().filter_map(|entry| {
            let RouteNetlinkMessage::NewNeighbour(entry) = entry else { return None };
            // The bridge's own addresses and group entries are permanent; what it heard is not.
            let permanent = u16::from(entry.header.state) & 0x80 != 0;
            if permanent {
                return None;
            }
            let port = ports.iter().find(|port| port.index == entry.header.ifindex)?;
            let mac = link_layer_address(entry)?;
            Some(LearnedAddress { mac, host: port.host.clone(), nic: port.nic.clone() })
        });
        Ok(learned.collect())
    }
}

fn settings(options: SwitchOptions) -> Vec<InfoBridge> {
    vec![
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::MulticastSnooping(options.snooping),
        InfoBridge::MulticastQuerier(options.querier),
    ]
}
