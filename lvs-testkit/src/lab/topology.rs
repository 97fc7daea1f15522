//! The three reference networks of LVS direct routing, with IPv6 alongside.
//!
//! ```text
//!   A   client ── switch ── director, real servers           all in one segment
//!
//!   B   client ── router ── switch ── director (eth0), real servers
//!
//!   C   client ── router ── switch "front" ── eth0 director eth1 ── switch "back" ── real servers
//!                    └────────────────────────────────────────────────────┘  the way of the replies
//! ```
//!
//! The director's kernel has its DIPs, does not forward, and never has a VIP: that is for the director
//! under test, which is not started here. Real servers hold the VIPs on `lo`.
//!
//! | | A | B | C |
//! | --- | --- | --- | --- |
//! | client | 192.168.31.10 | 110.0.0.1 | 110.0.0.1 |
//! | router | - | 110.0.0.254, 192.168.0.15 | as B, and 192.168.1.15 |
//! | DIP | 192.168.31.20 | 192.168.0.208 | 192.168.0.208, 192.168.1.208 |
//! | VIP | 192.168.31.100 | 192.168.0.250 | 192.168.0.250 |
//! | real servers | .30, .50, .101, .102 ... | 192.168.0.188, .111, .101 ... | 192.168.1.188, .111, .101 ... |
//!
//! Every IPv4 address `a.b.c.h` has a companion in IPv6 with the same last group: `fd00:31::h` for
//! 192.168.31.h, `fd00:110::h` for 110.0.0.h, `fd00:192::h` for 192.168.0.h and `fd00:193::h` for
//! 192.168.1.h (so the VIP is `fd00:192::250`). All prefixes are /24 and /64. The Ethernet address of a
//! card is `02:00:00:00:nn:hh`, with the last byte of its IPv4 address as `hh` and as `nn` 31 (hex) in A,
//! 01 on the client's side of the router, 00 in B and front, 02 in back.

use lvs_core::{MacAddr, Subnet};

use super::error::LabError;
use super::host::Host;
use super::link::{Nic, cable};
use super::switch::{Switch, SwitchOptions};
use crate::reference::{Addresses, BACK, FRONT, OUTSIDE, SINGLE, Segment, server_numbers};

/// What may differ from the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopologyOptions {
    /// How many real servers, 1 to 16. Default: 2.
    pub servers: usize,
    /// Whether the real servers keep quiet about the VIP (`arp_ignore=1`, `arp_announce=2`). Default:
    /// on. Off shows the ARP problem.
    pub quiet_arp: bool,
    /// Whether the real servers hold the VIPs. Default: on.
    pub hold_vip: bool,
    /// The MTU of all cards. Default: 1500.
    pub mtu: u32,
    /// Whether cards leave checksums and segmentation to the receiver, as the kernel has it by default.
    /// Default: on.
    pub offload: bool,
    /// How many queues all cards have; see [`Nic::queues`]. Default: 1.
    pub queues: u32,
    /// How the switches treat group addresses.
    pub switch: SwitchOptions,
}

impl Default for TopologyOptions {
    fn default() -> Self {
        Self {
            servers: 2,
            quiet_arp: true,
            hold_vip: true,
            mtu: 1500,
            offload: true,
            queues: 1,
            switch: SwitchOptions::default(),
        }
    }
}

/// A host that serves.
#[derive(Debug, Clone)]
pub struct RealServer {
    /// The host; its card is `eth0`.
    pub host: Host,
    /// Its own addresses (RIP).
    pub addresses: Addresses,
    /// The Ethernet address of its card.
    pub mac: MacAddr,
}

/// A built network. Everything in it goes when it is dropped.
#[derive(Debug)]
pub struct Topology {
    /// Where requests come from; its card is `eth0`.
    pub client: Host,
    /// The client's addresses (CIP).
    pub client_addresses: Addresses,
    /// The router; none in A. `eth0` faces the client, `eth1` the director, `eth2` (in C) the real servers.
    pub router: Option<Host>,
    /// Where the director under test is to run: on `eth0` (in C: and `eth1`).
    pub director: Host,
    /// The director's own addresses with their subnets, in the order of its cards: IPv4, then IPv6.
    pub dips: Vec<[Subnet; 2]>,
    /// The Ethernet addresses of the director's cards, in their order.
    pub director_macs: Vec<MacAddr>,
    /// The routers on the director's first segment; none in A.
    pub gateway: Option<Addresses>,
    /// The virtual addresses.
    pub vips: Addresses,
    /// The real servers, in their order.
    pub servers: Vec<RealServer>,
    /// The switches: one; in C front and back.
    pub switches: Vec<Switch>,
}

/// A card of `owner` in a segment.
fn nic(segment: Segment, owner: &Host, name: &str, host: u8, options: &TopologyOptions) -> Nic {
    let [v4, v6] = segment.subnets(host);
    let nic = Nic::new(owner, name).mac(segment.mac(host)).mtu(options.mtu).offload(options.offload);
    nic.queues(options.queues).address(v4).address(v6)
}

impl Topology {
    /// Topology A: one segment.
    ///
    /// # Errors
    /// If the kernel refuses a step.
    ///
    /// # Panics
    /// If the number of servers is not 1 to 16.
    pub fn a(options: TopologyOptions) -> Result<Self, LabError> {
        let (client, director) = (Host::new("client")?, Host::new("director")?);
        let switch = Switch::new("switch", options.switch)?;
        switch.connect(nic(SINGLE, &client, "eth0", 10, &options))?;
        switch.connect(nic(SINGLE, &director, "eth0", 20, &options))?;
        let vips = SINGLE.addresses(100);
        let servers = servers(SINGLE, [30, 50], None, vips, &switch, &options)?;
        Ok(Self {
            client,
            client_addresses: SINGLE.addresses(10),
            router: None,
            director,
            dips: vec![SINGLE.subnets(20)],
            director_macs: vec![SINGLE.mac(20)],
            gateway: None,
            vips,
            servers,
            switches: vec![switch],
        })
    }

    /// Topology B: a client behind a router.
    ///
    /// # Errors
    /// If the kernel refuses a step.
    ///
    /// # Panics
    /// If the number of servers is not 1 to 16.
    pub fn b(options: TopologyOptions) -> Result<Self, LabError> {
        let (client, router, director) = outside(&options)?;
        let switch = Switch::new("switch", options.switch)?;
        switch.connect(nic(FRONT, &router, "eth1", 15, &options))?;
        switch.connect(nic(FRONT, &director, "eth0", 208, &options))?;
        let gateway = FRONT.addresses(15);
        route_by(&director, gateway)?;
        let vips = FRONT.addresses(250);
        let servers = servers(FRONT, [188, 111], Some(gateway), vips, &switch, &options)?;
        Ok(Self {
            client,
            client_addresses: OUTSIDE.addresses(1),
            router: Some(router),
            director,
            dips: vec![FRONT.subnets(208)],
            director_macs: vec![FRONT.mac(208)],
            gateway: Some(gateway),
            vips,
            servers,
            switches: vec![switch],
        })
    }

    /// Topology C: as B, with the real servers in a segment of their own behind the director's second
    /// card. The router is in that segment too, since replies go to it and never through the director.
    ///
    /// # Errors
    /// If the kernel refuses a step.
    ///
    /// # Panics
    /// If the number of servers is not 1 to 16.
    pub fn c(options: TopologyOptions) -> Result<Self, LabError> {
        let (client, router, director) = outside(&options)?;
        let (front, back) = (Switch::new("front", options.switch)?, Switch::new("back", options.switch)?);
        front.connect(nic(FRONT, &router, "eth1", 15, &options))?;
        back.connect(nic(BACK, &router, "eth2", 15, &options))?;
        front.connect(nic(FRONT, &director, "eth0", 208, &options))?;
        back.connect(nic(BACK, &director, "eth1", 208, &options))?;
        let gateway = FRONT.addresses(15);
        route_by(&director, gateway)?;
        let vips = FRONT.addresses(250);
        let servers = servers(BACK, [188, 111], Some(BACK.addresses(15)), vips, &back, &options)?;
        Ok(Self {
            client,
            client_addresses: OUTSIDE.addresses(1),
            router: Some(router),
            director,
            dips: vec![FRONT.subnets(208), BACK.subnets(208)],
            director_macs: vec![FRONT.mac(208), BACK.mac(208)],
            gateway: Some(gateway),
            vips,
            servers,
            switches: vec![front, back],
        })
    }

    /// All hosts but the switches, for displays.
    #[must_use]
    pub fn hosts(&self) -> Vec<&Host> {
        let ends = [&self.client].into_iter().chain(&self.router).chain([&self.director]);
        ends.chain(self.servers.iter().map(|server| &server.host)).collect()
    }
}

/// What B and C share: client and router, connected, and a bare director.
fn outside(options: &TopologyOptions) -> Result<(Host, Host, Host), LabError> {
    let (client, router, director) = (Host::new("client")?, Host::new("router")?, Host::new("director")?);
    router.forward()?;
    cable(nic(OUTSIDE, &client, "eth0", 1, options), nic(OUTSIDE, &router, "eth0", 254, options))?;
    route_by(&client, OUTSIDE.addresses(254))?;
    Ok((client, router, director))
}

fn servers(
    segment: Segment,
    first: [u8; 2],
    gateway: Option<Addresses>,
    vips: Addresses,
    switch: &Switch,
    options: &TopologyOptions,
) -> Result<Vec<RealServer>, LabError> {
    let numbers = server_numbers(first, options.servers);
    let make = |(at, number): (usize, u8)| {
        let host = Host::new(&format!("server{}", at + 1))?;
        switch.connect(nic(segment, &host, "eth0", number, options))?;
        if let Some(gateway) = gateway {
            route_by(&host, gateway)?;
        }
        // Quiet before it holds anything: an address is announced by nothing then.
        host.quiet_arp("eth0", options.quiet_arp)?;
        if options.hold_vip {
            host.hold_vip(vips.v4)?;
            host.hold_vip(vips.v6)?;
        }
        Ok(RealServer { host, addresses: segment.addresses(number), mac: segment.mac(number) })
    };
    numbers.enumerate().map(make).collect()
}

fn route_by(host: &Host, gateway: Addresses) -> Result<(), LabError> {
    host.default_gateway(gateway.v4)?;
    host.default_gateway(gateway.v6)
}
