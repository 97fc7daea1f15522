//! What is fixed for a director's life, and the knobs that are not.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::ProbeConfig;
use crate::addr::{MacAddr, Subnet};
use crate::io::{PortId, VlanTag};

/// The number of an interface: its place in [`DirectorConfig::interfaces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InterfaceId(pub u16);

/// The VLANs through which an interface is reached on its port: none, one tag, or two.
///
/// A priority tag (VLAN id 0) counts as no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VlanPath {
    /// The outer VLAN id (1 to 4094), or 0 for an untagged interface.
    pub outer: u16,
    /// The inner VLAN id (1 to 4094), or 0 where there is one tag at most.
    pub inner: u16,
}

impl VlanPath {
    /// No tags.
    pub const UNTAGGED: Self = Self { outer: 0, inner: 0 };

    /// One 802.1Q tag.
    #[must_use]
    pub const fn tagged(id: u16) -> Self {
        Self { outer: id, inner: 0 }
    }

    /// The tags that a frame must carry to travel this path, outer first. Two tags are an 802.1ad tag
    /// around an 802.1Q tag.
    #[must_use]
    pub const fn tags(self) -> [Option<VlanTag>; 2] {
        match (self.outer, self.inner) {
            (0, _) => [None, None],
            (outer, 0) => [Some(VlanTag { tpid: 0x8100, tci: outer }), None],
            (outer, inner) => {
                [Some(VlanTag { tpid: 0x88a8, tci: outer }), Some(VlanTag { tpid: 0x8100, tci: inner })]
            }
        }
    }
}

/// An interface of the director: a port (or a VLAN on one) with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// The port it is reached by. Several interfaces may share a port if their VLANs differ.
    pub port: PortId,
    /// The VLAN it lives in.
    pub vlan: VlanPath,
    /// Its Ethernet address. VIPs are announced with it.
    pub mac: MacAddr,
    /// The longest IP packet it carries, in bytes; 1280 at least if IPv6 is used, 68 otherwise.
    pub mtu: u16,
    /// The director's own addresses (DIPs), at most one IPv4 and one IPv6, and for IPv6 a link-local one
    /// besides. Neighbours are asked with these as sender, never with a VIP: a real server, which holds
    /// the VIP too, would not answer.
    pub addresses: Vec<Subnet>,
    /// Routers that lead to real servers outside the subnets, at most one a family.
    pub gateways: Vec<IpAddr>,
    /// Whether the director itself answers ARP, NDP and echo for the DIPs. Leave it off where the
    /// host's kernel has them configured.
    pub owns_addresses: bool,
}

impl InterfaceConfig {
    /// An untagged interface with an MTU of 1500 and one DIP that the host's kernel answers for.
    #[must_use]
    pub fn new(port: PortId, mac: MacAddr, dip: Subnet) -> Self {
        Self {
            port,
            vlan: VlanPath::UNTAGGED,
            mac,
            mtu: 1500,
            addresses: Vec::from([dip]),
            gateways: Vec::new(),
            owns_addresses: false,
        }
    }
}

/// What to do with a TCP segment that opens no connection and belongs to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMiss {
    /// Refuse it, as IPVS does.
    #[default]
    Refuse,
    /// Send it to the server that a Maglev hash of the client gives, without an entry. For directors
    /// that restart, or share a VIP by ECMP: all of them choose the same server.
    Hash,
}

/// How long a connection without traffic is remembered (`ipvsadm --set`). Each at most 31 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// An established TCP connection. Default 900 s.
    pub tcp: Duration,
    /// A TCP connection after the client's FIN. Default 120 s.
    pub tcp_fin: Duration,
    /// UDP. Default 300 s.
    pub udp: Duration,
}

impl Timeouts {
    /// The longest time-out there may be: 31 days, as in `ipvsadm --set`.
    pub const MAX: Duration = Duration::from_secs(31 * 86_400);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(900),
            tcp_fin: Duration::from_secs(120),
            udp: Duration::from_secs(300),
        }
    }
}

/// Switches that change decisions. The first ones carry the names of the kernel's `net.ipv4.vs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knobs {
    /// When a SYN (SCTP: INIT) that meets an old entry makes a new connection. 0: never. Any other value: if the entry
    /// is in TIME_WAIT or CLOSE (SCTP: CLOSED). With bit 1 (value 2 or 3): also in FIN_WAIT, which is how a connection
    /// that was closed in order looks to a direct-routing director. Default 1, as the kernel.
    pub conn_reuse_mode: u8,
    /// Forget the connections of a removed server, and the templates that lead to it, so that clients get an answer or
    /// another server at once: the table is looked through when a server or service is removed, and a packet that comes
    /// first is not kept waiting. A SYN or INIT to a server of weight 0 begins anew, too. Default off, as the kernel:
    /// packets of a removed server's connections are dropped silently.
    pub expire_nodest_conn: bool,
    /// Let any TCP segment but RST open a connection. Default off, as the kernel.
    pub sloppy_tcp: bool,
    /// Let any SCTP packet but ABORT open a connection. Default off, as the kernel.
    pub sloppy_sctp: bool,
    /// Forget a client's persistence when its server has weight 0. Default off, as the kernel: clients stay with a quiesced
    /// server.
    pub expire_quiescent_template: bool,
    /// Let an ICMP error about an unknown flow open a connection for that flow. Default off, as the kernel.
    pub schedule_icmp: bool,
    /// Hold new TCP connections in a state of their own (SYNACK) until the client has acknowledged. In IPVS this shortens
    /// nothing under direct routing; it is here so that the same rules give the same states. Default off.
    pub secure_tcp: bool,
    /// Every second give up some half-open and idle connections, a part of the table at a time, as the kernel does with
    /// `drop_entry=3`. Default off.
    pub drop_entry: bool,
    /// Refuse every tenth attempt to open a connection, as the kernel does with `drop_packet=3`. Default off.
    pub drop_packet: bool,
    /// Let rr, wrr and the ties of the least-connection schedulers begin at a place that the director's seed gives, so that
    /// many directors do not send their first clients to the same server. Counts for services that are made or get
    /// another scheduler from then on. Default off: the last added server is first, as in IPVS.
    pub seeded_start: bool,
    /// Entries of an mh table, 251 to 131,071 (what is beyond counts as the nearest), raised to the next prime. More of them
    /// make even shares for more servers and move fewer clients when servers leave; a director agrees with a kernel only with
    /// that kernel's number. Default 4093, the kernel's. Counts for services that are made or get another scheduler from then
    /// on.
    pub maglev_entries: u32,
    /// How long lblc remembers a destination address that is not used, in seconds. Default 86,400. Counts for services
    /// that are made or get another scheduler from then on.
    pub lblc_expiration: u32,
    /// How long an lblcr set stays as it is before its most loaded server leaves it, in seconds. Default 86,400.
    pub lblcr_expiration: u32,
    /// What to do with a TCP segment that opens no connection and belongs to none. Default: refuse.
    pub on_miss: OnMiss,
    /// Decrement TTL or hop limit, as IPVS does. Default off: the IP packet stays byte for byte as it
    /// came. On, directors that forward to each other cannot loop a packet for ever.
    pub decrement_ttl: bool,
    /// How many answers of its own (ICMP errors, RST) the director sends per second at most, in bursts of as
    /// many. 0 silences it. Default 1000.
    pub answers_per_second: u32,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            sloppy_tcp: false,
            sloppy_sctp: false,
            expire_quiescent_template: false,
            schedule_icmp: false,
            secure_tcp: false,
            drop_entry: false,
            drop_packet: false,
            seeded_start: false,
            maglev_entries: 4093,
            lblc_expiration: 86_400,
            lblcr_expiration: 86_400,
            on_miss: OnMiss::Refuse,
            decrement_ttl: false,
            answers_per_second: 1000,
        }
    }
}

/// What a director is made with. All memory it will ever use for the data path is taken at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorConfig {
    /// The interfaces, at least one.
    pub interfaces: Vec<InterfaceConfig>,
    /// Addresses besides the VIPs and owned DIPs that the director answers for (ARP, NDP, echo, and
    /// refusals where no service is). Default none.
    pub local_addresses: Vec<IpAddr>,
    /// What is done for health checks through the path of clients' packets. Default nothing.
    pub probes: Option<ProbeConfig>,
    /// The most connections at one time, 64 to 2^30; an IPv6 connection counts twice. Each takes 80 bytes at
    /// once. Default 1,048,576.
    pub max_connections: u32,
    /// The most persistence templates at one time, 64 to 2^30; an IPv6 one counts twice. Each takes 80 bytes at once.
    /// Default 65,536. When all are taken a new client is served without persistence, and counted.
    pub max_templates: u32,
    /// The most fragmented packets at one time whose server is remembered, 16 to 65,536. Default 1024.
    pub max_fragmented: u32,
    /// The most mark rules, 0 to 1024. Every frame to an address that only mark rules know is held against all of them.
    /// Default 64.
    pub max_mark_rules: u32,
    /// The most virtual services, 1 to 65,536. Default 1024.
    pub max_services: u32,
    /// The most real servers of all services together, 1 to 1,048,576, removed ones included while
    /// connections remember them. Default 4096.
    pub max_destinations: u32,
    /// Buffers of 2 KiB for frames that wait or are the director's own, 8 to 4096. Default 256.
    pub pool_buffers: u16,
    /// Random bytes that key the flow hash. Take them from the operating system and use them once: who
    /// knows them can choose addresses that collide. All zero is refused.
    pub seed: [u8; 32],
    /// Time-outs at the start.
    pub timeouts: Timeouts,
    /// Knobs at the start.
    pub knobs: Knobs,
}

impl DirectorConfig {
    /// A director with these interfaces, this seed and the defaults.
    #[must_use]
    pub fn new(interfaces: Vec<InterfaceConfig>, seed: [u8; 32]) -> Self {
        Self {
            interfaces,
            local_addresses: Vec::new(),
            probes: None,
            max_connections: 1 << 20,
            max_templates: 1 << 16,
            max_fragmented: 1024,
            max_mark_rules: 64,
            max_services: 1024,
            max_destinations: 4096,
            pool_buffers: 256,
            seed,
            timeouts: Timeouts::default(),
            knobs: Knobs::default(),
        }
    }
}

/// Why a director cannot be made; names the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `interfaces` is empty.
    #[error("interfaces: there is none; a director needs at least one")]
    NoInterface,
    /// Two interfaces share port and VLAN.
    #[error("interfaces[{0}].vlan: another interface has the same port and VLAN")]
    DuplicateInterface(usize),
    /// A VLAN id is out of range, or there is an inner one without an outer one.
    #[error("interfaces[{0}].vlan: VLAN ids go from 1 to 4094, and an inner one needs an outer one")]
    Vlan(usize),
    /// The MAC is zero or a group address.
    #[error("interfaces[{0}].mac: {1} is not the address of a single station")]
    Mac(usize, MacAddr),
    /// The MTU is too small for the families used.
    #[error("interfaces[{0}].mtu: {1} is too small; IPv4 needs 68 and IPv6 1280")]
    Mtu(usize, u16),
    /// An interface without an address.
    #[error(
        "interfaces[{0}].addresses: there is none; neighbours cannot be asked without a sender address (DIP)"
    )]
    NoAddress(usize),
    /// A DIP that no host can have, or more than one of a kind.
    #[error(
        "interfaces[{0}].addresses: {1} is not usable: one IPv4, one IPv6 and one IPv6 link-local address at most, each unicast"
    )]
    Address(usize, Subnet),
    /// A gateway outside the interface's subnets, or more than one of a family.
    #[error(
        "interfaces[{0}].gateways: {1} is not in a subnet of this interface, or is the second of its family"
    )]
    Gateway(usize, IpAddr),
    /// An address in `local_addresses` that no host can have.
    #[error("local_addresses: {0} is not unicast")]
    LocalAddress(IpAddr),
    /// An address in `probes.addresses` that no host can have.
    #[error("probes.addresses: {0} is not unicast")]
    ProbeAddress(IpAddr),
    /// An address in `probes.addresses` that is a DIP.
    #[error("probes.addresses: {0} is a DIP: leave it out, or take an address that no host has")]
    ProbeAddressIsDip(IpAddr),
    /// No port to probe from.
    #[error("probes.ports: {0} to {1} has no port from 1 on")]
    ProbePorts(u16, u16),
    /// A capacity out of range.
    #[error("{field}: {value} is out of range; allowed are {least} to {most}")]
    Capacity {
        /// The field's name.
        field: &'static str,
        /// What it was set to.
        value: u32,
        /// The least it may be.
        least: u32,
        /// The most it may be.
        most: u32,
    },
    /// The seed is all zero.
    #[error("seed: all bytes are zero; take 32 random bytes from the operating system")]
    Seed,
    /// A time-out is longer than 31 days.
    #[error("timeouts: {0} is longer than 31 days")]
    Timeout(&'static str),
    /// The memory for the connection table is not to be had.
    #[error("max_connections: the memory for {0} connections is not to be had")]
    OutOfMemory(u32),
}
