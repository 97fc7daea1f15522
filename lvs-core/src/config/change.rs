//! Edits of a running director.

use core::net::IpAddr;

use core::time::Duration;

use super::{DestinationConfig, Knobs, MarkRule, ServiceConfig, ServiceKey, Timeouts};
use crate::addr::MacAddr;

/// One edit. [`Director::apply`](crate::director::Director::apply) takes a list of them and carries out all or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Adds a virtual service without servers (`ipvsadm -A`).
    AddService(ServiceConfig),
    /// Changes everything but the key of a virtual service (`ipvsadm -E`).
    EditService(ServiceConfig),
    /// Removes a virtual service and its servers (`ipvsadm -D`). Its connections stay until they
    /// expire and find their servers again if the service is made anew.
    RemoveService(ServiceKey),
    /// Adds a real server at the head of the service's list (`ipvsadm -a`).
    AddDestination(ServiceKey, DestinationConfig),
    /// Changes weight and limits of the real server with that address and port (`ipvsadm -e`).
    EditDestination(ServiceKey, DestinationConfig),
    /// Removes a real server (`ipvsadm -d`).
    RemoveDestination {
        /// The service it belongs to.
        service: ServiceKey,
        /// Its address.
        address: IpAddr,
        /// Its port; under direct routing the service's.
        port: u16,
    },
    /// Gives a real server weight 0 now, and ends what is left of its connections after a time: the next packet of each is
    /// answered with RST (TCP) or port unreachable. An edit of its weight calls it off.
    DrainDestination {
        /// The service it belongs to.
        service: ServiceKey,
        /// Its address.
        address: IpAddr,
        /// Its port; under direct routing the service's.
        port: u16,
        /// How long its connections may go on; at most 31 days.
        deadline: Duration,
    },
    /// Adds a rule that marks packets, behind those there are.
    AddMarkRule(MarkRule),
    /// Removes all rules that mark packets.
    ClearMarkRules,
    /// Removes all services, servers and mark rules (`ipvsadm -C`).
    Clear,
    /// Sets the time-outs of connections that are made or change state from now on (`ipvsadm --set`).
    SetTimeouts(Timeouts),
    /// Sets the knobs.
    SetKnobs(Knobs),
    /// Fixes the Ethernet address of a neighbour; it is then neither asked for nor learnt.
    SetStaticNeighbour {
        /// The neighbour: a real server or a gateway.
        address: IpAddr,
        /// Its Ethernet address, or `None` to go back to asking.
        mac: Option<MacAddr>,
    },
    /// Keeps the Ethernet address of a real server known (its gateway's, if there is one in between), whether or not it serves
    /// anybody: a health check needs it of one that is out. Until it is taken back; doing either twice changes nothing. An
    /// address that no interface leads to is remembered, and never known.
    WatchNeighbour {
        /// The real server.
        address: IpAddr,
        /// `false` takes it back.
        watched: bool,
    },
    /// Sets the statistics of one service, or of all, back to zero (`ipvsadm -Z`).
    ZeroStatistics(Option<ServiceKey>),
}

/// Why an edit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// A service with this key exists.
    #[error("Service already exists")]
    ServiceExists,
    /// No service has this key.
    #[error("No such service")]
    NoSuchService,
    /// The edit names a service, for a real server, that does not exist.
    #[error("Service not defined")]
    ServiceNotDefined,
    /// The service has a server with this address and port.
    #[error("Destination already exists")]
    DestinationExists,
    /// The service has no server with this address and port.
    #[error("No such destination")]
    NoSuchDestination,
    /// The VIP is not an address that a host can have.
    #[error("the service's address is not unicast")]
    ServiceAddressNotUnicast,
    /// Port 0 without persistence.
    #[error("Zero port specified for non-persistent service")]
    ServicePortZero,
    /// The mark of a service or rule is 0.
    #[error("invalid fwmark value `0' specified")]
    MarkZero,
    /// One-packet scheduling of a TCP or SCTP service.
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacketNotUdp,
    /// A persistence time-out of 0 or more than 31 days.
    #[error("the persistence time-out is out of range: 1 s to 31 days")]
    PersistenceOutOfRange,
    /// The persistence mask is not of the service's family, or empty.
    #[error(
        "the persistence mask does not suit the service: an IPv4 mask, or an IPv6 prefix length from 1 to 128"
    )]
    MaskMismatch,
    /// A slow start longer than a day.
    #[error("the slow start takes longer than a day")]
    SlowStartOutOfRange,
    /// The lower threshold is above the upper one.
    #[error("the lower threshold is above the upper one")]
    ThresholdsOutOfRange,
    /// The deadline of a drain is longer than 31 days.
    #[error("the deadline is longer than 31 days (2678400 s)")]
    DeadlineOutOfRange,
    /// As many mark rules exist as the director was made for.
    #[error("no room for another mark rule: raise the director's max_mark_rules")]
    TooManyMarkRules,
    /// The RIP is not an address that a host can have.
    #[error("the real server's address is not unicast")]
    DestinationAddressNotUnicast,
    /// The RIP is IPv6 and the VIP IPv4, or the other way round.
    #[error("Different address family is allowed only for tunneling servers")]
    FamilyMismatch,
    /// The weight is larger than [`DestinationConfig::MAX_WEIGHT`].
    #[error("the weight is larger than 2147483647")]
    WeightOutOfRange,
    /// A time-out is longer than 31 days.
    #[error("a time-out is longer than 31 days (2678400 s)")]
    TimeoutOutOfRange,
    /// As many services exist as the director was made for.
    #[error("no room for another service: raise the director's max_services")]
    TooManyServices,
    /// As many servers exist as the director was made for; removed ones count while connections remember them.
    #[error("no room for another real server: raise the director's max_destinations")]
    TooManyDestinations,
    /// As many Ethernet addresses are fixed as the director was made for.
    #[error("no room for another fixed neighbour: raise the director's max_destinations")]
    TooManyNeighbours,
    /// As many neighbours are watched as the director was made for.
    #[error(
        "no room for another watched neighbour: set the director's probes, under which max_destinations may be watched"
    )]
    TooManyWatched,
    /// A neighbour's Ethernet address is zero or a group address.
    #[error("the neighbour's Ethernet address is not that of a single station")]
    MacNotUnicast,
    /// No interface's subnet holds the neighbour.
    #[error("no interface's subnet holds the neighbour's address")]
    NeighbourNotOnLink,
}

/// A list of changes was refused; nothing of it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("change {}: {error}", index + 1)]
pub struct ApplyError {
    /// Which of the changes is at fault, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub error: ChangeError,
}
