//! Network cards and the cables between them (veth pairs).

use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lvs_core::{MacAddr, Subnet};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::error::{Context, LabError};
use super::ethtool;
use super::host::Host;

/// A network card to be: what it is called, where it is, and how it is set up.
///
/// Defaults: a MAC of its own (02:6c:76:73:..), MTU 1500, one queue, no addresses, offloads as the kernel has them
/// (checksums and segmentation are left to the receiver: frames up to 64 KiB with unfinished checksums
/// cross the cable).
#[derive(Debug, Clone)]
#[must_use = "a card exists once it is plugged in: `cable` or `Switch::connect`"]
pub struct Nic {
    pub(super) host: Host,
    pub(super) name: String,
    pub(super) mac: MacAddr,
    pub(super) queues: u32,
    mtu: u32,
    addresses: Vec<Subnet>,
    offload: bool,
}

/// What a host says of one of its interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Its number in the host.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// The longest IP packet, in bytes.
    pub mtu: u32,
    /// Whether it was switched on.
    pub up: bool,
    /// Whether the other end of the cable is on too.
    pub carrier: bool,
}

impl Nic {
    /// A card called `name` in `host`.
    pub fn new(host: &Host, name: &str) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Self {
            host: host.clone(),
            name: name.to_owned(),
            mac: MacAddr([0x02, b'l', b'v', b's', high, low]),
            queues: 1,
            mtu: 1500,
            addresses: Vec::new(),
            offload: true,
        }
    }

    /// How many queues it receives and sends by, 1 to 4096. The kernel spreads what it sends over them by flow; a frame comes in by
    /// the queue with the number of that by which it left the other end, and is forwarded by the queue that it came by.
    pub const fn queues(mut self, queues: u32) -> Self {
        self.queues = queues;
        self
    }

    /// Its Ethernet address.
    pub const fn mac(mut self, mac: MacAddr) -> Self {
        self.mac = mac;
        self
    }

    /// The longest IP packet, 68 to 65535 bytes.
    pub const fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Adds an address; it can be used as soon as the card is plugged in.
    pub fn address(mut self, address: Subnet) -> Self {
        self.addresses.push(address);
        self
    }

    /// `false`: this card finishes checksums and cuts segments itself, so every frame on the cable is
    /// complete and no longer than the MTU (`ethtool -K tx off tso off gso off`).
    pub const fn offload(mut self, on: bool) -> Self {
        self.offload = on;
        self
    }

    /// The veth message of this end.
    fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(self.name.clone()),
            LinkAttribute::Mtu(self.mtu),
            LinkAttribute::Address(self.mac.0.to_vec()),
            LinkAttribute::NetNsFd(self.host.descriptor()),
        ];
        // The kernel's default is one, with room for as many as there are processors.
        if self.queues > 1 {
            message.attributes.push(LinkAttribute::NumTxQueues(self.queues));
            message.attributes.push(LinkAttribute::NumRxQueues(self.queues));
        }
        message
    }

    /// Switches the card on and gives it its addresses.
    fn set_up(&self) -> Result<(), LabError> {
        if !self.offload {
            self.host.set_offload(&self.name, false)?;
        }
        self.host.set_link(&self.name, true)?;
        self.addresses.iter().try_for_each(|address| self.host.add_address(&self.name, *address))
    }
}

/// Connects two cards by a cable, switches both on and waits until frames can pass.
///
/// # Errors
/// If a host has a card of that name already, or an address or MTU is refused.
pub fn cable(a: Nic, b: Nic) -> Result<(), LabError> {
    let mut message = a.message();
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(b.message()))),
    ]));
    let what = || format!("cable from {}'s {} to {}'s {}", a.host.name(), a.name, b.host.name(), b.name);
    let request = RouteNetlinkMessage::NewLink(message);
    let made = a.host.netlink().change(request, NLM_F_CREATE | NLM_F_EXCL);
    made.context(what)?;
    a.set_up()?;
    b.set_up()?;
    a.host.wait_running(&a.name)?;
    b.host.wait_running(&b.name)
}

impl Host {
    /// Switches an interface on or off; while it is off, the other end of its cable has no carrier.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn set_link(&self, interface: &str, up: bool) -> Result<(), LabError> {
        let flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        let mut message = LinkMessage::default();
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        self.change_link(interface, message, || {
            format!("switch {interface} {}", if up { "on" } else { "off" })
        })
    }

    /// Changes the longest IP packet of an interface.
    ///
    /// # Errors
    /// If there is no such interface, or the kernel refuses the value.
    pub fn set_mtu(&self, interface: &str, mtu: u32) -> Result<(), LabError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.change_link(interface, message, || format!("{interface}: MTU {mtu}"))
    }

    /// Changes the Ethernet address of an interface, as when a card is replaced.
    ///
    /// # Errors
    /// If there is no such interface, or the address is no unicast address.
    pub fn set_mac(&self, interface: &str, mac: MacAddr) -> Result<(), LabError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
        self.change_link(interface, message, || format!("{interface}: MAC {mac}"))
    }

    /// Removes an interface and, with it, the other end of its cable.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn remove_link(&self, interface: &str) -> Result<(), LabError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(interface.to_owned()));
        let removed = self.netlink().change(RouteNetlinkMessage::DelLink(message), 0);
        removed.context(|| format!("{}: remove {interface}", self.name()))
    }

    /// Switches checksum and segmentation offload of an interface on (the default) or off; see
    /// [`Nic::offload`].
    ///
    /// # Errors
    /// If there is no such interface, or the kernel has no ethtool over netlink.
    pub fn set_offload(&self, interface: &str, on: bool) -> Result<(), LabError> {
        let features = [
            "tx-checksum-ip-generic",
            "tx-tcp-segmentation",
            "tx-tcp6-segmentation",
            "tx-generic-segmentation",
        ];
        self.set_features(interface, &features.map(|name| (name, on)))
    }

    /// Switches features of an interface by the names that `ethtool -k` shows.
    ///
    /// # Errors
    /// As for [`set_offload`](Self::set_offload), and for a name that the kernel does not know.
    pub fn set_features(&self, interface: &str, features: &[(&str, bool)]) -> Result<(), LabError> {
        self.run(|| ethtool::set_features(interface, features))
            .context(|| format!("{}: features of {interface}", self.name()))
    }

    /// What the host says of an interface.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn interface(&self, name: &str) -> Result<Interface, LabError> {
        Ok(read_interface(&self.link(name)?))
    }

    fn link(&self, name: &str) -> Result<LinkMessage, LabError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answers = self
            .netlink()
            .ask(RouteNetlinkMessage::GetLink(message))
            .context(|| format!("{}: interface {name}", self.name()))?;
        let found = answers.into_iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        found.ok_or_else(missing).context(|| format!("{}: interface {name}", self.name()))
    }

    /// Waits until the kernel has noticed the carrier. It does so on a thread of its own, a little after
    /// the link was switched on; until then it drops silently what is sent.
    pub(super) fn wait_running(&self, interface: &str) -> Result<(), LabError> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.link(interface)?.header.flags.contains(LinkFlags::Running) {
            if Instant::now() > deadline {
                let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
                return Err(error).context(|| format!("{}: carrier on {interface}", self.name()));
            }
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn change_link(
        &self,
        interface: &str,
        mut message: LinkMessage,
        what: impl Fn() -> String,
    ) -> Result<(), LabError> {
        message.attributes.push(LinkAttribute::IfName(interface.to_owned()));
        let changed = self.netlink().change(RouteNetlinkMessage::SetLink(message), 0);
        changed.context(|| format!("{}: {}", self.name(), what()))
    }
}

fn read_interface(link: &LinkMessage) -> Interface {
    let mut interface = Interface {
        index: link.header.index,
        mac: MacAddr::ZERO,
        mtu: 0,
        up: link.header.flags.contains(LinkFlags::Up),
        carrier: link.header.flags.contains(LinkFlags::LowerUp),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => {
                interface.mac = bytes.as_slice().try_into().map_or(MacAddr::ZERO, MacAddr);
            }
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            _ => {}
        }
    }
    interface
}
